//! The name of one write.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::types::ActorId;

/// The name of one write: the actor that coordinated it and that actor's count. Counters start at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    actor: ActorId,
    counter: u64,
}

impl Dot {
    /// The `counter`-th write of `actor`.
    #[must_use]
    pub const fn new(actor: ActorId, counter: u64) -> Self {
        Self { actor, counter }
    }

    /// Who coordinated the write.
    #[must_use]
    pub const fn actor(self) -> ActorId {
        self.actor
    }

    /// The how-manieth write of its actor it was.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.counter
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}
