//! Sloppy quorums (Dynamo 4.6): fallbacks, in preference-list order, stand in for owners that cannot be reached.
//!
//! ```text
//!   owner down, or its link breaks      -> the next fallback keeps a hint, at once
//!   owner silent for 3 x its p99        -> the same, within the request, while W is not met
//!   owner silent to the deadline, W met -> the same, after the client was told
//!   no owner answers at all             -> this node coordinates, with a hint of its own as its copy (rule 2)
//! ```

use std::sync::Arc;

use super::operation::{Relay, Role, Stage};
use super::reading::remaining_ms;
use super::timers::Timer;
use super::{BUDGET_MS_DEFAULT, Now, Output, PeerIndex, Shard, Source};
use crate::protocol::coordinator::{Put, Slot};
use crate::protocol::replica::Storage;
use crate::protocol::ring::{KeyHash, PreferenceList};
use crate::protocol::types::{PartitionId, Strictness};
use crate::protocol::version::Siblings;
use crate::protocol::wire::{Failure, Frame, GetRequest, Header, HintRequest, Kind, PutRequest, ReadRequest};

impl Shard {
    /// The fallbacks of a partition, in preference-list order.
    fn fallbacks(&mut self, partition: PartitionId) -> Arc<[u16]> {
        let (view, fallbacks) = (&self.view, &mut self.fallbacks);
        let of = || {
            let list = PreferenceList::of(&view.layout, partition).fallbacks;
            list.iter().filter_map(|node| u16::try_from(view.peer_of(*node)?.as_index()).ok()).collect()
        };
        fallbacks.entry(partition).or_insert_with(of).clone()
    }

    /// The next fallback that can be reached and that this operation has not asked yet.
    fn next_fallback(&mut self, id: u64) -> Option<PeerIndex> {
        let partition = self.operations.get_mut(id)?.partition;
        let fallbacks = self.fallbacks(partition);
        let operation = self.operations.get_mut(id)?;
        let open = |by: &&u16| !operation.stand_ins.contains(*by) && self.peers.is_up(PeerIndex::new(**by));
        let by = *fallbacks.iter().find(open)?;
        operation.stand_ins.push(by);
        Some(PeerIndex::new(by))
    }

    /// Asks fallbacks to stand in for every owner that is known not to answer.
    pub(super) fn stand_in_for_unknown(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(writing) = &operation.writing else { return };
        let lost = |slot: &_| writing.has_answered(*slot) && writing.lacks_stand_in(*slot);
        let slots: Vec<_> = operation.owners.slots().filter(lost).collect();
        for slot in slots {
            self.stand_in(now, id, slot);
        }
    }

    /// Asks the next fallback to keep the write for a slot's owner.
    fn stand_in(&mut self, now: Now, id: u64, slot: Slot) {
        let fallback = self.next_fallback(id);
        let Some(operation) = self.operations.get_mut(id) else { return };
        let home = self.view.layout.nodes().get(operation.owners.peer(slot).as_index()).copied();
        let Some(writing) = &mut operation.writing else { return };
        let (Some(peer), Some(home)) = (fallback, home) else { return writing.exhaust_stand_ins(slot) };
        writing.ask_stand_in(slot, u16::try_from(peer.as_index()).unwrap_or(u16::MAX));
        let budget = remaining_ms(now, operation.deadline);
        let header = Header::new(Kind::Hint, id, budget, self.view.layout.id());
        let bytes = HintRequest::frame_of(header, home, &operation.address, &operation.record);
        let partition = operation.partition;
        self.counters.stand_ins += 1;
        self.peers.asked(peer, now.instant);
        self.outbox.push(Output::Send { peer, partition, correlation: id, bytes });
    }

