//! Counts for metrics: what peers did that they should not, how sessions come and go, and what their connections carry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::ConnectionStats;

use crate::metrics::QuicNumbers;

/// One endpoint's counts, shared by its sessions.
#[derive(Debug, Default)]
pub struct Tally {
    sessions: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    not_allowed: AtomicU64,
    unsupported: AtomicU64,
    traffic: Mutex<Traffic>,
}

/// What connections have carried. A lock that is taken when a session begins and ends, and by a scrape.
#[derive(Debug, Default)]
struct Traffic {
    next: u64,
    open: BTreeMap<u64, quinn::Connection>,
    /// Of those that have ended.
    ended: QuicNumbers,
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

    /// Counts what a connection carries, until the enrolment is dropped and for ever after.
    pub(super) fn enrol(self: &Arc<Self>, connection: &quinn::Connection) -> Enrolment {
        let mut traffic = self.traffic();
        traffic.next += 1;
        let number = traffic.next;
        traffic.open.insert(number, connection.clone());
        Enrolment { tally: Arc::clone(self), number }
    }

    /// What it all stands at now; the round trips to members are for others to say.
    #[must_use]
    pub fn counts(&self) -> QuicNumbers {
        let traffic = self.traffic();
        let mut numbers = traffic.ended.clone();
        for connection in traffic.open.values() {
            add(&mut numbers, &connection.stats());
        }
        QuicNumbers {
            connections: traffic.open.len() as u64,
            sessions: self.sessions.load(Ordering::Relaxed),
            sessions_refused: self.refused.load(Ordering::Relaxed),
            frames_malformed: self.malformed.load(Ordering::Relaxed),
            frames_not_allowed: self.not_allowed.load(Ordering::Relaxed),
            frames_unsupported: self.unsupported.load(Ordering::Relaxed),
            ..numbers
        }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session whose connection is counted.
#[derive(Debug)]
pub(super) struct Enrolment {
    tally: Arc<Tally>,
    number: u64,
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        let mut traffic = self.tally.traffic();
        if let Some(connection) = traffic.open.remove(&self.number) {
            add(&mut traffic.ended, &connection.stats());
        }
    }
}

fn add(numbers: &mut QuicNumbers, stats: &ConnectionStats) {
    numbers.sent_bytes += stats.udp_tx.bytes;
    numbers.received_bytes += stats.udp_rx.bytes;
    numbers.sent_packets += stats.path.sent_packets;
    numbers.lost_packets += stats.path.lost_packets;
}
