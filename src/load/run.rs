//! One run: the keys are prepared, the load runs for its time, and what came of it is a [`Run`].
//!
//! ```text
//!   prepare: load or read all keys --> Items
//!   run:     workers begin | warmup | measured time: CPU before .. CPU after | answers are awaited | last read
//! ```
//!
//! What counts is what was *meant to be sent* in the measured time, whenever it is answered: a stall at the end is in
//! the latencies like one in the middle. Answers per second are so many, divided by the measured time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::alarm::{Alarm, STEP};
use super::bystanders;
use super::chance::Chance;
use super::contexts::CONTEXTS_MAX;
use super::error::LoadError;
use super::items::{Items, Share, State};
use super::keys::KeyChoice;
use super::recorder::{Detail, Loop, Recorder};
use super::report::{Machine, Process, Run};
use super::schedule::{Arrivals, Turns};
use super::settings::Settings;
use super::sweep::{Sweep, TICK};
use super::tally::Tally;
use super::usage::Usage;
use super::values::Values;
use super::watch::{Phase, Progress, Watch, Watched};
use super::worker::{Notes, Plan, Session};
use crate::client::Client;

/// The generator's name among the processes of a report.
pub const CLIENT: &str = "client";

/// How a run finds its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Preparation {
    /// Every key is written before the run.
    Load,
    /// The keys are there from an earlier run: they are read, for their contexts.
    Keep,
}

/// Which of the random choices of a seed.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Operations,
    Arrivals,
    Loading,
    Values,
}

/// Loads all keys, or learns the contexts of those that are there. Items may be used for several runs with the same
/// table, number of keys and `verify`, one after the other.
///
/// Must be awaited on a `current_thread` runtime, the client's own.
pub async fn prepare(
    client: &Client,
    settings: &Settings,
    preparation: Preparation,
    watch: &mut dyn Watch,
) -> Result<Items, LoadError> {
    prepare_share(client, settings, Share::WHOLE, preparation, watch).await
}

