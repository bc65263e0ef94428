//! What a coordinator asks of the replicas.
//!
//! ```text
//!   Read        address | (count u16 | dot u128 per version whose value is wanted), left out for the whole item
//!   ReadReply   result u8 (0 found, 1 absent, 2 unreadable, 3 head, 4 part) | flags u8 (1 unverified) | record
//!   Merge       address | record
//!   MergeReply  flags u8 (1 fsynced, 2 something of it is obsolete, 4 a value among that, 8 all of it)
//!   Hint        home node u128 | address | record
//!   HintReply   as MergeReply
//! ```
//!
//! A merge carries the sender's whole item, and the record in it is byte for byte what the disk gets.
//!
//! A read whose header has the flag *head if large* may be answered with a head: the record up to its first value. A
//! replica that answers so has verified the values' checksums, as for a whole answer. Values that turn out to be
//! missing are asked for by dot; the answer has these versions only, a part, or the whole item when the replica holds
//! just these, or lacks one of them by now.

use bytes::{BufMut, Bytes};

use super::WireError;
use super::codec::{Reader, address_bytes, put_address};
use super::frame::{Frame, Header};
use crate::protocol::types::limits::MERGED_VERSIONS_MAX;
use crate::protocol::types::{ActorId, Address, NodeId};
use crate::protocol::version::{Dot, Retired, Siblings};

const FLAG_UNVERIFIED: u8 = 1;
const FLAG_FSYNCED: u8 = 1;
const FLAG_OBSOLETE: u8 = 2;
const FLAG_VALUE_OBSOLETE: u8 = 4;
const FLAG_ALL_OBSOLETE: u8 = 8;
const DOT_BYTES: usize = 16;

/// Asks a replica for its copy of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Which item.
    pub address: Address,
    /// Only these versions; none for the whole item.
    pub wanted: Vec<Dot>,
}

/// What a replica found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadResult {
    /// Its record.
    Found(Bytes),
    /// It holds nothing of the item.
    Absent,
    /// It cannot read its copy: unknown, which is never "not found".
    Unreadable,
    /// The head of its record, whose values were verified.
    Head(Bytes),
    /// A record of the versions that were asked for, without a past.
    Part(Bytes),
}

/// A replica's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadReply {
    /// What it found.
    pub result: ReadResult,
    /// It may have lost acknowledged writes: its answer adds data but does not count toward R.
    pub unverified: bool,
}

/// Gives a replica an item to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Which item.
    pub address: Address,
    /// The sender's whole item.
    pub record: Bytes,
}

/// Gives a stand-in an item to keep for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintRequest {
    /// The owner that could not be reached.
    pub home: NodeId,
    /// Which item.
    pub address: Address,
    /// The sender's whole item.
    pub record: Bytes,
}

/// The item is joined and stored, or kept for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeReply {
    /// It survives a power loss.
    pub fsynced: bool,
    /// What of it was not joined, because the replica knows that it was replaced or deleted long ago (rule 8).
    pub refused: Refused,
}

/// What of an item a replica refused as obsolete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Some version.
    pub any: bool,
    /// A version with a value.
    pub value: bool,
    /// Every version.
    pub all: bool,
}

impl From<Retired> for Refused {
    fn from(retired: Retired) -> Self {
        let any = retired.versions > 0;
        Self { any, value: retired.values > 0, all: any && retired.rest == 0 }
    }
}

impl ReadRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        let wanted = if self.wanted.is_empty() { 0 } else { 2 + self.wanted.len() * DOT_BYTES };
        address_bytes(&self.address) + wanted
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_address(out, &self.address);
        if self.wanted.is_empty() {
            return;
        }
        out.put_u16(u16::try_from(self.wanted.len()).expect("an item has 4,096 versions at most"));
        for dot in &self.wanted {
            out.put_u64(dot.actor().as_u64());
            out.put_u64(dot.counter());
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let mut out = Self { address: reader.address()?, wanted: Vec::new() };
        if reader.is_at_end() {
            return Ok(out);
        }
        let count = reader.count(DOT_BYTES, "versions")?;
        if count == 0 || count > MERGED_VERSIONS_MAX {
            return Err(WireError::Field { what: "number of versions", found: count as u64 });
        }
        for _ in 0..count {
            out.wanted.push(Dot::new(ActorId::new(reader.u64("actor")?), reader.u64("counter")?));
        }
        reader.finish()?;
        Ok(out)
    }
}

