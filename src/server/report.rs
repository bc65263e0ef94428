//! What a shard says about itself: told to whoever asks, and pinned up for those who do not want to wait.
//!
//! The control thread asks, where it matters that the answer is of now. A scrape reads what is pinned up: it must not
//! wait for a shard, least of all for one that waits for its disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::metrics::{ItemCacheNumbers, ShardNumbers, TurnNumbers};
use crate::protocol::shard::{Counters, Measures, VerbMeasures};
use crate::protocol::types::{Instant, PartitionId};
use crate::protocol::wire::{ShardCounts, VerbCounts, buckets_of};

/// How often a shard that does something pins up a new report: a copy of a few kilobytes.
pub(crate) const PIN_EVERY: Duration = Duration::from_millis(250);

/// A shard's account of itself.
#[derive(Debug, Clone)]
pub(crate) struct ShardReport {
    /// When it was made.
    pub(crate) at: Instant,
    /// The machine's counts.
    pub(crate) counters: Counters,
    /// What the machine has measured.
    pub(crate) measures: Measures,
    /// What the driver has.
    pub(crate) turns: TurnNumbers,
    /// What the storage keeps in memory for it.
    pub(crate) items: ItemCacheNumbers,
    /// Some partition's answers do not count toward R yet.
    pub(crate) unverified: bool,
    /// By partition, since when it is known to agree with the other owners' copies; none while that is not known.
    pub(crate) in_sync: Vec<(PartitionId, Option<Instant>)>,
    /// Requests under way.
    pub(crate) in_flight: usize,
    /// The part of its usual pace that background work has.
    pub(crate) background_share: f64,
    /// Hints that are kept, and their bytes.
    pub(crate) hints: (u64, u64),
    /// How long the oldest of them had been known.
    pub(crate) oldest_hint: Duration,
}

impl ShardReport {
    /// The report as numbers of now: what it says is as old as it was, ages are as old as they are.
    pub(crate) fn numbers(&self, now: Instant) -> ShardNumbers {
        let (hints, hint_bytes) = self.hints;
        let waited = if hints == 0 { Duration::ZERO } else { now.since(self.at) };
        let age =
            |(partition, since): &(PartitionId, Option<Instant>)| (*partition, since.map(|since| now.since(since)));
        ShardNumbers {
            counters: self.counters.clone(),
            measures: self.measures.clone(),
            turns: self.turns,
            items: self.items,
            in_flight: self.in_flight as u64,
            background_share: self.background_share,
            hints,
            hint_bytes,
            oldest_hint: self.oldest_hint + waited,
            in_sync_ages: self.in_sync.iter().map(age).collect(),
        }
    }

    /// The report for whoever watches the node live.
    pub(crate) fn counts(&self, shard: u16) -> ShardCounts {
        let verb = |begun: u64, measures: &VerbMeasures| VerbCounts {
            begun,
            succeeded: measures.succeeded,
            failed: measures.failed.values().sum(),
            times: buckets_of(&measures.request),
        };
        ShardCounts {
            shard,
            at_ns: self.at.as_nanos(),
            gets: verb(self.counters.gets, &self.measures.gets),
            puts: verb(self.counters.puts, &self.measures.puts),
            in_flight: self.in_flight as u64,
            queued: buckets_of(&self.turns.queued),
        }
    }
}

/// Where a shard pins up its newest report.
#[derive(Debug, Default)]
pub(crate) struct Pinboard(Mutex<Option<Arc<ShardReport>>>);

impl Pinboard {
    /// Replaces the report.
    pub(crate) fn pin(&self, report: ShardReport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(report));
    }

    /// The newest report; none before the first.
    pub(crate) fn newest(&self) -> Option<Arc<ShardReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
