//! N, R and W: how many replicas hold an item, and how many must answer.

use serde::{Deserialize, Serialize};

use super::limits::REPLICAS_MAX;

/// How many replicas a partition has (`n`), how many must answer a read (`r`) and a write (`w`).
/// Once built, `1 <= r <= n` and `1 <= w <= n` are facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    n: u8,
    r: u8,
    w: u8,
}

/// Whose fault: the caller's. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// No replica, or more than [`REPLICAS_MAX`].
    #[error("n = {0} replicas is out of range; use 1 to {REPLICAS_MAX}")]
    ReplicaCount(u8),
    /// A read quorum of none, or of more than all.
    #[error("r = {r} is out of range; a read asks 1 to n = {n} replicas")]
    Read {
        /// What was asked for.
        r: u8,
        /// The replicas there are.
        n: u8,
    },
    /// A write quorum of none, or of more than all.
    #[error("w = {w} is out of range; a write needs 1 to n = {n} replicas")]
    Write {
        /// What was asked for.
        w: u8,
        /// The replicas there are.
        n: u8,
    },
}

impl Quorum {
    /// Checks the three numbers against each other.
    ///
    /// # Errors
    /// Says which number is out of range, and the range.
    pub fn new(n: u8, r: u8, w: u8) -> Result<Self, QuorumError> {
        if n == 0 || usize::from(n) > REPLICAS_MAX {
            return Err(QuorumError::ReplicaCount(n));
        }
        if r == 0 || r > n {
            return Err(QuorumError::Read { r, n });
        }
        if w == 0 || w > n {
            return Err(QuorumError::Write { w, n });
        }
        Ok(Self { n, r, w })
    }

    /// Replicas of each partition.
    #[must_use]
    pub const fn n(self) -> u8 {
        self.n
    }

    /// Answers that a read needs.
    #[must_use]
    pub const fn r(self) -> u8 {
        self.r
    }

    /// Stored copies that a write needs.
    #[must_use]
    pub const fn w(self) -> u8 {
        self.w
    }
}

/// Whether copies on fallbacks may count toward W (Dynamo 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strictness {
    /// Only primaries count.
    Strict,
    /// A hint on a fallback counts, and is reported as such.
    Sloppy,
}
