//! The change log: what this replica stored, in its own order.
//!
//! ```text
//!   key    03 | sequence u64
//!   value  format u8 = 1 | wall ms u64 | changes u32 | (dot u128 | write id u128 | key len u16 | item key)*
//!          | obsolete u32 | (dot u128)*
//! ```
//!
//! One entry per turn and partition, in the batch of the items that it describes. Three read it: the partition clock,
//! rebuilt from the entries after its last record; retries, which find a write id that is in no version any more
//! because the version was replaced; and merges, which find a write's other dots. It is trimmed from its old end by age
//! (the retry window) and by bytes; a consumer that comes later than that has the hash tree.

use std::collections::{BTreeMap, VecDeque, btree_map};

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use super::key::KeyKind;
use super::{ItemKey, ReadError};
use crate::protocol::types::{ActorId, WallTime, WriteId};
use crate::protocol::version::Dot;

const FORMAT: u8 = 1;
/// How long a retry finds its first attempt, milliseconds: 15 minutes.
pub const RETRY_WINDOW_MS: u64 = 15 * 60 * 1000;
/// Bytes of entries per partition, about 8,000 small writes: 64 partitions keep at most 64 MiB of log.
pub const LOG_BYTES_MAX: usize = 1024 * 1024;

/// One write that a replica stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its dot.
    pub dot: Dot,
    /// Its client's name for it.
    pub write_id: WriteId,
    /// Where it went.
    pub key: ItemKey,
}

/// What one turn changed in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// Writes stored.
    pub stored: Vec<Change>,
    /// Dots learnt to be obsolete without ever being stored here.
    pub obsolete: Vec<Dot>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    bytes: usize,
    wall: WallTime,
    /// How many of `write_ids` are its.
    changes: usize,
}

/// The log's bounds and its index by write id; the entries themselves are on disk.
#[derive(Debug, Default)]
pub struct ChangeLog {
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
    /// Of all entries, in their order.
    write_ids: VecDeque<WriteId>,
    /// The write's dot, and the hash of the item's key: with the keys themselves it would be most of a node's memory.
    by_write_id: BTreeMap<WriteId, (Dot, u64)>,
    /// The same of a write's later dots, in their order: only one that several owners coordinated has any.
    further: BTreeMap<WriteId, Vec<(Dot, u64)>>,
}

impl ChangeSet {
    /// Whether there is nothing to log.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.obsolete.is_empty()
    }

    fn to_record(&self, wall: WallTime) -> Bytes {
        let keys: usize = self.stored.iter().map(|change| 34 + change.key.as_bytes().len()).sum();
        let mut out = Vec::with_capacity(17 + keys + self.obsolete.len() * 16);
        out.put_u8(FORMAT);
        out.put_u64(wall.as_millis());
        out.put_u32(u32::try_from(self.stored.len()).unwrap_or(u32::MAX));
        for change in &self.stored {
            put_dot(&mut out, change.dot);
            out.put_u128(change.write_id.as_u128());
            out.put_u16(u16::try_from(change.key.as_bytes().len()).unwrap_or(u16::MAX));
            out.put_slice(change.key.as_bytes());
        }
        out.put_u32(u32::try_from(self.obsolete.len()).unwrap_or(u32::MAX));
        for dot in &self.obsolete {
            put_dot(&mut out, *dot);
        }
        out.into()
    }

    fn decode(record: &Bytes) -> Option<(Self, WallTime)> {
        let mut rest = record.clone();
        if rest.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let wall = WallTime::from_millis(rest.try_get_u64().ok()?);
        let mut set = Self::default();
        for _ in 0..rest.try_get_u32().ok()? {
            let dot = take_dot(&mut rest)?;
            let write_id = WriteId::new(rest.try_get_u128().ok()?);
            let length = usize::from(rest.try_get_u16().ok()?);
            let key = (rest.len() >= length).then(|| Bytes::copy_from_slice(&rest.split_to(length)))?;
            set.stored.push(Change { dot, write_id, key: ItemKey::from_bytes(key)? });
        }
        for _ in 0..rest.try_get_u32().ok()? {
            set.obsolete.push(take_dot(&mut rest)?);
        }
        rest.is_empty().then_some((set, wall))
    }
}

