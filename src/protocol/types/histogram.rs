//! Distributions, counted in plain integers: how long, how many, how large.
//!
//! ```text
//!   bounds   10 us   25 us   50 us  ..  10 s
//!   counts [   3   |   5   |   0   |..|  0  |  1 ]     one more than bounds: above the last
//! ```
//!
//! A shard counts a few hundred thousand times a second, so recording is a search in twenty numbers and one addition:
//! no lock, no allocation, no float. A histogram belongs to one thread; others see copies of it.
//!
//! *Caveats.* The bounds are fixed when compiling: a quantile is known to within its bucket, a factor of 2 or 2.5.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

/// Buckets of any scale, the one above its last bound included.
const BUCKETS_MAX: usize = 20;

/// What a histogram counts in, and where its buckets end.
pub trait Scale {
    /// Upper bounds, included, rising; in whole numbers of the scale's unit.
    const BOUNDS: &'static [u64];
    /// How many of the scale's units make one of what is shown to people.
    const PER_SHOWN: f64;
}

/// Durations: recorded in nanoseconds, shown in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds;

impl Scale for Seconds {
    const BOUNDS: &'static [u64] = &[
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
    ];
    const PER_SHOWN: f64 = 1e9;
}

/// Numbers of things that come in bulk: inputs of a turn, writes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Things;

impl Scale for Things {
    const BOUNDS: &'static [u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096, 16_384];
    const PER_SHOWN: f64 = 1.0;
}

/// Numbers of concurrent versions, up to the limit for clients' writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions;

impl Scale for Versions {
    const BOUNDS: &'static [u64] = &[0, 1, 2, 3, 4, 8, 16, 32, 64];
    const PER_SHOWN: f64 = 1.0;
}

/// A distribution on a scale.
pub struct Histogram<S> {
    counts: [u64; BUCKETS_MAX],
    /// Wide: a thousand requests of a second each, every second, would fill 64 bits of nanoseconds in half a year.
    sum: u128,
    scale: PhantomData<S>,
}

impl<S: Scale> Histogram<S> {
    const FITS: () = assert!(S::BOUNDS.len() < BUCKETS_MAX, "a scale has fewer bounds than a histogram has buckets");

    /// Counts one value, in the scale's own unit.
    pub fn record(&mut self, value: u64) {
        let () = Self::FITS;
        let bucket = S::BOUNDS.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += u128::from(value);
    }

    /// Adds what another one has counted.
    pub fn absorb(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, as shown to people.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / S::PER_SHOWN
    }

    /// Each bucket by its upper bound, in the scale's own unit, with the values in it. Above the last bound it is
    /// `u64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        S::BOUNDS.iter().copied().chain([u64::MAX]).zip(self.counts)
    }

    /// For each bound, as shown to people: how many values are not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        S::BOUNDS.iter().zip(self.counts).map(move |(bound, count)| {
            below += count;
            (*bound as f64 / S::PER_SHOWN, below)
        })
    }
}

impl Histogram<Seconds> {
    /// Counts one duration.
    pub fn record_time(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

// By hand: what a derive would ask of the scale, which is only a name.

impl<S> Default for Histogram<S> {
    fn default() -> Self {
        Self { counts: [0; BUCKETS_MAX], sum: 0, scale: PhantomData }
    }
}

impl<S> Clone for Histogram<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Histogram<S> {}

impl<S> PartialEq for Histogram<S> {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.sum == other.sum
    }
}

impl<S> Eq for Histogram<S> {}

impl<S> fmt::Debug for Histogram<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("counts", &self.counts).field("sum", &self.sum).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rises(bounds: &[u64]) -> bool {
        bounds.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn bounds_rise() {
        assert!(rises(Seconds::BOUNDS) && rises(Things::BOUNDS) && rises(Versions::BOUNDS));
    }

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let mut versions = Histogram::<Versions>::default();
        for count in [0, 1, 1, 2, 5, 64, 65] {
            versions.record(count);
        }
        let cumulative: Vec<_> = versions.cumulative().collect();
        let expected = [(0, 1), (1, 3), (2, 4), (3, 4), (4, 4), (8, 5), (16, 5), (32, 5), (64, 6)];
        assert_eq!(cumulative, expected.map(|(bound, count)| (f64::from(bound), count)));
        assert_eq!(versions.count(), 7, "65 is above the last bound and counted all the same");
        let buckets: Vec<_> = versions.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(buckets, [(0, 1), (1, 2), (2, 1), (8, 1), (64, 1), (u64::MAX, 1)]);
    }

    #[test]
    fn durations_are_shown_in_seconds() {
        let mut times = Histogram::<Seconds>::default();
        times.record_time(Duration::from_millis(500));
        times.record_time(Duration::MAX);
        assert_eq!(times.count(), 2);
        assert!(times.sum() > 0.5);
        let half = times.cumulative().find(|(bound, _)| (*bound - 0.5).abs() < 1e-9);
        assert_eq!(half.map(|(_, count)| count), Some(1));
    }

    proptest! {
        #[test]
        fn counting_apart_and_together_is_the_same(
            values in prop::collection::vec(any::<u64>(), 0..200),
            at in 0_usize..200,
        ) {
            let at = at.min(values.len());
            let (mut whole, mut first, mut second) =
                (Histogram::<Things>::default(), Histogram::default(), Histogram::default());
            for value in &values {
                whole.record(*value);
            }
            values[..at].iter().for_each(|value| first.record(*value));
            values[at..].iter().for_each(|value| second.record(*value));
            first.absorb(&second);
            prop_assert_eq!(first, whole);
            for (bound, count) in whole.cumulative() {
                let naive = values.iter().filter(|value| **value as f64 <= bound).count() as u64;
                prop_assert_eq!(count, naive);
            }
            prop_assert_eq!(whole.count(), values.len() as u64);
        }
    }
}
