//! Coordinating reads: R replicas are asked, one more when one is slow, and what they say is merged.

use super::heads::head_of;
use super::hints::Asker;
use super::items::Held;
use super::items::{LocalCopy, Task};
use super::operation::{Judged, Operation, Operations, Owners, Purpose, Reading, Request, Role, Stage};
use super::timers::Timer;
use super::{BUDGET_MS_DEFAULT, Now, Output, PeerIndex, Shard, Source, Verb};
use crate::protocol::coordinator::{Copied, Enough, Get, GetFinal, GetResponse, Put, Replied, Slot};
use crate::protocol::replica::{ItemKey, Storage, open_copy};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::limits::BUDGET_MS_MAX;
use crate::protocol::types::{Address, Instant, PartitionId, Quorum, Strictness};
use crate::protocol::version::{Context, Dot, Siblings, Version};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, GetReply, GetRequest, Header, Kind, MergeRequest, ReadReply, ReadRequest, ReadResult,
};

impl Shard {
    #[expect(clippy::too_many_arguments, reason = "a request and where it belongs")]
    pub(super) fn begin_get(
        &mut self,
        now: Now,
        source: Source,
        header: Header,
        request: GetRequest,
        (partition, role): (PartitionId, Role),
        hash: KeyHash,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        let quorum = self.quorum(request.r, 0)?;
        let wanted = Request::Get { r: quorum.r(), w: quorum.w() };
        let strictness = request.strictness;
        let id = self.begin(source, header, request.address, (partition, role), hash, strictness, wanted)?;
        self.counters.gets += 1;
        self.peers.earn_hedge();
        self.count_begun(now, id);
        self.read_replicas(now, id, quorum.r(), Purpose::Answer, storage);
        Ok(())
    }

    /// Counts a request that begins, by its table.
    pub(super) fn count_begun(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        operation.milestones.take_up(now);
        self.measures.began(Verb::of_request(&operation.request), operation.address.table());
    }

    /// The quorum that a request asks for, with the defaults in place of zeros.
    pub(super) fn quorum(&self, r: u8, w: u8) -> Result<Quorum, Failure> {
        let or = |asked: u8, default: u8| if asked == 0 { default } else { asked };
        let n = self.view.layout.parameters().replicas;
        Quorum::new(n, or(r, self.view.read_quorum), or(w, self.view.write_quorum))
            .map_err(|error| Failure::new(FailureCode::BadInput, error.to_string()))
    }

    #[expect(clippy::too_many_arguments, reason = "a request and where it belongs")]
    pub(super) fn begin(
        &mut self,
        source: Source,
        header: Header,
        address: Address,
        (partition, role): (PartitionId, Role),
        hash: KeyHash,
        strictness: Strictness,
        request: Request,
    ) -> Result<u64, Failure> {
        self.admit()?;
        let me = self.view.peer_of(self.view.me);
        let indices = self.view.layout.owner_indices(partition);
        let owners = match role {
            Role::Owner => me.and_then(|me| Owners::new(indices, me)),
            Role::StandIn => Owners::standing_in(indices),
        };
        let owners = owners.expect("a request is placed here only if this node owns its partition, or stands in");
        let mut key = ItemKey::new(&address, hash);
        if let (Role::StandIn, Some(home)) = (role, self.view.layout.owners(partition).next()) {
            key = key.hinted(home, partition);
        }
        let times = (source.arrived, Self::deadline_of(source, &header));
        Ok(self.operations.insert(
            source,
            header.correlation,
            address,
            key,
            partition,
            owners,
            strictness,
            times,
            request,
        ))
    }

