//! A session: a connection whose peer is known, by certificate and by hello.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;

use super::closing::{CloseCode, close, explain};
use super::lane::LaneError;
use super::purse::Purse;
use super::settings::Purpose;
use super::tenure::AGE_MAX;
use crate::pki::tls::peer_chain;
use crate::pki::{Identity, Moment, PeerError, Renewals, Role, Validity};
use crate::protocol::types::limits::{CLIENT_FRAME_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use crate::protocol::types::{ClusterId, NodeId};
use crate::protocol::wire::{Hello, Sender, WireError};

/// How long TLS and hello may take, each way of connecting.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Largest datagram that is sent: it fits a packet of 1,200 bytes, the least that every way carries.
pub const DATAGRAM_BYTES_MAX: usize = 1100;

/// What is demanded of a connection before it is a session, and of its frames afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Decides the limit of frames.
    pub purpose: Purpose,
    /// For TLS and hello together.
    pub deadline: Duration,
}

impl Terms {
    /// The usual terms: [`DEADLINE`].
    #[must_use]
    pub const fn new(purpose: Purpose) -> Self {
        Self { purpose, deadline: DEADLINE }
    }

    /// Largest frame that is taken from this sender.
    pub(super) const fn frame_bytes_max(self, sender: Sender) -> usize {
        match (self.purpose, sender) {
            (Purpose::Control, _) => CONTROL_FRAME_BYTES_MAX,
            (Purpose::Data | Purpose::Client, Sender::Node) => FRAME_BYTES_MAX,
            (Purpose::Data | Purpose::Client, Sender::Client | Sender::Admin) => CLIENT_FRAME_BYTES_MAX,
        }
    }
}

/// Why there is no session, or why it ended. What was on its way when it ended is unknown. A new attempt may succeed,
/// except where the text names something to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The connection ended, or was refused by the other end; the text says why.
    #[error("{0}")]
    Lost(String),
    /// No connection could be begun from this endpoint. Whose fault: this end's.
    #[error("cannot connect from this endpoint: {0}")]
    Connect(String),
    /// Nothing, or only a part of TLS, came back.
    #[error(
        "no connection within {} ms; check that the peer runs, its address, and that UDP passes the firewalls",
        .0.as_millis()
    )]
    Unreachable(Duration),
    /// TLS succeeded, then nothing.
    #[error("the hello did not come within {} ms", .0.as_millis())]
    HelloLate(Duration),
    /// Something else came first.
    #[error("the first frame must be a hello, but its kind is {0}")]
    NotHello(u8),
    /// A hello where a request should be.
    #[error("a second hello came; only the first frame of a connection is one")]
    SecondHello,
    /// An old program and a new one.
    #[error(
        "no common protocol version: the peer speaks {} to {}, this end {} to {}; upgrade the older one",
        theirs.0, theirs.1, ours.0, ours.1
    )]
    Versions {
        /// Lowest and highest of this end.
        ours: (u8, u8),
        /// Lowest and highest of the peer.
        theirs: (u8, u8),
    },
    /// An address of another cluster, or a data directory of another.
    #[error("the peer belongs to cluster {theirs}, this end to {ours}; check the address and the data directory")]
    Cluster {
        /// Of this end.
        ours: ClusterId,
        /// Of the peer.
        theirs: ClusterId,
    },
    /// A hello that its certificate does not bear out.
    #[error("the hello is of {}, but the certificate is of {certificate}", shown(*.hello))]
    NotCertified {
        /// The node that the hello names.
        hello: Option<NodeId>,
        /// Who the certificate is of.
        certificate: Role,
    },
    /// Another node than the one that was looked for.
    #[error("the peer is {found} but node {expected} was expected; check the roster and the addresses")]
    OtherNode {
        /// Who should have answered.
        expected: NodeId,
        /// Who did.
        found: Role,
    },
    /// The certificate names nobody.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// This end's policy does not believe the peer; the text is the policy's.
    #[error("{0}")]
    NotBelieved(String),
    /// A frame that cannot be understood. Whose fault: the peer's.
    #[error("malformed frame: {0}")]
    Malformed(#[from] WireError),
    /// A question from a peer that should only answer. Whose fault: the peer's.
    #[error("the peer asked ({0}) on a lane where it may only answer")]
    Asked(u8),
    /// Answers waited, and none was read. Whose fault: the peer's, or the way's.
    #[error("the peer has read none of its answers for {} s; read them, or ask for fewer at once", .0.as_secs())]
    Deaf(Duration),
    /// It has lasted as long as a session may. Connect again.
    #[error("the session has lasted for {} h, as long as one may; connect again", AGE_MAX.as_secs() / 3600)]
    Aged,
    /// The peer's certificate has come to its end. Whose fault: whoever did not renew it in time.
    #[error("the peer's certificate has expired at {0}, and the session with it; renew it with `quorate cert renew`")]
    Expired(Moment),
    /// This end has no more use for it.
    #[error("there is no more use for the session")]
    Done,
}

fn shown(node: Option<NodeId>) -> String {
    node.map_or_else(|| "no node".to_owned(), |node| format!("node {node}"))
}

