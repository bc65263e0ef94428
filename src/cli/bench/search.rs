//! `quorate bench search`: the highest rate at which a cluster still answers in time.

use std::time::Duration;

use clap::Args;

use super::super::connection::Contact;
use super::super::outcome::{Outcome, UsageError};
use super::super::screen;
use super::load::{LoadArgs, time};
use super::output::OutputArgs;
use super::progress::Show;
use super::table;
use super::target::{LocalArgs, Target, on_local, on_running};
use crate::load::report::{Cluster, Report, Run};
use crate::load::run::Preparation;
use crate::load::search::{Outcome as Step, Plan, Search, Terms};
use crate::load::settings::{Pace, Settings};

/// Find the highest rate at which a cluster answers 99 of 100 requests within a time.
///
/// Requests come at random times, as independent users send them, and latencies count from the time at which each was
/// meant to be sent. The rate is doubled until one fails, and then halved in between until best and worst lie within
/// --precision. A rate fails with a p99 above the bound, with more than one error in a thousand, or when the generator
/// could not send it in time; it is tried once more before that counts.
///
/// Exit code 1 when no rate was served.
#[derive(Debug, Args)]
#[command(
    mut_arg("duration", |arg| arg.default_value("5s")),
    mut_arg("warmup", |arg| arg.default_value("1s")),
    mut_arg("rate", |arg| arg.hide(true)),
    mut_arg("poisson", |arg| arg.hide(true))
)]
pub(super) struct SearchArgs {
    /// The most that the 99th percentile may be.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = time)]
    p99: Duration,
    /// The first rate, per second.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1000.0)]
    begin: f64,
    /// The search ends when best and worst rate lie within this share of each other.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    precision: f64,
    /// On a cluster of three server processes on this machine, which is started for the search and removed after it.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    cluster: LocalArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// Settings that no run can be made of (nothing is contacted then), a cluster that does not answer, or a file that
/// cannot be written.
pub(super) fn run(args: &SearchArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let mut settings = args.check()?;
    args.output.try_to_write()?;
    let (cluster, runs, best) = if args.local {
        on_local(&args.cluster.options(), settings.timeout, async |target| args.search(target, &settings).await)?
    } else {
        settings.timeout = contact.options(args.load.timeout)?.timeouts.request;
        on_running(contact, args.load.timeout, async |target| args.search(target, &settings).await)?
    };
    let report = Report::new(cluster, runs);
    let bound = humantime::format_duration(args.p99);
    args.output.publish(&report, |report| {
        let found = match best {
            Some(rate) => format!("\n  {rate:.0} operations/s with a p99 of at most {bound}\n\n"),
            None => format!("\n  no rate with a p99 of at most {bound}\n\n"),
        };
        format!("{}{found}{}", table::steps(report), table::place(report))
    })?;
    // A step that says nothing is no failure of the search.
    Ok(if best.is_some() { Outcome::Done } else { Outcome::Failed })
}

impl SearchArgs {
    fn check(&self) -> anyhow::Result<Settings> {
        if !self.local {
            self.cluster.check_absent()?;
        }
        if self.load.is_paced() {
            return Err(UsageError::of("--rate", &"it is what is searched; say where to begin with --begin").into());
        }
        if self.p99.is_zero() {
            return Err(UsageError::of("--p99", &"no answer takes no time; use such as 5ms").into());
        }
        if !(0.001..=1.0).contains(&self.precision) {
            return Err(UsageError::of("--precision", &"use 0.001 to 1, such as 0.05").into());
        }
        let mut begin = self.load.clone();
        (begin.rate, begin.poisson) = (Some(self.begin), true);
        begin.check().map_err(|error| anyhow::Error::from(UsageError(error.to_string().replace("--rate", "--begin"))))
    }

    async fn search(
        &self,
        target: &Target<'_>,
        settings: &Settings,
    ) -> anyhow::Result<(Cluster, Vec<Run>, Option<f64>)> {
        let terms = Terms::new(self.p99);
        let mut search = Search::new(Plan { begin: self.begin, precision: self.precision });
        let mut runs: Vec<Run> = Vec::new();
        while let Some(rate) = search.next() {
            let settings = Settings {
                pace: Pace::Poisson(rate.round().max(1.0)),
                seed: settings.seed.wrapping_add(runs.len() as u64),
                ..settings.clone()
            };
            let preparation = if runs.is_empty() { Preparation::Load } else { Preparation::Keep };
            let mut show = Show::default();
            let run = target.run(&settings, preparation, &mut show).await;
            show.finish();
            let run = run?;
            let judged = terms.judge(&run);
            search.record(rate, &judged);
            let word = match &judged {
                Step::Met => "met".to_owned(),
                Step::Failed(why) => format!("not met: {why}"),
            };
            screen::note(&format!("{rate:.0}/s: {word}"));
            runs.push(run);
        }
        Ok((target.cluster.clone(), runs, search.best()))
    }
}
