//! Checkers 3 and 8: once everything is mended, all owners become equal, and then it is quiet.
//!
//! Equal means: the same record of every item with every owner, byte for byte; hash trees that say so, and that are
//! what a rescan of the disk would make them; partition clocks that cover the same dots; no hint that has not gone
//! home; nobody who does not count toward R; nothing deleted that could be reaped. And no clock covers a write that its
//! replica neither holds nor knows replaced.
//!
//! *Caveats.* An item that rotted with two of its owners, or that has one owner only, cannot be restored by anybody: it
//! is left out, with its hints and the trees that have it.

use std::collections::BTreeMap;

use crate::protocol::merkle::Tree;
use crate::protocol::replica::{ItemKey, ItemRange, KeyKind, open_copy};
use crate::protocol::shard::Shard;
use crate::protocol::types::{NodeId, PartitionId};
use crate::protocol::version::VersionVector;

use super::finding::{Checker, Finding};
use super::node::Node;
use super::oracle::Item;
use super::world::{CONVERGENCE_NS_MAX, World};

/// Bytes between nodes for each request and each copy, on average: an item with five values of the bulk lane. Generous,
/// for what it must find is a loop between two nodes, and that passes any bound.
const BYTES_PER_REQUEST_MAX: u64 = 400_000;
/// Comparisons of one pair of owners in a quiet second at most: they are due every ten seconds, from either side.
const COMPARISONS_MAX: u64 = 1;
/// Frames of one comparison of what is equal: a question and an answer.
const FRAMES_PER_COMPARISON: u64 = 2;
/// Bytes of one: headers, a root, and the hash of a clock.
const BYTES_PER_COMPARISON: u64 = 120;
/// What else may be sent in a quiet second: the last of something that went on until then.
const FRAMES_FREE: u64 = 20;

impl World {
    /// Checker 3: what is not equal yet, in words.
    pub(super) fn difference(&self) -> Option<String> {
        self.kept_hints()
            .or_else(|| self.differing_item())
            .or_else(|| self.doubted())
            .or_else(|| self.differing_tree())
            .or_else(|| self.differing_clock())
            .or_else(|| self.unreaped())
            .or_else(|| self.reaping())
    }

    /// What is deleted with all owners, and covered by their clocks without a gap, is reaped before long.
    fn unreaped(&self) -> Option<String> {
        let dead = |item: &&Item| {
            let held = |owner: &u16| {
                let node = &self.nodes[usize::from(*owner)];
                let record = node.disk.held(item.partition, item.key.as_bytes())?;
                let held = open_copy(&item.address, record).ok()?;
                let clock = shard_of(node, item.partition)?.clock(item.partition)?;
                // One that is the only owner, and lost something, counts never again.
                Some(held.is_dead() && clock.covers_past(&held.context()) && !node.unverified)
            };
            item.owners.iter().all(|owner| held(owner) == Some(true))
        };
        let item = self.oracle.items.iter().find(dead)?;
        Some(format!("{:?} in {} is deleted with all its owners and not reaped", item.address, item.partition))
    }

    /// Nobody is still asking others what may be reaped.
    fn reaping(&self) -> Option<String> {
        let hopeless = self.hopeless_partitions();
        self.nodes.iter().zip(1..).filter(|(node, _)| !node.unverified).find_map(|(node, number)| {
            let busy = |partition: &PartitionId| {
                let shard = shard_of(node, *partition);
                !hopeless.contains(partition) && shard.is_some_and(|shard| shard.is_reaping(*partition))
            };
            let partition = node.view.layout.owned_by(node.view.me).find(busy)?;
            Some(format!("n{number} still has something to reap or to strip in {partition}"))
        })
    }

    /// Checker 3: once everything is mended, all owners become equal.
    pub(super) fn check_convergence(&mut self) {
        self.check_clocks();
        let Some(what) = self.difference() else { return };
        let text = format!("{} s after everything was mended {what}", CONVERGENCE_NS_MAX / 1_000_000_000);
        self.finding.get_or_insert(Finding::new(Checker::Convergence, text));
    }

