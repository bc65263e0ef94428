//! `quorate server`: one node, as systemd runs it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::config::ServerConfig;
use crate::config::server::LogFormat;
use crate::server::node::{Node, NodeOptions};

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
    let config = ServerConfig::load(&args.config)?;
    start_log(config.log.level.as_str(), config.log.format);
    let (name, listen, http) = (config.name.clone(), config.listen, config.http.listen);
    let options = NodeOptions { config, open_http: false, accept_loss: args.accept_loss };
    let ready = |node: &Node| {
        let state =
            if node.is_member() { "member" } else { "waits for `quorate cluster create` with an admin certificate" };
        say(&format!("{name} ({}) listens on {listen}/udp, http on {http}: {state}", node.id()));
    };
    crate::server::run::run(options, ready).with_context(|| format!("node of {}", args.config.display()))?;
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

/// Sends the log to standard error. `RUST_LOG` wins over the configuration.
pub(super) fn start_log(level: &str, format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("quorate={level},warn")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the log was started before");
    }
}
