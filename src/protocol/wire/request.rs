//! What clients ask, and what they are told.
//!
//! ```text
//!   address    table len u8 | table | key len u16 | key | sort len u16 | sort
//!   Get        address | r u8 | strictness u8
//!   GetReply   token len u32 | token | count u16 | (dot u128 | hlc u64 | write id u128 | checksum u64
//!                                                 | len u32 | value)*
//!   Put        address | write id u128 | want u8 | w u8 | strictness u8 | token len u32 | token
//!              | checksum u64 | len u32 | value
//!   PutReply   dot u128 | write id u128 | versions u16 | token len u32 | token | count u16 | (node u128 | flags u8)*
//!   Scan       partition u16 | limit u16 | table len u16 | table | after len u16 | after
//!   ScanReply  more u8 | count u16 | (key len u16 | key)*
//! ```

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use super::WireError;
use super::codec::{Reader, address_bytes, put_address, put_bytes_u16, put_bytes_u32};
use crate::protocol::types::{ActorId, Address, Hlc, NodeId, PartitionId, Strictness, WriteId};
use crate::protocol::version::{Dot, Version};

/// Reads an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    /// Which item.
    pub address: Address,
    /// How many replicas must answer; 0 for the node's default.
    pub r: u8,
    /// Whether fallbacks' answers may help.
    pub strictness: Strictness,
}

/// What was read. No version and an empty token: nothing is known of the item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetReply {
    /// The token to hand back with a write; empty when nothing was ever written.
    pub token: Bytes,
    /// The concurrent live versions by rising dot.
    pub versions: Vec<Version>,
}

/// What a put is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Store the value.
    Value,
    /// Store a tombstone over what the context has seen.
    Delete,
    /// Read a quorum first and store a tombstone over what that saw.
    DeleteSeen,
}

/// Writes or deletes an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// Which item.
    pub address: Address,
    /// The client's name for the write, the same in every retry.
    pub write_id: WriteId,
    /// Value or tombstone.
    pub want: Want,
    /// How many copies must be stored; 0 for the node's default.
    pub w: u8,
    /// Whether copies on fallbacks count.
    pub strictness: Strictness,
    /// What the client has read; empty for nothing.
    pub token: Bytes,
    /// End-to-end checksum over address, write id, kind and value.
    pub checksum: u64,
    /// The value; empty for a delete.
    pub value: Bytes,
}

/// One copy that a write has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCopy {
    /// On which node.
    pub node: NodeId,
    /// As an owner of the partition, not as a stand-in.
    pub primary: bool,
    /// It survives a power loss of that node.
    pub fsynced: bool,
}

/// The copies of a write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stored {
    /// In the order in which they were confirmed.
    pub copies: Vec<StoredCopy>,
}

impl Stored {
    /// Copies on owners.
    #[must_use]
    pub fn primaries(&self) -> usize {
        self.copies.iter().filter(|copy| copy.primary).count()
    }

    /// Copies on stand-ins.
    #[must_use]
    pub fn fallbacks(&self) -> usize {
        self.copies.iter().filter(|copy| !copy.primary).count()
    }

    /// Copies that survive a power loss.
    #[must_use]
    pub fn fsynced(&self) -> usize {
        self.copies.iter().filter(|copy| copy.fsynced).count()
    }
}

/// An honest account of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReply {
    /// The name it got.
    pub dot: Dot,
    /// The client's name for it.
    pub write_id: WriteId,
    /// How many live versions the item has now at the coordinator.
    pub versions: u16,
    /// A context that has seen the item as the coordinator has it now.
    pub token: Bytes,
    /// Where it is.
    pub stored: Stored,
}

/// Lists the addresses that one replica of a partition holds, in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRequest {
    /// Which partition.
    pub partition: PartitionId,
    /// At most so many.
    pub limit: u16,
    /// Only this table; empty for all.
    pub table: Bytes,
    /// After this item key; empty for the beginning.
    pub after: Bytes,
}

/// A page of item keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReply {
    /// There may be more after the last.
    pub more: bool,
    /// Item keys as the storage has them; `replica::ItemKey` takes them apart.
    pub keys: Vec<Bytes>,
}

fn strictness(reader: &mut Reader) -> Result<Strictness, WireError> {
    match reader.u8("strictness")? {
        0 => Ok(Strictness::Sloppy),
        1 => Ok(Strictness::Strict),
        other => Err(WireError::Field { what: "strictness", found: u64::from(other) }),
    }
}

fn strictness_u8(strictness: Strictness) -> u8 {
    match strictness {
        Strictness::Sloppy => 0,
        Strictness::Strict => 1,
    }
}

fn dot(reader: &mut Reader) -> Result<Dot, WireError> {
    Ok(Dot::new(ActorId::new(reader.u64("dot")?), reader.u64("dot")?))
}

fn put_dot(out: &mut impl BufMut, dot: Dot) {
    out.put_u64(dot.actor().as_u64());
    out.put_u64(dot.counter());
}

impl GetRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        address_bytes(&self.address) + 2
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_address(out, &self.address);
        out.put_u8(self.r);
        out.put_u8(strictness_u8(self.strictness));
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let out = Self { address: reader.address()?, r: reader.u8("r")?, strictness: strictness(&mut reader)? };
        reader.finish()?;
        Ok(out)
    }
}

