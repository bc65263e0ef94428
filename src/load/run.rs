//! One run: the keys are prepared, the load runs for its time, and what came of it is a [`Run`].

use super::error::LoadError;
use super::items::Items;
use super::report::Run;
use super::settings::Settings;
use super::watch::{Watch, Watched};
use crate::client::Client;

/// How a run finds its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Every key is written before the run.
    Load,
    /// The keys are there from an earlier run: they are read, for their contexts.
    Keep,
}

/// Loads all keys, or learns the contexts of those that are there. Items may be used for several runs with the same
/// table, number of keys, seed and `verify`, one after the other.
pub async fn prepare(
    client: &Client,
    settings: &Settings,
    preparation: Preparation,
    watch: &mut dyn Watch,
) -> Result<Items, LoadError> {
    let _ = (client, settings, preparation, watch);
    Err(not_yet())
}

/// Makes one run with this process alone; of several, see [`processes`](super::processes).
///
/// Must be awaited on a `current_thread` runtime, the client's own, that does nothing else meanwhile.
pub async fn run(
    client: &Client,
    settings: &Settings,
    items: &mut Items,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Run, LoadError> {
    let _ = (client, settings, items, watched, watch);
    Err(not_yet())
}

pub(super) fn not_yet() -> LoadError {
    LoadError::Machine { what: "the generator".to_owned(), source: std::io::ErrorKind::Unsupported.into() }
}
