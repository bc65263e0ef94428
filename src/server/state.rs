//! What the threads of a node share: who it is, what it belongs to, and how to reach its shards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::admission::{Admission, Asker};
use super::clock::Clock;
use super::gossip::{Gossip, name_of};
use super::http::HttpTally;
use super::inbox::{Inbox, Input, ReplyTo};
use super::process::ProcessSample;
use super::reach::Reach;
use super::renewal::Renewal;
use super::report::ShardReport;
use super::space::DiskSpace;
use crate::config::ServerConfig;
use crate::protocol::ring::{KeyHash, LayoutId, partition_of};
use crate::protocol::shard::{Room, View};
use crate::protocol::types::{Address, BootGeneration, ClusterId, DiskId, Durability, NodeId};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, GetRequest, Header, Hello, Kind, NodeCounts, NodeStatus, PROTOCOL_VERSION, PeerStatus,
    PutRequest, ScanRequest, Vouch,
};
use crate::storage::Published;
use crate::transport::Link;

/// How a node stands toward its own disk (rule 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Its disk holds what it acknowledged.
    Verified,
    /// Its disk is new, and not all peers have said yet that they know no other disk of it.
    Fresh,
    /// It lost acknowledged writes, or may have: an exchange with the others has to bring them back.
    Lost,
}

impl Verification {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Fresh => "fresh",
            Self::Lost => "lost",
        }
    }

    pub(crate) fn from_record(record: &[u8]) -> Self {
        match record {
            b"verified" => Self::Verified,
            b"fresh" => Self::Fresh,
            // What cannot be read is not trusted.
            _ => Self::Lost,
        }
    }
}

/// Shared by the threads of one node.
#[derive(Debug)]
pub(crate) struct NodeShared {
    pub(crate) config: ServerConfig,
    pub(crate) durability: Durability,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) generation: BootGeneration,
    pub(crate) disk: DiskId,
    /// What members are asked to vouch for.
    vouch: Mutex<Vouch>,
    pub(crate) clock: Clock,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    /// Which members the shards reach.
    pub(crate) reach: Arc<Reach>,
    /// Requests that were taken in and not answered.
    pub(crate) admission: Admission,
    /// Free space of the data directory's disk.
    pub(crate) space: DiskSpace,
    /// How the certificate's renewals went.
    pub(crate) renewal: Arc<Renewal>,
    /// What the store tells operators.
    pub(crate) disk_numbers: Arc<Published>,
    /// What the process does.
    pub(crate) process: ProcessSample,
    /// Requests to the HTTP door.
    pub(crate) http: HttpTally,
    view: RwLock<Option<Arc<View>>>,
    verification: Mutex<Verification>,
    links: Mutex<BTreeMap<NodeId, Link>>,
    gossip: OnceLock<Gossip>,
}

impl NodeShared {
    pub(crate) fn new(
        config: ServerConfig,
        durability: Durability,
        (node, cluster): (NodeId, ClusterId),
        (generation, disk): (BootGeneration, DiskId),
    ) -> Self {
        let inboxes = (0..config.shards).map(|_| Arc::new(Inbox::default())).collect();
        let space = DiskSpace::new(&config.data_dir, config.storage.disk_reserve);
        Self {
            config,
            durability,
            node,
            cluster,
            generation,
            disk,
            vouch: Mutex::new(Vouch::new(disk)),
            clock: Clock::start(),
            inboxes,
            reach: Arc::default(),
            admission: Admission::default(),
            space,
            renewal: Arc::default(),
            disk_numbers: Arc::default(),
            process: ProcessSample::default(),
            http: HttpTally::default(),
            view: RwLock::new(None),
            verification: Mutex::new(Verification::Verified),
            links: Mutex::default(),
            gossip: OnceLock::new(),
        }
    }

    /// The cluster as this node sees it; none while it waits to be created.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn adopt(&self, view: Arc<View>) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    pub(crate) fn verification(&self) -> Verification {
        *self.verification.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the standing, for all shards.
    pub(crate) fn set_verification(&self, verification: Verification) {
        *self.verification.lock().unwrap_or_else(PoisonError::into_inner) = verification;
        for inbox in &self.inboxes {
            inbox.push(Input::Unverified(verification != Verification::Verified));
        }
    }

