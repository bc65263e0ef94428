//! Key choices against their laws: frequencies within five standard deviations.

use super::*;

const DRAWS: u64 = 400_000;

fn frequencies(choice: &KeyChoice, count: u64, seed: u64) -> Vec<u64> {
    let mut chance = Chance::new(seed, 0);
    let mut found = vec![0_u64; usize::try_from(count).unwrap()];
    for _ in 0..DRAWS {
        found[usize::try_from(choice.draw(&mut chance)).unwrap()] += 1;
    }
    found
}

/// Every frequency is that of its probability, as far as chance allows.
fn obeys(found: &[u64], probability: impl Fn(usize) -> f64) {
    for (place, count) in found.iter().enumerate() {
        let p = probability(place);
        let (mean, deviation) = (DRAWS as f64 * p, (DRAWS as f64 * p * (1.0 - p)).sqrt());
        let off = (*count as f64 - mean).abs();
        assert!(off <= 5.0 * deviation + 1.0, "place {place}: {count} of {DRAWS}, the law says {mean:.1}");
    }
}

#[test]
fn zipf_frequencies_obey_the_law_for_every_exponent() {
    for exponent in [0.5, 0.8, ZIPF_EXPONENT, 1.0, 1.2, 2.0] {
        let count = 1000_u32;
        let sum: f64 = (1..=count).map(|rank| f64::from(rank).powf(-exponent)).sum();
        let choice = KeyChoice::new(Keys::Zipfian(exponent), u64::from(count));
        let found = frequencies(&choice, u64::from(count), 7);
        let step = coprime(u64::from(count));
        let mut ranks = vec![0; found.len()];
        for rank in 0..u64::from(count) {
            let place = scattered(rank, step, u64::from(count));
            ranks[usize::try_from(rank).unwrap()] = found[usize::try_from(place).unwrap()];
        }
        obeys(&ranks, |rank| ((rank + 1) as f64).powf(-exponent) / sum);
    }
}

#[test]
fn popular_keys_are_scattered_and_every_key_has_one_rank() {
    for count in [1, 2, 3, 10, 97, 1000, 4096, 20_000] {
        let step = coprime(count);
        let mut places: Vec<u64> = (0..count).map(|rank| scattered(rank, step, count)).collect();
        if count >= 97 {
            assert!(places.windows(2).take(20).all(|pair| pair[0].abs_diff(pair[1]) > count / 4), "{count}");
        }
        places.sort_unstable();
        assert_eq!(places, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn uniform_and_hotspot_obey_their_laws() {
    obeys(&frequencies(&KeyChoice::new(Keys::Uniform, 500), 500, 3), |_| 1.0 / 500.0);
    let keys = Keys::Hotspot { keys: 0.2, operations: 0.8 };
    let found = frequencies(&KeyChoice::new(keys, 500), 500, 4);
    obeys(&found, |place| if place < 100 { 0.8 / 100.0 } else { 0.2 / 400.0 });
    let all = Keys::Hotspot { keys: 1.0, operations: 0.5 };
    obeys(&frequencies(&KeyChoice::new(all, 10), 10, 4), |_| 0.1);
}

#[test]
fn latest_prefers_what_was_inserted_last() {
    let mut choice = KeyChoice::new(Keys::Latest, 300);
    (0..100).for_each(|_| choice.grow());
    let found = frequencies(&choice, 400, 5);
    let sum: f64 = (1..=400_u32).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT)).sum();
    obeys(&found, |place| ((400 - place) as f64).powf(-ZIPF_EXPONENT) / sum);
}

#[test]
fn great_key_spaces_cost_nothing_and_stay_in_bounds() {
    let mut chance = Chance::new(1, 0);
    for keys in [Keys::Uniform, Keys::Zipfian(0.99), Keys::Latest, Keys::Hotspot { keys: 1e-12, operations: 0.9 }] {
        for count in [1, 2, 1_000_000_000] {
            let choice = KeyChoice::new(keys, count);
            assert!((0..1000).all(|_| choice.draw(&mut chance) < count), "{keys:?} {count}");
        }
    }
}

#[test]
fn same_seed_draws_the_same_keys() {
    let choice = KeyChoice::new(Keys::Zipfian(0.99), 1000);
    let draw = |seed| {
        let mut chance = Chance::new(seed, 0);
        (0..100).map(|_| choice.draw(&mut chance)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
