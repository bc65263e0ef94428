//! The driver: turns the shard machine on one thread.
//!
//! ```text
//!   inbox --all of it--> machine --one batch--> commit --outputs--> lanes
//!                           ^                                         |
//!                           +------------- next turn <---------------+
//! ```
//!
//! A turn never waits for a peer: a lane that is full or down fails the send at once, and the machine counts that peer
//! as unknown. It waits for the disk only in the commit, which is a write to the operating system; fsyncs are another
//! thread's, and lookups that miss the cache go to the read pool.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;
use tokio::time::Instant as TokioInstant;

use super::clock::Clock;
use super::inbox::{Inbox, Input, ReplyTo};
use super::links::Links;
use super::report::{PIN_EVERY, ShardReport};
use crate::metrics::TurnNumbers;
use crate::protocol::shard::{Now, Output, PeerIndex, Shard, Source, SourceId};
use crate::protocol::types::Instant;
use crate::protocol::types::limits::BULK_FRAME_BYTES;
use crate::protocol::wire::{Failure, Frame, FrameDecoder};
use crate::storage::{CommitError, ReadCompletion, ShardStorage};
use crate::transport::{Class, LaneError, LaneSender, failure_frame};

/// Inputs of one turn at most: a turn of small requests then takes a few milliseconds, and replies do not wait longer.
const INPUTS_PER_TURN: usize = 512;

/// Bytes that one turn writes and sends, about: as much as all lanes to one peer hold. With values at their limit a
/// turn of so many inputs would be half a gigabyte.
const TURN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a driver ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to, and finished what was under way.
    Stopped,
    /// The disk failed: the node must end too (rule 6).
    DiskFailed(String),
}

/// One shard, its disk and its lanes.
pub(crate) struct Driver<'seat> {
    shard: Shard,
    storage: ShardStorage<'seat>,
    inbox: Arc<Inbox>,
    /// The inboxes of all shards of this node, for requests that belong to another.
    inboxes: Vec<Arc<Inbox>>,
    links: Links,
    clock: Clock,
    sources: Slab<ReplyTo>,
    /// The newest committed sequence.
    sequence: u64,
    /// The newest sequence that an fsync was asked for.
    sync_asked: u64,
    stop_at: Option<Instant>,
    turns: TurnNumbers,
    /// When a report was pinned up last.
    pinned_at: Instant,
    /// Something has happened since.
    unpinned: bool,
    failed_sends: Vec<(PeerIndex, u64)>,
}

impl<'seat> Driver<'seat> {
    pub(crate) fn new(
        shard: Shard,
        storage: ShardStorage<'seat>,
        number: usize,
        inboxes: Vec<Arc<Inbox>>,
        links: Links,
        clock: Clock,
    ) -> Self {
        let inbox = inboxes.get(number).cloned().expect("a node has an inbox per shard");
        Self {
            shard,
            storage,
            inbox,
            inboxes,
            links,
            clock,
            sources: Slab::new(),
            sequence: 0,
            sync_asked: 0,
            stop_at: None,
            turns: TurnNumbers::default(),
            pinned_at: Instant::default(),
            unpinned: true,
            failed_sends: Vec::new(),
        }
    }

    /// Runs turns until told to stop, or until the disk fails.
    pub(crate) async fn run(mut self) -> Ending {
        let mut inputs = Vec::new();
        loop {
            self.wait().await;
            self.inbox.take(&mut inputs);
            self.turns.queued.record(inputs.len() as u64);
            self.unpinned |= !inputs.is_empty() || self.is_due();
            let mut rest = inputs.drain(..);
            loop {
                let now = self.clock.now();
                let mut taken = 0_u64;
                for input in rest.by_ref().take(INPUTS_PER_TURN) {
                    taken += 1;
                    if let Err(ending) = self.take(now, input) {
                        return ending;
                    }
                    if self.shard.turn_bytes() > TURN_BYTES_MAX {
                        break;
                    }
                }
                if let Err(error) = self.turn(now) {
                    self.shard.handle_commit_failed();
                    return Ending::DiskFailed(error.to_string());
                }
                self.turns.inputs.record(taken);
                self.turns.times.record_time(self.clock.instant().since(now.instant));
                if rest.len() == 0 {
                    break;
                }
                // Lanes are written and acknowledgements read between the turns of a long inbox.
                tokio::task::yield_now().await;
            }
            drop(rest);
            self.pin();
            if self.is_finished() {
                return match self.store_trees() {
                    Ok(()) => Ending::Stopped,
                    Err(error) => Ending::DiskFailed(error.to_string()),
                };
            }
        }
    }

