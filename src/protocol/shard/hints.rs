//! Hints: writes that this node keeps for owners that could not be reached (Dynamo 4.6).
//!
//! A hint is the whole item, under the name of its home node, with every dot unchanged. Hints for one item collapse
//! into one: the second is joined into the first. An accepted hint is never dropped; `handoff` removes it once its home
//! node has reported that it is fsynced there. What does not fit is refused, and then does not count toward W.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::items::{Held, LocalCopy, Task, overloaded};
use super::{Now, PeerIndex, Shard, Source};
use crate::protocol::replica::{HintPage, ItemKey, Mutation, ReadError, ReadId, Storage, open_copy};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::{Address, Instant, NodeId, PartitionId};
use crate::protocol::version::{Head, Siblings};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, Header, HintRequest, Inspected, Kind, MergeReply, ReadReply, ReadResult, Refused,
};

/// What is charged for a hint beside its record: its key and RocksDB's own bytes.
const HINT_OVERHEAD_BYTES: u64 = 128;
/// A full store of hints does not empty before its home node is back.
const HINTS_FULL_FOR: core::time::Duration = core::time::Duration::from_secs(5);
/// Reads of hints on behalf of coordinators at once.
const GATHERS_MAX: usize = 1_024;

/// The hints for one partition of one home node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stock {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// The hints for one home node, and how they get there.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) bytes: u64,
    pub(super) count: u64,
    /// Since when this process knows of the oldest of them.
    pub(super) since: Instant,
    /// How many may be on their way at once.
    pub(super) window: usize,
    /// On their way: errand, key, bytes of the record.
    pub(super) sent: BTreeMap<u64, (ItemKey, usize)>,
    /// Read, not sent yet.
    pub(super) queue: VecDeque<(ItemKey, Bytes)>,
    /// Where the present pass is.
    pub(super) cursor: Option<(PartitionId, Option<ItemKey>)>,
    /// The page that is being read.
    pub(super) page: Option<ReadId>,
    /// Changed since the present pass began: what of them was read, or is on its way, is not all of it.
    pub(super) changed: BTreeSet<ItemKey>,
    /// When to begin the next pass, or to give this one up.
    pub(super) wake: Option<Instant>,
    pub(super) failures: u32,
}

/// Who wants to know what this node keeps of an item.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    /// A coordinator elsewhere.
    Peer { source: Source, correlation: u64 },
    /// A person who inspects it.
    Person { source: Source, correlation: u64 },
    /// An operation of this shard, which stands in.
    Operation(u64),
}

/// A read of all hints for one item, on behalf of a coordinator.
#[derive(Debug)]
struct Gather {
    asker: Asker,
    waiting: usize,
    unreadable: bool,
    item: Siblings,
    keys: Vec<ItemKey>,
}

/// All hints of a shard.
#[derive(Debug, Default)]
pub(super) struct Hints {
    stocks: BTreeMap<(PeerIndex, PartitionId), Stock>,
    pub(super) homes: BTreeMap<PeerIndex, Home>,
    gathers: BTreeMap<u64, Gather>,
    next_gather: u64,
    pub(super) next_errand: u64,
    /// Kept for nodes that no layout knows.
    pub(super) orphans: u64,
}

impl Home {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            bytes: 0,
            count: 0,
            since,
            window: super::handoff::WINDOW_FIRST,
            sent: BTreeMap::new(),
            queue: VecDeque::new(),
            cursor: None,
            page: None,
            changed: BTreeSet::new(),
            wake: None,
            failures: 0,
        }
    }
}

impl Hints {
    /// Takes a hint into the account.
    pub(super) fn add(&mut self, home: PeerIndex, partition: PartitionId, record_bytes: usize, now: Instant) {
        let bytes = record_bytes as u64 + HINT_OVERHEAD_BYTES;
        let stock = self.stocks.entry((home, partition)).or_default();
        stock.count += 1;
        stock.bytes += bytes;
        let home = self.homes.entry(home).or_insert_with(|| Home::new(now));
        home.count += 1;
        home.bytes += bytes;
    }

    /// Takes a hint out of the account.
    pub(super) fn remove(&mut self, home: PeerIndex, partition: PartitionId, record_bytes: usize) {
        let bytes = record_bytes as u64 + HINT_OVERHEAD_BYTES;
        if let Some(stock) = self.stocks.get_mut(&(home, partition)) {
            stock.count = stock.count.saturating_sub(1);
            stock.bytes = stock.bytes.saturating_sub(bytes);
            if stock.count == 0 {
                self.stocks.remove(&(home, partition));
            }
        }
        if let Some(home) = self.homes.get_mut(&home) {
            home.count = home.count.saturating_sub(1);
            home.bytes = home.bytes.saturating_sub(bytes);
        }
    }

