//! Reaping (rules 8 and 13): a tombstone, or an entry of a past, goes once nothing old can bring its item back.
//!
//! ```text
//!   queue -> own copies read, fsynced
//!     -> Confirm (key, record's hash, past) to all other owners
//!          all Obsolete                    -> what is here is dropped: it was reaped everywhere else
//!          all Same or Obsolete
//!            -> Confirm (no items) to all other members: no hint for the partition? who mints?
//!            -> Reap to all owners, and here: removed, or stripped, if the record is still the one that was confirmed
//!          anything else, or silence       -> blocked; an exchange, and later again
//! ```
//!
//! *Why nothing comes back.* An owner answers `Same` only when its record is fsynced and its clock covers *every* dot
//! of each of the item's actors up to the item's entry, with no gap. So afterwards an old version of the item, from
//! a late frame, a hint or a backup, meets a clock at each owner that covers it and a copy that does not know it: that
//! is what obsolete means (`Shard::without_obsolete`), and it is refused. Without the demand for no gap a dot that no
//! owner ever saw, because its successor overtook it, could arrive later and pass for new. An item with such a gap
//! stays as it is, for ever if the write below it was lost with its coordinator: a tombstone too many is no harm.
//!
//! *Why a value stays.* An item with a value is dropped only by the node that holds it, only after another owner
//! refused it, and only when *all* other owners say `Obsolete`. An owner that lost a record without noticing says so
//! too, but an owner that counts (rule 4) and still holds the same record contradicts it: then the record is sent back
//! to the one that refused it, marked as contested, and stored there.
//!
//! *Crashes.* An owner that missed the last step keeps its tombstone; the others call it obsolete in that owner's own
//! round, which ends it. An owner that loses its removal with its power has the tombstone again, and no less.
//!
//! Stripping takes entries of actors that mint in no running process, as all members said, after the same
//! confirmation. A client's older context brings them back with its next write; they are stripped again.
//!
//! *Caveats.* One round at a time in a shard, one partition a round. A round asks every member, so in a cluster of
//! thousands of nodes it is the batch of 256 items that makes it cheap. The queue is not kept over a restart: a scan in
//! the background finds its items again. A replica that forgot its clock with a damaged record may take a late frame of
//! a reaped item in until its exchanges have settled; the others refuse it, and it is dropped.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::candidates::{Candidate, Candidates};
use super::confirming::End;
use super::exchanging::{Asked, PAGE_ITEMS, Wanted};
use super::items::{LocalCopy, Task, too_many};
use super::{Now, PeerIndex, Shard};
use crate::protocol::anti_entropy::Pair;
use crate::protocol::merkle::item_hash;
use crate::protocol::replica::{ItemKey, ItemPage, ItemRange, KeyKind, Partition, Storage};
use crate::protocol::types::limits::VECTOR_ENTRIES_KEPT;
use crate::protocol::types::{ActorId, Instant, PartitionId};
use crate::protocol::version::{Siblings, VersionVector};
use crate::protocol::wire::{
    ConfirmReply, ConfirmRequest, Confirmed, Frame, Header, Kind, MergeRequest, REAPING_ITEMS_MAX, ReapRequest,
    Reapable, Reaped,
};

/// A round to which nothing happens for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two pages of the scan: 5,000 items a second at most.
const SCAN_EVERY: Duration = Duration::from_millis(200);
/// A page that cannot be read is read again after so long, then after twice as long, and so on ..
const PAGE_AGAIN: Duration = Duration::from_secs(1);
/// .. and so often.
const PAGE_FAILURES_MAX: u32 = 6;
/// How long after its start a process begins to scan: requests and trees come first.
const SCAN_AFTER: Duration = Duration::from_secs(5);
/// Between two scans of everything.
const SCAN_ALL_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// A rule of reaping that is broken on purpose, so that the simulated world can prove that it would notice.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenReaping {
    /// One of the other owners is not asked.
    SkipOwner,
    /// Members are not asked about hints.
    IgnoreHints,
    /// What the clock covers is joined all the same.
    TakeBack,
    /// Entries are stripped without asking anybody.
    StripUnproven,
}

