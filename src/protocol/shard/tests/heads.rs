//! Heads in place of large copies: what goes over the wire, what is fetched, and who may send one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Flight, Told, address, put_of, table_address, values};
use crate::protocol::types::{Address, Durability, Strictness};
use crate::protocol::wire::{GetRequest, Kind};

const LARGE: usize = 10_000;
/// The result of a `ReadReply` that is a head, and of one that is a part.
const HEAD: u8 = 3;
const PART: u8 = 4;

fn large(letter: &str) -> String {
    letter.repeat(LARGE)
}

fn put(cluster: &mut Cluster, at: usize, address: &Address, id: u128, value: &str) -> Bytes {
    cluster.put(at, &put_of(address, id, value, &Bytes::new())).put().token
}

/// Three nodes that own everything; each holds a large value of `k`.
fn three() -> (Cluster, Address) {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, &large("a"));
    (cluster, k)
}

/// Notes the result and the bytes of every answer to a read.
fn watch(cluster: &mut Cluster) -> Rc<RefCell<Vec<(u8, usize)>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let notes = seen.clone();
    cluster.lose = Box::new(move |flight: &Flight| {
        if flight.frame.kind() == Some(Kind::ReadReply) {
            notes.borrow_mut().push((flight.frame.body[0], flight.frame.body.len()));
        }
        false
    });
    seen
}

/// Another large version, of which n1 hears nothing.
fn put_behind_the_back_of_n1(cluster: &mut Cluster, address: &Address, id: u128, value: &str) {
    cluster.lose = Box::new(|flight: &Flight| flight.to == 0 && flight.frame.kind() == Some(Kind::Merge));
    put(cluster, 1, address, id, value);
    cluster.lose = Box::new(|_| false);
}

fn counters(cluster: &Cluster, at: usize) -> &crate::protocol::shard::Counters {
    cluster.nodes[at].shard.as_ref().unwrap().counters()
}

#[test]
fn large_value_goes_over_the_wire_only_where_it_is_missing() {
    let (mut cluster, k) = three();
    let seen = watch(&mut cluster);
    assert_eq!(values(&cluster.get(0, &k, 3).got()), [large("a")]);
    assert_eq!(seen.borrow().len(), 2);
    assert!(seen.borrow().iter().all(|(result, bytes)| *result == HEAD && *bytes < 200), "{seen:?}");
    assert_eq!(counters(&cluster, 1).heads_sent + counters(&cluster, 2).heads_sent, 2);
    assert_eq!(counters(&cluster, 0).values_fetched, 0);
}

#[test]
fn value_of_four_kibibytes_is_sent_whole_and_one_byte_more_is_not() {
    for (bytes, result) in [(4_096, 0), (4_097, HEAD)] {
        let mut cluster = Cluster::new(3, 3, Durability::Os);
        put(&mut cluster, 0, &address("k"), 1, &"x".repeat(bytes));
        let seen = watch(&mut cluster);
        assert_eq!(values(&cluster.get(0, &address("k"), 2).got())[0].len(), bytes);
        assert_eq!(seen.borrow()[0].0, result, "{bytes} bytes");
    }
}

#[test]
fn version_that_only_a_peer_has_is_fetched_alone_and_both_are_stored_before_the_answer() {
    let (mut cluster, k) = three();
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    let seen = watch(&mut cluster);
    assert_eq!(values(&cluster.get(0, &k, 2).got()), [large("a"), large("b")]);
    let seen = seen.borrow();
    assert_eq!(seen.iter().map(|(result, _)| *result).collect::<Vec<_>>(), [HEAD, PART]);
    assert!(seen[1].1 < LARGE + 200, "one value, not both: {seen:?}");
    assert_eq!(counters(&cluster, 0).values_fetched, 1);
    assert_eq!(cluster.copy(0, &k), cluster.copy(1, &k), "rule 9");
}

