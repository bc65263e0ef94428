//! Who looks on while a run is made, and whom its CPU is charged to.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::report::Second;

/// A process to charge CPU and memory to. The generator's own need not be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The node's name. Processes of one name, such as a node before and after its restart, are one in the report.
    pub name: String,
    /// Its id on this machine.
    pub pid: u32,
    /// A node of the cluster, not a generator.
    pub is_server: bool,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Every key is written once.
    Loading,
    /// Every key is read once, for the contexts of what an earlier run has left.
    Reading,
    /// The load runs and is not counted.
    Warmup,
    /// The load runs and is counted.
    Measuring,
    /// Every key is read once more, and compared with what was acknowledged.
    Checking,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Keys that are done; seconds, while the load runs.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// While the load runs, the second that has just ended; its `at` counts from the beginning of the phase.
    pub second: Option<Second>,
}

/// Who looks on. Called from the generator's own thread: whatever takes long here makes the generator late.
pub trait Watch {
    /// The measured time begins now. What is done to the cluster meanwhile is reported in seconds since then.
    fn began(&mut self, _at: Instant) {}

    /// About once a second.
    fn progress(&mut self, progress: &Progress);

    /// Processes that have come since the last call, such as a node that was started again. Asked every second.
    fn appeared(&mut self) -> Vec<Watched> {
        Vec::new()
    }
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Watch for Nobody {
    fn progress(&mut self, _progress: &Progress) {}
}
