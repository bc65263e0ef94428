//! How RocksDB is set up: one process, few cores, a column family for each of 20 to 200 partitions.
//!
//! RocksDB's defaults are for one busy column family on a large machine. Here many share one write-ahead log, one
//! budget for unflushed writes and one block cache, and the two things that grow without bound when left alone are
//! the log (one idle column family pins all of it) and the memtables (64 MB for each). The reasons for each number
//! are beside it; what was read in the sources and measured is in the research notes of the design.
//!
//! Set by leaving them at RocksDB's default: level-style compaction with dynamic level sizes, XXH3 block checksums,
//! no statistics (they cost about 5 % of a read), no atomic flush (one full memtable would flush them all; consistency
//! between column families comes from the log).

use std::fs;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, DataBlockIndexType, LogLevel, MemtableFactory,
    Options, SliceTransform, WriteBufferManager,
};

use super::StoreOptions;
use super::family::FamilyName;

/// Settings of the column families of one database.
pub(super) struct FamilyOptions {
    partitions: Options,
    others: Options,
}

impl FamilyOptions {
    /// Those of one column family.
    pub(super) fn of(&self, name: FamilyName) -> &Options {
        match name {
            FamilyName::Partition(_) => &self.partitions,
            FamilyName::Meta | FamilyName::Hints => &self.others,
        }
    }
}

/// What the column families of one database share.
pub(super) struct Tuning {
    cache: Cache,
    buffers: WriteBufferManager,
    write_buffer_bytes: usize,
}

impl Tuning {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            // HyperClock has no mutex, and shards and read pool meet in it; 0 lets it size its table by itself.
            cache: Cache::new_hyper_clock_cache(options.block_cache_bytes, 0),
            // No stall: at the budget the oldest memtable is flushed and writes go on. A stall would stop every shard.
            buffers: WriteBufferManager::new_write_buffer_manager(options.write_buffer_bytes, false),
            write_buffer_bytes: options.write_buffer_bytes,
        }
    }

    /// Settings of the database as a whole.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.buffers);
        self.set_log(&mut options);
        set_threads(&mut options);
        set_files(&mut options);
        options
    }

    /// The write-ahead log.
    fn set_log(&self, options: &mut Options) {
        // Twice the unflushed bytes: the log holds flushed column families' writes too, until the oldest is flushed.
        options.set_max_total_wal_size(u64::try_from(self.write_buffer_bytes).unwrap_or(u64::MAX).saturating_mul(2));
        // After an unclean stop: everything up to the first damaged record. Anything after it could lack a write
        // that it builds on.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        // A log file that is missing or short is found at open rather than passed over in silence.
        options.set_track_and_verify_wals_in_manifest(true);
        // Write-back starts a megabyte at a time, so that no fsync meets a backlog of dirty pages.
        options.set_wal_bytes_per_sync(MIB);
        options.set_bytes_per_sync(MIB);
    }

    /// Settings of the column families.
    pub(super) fn families(&self) -> FamilyOptions {
        let others = self.family();
        let mut partitions = self.family();
        set_hashed(&mut partitions, self.memtable_bytes());
        FamilyOptions { partitions, others }
    }

    /// A cap; the shared budget flushes most memtables long before it.
    fn memtable_bytes(&self) -> usize {
        (self.write_buffer_bytes / 4).clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX)
    }

    /// Settings of every column family.
    fn family(&self) -> Options {
        let mut options = Options::default();
        options.set_write_buffer_size(self.memtable_bytes());
        // One being written, three being flushed: with RocksDB's two, one slow flush stalls the writer.
        options.set_max_write_buffer_number(4);
        // What a column family is charged for its first write. The default is an eighth of the memtable.
        options.set_arena_block_size(64 * 1024);

        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        // Small files open and move quickly; there are as many column families as partitions.
        options.set_target_file_size_base(32 * MIB);
        options.set_max_bytes_for_level_base(128 * MIB);
        options.set_block_based_table_factory(&self.table());
        options
    }

    /// Settings of table files.
    fn table(&self) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(8 * 1024);
        table.set_format_version(TABLE_FORMAT);
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        // Filters and indexes live in the cache and so within its bound. A lookup that finds its filter evicted
        // comes back Incomplete and goes to the read pool, as any other miss.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
        table
    }
}

