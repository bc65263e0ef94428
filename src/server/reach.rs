//! Which members the shards of this node reach: written by each shard, read for status and readiness.
//!
//! The control link to a member comes up first, and tells the shards where to connect to. Until they have, requests
//! that need the member fail: whoever waits for a node to be ready waits for its shards.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::types::NodeId;

/// Pairs of a member and a shard of this node whose links to all of the member's shards are up.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<BTreeSet<(NodeId, usize)>>);

impl Reach {
    /// A shard of this node reaches all shards of a member, or does not any more.
    pub(crate) fn set(&self, member: NodeId, shard: usize, up: bool) {
        if up {
            self.lock().insert((member, shard));
        } else {
            self.lock().remove(&(member, shard));
        }
    }

    /// Whether all of this many shards reach the member.
    pub(crate) fn is_whole(&self, member: NodeId, shards: usize) -> bool {
        let pairs = self.lock();
        (0..shards).all(|shard| pairs.contains(&(member, shard)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(NodeId, usize)>> {
        // Every change is one insertion or removal, so the set is whole even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_is_reached_when_every_shard_reaches_it() {
        let (reach, member) = (Reach::default(), NodeId::new(1));
        reach.set(member, 0, true);
        assert!(reach.is_whole(member, 1));
        assert!(!reach.is_whole(member, 2));
        reach.set(member, 1, true);
        assert!(reach.is_whole(member, 2));
        reach.set(member, 0, false);
        assert!(!reach.is_whole(member, 2));
        assert!(!reach.is_whole(NodeId::new(2), 1));
    }
}