    /// Hints for a partition, whoever their home is.
    pub(super) fn count_of(&self, partition: PartitionId) -> u64 {
        self.stocks.iter().filter(|((_, of), _)| *of == partition).map(|(_, stock)| stock.count).sum()
    }

    /// The first partition from `from` on of which there are hints for a home node.
    pub(super) fn next_partition(&self, home: PeerIndex, from: PartitionId) -> Option<PartitionId> {
        let last = PartitionId::new(u16::MAX);
        self.stocks.range((home, from)..=(home, last)).next().map(|((_, partition), _)| *partition)
    }

    /// Hints in all.
    pub(super) fn count(&self) -> u64 {
        self.homes.values().map(|home| home.count).sum::<u64>() + self.orphans
    }

    /// Bytes of them.
    pub(super) fn bytes(&self) -> u64 {
        self.homes.values().map(|home| home.bytes).sum()
    }
}

impl Shard {
    /// Counts the hints that are on the disk.
    pub(super) fn load_hints(&mut self, storage: &mut dyn Storage) -> Result<(), ReadError> {
        let (shard, shards) = (self.config.shard, self.config.shards);
        let (hints, view) = (&mut self.hints, &self.view);
        storage.load_hints(&mut |key, bytes| {
            let Some((home, partition, _)) = key.hint_parts() else { return };
            if partition.as_u16() % shards != shard {
                return;
            }
            match view.peer_of(home) {
                // The age of what an earlier process accepted is counted from here on.
                Some(home) => hints.add(home, partition, bytes, Instant::from_nanos(0)),
                None => hints.orphans += 1,
            }
        })
    }

    /// Keeps a peer's write for an owner that the peer cannot reach.
    pub(super) fn serve_hint(
        &mut self,
        now: Now,
        (source, header): (Source, Header),
        request: HintRequest,
        partition: PartitionId,
        hash: KeyHash,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.counters.hints_asked += 1;
        let HintRequest { home, address, record } = request;
        if home == self.view.me || !self.view.layout.is_owner(partition, home) {
            let text =
                format!("node {home} is not an owner of partition {partition} that this node could stand in for");
            return Err(Failure::new(FailureCode::Stale, text));
        }
        let item = open_copy(&address, &record)
            .map_err(|error| Failure::new(FailureCode::BadInput, format!("the item to keep is damaged: {error}")))?;
        let key = ItemKey::new(&address, hash).hinted(home, partition);
        let held = Held { item, record };
        let task = Task::Merge { source, header, address: address.clone(), held };
        self.with_item(now, (partition, &key, &address), task, storage).map_err(|_| overloaded())
    }

    /// Whether a hint of this size may be taken in, in place of one of that size.
    pub(super) fn check_hint_room(&self, key: &ItemKey, before: usize, after: usize) -> Result<(), Failure> {
        let Some((home, _, _)) = key.hint_parts() else { return Ok(()) };
        self.check_room_for_new("hints")?;
        let held = self.view.peer_of(home).and_then(|home| self.hints.homes.get(&home)).map_or(0, |home| home.bytes);
        let limit = self.config.hint_bytes_max;
        if held + after as u64 + HINT_OVERHEAD_BYTES <= limit + before as u64 {
            return Ok(());
        }
        let name = self.view.roster.name_of(home);
        let text = format!(
            "this shard keeps {held} bytes of hints for {name}; the limit is {limit} (hint_bytes_max): bring {name} \
             back, or raise the limit"
        );
        Err(Failure::overloaded(text, HINTS_FULL_FOR))
    }

    /// Stores a hint in this turn.
    pub(super) fn store_hint(
        &mut self,
        now: Now,
        partition: PartitionId,
        key: &ItemKey,
        before: Option<usize>,
        held: Held,
    ) {
        let Some((home, _, _)) = key.hint_parts() else { return };
        let Some(home) = self.view.peer_of(home) else { return };
        if let Some(before) = before {
            self.hints.remove(home, partition, before);
        } else {
            self.counters.hints_stored += 1;
        }
        self.hints.add(home, partition, held.record.len(), now.instant);
        if let Some(home) = self.hints.homes.get_mut(&home) {
            home.changed.insert(key.clone());
            if before.is_none() && home.count == 1 {
                home.since = now.instant;
            }
            // If the home node is up, the hint may leave at the next look around.
            home.wake.get_or_insert(now.instant.after(super::handoff::FIRST_LOOK));
        }
        let (at, value) = (key.as_bytes().clone(), Some(held.record.clone()));
        self.batch.mutations.push(Mutation { partition, key: at, value });
        self.items.note_written(key, held);
    }

