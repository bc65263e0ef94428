//! The exchanges of a shard: begun by schedule, carried out in frames, listings and whole items.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::Rng;

use super::items::{Held, LocalCopy, Task};
use super::operation::Operations;
use super::settling::{Clocks, Lives};
use super::trees::Trees;
use super::{Now, Output, PeerIndex, Shard, Source};
use crate::protocol::anti_entropy::{
    Difference, Exchange, Moved, Outcome, Pair, RUNNING_MAX, Schedule, Side, Step, Stretch,
};
use crate::protocol::merkle::{Tree, leaf_range};
use crate::protocol::replica::{ItemKey, ItemRange, PartitionClock, ReadId, Storage, open_copy};
use crate::protocol::types::{Address, Instant, PartitionId};
use crate::protocol::version::Retired;
use crate::protocol::wire::{
    CompareReply, CompareRequest, ConfirmReply, Failure, FailureCode, Frame, Header, KeysReply, KeysRequest, Kind,
    MergeReply, MergeRequest, Reach, ReadReply, ReadRequest, ReadResult, decode_control,
};

/// Between the two looks at a leaf: longer than a write is in flight.
const PAUSE: Duration = Duration::from_millis(500);
/// An exchange to which nothing happens for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The schedule is looked at this often when nothing else calls for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two steps of an exchange that read or move items, when background work has less than all of its share; the
/// less it has the longer.
const STEP_PACE: Duration = Duration::from_millis(1);
/// Items of a page: a wide key's items share one leaf, and this bounds what is kept of it.
pub(super) const PAGE_ITEMS: usize = 1_024;

/// An exchange under way.
#[derive(Debug)]
struct Running {
    pair: Pair,
    exchange: Exchange,
    deadline: Instant,
    pause_until: Option<Instant>,
    /// Its next step waits so long: the foreground comes first.
    rest_until: Option<Instant>,
    /// Its steps are being taken: what one of them leads to waits for its turn, however many there are.
    driven: bool,
    clocks: Clocks,
}

/// What an answer will be to.
#[derive(Debug)]
pub(super) enum Asked {
    Compare { exchange: u64 },
    Keys { exchange: u64 },
    Fetch { exchange: u64, key: ItemKey },
    Give { exchange: u64, key: ItemKey },
    Restore { key: ItemKey },
    Settle { partition: PartitionId, clock: PartitionClock, until: Instant },
    Confirm { round: u64 },
    Reap { until: Instant },
}

impl Asked {
    /// The exchange that wants to know.
    fn exchange(&self) -> Option<u64> {
        match self {
            Self::Compare { exchange }
            | Self::Keys { exchange }
            | Self::Fetch { exchange, .. }
            | Self::Give { exchange, .. } => Some(*exchange),
            Self::Restore { .. } | Self::Settle { .. } | Self::Confirm { .. } | Self::Reap { .. } => None,
        }
    }
}

/// Who wants a page of items.
#[derive(Debug)]
pub(super) enum Wanted {
    Tree,
    Reapable,
    Exchange(u64),
    Peer { source: Source, correlation: u64, hash: u64 },
}

/// The exchanges of a shard, and what they stand on.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    pub(super) schedule: Schedule,
    pub(super) trees: Trees,
    pub(super) lives: Lives,
    running: BTreeMap<u64, Running>,
    asked: BTreeMap<u64, Asked>,
    pub(super) pages: BTreeMap<ReadId, Wanted>,
    pub(super) served: usize,
    next: u64,
    look_at: Option<Instant>,
    /// Partitions whose copies may lack acknowledged writes, and the owners that each has yet to be compared with.
    pub(super) unverified: BTreeMap<PartitionId, BTreeSet<u16>>,
}

impl Shard {
    /// Sets the schedule up: every partition with every other owner.
    pub(super) fn plan_exchanges(&mut self) {
        let now = Instant::from_nanos(0);
        for pair in self.pairs() {
            // No tree was left, or a write came after it: the partition was not stopped cleanly, and goes first.
            let disturbed = !self.exchanges.trees.is_ready(pair.partition);
            self.exchanges.schedule.add(pair, now, disturbed);
        }
        for partition in self.partitions.keys() {
            self.exchanges.trees.want(*partition);
        }
        self.exchanges.lives.begin(self.rng.next_u64());
        self.exchanges.look_at = Some(now);
        if self.config.unverified {
            self.doubt_all();
        }
    }

