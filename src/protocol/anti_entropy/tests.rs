//! Exchanges between two maps, and the order of the schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::*;
use crate::protocol::merkle::{FANOUT, Listed, Tree, item_hash, leaf_of, running_hash};
use crate::protocol::types::{Instant, PartitionId};

type Map = BTreeMap<Bytes, u64>;

fn key(at: u64) -> Bytes {
    let mut out = vec![1];
    // A few keys share a hash, as the items of a wide key do.
    out.put_u64((at / 4) << 50);
    out.put_u64(at);
    out.into()
}

fn hash(key: &Bytes, value: u64) -> u64 {
    item_hash(key, &value.to_be_bytes())
}

fn tree(map: &Map) -> Tree {
    let mut tree = Tree::new();
    tree.begin_page([]).unwrap();
    let page =
        map.iter().map(|(key, value)| Listed { key: key.clone(), hash: hash(key, *value), reapable: false }).collect();
    tree.finish_page(page, false, 0);
    tree
}

fn page(map: &Map, leaf: u16, after: &Bytes, until: &Bytes, limit: usize) -> (Vec<(Bytes, u64)>, bool) {
    let within = |key: &Bytes| key > after && (until.is_empty() || key <= until);
    let of = |(key, _): &(&Bytes, &u64)| leaf_of(key, 0) == usize::from(leaf) && within(key);
    let all: Vec<_> = map.iter().filter(of).map(|(key, value)| (key.clone(), hash(key, *value))).collect();
    let more = all.len() > limit;
    (all.into_iter().take(limit).collect(), more)
}

/// Runs an exchange to its end; a move takes the greater hash to both sides. Says how it ended, what it moved, and how
/// many items the other side listed.
fn run(ours: &mut Map, theirs: &mut Map, limit: usize) -> (Outcome, Vec<Bytes>, usize) {
    let mut exchange = Exchange::new();
    let mut moved = Vec::new();
    let mut listed = 0;
    for _ in 0..100_000 {
        match exchange.next_step().expect("an exchange that waits for nothing is over") {
            Step::Compare(inner) => {
                let theirs = tree(theirs);
                let sums = match inner.is_empty() {
                    true if theirs.root() == tree(ours).root() => Vec::new(),
                    true => theirs.inner(),
                    false => inner.iter().flat_map(|at| theirs.leaves(usize::from(*at)).to_vec()).collect(),
                };
                exchange.handle_sums(&tree(ours), &sums);
            }
            Step::Pause => exchange.handle_pause(),
            Step::List(leaf, after) => {
                let (items, more) = page(ours, leaf, &after, &Bytes::new(), limit);
                exchange.handle_items(Side::Ours, items, more);
            }
            Step::Match(Stretch { leaf, after, until, hash }) => {
                let (items, more) = page(theirs, leaf, &after, &until, limit);
                if !more && running_hash(items.iter().map(|(key, hash)| (key, *hash))) == hash {
                    exchange.handle_match();
                } else {
                    listed += items.len();
                    exchange.handle_items(Side::Theirs, items, more);
                }
            }
            Step::Move(difference) => {
                let value = ours.get(&difference.key).max(theirs.get(&difference.key)).copied().unwrap();
                ours.insert(difference.key.clone(), value);
                theirs.insert(difference.key.clone(), value);
                moved.push(difference.key);
                exchange.handle_moved(Moved::Equal);
            }
            Step::Done(outcome) => return (outcome, moved, listed),
        }
    }
    panic!("the exchange does not end");
}

fn maps() -> impl Strategy<Value = (Map, Map)> {
    let map = || prop::collection::btree_map((0_u64..60).prop_map(key), 1_u64..4, 0..50);
    (map(), map())
}

proptest! {
    #[test]
    fn exchange_moves_exactly_the_differing_items_and_leaves_both_sides_equal(
        (ours, theirs) in maps(),
        limit in 1_usize..9,
    ) {
        let (mut a, mut b) = (ours.clone(), theirs.clone());
        let (outcome, mut moved, _) = run(&mut a, &mut b, limit);
        let all: BTreeSet<&Bytes> = ours.keys().chain(theirs.keys()).collect();
        let expected: Vec<Bytes> = all.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).cloned().collect();
        moved.sort();
        prop_assert_eq!(outcome, Outcome::Completed { moved: expected.len() as u64, unreadable: 0, obsolete: 0 });
        prop_assert_eq!(moved, expected);
        prop_assert_eq!(a, b);
    }
}

