//! A node: its process, its shards and how their turns are run. The counterpart of `server::driver`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Event;
use super::disk::{Ask, Desk, Disk};
use super::draw::Draw;
use super::finding::{Checker, Finding};
use super::gossip::Gossip;
use super::mutation::Mutation;
use super::world::{Phase, World};
use crate::protocol::replica::{Batch, HintPage, ItemPage, KeyKind, ReadError, ReadId, ScanPage};
use crate::protocol::shard::{BrokenReaping, Now, Output, PeerIndex, Shard, ShardConfig, Source, SourceId, View};
use crate::protocol::types::limits::{BUDGET_MS_MAX, FRAME_BYTES_MAX};
use crate::protocol::types::{Durability, Instant, WallTime};
use crate::protocol::wire::{Frame, FrameDecoder, Kind};

/// Which shard of which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeatId {
    pub(super) node: u16,
    pub(super) shard: u16,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client's operation, and which attempt of it.
    Client { operation: u64, attempt: u32 },
    /// A shard of a peer, in one epoch of its link.
    Peer { node: u16, shard: u16, epoch: u32 },
}

/// Something for a shard's next turn.
#[derive(Debug)]
pub(super) enum Input {
    Request { asker: Asker, frame: Frame, arrived: Instant },
    Answer { peer: u16, frame: Frame },
    Read { id: ReadId, result: Result<Option<bytes::Bytes>, ReadError> },
    Scan { id: ReadId, page: ScanPage },
    Hints { id: ReadId, page: HintPage },
    Items { id: ReadId, page: ItemPage },
    Durable(u64),
    Link { peer: u16, up: bool },
    Standing { peer: u16, reachable: bool },
}

/// A shard, its inbox, and who waits for it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shard: Option<Shard>,
    pub(super) inbox: VecDeque<Input>,
    pub(super) decoder: FrameDecoder,
    turn_at: Option<u64>,
    /// Who waits, and when the answer is due; `u64::MAX` for a peer's lookups and merges, which wait for the disk.
    waiting: BTreeMap<u64, (Asker, u64)>,
    due: BTreeSet<(u64, u64)>,
    sources: u64,
}

/// A node.
#[expect(clippy::struct_excessive_bools, reason = "facts about a process and its disk that do not exclude each other")]
#[derive(Debug)]
pub(super) struct Node {
    /// Which process it is; what was meant for an earlier one is lost.
    pub(super) life: u32,
    pub(super) running: bool,
    pub(super) seats: Vec<Seat>,
    /// Which members answer, as this process sees it.
    pub(super) gossip: Option<Gossip>,
    pub(super) disk: Disk,
    pub(super) paused_until: u64,
    /// Turns take so many times as long.
    pub(super) slowness: u64,
    pub(super) wall_offset_ms: i64,
    pub(super) drift_ppm: i64,
    /// It may have lost what it acknowledged; until its copies were compared with all other owners'.
    pub(super) unverified: bool,
    /// It lost, or may have lost, something that it held.
    pub(super) damaged: bool,
    /// Bytes of its disk changed without a write, on this disk or on the one that it was copied from.
    pub(super) rotten: bool,
    /// Two processes ran under its name: a copy that it confirmed is on one of two disks.
    pub(super) split: bool,
    pub(super) view: Arc<View>,
}

/// Inputs of one turn at most, as in the driver.
const INPUTS_PER_TURN: usize = 512;
/// The wall clock at the start of every run, milliseconds.
const WALL_START_MS: i64 = 1_700_000_000_000;

impl Node {
    pub(super) fn new(view: Arc<View>, shards: u16, draw: &mut Draw, wall_ms_max: u64) -> Self {
        let seat = |_| Seat {
            shard: None,
            inbox: VecDeque::new(),
            decoder: FrameDecoder::new(FRAME_BYTES_MAX),
            turn_at: None,
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            sources: 0,
        };
        let half = i64::try_from(wall_ms_max / 2).unwrap_or_default();
        let offset = i64::try_from(draw.between(0, wall_ms_max)).unwrap_or_default() - half;
        let drift_ppm = i64::try_from(draw.between(0, 400)).unwrap_or_default() - 200;
        Self {
            life: 0,
            running: false,
            seats: (0..shards).map(seat).collect(),
            gossip: None,
            disk: Disk::new(),
            paused_until: 0,
            slowness: 1,
            wall_offset_ms: offset,
            drift_ppm: if wall_ms_max == 0 { 0 } else { drift_ppm },
            unverified: false,
            damaged: false,
            rotten: false,
            split: false,
            view,
        }
    }

