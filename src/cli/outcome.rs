//! How a command ended, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use crate::client::ClientError;

/// The exit code of a usage error, as clap has it.
pub(super) const USAGE: u8 = 2;

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
    let is = |test: fn(&ClientError) -> bool| error.chain().any(|e| e.downcast_ref::<ClientError>().is_some_and(test));
    match () {
        () if error.chain().any(|e| e.is::<UsageError>()) => USAGE,
        () if is(ClientError::is_quorum_not_met) => 5,
        () => 1,
    }
}

/// Whether the reader of our output has gone: it has seen enough.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(broken))
}
