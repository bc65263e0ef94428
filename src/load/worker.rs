//! Workers: each takes a turn, does an operation, counts what became of it, and takes the next.
//!
//! All workers of a process are tasks of one thread, so what they share lies in cells and nobody waits for a lock.
//! Between drawing a key and sending the request no task runs but this one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::items::{Drawn, State};
use super::keys::KeyChoice;
use super::ledger::Change;
use super::mix::Kind;
use super::recorder::{Answer, Recorder};
use super::schedule::{Turn, Turns};
use super::settings::Mix;
use super::values::{Mark, Values};
use crate::client::{Client, ClientError, Context, Versions};
use crate::protocol::types::Address;

/// Addresses that a scan lists at most, as YCSB has it.
const SCAN_KEYS_MAX: u64 = 100;

/// What the workers of a process share.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) timeout: Duration,
    pub(super) is_blind: bool,
    pub(super) turns: Turns,
    pub(super) items: Rc<RefCell<State>>,
    pub(super) values: Values,
    pub(super) plan: RefCell<Plan>,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) notes: RefCell<Notes>,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) chance: Chance,
    /// Sizes and bytes, which are drawn when a request is laid, some after an answer.
    pub(super) values: Chance,
    pub(super) mix: Mix,
    pub(super) choice: KeyChoice,
    /// Where scans begin.
    pub(super) partitions: u64,
}

/// What makes the load another one than was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Notes {
    /// Writes of the measured time.
    pub(super) writes: u64,
    /// Of these: took another key, for theirs was being written.
    pub(super) moved: u64,
    /// Of these: had to read the context first.
    pub(super) read_first: u64,
    /// Keys that the last read could not read.
    pub(super) unread: u64,
}

/// When a request was really sent, and what became of it.
type Sent = (Instant, Result<(), ClientError>);

impl Session {
    /// Does what is due until the time is over.
    pub(super) async fn work(&self, worker: usize) {
        while let Some(turn) = self.turns.next(worker).await {
            let kind = {
                let Plan { chance, mix, .. } = &mut *self.plan.borrow_mut();
                mix.draw(chance)
            };
            let (sent, result) = match kind {
                Kind::Get => self.get(turn).await,
                Kind::Put => self.put(turn, Change::Value).await,
                Kind::Delete => self.put(turn, Change::Delete).await,
                Kind::Scan => self.scan(turn).await,
                Kind::ReadModifyWrite => self.read_modify_write(turn).await,
                Kind::Insert => self.insert(turn).await,
            };
            let error = result.err().map(|error| error_name(&error));
            self.recorder.borrow_mut().note(Answer { kind, turn, sent, answered: Instant::now(), error });
        }
    }

    async fn get(&self, turn: Turn) -> Sent {
        let (key, address) = {
            let (plan, items) = (&mut *self.plan.borrow_mut(), &mut *self.items.borrow_mut());
            let key = items.draw(&plan.choice, &mut plan.chance);
            (key, items.address(key))
        };
        let read = self.read(turn, key, address).await;
        if let Ok(read) = &read
            && !self.is_blind
        {
            self.items.borrow_mut().offer_context(key, read);
        }
        (turn.taken, read.map(drop))
    }

    /// Reads, and checks what is read.
    async fn read(&self, turn: Turn, key: u64, address: Address) -> Result<Versions, ClientError> {
        let floor = self.items.borrow().begin_read(key);
        let read = self.client.get(address).timeout(self.timeout).send().await?;
        self.items.borrow_mut().end_read(key, floor, &read, &self.values);
        self.recorder.borrow_mut().note_versions(turn, read.values.len());
        Ok(read)
    }

    async fn put(&self, turn: Turn, change: Change) -> Sent {
        let (key, address) = self.take(turn);
        let known = match self.is_blind {
            true => Some(Context::none()),
            false => self.items.borrow_mut().context(key),
        };
        let (sent, context) = if let Some(context) = known {
            (turn.taken, Ok(context))
        } else {
            self.note(turn, |notes| notes.read_first += 1);
            let read = self.read(turn, key, address.clone()).await;
            // What the reading took is in the latency, which counts from the intended time, and not in the service.
            (Instant::now(), read.map(|read| read.context))
        };
        let result = match context {
            Ok(context) => self.write(turn, key, address, change, &context).await,
            Err(error) => Err(error),
        };
        self.items.borrow_mut().release(key);
        (sent, result)
    }

