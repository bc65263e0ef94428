//! What a shard goes by: roster, layout, keys and defaults. Immutable; a new one is adopted at a turn boundary.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::PeerIndex;
use crate::protocol::ring::{Layout, LayoutError, Roster};
use crate::protocol::types::{ClusterId, NodeId, TableName};
use crate::protocol::version::{ConflictPolicy, TokenKeys};
use crate::protocol::wire::{Creation, ViewReply};

/// A node's view of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Who is a member.
    pub roster: Roster,
    /// Who owns what.
    pub layout: Layout,
    /// The keys of context tokens.
    pub token_keys: TokenKeys,
    /// Answers that a read needs when it names no number.
    pub read_quorum: u8,
    /// Copies that a write needs when it names no number.
    pub write_quorum: u8,
    policies: BTreeMap<Bytes, ConflictPolicy>,
}

impl View {
    /// The view that follows from a cluster's creation. Computes the layout again.
    ///
    /// # Errors
    /// The layout is not the one that the creation names.
    pub fn of(me: NodeId, creation: &Creation, read_quorum: u8, write_quorum: u8) -> Result<Self, LayoutError> {
        let layout = Layout::verified(&creation.roster, creation.parameters, creation.layout)?;
        let n = creation.parameters.replicas;
        let policy = |table: &crate::protocol::wire::TableRecord| (Bytes::from(table.name.clone()), table.policy);
        Ok(Self {
            me,
            cluster: creation.cluster,
            roster: creation.roster.clone(),
            layout,
            token_keys: creation.token_keys,
            read_quorum: read_quorum.clamp(1, n),
            write_quorum: write_quorum.clamp(1, n),
            policies: creation.tables.iter().map(policy).collect(),
        })
    }

    /// What a table does with concurrent versions; an unknown table keeps siblings.
    #[must_use]
    pub fn policy(&self, table: &TableName) -> ConflictPolicy {
        self.policies.get(table.as_bytes()).copied().unwrap_or_default()
    }

    /// The label of a peer.
    #[must_use]
    pub fn name_of(&self, peer: PeerIndex) -> String {
        self.layout.nodes().get(peer.as_index()).map_or_else(|| "?".to_owned(), |id| self.roster.name_of(*id))
    }

    /// A node's dense number.
    #[must_use]
    pub fn peer_of(&self, node: NodeId) -> Option<PeerIndex> {
        let at = self.layout.nodes().binary_search(&node).ok()?;
        u16::try_from(at).ok().map(PeerIndex::new)
    }

    /// What clients are told.
    #[must_use]
    pub fn to_reply(&self) -> ViewReply {
        ViewReply {
            cluster: self.cluster,
            roster: self.roster.clone(),
            parameters: self.layout.parameters(),
            layout: self.layout.id(),
            read_quorum: self.read_quorum,
            write_quorum: self.write_quorum,
        }
    }
}
