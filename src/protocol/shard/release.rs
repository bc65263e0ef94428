//! What may leave when: after the commit, or after the fsync.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Now, Output, Shard, Source};
use crate::protocol::anti_entropy::Pair;
use crate::protocol::coordinator::Replied;
use crate::protocol::replica::{ItemKey, Storage};
use crate::protocol::types::Durability;

/// Something that waits for a commit or an fsync.
#[derive(Debug)]
enum Waiter {
    /// An operation whose local copy is in the turn.
    LocalCopy(u64),
    /// An operation's own read that shows a version not yet safe.
    LocalRead(u64, Box<Replied>),
    /// A frame that says that something is safe, or shows it.
    Frame(Output),
    /// An exchange whose items are in this turn, or in earlier ones.
    Compared(Pair),
    /// A round of reaping whose items were read.
    Round(u64),
}

/// The turns that are committed and not fsynced, and who waits for them.
#[derive(Debug)]
pub(super) struct Release {
    durability: Durability,
    /// Waits for the commit of the current turn, and with `sync` for its fsync.
    turn: Vec<Waiter>,
    /// Waits for the fsync of these sequences, rising.
    fsync: VecDeque<(u64, Vec<Waiter>, Vec<ItemKey>)>,
    /// Per item, the newest sequence that wrote it and is not fsynced.
    unsafe_items: BTreeMap<ItemKey, u64>,
    /// Wants an fsync of what this turn commits, whatever the durability.
    wanted: Vec<Waiter>,
    /// Everything up to this sequence is fsynced.
    durable_to: u64,
}

impl Release {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            turn: Vec::new(),
            fsync: VecDeque::new(),
            unsafe_items: BTreeMap::new(),
            wanted: Vec::new(),
            durable_to: 0,
        }
    }

    /// Whether a confirmation means "fsynced".
    pub(super) fn fsyncs(&self) -> bool {
        self.durability == Durability::Sync
    }

    pub(super) fn has_turn(&self) -> bool {
        !self.turn.is_empty() || !self.wanted.is_empty()
    }

    /// Queues a waiter for an item: in the turn that is writing it, or at the fsync that will make it safe. Hands it
    /// back when the item is safe.
    fn hold(&mut self, key: &ItemKey, written_in_turn: bool, waiter: Waiter) -> Option<Waiter> {
        if written_in_turn {
            self.turn.push(waiter);
            return None;
        }
        let Some(sequence) = self.unsafe_items.get(key) else { return Some(waiter) };
        match self.fsync.iter_mut().find(|(at, _, _)| at >= sequence) {
            Some((_, waiters, _)) => {
                waiters.push(waiter);
                None
            }
            None => Some(waiter),
        }
    }
}

impl Shard {
    /// Makes a local copy count for an operation as soon as it is safe. True when it is already.
    pub(super) fn hold_local_copy(&mut self, key: &ItemKey, id: u64) -> bool {
        let written = self.items.is_written(key);
        self.release.hold(key, written, Waiter::LocalCopy(id)).is_some()
    }

    /// Keeps an operation's own read back while it shows a version that is not fsynced. Hands it back when it is.
    pub(super) fn hold_local_read(&mut self, key: &ItemKey, id: u64, reply: Replied) -> Option<Replied> {
        let written = self.items.is_written(key) && self.release.fsyncs();
        match self.release.hold(key, written, Waiter::LocalRead(id, Box::new(reply))) {
            Some(Waiter::LocalRead(_, reply)) => Some(*reply),
            _ => None,
        }
    }

    /// Answers as soon as what is said about the item is safe.
    pub(super) fn reply_when_durable(&mut self, source: Source, key: &ItemKey, bytes: Bytes) {
        let written = self.items.is_written(key) && self.release.fsyncs();
        let waiter = Waiter::Frame(Output::Reply { source, bytes });
        if let Some(Waiter::Frame(output)) = self.release.hold(key, written, waiter) {
            self.outbox.push(output);
        }
    }

    /// Answers once what is said about the item is fsynced, also when the durability asks for less.
    pub(super) fn reply_when_fsynced(&mut self, source: Source, key: &ItemKey, bytes: Bytes) {
        match self.release.fsyncs() {
            true => self.reply_when_durable(source, key, bytes),
            // Nobody knows which commit had the item: the next fsync covers all of them.
            false => self.release.wanted.push(Waiter::Frame(Output::Reply { source, bytes })),
        }
    }