    /// Reads what this node keeps of an item that it does not own.
    pub(super) fn serve_hinted_read(
        &mut self,
        now: Now,
        asker: Asker,
        address: &Address,
        partition: PartitionId,
        hash: KeyHash,
        storage: &mut dyn Storage,
    ) {
        self.counters.replica_reads += u64::from(matches!(asker, Asker::Peer { .. }));
        match asker {
            Asker::Peer { source, correlation } if self.hints.count_of(partition) == 0 => {
                return self.send_read_reply(source, correlation, &[], ReadResult::Absent);
            }
            Asker::Person { source, correlation } if self.hints.count_of(partition) == 0 => {
                return self.tell_hints(source, correlation, &[], Inspected::Absent);
            }
            Asker::Peer { source, correlation } | Asker::Person { source, correlation }
                if self.hints.gathers.len() >= GATHERS_MAX =>
            {
                return self.reply_failure(source, correlation, &overloaded());
            }
            Asker::Peer { .. } | Asker::Person { .. } | Asker::Operation(_) => {}
        }
        let homes: Vec<NodeId> = self.view.layout.owners(partition).collect();
        let key = ItemKey::new(address, hash);
        let keys: Vec<ItemKey> = homes.iter().map(|home| key.hinted(*home, partition)).collect();
        self.hints.next_gather += 1;
        let id = self.hints.next_gather;
        let gather =
            Gather { asker, waiting: keys.len(), unreadable: false, item: Siblings::default(), keys: keys.clone() };
        self.hints.gathers.insert(id, gather);
        for key in keys {
            if self.with_item(now, (partition, &key, address), Task::Gather { gather: id }, storage).is_err() {
                let full = super::items::too_many();
                self.gathered_hint(now, id, address, Err(full), storage);
            }
        }
    }

    /// One of the hints of a gather was read.
    pub(super) fn gathered_hint(
        &mut self,
        now: Now,
        id: u64,
        address: &Address,
        copy: LocalCopy,
        storage: &mut dyn Storage,
    ) {
        let policy = self.view.policy(address.table());
        let Some(gather) = self.hints.gathers.get_mut(&id) else { return };
        gather.waiting = gather.waiting.saturating_sub(1);
        match copy {
            Ok(None) => {}
            Ok(Some(held)) => drop(gather.item.join(&held.item, policy)),
            Err(_) => gather.unreadable = true,
        }
        if gather.waiting > 0 {
            return;
        }
        let Some(gather) = self.hints.gathers.remove(&id) else { return };
        let (source, correlation) = match gather.asker {
            Asker::Peer { source, correlation } => (source, correlation),
            Asker::Person { source, correlation } => {
                let found = inspected(&gather);
                return self.tell_hints(source, correlation, &gather.keys, found);
            }
            Asker::Operation(id) => return self.own_hints_read(now, id, &gather.item, &gather.keys, storage),
        };
        let result = match (gather.unreadable, gather.item.is_empty()) {
            (true, _) => ReadResult::Unreadable,
            (false, true) => ReadResult::Absent,
            (false, false) => ReadResult::Found(gather.item.to_record()),
        };
        self.send_read_reply(source, correlation, &gather.keys, result);
    }

    fn send_read_reply(&mut self, source: Source, correlation: u64, keys: &[ItemKey], result: ReadResult) {
        let reply = ReadReply { result, unverified: false };
        let header = Header::new(Kind::ReadReply, correlation, 0, self.view.layout.id());
        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
        match self.newest_unsafe(keys) {
            Some(key) => self.reply_when_durable(source, &key, bytes),
            None => self.reply(source, bytes),
        }
    }

    /// Hints that are kept here: how many, and their bytes.
    #[must_use]
    pub fn hint_stock(&self) -> (u64, u64) {
        (self.hints.count(), self.hints.bytes())
    }

    /// How long this process has known of the oldest hint that is kept here.
    #[must_use]
    pub fn oldest_hint(&self, now: Now) -> core::time::Duration {
        let since = self.hints.homes.values().filter(|home| home.count > 0).map(|home| home.since).min();
        since.map_or(core::time::Duration::ZERO, |since| now.instant.since(since))
    }

    /// Takes a page of hints that the storage was asked for.
    pub fn handle_hints(&mut self, now: Now, id: ReadId, page: Result<HintPage, ReadError>, storage: &mut dyn Storage) {
        self.hint_page(now, id, page, storage);
    }
}

/// What a gather says to a person.
fn inspected(gather: &Gather) -> Inspected {
    if gather.unreadable {
        return Inspected::Unreadable("a hint for it cannot be read".to_owned());
    }
    match Head::of(&gather.item.to_record()) {
        _ if gather.item.is_empty() => Inspected::Absent,
        Ok(head) => Inspected::Head(head),
        Err(error) => Inspected::Unreadable(error.to_string()),
    }
}

/// The answer to a hint.
pub(super) fn hint_reply(correlation: u64, fsynced: bool, shard: &Shard) -> Bytes {
    let header = Header::new(Kind::HintReply, correlation, 0, shard.view.layout.id());
    let reply = MergeReply { fsynced, refused: Refused::default() };
    Frame::build(header, MergeReply::BODY_BYTES, |out| reply.encode(out))
}
