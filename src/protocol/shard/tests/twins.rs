//! A write that two owners coordinated, because the first was silent, is replaced under both its dots or not at all.
//! What a user would see otherwise: a value that was written over stands beside the new one, and a deleted one is back.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, address, put_of, table_address, values};
use super::failures::quieten;
use crate::protocol::types::{Address, Durability, WriteId};
use crate::protocol::version::{Siblings, checksum};
use crate::protocol::wire::{Kind, PutReply, PutRequest, Want};

/// Nothing reaches a node, or nothing that it asks gets out.
fn cut(cluster: &mut Cluster, node: usize) {
    cluster.lose = Box::new(move |flight| flight.to == node || flight.from == node);
}

fn mend(cluster: &mut Cluster) {
    cluster.lose = Box::new(|_| false);
}

/// n1 coordinates a write that gets no further, and n2 its retry: which of them n1 learns of is the caller's choice.
fn twins(k: &Address, n1_hears: bool) -> (Cluster, PutReply) {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let put = put_of(k, 1, "old", &Bytes::new());
    cut(&mut cluster, 0);
    cluster.put(0, &put).failed();
    if n1_hears {
        cluster.lose = Box::new(|flight| flight.from == 0);
    }
    let retried = cluster.put(1, &put).put();
    let of = |cluster: &Cluster, node| cluster.copy(node, k).versions().len();
    assert_eq!((of(&cluster, 0), of(&cluster, 1)), (1 + usize::from(n1_hears), 1));
    (cluster, retried)
}

fn tombstone_of(k: &Address, id: u128, token: &Bytes) -> PutRequest {
    let checksum = checksum(k, WriteId::new(id), true, b"");
    PutRequest { want: Want::Delete, checksum, value: Bytes::new(), ..put_of(k, id, "", token) }
}

fn held(item: &Siblings) -> Vec<u128> {
    item.versions().iter().map(|version| version.write_id.as_u128()).collect()
}

#[test]
fn put_over_one_twin_replaces_the_other_that_its_coordinator_holds() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, true);
    mend(&mut cluster);
    cluster.put(0, &put_of(&k, 2, "new", &old.token)).put();
    for at in 0..3 {
        assert_eq!(held(&cluster.copy(at, &k)), [2], "n{}", at + 1);
    }
    assert_eq!(values(&cluster.get(2, &k, 3).got()), ["new"]);
}

#[test]
fn twin_that_a_read_finds_late_is_neither_shown_nor_kept() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, false);
    cluster.put(1, &put_of(&k, 2, "new", &old.token)).put();
    mend(&mut cluster);
    assert_eq!(held(&cluster.copy(0, &k)), [1]);
    assert_eq!(values(&cluster.get(1, &k, 3).got()), ["new"]);
    for at in 0..3 {
        assert_eq!(held(&cluster.copy(at, &k)), [2], "n{}", at + 1);
    }
}

/// n1 has never heard of the dot that was replaced, and passes its own on as a sibling. The others know better.
#[test]
fn twin_that_comes_late_by_a_merge_is_retired() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, false);
    cluster.put(1, &put_of(&k, 2, "new", &old.token)).put();
    mend(&mut cluster);
    cluster.get(0, &k, 3).got();
    for at in 1..3 {
        assert_eq!(held(&cluster.copy(at, &k)), [2], "n{}", at + 1);
    }
    assert_eq!(values(&cluster.get(1, &k, 3).got()), ["new"]);
    assert_eq!(values(&cluster.get(0, &k, 3).got()), ["new"]);
}

#[test]
fn exchanges_do_not_bring_a_deleted_value_back_under_its_other_dot() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, false);
    cluster.put(1, &tombstone_of(&k, 2, &old.token)).put();
    mend(&mut cluster);
    quieten(&mut cluster);
    for at in 0..3 {
        assert_eq!(cluster.copy(at, &k), cluster.copy(1, &k), "n{}", at + 1);
        assert!(cluster.copy(at, &k).is_dead(), "n{}", at + 1);
    }
    assert!(cluster.get(0, &k, 3).got().versions.is_empty());
}

/// The log outlives the process.
#[test]
fn owner_that_was_started_again_still_knows_a_twin() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, false);
    cluster.put(1, &put_of(&k, 2, "new", &old.token)).put();
    cluster.crash(1);
    cluster.boot(1, false);
    mend(&mut cluster);
    assert_eq!(values(&cluster.get(1, &k, 3).got()), ["new"]);
    assert_eq!(held(&cluster.copy(0, &k)), [2]);
}

/// The other way round: the twins are here, and what comes has replaced one of them.
#[test]
fn merge_that_replaces_one_of_two_twins_replaces_both() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, true);
    cluster.put(1, &put_of(&k, 2, "new", &old.token)).put();
    assert_eq!(held(&cluster.copy(0, &k)), [2]);
}

/// The context names a dot that the copy does not hold any more, once what was read elsewhere is joined to it.
#[test]
fn put_over_a_twin_that_was_replaced_elsewhere_drops_the_one_that_is_here() {
    let k = address("k");
    let (mut cluster, old) = twins(&k, true);
    cut(&mut cluster, 0);
    let new = cluster.put(1, &put_of(&k, 2, "new", &old.token)).put();
    assert_eq!(held(&cluster.copy(0, &k)), [1, 1]);
    cluster.lose = Box::new(|flight| flight.frame.kind() == Some(Kind::Merge));
    cluster.put(0, &put_of(&k, 3, "newer", &new.token)).failed();
    assert_eq!(cluster.nodes[0].shard.as_ref().unwrap().counters().fetches, 1);
    assert_eq!(held(&cluster.copy(0, &k)), [3]);
}

/// There the past covers what lost by its stamp, and the winner must not follow its loser.
#[test]
fn last_writer_wins_table_keeps_the_twin_that_won() {
    let k = table_address("latest", "k");
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let put = put_of(&k, 1, "v", &Bytes::new());
    cut(&mut cluster, 0);
    cluster.put(0, &put).failed();
    cluster.pass(Duration::from_millis(5));
    let retried = cluster.put(1, &put).put();
    mend(&mut cluster);
    quieten(&mut cluster);
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["v"], "n{}", at + 1);
        let copy = cluster.copy(at, &k);
        assert_eq!(copy.versions().iter().map(|version| version.dot).collect::<Vec<_>>(), [retried.dot]);
    }
}
