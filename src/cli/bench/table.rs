//! A report as a person reads it: first what a person needs first.
//!
//! ```text
//!   get=50,put=50 1024 B, 64 in flight: 10 s after 2 s of warmup
//!
//!     41234 operations/s, no errors; CPU per operation 31.2 us: servers 23.9 us, client 7.3 us
//!
//!                     per s   errors       p50       p90       p99     p99.9    p99.99       max
//!     get           20617.3        0    712 us   1.31 ms   3.12 ms   5.20 ms   8.01 ms   9.33 ms
//!     ..
//! ```

use std::fmt::Write as _;

use super::super::screen::{Paint, paint};
use crate::load::compare::OTHERS_MAX;
use crate::load::mix::Kind;
use crate::load::recovery::{Recovery, recoveries};
use crate::load::report::{ALL, Cluster, Distribution, Floor, Machine, Operations, Report, Run};
use crate::load::settings::Pace;

/// The percentiles that are shown, as shares and by name.
const SHARES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for run in &report.runs {
        out.push_str(&render_run(run, report.floor.as_ref()));
        out.push('\n');
    }
    out.push_str(&place(report));
    out
}

/// A suite: a row a run.
pub(super) fn render_suite(report: &Report) -> String {
    format!("{}\n{}", steps(report), place(report))
}

/// A run second by second, with what was done to the cluster and how long it took to recover.
pub(super) fn render_timeline(report: &Report) -> String {
    let mut out = String::new();
    for run in &report.runs {
        let mut line = |text: &str| writeln!(out, "{}", text.trim_end()).expect("a String takes all that is written");
        for text in grid(&seconds(run)) {
            line(&text);
        }
        line("");
        for Recovery { what, at, seconds, errors, max_us } in recoveries(run) {
            let recovered = seconds.map_or_else(
                || "not as before until the next event or the end".to_owned(),
                |seconds| format!("as before within {:.0} s", (seconds + 1.0).floor()),
            );
            let longest = time(max_us);
            line(&format!("  {what} at {at:.1} s: {recovered}; {errors} errors, longest {longest}"));
        }
        line("");
        out.push_str(&render_run(run, report.floor.as_ref()));
        out.push('\n');
    }
    out.push_str(&place(report));
    out
}

