//! A layout: the map from partition to owners, numbered and named by its content.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{PlanError, Roster, plan};
use crate::protocol::types::limits::{PARTITIONS_MAX, REPLICAS_MAX};
use crate::protocol::types::{NodeId, PartitionId};

/// A layout's name: its number in the line of changes, and the hash of all that decides it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LayoutId {
    number: u32,
    hash: u128,
}

impl LayoutId {
    /// The name from its parts.
    #[must_use]
    pub const fn new(number: u32, hash: u128) -> Self {
        Self { number, hash }
    }

    /// Its number; 0 means "none known".
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// The first 64 bits of its hash, as frames carry them.
    #[must_use]
    pub const fn hash_prefix(self) -> u64 {
        (self.hash >> 64) as u64
    }
}

impl fmt::Display for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.hash_prefix())
    }
}

impl fmt::Debug for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayoutId({self})")
    }
}

/// What is chosen once, when the cluster is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parameters {
    /// Q, a power of two.
    pub partitions: u32,
    /// N, the owners of each partition.
    pub replicas: u8,
    /// Seed of the key hash.
    pub hash_seed: u64,
}

/// Whose fault: whoever made the layout. It is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not a power of two, or too many.
    #[error("{0} partitions: use a power of two from 1 to {PARTITIONS_MAX}")]
    Partitions(u32),
    /// No replica, or too many.
    #[error("{0} replicas: use 1 to {REPLICAS_MAX}")]
    Replicas(u8),
    /// The roster cannot carry it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its name is not that of its content.
    #[error("layout {claimed} does not follow from its roster and parameters, which give {computed}; it is refused")]
    Differs {
        /// The name that came with it.
        claimed: LayoutId,
        /// The name that this node computed.
        computed: LayoutId,
    },
}

/// The map from partition to N owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    id: LayoutId,
    parameters: Parameters,
    /// Rising by id: a node's index here is its dense number in this layout.
    nodes: Vec<NodeId>,
    /// `replicas` indices into `nodes` per partition.
    owners: Vec<u16>,
}

impl Layout {
    /// Layout number 1: the function of roster and parameters that every node computes for itself.
    pub fn first(roster: &Roster, parameters: Parameters) -> Result<Self, LayoutError> {
        let count = parameters.partitions;
        if !count.is_power_of_two() || usize::try_from(count).map_or(true, |count| count > PARTITIONS_MAX) {
            return Err(LayoutError::Partitions(count));
        }
        if parameters.replicas == 0 || usize::from(parameters.replicas) > REPLICAS_MAX {
            return Err(LayoutError::Replicas(parameters.replicas));
        }
        let owners = plan(roster, parameters)?;
        let nodes = roster.members().iter().map(|member| member.id).collect();
        let hash = content_hash(1, roster, parameters, &owners);
        Ok(Self { id: LayoutId::new(1, hash), parameters, nodes, owners })
    }

    /// Computes the layout again and refuses it when the name that came with it is another.
    pub fn verified(roster: &Roster, parameters: Parameters, claimed: LayoutId) -> Result<Self, LayoutError> {
        let computed = Self::first(roster, parameters)?;
        if computed.id == claimed { Ok(computed) } else { Err(LayoutError::Differs { claimed, computed: computed.id }) }
    }

    /// Breaks the plan, so that the simulated world can prove that it would notice.
    #[doc(hidden)]
    #[must_use]
    pub fn with_two_copies_on_one_node(mut self) -> Self {
        let replicas = usize::from(self.parameters.replicas);
        for owners in self.owners.chunks_mut(replicas) {
            if let [first, .., last] = owners {
                *last = *first;
            }
        }
        self
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> LayoutId {
        self.id
    }

    /// What was chosen when the cluster was created.
    #[must_use]
    pub const fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// log2 of the number of partitions.
    #[must_use]
    pub const fn partition_bits(&self) -> u32 {
        self.parameters.partitions.trailing_zeros()
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        let last = u16::try_from(self.parameters.partitions - 1).unwrap_or(u16::MAX);
        (0..=last).map(PartitionId::new)
    }

    /// All nodes that may own something, by rising id.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The owners of a partition, in the order in which they are asked to coordinate.
    #[must_use]
    pub fn owners(&self, partition: PartitionId) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.owner_indices(partition)
            .iter()
            .filter_map(|at| self.nodes.get(usize::from(*at)).copied())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The owners of a partition as indices into [`Layout::nodes`].
    #[must_use]
    pub fn owner_indices(&self, partition: PartitionId) -> &[u16] {
        let replicas = usize::from(self.parameters.replicas);
        let start = partition.as_index() * replicas;
        self.owners.get(start..start + replicas).unwrap_or(&[])
    }

    /// Whether the node owns the partition.
    #[must_use]
    pub fn is_owner(&self, partition: PartitionId, node: NodeId) -> bool {
        self.owner_indices(partition).iter().any(|at| self.nodes.get(usize::from(*at)) == Some(&node))
    }

    /// The partitions that the node owns.
    pub fn owned_by(&self, node: NodeId) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitions().filter(move |partition| self.is_owner(*partition, node))
    }
}

/// Covers number, roster view (ids, zones, weights: what the plan reads), parameters and assignment, but neither
/// author nor time: two nodes that compute one change make one record.
fn content_hash(number: u32, roster: &Roster, parameters: Parameters, owners: &[u16]) -> u128 {
    let mut bytes = Vec::with_capacity(64 + roster.members().len() * 64 + owners.len() * 2);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&parameters.partitions.to_be_bytes());
    bytes.push(parameters.replicas);
    bytes.extend_from_slice(&parameters.hash_seed.to_be_bytes());
    for member in roster.members() {
        bytes.extend_from_slice(&member.id.as_u128().to_be_bytes());
        bytes.extend_from_slice(&member.weight.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(member.zone.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(member.zone.as_bytes());
    }
    for owner in owners {
        bytes.extend_from_slice(&owner.to_be_bytes());
    }
    xxh3_128(&bytes)
}
