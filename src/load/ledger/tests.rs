//! The ledger against fake histories: what is planted is found, and a cluster that keeps its word is never accused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn found(ledger: &mut Ledger) -> (u64, u64, u64) {
    let (Verification { wrong, stale, lost, .. }, _) = ledger.take_found();
    (wrong, stale, lost)
}

/// Writes and acknowledges.
fn write(ledger: &mut Ledger, key: u64, change: Change) -> u64 {
    let number = ledger.begin_write(key, change);
    ledger.acknowledge(key, number);
    number
}

fn read(ledger: &mut Ledger, key: u64, shown: &[Shown]) {
    let floor = ledger.begin_read(key);
    ledger.end_read(key, floor, shown);
}

#[test]
fn planted_values_are_found_and_named() {
    let mut ledger = Ledger::new(Share::WHOLE);
    for _ in 0..3 {
        write(&mut ledger, 7, Change::Value);
    }
    read(&mut ledger, 7, &[Some(3)]);
    assert_eq!(found(&mut ledger), (0, 0, 0));
    read(&mut ledger, 7, &[Some(2)]);
    assert_eq!(found(&mut ledger), (0, 1, 0), "an older value");
    read(&mut ledger, 7, &[]);
    assert_eq!(found(&mut ledger), (0, 1, 0), "nothing, where nothing was deleted");
    for wrong in [None, Some(4), Some(0)] {
        read(&mut ledger, 7, &[wrong]);
        assert_eq!(found(&mut ledger), (1, 0, 0), "{wrong:?}");
    }
    read(&mut ledger, 7, &[Some(3), None]);
    assert_eq!(found(&mut ledger), (1, 0, 0), "beside the right one");
    read(&mut ledger, 7, &[Some(1), Some(3)]);
    assert_eq!(found(&mut ledger), (0, 0, 0), "siblings, one of them new enough");
    ledger.end_last_read(7, &[Some(2)]);
    assert_eq!(found(&mut ledger), (0, 0, 1), "the last acknowledged one is gone");
    ledger.end_last_read(7, &[None]);
    let (verification, findings) = ledger.take_found();
    assert_eq!((verification.wrong, verification.checked), (1, 1));
    let words = "wrong at the end: key 7 showed a value of nobody's; write 3 was acknowledged before, 3 were begun";
    assert_eq!(findings, [words]);
}

#[test]
fn concurrent_and_unanswered_writes_are_no_findings() {
    let mut ledger = Ledger::new(Share::WHOLE);
    write(&mut ledger, 1, Change::Value);
    let floor = ledger.begin_read(1);
    let second = ledger.begin_write(1, Change::Value);
    ledger.end_read(1, floor, &[Some(1)]);
    ledger.end_read(1, floor, &[Some(2)]);
    ledger.acknowledge(1, second);
    ledger.end_read(1, floor, &[Some(1)]);
    assert_eq!(found(&mut ledger), (0, 0, 0), "the read began before the second was acknowledged");
    read(&mut ledger, 1, &[Some(1)]);
    assert_eq!(found(&mut ledger), (0, 1, 0), "this one began after it");
    let third = ledger.begin_write(1, Change::Value);
    ledger.give_up(1, third);
    read(&mut ledger, 1, &[Some(2)]);
    read(&mut ledger, 1, &[Some(3)]);
    read(&mut ledger, 1, &[Some(2), Some(3)]);
    ledger.end_last_read(1, &[Some(2)]);
    assert_eq!(found(&mut ledger), (0, 0, 0), "it may have happened or not");
}

#[test]
fn deletes_show_nothing_and_unanswered_ones_may() {
    let mut ledger = Ledger::new(Share::WHOLE);
    read(&mut ledger, 1, &[]);
    write(&mut ledger, 1, Change::Value);
    write(&mut ledger, 1, Change::Delete);
    read(&mut ledger, 1, &[]);
    assert_eq!(found(&mut ledger), (0, 0, 0));
    read(&mut ledger, 1, &[Some(1)]);
    assert_eq!(found(&mut ledger), (0, 1, 0), "the deleted value is back");
    write(&mut ledger, 1, Change::Value);
    read(&mut ledger, 1, &[]);
    assert_eq!(found(&mut ledger), (0, 1, 0), "written anew, and not there");
    let unanswered = ledger.begin_write(1, Change::Delete);
    read(&mut ledger, 1, &[]);
    read(&mut ledger, 1, &[Some(3)]);
    ledger.give_up(1, unanswered);
    ledger.end_last_read(1, &[]);
    ledger.end_last_read(1, &[Some(3)]);
    assert_eq!(found(&mut ledger), (0, 0, 0));
    // A put without an answer, which the delete after it did not know, is there alone.
    let late = ledger.begin_write(1, Change::Value);
    ledger.give_up(1, late);
    write(&mut ledger, 1, Change::Delete);
    read(&mut ledger, 1, &[Some(late)]);
    assert_eq!(found(&mut ledger), (0, 0, 0));
    read(&mut ledger, 1, &[Some(3)]);
    assert_eq!(found(&mut ledger), (0, 1, 0));
}

