//! The flusher: writes old memtables to table files, so that the log can be forgotten.
//!
//! A log file is kept until every column family has flushed what it has in it. Each flush of ANY family begins a new
//! log file, so one family that was written once and never again pins them all: 1.37 million of them in one report
//! (rocksdb #14169). RocksDB's own limit on the log's size answers that late and all at once, with a flush of every
//! family of the oldest file. This thread goes ahead of it: oldest first, a few a second, and faster when the number
//! of log files says that it is needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocksdb::FlushOptions;

use super::database::Database;
use super::family::Family;
use super::watch::Watch;

/// The flusher's thread.
#[derive(Debug)]
pub(super) struct Flusher {
    /// Dropped to stop the thread.
    running: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn spawn(database: Arc<Database>) -> Result<Self, std::io::Error> {
        let (running, stopped) = mpsc::sync_channel(0);
        let run = move || {
            let mut round = 0_u32;
            let mut watch = Watch::default();
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                round = round.wrapping_add(1);
                database.advance_tick();
                flush_round(&database, round);
                watch.round(&database, round);
                if round % ROUNDS_PER_SAMPLE == 1 {
                    database.published().sample_from(&database);
                }
            }
        };
        let thread = thread::Builder::new().name("flusher".to_owned()).spawn(run)?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the flusher does not panic");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a tick may flush: one old family, or a few of whatever age when there are many log files.
fn flush_round(database: &Database, round: u32) {
    // Counting log files reads the directory: once a second.
    let crowded =
        round.is_multiple_of(ROUNDS_PER_COUNT) && log_files(database) > database.families().len() + LOG_FILES_SPARE;
    let now = database.tick();
    let (age, count) = if crowded { (0, FLUSHES_CROWDED) } else { (AGE_TICKS, 1) };
    for family in oldest(database, now, age).into_iter().take(count) {
        flush(database, &family, false);
    }
}

/// The families whose oldest unflushed write is at least `age` ticks old, oldest first.
pub(super) fn oldest(database: &Database, now: u32, age: u32) -> Vec<Arc<Family>> {
    let mut marked: Vec<_> =
        database.families().into_iter().filter_map(|family| Some((family.unflushed_since()?, family))).collect();
    marked.retain(|(since, _)| now.wrapping_sub(*since) >= age);
    marked.sort_by_key(|(since, family)| (*since, family.name()));
    marked.into_iter().map(|(_, family)| family).collect()
}

/// Begins to flush a family, and waits for the end if asked to.
pub(super) fn flush(database: &Database, family: &Family, wait: bool) {
    let Some(handle) = database.handle(family.name()) else {
        return;
    };
    let mut options = FlushOptions::default();
    options.set_wait(wait);
    family.unmark();
    if let Err(error) = database.db().flush_cf_opt(&handle, &options) {
        // RocksDB keeps the memtable and refuses the next commit if the disk is to blame, and that is loud enough.
        tracing::warn!(family = family.as_str(), error = %error.into_string(), "a flush failed");
        family.mark_written(database.tick());
    }
}

/// Log files on the disk, live or about to go.
pub(super) fn log_files(database: &Database) -> usize {
    log_entries(database).count()
}

/// Log files, and their bytes.
pub(super) fn log_sizes(database: &Database) -> (usize, u64) {
    let bytes = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
    log_entries(database).map(bytes).fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
}

fn log_entries(database: &Database) -> impl Iterator<Item = std::fs::DirEntry> {
    let path: PathBuf = database.db().path().to_owned();
    let is_log = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().ends_with(b".log");
    std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).filter(is_log)
}

/// The clock of the marks. Commits read it instead of asking the operating system for the time.
const TICK: Duration = Duration::from_millis(250);
/// A minute: short enough that a quiet family pins little of the log, long enough that its files are not tiny.
const AGE_TICKS: u32 = 240;
/// Log files are counted once a second.
const ROUNDS_PER_COUNT: u32 = 4;
/// Numbers for operators are sampled every two seconds.
const ROUNDS_PER_SAMPLE: u32 = 8;
/// More log files than column families and these are in the way: restart time, open files. Each flush of any family
/// makes one, and where all are written alike and flushed in turn, there are as many as families: that is no crowd, and
/// to flush for it makes more of them than it removes.
const LOG_FILES_SPARE: usize = 32;
/// Flushes begun at once when there are too many log files. RocksDB does one at a time; more only wait in its queue.
const FLUSHES_CROWDED: usize = 8;
