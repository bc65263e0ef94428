//! Storage keys.
//!
//! ```text
//!   item             01 | hash u64 | table 00 | esc(key) 00 00 | esc(sort key) 00 00
//!   partition clock  02
//!   change log       03 | sequence u64
//!   hash tree        04            (of a process that stopped cleanly)
//!   value chunk      05 | ..      (reserved)
//!   quarantine       06 | item key without its kind      (a damaged record, kept aside)
//!   hint             07 | home node u128 | partition u16 | item key      (in the column family `hints`)
//! ```
//!
//! `esc` turns 00 into 00 FF, so that byte order is (key, sort key) order within a hash, whatever bytes they have.

use bytes::{BufMut, Bytes};

use crate::protocol::ring::KeyHash;
use crate::protocol::types::limits::{KEY_BYTES_MAX, SORT_KEY_BYTES_MAX, TABLE_BYTES_MAX};
use crate::protocol::types::{Address, NodeId, PartitionId};

/// The first byte of a storage key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// An item.
    Item = 1,
    /// The partition clock.
    Clock = 2,
    /// An entry of the change log.
    Change = 3,
    /// The hash tree.
    Tree = 4,
    /// A piece of a large value.
    Chunk = 5,
    /// The damaged record of an item that peers have restored, kept aside for the operator.
    Quarantine = 6,
    /// An item kept for an owner that could not be reached.
    Hint = 7,
}

/// The storage key of an item, or of a hint for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey(Bytes);

/// Longest item key: every byte of key and sort key escaped.
pub const ITEM_KEY_BYTES_MAX: usize = 9 + TABLE_BYTES_MAX + 1 + 2 * KEY_BYTES_MAX + 2 + 2 * SORT_KEY_BYTES_MAX + 2;

impl ItemKey {
    /// The key of the item at `address`, whose hash is `hash`.
    #[must_use]
    pub fn new(address: &Address, hash: KeyHash) -> Self {
        let lengths = address.table().as_bytes().len() + address.key().len() + address.sort().len();
        let mut out = Vec::with_capacity(9 + lengths + 8);
        out.put_u8(KeyKind::Item as u8);
        out.put_u64(hash.to_bits());
        out.put_slice(address.table().as_bytes());
        out.put_u8(0);
        escape(address.key(), &mut out);
        escape(address.sort(), &mut out);
        Self(out.into())
    }

    /// The key of the hint that keeps this item for `home`.
    #[must_use]
    pub fn hinted(&self, home: NodeId, partition: PartitionId) -> Self {
        let mut out = hint_prefix(home, partition);
        out.put_slice(&self.0);
        Self(out.into())
    }

    /// Where this item's damaged record is kept aside.
    #[must_use]
    pub fn quarantined(&self) -> Bytes {
        let mut out = vec![KeyKind::Quarantine as u8];
        out.extend_from_slice(self.0.get(1..).unwrap_or(&[]));
        out.into()
    }

    /// Whether it is the key of a hint: then it lies in the column family `hints`, whatever its partition.
    #[must_use]
    pub fn is_hint(&self) -> bool {
        self.0.first() == Some(&(KeyKind::Hint as u8))
    }

    /// Home node, partition and item key of a hint's key; `None` for anything else.
    #[must_use]
    pub fn hint_parts(&self) -> Option<(NodeId, PartitionId, Self)> {
        let (kind, rest) = self.0.split_first()?;
        let (home, rest) = rest.split_first_chunk::<16>()?;
        let (partition, _) = rest.split_first_chunk::<2>()?;
        let item = Self::from_bytes(self.0.slice(HINT_PREFIX_BYTES..))?;
        (*kind == KeyKind::Hint as u8)
            .then(|| (NodeId::new(u128::from_be_bytes(*home)), PartitionId::new(u16::from_be_bytes(*partition)), item))
    }

    /// Takes bytes for the key of a hint; `None` when they are none.
    #[must_use]
    pub fn from_hint_bytes(bytes: Bytes) -> Option<Self> {
        let key = Self(bytes);
        key.hint_parts().is_some().then_some(key)
    }

    /// Takes bytes for an item key; `None` when they are none.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let key = Self(bytes);
        key.parts().is_some().then_some(key)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The hash and the address that the key was made from; `None` only for bytes that never were an item key.
    #[must_use]
    pub fn parts(&self) -> Option<(KeyHash, Address)> {
        if self.0.len() > ITEM_KEY_BYTES_MAX {
            return None;
        }
        let (kind, rest) = self.0.split_first()?;
        if *kind != KeyKind::Item as u8 {
            return None;
        }
        let (hash, rest) = rest.split_first_chunk::<8>()?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (table, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
        let (key, rest) = unescape(rest)?;
        let (sort, rest) = unescape(rest)?;
        if !rest.is_empty() {
            return None;
        }
        let address = Address::new(Bytes::copy_from_slice(table), key.into(), sort.into()).ok()?;
        Some((KeyHash::from_bits(u64::from_be_bytes(*hash)), address))
    }
}

/// What the keys of all hints for a home node's partition begin with.
#[must_use]
pub fn hint_prefix(home: NodeId, partition: PartitionId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HINT_PREFIX_BYTES + 64);
    out.put_u8(KeyKind::Hint as u8);
    out.put_u128(home.as_u128());
    out.put_u16(partition.as_u16());
    out
}

/// Kind, home node, partition.
const HINT_PREFIX_BYTES: usize = 1 + 16 + 2;

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// The bytes up to the end mark, and what follows it.
fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        if byte != 0 {
            out.push(byte);
            rest = after;
            continue;
        }
        let (&mark, after) = after.split_first()?;
        rest = after;
        match mark {
            0 => return Some((out, rest)),
            0xff => out.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
