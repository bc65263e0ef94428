//! The hash trees of a shard's partitions: built in the background, and built again now and then to find rot.
//!
//! A tree is kept in step by writes, so it says what *should* be on the disk. Verifying builds a second one from what
//! *is* there. Where the two differ, bytes changed without a write: the second takes the first one's place, the next
//! exchange finds the leaf, and the damaged copy is restored (`restoring`).
//!
//! ```text
//!   clean stop    after the last commit, every ready tree is stored in its partition's column family
//!   start         what is stored is taken; what is not there, or makes no sense, is built in the background
//!   first write   the batch that changes a partition also deletes its stored tree
//! ```
//!
//! Invariant: a stored tree is that of what is stored beside it, whenever the process or the machine ends.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::throttle::Throttle;
use super::{Now, Room, Shard};
use crate::protocol::merkle::{Tree, TreeStamp};
use crate::protocol::replica::{Batch, ItemPage, KeyKind, Mutation, Partition};
use crate::protocol::types::{Instant, PartitionId, WallTime};

/// Between two pages of 1,024 items of a tree that is missing: 100,000 items a second at most, and requests in between.
const BUILD_EVERY: Duration = Duration::from_millis(10);
/// Between two pages of verifying: 5,000 items a second at most.
const VERIFY_PAGE_EVERY: Duration = Duration::from_millis(200);
/// Between two verifications of a partition.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// Trees stored in one batch, of up to 40 KiB each.
const STORED_AT_ONCE: usize = 64;
/// After a page that could not be read.
const RETRY: Duration = Duration::from_secs(5);

/// Which of a partition's two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The one that exchanges go by.
    Kept,
    /// The one that is built to be compared with it.
    Second,
}

/// Trees, ready or on their way.
#[derive(Debug, Default)]
pub(super) struct Trees {
    kept: BTreeMap<PartitionId, Tree>,
    second: BTreeMap<PartitionId, Tree>,
    wanted: VecDeque<PartitionId>,
    to_verify: VecDeque<PartitionId>,
    /// The page that is being read.
    reading: Option<(PartitionId, Which)>,
    /// The page that is being read belongs to a build that was given up.
    stale: bool,
    not_before: Option<Instant>,
    /// When each kept tree was last built from what is on the disk.
    verified: BTreeMap<PartitionId, WallTime>,
    /// Partitions with a stored tree: the next write deletes it ..
    stored: BTreeSet<PartitionId>,
    /// .. and those of them whose stored tree says all that the kept one does.
    current: BTreeSet<PartitionId>,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Built {
    /// Not the end of a tree.
    Partly,
    /// The tree that was missing is there.
    Kept,
    /// What is on the disk is what it should be.
    Verified,
    /// Bytes changed without a write.
    Differs,
}

impl Trees {
    pub(super) fn get(&self, partition: PartitionId) -> Option<&Tree> {
        self.kept.get(&partition)
    }

    pub(super) fn is_ready(&self, partition: PartitionId) -> bool {
        self.kept.get(&partition).is_some_and(Tree::is_ready)
    }

    /// An item changed.
    pub(super) fn update(&mut self, partition: PartitionId, key: &Bytes, bits: u32, before: Option<u64>, after: u64) {
        for trees in [&mut self.kept, &mut self.second] {
            if let Some(tree) = trees.get_mut(&partition) {
                tree.update(key, bits, before, after);
            }
        }
    }

    /// Has a tree built, unless it is or will be.
    pub(super) fn want(&mut self, partition: PartitionId) {
        if !self.is_ready(partition) && !self.wanted.contains(&partition) {
            self.kept.entry(partition).or_default();
            self.wanted.push_back(partition);
        }
    }

    /// Has a tree built again from nothing: something else than a write changed the partition.
    pub(super) fn rebuild(&mut self, partition: PartitionId) {
        self.second.remove(&partition);
        if let Some(tree) = self.kept.get_mut(&partition) {
            tree.reset();
        }
        self.stale |= self.reading.is_some_and(|(reading, _)| reading == partition);
        self.want(partition);
    }

    /// Takes a tree that an earlier process stored. False when it is damaged, or not of what is stored: then there is
    /// none.
    pub(super) fn take_stored(&mut self, record: &Bytes, partition: PartitionId, bits: u32, sequence: u64) -> bool {
        // Whatever it is, the first write deletes it.
        self.stored.insert(partition);
        let belongs = |stamp: &TreeStamp| {
            stamp.partition == partition.as_u16()
                && u32::from(stamp.partition_bits) == bits
                && stamp.sequence == sequence
        };
        let Some((tree, stamp)) = Tree::from_record(record).filter(|(_, stamp)| belongs(stamp)) else { return false };
        self.kept.insert(partition, tree);
        self.verified.insert(partition, WallTime::from_millis(stamp.verified_ms));
        self.current.insert(partition);
        true
    }

    /// Deletes, in the same batch, the stored trees of the partitions that a batch changes.
    pub(super) fn outdate_stored(&mut self, batch: &mut Batch) {
        if self.stored.is_empty() {
            return;
        }
        let mut outdated = BTreeSet::new();
        for mutation in &batch.mutations {
            let is_hint = mutation.key.first() == Some(&(KeyKind::Hint as u8));
            if !is_hint && self.stored.remove(&mutation.partition) {
                self.current.remove(&mutation.partition);
                outdated.insert(mutation.partition);
            }
        }
        let key = Bytes::from_static(&[KeyKind::Tree as u8]);
        let delete = |partition| Mutation { partition, key: key.clone(), value: None };
        batch.mutations.extend(outdated.into_iter().map(delete));
    }

