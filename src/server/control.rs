//! The control endpoint: greetings, creation, views, status, counts, and the control links between members.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::{Semaphore, oneshot};

use super::inbox::Input;
use super::members::{RosterPolicy, SESSIONS_MAX};
use super::state::{NodeShared, Verification};
use crate::pki::tls::quic_client_config;
use crate::pki::verifier::Expected;
use crate::pki::{CurrentCredentials, Renewals};
use crate::protocol::shard::{PeerIndex, View};
use crate::protocol::types::NodeId;
use crate::protocol::wire::{
    Creation, Failure, FailureCode, Frame, Header, Hello, Kind, NodeState, Vouch, Vouched, decode_control,
    encode_control,
};
use crate::transport::{
    Class, Handler, LaneSender, Link, LinkOwner, LinkTerms, Offload, Outfit, Peer, Purpose, Tally, Terms, accept,
    client_config,
};

/// Something that the node itself has to do, off the sessions' tasks.
#[derive(Debug)]
pub(crate) enum Order {
    /// Become a member. Answered with what the node is then.
    Create(Box<Creation>, oneshot::Sender<Result<NodeState, Failure>>),
    /// Say what created this node.
    State(oneshot::Sender<NodeState>),
    /// Say whether a peer's disk is the one that is remembered.
    Vouch(NodeId, Vouch, oneshot::Sender<Vouched>),
    /// A peer told whether it remembers this node's disk.
    Vouched(NodeId, Vouched),
}

/// Orders that wait for the control thread at once: one of each member, and an administrator's few.
pub(crate) const ORDERS_MAX: usize = 1_024;
/// Most orders are a record in the node's own column family, fsynced.
const ORDERS_DONE_IN: Duration = Duration::from_secs(1);

/// What control sessions and links stand on.
#[derive(Debug, Clone)]
pub(crate) struct ControlKit {
    pub(crate) shared: Arc<NodeShared>,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) credentials: CurrentCredentials,
    pub(crate) policy: RosterPolicy,
    pub(crate) tally: Arc<Tally>,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Takes control connections until the endpoint closes.
pub(crate) async fn accept_all(kit: ControlKit) {
    let places = Arc::new(Semaphore::new(SESSIONS_MAX));
    while let Some(incoming) = kit.endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(remote = %incoming.remote_address(), "refused: {SESSIONS_MAX} sessions are open");
            incoming.refuse();
            continue;
        };
        let kit = kit.clone();
        tokio::spawn(async move {
            let _place = place;
            let remote = incoming.remote_address();
            let hello = kit.shared.hello();
            match accept(incoming, &hello, &kit.policy, Terms::new(Purpose::Control), &kit.tally).await {
                Ok(session) => {
                    kit.policy.register(session.peer());
                    let (tally, renewals) = (kit.tally.clone(), kit.credentials.renewals());
                    let error = session.judged_by(renewals).serve(None, tally, Desk(kit)).await;
                    tracing::debug!(%remote, %error, "control session ended");
                }
                Err(error) => tracing::warn!(%remote, %error, "control connection refused"),
            }
        });
    }
}

/// Answers what is asked on a control connection.
struct Desk(ControlKit);

impl Handler for Desk {
    fn on_datagram(&self, peer: &Peer, datagram: Bytes) {
        if let (Some(gossip), Some(node)) = (self.0.shared.gossip(), peer.node())
            && datagram != super::members::POKE
        {
            gossip.datagram(node, &datagram);
        }
    }

    fn on_frame(&self, peer: &Peer, lane: &LaneSender, frame: Frame) {
        let answer = self.answer(peer, &frame, lane);
        if let Some((kind, body)) = answer.unwrap_or_else(|failure| Some((Kind::Error, encode_control(&failure)))) {
            self.send(lane, frame.header.correlation, kind, body);
        }
    }
}

impl Desk {
    fn send(&self, lane: &LaneSender, correlation: u64, kind: Kind, body: Bytes) {
        let layout = self.0.shared.view().map(|view| view.layout.id()).unwrap_or_default();
        let frame = Frame::new(Header::new(kind, correlation, 0, layout), body);
        if let Err(error) = lane.try_send(frame.to_bytes()) {
            tracing::debug!(%error, "the asker does not take its answer");
        }
    }

