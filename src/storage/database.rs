//! The open database, as all threads of a node share it: the commit sequence, the one failure, the one fsync.
//!
//! **The order that makes acknowledgements true.** A commit writes its batch and *then* takes the next sequence
//! number. An fsync reads the last number taken and *then* syncs the log. So each commit with a number up to the one
//! read had its bytes in the log before the fsync began, whichever shard made it. Taken the other way round, a number
//! could be covered by an fsync that began before its bytes were written, and a write be acknowledged that a power
//! loss takes back.
//!
//! **The failure is written once.** An fsync that failed may have dropped the dirty pages and marked them clean, so a
//! second one would succeed without the data being anywhere ("fsyncgate", 2018). Whoever fails first leaves
//! the reason here, and every later commit and fsync gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rocksdb::{
    AsColumnFamilyRef, BoundColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

use super::OpenError;
use super::family::{FORMAT, FORMAT_KEY, Family, FamilyName, parse_format};
use super::published::Published;
use super::rebuild::Rebuild;
use super::syncer::Board;
use super::tuning::{FamilyOptions, Tuning};
use crate::protocol::replica::ReadError;
use crate::protocol::types::PartitionId;

/// How the log is made durable: RocksDB's `SyncWAL`, or a test's idea of a broken disk.
pub(super) type SyncFn = Arc<dyn Fn(&DB) -> Result<(), String> + Send + Sync>;

/// The open database.
pub(super) struct Database {
    db: DB,
    families: RwLock<BTreeMap<FamilyName, Arc<Family>>>,
    family_options: FamilyOptions,
    sync: SyncFn,
    /// The number of the last commit; 0 before the first.
    committed: AtomicU64,
    failure: OnceLock<String>,
    board: Board,
    /// The flusher's time; it starts at 1.
    tick: AtomicU32,
    /// Column families in which a read has met a damaged block.
    damaged: Mutex<BTreeSet<FamilyName>>,
    published: Arc<Published>,
}

/// Why nothing is committed or synced any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed(pub(super) String);

impl Database {
    /// Opens what is there, with `meta`, `hints` and `partitions` added when they are missing, and checks the format
    /// of every column family.
    pub(super) fn open(
        path: &Path,
        tuning: &Tuning,
        partitions: &[PartitionId],
        sync: SyncFn,
        published: Arc<Published>,
    ) -> Result<Self, OpenError> {
        let options = tuning.database();
        let mut names = existing(&options, path)?;
        names.extend([FamilyName::Meta, FamilyName::Hints]);
        names.extend(partitions.iter().copied().map(FamilyName::Partition));
        names.sort_unstable();
        names.dedup();

        // In bulk: one by one RocksDB rewrites and re-parses the options of all of them for each (rocksdb #5117).
        replay_strictly(tuning, path, &names)?;
        let family_options = tuning.families();
        let described =
            |name: &FamilyName| ColumnFamilyDescriptor::new(name.to_string(), family_options.of(*name).clone());
        let descriptors: Vec<_> = names.iter().map(described).collect();
        let db = DB::open_cf_descriptors(&options, path, descriptors)
            .map_err(|error| OpenError::RocksDb { path: path.to_owned(), message: error.into_string() })?;
        let families = names.into_iter().map(|name| (name, Arc::new(Family::new(name)))).collect();
        let database = Self {
            db,
            families: RwLock::new(families),
            family_options,
            sync,
            committed: AtomicU64::new(0),
            failure: OnceLock::new(),
            board: Board::default(),
            tick: AtomicU32::new(1),
            damaged: Mutex::default(),
            published,
        };
        database.published.damaged(0);
        database.rebuild()?;
        database.check_formats()?;
        Ok(database)
    }

    /// RocksDB itself.
    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    /// How the log is synced, for the database that is opened after this one.
    pub(super) fn sync_fn(&self) -> SyncFn {
        Arc::clone(&self.sync)
    }

