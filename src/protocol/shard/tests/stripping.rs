//! Rule 13: the entries of ended actors leave a vector, by proof.

use bytes::Bytes;

use super::cluster::{Cluster, Flight, address, put_of, values};
use super::exchanges::{assert_equal, clock, exchange, shard, three};
use super::reaping::{caught, counters};
use crate::protocol::types::limits::VECTOR_ENTRIES_KEPT;
use crate::protocol::types::{Address, Durability};
use crate::protocol::wire::Kind;

/// An item written by so many processes, one after the other, and the frame of the first write to node 2.
fn written_by(cluster: &mut Cluster, k: &Address, processes: usize) -> Flight {
    let mut first = None;
    for id in 0..processes {
        let at = id % 2;
        cluster.crash(at);
        cluster.boot(at, false);
        let token = cluster.get(at, k, 2).got().token;
        let asked = cluster.ask_put(at, &put_of(k, id as u128 + 1, &format!("v{id}"), &token));
        first.get_or_insert_with(|| caught(cluster, Kind::Merge, 2));
        cluster.settle();
        cluster.told_now(asked).put();
    }
    first.expect("somebody wrote")
}

#[test]
fn rule_13_entries_of_ended_actors_are_stripped_with_all_owners_at_once() {
    let mut cluster = three(Durability::Sync);
    let k = address("k");
    let processes = VECTOR_ENTRIES_KEPT + 4;
    let late = written_by(&mut cluster, &k, processes);
    let before = cluster.copy(0, &k);
    assert!(before.vector().len() > VECTOR_ENTRIES_KEPT);
    exchange(&mut cluster);
    for at in 0..3 {
        let after = cluster.copy(at, &k);
        assert!(after.vector().len() <= 2, "those of running processes at most: {after:?}");
        assert_eq!(after.versions(), before.versions());
        assert!(clock(&cluster, at, &k).covers_past(&before.context()), "the clock keeps all of it");
    }
    assert_equal(&cluster, std::slice::from_ref(&k));
    cluster.deliver(late);
    exchange(&mut cluster);
    let newest = format!("v{}", processes - 1);
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), std::slice::from_ref(&newest), "an old write is no sibling");
    }
    assert!(counters(&cluster, 2).refused_as_obsolete > 0);
    assert_equal(&cluster, &[k]);
}

/// An entry goes up to a write that was replaced, and an earlier sibling of its actor may stand beside it. That one
/// stays when the entry goes, and goes when it is replaced itself.
#[test]
fn rule_13_a_sibling_below_a_stripped_entry_stays_until_it_is_replaced() {
    let mut cluster = three(Durability::Sync);
    let k = address("k");
    let asked = cluster.ask_put(0, &put_of(&k, 1_001, "spared", &Bytes::new()));
    let mut late = vec![caught(&cluster, Kind::Merge, 2)];
    cluster.settle();
    let spared = cluster.told_now(asked).put().dot;
    let mut token = Bytes::new();
    // Each replaces the one before, which is all that its client has seen.
    for id in 0..VECTOR_ENTRIES_KEPT + 4 {
        if id > 0 {
            cluster.crash(id % 2);
            cluster.boot(id % 2, false);
        }
        let asked = cluster.ask_put(id % 2, &put_of(&k, id as u128 + 1, &format!("v{id}"), &token));
        late.push(caught(&cluster, Kind::Merge, 2));
        cluster.settle();
        token = cluster.told_now(asked).put().token;
    }
    let before = cluster.copy(0, &k);
    assert!(before.vector().counter(spared.actor()) > spared.counter());
    assert!(before.versions().iter().any(|held| held.dot == spared));
    exchange(&mut cluster);
    for flight in &late {
        cluster.deliver(flight.clone());
    }
    exchange(&mut cluster);
    for at in 0..3 {
        let after = cluster.copy(at, &k);
        assert!(after.vector().len() <= 2, "those of running processes at most: {after:?}");
        assert_eq!(after.versions(), before.versions());
    }
    let token = cluster.get(1, &k, 3).got().token;
    cluster.put(1, &put_of(&k, 1_002, "last", &token)).put();
    exchange(&mut cluster);
    for flight in late {
        cluster.deliver(flight);
    }
    exchange(&mut cluster);
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["last"]);
    }
    assert_equal(&cluster, &[k]);
}

#[test]
fn rule_13_a_context_from_before_the_stripping_still_replaces_what_it_saw() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    written_by(&mut cluster, &k, VECTOR_ENTRIES_KEPT + 4);
    let token = cluster.get(0, &k, 2).got().token;
    exchange(&mut cluster);
    assert!(cluster.copy(0, &k).vector().len() <= 2);
    let fetches = counters(&cluster, 0).fetches;
    cluster.put(0, &put_of(&k, 99, "new", &token)).put();
    assert_eq!(counters(&cluster, 0).fetches, fetches, "the clock knows all of that context");
    assert_eq!(values(&cluster.get(1, &k, 3).got()), ["new"]);
    exchange(&mut cluster);
    assert_equal(&cluster, &[k]);
}

#[test]
fn rule_13_nothing_is_stripped_while_an_owner_is_away() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    written_by(&mut cluster, &k, VECTOR_ENTRIES_KEPT + 4);
    let before = cluster.copy(0, &k);
    cluster.crash(2);
    exchange(&mut cluster);
    assert_eq!(cluster.copy(0, &k), before);
    cluster.boot(2, false);
    for _ in 0..3 {
        exchange(&mut cluster);
    }
    assert!(cluster.copy(0, &k).vector().len() <= 2);
    assert_equal(&cluster, &[k]);
}

/// An owner that missed the stripping gives the entries back, and all strip them again.
#[test]
fn rule_13_an_owner_that_missed_the_stripping_is_no_source_of_disagreement() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    written_by(&mut cluster, &k, VECTOR_ENTRIES_KEPT + 4);
    cluster.lose = Box::new(|flight: &Flight| flight.to == 2 && flight.frame.kind() == Some(Kind::Reap));
    for _ in 0..2 {
        exchange(&mut cluster);
    }
    cluster.lose = Box::new(|_| false);
    for _ in 0..3 {
        exchange(&mut cluster);
    }
    for at in 0..3 {
        assert!(cluster.copy(at, &k).vector().len() <= 2, "n{}", at + 1);
        assert_eq!(shard(&cluster, at).reapable(), 0);
    }
    assert_equal(&cluster, &[k]);
    assert!(values(&cluster.get(2, &address("k"), 3).got()).len() == 1);
}

/// The entry of a process that still runs stays: it would be back with that process's next write.
#[test]
fn rule_13_actors_that_mint_are_left_alone() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    // The last but one of an even number is by node 0, which was not started again since.
    written_by(&mut cluster, &k, VECTOR_ENTRIES_KEPT + 4);
    exchange(&mut cluster);
    let stripped = cluster.copy(0, &k);
    assert!(counters(&cluster, 0).stripped > 0);
    let token = cluster.get(0, &k, 2).got().token;
    let next = cluster.put(0, &put_of(&k, 99, "next", &token)).put().dot;
    let entries: Vec<_> = stripped.vector().iter().map(|dot| (dot.actor(), dot.counter())).collect();
    assert_eq!(entries, [(next.actor(), next.counter() - 1)], "of all entries only that one");
}
