//! A cluster of shards with frames in a queue, ordered maps for disks, and a clock that the test turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::protocol::merkle::{Listed, item_hash};
use crate::protocol::replica::{
    Batch, HintPage, HintRange, ItemKey, ItemPage, ItemRange, Lookup, PartitionImage, ReadError, ReadId, ScanRange,
    Storage, hint_prefix,
};
use crate::protocol::ring::{KeyHash, Layout, Member, Parameters, Roster, partition_of};
use crate::protocol::shard::{Now, Output, PeerIndex, Shard, ShardConfig, Source, SourceId, View};
use crate::protocol::types::{
    Address, ClusterId, Durability, Instant, NodeId, PartitionId, Strictness, WallTime, WriteId,
};
use crate::protocol::version::{ConflictPolicy, Siblings, TokenKey, TokenKeys, checksum, is_reapable};
use crate::protocol::wire::{
    Creation, Failure, Frame, FrameDecoder, GetReply, GetRequest, Header, InspectReply, InspectRequest, Kind, PutReply,
    PutRequest, TableRecord, Want, decode_control,
};

/// An ordered map per partition.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    pub(super) items: BTreeMap<(PartitionId, Bytes), Bytes>,
    /// Answer lookups later, by these ids.
    pub(super) slow: bool,
    pub(super) pending: Vec<(ReadId, PartitionId, ItemKey)>,
    /// Pages of hints to be answered.
    pub(super) pages: Vec<(ReadId, HintRange)>,
    /// Lists of items to be answered.
    pub(super) lists: Vec<(ReadId, ItemRange)>,
    /// Keys whose reads fail.
    pub(super) broken: Vec<Bytes>,
    /// How often it was told that what it holds is not what was written.
    pub(super) distrusted: u64,
}

impl Disk {
    fn commit(&mut self, batch: &Batch) {
        for mutation in &batch.mutations {
            let key = (mutation.partition, mutation.key.clone());
            match &mutation.value {
                Some(value) => drop(self.items.insert(key, value.clone())),
                None => drop(self.items.remove(&key)),
            }
        }
    }

    pub(super) fn lookup(&self, partition: PartitionId, key: &ItemKey) -> Result<Option<Bytes>, ReadError> {
        if self.broken.contains(key.as_bytes()) {
            return Err(ReadError("injected".to_owned()));
        }
        Ok(self.items.get(&(partition, key.as_bytes().clone())).cloned())
    }

    /// Keys and records of the hints that are stored.
    pub(super) fn hints(&self) -> Vec<(ItemKey, Bytes)> {
        let hint = |((_, key), record): (&(PartitionId, Bytes), &Bytes)| {
            Some((ItemKey::from_hint_bytes(key.clone())?, record.clone()))
        };
        self.items.iter().filter_map(hint).collect()
    }

    fn list(&self, range: &ItemRange) -> ItemPage {
        let fits = |key: &Bytes| {
            key[0] == 1
                && *key >= range.from
                && *key > range.after
                && range.until.as_ref().is_none_or(|until| key < until)
        };
        let rows = self.items.iter().filter(|((partition, key), _)| *partition == range.partition && fits(key));
        let mut items: Vec<Listed> = rows
            .map(|((_, key), record)| Listed {
                key: key.clone(),
                hash: item_hash(key, record),
                reapable: is_reapable(record),
            })
            .collect();
        let more = items.len() > range.limit;
        items.truncate(range.limit);
        ItemPage { items, more }
    }

    fn page(&self, range: &HintRange) -> HintPage {
        let prefix = hint_prefix(range.home, range.partition);
        let after = |key: &ItemKey| range.after.as_ref().is_none_or(|after| key > after);
        let mut hints = self.hints();
        hints.retain(|(key, _)| key.as_bytes().starts_with(&prefix) && after(key));
        let more = hints.len() > range.limit;
        hints.truncate(range.limit);
        HintPage { hints, more }
    }
}

impl Storage for Disk {
    fn read(&mut self, id: ReadId, partition: PartitionId, key: &ItemKey) -> Lookup {
        if self.slow {
            self.pending.push((id, partition, key.clone()));
            return Lookup::Pending;
        }
        Lookup::Ready(self.lookup(partition, key))
    }

    fn distrust_memory(&mut self) {
        self.distrusted += 1;
    }

    fn scan(&mut self, _id: ReadId, _partition: PartitionId, _range: ScanRange) {}

    fn items(&mut self, id: ReadId, range: ItemRange) {
        self.lists.push((id, range));
    }

    fn hints(&mut self, id: ReadId, range: HintRange) {
        self.pages.push((id, range));
    }

    fn load_hints(&mut self, visit: &mut dyn FnMut(&ItemKey, usize)) -> Result<(), ReadError> {
        for (key, record) in Self::hints(self) {
            visit(&key, record.len());
        }
        Ok(())
    }

