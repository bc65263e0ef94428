//! What a scrape is laid out from: copies of what the threads of a node have counted, and nothing that can wait.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::membership;
use crate::protocol::shard::{Counters, Measures};
use crate::protocol::types::{Histogram, PartitionId, Seconds, Things};
use crate::protocol::wire::NodeStatus;

/// Everything that a node knows about itself.
#[derive(Debug, Clone)]
pub struct NodeNumbers {
    /// How the node sees itself.
    pub status: NodeStatus,
    /// Each shard that has said something yet.
    pub shards: Vec<ShardNumbers>,
    /// The labels of the layout's nodes, by their place in it.
    pub names: Vec<String>,
    /// Layouts that writes go to.
    pub layouts_live: u64,
    /// What the members say of each other.
    pub gossip: membership::Counters,
    /// How many of them are believed to be what, this node included.
    pub standings: Standings,
    /// Requests that were refused before they were looked at, because there are too many.
    pub refused: u64,
    /// Bytes of requests that were taken in and not answered.
    pub request_bytes: u64,
    /// The disk.
    pub storage: StorageNumbers,
    /// How often the disk's life was renewed.
    pub life_renewals: u64,
    /// Connections between nodes, and of clients.
    pub quic: QuicNumbers,
    /// Requests to the HTTP door.
    pub http: HttpNumbers,
    /// The process.
    pub process: ProcessNumbers,
    /// The last second of each certificate that this node stands on, since 1970.
    pub certificates: Vec<(&'static str, u64)>,
    /// How often renewed certificate files were taken.
    pub certificate_renewals: u64,
    /// The certificate files hold something that cannot be used.
    pub certificate_reload_failing: bool,
    /// How long it took to lay out the page before this one.
    pub last_scrape: Option<Duration>,
}

impl NodeNumbers {
    /// A count of all shards.
    pub(super) fn count(&self, of: fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(&shard.counters)).sum()
    }

    /// A number of all shards.
    pub(super) fn sum(&self, of: fn(&ShardNumbers) -> u64) -> u64 {
        self.shards.iter().map(of).sum()
    }

    /// What the machines of all shards have measured.
    pub(super) fn measures(&self) -> impl Iterator<Item = &Measures> {
        self.shards.iter().map(|shard| &shard.measures)
    }

    /// When everything here agreed with the other owners' copies; none while that is not known of all.
    pub(super) fn in_sync_age(&self) -> Option<Duration> {
        let ages = self.shards.iter().flat_map(|shard| &shard.in_sync_ages);
        ages.map(|(_, age)| *age).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// What one shard has counted and measured.
#[derive(Debug, Clone, Default)]
pub struct ShardNumbers {
    /// The machine's counts.
    pub counters: Counters,
    /// The machine's measures.
    pub measures: Measures,
    /// The driver's.
    pub turns: TurnNumbers,
    /// Items that are kept in memory.
    pub items: ItemCacheNumbers,
    /// Requests under way.
    pub in_flight: u64,
    /// The part of its usual pace that background work has.
    pub background_share: f64,
    /// Hints that are kept for other nodes.
    pub hints: u64,
    /// Their bytes.
    pub hint_bytes: u64,
    /// How long this process has known of the oldest of them.
    pub oldest_hint: Duration,
    /// By partition, how long ago it agreed with the other owners' copies; none while that is not known.
    pub in_sync_ages: Vec<(PartitionId, Option<Duration>)>,
}

/// A shard's turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TurnNumbers {
    /// From the first input taken to the last output handed over.
    pub times: Histogram<Seconds>,
    /// Inputs of a turn.
    pub inputs: Histogram<Things>,
    /// Inputs that waited when the shard came to take them.
    pub queued: Histogram<Things>,
    /// Commits to RocksDB.
    pub commit_times: Histogram<Seconds>,
    /// Writes of a commit.
    pub commit_writes: Histogram<Things>,
}

/// The items that a shard keeps in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemCacheNumbers {
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub capacity_bytes: u64,
    /// Lookups that found their item.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

/// Members by what is believed of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standings {
    /// They answer.
    pub alive: u64,
    /// They do not, and may still refute it.
    pub suspect: u64,
    /// They do not, as the members agree.
    pub unreachable: u64,
}

/// The disk, as a background thread has sampled it. Nothing of it is read when somebody scrapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageNumbers {
    /// Bytes of each partition: its table files, and what of it is in memory only.
    pub partitions: Vec<(PartitionId, u64)>,
    /// Bytes of all table files.
    pub table_bytes: u64,
    /// Bytes of all memtables.
    pub memtable_bytes: u64,
    /// Compactions that run.
    pub compactions: u64,
    /// Flushes that run.
    pub flushes: u64,
    /// Bytes that compactions still have to rewrite, estimated.
    pub compaction_pending_bytes: u64,
    /// Times that writes were slowed down.
    pub write_delays: u64,
    /// Times that writes were stopped.
    pub write_stops: u64,
    /// Whether writes are stopped.
    pub writes_stopped: bool,
    /// Flushes and compactions that failed.
    pub background_errors: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Bytes that it may have.
    pub cache_capacity_bytes: u64,
    /// Files of the write-ahead log.
    pub log_files: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Fsyncs of the log.
    pub fsync_times: Histogram<Seconds>,
    /// Column families with a damaged block, as far as reads have met one.
    pub damaged: u64,
    /// Bytes of the file system that the data directory is on, once they are known.
    pub disk: Option<DiskNumbers>,
}

/// A file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskNumbers {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
}

/// QUIC connections: those that are open, and those that have ended, together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuicNumbers {
    /// Open connections.
    pub connections: u64,
    /// Bytes of UDP sent.
    pub sent_bytes: u64,
    /// Bytes of UDP received.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets taken for lost.
    pub lost_packets: u64,
    /// Round trip time of the control link to each member that has one.
    pub round_trips: Vec<(String, Duration)>,
    /// Sessions begun: handshakes that succeeded.
    pub sessions: u64,
    /// Connections that did not become a session.
    pub sessions_refused: u64,
    /// Sessions ended because of a frame that cannot be understood.
    pub frames_malformed: u64,
    /// Frames that their sender's certificate does not allow.
    pub frames_not_allowed: u64,
    /// Frames of an unknown kind.
    pub frames_unsupported: u64,
}

/// Requests to the HTTP door, by route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpNumbers(pub BTreeMap<&'static str, RouteNumbers>);

/// Requests to one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteNumbers {
    /// Answers by class of status: 1xx to 5xx.
    pub answers: [u64; 5],
    /// From the headers of a request to those of its answer.
    pub times: Histogram<Seconds>,
}

/// The process, as its operating system tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessNumbers {
    /// Seconds of CPU time, user and system.
    pub cpu_seconds: f64,
    /// Bytes of memory that are in use.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// How many there may be.
    pub open_files_max: u64,
    /// When the process was started, seconds since 1970.
    pub started: f64,
}
