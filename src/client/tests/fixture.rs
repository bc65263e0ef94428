//! A cluster of fake nodes: real QUIC on loopback, real certificates, and maps in memory for storage.
//!
//! A put is applied at once by every node that runs, so any owner's answer is as good as another's. What goes wrong is
//! written into a node's [`Mood`]; everything that was asked is in the cluster's log.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::client::*;
use crate::pki::tls::quic_server_config;
use crate::pki::{Authority, Credentials, Identity, Moment, Role};
use crate::protocol::replica::ItemKey;
use crate::protocol::ring::{KeyHash, Layout, Member, Parameters, Roster, partition_of};
use crate::protocol::types::*;
use crate::protocol::version::{self, ConflictPolicy, Dot, Head, Siblings, TokenKey, TokenKeys, Version};
use crate::protocol::wire::*;
use crate::transport::service::failure_frame;
use crate::transport::{CloseCode, LaneSender, Offload, Peer, Purpose, Tally, Terms, accept, bind, server_config};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);
const HOUR: Duration = Duration::from_secs(3600);
const SEED: u64 = 99;
const PARTITIONS: u32 = 8;
/// No test waits this long unless it fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// Fails with this text when the future takes too long.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(DEADLINE, future).await;
    output.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// How a node answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Applies the next put, then loses the connection in place of an answer.
    LosesOne,
    /// Refuses everything with this code.
    Refuses(FailureCode),
    /// Refuses the next request only.
    RefusesOne(FailureCode),
    /// Takes requests and never answers.
    Silent,
    /// Every value has a wrong bit.
    Damages,
}

/// One request that a node was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) node: NodeId,
    pub(crate) shard: usize,
    pub(crate) kind: Kind,
    pub(crate) write_id: Option<WriteId>,
    pub(crate) layout_hash: u64,
}

pub(crate) struct FakeNode {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    address: Mutex<SocketAddr>,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) items: Mutex<BTreeMap<Bytes, Siblings>>,
    endpoints: Mutex<Vec<quinn::Endpoint>>,
    pub(crate) creation: Mutex<Option<Creation>>,
}

impl FakeNode {
    pub(crate) fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Its place among the nodes.
    pub(crate) fn index(&self) -> usize {
        usize::try_from(self.id.as_u128() - 1).unwrap()
    }

    /// Ends all connections and frees the ports.
    pub(crate) fn stop(&self) {
        for endpoint in self.endpoints.lock().unwrap().drain(..) {
            endpoint.close(CloseCode::Done.as_var_int(), b"stopped by the test");
        }
    }

    fn is_running(&self) -> bool {
        !self.endpoints.lock().unwrap().is_empty()
    }
}

/// Stops a node's only thread and lets it go on, as SIGSTOP and SIGCONT do to a process: meanwhile the kernel takes its
/// packets and nothing acknowledges them. Ends the thread when dropped.
#[derive(Default)]
pub(crate) struct Halt(Arc<Gate>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Starts,
    Runs,
    MustStop,
    Stands,
    MustEnd,
}

#[derive(Default)]
struct Gate(Mutex<Pace>, std::sync::Condvar);

impl Gate {
    fn set(&self, pace: Pace) {
        *self.0.lock().unwrap() = pace;
        self.1.notify_all();
    }

    fn wait_for(&self, pace: Pace) {
        let waited = self.1.wait_timeout_while(self.0.lock().unwrap(), DEADLINE, |now| *now != pace).unwrap();
        assert!(!waited.1.timed_out(), "the node's thread is not at {pace:?} but at {:?}", *waited.0);
    }

    /// Stands still while it must. False at the end.
    fn pass(&self) -> bool {
        let mut pace = self.0.lock().unwrap();
        if *pace == Pace::MustStop {
            *pace = Pace::Stands;
            self.1.notify_all();
        }
        while *pace == Pace::Stands {
            pace = self.1.wait(pace).unwrap();
        }
        *pace != Pace::MustEnd
    }
}

