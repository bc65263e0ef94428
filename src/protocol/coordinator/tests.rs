//! Decisions, answer by answer.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::types::{ActorId, Hlc, Strictness, WriteId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings, Version};

fn item(actor: u64) -> Siblings {
    let mut item = Siblings::default();
    let dot = Dot::new(ActorId::new(actor), 1);
    let write_id = WriteId::new(u128::from(actor));
    let value = Bytes::from(actor.to_string());
    let version = Version { dot, hlc: Hlc::ZERO, write_id, tombstone: false, expires_at: 0, checksum: 0, value };
    item.put(&Context::default(), version, ConflictPolicy::Siblings);
    item
}

fn copy(item: Siblings) -> Replied {
    Replied::Copy { item, unverified: false }
}

fn get(r: u8) -> Get {
    Get::new(3, r, ConflictPolicy::Siblings)
}

fn slot(at: usize) -> Slot {
    Slot::new(at)
}

#[test]
fn equal_answers_are_told_at_once() {
    let mut get = get(2);
    get.add_result(slot(0), copy(item(1)));
    assert_eq!(get.enough(), Enough::Wait);
    get.add_result(slot(2), copy(item(1)));
    assert_eq!(get.enough(), Enough::Met);
    assert_eq!(get.response(), GetResponse::Reply);
    assert_eq!(get.final_action(), GetFinal::Nothing);
}

#[test]
fn differing_answers_are_stored_before_they_are_told() {
    let mut get = get(2);
    get.add_result(slot(0), copy(item(1)));
    get.add_result(slot(1), copy(item(2)));
    assert_eq!(get.response(), GetResponse::Store { holders: vec![] });
    assert_eq!(get.merged().versions().len(), 2);
    let mut newer = self::get(2);
    newer.add_result(slot(0), copy(Siblings::default()));
    newer.add_result(slot(1), copy(item(2)));
    assert_eq!(newer.response(), GetResponse::Store { holders: vec![slot(1)] });
    assert_eq!(newer.final_action(), GetFinal::Repair(vec![slot(0)]));
}

#[test]
fn unknown_is_not_absent() {
    let mut get = get(2);
    get.add_result(slot(0), Replied::Unknown);
    get.add_result(slot(1), copy(Siblings::default()));
    assert_eq!(get.enough(), Enough::Wait, "one absent and one unknown are one answer");
    get.add_result(slot(2), Replied::Unknown);
    assert_eq!(get.enough(), Enough::Failed);
    assert_eq!(get.response(), GetResponse::Fail { answers: 1, unknown: vec![slot(0), slot(2)] });
}

#[test]
fn unverified_answer_adds_data_but_does_not_count() {
    let mut get = get(2);
    get.add_result(slot(0), Replied::Copy { item: item(1), unverified: true });
    get.add_result(slot(1), copy(Siblings::default()));
    assert_eq!(get.enough(), Enough::Wait);
    get.add_result(slot(2), copy(Siblings::default()));
    assert_eq!(get.enough(), Enough::Met);
    assert_eq!(get.merged(), &item(1));
    assert_eq!(get.response(), GetResponse::Store { holders: vec![slot(0)] });
}

#[test]
fn duplicate_answer_is_counted_once() {
    let mut get = get(2);
    get.add_result(slot(0), copy(item(1)));
    get.add_result(slot(0), copy(item(1)));
    assert_eq!(get.enough(), Enough::Wait);
    let mut put = Put::new(3, 2, Strictness::Strict);
    put.add_result(slot(0), Copied::Stored { fsynced: true });
    put.add_result(slot(0), Copied::Stored { fsynced: true });
    assert_eq!(put.enough(), Enough::Wait);
}

#[test]
fn failed_write_says_which_copies_exist() {
    let mut put = Put::new(3, 3, Strictness::Strict);
    put.add_result(slot(1), Copied::Stored { fsynced: true });
    put.add_result(slot(2), Copied::Unknown);
    assert_eq!(put.enough(), Enough::Failed);
    let copy = Copy { slot: slot(1), holder: Holder::Owner, fsynced: true };
    assert_eq!(put.response(), PutResponse::Fail { copies: vec![copy] });
    assert_eq!(put.final_action(), vec![slot(0), slot(2)]);
}

