//! The disk as one shard sees it.
//!
//! **Handles.** RocksDB finds a column family by a handle, and the crate finds the handle by name: a lock, a search
//! among strings and a reference count, for every lookup and every key of a batch. A shard resolves its handles once,
//! into a table by partition. A handle borrows the database, so this table borrows it too: [`ShardSeat`] owns a share
//! of the database and goes to the shard's thread, [`ShardStorage`] borrows the seat there. `cost.rs` among the tests
//! measures what that saves.
//!
//! ```no_run
//! # use quorate::storage::{Store, ShardCallbacks};
//! # fn shard(store: &Store, callbacks: ShardCallbacks) {
//! let seat = store.shard_seat(callbacks);
//! std::thread::spawn(move || {
//!     let mut storage = seat.storage();
//!     // turns: storage.read(..), storage.commit(&batch), storage.request_sync(sequence)
//! });
//! # }
//! ```
//!
//! **A batch is built afresh for each turn**: the crate takes it by value. Its buffer is asked for in one piece, with
//! the size of the turn that is about to be written.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{BoundColumnFamily, ReadOptions, ReadTier, WriteBatch, WriteOptions};

use super::database::{Database, Failed, is_cache_miss};
use super::family::{Family, FamilyName};
use super::hints::all_hints;
use super::items::ItemCache;
use super::pool::{Job, Queue, ReadCompletion, Task};
use super::scan::{Scan, missing, rows_of_kind};
use crate::metrics::ItemCacheNumbers;
use crate::protocol::replica::{
    Batch, HintRange, ItemKey, ItemRange, KeyKind, Lookup, Mutation, PartitionImage, ReadError, ReadId, ScanRange,
    Storage,
};
use crate::protocol::types::PartitionId;

/// How a shard hears of what other threads did for it. They run on those threads and must only pass the news on: a
/// callback that waits holds up the reads or the fsyncs of all shards.
#[derive(Clone)]
pub struct ShardCallbacks {
    /// A read that was pending, or a scan, is done.
    pub completed: Arc<dyn Fn(ReadCompletion) + Send + Sync>,
    /// Every commit up to this sequence number is on the disk. Numbers rise from call to call.
    pub durable: Arc<dyn Fn(u64) + Send + Sync>,
    /// The disk failed, for this reason. Called once; nothing becomes durable after it.
    pub failed: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for ShardCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardCallbacks")
    }
}

/// A turn was not committed. Nothing of it is in the database for certain, and a restart shows whether any of it is;
/// no reply that depends on it may leave. Never retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk failed, in this commit or before it. Fatal for the node: every later commit gets the same answer.
    #[error("the disk failed: {message}; this node commits nothing more, see to its disk and restart it")]
    Failed {
        /// RocksDB's message, or the fsync's.
        message: String,
    },
    /// A partition that was not created here. Nothing was written; whose fault: the caller's.
    #[error("partition {0} has no column family on this node; create it before writing to it")]
    PartitionMissing(PartitionId),
}

/// A shard's share of the database, to be sent to the shard's thread.
#[derive(Debug)]
pub struct ShardSeat {
    database: Arc<Database>,
    queue: Arc<Queue>,
    callbacks: Arc<ShardCallbacks>,
    item_cache_bytes: usize,
    /// The store counts these.
    _token: Arc<()>,
}

/// The disk, as one shard sees it. Commits and reads on the shard's own thread.
pub struct ShardStorage<'seat> {
    database: &'seat Database,
    queue: &'seat Queue,
    callbacks: &'seat Arc<ShardCallbacks>,
    /// By partition. `None` until the partition is used for the first time.
    columns: Vec<Option<Column<'seat>>>,
    /// What is kept for other nodes, of all partitions.
    hints: Option<Column<'seat>>,
    /// What was read or written last. Nobody else writes to these partitions, so it is never behind.
    items: ItemCache,
    /// Reads memtables and block cache, and gives up instead of going to the disk.
    cache_only: ReadOptions,
    write: WriteOptions,
}

/// A partition's column family, resolved.
struct Column<'seat> {
    handle: Arc<BoundColumnFamily<'seat>>,
    family: Arc<Family>,
}

impl ShardSeat {
    pub(super) fn new(
        database: Arc<Database>,
        queue: Arc<Queue>,
        callbacks: ShardCallbacks,
        item_cache_bytes: usize,
        token: Arc<()>,
    ) -> Self {
        let callbacks = Arc::new(callbacks);
        database.board().enrol(&callbacks);
        Self { database, queue, callbacks, item_cache_bytes, _token: token }
    }

