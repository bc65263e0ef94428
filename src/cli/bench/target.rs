//! The cluster that is loaded: one that runs already, or a local one that is made for the occasion.
//!
//! A local one is removed however the command ends: at its end, on an error, and on the signals by which people and
//! supervisors end commands.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::super::connection::{Contact, block_on};
use super::super::outcome::UsageError;
use super::super::screen;
use crate::client::Client;
use crate::load::cluster::{LocalCluster, LocalOptions};
use crate::load::place::Located;
use crate::load::processes::{Companion, run_together};
use crate::load::report::{Cluster, Run};
use crate::load::run::Preparation;
use crate::load::settings::Settings;
use crate::load::watch::{Watch, Watched};

/// How a local cluster is made.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct LocalArgs {
    /// When the local cluster's nodes take a write for safe: os (the operating system has it), interval or sync
    /// [default: os].
    #[arg(long, value_name = "WHEN", value_parser = ["os", "interval", "sync"])]
    pub(super) durability: Option<String>,
    /// The program that the local cluster's nodes run, such as an older one to compare with [default: this one].
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
    /// Where the local cluster's own directory is made, and removed afterwards: the disk that is measured [default: the
    /// system's temporary directory].
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

impl LocalArgs {
    /// What the cluster is made with.
    pub(super) fn options(&self) -> LocalOptions {
        let default = LocalOptions::default();
        LocalOptions {
            dir: self.dir.clone(),
            server: self.server.clone(),
            durability: self.durability.clone().unwrap_or(default.durability),
            ..default
        }
    }

    /// Refuses what is said of a local cluster when there is none.
    pub(super) fn check_absent(&self) -> Result<(), UsageError> {
        let Self { durability, server, dir } = self;
        let said = [("--durability", durability.is_some()), ("--server", server.is_some()), ("--dir", dir.is_some())];
        match said.iter().find(|(_, is_said)| *is_said) {
            Some((argument, _)) => Err(UsageError::of(argument, &"it is the local cluster's; add --local")),
            None => Ok(()),
        }
    }
}

/// A cluster that can be loaded.
pub(super) struct Target<'a> {
    pub(super) client: &'a Client,
    /// How it is set.
    pub(super) cluster: Cluster,
    /// The processes that are charged.
    pub(super) watched: Vec<Watched>,
    /// What a reader of any of its runs has to know.
    remarks: Vec<String>,
    companion: Companion,
}

impl Target<'_> {
    /// Prepares and makes one run.
    pub(super) async fn run(
        &self,
        settings: &Settings,
        preparation: Preparation,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<Run> {
        let Self { client, companion, watched, remarks, .. } = self;
        let mut run = run_together(client, settings, preparation, companion, watched, watch).await?;
        run.warnings.extend(remarks.iter().cloned());
        Ok(run)
    }
}

/// Does something with the cluster of the profile.
pub(super) fn on_running<T>(
    contact: &Contact,
    timeout: Option<Duration>,
    work: impl AsyncFnOnce(&Target<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let companion = companion(contact, timeout)?;
    contact.with_client(timeout, async |client| {
        let cluster = Cluster::ask(client).await;
        let Located { watched, remarks } = Located::of(&client.view().roster);
        work(&Target { client, cluster, watched, remarks, companion }).await
    })
}

/// Does something with a local cluster, which is removed then.
pub(super) fn on_local<T>(
    options: &LocalOptions,
    timeout: Duration,
    work: impl AsyncFnOnce(&Target<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    block_on(until_interrupted(async {
        let mut local = start(options).await?;
        let client = connect(&local, timeout).await?;
        let done = work(&local_target(&client, &local, timeout).await?).await;
        client.close().await;
        // A node that has ended by itself is the reason of whatever else went wrong.
        local.check()?;
        done
    }))
}

/// Starts a local cluster.
pub(super) async fn start(options: &LocalOptions) -> anyhow::Result<LocalCluster> {
    let LocalOptions { nodes, durability, .. } = options;
    screen::note(&format!("starting a local cluster: {nodes} server processes, durability {durability}"));
    Ok(LocalCluster::start(options).await?)
}

/// A client of a local cluster.
pub(super) async fn connect(local: &LocalCluster, timeout: Duration) -> anyhow::Result<Client> {
    let mut options = local.client_options();
    options.timeouts.request = timeout;
    Ok(Client::connect(options).await?)
}

/// A local cluster, ready to be loaded.
pub(super) async fn local_target<'a>(
    client: &'a Client,
    local: &LocalCluster,
    timeout: Duration,
) -> anyhow::Result<Target<'a>> {
    let companion = companion(&Contact::new(Some(local.profile())), Some(timeout))?;
    let cluster = Cluster::ask(client).await;
    Ok(Target { client, cluster, watched: local.watched(), remarks: Vec::new(), companion })
}

/// How other client processes are started.
fn companion(contact: &Contact, timeout: Option<Duration>) -> anyhow::Result<Companion> {
    let program = std::env::current_exe().context("cannot tell where this program is, to start another of it")?;
    let mut arguments = contact.arguments();
    arguments.extend(["bench", "assist"].map(Into::into));
    if let Some(timeout) = timeout {
        arguments.extend(["--timeout".into(), humantime::format_duration(timeout).to_string().into()]);
    }
    Ok(Companion { program, arguments })
}

/// Works until a signal says that nobody waits for it any more; what was begun is dropped then, with all that it has.
pub(super) async fn until_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let ears = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = ears else {
        anyhow::bail!("this program cannot hear signals, and would leave processes behind");
    };
    let heard = tokio::select! {
        done = work => return done,
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    };
    anyhow::bail!("interrupted by {heard}; what was started is removed, and nothing is reported")
}
