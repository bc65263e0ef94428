//! Shares: what is typed, what is drawn.

use super::*;

#[test]
fn what_is_typed_comes_back_as_text() {
    for text in ["get=95,put=5", "put", "get=1,put=2,delete=3,scan=4,rmw=5,insert=6"] {
        assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
    }
    assert_eq!("get=5, put=5".parse::<Mix>().unwrap(), Mix { get: 5, put: 5, ..Mix::default() });
}

#[test]
fn mistakes_name_the_way_out() {
    for (text, words) in [
        ("read=5", "there is get, put"),
        ("", "there is get"),
        ("get=half", "whole numbers"),
        ("get=-1", "whole numbers"),
        ("get=1,get=2", "twice"),
    ] {
        let error = text.parse::<Mix>().unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn kinds_come_as_often_as_their_shares_say() {
    let mix = Mix { get: 70, put: 20, scan: 10, ..Mix::default() };
    let mut chance = Chance::new(3, 0);
    let mut found = [0_u32; Kind::ALL.len()];
    for _ in 0..100_000 {
        found[mix.draw(&mut chance).index()] += 1;
    }
    for kind in Kind::ALL {
        let wanted = mix.share(kind) * 1000;
        assert!(found[kind.index()].abs_diff(wanted) < 750, "{kind:?}: {} instead of {wanted}", found[kind.index()]);
    }
}

#[test]
fn kinds_have_places_of_their_own_and_workloads_are_whole() {
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind.index(), place);
    }
    for workload in Workload::ALL {
        assert_eq!(workload.mix().sum(), 100, "{}", workload.name());
    }
}
