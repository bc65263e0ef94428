//! `quorate dev`: three nodes in one process, to try things out.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::server::LogFormat;
use crate::server::dev::{DevCluster, DevOptions};

/// Runs a three-node cluster on this machine until Ctrl-C.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where certificates, data and the client's profile are kept between runs.
    #[arg(long, value_name = "DIR", default_value = ".quorate")]
    dir: PathBuf,
    /// Keep nothing: a fresh cluster in a temporary directory, removed at the end.
    #[arg(long, conflicts_with = "dir")]
    ephemeral: bool,
    /// The first node's control port (UDP). The others follow in steps of 10; HTTP is at 80 above it.
    #[arg(long, value_name = "PORT", default_value_t = 7400)]
    base_port: u16,
    /// Shards, one thread each, of every node.
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: u16,
    /// When a write counts as safe: sync, interval or os.
    #[arg(long, value_name = "WHEN", default_value = "sync", value_parser = ["sync", "interval", "os"])]
    durability: String,
    /// How much to log on standard error: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "error", value_parser = ["error", "warn", "info", "debug"])]
    log: String,
}

/// Carries the command out.
pub fn run(args: DevArgs) -> anyhow::Result<()> {
    super::log::start(None, &args.log, LogFormat::Text);
    let temporary = args.ephemeral.then(Temporary::new).transpose()?;
    let dir = temporary.as_ref().map_or(args.dir, |temporary| temporary.0.clone());
    let options =
        DevOptions { dir: dir.clone(), base_port: args.base_port, shards: args.shards, durability: args.durability };
    say(&format!("starting three nodes in {} ..\n", dir.display()));
    let ephemeral = temporary.is_some();
    crate::server::dev::run(&options, |cluster| say(&greeting(cluster, &dir, ephemeral)))?;
    say("stopped; everything that was acknowledged is on the disk\n");
    Ok(())
}

/// A directory that goes when the command ends.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| anyhow::anyhow!("no entropy for a directory name: {error}"))?;
        let path = std::env::temp_dir().join(format!("quorate-dev-{:016x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the temporary directory was not removed");
        }
    }
}

fn greeting(cluster: &DevCluster, dir: &Path, ephemeral: bool) -> String {
    let mut text = String::new();
    let kept = match (ephemeral, cluster.kept) {
        (true, _) => "removed at the end",
        (false, true) => "kept from an earlier run",
        (false, false) => "new",
    };
    let mut line = |line: String| writeln!(text, "{line}").expect("text is written to memory");
    line(format!("\n  a cluster of three nodes is running; data and certificates in {} ({kept})\n", dir.display()));
    for (at, (node, http)) in cluster.nodes.iter().zip(&cluster.http).enumerate() {
        line(format!("  n{}   quic {node}/udp   http http://{http}", at + 1));
    }
    // The profile in ./.quorate is found without being named.
    let profile = match dir == Path::new(".quorate") {
        true => String::new(),
        false => format!(" --profile {}", cluster.profile.display()),
    };
    let program = std::env::args().next().unwrap_or_else(|| "quorate".to_owned());
    let http = cluster.http.first().map(ToString::to_string).unwrap_or_default();
    line("\n  try, in another terminal:\n".to_owned());
    line(format!("    {program}{profile} put greeting 'hello, world'"));
    line(format!("    {program}{profile} get greeting"));
    line(format!("    {program}{profile} status"));
    line(format!("    curl -i http://{http}/v1/kv/default/greeting"));
    line(format!("    curl -X PUT --data-binary 'from curl' http://{http}/v1/kv/default/greeting"));
    line("\n  Ctrl-C stops it".to_owned());
    text
}

/// Nobody reading the terminal is no error.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}
