//! Runs and reports for tests: what a real one looks like, with numbers that are chosen.

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::{
    ALL, Cluster, Distribution, Event, Machine, Operations, Process, REPORT_FORMAT, Report, Run, Schedule, Second,
    Versions,
};
use super::settings::{Keys, Mix, Pace, Settings, ValueSize};

/// Settings of a plain run of puts.
pub(crate) fn settings() -> Settings {
    Settings {
        mix: Mix { put: 1, ..Mix::default() },
        keys: Keys::Uniform,
        key_count: 1000,
        value: ValueSize::Fixed(128),
        pace: Pace::Closed,
        in_flight: 64,
        duration: Duration::from_secs(10),
        warmup: Duration::from_secs(1),
        blind: false,
        verify: false,
        timeout: Duration::from_secs(2),
        seed: 1,
        processes: 1,
        table: "bench".to_owned(),
    }
}

/// A run with these rates by second and latencies.
pub(crate) fn run(name: &str, rates: &[f64], p99s_us: &[f64]) -> Run {
    let timeline: Vec<Second> = (0..)
        .zip(rates.iter().zip(p99s_us))
        .map(|(at, (rate, p99))| Second {
            at,
            operations: whole(*rate),
            errors: 0,
            p50_us: whole(p99 / 3.0),
            p99_us: whole(*p99),
            max_us: whole(p99 * 2.0),
        })
        .collect();
    let count = timeline.iter().map(|second| second.operations).sum::<u64>();
    let p99 = p99s_us.iter().sum::<f64>() / p99s_us.len().max(1) as f64;
    let latency = distribution(count, p99);
    let operations = Operations { count, errors: BTreeMap::new(), latency: latency.clone(), service: latency };
    let process = |name: &str, cpu_us: u64| Process {
        name: name.to_owned(),
        is_server: name != "client",
        cpu_us,
        memory_bytes: 60 << 20,
        memory_peak_bytes: 70 << 20,
    };
    Run {
        name: name.to_owned(),
        settings: settings(),
        seconds: rates.len() as f64,
        operations: [("put".to_owned(), operations.clone()), (ALL.to_owned(), operations)].into(),
        processes: vec![
            process("client", count * 9),
            process("n1", count * 12),
            process("n2", count * 11),
            process("n3", count * 10),
        ],
        timeline,
        events: Vec::new(),
        versions: Versions::default(),
        verification: None,
        schedule: None,
        invalid: Vec::new(),
        warnings: Vec::new(),
        others: Some(0.01),
    }
}

/// An open loop of ten seconds that kept its schedule.
pub(crate) fn open_run(rate: f64, p99_us: f64) -> Run {
    let mut run = run("open", &[rate; 10], &[p99_us; 10]);
    run.settings.pace = Pace::Poisson(rate);
    run.schedule = Some(Schedule { offered: rate, late: 0, late_max_us: 200, unsent: 0 });
    run
}

/// A run with errors and events, as a node that was killed leaves it.
pub(crate) fn eventful_run() -> Run {
    let mut run = open_run(1000.0, 3000.0);
    run.name = "timeline".to_owned();
    for second in run.timeline.iter_mut().filter(|second| (3..6).contains(&second.at)) {
        second.errors = 120;
        second.p99_us = 900_000;
    }
    run.events = vec![Event { at: 3.0, what: "kill n2".to_owned() }, Event { at: 6.02, what: "restart n2".to_owned() }];
    if let Some(all) = run.operations.get_mut(ALL) {
        all.errors.insert("timeout".to_owned(), 360);
    }
    run
}

/// A report of these runs.
pub(crate) fn report(runs: Vec<Run>) -> Report {
    Report {
        format: REPORT_FORMAT,
        made_at: "2026-11-28T12:00:00Z".to_owned(),
        command: ["quorate", "bench", "run", "--local"].map(str::to_owned).to_vec(),
        program: "quorate 0.1.0 (0123456)".to_owned(),
        machine: Machine {
            cpu: "A processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "Linux 6.18".to_owned(),
        },
        cluster: Cluster {
            nodes: 3,
            partitions: 64,
            replicas: 3,
            read_quorum: 2,
            write_quorum: 2,
            durability: vec!["os".to_owned()],
            versions: vec!["0.1.0".to_owned()],
        },
        runs,
        floor: None,
    }
}

/// Latencies around a third of this 99th percentile.
fn distribution(count: u64, p99_us: f64) -> Distribution {
    let share = |part: f64| whole(count as f64 * part);
    let low = share(0.5);
    let middle = share(0.985).saturating_sub(low);
    let slow = share(0.995).saturating_sub(low + middle);
    let rest = count.saturating_sub(low + middle + slow);
    let counts = [(p99_us / 3.0, low), (p99_us / 2.0, middle), (p99_us, slow), (p99_us * 2.0, rest)];
    Distribution(counts.into_iter().filter(|(_, count)| *count > 0).map(|(us, count)| (whole(us), count)).collect())
}

/// A number of the specimens as an integer.
fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the specimens are small and positive")]
    let whole = value.round() as u64;
    whole
}
