//! `quorate bench suite`: the runs by which one version is held against another.

use std::path::PathBuf;

use clap::Args;

use super::super::outcome::Outcome;
use super::super::screen;
use super::progress::Show;
use super::target::{LocalArgs, Target, on_local};
use super::{floor, output, table};
use crate::load::cluster::LocalOptions;
use crate::load::report::{Cluster, Report, Run};
use crate::load::run::{Preparation, prepare, run as load};
use crate::load::settings::Settings;
use crate::load::suite::Suite;

/// Measure puts and gets on a local cluster, always the same ones: three minutes, a table, a report and a page.
///
/// Three server processes with durability os: values of 128 B and 1 KiB, 256, 64 and one in flight, and an open loop at
/// half of the highest rate, whose latencies are what users wait. Then puts on a cluster with durability sync, and what
/// QUIC and RocksDB alone need. Generator and servers share this machine, and nothing else should run on it.
#[derive(Debug, Args)]
pub(super) struct SuiteArgs {
    /// Half a minute instead of three: whether everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Make all of it so many times: a comparison then knows how much runs differ from each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeat: u64,
    /// Where report.json and report.html are written.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out_dir: PathBuf,
    /// The program that the nodes run, such as an older one to compare with [default: this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the nodes' own directory is made, and removed afterwards: the disk that is measured [default: the system's
    /// temporary directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// No local cluster can be made, or a file cannot be written.
pub(super) fn run(args: &SuiteArgs) -> anyhow::Result<Outcome> {
    let suite = if args.quick { Suite::quick() } else { Suite::full() };
    let mut teller = Teller { done: 0, total: suite.count() * usize::try_from(args.repeat).unwrap_or(1) };
    let (mut cluster, mut runs) = (None::<Cluster>, Vec::new());
    for number in 0..args.repeat {
        for durability in ["os", "sync"] {
            let (asked, made) = args.on_one_cluster(&suite, durability, number, &mut teller)?;
            let known = cluster.get_or_insert_with(|| asked.clone());
            known.durability.extend(asked.durability);
            runs.extend(made);
        }
    }
    let Some(mut cluster) = cluster else { return Ok(Outcome::Failed) };
    cluster.durability.sort();
    cluster.durability.dedup();
    let mut report = Report::new(cluster, runs);
    report.floor = floor::beside(&report, args.dir.as_deref(), suite.floor_time)?;
    let (json, html) = (args.out_dir.join("report.json"), args.out_dir.join("report.html"));
    output::write(&report, Some(&json), Some(&html))?;
    screen::print(table::render_suite(&report).as_bytes())?;
    screen::note(&format!("wrote {} and {}", json.display(), html.display()));
    Ok(output::outcome(&report))
}

impl SuiteArgs {
    /// The part of the suite that is made on a cluster of this durability.
    fn on_one_cluster(
        &self,
        suite: &Suite,
        durability: &str,
        number: u64,
        teller: &mut Teller,
    ) -> anyhow::Result<(Cluster, Vec<Run>)> {
        let local =
            LocalArgs { durability: Some(durability.to_owned()), server: self.server.clone(), dir: self.dir.clone() };
        let options: LocalOptions = local.options();
        let last = suite.sizes.last().copied().unwrap_or_default();
        on_local(&options, crate::client::REQUEST_TIMEOUT, async |target| {
            let mut runs = Vec::new();
            if durability == "sync" {
                runs.extend(series(target, vec![suite.synced(last)], number, teller).await?);
                return Ok((target.cluster.clone(), runs));
            }
            for size in &suite.sizes {
                let closed = suite.closed(*size).into_iter().map(|settings| (settings.name(), settings));
                runs.extend(series(target, closed.collect(), number, teller).await?);
            }
            let open = suite.open(last, &runs);
            runs.extend(series(target, open, number, teller).await?);
            Ok((target.cluster.clone(), runs))
        })
    }
}

/// Runs of one table, whose keys are loaded before the first.
async fn series(
    target: &Target<'_>,
    cases: Vec<(String, Settings)>,
    number: u64,
    teller: &mut Teller,
) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut show = Show::default();
    let mut items = None;
    for (name, settings) in cases {
        let settings = Settings { seed: settings.seed.wrapping_add(number), ..settings };
        show.finish();
        teller.tell(&name);
        if items.is_none() {
            items = Some(prepare(target.client, &settings, Preparation::Load, &mut show).await?);
        }
        if let Some(items) = &mut items {
            let run = load(target.client, &settings, items, &target.watched, &mut show).await?;
            runs.push(Run { name, ..run });
        }
    }
    show.finish();
    Ok(runs)
}

/// Says which run is made now.
struct Teller {
    done: usize,
    total: usize,
}

impl Teller {
    fn tell(&mut self, name: &str) {
        self.done += 1;
        screen::note(&format!("{} of {}: {name}", self.done, self.total));
    }
}
