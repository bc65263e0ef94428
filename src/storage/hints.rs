//! Hints on the disk: one column family for all homes and partitions, in key order.

use bytes::Bytes;
use rocksdb::{AsColumnFamilyRef, ReadOptions};

use super::database::Database;
use super::family::FamilyName;
use crate::protocol::replica::{HintPage, HintRange, ItemKey, KeyKind, ReadError, hint_prefix};

/// Shows every hint's key and the bytes of its record.
pub(super) fn all_hints(
    database: &Database,
    handle: &impl AsColumnFamilyRef,
    visit: &mut dyn FnMut(&ItemKey, usize),
) -> Result<(), ReadError> {
    let mut rows = database.rows(handle, options());
    rows.seek([KeyKind::Hint as u8]);
    while let Some((key, record)) = rows.item() {
        visit(&parse(key)?, record.len());
        rows.next();
    }
    rows.status().map_err(|error| ReadError(error.into_string()))
}

/// Reads a page. Touches the disk.
pub(super) fn page_of_hints(database: &Database, range: &HintRange) -> Result<HintPage, ReadError> {
    let gone = || ReadError("the column family of hints is gone".to_owned());
    let handle = database.handle(FamilyName::Hints).ok_or_else(gone)?;
    let prefix = hint_prefix(range.home, range.partition);
    let mut rows = database.rows(&handle, options());
    match &range.after {
        None => rows.seek(&prefix),
        Some(after) => {
            rows.seek(after.as_bytes());
            if rows.key() == Some(after.as_bytes().as_ref()) {
                rows.next();
            }
        }
    }
    let mut page = HintPage::default();
    let mut bytes = 0;
    while let Some((key, record)) = rows.item() {
        if !key.starts_with(&prefix) {
            break;
        }
        if page.hints.len() >= range.limit || (bytes > 0 && bytes + record.len() > range.bytes) {
            page.more = true;
            break;
        }
        bytes += record.len();
        page.hints.push((parse(key)?, Bytes::copy_from_slice(record)));
        rows.next();
    }
    // An iterator that meets a broken block becomes invalid, just as at the end.
    rows.status().map_err(|error| ReadError(error.into_string()))?;
    Ok(page)
}

/// Hints are read once, on their way out: they would push what is read often out of the cache.
fn options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound([KeyKind::Hint as u8 + 1]);
    options
}

fn parse(key: &[u8]) -> Result<ItemKey, ReadError> {
    let damaged = || ReadError(format!("a hint's key of {} bytes cannot be taken apart", key.len()));
    ItemKey::from_hint_bytes(Bytes::copy_from_slice(key)).ok_or_else(damaged)
}