    /// The node's clocks at a moment of the world.
    pub(super) fn clocks(&self, now: u64) -> Now {
        let ms = i64::try_from(now / 1_000_000).unwrap_or_default();
        let wall = WALL_START_MS + ms + self.wall_offset_ms + ms * self.drift_ppm / 1_000_000;
        Now { instant: Instant::from_nanos(now), wall: WallTime::from_millis(u64::try_from(wall).unwrap_or_default()) }
    }
}

impl World {
    /// Starts a node's process on what its disk holds.
    pub(super) fn start(&mut self, number: u16) {
        let at = usize::from(number);
        if self.nodes[at].running {
            return;
        }
        self.log(|| format!("n{} starts", number + 1));
        let named = self.identity(number);
        let reuse = self.options.mutation == Some(Mutation::ReuseActor);
        let trust = self.options.mutation == Some(Mutation::TrustLostDisk);
        let pending = self.options.disk.pending;
        let durability = self.options.durability;
        let node = &mut self.nodes[at];
        node.life += 1;
        node.running = true;
        let generation = node.disk.open();
        let clocks = node.clocks(self.now);
        let shards = u16::try_from(node.seats.len()).expect("at most 4 shards");
        for (shard, seat) in (0..shards).zip(&mut node.seats) {
            let mut seed = self.boot.seed();
            if reuse {
                seed = [0; 32];
                (seed[0], seed[1], seed[2]) = (1, named.to_le_bytes()[0], shard.to_le_bytes()[0]);
            }
            let config = ShardConfig {
                shard,
                shards,
                durability,
                value_bytes_max: super::VALUE_BYTES_MAX,
                unverified: node.unverified && !trust,
                hint_bytes_max: self.options.hint_bytes_max,
            };
            let mut asks = Vec::new();
            let broken = self.options.mutation.filter(|broken| *broken == Mutation::BelieveStaleTree);
            let mut desk = Desk { disk: &mut node.disk, draw: &mut self.disks, asks: &mut asks, pending, broken };
            match Shard::new(config, node.view.clone(), seed, &mut desk) {
                Ok(mut made) => {
                    if self.options.mutation == Some(Mutation::KeepStandInActor) {
                        made.keep_stand_in_actors();
                    }
                    let broken = match self.options.mutation {
                        Some(Mutation::ReapTooEarly) => Some(BrokenReaping::SkipOwner),
                        Some(Mutation::ReapDespiteHints) => Some(BrokenReaping::IgnoreHints),
                        Some(Mutation::TakeObsoleteBack) => Some(BrokenReaping::TakeBack),
                        Some(Mutation::StripUnproven) => Some(BrokenReaping::StripUnproven),
                        _ => None,
                    };
                    if let Some(how) = broken {
                        made.break_reaping(how);
                    }
                    // A tree that was left says what should be there, and rot needs looking for.
                    if self.phase != Phase::Load {
                        made.verify(clocks);
                    }
                    if self.options.mutation == Some(Mutation::TrustHead) {
                        made.trust_heads();
                    }
                    if self.options.mutation == Some(Mutation::KeepTwins) {
                        made.keep_twins();
                    }
                    seat.shard = Some(made);
                }
                Err(error) => {
                    let text = format!("n{} cannot start on its own disk: {error}", number + 1);
                    self.finding.get_or_insert(Finding::new(Checker::Bounds, text));
                    return;
                }
            }
        }
        let life = node.life;
        if durability == Durability::Interval {
            let after = self.options.disk.interval_ms * 1_000_000;
            self.heap.push(self.now + after, Event::SyncTick { node: number, life });
        }
        self.begin_gossip(number, generation);
        self.try_links_of(number);
    }

