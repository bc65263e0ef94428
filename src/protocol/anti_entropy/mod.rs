//! Anti-entropy (Dynamo 4.7): what keeps replicas equal when nobody reads.
//!
//! ```text
//!   roots -> inner sums -> sums of the leaves below the inner nodes that differ
//!     -> a pause, and the leaves that differ again      (a write in flight is no difference)
//!     -> of each a page of 1,024 of our items, and its running hash: the same there, or the other side's items
//!     -> whole items, both ways
//! ```
//!
//! [`Exchange`] is one such round as seen by the replica that began it; the other one only answers. [`Schedule`] says
//! with whom to compare which partition next: every pair in turn, those that were disturbed at once.
//!
//! *Caveats.* Nothing is remembered between two rounds: one that was broken off begins anew, and what it moved is equal
//! by then.

mod exchange;
mod schedule;

pub use exchange::{Difference, Exchange, Moved, Outcome, Side, Step, Stretch};
pub use schedule::{Pair, RUNNING_MAX, Schedule};

#[cfg(test)]
mod tests;
