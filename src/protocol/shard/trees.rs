//! The hash trees of a shard's partitions: built in the background, and built again now and then to find rot.
//!
//! A tree is kept in step by writes, so it says what *should* be on the disk. Verifying builds a second one from what
//! *is* there. Where the two differ, bytes changed without a write: the second takes the first one's place, the next
//! exchange finds the leaf, and the damaged copy is restored (`restoring`).

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::throttle::Throttle;
use crate::protocol::merkle::Tree;
use crate::protocol::replica::ItemPage;
use crate::protocol::types::{Instant, PartitionId};

/// Between two pages of 1,024 items of a tree that is missing: 100,000 items a second at most, and requests in between.
const BUILD_EVERY: Duration = Duration::from_millis(10);
/// Between two pages of verifying: 5,000 items a second at most.
const VERIFY_PAGE_EVERY: Duration = Duration::from_millis(200);
/// Between two rounds of verifying everything.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3_600);
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
    verify_at: Option<Instant>,
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

    /// Has all trees compared with what is on the disk.
    pub(super) fn verify_all(&mut self, now: Instant) {
        self.verify_at = Some(now.after(VERIFY_EVERY));
        self.to_verify = self.kept.keys().copied().collect();
    }

    /// When the next page may be read.
    pub(super) fn build_at(&self) -> Option<Instant> {
        let idle = self.wanted.is_empty() && self.to_verify.is_empty();
        match (self.reading.is_some(), idle) {
            (true, _) => None,
            (false, true) => self.verify_at,
            (false, false) => Some(self.not_before.unwrap_or(Instant::from_nanos(0))),
        }
    }

    /// Which page to read next: a partition, and after which key.
    pub(super) fn begin_page<I: IntoIterator<Item = (Bytes, u64)>>(
        &mut self,
        now: Instant,
        unsettled: impl FnOnce(PartitionId) -> I,
    ) -> Option<(PartitionId, Option<Bytes>)> {
        if self.reading.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        match self.verify_at {
            None => self.verify_at = Some(now.after(VERIFY_EVERY)),
            Some(at) if at <= now && self.to_verify.is_empty() => self.verify_all(now),
            Some(_) => {}
        }
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

    /// Takes the page, or that it could not be read. Whether a verified tree differs from the one that was kept.
    pub(super) fn finish_page(&mut self, now: Instant, page: Option<ItemPage>, bits: u32, throttle: &Throttle) -> bool {
        let Some((partition, which)) = self.reading.take() else { return false };
        if self.stale {
            return false;
        }
        let (trees, queue, pause) = match which {
            Which::Kept => (&mut self.kept, &mut self.wanted, BUILD_EVERY),
            Which::Second => (&mut self.second, &mut self.to_verify, VERIFY_PAGE_EVERY),
        };
        let Some(tree) = trees.get_mut(&partition) else { return false };
        let Some(page) = page else {
            tree.abandon_page();
            self.not_before = Some(now.after(RETRY));
            // Another partition's may be readable.
            queue.rotate_left(1);
            return false;
        };
        tree.finish_page(page.items, page.more, bits);
        self.not_before = Some(now.after(throttle.pause(pause)));
        if !tree.is_ready() {
            return false;
        }
        queue.retain(|waiting| *waiting != partition);
        match (which, self.second.remove(&partition)) {
            (Which::Second, Some(second)) => {
                let differs = self.kept.get(&partition).is_some_and(|kept| kept.is_ready() && *kept != second);
                self.kept.insert(partition, second);
                differs
            }
            (Which::Kept, second) => {
                self.second.extend(second.map(|second| (partition, second)));
                false
            }
            (Which::Second, None) => false,
        }
    }
}