/// A wide key of 100,000 items in which one differs: the page with that one is listed, and no other.
#[test]
fn only_the_page_that_differs_is_listed() {
    let wide = |at: u64| {
        let mut out = vec![1];
        out.put_u64(7 << 50);
        out.put_u64(at);
        Bytes::from(out)
    };
    let mut ours: Map = (0..100_000).map(|at| (wide(at), 1)).collect();
    for (what, other) in [("changed", Some(2)), ("missing", None)] {
        let mut theirs = ours.clone();
        match other {
            Some(value) => drop(theirs.insert(wide(70_000), value)),
            None => drop(theirs.remove(&wide(70_000))),
        }
        let (outcome, moved, listed) = run(&mut ours, &mut theirs, 1_024);
        assert_eq!(outcome, Outcome::Completed { moved: 1, unreadable: 0, obsolete: 0 });
        assert_eq!(moved, [wide(70_000)]);
        assert!(listed <= 1_024, "{listed} items were listed for one that is {what}");
    }
    let mut theirs = ours.clone();
    theirs.insert(wide(200_000), 1);
    let (_, moved, listed) = run(&mut ours, &mut theirs, 1_024);
    assert_eq!(moved, [wide(200_000)]);
    assert!(listed <= 1_024, "{listed} items were listed for one behind the last");
}

#[test]
fn equal_roots_end_the_exchange_with_one_question() {
    let map: Map = [(key(1), 1)].into();
    let mut exchange = Exchange::new();
    assert_eq!(exchange.next_step(), Some(Step::Compare(vec![])));
    exchange.handle_sums(&tree(&map), &[]);
    assert_eq!(exchange.next_step(), Some(Step::Done(Outcome::Completed { moved: 0, unreadable: 0, obsolete: 0 })));
}

#[test]
fn write_in_flight_is_no_difference() {
    let mut exchange = Exchange::new();
    let ours: Map = [(key(1), 1)].into();
    assert_eq!(exchange.next_step(), Some(Step::Compare(vec![])));
    exchange.handle_sums(&tree(&ours), &tree(&Map::new()).inner());
    let Some(Step::Compare(inner)) = exchange.next_step() else { panic!("the leaves are asked for") };
    exchange.handle_sums(&tree(&ours), &[0; FANOUT]);
    assert_eq!(exchange.next_step(), Some(Step::Pause));
    exchange.handle_pause();
    assert_eq!(exchange.next_step(), Some(Step::Compare(inner.clone())));
    // It arrived meanwhile.
    exchange.handle_sums(&tree(&ours), tree(&ours).leaves(usize::from(inner[0])));
    assert_eq!(exchange.next_step(), Some(Step::Done(Outcome::Completed { moved: 0, unreadable: 0, obsolete: 0 })));
}

#[test]
fn confused_answers_end_the_exchange() {
    for sums in [vec![1; 1], vec![1; FANOUT - 1], vec![1; FANOUT + 1]] {
        let mut exchange = Exchange::new();
        exchange.next_step();
        exchange.handle_sums(&tree(&Map::new()), &sums);
        assert_eq!(exchange.next_step(), Some(Step::Done(Outcome::Failed)), "{} sums", sums.len());
    }
    let mut exchange = Exchange::new();
    exchange.next_step();
    exchange.handle_sums(&Tree::new(), &[0; FANOUT]);
    assert_eq!(exchange.next_step(), Some(Step::Done(Outcome::Failed)), "our own tree is not ready");
}

#[test]
fn list_that_does_not_rise_ends_the_exchange() {
    let ours: Map = [(key(1), 1)].into();
    let mut exchange = Exchange::new();
    exchange.handle_sums(&tree(&ours), &tree(&Map::new()).inner());
    exchange.handle_sums(&tree(&ours), &[0; FANOUT]);
    exchange.handle_pause();
    exchange.handle_sums(&tree(&ours), &[0; FANOUT]);
    exchange.handle_items(Side::Ours, vec![(key(1), 1)], false);
    exchange.handle_items(Side::Theirs, vec![(key(3), 1), (key(2), 1)], true);
    let steps: Vec<Step> = std::iter::from_fn(|| exchange.next_step()).collect();
    assert_eq!(steps.last(), Some(&Step::Done(Outcome::Failed)));
}

