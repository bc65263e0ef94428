//! `quorate config`: what can be configured, and whether a file is right.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::screen;
use crate::config::ServerConfig;
use crate::config::server::Loaded;
use crate::pki::{CredentialFiles, Credentials, Moment, Role};

/// Show what can be configured, and check a configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    what: ConfigWhat,
}

#[derive(Debug, Subcommand)]
enum ConfigWhat {
    /// Print a configuration with every field, its meaning, limits and default.
    Reference,
    /// Check a node's configuration without starting it.
    ///
    /// The environment counts as it does for the server: `QUORATE_SHARDS` overrides `shards`. An error names file,
    /// line, field, limit and the nearest valid name, and the exit code is 1.
    Check {
        /// The configuration, TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Also read the certificate, its key and the authority, as the server does at its start.
        #[arg(long)]
        tls: bool,
        /// Also print every field that is in effect.
        #[arg(long)]
        show: bool,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// The first mistake in the configuration.
pub fn run(args: ConfigArgs) -> anyhow::Result<()> {
    match args.what {
        ConfigWhat::Reference => screen::print(ServerConfig::reference().as_bytes()),
        ConfigWhat::Check { file, tls, show } => {
            let loaded = ServerConfig::load(&file, std::env::vars_os())?;
            let identity = if tls { Some(identity(&loaded.config)?) } else { None };
            let mut report = summary(&loaded, identity.as_deref());
            if show {
                for (field, value) in loaded.config.effective() {
                    writeln!(report, "{field} = {value}")?;
                }
            }
            screen::print(format!("{} is a configuration\n{report}", file.display()).as_bytes())
        }
    }
}

fn summary(loaded: &Loaded, identity: Option<&str>) -> String {
    let Loaded { config, overridden, ignored } = loaded;
    let last = config.shard_address(config.shards - 1).map_or(0, |address| address.port());
    let mut lines = vec![format!(
        "  node {}, data in {}, ports {} to {last}/udp of {}, http on {}",
        config.name,
        config.data_dir.display(),
        config.listen.port(),
        config.listen.ip(),
        config.http.listen
    )];
    lines.extend(identity.map(|identity| format!("  {identity}")));
    if !overridden.is_empty() {
        lines.push(format!("  overridden by {}", overridden.join(", ")));
    }
    if !ignored.is_empty() {
        lines.push(format!("  these variables mean nothing: {}", ignored.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// Whose the certificate is, once all three files are right.
fn identity(config: &ServerConfig) -> anyhow::Result<String> {
    let files = CredentialFiles {
        certificate: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
        crl: config.tls.crl.clone(),
    };
    let credentials = Credentials::load_at(&files, Moment::now()).context("[tls]")?;
    let role = &credentials.identity().role;
    if !matches!(role, Role::Node(_)) {
        bail!(
            "[tls]: {} is the certificate of {role}, not of a node; make one with `quorate cert node`",
            files.certificate.display()
        );
    }
    Ok(format!("certificate of {role} in cluster {}", credentials.cluster()))
}