/// dot, hlc, write id, checksum, length.
const SHOWN_BYTES: usize = 16 + 8 + 16 + 8 + 4;

impl GetReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        6 + self.token.len() + self.versions.iter().map(|version| SHOWN_BYTES + version.value.len()).sum::<usize>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_bytes_u32(out, &self.token);
        out.put_u16(u16::try_from(self.versions.len()).expect("an item's versions are bounded by 4,096"));
        for version in &self.versions {
            put_dot(out, version.dot);
            out.put_u64(version.hlc.to_bits());
            out.put_u128(version.write_id.as_u128());
            out.put_u64(version.checksum);
            put_bytes_u32(out, &version.value);
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let token = reader.bytes_u32("context")?;
        let count = reader.count(SHOWN_BYTES, "versions")?;
        let mut versions = Vec::with_capacity(count);
        for _ in 0..count {
            versions.push(Version {
                dot: dot(&mut reader)?,
                hlc: Hlc::from_bits(reader.u64("hlc")?),
                write_id: WriteId::new(reader.u128("write id")?),
                tombstone: false,
                expires_at: 0,
                checksum: reader.u64("checksum")?,
                value: reader.bytes_u32("value")?,
            });
        }
        reader.finish()?;
        Ok(Self { token, versions })
    }
}

impl PutRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        address_bytes(&self.address) + 16 + 3 + 4 + self.token.len() + 8 + 4 + self.value.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_address(out, &self.address);
        out.put_u128(self.write_id.as_u128());
        out.put_u8(match self.want {
            Want::Value => 0,
            Want::Delete => 1,
            Want::DeleteSeen => 2,
        });
        out.put_u8(self.w);
        out.put_u8(strictness_u8(self.strictness));
        put_bytes_u32(out, &self.token);
        out.put_u64(self.checksum);
        put_bytes_u32(out, &self.value);
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let out = Self {
            address: reader.address()?,
            write_id: WriteId::new(reader.u128("write id")?),
            want: match reader.u8("want")? {
                0 => Want::Value,
                1 => Want::Delete,
                2 => Want::DeleteSeen,
                other => return Err(WireError::Field { what: "want", found: u64::from(other) }),
            },
            w: reader.u8("w")?,
            strictness: strictness(&mut reader)?,
            token: reader.bytes_u32("context")?,
            checksum: reader.u64("checksum")?,
            value: reader.bytes_u32("value")?,
        };
        reader.finish()?;
        if out.want != Want::Value && !out.value.is_empty() {
            return Err(WireError::Field { what: "value of a delete (bytes)", found: out.value.len() as u64 });
        }
        Ok(out)
    }
}

const COPY_BYTES: usize = 17;
const COPY_PRIMARY: u8 = 1;
const COPY_FSYNCED: u8 = 2;

impl PutReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        16 + 16 + 2 + 4 + self.token.len() + 2 + self.stored.copies.len() * COPY_BYTES
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_dot(out, self.dot);
        out.put_u128(self.write_id.as_u128());
        out.put_u16(self.versions);
        put_bytes_u32(out, &self.token);
        out.put_u16(u16::try_from(self.stored.copies.len()).expect("copies are bounded by the roster"));
        for copy in &self.stored.copies {
            out.put_u128(copy.node.as_u128());
            out.put_u8((u8::from(copy.primary) * COPY_PRIMARY) | (u8::from(copy.fsynced) * COPY_FSYNCED));
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let dot = dot(&mut reader)?;
        let write_id = WriteId::new(reader.u128("write id")?);
        let versions = reader.u16("versions")?;
        let token = reader.bytes_u32("context")?;
        let count = reader.count(COPY_BYTES, "copies")?;
        let mut stored = Stored { copies: Vec::with_capacity(count) };
        for _ in 0..count {
            let node = NodeId::new(reader.u128("node")?);
            let flags = reader.u8("copy flags")?;
            let (primary, fsynced) = (flags & COPY_PRIMARY != 0, flags & COPY_FSYNCED != 0);
            stored.copies.push(StoredCopy { node, primary, fsynced });
        }
        reader.finish()?;
        Ok(Self { dot, write_id, versions, token, stored })
    }
}

impl ScanRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        8 + self.table.len() + self.after.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.partition.as_u16());
        out.put_u16(self.limit);
        put_bytes_u16(out, &self.table);
        put_bytes_u16(out, &self.after);
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let out = Self {
            partition: PartitionId::new(reader.u16("partition")?),
            limit: reader.u16("limit")?,
            table: reader.bytes_u16("table")?,
            after: reader.bytes_u16("cursor")?,
        };
        reader.finish()?;
        Ok(out)
    }
}

impl ScanReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        3 + self.keys.iter().map(|key| 2 + key.len()).sum::<usize>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(u8::from(self.more));
        out.put_u16(u16::try_from(self.keys.len()).expect("a page is bounded by its request's u16 limit"));
        for key in &self.keys {
            put_bytes_u16(out, key);
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let more = reader.u8("more")? != 0;
        let count = reader.count(2, "keys")?;
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push(reader.bytes_u16("key")?);
        }
        reader.finish()?;
        Ok(Self { more, keys })
    }
}
