//! The store: a data directory that is open, and the threads that serve it.
//!
//! ```text
//!   Store::open -> create_partitions -> begin_boot -> shard_seat, one a shard -> .. -> close
//! ```
//!
//! Opening takes the clean marker away, durably, before anything else is written; only `close` puts it back. A store
//! that is dropped instead stops its threads and lets go of the directory, and the next boot is an unclean one: that
//! is what the tests do in place of killing a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::boot::{self, Boot, BootError, Claim};
use super::database::{Database, Failed, SyncFn, sync_log};
use super::directory::DataDirectory;
use super::family::{FORMAT, FamilyName};
use super::flusher::{self, Flusher};
use super::meta::{self, Meta, MetaError};
use super::pool::ReadPool;
use super::published::Published;
use super::rebuild::{RebuildError, Rebuilt, parse_reports};
use super::syncer::Syncer;
use super::tuning::Tuning;
use super::{ShardCallbacks, ShardSeat};
use crate::protocol::types::{ClusterId, DiskId, Durability, NodeId, PartitionId};

/// Where a store is, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The data directory; created when it is missing.
    pub path: PathBuf,
    /// Most bytes of blocks, filters and indexes kept in memory, for all partitions. More: fewer reads of the disk.
    pub block_cache_bytes: usize,
    /// Most bytes of items that one shard keeps in memory. More: fewer lookups in RocksDB.
    pub item_cache_bytes: usize,
    /// Most bytes of writes kept in memory before the oldest are flushed. More: fewer and larger table files, and a
    /// longer log to read after an unclean stop (up to twice this). Shared by all partitions; 4 MiB for each busy one
    /// is a good measure.
    pub write_buffer_bytes: usize,
    /// When a write counts as safe.
    pub durability: Durability,
    /// With `interval` durability: the most that a power loss takes.
    pub interval: Duration,
    /// Threads that wait for the disk in the shards' place. More: more reads of the disk at a time.
    pub read_threads: usize,
}

/// The data directory could not be opened. Nothing of the data changed; whose fault is in the text.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or locked.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process has it. Retry when that one has ended.
    #[error(
        "the data directory {} is in use by {holder}, another quorate; stop that one (`fuser {}/lock` finds it) or \
         give this one a directory of its own", path.display(), path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// "process 1234".
        holder: String,
    },
    /// Shards of this process still hold it. Programmer's fault.
    #[error("{seats} shards of this process still have {} open; end them first", path.display())]
    ShardsRunning {
        /// The data directory.
        path: PathBuf,
        /// How many.
        seats: usize,
    },
    /// RocksDB refuses to open it.
    #[error("RocksDB cannot open {}: {message}", path.display())]
    RocksDb {
        /// RocksDB's directory.
        path: PathBuf,
        /// RocksDB's message.
        message: String,
    },
    /// Written by a version that we do not understand.
    #[error(
        "column family {family} in {} has format {found}, and this quorate knows format {FORMAT}; a newer quorate \
         wrote it: use that version or a later one", path.display()
    )]
    FormatUnknown {
        /// RocksDB's directory.
        path: PathBuf,
        /// Which column family.
        family: String,
        /// The format that it has.
        found: u16,
    },
    /// There is data, and nothing says in which format.
    #[error(
        "column family {family} in {} has no valid format record; it is damaged or not quorate's: restore the \
         directory, or move it away and let this node fetch its data from the others", path.display()
    )]
    FormatMissing {
        /// RocksDB's directory.
        path: PathBuf,
        /// Which column family.
        family: String,
    },
    /// The disk is damaged where the format is written, so what the rest means is a guess.
    #[error(
        "the format record of column family {family} in {} cannot be read: {message}; restore the directory, or move \
         it away and let this node fetch its data from the others", path.display()
    )]
    FormatUnreadable {
        /// RocksDB's directory.
        path: PathBuf,
        /// Which column family.
        family: String,
        /// RocksDB's message.
        message: String,
    },
    /// A column family that quorate does not make.
    #[error(
        "{} has a column family {family:?} that this quorate does not know; it is not quorate's, or a newer quorate \
         made it", path.display()
    )]
    FamilyUnknown {
        /// RocksDB's directory.
        path: PathBuf,
        /// Its name.
        family: String,
    },
    /// The marker of the last clean stop could not be read or taken away.
    #[error("the clean marker in {} is out of reach: {source}", path.display())]
    Meta {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        source: MetaError,
    },
    /// A damaged column family could not be rebuilt. Nothing that could be read is lost; opening again goes on.
    #[error(
        "a damaged column family in {} cannot be rebuilt: {source}; see to the disk and start this node again", 
        path.display()
    )]
    Rebuild {
        /// The data directory.
        path: PathBuf,
        /// What went wrong.
        source: RebuildError,
    },
    /// A thread could not be started.
    #[error("no thread for the store in {}: {source}", path.display())]
    Thread {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// The store was not closed cleanly; the next boot will say so. What was durable stays durable.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// Shards still hold it, and could write after the clean marker. Programmer's fault.
    #[error("{seats} shards still have {} open; end them before closing it", path.display())]
    ShardsRunning {
        /// The data directory.
        path: PathBuf,
        /// How many.
        seats: usize,
    },
    /// The disk failed, now or earlier.
    #[error("{} is not closed cleanly: {source}", path.display())]
    Meta {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        source: MetaError,
    },
}

