//! Twins: the second dots of writes that several owners coordinated.
//!
//! A client whose owner is silent asks another one, and the write may have got a dot from each:
//!
//! ```text
//!   n1  put w ->  w is a:1     (silent)
//!   n2  put w ->  w is b:1     the client sees b:1, and replaces it: c:1 beside the past {b:1}
//! ```
//!
//! Nobody's past covers `a:1`, so where it meets `c:1` it would stand beside it as a sibling that no client wanted; and
//! beside a tombstone it would bring a deleted value back. A write is one write (rule 3), so it is replaced under all
//! its dots when it is replaced under one. Within an item that a put replaces, `Siblings::put` sees to that. What is
//! here is for dots that meet later: the change log of an owner that stored the one which was replaced still knows
//! whose it was, and so that the other one is its twin. A twin is retired, so that its dot enters the past: whoever
//! learns of that past drops it too.
//!
//! The join itself knows nothing of this (`version/tests.rs` says why), and need not: a past only grows, and owners
//! that exchange pasts end with the same one, whichever of them knew of the twin.
//!
//! *Caveats.* An owner that never stored the dot that was replaced cannot tell, and may show the other one until its
//! next exchange with an owner that did. When no owner has it in its log any more, the other one stays a sibling until
//! a client merges it. In a last-writer-wins table the greatest stamp stays, whatever was replaced: there the past also
//! covers a twin that lost to the other one, and it proves nothing.

use super::Shard;
use crate::protocol::replica::{ItemKey, Partition};
use crate::protocol::types::PartitionId;
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings};

/// What becomes of twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twins {
    /// They are replaced together.
    Replaced,
    /// They are not: a broken rule.
    Kept,
}

impl Shard {
    /// Breaks rule 3, so that the simulated world can prove that it would notice.
    #[doc(hidden)]
    pub fn keep_twins(&mut self) {
        self.twins = Twins::Kept;
    }

    /// Drops the versions of an item whose write was replaced under another dot, as far as this replica knows; `seen`
    /// is what is about to be replaced besides. Returns whether there were any.
    pub(super) fn retire_twins(
        &self,
        (partition, key): (PartitionId, &ItemKey),
        policy: ConflictPolicy,
        item: &mut Siblings,
        seen: &Context,
    ) -> bool {
        // Of hints nothing is logged: the owner that takes them knows.
        let Some(state) = self.partitions.get(&partition).filter(|_| !key.is_hint()) else { return false };
        let twins = self.twins.of_replaced((state, key), policy, item, seen);
        !twins.is_empty() && item.retire(|dot| twins.contains(&dot)).versions > 0
    }
}

impl Twins {
    /// The versions of an item whose write this replica stored under another dot, which the item knows to be replaced,
    /// or the client of a write has seen. To let them enter the past is safe for the reason that `Siblings::put` has
    /// for its own.
    pub(super) fn of_replaced(
        self,
        (state, key): (&Partition, &ItemKey),
        policy: ConflictPolicy,
        item: &Siblings,
        seen: &Context,
    ) -> Vec<Dot> {
        let pastless = item.vector().is_empty() && seen.is_empty();
        if self == Self::Kept || policy == ConflictPolicy::LastWriterWins || pastless {
            return Vec::new();
        }
        let replaced = |dot: Dot| item.has_replaced(dot) || seen.covers(dot);
        let twins = item
            .versions()
            .iter()
            .filter(|version| state.dots_of(version.write_id, key).any(|dot| dot != version.dot && replaced(dot)));
        twins.map(|version| version.dot).collect()
    }
}
