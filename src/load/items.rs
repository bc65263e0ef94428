//! The items of a run, as far as the generator has to remember them: contexts, who is being written, which write was
//! the last.
//!
//! Keys have numbers. Those below the number of keys are loaded before the run, `key-000000000042`; the ones after them
//! are inserted meanwhile, `new-000000020000`. With several processes, numbers go round: process p of n *owns* the
//! numbers whose remainder by n is p, and writes no other.
//!
//! **One writer at a time has a key**, unless writes are blind. Two puts of one key with the same context are
//! concurrent, and leave a sibling each time: under Zipf's law, where one of ten operations takes the most popular of
//! 20,000 keys, most of all puts would, and the run would measure the reading and merging of siblings that no sane
//! application breeds. So a key that is being written is passed over, and another one drawn by the same law: the keys
//! of the writes obey the law among all keys that are free at that moment. To wait for the key instead would let all
//! workers end up in the queue of the most popular one, and measure that queue. Reads take every key. How many writes
//! took another key is told with the run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::{BufMut, Bytes};

use super::chance::Chance;
use super::contexts::{Contexts, Marks};
use super::error::SettingsError;
use super::keys::KeyChoice;
use super::ledger::{Change, Floor, Ledger, Shown};
use super::settings::Settings;
use super::values::{Arena, Values};
use crate::client::{Context, Versions};
use crate::protocol::types::{Address, TableName};

/// A draw is repeated so often, until its key is free and ours; then the next such key in the order of numbers is
/// taken. With Zipf's law and one process of four it happens once in a hundred million draws.
const DRAWS_MAX: u32 = 64;

/// A process's part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Share {
    /// Which process, from 0.
    pub(super) index: u16,
    /// Of so many.
    pub(super) count: u16,
}

impl Share {
    /// All of it.
    pub(super) const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its part of a number of requests in flight.
    pub(super) fn of(self, whole: usize) -> usize {
        let (index, count) = (usize::from(self.index), usize::from(self.count.max(1)));
        whole / count + usize::from(index < whole % count)
    }

    fn count(self) -> u64 {
        u64::from(self.count.max(1))
    }

    fn owns(self, key: u64) -> bool {
        key % self.count() == u64::from(self.index)
    }

    /// The owned key with this place among all owned ones.
    fn key(self, place: u64) -> u64 {
        place * self.count() + u64::from(self.index)
    }

    /// An owned key's place among all owned ones.
    pub(super) fn place(self, key: u64) -> u64 {
        key / self.count()
    }

    /// The owned keys below a bound.
    pub(super) fn keys(self, bound: u64) -> impl Iterator<Item = u64> + Clone {
        (0..).map(move |place| self.key(place)).take_while(move |key| *key < bound)
    }
}

/// The items of a run. Made by [`prepare`](super::run::prepare), used by runs one after the other.
#[derive(Debug)]
pub struct Items(pub(super) Rc<RefCell<State>>);

/// What is remembered.
#[derive(Debug)]
pub(super) struct State {
    table: TableName,
    pub(super) share: Share,
    /// Keys that were loaded.
    loaded: u64,
    /// Inserts that were begun here, in this run and, as far as they were found, before.
    begun: u64,
    /// Inserts that have ended, all before them too: these keys are read.
    inserted: u64,
    /// Inserts that have ended before an earlier one has.
    ahead: BTreeSet<u64>,
    contexts: Contexts,
    busy: Marks,
    /// Only when values are checked.
    ledger: Option<Ledger>,
    arena: Arena,
}

/// What was drawn for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) key: u64,
    /// The key that was drawn first was being written.
    pub(super) is_moved: bool,
}

impl State {
    /// Nothing remembered yet.
    pub(super) fn new(settings: &Settings, share: Share) -> Result<Self, SettingsError> {
        Ok(Self {
            table: TableName::new(Bytes::copy_from_slice(settings.table.as_bytes()))?,
            share,
            loaded: settings.key_count,
            begun: 0,
            inserted: 0,
            ahead: BTreeSet::new(),
            contexts: Contexts::new(),
            busy: Marks::default(),
            ledger: settings.verify.then(|| Ledger::new(share)),
            arena: Arena::default(),
        })
    }

