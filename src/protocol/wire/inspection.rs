//! What a node holds of one item, told to people: heads, never values.
//!
//! ```text
//!   Inspect       address
//!   InspectReply  result u8 (0 head, 1 absent, 2 unreadable) | flags u8 (1 unverified, 2 kept for others)
//!                 | the head, or why not, as text
//! ```
//!
//! The head is that of the record as it lies on the disk ([`Head`](crate::protocol::version::Head)); the values behind
//! it were verified when it was read, so that a damaged copy says "unreadable" here too. The kinds are apart from those
//! of replicas: who may inspect may not ask for copies, and is sent none.

use bytes::{BufMut, Bytes};

use super::WireError;
use super::codec::{Reader, address_bytes, put_address};
use crate::protocol::types::Address;

const FLAG_UNVERIFIED: u8 = 1;
const FLAG_HINTED: u8 = 2;

/// Longest reason why a copy cannot be read, bytes: a sentence or two.
const REASON_BYTES_MAX: usize = 512;

/// Asks a node what it holds of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectRequest {
    /// Which item.
    pub address: Address,
}

/// What a node holds of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// The head of its record.
    Head(Bytes),
    /// Nothing.
    Absent,
    /// It cannot read what it holds, and why.
    Unreadable(String),
}

/// What a node holds of an item, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectReply {
    /// What it holds.
    pub found: Inspected,
    /// It may have lost acknowledged writes: its copy does not count toward R.
    pub unverified: bool,
    /// It is no owner: these are the hints that it keeps for owners, joined.
    pub hinted: bool,
}

impl InspectRequest {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        address_bytes(&self.address)
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_address(out, &self.address);
    }

    /// Reads the body.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let address = reader.address()?;
        reader.finish()?;
        Ok(Self { address })
    }
}

impl InspectReply {
    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        2 + self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        match &self.found {
            Inspected::Head(head) => head,
            Inspected::Absent => &[],
            Inspected::Unreadable(reason) => {
                let longest = reason.len().min(REASON_BYTES_MAX);
                (0..=longest).rev().find_map(|end| reason.get(..end)).unwrap_or_default().as_bytes()
            }
        }
    }

    /// Appends the body. A longer reason than fits is cut.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(match self.found {
            Inspected::Head(_) => 0,
            Inspected::Absent => 1,
            Inspected::Unreadable(_) => 2,
        });
        out.put_u8((u8::from(self.unverified) * FLAG_UNVERIFIED) | (u8::from(self.hinted) * FLAG_HINTED));
        out.put_slice(self.rest());
    }

    /// Reads the body; the head is still to be decoded.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let result = reader.u8("result")?;
        let flags = reader.u8("flags")?;
        let (unverified, hinted) = (flags & FLAG_UNVERIFIED != 0, flags & FLAG_HINTED != 0);
        let found = match result {
            0 => Inspected::Head(reader.rest()),
            1 => {
                reader.finish()?;
                Inspected::Absent
            }
            2 => {
                let reason = reader.rest();
                if reason.len() > REASON_BYTES_MAX {
                    return Err(WireError::Field { what: "length of a reason", found: reason.len() as u64 });
                }
                Inspected::Unreadable(String::from_utf8_lossy(&reason).into_owned())
            }
            other => return Err(WireError::Field { what: "result", found: u64::from(other) }),
        };
        Ok(Self { found, unverified, hinted })
    }
}