    /// Every hint gets home.
    fn kept_hints(&self) -> Option<String> {
        let homeless = |number: usize| {
            let welcome = |key: &bytes::Bytes| {
                let parts = ItemKey::from_hint_bytes(key.clone()).and_then(|key| key.hint_parts());
                let item = parts.and_then(|(_, _, key)| self.oracle.item_at(key.as_bytes()));
                item.is_none_or(|item| !self.is_hopeless(item))
            };
            self.nodes[number].disk.stored_hints().filter(|(key, _)| welcome(key)).count()
        };
        let number = (0..self.nodes.len()).find(|number| homeless(*number) > 0)?;
        Some(format!("n{} still keeps {} hints", number + 1, homeless(number)))
    }

    /// Checker 9: nobody keeps more bytes of hints for one node than it was told to.
    pub(super) fn check_hint_stocks(&mut self) {
        for (node, number) in self.nodes.iter().zip(1..) {
            let mut homes: BTreeMap<NodeId, u64> = BTreeMap::new();
            for (key, record) in node.disk.stored_hints() {
                let parts = ItemKey::from_hint_bytes(key.clone()).and_then(|key| key.hint_parts());
                let Some((home, _, _)) = parts else { continue };
                *homes.entry(home).or_default() += record.len() as u64;
            }
            let most = self.options.hint_bytes_max * node.seats.len() as u64;
            if let Some((home, bytes)) = homes.into_iter().find(|(_, bytes)| *bytes > most) {
                let text = format!("n{number} keeps {bytes} bytes of hints for {home}; {most} are the limit");
                self.finding.get_or_insert(Finding::new(Checker::Bounds, text));
                return;
            }
        }
    }

    /// All owners of an item hold the same.
    fn differing_item(&self) -> Option<String> {
        let copy = |item: &Item, owner: u16| {
            let record = self.nodes[usize::from(owner)].disk.held(item.partition, item.key.as_bytes());
            record.map(|record| (record.clone(), open_copy(&item.address, record)))
        };
        let differs = |item: &&Item| {
            let copies: Vec<_> = item.owners.iter().map(|owner| copy(item, *owner)).collect();
            let equal = copies.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
            let readable = copies.iter().flatten().all(|(_, copy)| copy.is_ok());
            let settled = equal && readable;
            !settled && !self.is_hopeless(item)
        };
        let item = self.oracle.items.iter().find(differs)?;
        let says = |owner: &u16| {
            let what = copy(item, *owner).map(|(_, copy)| match copy {
                Ok(copy) => format!("{:?}", copy.context()),
                Err(error) => error.to_string(),
            });
            format!("n{}: {}", owner + 1, what.unwrap_or_else(|| "nothing".to_owned()))
        };
        let copies: Vec<String> = item.owners.iter().map(says).collect();
        Some(format!("{:?} in {} differs between its owners: {}", item.address, item.partition, copies.join("; ")))
    }

    /// Whoever may have lost something has been compared with all others by now.
    fn doubted(&self) -> Option<String> {
        let alone = self.options.n == 1;
        let number = self.nodes.iter().position(|node| node.unverified && !alone)?;
        Some(format!("n{} still does not count toward R", number + 1))
    }

    /// The trees of all owners are equal, and what a rescan would make them.
    fn differing_tree(&self) -> Option<String> {
        let hopeless = self.hopeless_partitions();
        for (node, number) in self.nodes.iter().zip(1..) {
            for partition in node.view.layout.owned_by(node.view.me) {
                let Some(kept) = shard_of(node, partition).and_then(|shard| shard.tree(partition)) else {
                    return Some(format!("n{number} has no hash tree of {partition}"));
                };
                if *kept != self.rescan(number - 1, partition) && !hopeless.contains(&partition) {
                    return Some(format!("the hash tree of {partition} on n{number} is not that of what is stored"));
                }
            }
        }
        None
    }

    /// The clocks of all owners cover the same.
    fn differing_clock(&self) -> Option<String> {
        let layout = &self.nodes.first()?.view.layout;
        let hopeless = self.hopeless_partitions();
        let differs = |partition: &PartitionId| {
            let clock = |owner: &u16| shard_of(&self.nodes[usize::from(*owner)], *partition)?.clock(*partition);
            let clocks: Vec<_> = layout.owner_indices(*partition).iter().map(clock).collect();
            !hopeless.contains(partition) && clocks.windows(2).any(|pair| matches!(pair, [a, b] if a != b))
        };
        let partition = layout.partitions().find(differs)?;
        Some(format!("the clocks of {partition} differ between its owners"))
    }