    /// An owner has been silent for longer than it ever is: while the quorum is not met, somebody stands in for it.
    pub(super) fn silence(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        if super::operation::Operations::is_relay(id) {
            return self.relay_silent(now, id, storage);
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(writing) = operation.writing.as_ref().filter(|_| operation.stage == Stage::Open) else { return };
        let silent = |slot: &_| !writing.has_answered(*slot) && writing.lacks_stand_in(*slot);
        let slots: Vec<_> = operation.owners.others().filter(silent).collect();
        for slot in slots {
            self.stand_in(now, id, slot);
        }
        self.write_further(now, id);
    }

    /// The time of a write is over that its client was told of, and an owner has not confirmed it: somebody is asked to
    /// keep it for that owner. When nobody can, an exchange will bring it there.
    pub(super) fn stand_in_for_silent(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let slots = operation.writing.as_ref().map(Put::final_action).unwrap_or_default();
        operation.stage = Stage::LastChance;
        operation.deadline = now.instant.after(core::time::Duration::from_millis(u64::from(BUDGET_MS_DEFAULT)));
        let deadline = operation.deadline;
        for slot in slots {
            self.stand_in(now, id, slot);
        }
        self.operations.arm(deadline, id, Timer::Deadline);
        self.write_further(now, id);
    }

    /// Asks a fallback what it keeps of an item, when owners enough cannot answer. False when nobody is left.
    pub(super) fn ask_fallback(&mut self, now: Now, id: u64) -> bool {
        let Some(operation) = self.operations.get_mut(id) else { return false };
        if operation.strictness == Strictness::Strict {
            return false;
        }
        let fallback = self.next_fallback(id);
        let Some(operation) = self.operations.get_mut(id) else { return false };
        let Some(reading) = &mut operation.reading else { return false };
        let Some(peer) = fallback else {
            reading.get.expect_stand_ins(reading.fallbacks_pending > 0);
            return false;
        };
        reading.fallbacks_pending += 1;
        reading.get.expect_stand_ins(true);
        let request = ReadRequest { address: operation.address.clone(), wanted: Vec::new() };
        let header = Header::new(Kind::Read, id, remaining_ms(now, operation.deadline), self.view.layout.id());
        let bytes = Frame::build(header, request.body_bytes(), |out| request.encode(out));
        let partition = operation.partition;
        self.peers.asked(peer, now.instant);
        self.outbox.push(Output::Send { peer, partition, correlation: id, bytes });
        true
    }

    /// A fallback said what it keeps, or that it cannot.
    pub(super) fn fallback_read(&mut self, now: Now, id: u64, hint: Option<&Siblings>, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = operation.reading.as_mut().filter(|reading| reading.fallbacks_pending > 0) else { return };
        reading.fallbacks_pending -= 1;
        self.stand_in_read(now, id, hint, storage);
    }

    /// What a stand-in keeps of an item is known.
    pub(super) fn stand_in_read(&mut self, now: Now, id: u64, hint: Option<&Siblings>, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        if operation.writing.is_some() {
            return;
        }
        if !self.take_copy(id, hint.map_or(0, Siblings::record_bytes)) {
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &mut operation.reading else { return };
        if let Some(hint) = hint {
            reading.get.add_stand_in(hint);
        }
        if reading.fallbacks_pending == 0 {
            reading.get.expect_stand_ins(false);
        }
        self.ask_more(now, id);
        self.read_further(now, id, storage);
    }

    /// No owner of a relayed request's partition answers: this node coordinates it, if the request allows (rule 2).
    pub(super) fn begin_standing_in(&mut self, now: Now, relay: &Relay, storage: &mut dyn Storage) {
        let header =
            Header::new(relay.kind, relay.correlation, remaining_ms(now, relay.deadline), self.view.layout.id());
        let (source, partition, body) = (relay.source, relay.partition, relay.body.clone());
        // What is left of its time counts from here.
        let source = Source { arrived: now.instant, ..source };
        let place = (partition, Role::StandIn);
        let seed = self.view.layout.parameters().hash_seed;
        let begun: Result<(), Failure> = match relay.kind {
            Kind::Get => GetRequest::decode(body).map_err(|error| super::refusal(&error)).and_then(|request| {
                let hash = KeyHash::of(&request.address, seed);
                self.begin_get(now, source, header, request, place, hash, storage)
            }),
            _ => PutRequest::decode(body).map_err(|error| super::refusal(&error)).and_then(|request| {
                let hash = KeyHash::of(&request.address, seed);
                self.begin_put(now, source, header, request, place, hash, storage)
            }),
        };
        match begun {
            Ok(()) => self.counters.stood_in += 1,
            Err(failure) => self.disappoint(relay.verb(), source, relay.correlation, &failure),
        }
    }
}
