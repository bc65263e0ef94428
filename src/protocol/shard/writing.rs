//! Coordinating writes: read, mint, merge, store, replicate, count copies.

use bytes::Bytes;

use super::items::{Held, LocalCopy, Task};
use super::operation::{Operation, Purpose, PutWork, Request, Role, Stage};
use super::reading::remaining_ms;
use super::timers::Timer;
use super::twins::Twins;
use super::{Now, Output, PeerIndex, Shard, Source, Verb, View};
use crate::protocol::coordinator::{Copied, Copy, Enough, Holder, Put, PutResponse, Slot};
use crate::protocol::replica::{Partition, PartitionClock, Storage};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::limits::{HLC_AHEAD_MAX, ITEM_BYTES_MAX, VERSIONS_MAX};
use crate::protocol::types::{Hlc, PartitionId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings, Version, checksum};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, Header, Kind, MergeReply, MergeRequest, PutReply, PutRequest, Refused, Stored,
    StoredCopy, Want,
};

impl Shard {
    #[expect(clippy::too_many_arguments, reason = "a request and where it belongs")]
    pub(super) fn begin_put(
        &mut self,
        now: Now,
        source: Source,
        header: Header,
        request: PutRequest,
        (partition, role): (PartitionId, Role),
        hash: KeyHash,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        if request.want == Want::Value {
            self.check_room_for_new("new values")?;
        }
        let quorum = self.quorum(0, request.w)?;
        let context = self.check_put(&request)?;
        let address = request.address.clone();
        let (deletes_seen, strictness) = (request.want == Want::DeleteSeen, request.strictness);
        let work = PutWork {
            request,
            context,
            r: quorum.r(),
            w: quorum.w(),
            gathered: None,
            forwarded: header.forwarded(),
            minted: None,
        };
        let work = Request::Put(Box::new(work));
        let id = self.begin(source, header, address, (partition, role), hash, strictness, work)?;
        self.counters.puts += 1;
        self.count_begun(now, id);
        if deletes_seen {
            self.read_replicas(now, id, quorum.r(), Purpose::DeleteSeen, storage);
        } else {
            self.load_and_coordinate(now, id, storage);
        }
        Ok(())
    }

    /// Everything about a put that can be judged without the item.
    fn check_put(&self, request: &PutRequest) -> Result<Context, Failure> {
        let (found, limit) = (request.value.len(), self.config.value_bytes_max);
        if found > limit {
            let text = format!("the value has {found} bytes; the limit here is {limit} (value_bytes_max); split it");
            return Err(Failure::new(FailureCode::TooLarge, text));
        }
        let tombstone = request.want != Want::Value;
        if request.checksum != checksum(&request.address, request.write_id, tombstone, &request.value) {
            let text = "the checksum does not match address, write id and value: the request was damaged on its way; \
                        send it again";
            return Err(Failure::new(FailureCode::BadInput, text));
        }
        if request.token.is_empty() {
            return Ok(Context::default());
        }
        Context::from_token(&request.token, &request.address, &self.view.token_keys)
            .map_err(|error| Failure::new(FailureCode::BadInput, error.to_string()))
    }

    pub(super) fn load_and_coordinate(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let (partition, key, address) = (operation.partition, operation.key.clone(), operation.address.clone());
        let at = (partition, &key, &address);
        if self.with_item(now, at, Task::Coordinate { operation: id }, storage).is_err() {
            self.refuse(id, &super::items::overloaded());
        }
    }

    /// Ends an operation that changed nothing.
    pub(super) fn refuse(&mut self, id: u64, failure: &Failure) {
        if let Some(operation) = self.operations.remove(id) {
            self.disappoint(Verb::of_request(&operation.request), operation.source, operation.correlation, failure);
        }
    }

