//! Rot: a copy whose checksums do not match is restored from the other owners, and kept aside.
//!
//! Only when *all* other owners gave a readable answer that counts: then what this node knew of the item and nobody
//! else does was confirmed by no other owner, which is the loss of one disk, and W > 1 is made for that. The
//! partition's actor is rotated first (rule 1), and its clock forgotten: what they say of the item may be gone with the
//! record.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::items::{Held, LocalCopy, Task};
use super::{Now, PeerIndex, Shard};
use crate::protocol::replica::{ItemKey, Mutation, Storage, open_copy};
use crate::protocol::types::{Address, Instant, PartitionId};
use crate::protocol::version::Siblings;
use crate::protocol::wire::{ReadReply, ReadResult};

/// Items being restored at once. What is found beyond them is found again.
const RESTORING_MAX: usize = 64;

/// An owner that has not answered by then is not going to.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);

/// An item on its way to being restored.
#[derive(Debug)]
struct Restoring {
    partition: PartitionId,
    address: Address,
    damaged: Bytes,
    waiting: BTreeSet<u16>,
    merged: Siblings,
    /// The record was seen damaged again, after the last owner had answered: nothing was written to it since.
    confirmed: bool,
    deadline: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Restores {
    items: BTreeMap<ItemKey, Restoring>,
}

impl Restores {
    /// Whether the item is being restored.
    pub(super) fn is_under_way(&self, key: &ItemKey) -> bool {
        self.items.contains_key(key)
    }
}

impl Shard {
    /// A stored record is damaged: the other owners are asked for the item.
    pub(super) fn restore(
        &mut self,
        now: Now,
        (partition, key, address): (PartitionId, &ItemKey, &Address),
        damaged: &Bytes,
    ) {
        if let Some(restoring) = self.restores.items.get_mut(key) {
            restoring.confirmed = restoring.waiting.is_empty();
            return;
        }
        if key.is_hint() || self.restores.items.len() >= RESTORING_MAX {
            return;
        }
        let me = self.view.peer_of(self.view.me).and_then(|me| u16::try_from(me.as_index()).ok());
        let others: BTreeSet<u16> =
            self.view.layout.owner_indices(partition).iter().copied().filter(|peer| Some(*peer) != me).collect();
        let all_up = others.iter().all(|peer| self.peers.is_up(PeerIndex::new(*peer)));
        if others.is_empty() || !all_up || !self.partitions.contains_key(&partition) {
            return;
        }
        let restoring = Restoring {
            partition,
            address: address.clone(),
            damaged: damaged.clone(),
            waiting: others.clone(),
            merged: Siblings::default(),
            confirmed: false,
            deadline: now.instant.after(PATIENCE),
        };
        self.restores.items.insert(key.clone(), restoring);
        for peer in others {
            self.ask_to_restore(now, partition, peer, key, address);
        }
    }

    /// Gives up on what nobody answered.
    pub(super) fn expire_restores(&mut self, now: Now) {
        self.restores.items.retain(|_, restoring| restoring.deadline > now.instant);
    }

    /// An owner said what it has of the item.
    pub(super) fn restore_answered(
        &mut self,
        now: Now,
        peer: PeerIndex,
        key: &ItemKey,
        reply: Option<ReadReply>,
        storage: &mut dyn Storage,
    ) {
        let peer = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        let Some(restoring) = self.restores.items.get_mut(key) else { return };
        let policy = self.view.policy(restoring.address.table());
        let item = match reply {
            Some(ReadReply { result: ReadResult::Absent, unverified: false }) => Some(Siblings::default()),
            Some(ReadReply { result: ReadResult::Found(record), unverified: false }) => {
                open_copy(&restoring.address, &record).ok()
            }
            _ => None,
        };
        // Unknown is not absent: the item stays as it is, and is found again.
        let Some(item) = item else { return drop(self.restores.items.remove(key)) };
        restoring.merged.join(&item, policy);
        restoring.waiting.remove(&peer);
        if !restoring.waiting.is_empty() {
            return;
        }
        let (partition, address) = (restoring.partition, restoring.address.clone());
        if self.with_item(now, (partition, key, &address), Task::Restore, storage).is_err() {
            self.restores.items.remove(key);
        }
    }

    /// All owners have answered, and this node's own copy was looked at once more.
    pub(super) fn install_restored(&mut self, now: Now, key: &ItemKey, copy: &LocalCopy) {
        let Some(restoring) = self.restores.items.remove(key) else { return };
        // It is readable after all, or the disk cannot say now.
        if copy.is_ok() || !restoring.confirmed {
            return;
        }
        let partition = restoring.partition;
        self.forget_past(partition);
        self.counters.restored += 1;
        self.batch.mutations.push(Mutation { partition, key: key.quarantined(), value: Some(restoring.damaged) });
        if restoring.merged.is_empty() {
            self.batch.mutations.push(Mutation { partition, key: key.as_bytes().clone(), value: None });
            self.items.note_removed(key);
        } else {
            let record = restoring.merged.to_record();
            self.store(now, partition, key, None, Held { item: restoring.merged, record });
        }
        // What the sums have of the damaged record is not known.
        self.exchanges.trees.rebuild(partition);
    }
}
