//! Requests under way, and their timers.

use bytes::Bytes;
use slab::Slab;

use super::slow::Milestones;
use super::timers::{Timer, Timers};
use super::{PeerIndex, Source, Verb};
use crate::protocol::coordinator::{Get, Put, Slot};
use crate::protocol::replica::ItemKey;
use crate::protocol::types::limits::REPLICAS_MAX;
use crate::protocol::types::{Address, Instant, PartitionId, Strictness};
use crate::protocol::version::{Context, Dot, Siblings};
use crate::protocol::wire::{Kind, PutRequest};

/// Requests of one shard at once; more are refused as overloaded. Each holds a few hundred bytes beside what `burden`
/// counts.
pub(super) const OPERATIONS_MAX: usize = 16_384;

/// Operations of one shard whose clients were told and that wait for an owner that is late.
const LINGERING_MAX: usize = 8_192;

/// Set in the correlation of a relayed request.
const RELAY: u64 = 1 << 63;
/// Set in the correlation of what no client asked for: hints on their way home, repairs.
const ERRAND: u64 = 1 << 62;
/// Set in the correlation of what an exchange asks.
const EXCHANGE: u64 = 1 << 61;

/// A request that this shard coordinates.
#[derive(Debug)]
pub(super) struct Operation {
    tag: u32,
    pub(super) source: Source,
    /// The asker's name for it.
    pub(super) correlation: u64,
    pub(super) address: Address,
    pub(super) key: ItemKey,
    pub(super) partition: PartitionId,
    pub(super) owners: Owners,
    pub(super) strictness: Strictness,
    pub(super) began: Instant,
    /// When its replicas were asked, for copies or to keep one.
    pub(super) asked_at: Instant,
    /// When each of them was, by slot.
    pub(super) slots_asked_at: [Instant; REPLICAS_MAX],
    pub(super) deadline: Instant,
    pub(super) request: Request,
    pub(super) reading: Option<Reading>,
    pub(super) writing: Option<Put>,
    /// What is being written, for stand-ins.
    pub(super) record: Bytes,
    /// Fallbacks that were asked to stand in, by peer.
    pub(super) stand_ins: Vec<u16>,
    pub(super) stage: Stage,
    /// Bytes that it holds, as far as they are counted (`burden`).
    pub(super) charged: usize,
    pub(super) milestones: Milestones,
}

impl Operation {
    /// Notes that a replica is asked.
    pub(super) fn note_asked(&mut self, slot: Slot, now: Instant) {
        if let Some(at) = self.slots_asked_at.get_mut(slot.as_index()) {
            *at = now;
        }
        self.milestones.ask(slot);
    }

    /// How long ago a replica was asked.
    pub(super) fn since_asked(&self, slot: Slot, now: Instant) -> core::time::Duration {
        let asked_at = self.slots_asked_at.get(slot.as_index()).copied().unwrap_or(self.began);
        now.since(asked_at)
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its client waits.
    Open,
    /// Its client was told; an owner has not confirmed yet.
    Lingering,
    /// As before, and stand-ins were asked for the owners that stayed silent to the deadline.
    LastChance,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Request {
    /// A read; `w` is for storing a merge of differing answers.
    Get { r: u8, w: u8 },
    /// A write.
    Put(Box<PutWork>),
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct PutWork {
    pub(super) request: PutRequest,
    pub(super) context: Context,
    pub(super) r: u8,
    pub(super) w: u8,
    /// What was read from peers before writing.
    pub(super) gathered: Option<Siblings>,
    /// The request came from a peer that could not coordinate it; it is not passed on again.
    pub(super) forwarded: bool,
    /// Set once the write has its name: the dot, the answer's token and version count.
    pub(super) minted: Option<(Dot, Bytes, u16)>,
}

/// Why replicas are being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To answer a read.
    Answer,
    /// To learn what a delete without a context deletes.
    DeleteSeen,
    /// To know what the write's context has seen.
    Fetch,
}

/// The reading half of an operation.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) get: Get,
    pub(super) purpose: Purpose,
    /// Bit per slot.
    pub(super) asked: u8,
    /// Fallbacks that were asked and have not answered.
    pub(super) fallbacks_pending: u8,
    /// Whether what was heard is compared with what is known here to be obsolete.
    pub(super) judged: Judged,
    /// When each slot's owner was asked, until that was put to use.
    asked_at: [Option<Instant>; REPLICAS_MAX],
}

/// How far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing heard was suspicious yet.
    NotYet,
    /// This node's copy is being read for it.
    Waits,
    /// It is done.
    Done,
}