    /// This node's copy is at hand: write over it what the client wants.
    pub(super) fn coordinate(&mut self, now: Now, id: u64, copy: LocalCopy, storage: &mut dyn Storage) {
        let held = match copy {
            Ok(held) => held,
            Err(unreadable) => return self.coordinate_elsewhere(now, id, &unreadable.to_string(), storage),
        };
        // The disk may have taken longer than the client waits.
        if self.operations.get_mut(id).is_some_and(|operation| operation.deadline <= now.instant) {
            return self.fail(now, id);
        }
        if let Some(operation) = self.operations.get_mut(id) {
            operation.milestones.own_copy_read(now);
        }
        let before = held;
        let item = before.as_ref().map(|held| held.item.clone()).unwrap_or_default();
        if self.recognise_retry(now, id, &item) {
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Request::Put(work) = &operation.request else { return };
        let clock = self.partitions.get(&operation.partition).map(Partition::clock);
        if work.gathered.is_none() && !knows_all(clock, &item, &work.context) {
            let n = operation.owners.n();
            self.counters.fetches += 1;
            self.read_replicas(now, id, n, Purpose::Fetch, storage);
            return;
        }
        match self.write(now, id, before.as_ref(), item) {
            Ok(()) => self.write_further(now, id),
            Err(failure) => self.refuse(id, &failure),
        }
    }

    /// A write id that is known already names a write that happened: that dot is driven to W and answered with, and no
    /// second one is minted (rule 3).
    fn recognise_retry(&mut self, now: Now, id: u64, item: &Siblings) -> bool {
        let Some(operation) = self.operations.get_mut(id) else { return false };
        let Request::Put(work) = &mut operation.request else { return false };
        let write_id = work.request.write_id;
        let held = item.version_of(write_id);
        if held.is_some_and(|version| version.checksum != work.request.checksum) {
            let text = format!("write id {write_id} was used for another value of this item; mint a new one per write");
            self.refuse(id, &Failure::new(FailureCode::Conflict, text));
            return true;
        }
        let state = self.partitions.get(&operation.partition);
        let known = held.map(|version| version.dot);
        let Some(dot) = known.or_else(|| state.and_then(|state| state.find(write_id, &operation.key))) else {
            return false;
        };
        // The log remembers what the item may not know any more: a write that was reaped or stripped since is known by
        // the clock; otherwise a damaged copy took it along, and it is written anew.
        if !item.knows(dot) && !state.is_some_and(|state| state.clock().covers_up_to(dot)) {
            return false;
        }
        self.counters.retries_recognised += 1;
        let token = work.context.after_write(dot, item).to_token(&operation.address, &self.view.token_keys);
        work.minted = Some((dot, token, shown_count(item)));
        operation.writing = Some(Put::new(operation.owners.n(), work.w, operation.strictness));
        let key = operation.key.clone();
        self.replicate(now, id, item, &[]);
        if self.hold_local_copy(&key, id) {
            self.local_copy_stored(now, id);
        }
        true
    }

    /// Mints the dot, stores the item in this turn and sends it to the other owners.
    fn write(&mut self, now: Now, id: u64, before: Option<&Held>, mut item: Siblings) -> Result<(), Failure> {
        let operation = self.operations.get_mut(id).expect("the caller has just seen the operation");
        let Request::Put(work) = &operation.request else { unreachable!("only a put is coordinated") };
        let policy = self.view.policy(operation.address.table());
        let clock = self.partitions.get(&operation.partition).map(Partition::clock);
        let obsolete = |dot: Dot, item: &Siblings| clock.is_some_and(|c| c.covers_up_to(dot)) && !item.knows(dot);
        if let Some(gathered) = &work.gathered {
            let mut gathered = gathered.clone();
            gathered.retire(|dot| obsolete(dot, &item));
            item.join(&gathered, policy);
        }
        let context = work.context.clone();
        // A last write that is reaped everywhere is known, though nobody has it.
        if !context.own.is_some_and(|own| obsolete(own, &item)) {
            refuse_unfounded(&item, &context, policy)?;
        }
        let hlc = stamp(now, item.hlc().max(context.hlc), policy)?;
        let (partition, key, address) = (operation.partition, operation.key.clone(), operation.address.clone());
        let request = work.request.clone();
        check_growth(&item, &context, &request, policy)?;
        let replaced = before.map_or(0, |held| held.record.len());
        // What was read elsewhere is kept with it, and the vector grows by the client's at most.
        let grown = item.record_bytes() + request.value.len() + request.token.len() + HINT_GROWTH_BYTES;
        let room = self.check_hint_room(&key, replaced, grown);
        room.inspect_err(|_| self.counters.hints_refused += 1)?;
        let dot = self.mint(partition, &item);
        let version = Version {
            dot,
            hlc,
            write_id: request.write_id,
            tombstone: request.want != Want::Value,
            expires_at: 0,
            checksum: request.checksum,
            value: request.value,
        };
        self.retire_twins((partition, &key), policy, &mut item, &context);
        match self.twins {
            Twins::Replaced => item.put(&context, version, policy),
            Twins::Kept => item.put_beside_twins(&context, version, policy),
        }
        let token = context.after_write(dot, &item).to_token(&address, &self.view.token_keys);
        let minted = Some((dot, token, shown_count(&item)));
        let operation = self.operations.get_mut(id).expect("the caller has just seen the operation");
        let Request::Put(work) = &mut operation.request else { unreachable!("only a put is coordinated") };
        work.minted = minted;
        operation.writing = Some(Put::new(operation.owners.n(), work.w, operation.strictness));
        let record = self.replicate(now, id, &item, &[]);
        self.store(now, partition, &key, before, Held { item, record });
        self.hold_local_copy(&key, id);
        Ok(())
    }

    /// Sends an item to all owners but this node and those who hold it already. Returns the item's record: the end of
    /// the frame, which is the same for all peers and encoded once.
    pub(super) fn replicate(&mut self, now: Now, id: u64, item: &Siblings, holders: &[Slot]) -> Bytes {
        let fsynced = self.release.fsyncs();
        let operation = self.operations.get_mut(id).expect("the caller has just set the operation to writing");
        operation.asked_at = now.instant;
        let owners = operation.owners;
        let writing = operation.writing.as_mut().expect("the caller has just set the operation to writing");
        for slot in holders {
            // A read does not say whether a copy is fsynced; a peer shows nothing that is not, when it fsyncs at all.
            writing.add_result(*slot, Copied::Stored { fsynced });
        }
        let (partition, deadline) = (operation.partition, operation.deadline);
        let header = Header::new(Kind::Merge, id, remaining_ms(now, deadline), self.view.layout.id());
        // The correlation is the operation's, and the answer's sender tells the slot.
        let bytes = MergeRequest::frame_of(header, &operation.address, item);
        let record = bytes.slice(bytes.len() - item.record_bytes()..);
        let mut silent_after = None;
        for slot in owners.others().filter(|slot| !holders.contains(slot)) {
            let peer = owners.peer(slot);
            if self.peers.is_up(peer) {
                if let Some(at) = operation.slots_asked_at.get_mut(slot.as_index()) {
                    *at = now.instant;
                }
                operation.milestones.ask(slot);
                silent_after = silent_after.max(Some(self.peers.silent_after(peer, 1, now.instant)));
                self.peers.asked(peer, now.instant);
                self.outbox.push(Output::Send { peer, partition, correlation: id, bytes: bytes.clone() });
            } else {
                writing.add_result(slot, Copied::Unknown);
            }
        }
        operation.record = record.clone();
        if owners.role() == Role::StandIn {
            writing.add_result(owners.me(), Copied::Unknown);
            if let Some(me) = self.view.peer_of(self.view.me).and_then(|me| u16::try_from(me.as_index()).ok()) {
                writing.ask_stand_in(owners.me(), me);
            }
        }
        self.operations.charge(id, record.len());
        if let Some(after) = silent_after {
            self.operations.arm(now.instant.after(after), id, Timer::Silence);
        }
        self.stand_in_for_unknown(now, id);
        record
    }

    /// Stores here what was read elsewhere, on behalf of a read.
    pub(super) fn store_merged(&mut self, now: Now, id: u64, copy: LocalCopy) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &operation.reading else { return };
        let merged = reading.get.merged().clone();
        let (partition, key) = (operation.partition, operation.key.clone());
        let (me, policy) = (operation.owners.me(), self.view.policy(operation.address.table()));
        let Ok(held) = copy else { return self.copy_unknown(now, id, me) };
        let mut item = held.as_ref().map(|held| held.item.clone()).unwrap_or_default();
        let merged = Held { record: Bytes::new(), item: merged };
        let (merged, _) = self.without_obsolete((partition, &key), held.as_ref(), merged);
        if item.join(&merged.item, policy) {
            self.retire_twins((partition, &key), policy, &mut item, &Context::default());
            let record = item.to_record();
            let before = held.as_ref().map_or(0, |held| held.record.len());
            if self.check_room_for_merge(before, record.len()).is_err() {
                return self.copy_unknown(now, id, me);
            }
            self.store(now, partition, &key, held.as_ref(), Held { item, record });
        }
        if self.hold_local_copy(&key, id) {
            self.local_copy_stored(now, id);
        }
    }

