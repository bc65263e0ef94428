//! The shard: the machines above composed, for one share of a node's partitions.
//!
//! This is the one thing that both the server's driver and the simulator run. A turn is:
//!
//! ```text
//!   handle_request / handle_answer / handle_read / handle_tick ..   any number of inputs
//!   take_turn  -> a Batch, to be committed as one
//!   handle_committed(sequence)   releases what the turn has to say
//!   handle_durable(sequence)     releases what had to wait for the fsync (durability `sync`)
//!   drain      -> Outputs, for the caller to carry out
//! ```
//!
//! Nothing leaves before the commit of the turn that it belongs to: replication, replies and answers to peers alike.
//! With durability `sync`, confirmations of writes, and reads that show a version which is not fsynced yet, also wait
//! for [`Shard::handle_durable`]. A failed commit releases nothing, and the node ends.
//!
//! Invariants: one item is read from the disk once at a time (a latch queues the operations behind it, in order); a
//! request is answered exactly once, at its deadline at the latest; every queue has a named bound.
//!
//! *Caveats.* Membership comes from outside as peers going up and down.

mod burden;
mod candidates;
mod comparing;
mod confirming;
mod exchanging;
mod expiry;
mod handoff;
mod heads;
mod hints;
mod inspecting;
mod items;
mod measures;
mod operation;
mod output;
mod peers;
mod reading;
mod reaping;
mod recent;
mod relaying;
mod release;
mod restoring;
mod room;
mod serving;
mod settling;
mod slow;
mod standing_in;
mod throttle;
mod timers;
mod trees;
mod twins;
mod view;
mod writing;

pub use expiry::EXPIRING;
pub use measures::{Measures, PEERS_MAX, TABLES_MAX, TableMeasures, Verb, VerbMeasures};
pub use output::{Counters, Now, Output, PeerIndex, Source, SourceId};
pub use reaping::BrokenReaping;
pub use room::{Room, Space};
pub use slow::{SlowPeer, SlowRequest};
pub use view::View;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use self::confirming::Confirms;
use self::exchanging::Exchanges;
use self::hints::Hints;
use self::items::Items;
use self::operation::{Operations, Role};
use self::output::Weight;
use self::peers::Peers;
use self::reaping::Reaping;
use self::release::Release;
use self::restoring::Restores;
use self::slow::SlowLog;
use self::throttle::Throttle;
use self::timers::Timer;
use self::twins::Twins;
use crate::protocol::coordinator::Copied;
use crate::protocol::replica::{Batch, Partition, ReadError, ReadId, Storage};
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::types::{ActorId, Address, Durability, Instant, PartitionId};
use crate::protocol::version::{Dot, Siblings};
use crate::protocol::wire::{
    CompareRequest, Failure, FailureCode, Frame, GetRequest, Header, HintRequest, KeysRequest, Kind, MergeReply,
    MergeRequest, PutRequest, ReadRequest, ScanRequest, SettleRequest, WireError, encode_control,
};

/// What a shard is told once.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Which shard of its node this is: it has the partitions `p` with `p mod shards == shard`.
    pub shard: u16,
    /// How many shards the node has.
    pub shards: u16,
    /// When a write counts as safe here.
    pub durability: Durability,
    /// Largest value that a client may put, bytes.
    pub value_bytes_max: usize,
    /// The node may have lost acknowledged writes: its answers do not count toward R (rule 4).
    pub unverified: bool,
    /// Bytes of hints that this shard keeps for one home node at most.
    pub hint_bytes_max: u64,
}