/// The memtables of partitions are hash tables: a bucket for each hash of a key, a short list in each.
///
/// In RocksDB's skip list an insertion goes past some thirty keys, each of them in memory that no cache of the
/// processor has when 64 memtables share it: two thirds of the time of a commit. A bucket is one or two such places,
/// and one that grows (a key with many sort keys) becomes a skip list by itself. The price is paid by who wants keys in
/// order: an iterator copies and sorts the memtable first. So a listing has a large memtable flushed (`scan`), and all
/// iterators come through [`super::database::Database::rows`]: one that does not ask for the total order would see one
/// bucket only, in silence.
fn set_hashed(options: &mut Options, memtable_bytes: usize) {
    // The table files' filters take in these beginnings beside the whole keys: twenty bits an item instead of ten.
    options.set_prefix_extractor(SliceTransform::create("quorate.kind-and-hash", kind_and_hash, None));
    options.set_memtable_factory(MemtableFactory::HashLinkList { bucket_count: memtable_bytes / BUCKET_PER_BYTES });
}

/// The beginning of a storage key that all items of one key share.
fn kind_and_hash(key: &[u8]) -> &[u8] {
    key.get(..KIND_AND_HASH_BYTES).unwrap_or(key)
}

fn set_threads(options: &mut Options) {
    // One flush and one compaction at a time: the shards need the cores.
    options.set_max_background_jobs(2);
    // Hashed memtables have one writer at a time: where the turns of two shards meet in one write group, its leader
    // inserts both. Pipelined and unordered writes are for dozens of writers; they stay off.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_pipelined_write(false);
    options.set_unordered_write(false);
}

fn set_files(options: &mut Options) {
    // With them, a compaction that meets a damaged block stops the writes of all column families, until the process
    // ends and again after each start (error_handler.cc: kCompaction, kCorruption, paranoid -> kUnrecoverableError).
    // Without them it fails alone, its inputs stay, and blocks are verified all the same wherever they are read; a
    // damaged one is never copied. What else they do is done elsewhere: the log is replayed with them (`database`), and
    // a failed write of the log ends the node by our own record of it.
    options.set_paranoid_checks(false);
    options.set_max_open_files(open_files_max());
    // Opening reads every table file's properties otherwise, for a hint to compaction.
    options.set_skip_stats_update_on_db_open(true);
    // RocksDB's own text log: for a post mortem, within 16 MiB.
    options.set_log_level(LogLevel::Info);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * 1024 * 1024);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
}

/// Half of the process's limit of open files: sockets need the rest, and running out is an I/O error that ends a node.
/// -1, all files open for good, when there are plenty.
fn open_files_max() -> i32 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|rest| rest.split_whitespace().next()).map(str::parse::<i32>) {
        Some(Ok(limit)) if limit < OPEN_FILES_PLENTY => (limit / 2).max(OPEN_FILES_MIN),
        Some(Ok(_) | Err(_)) => -1,
        None => OPEN_FILES_MIN,
    }
}

const MIB: u64 = 1024 * 1024;
const MEMTABLE_BYTES_MIN: usize = 1024 * 1024;
/// A bucket, of eight bytes, for so many bytes of a memtable at its cap, which few reach: a list of one or two then.
/// Each idle partition pays for its buckets, 64 of them for 4 MiB.
const BUCKET_PER_BYTES: usize = 2048;
/// Kind and hash are the first of a storage key.
const KIND_AND_HASH_BYTES: usize = 1 + 8;
const MEMTABLE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The newest that RocksDB 11.8 writes (table/format.h).
const TABLE_FORMAT: i32 = 7;
/// A terabyte in files of 32 MiB.
const OPEN_FILES_PLENTY: i32 = 65_536;
/// Enough for a laptop with the customary limit of 256 to 1,024.
const OPEN_FILES_MIN: i32 = 128;
