//! What a replica knows of its partition besides the items: actor, clock, log.

use bytes::Bytes;

use super::key::KeyKind;
use super::{Batch, Change, ChangeLog, ChangeSet, ItemKey, Mutation, PartitionClock, PartitionImage, ReadError};
use crate::protocol::types::{ActorId, PartitionId, WallTime, WriteId};
use crate::protocol::version::{Dot, Siblings, VersionVector};

/// Log entries between two records of the clock. More makes a start read more log, fewer writes the clock more often.
const CLOCK_EVERY: u64 = 64;
/// Log entries dropped per turn at most, so that one turn's batch stays small.
const TRIM_PER_TURN: usize = 4;

/// The one that mints dots here. It lives no longer than this process: a new one is drawn at the first coordinated
/// write after every start, so neither a crash nor a copied or restored disk can repeat a dot (rule 1).
#[derive(Debug, Clone, Copy)]
struct Actor {
    id: ActorId,
    minted: u64,
}

/// A replica's own state, apart from its items.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    clock: PartitionClock,
    log: ChangeLog,
    actor: Option<Actor>,
    pending: ChangeSet,
    clock_written_at: u64,
    /// The clock changed by something that is not in the log.
    clock_unlogged: bool,
}

impl Partition {
    /// Rebuilds the state from what was committed last: the clock's record and the log after it.
    pub fn load(id: PartitionId, image: &PartitionImage) -> Result<Self, ReadError> {
        let (mut clock, complete_to) = match &image.clock {
            Some(record) => PartitionClock::from_record(record)?,
            None => (PartitionClock::default(), 0),
        };
        let mut log = ChangeLog::default();
        for (sequence, record) in &image.log {
            let set = log.replay(*sequence, record)?;
            if *sequence > complete_to {
                for dot in set.stored.iter().map(|change| change.dot).chain(set.obsolete) {
                    clock.add(dot);
                }
            }
        }
        let pending = ChangeSet::default();
        Ok(Self { id, clock, log, actor: None, pending, clock_written_at: complete_to, clock_unlogged: false })
    }

    /// The state of a node that stands in for the partition's owners: it mints, and has neither clock nor log.
    #[must_use]
    pub fn standing_in(id: PartitionId) -> Self {
        let (clock, log) = (PartitionClock::default(), ChangeLog::default());
        let pending = ChangeSet::default();
        Self { id, clock, log, actor: None, pending, clock_written_at: 0, clock_unlogged: false }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &PartitionClock {
        &self.clock
    }

    /// The sequence of the newest entry of the change log.
    #[must_use]
    pub fn last_change(&self) -> u64 {
        self.log.last()
    }

    /// Forgets the actor, so that the next write draws a new one: to be called whenever state that it minted for was
    /// lost.
    pub fn rotate_actor(&mut self) {
        self.actor = None;
    }

    /// Covers what another owner's clock covered before an exchange with it that was completed. Returns whether
    /// anything changed, and is to be sealed.
    pub fn join_clock(&mut self, theirs: &PartitionClock) -> bool {
        let changed = self.clock.join(theirs);
        self.clock_unlogged |= changed;
        changed
    }

    /// Forgets what is covered: a record was lost, and nobody knows which dots were in it. To cover less is always
    /// safe; the next completed exchanges bring back what the other owners cover.
    pub fn forget_clock(&mut self) {
        self.clock = PartitionClock::default();
        self.clock_unlogged = true;
    }

    /// Mints the next dot for an item. `fresh` draws an actor: at the first coordinated write of the process, and when
    /// the item claims a dot that the actor has not minted, as only a confused or hostile peer's copy can.
    ///
    /// # Panics
    /// When the fresh actor is known to the item too: its number was drawn twice, and going on would lose a write.
    pub fn mint(&mut self, item: &Siblings, fresh: impl FnOnce() -> ActorId) -> Dot {
        let next = |actor: &Actor| actor.minted + 1;
        let usable = self.actor.filter(|actor| item.context().counter(actor.id) < next(actor));
        let mut actor = usable.unwrap_or_else(|| Actor { id: fresh(), minted: 0 });
        actor.minted += 1;
        let dot = Dot::new(actor.id, actor.minted);
        let known = item.context().counter(actor.id);
        assert!(known < dot.counter(), "{dot} would be minted twice in {}: the item knows {known}", self.id);
        self.actor = Some(actor);
        dot
    }

    /// The dot that a write got before, if the log still knows it.
    #[must_use]
    pub fn find(&self, write_id: WriteId, key: &ItemKey) -> Option<Dot> {
        self.dots_of(write_id, key).next()
    }

    /// All dots that a write got, of those that the log still knows: several when several owners coordinated it.
    pub fn dots_of(&self, write_id: WriteId, key: &ItemKey) -> impl Iterator<Item = Dot> {
        let of = move |change: &&Change| change.write_id == write_id && change.key == *key;
        self.log.dots_of(write_id, key).chain(self.pending.stored.iter().filter(of).map(|change| change.dot))
    }

    /// Notes that an item is now `after`: every version is stored, and what its vector names is obsolete.
    pub fn record(&mut self, key: &ItemKey, after: &Siblings) {
        for version in after.versions() {
            if self.clock.add(version.dot) {
                let change = Change { dot: version.dot, write_id: version.write_id, key: key.clone() };
                self.pending.stored.push(change);
            }
        }
        for dot in after.vector().iter() {
            if self.clock.add(dot) {
                self.pending.obsolete.push(dot);
            }
        }
    }

    /// Notes that an item is reaped, or stripped: everything that it knew stays known as obsolete.
    pub fn bury(&mut self, past: &VersionVector) {
        for dot in past.iter() {
            if self.clock.add(dot) {
                self.pending.obsolete.push(dot);
            }
        }
    }

    /// The actor that mints here in this process, once it has minted.
    #[must_use]
    pub fn actor(&self) -> Option<ActorId> {
        self.actor.map(|actor| actor.id)
    }

    /// Writes what this turn changed into its batch: a log entry, now and then the clock, and old entries' ends.
    pub fn seal(&mut self, wall: WallTime, batch: &mut Batch) {
        if self.pending.is_empty() && !self.clock_unlogged {
            return;
        }
        if !self.pending.is_empty() {
            let set = std::mem::take(&mut self.pending);
            let (key, record) = self.log.append(&set, wall);
            self.put(batch, key, Some(record));
        }
        let mut trimmed_to = 0;
        for _ in 0..TRIM_PER_TURN {
            let Some((sequence, key)) = self.log.trim(wall) else { break };
            trimmed_to = sequence;
            self.put(batch, key, None);
        }
        let last = self.log.last();
        // The clock must never need an entry that is gone.
        let due = last >= self.clock_written_at + CLOCK_EVERY || trimmed_to > self.clock_written_at;
        if due || std::mem::take(&mut self.clock_unlogged) {
            self.clock_written_at = last;
            self.put(batch, Bytes::from_static(&[KeyKind::Clock as u8]), Some(self.clock.to_record(last)));
        }
    }

    fn put(&self, batch: &mut Batch, key: Bytes, value: Option<Bytes>) {
        batch.mutations.push(Mutation { partition: self.id, key, value });
    }
}
