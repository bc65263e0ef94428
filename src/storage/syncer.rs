//! The syncer: one fsync for everything that was committed since the last.
//!
//! A shard does not wait for the disk. It commits, asks for a sequence number to become durable and goes on; the
//! syncer's fsync covers whatever all shards committed before it began (group commit: under load the groups grow by
//! themselves, because the next one gathers while the disk is busy). Then each shard is told the number up to which
//! its commits are safe, and releases the replies that waited for it.
//!
//! ```text
//!   sync       asked > synced  -> fsync -> durable(n) to every shard
//!   interval   every interval, when something was committed -> fsync -> durable(n)
//!   os         only for the little that has to be safe all the same: hints that are to be removed elsewhere
//! ```
//!
//! A failure of an fsync, or of a commit anywhere, is told to every shard once, and the syncer ends. It is never
//! retried: see `database`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ShardCallbacks;
use super::database::Database;
use crate::protocol::types::Durability;

/// The syncer's thread.
#[derive(Debug)]
pub(super) struct Syncer {
    database: Arc<Database>,
    thread: Option<JoinHandle<()>>,
}

/// Where shards leave what they want, and failures are reported.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The highest sequence that a shard asked for.
    asked: u64,
    /// Everything up to here is durable.
    synced: u64,
    /// The syncer waits, so a request has to wake it.
    waiting: bool,
    failed: bool,
    stopping: bool,
    shards: Vec<Weak<ShardCallbacks>>,
}

/// What the syncer does next.
enum Step {
    Sync,
    Fail,
    Stop,
}

impl Syncer {
    pub(super) fn spawn(
        database: Arc<Database>,
        durability: Durability,
        interval: Duration,
    ) -> Result<Self, std::io::Error> {
        let theirs = Arc::clone(&database);
        let interval = interval.max(INTERVAL_MIN);
        let run = move || run(&theirs, durability, interval);
        let thread = thread::Builder::new().name("fsync".to_owned()).spawn(run)?;
        Ok(Self { database, thread: Some(thread) })
    }

    /// Ends the thread, after the fsync that is under way.
    pub(super) fn stop(&mut self) {
        let board = self.database.board();
        board.lock().stopping = true;
        board.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the syncer does not panic");
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Board {
    /// A shard that is told what becomes durable, for as long as it lives.
    pub(super) fn enrol(&self, callbacks: &Arc<ShardCallbacks>) {
        let mut state = self.lock();
        state.shards.retain(|shard| shard.strong_count() > 0);
        state.shards.push(Arc::downgrade(callbacks));
    }

    /// Asks for everything up to `sequence` to become durable.
    pub(super) fn request(&self, sequence: u64) {
        let mut state = self.lock();
        if sequence <= state.asked {
            return;
        }
        state.asked = sequence;
        // Waking is a system call; a syncer at work looks again before it waits.
        if state.waiting {
            self.changed.notify_one();
        }
    }

    /// The disk failed: every shard has to know.
    pub(super) fn report_failure(&self) {
        self.lock().failed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is to be done.
    fn next(&self, database: &Database, durability: Durability, interval: Duration) -> Step {
        let mut state = self.lock();
        let deadline = Instant::now() + interval;
        loop {
            if state.failed {
                return Step::Fail;
            }
            if state.stopping {
                return Step::Stop;
            }
            let now = Instant::now();
            let wait = match durability {
                Durability::Sync | Durability::Os if state.asked > state.synced => return Step::Sync,
                Durability::Interval if now >= deadline && database.committed() > state.synced => return Step::Sync,
                Durability::Interval if now >= deadline => interval,
                Durability::Interval => deadline - now,
                // Woken when there is something; the bound is for nothing in particular.
                Durability::Sync | Durability::Os => Duration::from_secs(60),
            };
            state.waiting = true;
            let woken = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = woken.0;
            state.waiting = false;
        }
    }

    /// The shards that still run. Called without the lock held, because a callback may ask for the next sequence.
    fn shards(&self) -> Vec<Arc<ShardCallbacks>> {
        self.lock().shards.iter().filter_map(Weak::upgrade).collect()
    }
}

fn run(database: &Database, durability: Durability, interval: Duration) {
    let board = database.board();
    loop {
        match board.next(database, durability, interval) {
            Step::Stop => return,
            Step::Fail => break,
            Step::Sync => match database.sync() {
                Ok(covered) => {
                    board.lock().synced = covered;
                    for shard in board.shards() {
                        (shard.durable)(covered);
                    }
                }
                Err(_) => break,
            },
        }
    }
    let message = database.check().err().map(|failed| failed.0).unwrap_or_default();
    tracing::error!(%message, "the disk failed; this node commits nothing more");
    for shard in board.shards() {
        (shard.failed)(&message);
    }
}

/// A shorter interval is a busy loop; who wants less loss wants `sync`.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