    fn load(&mut self, partition: PartitionId) -> Result<PartitionImage, ReadError> {
        let mut image = PartitionImage::default();
        for ((at, key), value) in &self.items {
            match (*at == partition, key.first()) {
                (true, Some(2)) => image.clock = Some(value.clone()),
                (true, Some(4)) => image.tree = Some(value.clone()),
                (true, Some(3)) => {
                    let sequence = u64::from_be_bytes(key[1..].try_into().unwrap());
                    image.log.push((sequence, value.clone()));
                }
                _ => {}
            }
        }
        Ok(image)
    }
}

pub(super) struct Node {
    pub(super) shard: Option<Shard>,
    pub(super) disk: Disk,
    sequence: u64,
    /// Fsyncs happen at once unless the test holds them.
    pub(super) hold_fsync: bool,
}

/// A frame on its way between two nodes.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) frame: Frame,
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Got(GetReply),
    Put(PutReply),
    Inspected(InspectReply),
    Failed(Failure),
    #[expect(dead_code, reason = "shown when a test fails")]
    Other(Kind),
}

pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) view: Vec<Arc<View>>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) told: BTreeMap<u64, Told>,
    pub(super) now: Now,
    /// Frames that match are lost.
    pub(super) lose: Box<dyn Fn(&Flight) -> bool>,
    durability: Durability,
    next_request: u64,
    boots: u16,
}

const CLIENT: u64 = 1 << 32;
/// Above what replicas send whole whatever they are asked.
pub(super) const VALUE_BYTES_MAX: usize = 10_000;
/// Room for a few hints for one node.
pub(super) const HINT_BYTES_MAX: u64 = 4_000;

impl Cluster {
    pub(super) fn new(nodes: u16, replicas: u8, durability: Durability) -> Self {
        let member = |at: u16| Member {
            id: NodeId::new(u128::from(at) + 1),
            name: format!("n{}", at + 1),
            zone: String::new(),
            weight: 1,
            address: ([127, 0, 0, 1], 7000 + at).into(),
        };
        let roster = Roster::new((0..nodes).map(member).collect()).unwrap();
        let parameters = Parameters { partitions: 8, replicas, hash_seed: 3 };
        let creation = Creation {
            cluster: ClusterId::new(9),
            layout: Layout::first(&roster, parameters).unwrap().id(),
            roster,
            parameters,
            token_keys: TokenKeys { current: TokenKey::new(1, [5; 16]), previous: None },
            tables: vec![TableRecord { name: "latest".to_owned(), policy: ConflictPolicy::LastWriterWins }],
        };
        let view = |at: u16| Arc::new(View::of(NodeId::new(u128::from(at) + 1), &creation, 2, 2).unwrap());
        let mut cluster = Self {
            nodes: Vec::new(),
            view: (0..nodes).map(view).collect(),
            flights: VecDeque::new(),
            told: BTreeMap::new(),
            now: Now { instant: Instant::from_nanos(1), wall: WallTime::from_millis(1_700_000_000_000) },
            lose: Box::new(|_| false),
            durability,
            next_request: 0,
            boots: 0,
        };
        for at in 0..usize::from(nodes) {
            let node = Node { shard: None, disk: Disk::default(), sequence: 0, hold_fsync: false };
            cluster.nodes.push(node);
            cluster.boot(at, false);
        }
        cluster
    }