impl Reading {
    /// A read for which this node's own copy is being looked at.
    pub(super) fn new(get: Get, purpose: Purpose, me: Slot) -> Self {
        let asked_at = [None; REPLICAS_MAX];
        Self { get, purpose, asked: 1 << me.as_index(), fallbacks_pending: 0, judged: Judged::NotYet, asked_at }
    }

    pub(super) fn note_asked(&mut self, slot: Slot, now: Instant) {
        if let Some(at) = self.asked_at.get_mut(slot.as_index()) {
            *at = Some(now);
        }
    }

    /// Since when the slot's owner owes its answer; once.
    pub(super) fn take_asked(&mut self, slot: Slot) -> Option<Instant> {
        self.asked_at.get_mut(slot.as_index())?.take()
    }
}

/// The owners of an item's partition, by slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners {
    peers: [u16; REPLICAS_MAX],
    n: u8,
    me: Slot,
    role: Role,
}

/// What this node is to an item that it coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of the owners of its partition.
    Owner,
    /// Stands in for the owner in its slot, with a hint as its copy, because no owner answers (rule 2).
    StandIn,
}

impl Owners {
    /// The owners, of whom one is this node.
    pub(super) fn new(indices: &[u16], me: PeerIndex) -> Option<Self> {
        let at = indices.iter().position(|index| usize::from(*index) == me.as_index())?;
        let mut peers = [0; REPLICAS_MAX];
        peers.get_mut(..indices.len())?.copy_from_slice(indices);
        Some(Self { peers, n: u8::try_from(indices.len()).ok()?, me: Slot::new(at), role: Role::Owner })
    }

    /// The owners, for the first of whom this node stands in.
    pub(super) fn standing_in(indices: &[u16]) -> Option<Self> {
        let first = PeerIndex::new(*indices.first()?);
        Self::new(indices, first).map(|owners| Self { role: Role::StandIn, ..owners })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn n(&self) -> u8 {
        self.n
    }

    pub(super) fn me(&self) -> Slot {
        self.me
    }

    pub(super) fn peer(&self, slot: Slot) -> PeerIndex {
        PeerIndex::new(self.peers.get(slot.as_index()).copied().unwrap_or(u16::MAX))
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..usize::from(self.n)).map(Slot::new)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = Slot> + use<> {
        let me = self.me;
        self.slots().filter(move |slot| *slot != me)
    }

    pub(super) fn slot_of(&self, peer: PeerIndex) -> Option<Slot> {
        self.slots().find(|slot| self.peer(*slot) == peer)
    }
}

/// A request that another node carries out.
#[derive(Debug)]
pub(super) struct Relay {
    tag: u32,
    pub(super) source: Source,
    pub(super) correlation: u64,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    pub(super) partition: PartitionId,
    pub(super) to: PeerIndex,
    /// Whom to ask next, last first.
    pub(super) candidates: Vec<PeerIndex>,
    pub(super) deadline: Instant,
    /// Whether this node may stand in when no owner answers.
    pub(super) strictness: Strictness,
    /// What the last one said.
    pub(super) last_failure: Option<crate::protocol::wire::Failure>,
    /// When this shard took it up.
    pub(super) taken_up: Instant,
    /// When the last one was asked; zero before the first.
    pub(super) asked_at: Instant,
}

/// Everything under way.
#[derive(Debug)]
pub(super) struct Operations {
    slab: Slab<Operation>,
    relays: Slab<Relay>,
    timers: Timers,
    next_tag: u32,
    /// Operations whose clients were told.
    lingering: usize,
    /// Bytes that operations and relays hold.
    bytes: usize,
    bytes_max: usize,
}

impl Operations {
    /// Nothing under way; from `bytes_max` bytes on nothing more is begun.
    pub(super) fn new(bytes_max: usize) -> Self {
        let (slab, relays, timers) = (Slab::new(), Slab::new(), Timers::default());
        Self { slab, relays, timers, next_tag: 0, lingering: 0, bytes: 0, bytes_max }
    }

