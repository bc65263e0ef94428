//! Two reports side by side, and whether one is better.
//!
//! Runs are matched by name. Several runs of one name in a report are repetitions of it. A difference is called one
//! only when three things hold:
//!
//! 1. it is improbable between equals: Welch's t-test (`statistics`) at a chance of one in a thousand that *any* of all
//!    the metrics of all the runs compared raises a false alarm (Holm). One in a hundred looks strict and is not: who
//!    compares twice a day would be sent to look for nothing twice a year;
//! 2. it is large enough to matter: [`EFFECT_OF_REPETITIONS`], or [`EFFECT_OF_ONE`] when one of the sides is a single
//!    run, for nothing inside a run tells how much whole runs differ from each other;
//! 3. the machine was theirs: when other processes took more than [`OTHERS_MAX`] of it in some run, nothing is said.
//!
//! The noise of a side comes from its repetitions, or else from its seconds. A single run has one figure for its CPU,
//! so that is judged between repetitions only. Where repetitions lie within 2 % of each other, three a side find a
//! difference of 25 %, five one of 10 %, ten one of 5 %.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Cluster, Report, Run};
use super::settings::Settings;
use super::statistics::{Estimate, holm, mean};

/// The chance that a comparison of equal reports calls anything different.
pub const FALSE_ALARM: f64 = 0.001;
/// The smallest relative difference between repeated runs that counts.
pub const EFFECT_OF_REPETITIONS: f64 = 0.03;
/// The smallest relative difference that counts when a side is one run.
pub const EFFECT_OF_ONE: f64 = 0.10;
/// The smallest difference between shares of failed operations that counts: a tenth of a per cent, as a search does.
pub const EFFECT_OF_ERRORS: f64 = 0.001;
/// The most of the machine that other processes may have used.
pub const OTHERS_MAX: f64 = 0.10;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Operations per second, without errors.
    Rate,
    /// Median latency, microseconds.
    Median,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// Servers' CPU per operation, microseconds.
    ServerCpu,
    /// Generators' CPU per operation, microseconds.
    ClientCpu,
    /// Share of the operations that failed.
    Errors,
}

/// Better or worse, said of the second report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The second is better.
    Better,
    /// The second is worse.
    Worse,
    /// No difference beyond noise.
    Same,
    /// Nothing can be said, and why.
    Unclear(&'static str),
}

/// One side of one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Side {
    /// Mean over the repetitions.
    pub mean: f64,
    /// Standard error of the mean, when it is known.
    pub error: Option<f64>,
}

/// One metric of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Which.
    pub metric: Metric,
    /// The first report's.
    pub a: Side,
    /// The second report's.
    pub b: Side,
    /// How much larger the second is, relative to the first; infinite from zero.
    pub change: f64,
    /// The chance of such a difference between equals, raised for the number of lines.
    pub chance: Option<f64>,
    /// What that says.
    pub verdict: Verdict,
}

/// One run, in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The runs' name.
    pub name: String,
    /// Repetitions in the first and in the second report.
    pub repetitions: (usize, usize),
    /// The metrics.
    pub lines: Vec<Line>,
    /// What a reader has to know.
    pub remarks: Vec<String>,
}

/// What two reports have to say about each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Runs that both have, in the order of the first.
    pub cases: Vec<Case>,
    /// What a reader has to know: runs that only one of them has, different machines.
    pub remarks: Vec<String>,
}

impl Comparison {
    /// Compares two reports.
    #[must_use]
    pub fn of(a: &Report, b: &Report) -> Self {
        let mut remarks = differences(a, b);
        let (a, b) = (valid(a, "first", &mut remarks), valid(b, "second", &mut remarks));
        for (has, lacks, which) in [(&a, &b, "first"), (&b, &a, "second")] {
            let alone = has.iter().filter(|(name, _)| !lacks.iter().any(|(other, _)| other == name));
            remarks.extend(alone.map(|(name, _)| format!("only the {which} report has {name:?}")));
        }
        let both = a.iter().filter_map(|(name, ours)| {
            let (_, theirs) = b.iter().find(|(other, _)| other == name)?;
            Some(Case::of(name, ours, theirs))
        });
        let mut cases: Vec<Case> = both.collect();
        judge(&mut cases);
        Self { cases, remarks }
    }

