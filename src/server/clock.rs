//! The two clocks of a process, read together.

use std::time::{Duration, SystemTime};

use crate::protocol::shard::Now;
use crate::protocol::types::{Instant, WallTime};

/// A stopwatch that all threads of a node share, and the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The stopwatch alone.
    pub(crate) fn instant(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn now(&self) -> Now {
        // A wall clock before 1970 is broken; stamps then count from zero, and causality does not care.
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = WallTime::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Now { instant: self.instant(), wall }
    }
}
