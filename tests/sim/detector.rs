//! The figures of the failure detector, at their full size but for the 5,000 nodes (`quorate sim --detector`), and the
//! crate foca in the same world beside it.

use std::time::Duration;

use quorate::sim::detector::{Figure, Ours, Scenario, death, slander, thousands};

use super::foca::Baseline;

const SECOND: Duration = Duration::from_secs(1);

fn reached(figures: &[Figure]) {
    for figure in figures {
        println!("{}: {}", figure.goal, figure.found);
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.reached).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn overloaded_members_make_no_healthy_one_unreachable() {
    for seed in 1..=3 {
        reached(&Scenario::Slander.measure::<Ours>(seed));
    }
}

#[test]
fn thousand_members_learn_of_deaths_and_updates_in_time_at_flat_cost() {
    reached(&Scenario::Spread.measure::<Ours>(1));
}

#[test]
fn clusters_of_hundreds_are_simulated_to_the_same_end() {
    let figure = thousands::<Ours>(7, 300, 120 * SECOND);
    reached(std::slice::from_ref(&figure));
    assert_eq!(thousands::<Ours>(7, 300, 120 * SECOND), figure, "the world is not deterministic");
}

/// That foca slanders in it also proves that the world is hard enough to find a detector that does.
#[test]
fn fewer_healthy_members_are_slandered_than_with_foca() {
    let count = |slanders: fn(u64) -> Figure| (1..=3).map(|seed| slanders(seed).slanders).collect::<Vec<_>>();
    let ours = count(|seed| slander::<Ours>(seed, 100, 4, 300 * SECOND));
    let theirs = count(|seed| slander::<Baseline>(seed, 100, 4, 300 * SECOND));
    println!("false accusations at healthy members: ours {ours:?}, foca {theirs:?}");
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours < theirs), "ours {ours:?}, foca {theirs:?}");
}

/// Medians of all deaths: a single one depends on who is probed when.
#[test]
fn deaths_are_known_no_later_than_with_foca() {
    let median = |measure: fn(u64) -> Figure| {
        let mut times: Vec<_> = (1..=3).flat_map(|seed| measure(seed).times).collect();
        assert_eq!(times.len(), 30, "a death was never known to all");
        times.sort_unstable();
        times[times.len() / 2]
    };
    let ours = median(|seed| death::<Ours>(seed, 100, 10));
    let theirs = median(|seed| death::<Baseline>(seed, 100, 10));
    println!("a death is known to all of 100 nodes: ours {ours:?}, foca {theirs:?}, medians of 30");
    assert!(ours <= theirs, "ours {ours:?}, foca {theirs:?}");
}
