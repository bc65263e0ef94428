//! What the store tells operators: sampled in the background, so that a scrape reads memory and waits for nobody.
//!
//! RocksDB answers for a property from memory too, but under the lock that flushes and compactions install their
//! results with, once for each of a hundred column families; and the log's files have to be looked up in their
//! directory. So the flusher's thread asks every two seconds and leaves a copy here. Fsyncs and damage are noted as
//! they happen, by the threads to which they happen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocksdb::BoundColumnFamily;
use rocksdb::properties::{
    BACKGROUND_ERRORS, BLOCK_CACHE_CAPACITY, BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES,
    ESTIMATE_PENDING_COMPACTION_BYTES, IS_WRITE_STOPPED, LIVE_SST_FILES_SIZE, NUM_RUNNING_COMPACTIONS,
    NUM_RUNNING_FLUSHES,
};

use super::database::Database;
use super::family::FamilyName;
use super::flusher::log_sizes;
use crate::metrics::{DiskNumbers, StorageNumbers};
use crate::protocol::types::{Histogram, Seconds};

/// The newest sample, and what is counted as it happens. It outlives the database that is opened anew for partitions.
#[derive(Debug, Default)]
pub struct Published {
    sample: Mutex<StorageNumbers>,
    fsyncs: Mutex<Histogram<Seconds>>,
    damaged: AtomicU64,
}

impl Published {
    /// The disk, as it was last sampled.
    #[must_use]
    pub fn numbers(&self) -> StorageNumbers {
        let sample = self.sample().clone();
        StorageNumbers { fsync_times: *self.fsyncs(), damaged: self.damaged.load(Ordering::Relaxed), ..sample }
    }

    /// Bytes of all partitions.
    #[must_use]
    pub fn item_bytes(&self) -> u64 {
        self.sample().partitions.iter().map(|(_, bytes)| bytes).sum()
    }

    /// An fsync took so long.
    pub(super) fn fsynced(&self, time: Duration) {
        self.fsyncs().record_time(time);
    }

    /// So many column families have a damaged block.
    pub(super) fn damaged(&self, families: usize) {
        self.damaged.store(families as u64, Ordering::Relaxed);
    }

    /// Asks the database. Not for a shard's thread.
    pub(super) fn sample_from(&self, database: &Database) {
        let mut numbers = sampled(database);
        let mut sample = self.sample();
        // A counter never goes back, also when RocksDB was opened anew and counts from zero again.
        numbers.write_delays = numbers.write_delays.max(sample.write_delays);
        numbers.write_stops = numbers.write_stops.max(sample.write_stops);
        numbers.background_errors = numbers.background_errors.max(sample.background_errors);
        *sample = numbers;
    }

    fn sample(&self) -> MutexGuard<'_, StorageNumbers> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fsyncs(&self) -> MutexGuard<'_, Histogram<Seconds>> {
        self.fsyncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sampled(database: &Database) -> StorageNumbers {
    let db = database.db();
    let whole = |name| db.property_int_value(name).ok().flatten().unwrap_or_default();
    let (log_files, log_bytes) = log_sizes(database);
    let mut numbers = StorageNumbers {
        compactions: whole(NUM_RUNNING_COMPACTIONS),
        flushes: whole(NUM_RUNNING_FLUSHES),
        writes_stopped: whole(IS_WRITE_STOPPED) > 0,
        background_errors: whole(BACKGROUND_ERRORS),
        log_files: log_files as u64,
        log_bytes,
        disk: disk_of(db.path()),
        ..StorageNumbers::default()
    };
    for family in database.families() {
        let name = family.name();
        let Some(handle) = database.handle(name) else { continue };
        let of = |property| db.property_int_value_cf(&handle, property).ok().flatten().unwrap_or_default();
        let (tables, memtables) = (of(LIVE_SST_FILES_SIZE), of(CUR_SIZE_ALL_MEM_TABLES));
        numbers.table_bytes += tables;
        numbers.memtable_bytes += memtables;
        numbers.compaction_pending_bytes += of(ESTIMATE_PENDING_COMPACTION_BYTES);
        let (delays, stops) = stalls(database, &handle);
        numbers.write_delays += delays;
        numbers.write_stops += stops;
        if let FamilyName::Partition(partition) = name {
            numbers.partitions.push((partition, tables + memtables));
        }
        // One cache for all of them: any family tells.
        numbers.cache_bytes = of(BLOCK_CACHE_USAGE);
        numbers.cache_capacity_bytes = of(BLOCK_CACHE_CAPACITY);
    }
    numbers
}

/// How often a family's writes were slowed down, and stopped, since the database was opened.
fn stalls(database: &Database, handle: &std::sync::Arc<BoundColumnFamily<'_>>) -> (u64, u64) {
    let text = database.db().property_value_cf(handle, WRITE_STALLS).ok().flatten().unwrap_or_default();
    parse_stalls(&text)
}

/// `Write Stall (count): cf-l0-file-count-limit-delays-with-ongoing-compaction: 0, .., total-delays: 3, total-stops: 1`
fn parse_stalls(text: &str) -> (u64, u64) {
    let number = |name: &str| {
        let rest = text.split(name).nth(1)?;
        rest.trim_start_matches([':', ' ']).split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    (number("total-delays").unwrap_or(0), number("total-stops").unwrap_or(0))
}

/// The file system that a directory is on.
fn disk_of(path: &std::path::Path) -> Option<DiskNumbers> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // What is kept for the superuser is not free for a service.
    Some(DiskNumbers { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
}

/// Stalls of one column family; the crate has no name for it.
const WRITE_STALLS: &str = "rocksdb.cf-write-stall-stats";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rocksdb_knows_the_property_by_this_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        let families = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME];
        let db = rocksdb::DB::open_cf(&options, directory.path(), families).unwrap();
        let family = db.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).unwrap();
        let text = db.property_value_cf(&family, WRITE_STALLS).unwrap().unwrap_or_default();
        assert!(text.contains("total-delays") && text.contains("total-stops"), "{text:?}");
    }

    #[test]
    fn stalls_are_found_in_what_rocksdb_prints() {
        let text = "Write Stall (count): cf-l0-file-count-limit-delays-with-ongoing-compaction: 0, \
                    l0-file-count-limit-delays: 2, memtable-limit-stops: 1, total-delays: 12, total-stops: 1\n";
        assert_eq!(parse_stalls(text), (12, 1));
        assert_eq!(parse_stalls(""), (0, 0));
        assert_eq!(parse_stalls("total-delays: many"), (0, 0));
    }
}
