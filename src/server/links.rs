//! A shard's links to the shards of its peers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::inbox::{Inbox, Input};
use super::reach::Reach;
use crate::pki::tls::quic_client_config;
use crate::pki::verifier::Expected;
use crate::pki::{CurrentCredentials, Renewals};
use crate::protocol::shard::{PeerIndex, View};
use crate::protocol::types::{NodeId, PartitionId};
use crate::protocol::wire::{Frame, Hello};
use crate::transport::{
    Class, LaneError, Link, LinkOwner, LinkTerms, Offload, Outfit, Purpose, Tally, Terms, client_config,
};

/// What all links of a shard are made with.
#[derive(Debug, Clone)]
pub(crate) struct LinkKit {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) credentials: CurrentCredentials,
    pub(crate) hello: Hello,
    pub(crate) tally: Arc<Tally>,
    pub(crate) inbox: Arc<Inbox>,
    /// Which shard of this node they are of.
    pub(crate) number: usize,
    pub(crate) reach: Arc<Reach>,
}

/// One peer: a link per shard of it.
#[derive(Debug)]
struct Peer {
    id: NodeId,
    ip: IpAddr,
    links: Vec<Link>,
    ups: Vec<bool>,
    was_up: bool,
}

/// The links of one shard. A peer counts as up when the links to all of its shards are.
#[derive(Debug)]
pub(crate) struct Links {
    kit: LinkKit,
    peers: Vec<Peer>,
}

impl Links {
    pub(crate) fn new(kit: LinkKit, view: &View) -> Self {
        let peer = |id: &NodeId| {
            let ip = view.roster.member(*id).map_or(IpAddr::from([0, 0, 0, 0]), |member| member.address.ip());
            Peer { id: *id, ip, links: Vec::new(), ups: Vec::new(), was_up: false }
        };
        Self { kit, peers: view.layout.nodes().iter().map(peer).collect() }
    }

    /// Opens a link to each shard of a peer; one that is open to the same port stays. Must be called on the runtime.
    pub(crate) fn open(&mut self, peer: PeerIndex, ports: &[u16]) {
        let kit = self.kit.clone();
        let Some(state) = self.peers.get_mut(peer.as_index()) else { return };
        for link in state.links.drain(ports.len().min(state.links.len())..) {
            link.stop();
        }
        state.ups.resize(ports.len(), false);
        for (shard, port) in ports.iter().enumerate() {
            let address = SocketAddr::new(state.ip, *port);
            match state.links.get(shard) {
                Some(link) => {
                    link.set_address(address);
                    link.retry_now();
                }
                None => state.links.push(start(&kit, state.id, address, peer, shard)),
            }
        }
    }

    /// Notes a link's state. Says when the peer as a whole came up or went down.
    pub(crate) fn set(&mut self, peer: PeerIndex, shard: usize, up: bool) -> Option<bool> {
        let state = self.peers.get_mut(peer.as_index())?;
        *state.ups.get_mut(shard)? = up;
        let now_up = state.ups.iter().all(|up| *up);
        // A link that went down and came up again between two turns has lost what was on it.
        let changed = now_up != state.was_up || (!up && !now_up);
        state.was_up = now_up;
        self.kit.reach.set(state.id, self.kit.number, now_up);
        changed.then_some(now_up)
    }

    /// Queues a frame for the shard of the peer that has the partition. Never waits.
    pub(crate) fn send(
        &self,
        peer: PeerIndex,
        partition: PartitionId,
        class: Class,
        frame: Bytes,
    ) -> Result<(), LaneError> {
        let links = self.peers.get(peer.as_index()).map(|state| &state.links).filter(|links| !links.is_empty());
        let links = links.ok_or(LaneError::Closed)?;
        let shard = partition.as_index() % links.len();
        links.get(shard).ok_or(LaneError::Closed)?.send(class, frame)
    }
}

fn start(kit: &LinkKit, node: NodeId, address: SocketAddr, peer: PeerIndex, shard: usize) -> Link {
    let owner = ShardLink { kit: kit.clone(), node, peer, shard };
    let terms = LinkTerms {
        address,
        node,
        terms: Terms::new(Purpose::Data),
        seed: super::entropy::seed_u64(),
        gate: Some(kit.inbox.gate()),
        tally: kit.tally.clone(),
    };
    let (link, keeper) = Link::new(terms, owner);
    tokio::spawn(keeper);
    link
}

/// Hands what happens on a link to the shard's inbox.
struct ShardLink {
    kit: LinkKit,
    node: NodeId,
    peer: PeerIndex,
    shard: usize,
}

impl LinkOwner for ShardLink {
    fn outfit(&self) -> Outfit {
        let crypto = quic_client_config(&self.kit.credentials.now(), Expected::Node(self.node))
            .expect("the credentials made a client configuration when they were loaded");
        let config = client_config(crypto, Purpose::Data, Offload::On);
        Outfit { endpoint: self.kit.endpoint.clone(), config, hello: self.kit.hello.clone() }
    }

    fn on_up(&self, _hello: &Hello) {
        self.kit.inbox.push(Input::Link { peer: self.peer, shard: self.shard, up: true });
    }

    fn on_frame(&self, frame: Frame) {
        self.kit.inbox.push(Input::Answer { peer: self.peer, frame });
    }

    fn on_down(&self, _reason: &str) {
        self.kit.inbox.push(Input::Link { peer: self.peer, shard: self.shard, up: false });
    }

    fn renewals(&self) -> Option<Renewals> {
        Some(self.kit.credentials.renewals())
    }
}