    /// Asks `r` replicas for their copies, this one first.
    pub(super) fn read_replicas(&mut self, now: Now, id: u64, r: u8, purpose: Purpose, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let policy = self.view.policy(operation.address.table());
        let get = Get::new(operation.owners.n(), r, policy);
        let (me, role) = (operation.owners.me(), operation.owners.role());
        operation.reading = Some(Reading::new(get, purpose, me));
        operation.asked_at = now.instant;
        let (partition, key, address) = (operation.partition, operation.key.clone(), operation.address.clone());
        // The peers are asked before the own copy is looked at, so that a slow disk here costs nothing more.
        self.ask_more(now, id);
        if role == Role::StandIn {
            let hash = KeyHash::of(&address, self.view.layout.parameters().hash_seed);
            self.serve_hinted_read(now, Asker::Operation(id), &address, partition, hash, storage);
            return self.arm_hedge(now, id);
        }
        let at = (partition, &key, &address);
        if self.with_item(now, at, Task::Answer { operation: id }, storage).is_err() {
            self.copy_read(now, id, me, Replied::Unknown, storage);
        }
        self.arm_hedge(now, id);
    }

    /// Asks as many more replicas as the quorum still needs, the most willing first.
    pub(super) fn ask_more(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let owners = operation.owners;
        let doubts = self.exchanges.unverified.contains_key(&operation.partition);
        let Some(reading) = &operation.reading else { return };
        let pending = owners.slots().filter(|slot| {
            let asked = reading.asked & (1 << slot.as_index()) != 0;
            asked && !reading.get.has_answered(*slot) && !(doubts && *slot == owners.me())
        });
        let needed = match reading.purpose {
            Purpose::Fetch => owners.n(),
            Purpose::Answer | Purpose::DeleteSeen => match operation.request {
                Request::Get { r, .. } => r,
                Request::Put(ref work) => work.r,
            },
        };
        let pending = pending.count() + usize::from(reading.fallbacks_pending);
        let expected = usize::from(reading.get.answers()) + pending;
        for _ in expected..usize::from(needed) {
            if !self.ask_one(now, id) {
                break;
            }
        }
    }

    /// Asks the most willing replica that was not asked yet. False when there is none left.
    pub(super) fn ask_one(&mut self, now: Now, id: u64) -> bool {
        loop {
            let Some(operation) = self.operations.get_mut(id) else { return false };
            let Some(reading) = &mut operation.reading else { return false };
            let owners = operation.owners;
            let open = owners.slots().filter(|slot| reading.asked & (1 << slot.as_index()) == 0);
            let rank = |slot: &Slot| (self.peers.reluctance(owners.peer(*slot), now.instant), *slot);
            let Some(slot) = open.min_by_key(rank) else { return self.ask_fallback(now, id) };
            reading.asked |= 1 << slot.as_index();
            let peer = owners.peer(slot);
            if !self.peers.is_up(peer) {
                reading.get.add_result(slot, Replied::Unknown);
                continue;
            }
            let request = ReadRequest { address: operation.address.clone(), wanted: Vec::new() };
            let header = Header::new(Kind::Read, id, remaining_ms(now, operation.deadline), self.view.layout.id());
            // This node's own copy is read whole: of a large item the others need not send what it has.
            let whole_here =
                owners.role() == Role::Owner && !self.exchanges.unverified.contains_key(&operation.partition);
            let head = whole_here && reading.purpose == Purpose::Answer && reading.get.is_complete();
            let header = match head {
                true => header.with_head(),
                false => header,
            };
            let bytes = Frame::build(header, request.body_bytes(), |out| request.encode(out));
            let partition = operation.partition;
            reading.note_asked(slot, now.instant);
            operation.note_asked(slot, now.instant);
            self.peers.asked(peer, now.instant);
            self.outbox.push(Output::Send { peer, partition, correlation: id, bytes });
            return true;
        }
    }

    pub(super) fn arm_hedge(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &operation.reading else { return };
        let owners = operation.owners;
        let waits = |slot: &Slot| reading.asked & (1 << slot.as_index()) != 0 && !reading.get.has_answered(*slot);
        let asked = owners.others().filter(waits).map(|slot| owners.peer(slot));
        let at = now.instant.after(self.peers.hedge_after(now.instant, asked));
        let open = owners.slots().any(|slot| reading.asked & (1 << slot.as_index()) == 0);
        if reading.purpose == Purpose::Fetch {
            let half = operation.deadline.since(now.instant) / 2;
            self.operations.arm(now.instant.after(half), id, Timer::Hedge);
        } else if open && at < operation.deadline {
            self.operations.arm(at, id, Timer::Hedge);
        }
    }