    /// A process that was told to end commits its hash trees last, as the driver does.
    pub(super) fn leave_trees(&mut self, number: u16) {
        if !self.nodes[usize::from(number)].running {
            return;
        }
        self.log(|| format!("n{} leaves its hash trees", number + 1));
        for seat in 0..self.nodes[usize::from(number)].seats.len() {
            while let Some(shard) = &mut self.nodes[usize::from(number)].seats[seat].shard {
                let batch = shard.store_trees();
                // A full disk takes none, and the next process builds them.
                if batch.mutations.is_empty() || self.commit(number, batch).is_none() {
                    break;
                }
            }
        }
    }

    /// Ends a node's process; what the operating system has stays.
    pub(super) fn stop(&mut self, number: u16, why: &str) {
        let at = usize::from(number);
        if !self.nodes[at].running {
            return;
        }
        self.log(|| format!("n{} ends: {why}", number + 1));
        let node = &mut self.nodes[at];
        node.running = false;
        node.life += 1;
        node.gossip = None;
        node.disk.limbo = None;
        for seat in &mut node.seats {
            seat.shard = None;
            seat.inbox.clear();
            seat.waiting.clear();
            seat.due.clear();
            seat.turn_at = None;
            seat.decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        }
        self.break_links_of(number);
    }

    /// Puts something into a shard's inbox and sees to its turn.
    pub(super) fn hand(&mut self, seat: SeatId, input: Input) {
        let node = &mut self.nodes[usize::from(seat.node)];
        if !node.running {
            return;
        }
        let Some(place) = node.seats.get_mut(usize::from(seat.shard)) else { return };
        place.inbox.push_back(input);
        let at = self.now + self.turns.between(5_000, 40_000) * node.slowness;
        self.schedule_turn(seat, at);
    }

    pub(super) fn schedule_turn(&mut self, seat: SeatId, at: u64) {
        let node = &mut self.nodes[usize::from(seat.node)];
        let life = node.life;
        let place = &mut node.seats[usize::from(seat.shard)];
        if place.turn_at.is_none_or(|planned| planned > at) {
            place.turn_at = Some(at);
            self.heap.push(at, Event::Turn { seat, life });
        }
    }

    /// Runs a turn: inputs, timers, then commits and outputs until nothing is left to say.
    pub(super) fn run_turn(&mut self, seat: SeatId) {
        let index = usize::from(seat.node);
        let node = &mut self.nodes[index];
        let place = &mut node.seats[usize::from(seat.shard)];
        if place.turn_at != Some(self.now) {
            return;
        }
        place.turn_at = None;
        if node.paused_until > self.now {
            let until = node.paused_until;
            return self.schedule_turn(seat, until);
        }
        let now = node.clocks(self.now);
        let mut asks = Vec::new();
        self.take_inputs(seat, now, &mut asks);
        loop {
            let (broken, pending) = (self.options.mutation, self.options.disk.pending);
            let node = &mut self.nodes[index];
            let place = &mut node.seats[usize::from(seat.shard)];
            let Some(shard) = &mut place.shard else { return };
            if !shard.has_turn() {
                break;
            }
            let batch = shard.take_turn(now);
            self.oracle.newest.clear();
            let Some(sequence) = self.commit(seat.node, batch) else {
                if let Some(shard) = self.nodes[index].seats[usize::from(seat.shard)].shard.as_mut() {
                    shard.handle_commit_failed();
                }
                return self.disk_failed(seat.node, "a commit failed: the disk is full");
            };
            let Node { seats, disk, .. } = &mut self.nodes[index];
            let Some(shard) = &mut seats[usize::from(seat.shard)].shard else { return };
            let mut desk = Desk { disk, draw: &mut self.disks, asks: &mut asks, pending, broken };
            let waits = shard.handle_committed(now, sequence, &mut desk);
            if waits {
                self.ask_sync(seat, sequence);
            }
            let failed = self.carry_out(seat);
            let Node { seats, disk, .. } = &mut self.nodes[index];
            let Some(shard) = &mut seats[usize::from(seat.shard)].shard else { return };
            let mut desk = Desk { disk, draw: &mut self.disks, asks: &mut asks, pending, broken };
            for (peer, correlation) in failed {
                shard.handle_send_failed(now, peer, correlation, &mut desk);
            }
        }
        // What was released without a turn, as by an fsync.
        for (peer, correlation) in self.carry_out(seat) {
            let (broken, pending) = (self.options.mutation, self.options.disk.pending);
            let Node { seats, disk, .. } = &mut self.nodes[index];
            let Some(shard) = &mut seats[usize::from(seat.shard)].shard else { return };
            let mut desk = Desk { disk, draw: &mut self.disks, asks: &mut asks, pending, broken };
            shard.handle_send_failed(now, peer, correlation, &mut desk);
        }
        self.take_asks(seat, asks);
        self.look_after(seat);
    }

