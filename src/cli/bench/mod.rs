//! `quorate bench`: what a cluster does under load, and what that costs.

mod assist;
mod compare;
mod floor;
mod load;
mod output;
mod page;
mod progress;
mod run;
mod search;
mod suite;
mod table;
mod target;
mod timeline;

use clap::{Args, Subcommand};

use super::connection::Contact;
use super::outcome::Outcome;

/// Measure a cluster under load.
///
/// The generator shares nothing with the cluster but the machine: in a local run every figure stands beside the CPU
/// that each process used for it.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: BenchWhat,
}

#[derive(Debug, Subcommand)]
enum BenchWhat {
    Run(Box<run::RunArgs>),
    Search(Box<search::SearchArgs>),
    Timeline(Box<timeline::TimelineArgs>),
    Suite(suite::SuiteArgs),
    Floor(floor::FloorArgs),
    Compare(compare::CompareArgs),
    Page(page::PageArgs),
    Assist(assist::AssistArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// No usable profile, a cluster that does not answer, settings that no run can be made of.
pub fn run(args: &BenchArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    match &args.what {
        BenchWhat::Run(args) => run::run(args, contact),
        BenchWhat::Search(args) => search::run(args, contact),
        BenchWhat::Timeline(args) => timeline::run(args),
        BenchWhat::Suite(args) => suite::run(args),
        BenchWhat::Floor(args) => floor::run(args),
        BenchWhat::Compare(args) => compare::run(args),
        BenchWhat::Page(args) => page::run(args),
        BenchWhat::Assist(args) => assist::run(args, contact),
    }
}
