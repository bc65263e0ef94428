//! The answer to a request that was not carried out, or not as far as was asked.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::StoredCopy;

/// What kind of failure it was. The HTTP door maps it to a status, the command line to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureCode {
    /// The request is wrong; it never succeeds as it is.
    BadInput,
    /// The value, key or item is over a limit.
    TooLarge,
    /// The sender's certificate does not allow it.
    NotAllowed,
    /// The node has too much to do; try again, slower.
    Overloaded,
    /// Fewer replicas answered than were asked for. A write may still surface.
    QuorumNotMet,
    /// The time was over before enough replicas answered. A write may still surface.
    TimedOut,
    /// The sender's layout is not this node's; learn the new one and ask again. Nothing was applied.
    Stale,
    /// The node does not belong to a cluster yet.
    Uninitialised,
    /// The node's own copy cannot be read, so it neither answers from it nor coordinates it.
    Unreadable,
    /// The node is stopping.
    Stopping,
    /// The frame's kind or a critical flag is unknown here.
    Unsupported,
    /// The request contradicts what is already there, such as a second, different `Create`.
    Conflict,
    /// The node's disk is nearly full: it takes no new values. Nothing was applied; another node may have room.
    DiskFull,
}

impl FailureCode {
    /// All of them, so that a number can be shown before there is one.
    pub const ALL: [Self; 13] = [
        Self::BadInput,
        Self::TooLarge,
        Self::NotAllowed,
        Self::Overloaded,
        Self::QuorumNotMet,
        Self::TimedOut,
        Self::Stale,
        Self::Uninitialised,
        Self::Unreadable,
        Self::Stopping,
        Self::Unsupported,
        Self::Conflict,
        Self::DiskFull,
    ];

    /// The code as people and scripts see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadInput => "bad_input",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "not_allowed",
            Self::Overloaded => "overloaded",
            Self::QuorumNotMet => "quorum_not_met",
            Self::TimedOut => "timed_out",
            Self::Stale => "stale_layout",
            Self::Uninitialised => "uninitialised",
            Self::Unreadable => "unreadable",
            Self::Stopping => "stopping",
            Self::Unsupported => "unsupported",
            Self::Conflict => "conflict",
            Self::DiskFull => "disk_full",
        }
    }

    /// Whether the same request, with the same write id, may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Overloaded
            | Self::QuorumNotMet
            | Self::TimedOut
            | Self::Stale
            | Self::Uninitialised
            | Self::Unreadable
            | Self::Stopping
            | Self::DiskFull => true,
            Self::BadInput | Self::TooLarge | Self::NotAllowed | Self::Unsupported | Self::Conflict => false,
        }
    }
}

/// An honest account of a request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub code: FailureCode,
    /// What, where, the limit and the way out, for a person.
    pub message: String,
    /// For a write: the copies that exist all the same, and from which it may still surface.
    pub stored: Vec<StoredCopy>,
    /// When it is worth asking this node again, milliseconds from now; 0 when the node cannot tell. Whoever waits adds
    /// a random part of its own, or all come back at once.
    pub retry_after_ms: u32,
}

impl Failure {
    /// A failure that left no copies behind.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), stored: Vec::new(), retry_after_ms: 0 }
    }

    /// There is too much to do: nothing was applied, and this is when to ask again.
    #[must_use]
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        Self { retry_after_ms, ..Self::new(FailureCode::Overloaded, message) }
    }
}