/// An item of a round.
#[derive(Debug)]
struct Weighed {
    candidate: Candidate,
    hash: u64,
    item: Siblings,
    record: Bytes,
    answers: BTreeMap<u16, Confirmed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    Safe,
    Owners,
    Members,
}

/// A round under way.
#[derive(Debug)]
struct Round {
    number: u64,
    partition: PartitionId,
    stage: Stage,
    /// Copies that are being read.
    reading: usize,
    items: BTreeMap<ItemKey, Weighed>,
    waiting: BTreeSet<u16>,
    /// Who mints for the partition in some running process.
    actors: BTreeSet<ActorId>,
    deadline: Instant,
}

/// The scan for what the queue has lost.
#[derive(Debug, Default)]
struct Scan {
    at: Option<(PartitionId, Bytes)>,
    reading: bool,
    /// So often in a row its page could not be read.
    failures: u32,
    not_before: Option<Instant>,
    all_at: Option<Instant>,
}

/// All that a shard has to reap.
#[derive(Debug, Default)]
pub(super) struct Reaping {
    pub(super) queue: Candidates,
    round: Option<Round>,
    next: u64,
    not_before: Option<Instant>,
    scan: Scan,
    broken: Option<BrokenReaping>,
}

impl Reaping {
    /// Whether a round waits for answers.
    pub(super) fn is_under_way(&self, number: u64) -> bool {
        self.round.as_ref().is_some_and(|round| round.number == number)
    }

    /// Whether another owner refused something of a partition that was not looked at well enough yet.
    pub(super) fn has_refused(&self, partition: PartitionId) -> bool {
        let asked = self.round.as_ref().filter(|round| round.partition == partition);
        asked.is_some_and(|round| round.items.values().any(|weighed| weighed.candidate.refused))
            || self.queue.has_refused(partition)
    }

    pub(super) fn is_broken(&self, how: BrokenReaping) -> bool {
        self.broken == Some(how)
    }
}

impl Shard {
    /// Breaks rule 8 or 13, so that the simulated world can prove that it would notice.
    #[doc(hidden)]
    pub fn break_reaping(&mut self, how: BrokenReaping) {
        self.reaping.broken = Some(how);
    }

    /// Items that wait to be reaped or stripped.
    #[must_use]
    pub fn reapable(&self) -> usize {
        self.reaping.queue.len() + self.reaping.round.as_ref().map_or(0, |round| round.items.len())
    }

    /// Whether something of a partition is being reaped, or waits for others to agree.
    #[must_use]
    pub fn is_reaping(&self, partition: PartitionId) -> bool {
        let round = self.reaping.round.as_ref().is_some_and(|round| round.partition == partition);
        round || self.reaping.queue.will_ask(partition)
    }

    /// An item was stored that may be reaped or stripped before long.
    pub(super) fn note_reapable(&mut self, now: Now, partition: PartitionId, key: &ItemKey) {
        let me = self.view.peer_of(self.view.me).map(PeerIndex::as_index);
        let owners = self.view.layout.owner_indices(partition);
        let rank = owners.iter().position(|owner| Some(usize::from(*owner)) == me).unwrap_or(0);
        self.reaping.queue.note(now.instant, partition, key, u32::try_from(rank).unwrap_or(0));
    }

    /// Another owner refused all of an item as obsolete.
    pub(super) fn note_refused(&mut self, now: Now, partition: PartitionId, key: &ItemKey) {
        self.reaping.queue.note_refused(now.instant, partition, key);
    }

