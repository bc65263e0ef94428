//! The items that a shard read or wrote last, in memory.
//!
//! ```text
//!   read: here, else RocksDB's memtables and block cache, else the read pool and the disk
//!   commit: what was written is here when the commit returns
//! ```
//!
//! RocksDB finds an item by a search through a memtable of all that was written lately, a cache miss a step: a
//! fifth of what a node spent on a write, and a third of what it spent on a read, when this was measured. A hash table
//! finds it in one step. A shard is the only writer of its partitions, so what is here is what a lookup would find.
//!
//! *Caveats.* What is found here says nothing of the disk. Verifying reads the disk itself, and when that differs from
//! what was written everything here is dropped ([`ItemCache::clear`]), so that reads meet the damage.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::metrics::ItemCacheNumbers;
use crate::protocol::replica::{KeyKind, Mutation};
use crate::protocol::types::PartitionId;

/// What an item costs beside the bytes of key and record: two handles, their allocations and a place in the table.
const ITEM_BYTES: usize = 256;
/// The cache starts with a table for so many bytes an item, and grows.
const ITEM_BYTES_USUAL: usize = 1024;

/// Items of one shard, the least useful leaving first when a bound of bytes is reached.
pub(super) struct ItemCache {
    /// By partition and key.
    cache: Cache<Bytes, Bytes, Weight>,
    /// What is looked for; kept for its buffer.
    place: Vec<u8>,
    hits: u64,
    misses: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Bytes, Bytes> for Weight {
    fn weight(&self, key: &Bytes, record: &Bytes) -> u64 {
        (key.len() + record.len() + ITEM_BYTES) as u64
    }
}

impl ItemCache {
    /// Nothing yet, and never more than so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        let cache = Cache::with_weighter(bytes_max / ITEM_BYTES_USUAL, bytes_max as u64, Weight);
        Self { cache, place: Vec::new(), hits: 0, misses: 0 }
    }

    /// The item's record, if it is here.
    pub(super) fn find(&mut self, partition: PartitionId, key: &[u8]) -> Option<Bytes> {
        if !is_item(key) {
            return None;
        }
        self.go_to(partition, key);
        let found = self.cache.get(self.place.as_slice()).cloned();
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// How much is here, and how often it helped.
    pub(super) fn numbers(&self) -> ItemCacheNumbers {
        let (bytes, capacity_bytes) = (self.cache.weight(), self.cache.capacity());
        ItemCacheNumbers { bytes, capacity_bytes, hits: self.hits, misses: self.misses }
    }

    /// Keeps what was read.
    pub(super) fn keep(&mut self, partition: PartitionId, key: &[u8], record: Bytes) {
        if is_item(key) {
            self.go_to(partition, key);
            self.cache.insert(Bytes::copy_from_slice(&self.place), record);
        }
    }

    /// Keeps, or forgets, what was committed.
    pub(super) fn note(&mut self, mutation: &Mutation) {
        if !is_item(&mutation.key) {
            return;
        }
        let (partition, key) = (mutation.partition, &mutation.key);
        if let Some(record) = &mutation.value {
            // A copy: it may be a slice of a receive buffer many times its size.
            self.keep(partition, key, Bytes::copy_from_slice(record));
        } else {
            self.go_to(partition, key);
            drop(self.cache.remove(self.place.as_slice()));
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.cache.clear();
    }

    fn go_to(&mut self, partition: PartitionId, key: &[u8]) {
        self.place.clear();
        self.place.extend_from_slice(&partition.as_u16().to_be_bytes());
        self.place.extend_from_slice(key);
    }
}

/// Hints are read once, on their way home, and the rest is not read by key.
fn is_item(key: &[u8]) -> bool {
    key.first() == Some(&(KeyKind::Item as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: PartitionId = PartitionId::new(0);

    fn mutation(key: &'static [u8], value: Option<&[u8]>) -> Mutation {
        let value = value.map(Bytes::copy_from_slice);
        Mutation { partition: ZERO, key: Bytes::from_static(key), value }
    }

    #[test]
    fn what_was_committed_last_is_found_and_what_was_deleted_is_not() {
        let mut items = ItemCache::new(1 << 20);
        items.note(&mutation(b"\x01a", Some(b"1")));
        items.note(&mutation(b"\x01a", Some(b"2")));
        assert_eq!(items.find(PartitionId::new(1), b"\x01a"), None, "another partition's is another item");
        assert_eq!(items.find(ZERO, b"\x01a").as_deref(), Some(b"2".as_slice()));
        items.note(&mutation(b"\x01a", None));
        assert_eq!(items.find(ZERO, b"\x01a"), None);
        assert_eq!((items.numbers().hits, items.numbers().misses), (1, 2));
    }

    #[test]
    fn only_items_are_kept() {
        let mut items = ItemCache::new(1 << 20);
        items.note(&mutation(b"\x02", Some(b"clock")));
        items.note(&mutation(b"\x03change", Some(b"entry")));
        assert_eq!((items.find(ZERO, b"\x02"), items.find(ZERO, b"\x03change")), (None, None));
    }

    #[test]
    fn bytes_are_bounded_and_a_kept_record_pins_no_larger_buffer() {
        let mut items = ItemCache::new(100_000);
        let buffer = Bytes::from(vec![7; 50_000]);
        for at in 0..1_000_u16 {
            let key = Bytes::copy_from_slice(&[&[1], at.to_be_bytes().as_slice()].concat());
            items.note(&Mutation { partition: PartitionId::new(0), key, value: Some(buffer.slice(..1_000)) });
        }
        assert!(items.numbers().bytes <= 100_000, "{} bytes", items.numbers().bytes);
        assert!(buffer.is_unique(), "a slice of the buffer is kept");
        items.clear();
        assert_eq!(items.numbers().bytes, 0);
    }
}