    /// Some of the trees that are not on the disk as they are here; none when all are.
    fn store_some(&mut self, bits: u32, sequence: impl Fn(PartitionId) -> u64) -> Batch {
        let mut batch = Batch::default();
        for (partition, tree) in &self.kept {
            if batch.mutations.len() == STORED_AT_ONCE {
                break;
            }
            if self.current.contains(partition) {
                continue;
            }
            let stamp = TreeStamp {
                partition: partition.as_u16(),
                partition_bits: u8::try_from(bits).unwrap_or(u8::MAX),
                sequence: sequence(*partition),
                verified_ms: self.verified.get(partition).map_or(0, |wall| wall.as_millis()),
            };
            let Some(record) = tree.to_record(stamp) else { continue };
            let key = Bytes::from_static(&[KeyKind::Tree as u8]);
            batch.mutations.push(Mutation { partition: *partition, key, value: Some(record) });
            self.stored.insert(*partition);
            self.current.insert(*partition);
        }
        batch
    }

    /// Has all trees compared with what is on the disk.
    pub(super) fn verify_all(&mut self) {
        self.to_verify = self.kept.keys().copied().collect();
    }

    /// Has those compared that were not for a day.
    fn verify_due(&mut self, wall: WallTime) {
        if !self.to_verify.is_empty() {
            return;
        }
        let due = |(partition, at): (&PartitionId, &WallTime)| {
            let age = wall.as_millis().saturating_sub(at.as_millis());
            (u128::from(age) >= VERIFY_EVERY.as_millis()).then_some(*partition)
        };
        self.to_verify = self.verified.iter().filter_map(due).collect();
    }

    /// When the next page may be read.
    pub(super) fn build_at(&self) -> Option<Instant> {
        // Without work: the schedule is looked at every second, and that is often enough for a day.
        let idle = self.wanted.is_empty() && self.to_verify.is_empty();
        let waits = self.reading.is_none() && !idle;
        waits.then(|| self.not_before.unwrap_or(Instant::from_nanos(0)))
    }

    /// Which page to read next: a partition, and after which key.
    pub(super) fn begin_page<I: IntoIterator<Item = (Bytes, u64)>>(
        &mut self,
        now: Now,
        unsettled: impl FnOnce(PartitionId) -> I,
    ) -> Option<(PartitionId, Option<Bytes>)> {
        if self.reading.is_some() || self.not_before.is_some_and(|at| at > now.instant) {
            return None;
        }
        self.verify_due(now.wall);
        let (partition, which) = match (self.wanted.front(), self.to_verify.front()) {
            (Some(partition), _) => (*partition, Which::Kept),
            (None, Some(partition)) => (*partition, Which::Second),
            (None, None) => return None,
        };
        let tree = match which {
            Which::Kept => self.kept.entry(partition).or_default(),
            Which::Second => self.second.entry(partition).or_default(),
        };
        let after = tree.begin_page(unsettled(partition))?;
        self.reading = Some((partition, which));
        self.stale = false;
        Some((partition, after))
    }

    /// Takes the page, or that it could not be read.
    pub(super) fn finish_page(&mut self, now: Now, page: Option<ItemPage>, bits: u32, throttle: &Throttle) -> Built {
        let Some((partition, which)) = self.reading.take() else { return Built::Partly };
        if self.stale {
            return Built::Partly;
        }
        let (trees, queue, pause) = match which {
            Which::Kept => (&mut self.kept, &mut self.wanted, BUILD_EVERY),
            Which::Second => (&mut self.second, &mut self.to_verify, VERIFY_PAGE_EVERY),
        };
        let Some(tree) = trees.get_mut(&partition) else { return Built::Partly };
        let Some(page) = page else {
            tree.abandon_page();
            self.not_before = Some(now.instant.after(RETRY));
            // Another partition's may be readable.
            queue.rotate_left(1);
            return Built::Partly;
        };
        tree.finish_page(page.items, page.more, bits);
        self.not_before = Some(now.instant.after(throttle.pause(pause)));
        if !tree.is_ready() {
            return Built::Partly;
        }
        self.verified.insert(partition, now.wall);
        self.current.remove(&partition);
        queue.retain(|waiting| *waiting != partition);
        match (which, self.second.remove(&partition)) {
            (Which::Second, Some(second)) => {
                let differs = self.kept.get(&partition).is_some_and(|kept| kept.is_ready() && *kept != second);
                self.kept.insert(partition, second);
                if differs { Built::Differs } else { Built::Verified }
            }
            (Which::Kept, second) => {
                self.second.extend(second.map(|second| (partition, second)));
                Built::Kept
            }
            (Which::Second, None) => Built::Partly,
        }
    }
}

impl Shard {
    /// What is to be committed last, for the next process: hash trees, some in each batch, until one is empty. After a
    /// clean stop only, when no turn has anything to write any more.
    ///
    /// # Panics
    /// When a turn was not taken: its writes would come after the trees that have them.
    #[must_use]
    pub fn store_trees(&mut self) -> Batch {
        assert!(
            self.batch.mutations.is_empty() && self.items.touched.is_empty(),
            "trees are stored after the last turn"
        );
        if self.room() != Room::Plenty {
            return Batch::default();
        }
        let (bits, partitions) = (self.view.layout.partition_bits(), &self.partitions);
        let sequence = |partition: PartitionId| partitions.get(&partition).map_or(0, Partition::last_change);
        self.exchanges.trees.store_some(bits, sequence)
    }
}
