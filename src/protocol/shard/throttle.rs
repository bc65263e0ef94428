//! How much of the time background work gets: less while the foreground suffers (Dynamo 6.5).
//!
//! Dynamo's admission controller watches the foreground's 99th percentile over a trailing time and gives background
//! tasks fewer slices of the shared resources when that comes near its threshold. Here:
//!
//! ```text
//!   every second: p99 of the client requests that ended in it
//!     p99 > max(target, twice the usual)   share / 2, never below 1/16
//!     otherwise                            share + 1/8, up to 1
//! ```
//!
//! A share of 1/4 means: after each piece of work, such as a page of a tree or an item that an exchange moves, a pause
//! of three times its usual pace; and a quarter of the exchanges, and of the hints on their way, at once.
//!
//! *The usual* is what the foreground takes anyway, on slow disks or between far places: it falls with every better
//! second at once, and rises slowly towards what is seen. So a foreground that is slow of itself, and does not get
//! better when background work steps back, wins it no eternal precedence.
//!
//! Invariants: the share is between 1/16 and 1, so background work always ends (repair that starves is repair that
//! never happens); without foreground it is back at 1 within eight seconds; same input, same share.

use core::time::Duration;

use crate::protocol::types::Instant;

/// Background work gives way when the slowest hundredth of client requests takes longer than this. Dynamo's example is
/// 50 ms for disks that turn.
const TARGET: Duration = Duration::from_millis(20);
/// How often the share is judged.
const WINDOW: Duration = Duration::from_secs(1);
/// Requests without which a second says nothing: with fewer, one slow one would be the percentile.
const SAMPLES_MIN: u32 = 50;
/// The share in sixteenths: whole ..
const WHOLE: u32 = 16;
/// .. what it rises by ..
const STEP: u32 = 2;
/// .. and the least.
const LEAST: u32 = 1;
/// From the least share to the whole, without a foreground that suffers.
#[cfg(test)]
const RECOVERY: Duration = Duration::from_secs(8);
/// Buckets of a window: four for each power of two from 64 us on, which reaches to over a minute.
const BUCKETS: usize = 84;

/// The controller.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Sixteenths.
    share: u32,
    /// The foreground's usual 99th percentile. At first what the target asks for: a node that starts in the middle of a
    /// storm is not to take that for the weather.
    usual: Duration,
    ends: Instant,
    counts: [u32; BUCKETS],
    samples: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { share: WHOLE, usual: TARGET / 2, ends: Instant::from_nanos(0), counts: [0; BUCKETS], samples: 0 }
    }
}

impl Throttle {
    /// A client request that arrived at `began` has ended.
    pub(super) fn observe(&mut self, now: Instant, began: Instant) {
        self.advance(now);
        let bucket = bucket_of(now.since(began));
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
            self.samples = self.samples.saturating_add(1);
        }
    }

    /// Judges the seconds that are over.
    pub(super) fn advance(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let p99 = self.percentile();
        let limit = TARGET.max(self.usual * 2);
        self.share = match p99 {
            Some(p99) if p99 > limit => (self.share / 2).max(LEAST),
            _ => (self.share + STEP).min(WHOLE),
        };
        if let Some(p99) = p99 {
            // Halfway up in three quarters of a minute, and twice that is the limit.
            self.usual = if p99 < self.usual { p99 } else { self.usual + p99.saturating_sub(self.usual) / 64 };
        }
        // Seconds in which nothing ended are good ones.
        let idle = now.since(self.ends).as_secs().min(u64::from(WHOLE));
        self.share = (self.share + STEP * u32::try_from(idle).unwrap_or(WHOLE)).min(WHOLE);
        self.ends = now.after(WINDOW);
        (self.counts, self.samples) = ([0; BUCKETS], 0);
    }

    /// The share of background work, in thousandths: 62 to 1,000.
    pub(super) fn share_permille(&self) -> u32 {
        self.share * 1_000 / WHOLE
    }

    /// The pause after a piece of work, whose usual pace is `pace`.
    pub(super) fn pause(&self, pace: Duration) -> Duration {
        pace * WHOLE / self.share
    }

    /// How many of `most` may be under way at once; at least one.
    pub(super) fn of(&self, most: usize) -> usize {
        let (share, whole) = (usize::try_from(self.share).unwrap_or(1), usize::try_from(WHOLE).unwrap_or(1));
        (most * share / whole).max(1)
    }

    /// Whether background work gets less than the whole.
    pub(super) fn is_narrow(&self) -> bool {
        self.share < WHOLE
    }

    /// The upper edge of the bucket that has the slowest hundredth.
    fn percentile(&self) -> Option<Duration> {
        if self.samples < SAMPLES_MIN {
            return None;
        }
        let beyond = self.samples / 100;
        let mut above = 0;
        let slow = |(_, count): &(usize, &u32)| {
            above += **count;
            above > beyond
        };
        self.counts.iter().enumerate().rev().find(slow).map(|(bucket, _)| edge_of(bucket))
    }
}

/// The longest latency of a bucket.
fn edge_of(bucket: usize) -> Duration {
    EDGES.get(bucket).copied().unwrap_or(Duration::MAX)
}

/// Which bucket a latency is counted in.
fn bucket_of(latency: Duration) -> usize {
    EDGES.partition_point(|edge| latency > *edge).min(BUCKETS - 1)
}