#[test]
fn stand_in_counts_for_a_sloppy_write_and_never_for_a_strict_one() {
    let stored = Copied::Stored { fsynced: true };
    for (strictness, expected) in [(Strictness::Sloppy, Enough::Met), (Strictness::Strict, Enough::Failed)] {
        let mut put = Put::new(3, 2, strictness);
        put.add_result(slot(0), stored);
        put.add_result(slot(1), Copied::Unknown);
        put.add_result(slot(2), Copied::Unknown);
        put.ask_stand_in(slot(1), 7);
        assert_eq!(put.add_stand_in(7, stored), None);
        assert_eq!(put.enough(), expected);
        let hint = Copy { slot: slot(1), holder: Holder::StandIn(7), fsynced: true };
        let (PutResponse::Reply { copies } | PutResponse::Fail { copies }) = put.response();
        assert!(copies.contains(&hint), "the hint is reported either way");
    }
}

#[test]
fn owner_and_its_stand_in_count_as_one_copy() {
    let mut put = Put::new(3, 2, Strictness::Sloppy);
    put.ask_stand_in(slot(0), 7);
    assert_eq!(put.add_stand_in(7, Copied::Stored { fsynced: true }), None);
    put.add_result(slot(0), Copied::Stored { fsynced: true });
    assert_eq!((put.counted(), put.enough()), (1, Enough::Wait));
}

#[test]
fn stand_in_that_refuses_is_followed_by_the_next_until_nobody_is_left() {
    let mut put = Put::new(3, 3, Strictness::Sloppy);
    put.add_result(slot(2), Copied::Unknown);
    put.ask_stand_in(slot(2), 7);
    assert_eq!(put.add_stand_in(7, Copied::Unknown), Some(slot(2)));
    assert_eq!(put.enough(), Enough::Wait);
    put.exhaust_stand_ins(slot(2));
    assert_eq!(put.enough(), Enough::Failed);
}

#[test]
fn empty_answer_of_a_stand_in_does_not_count() {
    let mut get = get(2);
    get.expect_stand_ins(true);
    get.add_result(slot(0), copy(item(1)));
    get.add_result(slot(1), Replied::Unknown);
    get.add_result(slot(2), Replied::Unknown);
    assert_eq!(get.enough(), Enough::Wait);
    get.add_stand_in(&Siblings::default());
    assert_eq!(get.answers(), 1);
    get.add_stand_in(&item(1));
    assert_eq!(get.enough(), Enough::Met);
}

proptest! {
    /// Whatever the order, a decision is met exactly when the quorum answered, and failed exactly when it cannot.
    #[test]
    fn decisions_depend_on_the_answers_and_not_on_their_order(
        n in 1_u8..6,
        quorum in 1_u8..6,
        answers in prop::collection::vec((0_usize..6, any::<bool>()), 0..20),
    ) {
        prop_assume!(quorum <= n);
        let mut get = Get::new(n, quorum, ConflictPolicy::Siblings);
        let mut put = Put::new(n, quorum, Strictness::Strict);
        let mut first = std::collections::BTreeMap::new();
        for (at, useful) in answers.into_iter().filter(|(at, _)| *at < usize::from(n)) {
            if first.contains_key(&at) {
                continue;
            }
            first.insert(at, useful);
            get.add_result(slot(at), if useful { copy(item(1)) } else { Replied::Unknown });
            put.add_result(slot(at), if useful { Copied::Stored { fsynced: false } } else { Copied::Unknown });
            let good = first.values().filter(|useful| **useful).count();
            let open = usize::from(n) - first.len();
            let expected = if good >= usize::from(quorum) {
                Enough::Met
            } else if good + open < usize::from(quorum) {
                Enough::Failed
            } else {
                Enough::Wait
            };
            prop_assert_eq!(get.enough(), expected);
            prop_assert_eq!(put.enough(), expected);
        }
    }
}

/// A version of a write, with a value that says whose it is.
fn version(actor: u64, counter: u64) -> Version {
    let value = Bytes::from(format!("{actor}-{counter}"));
    Version {
        dot: Dot::new(ActorId::new(actor), counter),
        hlc: Hlc::from_bits(counter << 16),
        write_id: WriteId::new(u128::from(actor) << 64 | u128::from(counter)),
        tombstone: false,
        expires_at: 0,
        checksum: actor << 32 | counter,
        value,
    }
}

