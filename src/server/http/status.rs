//! `/v1/cluster/status`: the cluster as this node sees it, for people and scripts.
//!
//! Ids are texts here, as everywhere that people meet them: a 128-bit number in JSON is silently rounded by half of
//! the world's parsers.

use serde::Serialize;

use crate::protocol::ring::Member;
use crate::protocol::shard::View;
use crate::protocol::wire::{NodeStatus, PeerStatus};

/// The whole answer. What a node learns with its cluster is null before.
#[derive(Debug, Serialize)]
pub(super) struct StatusJson {
    cluster: Option<String>,
    layout: Option<String>,
    partitions: Option<u32>,
    replicas: Option<u8>,
    read_quorum: Option<u8>,
    write_quorum: Option<u8>,
    node: NodeJson,
    nodes: Vec<MemberJson>,
}

/// The node that answers, in the words of `quorate status --json`.
#[derive(Debug, Serialize)]
struct NodeJson {
    id: String,
    name: String,
    version: String,
    role: String,
    partitions: u32,
    shards: u16,
    durability: String,
    unverified: bool,
    /// `plenty`, `reserve` or `emergency`.
    disk: String,
    disk_free_bytes: u64,
    disk_reserve_bytes: u64,
    stored_bytes: u64,
    hints: u64,
    hint_bytes: u64,
    /// Since every partition here last agreed with its other owners' copies; null until all of them once did.
    in_sync_age_ms: Option<u64>,
    /// Partitions that were not compared with all their other owners yet.
    never_in_sync: u32,
    uptime_s: u64,
    generation: u64,
}

/// One member of the roster.
#[derive(Debug, Serialize)]
struct MemberJson {
    id: String,
    name: String,
    address: String,
    zone: String,
    weight: u32,
    /// Partitions that it owns.
    partitions: usize,
    /// Those of them whose requests it is the first to be asked to coordinate.
    primaries: usize,
    /// Whether the answering node has a connection to it, or is it.
    connected: bool,
    /// Why not.
    error: Option<String>,
    /// What the answering node believes of it: `alive`, `suspect` or `unreachable`; empty while nothing is known.
    standing: String,
}

impl StatusJson {
    pub(super) fn of(status: NodeStatus, view: Option<&View>) -> Self {
        let members = view.map(|view| view.roster.members()).unwrap_or_default();
        let nodes = members.iter().map(|member| member_of(member, &status, view)).collect();
        Self {
            cluster: status.cluster.map(|id| id.to_string()),
            layout: status.layout.map(|id| id.to_string()),
            partitions: view.map(|view| view.layout.parameters().partitions),
            replicas: view.map(|view| view.layout.parameters().replicas),
            read_quorum: view.map(|view| view.read_quorum),
            write_quorum: view.map(|view| view.write_quorum),
            nodes,
            node: NodeJson {
                id: status.node.to_string(),
                name: status.name,
                version: status.version,
                role: status.role,
                partitions: status.partitions,
                shards: status.shards,
                durability: status.durability,
                unverified: status.unverified,
                disk: status.room,
                disk_free_bytes: status.disk_free,
                disk_reserve_bytes: status.disk_reserve,
                stored_bytes: status.stored_bytes,
                hints: status.hints,
                hint_bytes: status.hint_bytes,
                in_sync_age_ms: status.in_sync_ms,
                never_in_sync: status.never_in_sync,
                uptime_s: status.uptime_s,
                generation: status.generation.as_u64(),
            },
        }
    }
}

fn member_of(member: &Member, status: &NodeStatus, view: Option<&View>) -> MemberJson {
    let peer: Option<&PeerStatus> = status.peers.iter().find(|peer| peer.node == member.id);
    let layout = view.map(|view| &view.layout);
    let first = layout.map_or(0, |layout| {
        layout.partitions().filter(|partition| layout.owners(*partition).next() == Some(member.id)).count()
    });
    MemberJson {
        id: member.id.to_string(),
        name: member.name.clone(),
        address: member.address.to_string(),
        zone: member.zone.clone(),
        weight: member.weight,
        partitions: layout.map_or(0, |layout| layout.owned_by(member.id).count()),
        primaries: first,
        connected: member.id == status.node || peer.is_some_and(|peer| peer.connected),
        error: peer.and_then(|peer| peer.error.clone()),
        standing: match member.id == status.node {
            true => "alive".to_owned(),
            false => peer.map(|peer| peer.standing.clone()).unwrap_or_default(),
        },
    }
}
