//! Back-pressure: the owner of an inbox shuts the gate when it is full, and the readers that feed it stand still.
//!
//! A reader that does not read lets QUIC's flow control fill up, then the peer's lane, whose sender fails at once. So
//! the pressure reaches whoever makes it, and each buffer on the way has a bound. What a reader has already cut into
//! frames is still delivered: an inbox has to take one batch (32 chunks of a packet each) after it shut the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A gate, open at first. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    shut: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Readers stand still from their next batch on.
    pub fn shut(&self) {
        self.0.shut.store(true, Ordering::Release);
    }

    /// Readers go on.
    pub fn open(&self) {
        if self.0.shut.swap(false, Ordering::AcqRel) {
            self.0.opened.notify_waiters();
        }
    }

    /// Whether readers may read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.shut.load(Ordering::Acquire)
    }

    /// Returns when the gate is open.
    pub async fn passed(&self) {
        while !self.is_open() {
            let opened = self.0.opened.notified();
            // `notified` counts from here, so an opening between these two lines is not missed.
            if self.is_open() {
                return;
            }
            opened.await;
        }
    }
}