impl ReadReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        2 + match &self.result {
            ReadResult::Found(record) | ReadResult::Head(record) | ReadResult::Part(record) => record.len(),
            ReadResult::Absent | ReadResult::Unreadable => 0,
        }
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(match self.result {
            ReadResult::Found(_) => 0,
            ReadResult::Absent => 1,
            ReadResult::Unreadable => 2,
            ReadResult::Head(_) => 3,
            ReadResult::Part(_) => 4,
        });
        out.put_u8(u8::from(self.unverified) * FLAG_UNVERIFIED);
        match &self.result {
            ReadResult::Found(record) | ReadResult::Head(record) | ReadResult::Part(record) => out.put_slice(record),
            ReadResult::Absent | ReadResult::Unreadable => {}
        }
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let result = reader.u8("result")?;
        let unverified = reader.u8("flags")? & FLAG_UNVERIFIED != 0;
        let result = match result {
            0 => return Ok(Self { result: ReadResult::Found(reader.rest()), unverified }),
            1 => ReadResult::Absent,
            2 => ReadResult::Unreadable,
            3 => return Ok(Self { result: ReadResult::Head(reader.rest()), unverified }),
            4 => return Ok(Self { result: ReadResult::Part(reader.rest()), unverified }),
            other => return Err(WireError::Field { what: "result", found: u64::from(other) }),
        };
        reader.finish()?;
        Ok(Self { result, unverified })
    }
}

impl MergeRequest {
    /// The whole frame for an item, its record encoded straight into it, as its end.
    #[must_use]
    pub fn frame_of(header: Header, address: &Address, item: &Siblings) -> Bytes {
        Frame::build(header, address_bytes(address) + item.record_bytes(), |out| {
            put_address(out, address);
            item.encode(out);
        })
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        address_bytes(&self.address) + self.record.len()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_address(out, &self.address);
        out.put_slice(&self.record);
    }

    /// Reads the body; the record is still to be decoded.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let address = reader.address()?;
        Ok(Self { address, record: reader.rest() })
    }
}

impl HintRequest {
    /// The whole frame.
    #[must_use]
    pub fn frame_of(header: Header, home: NodeId, address: &Address, record: &Bytes) -> Bytes {
        Frame::build(header, 16 + address_bytes(address) + record.len(), |out| {
            out.put_u128(home.as_u128());
            put_address(out, address);
            out.put_slice(record);
        })
    }

    /// Reads the body; the record is still to be decoded.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let home = NodeId::new(reader.u128("home node")?);
        let address = reader.address()?;
        Ok(Self { home, address, record: reader.rest() })
    }
}

impl MergeReply {
    /// Bytes of the body.
    pub const BODY_BYTES: usize = 1;

    /// Appends the body.
    pub fn encode(self, out: &mut impl BufMut) {
        let flags = [
            (self.fsynced, FLAG_FSYNCED),
            (self.refused.any, FLAG_OBSOLETE),
            (self.refused.value, FLAG_VALUE_OBSOLETE),
            (self.refused.all, FLAG_ALL_OBSOLETE),
        ];
        out.put_u8(flags.iter().map(|(set, flag)| u8::from(*set) * flag).sum());
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let flags = reader.u8("flags")?;
        reader.finish()?;
        let has = |flag: u8| flags & flag != 0;
        let refused = Refused { any: has(FLAG_OBSOLETE), value: has(FLAG_VALUE_OBSOLETE), all: has(FLAG_ALL_OBSOLETE) };
        Ok(Self { fsynced: has(FLAG_FSYNCED), refused })
    }
}