    /// Lines with this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases.iter().flat_map(|case| &case.lines).filter(|line| line.verdict == verdict).count()
    }
}

impl Case {
    fn of(name: &str, a: &[&Run], b: &[&Run]) -> Self {
        let mut remarks = BTreeSet::new();
        // Repetitions differ in their random choices.
        let settings = |run: &&Run| Settings { seed: 0, ..run.settings.clone() };
        let first = a.first().map(settings);
        if a.iter().chain(b).any(|run| Some(settings(run)) != first) {
            remarks.insert("the settings differ".to_owned());
        }
        let others = a.iter().chain(b).filter_map(|run| run.others).fold(0.0, f64::max);
        let busy = others > OTHERS_MAX;
        if busy {
            remarks.insert(format!(
                "other processes used up to {:.0} % of the machine: no verdict; repeat the runs on a quiet one",
                others * 100.0
            ));
        }
        for warning in a.iter().chain(b).flat_map(|run| &run.warnings) {
            remarks.insert(warning.clone());
        }
        let lines = Metric::ALL.iter().filter_map(|metric| Line::of(*metric, a, b, busy)).collect();
        Self { name: name.to_owned(), repetitions: (a.len(), b.len()), lines, remarks: remarks.into_iter().collect() }
    }

    /// The smallest difference that counts.
    fn effect(&self, line: &Line) -> f64 {
        match line.metric {
            Metric::Errors => EFFECT_OF_ERRORS,
            _ if self.repetitions.0 >= 2 && self.repetitions.1 >= 2 => EFFECT_OF_REPETITIONS,
            _ => EFFECT_OF_ONE,
        }
    }
}

impl Line {
    fn of(metric: Metric, a: &[&Run], b: &[&Run], busy: bool) -> Option<Self> {
        let values = |runs: &[&Run]| runs.iter().map(|run| metric.of(run)).collect::<Option<Vec<f64>>>();
        let (ours, theirs) = (values(a)?, values(b)?);
        let estimates = (estimate(metric, a, &ours), estimate(metric, b, &theirs));
        let side = |values: &[f64], estimate: Option<Estimate>| Side {
            mean: mean(values),
            error: estimate.map(|estimate| estimate.error),
        };
        let (first, second) = (side(&ours, estimates.0), side(&theirs, estimates.1));
        let change = match (first.mean, second.mean) {
            (before, after) if before > 0.0 => after / before - 1.0,
            (_, after) if after > 0.0 => f64::INFINITY,
            _ => 0.0,
        };
        let probability = match (busy, estimates) {
            (false, (Some(ours), Some(theirs))) => Some(ours.chance_of_equal(&theirs)),
            _ => None,
        };
        let verdict = match (busy, probability) {
            (true, _) => Verdict::Unclear("the machine was busy"),
            (false, None) => Verdict::Unclear("repeat the runs"),
            (false, Some(_)) => Verdict::Same,
        };
        Some(Self { metric, a: first, b: second, change, chance: probability, verdict })
    }

    /// How much the sides differ, in the metric's own way: errors by their share of all operations.
    fn difference(&self) -> f64 {
        match self.metric {
            Metric::Errors => self.b.mean - self.a.mean,
            _ => self.change,
        }
    }
}

