//! Going over all keys of a process: to load them, to learn what is there, to read what is left at the end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::chance::Chance;
use super::error::LoadError;
use super::items::State;
use super::ledger::Change;
use super::values::{Mark, Values};
use super::watch::{Phase, Progress, Watch};
use crate::client::{Client, ClientError, Context, Versions, Written};

/// Keys under way at once: enough for full batches, not so many that timeouts are met on a slow machine.
const IN_FLIGHT: usize = 64;
/// A key is tried so often before the run is given up; each try has its timeout, and the client's own retries in it.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Keys that are looked at together when earlier inserts are looked for; it ends where none of them is there.
const PAGE: u64 = 64;
/// Between two words of progress.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// What the tasks of a sweep share.
pub(super) struct Sweep {
    pub(super) client: Client,
    pub(super) timeout: Duration,
    pub(super) items: Rc<RefCell<State>>,
    pub(super) values: Values,
    pub(super) chance: RefCell<Chance>,
}

impl Sweep {
    /// Writes every key.
    pub(super) async fn load(self: &Rc<Self>, watch: &mut dyn Watch) -> Result<(), LoadError> {
        let (keys, sweep) = (self.items.borrow().owned(), self.clone());
        over(Phase::Loading, keys, async move |key| sweep.load_key(key).await, watch).await
    }

    /// Reads every key, for its context.
    pub(super) async fn adopt(self: &Rc<Self>, watch: &mut dyn Watch) -> Result<(), LoadError> {
        let (keys, sweep) = (self.items.borrow().owned(), self.clone());
        over(Phase::Reading, keys, async move |key| sweep.adopt_key(key).await.map(drop), watch).await
    }

    /// Looks for keys that earlier runs inserted: a second insert would leave siblings.
    pub(super) async fn find_inserted(self: &Rc<Self>) -> Result<(), LoadError> {
        let (mut first, mut found) = (0, 0);
        loop {
            let mut page = JoinSet::new();
            for number in first..first + PAGE {
                let (sweep, key) = (self.clone(), self.items.borrow().insert_key(number));
                page.spawn_local(async move { sweep.adopt_key(key).await.map(|is_there| (number, is_there)) });
            }
            while let Some(looked) = page.join_next().await {
                let (number, is_there) = looked.map_err(LoadError::panicked)??;
                if is_there {
                    found = found.max(number + 1);
                }
            }
            first += PAGE;
            if found + PAGE <= first {
                break;
            }
        }
        let mut items = self.items.borrow_mut();
        (0..found).for_each(|_| items.adopt_insert());
        Ok(())
    }

    /// Reads every key and checks it against all that was acknowledged. Returns how many could not be read.
    pub(super) async fn check(self: &Rc<Self>, watch: &mut dyn Watch) -> Result<u64, LoadError> {
        let unread = Rc::new(Cell::new(0));
        let (keys, sweep, missed) = (self.items.borrow().owned(), self.clone(), unread.clone());
        let check = async move |key| {
            match sweep.read(key).await {
                Ok(read) => sweep.items.borrow_mut().end_last_read(key, &read, &sweep.values),
                Err(error) => {
                    tracing::warn!(key, %error, "a key could not be read at the end");
                    missed.set(missed.get() + 1);
                }
            }
            Ok(())
        };
        over(Phase::Checking, keys, check, watch).await?;
        Ok(unread.get())
    }

    /// Writes a key once, or, when something is there, once more in place of all that is there.
    async fn load_key(&self, key: u64) -> Result<(), LoadError> {
        let failed = |source| LoadError::prepare(key, "written", source);
        let written = self.write(key, &Context::none()).await.map_err(failed)?;
        if written.versions <= 1 {
            return Ok(());
        }
        let read = self.read(key).await.map_err(|source| LoadError::prepare(key, "read", source))?;
        self.write(key, &read.context).await.map(drop).map_err(failed)
    }

    async fn write(&self, key: u64, context: &Context) -> Result<Written, ClientError> {
        let (address, value, number) = {
            let (items, chance) = (&mut *self.items.borrow_mut(), &mut *self.chance.borrow_mut());
            let size = self.values.draw_size(chance);
            let number = items.begin_write(key, Change::Value);
            let value = match number {
                Some(sequence) => self.values.marked(Mark { key, sequence }, size, items.arena()),
                None => self.values.plain(size, chance),
            };
            (items.address(key), value, number)
        };
        // The same write in every try, so that none of them leaves a sibling.
        let id = self.client.next_write_id();
        let put = async || {
            let put = self.client.put(address.clone(), value.clone()).context(context).write_id(id);
            put.timeout(self.timeout).send().await
        };
        let written = tried(put).await;
        let mut items = self.items.borrow_mut();
        items.end_write(key, number, written.is_ok());
        let written = written?;
        items.keep_context(key, &written.context, usize::from(written.versions));
        Ok(written)
    }

    /// Whether anything was ever there.
    async fn adopt_key(&self, key: u64) -> Result<bool, LoadError> {
        let read = self.read(key).await.map_err(|source| LoadError::prepare(key, "read", source))?;
        match self.items.borrow_mut().adopt(key, &read, &self.values) {
            true => Ok(!read.context.is_none()),
            false => Err(LoadError::Foreign { key }),
        }
    }

    async fn read(&self, key: u64) -> Result<Versions, ClientError> {
        let address = self.items.borrow_mut().address(key);
        tried(async || self.client.get(address.clone()).timeout(self.timeout).send().await).await
    }
}

/// Tries until it succeeds, [`TRIES`] times.
async fn tried<T>(request: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    for _ in 1..TRIES {
        match request().await {
            Ok(done) => return Ok(done),
            Err(error) => tracing::debug!(%error, "tried again in a moment"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    request().await
}

/// Does something with every key, [`IN_FLIGHT`] at a time. The first error ends it.
async fn over<K, F>(phase: Phase, keys: K, task: F, watch: &mut dyn Watch) -> Result<(), LoadError>
where
    K: Iterator<Item = u64> + Clone + 'static,
    F: AsyncFn(u64) -> Result<(), LoadError> + 'static,
{
    let total = u64::try_from(keys.clone().count()).unwrap_or(u64::MAX);
    let (keys, task, done) = (Rc::new(RefCell::new(keys)), Rc::new(task), Rc::new(Cell::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (keys, task, done) = (keys.clone(), task.clone(), done.clone());
        workers.spawn_local(async move {
            loop {
                let next = keys.borrow_mut().next();
                let Some(key) = next else { return Ok::<_, LoadError>(()) };
                task(key).await?;
                done.set(done.get() + 1);
            }
        });
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => ended.map_err(LoadError::panicked)??,
                None => break,
            },
            _ = tick.tick() => watch.progress(&Progress { phase, done: done.get(), total, second: None }),
        }
    }
    watch.progress(&Progress { phase, done: done.get(), total, second: None });
    Ok(())
}
