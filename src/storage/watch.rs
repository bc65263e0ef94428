//! Watching for damage: what reads have noted is written down and contained, and what a compaction has met is looked
//! for. Runs on the flusher's thread, a step each tick.
//!
//! RocksDB tells that something failed in the background, but not what: so every family is read from one end to the
//! other, a slice each tick, until the damaged one has noted itself.

use std::collections::{BTreeSet, VecDeque};

use rocksdb::ReadOptions;
use rocksdb::properties::BACKGROUND_ERRORS;

use super::database::Database;
use super::family::FamilyName;
use super::meta::{self, Meta};
use super::rebuild::encode_names;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    contained: BTreeSet<FamilyName>,
    /// Background errors that were looked into.
    errors: u64,
    /// Families that are still to be read, the first from this key on.
    search: VecDeque<(FamilyName, Vec<u8>)>,
}

impl Watch {
    pub(super) fn round(&mut self, database: &Database, round: u32) {
        if round.is_multiple_of(ROUNDS_PER_LOOK) && self.search.is_empty() {
            self.look(database);
        }
        self.search(database);
        self.contain(database);
    }

    /// Begins a search when something has failed in the background.
    fn look(&mut self, database: &Database) {
        let errors = database.db().property_int_value(BACKGROUND_ERRORS).ok().flatten().unwrap_or_default();
        if errors <= self.errors {
            return;
        }
        self.errors = errors;
        tracing::warn!(errors, "a flush or a compaction has failed; looking for a damaged column family");
        let damaged = database.damaged();
        let names = database.families().into_iter().map(|family| family.name());
        self.search = names.filter(|name| !damaged.contains(name)).map(|name| (name, Vec::new())).collect();
    }

    /// Reads a slice of the family that is being searched.
    fn search(&mut self, database: &Database) {
        let Some((name, from)) = self.search.pop_front() else { return };
        let Some(handle) = database.handle(name) else { return };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut rows = database.rows(&handle, options);
        rows.seek(&from);
        let mut bytes = 0;
        while let Some((key, value)) = rows.item() {
            bytes += key.len() + value.len();
            if bytes > SLICE_BYTES {
                self.search.push_front((name, key.to_vec()));
                return;
            }
            rows.next();
        }
        if let Err(error) = rows.status() {
            // Noted, if it is damage; said in any case.
            let error = database.unreadable(name, error);
            tracing::warn!(family = %name, %error, "cannot be read to its end");
        }
    }

    /// Writes down what was noted since the last time, and stops its compactions.
    fn contain(&mut self, database: &Database) {
        let damaged = database.damaged();
        if damaged.len() == self.contained.len() {
            return;
        }
        if let Err(error) = Meta::new(database).apply(&[(meta::DAMAGED, Some(encode_names(&damaged)))]) {
            tracing::error!(%error, "the damage is not on record, so the next start does not repair it");
            return;
        }
        for name in damaged.difference(&self.contained) {
            let Some(handle) = database.handle(*name) else { continue };
            if let Err(error) = database.db().set_options_cf(&handle, &[("disable_auto_compactions", "true")]) {
                tracing::warn!(family = %name, error = error.into_string(), "its compactions go on, and fail");
            }
        }
        self.contained = damaged;
    }
}

/// Once a second.
const ROUNDS_PER_LOOK: u32 = 4;
/// Bytes of a slice: a few milliseconds of a disk, four times a second.
const SLICE_BYTES: usize = 4 * 1024 * 1024;