/// An open data directory.
#[derive(Debug)]
pub struct Store {
    // Threads first: they are joined before the database and the lock go.
    pool: ReadPool,
    syncer: Syncer,
    flusher: Flusher,
    pub(super) database: Arc<Database>,
    options: StoreOptions,
    /// The clean marker was there at open.
    found_clean: bool,
    /// This process counted its boot.
    booted: bool,
    /// Shared with each seat, to count them.
    seats: Arc<()>,
    directory: DataDirectory,
}

impl Store {
    /// Opens a data directory with everything that is in it, and creates it when it is missing.
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        Self::open_with(options, Arc::new(sync_log))
    }

    /// Opens with another way to sync the log.
    pub(super) fn open_with(options: StoreOptions, sync: SyncFn) -> Result<Self, OpenError> {
        let directory = DataDirectory::open(&options.path)?;
        let mut store = Self::start(directory, options, &[], sync, Arc::default())?;
        store.found_clean = store.take_clean_marker()?;
        Ok(store)
    }

    /// Opens the database and starts the threads.
    fn start(
        directory: DataDirectory,
        options: StoreOptions,
        partitions: &[PartitionId],
        sync: SyncFn,
        published: Arc<Published>,
    ) -> Result<Self, OpenError> {
        let tuning = Tuning::new(&options);
        let database = Database::open(&directory.database(), &tuning, partitions, sync, published)?;
        let database = Arc::new(database);
        let no_thread = |source| OpenError::Thread { path: options.path.clone(), source };
        let pool = ReadPool::spawn(&database, options.read_threads).map_err(no_thread)?;
        let syncer = Syncer::spawn(Arc::clone(&database), options.durability, options.interval).map_err(no_thread)?;
        let flusher = Flusher::spawn(Arc::clone(&database)).map_err(no_thread)?;
        Ok(Self {
            pool,
            syncer,
            flusher,
            database,
            options,
            found_clean: false,
            booted: false,
            seats: Arc::default(),
            directory,
        })
    }

    /// The data directory.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The partitions that live here, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionId> {
        self.database.partitions()
    }

    /// Creates the partitions that are missing, all at once, by closing and opening the database: created one by one,
    /// 400 of them took minutes (rocksdb #5117). Before any shard has its seat.
    pub fn create_partitions(self, partitions: &[PartitionId]) -> Result<Self, OpenError> {
        let present = self.database.partitions();
        if partitions.iter().all(|partition| present.binary_search(partition).is_ok()) {
            return Ok(self);
        }
        if let Some(seats) = self.seats() {
            return Err(OpenError::ShardsRunning { path: self.options.path, seats });
        }
        let Self { pool, syncer, flusher, database, options, found_clean, booted, directory, .. } = self;
        let (sync, published) = (database.sync_fn(), Arc::clone(database.published()));
        // The threads end here, and with the last share of it the database is closed.
        drop((pool, syncer, flusher, database));
        let reopened = Self::start(directory, options, partitions, sync, published)?;
        Ok(Self { found_clean, booted, ..reopened })
    }

    /// Creates one partition while shards run; a shard finds it at its first use. Takes tens of milliseconds, more with
    /// many partitions: not for a shard's thread. When it fails, the disk did.
    pub fn create_partition(&self, partition: PartitionId) -> Result<(), MetaError> {
        let created = self.database.create(FamilyName::Partition(partition));
        created.map_err(|failed| MetaError::Failed { record: "a partition", message: failed.0 })
    }

    /// The column families that were rebuilt because they were damaged, by this open or by earlier ones, and of which
    /// nobody has taken note. A partition with gaps lacks acknowledged writes, and has lost its clock: its answers
    /// do not count toward R until exchanges have completed it (rule 4).
    pub fn rebuilt(&self) -> Result<Vec<Rebuilt>, MetaError> {
        Ok(self.meta().record(meta::REBUILT)?.map(|record| parse_reports(&record)).unwrap_or_default())
    }

    /// Forgets them: whoever has to know does, on the disk.
    pub fn forget_rebuilt(&self) -> Result<(), MetaError> {
        self.meta().apply(&[(meta::REBUILT, None)])
    }

    /// How many column families have a damaged block, as far as reads have met one. They are rebuilt at the next open.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.database.damaged().len()
    }

    /// What operators are told. It goes on saying it when partitions are created.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(self.database.published())
    }

    /// The node's own records.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::new(&self.database)
    }

    /// Takes the directory for `node` of `cluster`, under the name `fresh_disk` if it has none, and counts the boot.
    ///
    /// # Panics
    /// When this store was booted before.
    pub fn begin_boot(&mut self, node: NodeId, cluster: ClusterId, fresh_disk: DiskId) -> Result<Boot, BootError> {
        assert!(!self.booted, "a store is booted once");
        let claim = Claim { node, cluster, fresh_disk, clean: self.found_clean };
        let boot = boot::begin(&self.database, self.directory.path(), claim)?;
        self.booted = true;
        Ok(boot)
    }

    /// How much was written so far: a number that rises with every record.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.database.db().latest_sequence_number()
    }

    /// A share of the store for one shard, to be sent to its thread.
    #[must_use]
    pub fn shard_seat(&self, callbacks: ShardCallbacks) -> ShardSeat {
        let token = Arc::clone(&self.seats);
        let items = self.options.item_cache_bytes;
        ShardSeat::new(Arc::clone(&self.database), Arc::clone(self.pool.queue()), callbacks, items, token)
    }

    /// Closes the store: everything that was committed is on the disk, the next boot is a clean one and has no log to
    /// read. Every shard must have ended.
    pub fn close(mut self) -> Result<(), CloseError> {
        let path = self.options.path.clone();
        if let Some(seats) = self.seats() {
            return Err(CloseError::ShardsRunning { path, seats });
        }
        self.pool.stop();
        self.flusher.stop();
        self.syncer.stop();
        // A tool that opened and closed a directory without booting leaves the verdict on the last boot as it was.
        if self.booted || self.found_clean {
            // Syncs the log: what came before the marker is durable when the marker is.
            let marked = self.meta().apply(&[(meta::CLEAN, Some(Vec::new()))]);
            marked.map_err(|source| CloseError::Meta { path, source })?;
        } else {
            let synced = self.database.sync();
            let failed = |failed: Failed| MetaError::Failed { record: meta::CLEAN, message: failed.0 };
            synced.map_err(|error| CloseError::Meta { path, source: failed(error) })?;
        }
        // After the marker: the data is safe in the log already, and this only spares the next boot from reading it.
        let unflushed = flusher::oldest(&self.database, self.database.tick(), 0);
        for wait in [false, true] {
            for family in &unflushed {
                flusher::flush(&self.database, family, wait);
            }
        }
        Ok(())
    }

    /// How many shards hold the database; `None` when none does.
    fn seats(&self) -> Option<usize> {
        let seats = Arc::strong_count(&self.seats) - 1;
        (seats > 0).then_some(seats)
    }

    /// Whether the last close was clean, and forgets it.
    fn take_clean_marker(&self) -> Result<bool, OpenError> {
        let failed = |source| OpenError::Meta { path: self.options.path.clone(), source };
        let clean = self.meta().record(meta::CLEAN).map_err(failed)?.is_some();
        if clean {
            self.meta().apply(&[(meta::CLEAN, None)]).map_err(failed)?;
        }
        Ok(clean)
    }
}