impl Halt {
    /// From when this returns until [`Halt::go_on`] the node does nothing.
    pub(crate) fn halt(&self) {
        self.0.set(Pace::MustStop);
        self.0.wait_for(Pace::Stands);
    }

    pub(crate) fn go_on(&self) {
        self.0.set(Pace::Runs);
    }
}

impl Drop for Halt {
    fn drop(&mut self) {
        self.0.set(Pace::MustEnd);
    }
}

pub(crate) struct Fake {
    pub(crate) authority: Authority,
    pub(crate) nodes: Vec<Arc<FakeNode>>,
    pub(crate) view: Mutex<ViewReply>,
    pub(crate) log: Mutex<Vec<Asked>>,
    keys: TokenKeys,
    counter: AtomicU64,
}

impl Fake {
    /// Three nodes of two shards each, N=3 R=2 W=2.
    pub(crate) async fn start() -> Arc<Self> {
        Self::start_of(3).await
    }

    /// So many nodes; each item has three owners.
    pub(crate) async fn start_of(count: u128) -> Arc<Self> {
        let authority = Authority::generate(CLUSTER, 10 * HOUR, Moment::now()).unwrap();
        let nodes = (1..=count).map(|number| {
            let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), None, None).unwrap();
            Arc::new(FakeNode {
                id: NodeId::new(number),
                name: format!("n{number}"),
                // The port is free again, and nobody else asks for this one.
                address: Mutex::new(socket.local_addr().unwrap()),
                mood: Mutex::default(),
                items: Mutex::default(),
                endpoints: Mutex::default(),
                creation: Mutex::default(),
            })
        });
        let nodes: Vec<_> = nodes.collect();
        let view = Mutex::new(view_of(&nodes, ""));
        let keys = TokenKeys { current: TokenKey::new(1, [1; 16]), previous: None };
        let log = Mutex::default();
        let fake = Arc::new(Self { authority, nodes, view, log, keys, counter: AtomicU64::new(0) });
        for node in fake.nodes.clone() {
            fake.run(&node, 2).await;
        }
        fake
    }

    /// Another layout of the same nodes: the zone of one has another name.
    pub(crate) fn rezone(&self, zone: &str) {
        *self.view.lock().unwrap() = view_of(&self.nodes, zone);
    }

    pub(crate) fn layout(&self) -> Layout {
        let view = self.view.lock().unwrap();
        Layout::verified(&view.roster, view.parameters, view.layout).unwrap()
    }

    pub(crate) fn credentials(&self, role: Role) -> Credentials {
        let leaf = self.authority.issue("x", role, HOUR, Moment::now()).unwrap();
        Credentials::from_leaf(&self.authority, &leaf, Moment::now()).unwrap()
    }

    pub(crate) fn options(&self) -> ClientOptions {
        let credentials = self.credentials(Role::client("app").unwrap());
        let mut options = ClientOptions::new(self.addresses(), credentials);
        // Two cores run all of this beside the other tests.
        options.timeouts.request = Duration::from_secs(10);
        options
    }

    pub(crate) async fn client(&self) -> Client {
        within("a view", Client::connect(self.options())).await.unwrap()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| *node.address.lock().unwrap()).collect()
    }

    /// The owners of an address, the first coordinator first.
    pub(crate) fn owners(&self, address: &Address) -> Vec<Arc<FakeNode>> {
        let layout = self.layout();
        let owners = layout.owners(partition(address));
        owners.map(|id| self.nodes.iter().find(|node| node.id == id).unwrap().clone()).collect()
    }

    /// The nodes that do not own an address.
    pub(crate) fn others(&self, address: &Address) -> Vec<Arc<FakeNode>> {
        let owners = self.owners(address);
        self.nodes.iter().filter(|node| owners.iter().all(|owner| owner.id != node.id)).cloned().collect()
    }

    /// What was asked of this kind since the last look.
    pub(crate) fn asked(&self, kind: Kind) -> Vec<Asked> {
        let mut log = self.log.lock().unwrap();
        std::mem::take(&mut *log).into_iter().filter(|asked| asked.kind == kind).collect()
    }

    /// Starts a node's control endpoint at its address and this many shards at free ports.
    pub(crate) async fn run(self: &Arc<Self>, node: &Arc<FakeNode>, shards: usize) {
        let credentials = self.credentials(Role::Node(node.id));
        let endpoint = |address, purpose| {
            let config = server_config(quic_server_config(&credentials).unwrap(), purpose, Offload::On);
            bind(address, Some(config), None)
        };
        let address = *node.address.lock().unwrap();
        // The port of a node that was stopped is free as soon as its last connection has drained.
        let control = within("the node's port", async {
            loop {
                match endpoint(address, Purpose::Control) {
                    Ok(endpoint) => return endpoint,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await;
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let data: Vec<_> = (0..shards).map(|_| endpoint(loopback, Purpose::Data).unwrap()).collect();
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            cluster: Some(CLUSTER),
            node: Some(node.id),
            generation: BootGeneration::new(1),
            disk: DiskId::new(1),
            process: 0,
            shard_ports: data.iter().map(|endpoint| endpoint.local_addr().unwrap().port()).collect(),
            layouts: Vec::new(),
            features: 0,
        };
        *node.endpoints.lock().unwrap() = data.iter().chain([&control]).cloned().collect();
        self.serve(node, control, Purpose::Control, 0, &hello);
        for (shard, endpoint) in data.into_iter().enumerate() {
            self.serve(node, endpoint, Purpose::Data, shard, &hello);
        }
    }

    /// Lets a node go on in a thread of its own, which can be halted.
    pub(crate) async fn run_apart(self: &Arc<Self>, node: &Arc<FakeNode>) -> Halt {
        node.stop();
        let (fake, node, halt) = (self.clone(), node.clone(), Halt::default());
        let gate = halt.0.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                fake.run(&node, 2).await;
                gate.set(Pace::Runs);
                while gate.pass() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        });
        // Not by blocking: the node's old endpoints are of this runtime, and free their ports only when it goes on.
        until("the node runs apart", || *halt.0.0.lock().unwrap() == Pace::Runs).await;
        halt
    }

    fn serve(
        self: &Arc<Self>,
        node: &Arc<FakeNode>,
        endpoint: quinn::Endpoint,
        purpose: Purpose,
        shard: usize,
        hello: &Hello,
    ) {
        let (fake, node, hello) = (self.clone(), node.clone(), hello.clone());
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (fake, node, hello) = (fake.clone(), node.clone(), hello.clone());
                tokio::spawn(async move {
                    let policy = |_: &Identity| Ok(());
                    let accepted = accept(incoming, &hello, &policy, Terms::new(purpose), &Tally::default()).await;
                    let Ok(session) = accepted else { return };
                    let handler = move |peer: &Peer, lane: &LaneSender, frame: Frame| match purpose {
                        Purpose::Control => fake.control(&node, lane, &frame),
                        Purpose::Data | Purpose::Client => fake.data(&node, shard, peer, lane, &frame),
                    };
                    session.serve(None, Arc::default(), handler).await;
                });
            }
        });
    }

    fn control(&self, node: &FakeNode, lane: &LaneSender, frame: &Frame) {
        let state = |creation: Option<Creation>| NodeState { node: node.id, name: node.name.clone(), creation };
        let (kind, body) = match frame.kind().unwrap() {
            Kind::Ping => (Kind::Pong, Bytes::new()),
            Kind::View => (Kind::ViewReply, encode_control(&*self.view.lock().unwrap())),
            Kind::Status => (Kind::StatusReply, encode_control(&status_of(node))),
            Kind::Counts => (Kind::CountsReply, encode_control(&NodeCounts::default())),
            Kind::State => (Kind::StateReply, encode_control(&state(node.creation.lock().unwrap().clone()))),
            Kind::Create => {
                let creation: Creation = decode_control(&frame.body, "create").unwrap();
                *node.creation.lock().unwrap() = Some(creation.clone());
                (Kind::Created, encode_control(&state(Some(creation))))
            }
            other => panic!("{other:?} on a control endpoint"),
        };
        let header = Header::new(kind, frame.header.correlation, 0, self.layout().id());
        lane.try_send(Frame::new(header, body).to_bytes()).unwrap();
    }

    fn data(&self, node: &FakeNode, shard: usize, peer: &Peer, lane: &LaneSender, frame: &Frame) {
        let kind = frame.kind().unwrap();
        let put = (kind == Kind::Put).then(|| PutRequest::decode(frame.body.clone()).unwrap());
        let write_id = put.as_ref().map(|put| put.write_id);
        let asked = Asked { node: node.id, shard, kind, write_id, layout_hash: frame.header.layout_hash };
        self.log.lock().unwrap().push(asked);
        let mood = node.mood.lock().unwrap().clone();
        let layout = self.layout().id();
        let refuse = |code| {
            lane.try_send(failure_frame(frame.header.correlation, &Failure::new(code, format!("{code:?} for a test"))))
        };
        match mood {
            Mood::Silent => return,
            Mood::Refuses(code) => return refuse(code).unwrap(),
            Mood::RefusesOne(code) => {
                node.feel(Mood::Well);
                return refuse(code).unwrap();
            }
            Mood::Well | Mood::LosesOne | Mood::Damages => {}
        }
        if frame.header.layout_number != 0 && !frame.header.names(layout) && mood == Mood::Well && kind == Kind::Put {
            return refuse(FailureCode::Stale).unwrap();
        }
        let answer = |kind, bytes, lay: &dyn Fn(&mut Vec<u8>)| {
            Frame::build(Header::new(kind, frame.header.correlation, 0, layout), bytes, |out| lay(out))
        };
        let bytes = match put {
            Some(put) => {
                let reply = self.apply(node, &put);
                if mood == Mood::LosesOne {
                    node.feel(Mood::Well);
                    return peer.close(CloseCode::Done, "lost for a test");
                }
                answer(Kind::PutReply, reply.body_bytes(), &|out| reply.encode(out))
            }
            None if kind == Kind::Get => {
                let request = GetRequest::decode(frame.body.clone()).unwrap();
                let reply = self.read(node, &request.address, &mood);
                answer(Kind::GetReply, reply.body_bytes(), &|out| reply.encode(out))
            }
            None if kind == Kind::Inspect => {
                let reply = inspect(node, &InspectRequest::decode(frame.body.clone()).unwrap());
                answer(Kind::InspectReply, reply.body_bytes(), &|out| reply.encode(out))
            }
            None => {
                let reply = list(node, &ScanRequest::decode(frame.body.clone()).unwrap());
                answer(Kind::ScanReply, reply.body_bytes(), &|out| reply.encode(out))
            }
        };
        // A full lane loses the answer, as a node would.
        lane.try_send(bytes).ok();
    }

    fn read(&self, node: &FakeNode, address: &Address, mood: &Mood) -> GetReply {
        let items = node.items.lock().unwrap();
        let Some(item) = items.get(&item_key(address)) else {
            return GetReply { token: Bytes::new(), versions: Vec::new() };
        };
        let mut shown = item.show();
        if *mood == Mood::Damages {
            shown.live.iter_mut().for_each(|version| version.checksum ^= 1);
        }
        GetReply { token: shown.context.to_token(address, &self.keys), versions: shown.live }
    }

    fn apply(&self, node: &FakeNode, put: &PutRequest) -> PutReply {
        let key = item_key(&put.address);
        let mut item = node.items.lock().unwrap().get(&key).cloned().unwrap_or_default();
        let seen = match (put.want, put.token.is_empty()) {
            (Want::DeleteSeen, _) => version::Context::of(&item),
            (_, true) => version::Context::default(),
            (_, false) => version::Context::from_token(&put.token, &put.address, &self.keys).unwrap(),
        };
        let dot = if let Some(known) = item.version_of(put.write_id) {
            known.dot
        } else {
            let dot = Dot::new(ActorId::new(5), self.counter.fetch_add(1, Ordering::Relaxed) + 1);
            let tombstone = put.want != Want::Value;
            let hlc = Hlc::ZERO.tick(WallTime::from_millis(1000 + dot.counter()));
            let (write_id, checksum, value) = (put.write_id, put.checksum, put.value.clone());
            let version = Version { dot, hlc, write_id, tombstone, expires_at: 0, checksum, value };
            assert!(version.is_intact(&put.address), "the client's checksum is right");
            item.put(&seen, version, ConflictPolicy::Siblings);
            dot
        };
        let mut stored = Stored::default();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            node.items.lock().unwrap().insert(key.clone(), item.clone());
            stored.copies.push(StoredCopy { node: node.id, primary: true, fsynced: true });
        }
        let token = seen.after_write(dot, &item).to_token(&put.address, &self.keys);
        let versions = u16::try_from(item.show().live.len()).unwrap();
        PutReply { dot, write_id: put.write_id, versions, token, stored }
    }
}

