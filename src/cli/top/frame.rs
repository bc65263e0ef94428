//! A frame of `top`: the cluster in a line, a table with a row a node, and sparklines of the last minute.
//!
//! ```text
//!   NODE  STATE     GET/S  GET P50  GET P99  PUT/S  ..     REQUESTS/S          P99
//!   n1    alive     4.1k    0.3 ms   1.2 ms   1.0k        n1  __.:-=+*# 4.3k   n1  ..:..#. 4.1 ms
//! ```

use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::rates::{Rates, VerbRates};
use super::watch::{Roll, SAMPLES_MAX, Watched};
use crate::cli::figures;
use crate::cli::member;
use crate::cli::screen::{Colours, Paint};
use crate::cli::table::{Cell, Column, Table, shortened};

/// The numbers say what a narrow terminal does without first.
const COLUMNS: [Column; 13] = [
    Column::text("NODE", 0),
    Column::text("STATE", 0),
    Column::number("GET/S", 1),
    Column::number("GET P50", 6),
    Column::number("GET P99", 2),
    Column::number("PUT/S", 1),
    Column::number("PUT P50", 6),
    Column::number("PUT P99", 2),
    Column::number("FAILED/S", 5),
    Column::number("UNDER WAY", 7),
    Column::number("QUEUE", 8),
    Column::number("HINTS", 4),
    Column::number("IN SYNC", 3),
];

/// Columns of a sparkline at least; with fewer there is none.
const SPARK_MIN: usize = 10;
/// With fewer than these, the two of a node stand below each other.
const SPARK_BESIDE_MIN: usize = 25;
/// What is written behind a sparkline: its last and its greatest value.
const SPARK_LABEL: usize = 24;
/// Longest name before a sparkline.
const SPARK_NAME: usize = 12;
/// From here on a 99th percentile is yellow, and from ten times that on red.
const LATENCY_LATE: Duration = Duration::from_millis(100);

/// Where the scale of latencies begins, seconds.
const LATENCY_LEAST: f64 = 50e-6;

/// What sparklines are drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyphs {
    /// Blocks of rising height.
    Blocks,
    /// Characters of rising weight, for terminals without Unicode.
    Ascii,
    /// There are no sparklines.
    None,
}

impl Glyphs {
    /// What the locale can show.
    pub(super) fn of_locale() -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        let locale = set.map(|value| value.to_string_lossy().to_lowercase()).unwrap_or_default();
        if locale.contains("utf-8") || locale.contains("utf8") { Self::Blocks } else { Self::Ascii }
    }

    const fn steps(self) -> &'static [char] {
        match self {
            Self::Blocks => {
                &['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}']
            }
            Self::Ascii => &['_', '.', ':', '-', '=', '+', '*', '#'],
            Self::None => &[],
        }
    }
}

/// What a column of sparklines shows.
struct Line {
    head: &'static str,
    /// The value of a look; none when there is none.
    of: fn(&Rates) -> Option<f64>,
    /// How much of the greatest value a value is, 0 to 1. Latencies rise by factors: beside one of a second all others
    /// would be flat.
    part: fn(f64, f64) -> f64,
    shown: fn(f64) -> String,
}

/// How a frame is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Columns; none for as many as it takes.
    pub(super) width: Option<usize>,
    pub(super) colours: Colours,
    pub(super) glyphs: Glyphs,
    /// Between two looks.
    pub(super) interval: Duration,
}

impl Frame {
    /// Its lines, none wider than the terminal.
    pub(super) fn lines(&self, roll: &Roll) -> Vec<String> {
        let mut lines = vec![self.head(roll), String::new()];
        let rows = roll.nodes.iter().map(|node| cells(roll, node)).collect();
        lines.extend(Table::new(&COLUMNS, rows).lines(self.width, self.colours).0);
        lines.extend(self.sparklines(&roll.nodes));
        lines
    }

