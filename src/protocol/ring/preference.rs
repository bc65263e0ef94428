//! The preference list of a partition (Dynamo 4.3): its N owners, then who stands in for them.

use super::Layout;
use crate::protocol::types::{NodeId, PartitionId};

/// Primaries, then fallbacks, all distinct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferenceList {
    /// The owners, in layout order.
    pub primaries: Vec<NodeId>,
    /// All other nodes, in the order in which the following partitions name them.
    pub fallbacks: Vec<NodeId>,
}

impl PreferenceList {
    /// The list of a partition: walks the ring from it and takes each node once.
    #[must_use]
    pub fn of(layout: &Layout, partition: PartitionId) -> Self {
        let primaries: Vec<NodeId> = layout.owners(partition).collect();
        let mut fallbacks = Vec::new();
        let count = layout.parameters().partitions;
        for step in 1..count {
            let next = (u32::from(partition.as_u16()) + step) % count;
            let next = PartitionId::new(u16::try_from(next).unwrap_or(u16::MAX));
            for node in layout.owners(next) {
                if !primaries.contains(&node) && !fallbacks.contains(&node) {
                    fallbacks.push(node);
                }
            }
            if primaries.len() + fallbacks.len() == layout.nodes().len() {
                break;
            }
        }
        Self { primaries, fallbacks }
    }
}
