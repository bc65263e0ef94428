//! `quorate server`: one node, as systemd runs it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::config::ServerConfig;
use crate::config::server::{Loaded, LogFormat};
use crate::server::node::{Node, NodeOptions};
use crate::server::phase::Phases;
use crate::server::reload::Reloads;

/// Runs one node until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The node's configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Let this node's answers count although it may have lost acknowledged writes (after a power loss without `sync`
    /// durability, or on a new disk). The other nodes' copies are not touched.
    #[arg(long)]
    accept_loss: bool,
}

/// Carries the command out.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let Loaded { config, overridden, ignored } = ServerConfig::load(&args.config, std::env::vars_os())?;
    let log = start_log(config.log.level.as_str(), config.log.format);
    if !overridden.is_empty() {
        tracing::info!(variables = overridden.join(", "), "the environment overrides the configuration");
    }
    if !ignored.is_empty() {
        tracing::warn!(variables = ignored.join(", "), "these environment variables mean nothing here");
    }
    let (name, listen, http) = (config.name.clone(), config.listen, config.http.listen);
    let reloads = reloads(args.config.clone(), config.clone(), log);
    let options = NodeOptions { config, open_http: false, accept_loss: args.accept_loss, phases: Phases::default() };
    let ready = |node: &Node| {
        let state =
            if node.is_member() { "member" } else { "waits for `quorate cluster create` with an admin certificate" };
        say(&format!("{name} ({}) listens on {listen}/udp, http on {http}: {state}", node.id()));
    };
    crate::server::run::run(options, reloads, ready).with_context(|| format!("node of {}", args.config.display()))?;
    say("stopped");
    Ok(())
}

/// A line for whoever reads the terminal or the journal; nobody doing so is no error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}

/// What SIGHUP takes: the level of the log.
fn reloads(path: PathBuf, config: ServerConfig, log: Log) -> Reloads {
    let mut level = config.log.level;
    let read = move || ServerConfig::load(&path, std::env::vars_os()).map(|loaded| loaded.config);
    let mut reloads = Reloads::new(config, read);
    reloads.subscribe("log level", &["log.level"], move |config| {
        let wanted = config.log.level;
        if wanted == level {
            return Ok(None);
        }
        log.set_level(wanted.as_str())?;
        let old = std::mem::replace(&mut level, wanted);
        Ok(Some(format!("{} instead of {}", wanted.as_str(), old.as_str())))
    });
    reloads
}

/// Changes the level of the log that [`start_log`] has started.
pub(super) struct Log(Option<SetFilter>);

/// Puts another filter in place of the one that is there.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

impl Log {
    fn set_level(&self, level: &str) -> Result<(), String> {
        match &self.0 {
            None => Err("RUST_LOG decides it".to_owned()),
            Some(change) => change(filter(level)),
        }
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("quorate={level},warn"))
}

/// Sends the log to standard error. `RUST_LOG` wins over the configuration.
pub(super) fn start_log(level: &str, format: LogFormat) -> Log {
    let given = EnvFilter::try_from_default_env().ok();
    let changes = given.is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(given.unwrap_or_else(|| filter(level)))
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => {
            let log = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter_reloading();
            let handle = log.reload_handle();
            note_second_start(log.try_init());
            Log(changes.then(|| Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())) as _))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            note_second_start(log.try_init());
            Log(changes.then(|| Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())) as _))
        }
    }
}

fn note_second_start(started: Result<(), impl std::fmt::Display>) {
    if let Err(error) = started {
        tracing::debug!(%error, "the log was started before");
    }
}