    /// The storage, with the handles of all partitions resolved.
    #[must_use]
    pub fn storage(&self) -> ShardStorage<'_> {
        let mut cache_only = ReadOptions::default();
        cache_only.set_read_tier(ReadTier::BlockCache);
        let mut storage = ShardStorage {
            database: &self.database,
            queue: &self.queue,
            callbacks: &self.callbacks,
            columns: Vec::new(),
            hints: None,
            items: ItemCache::new(self.item_cache_bytes),
            cache_only,
            write: WriteOptions::default(),
        };
        for partition in self.database.partitions() {
            storage.resolve(partition);
        }
        storage.hints = resolved(&self.database, FamilyName::Hints);
        storage
    }
}

impl ShardStorage<'_> {
    /// Commits a turn, as one: its sequence number, which is above that of every commit that a shard finished before.
    /// With the operating system when it returns; on the disk when `durable` has said so.
    pub fn commit(&mut self, batch: &Batch) -> Result<u64, CommitError> {
        if batch.mutations.is_empty() {
            return Ok(self.database.committed());
        }
        let mut writes = WriteBatch::with_capacity_bytes(encoded_bytes(batch));
        // What goes to one column family stands together: its memtable is in the processor's cache the second time.
        let mut mutations: Vec<&Mutation> = batch.mutations.iter().collect();
        mutations.sort_by_key(|mutation| mutation.partition);
        for mutation in mutations {
            let column = self.column_of(mutation).ok_or(CommitError::PartitionMissing(mutation.partition))?;
            match &mutation.value {
                Some(value) => writes.put_cf(&column.handle, &mutation.key, value),
                None => writes.delete_cf(&column.handle, &mutation.key),
            }
        }
        let written = self.database.write(writes, &self.write);
        let sequence = written.map_err(|Failed(message)| CommitError::Failed { message })?;
        let tick = self.database.tick();
        for mutation in &batch.mutations {
            if let Some(column) = self.column_of(mutation) {
                column.family.mark_written(tick);
            }
            self.items.note(mutation);
        }
        Ok(sequence)
    }

    /// Asks for everything up to `sequence` to become durable; `durable` says when. With durability `interval` that is
    /// at the end of the interval.
    ///
    /// # Panics
    /// When no commit has the number yet.
    pub fn request_sync(&self, sequence: u64) {
        assert!(sequence <= self.database.committed(), "only a commit that was made can become durable");
        self.database.board().request(sequence);
    }

    /// What is kept in memory, and how often it helped.
    #[must_use]
    pub fn item_numbers(&self) -> ItemCacheNumbers {
        self.items.numbers()
    }

    /// Where a mutation goes.
    fn column_of(&mut self, mutation: &Mutation) -> Option<&Column<'_>> {
        match mutation.key.first() == Some(&(KeyKind::Hint as u8)) {
            true => self.hints.as_ref(),
            false => self.column(mutation.partition),
        }
    }

    /// A partition's column family. Resolved at the first use for a partition that was created meanwhile.
    fn column(&mut self, partition: PartitionId) -> Option<&Column<'_>> {
        let index = partition.as_index();
        if self.columns.get(index).is_none_or(Option::is_none) {
            self.resolve(partition);
        }
        self.columns.get(index)?.as_ref()
    }

    fn resolve(&mut self, partition: PartitionId) {
        let Some(column) = resolved(self.database, FamilyName::Partition(partition)) else { return };
        let index = partition.as_index();
        if self.columns.len() <= index {
            self.columns.resize_with(index + 1, || None);
        }
        if let Some(place) = self.columns.get_mut(index) {
            *place = Some(column);
        }
    }

    fn hand_over(&self, id: ReadId, task: Task) -> Result<(), ReadError> {
        self.queue.push(Job { id, task, callbacks: Arc::clone(self.callbacks) })
    }
}

