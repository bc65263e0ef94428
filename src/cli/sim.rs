//! `quorate sim`: the cluster in a simulated world, with everything going wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use clap::Args;

use super::screen;
use crate::sim::{Mutation, Overrides, run as run_seed};

mod detector;
mod swarm;

use swarm::{Plan, Sum};

/// Runs clusters in a simulated world that breaks them, and checks what users were promised.
///
/// Each seed decides everything: how many nodes and shards, N, R and W, what clients do, and which faults strike how
/// hard (cuts, resets, crashes, power losses, lost, cloned, rotten and full disks, wrong clocks; all kinds are in
/// src/sim/options.rs). The rules are the program's own; network, disks, processes and clocks are models. A seed and a
/// commit replay a run exactly, on any machine. A run that breaks a promise prints the seed, the commit, all that was
/// drawn, what happened last and which promise was broken, and the exit code is 1.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// One seed: everything that it draws is printed.
    #[arg(long, value_name = "N", required_unless_present_any = ["seeds", "soak", "detector"])]
    seed: Option<u64>,
    /// A range of seeds, the last one excluded, such as 0..200. The first failure ends it.
    #[arg(long, value_name = "A..B", value_parser = parse_range, conflicts_with = "seed")]
    seeds: Option<(u64, u64)>,
    /// Fresh seeds until Ctrl-C, or until --minutes are over. A failure is printed at once, and it goes on.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    soak: bool,
    /// Measure the failure detector instead: false accusations, how fast deaths and updates spread, traffic, and 5,000
    /// nodes on one core. Takes minutes; --seed is 1 unless given. Exit code 1 when a figure is missed.
    #[arg(
        long,
        conflicts_with_all = ["seeds", "soak", "nodes", "operations", "minutes", "threads", "calm", "mutation"]
    )]
    detector: bool,
    /// Nodes of every cluster, instead of what each seed draws.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    nodes: Option<u16>,
    /// Client operations of every run, instead of what each seed draws.
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// Begin no further seed after so many minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// Seeds that run at once [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Without faults: for measuring the simulator.
    #[arg(long)]
    calm: bool,
    /// Break a rule on purpose, to see what a failure looks like; the names are in src/sim/mutation.rs.
    #[arg(long = "break", value_name = "RULE", value_parser = parse_mutation)]
    mutation: Option<Mutation>,
}

/// Carries the command out.
///
/// # Errors
/// A promise was not kept, or nobody reads standard output.
#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments so")]
pub fn run(args: SimArgs) -> anyhow::Result<()> {
    if args.detector {
        return detector::run(args.seed.unwrap_or(1));
    }
    let overrides =
        Overrides { nodes: args.nodes, operations: args.operations, calm: args.calm, mutation: args.mutation };
    if let Some(seed) = args.seed {
        return run_one(seed, &overrides);
    }
    let (seeds, length) = match args.seeds {
        Some((first, end)) => (first..end, Some(end - first)),
        None => (fresh()..u64::MAX, None),
    };
    let threads = args.threads.map(usize::from);
    let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let limit = args.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
    let sum = swarm::run(&Plan { seeds, length, threads, limit, overrides })?;
    screen::print(sum.to_string().as_bytes())?;
    match sum.failed.len() {
        0 => Ok(()),
        1 => bail!("1 of {} seeds broke a promise", sum.seeds),
        count => bail!("{count} of {} seeds broke promises", sum.seeds),
    }
}

fn run_one(seed: u64, overrides: &Overrides) -> anyhow::Result<()> {
    let mut sum = Sum::new();
    let report = run_seed(seed, overrides);
    sum.add(&report);
    match report.finding {
        Some(_) => screen::print(report.failure().as_bytes())?,
        None => screen::print(format!("{}\nhash {:016x}\n", report.drawn(), report.hash).as_bytes())?,
    }
    screen::print(sum.to_string().as_bytes())?;
    match sum.failed.is_empty() {
        true => Ok(()),
        false => bail!("seed {seed}: a promise was not kept"),
    }
}

/// A seed that nobody has run: the milliseconds since 1970, which go up faster than seeds are run.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no range of seeds; write it as 0..200");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let first: u64 = first.trim().parse().map_err(|_| wrong())?;
    let end: u64 = end.trim().parse().map_err(|_| wrong())?;
    if first < end { Ok((first, end)) } else { Err(format!("{text:?} holds no seed; the last one is excluded")) }
}

fn parse_mutation(text: &str) -> Result<Mutation, String> {
    let names: Vec<String> = Mutation::ALL.iter().map(|mutation| format!("{mutation:?}")).collect();
    let found = Mutation::ALL.into_iter().zip(&names).find(|(_, name)| name.eq_ignore_ascii_case(text));
    found.map(|(mutation, _)| mutation).ok_or_else(|| format!("there is {}", names.join(", ")))
}