    /// An asked replica is slow: ask one more.
    pub(super) fn hedge(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = operation.reading.as_ref().filter(|_| operation.writing.is_none()) else { return };
        if reading.purpose == Purpose::Fetch {
            return self.gathered(now, id, storage);
        }
        if !reading.get.is_complete() && reading.get.enough() == Enough::Met {
            return self.fetch_again(now, id, storage);
        }
        // A cluster that is slow as a whole must not be asked for more by everybody (5 % of reads, and a few).
        let (owners, began) = (operation.owners, operation.began);
        if now.instant.since(began) < HEDGE_ANYWAY && !self.peers.spend_hedge() {
            self.operations.arm(began.after(HEDGE_ANYWAY), id, Timer::Hedge);
            return;
        }
        // What they will have taken nobody may wait to see: it is this long at least.
        let Some(reading) = self.operations.get_mut(id).and_then(|operation| operation.reading.as_mut()) else {
            return;
        };
        for slot in owners.others() {
            if let Some(asked) = reading.take_asked(slot) {
                self.peers.read_took(owners.peer(slot), now.instant, now.instant.since(asked));
            }
        }
        if self.ask_one(now, id) {
            self.counters.hedges += 1;
            self.arm_hedge(now, id);
        }
        self.read_further(now, id, storage);
    }

    /// This node's own copy was read for an operation. With durability `sync` a version that is not fsynced yet is
    /// not shown before it is.
    pub(super) fn local_copy_read(&mut self, now: Now, id: u64, copy: LocalCopy, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        operation.milestones.own_copy_read(now);
        let (me, partition) = (operation.owners.me(), operation.partition);
        let key = operation.key.clone();
        let reply = match copy {
            Err(_) => Replied::Unknown,
            Ok(held) => {
                let item = held.map(|held| held.item).unwrap_or_default();
                Replied::Copy { item, unverified: self.doubts(partition) }
            }
        };
        if let Some(reply) = self.hold_local_read(&key, id, reply) {
            self.copy_read(now, id, me, reply, storage);
        }
    }

    /// What this node keeps of an item for which it stands in was read. It knows nothing of what it was not told: that
    /// adds data, and counts when there is any.
    pub(super) fn own_hints_read(
        &mut self,
        now: Now,
        id: u64,
        hints: &Siblings,
        keys: &[ItemKey],
        storage: &mut dyn Storage,
    ) {
        // With durability `sync` nothing is shown that is not fsynced. The client asks again; a wait would need a
        // place.
        let shown = (self.newest_unsafe(keys).is_none()).then_some(hints);
        let Some(operation) = self.operations.get_mut(id) else { return };
        let me = operation.owners.me();
        self.copy_read(now, id, me, Replied::Unknown, storage);
        self.stand_in_read(now, id, shown, storage);
    }

    /// A peer sent its copy.
    pub(super) fn read_answered(&mut self, now: Now, peer: PeerIndex, frame: Frame, storage: &mut dyn Storage) {
        let id = frame.header.correlation;
        let Some(operation) = self.operations.get_mut(id) else {
            self.counters.answers_ignored += 1;
            return;
        };
        let slot = operation.owners.slot_of(peer);
        if let Some(slot) = slot.filter(|_| operation.writing.is_none()) {
            self.measures.answered(peer, operation.since_asked(slot, now.instant));
            operation.milestones.answer(slot, now);
        }
        if let (Some(slot), Some(reading)) = (slot, &mut operation.reading)
            && let Some(asked) = reading.take_asked(slot)
        {
            self.peers.read_took(peer, now.instant, now.instant.since(asked));
        }
        let reply = match ReadReply::decode(frame.body) {
            Ok(ReadReply { result: ReadResult::Absent, unverified }) => {
                Replied::Copy { item: Siblings::default(), unverified }
            }
            // What does not decode or whose checksum does not match is no answer, and must not repair others (rule 5).
            Ok(ReadReply { result: ReadResult::Found(record), unverified }) => {
                match open_copy(&operation.address, &record) {
                    Ok(item) => Replied::Copy { item, unverified },
                    Err(_) => Replied::Unknown,
                }
            }
            Ok(ReadReply { result: ReadResult::Head(head), unverified }) => {
                head_of(&operation.address, &head, unverified, self.trusts_heads)
            }
            Ok(ReadReply { result: ReadResult::Part(record), .. }) => {
                match (slot, open_copy(&operation.address, &record)) {
                    (Some(slot), Ok(part)) => return self.values_fetched(now, id, slot, &part, storage),
                    _ => Replied::Unknown,
                }
            }
            Ok(ReadReply { result: ReadResult::Unreadable, .. }) | Err(_) => Replied::Unknown,
        };
        match (slot, reply) {
            (Some(slot), reply) => self.copy_read(now, id, slot, reply, storage),
            (None, Replied::Copy { item, .. }) => self.fallback_read(now, id, Some(&item), storage),
            // A fallback is never asked for a head.
            (None, Replied::Unknown | Replied::Head { .. }) => self.fallback_read(now, id, None, storage),
        }
    }

