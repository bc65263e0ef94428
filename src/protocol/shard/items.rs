//! Items in the hands of a shard: what this turn wrote, and who waits for a read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::confirming::End;
use super::heads::Extent;
use super::{Now, Shard, Source, View};
use crate::protocol::merkle::item_hash;
use crate::protocol::replica::{ItemKey, Lookup, Mutation, ReadError, ReadId, Storage, Unreadable, open_copy};
use crate::protocol::ring::partition_of;
use crate::protocol::types::limits::{VECTOR_ENTRIES_KEPT, VECTOR_ENTRIES_WARN, VERSIONS_WARN};
use crate::protocol::types::{Address, PartitionId};
use crate::protocol::version::Siblings;
use crate::protocol::wire::Failure;
use crate::protocol::wire::Header;

/// Operations that wait for one item's read; more are refused as overloaded.
pub(super) const LATCH_QUEUE_MAX: usize = 1_024;

/// An item and its record.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) item: Siblings,
    pub(super) record: Bytes,
}

/// This node's copy of an item.
pub(super) type LocalCopy = Result<Option<Held>, Unreadable>;

/// What is to be done with an item once its copy is at hand.
#[derive(Debug)]
pub(super) enum Task {
    /// Hand it to an operation that reads.
    Answer { operation: u64 },
    /// Let an operation write.
    Coordinate { operation: u64 },
    /// Store what an operation read elsewhere.
    StoreMerged { operation: u64 },
    /// Send it to a peer.
    Read { source: Source, header: Header, extent: Extent },
    /// Tell a person what there is of it.
    Inspect { source: Source, header: Header },
    /// Join a peer's item: into this node's copy, or into a hint.
    Merge { source: Source, header: Header, address: Address, held: Held },
    /// Join what a read found that was answered already.
    Repair { address: Address, held: Held },
    /// Make it the same on both sides of an exchange.
    Exchange { exchange: u64, address: Address, theirs: Option<Held> },
    /// Replace it by what the other owners have, if it is still damaged.
    Restore,
    /// Add it to what is read of all hints for an item.
    Gather { gather: u64 },
    /// Take what it shows to be obsolete out of what an operation read elsewhere.
    Judge { operation: u64 },
    /// See whether it may be reaped.
    Weigh { round: u64 },
    /// Tell a peer whether it is what the peer would like to reap.
    Confirm { confirm: u64, at: usize },
    /// Reap it, or strip it.
    Reap { hash: u64, end: End },
}

/// The items that a shard holds in memory between a read and a commit.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Written in this turn: reads of the turn see them.
    written: BTreeMap<ItemKey, Held>,
    /// Hints and items removed in this turn: reads of the turn do not see them.
    removed: BTreeSet<ItemKey>,
    /// Partitions whose state has something to log.
    pub(super) touched: BTreeSet<PartitionId>,
    /// Operations behind a read that is under way, in order.
    latches: BTreeMap<ItemKey, VecDeque<Task>>,
    /// Reads under way.
    reads: BTreeMap<ReadId, (PartitionId, ItemKey, Address)>,
    next_read: u64,
}

impl Items {
    pub(super) fn next_read(&mut self) -> ReadId {
        self.next_read += 1;
        ReadId::new(self.next_read)
    }

    pub(super) fn is_written(&self, key: &ItemKey) -> bool {
        self.written.contains_key(key)
    }

    /// Items of a partition that this turn writes, with the hashes of what is written, 0 for what it removes: a listing
    /// may not see that yet.
    pub(super) fn unsettled_items(&self, partition: PartitionId, view: &View) -> Vec<(Bytes, u64)> {
        let bits = view.layout.partition_bits();
        let of = |key: &&ItemKey| {
            !key.is_hint() && key.parts().is_some_and(|(hash, _)| partition_of(hash, bits) == partition)
        };
        let removed = self.removed.iter().filter(of).map(|key| (key.as_bytes().clone(), 0));
        let hash = |key: &ItemKey| self.written.get(key).map_or(0, |held| item_hash(key.as_bytes(), &held.record));
        let written = self.written.keys().filter(of).map(|key| (key.as_bytes().clone(), hash(key)));
        removed.chain(written).collect()
    }

