//! `quorate bench floor`: what this machine could do if nothing but QUIC and RocksDB cost anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::super::connection::block_on;
use super::super::outcome::{Outcome, UsageError};
use super::super::screen;
use super::load::time;
use super::table::grid;
use super::target::until_interrupted;
use crate::load::floor::{FloorError, FloorPlan, measure};
use crate::load::report::{Floor, FloorStep, Report};

/// Time for each part of a floor, where it is not said.
pub(super) const TIME: Duration = Duration::from_secs(1);

/// Measure what QUIC and RocksDB alone need on this machine.
///
/// A put among N = 3 nodes is three round trips (the client's, and one to each of two other replicas) and three
/// read-modify-writes; a get with R = 2 is two round trips and two reads. Round trips are real frames of their real
/// size over one QUIC connection with the nodes' lanes and settings, as many on the way at once as a lane would have of
/// so many requests; reads and writes are the nodes' own store with batches of that size, without the memory that nodes
/// keep recent items in. What a cluster uses beyond that is its rules, checksums and clients; what it saves, that
/// memory.
///
/// All in microseconds of CPU, both ends and all threads. Nothing else should run on the machine.
#[derive(Debug, Args)]
pub(super) struct FloorArgs {
    /// Sizes of values, bytes.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "128,1024")]
    value_size: Vec<usize>,
    /// Requests in flight, of all clients together.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "256,64,1")]
    in_flight: Vec<usize>,
    /// Time for each part of each step; half as long before that is not counted.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    time: Duration,
    /// Where the store is made, and removed afterwards: the disk that is measured [default: the system's temporary
    /// directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// A plan that measures nothing, or a machine on which no port, thread or directory can be had.
pub(super) fn run(args: &FloorArgs) -> anyhow::Result<Outcome> {
    let plan = FloorPlan {
        value_bytes: args.value_size.clone(),
        in_flight: args.in_flight.clone(),
        time: args.time,
        dir: args.dir.clone(),
        ..FloorPlan::default()
    };
    let quorums = (plan.replicas, plan.read_quorum);
    let floor = measured(plan)?;
    match args.json {
        true => screen::print_json(&serde_json::to_value(&floor)?)?,
        false => screen::print(render(&floor, quorums).as_bytes())?,
    }
    Ok(Outcome::Done)
}

/// The floor of what a report has measured; none when it has nothing that a floor knows.
pub(super) fn beside(report: &Report, dir: Option<&Path>, time: Duration) -> anyhow::Result<Option<Floor>> {
    let Some(plan) = FloorPlan::beside(report) else { return Ok(None) };
    screen::note("measuring what QUIC and RocksDB alone need");
    measured(FloorPlan { dir: dir.map(Path::to_owned), time, ..plan }).map(Some)
}

/// Measures on a thread of its own, for this one has to hear Ctrl-C.
fn measured(plan: FloorPlan) -> anyhow::Result<Floor> {
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("floor".to_owned()).spawn(move || {
        measure(&plan, &stopped, |done| {
            // Nobody hears it when the command was interrupted.
            tell.send(done.clone()).unwrap_or_default();
        })
    })?;
    let heard = block_on(until_interrupted(async {
        while let Some(done) = told.recv().await {
            screen::note(&format!("  {}", told_step(&done)));
        }
        Ok(())
    }));
    stop.store(heard.is_err(), Ordering::Relaxed);
    let floor = thread.join().map_err(|_| anyhow!("the thread that measures the floor has panicked"))?;
    heard?;
    floor.map_err(|error| match error {
        FloorError::Plan(reason) => UsageError(reason).into(),
        error => error.into(),
    })
}

fn told_step(done: &FloorStep) -> String {
    let FloorStep { operation, value_bytes, in_flight, operation_us, .. } = done;
    format!("{operation} {value_bytes} B, {in_flight} in flight: {operation_us:.1} us")
}

/// The parts of each step, and what they add up to.
fn render(floor: &Floor, (replicas, reads): (u8, u8)) -> String {
    let head = [
        "operation",
        "",
        "value",
        "in flight",
        "frames a lane",
        "round trip",
        "round trips/s",
        "batch",
        "access",
        "operation",
        "a core at most",
    ];
    let rows = floor.steps.iter().map(|step| {
        vec![
            step.operation.clone(),
            String::new(),
            format!("{} B", step.value_bytes),
            step.in_flight.to_string(),
            step.lane_frames.to_string(),
            format!("{:.2} us", step.echo_us),
            format!("{:.0}", step.echo_rate),
            step.batch.to_string(),
            format!("{:.2} us", step.storage_us),
            format!("{:.1} us", step.operation_us),
            format!("{:.0}/s", 1e6 / step.operation_us.max(0.001)),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect();
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{}", text.trim_end()).expect("a String takes all that is written to it");
    for row in grid(&rows) {
        line(&row);
    }
    line("");
    line(&format!(
        "  put = {replicas} round trips + {replicas} read-modify-writes; get = {reads} round trips + {reads} reads; \
         CPU of both ends and all threads"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_beside_what_they_add_up_to() {
        let step = FloorStep {
            operation: "put".to_owned(),
            value_bytes: 128,
            in_flight: 256,
            lane_frames: 86,
            echo_us: 3.0,
            echo_rate: 250_000.0,
            storage_us: 2.0,
            batch: 86,
            operation_us: 15.0,
        };
        let text = render(&Floor { steps: vec![step] }, (3, 2));
        for words in ["3.00 us", "2.00 us", "15.0 us", "66667/s", "put = 3 round trips + 3 read-modify-writes"] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
    }
}
