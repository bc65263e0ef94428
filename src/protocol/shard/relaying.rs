//! Requests that another node carries out: any node takes any request, and passes on what it does not own.
//!
//! Owners are asked one after the other. Asking the next one is safe for a write because it carries its write id: an
//! owner that already has it answers with the dot that it got.

use super::operation::{Relay, Request};
use super::reading::remaining_ms;
use super::timers::Timer;
use super::{Now, Output, PeerIndex, Shard, Source, Verb};
use crate::protocol::replica::Storage;
use crate::protocol::types::{PartitionId, Strictness};
use crate::protocol::wire::{Failure, FailureCode, Frame, Header, Kind, PutRequest, decode_control};

/// A relayed request takes a quorum of its own: an owner is silent after so many times as long as for a copy.
const RELAY_PATIENCE: u32 = 4;

/// But after no less than this: there is no time for anything in a shorter request.
const PATIENCE_MIN: core::time::Duration = core::time::Duration::from_millis(50);

/// With less time than this nobody begins to stand in.
const STAND_IN_MIN: core::time::Duration = core::time::Duration::from_millis(1);

impl Shard {
    /// Passes a client's request on to an owner of its partition.
    pub(super) fn begin_relay(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        (partition, strictness): (PartitionId, Strictness),
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        if frame.header.forwarded() {
            return Err(self.not_an_owner(partition));
        }
        let kind = frame.kind().expect("a request is placed only after its kind was recognised");
        let deadline = Self::deadline_of(source, &frame.header);
        let mut relay = Relay::new(
            source,
            frame.header.correlation,
            kind,
            frame.body,
            partition,
            self.candidates(now, partition),
            deadline,
        );
        relay.strictness = strictness;
        self.start_relay(now, relay, storage)
    }

    /// Whether another owner had better coordinate a read. Copies that may be out of date add data but do not count
    /// (rule 4), and among them may be what was deleted and reaped since: only the clock of an owner that counts knows.
    pub(super) fn reads_elsewhere(&self, partition: PartitionId, header: &Header) -> bool {
        let me = self.view.peer_of(self.view.me);
        let owners = self.view.layout.owner_indices(partition).iter().map(|at| PeerIndex::new(*at));
        let mut others = owners.filter(|peer| Some(*peer) != me);
        self.doubts(partition) && !header.forwarded() && others.any(|peer| self.peers.is_up(peer))
    }

    /// Passes a read on to an owner that counts, or does not know better either.
    pub(super) fn read_elsewhere(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        (partition, strictness): (PartitionId, Strictness),
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        let text =
            "read quorum not met: this node may lack acknowledged writes, and no other owner answered; ask again";
        let deadline = Self::deadline_of(source, &frame.header);
        let candidates = self.candidates(now, partition);
        let correlation = frame.header.correlation;
        let mut relay = Relay::new(source, correlation, Kind::Get, frame.body, partition, candidates, deadline);
        relay.strictness = strictness;
        // An owner does not stand in.
        relay.last_failure = Some(Failure::new(FailureCode::QuorumNotMet, text));
        self.start_relay(now, relay, storage)
    }

    /// Lets another owner coordinate a write whose item this node cannot read.
    pub(super) fn coordinate_elsewhere(&mut self, now: Now, id: u64, why: &str, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.remove(id) else { return };
        let Request::Put(work) = operation.request else { return };
        let failure = Failure::new(FailureCode::Unreadable, format!("this node cannot coordinate the write: {why}"));
        if work.forwarded {
            self.disappoint(Verb::Put, operation.source, operation.correlation, &failure);
            return;
        }
        let mut body = Vec::with_capacity(work.request.body_bytes());
        PutRequest::encode(&work.request, &mut body);
        let candidates = self.candidates(now, operation.partition);
        let mut relay = Relay::new(
            operation.source,
            operation.correlation,
            Kind::Put,
            body.into(),
            operation.partition,
            candidates,
            operation.deadline,
        );
        relay.last_failure = Some(failure);
        if let Err(failure) = self.start_relay(now, relay, storage) {
            self.disappoint(Verb::Put, operation.source, operation.correlation, &failure);
        }
    }

    fn start_relay(&mut self, now: Now, mut relay: Relay, storage: &mut dyn Storage) -> Result<(), Failure> {
        self.admit()?;
        self.counters.relayed += 1;
        relay.taken_up = now.instant;
        let id = self.operations.insert_relay(relay);
        self.relay_next(now, id, storage);
        Ok(())
    }

    /// The other owners, the most willing last.
    fn candidates(&self, now: Now, partition: PartitionId) -> Vec<PeerIndex> {
        let me = self.view.peer_of(self.view.me);
        let owners = self.view.layout.owner_indices(partition).iter().map(|at| PeerIndex::new(*at));
        let mut candidates: Vec<PeerIndex> = owners.filter(|peer| Some(*peer) != me).collect();
        candidates.sort_by_key(|peer| self.peers.reluctance(*peer, now.instant));
        candidates.reverse();
        candidates
    }

