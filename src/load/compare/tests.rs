//! Equal reports are equal, different ones different, whatever the noise.

use super::*;
use crate::load::specimen;
use crate::load::statistics::tests::Noise;

/// A report of runs of so many seconds whose noise hangs together, at a speed.
fn noisy(noise: &mut Noise, repetitions: usize, seconds: usize, speed: f64, spread: f64) -> Report {
    let runs = (0..repetitions).map(|_| {
        // Whole runs differ from each other too, when there are several.
        let own = if repetitions > 1 { 1.0 + spread * noise.normal() } else { 1.0 };
        let rates = noise.series(seconds, 20_000.0 * speed * own, spread, 0.5);
        let p99s = noise.series(seconds, 4000.0 / (speed * own), spread, 0.5);
        specimen::run("put 128 B, 64 in flight", &rates, &p99s)
    });
    specimen::report(runs.collect())
}

/// How often something is called different, and how often the rate is called better, of so many tries.
fn tries(count: u32, repetitions: usize, seconds: usize, speed: f64, spread: f64) -> (u32, u32) {
    let mut noise = Noise(2026 + u64::from(count) + seconds as u64);
    let (mut different, mut better) = (0, 0);
    for _ in 0..count {
        let a = noisy(&mut noise, repetitions, seconds, 1.0, spread);
        let b = noisy(&mut noise, repetitions, seconds, speed, spread);
        let compared = Comparison::of(&a, &b);
        different += u32::from(compared.count(Verdict::Better) + compared.count(Verdict::Worse) > 0);
        let rate = compared.cases[0].lines.iter().find(|line| line.metric == Metric::Rate).unwrap();
        better += u32::from(rate.verdict == Verdict::Better);
    }
    (different, better)
}

#[test]
fn equal_runs_are_not_called_different() {
    // One run a side, short and long, quiet and noisy; then repetitions.
    for (repetitions, seconds, spread) in [(1, 5, 0.05), (1, 10, 0.1), (1, 30, 0.2), (3, 10, 0.03), (5, 10, 0.1)] {
        let (alarms, _) = tries(2000, repetitions, seconds, 1.0, spread);
        println!("{repetitions} runs of {seconds} s, spread {spread}: {alarms} of 2000 called different");
        assert!(alarms <= 2, "{repetitions} runs of {seconds} s, spread {spread}: {alarms} of 2000, the bound is 2");
    }
}

#[test]
fn fifteen_per_cent_are_found() {
    for (repetitions, seconds, spread, least) in [(1, 30, 0.05, 100), (1, 60, 0.1, 85), (5, 10, 0.02, 170)] {
        let (_, found) = tries(200, repetitions, seconds, 1.15, spread);
        println!("{repetitions} runs of {seconds} s, spread {spread}: 15 % found in {found} of 200");
        assert!(found >= least, "{repetitions} runs of {seconds} s, spread {spread}: {found} of 200, wanted {least}");
    }
}

#[test]
fn slower_is_worse_and_a_higher_latency_too() {
    let of = |speed: f64| noisy(&mut Noise(3), 1, 30, speed, 0.01);
    let compared = Comparison::of(&of(1.0), &of(0.7));
    for line in &compared.cases[0].lines {
        let wanted = match line.metric {
            Metric::Rate | Metric::Median | Metric::P99 => Verdict::Worse,
            Metric::Errors => Verdict::Same,
            Metric::P999 | Metric::ServerCpu | Metric::ClientCpu => Verdict::Unclear("repeat the runs"),
        };
        assert_eq!(line.verdict, wanted, "{line:?}");
    }
    let better = Comparison::of(&of(0.7), &of(1.0));
    assert_eq!(better.count(Verdict::Better), 3);
    assert_eq!(better.count(Verdict::Worse), 0);
}

#[test]
fn difference_too_small_to_matter_is_none_however_certain() {
    let constant = |rate: f64| specimen::report(vec![specimen::run("a", &[rate; 10], &[3000.0; 10]); 40]);
    let compared = Comparison::of(&constant(10_000.0), &constant(10_250.0));
    let rate = compared.cases[0].lines[0];
    assert_eq!((rate.metric, rate.verdict), (Metric::Rate, Verdict::Same), "2.5 % of repetitions: {rate:?}");
    assert!(rate.chance.is_some_and(|chance| chance < FALSE_ALARM), "and yet certain: {rate:?}");
    let compared = Comparison::of(&constant(10_000.0), &constant(10_400.0));
    assert_eq!(compared.cases[0].lines[0].verdict, Verdict::Better, "4 %");
}

#[test]
fn runs_that_agree_by_chance_prove_nothing() {
    // Runs of one second of one cluster, every second one being one side's, on a machine with neighbours.
    let of = |rates: [f64; 3]| {
        let runs = rates.map(|rate| specimen::run("a", &[rate; 1], &[3000.0; 1]));
        specimen::report(runs.to_vec())
    };
    let compared = Comparison::of(&of([10_166.0, 10_179.0, 10_192.0]), &of([9_063.0, 9_127.0, 9_191.0]));
    let rate = compared.cases[0].lines[0];
    assert_eq!((rate.metric, rate.verdict), (Metric::Rate, Verdict::Same), "{rate:?}");
}

#[test]
fn busy_machine_says_nothing() {
    let mut slow = specimen::report(vec![specimen::run("a", &[5000.0; 10], &[9000.0; 10])]);
    let fast = specimen::report(vec![specimen::run("a", &[9000.0; 10], &[3000.0; 10])]);
    slow.runs[0].others = Some(0.4);
    let compared = Comparison::of(&slow, &fast);
    assert_eq!(compared.count(Verdict::Better) + compared.count(Verdict::Worse), 0);
    let remark = &compared.cases[0].remarks[0];
    assert!(remark.starts_with("other processes used up to 40 % of the machine"), "{remark}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let mut a = specimen::report(vec![
        specimen::run("both", &[9000.0; 6], &[3000.0; 6]),
        specimen::run("mine", &[9000.0; 6], &[3000.0; 6]),
        specimen::run("bad", &[9000.0; 6], &[3000.0; 6]),
    ]);
    a.runs[2].invalid.push("the generator was busy".to_owned());
    let mut b = specimen::report(vec![specimen::run("both", &[9000.0; 6], &[3000.0; 6]); 1]);
    b.runs[0].settings.seed = 99;
    b.machine.cores = 8;
    b.cluster.durability = vec!["sync".to_owned()];
    let compared = Comparison::of(&a, &b);
    let remarks = compared.remarks.join("\n");
    for words in ["the machines differ", "the clusters differ", "only the first report has \"mine\"", "was busy"] {
        assert!(remarks.contains(words), "no {words:?} in {remarks}");
    }
    assert_eq!(compared.cases.len(), 1);
    assert!(compared.cases[0].remarks.is_empty(), "another seed is no other setting: {:?}", compared.cases[0]);
    b.runs[0].settings.in_flight = 1;
    assert_eq!(Comparison::of(&a, &b).cases[0].remarks, ["the settings differ"]);
}

#[test]
fn empty_reports_and_empty_runs_have_nothing_to_say() {
    let empty = specimen::report(Vec::new());
    assert_eq!(Comparison::of(&empty, &empty), Comparison { cases: Vec::new(), remarks: Vec::new() });
    let idle = specimen::report(vec![specimen::run("idle", &[], &[])]);
    let compared = Comparison::of(&idle, &idle);
    assert_eq!(compared.cases[0].lines, Vec::new());
}
