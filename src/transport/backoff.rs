//! How long to wait before the next attempt: longer each time, up to a cap, and never in step with others.

use std::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// The first wait, before jitter.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest wait: a node that comes back is used again within this time.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// The waits of one link.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Xoshiro256PlusPlus,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed), failures: 0 }
    }

    /// The wait after one more failure: 100 ms, doubled each time up to 5 s, of which a random half to whole is taken.
    /// After a node's restart its peers must not all come back in the same millisecond.
    pub(super) fn next(&mut self) -> Duration {
        let whole = WAIT_MIN.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let span = u64::try_from(half.as_nanos()).expect("half of the longest wait is below 3 s");
        half + Duration::from_nanos(self.random.next_u64() % (span + 1))
    }

    /// A random number, for jitter elsewhere.
    pub(super) fn jitter(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A session lasted: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}