impl SessionError {
    /// The code that the connection is closed with; none when it is closed already.
    pub(super) const fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Lost(_) | Self::Connect(_) => None,
            Self::Unreachable(_) | Self::HelloLate(_) | Self::Deaf(_) => Some(CloseCode::Deadline),
            Self::Versions { .. } | Self::Cluster { .. } | Self::NotCertified { .. } | Self::OtherNode { .. } => {
                Some(CloseCode::Hello)
            }
            Self::Peer(_) | Self::NotBelieved(_) | Self::Expired(_) => Some(CloseCode::NotBelieved),
            Self::NotHello(_) | Self::SecondHello | Self::Malformed(_) | Self::Asked(_) => Some(CloseCode::Malformed),
            Self::Done | Self::Aged => Some(CloseCode::Done),
        }
    }

    /// Whether the peer sent something that it must not send.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        matches!(self.code(), Some(CloseCode::Malformed))
    }

    /// Closes the connection for this reason, so that the peer can show it.
    pub(super) fn end(&self, connection: &quinn::Connection) {
        if let Some(code) = self.code() {
            close(connection, code, &self.to_string());
        }
    }
}

/// What the peer of a connection has shown of itself.
pub(super) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    pub(super) identity: Identity,
    not_after: Moment,
}

impl Shown {
    /// By this connection's peer; its handshake has verified it.
    pub(super) fn by(connection: &quinn::Connection) -> Result<Self, PeerError> {
        let chain = peer_chain(connection)?;
        let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
        let (identity, not_after) = (Identity::from_certificate(leaf)?, Validity::of(leaf)?.not_after);
        Ok(Self { chain, identity, not_after })
    }
}

/// Who is at the other end of a session. Clones are the same session.
#[derive(Clone)]
pub struct Peer(Arc<Known>);

struct Known {
    connection: quinn::Connection,
    chain: Vec<CertificateDer<'static>>,
    identity: Identity,
    not_after: Moment,
    sender: Sender,
    hello: Hello,
    version: u8,
}

impl Peer {
    pub(super) fn new(connection: quinn::Connection, shown: Shown, hello: Hello, version: u8) -> Self {
        let Shown { chain, identity, not_after } = shown;
        let sender = match identity.role {
            Role::Node(_) => Sender::Node,
            Role::Client(_) => Sender::Client,
            Role::Admin(_) => Sender::Admin,
        };
        Self(Arc::new(Known { connection, chain, identity, not_after, sender, hello, version }))
    }

    /// The QUIC connection: statistics, round trip time, address.
    #[must_use]
    pub fn connection(&self) -> &quinn::Connection {
        &self.0.connection
    }

    /// Who it is, by certificate.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The chain that it showed.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The last second of its certificate.
    #[must_use]
    pub fn not_after(&self) -> Moment {
        self.0.not_after
    }

    /// What it is to the rules of frames.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.0.sender
    }

    /// Which node it is, if it is one.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self.0.identity.role {
            Role::Node(node) => Some(node),
            Role::Client(_) | Role::Admin(_) => None,
        }
    }

    /// Its first frame.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.0.hello
    }

    /// The newest protocol version that both ends speak.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.0.version
    }

    /// Ends the session; the peer shows the reason. What was on its way is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        close(&self.0.connection, code, reason);
    }

    /// Sends a datagram of at most [`DATAGRAM_BYTES_MAX`]; it may be lost. Only on control connections.
    ///
    /// # Panics
    /// When it is larger: whoever lays a datagram out knows the bound.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), LaneError> {
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX, "a datagram is laid out to fit a packet");
        self.0.connection.send_datagram(datagram).map_err(|_| LaneError::Closed)
    }

    /// The next datagram. Only one task of a session may ask.
    pub(super) async fn read_datagram(&self) -> Result<Bytes, SessionError> {
        self.0.connection.read_datagram().await.map_err(|error| SessionError::Lost(explain(&error)))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} at {})", self.0.identity.role, self.0.connection.remote_address())
    }
}

/// A connection that has been greeted, with the lane that the hellos went over. Run it with [`Session::serve`]
/// (accepting side) or [`Session::converse`] (connecting side).
#[derive(Debug)]
pub struct Session {
    pub(super) peer: Peer,
    pub(super) terms: Terms,
    pub(super) send: quinn::SendStream,
    pub(super) receive: quinn::RecvStream,
    pub(super) purse: Option<Purse>,
    pub(super) renewals: Option<Renewals>,
}

impl Session {
    /// The same session, whose answers that wait are paid for from a purse, when it is served.
    #[must_use]
    pub fn paid_from(mut self, purse: Purse) -> Self {
        self.purse = Some(purse);
        self
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Has its peer judged again whenever these credentials are renewed.
    #[must_use]
    pub fn judged_by(mut self, renewals: Renewals) -> Self {
        self.renewals = Some(renewals);
        self
    }

    /// Largest frame that the peer may send.
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.terms.frame_bytes_max(self.peer.sender())
    }
}
