//! From a key to its place on the ring.

use xxhash_rust::xxh3::Xxh3;

use crate::protocol::types::{Address, PartitionId};

/// A key's place in the 64-bit hash space. The sort key has no part in it: all items of one key live together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// `xxh3_64(table length u16 | table | key)` with the cluster's seed. The length keeps ("ab", "c") and ("a", "bc")
    /// apart; the seed keeps a stranger from choosing keys that all fall into one partition.
    #[must_use]
    pub fn of(address: &Address, seed: u64) -> Self {
        let table = address.table().as_bytes();
        let mut hash = Xxh3::with_seed(seed);
        hash.update(&u16::try_from(table.len()).unwrap_or(u16::MAX).to_be_bytes());
        hash.update(table);
        hash.update(address.key());
        Self(hash.digest())
    }

    /// The hash with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The hash as a number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

/// The partition that holds a hash, of `1 << bits` equal ones: its top bits.
#[must_use]
pub fn partition_of(hash: KeyHash, bits: u32) -> PartitionId {
    let top = hash.0.checked_shr(64 - bits).unwrap_or(0);
    PartitionId::new(u16::try_from(top).unwrap_or(u16::MAX))
}