    fn relay_next(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let layout = self.view.layout.id();
        loop {
            let Some(relay) = self.operations.relay_mut(id) else { return };
            let Some(peer) = relay.candidates.pop() else { break };
            if !self.peers.is_up(peer) {
                continue;
            }
            (relay.to, relay.asked_at) = (peer, now.instant);
            let header = Header::new(relay.kind, id, remaining_ms(now, relay.deadline), layout).as_forwarded();
            let bytes = Frame::new(header, relay.body.clone()).to_bytes();
            let partition = relay.partition;
            // Each owner has its share of the time that is left, and so has standing in.
            let shares = u32::try_from(relay.candidates.len()).unwrap_or(u32::MAX).saturating_add(2);
            let share = relay.deadline.since(now.instant) / shares;
            let silent_after = self.peers.silent_after(peer, RELAY_PATIENCE, now.instant);
            let patience = silent_after.min(share).max(PATIENCE_MIN);
            self.peers.asked(peer, now.instant);
            self.outbox.push(Output::Send { peer, partition, correlation: id, bytes });
            self.operations.arm(now.instant.after(patience), id, Timer::Silence);
            return;
        }
        let Some(relay) = self.operations.remove_relay(id) else { return };
        // An owner that answered is there, and says what is wrong; standing in is for owners that are not.
        let time_left = relay.deadline.since(now.instant) >= STAND_IN_MIN;
        if relay.strictness == Strictness::Sloppy && relay.last_failure.is_none() && time_left {
            return self.begin_standing_in(now, &relay, storage);
        }
        let (verb, source, correlation) = (relay.verb(), relay.source, relay.correlation);
        let code = relay.last_failure.as_ref().map_or(FailureCode::QuorumNotMet, |failure| failure.code);
        self.note_slow_relay(now, &relay, Some(code));
        let failure = relay.last_failure.unwrap_or_else(|| {
            let partition = relay.partition;
            Failure::new(FailureCode::QuorumNotMet, format!("no owner of partition {partition} can be reached"))
        });
        self.disappoint(verb, source, correlation, &failure);
    }

    /// Hands an owner's answer on, or asks the next owner when this one could not serve.
    pub(super) fn relay_answered(&mut self, now: Now, frame: Frame, storage: &mut dyn Storage) {
        let id = frame.header.correlation;
        let Some(relay) = self.operations.relay_mut(id) else {
            self.counters.answers_ignored += 1;
            return;
        };
        if frame.kind() == Some(Kind::Error)
            && let Ok(failure) = decode_control::<Failure>(&frame.body, "error")
            && matches!(
                failure.code,
                FailureCode::Stale
                    | FailureCode::Unreadable
                    | FailureCode::Stopping
                    | FailureCode::Uninitialised
                    | FailureCode::DiskFull
            )
        {
            relay.last_failure = Some(failure);
            self.relay_next(now, id, storage);
            return;
        }
        let Some(relay) = self.operations.remove_relay(id) else { return };
        let failed = (frame.kind() == Some(Kind::Error)).then(|| decode_control::<Failure>(&frame.body, "error"));
        self.note_slow_relay(now, &relay, failed.and_then(Result::ok).map(|failure| failure.code));
        let header = Header { correlation: relay.correlation, ..frame.header };
        self.reply(relay.source, Frame::new(header, frame.body).to_bytes());
    }

    /// The asked owner cannot be reached: unknown, so the next one is asked with the same write id.
    pub(super) fn relay_failed(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        self.relay_next(now, id, storage);
    }

    /// The asked owner is silent: the next one is asked beside it. A write has its id, so two owners that both
    /// coordinate it make one write (rule 3).
    pub(super) fn relay_silent(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(relay) = self.operations.relay_mut(id) else { return };
        let reachable = relay.candidates.iter().any(|peer| self.peers.is_up(*peer));
        if reachable || (relay.strictness == Strictness::Sloppy && relay.last_failure.is_none()) {
            self.relay_next(now, id, storage);
        }
    }

    pub(super) fn relay_timed_out(&mut self, now: Now, id: u64) {
        let Some(relay) = self.operations.remove_relay(id) else { return };
        self.note_slow_relay(now, &relay, Some(FailureCode::TimedOut));
        let name = self.view.name_of(relay.to);
        let text = match relay.kind {
            Kind::Put => format!("{name} did not answer in time; the write may still surface; retry with its write id"),
            _ => format!("{name} did not answer in time"),
        };
        let failure = Failure::new(FailureCode::TimedOut, text);
        self.disappoint(relay.verb(), relay.source, relay.correlation, &failure);
    }
}