#[test]
fn list_that_goes_beyond_its_stretch_ends_the_exchange() {
    let ours: Map = [(key(1), 1), (key(2), 1)].into();
    let mut exchange = Exchange::new();
    exchange.handle_sums(&tree(&ours), &tree(&Map::new()).inner());
    exchange.handle_sums(&tree(&ours), &[0; FANOUT]);
    exchange.handle_pause();
    exchange.handle_sums(&tree(&ours), &[0; FANOUT]);
    exchange.handle_items(Side::Ours, vec![(key(1), 1)], true);
    let stretch = std::iter::from_fn(|| exchange.next_step()).last();
    assert!(matches!(stretch, Some(Step::Match(Stretch { until, .. })) if until == key(1)));
    exchange.handle_items(Side::Theirs, vec![(key(2), 1)], false);
    assert_eq!(exchange.next_step(), Some(Step::Done(Outcome::Failed)));
}

fn pair(partition: u16, peer: u16) -> Pair {
    Pair { partition: PartitionId::new(partition), peer }
}

#[test]
fn disturbed_pairs_come_first_and_every_pair_comes() {
    let mut schedule = Schedule::default();
    let mut now = Instant::from_nanos(0);
    let all = [pair(0, 1), pair(0, 2), pair(1, 1), pair(1, 2)];
    for pair in all {
        schedule.add(pair, now, false);
    }
    for expected in all {
        assert_eq!(schedule.begin(now, |_| true, |_| false), Some(expected));
        schedule.finish(expected, true, now, 512);
    }
    assert_eq!(schedule.begin(now, |_| true, |_| false), None, "all agree");
    now = now.after(Duration::from_secs(1));
    schedule.disturb(2, now);
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(0, 2)));
    assert_eq!(
        schedule.begin(now, |pair| pair.peer != 2, |_| false),
        None,
        "nobody compares with whom it cannot reach"
    );
    schedule.finish(pair(0, 2), false, now, 0);
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(1, 2)));
    let due = schedule.next_due(|_| true).unwrap();
    assert!(due > now && due <= now.after(Duration::from_secs(1)), "a failed one is tried again soon");
    assert!(schedule.oldest_in_sync().is_some());
}

#[test]
fn pair_disturbed_while_it_runs_is_compared_again_at_once() {
    let mut schedule = Schedule::default();
    let now = Instant::from_nanos(5);
    schedule.add(pair(0, 1), now, false);
    schedule.begin(now, |_| true, |_| false).unwrap();
    schedule.disturb_pair(pair(0, 1), now);
    schedule.finish(pair(0, 1), true, now, 0);
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(0, 1)));
}

#[test]
fn doubted_partitions_come_first_of_those_that_are_due() {
    let mut schedule = Schedule::default();
    let now = Instant::from_nanos(9);
    schedule.add(pair(0, 1), Instant::from_nanos(1), false);
    schedule.add(pair(1, 1), Instant::from_nanos(2), false);
    schedule.add(pair(2, 1), Instant::from_nanos(10), false);
    let doubted = |partition: PartitionId| partition.as_u16() > 0;
    assert_eq!(schedule.begin(now, |_| true, doubted), Some(pair(1, 1)), "partition 2 is not due yet");
    assert_eq!(schedule.begin(now, |_| true, doubted), Some(pair(0, 1)));
    assert_eq!(schedule.begin(now, |_| true, doubted), None);
    schedule.finish(pair(1, 1), true, now, 0);
    assert_eq!(schedule.partition_in_sync(PartitionId::new(1)), Some(now));
    assert_eq!(schedule.partition_in_sync(PartitionId::new(0)), None);
    assert_eq!(schedule.oldest_in_sync(), None);
}

#[test]
fn disturbed_pairs_overtake_those_that_are_merely_due_but_starve_nobody() {
    let mut schedule = Schedule::default();
    let start = Instant::from_nanos(0);
    schedule.add(pair(0, 1), start, false);
    schedule.add(pair(1, 1), start, true);
    schedule.add(pair(2, 1), start, false);
    let mut now = start.after(Duration::from_secs(1));
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(1, 1)), "as after an unclean start");
    schedule.finish(pair(1, 1), true, now, 0);
    schedule.disturb_pair(pair(2, 1), now);
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(2, 1)), "pair 0 was due before");
    schedule.finish(pair(2, 1), true, now, 0);
    now = now.after(Duration::from_secs(30));
    schedule.disturb_pair(pair(1, 1), now);
    assert_eq!(schedule.begin(now, |_| true, |_| false), Some(pair(0, 1)), "it has waited long enough");
}
