//! How long something took in the last seconds: a histogram of two windows, of which the older is forgotten.
//!
//! ```text
//!   before  |.......######..#.|   2 s, complete
//!   current |......####...    |   up to 2 s            a quantile is of both: of the last 2 to 4 s
//! ```
//!
//! Buckets are quarters of an octave, so a quantile is at most a quarter too high, and never too low. A sample costs
//! two shifts and an addition, a quantile one walk over 64 counts.

use core::time::Duration;

use crate::protocol::types::Instant;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(2);
/// Buckets to an octave.
const PARTS: u32 = 4;
/// From 16 microseconds to one second: 16 octaves.
const BUCKETS: usize = 64;
/// Below two to this many nanoseconds everything is one bucket.
const LOWEST: u32 = 14;
/// A quantile of fewer samples says little.
const SAMPLES_MIN: u32 = 20;

const _: () = assert!(LOWEST > 2, "a bucket's bounds are whole nanoseconds");

/// What a duration was like in the last seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    current: [u16; BUCKETS],
    before: [u16; BUCKETS],
    began: Instant,
}

impl Default for Recent {
    fn default() -> Self {
        Self { current: [0; BUCKETS], before: [0; BUCKETS], began: Instant::from_nanos(0) }
    }
}

impl Recent {
    /// Takes a sample.
    pub(super) fn add(&mut self, now: Instant, took: Duration) {
        self.roll(now);
        if let Some(count) = self.current.get_mut(bucket_of(took)) {
            *count = count.saturating_add(1);
        }
    }

    /// The duration that so many of a hundred did not reach; `None` when too little was seen of late.
    pub(super) fn quantile(&mut self, now: Instant, percent: u32) -> Option<Duration> {
        self.roll(now);
        let counts = || self.current.iter().zip(&self.before).map(|(now, before)| u32::from(*now) + u32::from(*before));
        let total: u32 = counts().sum();
        if total < SAMPLES_MIN {
            return None;
        }
        let wanted = (u64::from(total) * u64::from(percent)).div_ceil(100);
        let mut seen = 0_u64;
        let at = counts().position(|count| {
            seen += u64::from(count);
            seen >= wanted
        });
        at.map(end_of)
    }

    fn roll(&mut self, now: Instant) {
        let age = now.since(self.began);
        if age < WINDOW {
            return;
        }
        self.before = if age < WINDOW * 2 { self.current } else { [0; BUCKETS] };
        self.current = [0; BUCKETS];
        self.began = now;
    }
}

fn bucket_of(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let Some(octave) = nanos.checked_ilog2().filter(|octave| *octave >= LOWEST) else { return 0 };
    let part = (nanos >> (octave - 2)) & 3;
    let at = u64::from((octave - LOWEST) * PARTS) + part;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first duration that is above a bucket.
fn end_of(bucket: usize) -> Duration {
    let next = u32::try_from(bucket + 1).unwrap_or(0);
    let (octave, part) = (LOWEST + next / PARTS, u64::from(next % PARTS));
    Duration::from_nanos((4 + part) << (octave - 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    proptest! {
        #[test]
        fn quantile_is_at_most_a_quarter_above_the_exact_one(
            took in prop::collection::vec(16_384_u64..900_000_000, 20..400),
        ) {
            let mut recent = Recent::default();
            for nanos in &took {
                recent.add(at(1), Duration::from_nanos(*nanos));
            }
            let mut sorted = took.clone();
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * 95).div_ceil(100) - 1];
            let told = recent.quantile(at(1), 95).unwrap().as_nanos();
            prop_assert!(told > u128::from(exact), "{told} {exact}");
            prop_assert!(told * 4 <= u128::from(exact) * 5 + 4, "{told} {exact}");
        }
    }

    #[test]
    fn quantile_forgets_what_is_older_than_two_windows() {
        let mut recent = Recent::default();
        (0..100).for_each(|_| recent.add(at(0), Duration::from_millis(100)));
        assert!(recent.quantile(at(3_000), 95).unwrap() > Duration::from_millis(100));
        (0..30).for_each(|_| recent.add(at(3_900), Duration::from_millis(1)));
        assert!(recent.quantile(at(4_900), 95).unwrap() > Duration::from_millis(100), "of the last window still");
        assert!(recent.quantile(at(6_100), 95).unwrap() < Duration::from_millis(2));
        assert_eq!(recent.quantile(at(11_000), 95), None, "nothing was seen of late");
    }

    #[test]
    fn quantile_of_few_samples_is_none_and_extremes_fit() {
        let mut recent = Recent::default();
        (0..19).for_each(|_| recent.add(at(0), Duration::ZERO));
        assert_eq!(recent.quantile(at(0), 95), None);
        recent.add(at(0), Duration::MAX);
        assert_eq!(recent.quantile(at(0), 95), Some(Duration::from_nanos(20_480)));
        assert!(recent.quantile(at(0), 100).unwrap() >= Duration::from_secs(1));
        (0..100_000).for_each(|_| recent.add(at(0), Duration::ZERO));
        assert!(recent.quantile(at(0), 95).is_some(), "counts end, and do not go round");
    }
}
