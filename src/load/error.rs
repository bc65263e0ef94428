//! Why a run could not be made, or not be trusted to have been one.

use crate::client::ClientError;
use crate::protocol::types::AddressError;

/// Why a run was not made. What was written to the cluster before it stays there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Settings that contradict each other or are out of bounds. Nothing was sent. Whose fault: the caller's.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key could not be loaded before the run, however often it was tried. Mend the cluster and begin again.
    #[error("key {key} could not be {verb} before the run: {source}")]
    Prepare {
        /// Its number.
        key: u64,
        /// `written` or `read`.
        verb: &'static str,
        /// What came of the last attempt.
        source: Box<ClientError>,
    },
    /// Values are to be checked, and a key that is kept has one that no checked run wrote. Nothing was written.
    #[error("key {key} has a value that no run with --verify wrote; load the keys anew, without --keep")]
    Foreign {
        /// Its number.
        key: u64,
    },
    /// This machine could not do what the generator needs of it. Whose fault: the machine's.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// One of the other processes of the generator failed, so the run is incomplete.
    #[error("client process {index} {what}{}", said(.stderr))]
    Process {
        /// Which, from 1; the first is 0.
        index: u16,
        /// What happened to it.
        what: String,
        /// What it said.
        stderr: String,
    },
}

/// What is wrong with settings: field, limit and way out. Nothing was sent. Whose fault: the caller's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The table cannot have this name.
    #[error("table: {0}")]
    Table(#[from] AddressError),
    /// A field is out of its bounds, or does not go with another.
    #[error("{field}: {reason}")]
    Field {
        /// The field, as its argument is called.
        field: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl SettingsError {
    pub(super) fn of(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Field { field, reason: reason.into() }
    }
}

impl LoadError {
    /// A key could not be written or read.
    pub(super) fn prepare(key: u64, verb: &'static str, source: ClientError) -> Self {
        Self::Prepare { key, verb, source: Box::new(source) }
    }

    /// A worker's task was lost.
    pub(super) fn panicked(source: tokio::task::JoinError) -> Self {
        Self::Machine { what: "a worker of the generator ended".to_owned(), source: std::io::Error::other(source) }
    }
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => "; it said nothing".to_owned(),
        words => format!("; it said: {words}"),
    }
}