    /// Has the shards account for requests that take this long.
    pub(crate) fn account_for_slow(&self, threshold: Option<Duration>) {
        for inbox in &self.inboxes {
            inbox.push(Input::SlowRequests(threshold));
        }
    }

    /// Measures the disk, and tells the shards what they do not know: there are none before the node is a member, and
    /// with plenty of room they need no numbers.
    pub(crate) fn look_at_disk(&self) {
        let (before, _) = self.space.seen();
        let (room, space) = self.space.look();
        if self.view().is_none() || (room, before) == (Room::Plenty, Room::Plenty) {
            return;
        }
        for inbox in &self.inboxes {
            inbox.push(Input::Room(room, space));
        }
    }

    /// What members are asked to vouch for.
    pub(crate) fn vouch(&self) -> Vouch {
        *self.vouch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_vouch(&self, vouch: Vouch) {
        *self.vouch.lock().unwrap_or_else(PoisonError::into_inner) = vouch;
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members begin to talk about each other. Only the first call counts.
    pub(crate) fn begin_gossip(&self, gossip: Gossip) {
        if self.gossip.set(gossip).is_err() {
            tracing::debug!("the members talk about each other already");
        }
    }

    /// What members say of each other, once this node is one.
    pub(crate) fn gossip(&self) -> Option<&Gossip> {
        self.gossip.get()
    }

    /// Where a shard listens.
    pub(crate) fn shard_address(&self, shard: u16) -> SocketAddr {
        self.config.shard_address(shard).expect("the ports of all shards were checked when the configuration was read")
    }

    /// What this node says first on every connection.
    pub(crate) fn hello(&self) -> Hello {
        let layouts: Vec<LayoutId> = self.view().iter().map(|view| view.layout.id()).collect();
        let port = |shard| self.config.shard_advertise(shard).unwrap_or(self.shard_address(shard)).port();
        Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            cluster: Some(self.cluster),
            node: Some(self.node),
            generation: self.generation,
            disk: self.disk,
            process: self.vouch().now.process,
            shard_ports: (0..self.config.shards).map(port).collect(),
            layouts,
            features: 0,
        }
    }

    /// Asks a shard of this node, as a client would over QUIC.
    pub(crate) async fn ask(&self, kind: Kind, body: Bytes, budget: Duration) -> Result<Frame, Failure> {
        let view = self.view().ok_or_else(|| {
            let text = "this node does not belong to a cluster yet; run `quorate cluster create`";
            Failure::new(FailureCode::Uninitialised, text)
        })?;
        let shard = shard_of(&view, kind, &body, self.inboxes.len());
        let inbox = self.inboxes.get(shard).or(self.inboxes.first()).expect("a node has at least one shard");
        let budget_ms = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX).max(1);
        let frame = Frame::new(Header::new(kind, 0, budget_ms, view.layout.id()), body);
        let (answer, answered) = oneshot::channel();
        let ticket = self.admission.session(Asker::Client).admit(frame.body.len())?;
        let (reply_to, arrived) = (ReplyTo::Door(answer, ticket), self.clock.now().instant);
        inbox.push(Input::Request { reply_to, frame, arrived });
        match tokio::time::timeout(budget + SLACK, answered).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_)) => Err(Failure::new(FailureCode::Stopping, "this node is stopping; ask another one")),
            Err(_) => Err(Failure::new(
                FailureCode::TimedOut,
                format!("the shard did not answer in {} ms; a write may still surface", budget.as_millis()),
            )),
        }
    }

    /// What the shards say about themselves now; one that does not answer within a second is left out.
    pub(crate) async fn reports(&self) -> Vec<ShardReport> {
        let mut reports = Vec::with_capacity(self.inboxes.len());
        for inbox in &self.inboxes {
            let (tell, told) = oneshot::channel();
            inbox.push(Input::Report(tell));
            if let Ok(Ok(report)) = tokio::time::timeout(Duration::from_secs(1), told).await {
                reports.push(report);
            }
        }
        reports
    }

    /// How this node sees itself.
    pub(crate) fn status(&self) -> NodeStatus {
        let view = self.view();
        let (room, space) = self.space.seen();
        let partitions = view.as_ref().map_or(0, |view| view.layout.owned_by(self.node).count());
        let copies = self.copies();
        NodeStatus {
            node: self.node,
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: view.as_ref().map(|view| view.cluster),
            layout: view.as_ref().map(|view| view.layout.id()),
            role: if view.is_some() { "member" } else { "waiting" }.to_owned(),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            partitions_total: view.as_ref().map_or(0, |view| view.layout.parameters().partitions),
            shards: self.config.shards,
            durability: self.durability.as_str().to_owned(),
            unverified: self.verification() != Verification::Verified,
            room: room.as_str().to_owned(),
            disk_free: space.free,
            disk_reserve: space.reserve,
            stored_bytes: self.disk_numbers.item_bytes(),
            hints: copies.hints,
            hint_bytes: copies.hint_bytes,
            in_sync_ms: copies.in_sync.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            never_in_sync: copies.never_in_sync,
            uptime_s: self.clock.uptime().as_secs(),
            generation: self.generation,
            peers: view.map(|view| self.peers(&view)).unwrap_or_default(),
        }
    }

    /// What the shards have pinned up: nobody is waited for.
    fn pinned(&self) -> impl Iterator<Item = (u16, Arc<ShardReport>)> {
        (0..).zip(&self.inboxes).filter_map(|(shard, inbox)| Some((shard, inbox.pinboard().newest()?)))
    }

    fn copies(&self) -> Copies {
        let now = self.clock.instant();
        let mut copies = Copies { in_sync: Some(Duration::ZERO), ..Copies::default() };
        let mut partitions = 0;
        for (_, report) in self.pinned() {
            let (hints, hint_bytes) = report.hints;
            copies.hints += hints;
            copies.hint_bytes += hint_bytes;
            for (_, since) in &report.in_sync {
                partitions += 1;
                copies.never_in_sync += u32::from(since.is_none());
                let age = since.map(|since| now.since(since));
                copies.in_sync = copies.in_sync.zip(age).map(|(oldest, age)| oldest.max(age));
            }
        }
        copies.in_sync = copies.in_sync.filter(|_| partitions > 0);
        copies
    }

    /// What the shards have counted.
    pub(crate) fn counts(&self) -> NodeCounts {
        NodeCounts { shards: self.pinned().map(|(shard, report)| report.counts(shard)).collect() }
    }

    fn peers(&self, view: &View) -> Vec<PeerStatus> {
        let links = self.links();
        let others = view.roster.members().iter().filter(|member| member.id != self.node);
        let status = |member: &crate::protocol::ring::Member| {
            let link = links.get(&member.id).map(Link::status);
            let controlled = link.as_ref().is_some_and(|link| link.up);
            let connected = controlled && self.reach.is_whole(member.id, self.inboxes.len());
            let error = match controlled {
                true => Some("the control link is up, the links of the shards are being made".to_owned()),
                false => link.and_then(|link| link.last_error),
            };
            PeerStatus {
                node: member.id,
                name: member.name.clone(),
                address: member.address,
                connected,
                error: match connected {
                    true => self.gossip().and_then(|gossip| gossip.difference(member.id)),
                    false => error,
                },
                standing: self.gossip().and_then(|gossip| gossip.standing(member.id)).map_or("", name_of).to_owned(),
            }
        };
        others.map(status).collect()
    }
}

/// How the copies of all shards are.
#[derive(Debug, Default)]
struct Copies {
    hints: u64,
    hint_bytes: u64,
    /// How long ago all of them agreed with the other owners'; none while that is not known of all.
    in_sync: Option<Duration>,
    never_in_sync: u32,
}

/// Beyond a request's own budget: the shard answers at its deadline, and this only catches one that does not.
const SLACK: Duration = Duration::from_secs(1);

/// The shard that has the request's partition. A wrong guess is forwarded by the shard that gets it.
fn shard_of(view: &View, kind: Kind, body: &Bytes, shards: usize) -> usize {
    let address: Option<Address> = match kind {
        Kind::Get => GetRequest::decode(body.clone()).ok().map(|request| request.address),
        Kind::Put => PutRequest::decode(body.clone()).ok().map(|request| request.address),
        Kind::Scan => {
            return ScanRequest::decode(body.clone()).map_or(0, |scan| scan.partition.as_index() % shards);
        }
        _ => None,
    };
    address.map_or(0, |address| {
        let hash = KeyHash::of(&address, view.layout.parameters().hash_seed);
        partition_of(hash, view.layout.partition_bits()).as_index() % shards
    })
}
