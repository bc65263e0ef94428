//! Messages that are rare: greetings, creation, views and status. serde and postcard, bounded by the frame.

use core::net::SocketAddr;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::WireError;
use crate::protocol::ring::{LayoutId, Parameters, Roster};
use crate::protocol::types::{BootGeneration, ClusterId, DiskId, NodeId};
use crate::protocol::version::{ConflictPolicy, TokenKeys};

/// The first frame of each direction of a connection: who speaks, and what it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest protocol version it speaks.
    pub version_min: u8,
    /// The highest protocol version it speaks.
    pub version_max: u8,
    /// The cluster it belongs to, when it does.
    pub cluster: Option<ClusterId>,
    /// The node it is; none for a client or an administrator.
    pub node: Option<NodeId>,
    /// How often its data directory was opened.
    pub generation: BootGeneration,
    /// Its data directory.
    pub disk: DiskId,
    /// Drawn at the process's start: two processes on copies of one directory differ in this only.
    pub process: u64,
    /// The UDP ports of its shards; partition p is with shard `p mod count`.
    pub shard_ports: Vec<u16>,
    /// Its live layouts.
    pub layouts: Vec<LayoutId>,
    /// Optional abilities, a bit each; none yet.
    pub features: u64,
}

/// A table's settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its name.
    pub name: String,
    /// What it does with concurrent versions.
    pub policy: ConflictPolicy,
}

/// Everything that makes a set of nodes a cluster. The same on every node, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its members.
    pub roster: Roster,
    /// Partitions, replicas, hash seed.
    pub parameters: Parameters,
    /// Layout 1, as its maker computed it; every receiver computes it again.
    pub layout: LayoutId,
    /// The keys of context tokens. Secret: only administrators are sent them.
    pub token_keys: TokenKeys,
    /// Tables with settings of their own.
    pub tables: Vec<TableRecord>,
}

/// Whether a node belongs to a cluster, and to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The node.
    pub node: NodeId,
    /// Its label in its own configuration.
    pub name: String,
    /// What created it; none while it waits.
    pub creation: Option<Creation>,
}

/// What clients need to send a request to the right shard of the right node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewReply {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its members.
    pub roster: Roster,
    /// Partitions, replicas, hash seed.
    pub parameters: Parameters,
    /// The newest layout.
    pub layout: LayoutId,
    /// The read quorum used when a request names none.
    pub read_quorum: u8,
    /// The write quorum used when a request names none.
    pub write_quorum: u8,
}

/// How far a data directory has come. Members remember each other's, and so find out when one is a new disk or an older
/// copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Life {
    /// Raised at every start, above all that anybody is known to remember.
    pub epoch: u64,
    /// Drawn by the process at its start.
    pub process: u64,
    /// Raised by the process while it writes.
    pub count: u32,
}

/// A node asks a member whether its directory is the one that the member remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// The directory.
    pub disk: DiskId,
    /// Where it was when this process started.
    pub before: Life,
    /// Where it is.
    pub now: Life,
    /// Whatever was before this epoch may be forgotten: the node has noted that it lacks it. 0 for nothing.
    pub atoned: u64,
}

impl Vouch {
    /// That of a directory of which nothing is known yet.
    #[must_use]
    pub fn new(disk: DiskId) -> Self {
        Self { disk, before: Life::default(), now: Life::default(), atoned: 0 }
    }

    /// Whether this is the directory of that life, gone on from there.
    #[must_use]
    pub const fn goes_on_from(&self, life: Life) -> bool {
        let Self { before, now, .. } = self;
        let same = life.process == now.process && life.count <= now.count;
        let next = life.process == before.process && life.epoch == before.epoch && life.count <= before.count;
        same || next || life.epoch < before.epoch
    }
}

/// What a member says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// It is the directory that the member remembers, or the first one that it has met of this node.
    pub continues: bool,
    /// Up to which epoch the member remembers.
    pub epoch: u64,
}

/// How a node sees one of its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Its label.
    pub name: String,
    /// Where it should be.
    pub address: SocketAddr,
    /// Whether there is a connection to it now.
    pub connected: bool,
    /// Why not, when there is none: the last error. With a connection: that it has another roster or layout.
    pub error: Option<String>,
    /// What this node believes of it: `alive`, `suspect` or `unreachable`.
    pub standing: String,
}

/// How a node sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its label.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Its cluster, once it has one.
    pub cluster: Option<ClusterId>,
    /// Its layout, once it has one.
    pub layout: Option<LayoutId>,
    /// `waiting` or `member`.
    pub role: String,
    /// Partitions that it holds.
    pub partitions: u32,
    /// All partitions.
    pub partitions_total: u32,
    /// Its shards.
    pub shards: u16,
    /// `sync`, `interval` or `os`.
    pub durability: String,
    /// It may have lost acknowledged writes; its answers do not count toward R.
    pub unverified: bool,
    /// How much room its disk has: `plenty`, `reserve` (new values are refused) or `emergency` (larger copies too).
    pub room: String,
    /// Bytes that are free on it.
    pub disk_free: u64,
    /// Bytes of its reserve.
    pub disk_reserve: u64,
    /// Bytes of all items here: table files and memtables, as they were seconds ago.
    pub stored_bytes: u64,
    /// Hints that it keeps for other nodes.
    pub hints: u64,
    /// Their bytes.
    pub hint_bytes: u64,
    /// Milliseconds since the last moment at which every partition here agreed with its other owners' copies; none
    /// until all of them once did.
    pub in_sync_ms: Option<u64>,
    /// Partitions that were not compared with all their other owners yet.
    pub never_in_sync: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// How often its data directory was opened.
    pub generation: BootGeneration,
    /// The other members.
    pub peers: Vec<PeerStatus>,
}

/// A control message's body.
pub fn encode_control<T: Serialize>(message: &T) -> Bytes {
    postcard::to_allocvec(message).expect("our own control messages have no type that postcard cannot write").into()
}

/// Reads a control message's body; `what` names it in the error. Postcard allocates no more than the body has bytes.
pub fn decode_control<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, WireError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| WireError::Control(what))?;
    if rest.is_empty() { Ok(message) } else { Err(WireError::Trailing(rest.len())) }
}
