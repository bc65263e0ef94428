//! How a command ended, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use crate::client::ClientError;

/// The exit code of a usage error, as clap has it.
pub(super) const USAGE: u8 = 2;

/// The exit code of a request that too few replicas answered.
const QUORUM_NOT_MET: u8 = 5;

/// How a command ended that has said everything it had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// Some of it was not, and that was reported.
    Failed,
    /// There are several versions.
    Siblings,
    /// There is nothing.
    Absent,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Siblings => 3,
            Outcome::Absent => 4,
        })
    }
}

/// Arguments that clap cannot judge alone. Nothing was contacted. Whose fault: the caller's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

impl UsageError {
    /// What was wrong with which argument.
    pub(super) fn of(argument: &str, reason: &impl ToString) -> Self {
        Self(format!("{argument}: {}", reason.to_string()))
    }
}

/// The exit code of an error.
pub(super) fn code_of(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error>::is::<UsageError>) {
        return USAGE;
    }
    let client = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<ClientError>().is_some_and(ClientError::is_quorum_not_met)
    };
    if error.chain().any(client) { QUORUM_NOT_MET } else { 1 }
}

/// Whether the reader of our output has gone: it has seen enough.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(broken))
}