    /// Until there is something to do.
    async fn wait(&mut self) {
        let pin_at = self.unpinned.then(|| self.pinned_at.after(PIN_EVERY));
        let due = self.shard.next_deadline().into_iter().chain(self.stop_at).chain(pin_at).min();
        let Some(due) = due else { return self.inbox.filled().await };
        let wait = due.since(self.clock.now().instant);
        // Elapsed or filled: the turn finds out what there is.
        let woken = tokio::time::timeout_at(TokioInstant::now() + wait, self.inbox.filled()).await;
        tracing::trace!(timer = woken.is_err(), "turn");
    }

    /// Whether a timer of the machine is due.
    fn is_due(&mut self) -> bool {
        let now = self.clock.instant();
        self.shard.next_deadline().is_some_and(|due| due <= now)
    }

    /// Pins up a report when there is something new and the last one is old enough. What happens last before a pause
    /// is pinned up after it: `wait` wakes up for that once.
    fn pin(&mut self) {
        let now = self.clock.now();
        if self.unpinned && now.instant.since(self.pinned_at) >= PIN_EVERY {
            self.inbox.pinboard().pin(self.report(now));
            (self.pinned_at, self.unpinned) = (now.instant, false);
        }
    }

    fn report(&self, now: Now) -> ShardReport {
        ShardReport {
            at: now.instant,
            counters: self.shard.counters().clone(),
            measures: self.shard.measures().clone(),
            turns: self.turns,
            items: self.storage.item_numbers(),
            unverified: self.shard.is_unverified(),
            in_sync: self.shard.partitions_in_sync().collect(),
            in_flight: self.shard.in_flight(),
            background_share: f64::from(self.shard.background_permille()) / 1_000.0,
            hints: self.shard.hint_stock(),
            oldest_hint: self.shard.oldest_hint(now),
        }
    }

    fn is_finished(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let idle = self.shard.in_flight() == 0 && self.sources.is_empty();
        idle || self.clock.now().instant >= stop_at
    }

    fn take(&mut self, now: Now, input: Input) -> Result<(), Ending> {
        match input {
            Input::Request { reply_to, frame, arrived } => {
                let id = SourceId::new(self.sources.insert(reply_to) as u64);
                self.shard.handle_request(now, Source { id, arrived }, frame, &mut self.storage);
            }
            Input::Answer { peer, frame } => self.shard.handle_answer(now, peer, frame, &mut self.storage),
            Input::Completed(ReadCompletion::Read { id, result }) => {
                self.shard.handle_read(now, id, result, &mut self.storage);
            }
            Input::Completed(ReadCompletion::Scan { id, result }) => self.shard.handle_scan(id, result),
            Input::Completed(ReadCompletion::Items { id, result }) => {
                self.shard.handle_items(now, id, result, &mut self.storage);
            }
            Input::Completed(ReadCompletion::Hints { id, result }) => {
                self.shard.handle_hints(now, id, result, &mut self.storage);
            }
            Input::Durable(sequence) => self.shard.handle_durable(now, sequence, &mut self.storage),
            Input::Failed(reason) => return Err(Ending::DiskFailed(reason)),
            Input::Link { peer, shard, up } => {
                if let Some(up) = self.links.set(peer, shard, up) {
                    self.shard.handle_peer(now, peer, up, &mut self.storage);
                }
            }
            Input::Reachable { peer, reachable } => {
                self.shard.handle_standing(now, peer, reachable, &mut self.storage);
            }
            Input::Ports { peer, ports } => self.links.open(peer, &ports),
            Input::Room(room, space) => self.shard.set_room(room, space),
            Input::Unverified(unverified) => self.shard.set_unverified(unverified),
            Input::SlowRequests(threshold) => self.shard.account_for_slow(threshold),
            Input::Report(to) => {
                // Nobody waits any more: nothing is lost.
                drop(to.send(self.report(now)));
            }
            Input::Stop(within) => {
                self.shard.begin_stop();
                self.stop_at = Some(now.instant.after(within));
            }
        }
        Ok(())
    }

