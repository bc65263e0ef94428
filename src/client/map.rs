//! What a client knows of its cluster: the view, the layout computed from it, and the nodes. Immutable; a newer view
//! makes a new map, which takes over the nodes that are still where they were, connections included.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::dialer::Dialer;
use super::error::ClientError;
use super::line::Line;
use super::node::{Node, Reach};
use crate::protocol::ring::{KeyHash, Layout, LayoutId, Member, PreferenceList, partition_of};
use crate::protocol::types::limits::REPLICAS_MAX;
use crate::protocol::types::{Address, NodeId, PartitionId};
use crate::protocol::wire::{Header, ViewReply};

/// A client's map of its cluster.
pub(super) struct Map {
    pub(super) view: ViewReply,
    layout: Layout,
    /// As [`Layout::nodes`] has them.
    nodes: Vec<Arc<Node>>,
}

/// Some of a partition's owners, by their place in the layout's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slots(u8);

const _: () = assert!(REPLICAS_MAX <= 8, "a slot is a bit of a byte");

impl Slots {
    pub(super) const fn add(&mut self, slot: usize) {
        self.0 |= 1 << slot;
    }

    pub(super) const fn has(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }
}

/// Who was tried.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    owners: Slots,
    /// Nodes that are no owners. Mostly none, so it allocates nothing.
    others: Vec<NodeId>,
}

impl Tried {
    pub(super) fn add(&mut self, candidate: &Candidate) {
        match candidate.slot {
            Some(slot) => self.owners.add(slot),
            None => self.others.push(candidate.node.id),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.owners.0 == 0 && self.others.is_empty()
    }

    const fn len(&self) -> usize {
        self.owners.0.count_ones() as usize + self.others.len()
    }
}

/// Who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Owners, and when none of them can be reached, any other node: it passes the request on, or stands in.
    Anybody,
    /// Owners only: one of them has answered already, and others could only ask it again.
    Owners,
}

/// Whom to ask.
pub(super) enum Pick {
    /// This node.
    Ask(Candidate),
    /// Nobody yet, but one that is being connected.
    Soon,
    /// All others are down, or were tried.
    Nobody,
}

/// A node that can be asked.
pub(super) struct Candidate {
    /// Its place among the owners, if it is one.
    pub(super) slot: Option<usize>,
    pub(super) node: Arc<Node>,
    pub(super) line: Arc<Line>,
}

/// Nodes beside the owners that are being connected at once on behalf of one request.
const OPENED_AT_ONCE: usize = 2;

impl Map {
    /// The map that a view draws. `source` is whose view it is; `old` lends its nodes.
    pub(super) fn draw(
        view: ViewReply,
        source: SocketAddr,
        old: Option<&Self>,
        dialer: &Arc<Dialer>,
        changed: &Arc<Notify>,
    ) -> Result<Self, ClientError> {
        let layout = Layout::verified(&view.roster, view.parameters, view.layout)
            .map_err(|error| ClientError::Layout { address: source, source: error })?;
        let node = |member: &Member| match old.and_then(|old| old.node(member.id)) {
            Some(node) if node.address == member.address && node.name == member.name => node.clone(),
            _ => Node::new(member, dialer.clone(), changed.clone()),
        };
        // Both are sorted by id.
        let nodes = view.roster.members().iter().map(node).collect();
        Ok(Self { view, layout, nodes })
    }

    pub(super) const fn ring(&self) -> &Layout {
        &self.layout
    }

    pub(super) const fn layout(&self) -> LayoutId {
        self.layout.id()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        self.layout.partitions()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        let at = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(at)
    }

    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    pub(super) fn partition_of(&self, address: &Address) -> PartitionId {
        partition_of(KeyHash::of(address, self.view.parameters.hash_seed), self.layout.partition_bits())
    }

    /// A partition's owners in the layout's order, with their slots.
    pub(super) fn owners(&self, partition: PartitionId) -> impl Iterator<Item = (usize, &Arc<Node>)> {
        let indices = self.layout.owner_indices(partition).iter().enumerate();
        indices.filter_map(|(slot, index)| Some((slot, self.nodes.get(usize::from(*index))?)))
    }

    pub(super) fn replicas(&self) -> usize {
        usize::from(self.view.parameters.replicas)
    }

    /// Whom to ask next for a partition, of those that were not tried.
    ///
    /// The first owner that is up, in the layout's order. First owners are spread evenly over the nodes, so no other
    /// spreading is needed; and as long as everyone asks the same owner for a key, that owner coordinates its writes,
    /// which keeps the key's version vector short and its item in one cache. When no owner can be reached, the others
    /// are asked in the order in which they would stand in. A suspect comes last, whatever it is.
    pub(super) fn pick(&self, partition: PartitionId, tried: &Tried, whom: Whom) -> Pick {
        let mut suspect = None;
        for (slot, node) in self.owners(partition).filter(|(slot, _)| !tried.owners.has(*slot)) {
            match node.reach(partition) {
                Reach::Up(line) => {
                    let suspicious = line.is_suspect();
                    let candidate = Candidate { slot: Some(slot), node: node.clone(), line };
                    if !suspicious {
                        return Pick::Ask(candidate);
                    }
                    suspect.get_or_insert(candidate);
                }
                // Others are not even connected to while this one may still come.
                Reach::Soon if suspect.is_none() => return Pick::Soon,
                Reach::Soon | Reach::Down => {}
            }
        }
        if whom == Whom::Owners {
            return suspect.map_or(Pick::Nobody, Pick::Ask);
        }
        let mut coming = 0;
        for node in self.others(partition).filter(|node| !tried.others.contains(&node.id)) {
            match node.reach(partition) {
                Reach::Up(line) => {
                    let suspicious = line.is_suspect();
                    let candidate = Candidate { slot: None, node: node.clone(), line };
                    if !suspicious {
                        return Pick::Ask(candidate);
                    }
                    suspect.get_or_insert(candidate);
                }
                Reach::Soon => coming += 1,
                Reach::Down => {}
            }
            if coming == OPENED_AT_ONCE {
                break;
            }
        }
        match suspect {
            _ if coming > 0 => Pick::Soon,
            Some(candidate) => Pick::Ask(candidate),
            None => Pick::Nobody,
        }
    }

    /// The nodes that are no owners of a partition, in the order in which they stand in for owners.
    fn others(&self, partition: PartitionId) -> impl Iterator<Item = &Arc<Node>> {
        PreferenceList::of(&self.layout, partition).fallbacks.into_iter().filter_map(|id| self.node(id))
    }

    /// How many nodes may still be asked.
    pub(super) fn untried(&self, tried: &Tried, whom: Whom) -> usize {
        let all = match whom {
            Whom::Anybody => self.nodes.len(),
            Whom::Owners => self.replicas() + tried.others.len(),
        };
        all.saturating_sub(tried.len())
    }

    /// Whether an answer shows that there is a layout this map does not know.
    pub(super) const fn is_behind(&self, header: &Header) -> bool {
        let known = self.layout.id();
        header.layout_number != 0 && header.layout_number >= known.number() && !header.names(known)
    }
}