    /// When reaping wants to act.
    pub(super) fn next_reaping(&self) -> Option<Instant> {
        if self.stopping {
            return None;
        }
        let later = |at: Instant, bound: Option<Instant>| bound.map_or(at, |bound| bound.max(at));
        let round = match &self.reaping.round {
            Some(round) => Some(round.deadline),
            None => self.reaping.queue.next_due().map(|due| later(due, self.reaping.not_before)),
        };
        let scan = &self.reaping.scan;
        let wants = !scan.reading && (scan.at.is_some() || self.reaping.queue.wants_scan());
        let page = wants.then(|| later(Instant::from_nanos(0), scan.not_before));
        round.into_iter().chain(page).chain(Some(scan.all_at.unwrap_or(Instant::from_nanos(0)))).min()
    }

    pub(super) fn tick_reaping(&mut self, now: Now, storage: &mut dyn Storage) {
        if self.stopping {
            return;
        }
        self.scan_for_reapable(now, storage);
        if self.reaping.round.as_ref().is_some_and(|round| round.deadline <= now.instant) {
            self.block_round(now, "silent");
        }
        while self.reaping.round.is_none() && self.reaping.not_before.is_none_or(|at| at <= now.instant) {
            let Some((partition, items)) = self.reaping.queue.take(now.instant, REAPING_ITEMS_MAX) else { return };
            self.begin_round(now, partition, items, storage);
        }
    }

    /// A peer's link came up: what was blocked by it may go on. One that went down leaves a round without its answer.
    pub(super) fn reaping_peer(&mut self, now: Now, peer: PeerIndex, up: bool) {
        let number = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        if up {
            self.reaping.queue.stir(now.instant);
        } else if self.reaping.round.as_ref().is_some_and(|round| round.waiting.contains(&number)) {
            self.block_round(now, "unreachable");
        }
    }

    fn begin_round(
        &mut self,
        now: Now,
        partition: PartitionId,
        items: Vec<(ItemKey, Candidate)>,
        storage: &mut dyn Storage,
    ) {
        self.reaping.not_before = Some(now.instant.after(self.throttle.pause(PAUSE)));
        self.reaping.next += 1;
        let number = self.reaping.next;
        let mut round = Round {
            number,
            partition,
            stage: Stage::Reading,
            reading: items.len() + 1,
            items: BTreeMap::new(),
            waiting: BTreeSet::new(),
            actors: BTreeSet::new(),
            deadline: now.instant.after(PATIENCE),
        };
        let refused = items.iter().any(|(_, candidate)| candidate.refused);
        let mut places = Vec::with_capacity(items.len());
        for (key, candidate) in items {
            let Some((_, address)) = key.parts() else { continue };
            let weighed = Weighed {
                candidate,
                hash: 0,
                item: Siblings::default(),
                record: Bytes::new(),
                answers: BTreeMap::new(),
            };
            round.items.insert(key.clone(), weighed);
            places.push((key, address));
        }
        round.reading = places.len() + 1;
        self.counters.reaping_rounds += 1;
        self.reaping.round = Some(round);
        // Without all members nothing is reaped, and without all owners nothing is dropped: not a byte is read or sent.
        let asked = if refused { self.other_owners(partition) } else { self.others() };
        if !asked.iter().all(|peer| self.peers.is_up(PeerIndex::new(*peer))) {
            return self.block_round(now, "unreachable");
        }
        for (key, address) in &places {
            let task = Task::Weigh { round: number };
            if self.with_item(now, (partition, key, address), task, storage).is_err() {
                // So many wait for it that it is being written.
                self.weigh(now, number, key, Err(too_many()));
                self.note_reapable(now, partition, key);
            }
        }
        self.item_weighed(now, number);
    }