    fn take_inputs(&mut self, seat: SeatId, now: Now, asks: &mut Vec<Ask>) {
        let (broken, pending) = (self.options.mutation, self.options.disk.pending);
        let Node { seats, disk, .. } = &mut self.nodes[usize::from(seat.node)];
        let Seat { shard, inbox, waiting, due, sources, .. } = &mut seats[usize::from(seat.shard)];
        let Some(shard) = shard else { return };
        let mut desk = Desk { disk, draw: &mut self.disks, asks, pending, broken };
        let count = inbox.len().min(INPUTS_PER_TURN);
        for input in inbox.drain(..count) {
            match input {
                Input::Request { asker, frame, arrived } => {
                    *sources += 1;
                    let id = *sources;
                    let at = due_at(arrived, &frame);
                    waiting.insert(id, (asker, at));
                    if at < u64::MAX {
                        due.insert((at, id));
                    }
                    // The mutation: what waited before the turn is forgotten.
                    let arrived = if broken == Some(Mutation::ForgetArrival) { now.instant } else { arrived };
                    let source = Source { id: SourceId::new(id), arrived };
                    shard.handle_request(now, source, frame, &mut desk);
                }
                Input::Answer { peer, frame } => shard.handle_answer(now, PeerIndex::new(peer), frame, &mut desk),
                Input::Read { id, result } => shard.handle_read(now, id, result, &mut desk),
                Input::Scan { id, page } => shard.handle_scan(id, Ok(page)),
                Input::Hints { id, page } => shard.handle_hints(now, id, Ok(page), &mut desk),
                Input::Items { id, page } => shard.handle_items(now, id, Ok(page), &mut desk),
                Input::Durable(sequence) => shard.handle_durable(now, sequence, &mut desk),
                Input::Link { peer, up } => shard.handle_peer(now, PeerIndex::new(peer), up, &mut desk),
                Input::Standing { peer, reachable } => {
                    shard.handle_standing(now, PeerIndex::new(peer), reachable, &mut desk);
                }
            }
        }
        shard.handle_tick(now, &mut desk);
    }

    /// Commits a batch, and shows it to the oracle.
    fn commit(&mut self, number: u16, mut batch: Batch) -> Option<u64> {
        let disk = &mut self.nodes[usize::from(number)].disk;
        if batch.mutations.is_empty() {
            return Some(disk.promised());
        }
        match self.options.mutation {
            Some(Mutation::BelieveStaleTree) => {
                let outdates = |at: &crate::protocol::replica::Mutation| {
                    at.value.is_none() && at.key.first() == Some(&(KeyKind::Tree as u8))
                };
                batch.mutations.retain(|mutation| !outdates(mutation));
            }
            Some(Mutation::DropCommits) if self.mutants.chance(20_000) => return Some(disk.sequence),
            Some(Mutation::StoreElsewhere) if self.mutants.chance(20_000) => {
                let partitions = u16::try_from(self.options.partitions).unwrap_or(u16::MAX);
                for mutation in &mut batch.mutations {
                    let next = (mutation.partition.as_u16() + 1) % partitions;
                    mutation.partition = crate::protocol::types::PartitionId::new(next);
                }
            }
            Some(Mutation::AcknowledgeBeforeCommit) => match disk.limbo.replace(batch) {
                Some(before) => batch = before,
                None => return Some(disk.promised()),
            },
            _ => {}
        }
        self.commit_now(number, batch)?;
        Some(self.nodes[usize::from(number)].disk.promised())
    }