    fn head(&self, roll: &Roll) -> String {
        let (answered, all) = (roll.answered(), roll.nodes.len());
        let sum = |of: fn(&Rates) -> f64| roll.nodes.iter().filter_map(|node| node.rates.as_ref()).map(of).sum::<f64>();
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let cluster: String = roll.cluster.to_string().chars().take(8).collect();
        let mut parts = vec![
            format!("{answered} of {all} nodes answer"),
            format!("{} gets/s", figures::count(sum(|rates| rates.gets.begun))),
            format!("{} puts/s", figures::count(sum(|rates| rates.puts.begun))),
            format!("{} failed/s", figures::count(sum(Rates::failures))),
            format!("cluster {cluster}"),
            time,
        ];
        if self.glyphs != Glyphs::None {
            parts.insert(4, "q quits".to_owned());
        }
        let mut line = String::new();
        for part in parts {
            let longer = if line.is_empty() { part } else { format!("{line}  {part}") };
            if self.width.is_some_and(|width| longer.len() > width) && !line.is_empty() {
                break;
            }
            line = longer;
        }
        let paint = match all - answered {
            0 => Paint::Good,
            _ if answered == 0 => Paint::Bad,
            _ => Paint::Warn,
        };
        let line = shortened(&line, self.width.unwrap_or(usize::MAX));
        self.colours.paint(paint, &line)
    }

    /// Two columns of sparklines, side by side where they fit. All of a column are drawn to one scale.
    fn sparklines(&self, nodes: &[Watched]) -> Vec<String> {
        let Some(width) = self.width.filter(|_| self.glyphs != Glyphs::None) else { return Vec::new() };
        let name = nodes.iter().map(|node| node.member.label().len()).max().unwrap_or(0).min(SPARK_NAME);
        let beside = name + 2 + SPARK_LABEL;
        let room = |columns: usize| (width.saturating_sub(2 * (columns - 1)) / columns).saturating_sub(beside);
        let (columns, spark) = match (room(2), room(1)) {
            (two, _) if two >= SPARK_BESIDE_MIN => (2, two),
            (_, one) if one >= SPARK_MIN => (1, one),
            _ => return Vec::new(),
        };
        let spark = spark.min(SAMPLES_MAX);
        let requests = Line {
            head: "REQUESTS/S",
            of: |rates| Some(rates.requests()),
            part: |value, greatest| value / greatest,
            shown: figures::count,
        };
        let p99 = Line {
            head: "P99",
            of: |rates| rates.p99().map(|time| time.as_secs_f64()),
            part: |value, greatest| (value / LATENCY_LEAST).ln().max(0.0) / (greatest / LATENCY_LEAST).ln(),
            shown: |value| figures::latency(Duration::from_secs_f64(value.max(0.0))),
        };
        let [left, right] = [requests, p99].map(|line| self.column(&line, nodes, (name, spark)));
        let mut lines = vec![String::new()];
        match columns {
            2 => lines.extend(left.into_iter().zip(right).map(|(left, right)| format!("{left}  {right}"))),
            _ => lines.extend(left.into_iter().chain([String::new()]).chain(right)),
        }
        lines
    }

    /// A sparkline a node under a head, all as wide as each other.
    fn column(&self, line: &Line, nodes: &[Watched], (name, spark): (usize, usize)) -> Vec<String> {
        let samples = |node: &Watched| {
            let skipped = node.history.len().saturating_sub(spark);
            let samples = node.history.iter().skip(skipped).map(|rates| rates.as_ref().and_then(line.of));
            samples.collect::<Vec<_>>()
        };
        let all: Vec<Vec<Option<f64>>> = nodes.iter().map(samples).collect();
        let greatest = all.iter().flatten().flatten().copied().fold(0.0, f64::max);
        let width = name + 2 + spark + SPARK_LABEL;
        let span = self.interval * u32::try_from(spark).unwrap_or(u32::MAX);
        let title = format!("{}, last {}", line.head, figures::age(span));
        let mut lines = vec![self.colours.paint(Paint::Bold, &format!("{title:<width$}"))];
        for (node, samples) in nodes.iter().zip(&all) {
            let label = shortened(&node.member.label(), name);
            let part = |value: f64| if greatest > 0.0 { (line.part)(value, greatest) } else { 0.0 };
            let drawn: String = samples.iter().map(|sample| self.glyph(sample.map(part))).collect();
            let last = samples.last().copied().flatten().map_or_else(|| "-".to_owned(), line.shown);
            let most = samples.iter().flatten().copied().fold(0.0, f64::max);
            let told = format!("  {last:>8} max {:>8}", (line.shown)(most));
            lines.push(format!("{label:<name$}  {drawn:>spark$}{told:<SPARK_LABEL$}"));
        }
        lines
    }