    /// Lets a completed exchange count as soon as all that it brought is safe: otherwise a power loss could take what
    /// it brought from a node that is believed because of it.
    pub(super) fn when_all_is_safe(&mut self, pair: Pair) {
        self.release.turn.push(Waiter::Compared(pair));
    }

    /// Lets a round of reaping go on once everything committed so far is fsynced, whatever the durability.
    pub(super) fn when_round_is_safe(&mut self, round: u64) {
        match self.release.fsyncs() {
            true => self.release.turn.push(Waiter::Round(round)),
            false => self.release.wanted.push(Waiter::Round(round)),
        }
    }

    /// Of these items, the one that waits longest for its fsync.
    pub(super) fn newest_unsafe(&self, keys: &[ItemKey]) -> Option<ItemKey> {
        let written = keys.iter().find(|key| self.items.is_written(key) && self.release.fsyncs());
        let committed = || keys.iter().max_by_key(|key| self.release.unsafe_items.get(*key));
        written.or_else(|| committed().filter(|key| self.release.unsafe_items.contains_key(*key))).cloned()
    }

    /// The turn's batch is committed as `sequence`: what it has to say may leave. Returns whether somebody waits for
    /// the fsync of it.
    pub fn handle_committed(&mut self, now: Now, sequence: u64, storage: &mut dyn Storage) -> bool {
        let written = self.items.committed();
        self.ready.append(&mut self.outbox);
        let waiters = std::mem::take(&mut self.release.turn);
        if self.release.fsyncs() {
            for key in &written {
                self.release.unsafe_items.insert(key.clone(), sequence);
            }
            // A turn that wrote nothing may have to do with an older commit, and nobody says twice that it is safe.
            if written.is_empty() && sequence <= self.release.durable_to {
                self.release_all(now, waiters, storage);
            } else if !written.is_empty() || !waiters.is_empty() {
                self.release.fsync.push_back((sequence, waiters, written));
            }
        } else {
            let wanted = std::mem::take(&mut self.release.wanted);
            if sequence <= self.release.durable_to {
                self.release_all(now, wanted, storage);
            } else if !wanted.is_empty() {
                self.release.fsync.push_back((sequence, wanted, Vec::new()));
            }
            self.release_all(now, waiters, storage);
        }
        !self.release.fsync.is_empty()
    }

    /// Everything committed up to `sequence` is fsynced.
    pub fn handle_durable(&mut self, now: Now, sequence: u64, storage: &mut dyn Storage) {
        self.release.durable_to = self.release.durable_to.max(sequence);
        while self.release.fsync.front().is_some_and(|(at, _, _)| *at <= sequence) {
            let Some((at, waiters, written)) = self.release.fsync.pop_front() else { break };
            for key in written {
                if self.release.unsafe_items.get(&key) == Some(&at) {
                    self.release.unsafe_items.remove(&key);
                }
            }
            self.release_all(now, waiters, storage);
        }
    }

    /// The turn's batch could not be committed: nothing of it is released, ever. The node ends.
    pub fn handle_commit_failed(&mut self) {
        self.stopping = true;
        self.outbox.clear();
        self.ready.clear();
        self.release.turn.clear();
        self.release.wanted.clear();
    }

    fn release_all(&mut self, now: Now, waiters: Vec<Waiter>, storage: &mut dyn Storage) {
        for waiter in waiters {
            match waiter {
                Waiter::LocalCopy(id) => self.local_copy_stored(now, id),
                Waiter::LocalRead(id, reply) => {
                    let me = self.operations.get_mut(id).map(|operation| operation.owners.me());
                    if let Some(me) = me {
                        self.copy_read(now, id, me, *reply, storage);
                    }
                }
                Waiter::Frame(output) => self.outbox.push(output),
                Waiter::Compared(pair) => self.compared(pair),
                Waiter::Round(round) => self.round_is_safe(now, round, storage),
            }
        }
        // What this produced belongs to no batch, unless a write came of it: then it waits for that one's commit.
        if self.batch.mutations.is_empty() && self.release.turn.is_empty() {
            self.ready.append(&mut self.outbox);
        }
    }
}
