//! Several client processes that share the load of one run.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::LoadError;
use super::report::Run;
use super::run::{Preparation, not_yet};
use super::settings::Settings;
use super::watch::{Watch, Watched};
use crate::client::Client;

/// How the other processes are started: this program, with its hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; those that find the cluster are among them.
    pub arguments: Vec<OsString>,
}

/// Prepares and makes one run with as many processes as the settings say: what one process does is done here.
pub async fn run_together(
    client: &Client,
    settings: &Settings,
    preparation: Preparation,
    companion: &Companion,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Run, LoadError> {
    let _ = (client, settings, preparation, companion, watched, watch);
    Err(not_yet())
}
