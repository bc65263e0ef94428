//! What one process counted, the sum over several, and the run that it becomes: with what makes it say nothing, and
//! what a reader should know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bystanders;
use super::report::{ALL, Distribution, Operations, Process, Run, Schedule, Second, Verification, Versions};
use super::settings::{Keys, Pace, Settings, ValueSize};
use super::worker::Notes;

/// A mean number of versions per item beyond which a run with contexts measured the merging of siblings.
pub(super) const VERSIONS_MEAN_MAX: f64 = 1.1;
/// A share of late requests beyond which the generator did not keep its schedule.
const LATE_SHARE: f64 = 0.01;
/// A share of all CPU of the machine beyond which the generator takes too much of it from the servers beside it.
const CLIENT_SHARE: f64 = 0.3;
/// A share of one core beyond which a generator, which is one thread, is what limits the run.
const CORE_SHARE: f64 = 0.9;
/// A share of the writes that is worth a word.
const WRITES_SHARE: f64 = 0.01;

/// What one process counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// By kind, without the sum.
    pub(super) operations: BTreeMap<String, Operations>,
    pub(super) seconds: Vec<Second>,
    /// The latencies of each second; only where there are several processes.
    pub(super) distributions: Vec<Distribution>,
    pub(super) versions: Versions,
    pub(super) verification: Option<Verification>,
    /// What checking found, in words.
    pub(super) findings: Vec<String>,
    pub(super) schedule: Option<Schedule>,
    /// The process itself, and the servers where they are charged.
    pub(super) processes: Vec<Process>,
    /// Busy time of the machine in the measured time, microseconds; of the first process only.
    pub(super) busy_us: Option<u64>,
    pub(super) notes: Notes,
    pub(super) warnings: Vec<String>,
}

impl Tally {
    /// Adds what another process counted.
    pub(super) fn add(&mut self, other: Self) {
        for (kind, operations) in &other.operations {
            self.operations.entry(kind.clone()).or_default().add(operations);
        }
        self.add_seconds(&other.distributions, &other.seconds);
        self.versions.answers += other.versions.answers;
        self.versions.sum += other.versions.sum;
        self.versions.max = self.versions.max.max(other.versions.max);
        add_if(&mut self.verification, other.verification.as_ref(), Verification::add);
        add_if(&mut self.schedule, other.schedule.as_ref(), Schedule::add);
        self.findings.extend(other.findings);
        self.processes.extend(other.processes);
        self.notes.writes += other.notes.writes;
        self.notes.moved += other.notes.moved;
        self.notes.read_first += other.notes.read_first;
        self.notes.unread += other.notes.unread;
        self.warnings.extend(other.warnings);
    }

    /// Percentiles do not add up; the counts behind them do.
    fn add_seconds(&mut self, distributions: &[Distribution], seconds: &[Second]) {
        for ((own, second), (other, from)) in
            self.distributions.iter_mut().zip(&mut self.seconds).zip(distributions.iter().zip(seconds))
        {
            own.add(other);
            *second = Second {
                at: second.at,
                operations: own.count(),
                errors: second.errors + from.errors,
                p50_us: own.quantile(0.5),
                p99_us: own.quantile(0.99),
                max_us: own.max(),
            };
        }
    }

    /// The run. `cores` are those of the machine.
    pub(super) fn into_run(mut self, settings: &Settings, cores: usize) -> Run {
        let mut all = Operations::default();
        self.operations.values().for_each(|operations| all.add(operations));
        self.operations.insert(ALL.to_owned(), all);
        let mut run = Run {
            name: settings.name(),
            settings: settings.clone(),
            seconds: settings.duration.as_secs_f64(),
            operations: self.operations,
            others: others(self.busy_us, &self.processes, settings, cores),
            processes: self.processes,
            timeline: self.seconds,
            events: Vec::new(),
            versions: self.versions,
            verification: self.verification,
            schedule: self.schedule,
            invalid: Vec::new(),
            warnings: self.warnings,
        };
        run.invalid = reasons_against(&run, &self.findings, self.notes);
        run.warnings.extend(remarks(&run, self.notes, cores));
        run
    }
}

/// The share of the machine that nobody of the run has used. Without servers on it there may be some that could not be
/// seen, and they are no strangers.
fn others(busy_us: Option<u64>, processes: &[Process], settings: &Settings, cores: usize) -> Option<f64> {
    let has_servers = processes.iter().any(|process| process.is_server);
    let own = processes.iter().map(|process| process.cpu_us).sum();
    busy_us.filter(|_| has_servers).map(|busy| bystanders::share(busy, own, settings.duration.as_secs_f64(), cores))
}

fn add_if<T: Clone>(own: &mut Option<T>, other: Option<&T>, add: impl Fn(&mut T, &T)) {
    match (own, other) {
        (Some(own), Some(other)) => add(own, other),
        (own @ None, Some(other)) => *own = Some(other.clone()),
        (_, None) => {}
    }
}