    async fn read_modify_write(&self, turn: Turn) -> Sent {
        let (key, address) = self.take(turn);
        let result = match self.read(turn, key, address.clone()).await {
            Ok(read) => self.write(turn, key, address, Change::Value, &read.context).await,
            Err(error) => Err(error),
        };
        self.items.borrow_mut().release(key);
        (turn.taken, result)
    }

    async fn insert(&self, turn: Turn) -> Sent {
        let (number, key, address) = {
            let mut items = self.items.borrow_mut();
            let (number, key) = items.begin_insert();
            (number, key, items.address(key))
        };
        let result = self.write(turn, key, address, Change::Value, &Context::none()).await;
        let mut items = self.items.borrow_mut();
        items.release(key);
        // Also after an error: the keys after it have to be read some time, and an absent one is no error.
        let more = items.end_insert(number);
        let mut plan = self.plan.borrow_mut();
        (0..more).for_each(|_| plan.choice.grow());
        (turn.taken, result)
    }

    async fn scan(&self, turn: Turn) -> Sent {
        let (skipped, wanted) = {
            let Plan { chance, partitions, .. } = &mut *self.plan.borrow_mut();
            (chance.below(*partitions), 1 + chance.below(SCAN_KEYS_MAX))
        };
        let table = self.items.borrow().table().clone();
        let mut scan = self.client.scan(Some(table)).skip_partitions(usize::try_from(skipped).unwrap_or(0));
        let listing = async {
            for _ in 0..wanted {
                if scan.next().await?.is_none() {
                    break;
                }
            }
            Ok(())
        };
        (turn.taken, listing.await)
    }

    /// Draws a key to write, and takes it.
    fn take(&self, turn: Turn) -> (u64, Address) {
        let (plan, items) = (&mut *self.plan.borrow_mut(), &mut *self.items.borrow_mut());
        let Drawn { key, is_moved } = items.draw_free(&plan.choice, &mut plan.chance, self.is_blind);
        self.note(turn, |notes| {
            notes.writes += 1;
            notes.moved += u64::from(is_moved);
        });
        (key, items.address(key))
    }

    fn note(&self, turn: Turn, change: impl FnOnce(&mut Notes)) {
        if turn.is_measured {
            change(&mut self.notes.borrow_mut());
        }
    }

    /// Writes a key that was taken.
    async fn write(
        &self,
        turn: Turn,
        key: u64,
        address: Address,
        change: Change,
        context: &Context,
    ) -> Result<(), ClientError> {
        let number = self.items.borrow_mut().begin_write(key, change);
        let put = match change {
            Change::Value => self.client.put(address, self.value(key, number)),
            Change::Delete => self.client.delete(address),
        };
        let written = put.context(context).timeout(self.timeout).send().await;
        let mut items = self.items.borrow_mut();
        items.end_write(key, number, written.is_ok());
        let written = written.inspect_err(|_| items.forget_context(key))?;
        match self.is_blind {
            // Later runs with contexts find out what stands there.
            true => items.forget_context(key),
            false => items.keep_context(key, &written.context, usize::from(written.versions)),
        }
        self.recorder.borrow_mut().note_versions(turn, usize::from(written.versions));
        Ok(())
    }

    fn value(&self, key: u64, number: Option<u64>) -> bytes::Bytes {
        let chance = &mut self.plan.borrow_mut().values;
        let size = self.values.draw_size(chance);
        match number {
            Some(sequence) => self.values.marked(Mark { key, sequence }, size, self.items.borrow_mut().arena()),
            None => self.values.plain(size, chance),
        }
    }
}

/// An error as reports name it.
pub(super) fn error_name(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused { failure, .. } => failure.code.as_str(),
        ClientError::Unanswered { .. } => "unanswered",
        ClientError::Corrupt { .. } => "corrupt",
        ClientError::Malformed { .. } => "malformed",
        ClientError::ScanIncomplete { .. } => "scan_incomplete",
        ClientError::TooLarge { .. } => "too_large",
        ClientError::Tls(_)
        | ClientError::Bind(_)
        | ClientError::NoNodes
        | ClientError::NoAnswer { .. }
        | ClientError::Session { .. }
        | ClientError::Layout { .. }
        | ClientError::NoSuchNode(_) => "unreachable",
    }
}
