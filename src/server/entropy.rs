//! The operating system's entropy, for seeds, ids and keys.

use crate::protocol::types::DiskId;

/// Fills an array.
///
/// # Panics
/// When the operating system has no entropy to give: nothing safe can be done without it.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives entropy");
    bytes
}

/// A seed for something that needs no more than jitter.
pub(crate) fn seed_u64() -> u64 {
    u64::from_be_bytes(random())
}

/// A name for a data directory.
pub(crate) fn disk() -> DiskId {
    DiskId::new(u128::from_be_bytes(random()))
}
