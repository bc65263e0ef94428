//! A replica: one node's live copy of one partition (Dynamo 4.5).
//!
//! It reads, merges and writes; it keeps the partition clock and the change log in the same batch as the items that
//! they describe; and it says honestly when it cannot read what it holds.

mod change_log;
mod clock;
mod copy;
mod key;
mod partition;
mod storage;

pub use change_log::{Change, ChangeLog, ChangeSet, LOG_BYTES_MAX, RETRY_WINDOW_MS};
pub use clock::PartitionClock;
pub use copy::{Unreadable, open_copy};
pub use key::{ITEM_KEY_BYTES_MAX, ItemKey, KeyKind, hint_prefix};
pub use partition::Partition;
pub use storage::{
    Batch, HintPage, HintRange, ItemPage, ItemRange, Lookup, Mutation, PartitionImage, ReadError, ReadId, ScanPage,
    ScanRange, Storage,
};

#[cfg(test)]
mod tests;