    /// The answer, or none when it comes later.
    fn answer(&self, peer: &Peer, frame: &Frame, lane: &LaneSender) -> Result<Option<(Kind, Bytes)>, Failure> {
        let shared = &self.0.shared;
        let (lane, correlation) = (lane.clone(), frame.header.correlation);
        match frame.kind() {
            Some(Kind::Ping) => Ok(Some((Kind::Pong, Bytes::new()))),
            Some(Kind::Status) => Ok(Some((Kind::StatusReply, encode_control(&shared.status())))),
            Some(Kind::Counts) => Ok(Some((Kind::CountsReply, encode_control(&shared.counts())))),
            Some(Kind::View) => {
                let view = shared.view().ok_or_else(uninitialised)?;
                Ok(Some((Kind::ViewReply, encode_control(&view.to_reply()))))
            }
            Some(Kind::State) => {
                self.order(lane, correlation, Order::State, |state| Ok((Kind::StateReply, encode_control(&state))));
                Ok(None)
            }
            Some(Kind::Create) => {
                let creation: Creation = decode_control(&frame.body, "create").map_err(|error| bad_input(&error))?;
                let order = |tell| Order::Create(Box::new(creation), tell);
                self.order(lane, correlation, order, |state| Ok((Kind::Created, encode_control(&state?))));
                Ok(None)
            }
            Some(Kind::Members) => {
                let gossip = shared.gossip().ok_or_else(uninitialised)?;
                Ok(Some((Kind::MembersReply, gossip.record())))
            }
            Some(Kind::Vouch) => {
                let node = peer.node().ok_or_else(|| Failure::new(FailureCode::NotAllowed, "only nodes have disks"))?;
                let asked: Vouch = decode_control(&frame.body, "vouch").map_err(|error| bad_input(&error))?;
                let order = |tell| Order::Vouch(node, asked, tell);
                self.order(lane, correlation, order, |vouched| Ok((Kind::Vouched, encode_control(&vouched))));
                Ok(None)
            }
            _ => Err(Failure::new(
                FailureCode::Unsupported,
                format!("a frame of kind {} belongs on a shard's port, this is the control port", frame.header.kind),
            )),
        }
    }

    /// Has the node do something and answers when it is done.
    fn order<T: Send + 'static>(
        &self,
        lane: LaneSender,
        correlation: u64,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
        then: impl FnOnce(T) -> Result<(Kind, Bytes), Failure> + Send + 'static,
    ) {
        let (tell, told) = oneshot::channel();
        let sent = self.0.orders.try_send(order(tell));
        let desk = Self(self.0.clone());
        tokio::spawn(async move {
            let stopping = || Failure::new(FailureCode::Stopping, "this node is stopping");
            let answer = match sent {
                Err(mpsc::error::TrySendError::Full(_)) => {
                    let text = format!("{ORDERS_MAX} orders wait for this node already; ask again, slower");
                    Err(Failure::overloaded(text, ORDERS_DONE_IN))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
                Ok(()) => told.await.map_err(|_| stopping()).and_then(then),
            };
            let (kind, body) = answer.unwrap_or_else(|failure| (Kind::Error, encode_control(&failure)));
            desk.send(&lane, correlation, kind, body);
        });
    }
}

fn uninitialised() -> Failure {
    let text = "this node does not belong to a cluster yet; run `quorate cluster create`";
    Failure::new(FailureCode::Uninitialised, text)
}

fn bad_input(error: &crate::protocol::wire::WireError) -> Failure {
    Failure::new(FailureCode::BadInput, error.to_string())
}

/// Keeps a control link to every other member.
pub(crate) fn link_members(kit: &ControlKit, view: &View) {
    for member in view.roster.members().iter().filter(|member| member.id != kit.shared.node) {
        let Some(peer) = view.peer_of(member.id) else { continue };
        let terms = LinkTerms {
            address: member.address,
            node: member.id,
            terms: Terms::new(Purpose::Control),
            seed: super::entropy::seed_u64(),
            gate: None,
            tally: kit.tally.clone(),
        };
        let owner = ControlLink { kit: kit.clone(), node: member.id, peer };
        let (link, keeper) = Link::new(terms, owner);
        kit.shared.links().insert(member.id, link);
        tokio::spawn(keeper);
    }
}