    /// Bytes that all of them hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Those that somebody waits for.
    pub(super) fn len(&self) -> usize {
        self.slab.len() + self.relays.len() - self.lingering
    }

    /// Keeps an operation whose client was told until its last owner has confirmed, or false: there are too many, and
    /// an exchange will see to it.
    pub(super) fn linger(&mut self, id: u64) -> bool {
        if self.lingering >= LINGERING_MAX || self.bytes > self.bytes_max / 2 {
            return false;
        }
        let Some(operation) = self.get_mut(id) else { return false };
        if operation.stage == Stage::Open {
            operation.stage = Stage::Lingering;
            self.lingering += 1;
        }
        true
    }

    pub(super) const fn is_relay(correlation: u64) -> bool {
        correlation & RELAY != 0
    }

    /// The correlation of an errand; number 0 is of those whose answer nobody waits for.
    pub(super) const fn errand(number: u64) -> u64 {
        ERRAND | (number & (EXCHANGE - 1))
    }

    /// The correlation of an exchange's question.
    pub(super) const fn exchange(number: u64) -> u64 {
        EXCHANGE | (number & (EXCHANGE - 1))
    }

    /// The number of an exchange's question.
    pub(super) const fn exchange_of(correlation: u64) -> Option<u64> {
        match correlation & (RELAY | ERRAND | EXCHANGE) == EXCHANGE {
            true => Some(correlation & (EXCHANGE - 1)),
            false => None,
        }
    }

    /// The number of an errand.
    pub(super) const fn errand_of(correlation: u64) -> Option<u64> {
        match correlation & (RELAY | ERRAND) == ERRAND {
            true => Some(correlation & (EXCHANGE - 1)),
            false => None,
        }
    }

    /// Takes an operation in and names it.
    #[expect(clippy::too_many_arguments, reason = "the parts of an operation, named once, here")]
    pub(super) fn insert(
        &mut self,
        source: Source,
        correlation: u64,
        address: Address,
        key: ItemKey,
        partition: PartitionId,
        owners: Owners,
        strictness: Strictness,
        (began, deadline): (Instant, Instant),
        request: Request,
    ) -> u64 {
        let tag = self.tag();
        let charged = match &request {
            Request::Get { .. } => 0,
            Request::Put(work) => work.request.body_bytes(),
        };
        self.bytes += charged;
        let operation = Operation {
            tag,
            source,
            correlation,
            address,
            key,
            partition,
            owners,
            strictness,
            began,
            asked_at: began,
            slots_asked_at: [began; REPLICAS_MAX],
            deadline,
            request,
            reading: None,
            writing: None,
            record: Bytes::new(),
            stand_ins: Vec::new(),
            stage: Stage::Open,
            charged,
            milestones: Milestones::default(),
        };
        let id = name(self.slab.insert(operation), tag);
        self.arm(deadline, id, Timer::Deadline);
        id
    }

