//! The HTTP door: the cluster for whoever has `curl` and no Quorate client.
//!
//! ```text
//!   PUT | GET | HEAD | DELETE  /v1/kv/{table}/{key}[/{sort}]    an item; the three parts are percent-encoded bytes
//!   GET | HEAD                 /v1/cluster/status               this node, its cluster, who has how many partitions
//!   GET | HEAD                 /healthz  /readyz  /metrics      alive, able to serve, numbers
//! ```
//!
//! The door knows neither shards nor storage. It turns a request into the very message that a QUIC client would send,
//! hands it to a [`Door`], and turns the answer into HTTP:
//!
//! ```text
//!   socket -> connection -> router -> guard (Host, Origin, token) -> path, parameters, body -> item -> Door::ask
//!                                                                                 reply or refusal <-
//! ```
//!
//! It is one end of the end-to-end checksum (design, rule 5): it makes the checksum before a value leaves for the
//! shards, and verifies every version before a byte of it is shown.
//!
//! Who may come in (design, section 8). The Host must be a configured name, or a web page could rebind its own name to
//! this address. A request that a browser sends for another site's page is refused. Data is closed unless it is opened
//! in one of four ways ([`DataAccess`]). Nothing here changes the cluster itself.
//!
//! Invariants: every queue, buffer and wait has a named bound; no input panics; a failed write's answer carries its
//! write id, so that it can be retried as the same write.
//!
//! A connection behind TLS ends with its client's certificate, and when the door's own credentials are renewed.
//!
//! *Caveats.* A value is read whole before it is sent on, and shown whole: 8 MiB is the most that a node can be
//! configured for.

mod body;
mod connection;
mod guard;
mod item;
mod listener;
mod memory;
mod parameters;
mod path;
mod patient;
mod refusal;
mod reply;
mod router;
mod socket_file;
mod status;
mod tally;
mod token;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

pub use connection::CONNECTIONS_MAX;
pub use listener::{BindError, Listeners, bind};
pub use memory::{REPLY_BYTES_TOTAL_MAX, VALUE_BYTES_TOTAL_MAX};
pub use router::HEADER_BYTES_MAX;
pub use socket_file::SOCKET_MODE;
pub use tally::HttpTally;
pub use token::TokenError;

use crate::config::server::{HttpConfig, HttpData};
use crate::pki::{Credentials, TlsError};
use crate::protocol::shard::View;
use crate::protocol::wire::{Failure, Frame, Kind, NodeStatus};

#[cfg(test)]
mod tests;

/// What the door stands on: a node that answers messages and knows how it is.
pub trait Door: Clone + Send + Sync + 'static {
    /// Carries a request to the shard that it belongs to and brings its answer, within `budget`. An answer of kind
    /// [`Kind::Error`] is a [`Failure`] from the shard; an `Err` is one from the way there.
    fn ask(&self, kind: Kind, body: Bytes, budget: Duration) -> impl Future<Output = Result<Frame, Failure>> + Send;

    /// How the node sees itself.
    fn status(&self) -> NodeStatus;

    /// The cluster as the node knows it; `None` while it is uninitialised.
    fn view(&self) -> Option<Arc<View>>;

    /// Whether the node should be sent requests.
    ///
    /// # Errors
    /// Why not, for a person.
    fn readiness(&self) -> Result<(), String>;

    /// The node's numbers in Prometheus' text format.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// Where requests are counted.
    fn tally(&self) -> &HttpTally;

    /// The largest value that the node takes, bytes.
    fn value_bytes_max(&self) -> usize;
}

/// The newest TLS configuration: sending another one renews the certificate for the connections that follow.
pub type TlsSource = watch::Receiver<Arc<rustls::ServerConfig>>;

/// TLS for the door from a node's credentials: HTTP/1.1, and no client without a certificate of the cluster.
///
/// # Errors
/// [`TlsError::Role`] when the credentials are not a node's.
pub fn tls_config(credentials: &Credentials) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    crate::pki::tls::server_config(credentials, crate::pki::tls::ALPN_HTTP).map(Arc::new)
}

/// What the door is told once.
#[derive(Debug, Clone)]
pub struct DoorConfig {
    /// TCP address of health, status and metrics, and of the data in the two loopback modes. Must be loopback unless
    /// the data is behind TLS: it asks nobody who they are.
    pub listen: SocketAddr,
    /// Names beyond the loopback ones that a request's Host may have: lower case, without port.
    pub hosts: Vec<String>,
    /// Who may read and write items.
    pub data: DataAccess,
    /// Time for a request that names none.
    pub request_timeout: Duration,
    /// How long a client may take.
    pub deadlines: Deadlines,
}

impl DoorConfig {
    /// The door of a `quorate server` configuration.
    #[must_use]
    pub fn of(http: &HttpConfig, request_timeout: Duration, tls: &TlsSource) -> Self {
        let data = match &http.data {
            HttpData::Off => DataAccess::Off,
            HttpData::Loopback { token_file } => DataAccess::Loopback { token_file: token_file.clone() },
            HttpData::Unix { socket } => DataAccess::Unix { socket: socket.clone() },
            HttpData::Tls { listen } => DataAccess::Tls { listen: *listen, tls: tls.clone() },
        };
        let (listen, hosts) = (http.listen, http.hosts.clone());
        Self { listen, hosts, data, request_timeout, deadlines: Deadlines::default() }
    }

    /// The door of `quorate dev`: everything open on loopback, without a token.
    #[must_use]
    pub fn open_loopback(listen: SocketAddr, request_timeout: Duration) -> Self {
        let (hosts, data, deadlines) = (Vec::new(), DataAccess::OpenLoopback, Deadlines::default());
        Self { listen, hosts, data, request_timeout, deadlines }
    }
}

/// Who may read and write items over HTTP.
#[derive(Debug, Clone)]
pub enum DataAccess {
    /// Nobody.
    Off,
    /// Whoever is on this machine. For `quorate dev` only.
    OpenLoopback,
    /// Whoever is on this machine and has the bearer token.
    Loopback {
        /// A file with the token on its one line, mode 0600.
        token_file: PathBuf,
    },
    /// Whoever may open the socket: owner and group.
    Unix {
        /// Where it is made.
        socket: PathBuf,
    },
    /// Whoever has a certificate of the cluster: client, administrator or node.
    Tls {
        /// TCP address, other than [`DoorConfig::listen`].
        listen: SocketAddr,
        /// Certificate and key, and whom to believe.
        tls: TlsSource,
    },
}

/// How long a client may take for each of its parts before its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the moment that a request is awaited to the end of its headers; TLS handshakes too. Also ends idle
    /// connections.
    pub header: Duration,
    /// From the end of the headers to the end of the body.
    pub body: Duration,
    /// Between two bytes of an answer that the client reads.
    pub stall: Duration,
    /// From the order to stop to the end of the last request under way.
    pub stop: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            // Clients that keep connections for longer open a new one; a slow loris holds a place no longer.
            header: Duration::from_secs(30),
            // 8 MiB at 2 Mbit/s.
            body: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            // Under the 15 s that most supervisors wait before they kill.
            stop: Duration::from_secs(10),
        }
    }
}