    /// A peer confirmed that it holds the item.
    pub(super) fn merge_answered(&mut self, now: Now, peer: PeerIndex, frame: &Frame) {
        let id = frame.header.correlation;
        let Ok(reply) = MergeReply::decode(frame.body.clone()) else {
            self.counters.answers_ignored += 1;
            return;
        };
        let reading = self.operations.get_mut(id).is_some_and(|operation| operation.reading.is_some());
        // Of a write that is refused as a whole the peer holds nothing, and a read that shows what another owner knows
        // to be deleted must not be answered as if that owner agreed.
        let result = match reply.refused {
            Refused { value: true, .. } if reading => Copied::Unknown,
            Refused { value: true, all: true, .. } => Copied::Unknown,
            _ => Copied::Stored { fsynced: reply.fsynced },
        };
        self.copy_counted(now, id, peer, result);
    }

    fn copy_counted(&mut self, now: Now, id: u64, peer: PeerIndex, result: Copied) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let slot = operation.owners.slot_of(peer);
        let after = slot.map(|slot| operation.since_asked(slot, now.instant));
        let (Some(slot), Some(after), Some(writing)) = (slot, after, &mut operation.writing) else {
            self.counters.answers_ignored += 1;
            return;
        };
        self.measures.answered(peer, after);
        operation.milestones.answer(slot, now);
        writing.add_result(slot, result);
        self.write_further(now, id);
    }

    /// A stand-in keeps a hint, or could not.
    pub(super) fn stand_in_answered(&mut self, now: Now, id: u64, peer: PeerIndex, result: Copied) {
        let by = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(writing) = &mut operation.writing else { return };
        if writing.add_stand_in(by, result).is_some() {
            self.stand_in_for_unknown(now, id);
        }
        self.write_further(now, id);
    }

    pub(super) fn copy_unknown(&mut self, now: Now, id: u64, slot: Slot) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        if let Some(writing) = &mut operation.writing {
            writing.add_result(slot, Copied::Unknown);
        }
        self.stand_in_for_unknown(now, id);
        self.write_further(now, id);
    }

    /// This node's own copy is committed, and fsynced if that is asked of it.
    pub(super) fn local_copy_stored(&mut self, now: Now, id: u64) {
        let fsynced = self.release.fsyncs();
        let Some(operation) = self.operations.get_mut(id) else { return };
        operation.milestones.own_copy_stored(now);
        let (me, role) = (operation.owners.me(), operation.owners.role());
        let number = self.view.peer_of(self.view.me).and_then(|peer| u16::try_from(peer.as_index()).ok());
        match (&mut operation.writing, role, number) {
            (Some(writing), Role::Owner, _) => writing.add_result(me, Copied::Stored { fsynced }),
            (Some(writing), Role::StandIn, Some(by)) => drop(writing.add_stand_in(by, Copied::Stored { fsynced })),
            _ => {}
        }
        self.write_further(now, id);
    }

    /// Goes on when the copies are enough, or cannot be any more.
    pub(super) fn write_further(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(writing) = &operation.writing else { return };
        if operation.stage != Stage::Open {
            if writing.all_answered()
                && let Some(operation) = self.operations.remove(id)
            {
                self.disturb_missed(now, &operation);
            }
            return;
        }
        match (writing.enough(), &operation.request) {
            (Enough::Wait, _) => {}
            (Enough::Failed, _) if !writing.all_answered() => {}
            (Enough::Failed, _) => self.fail(now, id),
            (Enough::Met, Request::Get { .. }) => self.finish_get(now, id),
            (Enough::Met, Request::Put(_)) => self.finish_put(now, id),
        }
    }

    /// Tells the client, and stays for the owners that have not confirmed yet.
    fn finish_put(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        self.measures.quorum_met(Verb::Put, now.instant.since(operation.asked_at));
        self.measures.succeeded(Verb::Put, now.instant.since(operation.began));
        self.slow.note(now, operation, None);
        self.throttle.observe(now.instant, operation.began);
        let settled = operation.writing.as_ref().is_none_or(Put::all_answered);
        if settled || !self.operations.linger(id) {
            if let Some(operation) = self.operations.remove(id) {
                self.disturb_missed(now, &operation);
                self.confirm(&operation);
            }
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let (source, correlation) = (operation.source, operation.correlation);
        if let Some(bytes) = put_reply(operation, &self.view, correlation) {
            self.reply(source, bytes);
        }
    }

    /// Owners that did not confirm a write, and for whom nobody keeps it, may lack it: they are compared soon.
    pub(super) fn disturb_missed(&mut self, now: Now, operation: &Operation) {
        let Some(writing) = &operation.writing else { return };
        if operation.owners.role() == Role::StandIn {
            return;
        }
        for slot in operation.owners.others().filter(|slot| !writing.is_stored(*slot)) {
            self.disturb(now, operation.partition, operation.owners.peer(slot));
        }
    }

    fn confirm(&mut self, operation: &Operation) {
        if let Some(bytes) = put_reply(operation, &self.view, operation.correlation) {
            self.reply(operation.source, bytes);
        }
    }

    /// What a client is told whose quorum is not met: how far it came, who is missing, what may still happen.
    pub(super) fn explain(&self, now: Now, operation: &Operation) -> Failure {
        let waited = now.instant.since(operation.began).as_millis();
        if let Some(writing) = &operation.writing {
            let PutResponse::Fail { copies } = writing.response() else {
                return Failure::new(FailureCode::TimedOut, format!("the answer was not released in {waited} ms"));
            };
            let missing = operation.owners.slots().filter(|slot| !writing.is_stored(*slot));
            let missing = self.names(operation, missing);
            let (held, stored) = (writing.counted(), stored_copies(operation, &self.view, &copies));
            let on: Vec<String> = stored.iter().map(|copy| self.view.roster.name_of(copy.node)).collect();
            let on = on.join(", ");
            return match &operation.request {
                Request::Put(work) => {
                    let surfaces = match copies.len() {
                        0 => "no copy is confirmed, but one may exist and surface".to_owned(),
                        _ => format!("the write is stored on {on} and may still surface"),
                    };
                    let w = work.w;
                    let text = format!(
                        "write quorum not met: {held} of {w} copies in {waited} ms ({missing} did not confirm); \
                         {surfaces}; retry with the same write id"
                    );
                    Failure { stored, ..Failure::new(FailureCode::QuorumNotMet, text) }
                }
                Request::Get { w, .. } => {
                    let text = format!(
                        "read quorum not met: the replicas' answers differ, and their merge is on {held} of {w} owners \
                         after {waited} ms ({missing} did not confirm it); ask again"
                    );
                    Failure::new(FailureCode::QuorumNotMet, text)
                }
            };
        }
        let Some(reading) = &operation.reading else {
            let text = format!("this node's own copy was not read in {waited} ms; nothing was written");
            return Failure::new(FailureCode::TimedOut, text);
        };
        let Request::Get { r, .. } = &operation.request else {
            let text = format!(
                "read quorum not met: what the write depends on was not read in {waited} ms; nothing was written"
            );
            return Failure::new(FailureCode::QuorumNotMet, text);
        };
        let answers = reading.get.answers();
        let useless = |slot: &Slot| reading.get.has_answered(*slot) && !reading.get.counted(*slot);
        let useless = self.names(operation, operation.owners.slots().filter(useless));
        let silent = self.names(operation, operation.owners.slots().filter(|slot| !reading.get.has_answered(*slot)));
        let mut why = Vec::new();
        if !useless.is_empty() {
            why.push(format!("{useless}: unreachable, unreadable or unverified"));
        }
        // When enough are useless nobody waits for the others, and they are not to blame.
        if now.instant >= operation.deadline && !silent.is_empty() {
            why.push(format!("{silent} did not answer"));
        }
        if !reading.get.is_complete() {
            let late = self.names(operation, reading.get.fetching());
            why.push(format!("{late} did not send a value that only its copy has"));
        }
        let why = why.join("; ");
        let text = format!("read quorum not met: {answers} of {r} answers in {waited} ms ({why})");
        Failure::new(FailureCode::QuorumNotMet, text)
    }
}