    /// Takes a relay in and names it.
    pub(super) fn insert_relay(&mut self, mut relay: Relay) -> u64 {
        relay.tag = self.tag();
        let (tag, deadline) = (relay.tag, relay.deadline);
        self.bytes += relay.body.len();
        let id = name(self.relays.insert(relay), tag) | RELAY;
        self.arm(deadline, id, Timer::Deadline);
        id
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Operation> {
        let (at, tag) = place(id);
        self.slab.get_mut(at).filter(|operation| operation.tag == tag)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Operation> {
        let lingering = self.get_mut(id)?.stage != Stage::Open;
        self.lingering -= usize::from(lingering);
        let operation = self.slab.try_remove(place(id).0)?;
        self.bytes -= operation.charged;
        Some(operation)
    }

    pub(super) fn relay_mut(&mut self, id: u64) -> Option<&mut Relay> {
        let (at, tag) = place(id & !RELAY);
        self.relays.get_mut(at).filter(|relay| relay.tag == tag)
    }

    pub(super) fn remove_relay(&mut self, id: u64) -> Option<Relay> {
        self.relay_mut(id)?;
        let relay = self.relays.try_remove(place(id & !RELAY).0)?;
        self.bytes -= relay.body.len();
        Some(relay)
    }

    /// The names of all operations.
    pub(super) fn correlations(&self) -> Vec<u64> {
        self.slab.iter().map(|(at, operation)| name(at, operation.tag)).collect()
    }

    /// The names of the relays that wait for a peer.
    pub(super) fn relays_to(&self, peer: PeerIndex) -> Vec<u64> {
        let to = |(at, relay): (usize, &Relay)| (relay.to == peer).then(|| name(at, relay.tag) | RELAY);
        self.relays.iter().filter_map(to).collect()
    }

    pub(super) fn arm(&mut self, at: Instant, id: u64, timer: Timer) {
        self.timers.arm(at, id, timer);
    }

    /// When the next timer is due whose subject is still under way.
    pub(super) fn next_timer(&mut self) -> Option<Instant> {
        self.first_timer().map(|(at, _, _)| at)
    }

    /// The next timer that is due and whose subject is still under way.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(u64, Timer)> {
        let (at, id, timer) = self.first_timer()?;
        if at > now {
            return None;
        }
        self.timers.pop(timer);
        Some((id, timer))
    }

    fn first_timer(&mut self) -> Option<(Instant, u64, Timer)> {
        let Self { slab, relays, timers, .. } = self;
        timers.first(|id| {
            let (at, tag) = place(id & !RELAY);
            match Self::is_relay(id) {
                true => relays.get(at).is_some_and(|relay| relay.tag == tag),
                false => slab.get(at).is_some_and(|operation| operation.tag == tag),
            }
        })
    }

    /// Never 0 and below 2^29, so that names never repeat soon and bits 61 to 63 are free.
    fn tag(&mut self) -> u32 {
        self.next_tag = (self.next_tag + 1) & 0x1fff_ffff;
        self.next_tag.max(1)
    }
}

impl Relay {
    /// What its client asked for.
    pub(super) const fn verb(&self) -> Verb {
        match self.kind {
            Kind::Get => Verb::Get,
            _ => Verb::Put,
        }
    }

    /// A relay that is not sent yet.
    pub(super) fn new(
        source: Source,
        correlation: u64,
        kind: Kind,
        body: Bytes,
        partition: PartitionId,
        candidates: Vec<PeerIndex>,
        deadline: Instant,
    ) -> Self {
        let to = PeerIndex::new(u16::MAX);
        let strictness = Strictness::Strict;
        let (taken_up, asked_at) = (source.arrived, Instant::default());
        Self {
            tag: 0,
            source,
            correlation,
            kind,
            body,
            partition,
            to,
            candidates,
            deadline,
            strictness,
            last_failure: None,
            taken_up,
            asked_at,
        }
    }
}

fn name(at: usize, tag: u32) -> u64 {
    u64::from(tag) << 32 | at as u64
}

fn place(id: u64) -> (usize, u32) {
    let at = usize::try_from(id & 0xffff_ffff).unwrap_or(usize::MAX);
    (at, u32::try_from(id >> 32).unwrap_or(0))
}
