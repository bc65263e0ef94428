//! The read pool: a few threads that may wait for the disk, so that no shard does.
//!
//! A shard hands over what its caches cannot answer, and gets the result through the callback that it gave. The queue
//! is bounded. A shard never waits for room in it: a full queue means that the disk is behind by a thousand reads, and
//! the answer is then the honest one, "this copy cannot be read", which sends the coordinator to another replica.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::ShardCallbacks;
use super::database::Database;
use super::family::FamilyName;
use super::hints::page_of_hints;
use super::scan::{Scan, Step, missing, page_of_items};
use crate::protocol::replica::{HintPage, HintRange, ItemKey, ItemPage, ItemRange, ReadError, ReadId, ScanPage};
use crate::protocol::types::PartitionId;

/// What became of a read that was `Pending`, or of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadCompletion {
    /// A lookup: the item's record, `None` when there is none, or an error, which is never "none".
    Read {
        /// The shard's name for it.
        id: ReadId,
        /// What was found.
        result: Result<Option<Bytes>, ReadError>,
    },
    /// A page of items with their hashes.
    Items {
        /// The shard's name for it.
        id: ReadId,
        /// What was found.
        result: Result<ItemPage, ReadError>,
    },
    /// A page of hints.
    Hints {
        /// The shard's name for it.
        id: ReadId,
        /// What was found.
        result: Result<HintPage, ReadError>,
    },
    /// A scan: a page that is empty only at the end of its range.
    Scan {
        /// The shard's name for it.
        id: ReadId,
        /// What was found.
        result: Result<ScanPage, ReadError>,
    },
}

/// Work for the pool.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: ReadId,
    pub(super) task: Task,
    pub(super) callbacks: Arc<ShardCallbacks>,
}

#[derive(Debug)]
pub(super) enum Task {
    Read { partition: PartitionId, key: ItemKey },
    Scan(Scan),
    Hints(HintRange),
    Items(ItemRange),
}

/// The pool's threads.
#[derive(Debug)]
pub(super) struct ReadPool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// Jobs that wait for a thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    stopping: bool,
}

impl ReadPool {
    /// Starts `threads` threads, at least one.
    pub(super) fn spawn(database: &Arc<Database>, threads: usize) -> Result<Self, std::io::Error> {
        let mut pool = Self { queue: Arc::default(), threads: Vec::new() };
        for index in 0..threads.clamp(1, THREADS_MAX) {
            let (database, queue) = (Arc::clone(database), Arc::clone(&pool.queue));
            let run = move || {
                while let Some(job) = queue.take() {
                    job.run(&database, &queue);
                }
            };
            pool.threads.push(thread::Builder::new().name(format!("read-{index}")).spawn(run)?);
        }
        Ok(pool)
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Ends the threads. Jobs that wait are answered with an error, those under way are finished.
    pub(super) fn stop(&mut self) {
        let abandoned = {
            let mut state = self.queue.lock();
            state.stopping = true;
            std::mem::take(&mut state.jobs)
        };
        self.queue.filled.notify_all();
        for job in abandoned {
            job.refuse(&stopped());
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("a read thread does not panic");
        }
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Queue {
    /// Puts a job at the end, or says why not.
    pub(super) fn push(&self, job: Job) -> Result<(), ReadError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(stopped());
        }
        if state.jobs.len() >= JOBS_MAX {
            return Err(ReadError(format!("{JOBS_MAX} reads wait for the disk already; try another replica")));
        }
        state.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts back the rest of a job that a thread has just taken. Over the bound by the number of threads at most.
    fn put_back(&self, job: Job) {
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            job.refuse(&stopped());
            return;
        }
        state.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
    }

    /// The next job; `None` when the pool stops.
    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn run(self, database: &Database, queue: &Queue) {
        let Self { id, task, callbacks } = self;
        match task {
            Task::Read { partition, key } => {
                let result = lookup(database, partition, &key);
                (callbacks.completed)(ReadCompletion::Read { id, result });
            }
            Task::Items(range) => {
                let result = page_of_items(database, &range);
                (callbacks.completed)(ReadCompletion::Items { id, result });
            }
            Task::Hints(range) => {
                let result = page_of_hints(database, &range);
                (callbacks.completed)(ReadCompletion::Hints { id, result });
            }
            Task::Scan(scan) => match scan.step(database) {
                Ok(Step::Page(page)) => (callbacks.completed)(ReadCompletion::Scan { id, result: Ok(page) }),
                Ok(Step::Again(scan)) => queue.put_back(Self { id, task: Task::Scan(scan), callbacks }),
                Err(error) => (callbacks.completed)(ReadCompletion::Scan { id, result: Err(error) }),
            },
        }
    }

    /// Answers with an error instead of running.
    pub(super) fn refuse(self, error: &ReadError) {
        let (id, error) = (self.id, error.clone());
        let completion = match self.task {
            Task::Read { .. } => ReadCompletion::Read { id, result: Err(error) },
            Task::Scan(_) => ReadCompletion::Scan { id, result: Err(error) },
            Task::Hints(_) => ReadCompletion::Hints { id, result: Err(error) },
            Task::Items(_) => ReadCompletion::Items { id, result: Err(error) },
        };
        (self.callbacks.completed)(completion);
    }
}

/// Reads an item, from the disk if need be.
fn lookup(database: &Database, partition: PartitionId, key: &ItemKey) -> Result<Option<Bytes>, ReadError> {
    let name = if key.is_hint() { FamilyName::Hints } else { FamilyName::Partition(partition) };
    let handle = database.handle(name).ok_or_else(|| missing(partition))?;
    let found = database.db().get_pinned_cf(&handle, key.as_bytes());
    let found = found.map_err(|error| database.unreadable(name, error))?;
    Ok(found.map(|value| Bytes::copy_from_slice(&value)))
}

fn stopped() -> ReadError {
    ReadError("the store is closing".to_owned())
}

/// Reads that wait. At 0.1 ms each and four threads, the last of them waits for 25 ms.
pub(super) const JOBS_MAX: usize = 1024;
/// More threads than this do not make a disk faster.
const THREADS_MAX: usize = 64;