/// Copies of three replicas that were written to one at a time, with or without what they knew, and merged now and
/// then.
fn copies(steps: &[(usize, usize, u8)], policy: ConflictPolicy) -> [Siblings; 3] {
    let mut all: [Siblings; 3] = Default::default();
    for (counter, (at, from, what)) in (1..).zip(steps) {
        let other = all[*from].clone();
        let item = &mut all[*at];
        match what {
            0 => drop(item.join(&other, policy)),
            1 => item.put(&Context::default(), version(*at as u64 + 1, counter), policy),
            _ => {
                let context = Context::of(item);
                item.put(&context, version(*at as u64 + 1, counter), policy);
            }
        }
    }
    all
}

fn head(item: &Siblings, unverified: bool) -> Replied {
    let bytes = crate::protocol::version::Head::of(&item.to_record()).unwrap();
    let (item, lacking) = crate::protocol::version::Head::decode(&bytes).unwrap().into_parts();
    Replied::Head { item, lacking, unverified }
}

proptest! {
    /// Whoever answers with a head and whoever with a copy, in whatever order: what is shown, who is taken to hold it
    /// and who is repaired are the same as if all had sent copies; and nothing is fetched that is not shown.
    #[test]
    fn heads_and_copies_decide_alike(
        steps in prop::collection::vec((0_usize..3, 0_usize..3, 0_u8..3), 0..12),
        order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
        heads in prop::collection::vec(any::<bool>(), 3),
        latest in any::<bool>(),
        late in any::<bool>(),
    ) {
        let policy = if latest { ConflictPolicy::LastWriterWins } else { ConflictPolicy::Siblings };
        let items = copies(&steps, policy);
        let mut whole = Get::new(3, 3, policy);
        let mut mixed = Get::new(3, 3, policy);
        for at in order {
            whole.add_result(slot(at), copy(items[at].clone()));
            let reply = if heads[at] { head(&items[at], false) } else { copy(items[at].clone()) };
            mixed.add_result(slot(at), reply);
        }
        prop_assert!(whole.is_complete());
        prop_assert!(mixed.merged().is_alike(whole.merged()));
        let mut asked = 0;
        while let Some((from, wanted)) = mixed.next_fetch() {
            prop_assert!(heads[from.as_index()]);
            let shown = |dot: &Dot| whole.merged().versions().iter().any(|version| version.dot == *dot);
            prop_assert!(wanted.iter().all(shown), "{wanted:?} is shown to nobody");
            asked += 1;
            prop_assert!(asked <= 3);
            if late && asked == 1 {
                mixed.give_up_waiting();
                continue;
            }
            mixed.add_values(from, &items[from.as_index()].only(&wanted));
        }
        if late && !mixed.is_complete() {
            // Nobody else has them: the late one answers after all.
            let from = mixed.fetching().next().unwrap();
            mixed.add_values(from, &items[from.as_index()]);
        }
        prop_assert!(mixed.is_complete());
        prop_assert_eq!(mixed.merged(), whole.merged());
        prop_assert_eq!(mixed.response(), whole.response());
        prop_assert_eq!(mixed.final_action(), whole.final_action());
    }

    /// A head whose sender cannot send the values is as good as no answer.
    #[test]
    fn head_that_is_taken_back_leaves_what_the_others_said(
        steps in prop::collection::vec((0_usize..3, 0_usize..3, 0_u8..3), 1..12),
    ) {
        let items = copies(&steps, ConflictPolicy::Siblings);
        let mut get = Get::new(3, 2, ConflictPolicy::Siblings);
        get.add_result(slot(0), copy(items[0].clone()));
        get.add_result(slot(1), head(&items[1], false));
        let Some((from, _)) = get.next_fetch() else { return Ok(()) };
        prop_assert!(!get.is_complete());
        get.add_result(from, Replied::Unknown);
        prop_assert!(get.is_complete());
        prop_assert_eq!(get.merged(), &items[0]);
        prop_assert_eq!((get.answers(), get.enough()), (1, Enough::Wait));
        get.add_result(slot(2), copy(items[2].clone()));
        let mut expected = items[0].clone();
        expected.join(&items[2], ConflictPolicy::Siblings);
        prop_assert_eq!(get.merged(), &expected);
    }
}
