//! Local health (Lifeguard, section IV.A): how far this node trusts its own view.
//!
//! A slow prober takes everybody for dead. So what went wrong with the prober itself (an answer that did not come
//! although the helpers are well, a nack that is missing, a suspicion of itself, a tick that came late) raises a
//! score, and all its probes get `score + 1` times as long.

use std::time::Duration;

/// The local health score: 0 is well.
#[derive(Debug, Clone)]
pub(super) struct Health {
    score: u32,
    max: u32,
}

impl Health {
    pub(super) fn new(max: u32) -> Self {
        Self { score: 0, max }
    }

    pub(super) fn score(&self) -> u32 {
        self.score
    }

    pub(super) fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.max);
    }

    pub(super) fn mend(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A duration, as long as this node needs it.
    pub(super) fn stretch(&self, duration: Duration) -> Duration {
        duration.saturating_mul(self.score + 1)
    }
}