    /// This node's copy of a candidate is at hand.
    pub(super) fn weigh(&mut self, now: Now, number: u64, key: &ItemKey, copy: LocalCopy) {
        let Some(round) = self.reaping.round.as_mut().filter(|round| round.number == number) else { return };
        let partition = round.partition;
        let Some(mut weighed) = round.items.remove(key) else { return };
        let clock = self.partitions.get(&partition).map(Partition::clock);
        match (copy, clock) {
            // Not for ever, perhaps; while it lasts nobody is asked about it.
            (Err(_), _) => {
                *self.counters.reaping_blocked.entry("unreadable").or_default() += 1;
                let candidate = Candidate { gap: true, ..weighed.candidate };
                self.reaping.queue.again(now.instant, partition, key.clone(), candidate);
            }
            (Ok(Some(held)), Some(clock)) => {
                let item = held.item;
                let wanted = weighed.candidate.refused || item.is_dead() || item.vector().len() > VECTOR_ENTRIES_KEPT;
                let whole = clock.covers_past(&item.context());
                weighed.hash = item_hash(key.as_bytes(), &held.record);
                (weighed.item, weighed.record) = (item, held.record);
                weighed.candidate.gap = false;
                if wanted && (whole || weighed.candidate.refused || self.reaping.broken.is_some()) {
                    round.items.insert(key.clone(), weighed);
                } else if wanted {
                    *self.counters.reaping_blocked.entry("gap").or_default() += 1;
                    let candidate = Candidate { gap: true, ..weighed.candidate };
                    self.reaping.queue.again(now.instant, partition, key.clone(), candidate);
                }
            }
            // What is gone is nothing to reap.
            (Ok(_), _) => {}
        }
        self.item_weighed(now, number);
    }

    fn item_weighed(&mut self, now: Now, number: u64) {
        let Some(round) = self.reaping.round.as_mut().filter(|round| round.number == number) else { return };
        round.reading = round.reading.saturating_sub(1);
        if round.reading > 0 {
            return;
        }
        if round.items.is_empty() {
            self.reaping.round = None;
            return;
        }
        round.stage = Stage::Safe;
        round.deadline = now.instant.after(PATIENCE);
        self.when_round_is_safe(number);
    }

    /// What this node has of the items is fsynced: the other owners are asked.
    pub(super) fn round_is_safe(&mut self, now: Now, number: u64, storage: &mut dyn Storage) {
        let Some(round) = &mut self.reaping.round else { return };
        if round.number != number || round.stage != Stage::Safe {
            return;
        }
        (round.stage, round.deadline) = (Stage::Owners, now.instant.after(PATIENCE));
        let partition = round.partition;
        let reapable = |(key, weighed): (&ItemKey, &Weighed)| Reapable {
            key: key.as_bytes().clone(),
            hash: weighed.hash,
            past: weighed.item.context(),
        };
        let items: Vec<Reapable> = round.items.iter().map(reapable).collect();
        let mut owners = self.other_owners(partition);
        match self.reaping.broken {
            Some(BrokenReaping::StripUnproven) => owners.clear(),
            Some(BrokenReaping::SkipOwner) => drop(owners.pop()),
            _ => {}
        }
        self.ask_round(now, owners, items, storage);
    }

    /// All members but this node.
    fn others(&self) -> Vec<u16> {
        let me = self.view.peer_of(self.view.me).map(PeerIndex::as_index);
        let all = (0_u16..).take(self.view.layout.nodes().len());
        let others = all.filter(|peer| Some(usize::from(*peer)) != me);
        match self.reaping.broken {
            // It is not asked, so it need not be there.
            Some(BrokenReaping::SkipOwner | BrokenReaping::StripUnproven) => Vec::new(),
            _ => others.collect(),
        }
    }

    fn other_owners(&self, partition: PartitionId) -> Vec<u16> {
        let me = self.view.peer_of(self.view.me).and_then(|me| u16::try_from(me.as_index()).ok());
        self.view.layout.owner_indices(partition).iter().copied().filter(|peer| Some(*peer) != me).collect()
    }