    /// No partition's copies are believed until they were compared with all other owners'.
    pub(super) fn doubt_all(&mut self) {
        self.exchanges.unverified.clear();
        for pair in self.pairs() {
            self.exchanges.unverified.entry(pair.partition).or_default().insert(pair.peer);
        }
        // Without another owner nobody can tell what is missing.
        for partition in self.partitions.keys() {
            self.exchanges.unverified.entry(*partition).or_default();
        }
    }

    fn pairs(&self) -> Vec<Pair> {
        let me = self.view.peer_of(self.view.me).and_then(|me| u16::try_from(me.as_index()).ok());
        let of = |partition: &PartitionId| {
            let others = self.view.layout.owner_indices(*partition).iter().filter(move |peer| Some(**peer) != me);
            others.map(|peer| Pair { partition: *partition, peer: *peer }).collect::<Vec<_>>()
        };
        self.partitions.keys().flat_map(of).collect()
    }

    /// Whether this node's copies of a partition may lack acknowledged writes (rule 4).
    pub(super) fn doubts(&self, partition: PartitionId) -> bool {
        self.exchanges.unverified.contains_key(&partition)
    }

    /// Whether any partition's answers do not count toward R yet.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        !self.exchanges.unverified.is_empty()
    }

    /// Since when all partitions are known to agree with their other owners' copies, nanoseconds of this process;
    /// `None` while some pair was never compared to the end.
    #[must_use]
    pub fn in_sync_since(&self) -> Option<Instant> {
        self.exchanges.schedule.oldest_in_sync()
    }

    /// Since when a partition is known to agree with all its other owners' copies; `None` while that is not known.
    #[must_use]
    pub fn partition_in_sync_since(&self, partition: PartitionId) -> Option<Instant> {
        self.exchanges.schedule.partition_in_sync(partition)
    }

    /// The same of each partition of this shard, in order.
    pub fn partitions_in_sync(&self) -> impl Iterator<Item = (PartitionId, Option<Instant>)> {
        self.partitions.keys().map(|partition| (*partition, self.partition_in_sync_since(*partition)))
    }

    /// The hash tree of a partition; `None` while it is being built.
    #[must_use]
    pub fn tree(&self, partition: PartitionId) -> Option<&Tree> {
        self.exchanges.trees.get(partition).filter(|tree| tree.is_ready())
    }

    /// Has everything that is stored compared with what should be, in the background and throttled.
    pub fn verify(&mut self, now: Now) {
        self.exchanges.trees.verify_all();
        self.look_by(now.instant);
    }

    /// When the exchanges want to act.
    pub(super) fn next_exchange(&self) -> Option<Instant> {
        self.exchanges.look_at
    }

    /// A write may have missed an owner: these two are compared soon.
    pub(super) fn disturb(&mut self, now: Now, partition: PartitionId, peer: PeerIndex) {
        let peer = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        self.exchanges.schedule.disturb_pair(Pair { partition, peer }, now.instant);
        self.look_by(now.instant);
    }

    /// A peer's link came up or went down.
    pub(super) fn exchange_peer(&mut self, now: Now, peer: PeerIndex, up: bool, storage: &mut dyn Storage) {
        let number = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        if up {
            self.exchanges.schedule.disturb(number, now.instant);
            return self.look_by(now.instant);
        }
        let with = |(at, running): (&u64, &Running)| (running.pair.peer == number).then_some(*at);
        let lost: Vec<u64> = self.exchanges.running.iter().filter_map(with).collect();
        for at in lost {
            self.fail_exchange(now, at, storage);
        }
    }

    pub(super) fn look_by(&mut self, at: Instant) {
        self.exchanges.look_at = Some(self.exchanges.look_at.map_or(at, |look_at| look_at.min(at)));
    }

    /// Begins what is due, and ends pauses and patience.
    pub(super) fn tick_exchanges(&mut self, now: Now, storage: &mut dyn Storage) {
        if self.exchanges.look_at.is_none_or(|at| at > now.instant) {
            return;
        }
        self.throttle.advance(now.instant);
        self.build_trees(now, storage);
        self.expire_restores(now);
        let (restores, reaping) = (&self.restores, &self.reaping);
        self.exchanges.asked.retain(|_, asked| match asked {
            Asked::Restore { key } => restores.is_under_way(key),
            Asked::Compare { .. } | Asked::Keys { .. } | Asked::Fetch { .. } | Asked::Give { .. } => true,
            Asked::Settle { until, .. } | Asked::Reap { until } => *until > now.instant,
            Asked::Confirm { round } => reaping.is_under_way(*round),
        });
        let due: Vec<u64> = self.exchanges.running.keys().copied().collect();
        for number in due {
            let Some(running) = self.exchanges.running.get_mut(&number) else { continue };
            if running.pause_until.is_some_and(|until| until <= now.instant) {
                running.pause_until = None;
                running.exchange.handle_pause();
                self.drive(now, number, storage);
            } else if running.rest_until.is_some_and(|until| until <= now.instant) {
                self.drive(now, number, storage);
            } else if running.deadline <= now.instant {
                self.fail_exchange(now, number, storage);
            }
        }
        let running_max = self.throttle.of(RUNNING_MAX);
        while !self.stopping && self.exchanges.schedule.running() < running_max {
            let Exchanges { schedule, unverified, trees, .. } = &mut self.exchanges;
            // One whose tree is being built is compared as soon as there is something to compare.
            let can_be = |pair: Pair| self.peers.is_up(PeerIndex::new(pair.peer)) && trees.is_ready(pair.partition);
            let doubted = |partition: PartitionId| unverified.contains_key(&partition);
            let Some(pair) = schedule.begin(now.instant, can_be, doubted) else { break };
            self.begin_exchange(now, pair, storage);
        }
        let (peers, trees, stopping) = (&self.peers, &self.exchanges.trees, self.stopping);
        let can_be = |pair: Pair| !stopping && peers.is_up(PeerIndex::new(pair.peer)) && trees.is_ready(pair.partition);
        // Where all places are taken, the end of an exchange calls for the next.
        let has_place = self.exchanges.schedule.running() < running_max;
        let scheduled = has_place.then(|| self.exchanges.schedule.next_due(can_be)).flatten();
        let wakes = |running: &Running| running.pause_until.or(running.rest_until).unwrap_or(running.deadline);
        let running = self.exchanges.running.values().map(wakes);
        let next = running.chain(scheduled).chain(self.exchanges.trees.build_at()).min();
        let latest = now.instant.after(LOOK_EVERY);
        self.exchanges.look_at = Some(next.map_or(latest, |next| next.min(latest)));
    }

    fn begin_exchange(&mut self, now: Now, pair: Pair, storage: &mut dyn Storage) {
        self.counters.exchanges_begun += 1;
        self.exchanges.next += 1;
        let number = self.exchanges.next;
        let deadline = now.instant.after(PATIENCE);
        let clocks = self.clocks_before(pair.partition);
        let exchange = Exchange::new();
        let running = Running { pair, exchange, deadline, pause_until: None, rest_until: None, driven: false, clocks };
        self.exchanges.running.insert(number, running);
        self.drive(now, number, storage);
    }

    /// Does what the exchange wants, until it waits for something.
    fn drive(&mut self, now: Now, number: u64, storage: &mut dyn Storage) {
        match self.exchanges.running.get_mut(&number) {
            Some(running) if !running.driven => running.driven = true,
            _ => return,
        }
        loop {
            let Some(running) = self.exchanges.running.get_mut(&number) else { return };
            running.deadline = now.instant.after(PATIENCE);
            let pair = running.pair;
            if let Some(until) = running.rest_until.filter(|until| *until > now.instant) {
                running.driven = false;
                return self.look_by(until);
            }
            running.rest_until = None;
            let Some(step) = running.exchange.next_step() else {
                running.driven = false;
                return;
            };
            if self.throttle.is_narrow() && matches!(step, Step::Move(_) | Step::List(..)) {
                running.rest_until = Some(now.instant.after(self.throttle.pause(STEP_PACE)));
            }
            match step {
                Step::Compare(inner) => {
                    let clock = running.clocks.fingerprint();
                    let root = self.exchanges.trees.get(pair.partition).map_or(0, Tree::root);
                    let request = CompareRequest { partition: pair.partition, clock, root, inner };
                    let asked = Asked::Compare { exchange: number };
                    self.ask(now, pair, asked, Kind::Compare, request.body_bytes(), |out| request.encode(out));
                }
                Step::Pause => {
                    let until = now.instant.after(PAUSE);
                    running.pause_until = Some(until);
                    self.look_by(until);
                }
                Step::List(leaf, after) => {
                    let id = self.items.next_read();
                    let range = self.leaf(pair.partition, leaf, after);
                    self.exchanges.pages.insert(id, Wanted::Exchange(number));
                    storage.items(id, range);
                }
                Step::Match(Stretch { leaf, after, until, hash }) => {
                    let request = KeysRequest { partition: pair.partition, leaf, after, until, hash };
                    let asked = Asked::Keys { exchange: number };
                    self.ask(now, pair, asked, Kind::Keys, request.body_bytes(), |out| request.encode(out));
                }
                Step::Move(difference) => self.move_item(now, number, pair, difference, storage),
                Step::Done(outcome) => {
                    self.end_exchange(now, number, outcome);
                    return;
                }
            }
        }
    }

    pub(super) fn leaf(&self, partition: PartitionId, leaf: u16, after: Bytes) -> ItemRange {
        let (from, until) = leaf_range(partition.as_u16(), self.view.layout.partition_bits(), leaf);
        ItemRange { partition, from, after, until, limit: PAGE_ITEMS }
    }

    pub(super) fn ask(
        &mut self,
        now: Now,
        pair: Pair,
        asked: Asked,
        kind: Kind,
        body_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.exchanges.next += 1;
        let number = self.exchanges.next;
        let correlation = Operations::exchange(number);
        let budget = u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX);
        let bytes = Frame::build(Header::new(kind, correlation, budget, self.view.layout.id()), body_bytes, encode);
        self.exchanges.asked.insert(number, asked);
        let (peer, partition) = (PeerIndex::new(pair.peer), pair.partition);
        self.counters.exchange_bytes += bytes.len() as u64;
        self.peers.asked(peer, now.instant);
        self.outbox.push(Output::Send { peer, partition, correlation, bytes });
    }

    fn move_item(&mut self, now: Now, number: u64, pair: Pair, difference: Difference, storage: &mut dyn Storage) {
        self.counters.differences += 1;
        let key = ItemKey::from_bytes(difference.key);
        let Some((key, (_, address))) = key.and_then(|key| Some((key.clone(), key.parts()?))) else {
            return self.moved(now, number, Moved::Failed, storage);
        };
        if difference.theirs {
            let request = ReadRequest { address, wanted: Vec::new() };
            let asked = Asked::Fetch { exchange: number, key };
            return self.ask(now, pair, asked, Kind::Read, request.body_bytes(), |out| request.encode(out));
        }
        self.exchange_with_copy(now, number, pair.partition, &key, &address, None, storage);
    }

    #[expect(clippy::too_many_arguments, reason = "an item, and on whose behalf")]
    fn exchange_with_copy(
        &mut self,
        now: Now,
        number: u64,
        partition: PartitionId,
        key: &ItemKey,
        address: &Address,
        theirs: Option<Held>,
        storage: &mut dyn Storage,
    ) {
        let task = Task::Exchange { exchange: number, address: address.clone(), theirs };
        if self.with_item(now, (partition, key, address), task, storage).is_err() {
            self.moved(now, number, Moved::Failed, storage);
        }
    }

    /// This node's copy of a differing item is at hand: what the other side has is joined into it, and what the other
    /// side lacks is sent there.
    #[expect(clippy::too_many_arguments, reason = "an item, and on whose behalf")]
    pub(super) fn exchange_item(
        &mut self,
        now: Now,
        number: u64,
        address: &Address,
        partition: PartitionId,
        key: &ItemKey,
        theirs: Option<Held>,
        copy: LocalCopy,
        storage: &mut dyn Storage,
    ) {
        // Rot is repaired by its own way; this exchange cannot say that the two agree.
        let Ok(ours) = copy else { return self.moved(now, number, Moved::Unreadable, storage) };
        let (theirs, retired) = match theirs {
            Some(theirs) => {
                let (theirs, retired) = self.without_obsolete((partition, key), ours.as_ref(), theirs);
                (Some(theirs), retired)
            }
            None => (None, Retired::default()),
        };
        // What is left of theirs once the obsolete is out is not what they have.
        let their_item = theirs.as_ref().filter(|_| retired.versions == 0).map(|theirs| theirs.item.clone());
        let joined = theirs.and_then(|theirs| self.joined((partition, key, address), ours.as_ref(), theirs));
        if let Some(joined) = &joined {
            let before = ours.as_ref().map_or(0, |held| held.record.len());
            if self.check_room_for_merge(before, joined.record.len()).is_err() {
                // What it has is given to others all the same; but a replica in doubt is not to be believed by this.
                let moved = if self.doubts(partition) { Moved::Failed } else { Moved::Unreadable };
                return self.moved(now, number, moved, storage);
            }
            self.store(now, partition, key, ours.as_ref(), joined.clone());
        }
        let Some(held) = joined.or(ours) else {
            // Nothing is here, and what they have is obsolete: they find that out when they give it to us.
            let moved = if retired.versions > 0 { Moved::Obsolete } else { Moved::Equal };
            return self.moved(now, number, moved, storage);
        };
        if Some(&held.item) == their_item.as_ref() {
            return self.moved(now, number, Moved::Equal, storage);
        }
        let Some(pair) = self.exchanges.running.get(&number).map(|running| running.pair) else { return };
        let request = MergeRequest { address: address.clone(), record: held.record };
        let asked = Asked::Give { exchange: number, key: key.clone() };
        self.counters.items_given += 1;
        self.ask(now, pair, asked, Kind::Merge, request.body_bytes(), |out| request.encode(out));
    }

    /// A peer answered, or could not be asked.
    pub(super) fn exchange_answered(
        &mut self,
        now: Now,
        peer: PeerIndex,
        question: u64,
        frame: Option<&Frame>,
        storage: &mut dyn Storage,
    ) {
        let Some(asked) = self.exchanges.asked.remove(&question) else { return };
        let kind = frame.and_then(Frame::kind);
        let body = || frame.map(|frame| frame.body.clone()).unwrap_or_default();
        match asked {
            Asked::Compare { exchange } => {
                let reply = (kind == Some(Kind::CompareReply)).then(|| CompareReply::decode(body()).ok()).flatten();
                let Some(reply) = reply.filter(|reply| reply.ready) else {
                    return self.fail_exchange(now, exchange, storage);
                };
                let Exchanges { running, trees, .. } = &mut self.exchanges;
                let Some(running) = running.get_mut(&exchange) else { return };
                match trees.get(running.pair.partition).filter(|_| running.clocks.hear(&reply)) {
                    Some(ours) => running.exchange.handle_sums(ours, &reply.sums),
                    None => running.exchange.fail(),
                }
                self.drive(now, exchange, storage);
            }
            Asked::Keys { exchange } => {
                let reply = (kind == Some(Kind::KeysReply)).then(|| KeysReply::decode(body()).ok()).flatten();
                let Some(reply) = reply else { return self.fail_exchange(now, exchange, storage) };
                match reply.reach {
                    Reach::All => self.listed(now, exchange, Side::Theirs, reply.items, false, storage),
                    Reach::More => self.listed(now, exchange, Side::Theirs, reply.items, true, storage),
                    Reach::Same => self.matched(now, exchange, storage),
                }
            }
            Asked::Fetch { exchange, key } => {
                let reply = (kind == Some(Kind::ReadReply)).then(|| ReadReply::decode(body()).ok()).flatten();
                let parts = key.parts().map(|(_, address)| address);
                let partition = self.exchanges.running.get(&exchange).map(|running| running.pair.partition);
                let (Some(address), Some(partition)) = (parts, partition) else { return };
                let theirs = match reply.map(|reply| reply.result) {
                    Some(ReadResult::Absent) => None,
                    Some(ReadResult::Found(record)) => match open_copy(&address, &record) {
                        Ok(item) => Some(Held { item, record }),
                        Err(_) => return self.moved(now, exchange, Moved::Failed, storage),
                    },
                    Some(ReadResult::Unreadable) => return self.moved(now, exchange, Moved::Unreadable, storage),
                    // The whole item was asked for.
                    Some(ReadResult::Head(_) | ReadResult::Part(_)) | None => {
                        return self.moved(now, exchange, Moved::Failed, storage);
                    }
                };
                self.counters.items_fetched += 1;
                self.exchange_with_copy(now, exchange, partition, &key, &address, theirs, storage);
            }
            Asked::Give { exchange, key } => {
                let reply = (kind == Some(Kind::MergeReply)).then(|| MergeReply::decode(body()).ok()).flatten();
                let refused = reply.map(|reply| reply.refused).unwrap_or_default();
                let partition = self.exchanges.running.get(&exchange).map(|running| running.pair.partition);
                if let Some(partition) = partition.filter(|_| refused.all) {
                    self.note_refused(now, partition, &key);
                }
                let failure = (kind == Some(Kind::Error)).then(|| decode_control::<Failure>(&body(), "error").ok());
                let moved = match (kind, failure.flatten().map(|failure| failure.code)) {
                    (Some(Kind::MergeReply), _) if refused.any => Moved::Obsolete,
                    (Some(Kind::MergeReply), _) => Moved::Equal,
                    (_, Some(FailureCode::Unreadable)) => Moved::Unreadable,
                    _ => Moved::Failed,
                };
                self.moved(now, exchange, moved, storage);
            }
            Asked::Restore { key } => {
                let reply = (kind == Some(Kind::ReadReply)).then(|| ReadReply::decode(body()).ok()).flatten();
                self.restore_answered(now, peer, &key, reply, storage);
            }
            Asked::Confirm { round } => {
                let reply = (kind == Some(Kind::ConfirmReply)).then(|| ConfirmReply::decode(body()).ok()).flatten();
                self.confirm_answered(now, peer, round, reply, storage);
            }
            Asked::Reap { .. } => {}
            Asked::Settle { partition, clock, .. } => {
                if kind == Some(Kind::Settled) {
                    self.settled(partition, &clock);
                }
            }
        }
    }

    /// Asks an owner for its copy of an item that is to be restored here.
    pub(super) fn ask_to_restore(
        &mut self,
        now: Now,
        partition: PartitionId,
        peer: u16,
        key: &ItemKey,
        address: &Address,
    ) {
        let request = ReadRequest { address: address.clone(), wanted: Vec::new() };
        let asked = Asked::Restore { key: key.clone() };
        let pair = Pair { partition, peer };
        self.ask(now, pair, asked, Kind::Read, request.body_bytes(), |out| request.encode(out));
    }

    pub(super) fn listed(
        &mut self,
        now: Now,
        number: u64,
        side: Side,
        items: Vec<(Bytes, u64)>,
        more: bool,
        storage: &mut dyn Storage,
    ) {
        if let Some(running) = self.exchanges.running.get_mut(&number) {
            running.exchange.handle_items(side, items, more);
            self.drive(now, number, storage);
        }
    }

    /// The other side has the same items in a stretch.
    fn matched(&mut self, now: Now, number: u64, storage: &mut dyn Storage) {
        if let Some(running) = self.exchanges.running.get_mut(&number) {
            running.exchange.handle_match();
            self.drive(now, number, storage);
        }
    }

    fn moved(&mut self, now: Now, number: u64, moved: Moved, storage: &mut dyn Storage) {
        if let Some(running) = self.exchanges.running.get_mut(&number) {
            running.exchange.handle_moved(moved);
            self.drive(now, number, storage);
        }
    }

    pub(super) fn fail_exchange(&mut self, now: Now, number: u64, storage: &mut dyn Storage) {
        if let Some(running) = self.exchanges.running.get_mut(&number) {
            running.exchange.fail();
            self.drive(now, number, storage);
        }
    }

    fn end_exchange(&mut self, now: Now, number: u64, outcome: Outcome) {
        let Some(Running { pair, clocks, .. }) = self.exchanges.running.remove(&number) else { return };
        self.exchanges.asked.retain(|_, asked| asked.exchange() != Some(number));
        let agrees = matches!(outcome, Outcome::Completed { unreadable: 0, obsolete: 0, .. });
        let jitter = u32::try_from(self.rng.next_u64() & 1_023).unwrap_or(0);
        self.exchanges.schedule.finish(pair, agrees, now.instant, jitter);
        self.look_by(now.instant);
        if outcome == Outcome::Failed {
            self.counters.exchanges_failed += 1;
            return;
        }
        self.counters.exchanges_completed += 1;
        // What this node has and others call obsolete is looked at before anybody believes it again.
        if self.doubts(pair.partition) && !self.reaping.has_refused(pair.partition) {
            self.when_all_is_safe(pair);
        }
        if agrees {
            self.settle(now, pair, clocks);
        }
    }
}
