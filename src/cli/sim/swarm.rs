//! Many seeds, on several threads, until they are over, the time is, or somebody says stop.
//!
//! A seed is small (tens of milliseconds), so being told to stop means: begin no further one, and wait for those under
//! way. Whoever says it a second time is not kept waiting.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::run_seed;
use crate::cli::screen;
use crate::sim::{COMMIT, Overrides, Report, Tally};

/// Between two lines of progress that no terminal shows.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at the clock while no seed ends.
const TICK: Duration = Duration::from_millis(200);
/// Failing seeds that the end names again.
const NAMED_MAX: usize = 20;
/// What a shell says of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// What is to be run.
pub(super) struct Plan {
    pub(super) seeds: Range<u64>,
    /// How many there are; none for a soak, which has no end and goes on after a failure.
    pub(super) length: Option<u64>,
    pub(super) threads: usize,
    pub(super) limit: Option<Duration>,
    pub(super) overrides: Overrides,
}

/// What came of it.
pub(super) struct Sum {
    pub(super) seeds: u64,
    /// Seeds that broke a promise.
    pub(super) failed: Vec<u64>,
    tally: Tally,
    began: Instant,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { seeds: 0, failed: Vec::new(), tally: Tally::default(), began: Instant::now() }
    }

    pub(super) fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.tally.add(&report.tally);
        if report.finding.is_some() {
            self.failed.push(report.options.seed);
        }
    }

    /// So far, in a line.
    fn progress(&self, newest: u64) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let (seeds, events) = (self.seeds as f64 / seconds, self.tally.events as f64 / seconds);
        format!(
            "{} seeds ({seeds:.1} a second), {} events ({events:.0} a second), {} failures, {seconds:.0} s, \
             newest {newest}",
            self.seeds,
            self.tally.events,
            self.failed.len()
        )
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sum, seconds) = (&self.tally, self.began.elapsed().as_secs_f64().max(0.001));
        let rate = sum.events as f64 / seconds;
        let virtual_s = sum.virtual_ms / 1_000;
        writeln!(
            f,
            "{} seeds, {} failed; {} events in {seconds:.1} s: {rate:.0} a second; {virtual_s} virtual seconds; commit \
             {COMMIT}",
            self.seeds,
            self.failed.len(),
            sum.events
        )?;
        writeln!(
            f,
            "{} reads and {} writes answered ({} with a stand-in's copy), {} scans, {} refused, {} timed out; {} \
             items, at most {} versions in one, {} reaped, {} stripped; {} frames, {} datagrams of gossip, {} times a \
             member was given up",
            sum.gets,
            sum.puts,
            sum.hinted,
            sum.scans,
            sum.failures,
            sum.timeouts,
            sum.items,
            sum.versions_max,
            sum.reaped,
            sum.stripped,
            sum.frames,
            sum.datagrams,
            sum.verdicts
        )?;
        for seed in self.failed.iter().take(NAMED_MAX) {
            writeln!(f, "failed: seed {seed}")?;
        }
        match self.failed.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => writeln!(f, "failed: {more} more, each printed above"),
        }
    }
}

/// Runs the seeds. A failure is printed when it is found; a range ends with it.
pub(super) fn run(plan: &Plan) -> anyhow::Result<Sum> {
    let stop = Arc::new(AtomicBool::new(false));
    listen(&stop)?;
    let bar = bar(plan.length);
    let mut sum = Sum::new();
    let next = AtomicU64::new(plan.seeds.start);
    let (done, reports) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        for _ in 0..plan.threads {
            let done = done.clone();
            let (stop, next) = (&stop, &next);
            scope.spawn(move || work(plan, stop, next, &done));
        }
        drop(done);
        let outcome = gather(plan, &stop, &reports, &bar, &mut sum);
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    bar.finish_and_clear();
    outcome.map(|()| sum)
}

fn work(plan: &Plan, stop: &AtomicBool, next: &AtomicU64, done: &mpsc::Sender<Report>) {
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= plan.seeds.end || done.send(run_seed(seed, &plan.overrides)).is_err() {
            break;
        }
    }
}

/// Takes in what the threads have done, until all of them are gone.
fn gather(
    plan: &Plan,
    stop: &AtomicBool,
    reports: &mpsc::Receiver<Report>,
    bar: &ProgressBar,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    let mut said = Instant::now();
    let mut newest = plan.seeds.start;
    loop {
        match reports.recv_timeout(TICK) {
            Ok(report) => {
                newest = newest.max(report.options.seed);
                sum.add(&report);
                bar.inc(1);
                if report.finding.is_some() {
                    bar.suspend(|| screen::print(report.failure().as_bytes()))?;
                    if plan.length.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if plan.limit.is_some_and(|limit| sum.began.elapsed() >= limit) {
            stop.store(true, Ordering::Relaxed);
        }
        bar.set_message(sum.progress(newest));
        if !io::stderr().is_terminal() && said.elapsed() >= PAUSE {
            said = Instant::now();
            screen::note(&sum.progress(newest));
        }
    }
}

/// Hears Ctrl-C, and what a supervisor sends.
fn listen(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.context("the thread that hears Ctrl-C cannot start")?;
    let guard = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.swap(true, Ordering::Relaxed) {
                    process::exit(INTERRUPTED);
                }
                screen::note("stopping when the seeds under way are over; once more to stop at once");
            }
        });
    });
    Ok(())
}

fn bar(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:20} {pos}/{len}  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
