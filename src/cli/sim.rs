//! `quorate sim`: the cluster in a simulated world, with everything going wrong.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sim::{Overrides, Report, Tally, run as run_seed};

/// Runs clusters in a simulated world that breaks them, and checks what users were promised.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// One seed: everything that it draws is printed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, the last one excluded, such as 0..200.
    #[arg(long, value_name = "A..B", value_parser = parse_range, required_unless_present = "seed")]
    seeds: Option<(u64, u64)>,
    /// Nodes of every cluster, instead of what each seed draws.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    nodes: Option<u16>,
    /// Client operations of every run, instead of what each seed draws.
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// Begin no further seed after so many minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// Without faults: for measuring the simulator.
    #[arg(long)]
    calm: bool,
}

/// Carries the command out.
///
/// # Errors
/// A promise was not kept, or nobody reads standard output.
#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments so")]
pub fn run(args: SimArgs) -> anyhow::Result<()> {
    let overrides =
        Overrides { nodes: args.nodes, operations: args.operations, calm: args.calm, ..Overrides::default() };
    let (first, end) = args.seed.map(|seed| (seed, seed.saturating_add(1))).or(args.seeds).unwrap_or((0, 0));
    let began = Instant::now();
    let bar = bar(end - first);
    let mut sum = Tally::default();
    let mut seeds = 0_u64;
    for seed in first..end {
        let over = args.minutes.is_some_and(|minutes| began.elapsed() > Duration::from_secs(minutes * 60));
        if over {
            break;
        }
        bar.set_message(format!("seed {seed}"));
        let report = run_seed(seed, &overrides);
        bar.inc(1);
        seeds += 1;
        add(&mut sum, &report.tally);
        if report.finding.is_some() {
            bar.finish_and_clear();
            say(&failure(&report, &args))?;
            say(&summary(&sum, seeds, began.elapsed()))?;
            bail!("seed {seed}: a promise was not kept");
        }
        if args.seed.is_some() {
            bar.finish_and_clear();
            say(&format!("{:#?}\nhash {:016x}\n", report.options, report.hash))?;
        }
    }
    bar.finish_and_clear();
    say(&summary(&sum, seeds, began.elapsed()))
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no range of seeds; write it as 0..200");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let first: u64 = first.trim().parse().map_err(|_| wrong())?;
    let end: u64 = end.trim().parse().map_err(|_| wrong())?;
    if first < end { Ok((first, end)) } else { Err(format!("{text:?} holds no seed; the last one is excluded")) }
}

fn bar(seeds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}  {elapsed} of {duration}");
    let bar = ProgressBar::new(seeds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !std::io::stderr().is_terminal() || seeds < 2 {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

fn add(sum: &mut Tally, run: &Tally) {
    sum.events += run.events;
    sum.frames += run.frames;
    sum.bytes += run.bytes;
    sum.gets += run.gets;
    sum.puts += run.puts;
    sum.scans += run.scans;
    sum.failures += run.failures;
    sum.timeouts += run.timeouts;
    sum.virtual_ms += run.virtual_ms;
    sum.items += run.items;
    sum.versions_max = sum.versions_max.max(run.versions_max);
}

fn summary(sum: &Tally, seeds: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let rate = sum.events as f64 / seconds;
    format!(
        "{seeds} seeds, {} events in {seconds:.1} s ({rate:.0} a second), {} virtual seconds\n\
         {} reads and {} writes answered, {} scans, {} refused, {} timed out; {} items, at most {} versions in one; \
         {} frames\n",
        sum.events,
        sum.virtual_ms / 1_000,
        sum.gets,
        sum.puts,
        sum.scans,
        sum.failures,
        sum.timeouts,
        sum.items,
        sum.versions_max,
        sum.frames
    )
}

/// All that is needed to find out why: the seed, what it drew, what happened last, what was found.
fn failure(report: &Report, args: &SimArgs) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("text is written to memory");
    line(format!("{:#?}\n", report.options));
    line("what happened last (virtual ms):".to_owned());
    for (at, what) in &report.last {
        line(format!("  {:>12.3}  {what}", *at as f64 / 1e6));
    }
    if let Some(finding) = &report.finding {
        line(format!("\nseed {} after {} events, hash {:016x}", report.options.seed, report.tally.events, report.hash));
        line(format!("{finding}"));
    }
    let mut again = format!("quorate sim --seed {}", report.options.seed);
    for (flag, value) in [("--nodes", args.nodes.map(u64::from)), ("--operations", args.operations)] {
        if let Some(value) = value {
            write!(again, " {flag} {value}").expect("text is written to memory");
        }
    }
    let commit = option_env!("QUORATE_COMMIT").unwrap_or("unknown; a seed replays on the commit that it was run on");
    writeln!(text, "commit: {commit}\nagain:  {again}").expect("text is written to memory");
    text
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