    /// Checker 3, the other way round: what a clock covers is held here or was replaced. Rule 8 will refuse it
    /// otherwise.
    fn check_clocks(&mut self) {
        let unfounded = |item: &Item| {
            item.owners.iter().find_map(|owner| {
                let node = &self.nodes[usize::from(*owner)];
                let clock = shard_of(node, item.partition)?.clock(item.partition)?;
                let record = node.disk.held(item.partition, item.key.as_bytes());
                let held = match record.map(|record| open_copy(&item.address, record)) {
                    None => VersionVector::new(),
                    Some(Ok(held)) => held.context(),
                    // Until it is restored nobody knows.
                    Some(Err(_)) => return None,
                };
                let dot =
                    item.all_dots().find(|dot| clock.covers(*dot) && !held.covers(*dot) && !item.is_over(*dot))?;
                Some(format!(
                    "the clock of n{} covers {dot} of {:?}, which its copy does not know",
                    owner + 1,
                    item.address
                ))
            })
        };
        if let Some(text) = self.oracle.items.iter().find_map(unfounded) {
            self.finding.get_or_insert(Finding::new(Checker::Convergence, text));
        }
    }

    /// The tree of what is on a disk.
    fn rescan(&self, number: usize, partition: PartitionId) -> Tree {
        let node = &self.nodes[number];
        let mut tree = Tree::new();
        let first = bytes::Bytes::from_static(&[KeyKind::Item as u8]);
        let after = bytes::Bytes::new();
        let range = ItemRange { partition, from: first, after, until: None, limit: usize::MAX };
        let page = node.disk.items(None, &range);
        tree.begin_page([]);
        tree.finish_page(page.items, false, node.view.layout.partition_bits());
        tree
    }

    fn hopeless_partitions(&self) -> Vec<PartitionId> {
        self.oracle.items.iter().filter(|item| self.is_hopeless(item)).map(|item| item.partition).collect()
    }

    /// Nobody can restore it.
    fn is_hopeless(&self, item: &Item) -> bool {
        let rotten = |owner: &&u16| {
            let record = self.nodes[usize::from(**owner)].disk.held(item.partition, item.key.as_bytes());
            record.is_some_and(|record| open_copy(&item.address, record).is_err())
        };
        let rotten = item.owners.iter().filter(rotten).count();
        rotten > 1 || (rotten == 1 && item.owners.len() == 1)
    }

    /// Checker 8: when nobody asks and all are equal, nothing is under way, and owners say little more than that.
    pub(super) fn check_quiet(&mut self) {
        let (frames, bytes) = (self.tally.frames - self.settled.frames, self.tally.bytes - self.settled.bytes);
        let busy = self.nodes.iter().zip(1..).find_map(|(node, number)| {
            let under_way: usize = node.seats.iter().filter_map(|seat| seat.shard.as_ref()).map(Shard::in_flight).sum();
            (under_way > 0).then_some((number, under_way))
        });
        let n = u64::from(self.options.n);
        let comparisons = u64::from(self.options.partitions) * n * (n - 1) * COMPARISONS_MAX;
        let frames_max = FRAMES_FREE + comparisons * FRAMES_PER_COMPARISON;
        let bytes_max = (FRAMES_FREE + comparisons) * BYTES_PER_COMPARISON;
        // What nobody can restore is found again by every comparison.
        let settled = !self.oracle.items.iter().any(|item| self.is_hopeless(item));
        let requests = self.crowd.begun.max(1);
        let text = match busy {
            Some((number, count)) => format!("n{number} still has {count} requests under way long after the last one"),
            None if settled && (frames > frames_max || bytes > bytes_max) => {
                format!(
                    "{frames} frames of {bytes} bytes were sent in a second though nobody asked for anything; the \
                     exchanges of what is equal need {frames_max} of {bytes_max} at most"
                )
            }
            None if self.tally.bytes / requests > BYTES_PER_REQUEST_MAX * n => {
                format!("{} bytes were sent between nodes for {requests} requests", self.tally.bytes)
            }
            None => return,
        };
        self.finding.get_or_insert(Finding::new(Checker::Termination, text));
    }
}

/// The shard of a running node that has a partition.
fn shard_of(node: &Node, partition: PartitionId) -> Option<&Shard> {
    node.seats.get(partition.as_index() % node.seats.len())?.shard.as_ref()
}