/// The stamp of a new version. In a last-writer-wins table it must be above everything known, unless that would carry
/// somebody's broken clock on for ever.
fn stamp(now: Now, known: Hlc, policy: ConflictPolicy) -> Result<Hlc, Failure> {
    let ahead = known.ahead_of(now.wall);
    if ahead <= HLC_AHEAD_MAX {
        return Ok(known.tick(now.wall));
    }
    match policy {
        // Siblings are never ordered by stamps: the local wall will do.
        ConflictPolicy::Siblings => Ok(Hlc::ZERO.tick(now.wall)),
        ConflictPolicy::LastWriterWins => {
            let (ahead, limit) = (ahead.as_secs(), HLC_AHEAD_MAX.as_secs());
            let text = format!(
                "the item's last stamp is {ahead} s ahead of this node's clock; the limit is {limit} s: correct the \
                 clocks, then write again"
            );
            Err(Failure::new(FailureCode::Conflict, text))
        }
    }
}

/// Whether everything that a client has seen is known here: in the item, or as reaped or stripped by the clock.
fn knows_all(clock: Option<&PartitionClock>, item: &Siblings, seen: &Context) -> bool {
    if item.knows_all(seen) {
        return true;
    }
    let Some(clock) = clock else { return false };
    let past = item.context();
    let own = seen.own.is_none_or(|dot| item.knows(dot) || clock.covers_up_to(dot));
    own && seen.vector.iter().all(|dot| past.covers(dot) || clock.covers_up_to(dot))
}