impl Storage for ShardStorage<'_> {
    fn read(&mut self, id: ReadId, partition: PartitionId, key: &ItemKey) -> Lookup {
        if let Some(record) = self.items.find(partition, key.as_bytes()) {
            return Lookup::Ready(Ok(Some(record)));
        }
        if !key.is_hint() && self.column(partition).is_none() {
            return Lookup::Ready(Err(missing(partition)));
        }
        let column = match key.is_hint() {
            true => self.hints.as_ref(),
            false => self.columns.get(partition.as_index()).and_then(Option::as_ref),
        };
        let Some(column) = column else { return Lookup::Ready(Err(missing(partition))) };
        match self.database.db().get_pinned_cf_opt(&column.handle, key.as_bytes(), &self.cache_only) {
            Ok(found) => {
                let record = found.map(|value| Bytes::copy_from_slice(&value));
                if let Some(record) = &record {
                    self.items.keep(partition, key.as_bytes(), record.clone());
                }
                Lookup::Ready(Ok(record))
            }
            Err(error) if is_cache_miss(&error) => {
                match self.hand_over(id, Task::Read { partition, key: key.clone() }) {
                    Ok(()) => Lookup::Pending,
                    Err(error) => Lookup::Ready(Err(error)),
                }
            }
            Err(error) => Lookup::Ready(Err(self.database.unreadable(FamilyName::Partition(partition), error))),
        }
    }

    fn distrust_memory(&mut self) {
        self.items.clear();
    }

    fn scan(&mut self, id: ReadId, partition: PartitionId, range: ScanRange) {
        if let Err(error) = self.hand_over(id, Task::Scan(Scan::new(partition, &range))) {
            // There is no other way to answer a scan, and the callback only passes the news on.
            (self.callbacks.completed)(ReadCompletion::Scan { id, result: Err(error) });
        }
    }

    fn items(&mut self, id: ReadId, range: ItemRange) {
        if let Err(error) = self.hand_over(id, Task::Items(range)) {
            (self.callbacks.completed)(ReadCompletion::Items { id, result: Err(error) });
        }
    }

    fn hints(&mut self, id: ReadId, range: HintRange) {
        if let Err(error) = self.hand_over(id, Task::Hints(range)) {
            (self.callbacks.completed)(ReadCompletion::Hints { id, result: Err(error) });
        }
    }

    fn load_hints(&mut self, visit: &mut dyn FnMut(&ItemKey, usize)) -> Result<(), ReadError> {
        let column = self.hints.as_ref().ok_or_else(|| ReadError("the column family of hints is gone".to_owned()))?;
        all_hints(self.database, &column.handle, visit)
    }

    fn load(&mut self, partition: PartitionId) -> Result<PartitionImage, ReadError> {
        let database = self.database;
        let column = self.column(partition).ok_or_else(|| missing(partition))?;
        let clock = database.db().get_pinned_cf(&column.handle, [KeyKind::Clock as u8]);
        let name = FamilyName::Partition(partition);
        let clock = clock.map_err(|error| database.unreadable(name, error))?;
        let tree = database.db().get_pinned_cf(&column.handle, [KeyKind::Tree as u8]);
        // A tree that cannot be read is built again; what is beside it is what counts.
        let tree = tree.ok().flatten().map(|record| Bytes::copy_from_slice(&record));
        let rows = rows_of_kind(database, name, &column.handle, KeyKind::Change)?;
        let log: Result<_, _> = rows.into_iter().map(|(key, entry)| Ok((change_sequence(&key)?, entry))).collect();
        Ok(PartitionImage { clock: clock.map(|record| Bytes::copy_from_slice(&record)), log: log?, tree })
    }
}

impl fmt::Debug for ShardStorage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardStorage").field("columns", &self.columns.iter().flatten().count()).finish_non_exhaustive()
    }
}

fn resolved(database: &Database, name: FamilyName) -> Option<Column<'_>> {
    let family = database.family(name)?;
    let handle = database.db().cf_handle(family.as_str())?;
    Some(Column { handle, family })
}

/// The sequence in the key of a change-log entry.
fn change_sequence(key: &[u8]) -> Result<u64, ReadError> {
    let sequence = key.get(1..).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    let sequence = sequence.ok_or_else(|| ReadError(format!("a change-log key of {} bytes; it has 9", key.len())))?;
    Ok(u64::from_be_bytes(sequence))
}

/// The size of a batch in RocksDB's encoding, within a few bytes.
fn encoded_bytes(batch: &Batch) -> usize {
    let value = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let bytes = batch.mutations.iter().map(|mutation| MUTATION_BYTES + mutation.key.len() + value(&mutation.value));
    BATCH_BYTES + bytes.sum::<usize>()
}

/// Sequence number and count.
const BATCH_BYTES: usize = 12;
/// Tag, column family and two lengths, each as long as a varint gets in practice.
const MUTATION_BYTES: usize = 12;