/// Its seconds; an event stands in the second in which it was.
fn seconds(run: &Run) -> Vec<Vec<String>> {
    let head = ["second", "", "per s", "errors", "p50", "p99", "max"].map(str::to_owned).to_vec();
    let rows = run.timeline.iter().map(|second| {
        let is_in = |at: f64| (second.at as f64..(second.at + 1) as f64).contains(&at);
        let events = run.events.iter().filter(|event| is_in(event.at)).map(|event| event.what.as_str());
        vec![
            second.at.to_string(),
            events.collect::<Vec<_>>().join(", "),
            second.operations.saturating_sub(second.errors).to_string(),
            second.errors.to_string(),
            time(second.p50_us),
            time(second.p99_us),
            time(second.max_us),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}

/// A row a run: rate, latencies, what it cost, and how many times the floor that is.
pub(super) fn steps(report: &Report) -> String {
    let head = ["run", "", "per s", "errors", "p50", "p99", "p99.9", "servers", "client", "floor", "x floor"]
        .map(str::to_owned);
    let rows = report.runs.iter().map(|run| {
        let all = run.operations.get(ALL).cloned().unwrap_or_default();
        let errors: u64 = all.errors.values().sum();
        let at = |share: f64| time(all.latency.quantile(share));
        let (servers, client) = (run.cpu_us(true), run.cpu_us(false));
        let floor = report.floor.as_ref().and_then(|floor| floor.needed_by(run)).filter(|us| *us > 0.0);
        let times = floor.filter(|_| servers > 0.0).map(|floor| format!("{:.1}", (servers + client) / floor));
        vec![
            run.name.clone(),
            if run.invalid.is_empty() { String::new() } else { "invalid".to_owned() },
            format!("{:.0}", run.rate()),
            errors.to_string(),
            at(0.5),
            at(0.99),
            at(0.999),
            format!("{servers:.1} us"),
            format!("{client:.1} us"),
            floor.map_or_else(|| "-".to_owned(), |us| format!("{us:.1} us")),
            times.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(rows).collect();
    let mut out = String::new();
    for line in grid(&rows) {
        writeln!(out, "{}", line.trim_end()).expect("a String takes all that is written to it");
    }
    let busiest = report.runs.iter().filter_map(|run| run.others).fold(0.0, f64::max);
    if busiest > OTHERS_MAX {
        let percent = busiest * 100.0;
        writeln!(out, "\n  note: other processes used up to {percent:.0} % of the machine; repeat it on a quiet one")
            .expect("a String takes all that is written to it");
    }
    out
}

/// One run.
pub(super) fn render_run(run: &Run, floor: Option<&Floor>) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let warmup = match run.settings.warmup.as_secs_f64() {
        0.0 => String::new(),
        seconds => format!(" after {seconds} s of warmup"),
    };
    let head = format!("{}: {} s{warmup}", run.name, run.seconds);
    line(paint(Paint::Bold, &head));
    for reason in &run.invalid {
        line(paint(Paint::Bad, &format!("  invalid: {reason}")));
    }
    line(String::new());
    line(format!("  {}", summary(run)));
    if let Some(text) = floor.and_then(|floor| compared(run, floor)) {
        line(format!("  {text}"));
    }
    line(String::new());
    grid(&latencies(run)).into_iter().for_each(&mut line);
    if run.settings.pace != Pace::Closed {
        line("  latency from the intended send time; service from the real one".to_owned());
    }
    line(String::new());
    if !run.processes.is_empty() {
        grid(&processes(run)).into_iter().for_each(&mut line);
        line(String::new());
    }
    for text in details(run) {
        line(format!("  {text}"));
    }
    for event in &run.events {
        line(format!("  at {:.1} s: {}", event.at, event.what));
    }
    for warning in &run.warnings {
        line(format!("  note: {warning}"));
    }
    out
}

/// `41234 operations/s, no errors; CPU per operation 31.2 us: servers 23.9 us, client 7.3 us`
fn summary(run: &Run) -> String {
    let errors: u64 = run.operations.get(ALL).map_or(0, |all| all.errors.values().sum());
    let errors = match errors {
        0 => "no errors".to_owned(),
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let (servers, client) = (run.cpu_us(true), run.cpu_us(false));
    let cost = match run.processes.iter().any(|process| process.is_server) {
        true => format!("{:.1} us: servers {servers:.1} us, client {client:.1} us", servers + client),
        false => format!("client {client:.1} us"),
    };
    format!("{:.0} operations/s, {errors}; CPU per operation {cost}", run.rate())
}

/// What the run used over what the machine needs at least, if the floor has been measured near it.
fn compared(run: &Run, floor: &Floor) -> Option<String> {
    let needed = floor.needed_by(run).filter(|us| *us > 0.0)?;
    // Without the servers' share the quotient would flatter.
    run.processes.iter().find(|process| process.is_server)?;
    let used = run.cpu_us(true) + run.cpu_us(false);
    Some(format!(
        "floor {needed:.1} us of CPU per operation (what QUIC and RocksDB need alone): {:.1} times that was used",
        used / needed
    ))
}

fn latencies(run: &Run) -> Vec<Vec<String>> {
    let mut head = vec![String::new(), String::new(), "per s".to_owned(), "errors".to_owned()];
    head.extend(SHARES.iter().map(|(_, name)| (*name).to_owned()));
    head.push("max".to_owned());
    let mut rows = vec![head];
    let kinds = Kind::ALL.iter().map(|kind| kind.name()).chain([ALL]);
    let found: Vec<_> = kinds.filter_map(|name| Some((name, run.operations.get(name)?))).collect();
    let is_open = run.settings.pace != Pace::Closed;
    // The sum of one kind is that kind.
    let shown = if found.len() == 2 { found.get(..1).unwrap_or_default() } else { &found };
    for (name, operations) in shown {
        let Operations { count, errors, latency, service } = operations;
        let rate = format!("{:.1}", *count as f64 / run.seconds.max(0.001));
        let errors: u64 = errors.values().sum();
        let what = if is_open { "latency" } else { "" };
        let mut row = vec![(*name).to_owned(), what.to_owned(), rate, errors.to_string()];
        row.extend(percentiles(latency));
        rows.push(row);
        if is_open {
            let mut row = vec![String::new(), "service".to_owned(), String::new(), String::new()];
            row.extend(percentiles(service));
            rows.push(row);
        }
    }
    rows
}

fn percentiles(latency: &Distribution) -> Vec<String> {
    let shown = SHARES.iter().map(|(share, _)| time(latency.quantile(*share)));
    shown.chain([time(latency.max())]).collect()
}

fn processes(run: &Run) -> Vec<Vec<String>> {
    let head = ["process", "", "CPU", "per operation", "memory", "at most"];
    let count = run.operations.get(ALL).map_or(0, |all| all.count);
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for process in &run.processes {
        let share = process.cpu_us as f64 / 1e4 / run.seconds.max(0.001);
        let each = process.cpu_us as f64 / (count as f64).max(1.0);
        rows.push(vec![
            process.name.clone(),
            String::new(),
            format!("{share:.0} %"),
            format!("{each:.1} us"),
            mebibytes(process.memory_bytes),
            mebibytes(process.memory_peak_bytes),
        ]);
    }
    rows
}

/// What there is to say of a run beside its figures.
fn details(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, operations) in run.operations.iter().filter(|(kind, _)| *kind != ALL) {
        for (name, count) in &operations.errors {
            lines.push(format!("errors: {count} of {kind}, {name}"));
        }
    }
    if run.versions.answers > 0 {
        lines.push(format!("versions per item: {:.3} on average, {} at most", run.versions.mean(), run.versions.max));
    }
    if let Some(schedule) = &run.schedule {
        lines.push(format!(
            "schedule: {:.0}/s offered; {} requests sent more than 1 ms late, the latest by {}; {} never sent",
            schedule.offered,
            schedule.late,
            time(schedule.late_max_us),
            schedule.unsent
        ));
    }
    if let Some(found) = &run.verification {
        lines.push(format!(
            "checked {} reads: {} wrong, {} stale, {} writes lost",
            found.checked, found.wrong, found.stale, found.lost
        ));
    }
    lines
}

/// Where it was measured.
pub(super) fn place(report: &Report) -> String {
    let Machine { cpu, cores, memory_bytes, kernel } = &report.machine;
    let Cluster { nodes, partitions, replicas, read_quorum, write_quorum, durability, versions } = &report.cluster;
    let mut out = String::new();
    let (durability, versions) = (durability.join(" and "), versions.join(" and "));
    let words = [
        format!(
            "cluster: {nodes} nodes of version {versions}, {partitions} partitions, N={replicas} R={read_quorum} \
             W={write_quorum}, durability {durability}"
        ),
        format!("machine: {cpu}, {cores} cores, {}, {kernel}", mebibytes(*memory_bytes)),
        format!("{}, {}", report.program, report.made_at),
    ];
    for line in words {
        writeln!(out, "{line}").expect("a String takes all that is written to it");
    }
    out
}

/// Three digits, and a unit that fits.
pub(super) fn time(us: u64) -> String {
    let (value, unit) = match us {
        0..1_000 => return format!("{us} us"),
        1_000..1_000_000 => (us as f64 / 1e3, "ms"),
        _ => (us as f64 / 1e6, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Rows in columns: the first two to the left, the others to the right.
pub(super) fn grid(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(padded).collect()
}

#[cfg(test)]
mod tests;