/// One share of a node's partitions.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    view: Arc<View>,
    rng: Xoshiro256PlusPlus,
    partitions: BTreeMap<PartitionId, Partition>,
    /// Partitions of others, for which this node mints as a stand-in.
    stand_ins: BTreeMap<PartitionId, Partition>,
    keeps_actors: bool,
    trusts_heads: bool,
    twins: Twins,
    fallbacks: BTreeMap<PartitionId, Arc<[u16]>>,
    hints: Hints,
    exchanges: Exchanges,
    restores: Restores,
    reaping: Reaping,
    confirms: Confirms,
    items: Items,
    operations: Operations,
    peers: Peers,
    release: Release,
    scans: BTreeMap<ReadId, (Source, u64)>,
    batch: Batch,
    outbox: Vec<Output>,
    ready: Vec<Output>,
    counters: Counters,
    throttle: Throttle,
    room: Room,
    space: Space,
    weight: Weight,
    measures: Measures,
    slow: SlowLog,
    stopping: bool,
}

/// Budget of a request that names none, milliseconds.
const BUDGET_MS_DEFAULT: u32 = 2_000;

impl Shard {
    /// A shard of a member node. Reads clock and log of its partitions.
    ///
    /// # Errors
    /// A partition's own state cannot be read; the node must not start over it.
    pub fn new(
        config: ShardConfig,
        view: Arc<View>,
        seed: [u8; 32],
        storage: &mut dyn Storage,
    ) -> Result<Self, ReadError> {
        assert!(config.shard < config.shards, "a shard's number is below the number of shards");
        let mut partitions = BTreeMap::new();
        let (mut exchanges, mut counters) = (Exchanges::default(), Counters::default());
        for partition in view.layout.owned_by(view.me) {
            if partition.as_u16() % config.shards == config.shard {
                let image = storage.load(partition)?;
                let state = Partition::load(partition, &image)?;
                if let Some(record) = &image.tree {
                    let (bits, sequence) = (view.layout.partition_bits(), state.last_change());
                    let taken = exchanges.trees.take_stored(record, partition, bits, sequence);
                    counters.trees_taken += u64::from(taken);
                }
                partitions.insert(partition, state);
            }
        }
        let mut shard = Self {
            peers: Peers::new(view.layout.nodes().len()),
            release: Release::new(config.durability),
            view,
            rng: Xoshiro256PlusPlus::from_seed(seed),
            partitions,
            stand_ins: BTreeMap::new(),
            keeps_actors: false,
            trusts_heads: false,
            twins: Twins::Replaced,
            fallbacks: BTreeMap::new(),
            hints: Hints::default(),
            exchanges,
            restores: Restores::default(),
            reaping: Reaping::default(),
            confirms: Confirms::default(),
            items: Items::default(),
            operations: Operations::new(burden::bytes_max(config.shards)),
            scans: BTreeMap::new(),
            batch: Batch::default(),
            outbox: Vec::new(),
            ready: Vec::new(),
            counters,
            measures: Measures::default(),
            slow: SlowLog::default(),
            throttle: Throttle::default(),
            room: Room::default(),
            space: Space::default(),
            weight: Weight::default(),
            stopping: false,
            config,
        };
        shard.load_hints(storage)?;
        shard.plan_exchanges();
        Ok(shard)
    }

    /// What the shard goes by.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was measured since the start.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// The part of its usual pace that background work has, in thousandths: 62 to 1,000.
    #[must_use]
    pub fn background_permille(&self) -> u32 {
        self.throttle.share_permille()
    }

    /// Bytes that the present turn writes and sends so far: a turn that grows heavy is ended early.
    pub fn turn_bytes(&mut self) -> usize {
        self.weight.of(&self.batch.mutations, &self.outbox)
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.operations.len() + self.scans.len()
    }

    /// Whether this node's answers count toward R (rule 4).
    pub fn set_unverified(&mut self, unverified: bool) {
        self.config.unverified = unverified;
        match unverified {
            true => self.doubt_all(),
            false => self.exchanges.unverified.clear(),
        }
    }

    /// Breaks rules 1 and 2, so that the simulated world can prove that it would notice.
    #[doc(hidden)]
    pub fn keep_stand_in_actors(&mut self) {
        self.keeps_actors = true;
    }

    /// Breaks rules 4 and 5, so that the simulated world can prove that it would notice.
    #[doc(hidden)]
    pub fn trust_heads(&mut self) {
        self.trusts_heads = true;
    }

