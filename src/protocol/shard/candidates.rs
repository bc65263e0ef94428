//! Items that reaping will look at: those without a value, those with a long past, and those that another owner refused
//! as obsolete. Bounded; what does not fit is found again by a scan.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::replica::ItemKey;
use crate::protocol::types::{Instant, PartitionId};

/// Candidates of a shard: a few megabytes.
const CANDIDATES_MAX: usize = 16_384;
/// An item is left alone for so long after a write, so that what is under way is not in the way of the round. Nothing
/// rests on it.
const SETTLING: Duration = Duration::from_secs(4);
/// The later an owner is in its partition's list, the later it begins: one of them is enough.
const BY_RANK: Duration = Duration::from_secs(3);
/// After a round that was blocked, doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// An item that may be reaped or stripped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) due: Instant,
    pub(super) failures: u32,
    /// Another owner said that all of it is obsolete.
    pub(super) refused: bool,
    /// The clock has a gap below what the item knows, or the copy could not be read: nobody is asked about it.
    pub(super) gap: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    items: BTreeMap<(PartitionId, ItemKey), Candidate>,
    due: BTreeSet<(Instant, PartitionId, ItemKey)>,
    /// Partitions of which some did not fit.
    missed: BTreeSet<PartitionId>,
}

impl Candidates {
    /// An item was stored that has no value or a long past. `rank` is this owner's place among the owners.
    pub(super) fn note(&mut self, now: Instant, partition: PartitionId, key: &ItemKey, rank: u32) {
        let failures = self.items.get(&(partition, key.clone())).map_or(0, |candidate| candidate.failures.min(2));
        let refused = self.items.get(&(partition, key.clone())).is_some_and(|candidate| candidate.refused);
        let due = now.after(SETTLING + BY_RANK * rank);
        self.put(partition, key.clone(), Candidate { due, failures, refused, gap: false });
    }

    /// Another owner refused all of an item as obsolete.
    pub(super) fn note_refused(&mut self, now: Instant, partition: PartitionId, key: &ItemKey) {
        let known = self.items.get(&(partition, key.clone())).filter(|candidate| candidate.refused);
        if known.is_none() {
            self.put(partition, key.clone(), Candidate { due: now, failures: 0, refused: true, gap: false });
        }
    }

    /// A round could not end with the item.
    pub(super) fn again(&mut self, now: Instant, partition: PartitionId, key: ItemKey, candidate: Candidate) {
        let wait = (RETRY.0 * (1 << candidate.failures.min(10))).min(RETRY.1);
        let failures = candidate.failures + 1;
        // A write that came meanwhile has queued it anew.
        if !self.items.contains_key(&(partition, key.clone())) {
            self.put(partition, key, Candidate { due: now.after(wait), failures, ..candidate });
        }
    }

    /// What blocked the rounds may be gone.
    pub(super) fn stir(&mut self, now: Instant) {
        let soon = now.after(RETRY.0);
        let waiting = self.items.iter().filter(|(_, candidate)| candidate.failures > 0 && candidate.due > soon);
        let waiting: Vec<_> = waiting.map(|(at, candidate)| (at.clone(), *candidate)).collect();
        for ((partition, key), candidate) in waiting {
            self.put(partition, key, Candidate { due: soon, ..candidate });
        }
    }

    /// The candidates of one partition that are due, up to `limit`.
    pub(super) fn take(&mut self, now: Instant, limit: usize) -> Option<(PartitionId, Vec<(ItemKey, Candidate)>)> {
        let (_, partition, _) = self.due.first().filter(|(due, _, _)| *due <= now)?;
        let partition = *partition;
        let due = self.due.iter().take_while(|(due, _, _)| *due <= now).filter(|(_, of, _)| *of == partition);
        let due: Vec<_> = due.take(limit).cloned().collect();
        let mut out = Vec::with_capacity(due.len());
        for entry in due {
            self.due.remove(&entry);
            let (_, partition, key) = entry;
            if let Some(candidate) = self.items.remove(&(partition, key.clone())) {
                out.push((key, candidate));
            }
        }
        Some((partition, out))
    }

    /// When the first is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether something of a partition waits that others will be asked about.
    pub(super) fn will_ask(&self, partition: PartitionId) -> bool {
        self.items.iter().any(|((of, _), candidate)| *of == partition && !candidate.gap)
    }

    /// Whether another owner refused something of a partition that a few rounds have not settled yet.
    pub(super) fn has_refused(&self, partition: PartitionId) -> bool {
        self.items.iter().any(|((of, _), candidate)| *of == partition && candidate.refused && candidate.failures < 3)
    }

    /// The next partition of which some did not fit, when there is room again.
    pub(super) fn take_missed(&mut self) -> Option<PartitionId> {
        if self.items.len() > CANDIDATES_MAX / 2 {
            return None;
        }
        self.missed.pop_first()
    }

    /// A partition is to be scanned.
    pub(super) fn miss(&mut self, partition: PartitionId) {
        self.missed.insert(partition);
    }

    /// Whether a partition waits to be scanned, and there is room for what will be found.
    pub(super) fn wants_scan(&self) -> bool {
        !self.missed.is_empty() && self.items.len() <= CANDIDATES_MAX / 2
    }

    fn put(&mut self, partition: PartitionId, key: ItemKey, candidate: Candidate) {
        let at = (partition, key);
        if self.items.len() >= CANDIDATES_MAX && !self.items.contains_key(&at) {
            self.missed.insert(partition);
            return;
        }
        self.due.insert((candidate.due, partition, at.1.clone()));
        if let Some(before) = self.items.insert(at.clone(), candidate)
            && before.due != candidate.due
        {
            self.due.remove(&(before.due, partition, at.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: usize) -> ItemKey {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, b't', 0];
        bytes.extend_from_slice(format!("{at:06}").as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        ItemKey::from_bytes(bytes.into()).expect("an item key")
    }

    #[test]
    fn what_does_not_fit_is_scanned_for_when_there_is_room() {
        let (mut candidates, now) = (Candidates::default(), Instant::from_nanos(0));
        let partition = PartitionId::new(3);
        for at in 0..=CANDIDATES_MAX {
            candidates.note(now, partition, &key(at), 0);
        }
        assert_eq!(candidates.len(), CANDIDATES_MAX);
        assert_eq!(candidates.take_missed(), None, "there is no room yet");
        let later = now.after(SETTLING);
        while candidates.len() > CANDIDATES_MAX / 2 {
            candidates.take(later, 1_000).expect("some are due");
        }
        assert_eq!(candidates.take_missed(), Some(partition));
        assert_eq!(candidates.take_missed(), None);
    }

    #[test]
    fn a_write_begins_the_settling_anew_and_a_refusal_ends_it() {
        let (mut candidates, now) = (Candidates::default(), Instant::from_nanos(0));
        let partition = PartitionId::new(3);
        candidates.note(now, partition, &key(1), 0);
        let written = now.after(SETTLING / 2);
        candidates.note(written, partition, &key(1), 0);
        assert!(candidates.take(now.after(SETTLING), 9).is_none(), "it was written since");
        candidates.note_refused(written, partition, &key(1));
        assert!(candidates.has_refused(partition));
        let (_, taken) = candidates.take(written, 9).expect("it is due at once");
        assert_eq!(taken.len(), 1);
        assert!(candidates.next_due().is_none(), "it is in the queue once");
    }
}
