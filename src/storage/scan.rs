//! Listing item keys, a bounded step at a time.
//!
//! Items of all tables share a partition in hash order, so the keys of a small table are far apart among those of a
//! large one. A step of a scan passes at most [`SKIPPED_MAX`] keys of other tables between two of its own. Then
//! - when it has found keys, the page ends there with `more`: the next page starts after the last of them, passes the
//!   same foreign keys once more, and from there on it is a page without keys;
//! - when it has found none, an empty page with `more` would leave the caller where it was, so the scan goes to the
//!   back of the queue with its own cursor and takes another step later, after the reads that wait.
//!
//! So a page is empty only at the end of the range, each page brings the caller forward, and nobody waits behind a
//! scan for longer than a step.

use bytes::Bytes;
use rocksdb::properties::CUR_SIZE_ACTIVE_MEM_TABLE;
use rocksdb::{DBRawIterator, ReadOptions};

use super::database::Database;
use super::family::FamilyName;
use super::flusher;
use crate::protocol::merkle::{Listed, item_hash};
use crate::protocol::replica::{ItemPage, ItemRange, KeyKind, ReadError, ScanPage, ScanRange};
use crate::protocol::types::PartitionId;
use crate::protocol::version::is_reapable;

/// A scan that is under way.
#[derive(Debug)]
pub(super) struct Scan {
    partition: PartitionId,
    /// Table and its end mark; empty for all tables.
    table: Vec<u8>,
    limit: usize,
    /// The first key that has not been looked at.
    cursor: Vec<u8>,
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// A page for the caller.
    Page(ScanPage),
    /// Nothing found yet; another step is to be taken from where this one stopped.
    Again(Scan),
}

impl Scan {
    pub(super) fn new(partition: PartitionId, range: &ScanRange) -> Self {
        let mut table = range.table.to_vec();
        if !table.is_empty() {
            table.push(0);
        }
        let cursor = range.after.as_ref().map_or_else(|| vec![KeyKind::Item as u8], |key| after(key.as_bytes()));
        Self { partition, table, limit: range.limit.clamp(1, PAGE_KEYS_MAX), cursor }
    }

    /// Takes a step. Touches the disk.
    pub(super) fn step(mut self, database: &Database) -> Result<Step, ReadError> {
        let mut options = ReadOptions::default();
        // Pages of a scan would push what is read often out of the cache.
        options.fill_cache(false);
        options.set_iterate_upper_bound([KeyKind::Item as u8 + 1]);
        let mut rows = listing(database, self.partition, options)?;
        rows.seek(&self.cursor);
        let mut keys = Vec::new();
        let mut skipped = 0;
        while let Some(key) = rows.key() {
            if keys.len() == self.limit || skipped == SKIPPED_MAX {
                break;
            }
            if self.wants(key) {
                keys.push(Bytes::copy_from_slice(key));
                skipped = 0;
            } else {
                skipped += 1;
            }
            rows.next();
        }
        // An iterator that meets a broken block becomes invalid, just as at the end.
        rows.status().map_err(|error| database.unreadable(FamilyName::Partition(self.partition), error))?;
        match rows.key() {
            Some(next) if keys.is_empty() => {
                self.cursor = next.to_vec();
                Ok(Step::Again(self))
            }
            next => Ok(Step::Page(ScanPage { keys, more: next.is_some() })),
        }
    }

    /// Whether an item key belongs to the table.
    fn wants(&self, key: &[u8]) -> bool {
        key.get(TABLE_OFFSET..).is_some_and(|rest| rest.starts_with(&self.table))
    }
}

/// Keys and values whose key begins with `kind`, in key order, all of them.
pub(super) fn rows_of_kind(
    database: &Database,
    name: FamilyName,
    handle: &impl rocksdb::AsColumnFamilyRef,
    kind: KeyKind,
) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound([kind as u8 + 1]);
    let mut rows = database.rows(handle, options);
    rows.seek([kind as u8]);
    let mut out = Vec::new();
    while let Some((key, value)) = rows.item() {
        out.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        rows.next();
    }
    rows.status().map_err(|error| database.unreadable(name, error))?;
    Ok(out)
}

/// A partition's rows in key order, for a page. They are sorted anew for each page as far as they are in the memtable
/// (see `tuning`), so that one which is large is flushed, for the pages after this one.
fn listing(database: &Database, partition: PartitionId, options: ReadOptions) -> Result<DBRawIterator<'_>, ReadError> {
    let family = database.family(FamilyName::Partition(partition)).ok_or_else(|| missing(partition))?;
    let handle = database.handle(family.name()).ok_or_else(|| missing(partition))?;
    let bytes = database.db().property_int_value_cf(&handle, CUR_SIZE_ACTIVE_MEM_TABLE).ok().flatten();
    if bytes.is_some_and(|bytes| bytes > LISTED_MEMTABLE_BYTES_MAX) {
        flusher::flush(database, &family, false);
    }
    Ok(database.rows(&handle, options))
}

/// A page of items with the hashes of what is stored. Touches the disk.
pub(super) fn page_of_items(database: &Database, range: &ItemRange) -> Result<ItemPage, ReadError> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    match &range.until {
        Some(until) => options.set_iterate_upper_bound(until.to_vec()),
        None => options.set_iterate_upper_bound([KeyKind::Item as u8 + 1]),
    }
    let mut rows = listing(database, range.partition, options)?;
    rows.seek(range.from.as_ref().max(range.after.as_ref()));
    let mut page = ItemPage::default();
    let mut bytes = 0;
    while let Some((key, record)) = rows.item() {
        if page.items.len() == range.limit || bytes > ITEM_PAGE_BYTES {
            page.more = true;
            break;
        }
        if key > range.after.as_ref() {
            bytes += record.len();
            page.items.push(Listed {
                key: Bytes::copy_from_slice(key),
                hash: item_hash(key, record),
                reapable: is_reapable(record),
            });
        }
        rows.next();
    }
    // An iterator that meets a broken block becomes invalid, just as at the end.
    rows.status().map_err(|error| ReadError(error.into_string()))?;
    Ok(page)
}

/// What a memtable has at most when it is listed and stays: some 1,500 small records, sorted within half a millisecond.
const LISTED_MEMTABLE_BYTES_MAX: u64 = 512 * 1024;
/// Bytes of records that one page of items reads, about: a few milliseconds of a disk.
const ITEM_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What a read of a partition without a column family says.
pub(super) fn missing(partition: PartitionId) -> ReadError {
    ReadError(format!("partition {partition} has no column family on this node"))
}

/// The first possible key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// Kind and hash are before the table.
const TABLE_OFFSET: usize = 1 + 8;
/// Foreign keys passed between two of ours, or before a step without any ends: a few milliseconds.
pub(super) const SKIPPED_MAX: usize = 4096;
/// Keys of a page: at most 17 MiB of the longest ones.
pub(super) const PAGE_KEYS_MAX: usize = 4096;
