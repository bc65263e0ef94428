//! A tree between two processes: stored when one stops cleanly, read when the next begins.
//!
//! ```text
//!   format u8 = 1 | partition u16 | partition bits u8 | change-log sequence u64 | verified u64, wall milliseconds
//!   | leaves u16 | (leaf u16 | sum u64)*, rising, none of them 0 | checksum u64 (XXH3-64)
//! ```
//!
//! That there is a record says that nothing was written to the partition since: the first batch that does also deletes
//! it, so a crash leaves either none or a true one. The sequence is asked all the same: a program that does not know of
//! the record does not delete it either.

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use super::tree::{LEAVES, Tree};

const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// What a stored tree belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStamp {
    /// The partition.
    pub partition: u16,
    /// Bits of the key hash that name a partition: what is in which leaf.
    pub partition_bits: u8,
    /// The newest entry of the partition's change log.
    pub sequence: u64,
    /// When the tree was last built from what is on the disk, wall milliseconds.
    pub verified_ms: u64,
}

impl Tree {
    /// The record of a ready tree; `None` of one that is being built.
    #[must_use]
    pub fn to_record(&self, stamp: TreeStamp) -> Option<Bytes> {
        if !self.is_ready() {
            return None;
        }
        let leaves: Vec<(u16, u64)> =
            (0_u16..).zip(self.all_leaves().iter().copied()).filter(|leaf| leaf.1 != 0).collect();
        let mut out = Vec::with_capacity(22 + leaves.len() * 10 + CHECKSUM_BYTES);
        out.put_u8(FORMAT);
        out.put_u16(stamp.partition);
        out.put_u8(stamp.partition_bits);
        out.put_u64(stamp.sequence);
        out.put_u64(stamp.verified_ms);
        out.put_u16(u16::try_from(leaves.len()).expect("a tree has 4,096 leaves"));
        for (leaf, sum) in leaves {
            out.put_u16(leaf);
            out.put_u64(sum);
        }
        let checksum = xxh3_64(&out);
        out.put_u64(checksum);
        Some(out.into())
    }

    /// Reads a record: the tree and what it belongs to. `None` of what is no such record, or damaged: the tree has to
    /// be built again.
    #[must_use]
    pub fn from_record(record: &[u8]) -> Option<(Self, TreeStamp)> {
        let (mut body, mut checksum) = record.split_at_checked(record.len().checked_sub(CHECKSUM_BYTES)?)?;
        if xxh3_64(body) != checksum.get_u64() || body.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let stamp = TreeStamp {
            partition: body.try_get_u16().ok()?,
            partition_bits: body.try_get_u8().ok()?,
            sequence: body.try_get_u64().ok()?,
            verified_ms: body.try_get_u64().ok()?,
        };
        let count = usize::from(body.try_get_u16().ok()?);
        if body.len() != count * 10 {
            return None;
        }
        let mut sums = vec![0; LEAVES];
        let mut next = 0;
        for _ in 0..count {
            let (leaf, sum) = (usize::from(body.try_get_u16().ok()?), body.try_get_u64().ok()?);
            if leaf < next || sum == 0 {
                return None;
            }
            *sums.get_mut(leaf)? = sum;
            next = leaf + 1;
        }
        Some((Self::ready(sums), stamp))
    }
}
