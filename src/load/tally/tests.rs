//! Sums over processes against a model, and what is said of a run.

use std::time::Duration;

use super::*;
use crate::load::settings::{Keys, Mix};

fn settings() -> Settings {
    Settings {
        mix: Mix { put: 1, ..Mix::default() },
        keys: Keys::Uniform,
        key_count: 1000,
        value: ValueSize::Fixed(1024),
        pace: Pace::Closed,
        in_flight: 256,
        duration: Duration::from_secs(2),
        warmup: Duration::ZERO,
        blind: false,
        verify: false,
        timeout: Duration::from_secs(2),
        seed: 1,
        processes: 2,
        table: "bench".to_owned(),
    }
}

fn counts(values: &[u64]) -> Distribution {
    let mut sum = Distribution::default();
    for value in values {
        sum.add(&Distribution(vec![(*value, 1)]));
    }
    sum
}

fn tally(latencies: [&[u64]; 2], errors: u64) -> Tally {
    let second = |at: u64, latencies: &[u64]| Second {
        at,
        operations: u64::try_from(latencies.len()).unwrap(),
        errors: if at == 0 { errors } else { 0 },
        p50_us: counts(latencies).quantile(0.5),
        p99_us: counts(latencies).quantile(0.99),
        max_us: counts(latencies).max(),
    };
    let latency = counts(&latencies.concat());
    let named = (errors > 0).then(|| ("unanswered".to_owned(), errors));
    let operations =
        Operations { count: latency.count(), errors: named.into_iter().collect(), service: latency.clone(), latency };
    Tally {
        operations: BTreeMap::from([("put".to_owned(), operations)]),
        seconds: vec![second(0, latencies[0]), second(1, latencies[1])],
        distributions: latencies.map(counts).to_vec(),
        versions: Versions { answers: 10, sum: 10, max: 1 },
        processes: vec![Process {
            name: "client".to_owned(),
            is_server: false,
            cpu_us: 300_000,
            memory_bytes: 1,
            memory_peak_bytes: 1,
        }],
        ..Tally::default()
    }
}

#[test]
fn processes_add_up_as_if_one_had_counted_all() {
    let mut sum = tally([&[100, 200, 900], &[50]], 1);
    sum.add(tally([&[100, 5000], &[]], 0));
    let whole = tally([&[100, 200, 900, 100, 5000], &[50]], 1);
    assert_eq!(sum.operations, whole.operations);
    assert_eq!((&sum.seconds, &sum.distributions), (&whole.seconds, &whole.distributions));
    assert_eq!(sum.versions, Versions { answers: 20, sum: 20, max: 1 });
    let run = sum.into_run(&settings(), 2);
    assert_eq!((run.all().unwrap().count, run.processes.len()), (6, 2));
    assert_eq!(run.name, "put 1024 B, 256 in flight");
    assert!((run.rate() - 2.5).abs() < 1e-9, "five without an error in two seconds");
    assert!(run.invalid.is_empty() && run.warnings.is_empty(), "{run:?}");
}

#[test]
fn what_makes_a_run_say_nothing_is_said() {
    let reasons = |change: &dyn Fn(&mut Tally)| {
        let mut tally = tally([&[1], &[2]], 0);
        change(&mut tally);
        tally.into_run(&settings(), 2).invalid.join("\n")
    };
    assert_eq!(reasons(&|_| {}), "");
    assert!(reasons(&|t| t.versions.sum = 12).contains("1.20 versions"));
    assert!(reasons(&|t| t.operations.clear()).contains("no request succeeded"));
    assert!(reasons(&|t| t.notes.unread = 3).contains("3 keys could not be read"));
    let stale = |t: &mut Tally| {
        t.verification = Some(Verification { checked: 9, stale: 2, ..Verification::default() });
        t.findings = vec!["stale: key 5".to_owned()];
    };
    let told = reasons(&stale);
    assert!(told.contains("0 wrong, 2 stale, 0 lost") && told.contains("key 5"), "{told}");
    let mut blind = tally([&[1], &[2]], 0);
    blind.versions.sum = 100;
    assert!(blind.into_run(&Settings { blind: true, ..settings() }, 2).invalid.is_empty());
}

#[test]
fn what_a_reader_should_know_is_said() {
    let warnings = |change: &dyn Fn(&mut Tally)| {
        let mut tally = tally([&[1], &[2]], 0);
        change(&mut tally);
        tally.into_run(&settings(), 2).warnings.join("\n")
    };
    let schedule = Schedule { offered: 1000.0, late: 1, late_max_us: 90_000, unsent: 0 };
    assert!(warnings(&|t| t.schedule = Some(schedule)).contains("50.0 % of the requests (the longest by 90 ms"));
    let loaf = |t: &mut Tally, cpu_us| t.processes[0].cpu_us = cpu_us;
    assert_eq!(warnings(&|t| loaf(t, 1_100_000)), "");
    assert!(warnings(&|t| loaf(t, 1_300_000)).contains("32 % of all CPU"));
    assert!(warnings(&|t| loaf(t, 1_900_000)).contains("95 % of one core"));
    assert_eq!(warnings(&|t| (t.notes.writes, t.notes.moved) = (100, 20)), "", "all keys are alike");
    let mut moved = tally([&[1], &[2]], 0);
    (moved.notes.writes, moved.notes.moved) = (100, 20);
    let told = moved.into_run(&Settings { keys: Keys::Zipfian(0.99), ..settings() }, 2).warnings.join("\n");
    assert!(told.contains("20.0 % of the writes took another"), "{told}");
    assert!(warnings(&|t| (t.notes.writes, t.notes.read_first) = (100, 50)).contains("50.0 % of the writes had to"));
}

#[test]
fn names_tell_runs_apart() {
    let named = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        settings.name()
    };
    assert_eq!(named(&|s| s.keys = Keys::Zipfian(0.99)), "put 1024 B zipfian 0.99, 256 in flight");
    assert_eq!(named(&|s| s.pace = Pace::Poisson(2000.0)), "put 1024 B, 2000/s poisson");
    assert_eq!(named(&|s| s.blind = true), "put 1024 B blind, 256 in flight");
    assert_eq!(named(&|s| s.mix = "get=95,put=5".parse().unwrap()), "get=95,put=5 1024 B, 256 in flight");
}
