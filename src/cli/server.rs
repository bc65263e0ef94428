//! `quorate server`: one node, as systemd runs it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::log::{self, Log};
use crate::config::ServerConfig;
use crate::config::server::Loaded;
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
    let log = log::start(Some(&config.name), config.log.level.as_str(), config.log.format);
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
