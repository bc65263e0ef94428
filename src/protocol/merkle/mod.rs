//! The hash tree of a partition (Dynamo 4.7), kept in step with every write.
//!
//! ```text
//!   root            1 sum     of all items
//!   inner nodes    64 sums    by the first 6 bits of the key hash below the partition's
//!   leaves      4,096 sums    by the first 12
//! ```
//!
//! A node is the wrapping sum of its items' hashes, so a write subtracts what it replaces and adds what it stores: no
//! rescan, and the order of writes does not matter. Two replicas with equal roots hold equal items, but for one chance
//! in 2^64 a comparison; sums defend against accidents, not against a client that forges its own items' hashes.
//!
//! A tree is built from a listing of the partition while writes go on: keys up to the cursor are counted as they are
//! written, keys above it when the listing gets there. 32 KiB a partition. A process that stops cleanly leaves its
//! trees to the next one (`stored`).
//!
//! Invariant: a ready tree equals the one that a rescan would build.

mod stored;
mod tree;

pub use stored::TreeStamp;
pub use tree::{FANOUT, LEAVES, Listed, Tree, item_hash, leaf_of, leaf_range, running_hash};

#[cfg(test)]
mod tests;
