//! What a replica needs of a disk. RocksDB implements it in `crate::storage`, the simulator with an ordered map.

use bytes::Bytes;

use super::ItemKey;
use crate::protocol::merkle::Listed;
use crate::protocol::types::{NodeId, PartitionId};

/// The caller's name for a read that is under way; the storage hands it back with the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(u64);

impl ReadId {
    /// The name with this number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The name as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The disk could not say. Unknown, which is never "not found".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the local copy cannot be read: {0}")]
pub struct ReadError(pub String);

/// The answer to a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Found out without touching the disk.
    Ready(Result<Option<Bytes>, ReadError>),
    /// The result comes later, to `Shard::handle_read` with the id that was passed in.
    Pending,
}

/// Which item keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRange {
    /// Only this table; empty for all.
    pub table: Bytes,
    /// Strictly after this key; `None` from the start.
    pub after: Option<ItemKey>,
    /// At most so many.
    pub limit: usize,
}

/// A page of item keys in key order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// The keys.
    pub keys: Vec<Bytes>,
    /// The range may go on after the last of them.
    pub more: bool,
}

/// Which hints to list: those for one home node, of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintRange {
    /// For whom they are kept.
    pub home: NodeId,
    /// Of which partition.
    pub partition: PartitionId,
    /// Strictly after this key; `None` from the start.
    pub after: Option<ItemKey>,
    /// At most so many.
    pub limit: usize,
    /// At most about so many bytes of records; the first hint is listed whatever its size.
    pub bytes: usize,
}

/// A page of hints in key order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HintPage {
    /// Keys and records.
    pub hints: Vec<(ItemKey, Bytes)>,
    /// There may be more after the last of them.
    pub more: bool,
}

/// Which items to list, with the hashes of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRange {
    /// Of which partition.
    pub partition: PartitionId,
    /// From this item key on, inclusive.
    pub from: Bytes,
    /// Strictly after this one; empty for none.
    pub after: Bytes,
    /// Up to this one, exclusive; `None` to the end.
    pub until: Option<Bytes>,
    /// At most so many.
    pub limit: usize,
}

/// A page of items in key order. What cannot be decoded is listed with the hash of its bytes: it is not absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemPage {
    /// Keys and hashes.
    pub items: Vec<Listed>,
    /// There may be more after the last of them.
    pub more: bool,
}

/// What a partition has besides items, as it was committed last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionImage {
    /// The partition clock's record.
    pub clock: Option<Bytes>,
    /// The change log's entries by rising sequence.
    pub log: Vec<(u64, Bytes)>,
    /// The hash tree's record, when the last process left one and nothing was written since.
    pub tree: Option<Bytes>,
}

/// One change to a partition's column family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// In which partition. A hint's key lies in `hints`, and this is the partition of its item.
    pub partition: PartitionId,
    /// A storage key of any kind.
    pub key: Bytes,
    /// What it gets; `None` deletes it.
    pub value: Option<Bytes>,
}

/// Everything that one turn writes: committed as one, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// In order; a later one of the same key wins.
    pub mutations: Vec<Mutation>,
}

/// The disk, as a shard sees it. Writing is not here: a turn hands out a [`Batch`] and its driver commits it.
pub trait Storage {
    /// Looks up an item, or a hint when the key is a hint's. Must not block on the disk: what the cache cannot answer
    /// is `Pending` and read elsewhere.
    fn read(&mut self, id: ReadId, partition: PartitionId, key: &ItemKey) -> Lookup;

    /// The disk was found to hold something else than what was written: what is kept of it in memory is to be dropped,
    /// so that reads meet the damage and have it repaired.
    fn distrust_memory(&mut self) {}

    /// Begins to list item keys; the page goes to `Shard::handle_scan` with the id.
    fn scan(&mut self, id: ReadId, partition: PartitionId, range: ScanRange);

    /// Reads what a partition has besides items. Called once per partition when its shard starts, and may block.
    fn load(&mut self, partition: PartitionId) -> Result<PartitionImage, ReadError>;

    /// Begins to list items with their hashes; the page goes to `Shard::handle_items` with the id.
    fn items(&mut self, id: ReadId, range: ItemRange);

    /// Begins to list hints; the page goes to `Shard::handle_hints` with the id.
    fn hints(&mut self, id: ReadId, range: HintRange);

    /// Shows every hint's key and the bytes of its record. Called once when a shard starts, and may block.
    fn load_hints(&mut self, visit: &mut dyn FnMut(&ItemKey, usize)) -> Result<(), ReadError>;
}
