//! What two replicas say to each other while they compare a partition.
//!
//! ```text
//!   Compare       partition u16 | clock's fingerprint u64 | root u64 | count u8 | inner node u8*
//!   CompareReply  ready u8 | life u64 | clock len u32 | clock | count u16 | sum u64*
//!   Keys          partition u16 | leaf u16 | after len u16 | after | until len u16 | until | running hash u64
//!   KeysReply     0 all, 1 more, 2 same u8 | count u16 | (key len u16 | key | hash u64)*
//!   Settle        partition u16 | life u64 | clock
//!   Settled       nothing
//! ```
//!
//! A `Compare` without a node asks for the sums of the inner nodes themselves, which are left out when the roots are
//! equal; its answer brings the answerer's clock, as it was when the sums were read, unless it is the asker's too.

use bytes::{BufMut, Bytes};

use super::WireError;
use super::codec::{Reader, put_bytes_u16, put_bytes_u32};
use crate::protocol::types::PartitionId;

/// Asks a replica for sums of its hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareRequest {
    /// Of which partition.
    pub partition: PartitionId,
    /// What the asker's clock covers, in short.
    pub clock: u64,
    /// The root of the asker's tree.
    pub root: u64,
    /// The leaves of these inner nodes; none for the inner nodes themselves.
    pub inner: Vec<u8>,
}

/// Sums of a hash tree, node by node in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareReply {
    /// The tree speaks for all of the partition; otherwise it is being built, and there are no sums.
    pub ready: bool,
    /// The answerer's process, by a number that it drew.
    pub life: u64,
    /// The record of the answerer's clock; empty when its fingerprint is the one in the question.
    pub clock: Bytes,
    /// The sums; none when the root is that of the question.
    pub sums: Vec<u64>,
}

/// Asks a replica which items of a leaf it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysRequest {
    /// Of which partition.
    pub partition: PartitionId,
    /// Which leaf.
    pub leaf: u16,
    /// After this item key; empty for the beginning.
    pub after: Bytes,
    /// Up to this item key, inclusive; empty for the end.
    pub until: Bytes,
    /// The running hash of what the asker has there: the items are left out when the answerer has the same.
    pub hash: u64,
}

/// A page of a leaf's items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysReply {
    /// How far it goes.
    pub reach: Reach,
    /// Item keys and the hashes of what is stored there, rising by key.
    pub items: Vec<(Bytes, u64)>,
}

/// How far a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reach {
    /// These are all.
    All = 0,
    /// There may be more after the last.
    More = 1,
    /// The items are those that the question's hash is of, and left out.
    Same = 2,
}

/// Tells a replica that all its items were compared and made equal, and what the asker's clock covered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRequest {
    /// In which partition.
    pub partition: PartitionId,
    /// The process that was compared. Another one may have less on its disk.
    pub life: u64,
    /// The record of the asker's clock.
    pub clock: Bytes,
}

impl CompareRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        19 + self.inner.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.partition.as_u16());
        out.put_u64(self.clock);
        out.put_u64(self.root);
        out.put_u8(u8::try_from(self.inner.len()).expect("a tree has 64 inner nodes"));
        out.put_slice(&self.inner);
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let partition = PartitionId::new(reader.u16("partition")?);
        let clock = reader.u64("clock")?;
        let root = reader.u64("root")?;
        let count = reader.u8("nodes")?;
        let mut inner = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            inner.push(reader.u8("node")?);
        }
        reader.finish()?;
        Ok(Self { partition, clock, root, inner })
    }
}

impl CompareReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        15 + self.clock.len() + self.sums.len() * 8
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(u8::from(self.ready));
        out.put_u64(self.life);
        put_bytes_u32(out, &self.clock);
        out.put_u16(u16::try_from(self.sums.len()).expect("a tree has 4,096 leaves"));
        for sum in &self.sums {
            out.put_u64(*sum);
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let ready = reader.u8("ready")? != 0;
        let life = reader.u64("life")?;
        let clock = reader.bytes_u32("clock")?;
        let count = reader.count(8, "sums")?;
        let mut sums = Vec::with_capacity(count);
        for _ in 0..count {
            sums.push(reader.u64("sum")?);
        }
        reader.finish()?;
        Ok(Self { ready, life, clock, sums })
    }
}

impl KeysRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        16 + self.after.len() + self.until.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.partition.as_u16());
        out.put_u16(self.leaf);
        put_bytes_u16(out, &self.after);
        put_bytes_u16(out, &self.until);
        out.put_u64(self.hash);
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let partition = PartitionId::new(reader.u16("partition")?);
        let (leaf, after) = (reader.u16("leaf")?, reader.bytes_u16("cursor")?);
        let out = Self { partition, leaf, after, until: reader.bytes_u16("end")?, hash: reader.u64("hash")? };
        reader.finish()?;
        Ok(out)
    }
}

impl KeysReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        3 + self.items.iter().map(|(key, _)| 10 + key.len()).sum::<usize>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.reach as u8);
        out.put_u16(u16::try_from(self.items.len()).expect("a page is bounded by 1,024 items"));
        for (key, hash) in &self.items {
            put_bytes_u16(out, key);
            out.put_u64(*hash);
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let reach = match reader.u8("reach")? {
            0 => Reach::All,
            1 => Reach::More,
            2 => Reach::Same,
            other => return Err(WireError::Field { what: "reach", found: u64::from(other) }),
        };
        let count = reader.count(10, "items")?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push((reader.bytes_u16("key")?, reader.u64("hash")?));
        }
        reader.finish()?;
        Ok(Self { reach, items })
    }
}

impl SettleRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        10 + self.clock.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.partition.as_u16());
        out.put_u64(self.life);
        out.put_slice(&self.clock);
    }

    /// Reads the body; the clock is still to be decoded.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let partition = PartitionId::new(reader.u16("partition")?);
        Ok(Self { partition, life: reader.u64("life")?, clock: reader.rest() })
    }
}
