//! Which partition to compare with whom next.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::protocol::types::{Instant, PartitionId};

/// A partition and another owner of it, by the caller's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The partition.
    pub partition: PartitionId,
    /// The other owner.
    pub peer: u16,
}

/// Both ends compare, so a pair that agrees is compared about every ten seconds: two small frames.
const EVERY: Duration = Duration::from_secs(20);
/// After a failure, doubled up to [`EVERY`].
const RETRY: Duration = Duration::from_millis(500);
/// Exchanges under way at once: most of one is a pause and round trips.
pub const RUNNING_MAX: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Entry {
    due: Instant,
    running: bool,
    /// Something may have been missed since the last round began.
    disturbed: bool,
    /// It was disturbed while it was running: the round under way may have come too early.
    again: bool,
    failures: u32,
    /// When the last round began that completed.
    in_sync: Option<Instant>,
    began: Instant,
}

/// Every pair of a shard, and when it is due.
#[derive(Debug, Default)]
pub struct Schedule {
    pairs: BTreeMap<Pair, Entry>,
    running: usize,
}

impl Schedule {
    /// Takes a pair in, due at once; a disturbed one before all that are not.
    pub fn add(&mut self, pair: Pair, now: Instant, disturbed: bool) {
        let entry = Entry { due: now, running: false, disturbed, again: false, failures: 0, in_sync: None, began: now };
        self.pairs.insert(pair, entry);
    }

    /// Something may have been missed between these two: all partitions with the peer are due at once.
    pub fn disturb(&mut self, peer: u16, now: Instant) {
        for (_, entry) in self.pairs.iter_mut().filter(|(pair, _)| pair.peer == peer) {
            entry.disturb(now);
        }
    }

    /// Something was missed in one partition.
    pub fn disturb_pair(&mut self, pair: Pair, now: Instant) {
        if let Some(entry) = self.pairs.get_mut(&pair) {
            entry.disturb(now);
        }
    }

    /// The next pair to compare, if one that can be is due and there is room; it is running from here on. Of those that
    /// are due the doubted come first, for reads wait for them; then the disturbed, and those that have waited for a
    /// whole round, so that a stream of disturbances starves nobody.
    pub fn begin(
        &mut self,
        now: Instant,
        can_be: impl Fn(Pair) -> bool,
        doubted: impl Fn(PartitionId) -> bool,
    ) -> Option<Pair> {
        if self.running >= RUNNING_MAX {
            return None;
        }
        let due = |(pair, entry): &(&Pair, &Entry)| !entry.running && entry.due <= now && can_be(**pair);
        let urgent = |entry: &Entry| entry.disturbed || now.since(entry.due) >= EVERY;
        let rank = |(pair, entry): &(&Pair, &Entry)| (!doubted(pair.partition), !urgent(entry), entry.due, **pair);
        let (pair, _) = self.pairs.iter().filter(due).min_by_key(rank)?;
        let pair = *pair;
        let entry = self.pairs.get_mut(&pair)?;
        (entry.running, entry.disturbed, entry.again, entry.began) = (true, false, false, now);
        self.running += 1;
        Some(pair)
    }

    /// When the next pair that can be compared is due, if there is room for it.
    #[must_use]
    pub fn next_due(&self, can_be: impl Fn(Pair) -> bool) -> Option<Instant> {
        if self.running >= RUNNING_MAX {
            return None;
        }
        let waits = |(pair, entry): (&Pair, &Entry)| (!entry.running && can_be(*pair)).then_some(entry.due);
        self.pairs.iter().filter_map(waits).min()
    }

    /// A round is over. `jitter` is 0 to 1,023: so that the pairs of one node do not come all at once.
    pub fn finish(&mut self, pair: Pair, completed: bool, now: Instant, jitter: u32) {
        let Some(entry) = self.pairs.get_mut(&pair).filter(|entry| entry.running) else { return };
        entry.running = false;
        self.running -= 1;
        let wait = match completed {
            true => EVERY,
            false => (RETRY * (1 << entry.failures.min(6))).min(EVERY),
        };
        entry.failures = if completed { 0 } else { entry.failures + 1 };
        if completed {
            entry.in_sync = Some(entry.began);
        }
        let wait = wait / 2 + wait * jitter.min(1_023) / 1_024;
        entry.due = if entry.again && completed { now } else { now.after(wait) };
    }

    /// Since when the pair is known to agree on all that there was then.
    #[must_use]
    pub fn in_sync(&self, pair: Pair) -> Option<Instant> {
        self.pairs.get(&pair)?.in_sync
    }

    /// The oldest such time of a partition's pairs; `None` while one has never completed.
    #[must_use]
    pub fn partition_in_sync(&self, partition: PartitionId) -> Option<Instant> {
        let all = Pair { partition, peer: 0 }..=Pair { partition, peer: u16::MAX };
        self.pairs.range(all).map(|(_, entry)| entry.in_sync).min().flatten()
    }

    /// The oldest such time of all pairs; `None` while one has never completed.
    #[must_use]
    pub fn oldest_in_sync(&self) -> Option<Instant> {
        self.pairs.values().map(|entry| entry.in_sync).min().flatten()
    }

    /// Exchanges under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }
}

impl Entry {
    fn disturb(&mut self, now: Instant) {
        self.failures = 0;
        self.due = self.due.min(now);
        self.disturbed = true;
        self.again = self.running;
    }
}