    /// Whether operations wait for the item's read.
    pub(super) fn is_latched(&self, key: &ItemKey) -> bool {
        self.latches.contains_key(key)
    }

    /// An item is in this turn's batch.
    pub(super) fn note_written(&mut self, key: &ItemKey, held: Held) {
        self.removed.remove(key);
        self.written.insert(key.clone(), held);
    }

    /// The end of a hint or an item is in this turn's batch.
    pub(super) fn note_removed(&mut self, key: &ItemKey) {
        self.written.remove(key);
        self.removed.insert(key.clone());
    }

    /// Hints that this turn writes or removes: the storage does not know yet.
    pub(super) fn unsettled_hints(&self) -> BTreeSet<ItemKey> {
        self.written.keys().chain(&self.removed).filter(|key| key.is_hint()).cloned().collect()
    }

    /// The turn's writes are in the storage now.
    pub(super) fn committed(&mut self) -> Vec<ItemKey> {
        self.removed.clear();
        std::mem::take(&mut self.written).into_keys().collect()
    }
}

impl Shard {
    /// Does something with this node's copy of an item: now, or when it was read.
    pub(super) fn with_item(
        &mut self,
        now: Now,
        (partition, key, address): (PartitionId, &ItemKey, &Address),
        task: Task,
        storage: &mut dyn Storage,
    ) -> Result<(), Overfull> {
        if let Some(queue) = self.items.latches.get_mut(key) {
            if queue.len() >= LATCH_QUEUE_MAX {
                return Err(Overfull);
            }
            queue.push_back(task);
            return Ok(());
        }
        if let Some(held) = self.items.written.get(key) {
            let copy = Ok(Some(held.clone()));
            self.counters.reads_ready += 1;
            self.run(now, partition, (key, address), task, copy, storage);
            return Ok(());
        }
        if self.items.removed.contains(key) {
            self.run(now, partition, (key, address), task, Ok(None), storage);
            return Ok(());
        }
        let id = self.items.next_read();
        match storage.read(id, partition, key) {
            Lookup::Ready(result) => {
                self.counters.reads_ready += 1;
                let copy = self.open(now, (partition, key, address), result);
                self.run(now, partition, (key, address), task, copy, storage);
            }
            Lookup::Pending => {
                self.counters.reads_pending += 1;
                self.items.latches.insert(key.clone(), VecDeque::from([task]));
                self.items.reads.insert(id, (partition, key.clone(), address.clone()));
            }
        }
        Ok(())
    }

    /// Takes the result of a read that was `Pending`, and lets everything that waited for it go on, in order.
    pub fn handle_read(
        &mut self,
        now: Now,
        id: ReadId,
        result: Result<Option<Bytes>, ReadError>,
        storage: &mut dyn Storage,
    ) {
        let Some((partition, key, address)) = self.items.reads.remove(&id) else { return };
        let Some(tasks) = self.items.latches.remove(&key) else { return };
        let copy = self.open(now, (partition, &key, &address), result);
        for task in tasks {
            // An earlier task of the queue may have written the item, or removed it.
            let copy = match self.items.written.get(&key) {
                Some(held) => Ok(Some(held.clone())),
                None if self.items.removed.contains(&key) => Ok(None),
                None => copy.clone(),
            };
            self.run(now, partition, (&key, &address), task, copy, storage);
        }
    }

