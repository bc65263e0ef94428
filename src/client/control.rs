//! A session with one node's control endpoint, for administration and for the first contact.
//!
//! Unlike a [`Client`](super::Client) it needs no cluster: a node that waits to be created answers too. Everyone may
//! ask for view, status and counts; `state` and `create` need the certificate of an administrator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::dialer::Dialer;
use super::error::ClientError;
use crate::pki::Credentials;
use crate::protocol::types::NodeId;
use crate::protocol::wire::{
    Creation, Hello, Kind, NodeCounts, NodeState, NodeStatus, ViewReply, WireError, decode_control, encode_control,
};
use crate::transport::{Exchange, ExchangeError};

/// A session with one node's control endpoint. Ends when dropped.
pub struct Control {
    exchange: Exchange,
    address: SocketAddr,
    timeout: Duration,
    /// Keeps the UDP port open.
    dialer: Arc<Dialer>,
}

impl Control {
    /// Connects to whichever node of the credentials' cluster listens there. `timeout` is for the connection, and then
    /// for each request.
    pub async fn dial(credentials: &Credentials, address: SocketAddr, timeout: Duration) -> Result<Self, ClientError> {
        Self::dial_with(Arc::new(Dialer::new(credentials.clone())), address, timeout).await
    }

    pub(super) async fn dial_with(
        dialer: Arc<Dialer>,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let session = dialer.dial(address, timeout).await?;
        let opened = Exchange::open(session, dialer.tally.clone()).await;
        let (exchange, running) = opened.map_err(|source| ClientError::Session { address, source })?;
        dialer.runtime().spawn(running);
        Ok(Self { exchange, address, timeout, dialer })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first frame.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        self.exchange.peer().hello()
    }

    /// Which node it is, by certificate.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.exchange.peer().node()
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.ask(Kind::Ping, Bytes::new(), Kind::Pong).await.map(drop)
    }

    /// Roster and layout.
    pub async fn view(&self) -> Result<ViewReply, ClientError> {
        self.read(Kind::View, Bytes::new(), Kind::ViewReply, "view").await
    }

    /// How the node sees itself and its peers.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.read(Kind::Status, Bytes::new(), Kind::StatusReply, "status").await
    }

    /// What the node's shards have counted since they were started.
    pub async fn counts(&self) -> Result<NodeCounts, ClientError> {
        self.read(Kind::Counts, Bytes::new(), Kind::CountsReply, "counts").await
    }

    /// What created the node, secrets included. Administrators only.
    pub async fn state(&self) -> Result<NodeState, ClientError> {
        self.read(Kind::State, Bytes::new(), Kind::StateReply, "state").await
    }

    /// Makes the node a member of a new cluster. The same creation again succeeds, another one is refused.
    /// Administrators only.
    pub async fn create(&self, creation: &Creation) -> Result<NodeState, ClientError> {
        self.read(Kind::Create, encode_control(creation), Kind::Created, "created").await
    }

    /// Ends the session and gives the news a moment to leave. Only for a session that has its port to itself.
    pub async fn close(self) {
        self.dialer.close().await;
    }

    async fn read<T: DeserializeOwned>(
        &self,
        kind: Kind,
        body: Bytes,
        expected: Kind,
        what: &'static str,
    ) -> Result<T, ClientError> {
        let body = self.ask(kind, body, expected).await?;
        decode_control(&body, what).map_err(|source| self.malformed(source))
    }

    async fn ask(&self, kind: Kind, body: Bytes, expected: Kind) -> Result<Bytes, ClientError> {
        let node = || self.address.to_string();
        let frame = self.exchange.request(kind, body, self.timeout).await.map_err(|error| match error {
            ExchangeError::Refused(failure) => ClientError::Refused { node: node(), failure },
            ExchangeError::Malformed(source) => ClientError::Malformed { node: node(), source },
            error => ClientError::Unanswered {
                what: name_of(kind),
                timeout: self.timeout,
                attempts: 1,
                last: format!("{}: {error}", self.address),
                write_id: None,
            },
        })?;
        if frame.kind() == Some(expected) {
            return Ok(frame.body);
        }
        Err(self.malformed(WireError::Field { what: "kind of an answer", found: u64::from(frame.header.kind) }))
    }

    fn malformed(&self, source: WireError) -> ClientError {
        ClientError::Malformed { node: self.address.to_string(), source }
    }
}

/// A request's name in errors.
pub(super) const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Get => "the get",
        Kind::Put => "the put",
        Kind::Scan => "the scan",
        Kind::View => "the view",
        Kind::Status => "the status",
        Kind::Counts => "the counts",
        Kind::State => "the state",
        Kind::Create => "the create",
        Kind::Ping => "the ping",
        _ => "the request",
    }
}