/// The context of a write names its client's last write by one dot, seen without the siblings beside it. Replacing it
/// puts an entry into the vector that covers the earlier dots of its actor too, so whoever does that must hold, or know
/// replaced, what those are: a coordinator that found the write nowhere would drop a sibling that nobody has seen.
fn refuse_unfounded(item: &Siblings, context: &Context, policy: ConflictPolicy) -> Result<(), Failure> {
    match context.own {
        Some(own) if policy == ConflictPolicy::Siblings && !item.knows(own) => {
            let text = format!(
                "the write replaces {own}, its client's last one, and no replica that has that one could be read; \
                 nothing was written; ask again, or read the item and write with the context of that read"
            );
            Err(Failure::new(FailureCode::QuorumNotMet, text))
        }
        _ => Ok(()),
    }
}

/// Limits bind new client puts only; a merge never refuses.
fn check_growth(
    item: &Siblings,
    context: &Context,
    request: &PutRequest,
    policy: ConflictPolicy,
) -> Result<(), Failure> {
    if policy == ConflictPolicy::LastWriterWins {
        return Ok(());
    }
    let kept = item.versions().iter().filter(|version| !context.covers(version.dot));
    let (count, bytes) = kept.fold((0, 0), |(count, bytes), version| (count + 1, bytes + version.value.len()));
    if count >= VERSIONS_MAX {
        let text = format!(
            "the item has {count} concurrent versions; the limit is {VERSIONS_MAX}: read it, merge them, and write the \
             result with the context of that read"
        );
        return Err(Failure::new(FailureCode::TooLarge, text));
    }
    let bytes = bytes + request.value.len();
    if bytes > ITEM_BYTES_MAX {
        let text = format!(
            "the item's {} versions would have {bytes} bytes; the limit is {ITEM_BYTES_MAX}: read it, merge them, and \
             write the result with the context of that read",
            count + 1
        );
        return Err(Failure::new(FailureCode::TooLarge, text));
    }
    Ok(())
}