/// Makes one run with this process alone; of several, see [`processes`](super::processes).
///
/// Must be awaited on a `current_thread` runtime, the client's own, that does nothing else meanwhile.
pub async fn run(
    client: &Client,
    settings: &Settings,
    items: &mut Items,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Run, LoadError> {
    let tally = measure(client, settings, items, Detail::Percentiles, watched, watch).await?;
    Ok(tally.into_run(settings, Machine::this().cores))
}

/// Prepares one process's keys.
pub(super) async fn prepare_share(
    client: &Client,
    settings: &Settings,
    share: Share,
    preparation: Preparation,
    watch: &mut dyn Watch,
) -> Result<Items, LoadError> {
    settings.check()?;
    let items = Items(Rc::new(RefCell::new(State::new(settings, share)?)));
    let sweep = sweep(client, settings, &items);
    let work = async {
        match preparation {
            Preparation::Load => sweep.load(watch).await?,
            Preparation::Keep => sweep.adopt(watch).await?,
        }
        sweep.find_inserted().await
    };
    LocalSet::new().run_until(work).await?;
    Ok(items)
}

fn sweep(client: &Client, settings: &Settings, items: &Items) -> Rc<Sweep> {
    Rc::new(Sweep {
        client: client.clone(),
        timeout: settings.timeout,
        items: items.0.clone(),
        values: Values::new(settings.value),
        chance: RefCell::new(chance(settings, items.0.borrow().share, Stream::Loading)),
    })
}

fn chance(settings: &Settings, share: Share, stream: Stream) -> Chance {
    let stream = match stream {
        Stream::Operations => 0,
        Stream::Arrivals => 1,
        Stream::Loading => 2,
        Stream::Values => 3,
    };
    Chance::new(settings.seed, u64::from(share.index) * 4 + stream)
}

/// Makes one process's part of a run.
pub(super) async fn measure(
    client: &Client,
    settings: &Settings,
    items: &mut Items,
    detail: Detail,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Tally, LoadError> {
    settings.check()?;
    items.0.borrow().check(settings)?;
    if let Some(ledger) = items.0.borrow_mut().ledger_mut() {
        ledger.take_found();
    }
    LocalSet::new().run_until(measure_here(client, settings, items, detail, watched, watch)).await
}

async fn measure_here(
    client: &Client,
    settings: &Settings,
    items: &Items,
    detail: Detail,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Tally, LoadError> {
    let share = items.0.borrow().share;
    let times = Times::from_now(settings);
    let session = Rc::new(session(client, settings, items, detail, times));
    let mut workers = JoinSet::new();
    for worker in 0..share.of(settings.in_flight) {
        let session = session.clone();
        workers.spawn_local(async move {
            session.work(worker).await;
            Ok(())
        });
    }
    let alarm = settings.pace.rate().map(|_| Alarm::new()).transpose().map_err(no_timer)?;
    if let Some(alarm) = alarm {
        let session = session.clone();
        workers.spawn_local(async move { keep_time(&session, &alarm, times.until).await.map_err(no_timer) });
    }
    if !settings.warmup.is_zero() {
        tick(&session, Phase::Warmup, times.began, settings.warmup, None, watch).await?;
    }
    watch.began(times.measured_from);
    let busy = bystanders::busy_us();
    let usage = Some(blocking(charge(watched, share)).await?);
    let usage = tick(&session, Phase::Measuring, times.measured_from, settings.duration, usage, watch).await?;
    let (processes, missed) = match usage {
        Some(usage) => blocking(move || usage.finish()).await?,
        None => <(Vec<Process>, Vec<String>)>::default(),
    };
    let busy_us = bystanders::busy_us().zip(busy).map(|(after, before)| after.saturating_sub(before));
    while let Some(ended) = workers.join_next().await {
        // Without the alarm nobody would be woken any more.
        ended.map_err(LoadError::panicked)??;
    }
    let session = Rc::into_inner(session).expect("the workers have ended");
    let mut tally = Tally { busy_us, ..tally(session, processes, missed) };
    if settings.mix.writes() && !settings.blind && !items.0.borrow().remembers_all() {
        tally.warnings.push(format!(
            "the contexts of {CONTEXTS_MAX} keys are remembered, of {}: a write of another key reads first",
            settings.key_count
        ));
    }
    if settings.verify {
        tally.notes.unread = sweep(client, settings, items).check(watch).await?;
        let found = items.0.borrow_mut().ledger_mut().map(super::ledger::Ledger::take_found);
        let (verification, findings) = found.expect("items that were checked to have a ledger");
        (tally.verification, tally.findings) = (Some(verification), findings);
    }
    Ok(tally)
}

/// When what begins.
#[derive(Debug, Clone, Copy)]
struct Times {
    began: Instant,
    measured_from: Instant,
    until: Instant,
}

impl Times {
    fn from_now(settings: &Settings) -> Self {
        let began = Instant::now();
        let measured_from = began + settings.warmup;
        Self { began, measured_from, until: measured_from + settings.duration }
    }
}

fn session(client: &Client, settings: &Settings, items: &Items, detail: Detail, times: Times) -> Session {
    let (share, known) = (items.0.borrow().share, items.0.borrow().known());
    let pace = settings.pace.part(share.count);
    let phase = f64::from(share.index) / f64::from(share.count.max(1));
    let arrivals = Arrivals::new(pace, phase, chance(settings, share, Stream::Arrivals));
    let kind = if arrivals.is_some() { Loop::Open } else { Loop::Closed };
    let offered = pace.rate().unwrap_or_default();
    let seconds = settings.duration.as_secs();
    Session {
        client: client.clone(),
        timeout: settings.timeout,
        is_blind: settings.blind,
        turns: Turns::new(arrivals, offered, times.began, times.measured_from, times.until),
        items: items.0.clone(),
        values: Values::new(settings.value),
        plan: RefCell::new(Plan {
            chance: chance(settings, share, Stream::Operations),
            values: chance(settings, share, Stream::Values),
            mix: settings.mix,
            choice: KeyChoice::new(settings.keys, known),
            partitions: client.view().parameters.partitions.into(),
        }),
        recorder: RefCell::new(Recorder::new(kind, detail, times.began, times.measured_from, seconds)),
        notes: RefCell::new(Notes::default()),
    }
}

/// Rings whenever a request of an open loop is due.
async fn keep_time(session: &Session, alarm: &Alarm, until: Instant) -> std::io::Result<()> {
    loop {
        let now = Instant::now();
        if session.turns.wake(now) {
            return Ok(());
        }
        alarm.sleep_until(session.turns.due().max(now + STEP).min(until)).await?;
    }
}

/// Watches a phase, second by second.
async fn tick(
    session: &Rc<Session>,
    phase: Phase,
    began: Instant,
    length: Duration,
    mut usage: Option<Usage>,
    watch: &mut dyn Watch,
) -> Result<Option<Usage>, LoadError> {
    let until = began + length;
    let mut next = began + TICK;
    loop {
        tokio::time::sleep_until(next.min(until).into()).await;
        let now = Instant::now();
        let second = session.recorder.borrow_mut().last_second(phase == Phase::Measuring, now);
        let done = now.saturating_duration_since(began).as_secs().min(length.as_secs());
        watch.progress(&Progress { phase, done, total: length.as_secs(), second: Some(second) });
        if let Some(mut seen) = usage.take() {
            seen.add(watch.appeared());
            usage = Some(blocking(move || seen.after_a_glance()).await?);
        }
        if now >= until {
            return Ok(usage);
        }
        next += TICK;
    }
}

/// Charges the servers and this process from now on.
fn charge(watched: &[Watched], share: Share) -> impl FnOnce() -> Usage + Send + use<> {
    let name = if share.count > 1 { format!("{CLIENT} {}", share.index) } else { CLIENT.to_owned() };
    let mut watched = watched.to_vec();
    // Already there when a run is made in the process of the servers, as tests do.
    let own = std::process::id();
    if !watched.iter().any(|watched| watched.pid == own) {
        watched.push(Watched { name, pid: own, is_server: false });
    }
    move || Usage::begin(&watched)
}

/// Reads small files of the kernel elsewhere: some hundred of them would hold up answers for a millisecond.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(LoadError::panicked)
}

fn tally(session: Session, processes: Vec<Process>, missed: Vec<String>) -> Tally {
    let Session { recorder, turns, notes, .. } = session;
    let recorder = recorder.into_inner();
    let versions = recorder.versions;
    let (operations, seconds, distributions) = recorder.finish();
    Tally {
        operations,
        seconds,
        distributions,
        versions,
        schedule: turns.finish(),
        processes,
        notes: notes.into_inner(),
        warnings: missed,
        ..Tally::default()
    }
}

fn no_timer(source: std::io::Error) -> LoadError {
    LoadError::Machine { what: "no timer for the open loop".to_owned(), source }
}