    fn commit_now(&mut self, number: u16, batch: Batch) -> Option<()> {
        let named = self.identity(number);
        let disk = &mut self.nodes[usize::from(number)].disk;
        let kinds = [KeyKind::Item as u8, KeyKind::Hint as u8];
        let item = |at: &&crate::protocol::replica::Mutation| at.key.first().is_some_and(|kind| kinds.contains(kind));
        let shown: Vec<_> = batch.mutations.iter().filter(item).cloned().collect();
        let mut before: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for mutation in &shown {
            let held = disk.held(mutation.partition, &mutation.key).cloned();
            before.entry(mutation.key.clone()).or_insert(held);
        }
        disk.commit(batch)?;
        for mutation in shown {
            let before = before.insert(mutation.key.clone(), mutation.value.clone()).flatten();
            if let Err(finding) = self.committed(named, &mutation, before) {
                self.finding.get_or_insert(finding);
            }
        }
        Some(())
    }

    /// Somebody waits for an fsync.
    fn ask_sync(&mut self, seat: SeatId, sequence: u64) {
        if self.options.mutation == Some(Mutation::ReleaseBeforeDurable) {
            return self.hand(seat, Input::Durable(sequence));
        }
        let disk = &mut self.nodes[usize::from(seat.node)].disk;
        if sequence <= disk.durable_to {
            let to = disk.durable_to;
            return self.hand(seat, Input::Durable(to));
        }
        if self.options.durability == Durability::Interval {
            return;
        }
        disk.asked = disk.asked.max(sequence);
        self.begin_sync(seat.node);
    }

    /// The sync thread: one fsync at a time, for everything that was committed before it began.
    pub(super) fn begin_sync(&mut self, number: u16) {
        if let Some(late) = self.nodes[usize::from(number)].disk.limbo.take() {
            // A full disk loses it; the next turn's commit will say so.
            self.commit_now(number, late).unwrap_or_default();
        }
        let node = &mut self.nodes[usize::from(number)];
        let disk = &mut node.disk;
        if !node.running || disk.syncing || disk.asked <= disk.durable_to {
            return;
        }
        disk.syncing = true;
        let fails = std::mem::take(&mut disk.fail_sync);
        let took = self.disks.between(100, self.options.disk.sync_us_max) * 1_000 * disk.slowness;
        let event = Event::Synced { node: number, life: node.life, to: disk.sequence, fails };
        self.heap.push(self.now + took, event);
    }

    /// An fsync is over.
    pub(super) fn synced(&mut self, number: u16, to: u64, fails: bool) {
        let disk = &mut self.nodes[usize::from(number)].disk;
        disk.syncing = false;
        if fails && self.options.mutation == Some(Mutation::RetrySync) {
            disk.forget_pending(to);
        } else if fails {
            // What was to be written is gone from the cache, and nobody knows what of it reached the platter.
            self.log(|| format!("n{}: an fsync failed", number + 1));
            self.disk_failed(number, "an fsync failed");
            return self.power_lost(number);
        } else {
            disk.make_durable(to);
        }
        for shard in 0..self.nodes[usize::from(number)].seats.len() {
            let shard = u16::try_from(shard).expect("at most 4 shards");
            self.hand(SeatId { node: number, shard }, Input::Durable(to));
        }
        if self.options.durability != Durability::Interval {
            self.begin_sync(number);
        }
    }

    /// The disk failed: the node must end (rule 6). It is started again by its supervisor.
    fn disk_failed(&mut self, number: u16, why: &str) {
        self.stop(number, why);
        let after = self.nemesis.between(100, 1_000) * 1_000_000;
        self.heap.push(self.now + after, Event::Start { node: number });
    }

    fn take_asks(&mut self, seat: SeatId, asks: Vec<Ask>) {
        let node = &self.nodes[usize::from(seat.node)];
        let (life, slowness) = (node.life, node.disk.slowness);
        for ask in asks {
            let took = self.disks.between(50, self.options.disk.read_us_max) * 1_000 * slowness;
            self.heap.push(self.now + took, Event::Looked { seat, life, ask });
        }
    }