/// Why a run says nothing.
fn reasons_against(run: &Run, findings: &[String], notes: Notes) -> Vec<String> {
    let mut reasons = Vec::new();
    let all = run.operations.get(ALL).cloned().unwrap_or_default();
    if all.count == all.errors.values().sum::<u64>() {
        let first = all.errors.keys().next().map_or("none was answered", String::as_str);
        reasons.push(format!("no request succeeded ({first})"));
    }
    let mean = run.versions.mean();
    if !run.settings.blind && mean > VERSIONS_MEAN_MAX {
        reasons.push(format!(
            "{mean:.2} versions per item on average, more than {VERSIONS_MEAN_MAX}: others write the same keys, or \
             writes without an answer surfaced; what was measured is the merging of siblings"
        ));
    }
    if let Some(Verification { wrong, stale, lost, .. }) = run.verification.filter(|found| !found.is_clean()) {
        reasons.push(format!("values are not what was acknowledged: {wrong} wrong, {stale} stale, {lost} lost"));
        reasons.extend(findings.iter().cloned());
    }
    if notes.unread > 0 {
        reasons.push(format!("{} keys could not be read at the end, so nobody knows what is in them", notes.unread));
    }
    reasons
}

/// What a reader should know.
fn remarks(run: &Run, notes: Notes, cores: usize) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(Schedule { offered, late, late_max_us, unsent }) = run.schedule {
        let intended = run.operations.get(ALL).map_or(0, |all| all.count) + unsent;
        let behind = (late + unsent) as f64 / (intended as f64).max(1.0);
        if behind > LATE_SHARE {
            let longest = late_max_us as f64 / 1000.0;
            remarks.push(format!(
                "the generator was behind its schedule of {offered:.0}/s with {:.1} % of the requests (the longest by \
                 {longest:.0} ms, {unsent} never sent): the rate is above what this cluster and this generator do \
                 together; latencies have the delay in them",
                behind * 100.0
            ));
        }
    }
    let seconds = run.seconds.max(0.001);
    let own = || run.processes.iter().filter(|process| !process.is_server);
    let used = own().map(|process| process.cpu_us).sum::<u64>() as f64 / 1e6;
    let share = used / (seconds * cores.max(1) as f64);
    if share > CLIENT_SHARE {
        remarks.push(format!(
            "the generator used {:.0} % of all CPU of this machine: servers beside it had the less; to know what they \
             can do alone, run it elsewhere",
            share * 100.0
        ));
    }
    for process in own().filter(|process| process.cpu_us as f64 / 1e6 > CORE_SHARE * seconds) {
        let percent = process.cpu_us as f64 / 1e4 / seconds;
        remarks.push(format!("{} used {percent:.0} % of one core, all it can: use more --processes", process.name));
    }
    let writes = (notes.writes as f64).max(1.0);
    let moved = notes.moved as f64 / writes;
    // Where all keys are alike it does not matter which of them is taken.
    if moved > WRITES_SHARE && run.settings.keys != Keys::Uniform {
        remarks.push(format!(
            "{:.1} % of the writes took another key, for theirs was being written: popular keys had fewer writes than \
             their law says",
            moved * 100.0
        ));
    }
    if notes.read_first > 0 && notes.read_first as f64 / writes > WRITES_SHARE {
        remarks.push(format!(
            "{:.1} % of the writes had to read their context first, which is in their latency: too many keys to \
             remember the contexts of all, or errors before",
            notes.read_first as f64 * 100.0 / writes
        ));
    }
    remarks
}

impl Operations {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
        self.latency.add(&other.latency);
        self.service.add(&other.service);
    }
}

impl Versions {
    /// The mean; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / (self.answers as f64).max(1.0)
    }
}

impl Settings {
    /// What a comparison matches runs by, such as `put 1024 B, 256 in flight`.
    #[must_use]
    pub fn name(&self) -> String {
        let size = match self.value {
            ValueSize::Fixed(bytes) => format!("{bytes} B"),
            ValueSize::Uniform { min, max } => format!("{min}-{max} B"),
        };
        let keys = match self.keys {
            Keys::Uniform => String::new(),
            Keys::Zipfian(exponent) => format!(" zipfian {exponent}"),
            Keys::Latest => " latest".to_owned(),
            Keys::Hotspot { keys, operations } => format!(" hotspot {keys} {operations}"),
        };
        let pace = match self.pace {
            Pace::Closed => format!("{} in flight", self.in_flight),
            Pace::Constant(rate) => format!("{rate}/s"),
            Pace::Poisson(rate) => format!("{rate}/s poisson"),
        };
        let blind = if self.blind { " blind" } else { "" };
        format!("{} {size}{keys}{blind}, {pace}", self.mix)
    }
}

#[cfg(test)]
mod tests;