    pub(super) fn boot(&mut self, at: usize, unverified: bool) {
        self.boots += 1;
        let durability = self.durability;
        let config = ShardConfig {
            shard: 0,
            shards: 1,
            durability,
            value_bytes_max: VALUE_BYTES_MAX,
            unverified,
            hint_bytes_max: HINT_BYTES_MAX,
        };
        let node = &mut self.nodes[at];
        let mut seed = [0; 32];
        Xoshiro256PlusPlus::seed_from_u64(u64::from(self.boots)).fill_bytes(&mut seed);
        node.shard = Some(Shard::new(config, self.view[at].clone(), seed, &mut node.disk).unwrap());
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            let up = self.nodes[peer].shard.is_some();
            self.peer(at, peer, up);
            if up {
                self.peer(peer, at, true);
            }
        }
    }

    /// Ends a process that was told to end: its trees are committed last.
    pub(super) fn stop(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let shard = node.shard.as_mut().unwrap();
        loop {
            let batch = shard.store_trees();
            if batch.mutations.is_empty() {
                break;
            }
            node.disk.commit(&batch);
        }
        self.crash(at);
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.nodes[at].shard = None;
        self.flights.retain(|flight| flight.from != at && flight.to != at);
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.peer(other, at, false);
        }
    }

    pub(super) fn peer(&mut self, at: usize, peer: usize, up: bool) {
        let now = self.now;
        let node = &mut self.nodes[at];
        if let Some(shard) = &mut node.shard {
            shard.handle_peer(now, PeerIndex::new(u16::try_from(peer).unwrap()), up, &mut node.disk);
            self.turn(at);
        }
    }

    /// Commits what a node wrote and carries out what it said.
    pub(super) fn turn(&mut self, at: usize) {
        let now = self.now;
        loop {
            let node = &mut self.nodes[at];
            let Some(shard) = &mut node.shard else { return };
            if shard.has_turn() {
                let batch = shard.take_turn(now);
                node.disk.commit(&batch);
                node.sequence += 1;
                shard.handle_committed(now, node.sequence, &mut node.disk);
                if !node.hold_fsync {
                    shard.handle_durable(now, node.sequence, &mut node.disk);
                }
            }
            let outputs: Vec<Output> = shard.drain().collect();
            for (id, range) in std::mem::take(&mut node.disk.pages) {
                let page = node.disk.page(&range);
                shard.handle_hints(now, id, Ok(page), &mut node.disk);
            }
            for (id, range) in std::mem::take(&mut node.disk.lists) {
                let page = node.disk.list(&range);
                shard.handle_items(now, id, Ok(page), &mut node.disk);
            }
            let more = shard.has_turn();
            for output in outputs {
                self.carry_out(at, output);
            }
            if !more {
                return;
            }
        }
    }

    pub(super) fn fsync(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        if let Some(shard) = &mut node.shard {
            shard.handle_durable(now, node.sequence, &mut node.disk);
        }
        self.turn(at);
    }

    pub(super) fn disk_answers(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        for (id, partition, key) in std::mem::take(&mut node.disk.pending) {
            let result = node.disk.lookup(partition, &key);
            if let Some(shard) = &mut node.shard {
                shard.handle_read(now, id, result, &mut node.disk);
            }
        }
        self.turn(at);
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { peer, bytes, .. } => self.fly(at, peer.as_index(), &bytes),
            Output::Reply { source, bytes } if source.id.as_u64() >= CLIENT => {
                let frame = decode(&bytes);
                let told = match frame.kind() {
                    Some(Kind::GetReply) => Told::Got(GetReply::decode(frame.body.clone()).unwrap()),
                    Some(Kind::PutReply) => Told::Put(PutReply::decode(frame.body.clone()).unwrap()),
                    Some(Kind::InspectReply) => Told::Inspected(InspectReply::decode(frame.body.clone()).unwrap()),
                    Some(Kind::Error) => Told::Failed(decode_control(&frame.body, "error").unwrap()),
                    kind => Told::Other(kind.unwrap()),
                };
                let before = self.told.insert(frame.header.correlation, told);
                assert!(before.is_none(), "a request is answered once");
            }
            Output::Reply { source, bytes } => {
                self.fly(at, usize::try_from(source.id.as_u64()).unwrap(), &bytes);
            }
            Output::Forward { .. } => panic!("one shard a node here"),
        }
    }

    fn fly(&mut self, from: usize, to: usize, bytes: &Bytes) {
        self.flights.push_back(Flight { from, to, frame: decode(bytes) });
    }

    /// Hands over one frame.
    pub(super) fn deliver(&mut self, flight: Flight) {
        let now = self.now;
        if (self.lose)(&flight) {
            return;
        }
        let node = &mut self.nodes[flight.to];
        let Some(shard) = &mut node.shard else { return };
        let from = u16::try_from(flight.from).unwrap();
        if flight.frame.kind().unwrap().is_reply() {
            shard.handle_answer(now, PeerIndex::new(from), flight.frame, &mut node.disk);
        } else {
            let source = Source { id: SourceId::new(u64::from(from)), arrived: now.instant };
            shard.handle_request(now, source, flight.frame, &mut node.disk);
        }
        self.turn(flight.to);
    }

    /// Delivers until nothing is on its way.
    pub(super) fn settle(&mut self) {
        while let Some(flight) = self.flights.pop_front() {
            self.deliver(flight);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.instant = self.now.instant.after(time);
        let millis = self.now.wall.as_millis() + u64::try_from(time.as_millis()).unwrap();
        self.now.wall = WallTime::from_millis(millis);
        for at in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[at];
            if let Some(shard) = &mut node.shard {
                shard.handle_tick(now, &mut node.disk);
            }
            self.turn(at);
        }
    }

    pub(super) fn request(&mut self, at: usize, kind: Kind, body: Vec<u8>) -> u64 {
        self.next_request += 1;
        let id = CLIENT + self.next_request;
        let now = self.now;
        let header = Header::new(kind, id, 500, self.view[at].layout.id());
        let node = &mut self.nodes[at];
        if let Some(shard) = &mut node.shard {
            let source = Source { id: SourceId::new(id), arrived: now.instant };
            shard.handle_request(now, source, Frame::new(header, body.into()), &mut node.disk);
        }
        self.turn(at);
        id
    }

    /// A read that was in the node's inbox for a while.
    pub(super) fn request_that_arrived(&mut self, at: usize, arrived: Instant, address: &Address) -> u64 {
        let mut body = Vec::new();
        GetRequest { address: address.clone(), r: 2, strictness: Strictness::Strict }.encode(&mut body);
        self.next_request += 1;
        let id = CLIENT + self.next_request;
        let source = Source { id: SourceId::new(id), arrived };
        let header = Header::new(Kind::Get, id, 500, self.view[at].layout.id());
        let (now, node) = (self.now, &mut self.nodes[at]);
        if let Some(shard) = &mut node.shard {
            shard.handle_request(now, source, Frame::new(header, body.into()), &mut node.disk);
        }
        self.turn(at);
        id
    }

    pub(super) fn ask_put(&mut self, at: usize, put: &PutRequest) -> u64 {
        let mut body = Vec::new();
        put.encode(&mut body);
        self.request(at, Kind::Put, body)
    }

    pub(super) fn ask_get(&mut self, at: usize, address: &Address, r: u8) -> u64 {
        let mut body = Vec::new();
        GetRequest { address: address.clone(), r, strictness: Strictness::Strict }.encode(&mut body);
        self.request(at, Kind::Get, body)
    }

    pub(super) fn ask_inspect(&mut self, at: usize, address: &Address) -> u64 {
        let mut body = Vec::new();
        InspectRequest { address: address.clone() }.encode(&mut body);
        self.request(at, Kind::Inspect, body)
    }

    pub(super) fn put(&mut self, at: usize, put: &PutRequest) -> Told {
        let id = self.ask_put(at, put);
        self.settle();
        self.told_now(id)
    }

    pub(super) fn get(&mut self, at: usize, address: &Address, r: u8) -> Told {
        let id = self.ask_get(at, address, r);
        self.settle();
        self.told_now(id)
    }

    /// What a client was told; when nothing yet, time passes until its budget is over.
    pub(super) fn told_now(&mut self, id: u64) -> Told {
        for _ in 0..60 {
            if let Some(told) = self.told.remove(&id) {
                return told;
            }
            self.pass(Duration::from_millis(10));
            self.settle();
        }
        panic!("the request was never answered");
    }

    /// A node's stored copy.
    pub(super) fn copy(&self, at: usize, address: &Address) -> Siblings {
        let layout = &self.view[at].layout;
        let hash = KeyHash::of(address, layout.parameters().hash_seed);
        let key = ItemKey::new(address, hash);
        let partition = partition_of(hash, layout.partition_bits());
        let record = self.nodes[at].disk.items.get(&(partition, key.as_bytes().clone()));
        record.map(|record| Siblings::decode(record).unwrap()).unwrap_or_default()
    }

    pub(super) fn item_key(&self, address: &Address) -> Bytes {
        let hash = KeyHash::of(address, self.view[0].layout.parameters().hash_seed);
        ItemKey::new(address, hash).as_bytes().clone()
    }
}

