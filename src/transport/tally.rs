//! Counts for metrics: what peers did that they should not, and how sessions come and go.

use std::sync::atomic::{AtomicU64, Ordering};

/// One endpoint's counts, shared by its sessions.
#[derive(Debug, Default)]
pub struct Tally {
    sessions: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    not_allowed: AtomicU64,
    unsupported: AtomicU64,
}

/// What a [`Tally`] stood at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TallyCounts {
    /// Sessions that were begun.
    pub sessions: u64,
    /// Connections that did not become a session.
    pub refused: u64,
    /// Sessions that were ended because of a frame that cannot be understood.
    pub malformed: u64,
    /// Frames that their sender may not ask.
    pub not_allowed: u64,
    /// Frames of an unknown kind, or with an unknown critical flag.
    pub unsupported: u64,
}

/// One thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Session,
    Refused,
    Malformed,
    NotAllowed,
    Unsupported,
}

impl Tally {
    pub(super) fn count(&self, event: Event) {
        let counter = match event {
            Event::Session => &self.sessions,
            Event::Refused => &self.refused,
            Event::Malformed => &self.malformed,
            Event::NotAllowed => &self.not_allowed,
            Event::Unsupported => &self.unsupported,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What it stands at now.
    #[must_use]
    pub fn counts(&self) -> TallyCounts {
        TallyCounts {
            sessions: self.sessions.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            not_allowed: self.not_allowed.load(Ordering::Relaxed),
            unsupported: self.unsupported.load(Ordering::Relaxed),
        }
    }
}
