//! `quorate bench run`: one run against a running cluster.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::super::connection::Contact;
use super::super::outcome::Outcome;
use super::super::screen;
use super::load::LoadArgs;
use super::progress::Show;
use super::table;
use crate::load::place::Located;
use crate::load::processes::{Companion, run_together};
use crate::load::report::{Cluster, Report};
use crate::load::run::Preparation;

/// Load a running cluster, and measure rate, latencies and cost.
///
/// All keys are written first. With --rate latencies count from the time at which each request was to be sent, so a
/// standstill is charged to all that would have been asked in it; without, so many requests are kept in flight, and the
/// latencies say nothing about a cluster at rest. CPU and memory of nodes are counted when they run on this machine.
///
/// Exit code 1 when the run is invalid: values are not what was acknowledged (--verify), no request succeeded, or the
/// items have several versions without --blind.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Do not write the keys first: they are there from an earlier run, and are read instead.
    #[arg(long, visible_alias = "skip-load")]
    keep: bool,
    /// Also write the report to a file, JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Settings that no run can be made of (nothing is contacted then), a cluster that does not answer, or a file that
/// cannot be written.
pub(super) fn run(args: &RunArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let mut settings = args.load.check()?;
    if let Some(out) = &args.out {
        try_to_write(out)?;
    }
    settings.timeout = contact.options(args.load.timeout)?.timeouts.request;
    let preparation = if args.keep { Preparation::Keep } else { Preparation::Load };
    let companion = companion(contact, args.load.timeout)?;
    let report = contact.with_client(args.load.timeout, async |client| {
        let cluster = Cluster::ask(client).await;
        let Located { watched, remarks } = Located::of(&client.view().roster);
        let mut show = Show::default();
        let run = run_together(client, &settings, preparation, &companion, &watched, &mut show).await;
        show.finish();
        let mut run = run?;
        run.warnings.extend(remarks);
        Ok(Report::new(cluster, vec![run]))
    })?;
    publish(&report, args.out.as_deref(), args.json)
}

/// How other client processes are started.
pub(super) fn companion(contact: &Contact, timeout: Option<Duration>) -> anyhow::Result<Companion> {
    let program = std::env::current_exe().context("cannot tell where this program is, to start another of it")?;
    let mut arguments = contact.arguments();
    arguments.extend(["bench", "assist"].map(Into::into));
    if let Some(timeout) = timeout {
        arguments.extend(["--timeout".into(), humantime::format_duration(timeout).to_string().into()]);
    }
    Ok(Companion { program, arguments })
}

/// Before an hour of measuring, not after it.
pub(super) fn try_to_write(path: &Path) -> anyhow::Result<()> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints a report and writes it to its file.
pub(super) fn publish(report: &Report, out: Option<&Path>, is_json: bool) -> anyhow::Result<Outcome> {
    if let Some(out) = out {
        let json = serde_json::to_vec_pretty(report)?;
        fs::write(out, json).with_context(|| format!("cannot write {}", out.display()))?;
    }
    match is_json {
        true => screen::print_json(&serde_json::to_value(report)?)?,
        false => screen::print(table::render(report).as_bytes())?,
    }
    let is_valid = report.runs.iter().all(|run| run.invalid.is_empty());
    Ok(if is_valid { Outcome::Done } else { Outcome::Failed })
}