    /// Commits what the inputs made, and carries out what they said, until nothing is left to say.
    fn turn(&mut self, mut now: Now) -> Result<(), CommitError> {
        self.shard.handle_tick(now, &mut self.storage);
        while self.shard.has_turn() {
            let batch = self.shard.take_turn(now);
            if !batch.mutations.is_empty() {
                let began = self.clock.instant();
                self.sequence = self.storage.commit(&batch)?;
                // What waited for the commit is told now, and has taken until now.
                now.instant = self.clock.instant();
                self.turns.commit_times.record_time(now.instant.since(began));
                self.turns.commit_writes.record(batch.mutations.len() as u64);
            }
            let waits = self.shard.handle_committed(now, self.sequence, &mut self.storage);
            if waits && self.sequence > self.sync_asked {
                self.sync_asked = self.sequence;
                self.storage.request_sync(self.sequence);
            }
            self.carry_out();
            for (peer, correlation) in std::mem::take(&mut self.failed_sends) {
                self.shard.handle_send_failed(now, peer, correlation, &mut self.storage);
            }
        }
        self.carry_out();
        for slow in self.shard.take_slow() {
            super::slow::tell(self.shard.view(), &slow);
        }
        Ok(())
    }

    /// Leaves the hash trees to the next process, after the last turn.
    fn store_trees(&mut self) -> Result<(), CommitError> {
        loop {
            let batch = self.shard.store_trees();
            if batch.mutations.is_empty() {
                return Ok(());
            }
            self.sequence = self.storage.commit(&batch)?;
        }
    }

    fn carry_out(&mut self) {
        for output in self.shard.drain() {
            match output {
                Output::Send { peer, partition, correlation, bytes } => {
                    let class = class_of(bytes.len());
                    if self.links.send(peer, partition, class, bytes).is_err() {
                        self.failed_sends.push((peer, correlation));
                    }
                }
                Output::Reply { source, bytes } => {
                    let Some(to) = take_source(&mut self.sources, source) else { continue };
                    match to {
                        ReplyTo::Lane(lane, _answered) => answer(&lane, bytes),
                        ReplyTo::Door(door, _answered) => {
                            if let Some(frame) = decode_own(&bytes) {
                                drop(door.send(frame));
                            }
                        }
                    }
                }
                Output::Forward { shard, source, frame } => {
                    let Some(reply_to) = take_source(&mut self.sources, source) else { continue };
                    if let Some(inbox) = self.inboxes.get(usize::from(shard)) {
                        inbox.push(Input::Request { reply_to, frame, arrived: source.arrived });
                    }
                }
            }
        }
    }
}

/// Hands an answer to the asker's lane, or at least why there is none.
fn answer(lane: &LaneSender, bytes: Bytes) {
    let correlation = bytes.get(CORRELATION).and_then(|field| field.try_into().ok()).map(u64::from_be_bytes);
    if let (Err(LaneError::Full { .. }), Some(correlation)) = (lane.try_send(bytes), correlation) {
        let text = "the answer is ready, and too many answers wait to be read on this node; ask again, slower; a write \
                    may have taken place: retry it with the same write id";
        let failure = Failure::overloaded(text, ANSWERS_UNREAD_FOR);
        // Whose own lane is full reads nothing: it gave up, or will at its deadline.
        lane.try_send(failure_frame(correlation, &failure)).unwrap_or_default();
    }
}

fn take_source(sources: &mut Slab<ReplyTo>, source: Source) -> Option<ReplyTo> {
    sources.try_remove(usize::try_from(source.id.as_u64()).ok()?)
}

fn class_of(bytes: usize) -> Class {
    if bytes > BULK_FRAME_BYTES { Class::Bulk } else { Class::Normal }
}

/// Our own answer, for somebody in this process.
fn decode_own(bytes: &Bytes) -> Option<Frame> {
    let mut decoder = FrameDecoder::new(usize::MAX);
    decoder.extend(bytes);
    decoder.next_frame().ok().flatten()
}

/// Where a frame has its correlation.
const CORRELATION: std::ops::Range<usize> = 8..16;
/// Unread answers are those of slow readers, or of a slow way.
const ANSWERS_UNREAD_FOR: Duration = Duration::from_millis(500);

/// How long a stopping shard lets requests under way take.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);
