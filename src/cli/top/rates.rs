//! From two accounts of a node to what it did between them: rates, and quantiles of what took how long.

use std::time::Duration;

use crate::protocol::wire::{Bucket, NodeCounts, ShardCounts, VerbCounts};

/// An account may be this much older than the moment at which it was asked for (`server/report.rs`), and one of a shard
/// that did nothing much older still.
const ACCOUNT_AGE_MAX: Duration = Duration::from_millis(250);

/// What a node did.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rates {
    pub(super) gets: VerbRates,
    pub(super) puts: VerbRates,
    /// Requests under way, at the end of it.
    pub(super) in_flight: u64,
    /// Inputs that waited for a turn, most of the time: its 99th percentile. None when there were no turns.
    pub(super) queued: Option<u64>,
}

/// What it did of one kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct VerbRates {
    /// Requests a second.
    pub(super) begun: f64,
    /// Failures a second.
    pub(super) failed: f64,
    /// None when none succeeded.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

impl Rates {
    /// Requests a second.
    pub(super) fn requests(&self) -> f64 {
        self.gets.begun + self.puts.begun
    }

    /// Failures a second.
    pub(super) fn failures(&self) -> f64 {
        self.gets.failed + self.puts.failed
    }

    /// The slower of both kinds.
    pub(super) fn p99(&self) -> Option<Duration> {
        self.gets.p99.max(self.puts.p99)
    }

    /// What happened between two accounts that were asked for this long after each other. Of a shard that is of
    /// another process by then nothing is said.
    pub(super) fn between(before: &NodeCounts, after: &NodeCounts, apart: Duration) -> Self {
        let mut rates = Self::default();
        let (mut gets, mut puts, mut queued) = (Buckets::default(), Buckets::default(), Buckets::default());
        for now in &after.shards {
            rates.in_flight += now.in_flight;
            let earlier = before.shards.iter().find(|earlier| earlier.shard == now.shard);
            let Some(earlier) = earlier.filter(|earlier| earlier.at_ns <= now.at_ns) else { continue };
            let seconds = elapsed(earlier, now, apart).as_secs_f64();
            rates.gets.add(&earlier.gets, &now.gets, seconds);
            rates.puts.add(&earlier.puts, &now.puts, seconds);
            gets.add(&earlier.gets.times, &now.gets.times);
            puts.add(&earlier.puts.times, &now.puts.times);
            queued.add(&earlier.queued, &now.queued);
        }
        let time = |buckets: &Buckets, percent| buckets.quantile(percent).map(Duration::from_nanos);
        (rates.gets.p50, rates.gets.p99) = (time(&gets, 50), time(&gets, 99));
        (rates.puts.p50, rates.puts.p99) = (time(&puts, 50), time(&puts, 99));
        rates.queued = queued.quantile(99);
        rates
    }
}

impl VerbRates {
    fn add(&mut self, before: &VerbCounts, after: &VerbCounts, seconds: f64) {
        if seconds > 0.0 {
            self.begun += after.begun.saturating_sub(before.begun) as f64 / seconds;
            self.failed += after.failed.saturating_sub(before.failed) as f64 / seconds;
        }
    }
}

/// The time in which a shard did what is new in its second account. One that had been idle made its first account long
/// ago: what is new happened since that was asked for, or a moment before.
fn elapsed(before: &ShardCounts, after: &ShardCounts, apart: Duration) -> Duration {
    Duration::from_nanos(after.at_ns.saturating_sub(before.at_ns)).min(apart + ACCOUNT_AGE_MAX)
}

/// Values of all shards by rising upper bound.
#[derive(Debug, Default)]
struct Buckets(Vec<Bucket>);

impl Buckets {
    fn add(&mut self, before: &[Bucket], after: &[Bucket]) {
        for bucket in after {
            let earlier = before.iter().find(|earlier| earlier.up_to == bucket.up_to).map_or(0, |bucket| bucket.count);
            let count = bucket.count.saturating_sub(earlier);
            match self.0.binary_search_by_key(&bucket.up_to, |known| known.up_to) {
                Ok(at) => {
                    if let Some(known) = self.0.get_mut(at) {
                        known.count += count;
                    }
                }
                Err(at) => self.0.insert(at, Bucket { up_to: bucket.up_to, count }),
            }
        }
    }