/// A sloppy read answers first; then every replica that was behind gets the merge, itself included.
#[test]
fn sloppy_read_with_heads_repairs_every_replica_that_was_behind() {
    let (mut cluster, k) = three();
    cluster.lose = Box::new(|flight: &Flight| flight.to != 1 && flight.frame.kind() == Some(Kind::Merge));
    // On n2 alone, and the write fails.
    let id = cluster.ask_put(1, &put_of(&k, 2, &large("b"), &Bytes::new()));
    cluster.settle();
    cluster.told_now(id).failed();
    cluster.lose = Box::new(|_| false);
    assert_eq!((cluster.copy(0, &k).versions().len(), cluster.copy(2, &k).versions().len()), (1, 1));
    let mut body = Vec::new();
    GetRequest { address: k.clone(), r: 3, strictness: Strictness::Sloppy }.encode(&mut body);
    let id = cluster.request(0, Kind::Get, body);
    cluster.settle();
    assert_eq!(values(&cluster.told_now(id).got()), [large("a"), large("b")]);
    cluster.settle();
    assert_eq!(counters(&cluster, 0).read_repairs, 2, "n1 and n3");
    for at in [0, 2] {
        assert_eq!(cluster.copy(at, &k), cluster.copy(1, &k), "n{}", at + 1);
    }
}

#[test]
fn newer_version_of_a_last_writer_wins_table_is_fetched_and_the_older_one_is_not() {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let k = table_address("latest", "k");
    put(&mut cluster, 0, &k, 1, &large("a"));
    cluster.pass(Duration::from_millis(5));
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    assert_eq!(values(&cluster.get(0, &k, 2).got()), [large("b")]);
    assert_eq!(counters(&cluster, 0).values_fetched, 1);
    // The other way round: what this node has is newer, and the head of the older one is enough.
    put_behind_the_back_of_n1(&mut cluster, &k, 3, &large("c"));
    let seen = watch(&mut cluster);
    assert_eq!(values(&cluster.get(1, &k, 3).got()), [large("c")]);
    assert!(seen.borrow().iter().all(|(_, bytes)| *bytes < 200), "{seen:?}");
    assert_eq!(counters(&cluster, 1).values_fetched, 0);
}

/// A replica that vouched for a damaged value by its head would have a read counted that nobody could repeat.
#[test]
fn rule_4_a_replica_with_a_damaged_value_sends_no_head() {
    let (mut cluster, k) = three();
    let key = cluster.item_key(&k);
    for ((_, at), record) in &mut cluster.nodes[1].disk.items {
        if *at == key {
            let mut damaged = record.to_vec();
            // The header is sound; the last byte of the value is not.
            *damaged.last_mut().unwrap() ^= 1;
            *record = damaged.into();
        }
    }
    cluster.crash(2);
    let failed = cluster.get(0, &k, 2).failed();
    assert!(failed.message.contains("n2, n3: unreachable, unreadable or unverified"), "{}", failed.message);
    assert_eq!(counters(&cluster, 1).heads_sent, 0);
}

/// Delivers everything, with the last byte of values on their way from these nodes changed.
fn settle_damaging(cluster: &mut Cluster, from: &[usize]) {
    while let Some(mut flight) = cluster.flights.pop_front() {
        if flight.frame.kind() == Some(Kind::ReadReply)
            && from.contains(&flight.from)
            && flight.frame.body.len() > LARGE
        {
            let mut body = flight.frame.body.to_vec();
            *body.last_mut().unwrap() ^= 1;
            flight.frame.body = body.into();
        }
        cluster.deliver(flight);
    }
}

#[test]
fn rule_5_a_value_damaged_on_its_way_is_neither_shown_nor_stored() {
    let (mut cluster, k) = three();
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    let before = cluster.copy(0, &k);
    let id = cluster.ask_get(0, &k, 2);
    settle_damaging(&mut cluster, &[1, 2]);
    let failed = loop {
        match cluster.told.remove(&id) {
            Some(told) => break told.failed(),
            None => cluster.pass(Duration::from_millis(10)),
        }
        settle_damaging(&mut cluster, &[1, 2]);
    };
    assert!(failed.message.contains("1 of 2 answers"), "{}", failed.message);
    assert_eq!(cluster.copy(0, &k), before);
    // Damaged on the way from one peer only: the other one has it too.
    let first = cluster.ask_get(0, &k, 2);
    let peer = cluster.flights.front().unwrap().to;
    settle_damaging(&mut cluster, &[peer]);
    assert_eq!(values(&cluster.told_now(first).got()), [large("a"), large("b")]);
}