/// The answer to a write that has its copies.
fn put_reply(operation: &Operation, view: &View, correlation: u64) -> Option<Bytes> {
    let (Request::Put(work), Some(writing)) = (&operation.request, &operation.writing) else { return None };
    let (dot, token, versions) = work.minted.as_ref()?;
    let PutResponse::Reply { copies } = writing.response() else { return None };
    let reply = PutReply {
        dot: *dot,
        write_id: work.request.write_id,
        versions: *versions,
        token: token.clone(),
        stored: Stored { copies: stored_copies(operation, view, &copies) },
    };
    let header = Header::new(Kind::PutReply, correlation, 0, view.layout.id());
    Some(Frame::build(header, reply.body_bytes(), |out| reply.encode(out)))
}

/// Which nodes hold a write.
fn stored_copies(operation: &Operation, view: &View, copies: &[Copy]) -> Vec<StoredCopy> {
    let copy = |copy: &Copy| {
        let (at, primary) = match copy.holder {
            Holder::Owner => (operation.owners.peer(copy.slot).as_index(), true),
            Holder::StandIn(by) => (usize::from(by), false),
        };
        view.layout.nodes().get(at).map(|node| StoredCopy { node: *node, primary, fsynced: copy.fsynced })
    };
    copies.iter().filter_map(copy).collect()
}

/// What a new version adds to a hint's record beside its value, generously.
const HINT_GROWTH_BYTES: usize = 256;

fn shown_count(item: &Siblings) -> u16 {
    let live = item.versions().iter().filter(|version| !version.tombstone).count();
    u16::try_from(live).unwrap_or(u16::MAX)
}

/// The answer to a merge.
pub(super) fn merge_reply(correlation: u64, fsynced: bool, refused: Refused, shard: &Shard) -> Bytes {
    let header = Header::new(Kind::MergeReply, correlation, 0, shard.view.layout.id());
    let reply = MergeReply { fsynced, refused };
    Frame::build(header, MergeReply::BODY_BYTES, |out| reply.encode(out))
}