    /// From here on client requests are refused as `Stopping`; what is under way is finished.
    pub fn begin_stop(&mut self) {
        self.stopping = true;
    }

    /// Takes a frame in which somebody asks something of this node.
    pub fn handle_request(&mut self, now: Now, source: Source, frame: Frame, storage: &mut dyn Storage) {
        let header = frame.header;
        let outcome = match self.refuse_expired(now, source, &header) {
            Ok(()) => self.accept(now, source, frame, storage),
            Err(failure) => {
                self.note_slow_expired(now, source, &frame, failure.code);
                Err(failure)
            }
        };
        if let Err(failure) = outcome {
            if let Some(verb) = Kind::from_u8(header.kind).and_then(Verb::of) {
                self.measures.failed(verb, failure.code);
            }
            self.reply_failure(source, header.correlation, &failure);
        }
    }

    fn accept(&mut self, now: Now, source: Source, frame: Frame, storage: &mut dyn Storage) -> Result<(), Failure> {
        match frame.kind() {
            Some(Kind::Ping) => {
                let pong = Header::new(Kind::Pong, frame.header.correlation, 0, self.view.layout.id());
                self.reply(source, Frame::new(pong, bytes::Bytes::new()).to_bytes());
                Ok(())
            }
            Some(Kind::Get) => self.accept_get(now, source, frame, storage),
            Some(Kind::Put) => self.accept_put(now, source, frame, storage),
            Some(Kind::Scan) => self.accept_scan(source, frame, storage),
            Some(Kind::Inspect) => self.accept_inspect(now, source, frame, storage),
            Some(Kind::Read) => self.accept_read(now, source, frame, storage),
            Some(Kind::Merge) => self.accept_merge(now, source, frame, storage),
            Some(Kind::Hint) => self.accept_hint(now, source, frame, storage),
            Some(Kind::Compare) => self.accept_compare(source, frame),
            Some(Kind::Keys) => self.accept_keys(source, frame, storage),
            Some(Kind::Settle) => self.accept_settle(source, frame),
            Some(Kind::Confirm) => self.accept_confirm(now, source, frame, storage),
            Some(Kind::Reap) => self.accept_reap(now, source, frame, storage),
            _ => Err(Failure::new(
                FailureCode::Unsupported,
                format!("a frame of kind {} is no request to a shard", frame.header.kind),
            )),
        }
    }

    /// Takes a peer's answer to something that this shard asked.
    pub fn handle_answer(&mut self, now: Now, peer: PeerIndex, frame: Frame, storage: &mut dyn Storage) {
        self.peers.heard(peer, now.instant);
        if Operations::is_relay(frame.header.correlation) {
            self.relay_answered(now, frame, storage);
            return;
        }
        if let Some(question) = Operations::exchange_of(frame.header.correlation) {
            self.exchange_answered(now, peer, question, Some(&frame), storage);
            return;
        }
        if let Some(errand) = Operations::errand_of(frame.header.correlation) {
            self.errand_answered(now, peer, errand, &frame, storage);
            return;
        }
        match frame.kind() {
            Some(Kind::ReadReply) => self.read_answered(now, peer, frame, storage),
            Some(Kind::MergeReply) => self.merge_answered(now, peer, &frame),
            Some(Kind::HintReply) => self.hint_answered(now, peer, &frame),
            Some(Kind::Error) => self.error_answered(now, peer, frame.header.correlation, storage),
            // An answer of another kind is a confused peer's: as good as none, and the deadline sees to it.
            _ => self.counters.answers_ignored += 1,
        }
    }

    /// A frame to a peer could not be handed over (its lane is full, or just closed): unknown, at once.
    pub fn handle_send_failed(&mut self, now: Now, peer: PeerIndex, correlation: u64, storage: &mut dyn Storage) {
        if Operations::is_relay(correlation) {
            self.relay_failed(now, correlation, storage);
        } else if let Some(question) = Operations::exchange_of(correlation) {
            self.exchange_answered(now, peer, question, None, storage);
        } else if Operations::errand_of(correlation).is_some() {
            self.handoff_failed(now, peer);
        } else {
            self.error_answered(now, peer, correlation, storage);
        }
    }