    /// A peer could not do what it was asked, or cannot be reached: unknown.
    pub(super) fn error_answered(&mut self, now: Now, peer: PeerIndex, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(slot) = operation.owners.slot_of(peer) else {
            return match operation.writing.is_some() {
                true => self.stand_in_answered(now, id, peer, Copied::Unknown),
                false if operation.stand_ins.contains(&u16::try_from(peer.as_index()).unwrap_or(u16::MAX)) => {
                    self.fallback_read(now, id, None, storage);
                }
                false => {}
            };
        };
        if operation.writing.is_some() {
            self.copy_unknown(now, id, slot);
            return;
        }
        let asked = operation.reading.as_ref().is_some_and(|reading| reading.asked & (1 << slot.as_index()) != 0);
        if asked {
            self.copy_read(now, id, slot, Replied::Unknown, storage);
        }
    }

    pub(super) fn copy_read(&mut self, now: Now, id: u64, slot: Slot, reply: Replied, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        // Once an operation writes, what it read is settled; a later answer is for read repair.
        if operation.writing.is_some() {
            return;
        }
        if let Replied::Copy { item, .. } | Replied::Head { item, .. } = &reply
            && !self.take_copy(id, item.record_bytes())
        {
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &mut operation.reading else { return };
        let useless = match reply {
            Replied::Unknown => true,
            Replied::Copy { unverified, .. } | Replied::Head { unverified, .. } => unverified,
        };
        reading.get.add_result(slot, reply);
        if useless {
            self.ask_more(now, id);
        }
        self.read_further(now, id, storage);
    }

    /// Goes on when the read has heard enough.
    pub(super) fn read_further(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &operation.reading else { return };
        if operation.writing.is_some() || reading.judged == Judged::Waits {
            return;
        }
        let enough = reading.get.enough();
        match (reading.purpose, &operation.request) {
            (Purpose::Answer, _) => match enough {
                Enough::Wait => {}
                Enough::Failed => self.fail(now, id),
                Enough::Met if !reading.get.is_complete() => self.fetch_values(now, id, storage),
                Enough::Met => self.answer(now, id, storage),
            },
            (Purpose::DeleteSeen, _) => match enough {
                Enough::Wait => {}
                Enough::Failed => self.fail(now, id),
                Enough::Met => self.gathered(now, id, storage),
            },
            (Purpose::Fetch, Request::Put(work)) => {
                // Best effort, and at most half of the time: what the context covers was seen by its client, so writing
                // over it is right even when the replicas that have it cannot be reached.
                if reading.get.all_answered() || reading.get.merged().knows_all(&work.context) {
                    self.gathered(now, id, storage);
                }
            }
            (Purpose::Fetch, Request::Get { .. }) => {}
        }
    }

    /// Tells a client what was read, or stores the merge of differing answers first (rule 9).
    fn answer(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        if self.is_to_be_judged(id) {
            let Some(operation) = self.operations.get_mut(id) else { return };
            let (partition, key, address) = (operation.partition, operation.key.clone(), operation.address.clone());
            if self.with_item(now, (partition, &key, &address), Task::Judge { operation: id }, storage).is_err() {
                // The client asks again; without a look at the copy something deleted might be shown.
                self.refuse(id, &super::items::overloaded());
            }
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        let (Request::Get { w, .. }, Some(reading)) = (&operation.request, &operation.reading) else { return };
        self.measures.quorum_met(Verb::Get, now.instant.since(operation.asked_at));
        let holders = match reading.get.response() {
            GetResponse::Reply => return self.finish_get(now, id),
            GetResponse::Fail { .. } => return self.fail(now, id),
            GetResponse::Store { .. } if operation.strictness == Strictness::Sloppy => {
                self.repair_stale(now, id, storage);
                return self.finish_get(now, id);
            }
            GetResponse::Store { holders } => holders,
        };
        self.counters.write_backs += 1;
        let mut writing = Put::new(operation.owners.n(), *w, Strictness::Strict);
        // A merge of what was read is stored on owners only: hints of it would say nothing that their home lacks for
        // long.
        operation.owners.slots().for_each(|slot| writing.exhaust_stand_ins(slot));
        operation.writing = Some(writing);
        let merged = reading.get.merged().clone();
        self.replicate(now, id, &merged, &holders);
        let Some(operation) = self.operations.get_mut(id) else { return };
        let me = operation.owners.me();
        if !holders.contains(&me) {
            let (partition, key, address) = (operation.partition, operation.key.clone(), operation.address.clone());
            let at = (partition, &key, &address);
            if self.with_item(now, at, Task::StoreMerged { operation: id }, storage).is_err() {
                self.copy_unknown(now, id, me);
            }
        }
        self.write_further(now, id);
    }

    /// Whether a read heard of a version that this replica's clock covers and its copy did not know: either it is
    /// obsolete, or the copy has got it since. Or of one whose write was replaced under another dot.
    fn is_to_be_judged(&mut self, id: u64) -> bool {
        let Some(operation) = self.operations.get_mut(id) else { return false };
        let (me, role, partition) = (operation.owners.me(), operation.owners.role(), operation.partition);
        let Some(reading) = operation.reading.as_mut().filter(|reading| reading.judged == Judged::NotYet) else {
            return false;
        };
        let own = reading.get.copy_of(me).filter(|_| role == Role::Owner);
        let (Some(own), Some(state)) = (own, self.partitions.get(&partition)) else { return false };
        let obsolete = |version: &Version| state.clock().covers_up_to(version.dot) && !own.knows(version.dot);
        let merged = reading.get.merged();
        let policy = self.view.policy(operation.address.table());
        // What is here has no twins that this replica knows of, so only what others have besides is looked up.
        let twins = || self.twins.of_replaced((state, &operation.key), policy, merged, &Context::default());
        let has_twins = || !own.is_alike(merged) && !twins().is_empty();
        let suspicious = merged.versions().iter().any(obsolete) || has_twins();
        if suspicious {
            reading.judged = Judged::Waits;
        }
        suspicious
    }

    /// This node's copy, and its clock at the same moment, tell what of a read is obsolete (rule 8).
    pub(super) fn judge(&mut self, now: Now, id: u64, copy: LocalCopy, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let state = self.partitions.get(&operation.partition);
        if let (Some(reading), Ok(copy), Some(state)) = (&mut operation.reading, copy, state) {
            let known = |dot: Dot| copy.as_ref().is_some_and(|held| held.item.knows(dot));
            reading.get.retire(|dot| state.clock().covers_up_to(dot) && !known(dot));
            let policy = self.view.policy(operation.address.table());
            let (at, merged) = ((state, &operation.key), reading.get.merged());
            let twins = self.twins.of_replaced(at, policy, merged, &Context::default());
            if !twins.is_empty() {
                reading.get.retire(|dot| twins.contains(&dot));
            }
        }
        if let Some(reading) = &mut operation.reading {
            reading.judged = Judged::Done;
        }
        self.read_further(now, id, storage);
    }

    /// Read repair: the merge goes to the replicas that answered with less, while the client has its answer already.
    fn repair_stale(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &operation.reading else { return };
        let GetFinal::Repair(stale) = reading.get.final_action() else { return };
        let (owners, partition) = (operation.owners, operation.partition);
        let (key, address) = (operation.key.clone(), operation.address.clone());
        let item = reading.get.merged().clone();
        let budget = remaining_ms(now, operation.deadline);
        // Number 0: nobody waits for the answer.
        let correlation = Operations::errand(0);
        let header = Header::new(Kind::Merge, correlation, budget, self.view.layout.id());
        let bytes = MergeRequest::frame_of(header, &address, &item);
        let record = bytes.slice(bytes.len() - item.record_bytes()..);
        for slot in stale {
            self.counters.read_repairs += 1;
            let peer = owners.peer(slot);
            if slot != owners.me() {
                self.outbox.push(Output::Send { peer, partition, correlation, bytes: bytes.clone() });
                continue;
            }
            let held = Held { item: item.clone(), record: record.clone() };
            let task = Task::Repair { address: address.clone(), held };
            if self.with_item(now, (partition, &key, &address), task, storage).is_err() {
                self.counters.answers_ignored += 1;
            }
        }
    }

    /// What a write wanted to know first is known.
    fn gathered(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = operation.reading.take() else { return };
        let Request::Put(work) = &mut operation.request else { return };
        let merged = reading.get.merged().clone();
        if reading.purpose == Purpose::DeleteSeen {
            work.context = Context::of(&merged);
        }
        work.gathered = Some(merged);
        self.load_and_coordinate(now, id, storage);
    }

    pub(super) fn finish_get(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.remove(id) else { return };
        self.slow.note(now, &operation, None);
        self.throttle.observe(now.instant, operation.began);
        let Some(reading) = &operation.reading else { return };
        let merged = reading.get.merged();
        let shown = merged.show();
        self.measures.read(shown.live.len());
        self.measures.succeeded(Verb::Get, now.instant.since(operation.began));
        let known = !merged.is_empty();
        let token = known.then(|| shown.context.to_token(&operation.address, &self.view.token_keys));
        let reply = GetReply { token: token.unwrap_or_default(), versions: shown.live };
        let header = Header::new(Kind::GetReply, operation.correlation, 0, self.view.layout.id());
        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
        self.reply(operation.source, bytes);
    }

    /// The time of a request is over: say what is known.
    pub(super) fn deadline_passed(&mut self, now: Now, id: u64) {
        if super::operation::Operations::is_relay(id) {
            self.relay_timed_out(now, id);
            return;
        }
        let stage = self.operations.get_mut(id).map(|operation| operation.stage);
        match stage {
            None => {}
            Some(Stage::Open) => self.fail(now, id),
            Some(Stage::Lingering) => self.stand_in_for_silent(now, id),
            Some(Stage::LastChance) => {
                if let Some(operation) = self.operations.remove(id) {
                    self.disturb_missed(now, &operation);
                }
            }
        }
    }

    /// Ends an operation whose quorum is not met, with the truth so far.
    pub(super) fn fail(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.remove(id) else { return };
        self.throttle.observe(now.instant, operation.began);
        self.disturb_missed(now, &operation);
        let failure = self.explain(now, &operation);
        self.slow.note(now, &operation, Some(failure.code));
        let verb = Verb::of_request(&operation.request);
        self.disappoint(verb, operation.source, operation.correlation, &failure);
    }

    /// Names of slots for people.
    pub(super) fn names(&self, operation: &Operation, slots: impl Iterator<Item = Slot>) -> String {
        let names: Vec<String> = slots.map(|slot| self.view.name_of(operation.owners.peer(slot))).collect();
        names.join(", ")
    }
}

/// After so long a slow replica is a silent one, and another is asked whatever the share.
const HEDGE_ANYWAY: std::time::Duration = std::time::Duration::from_millis(200);

/// What is left of a request's time, for those who are asked on its behalf.
pub(super) fn remaining_ms(now: Now, deadline: Instant) -> u32 {
    u32::try_from(deadline.since(now.instant).as_millis()).unwrap_or(BUDGET_MS_MAX).max(1)
}

/// How long a request may take, from its arrival.
pub(super) fn budget_of(header: &Header) -> std::time::Duration {
    let ms = if header.budget_ms == 0 { BUDGET_MS_DEFAULT } else { header.budget_ms.min(BUDGET_MS_MAX) };
    std::time::Duration::from_millis(u64::from(ms))
}
