//! When a write counts as safe on its node.

use serde::{Deserialize, Serialize};

/// What a node has done with a write before it acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is on the disk: one fsync covers everything that was committed since the last. Survives a power loss.
    Sync,
    /// It is with the operating system, and on the disk after the configured interval.
    Interval,
    /// It is with the operating system. Survives a crash of the process, not of the machine.
    Os,
}

impl Durability {
    /// The name in configuration files and status pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval => "interval",
            Self::Os => "os",
        }
    }
}