    /// What a part of the greatest is drawn with; a gap where nothing is known.
    fn glyph(&self, part: Option<f64>) -> char {
        let Some(part) = part else { return ' ' };
        // The lowest step is nothing at all; whatever is more is above it.
        let steps = self.glyphs.steps();
        let reached = |at: usize| part > 0.0 && (at <= 1 || part > at as f64 / steps.len() as f64);
        let highest = (1..steps.len()).rev().find(|at| reached(*at)).unwrap_or(0);
        steps.get(highest).copied().unwrap_or(' ')
    }
}

fn cells(roll: &Roll, node: &Watched) -> Vec<Cell> {
    let rated = |of: &dyn Fn(&Rates) -> Cell| node.rates.as_ref().map_or_else(Cell::none, of);
    let mut cells = vec![Cell::new(node.member.label()), roll.state_of(node)];
    for verb in [(|rates: &Rates| &rates.gets) as fn(&Rates) -> &VerbRates, |rates: &Rates| &rates.puts] {
        cells.push(rated(&|rates| Cell::new(figures::count(verb(rates).begun))));
        cells.push(rated(&|rates| latency(verb(rates).p50)));
        cells.push(rated(&|rates| latency(verb(rates).p99)));
    }
    cells.push(rated(&|rates| match rates.failures() {
        failed if failed > 0.0 => Cell::painted(figures::count(failed), Paint::Bad),
        _ => Cell::new("0"),
    }));
    cells.push(rated(&|rates| Cell::new(rates.in_flight.to_string())));
    cells.push(rated(&|rates| rates.queued.map_or_else(Cell::none, |inputs| Cell::new(inputs.to_string()))));
    cells.push(node.member.told(member::hints));
    cells.push(node.member.told(member::in_sync));
    cells
}

fn latency(time: Option<Duration>) -> Cell {
    match time {
        None => Cell::none(),
        Some(time) if time >= LATENCY_LATE * 10 => Cell::painted(figures::latency(time), Paint::Bad),
        Some(time) if time >= LATENCY_LATE => Cell::painted(figures::latency(time), Paint::Warn),
        Some(time) => Cell::new(figures::latency(time)),
    }
}

/// The frame for programs.
pub(super) fn to_json(roll: &Roll, interval: Duration) -> Json {
    let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    let verb = |rates: &VerbRates| {
        json!({
            "per_s": rates.begun,
            "failed_per_s": rates.failed,
            "p50_ms": millis(rates.p50),
            "p99_ms": millis(rates.p99),
        })
    };
    let node = |node: &Watched| {
        let (rates, status) = (node.rates.as_ref(), node.member.status.as_ref());
        json!({
            "name": node.member.name,
            "node": node.member.node.map(|node| node.to_string()),
            "address": node.member.address.to_string(),
            "state": roll.state_of(node).text,
            "error": status.err(),
            "gets": rates.map(|rates| verb(&rates.gets)),
            "puts": rates.map(|rates| verb(&rates.puts)),
            "under_way": rates.map(|rates| rates.in_flight),
            "queued_p99": rates.and_then(|rates| rates.queued),
            "hints": status.ok().map(|status| status.hints),
            "hint_bytes": status.ok().map(|status| status.hint_bytes),
            "in_sync_age_ms": status.ok().and_then(|status| status.in_sync_ms),
        })
    };
    json!({
        "cluster": roll.cluster.to_string(),
        "interval_ms": u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        "nodes": roll.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
