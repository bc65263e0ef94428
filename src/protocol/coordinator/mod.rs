//! One request's decision, as a value (Dynamo 4.5; the shape is that of `riak_kv`'s get and put cores).
//!
//! A decision is told one replica's answer at a time (`add_result`), says whether it knows enough (`enough`), then
//! what to tell the client (`response`) and what is left to do (`final_action`). It has no timer, no socket and no
//! storage; the shard around it waits and sends. Replicas are *slots*: positions in the partition's list of owners.
//!
//! ```text
//!   Get  Wait --R answers, equal--> Reply        Put  Wait --W copies--> Reply
//!        Wait --R answers, differ-> Store, then Reply  Wait --too many unknown--> Fail
//!        Wait --too many unknown--> Fail
//! ```

mod get;
mod put;

pub use get::{Get, GetFinal, GetResponse, Replied};
pub use put::{Copied, Copy, Holder, Put, PutResponse};

use crate::protocol::types::limits::REPLICAS_MAX;

/// Whether a decision has heard enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// More answers may still help.
    Wait,
    /// The quorum is met.
    Met,
    /// The quorum cannot be met any more.
    Failed,
}

/// A replica's position in its partition's list of owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The slot with this number.
    ///
    /// # Panics
    /// When there cannot be so many replicas.
    #[must_use]
    pub fn new(at: usize) -> Self {
        assert!(at < REPLICAS_MAX, "slot {at} is beyond {REPLICAS_MAX} replicas");
        Self(u8::try_from(at).expect("REPLICAS_MAX fits a byte"))
    }

    /// The slot as an index.
    #[must_use]
    pub fn as_index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests;