    /// Where requests to the syncer go.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// The handle of a column family, looked up by name: a lock, a search among strings and a reference count. For
    /// threads that touch the disk anyway; shards resolve theirs once.
    pub(super) fn handle(&self, name: FamilyName) -> Option<Arc<BoundColumnFamily<'_>>> {
        let family = self.family(name)?;
        self.db.cf_handle(family.as_str())
    }

    /// Rows of a column family in key order. The only way to get them: see `tuning` for what an iterator that did not
    /// ask for the total order would show of a partition.
    pub(super) fn rows(&self, handle: &impl AsColumnFamilyRef, mut options: ReadOptions) -> DBRawIterator<'_> {
        options.set_total_order_seek(true);
        self.db.raw_iterator_cf_opt(handle, options)
    }

    /// What all writers of a column family share.
    pub(super) fn family(&self, name: FamilyName) -> Option<Arc<Family>> {
        self.families.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    /// Every column family, in name order.
    pub(super) fn families(&self) -> Vec<Arc<Family>> {
        self.families.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The partitions that live here, in order.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        let partition = |family: &Arc<Family>| match family.name() {
            FamilyName::Partition(partition) => Some(partition),
            FamilyName::Meta | FamilyName::Hints => None,
        };
        self.families().iter().filter_map(partition).collect()
    }

    /// Adds one column family to the open database, format record and all, durably.
    pub(super) fn create(&self, name: FamilyName) -> Result<(), Failed> {
        if self.family(name).is_some() {
            return Ok(());
        }
        self.db
            .create_cf(name.to_string(), self.family_options.of(name))
            .map_err(|error| Failed(error.into_string()))?;
        self.families.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(Family::new(name)));
        self.write_formats(&[name])?;
        self.sync().map(|_| ())
    }

    /// Writes a batch and gives it the next sequence number. See the head of this file for the order.
    pub(super) fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<u64, Failed> {
        self.check()?;
        if let Err(error) = self.db.write_opt(batch, options) {
            // Disk full and input/output errors leave the log in a state that only a restart sorts out.
            return Err(self.fail(error.into_string()));
        }
        Ok(self.committed.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The number of the last commit.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Makes everything durable that was committed when it began; the number of the last commit that is covered.
    pub(super) fn sync(&self) -> Result<u64, Failed> {
        self.check()?;
        let covered = self.committed();
        let began = std::time::Instant::now();
        (self.sync)(&self.db).map_err(|message| self.fail(message))?;
        self.published.fsynced(began.elapsed());
        // Another thread may have failed meanwhile, and taken dirty pages with it.
        self.check()?;
        Ok(covered)
    }

    /// The failure, once there is one.
    pub(super) fn check(&self) -> Result<(), Failed> {
        match self.failure.get() {
            Some(message) => Err(Failed(message.clone())),
            None => Ok(()),
        }
    }

    /// Writes the failure down, the first one for good, and has every shard told.
    fn fail(&self, message: String) -> Failed {
        let first = Failed(self.failure.get_or_init(|| message).clone());
        self.board.report_failure();
        first
    }

    /// The flusher's time.
    pub(super) fn tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }

    /// A read failed: notes the family if that is because a block of it is damaged. What the reader is told.
    pub(super) fn unreadable(&self, name: FamilyName, error: rocksdb::Error) -> ReadError {
        let kind = error.kind();
        let message = error.into_string();
        // A table file that is gone is as damaged as one can be. Other input/output errors may pass.
        let is_damage =
            kind == ErrorKind::Corruption || (kind == ErrorKind::IOError && message.contains("No such file"));
        if is_damage {
            self.note_damage(name, &message);
        }
        ReadError(message)
    }

    /// Notes that a family has a damaged block. The first time it is said aloud; the flusher does the rest.
    pub(super) fn note_damage(&self, name: FamilyName, message: &str) {
        let mut names = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let first = names.insert(name);
        self.published.damaged(names.len());
        drop(names);
        if first {
            tracing::error!(
                family = %name,
                message,
                "a file is damaged; what is in its damaged blocks is answered as unreadable until this node is \
                 restarted, which rebuilds the column family from the rest of it"
            );
        }
    }

    /// What operators are told.
    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The damaged families.
    pub(super) fn damaged(&self) -> BTreeSet<FamilyName> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves the flusher's time on. At four a second it lasts for 34 years.
    pub(super) fn advance_tick(&self) {
        self.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// Rebuilds what needs it, now that nobody uses anything yet.
    fn rebuild(&self) -> Result<(), OpenError> {
        let path = self.db.path();
        // Another format has other keys: nothing is rebuilt of a database that this version does not understand.
        let meta = self.family(FamilyName::Meta).map(|family| family.as_str().to_owned()).unwrap_or_default();
        if !matches!(self.format_record(&meta), Ok((Some(record), _)) if parse_format(&record) == Some(FORMAT)) {
            return Ok(());
        }
        let names: Vec<FamilyName> = self.families().iter().map(|family| family.name()).collect();
        let unreadable = |name: &FamilyName| self.format_record(&name.to_string()).is_err();
        let unreadable: Vec<FamilyName> = names.into_iter().filter(unreadable).collect();
        let data = path.parent().unwrap_or(path);
        let rebuild = Rebuild::new(self, data, &self.family_options);
        rebuild.run(&unreadable).map_err(|source| OpenError::Rebuild { path: data.to_owned(), source })
    }

    fn check_formats(&self) -> Result<(), OpenError> {
        let mut unmarked = Vec::new();
        for family in self.families() {
            if !self.check_format(&family)? {
                unmarked.push(family.name());
            }
        }
        if unmarked.is_empty() {
            return Ok(());
        }
        let path = self.db.path();
        let failed = |failed: Failed| OpenError::RocksDb { path: path.to_owned(), message: failed.0 };
        self.write_formats(&unmarked).map_err(failed)?;
        self.sync().map(|_| ()).map_err(failed)
    }

    /// Whether the family has a format record, which is ours. One without is new: it must be empty.
    fn check_format(&self, family: &Family) -> Result<bool, OpenError> {
        let (path, family) = (self.db.path().to_owned(), family.as_str().to_owned());
        let found = self.format_record(&family);
        let (record, empty) = match found {
            Ok(found) => found,
            Err(message) => return Err(OpenError::FormatUnreadable { path, family, message }),
        };
        match record.as_deref().map(parse_format) {
            Some(Some(FORMAT)) => Ok(true),
            Some(Some(found)) => Err(OpenError::FormatUnknown { path, family, found }),
            None if empty => Ok(false),
            None | Some(None) => Err(OpenError::FormatMissing { path, family }),
        }
    }

    /// A family's format record, and whether there is nothing at all in the family.
    fn format_record(&self, family: &str) -> Result<(Option<Vec<u8>>, bool), String> {
        let handle = self.db.cf_handle(family).ok_or("it is gone")?;
        let record = self.db.get_cf(&handle, FORMAT_KEY).map_err(rocksdb::Error::into_string)?;
        if record.is_some() {
            return Ok((record, false));
        }
        let mut rows = self.rows(&handle, ReadOptions::default());
        rows.seek_to_first();
        rows.status().map_err(rocksdb::Error::into_string)?;
        Ok((None, !rows.valid()))
    }

    fn write_formats(&self, names: &[FamilyName]) -> Result<(), Failed> {
        let mut batch = WriteBatch::default();
        for name in names {
            let handle = self.handle(*name).ok_or_else(|| Failed(format!("column family {name} is gone")))?;
            batch.put_cf(&handle, FORMAT_KEY, FORMAT.to_be_bytes());
        }
        self.write(batch, &WriteOptions::default())?;
        for name in names {
            if let Some(family) = self.family(*name) {
                family.mark_written(self.tick());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.db.path())
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

/// The column families on the disk; none when there is no database yet.
fn existing(options: &Options, path: &Path) -> Result<Vec<FamilyName>, OpenError> {
    if !path.join("CURRENT").exists() {
        return Ok(Vec::new());
    }
    let names = DB::list_cf(options, path)
        .map_err(|error| OpenError::RocksDb { path: path.to_owned(), message: error.into_string() })?;
    let ours = names.into_iter().filter(|name| name != rocksdb::DEFAULT_COLUMN_FAMILY_NAME);
    ours.map(|family| {
        let name = FamilyName::parse(&family);
        name.ok_or_else(|| OpenError::FamilyUnknown { path: path.to_owned(), family })
    })
    .collect()
}

/// Replays the log of an unclean stop, up to its first damaged record, into table files.
///
/// The database that is opened after this one runs without `paranoid_checks`, so that a compaction which meets a
/// damaged block fails alone instead of stopping all writes (see `tuning`). But without them RocksDB also skips damaged
/// records of the log and goes on behind them, and what it finds there could lack a write that it builds on. So the log
/// is replayed by a database that has them, and the other one finds none.
fn replay_strictly(tuning: &Tuning, path: &Path, names: &[FamilyName]) -> Result<(), OpenError> {
    if !has_log(path) {
        return Ok(());
    }
    let mut options = tuning.database();
    options.set_paranoid_checks(true);
    let family_options = tuning.families();
    let descriptors = names.iter().map(|name| {
        let mut family = family_options.of(*name).clone();
        family.set_disable_auto_compactions(true);
        ColumnFamilyDescriptor::new(name.to_string(), family)
    });
    match DB::open_cf_descriptors(&options, path, descriptors) {
        Ok(db) => {
            drop(db);
            Ok(())
        }
        // A table file whose end is damaged cannot even be opened, and strictly that is the end. The other database
        // opens without it, and it is then rebuilt.
        Err(error) if error.kind() == ErrorKind::Corruption && error.to_string().contains(".sst") => {
            tracing::error!(error = error.into_string(), "a table file cannot be opened");
            Ok(())
        }
        Err(error) => Err(OpenError::RocksDb { path: path.to_owned(), message: error.into_string() }),
    }
}

/// Whether there is a log with something in it.
fn has_log(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let mut logs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    logs.any(|log| log.metadata().is_ok_and(|metadata| metadata.len() > 0))
}

/// Syncs the log with the operating system and the disk.
pub(super) fn sync_log(db: &DB) -> Result<(), String> {
    db.flush_wal(true).map_err(rocksdb::Error::into_string)
}

/// Whether a lookup in memory only gave up because the answer is on the disk.
pub(super) fn is_cache_miss(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Incomplete
}