    /// A peer's link came up or went down. What was asked of one that went down is unknown.
    pub fn handle_peer(&mut self, now: Now, peer: PeerIndex, up: bool, storage: &mut dyn Storage) {
        let before = self.peers.is_up(peer);
        self.peers.set_up(peer, up);
        // A link that breaks loses what was on it, also when nobody was to be asked over it.
        if !up || self.peers.is_up(peer) != before {
            self.peer_changed(now, peer, storage);
        }
    }

    /// The members agree that a peer does not answer, or that it does again. Advice: who owns what stays as it is.
    pub fn handle_standing(&mut self, now: Now, peer: PeerIndex, reachable: bool, storage: &mut dyn Storage) {
        let before = self.peers.is_up(peer);
        self.peers.set_reachable(peer, reachable);
        if self.peers.is_up(peer) != before {
            self.peer_changed(now, peer, storage);
        }
    }

    fn peer_changed(&mut self, now: Now, peer: PeerIndex, storage: &mut dyn Storage) {
        let up = self.peers.is_up(peer);
        self.handoff_peer(now, peer, up);
        self.exchange_peer(now, peer, up, storage);
        self.reaping_peer(now, peer, up);
        if up {
            return;
        }
        for correlation in self.operations.correlations() {
            self.handle_send_failed(now, peer, correlation, storage);
        }
        for correlation in self.operations.relays_to(peer) {
            self.relay_failed(now, correlation, storage);
        }
    }

