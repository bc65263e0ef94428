//! What a node has counted, for whoever watches it live: two of these, a moment apart, make rates and quantiles.
//!
//! A control message, so serde and postcard. Its size is bounded by the shards of a node: below a kilobyte each.

use serde::{Deserialize, Serialize};

use crate::protocol::types::{Histogram, Scale};

/// What a node's shards have counted since they were started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeCounts {
    /// By shard. One that has said nothing yet is left out.
    pub shards: Vec<ShardCounts>,
}

/// What a shard has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardCounts {
    /// Which one.
    pub shard: u16,
    /// When, nanoseconds on its process's stopwatch: a smaller number than before is another process.
    pub at_ns: u64,
    /// Reads of clients.
    pub gets: VerbCounts,
    /// Writes of clients.
    pub puts: VerbCounts,
    /// Requests under way.
    pub in_flight: u64,
    /// Inputs that waited when the shard came to take them.
    pub queued: Vec<Bucket>,
}

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerbCounts {
    /// Coordinated here.
    pub begun: u64,
    /// Answered as asked.
    pub succeeded: u64,
    /// Answered with a failure.
    pub failed: u64,
    /// From request to answer, nanoseconds, of those that succeeded.
    pub times: Vec<Bucket>,
}

/// Values of a distribution that are above the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The largest value in it; `u64::MAX` for the last.
    pub up_to: u64,
    /// How many.
    pub count: u64,
}

/// A histogram's buckets, the empty ones too.
#[must_use]
pub fn buckets_of<S: Scale>(histogram: &Histogram<S>) -> Vec<Bucket> {
    histogram.buckets().map(|(up_to, count)| Bucket { up_to, count }).collect()
}
