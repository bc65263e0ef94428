//! A small world: one authority, nodes that serve, and whoever connects to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::pki::tls::{quic_client_config, quic_server_config};
use crate::pki::{Authority, Credentials, Expected, Identity, Moment, Role};
use crate::protocol::ring::LayoutId;
use crate::protocol::types::{BootGeneration, ClusterId, DiskId, NodeId};
use crate::protocol::wire::{Frame, Header, Hello, Kind, PROTOCOL_VERSION};
use crate::transport::conversation::Listener;
use crate::transport::*;

pub(super) const CLUSTER: ClusterId = ClusterId::new(7);
pub(super) const SERVER: NodeId = NodeId::new(1);
pub(super) const PEER: NodeId = NodeId::new(2);
const HOUR: Duration = Duration::from_secs(3600);
/// No test waits this long unless it fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Fails with this text when the future takes too long.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(DEADLINE, future).await;
    output.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until the condition holds, and looks again whenever other tasks had their turn.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What a process says of itself.
pub(super) fn hello(node: Option<NodeId>) -> Hello {
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        cluster: Some(CLUSTER),
        node,
        generation: BootGeneration::new(1),
        disk: DiskId::new(1),
        process: 0,
        shard_ports: Vec::new(),
        layouts: Vec::new(),
        features: 0,
    }
}

/// A frame with some bytes as its body.
pub(super) fn frame(kind: Kind, correlation: u64, body: impl Into<Bytes>) -> Bytes {
    Frame::new(Header::new(kind, correlation, 1000, LayoutId::default()), body.into()).to_bytes()
}

/// Answers every `Get` with its own body.
pub(super) fn echo(_peer: &Peer, lane: &LaneSender, asked: Frame) {
    let header = Header::new(Kind::GetReply, asked.header.correlation, 0, LayoutId::default());
    // A full lane loses the answer, as a node would.
    lane.try_send(Frame::new(header, asked.body).to_bytes()).ok();
}

#[expect(clippy::unnecessary_wraps, reason = "it is a policy")]
pub(super) fn any_identity(_: &Identity) -> Result<(), String> {
    Ok(())
}

/// Who trusts whom.
pub(super) struct World {
    pub(super) authority: Authority,
}

impl World {
    pub(super) fn new() -> Self {
        Self { authority: Authority::generate(CLUSTER, 10 * HOUR, Moment::now()).unwrap() }
    }

    pub(super) fn credentials(&self, role: Role) -> Credentials {
        let leaf = self.authority.issue("x", role, HOUR, Moment::now()).unwrap();
        Credentials::from_leaf(&self.authority, &leaf, Moment::now()).unwrap()
    }

    pub(super) fn server_config(&self, purpose: Purpose) -> quinn::ServerConfig {
        let crypto = quic_server_config(&self.credentials(Role::Node(SERVER))).unwrap();
        server_config(crypto, purpose, Offload::On)
    }

    pub(super) fn client_config(&self, role: Role, purpose: Purpose) -> quinn::ClientConfig {
        let crypto = quic_client_config(&self.credentials(role), Expected::AnyNode).unwrap();
        client_config(crypto, purpose, Offload::On)
    }

