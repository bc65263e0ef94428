//! What a run does: which operations on which keys, how many at a time or how often, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one run does. Written into its report, so that the run can be made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Shares of the operations.
    pub mix: Mix,
    /// Which keys they take.
    pub keys: Keys,
    /// How many different keys.
    pub key_count: u64,
    /// How large values are.
    pub value: ValueSize,
    /// When requests are sent.
    pub pace: Pace,
    /// Requests under way at most: of a closed loop exactly so many, of an open one the bound beyond which the
    /// generator counts as behind its schedule.
    pub in_flight: usize,
    /// Measured time.
    pub duration: Duration,
    /// Time before that, in which the same is done and nothing counted.
    pub warmup: Duration,
    /// Puts without the item's context: each leaves a sibling beside the others until somebody merges.
    pub blind: bool,
    /// Values carry their key and a sequence number, and what is read is checked against what was acknowledged.
    pub verify: bool,
    /// Time for one request.
    pub timeout: Duration,
    /// What the random choices come from.
    pub seed: u64,
    /// Client processes that share the load.
    pub processes: u16,
    /// The table that is used.
    pub table: String,
}

/// Shares of the operations, in any unit: 95 and 5 are the same as 19 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mix {
    /// Reads of one item.
    pub get: u32,
    /// Writes of one item, with the context of its last read or write unless blind.
    pub put: u32,
    /// Deletes of one item.
    pub delete: u32,
    /// Short scans.
    pub scan: u32,
    /// A get, and a put with its context.
    pub read_modify_write: u32,
    /// Puts of keys that were never there (YCSB D and E).
    pub insert: u32,
}

/// Which key an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Each as often as the others.
    Uniform,
    /// Zipf's law with this exponent, popular keys scattered over the key space (YCSB's default is 0.99).
    Zipfian(f64),
    /// The keys inserted last are the popular ones.
    Latest,
    /// So great a share of the operations goes to so great a share of the keys.
    Hotspot {
        /// Share of the keys that are hot, 0 to 1.
        keys: f64,
        /// Share of the operations that take one of them, 0 to 1.
        operations: f64,
    },
}

/// How large values are, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueSize {
    /// All the same.
    Fixed(usize),
    /// Each size of the range as often as the others.
    Uniform {
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: the next when the last is answered.
    Closed,
    /// Open loop: so many a second, at even intervals, whatever the answers do.
    Constant(f64),
    /// Open loop: so many a second on average, at random (a Poisson process).
    Poisson(f64),
}