fn decode(bytes: &Bytes) -> Frame {
    let mut decoder = FrameDecoder::new(usize::MAX);
    decoder.extend(bytes);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert!(!decoder.is_mid_frame());
    frame
}

pub(super) fn address(key: &str) -> Address {
    table_address("t", key)
}

pub(super) fn table_address(table: &str, key: &str) -> Address {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Address::new(bytes(table), bytes(key), Bytes::new()).unwrap()
}

pub(super) fn put_of(address: &Address, id: u128, value: &str, token: &Bytes) -> PutRequest {
    let write_id = WriteId::new(id);
    let value = Bytes::copy_from_slice(value.as_bytes());
    PutRequest {
        address: address.clone(),
        write_id,
        want: Want::Value,
        w: 0,
        strictness: Strictness::Strict,
        token: token.clone(),
        checksum: checksum(address, write_id, false, &value),
        value,
    }
}

impl Told {
    pub(super) fn put(self) -> PutReply {
        match self {
            Self::Put(reply) => reply,
            other => panic!("expected a stored write, got {other:?}"),
        }
    }

    pub(super) fn got(self) -> GetReply {
        match self {
            Self::Got(reply) => reply,
            other => panic!("expected an answer, got {other:?}"),
        }
    }

    pub(super) fn inspected(self) -> InspectReply {
        match self {
            Self::Inspected(reply) => reply,
            other => panic!("expected an account, got {other:?}"),
        }
    }

    pub(super) fn failed(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }
}

pub(super) fn values(reply: &GetReply) -> Vec<String> {
    let mut values: Vec<_> =
        reply.versions.iter().map(|version| String::from_utf8(version.value.to_vec()).unwrap()).collect();
    values.sort();
    values
}