/// The control link to one member.
struct ControlLink {
    kit: ControlKit,
    node: NodeId,
    peer: PeerIndex,
}

impl LinkOwner for ControlLink {
    fn outfit(&self) -> Outfit {
        let crypto = quic_client_config(&self.kit.credentials.now(), Expected::Node(self.node))
            .expect("the credentials made a client configuration when they were loaded");
        let config = client_config(crypto, Purpose::Control, Offload::On);
        Outfit { endpoint: self.kit.endpoint.clone(), config, hello: self.kit.shared.hello() }
    }

    fn on_up(&self, hello: &Hello) {
        if let Some(gossip) = self.kit.shared.gossip() {
            gossip.link(self.node, true);
        }
        for inbox in &self.kit.shared.inboxes {
            inbox.push(Input::Ports { peer: self.peer, ports: hello.shard_ports.clone() });
        }
        let link = self.kit.shared.links().get(&self.node).cloned();
        if let Some(link) = &link {
            ask_to_vouch(&self.kit.shared, self.node, link);
        }
    }

    fn on_datagram(&self, datagram: Bytes) {
        if let Some(gossip) = self.kit.shared.gossip().filter(|_| datagram != super::members::POKE) {
            gossip.datagram(self.node, &datagram);
        }
    }

    fn on_frame(&self, frame: Frame) {
        if frame.kind() == Some(Kind::MembersReply)
            && let Some(gossip) = self.kit.shared.gossip()
        {
            gossip.table(self.node, &frame.body);
        }
        if frame.kind() == Some(Kind::Vouched)
            && let Ok(vouched) = decode_control::<Vouched>(&frame.body, "vouched")
        {
            // The node ends first, or the order is carried out; there is nobody to tell.
            // A full queue loses nothing for good either: it is asked again with the next connection.
            drop(self.kit.orders.try_send(Order::Vouched(self.node, vouched)));
        }
    }

    fn on_down(&self, reason: &str) {
        if let Some(gossip) = self.kit.shared.gossip() {
            gossip.link(self.node, false);
        }
        tracing::info!(member = %self.node, reason, "no control link to a member");
    }

    fn renewals(&self) -> Option<Renewals> {
        Some(self.kit.credentials.renewals())
    }
}

/// Asks a member whether this node's disk is the one that it remembers.
fn ask_to_vouch(shared: &NodeShared, node: NodeId, link: &Link) {
    let layout = shared.view().map(|view| view.layout.id()).unwrap_or_default();
    let frame = Frame::new(Header::new(Kind::Vouch, 1, 5_000, layout), encode_control(&shared.vouch())).to_bytes();
    if let Err(error) = link.send(Class::Normal, frame) {
        tracing::debug!(member = %node, %error, "not asked whether it remembers this disk");
    }
}

/// Asks all members that are connected; the others are asked when they are.
pub(crate) fn ask_all_to_vouch(shared: &NodeShared) {
    let links: Vec<_> = shared.links().iter().map(|(node, link)| (*node, link.clone())).collect();
    links.iter().filter(|(_, link)| link.is_up()).for_each(|(node, link)| ask_to_vouch(shared, *node, link));
}

/// Which members have said that they know no other disk of this node.
#[derive(Debug, Default)]
pub(crate) struct Vouches {
    by: BTreeMap<NodeId, bool>,
}

impl Vouches {
    /// Notes what a member remembers. Says how the node stands once that is known.
    pub(crate) fn note(&mut self, shared: &NodeShared, by: NodeId, continues: bool) -> Option<Verification> {
        self.by.insert(by, continues);
        if !continues && shared.verification() != Verification::Lost {
            return Some(Verification::Lost);
        }
        if shared.verification() != Verification::Fresh {
            return None;
        }
        let view = shared.view()?;
        let others = view.roster.members().iter().filter(|member| member.id != shared.node);
        let all = others.into_iter().all(|member| self.by.contains_key(&member.id));
        all.then_some(Verification::Verified)
    }
}
