//! The command line: one subcommand a file. The only place besides `main.rs` where errors become `anyhow`.
//!
//! Arguments are taken in two steps. `..Args` is what was typed, parsed by clap and nothing else; `check` turns it into
//! a plan whose addresses, contexts and limits are facts, before anything is contacted. What clap or `check` refuse is
//! a usage error.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done; also when the reader of our output has gone |
//! | 1 | not done, and why is on standard error |
//! | 2 | usage |
//! | 3 | `get` found siblings, and printed each |
//! | 4 | `get` found nothing |
//! | 5 | fewer replicas answered than were asked for; a write may still surface |
//!
//! What was asked for goes to standard output, everything else to standard error. Colours only on terminals, and not
//! with `NO_COLOR`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod bench;
pub mod cert;
pub mod cluster;
pub mod config;
pub mod delete;
pub mod dev;
pub mod export;
pub mod get;
pub mod import;
pub mod key;
pub mod pages;
pub mod put;
pub mod server;
pub mod sim;
pub mod status;
pub mod top;

mod address;
mod connection;
mod examples;
mod figures;
mod line;
mod log;
mod member;
mod meter;
mod outcome;
mod request;
mod screen;
mod table;

use connection::Contact;
use outcome::Outcome;

/// A leaderless, encrypted, replicated key-value cluster.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 get found siblings, 4 get found nothing, \
                        5 quorum not met (a write may still surface).")]
struct Arguments {
    /// Client profile: where the cluster is and who you are there. Else `QUORATE_PROFILE`, else
    /// `./.quorate/client.toml`.
    #[arg(long, global = true, value_name = "PATH")]
    profile: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Server(server::ServerArgs),
    Sim(sim::SimArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Delete(delete::DeleteArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Key(key::KeyArgs),
    Bench(bench::BenchArgs),
    Cluster(cluster::ClusterArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Cert(cert::CertArgs),
    Config(config::ConfigArgs),
    Man(pages::ManArgs),
    Completions(pages::CompletionsArgs),
}

/// Runs the program's command line.
#[must_use]
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output and is success; a closed pipe is nobody's fault.
            error.print().unwrap_or_default();
            return if error.use_stderr() { outcome::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match carry_out(arguments) {
        Ok(outcome) => outcome.into(),
        Err(error) if outcome::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").unwrap_or_default();
            outcome::code_of(&error).into()
        }
    }
}

/// The definitions of all arguments, with examples.
fn command() -> clap::Command {
    examples::attach(Arguments::command())
}

fn carry_out(arguments: Arguments) -> anyhow::Result<Outcome> {
    let contact = Contact::new(arguments.profile);
    match arguments.command {
        Command::Put(args) => put::run(&args, &contact),
        Command::Get(args) => get::run(&args, &contact),
        Command::Delete(args) => delete::run(&args, &contact),
        Command::Status(args) => status::run(&args, &contact),
        Command::Top(args) => top::run(&args, &contact),
        Command::Key(args) => key::run(&args, &contact),
        Command::Bench(args) => bench::run(&args, &contact),
        Command::Cluster(args) => cluster::run(args),
        Command::Import(args) => import::run(&args, &contact),
        Command::Export(args) => export::run(args, &contact),
        Command::Dev(args) => dev::run(args).map(|()| Outcome::Done),
        Command::Server(args) => server::run(&args).map(|()| Outcome::Done),
        Command::Sim(args) => sim::run(args).map(|()| Outcome::Done),
        Command::Cert(args) => cert::run(args).map(|()| Outcome::Done),
        Command::Config(args) => config::run(args).map(|()| Outcome::Done),
        Command::Man(args) => pages::write_man(&args, command()).map(|()| Outcome::Done),
        Command::Completions(args) => pages::print_completions(&args, command()).map(|()| Outcome::Done),
    }
}

#[cfg(test)]
mod tests;