    /// Asks the peers of a stage; goes on at once when there are none.
    fn ask_round(&mut self, now: Now, peers: Vec<u16>, items: Vec<Reapable>, storage: &mut dyn Storage) {
        let Some(round) = &mut self.reaping.round else { return };
        let (number, partition) = (round.number, round.partition);
        round.waiting = peers.iter().copied().collect();
        if peers.is_empty() {
            return self.stage_over(now, storage);
        }
        if !peers.iter().all(|peer| self.peers.is_up(PeerIndex::new(*peer))) {
            return self.block_round(now, "unreachable");
        }
        let request = ConfirmRequest { partition, items };
        for peer in peers {
            let asked = Asked::Confirm { round: number };
            let pair = Pair { partition, peer };
            self.ask(now, pair, asked, Kind::Confirm, request.body_bytes(), |out| request.encode(out));
        }
    }

    /// A peer answered, or could not.
    pub(super) fn confirm_answered(
        &mut self,
        now: Now,
        peer: PeerIndex,
        number: u64,
        reply: Option<ConfirmReply>,
        storage: &mut dyn Storage,
    ) {
        let peer = u16::try_from(peer.as_index()).unwrap_or(u16::MAX);
        let Some(round) = self.reaping.round.as_mut().filter(|round| round.number == number) else { return };
        // An answer that lay in the inbox of a process that slept is too old to be acted on.
        if !round.waiting.remove(&peer) || round.deadline <= now.instant {
            return;
        }
        let expected = if round.stage == Stage::Owners { round.items.len() } else { 0 };
        let Some(reply) = reply.filter(|reply| reply.answers.len() == expected) else {
            return self.block_round(now, "silent");
        };
        if reply.hints > 0 && self.reaping.broken != Some(BrokenReaping::IgnoreHints) {
            return self.block_round(now, "hints");
        }
        round.actors.extend(reply.actor);
        for (weighed, answer) in round.items.values_mut().zip(reply.answers) {
            weighed.answers.insert(peer, answer);
        }
        if round.waiting.is_empty() {
            self.stage_over(now, storage);
        }
    }

    fn stage_over(&mut self, now: Now, storage: &mut dyn Storage) {
        match self.reaping.round.as_ref().map(|round| round.stage) {
            Some(Stage::Owners) => self.owners_answered(now, storage),
            Some(Stage::Members) => self.members_answered(now, storage),
            _ => {}
        }
    }

    /// All other owners said what they have: what is settled by that is ended, what is confirmed goes on.
    fn owners_answered(&mut self, now: Now, storage: &mut dyn Storage) {
        let Some(round) = &mut self.reaping.round else { return };
        let partition = round.partition;
        let doubts = self.exchanges.unverified.contains_key(&partition);
        let mut dropped = Vec::new();
        let mut blocked = Vec::new();
        for (key, weighed) in std::mem::take(&mut round.items) {
            let all = |fits: &[Confirmed]| weighed.answers.values().all(|answer| fits.contains(answer));
            let confirmed = match weighed.item.is_dead() {
                true => all(&[Confirmed::Same, Confirmed::Obsolete]),
                false => !weighed.candidate.refused && all(&[Confirmed::Same]),
            };
            if !weighed.answers.is_empty() && all(&[Confirmed::Obsolete]) {
                dropped.push((key, weighed.hash));
            } else if confirmed && !doubts {
                round.items.insert(key, weighed);
            } else {
                blocked.push((key, weighed));
            }
        }
        for (key, hash) in dropped {
            self.end_here(now, (partition, &key), hash, End::Drop, storage);
        }
        for (key, weighed) in blocked {
            self.settle_blocked(now, partition, key, &weighed);
        }
        let Some(round) = &mut self.reaping.round else { return };
        if round.items.is_empty() {
            self.reaping.round = None;
            return;
        }
        (round.stage, round.deadline) = (Stage::Members, now.instant.after(PATIENCE));
        let owners = self.other_owners(partition);
        let members = self.others().into_iter().filter(|peer| !owners.contains(peer)).collect();
        match self.reaping.broken {
            Some(BrokenReaping::IgnoreHints | BrokenReaping::StripUnproven) => self.stage_over(now, storage),
            _ => self.ask_round(now, members, Vec::new(), storage),
        }
    }