/// The longest latency of each bucket: 64 us, then a quarter of a power of two more each.
static EDGES: [Duration; BUCKETS] = {
    let mut edges = [Duration::ZERO; BUCKETS];
    let mut bucket = 0;
    while bucket < BUCKETS {
        edges[bucket] = Duration::from_micros((16 * (4 + bucket as u64 % 4)) << (bucket / 4));
        bucket += 1;
    }
    edges
};

const _: () = assert!(LEAST > 0, "progress is guaranteed");
const _: () = assert!(WHOLE.is_multiple_of(STEP));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seconds of a foreground with this latency; the share after each.
    fn seconds(throttle: &mut Throttle, from: u64, latencies: &[u64], count: u32) -> Vec<u32> {
        let mut shares = Vec::new();
        for (second, millis) in (from..).zip(latencies) {
            let now = Instant::from_nanos(second * 1_000_000_000 + 500_000_000);
            let began = Instant::from_nanos(now.as_nanos() - millis * 1_000_000);
            for _ in 0..count {
                throttle.observe(now, began);
            }
            throttle.advance(Instant::from_nanos(now.as_nanos() + 1_000_000_000));
            shares.push(throttle.share);
        }
        shares
    }

    #[test]
    fn share_halves_while_the_foreground_suffers_and_comes_back_step_by_step() {
        let mut throttle = Throttle::default();
        assert_eq!(seconds(&mut throttle, 1, &[2, 2], 100), [16, 16]);
        assert_eq!(seconds(&mut throttle, 10, &[100; 6], 100), [8, 4, 2, 1, 1, 1], "never to zero");
        assert_eq!(seconds(&mut throttle, 26, &[2; 3], 100), [16; 3], "and back after idle seconds");
        assert_eq!(seconds(&mut throttle, 30, &[100; 4], 100), [8, 4, 2, 1]);
        let mut now = Instant::from_nanos(34 * 1_000_000_000 + 600_000_000);
        let mut steps = Vec::new();
        while throttle.is_narrow() {
            now = now.after(Duration::from_millis(999));
            throttle.advance(now);
            now = now.after(Duration::from_millis(1));
            throttle.advance(now);
            steps.push(throttle.share);
        }
        assert!(steps.is_sorted() && steps.len() <= 8, "{steps:?}");
    }

    #[test]
    fn one_slow_request_of_a_hundred_is_no_suffering_and_two_are() {
        for (slow, share) in [(1, WHOLE), (2, WHOLE / 2)] {
            let mut throttle = Throttle::default();
            throttle.advance(Instant::from_nanos(1));
            let now = Instant::from_nanos(900_000_000);
            for at in 0..100 {
                let took = if at < slow { 500_000_000 } else { 1_000_000 };
                throttle.observe(now, Instant::from_nanos(now.as_nanos() - took));
            }
            throttle.advance(Instant::from_nanos(1_000_000_002));
            assert_eq!(throttle.share, share, "{slow} slow ones");
        }
    }

    #[test]
    fn slowness_that_lasts_becomes_usual() {
        let mut throttle = Throttle::default();
        seconds(&mut throttle, 1, &[5, 5], 100);
        let shares = seconds(&mut throttle, 3, &[300; 60], 100);
        assert!(shares.contains(&LEAST), "at first background work gives way: {shares:?}");
        assert_eq!(shares.last(), Some(&WHOLE), "it is not to blame: {shares:?}");
        let shares = seconds(&mut throttle, 63, &[5, 5, 5, 100], 100);
        assert_eq!(shares.last(), Some(&(WHOLE / 2)), "a better second is usual at once: {shares:?}");
    }

    #[test]
    fn few_requests_say_nothing() {
        let mut throttle = Throttle::default();
        assert_eq!(seconds(&mut throttle, 1, &[900; 5], SAMPLES_MIN - 1), [WHOLE; 5]);
    }

    #[test]
    fn every_latency_has_a_bucket_that_is_a_quarter_wide_at_most() {
        assert!(edge_of(BUCKETS - 1) > Duration::from_mins(1));
        for bucket in 1..BUCKETS {
            let (below, edge) = (edge_of(bucket - 1), edge_of(bucket));
            assert!(below < edge && edge <= below * 5 / 4, "{below:?} {edge:?}");
            assert_eq!(bucket_of(edge), bucket);
            assert_eq!(bucket_of(below + Duration::from_nanos(1)), bucket);
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    proptest! {
        /// Whatever happens in whatever order, there is a share; and without foreground it is whole again in time.
        #[test]
        fn progress_is_guaranteed(events in prop::collection::vec((0_u64..3_000, 0_u64..70_000, 1_u32..200), 0..100)) {
            let mut throttle = Throttle::default();
            let mut now = Instant::from_nanos(100_000_000_000);
            for (passed, took, count) in events {
                now = now.after(Duration::from_millis(passed));
                for _ in 0..count {
                    throttle.observe(now, Instant::from_nanos(now.as_nanos().saturating_sub(took * 1_000_000)));
                }
                prop_assert!((LEAST..=WHOLE).contains(&throttle.share));
                prop_assert!(throttle.of(16) >= 1 && throttle.of(64) <= 64);
                prop_assert!(throttle.pause(Duration::from_millis(10)) <= Duration::from_millis(160));
            }
            throttle.advance(now.after(WINDOW));
            throttle.advance(now.after(WINDOW + RECOVERY));
            prop_assert!(!throttle.is_narrow());
        }
    }
}
