//! Who takes which key.

use std::time::Duration;

use super::*;
use crate::load::settings::{Keys, Mix, Pace, Settings, ValueSize};

fn settings(keys: u64) -> Settings {
    Settings {
        mix: Mix { put: 1, ..Mix::default() },
        keys: Keys::Zipfian(0.99),
        key_count: keys,
        value: ValueSize::Fixed(100),
        pace: Pace::Closed,
        in_flight: 1,
        duration: Duration::from_secs(1),
        warmup: Duration::ZERO,
        blind: false,
        verify: false,
        timeout: Duration::from_secs(1),
        seed: 1,
        processes: 1,
        table: "bench".to_owned(),
    }
}

#[test]
fn a_key_is_taken_once_until_it_is_released() {
    let mut state = State::new(&settings(50), Share::WHOLE).unwrap();
    let (choice, mut chance) = (KeyChoice::new(Keys::Zipfian(0.99), 50), Chance::new(1, 1));
    let mut taken: Vec<Drawn> = (0..50).map(|_| state.draw_free(&choice, &mut chance, false)).collect();
    assert!(taken.iter().any(|drawn| drawn.is_moved));
    let last = taken[49].key;
    taken.sort_by_key(|drawn| drawn.key);
    assert_eq!(taken.iter().map(|drawn| drawn.key).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    state.release(last);
    assert_eq!(state.draw_free(&choice, &mut chance, false).key, last);
}

#[test]
fn processes_write_keys_of_their_own_and_leave_none_out() {
    for (loaded, count) in [(10, 1), (10, 3), (11, 4), (64, 7)] {
        let mut all = BTreeSet::new();
        for index in 0..count {
            let share = Share { index, count };
            let mut state = State::new(&settings(loaded), share).unwrap();
            let (number, inserted) = state.begin_insert();
            state.release(inserted);
            assert_eq!(state.end_insert(number), 1);
            let owned: Vec<u64> = state.owned().collect();
            let (choice, mut chance) = (KeyChoice::new(Keys::Uniform, state.known()), Chance::new(1, 1));
            for _ in 0..owned.len() {
                let drawn = state.draw_free(&choice, &mut chance, false);
                assert!(owned.contains(&drawn.key), "{drawn:?} of {owned:?}, {share:?}");
            }
            for key in owned {
                assert!(all.insert(key), "{key} has two owners");
            }
        }
        assert_eq!(all.len(), usize::try_from(loaded).unwrap() + usize::from(count));
        assert!((0..loaded).all(|key| all.contains(&key)));
    }
}

#[test]
fn writes_of_several_processes_obey_the_law_together() {
    let (loaded, count) = (1000, 2);
    let mut found = vec![0_u32; 1000];
    let choice = KeyChoice::new(Keys::Zipfian(0.99), loaded);
    for index in 0..count {
        let mut state = State::new(&settings(loaded), Share { index, count }).unwrap();
        let mut chance = Chance::new(1, index.into());
        for _ in 0..100_000 {
            let drawn = state.draw_free(&choice, &mut chance, false);
            found[usize::try_from(drawn.key).unwrap()] += 1;
            state.release(drawn.key);
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let sum: f64 = (1..=1000_u32).map(|rank| f64::from(rank).powf(-0.99)).sum();
    for (rank, count) in found.iter().enumerate().take(10) {
        let wanted = 200_000.0 * ((rank + 1) as f64).powf(-0.99) / sum;
        let off = (f64::from(*count) - wanted).abs() / wanted;
        assert!(off < 0.2, "rank {rank}: {count} instead of {wanted:.0}");
    }
}

#[test]
fn inserted_keys_are_read_once_all_before_them_are_there() {
    let mut state = State::new(&settings(5), Share { index: 1, count: 2 }).unwrap();
    let (first, second, third) = (state.begin_insert(), state.begin_insert(), state.begin_insert());
    assert_eq!([first.1, second.1, third.1], [7, 9, 11], "the loaded keys of this process are 1 and 3");
    assert_eq!((state.end_insert(second.0), state.known()), (0, 5));
    assert_eq!((state.end_insert(first.0), state.known()), (2, 7));
    assert_eq!((state.end_insert(third.0), state.known()), (1, 8));
    assert_eq!(state.at(7), 11);
    assert_eq!(state.address(3).key(), &Bytes::from_static(b"key-000000000003"));
    assert_eq!(state.address(11).key(), &Bytes::from_static(b"new-000000000011"));
}

#[test]
fn shares_of_requests_in_flight_add_up() {
    for (whole, count) in [(1, 1), (64, 3), (7, 7), (100, 8)] {
        let sum: usize = (0..count).map(|index| Share { index, count }.of(whole)).sum();
        assert_eq!(sum, whole);
    }
}

#[test]
fn other_settings_need_other_items() {
    let state = State::new(&settings(5), Share::WHOLE).unwrap();
    state.check(&settings(5)).unwrap();
    for (changed, field) in [
        (settings(6), "keys"),
        (Settings { table: "other".to_owned(), ..settings(5) }, "table"),
        (Settings { verify: true, ..settings(5) }, "verify"),
    ] {
        let error = state.check(&changed).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    assert!(State::new(&Settings { table: "Up".to_owned(), ..settings(5) }, Share::WHOLE).is_err());
}

#[test]
fn context_is_remembered_until_siblings_or_doubt() {
    let mut state = State::new(&settings(5), Share::WHOLE).unwrap();
    let token = |text: &'static [u8]| Context::from_token(Bytes::from_static(text));
    assert_eq!(state.context(3), None);
    state.keep_context(3, &token(b"one"), 1);
    assert_eq!(state.context(3), Some(token(b"one")));
    state.keep_context(3, &token(b"two"), 2);
    assert_eq!(state.context(3), None, "the write does not know the sibling beside it");
    let read = Versions { context: token(b"read"), values: Vec::new() };
    state.busy.set(3);
    state.offer_context(3, &read);
    assert_eq!(state.context(3), None, "a write is under way");
    state.release(3);
    state.offer_context(3, &read);
    assert_eq!(state.context(3), Some(token(b"read")));
    state.forget_context(3);
    assert_eq!(state.context(3), None);
}