fn view_of(nodes: &[Arc<FakeNode>], zone: &str) -> ViewReply {
    let member = |node: &Arc<FakeNode>| Member {
        id: node.id,
        name: node.name.clone(),
        zone: if node.name == "n1" { zone.to_owned() } else { String::new() },
        weight: 1,
        address: *node.address.lock().unwrap(),
    };
    let roster = Roster::new(nodes.iter().map(member).collect()).unwrap();
    let parameters = Parameters { partitions: PARTITIONS, replicas: 3, hash_seed: SEED };
    let layout = Layout::first(&roster, parameters).unwrap().id();
    ViewReply { cluster: CLUSTER, roster, parameters, layout, read_quorum: 2, write_quorum: 2 }
}

fn status_of(node: &FakeNode) -> NodeStatus {
    NodeStatus {
        node: node.id,
        name: node.name.clone(),
        version: "0.1.0".to_owned(),
        cluster: Some(CLUSTER),
        layout: None,
        role: "member".to_owned(),
        partitions: PARTITIONS,
        partitions_total: PARTITIONS,
        shards: 2,
        durability: "os".to_owned(),
        unverified: false,
        room: "plenty".to_owned(),
        disk_free: 1 << 40,
        disk_reserve: 1 << 30,
        stored_bytes: 3 << 20,
        hints: 4,
        hint_bytes: 5_000,
        in_sync_ms: Some(6_000),
        never_in_sync: 0,
        uptime_s: 1,
        generation: BootGeneration::new(1),
        peers: Vec::new(),
    }
}