impl ChangeLog {
    /// The sequence of the newest entry; 0 for none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Takes an entry over from the disk, in rising order, and hands back what it says.
    pub fn replay(&mut self, sequence: u64, record: &Bytes) -> Result<ChangeSet, ReadError> {
        let damaged = || ReadError(format!("entry {sequence} of the change log is damaged"));
        let (set, wall) = ChangeSet::decode(record).ok_or_else(damaged)?;
        self.next = sequence;
        self.index(&set, record.len(), wall);
        Ok(set)
    }

    /// Appends an entry: its storage key and record.
    pub fn append(&mut self, set: &ChangeSet, wall: WallTime) -> (Bytes, Bytes) {
        self.next = self.next.max(1);
        let key = change_key(self.next);
        let record = set.to_record(wall);
        self.index(set, record.len(), wall);
        (key, record)
    }

    /// Drops the oldest entry when the bounds allow it to go: its sequence and storage key.
    pub fn trim(&mut self, wall: WallTime) -> Option<(u64, Bytes)> {
        let oldest = self.entries.front()?;
        let expired = wall.as_millis().saturating_sub(oldest.wall.as_millis()) > RETRY_WINDOW_MS;
        // The newest entry always stays: it holds the sequence.
        if self.entries.len() < 2 || !(expired || self.bytes > LOG_BYTES_MAX) {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        for id in self.write_ids.drain(..entry.changes) {
            // Each entry of a write is one of its dots, in the same order.
            let Some(later) = self.further.get_mut(&id) else {
                self.by_write_id.remove(&id);
                continue;
            };
            self.by_write_id.insert(id, later.remove(0));
            if later.is_empty() {
                self.further.remove(&id);
            }
        }
        Some((entry.sequence, change_key(entry.sequence)))
    }

    /// The dots that a write got at this item, of those that are still in the log, in their order.
    pub fn dots_of(&self, write_id: WriteId, key: &ItemKey) -> impl Iterator<Item = Dot> {
        let first = self.by_write_id.get(&write_id);
        let hash = first.map(|_| hash_of(key));
        let later = self.further.get(&write_id).into_iter().flatten();
        first.into_iter().chain(later).filter(move |(_, at)| Some(*at) == hash).map(|(dot, _)| *dot)
    }

    fn index(&mut self, set: &ChangeSet, bytes: usize, wall: WallTime) {
        for change in &set.stored {
            // The first dot of a write stays its name: a later one is a retry that came another way.
            let named = (change.dot, hash_of(&change.key));
            match self.by_write_id.entry(change.write_id) {
                btree_map::Entry::Vacant(free) => drop(free.insert(named)),
                btree_map::Entry::Occupied(_) => self.further.entry(change.write_id).or_default().push(named),
            }
            self.write_ids.push_back(change.write_id);
        }
        self.entries.push_back(Entry { sequence: self.next, bytes, wall, changes: set.stored.len() });
        self.bytes += bytes;
        self.next += 1;
    }
}

/// What an item's key is told apart by, beside the 128 bits of the write id.
fn hash_of(key: &ItemKey) -> u64 {
    xxh3_64(key.as_bytes())
}

/// The storage key of an entry.
fn change_key(sequence: u64) -> Bytes {
    let mut key = Vec::with_capacity(9);
    key.put_u8(KeyKind::Change as u8);
    key.put_u64(sequence);
    key.into()
}

fn put_dot(out: &mut Vec<u8>, dot: Dot) {
    out.put_u64(dot.actor().as_u64());
    out.put_u64(dot.counter());
}

fn take_dot(rest: &mut Bytes) -> Option<Dot> {
    Some(Dot::new(ActorId::new(rest.try_get_u64().ok()?), rest.try_get_u64().ok()?))
}
