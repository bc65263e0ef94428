//! Settings that no run can be made of.

use super::*;

fn good() -> Settings {
    Settings {
        mix: Mix { get: 95, put: 5, ..Mix::default() },
        keys: Keys::Zipfian(0.99),
        key_count: 20_000,
        value: ValueSize::Fixed(1024),
        pace: Pace::Closed,
        in_flight: 64,
        duration: Duration::from_secs(10),
        warmup: Duration::from_millis(1500),
        blind: false,
        verify: false,
        timeout: Duration::from_secs(2),
        seed: 1,
        processes: 1,
        table: "bench".to_owned(),
    }
}

/// What a change to good settings is told.
fn told(change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = good();
    change(&mut settings);
    settings.check().expect_err("settings that no run can be made of").to_string()
}

#[test]
fn mistakes_name_field_limit_and_way_out() {
    good().check().unwrap();
    for (error, words) in [
        (told(|s| s.table = "Up".to_owned()), ["table: ", "a-z 0-9"]),
        (told(|s| s.mix = Mix::default()), ["mix: ", "get=95,put=5"]),
        (told(|s| s.key_count = 0), ["keys: ", "at least 1"]),
        (told(|s| s.key_count = u64::MAX), ["keys: ", "1073741824"]),
        (told(|s| s.key_count = 64), ["keys: ", "at least 65"]),
        (told(|s| s.value = ValueSize::Fixed(9 << 20)), ["value-size: ", "8388608"]),
        (told(|s| s.value = ValueSize::Uniform { min: 9, max: 8 }), ["value-size: ", "smaller size first"]),
        (told(|s| s.keys = Keys::Zipfian(f64::NAN)), ["distribution: ", "0.99"]),
        (told(|s| s.keys = Keys::Hotspot { keys: 0.1, operations: 1.1 }), ["distribution: ", "0 to 1"]),
        (told(|s| s.pace = Pace::Constant(0.0)), ["rate: ", "0.001"]),
        (told(|s| s.pace = Pace::Poisson(f64::INFINITY)), ["rate: ", "10000000"]),
        (told(|s| s.duration = Duration::from_millis(1500)), ["duration: ", "whole seconds"]),
        (told(|s| s.duration = Duration::ZERO), ["duration: ", "1s"]),
        (told(|s| s.warmup = Duration::MAX), ["warmup: ", "604800s"]),
        (told(|s| s.timeout = Duration::from_secs(61)), ["timeout: ", "60s"]),
        (told(|s| s.processes = 0), ["processes: ", "1 to 64"]),
        (told(|s| (s.processes, s.in_flight) = (8, 7)), ["in-flight: ", "8 (one for each process)"]),
        (told(|s| s.in_flight = 20_000), ["in-flight: ", "16384"]),
        (told(|s| (s.verify, s.blind) = (true, true)), ["verify: ", "--blind"]),
        (told(|s| (s.verify, s.value) = (true, ValueSize::Fixed(31))), ["value-size: ", "at least 32"]),
        (told(|s| (s.verify, s.key_count) = (true, 60_000_000)), ["keys: ", "50000000"]),
    ] {
        assert!(words.iter().all(|words| error.contains(words)), "{words:?}: {error}");
    }
}

#[test]
fn reads_and_blind_writes_need_no_key_for_each_request() {
    let few = Settings { key_count: 1, ..good() };
    Settings { mix: Mix { get: 1, ..Mix::default() }, ..few.clone() }.check().unwrap();
    Settings { blind: true, ..few }.check().unwrap();
}

#[test]
fn parts_of_a_pace_add_up() {
    assert_eq!(Pace::Poisson(900.0).part(3), Pace::Poisson(300.0));
    assert_eq!(Pace::Closed.part(3), Pace::Closed);
}
