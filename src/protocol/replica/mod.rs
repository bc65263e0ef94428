//! A replica: one node's live copy of one partition (Dynamo 4.5).
//!
//! It reads, merges and writes; it keeps the partition clock and the change log in the same batch as the items that
//! they describe; and it says honestly when it cannot read what it holds.

mod key;
mod storage;

pub use key::{ItemKey, KeyKind};
pub use storage::{Batch, Lookup, Mutation, PartitionImage, ReadError, ReadId, ScanPage, ScanRange, Storage};
