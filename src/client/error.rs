//! What a client is told when a request did not succeed.

use std::net::SocketAddr;
use std::time::Duration;

use crate::pki::TlsError;
use crate::protocol::ring::LayoutError;
use crate::protocol::types::limits::VALUE_BYTES_MAX;
use crate::protocol::types::{PartitionId, WriteId};
use crate::protocol::version::Dot;
use crate::protocol::wire::{Failure, FailureCode, WireError};
use crate::transport::{BindError, SessionError};

/// Why a request did not succeed. The client has already retried what may be retried.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No TLS can be made of the credentials. Nothing was sent. Whose fault: the caller's.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No UDP port to send from. Nothing was sent. Whose fault: this machine's.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// [`ClientOptions::nodes`](super::ClientOptions::nodes) is empty. Nothing was sent. Whose fault: the caller's.
    #[error("there is no node to connect to; name the control address of at least one")]
    NoNodes,
    /// None of the given nodes told the view of its cluster. Nothing changed; retry when one of them runs.
    #[error("no node answers: {}", listed(.tried))]
    NoAnswer {
        /// The nodes that were tried, and what came of it.
        tried: Vec<(SocketAddr, String)>,
    },
    /// One node could not be reached, or not be believed. Nothing was sent.
    #[error("cannot reach {address}: {source}")]
    Session {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: SessionError,
    },
    /// The view does not bear out the layout that it names. Whose fault: the node's; its program may be newer.
    #[error("the node at {address} has a layout that this program cannot follow: {source}")]
    Layout {
        /// Whose view.
        address: SocketAddr,
        /// What is wrong.
        source: LayoutError,
    },
    /// A node refused the request, or did not get as far as was asked. For a write, `failure.stored` says which copies
    /// exist all the same; a retry with the same write id drives the same write on.
    #[error("{node}: {failure}")]
    Refused {
        /// The node's label or address.
        node: String,
        /// Its account.
        failure: Failure,
    },
    /// No answer in time, whoever was asked. A write may have happened: retry with the same write id.
    #[error(
        "no answer to {what} within {} ms, in {attempts} attempts: {last}{}", timeout.as_millis(), surfacing(*write_id)
    )]
    Unanswered {
        /// What was asked.
        what: &'static str,
        /// How long.
        timeout: Duration,
        /// How often it was sent.
        attempts: u32,
        /// What came of the last attempt.
        last: String,
        /// For a write, its name.
        write_id: Option<WriteId>,
    },
    /// What came is not what was once written: damaged on the way or on a disk. Every owner that could be asked was.
    #[error("{node} answered a damaged version ({dot}): its checksum does not match; other owners gave none better")]
    Corrupt {
        /// The node's label.
        node: String,
        /// The version.
        dot: Dot,
    },
    /// The answer makes no sense. Whose fault: the node's; its program may be another version.
    #[error("{node} sent an answer that cannot be understood: {source}")]
    Malformed {
        /// The node's label or address.
        node: String,
        /// What is wrong.
        source: WireError,
    },
    /// The request is larger than any node takes. Nothing was sent. Whose fault: the caller's.
    #[error(
        "the request has {found} bytes of value and context; the limit is {limit}, and a value may have at most \
         {VALUE_BYTES_MAX}; split it over several sort keys"
    )]
    TooLarge {
        /// Bytes of the request.
        found: usize,
        /// Bytes that a frame may have.
        limit: usize,
    },
    /// Too few owners of a partition listed their keys. Retry when more nodes run.
    #[error(
        "partition {partition} was listed by {answered} of the {needed} owners that are needed to find every item: \
         {last}"
    )]
    ScanIncomplete {
        /// Which partition.
        partition: PartitionId,
        /// Owners that answered.
        answered: usize,
        /// Owners that are needed: n - w + 1.
        needed: usize,
        /// What came of the last attempt.
        last: String,
    },
    /// The roster has no such node. Nothing was sent. Whose fault: the caller's.
    #[error("{0} is no member of the cluster")]
    NoSuchNode(String),
}

impl ClientError {
    /// The code of a node's refusal.
    #[must_use]
    pub const fn code(&self) -> Option<FailureCode> {
        match self {
            Self::Refused { failure, .. } => Some(failure.code),
            _ => None,
        }
    }

    /// Whether fewer replicas answered than were asked for: the cluster could be reached, but not enough of it.
    #[must_use]
    pub const fn is_quorum_not_met(&self) -> bool {
        matches!(self.code(), Some(FailureCode::QuorumNotMet | FailureCode::TimedOut))
    }
}

fn listed(tried: &[(SocketAddr, String)]) -> String {
    let lines: Vec<String> = tried.iter().map(|(address, reason)| format!("{address}: {reason}")).collect();
    lines.join("; ")
}

fn surfacing(write_id: Option<WriteId>) -> String {
    write_id.map_or_else(String::new, |id| format!("; the write may still surface; retry it with write id {id}"))
}
