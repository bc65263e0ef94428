//! How a client reaches its cluster, and what it asks for when a request does not say.

use std::net::SocketAddr;
use std::time::Duration;

use crate::pki::Credentials;
use crate::protocol::types::Strictness;

/// Time for one request with its retries, unless it says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Time to find the first node that answers.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Client::connect`](super::Client::connect) needs.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Control addresses of some nodes. One that answers is enough; the roster has the rest.
    pub nodes: Vec<SocketAddr>,
    /// Who this client is.
    pub credentials: Credentials,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many replicas are asked for.
    pub quorums: Quorums,
}

impl ClientOptions {
    /// The usual timeouts, and the cluster's own quorums.
    #[must_use]
    pub fn new(nodes: Vec<SocketAddr>, credentials: Credentials) -> Self {
        Self { nodes, credentials, timeouts: Timeouts::default(), quorums: Quorums::default() }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// One request with its retries. Default [`REQUEST_TIMEOUT`]; nodes cut it at one minute.
    pub request: Duration,
    /// The first contact, and each connection of an administrative command. Default [`CONNECT_TIMEOUT`].
    pub connect: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: REQUEST_TIMEOUT, connect: CONNECT_TIMEOUT }
    }
}

/// What a request asks for when it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    /// Replicas that answer a read; the cluster's number when none.
    pub read: Option<u8>,
    /// Copies that a write needs; the cluster's number when none.
    pub write: Option<u8>,
    /// Whether stand-ins count. Default [`Strictness::Sloppy`].
    pub strictness: Strictness,
}

impl Default for Quorums {
    fn default() -> Self {
        Self { read: None, write: None, strictness: Strictness::Sloppy }
    }
}
