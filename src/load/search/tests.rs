//! The search against clusters whose true capacity is known.

use super::*;
use crate::load::specimen;

/// Searches a cluster that meets the terms up to a rate, with hiccups; the result, and how many steps it took.
fn search(plan: Plan, capacity: f64, mut hiccup: impl FnMut(u32) -> bool) -> (Option<f64>, u32) {
    let mut search = Search::new(plan);
    let mut steps = 0;
    while let Some(rate) = search.next() {
        steps += 1;
        let met = rate <= capacity && !hiccup(steps);
        search.record(rate, &if met { Outcome::Met } else { Outcome::Failed("slow".to_owned()) });
        assert!(steps < 200, "the search does not end");
    }
    (search.best(), steps)
}

#[test]
fn capacity_is_found_within_the_precision_from_either_side() {
    for capacity in [1.0, 7.0, 333.0, 999.0, 1000.0, 1001.0, 47_311.0, 2_000_000.0] {
        for begin in [10.0, 1000.0, 50_000.0] {
            let (best, steps) = search(Plan { begin, precision: 0.05 }, capacity, |_| false);
            let best = best.expect("some rate is served");
            assert!(best <= capacity && best * 1.05 >= capacity, "{best} of {capacity}, from {begin}");
            assert!(steps < 50, "{steps} steps to {capacity} from {begin}");
        }
    }
}

#[test]
fn one_hiccup_at_any_step_costs_one_step_and_no_rate() {
    let plan = Plan::default();
    let (undisturbed, steps) = search(plan, 30_000.0, |_| false);
    for at in 1..steps {
        let (best, longer) = search(plan, 30_000.0, |step| step == at);
        assert_eq!(best, undisturbed, "a hiccup at step {at}");
        assert!(longer <= steps + 1, "{longer} steps instead of {steps}");
    }
}

#[test]
fn cluster_that_serves_nothing_ends_the_search_with_nothing() {
    let (best, steps) = search(Plan::default(), 0.0, |_| false);
    assert_eq!(best, None);
    assert!(steps <= STEPS_MAX);
    let (best, _) = search(Plan::default(), f64::INFINITY, |_| false);
    assert_eq!(best, Some(RATE_MAX), "and one that serves everything ends it too");
}

/// A queue with one server, as text books have it: the p99 of M/M/1 is `ln(100) / (capacity - rate)`.
#[test]
fn latency_that_rises_towards_the_capacity_is_cut_at_its_bound() {
    let (capacity, terms) = (20_000.0_f64, Terms::new(Duration::from_millis(5)));
    let p99_us = |rate: f64| if rate < capacity { 4.605e6 / (capacity - rate) } else { 1e6 };
    let mut search = Search::new(Plan { begin: 500.0, precision: 0.02 });
    while let Some(rate) = search.next() {
        let run = specimen::open_run(rate, p99_us(rate));
        search.record(rate, &terms.judge(&run));
    }
    let truth = capacity - 4.605e6 / 5000.0;
    let best = search.best().expect("low rates are served");
    assert!((truth * 0.97..=truth * 1.01).contains(&best), "{best}, the model says {truth}");
}

#[test]
fn rate_counts_only_when_it_was_offered_answered_and_quick() {
    let terms = Terms::new(Duration::from_millis(5));
    let judged = |change: &dyn Fn(&mut Run)| {
        let mut run = specimen::open_run(1000.0, 2000.0);
        change(&mut run);
        match terms.judge(&run) {
            Outcome::Met => "met".to_owned(),
            Outcome::Failed(why) => why,
        }
    };
    assert_eq!(judged(&|_| ()), "met");
    let late = |run: &mut Run, by_us: u64| {
        let schedule = run.schedule.as_mut().unwrap();
        (schedule.late, schedule.late_max_us) = (500, by_us);
    };
    let told = "5.0 % of the requests were sent late, the latest by 60000.0 ms";
    assert_eq!(judged(&|run| late(run, 60_000_000)), told);
    let unsent = "50.0 % of the requests were never sent";
    assert_eq!(judged(&|run| run.schedule.as_mut().unwrap().unsent = 10_000), unsent);
    assert_eq!(judged(&|run| run.schedule = None), "the run had no schedule");
    assert_eq!(judged(&|run| run.invalid.push("the generator was busy".to_owned())), "the generator was busy");
    let fail = |run: &mut Run| {
        run.operations.get_mut(crate::load::report::ALL).unwrap().errors.insert("timeout".to_owned(), 30);
    };
    assert_eq!(judged(&fail), "0.30 % errors");
    assert_eq!(judged(&|run| run.operations.clear()), "nothing was counted");
    let slow = specimen::open_run(1000.0, 9000.0);
    assert_eq!(terms.judge(&slow), Outcome::Failed("p99 of 9.00 ms".to_owned()));
}