    /// When [`Shard::handle_tick`] is due next.
    #[must_use]
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let background = self.next_handoff().into_iter().chain(self.next_exchange()).chain(self.next_reaping());
        self.operations.next_timer().into_iter().chain(background).min()
    }

    /// Lets the timers that are due act. One that was armed for something that is over is ignored.
    pub fn handle_tick(&mut self, now: Now, storage: &mut dyn Storage) {
        while let Some((correlation, timer)) = self.operations.pop_due(now.instant) {
            match timer {
                Timer::Deadline => self.deadline_passed(now, correlation),
                Timer::Hedge => self.hedge(now, correlation, storage),
                Timer::Silence => self.silence(now, correlation, storage),
            }
        }
        self.tick_handoff(now, storage);
        self.tick_exchanges(now, storage);
        self.tick_reaping(now, storage);
    }

    /// Whether [`Shard::take_turn`] has something to write or release.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        let writes = !self.batch.mutations.is_empty() || !self.items.touched.is_empty();
        writes || !self.outbox.is_empty() || self.release.has_turn()
    }

    /// Ends the turn: everything that it writes, to be committed as one. The caller goes on with
    /// [`Shard::handle_committed`], or ends the node.
    pub fn take_turn(&mut self, now: Now) -> Batch {
        self.weight = Weight::default();
        for partition in std::mem::take(&mut self.items.touched) {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.seal(now.wall, &mut self.batch);
            }
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.exchanges.trees.outdate_stored(&mut batch);
        batch
    }

    /// What is to be carried out now, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Output> {
        self.ready.drain(..)
    }

    fn accept_get(&mut self, now: Now, source: Source, frame: Frame, storage: &mut dyn Storage) -> Result<(), Failure> {
        let body = frame.body.clone();
        let request = GetRequest::decode(body.clone()).map_err(|error| refusal(&error))?;
        match self.place(source, &request.address, frame)? {
            Place::Here(partition, _, header) if self.reads_elsewhere(partition, &header) => {
                self.read_elsewhere(now, source, Frame::new(header, body), (partition, request.strictness), storage)
            }
            Place::Here(partition, hash, header) => {
                self.begin_get(now, source, header, request, (partition, Role::Owner), hash, storage)
            }
            Place::OtherNode(partition, frame) => {
                self.begin_relay(now, source, frame, (partition, request.strictness), storage)
            }
            Place::OtherShard => Ok(()),
        }
    }

    fn accept_put(&mut self, now: Now, source: Source, frame: Frame, storage: &mut dyn Storage) -> Result<(), Failure> {
        let request = PutRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place(source, &request.address, frame)? {
            Place::Here(partition, hash, header) => {
                self.begin_put(now, source, header, request, (partition, Role::Owner), hash, storage)
            }
            Place::OtherNode(partition, frame) => {
                self.begin_relay(now, source, frame, (partition, request.strictness), storage)
            }
            Place::OtherShard => Ok(()),
        }
    }

    fn accept_read(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = ReadRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place(source, &request.address, frame)? {
            Place::Here(partition, hash, header) => {
                let extent = heads::Extent::of(&header, request.wanted);
                self.serve_read(now, (source, header), &request.address, extent, (partition, hash), storage);
                Ok(())
            }
            // Of an item that it does not own a node has hints at most.
            Place::OtherNode(partition, frame) => {
                let hash = KeyHash::of(&request.address, self.view.layout.parameters().hash_seed);
                let asker = hints::Asker::Peer { source, correlation: frame.header.correlation };
                self.serve_hinted_read(now, asker, &request.address, partition, hash, storage);
                Ok(())
            }
            Place::OtherShard => Ok(()),
        }
    }

    fn accept_merge(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = MergeRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place(source, &request.address, frame)? {
            Place::Here(partition, hash, header) => {
                self.serve_merge(now, (source, header), request, partition, hash, storage)
            }
            Place::OtherNode(partition, _) => Err(self.not_an_owner(partition)),
            Place::OtherShard => Ok(()),
        }
    }

    fn accept_hint(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = HintRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        let hash = KeyHash::of(&request.address, self.view.layout.parameters().hash_seed);
        let partition = partition_of(hash, self.view.layout.partition_bits());
        if self.view.layout.is_owner(partition, self.view.me) {
            let text = format!("this node owns partition {partition} itself: it keeps copies of it, not hints");
            return Err(Failure::new(FailureCode::Stale, text));
        }
        if let Some(shard) = self.other_shard(partition) {
            self.outbox.push(Output::Forward { shard, source, frame });
            return Ok(());
        }
        self.serve_hint(now, (source, frame.header), request, partition, hash, storage)
    }

    fn accept_compare(&mut self, source: Source, frame: Frame) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = CompareRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place_partition(source, request.partition, frame)? {
            Some(header) => self.serve_compare(source, &header, &request),
            None => Ok(()),
        }
    }

    fn accept_keys(&mut self, source: Source, frame: Frame, storage: &mut dyn Storage) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = KeysRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place_partition(source, request.partition, frame)? {
            Some(header) => self.serve_keys(source, &header, request, storage),
            None => Ok(()),
        }
    }

    fn accept_settle(&mut self, source: Source, frame: Frame) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = SettleRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place_partition(source, request.partition, frame)? {
            Some(header) => self.serve_settle(source, &header, &request),
            None => Ok(()),
        }
    }

    /// Whether a request for a partition belongs here; `None` when it is on its way to another shard.
    fn place_partition(
        &mut self,
        source: Source,
        partition: PartitionId,
        frame: Frame,
    ) -> Result<Option<Header>, Failure> {
        if partition.as_index() >= self.view.layout.parameters().partitions as usize {
            let count = self.view.layout.parameters().partitions;
            let text = format!("there is no partition {partition}; the cluster has {count}");
            return Err(Failure::new(FailureCode::BadInput, text));
        }
        if !self.view.layout.is_owner(partition, self.view.me) {
            return Err(self.not_an_owner(partition));
        }
        if let Some(shard) = self.other_shard(partition) {
            self.outbox.push(Output::Forward { shard, source, frame });
            return Ok(None);
        }
        Ok(Some(frame.header))
    }

    fn hint_answered(&mut self, now: Now, peer: PeerIndex, frame: &Frame) {
        let result = match MergeReply::decode(frame.body.clone()) {
            Ok(reply) => Copied::Stored { fsynced: reply.fsynced },
            Err(_) => Copied::Unknown,
        };
        self.stand_in_answered(now, frame.header.correlation, peer, result);
    }

    fn accept_scan(&mut self, source: Source, frame: Frame, storage: &mut dyn Storage) -> Result<(), Failure> {
        let request = ScanRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place_partition(source, request.partition, frame)? {
            Some(header) => self.serve_scan(source, header.correlation, request, storage),
            None => Ok(()),
        }
    }

    /// Where a request for an address belongs. One for another shard of this node is on its way when this returns.
    fn place(&mut self, source: Source, address: &Address, frame: Frame) -> Result<Place, Failure> {
        let hash = KeyHash::of(address, self.view.layout.parameters().hash_seed);
        let partition = partition_of(hash, self.view.layout.partition_bits());
        // Also of what this node does not own: a stand-in's hints are its partition's shard's.
        if let Some(shard) = self.other_shard(partition) {
            self.counters.forwarded_to_shard += 1;
            self.outbox.push(Output::Forward { shard, source, frame });
            return Ok(Place::OtherShard);
        }
        if !self.view.layout.is_owner(partition, self.view.me) {
            return Ok(Place::OtherNode(partition, frame));
        }
        if self.stopping && matches!(frame.kind(), Some(Kind::Get | Kind::Put)) {
            return Err(Failure::new(FailureCode::Stopping, "this node is stopping; ask another one"));
        }
        Ok(Place::Here(partition, hash, frame.header))
    }

    fn other_shard(&self, partition: PartitionId) -> Option<u16> {
        let shard = partition.as_u16() % self.config.shards;
        (shard != self.config.shard).then_some(shard)
    }

    /// A replica applies nothing for a layout that it does not have.
    fn refuse_stale(&self, header: &Header) -> Result<(), Failure> {
        if header.names(self.view.layout.id()) {
            return Ok(());
        }
        let (theirs, ours) = (header.layout_number, self.view.layout.id());
        let text = format!("the frame names layout {theirs}-{:016x}, this node has {ours}", header.layout_hash);
        Err(Failure::new(FailureCode::Stale, text))
    }

    fn not_an_owner(&self, partition: PartitionId) -> Failure {
        let text = format!("this node is no owner of partition {partition} in layout {}", self.view.layout.id());
        Failure::new(FailureCode::Stale, text)
    }

    /// Mints a dot. Its actor is drawn at the partition's first coordinated write in this process (rule 1).
    fn mint(&mut self, partition: PartitionId, item: &Siblings) -> Dot {
        let state = match self.partitions.get_mut(&partition) {
            Some(state) => state,
            None => self.stand_ins.entry(partition).or_insert_with(|| Partition::standing_in(partition)),
        };
        state.mint(item, || ActorId::new(self.rng.next_u64()))
    }

    fn reply(&mut self, source: Source, bytes: bytes::Bytes) {
        self.outbox.push(Output::Reply { source, bytes });
    }

    /// Tells a client that its request failed.
    fn disappoint(&mut self, verb: Verb, source: Source, correlation: u64, failure: &Failure) {
        self.measures.failed(verb, failure.code);
        self.reply_failure(source, correlation, failure);
    }

    fn reply_failure(&mut self, source: Source, correlation: u64, failure: &Failure) {
        self.counters.failed(failure.code);
        let header = Header::new(Kind::Error, correlation, 0, self.view.layout.id());
        let bytes = Frame::new(header, encode_control(failure)).to_bytes();
        self.reply(source, bytes);
    }
}

/// Where a request belongs.
enum Place {
    Here(PartitionId, KeyHash, Header),
    OtherNode(PartitionId, Frame),
    OtherShard,
}

/// What a sender of a bad body is told.
fn refusal(error: &WireError) -> Failure {
    use crate::protocol::types::AddressError;
    let code = match error {
        WireError::Oversized { .. }
        | WireError::Address(AddressError::KeyLong(_) | AddressError::SortKeyLong(_) | AddressError::TableLong(_)) => {
            FailureCode::TooLarge
        }
        _ => FailureCode::BadInput,
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
