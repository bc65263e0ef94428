//! What a node is busy with, from its first step to its last: for `systemctl status`, and for how long it may take.

use std::fmt;
use std::sync::Arc;

/// A stretch of a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Certificates and their key.
    ReadingCertificates,
    /// The log of an unclean stop is replayed, damaged files are rebuilt.
    RecoveringStorage,
    /// UDP and HTTP.
    OpeningPorts,
    /// Column families of the partitions that the node owns and has not made yet.
    CreatingPartitions,
    /// Clocks, logs and hints of the partitions are read.
    StartingShards,
    /// Nothing is served until an administrator creates the cluster.
    Waiting,
    /// Requests are served.
    Member {
        /// Partitions that the node owns.
        partitions: usize,
    },
    /// Requests are finished, what is in memory is flushed.
    Stopping,
}

impl Phase {
    /// Whether this is work with an end, as opposed to a state to be in. Its time depends on the disk and on how much
    /// there is, so it is extended while it goes on.
    #[must_use]
    pub const fn is_work(self) -> bool {
        match self {
            Self::ReadingCertificates
            | Self::RecoveringStorage
            | Self::OpeningPorts
            | Self::CreatingPartitions
            | Self::StartingShards
            | Self::Stopping => true,
            Self::Waiting | Self::Member { .. } => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadingCertificates => f.write_str("reading the certificates"),
            Self::RecoveringStorage => f.write_str("recovering the storage"),
            Self::OpeningPorts => f.write_str("opening the ports"),
            Self::CreatingPartitions => f.write_str("creating the partitions"),
            Self::StartingShards => f.write_str("starting the shards"),
            Self::Waiting => f.write_str("waits for `quorate cluster create` with an admin certificate"),
            Self::Member { partitions } => write!(f, "member, serves {partitions} partitions"),
            Self::Stopping => f.write_str("stopping: finishing requests and flushing"),
        }
    }
}

/// Who is told of phases; nobody, by default.
#[derive(Clone, Default)]
pub struct Phases(Option<Arc<dyn Fn(Phase) + Send + Sync>>);

impl Phases {
    /// Tells this function, on the node's own threads: it must not wait.
    #[must_use]
    pub fn to(tell: impl Fn(Phase) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Another phase has begun.
    pub(crate) fn enter(&self, phase: Phase) {
        tracing::debug!(%phase, "phase");
        if let Some(tell) = &self.0 {
            tell(phase);
        }
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Phases").field(&self.0.is_some()).finish()
    }
}