/// Loses what these nodes send after their heads.
fn silence_after_head(cluster: &mut Cluster, node: usize) {
    cluster.lose = Box::new(move |flight: &Flight| flight.from == node && flight.frame.body.len() > LARGE);
}

#[test]
fn value_that_does_not_come_is_asked_of_somebody_else() {
    let (mut cluster, k) = three();
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    let id = cluster.ask_get(0, &k, 2);
    let peer = cluster.flights.front().unwrap().to;
    silence_after_head(&mut cluster, peer);
    cluster.settle();
    assert!(cluster.told.is_empty(), "the head alone is no answer");
    cluster.pass(Duration::from_millis(15));
    cluster.settle();
    assert_eq!(values(&cluster.told.remove(&id).expect("long before the deadline").got()), [large("a"), large("b")]);
    assert_eq!(counters(&cluster, 0).hedges, 1);
}

#[test]
fn head_whose_sender_goes_down_before_its_value_came_counts_no_more() {
    let (mut cluster, k) = three();
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    let id = cluster.ask_get(0, &k, 2);
    let peer = cluster.flights.front().unwrap().to;
    silence_after_head(&mut cluster, peer);
    cluster.settle();
    cluster.peer(0, peer, false);
    cluster.settle();
    assert_eq!(values(&cluster.told_now(id).got()), [large("a"), large("b")], "of the third");
}

#[test]
fn version_replaced_between_head_and_value_is_answered_with_what_took_its_place() {
    let (mut cluster, k) = three();
    put_behind_the_back_of_n1(&mut cluster, &k, 2, &large("b"));
    let id = cluster.ask_get(0, &k, 2);
    let peer = cluster.flights.front().unwrap().to;
    // Until the question for the value is on its way.
    while cluster.flights.front().is_none_or(|flight| flight.frame.kind() != Some(Kind::Read) || is_first(flight)) {
        let flight = cluster.flights.pop_front().expect("the head leads to a question");
        cluster.deliver(flight);
    }
    let question = cluster.flights.pop_front().unwrap();
    let token = cluster.get(peer, &k, 1).got().token;
    cluster.put(peer, &put_of(&k, 3, &large("c"), &token)).put();
    cluster.deliver(question);
    cluster.settle();
    assert_eq!(values(&cluster.told_now(id).got()), [large("c")]);
    let others: Vec<_> = (0..3).map(|at| cluster.copy(at, &k)).collect();
    assert!(others.windows(2).all(|pair| pair[0] == pair[1]));
}

/// The first question for an item has no list of versions.
fn is_first(flight: &Flight) -> bool {
    crate::protocol::wire::ReadRequest::decode(flight.frame.body.clone()).unwrap().wanted.is_empty()
}

/// A node that lost its disk has nothing to put beside heads: it passes the read on to an owner that has.
#[test]
fn node_in_doubt_of_its_copies_lets_another_owner_read_and_the_values_come_through() {
    let (mut cluster, k) = three();
    cluster.crash(0);
    cluster.nodes[0].disk = super::cluster::Disk::default();
    cluster.boot(0, true);
    let before = counters(&cluster, 0).relayed;
    assert_eq!(values(&cluster.get(0, &k, 2).got()), [large("a")]);
    assert_eq!(counters(&cluster, 0).relayed, before + 1);
}

#[test]
fn head_that_makes_no_sense_is_no_answer() {
    let (mut cluster, k) = three();
    for damage in [vec![HEAD, 0], vec![HEAD, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![PART, 0, 7]] {
        let id = cluster.ask_get(0, &k, 2);
        let peer = cluster.flights.front().unwrap().to;
        while let Some(mut flight) = cluster.flights.pop_front() {
            if flight.from == peer && flight.frame.kind() == Some(Kind::ReadReply) {
                flight.frame.body = damage.clone().into();
            }
            cluster.deliver(flight);
        }
        assert!(matches!(cluster.told_now(id), Told::Got(reply) if values(&reply) == [large("a")]), "{damage:?}");
    }
}