    /// Stores an item in this turn, in place of a record of `before` bytes: the record, and what clock and log have to
    /// say about it.
    pub(super) fn store(&mut self, now: Now, partition: PartitionId, key: &ItemKey, before: Option<&Held>, held: Held) {
        if key.is_hint() {
            let before = before.map(|held| held.record.len());
            return self.store_hint(now, partition, key, before, held);
        }
        self.counters.versions_warned += u64::from(held.item.versions().len() == VERSIONS_WARN);
        self.counters.vector_warned += u64::from(held.item.vector().len() == VECTOR_ENTRIES_WARN);
        let state = self.partitions.get_mut(&partition).expect("an item is stored only in a partition of this shard");
        state.record(key, &held.item);
        self.items.touched.insert(partition);
        let bits = self.view.layout.partition_bits();
        if held.item.is_dead() || held.item.vector().len() > VECTOR_ENTRIES_KEPT {
            self.note_reapable(now, partition, key);
        }
        let before = before.map(|before| item_hash(key.as_bytes(), &before.record));
        let after = item_hash(key.as_bytes(), &held.record);
        self.exchanges.trees.update(partition, key.as_bytes(), bits, before, after);
        let (at, value) = (key.as_bytes().clone(), Some(held.record.clone()));
        self.batch.mutations.push(Mutation { partition, key: at, value });
        self.items.note_written(key, held);
    }

    fn run(
        &mut self,
        now: Now,
        partition: PartitionId,
        (key, address): (&ItemKey, &Address),
        task: Task,
        copy: LocalCopy,
        storage: &mut dyn Storage,
    ) {
        match task {
            Task::Answer { operation } => self.local_copy_read(now, operation, copy, storage),
            Task::Coordinate { operation } => self.coordinate(now, operation, copy, storage),
            Task::StoreMerged { operation } => self.store_merged(now, operation, copy),
            // The disk may have taken longer than the asker waits.
            Task::Read { source, header, extent } => match self.refuse_expired(now, source, &header) {
                Ok(()) => self.send_copy((source, header.correlation), partition, key, copy, &extent),
                Err(failure) => self.reply_failure(source, header.correlation, &failure),
            },
            Task::Inspect { source, header } => match self.refuse_expired(now, source, &header) {
                Ok(()) => self.tell_copy((source, header.correlation), partition, key, copy),
                Err(failure) => self.reply_failure(source, header.correlation, &failure),
            },
            Task::Merge { source, header, address, held } => match self.refuse_expired(now, source, &header) {
                Ok(()) => self.merge(now, (source, header), &address, partition, key, held, copy),
                Err(failure) => self.reply_failure(source, header.correlation, &failure),
            },
            Task::Repair { address, held } => self.repair(now, &address, partition, key, held, copy),
            Task::Exchange { exchange, address, theirs } => {
                self.exchange_item(now, exchange, &address, partition, key, theirs, copy, storage);
            }
            Task::Restore => self.install_restored(now, key, &copy),
            Task::Gather { gather } => self.gathered_hint(now, gather, address, copy, storage),
            Task::Judge { operation } => self.judge(now, operation, copy, storage),
            Task::Weigh { round } => self.weigh(now, round, key, copy),
            Task::Confirm { confirm, at } => self.confirm_item(confirm, at, partition, key, copy),
            Task::Reap { hash, end } => self.reap_item(now, partition, key, hash, &end, copy),
        }
    }

    fn open(
        &mut self,
        now: Now,
        (partition, key, address): (PartitionId, &ItemKey, &Address),
        result: Result<Option<Bytes>, ReadError>,
    ) -> LocalCopy {
        let copy = match result {
            Ok(None) => Ok(None),
            Err(ReadError(text)) => Err(Unreadable(text)),
            Ok(Some(record)) => match open_copy(address, &record) {
                Ok(item) => Ok(Some(Held { item, record })),
                Err(unreadable) => {
                    self.restore(now, (partition, key, address), &record);
                    Err(unreadable)
                }
            },
        };
        self.counters.unreadable += u64::from(copy.is_err());
        copy
    }
}

/// Too many wait for one item; the task was not taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overfull;

/// A copy that cannot be waited for.
pub(super) fn too_many() -> Unreadable {
    Unreadable(format!("{LATCH_QUEUE_MAX} requests wait for this item already"))
}

/// What those are told who cannot wait for an item.
pub(super) fn overloaded() -> Failure {
    let text = format!("{LATCH_QUEUE_MAX} requests wait for this item already; ask again, slower");
    Failure::overloaded(text, super::burden::RETRY_AFTER)
}
