//! `quorate cert`: makes, renews, shows and revokes the certificates of a cluster.

mod renew;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::pki::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_FILE, KEY_FILE, LEAF_LIFETIME, random_cluster, random_node,
};
use crate::pki::{Leaf, Moment, Role};
use crate::protocol::types::{ClusterId, NodeId};

/// Most days of validity, 100 years: beyond it the number is a slip.
const DAYS_MAX: u64 = 36_500;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Make the cluster's authority, and certificates for nodes, clients and administrators.
#[derive(Debug, Args)]
pub struct CertArgs {
    /// Directory of the authority and of what it issues; created when missing.
    #[arg(long, global = true, default_value = "./certs", value_name = "DIR")]
    dir: PathBuf,

    #[command(subcommand)]
    what: CertWhat,
}

#[derive(Debug, Subcommand)]
enum CertWhat {
    /// Make an authority: ca.crt for everyone, ca.key for nobody but you.
    Ca {
        /// Id of the cluster, 32 hexadecimal digits; random when not given. Give it when replacing an authority.
        #[arg(long, value_name = "ID")]
        cluster: Option<ClusterId>,
        #[command(flatten)]
        making: Making,
    },
    /// Issue a certificate for a node.
    Node {
        /// Label of the files, such as n1.
        name: String,
        /// Id of the node, 32 hexadecimal digits; random when not given, with --force that of the certificate there.
        #[arg(long, value_name = "HEX")]
        id: Option<NodeId>,
        /// A DNS name or IP address under which programs reach the node's HTTP door over TLS; may be repeated. The
        /// cluster itself does not look at it.
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        making: Making,
    },
    /// Issue a certificate for a program that reads and writes items.
    Client {
        /// Name of the client, and of the files.
        name: String,
        #[command(flatten)]
        making: Making,
    },
    /// Issue a certificate for a person who changes the cluster.
    Admin {
        /// Name of the administrator, and of the files.
        name: String,
        #[command(flatten)]
        making: Making,
    },
    /// Issue a certificate of the same identity again, with a new key, in place of the one that is there.
    Renew {
        /// Name of the files.
        name: String,
        /// The certificate to take identity and hosts from; NAME.crt in the directory when not given.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        #[command(flatten)]
        lifetime: Lifetime,
    },
    /// Show who certificates are of, who issued them and how long they last.
    Show {
        /// Certificates or revocation lists; all in the directory when not given.
        files: Vec<PathBuf>,
        /// Fail when one of them ends within this time, as in 30d.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        within: Option<Duration>,
    },
    /// Take a certificate back: put it on the authority's list, ca.crl.
    Revoke {
        /// The certificate.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Making {
    #[command(flatten)]
    lifetime: Lifetime,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Lifetime {
    /// Days of validity; 3650 for an authority and 365 for a certificate when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=DAYS_MAX))]
    days: Option<u64>,
    /// Validity in other units, as in 12h.
    #[arg(long, value_name = "DURATION", conflicts_with = "days", value_parser = lifetime)]
    lifetime: Option<Duration>,
}

impl Lifetime {
    fn or(&self, default: Duration) -> Duration {
        match self.days.and_then(|days| u32::try_from(days).ok()) {
            Some(days) => DAY.saturating_mul(days),
            None => self.lifetime.unwrap_or(default),
        }
    }
}

/// A lifetime from a second to [`DAYS_MAX`].
fn lifetime(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as in 12h or 90d"))?;
    let days_max = u32::try_from(DAYS_MAX).map_or(Duration::MAX, |days| DAY.saturating_mul(days));
    match duration >= Duration::from_secs(1) && duration <= days_max {
        true => Ok(duration),
        false => Err(format!("use 1s to {DAYS_MAX}d")),
    }
}

/// Runs the subcommand and prints what it made.
///
/// # Errors
/// Whatever the authority refuses; no file was changed then.
pub fn run(args: CertArgs) -> anyhow::Result<()> {
    let report = make(args, Moment::now())?;
    match io::stdout().lock().write_all(report.as_bytes()) {
        // `quorate cert .. | head -1`: the reader has seen enough, and the files are made.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the files are made, but the report cannot be printed"),
    }
}

/// Makes the files; the report is for people.
fn make(args: CertArgs, now: Moment) -> anyhow::Result<String> {
    let dir = args.dir;
    match args.what {
        CertWhat::Ca { cluster, making } => make_authority(&dir, cluster, &making, now),
        CertWhat::Node { name, id, hosts, making } => {
            let there = if making.force { renew::node_there(&dir, &name)? } else { None };
            let id = id.or(there).map_or_else(random_node, Ok)?;
            let files = format!("{name}.crt, {name}.key and {CERTIFICATE_FILE}");
            let next = format!(
                "bring {files} to the node and name them under [tls] in its quorate.toml\n      \
                 to renew later: quorate cert renew {name}{}",
                dir_option(&dir),
            );
            let authority = authority(&dir)?;
            let lifetime = making.lifetime.or(LEAF_LIFETIME);
            let leaf = authority.issue_for_hosts(&name, Role::Node(id), &hosts, lifetime, now)?;
            write(&leaf, &dir, &name, making.force, &next)
        }
        CertWhat::Client { name, making } => {
            let lifetime = making.lifetime.or(LEAF_LIFETIME);
            let leaf = authority(&dir)?.issue(&name, Role::client(&name)?, lifetime, now)?;
            write(&leaf, &dir, &name, making.force, &profile_step(&name))
        }
        CertWhat::Admin { name, making } => {
            let lifetime = making.lifetime.or(LEAF_LIFETIME);
            let leaf = authority(&dir)?.issue(&name, Role::admin(&name)?, lifetime, now)?;
            write(&leaf, &dir, &name, making.force, &profile_step(&name))
        }
        CertWhat::Renew { name, from, lifetime } => renew::renew(&dir, &name, from, &lifetime, now),
        CertWhat::Show { files, within } => show::show(&dir, files, within, now),
        CertWhat::Revoke { file } => renew::revoke(&dir, &file, now),
    }
}

fn make_authority(dir: &Path, cluster: Option<ClusterId>, making: &Making, now: Moment) -> anyhow::Result<String> {
    let cluster = cluster.map_or_else(random_cluster, Ok)?;
    let authority = Authority::generate(cluster, making.lifetime.or(AUTHORITY_LIFETIME), now)?;
    match making.force {
        true => authority.replace(dir)?,
        false => authority.write(dir)?,
    }
    Ok(format!(
        "made the authority of cluster {cluster}\n\
         \x20 certificate  {}  (for every node and client)\n\
         \x20 key          {}  (makes any identity: keep it off the nodes, and keep a copy)\n\
         \x20 valid until  {}\n\
         next: quorate cert node n1{}\n",
        dir.join(CERTIFICATE_FILE).display(),
        dir.join(KEY_FILE).display(),
        authority.validity().not_after,
        dir_option(dir),
    ))
}

fn authority(dir: &Path) -> anyhow::Result<Authority> {
    Authority::load(dir)
        .with_context(|| format!("there is no usable authority in {}; `quorate cert ca` makes one", dir.display()))
}

fn write(leaf: &Leaf, dir: &Path, name: &str, force: bool, next: &str) -> anyhow::Result<String> {
    let files = match force {
        true => leaf.replace(dir, name)?,
        false => leaf.write(dir, name)?,
    };
    Ok(format!(
        "made the certificate of {}\n\
         \x20 identity     {}\n\
         \x20 certificate  {}\n\
         \x20 key          {}  (mode 0600)\n\
         \x20 valid until  {}\n\
         next: {next}\n",
        leaf.identity().role,
        leaf.identity(),
        files.certificate.display(),
        files.key.display(),
        leaf.validity().not_after,
    ))
}

fn profile_step(name: &str) -> String {
    format!("name {name}.crt, {name}.key and {CERTIFICATE_FILE} in a client.toml, and pass it as --profile")
}

/// The option that repeats a directory other than the default.
fn dir_option(dir: &Path) -> String {
    if dir == Path::new("./certs") { String::new() } else { format!(" --dir {}", dir.display()) }
}

#[cfg(test)]
mod tests;