impl Metric {
    /// In the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Rate, Self::Median, Self::P99, Self::P999, Self::ServerCpu, Self::ClientCpu, Self::Errors];

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "operations/s",
            Self::Median => "p50, ms",
            Self::P99 => "p99, ms",
            Self::P999 => "p99.9, ms",
            Self::ServerCpu => "server CPU/op, us",
            Self::ClientCpu => "client CPU/op, us",
            Self::Errors => "errors, %",
        }
    }

    /// A value as people read it, in the unit of its name.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value:.0}"),
            Self::Median | Self::P99 | Self::P999 => format!("{:.2}", value / 1000.0),
            Self::ServerCpu | Self::ClientCpu => format!("{value:.1}"),
            Self::Errors => format!("{:.3}", value * 100.0),
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn rises(self) -> bool {
        matches!(self, Self::Rate)
    }

    /// The figure of a whole run; `None` when it has none.
    fn of(self, run: &Run) -> Option<f64> {
        let all = run.all().ok().filter(|all| all.count > 0)?;
        let measured = |servers: bool| {
            let is_known = run.processes.iter().any(|process| process.is_server == servers && process.cpu_us > 0);
            is_known.then(|| run.cpu_us(servers))
        };
        match self {
            Self::Rate => Some(run.rate()),
            Self::Median => Some(all.latency.quantile(0.5) as f64),
            Self::P99 => Some(all.latency.quantile(0.99) as f64),
            Self::P999 => Some(all.latency.quantile(0.999) as f64),
            Self::ServerCpu => measured(true),
            Self::ClientCpu => measured(false),
            Self::Errors => Some(all.errors.values().sum::<u64>() as f64 / all.count as f64),
        }
    }

    /// The figure of each whole second of a run, where seconds have one.
    fn by_second(self, run: &Run) -> Option<Vec<f64>> {
        // The last second may be a part of one.
        let whole = run.timeline.iter().filter(|second| (second.at + 1) as f64 <= run.seconds + 0.01);
        let values = whole.map(|second| match self {
            Self::Rate => Some(second.operations.saturating_sub(second.errors) as f64),
            Self::Median => Some(second.p50_us as f64),
            Self::P99 => Some(second.p99_us as f64),
            Self::Errors => Some(second.errors as f64 / (second.operations as f64).max(1.0)),
            Self::P999 | Self::ServerCpu | Self::ClientCpu => None,
        });
        values.collect()
    }
}

/// What a side knows of its noise.
fn estimate(metric: Metric, runs: &[&Run], values: &[f64]) -> Option<Estimate> {
    match runs {
        [run] => Estimate::of_series(&metric.by_second(run)?),
        _ => Estimate::of_repetitions(values),
    }
}

/// Turns chances into verdicts, all lines being one family.
fn judge(cases: &mut [Case]) {
    let chances: Vec<f64> = cases.iter().flat_map(|case| &case.lines).filter_map(|line| line.chance).collect();
    let mut raised = holm(&chances).into_iter();
    for case in cases {
        let mut lines = std::mem::take(&mut case.lines);
        for line in lines.iter_mut().filter(|line| line.chance.is_some()) {
            line.chance = raised.next();
            let improbable = line.chance.is_some_and(|chance| chance < FALSE_ALARM);
            let difference = line.difference();
            if improbable && difference.abs() >= case.effect(line) {
                line.verdict = match (difference > 0.0) == line.metric.rises() {
                    true => Verdict::Better,
                    false => Verdict::Worse,
                };
            }
        }
        case.lines = lines;
    }
}

/// The valid runs of a report by name, in the order in which the names come.
fn valid<'a>(report: &'a Report, which: &str, remarks: &mut Vec<String>) -> Vec<(&'a str, Vec<&'a Run>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut named: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in &report.runs {
        if let Some(reason) = run.invalid.first() {
            remarks
                .push(format!("a run {:?} of the {which} report is left out, for it says nothing: {reason}", run.name));
            continue;
        }
        let runs = named.entry(&run.name).or_default();
        if runs.is_empty() {
            order.push(&run.name);
        }
        runs.push(run);
    }
    order.into_iter().map(|name| (name, named.remove(name).unwrap_or_default())).collect()
}

/// What makes two reports hard to compare.
fn differences(a: &Report, b: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    if a.machine != b.machine {
        remarks.push(format!(
            "the machines differ: {} x {} with {}, and {} x {} with {}",
            a.machine.cores, a.machine.cpu, a.machine.kernel, b.machine.cores, b.machine.cpu, b.machine.kernel
        ));
    }
    let shape = |report: &Report| {
        let cluster = &report.cluster;
        let Cluster { nodes, partitions, replicas, read_quorum, write_quorum, durability, versions: _ } = cluster;
        format!(
            "{nodes} nodes, {partitions} partitions, N={replicas} R={read_quorum} W={write_quorum}, durability {}",
            durability.join(" and ")
        )
    };
    if shape(a) != shape(b) {
        remarks.push(format!("the clusters differ: {}, and {}", shape(a), shape(b)));
    }
    remarks
}

#[cfg(test)]
mod tests;
