//! A node's disk: one RocksDB, a column family for each partition, and a promise about what survives.
//!
//! The rules need very little of a disk (`protocol::replica::Storage`): look an item up without blocking, list item
//! keys, load a partition's clock and change log, and commit a turn as one batch. This module is that, on RocksDB.
//!
//! ```text
//!   <path>/                    0700
//!     lock                     held with flock(2) while a process has the directory; holds its pid
//!     rocksdb/                 ONE database and ONE write-ahead log for the node
//!       meta                   who we are, boot generation, the cluster's creation
//!       hints                  writes kept for unreachable owners
//!       p0000 p0001 ..         one column family for each partition that lives here
//!     rebuild/                 copies of damaged column families in the making; empty while the node runs
//!     quarantine/p0007/        damaged table files that a rebuild set aside, for the operator to look at or remove
//!
//!   every column family: 00 -> format u16, then the kinds 01.. of `protocol::replica::ItemKey`
//! ```
//!
//! The threads, and what goes between them:
//!
//! ```text
//!   shard thread --read-----> memtable, block cache --------------> Ready
//!                     \-----> read pool (a few threads) ----------> completed(ReadCompletion)
//!                --commit---> write-ahead log, memtables ---------> sequence s
//!                --request_sync(s)-> syncer: one fsync for all ---> durable(s)   or   failed(why), once, for ever
//!   flusher: flushes column families whose oldest unflushed write is a minute old, so that no idle one pins a log
//! ```
//!
//! Invariants:
//! - A value that cannot be read is an error, never "absent" (rule 4 of the design).
//! - When the syncer says that `s` is durable, every commit of every shard up to `s` is on the disk.
//! - After an fsync or a commit failed nothing more is committed and nothing more becomes durable (rule 6).
//! - A damaged table file makes reads of what is in it fail, and nothing else; the next open rebuilds its family.
//! - The clean marker is in the database only between a clean close and the next open.
//!
//! # Caveats
//! A column family handle borrows its database, and we keep no `unsafe` and no leaked database. So a shard gets its
//! disk in two steps: [`Store::shard_seat`] gives a [`ShardSeat`] that can be sent to the shard's thread, and there
//! [`ShardSeat::storage`] gives the [`ShardStorage`] that borrows it and has its handles resolved. The compiler then
//! proves that no handle outlives the database, and [`Store::close`] can tell whether a shard is still running.
//!
//! RocksDB may stall a commit when compaction falls behind; a shard then waits inside `commit`.

mod boot;
mod database;
mod directory;
mod family;
mod flusher;
mod hints;
mod items;
mod meta;
mod pool;
mod published;
mod rebuild;
mod scan;
mod shard;
mod store;
mod syncer;
#[cfg(test)]
mod tests;
mod tuning;
mod watch;

pub use boot::{Boot, BootError};
pub use meta::{DiskIdentity, Meta, MetaError};
pub use pool::ReadCompletion;
pub use published::Published;
pub use rebuild::{RebuildError, Rebuilt};
pub use shard::{CommitError, ShardCallbacks, ShardSeat, ShardStorage};
pub use store::{CloseError, OpenError, Store, StoreOptions};
