//! What was found: the JSON of a report, and what the table, the page and the comparison are drawn from.
//!
//! Distributions are kept as counts, never as percentiles alone: counts of several processes and seconds add up,
//! percentiles do not.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::settings::Settings;

/// Raised when a field changes its meaning.
pub const REPORT_FORMAT: u32 = 1;
/// Longest latency that is told apart, microseconds: a minute, the longest that a request may take.
pub const LATENCY_MAX_US: u64 = 60_000_000;
/// The kind under which the sum over all kinds of operations stands.
pub const ALL: &str = "all";

/// One report: what was measured where, in one or several runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Version and commit of the generator.
    pub program: String,
    /// What it ran on.
    pub machine: Machine,
    /// What was asked.
    pub cluster: Cluster,
    /// The runs, in the order in which they were made.
    pub runs: Vec<Run>,
    /// The limit of this machine, measured beside the runs.
    pub floor: Option<Floor>,
}

/// The machine of the generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that the generator may use.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Kernel and its version.
    pub kernel: String,
}

/// The cluster that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Nodes on its roster.
    pub nodes: usize,
    /// Partitions.
    pub partitions: u32,
    /// Copies of an item.
    pub replicas: u8,
    /// Answers that a read waits for.
    pub read_quorum: u8,
    /// Copies that a write waits for.
    pub write_quorum: u8,
    /// When a write counts as safe, as the nodes say; the different answers, sorted.
    pub durability: Vec<String>,
    /// Versions of the nodes, sorted.
    pub versions: Vec<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Such as `put 1024 B, 256 in flight`: what a comparison matches by.
    pub name: String,
    /// What was asked for.
    pub settings: Settings,
    /// Measured time, seconds.
    pub seconds: f64,
    /// What became of the operations, by kind; [`ALL`] is their sum.
    pub operations: BTreeMap<String, Operations>,
    /// Every process that worked for the run: servers on this machine, and the generator.
    pub processes: Vec<Process>,
    /// Share of the machine's processor time that anything else took, 0 to 1, as far as the system tells.
    #[serde(default)]
    pub others: Option<f64>,
    /// Second by second.
    pub timeline: Vec<Second>,
    /// What was done to the cluster meanwhile.
    pub events: Vec<Event>,
    /// Versions per item, as reads and writes found them.
    pub versions: Versions,
    /// What checking the values found.
    pub verification: Option<Verification>,
    /// Whether an open loop kept its schedule.
    pub schedule: Option<Schedule>,
    /// Why the run says nothing; empty for a valid one.
    pub invalid: Vec<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// What became of the operations of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// Answered, errors included.
    pub count: u64,
    /// Errors by their name; timeouts are among them.
    pub errors: BTreeMap<String, u64>,
    /// From the intended send time (open loop) or the real one (closed loop) to the answer; errors are in it.
    pub latency: Distribution,
    /// From the real send time to the answer.
    pub service: Distribution,
}

/// Latencies as counts: `(microseconds, how many)`, rising.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Distribution(pub Vec<(u64, u64)>);

/// A process that worked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The node's name, or `client`.
    pub name: String,
    /// A node of the cluster, not a generator.
    pub is_server: bool,
    /// User and system time in the measured time, microseconds.
    pub cpu_us: u64,
    /// Resident memory at the end, bytes.
    pub memory_bytes: u64,
    /// Most resident memory so far, bytes.
    pub memory_peak_bytes: u64,
}

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the measured time began.
    pub at: u64,
    /// Answered in it, errors included.
    pub operations: u64,
    /// Errors among them.
    pub errors: u64,
    /// Median latency, microseconds.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Something that was done to the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the measured time began.
    pub at: f64,
    /// Such as `kill n2`.
    pub what: String,
}

/// Versions per item, as answers told them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Answers that told a number of versions.
    pub answers: u64,
    /// Sum of the numbers.
    pub sum: u64,
    /// The greatest.
    pub max: u64,
}

/// What checking values against acknowledged writes found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Reads that were checked.
    pub checked: u64,
    /// Values that nobody wrote under this key, or whose bytes are not what was written.
    pub wrong: u64,
    /// Reads that showed an older value than one acknowledged before the read began.
    pub stale: u64,
    /// Acknowledged writes that the last read of all keys did not find, nor anything newer.
    pub lost: u64,
}

/// Whether an open loop kept its schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Requests per second that were intended.
    pub offered: f64,
    /// Requests sent more than a millisecond after their time, for the generator was busy or its bound reached.
    pub late: u64,
    /// The longest such delay, microseconds.
    pub late_max_us: u64,
    /// Requests of the measured time that were never sent, for it was over.
    pub unsent: u64,
}

/// What this machine could do without a database, measured beside the runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// The steps, one a combination of value size, frames in flight and so on.
    pub steps: Vec<FloorStep>,
}

/// One measured limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloorStep {
    /// `put` or `get`.
    pub operation: String,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Frames in flight on one lane, when each node coordinates its share of the requests.
    #[serde(default)]
    pub lane_frames: usize,
    /// CPU of one quinn round trip with these frames, both ends, microseconds.
    pub echo_us: f64,
    /// Round trips per second.
    pub echo_rate: f64,
    /// CPU of one RocksDB operation with the node's options and this batch size, microseconds.
    pub storage_us: f64,
    /// Operations in one batch.
    pub batch: usize,
    /// CPU that a quorum operation needs at least, all processes, microseconds: what the parts add up to.
    pub operation_us: f64,
}

impl Distribution {
    /// Counts of a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let counts = histogram.iter_recorded();
        Self(counts.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect())
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The smallest value that so great a share (0 to 1) does not exceed, microseconds; 0 of nothing.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let (mut seen, wanted) = (0, (self.count() as f64 * share).ceil().max(1.0));
        for (value, count) in &self.0 {
            seen += count;
            if seen as f64 >= wanted {
                return *value;
            }
        }
        self.max()
    }

    /// The longest, microseconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.last().map_or(0, |(value, _)| *value)
    }

    /// The mean, microseconds; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(value, count)| *value as f64 * *count as f64).sum();
        sum / (self.count() as f64).max(1.0)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        let mut counts: BTreeMap<u64, u64> = self.0.iter().copied().collect();
        for (value, count) in &other.0 {
            *counts.entry(*value).or_default() += count;
        }
        self.0 = counts.into_iter().collect();
    }
}

impl Run {
    /// The sum over all kinds of operations.
    ///
    /// # Errors
    /// The text of a report that has none: it was not written by this program.
    pub fn all(&self) -> Result<&Operations, String> {
        self.operations.get(ALL).ok_or_else(|| format!("the run {:?} has no sum of its operations", self.name))
    }

    /// Answers without an error per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let all = self.operations.get(ALL);
        let good = all.map_or(0, |all| all.count.saturating_sub(all.errors.values().sum()));
        good as f64 / self.seconds.max(0.001)
    }

    /// CPU of servers (or of generators) per answered operation, microseconds.
    #[must_use]
    pub fn cpu_us(&self, servers: bool) -> f64 {
        let used: u64 = self.processes.iter().filter(|p| p.is_server == servers).map(|p| p.cpu_us).sum();
        let count = self.operations.get(ALL).map_or(0, |all| all.count);
        used as f64 / (count as f64).max(1.0)
    }
}