    /// Serves on a free port until the test ends.
    pub(super) fn serve<H: Handler + Clone + Send + Sync + 'static>(&self, handler: H) -> Server {
        self.serve_as(Terms::new(Purpose::Data), hello(Some(SERVER)), any_identity, handler)
    }

    pub(super) fn serve_as<H, P>(&self, terms: Terms, hello: Hello, policy: P, handler: H) -> Server
    where
        H: Handler + Clone + Send + Sync + 'static,
        P: Policy + Clone + Send + Sync + 'static,
    {
        let endpoint = bind(loopback(), Some(self.server_config(terms.purpose)), None).unwrap();
        let server = Server::new(&endpoint);
        let shared = server.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (server, hello, policy, handler) = (shared.clone(), hello.clone(), policy.clone(), handler.clone());
                tokio::spawn(async move {
                    let error = match accept(incoming, &hello, &policy, terms, &server.tally).await {
                        Ok(session) => session.serve(Some(server.gate), server.tally.clone(), handler).await,
                        Err(error) => error,
                    };
                    server.ends.lock().unwrap().push(error.to_string());
                });
            }
        });
        server
    }

    /// A greeted connection to a server, from an endpoint of its own.
    pub(super) async fn connect(&self, role: Role, server: &Server) -> Result<Session, SessionError> {
        let hello = hello(match role {
            Role::Node(node) => Some(node),
            Role::Client(_) | Role::Admin(_) => None,
        });
        self.connect_saying(role, server, &hello).await
    }

    pub(super) async fn connect_saying(
        &self,
        role: Role,
        server: &Server,
        hello: &Hello,
    ) -> Result<Session, SessionError> {
        let endpoint = bind(loopback(), None, None).unwrap();
        let config = self.client_config(role, Purpose::Data);
        connect(&endpoint, config, server.address, Some(SERVER), hello, Terms::new(Purpose::Data)).await
    }

    pub(super) async fn converse(&self, role: Role, server: &Server) -> Talk {
        Talk::over(self.connect(role, server).await.unwrap()).await
    }
}

pub(super) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(super) fn client() -> Role {
    Role::client("app").unwrap()
}

/// A server and how its connections ended.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) gate: Gate,
    pub(super) tally: Arc<Tally>,
    pub(super) ends: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(endpoint: &quinn::Endpoint) -> Self {
        let address = endpoint.local_addr().unwrap();
        Self { address, gate: Gate::new(), tally: Arc::default(), ends: Arc::default() }
    }

    /// Waits until a connection has ended, and checks why.
    pub(super) async fn ended_with(&self, words: &str) {
        until("the server's end of the session", || !self.ends.lock().unwrap().is_empty()).await;
        let ends = self.ends.lock().unwrap().clone();
        assert!(ends.iter().any(|end| end.contains(words)), "{ends:?}");
    }
}

/// The frames that came back, and how the session ended.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) frames: Mutex<Vec<Frame>>,
    pub(super) end: Mutex<Option<String>>,
}

impl Listener for Heard {
    fn on_frame(&self, frame: Frame) {
        self.frames.lock().unwrap().push(frame);
    }

    fn on_datagram(&self, datagram: Bytes) {
        drop(datagram);
    }
}

impl Heard {
    pub(super) fn len(&self) -> usize {
        self.frames.lock().unwrap().len()
    }

    pub(super) fn end(&self) -> Option<String> {
        self.end.lock().unwrap().clone()
    }
}

/// An asking side that remembers everything.
pub(super) struct Talk {
    pub(super) lanes: Lanes,
    pub(super) heard: Arc<Heard>,
}

impl Talk {
    pub(super) async fn over(session: Session) -> Self {
        let (lanes, conversation) = session.converse().await.unwrap();
        let heard = Arc::new(Heard::default());
        let listener = heard.clone();
        tokio::spawn(async move {
            let error = conversation.run(None, Arc::default(), &*listener).await;
            *listener.end.lock().unwrap() = Some(error.to_string());
        });
        Self { lanes, heard }
    }

    /// Queues a frame, waiting while the lane is full.
    pub(super) async fn send(&self, class: Class, frame: Bytes) {
        within("room in the lane", async {
            while let Err(error) = self.lanes.send(class, frame.clone()) {
                assert!(matches!(error, LaneError::Full { .. }), "{error}; {:?}", self.heard.end());
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until this many frames have come.
    pub(super) async fn heard(&self, count: usize) {
        until(&format!("{count} answers"), || self.heard.len() >= count || self.heard.end().is_some()).await;
        assert!(self.heard.len() >= count, "{} of {count} answers; {:?}", self.heard.len(), self.heard.end());
    }

    /// Waits until the session has ended, and checks why.
    pub(super) async fn ended_with(&self, words: &str) {
        until("the end of the session", || self.heard.end().is_some()).await;
        let end = self.heard.end().unwrap();
        assert!(end.contains(words), "{end}");
    }
}