/// The head of what a node has of an item.
fn inspect(node: &FakeNode, request: &InspectRequest) -> InspectReply {
    let record = node.items.lock().unwrap().get(&item_key(&request.address)).map(Siblings::to_record);
    let found = record.map_or(Inspected::Absent, |record| Inspected::Head(Head::of(&record).unwrap()));
    InspectReply { found, unverified: false, hinted: false }
}

/// Pages of at most three keys, so that they are many.
fn list(node: &FakeNode, request: &ScanRequest) -> ScanReply {
    let items = node.items.lock().unwrap();
    let is_asked_for = |key: &&Bytes| {
        let (hash, address) = ItemKey::from_bytes((*key).clone()).unwrap().parts().unwrap();
        **key > request.after
            && partition_of(hash, PARTITIONS.trailing_zeros()) == request.partition
            && (request.table.is_empty() || address.table().as_bytes() == &request.table)
    };
    let mut keys: Vec<Bytes> = items.keys().filter(is_asked_for).take(4).cloned().collect();
    let more = keys.len() == 4;
    keys.truncate(3);
    ScanReply { more, keys }
}

pub(crate) fn item_key(address: &Address) -> Bytes {
    ItemKey::new(address, KeyHash::of(address, SEED)).as_bytes().clone()
}

pub(crate) fn partition(address: &Address) -> PartitionId {
    partition_of(KeyHash::of(address, SEED), PARTITIONS.trailing_zeros())
}

pub(crate) fn address(key: &str) -> Address {
    Address::new("default".into(), Bytes::copy_from_slice(key.as_bytes()), Bytes::new()).unwrap()
}
