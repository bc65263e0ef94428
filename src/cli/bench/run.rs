//! `quorate bench run`: one load, once or several times.

use clap::Args;

use super::super::connection::Contact;
use super::super::outcome::Outcome;
use super::floor;
use super::load::LoadArgs;
use super::output::OutputArgs;
use super::progress::Show;
use super::table;
use super::target::{LocalArgs, Target, on_local, on_running};
use crate::load::report::{Cluster, Report, Run};
use crate::load::run::Preparation;
use crate::load::settings::Settings;

/// Load a cluster, and measure rate, latencies and cost.
///
/// The cluster is the profile's, or with --local three server processes that are started for it and removed. All keys
/// are written first. With --rate latencies count from the time at which each request was to be sent, so a standstill
/// is charged to all that would have been asked in it; without, so many requests are kept in flight, and the latencies
/// say nothing about a cluster at rest. CPU and memory of nodes are counted when they run on this machine.
///
/// Exit code 1 when the run is invalid: values are not what was acknowledged (--verify), no request succeeded, or the
/// items have several versions without --blind.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// On a cluster of three server processes on this machine, which is started for the run and removed after it.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    cluster: LocalArgs,
    /// Do not write the keys first: they are there from an earlier run, and are read instead.
    #[arg(long, visible_alias = "skip-load", conflicts_with = "local")]
    keep: bool,
    /// Make the run so many times: a comparison then knows how much runs differ from each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeat: u64,
    /// Measure afterwards what QUIC and RocksDB alone need on this machine [default: with --local].
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes",
          value_parser = clap::builder::BoolishValueParser::new())]
    floor: Option<bool>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// Settings that no run can be made of (nothing is contacted then), a cluster that does not answer, or a file that
/// cannot be written.
pub(super) fn run(args: &RunArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let mut settings = args.load.check()?;
    if !args.local {
        args.cluster.check_absent()?;
    }
    args.output.try_to_write()?;
    let (cluster, runs) = if args.local {
        on_local(&args.cluster.options(), settings.timeout, async |target| args.runs(target, &settings).await)?
    } else {
        settings.timeout = contact.options(args.load.timeout)?.timeouts.request;
        on_running(contact, args.load.timeout, async |target| args.runs(target, &settings).await)?
    };
    let mut report = Report::new(cluster, runs);
    if args.floor.unwrap_or(args.local) {
        report.floor = floor::beside(&report, args.cluster.dir.as_deref(), floor::TIME)?;
    }
    args.output.publish(&report, table::render)
}

impl RunArgs {
    /// The repetitions. Each draws other numbers.
    async fn runs(&self, target: &Target<'_>, settings: &Settings) -> anyhow::Result<(Cluster, Vec<Run>)> {
        let mut runs = Vec::new();
        for number in 0..self.repeat {
            let settings = Settings { seed: settings.seed.wrapping_add(number), ..settings.clone() };
            // Blind writes leave siblings, which a run after them would measure; loading merges them.
            let is_there = self.keep || (number > 0 && !settings.blind);
            let preparation = if is_there { Preparation::Keep } else { Preparation::Load };
            let mut show = Show::default();
            let run = target.run(&settings, preparation, &mut show).await;
            show.finish();
            runs.push(run?);
        }
        Ok((target.cluster.clone(), runs))
    }
}