    /// The owners do not agree about an item.
    fn settle_blocked(&mut self, now: Now, partition: PartitionId, key: ItemKey, weighed: &Weighed) {
        let of = |which: &[Confirmed]| {
            let with = weighed.answers.iter().filter(|(_, answer)| which.contains(answer));
            with.map(|(peer, _)| *peer).collect::<Vec<u16>>()
        };
        let why = match weighed.answers.values().max() {
            Some(Confirmed::Unsure) => "unsure",
            Some(Confirmed::Different) => "different",
            Some(Confirmed::SameUncovered | Confirmed::AbsentUncovered) => "clock",
            Some(Confirmed::Obsolete | Confirmed::Same) | None => "contested",
        };
        *self.counters.reaping_blocked.entry(why).or_default() += 1;
        let held = of(&[Confirmed::Same, Confirmed::SameUncovered]);
        if weighed.candidate.refused && !weighed.item.is_dead() && !held.is_empty() {
            // An owner that counts has the same value: whoever calls it obsolete has lost it.
            for peer in of(&[Confirmed::Obsolete]) {
                self.send_contested(now, partition, peer, &key, &weighed.record);
            }
            return;
        }
        for peer in of(&[Confirmed::Different, Confirmed::SameUncovered, Confirmed::AbsentUncovered]) {
            self.disturb(now, partition, PeerIndex::new(peer));
        }
        self.reaping.queue.again(now.instant, partition, key, weighed.candidate);
    }