#[test]
fn what_an_earlier_run_left_is_where_numbers_begin() {
    let mut ledger = Ledger::new(Share::WHOLE);
    assert!(ledger.adopt(2, &[Some(40), Some(41)]));
    read(&mut ledger, 2, &[Some(41)]);
    assert_eq!(write(&mut ledger, 2, Change::Value), 42);
    assert_eq!(found(&mut ledger), (0, 0, 0));
    assert!(ledger.adopt(3, &[]));
    assert!(!ledger.adopt(4, &[None]) && !ledger.adopt(4, &[Some(u64::MAX)]));
}

#[test]
fn findings_in_words_are_few() {
    let mut ledger = Ledger::new(Share::WHOLE);
    for key in 0..100 {
        read(&mut ledger, key, &[None]);
    }
    let (verification, findings) = ledger.take_found();
    assert_eq!((verification.wrong, findings.len()), (100, FINDINGS_MAX));
}

/// One item of a cluster that keeps its word: versions that were written and not replaced by one that knew them.
#[derive(Debug, Clone, Default)]
struct Item {
    versions: BTreeSet<u64>,
}

/// A write on its way: what it replaces, and what it puts there.
#[derive(Debug, Clone)]
struct Write {
    number: u64,
    change: Change,
    context: BTreeSet<u64>,
}

impl Item {
    fn apply(&mut self, write: &Write) {
        self.versions.retain(|version| !write.context.contains(version));
        if write.change == Change::Value {
            self.versions.insert(write.number);
        }
    }

    fn shown(&self) -> Vec<Shown> {
        self.versions.iter().map(|version| Some(*version)).collect()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A write that is acknowledged.
    Write(Change),
    /// One without an answer, that has happened, or happens later, or never.
    Lose(Change, bool),
    /// A late write happens.
    Surface,
    BeginRead,
    /// A read's answer is made.
    Answer,
    EndRead,
}

fn step() -> impl Strategy<Value = Step> {
    let change = || prop_oneof![3 => Just(Change::Value), 1 => Just(Change::Delete)];
    prop_oneof![
        4 => change().prop_map(Step::Write),
        1 => (change(), any::<bool>()).prop_map(|(change, now)| Step::Lose(change, now)),
        1 => Just(Step::Surface),
        3 => Just(Step::BeginRead),
        3 => Just(Step::Answer),
        3 => Just(Step::EndRead),
    ]
}

proptest! {
    /// Reads of a cluster that keeps its word, whatever surfaces late: never a finding. And the value before the last
    /// acknowledged one, planted in place of everything, always is one.
    #[test]
    fn honest_cluster_is_never_accused_and_a_planted_value_always_found(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let (mut ledger, mut item) = (Ledger::new(Share::WHOLE), Item::default());
        let (mut context, mut late) = (BTreeSet::new(), Vec::<Write>::new());
        let mut reads: Vec<(Floor, Option<Vec<Shown>>)> = Vec::new();
        let mut sure = Vec::new();
        for step in steps {
            match step {
                Step::Write(change) => {
                    let number = ledger.begin_write(0, change);
                    item.apply(&Write { number, change, context: context.clone() });
                    ledger.acknowledge(0, number);
                    context.insert(number);
                    sure.push((number, change));
                }
                Step::Lose(change, now) => {
                    let number = ledger.begin_write(0, change);
                    let write = Write { number, change, context: context.clone() };
                    if now { item.apply(&write) } else { late.push(write) }
                    ledger.give_up(0, number);
                    // The next write reads first.
                    context.extend(item.versions.iter());
                }
                Step::Surface => {
                    if let Some(write) = late.pop() {
                        item.apply(&write);
                    }
                }
                Step::BeginRead => reads.push((ledger.begin_read(0), None)),
                Step::Answer => {
                    if let Some((_, answer)) = reads.iter_mut().find(|(_, answer)| answer.is_none()) {
                        *answer = Some(item.shown());
                    }
                }
                Step::EndRead => {
                    if let Some(at) = reads.iter().position(|(_, answer)| answer.is_some()) {
                        let (floor, answer) = reads.remove(at);
                        ledger.end_read(0, floor, &answer.unwrap_or_default());
                    }
                }
            }
        }
        ledger.end_last_read(0, &item.shown());
        let (verification, findings) = ledger.take_found();
        prop_assert!(verification.is_clean(), "{:?}", findings);
        if let [.., (older, Change::Value), (_, Change::Value)] = sure[..] {
            read(&mut ledger, 0, &[Some(older)]);
            prop_assert_eq!(found(&mut ledger), (0, 1, 0));
        }
    }
}
