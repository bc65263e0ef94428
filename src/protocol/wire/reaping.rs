//! What owners and members say to each other before a tombstone is reaped, or a vector stripped.
//!
//! ```text
//!   Confirm       partition u16 | count u16 | (key len u16 | key | hash u64 | past)*
//!   ConfirmReply  hints u64 | has an actor u8 | actor u64 | count u16 | answer u8*
//!   Reap          partition u16 | count u16 | (key len u16 | key | hash u64 | stripped entries)*
//!   Reaped        nothing
//!   past, entries count u16 | (actor u64 | counter u64)*, rising by actor
//! ```
//!
//! A member that is no owner is asked about its hints and its actor alone: a `Confirm` without items.

use bytes::{BufMut, Bytes};

use super::WireError;
use super::codec::{Reader, put_bytes_u16};
use crate::protocol::types::{ActorId, PartitionId};
use crate::protocol::version::VersionVector;

/// Items of one round at most.
pub const REAPING_ITEMS_MAX: usize = 256;

/// An item that its asker would like to reap or to strip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reapable {
    /// Its storage key.
    pub key: Bytes,
    /// The hash of the asker's record.
    pub hash: u64,
    /// All that the asker's record knows.
    pub past: VersionVector,
}

/// Asks an owner what it has of some items, and a member what it keeps for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmRequest {
    /// In which partition.
    pub partition: PartitionId,
    /// Which items.
    pub items: Vec<Reapable>,
}

/// What an owner says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Confirmed {
    /// It has the same record, fsynced, and its clock covers the whole past.
    Same = 0,
    /// It has nothing, and its clock covers the whole past: whatever the asker has is obsolete.
    Obsolete = 1,
    /// It has the same record, and its clock lacks something of the past.
    SameUncovered = 2,
    /// It has nothing, and its clock lacks something of the past.
    AbsentUncovered = 3,
    /// It has another record.
    Different = 4,
    /// It cannot say: its copy is damaged, or it may have lost acknowledged writes.
    Unsure = 5,
}

/// What a member keeps for a partition, and what an owner says of each item, in the order of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmReply {
    /// Hints for the partition.
    pub hints: u64,
    /// The actor that mints for the partition in this process, if there is one.
    pub actor: Option<ActorId>,
    /// One for each item.
    pub answers: Vec<Confirmed>,
}

/// An item that all owners confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    /// Its storage key.
    pub key: Bytes,
    /// The hash of the record that was confirmed; another one is left alone.
    pub hash: u64,
    /// The entries of its past to be stripped; none for an item that is to be removed.
    pub stripped: VersionVector,
}

/// Tells an owner which items all owners confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReapRequest {
    /// In which partition.
    pub partition: PartitionId,
    /// Which items.
    pub items: Vec<Reaped>,
}

fn vector_bytes(vector: &VersionVector) -> usize {
    2 + vector.len() * 16
}

fn put_vector(out: &mut impl BufMut, vector: &VersionVector) {
    out.put_u16(
        u16::try_from(vector.len()).expect("a past has an entry for each of 4,096 entries and versions at most"),
    );
    for dot in vector.iter() {
        out.put_u64(dot.actor().as_u64());
        out.put_u64(dot.counter());
    }
}

fn read_vector(reader: &mut Reader) -> Result<VersionVector, WireError> {
    let count = reader.count(16, "entries")?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push((ActorId::new(reader.u64("actor")?), reader.u64("counter")?));
    }
    VersionVector::from_sorted(entries).ok_or(WireError::Field { what: "order of entries", found: count as u64 })
}

/// Partition and items of a request; each item is a key, a hash and a vector.
fn read_items<T>(
    body: Bytes,
    item: impl Fn(Bytes, u64, VersionVector) -> T,
) -> Result<(PartitionId, Vec<T>), WireError> {
    let mut reader = Reader::new(body);
    let partition = PartitionId::new(reader.u16("partition")?);
    let count = reader.count(12, "items")?;
    if count > REAPING_ITEMS_MAX {
        return Err(WireError::Field { what: "count of items", found: count as u64 });
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, hash) = (reader.bytes_u16("key")?, reader.u64("hash")?);
        items.push(item(key, hash, read_vector(&mut reader)?));
    }
    reader.finish()?;
    Ok((partition, items))
}

fn put_items<'a>(
    out: &mut impl BufMut,
    partition: PartitionId,
    items: impl ExactSizeIterator<Item = (&'a Bytes, u64, &'a VersionVector)>,
) {
    out.put_u16(partition.as_u16());
    out.put_u16(u16::try_from(items.len()).expect("a round has 256 items at most"));
    for (key, hash, vector) in items {
        put_bytes_u16(out, key);
        out.put_u64(hash);
        put_vector(out, vector);
    }
}

impl ConfirmRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        4 + self.items.iter().map(|item| 10 + item.key.len() + vector_bytes(&item.past)).sum::<usize>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_items(out, self.partition, self.items.iter().map(|item| (&item.key, item.hash, &item.past)));
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let (partition, items) = read_items(body, |key, hash, past| Reapable { key, hash, past })?;
        Ok(Self { partition, items })
    }
}

impl Confirmed {
    fn from_u8(value: u8) -> Option<Self> {
        [Self::Same, Self::Obsolete, Self::SameUncovered, Self::AbsentUncovered, Self::Different, Self::Unsure]
            .into_iter()
            .find(|answer| *answer as u8 == value)
    }
}

impl ConfirmReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        19 + self.answers.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.hints);
        out.put_u8(u8::from(self.actor.is_some()));
        out.put_u64(self.actor.map_or(0, ActorId::as_u64));
        out.put_u16(u16::try_from(self.answers.len()).expect("a round has 256 items at most"));
        for answer in &self.answers {
            out.put_u8(*answer as u8);
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let hints = reader.u64("hints")?;
        let mints = reader.u8("actor")? != 0;
        let actor = ActorId::new(reader.u64("actor")?);
        let count = reader.count(1, "answers")?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            let answer = reader.u8("answer")?;
            let known = Confirmed::from_u8(answer);
            answers.push(known.ok_or(WireError::Field { what: "answer", found: u64::from(answer) })?);
        }
        reader.finish()?;
        Ok(Self { hints, actor: mints.then_some(actor), answers })
    }
}

impl ReapRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        4 + self.items.iter().map(|item| 10 + item.key.len() + vector_bytes(&item.stripped)).sum::<usize>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_items(out, self.partition, self.items.iter().map(|item| (&item.key, item.hash, &item.stripped)));
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let (partition, items) = read_items(body, |key, hash, stripped| Reaped { key, hash, stripped })?;
        Ok(Self { partition, items })
    }
}