    fn send_contested(&mut self, now: Now, partition: PartitionId, peer: u16, key: &ItemKey, record: &Bytes) {
        let Some((_, address)) = key.parts() else { return };
        self.counters.contested += 1;
        let request = MergeRequest { address, record: record.clone() };
        let correlation = super::operation::Operations::errand(0);
        let budget = u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX);
        let header = Header::new(Kind::Merge, correlation, budget, self.view.layout.id()).as_contested();
        let bytes = Frame::build(header, request.body_bytes(), |out| request.encode(out));
        let peer = PeerIndex::new(peer);
        self.peers.asked(peer, now.instant);
        self.outbox.push(super::Output::Send { peer, partition, correlation, bytes });
    }

    /// No member keeps anything for the partition, and all said who mints: the items end everywhere.
    fn members_answered(&mut self, now: Now, storage: &mut dyn Storage) {
        let Some(round) = self.reaping.round.take() else { return };
        let partition = round.partition;
        let mut actors = round.actors;
        actors.extend(self.partitions.get(&partition).and_then(Partition::actor));
        let mut items = Vec::new();
        for (key, weighed) in round.items {
            let end = if weighed.item.is_dead() {
                End::Reap
            } else {
                let ended = weighed.item.vector().iter().filter(|dot| !actors.contains(&dot.actor()));
                let ended = ended.map(|dot| (dot.actor(), dot.counter())).collect();
                match VersionVector::from_sorted(ended).filter(|ended| !ended.is_empty()) {
                    Some(ended) => End::Strip(ended),
                    // All of its actors are alive: it is looked at again when it is written again.
                    None => continue,
                }
            };
            let stripped = match &end {
                End::Strip(entries) => entries.clone(),
                End::Reap | End::Drop => VersionVector::new(),
            };
            items.push((Reaped { key: key.as_bytes().clone(), hash: weighed.hash, stripped }, end, weighed.answers));
        }
        for peer in self.other_owners(partition) {
            let holds = |answers: &BTreeMap<u16, Confirmed>| answers.get(&peer) != Some(&Confirmed::Obsolete);
            let theirs = items.iter().filter(|(_, _, answers)| holds(answers)).map(|(reaped, _, _)| reaped.clone());
            let request = ReapRequest { partition, items: theirs.collect() };
            if !request.items.is_empty() {
                let pair = Pair { partition, peer };
                let asked = Asked::Reap { until: now.instant.after(PATIENCE) };
                self.ask(now, pair, asked, Kind::Reap, request.body_bytes(), |out| request.encode(out));
            }
        }
        for (reaped, end, _) in items {
            if let Some(key) = ItemKey::from_bytes(reaped.key) {
                self.end_here(now, (partition, &key), reaped.hash, end, storage);
            }
        }
    }

    /// Ends an item of this node, if it is still what was confirmed.
    fn end_here(
        &mut self,
        now: Now,
        (partition, key): (PartitionId, &ItemKey),
        hash: u64,
        end: End,
        storage: &mut dyn Storage,
    ) {
        let Some((_, address)) = key.parts() else { return };
        // Where too many wait for the item it is not going to be what it was.
        if self.with_item(now, (partition, key, &address), Task::Reap { hash, end }, storage).is_err() {
            self.note_reapable(now, partition, key);
        }
    }

    /// The round cannot end now: all of its items wait for a later one.
    fn block_round(&mut self, now: Now, why: &'static str) {
        let Some(round) = self.reaping.round.take() else { return };
        *self.counters.reaping_blocked.entry(why).or_default() += round.items.len() as u64;
        for (key, weighed) in round.items {
            self.reaping.queue.again(now.instant, round.partition, key, weighed.candidate);
        }
    }

    /// Reads the next page of the scan, a bounded piece of work at a time.
    fn scan_for_reapable(&mut self, now: Now, storage: &mut dyn Storage) {
        match self.reaping.scan.all_at {
            None => {
                self.reaping.scan.all_at = Some(now.instant.after(SCAN_ALL_EVERY));
                self.reaping.scan.not_before = Some(now.instant.after(SCAN_AFTER));
                self.partitions.keys().for_each(|partition| self.reaping.queue.miss(*partition));
            }
            Some(at) if at <= now.instant => {
                self.reaping.scan.all_at = Some(now.instant.after(SCAN_ALL_EVERY));
                self.partitions.keys().for_each(|partition| self.reaping.queue.miss(*partition));
            }
            Some(_) => {}
        }
        let scan = &mut self.reaping.scan;
        if scan.reading || scan.not_before.is_some_and(|at| at > now.instant) {
            return;
        }
        let at = scan.at.take();
        let Some((partition, after)) =
            at.or_else(|| self.reaping.queue.take_missed().map(|partition| (partition, Bytes::new())))
        else {
            return;
        };
        scan.reading = true;
        scan.at = Some((partition, after.clone()));
        let id = self.items.next_read();
        let first = Bytes::from_static(&[KeyKind::Item as u8]);
        self.exchanges.pages.insert(id, Wanted::Reapable);
        storage.items(id, ItemRange { partition, from: first, after, until: None, limit: PAGE_ITEMS });
    }

    /// A page of the scan was read.
    pub(super) fn reapable_listed(&mut self, now: Now, page: Option<ItemPage>) {
        let scan = &mut self.reaping.scan;
        scan.reading = false;
        scan.not_before = Some(now.instant.after(self.throttle.pause(SCAN_EVERY)));
        let Some((partition, after)) = scan.at.take() else { return };
        // A page that cannot be read for a minute is for those who look after rot; the rest is scanned the next day.
        let Some(page) = page else {
            if scan.failures < PAGE_FAILURES_MAX {
                scan.not_before = Some(now.instant.after(PAGE_AGAIN * (1 << scan.failures)));
                scan.failures += 1;
                scan.at = Some((partition, after));
            } else {
                scan.failures = 0;
            }
            return;
        };
        scan.failures = 0;
        if page.more {
            scan.at = page.items.last().map(|last| (partition, last.key.clone()));
        }
        for listed in page.items.into_iter().filter(|listed| listed.reapable) {
            if let Some(key) = ItemKey::from_bytes(listed.key) {
                self.note_reapable(now, partition, &key);
            }
        }
    }
}
