//! Versions of an item and what is known to have happened before them (Dynamo 4.4, dotted version vector sets).
//!
//! An item is a set of concurrent versions, each named by one [`Dot`], and one [`VersionVector`] of what they replaced.
//! Two clients that read the same state and both write give two siblings; a client that reads both and writes leaves
//! one:
//!
//! ```text
//!   read {}            A: put "x"      -> vector {}            versions a1 "x"
//!   read {}            B: put "y"      -> vector {}            versions a1 "x", b1 "y"
//!   read {a:1, b:1}    A: put "z"      -> vector {a:1, b:1}    versions a2 "z"
//! ```
//!
//! Invariants, each a law in the tests: the join is commutative, associative and idempotent; a version disappears only
//! when some state's vector covers its dot while that state does not hold it; nothing is dropped by age or size.
//!
//! *Caveats.* Two versions of one write (a retry at another coordinator) are collapsed when an item is **shown**, not
//! when it is joined: collapsing in the join would make the outcome depend on the order of merges (the test
//! `collapse_in_the_join_would_not_be_associative` shows the triple). See `src/ARCHITECTURE.md`.

mod context;
mod dot;
mod record;
mod siblings;
mod vector;

pub use context::{Context, ContextError, TokenKey, TokenKeys};
pub use dot::Dot;
pub use record::{Head, RecordError, is_reapable};
pub use siblings::{ConflictPolicy, Retired, Shown, Siblings, Version, checksum};
pub use vector::VersionVector;

#[cfg(test)]
mod tests;