    /// Refuses to be used for a run that needs others.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), SettingsError> {
        let wrong = |field, reason: String| Err(SettingsError::of(field, reason));
        if settings.table != self.table.as_str() {
            return wrong("table", format!("the keys were prepared in {}; prepare them anew", self.table.as_str()));
        }
        if settings.key_count != self.loaded {
            return wrong("keys", format!("{} keys were prepared; prepare them anew", self.loaded));
        }
        if settings.verify != self.ledger.is_some() {
            return wrong("verify", "the keys were prepared without it, or with it; prepare them anew".to_owned());
        }
        Ok(())
    }

    pub(super) const fn table(&self) -> &TableName {
        &self.table
    }

    /// The first number of an insert here: above all that were loaded.
    fn first_insert(&self) -> u64 {
        self.share.key(self.loaded.div_ceil(self.share.count()))
    }

    /// The key of an insert.
    pub(super) fn insert_key(&self, number: u64) -> u64 {
        self.first_insert() + number * self.share.count()
    }

    /// Keys that reads choose from.
    pub(super) const fn known(&self) -> u64 {
        self.loaded + self.inserted
    }

    /// The keys that this process writes: loaded, then inserted.
    pub(super) fn owned(&self) -> impl Iterator<Item = u64> + Clone + use<> {
        let (first, step) = (self.first_insert(), self.share.count());
        self.share.keys(self.loaded).chain((0..self.begun).map(move |number| first + number * step))
    }

    fn at(&self, place: u64) -> u64 {
        if place < self.loaded { place } else { self.insert_key(place - self.loaded) }
    }

    /// A key to read. Where values are checked, one of ours: only whoever writes a key knows what it has to show.
    pub(super) fn draw(&self, choice: &KeyChoice, chance: &mut Chance) -> u64 {
        let key = self.at(choice.draw(chance));
        if self.ledger.is_none() || self.share.owns(key) {
            return key;
        }
        let mut draws = (1..DRAWS_MAX).map(|_| self.at(choice.draw(chance)));
        draws.find(|key| self.share.owns(*key)).unwrap_or_else(|| self.neighbour(key))
    }

    /// The key of ours beside this one; the first one beside the last.
    fn neighbour(&self, key: u64) -> u64 {
        let key = self.share.key(self.share.place(key));
        let place_after = |first: u64| self.share.place(key) - self.share.place(first);
        let is_inserted = |first: u64| key >= first && place_after(first) < self.inserted;
        if key < self.loaded || is_inserted(self.first_insert()) { key } else { self.share.key(0) }
    }

    /// A key to write, which is taken until it is [released](Self::release). Blind writes take any.
    pub(super) fn draw_free(&mut self, choice: &KeyChoice, chance: &mut Chance, is_blind: bool) -> Drawn {
        if is_blind {
            return Drawn { key: self.at(choice.draw(chance)), is_moved: false };
        }
        let mut is_moved = false;
        let mut last = 0;
        for _ in 0..DRAWS_MAX {
            last = self.at(choice.draw(chance));
            if !self.share.owns(last) {
                continue;
            }
            if self.busy.set(self.share.place(last)) {
                return Drawn { key: last, is_moved };
            }
            is_moved = true;
        }
        // Settings promise more keys than requests in flight, so one of them is free.
        let mut key = self.neighbour(last);
        while !self.busy.set(self.share.place(key)) {
            key = self.neighbour(key + self.share.count());
        }
        Drawn { key, is_moved }
    }

    /// A key to insert, taken until it is released: its number among the inserts, and the key.
    pub(super) fn begin_insert(&mut self) -> (u64, u64) {
        let number = self.begun;
        self.begun += 1;
        let key = self.insert_key(number);
        self.busy.set(self.share.place(key));
        (number, key)
    }

    /// An insert has ended. How many keys more may be read now.
    pub(super) fn end_insert(&mut self, number: u64) -> u64 {
        self.ahead.insert(number);
        let before = self.inserted;
        while self.ahead.remove(&self.inserted) {
            self.inserted += 1;
        }
        self.inserted - before
    }

    /// A key is free again.
    pub(super) fn release(&mut self, key: u64) {
        self.busy.clear(self.share.place(key));
    }

    /// Whether a key is being written.
    pub(super) fn is_busy(&self, key: u64) -> bool {
        self.busy.has(self.share.place(key))
    }

    /// Where a key's item is.
    pub(super) fn address(&mut self, key: u64) -> Address {
        let prefix = if key < self.loaded { b"key-" } else { b"new-" };
        let name = self.arena.lay(24, |out| {
            out.put_slice(prefix);
            let mut digits = *b"00000000000000000000";
            let mut left = key;
            for digit in digits.iter_mut().rev() {
                *digit += u8::try_from(left % 10).expect("a digit");
                left /= 10;
            }
            out.put_slice(digits.get(8..).expect("twelve of twenty digits: keys are below KEYS_MAX"));
        });
        Address::new(self.table.as_bytes().clone(), name, Bytes::new()).expect("a table that was checked, a short key")
    }

    /// The context that the next write of a key carries; none when it has to be read first.
    pub(super) fn context(&mut self, key: u64) -> Option<Context> {
        let token = self.contexts.token(self.share.place(key))?;
        Some(Context::from_token(self.arena.lay(token.len(), |out| out.put_slice(token))))
    }

    /// Remembers the context of a write, unless siblings stand beside it: the context does not know them, so the next
    /// write has to read and replace them.
    pub(super) fn keep_context(&mut self, key: u64, context: &Context, versions: usize) {
        let place = self.share.place(key);
        match versions {
            0 | 1 => self.contexts.keep(place, context.as_token()),
            _ => self.contexts.forget(place),
        }
    }

    /// Learns from a read, unless a write is under way, whose answer is newer.
    pub(super) fn offer_context(&mut self, key: u64, read: &Versions) {
        if !self.share.owns(key) || self.is_busy(key) {
            return;
        }
        let place = self.share.place(key);
        match read.values.len() {
            0 | 1 => self.contexts.offer(place, read.context.as_token()),
            _ => self.contexts.forget(place),
        }
    }

    /// The next write of the key reads first.
    pub(super) fn forget_context(&mut self, key: u64) {
        self.contexts.forget(self.share.place(key));
    }

    /// Whether every key's context can be remembered.
    pub(super) fn remembers_all(&self) -> bool {
        Contexts::are_kept_of(self.known().div_ceil(self.share.count()))
    }

    /// The checks that a key's write goes through: its number, if values are checked.
    pub(super) fn begin_write(&mut self, key: u64, change: Change) -> Option<u64> {
        self.ledger.as_mut().map(|ledger| ledger.begin_write(key, change))
    }

    /// The write was acknowledged, or not.
    pub(super) fn end_write(&mut self, key: u64, number: Option<u64>, is_done: bool) {
        if let (Some(ledger), Some(number)) = (&mut self.ledger, number) {
            match is_done {
                true => ledger.acknowledge(key, number),
                false => ledger.give_up(key, number),
            }
        }
    }

    /// What a read that begins now has to show at least, if values are checked.
    pub(super) fn begin_read(&self, key: u64) -> Option<Floor> {
        Some(self.ledger.as_ref()?.begin_read(key))
    }

    /// Checks what it showed.
    pub(super) fn end_read(&mut self, key: u64, floor: Option<Floor>, read: &Versions, values: &Values) {
        if let (Some(ledger), Some(floor)) = (&mut self.ledger, floor) {
            ledger.end_read(key, floor, &shown(key, read, values));
        }
    }

    /// Checks what the last read showed.
    pub(super) fn end_last_read(&mut self, key: u64, read: &Versions, values: &Values) {
        if let Some(ledger) = &mut self.ledger {
            ledger.end_last_read(key, &shown(key, read, values));
        }
    }

    /// Takes what is there for the beginning. False when values are checked and it is none of ours.
    pub(super) fn adopt(&mut self, key: u64, read: &Versions, values: &Values) -> bool {
        // The first write replaces all that is there, siblings too.
        self.contexts.keep(self.share.place(key), read.context.as_token());
        self.ledger.as_mut().is_none_or(|ledger| ledger.adopt(key, &shown(key, read, values)))
    }

    /// An item that an earlier run inserted was found.
    pub(super) const fn adopt_insert(&mut self) {
        self.begun += 1;
        self.inserted += 1;
    }

    /// The ledger, if values are checked.
    pub(super) const fn ledger_mut(&mut self) -> Option<&mut Ledger> {
        self.ledger.as_mut()
    }

    /// Where pieces of requests are laid.
    pub(super) const fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

/// What a read shows of a key's writes.
fn shown(key: u64, read: &Versions, values: &Values) -> Vec<Shown> {
    let number = |bytes: &[u8]| values.read(bytes).filter(|mark| mark.key == key).map(|mark| mark.sequence);
    read.values.iter().map(|value| number(&value.bytes)).collect()
}

#[cfg(test)]
mod tests;