    /// The value that so many of a hundred are not above, as if those of a bucket lay evenly in it. What is above the
    /// last bound is told as that bound.
    fn quantile(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|bucket| bucket.count).sum();
        if total == 0 {
            return None;
        }
        let wanted = (u128::from(total) * u128::from(percent)).div_ceil(100).max(1);
        let (mut below, mut bound) = (0_u128, 0);
        for bucket in &self.0 {
            let here = u128::from(bucket.count);
            if below + here >= wanted {
                if bucket.up_to == u64::MAX {
                    return Some(bound);
                }
                let part = u128::from(bucket.up_to - bound) * (wanted - below) / here.max(1);
                return Some(bound + u64::try_from(part).unwrap_or(0));
            }
            below += here;
            bound = bucket.up_to;
        }
        Some(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn buckets(counts: [u64; 3]) -> Vec<Bucket> {
        [1_000_000, 2_000_000, u64::MAX].into_iter().zip(counts).map(|(up_to, count)| Bucket { up_to, count }).collect()
    }

    fn shard(shard: u16, at_ms: u64, begun: u64, times: [u64; 3]) -> ShardCounts {
        let gets = VerbCounts { begun, succeeded: begun, failed: begun / 10, times: buckets(times) };
        let puts = VerbCounts::default();
        ShardCounts { shard, at_ns: at_ms * 1_000_000, gets, puts, in_flight: 3, queued: buckets([begun, 0, 0]) }
    }

    fn node(shards: Vec<ShardCounts>) -> NodeCounts {
        NodeCounts { shards }
    }

    #[test]
    fn rates_are_those_of_all_shards_by_their_own_clocks() {
        let before = node(vec![shard(0, 1_000, 100, [100, 0, 0]), shard(1, 900, 0, [0, 0, 0])]);
        let after = node(vec![shard(0, 2_000, 600, [500, 100, 0]), shard(1, 1_400, 250, [250, 0, 0])]);
        let rates = Rates::between(&before, &after, SECOND);
        assert!((rates.gets.begun - 1_000.0).abs() < 1e-6, "500 in a second and 250 in half of one: {rates:?}");
        assert!((rates.failures() - 100.0).abs() < 1e-6, "{rates:?}");
        assert_eq!((rates.in_flight, rates.puts.p99), (6, None));
        assert!(rates.gets.p50.is_some_and(|p50| p50 < Duration::from_millis(1)), "{rates:?}");
        assert!(rates.gets.p99.is_some_and(|p99| (1_900..=2_000).contains(&p99.as_micros())), "{rates:?}");
        assert!(rates.queued.is_some());
    }

    /// A shard that slept for a minute made its account a minute ago; what it did since was done in the last second.
    #[test]
    fn work_after_a_pause_is_not_spread_over_the_pause() {
        let before = node(vec![shard(0, 1_000, 0, [0, 0, 0])]);
        let after = node(vec![shard(0, 61_000, 125, [125, 0, 0])]);
        let rates = Rates::between(&before, &after, SECOND);
        assert!((rates.gets.begun - 100.0).abs() < 1e-6, "{rates:?}");
    }

    #[test]
    fn another_process_and_no_work_at_all_have_no_rates() {
        let idle = node(vec![shard(0, 1_000, 100, [100, 0, 0])]);
        let rates = Rates::between(&idle, &idle, SECOND);
        assert_eq!((rates.requests(), rates.p99(), rates.queued), (0.0, None, None));
        let restarted = node(vec![shard(0, 500, 7, [7, 0, 0])]);
        assert_eq!(Rates::between(&idle, &restarted, SECOND).gets, VerbRates::default());
        let new = node(vec![shard(1, 2_000, 7, [7, 0, 0])]);
        assert_eq!(Rates::between(&idle, &new, SECOND).gets, VerbRates::default());
    }

    #[test]
    fn quantile_lies_in_its_bucket_and_the_last_one_is_told_by_its_lower_bound() {
        let mut times = Buckets::default();
        times.add(&[], &buckets([50, 50, 0]));
        assert_eq!((times.quantile(50), times.quantile(75)), (Some(1_000_000), Some(1_500_000)));
        times.add(&[], &buckets([0, 0, 900]));
        assert_eq!(times.quantile(99), Some(2_000_000), "above 2 ms, nobody knows how far");
        assert_eq!(Buckets::default().quantile(99), None);
    }
}