    /// After a turn: whatever is due was answered; the next turn is planned.
    fn look_after(&mut self, seat: SeatId) {
        let node = &mut self.nodes[usize::from(seat.node)];
        // Its copies were compared with all other owners'.
        let doubts = node.seats.iter().any(|seat| seat.shard.as_ref().is_none_or(Shard::is_unverified));
        node.unverified &= doubts;
        let (rotten, slowness) = (node.rotten, node.slowness);
        let Some(place) = node.seats.get_mut(usize::from(seat.shard)) else { return };
        let Some(shard) = &mut place.shard else { return };
        if shard.counters().rot_found > 0 && !rotten {
            let text = format!(
                "shard {} of n{} found that bytes changed without a write, on a disk where none did",
                seat.shard,
                seat.node + 1
            );
            self.finding.get_or_insert(Finding::new(Checker::Convergence, text));
        }
        let overdue = place.due.first().filter(|(at, _)| *at <= self.now);
        if let Some((at, source)) = overdue {
            let text = format!(
                "n{} did not answer request {source} ({:?}) of shard {} by its deadline at {} ms",
                seat.node + 1,
                place.waiting.get(source).map(|(asker, _)| asker),
                seat.shard,
                at / 1_000_000
            );
            self.finding.get_or_insert(Finding::new(Checker::Termination, text));
        }
        let next = if place.inbox.is_empty() {
            shard.next_deadline().map(|at| at.as_nanos().max(self.now + 1))
        } else {
            Some(self.now + 10_000 * slowness)
        };
        if let Some(at) = next {
            self.schedule_turn(seat, at);
        }
    }

    /// Carries out what a shard says. Hands back the frames that a full lane refused.
    fn carry_out(&mut self, seat: SeatId) -> Vec<(PeerIndex, u64)> {
        let place = &mut self.nodes[usize::from(seat.node)].seats[usize::from(seat.shard)];
        let Some(shard) = &mut place.shard else { return Vec::new() };
        let outputs: Vec<Output> = shard.drain().collect();
        let mut failed = Vec::new();
        for output in outputs {
            match output {
                Output::Send { peer, partition, correlation, bytes } => {
                    if !self.send(seat, peer, partition, bytes) {
                        failed.push((peer, correlation));
                    }
                }
                Output::Reply { source, bytes } => {
                    let swallow = self.options.mutation == Some(Mutation::SwallowAnswers);
                    if swallow && self.mutants.chance(5_000) {
                        continue;
                    }
                    let Some(asker) = self.answered(seat, source) else { continue };
                    self.answer(seat, asker, bytes);
                }
                Output::Forward { shard, source, frame } => {
                    let Some(asker) = self.answered(seat, source) else { continue };
                    let arrived = source.arrived;
                    self.hand(SeatId { node: seat.node, shard }, Input::Request { asker, frame, arrived });
                }
            }
        }
        failed
    }

    /// Who waits for an answer that is there now. A second one is a finding.
    fn answered(&mut self, seat: SeatId, source: Source) -> Option<Asker> {
        let place = &mut self.nodes[usize::from(seat.node)].seats[usize::from(seat.shard)];
        let id = source.id.as_u64();
        if let Some((asker, at)) = place.waiting.remove(&id) {
            place.due.remove(&(at, id));
            return Some(asker);
        }
        let text = format!("n{} answered request {id} of shard {} twice", seat.node + 1, seat.shard);
        self.finding.get_or_insert(Finding::new(Checker::Termination, text));
        None
    }
}

/// When a request must be answered. A peer's lookups and merges wait for the disk, and their asker has the deadline.
fn due_at(arrived: Instant, frame: &Frame) -> u64 {
    if !matches!(frame.kind(), Some(Kind::Get | Kind::Put)) {
        return u64::MAX;
    }
    let ms = match frame.header.budget_ms {
        0 => 2_000,
        ms => ms.min(BUDGET_MS_MAX),
    };
    arrived.after(Duration::from_millis(u64::from(ms))).as_nanos()
}
