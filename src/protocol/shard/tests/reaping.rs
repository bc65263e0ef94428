//! Rule 8: deletes stay deleted, and tombstones go, whatever comes late.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Flight, address, put_of, values};
use super::exchanges::{assert_equal, clock, exchange, lose_nothing, no_merge_to, place, put, rot, shard, three};
use crate::protocol::merkle::item_hash;
use crate::protocol::shard::Counters;
use crate::protocol::types::{ActorId, Address, Durability, Hlc, Strictness, WriteId};
use crate::protocol::version::{Dot, Siblings, Version, VersionVector, checksum};
use crate::protocol::wire::{Frame, Header, Kind, MergeRequest, PutReply, PutRequest, ReapRequest, Reaped, Want};

pub(super) fn delete_of(address: &Address, id: u128, token: &Bytes) -> PutRequest {
    let checksum = checksum(address, WriteId::new(id), true, &[]);
    PutRequest { want: Want::Delete, checksum, ..put_of(address, id, "", token) }
}

/// Deletes what a read shows.
fn delete(cluster: &mut Cluster, at: usize, address: &Address, id: u128) -> PutReply {
    let token = cluster.get(at, address, 2).got().token;
    cluster.put(at, &delete_of(address, id, &token)).put()
}

fn is_stored(cluster: &Cluster, at: usize, address: &Address) -> bool {
    cluster.nodes[at].disk.items.contains_key(&place(cluster, address))
}

pub(super) fn counters(cluster: &Cluster, at: usize) -> &Counters {
    shard(cluster, at).counters()
}

fn blocked(cluster: &Cluster, at: usize, why: &str) -> u64 {
    counters(cluster, at).reaping_blocked.get(why).copied().unwrap_or(0)
}

/// The first frame of a kind on its way to a node.
pub(super) fn caught(cluster: &Cluster, kind: Kind, to: usize) -> Flight {
    let fits = |flight: &&Flight| flight.to == to && flight.frame.kind() == Some(kind);
    cluster.flights.iter().find(fits).expect("such a frame is on its way").clone()
}

/// The owners of an item, in the order in which they begin to reap it.
fn ranks(cluster: &Cluster, address: &Address) -> Vec<usize> {
    let partition = place(cluster, address).0;
    cluster.view[0].layout.owner_indices(partition).iter().map(|at| usize::from(*at)).collect()
}

/// Long enough for whatever was backing off.
fn exchange_for_long(cluster: &mut Cluster) {
    (0..3).for_each(|_| exchange(cluster));
}

/// Lets time pass until a frame of a kind is on its way to a node.
fn until(cluster: &mut Cluster, kind: Kind, to: usize) -> Flight {
    for _ in 0..2_000 {
        let on_its_way = |flight: &Flight| flight.to == to && flight.frame.kind() == Some(kind);
        if cluster.flights.iter().any(on_its_way) {
            return caught(cluster, kind, to);
        }
        match cluster.flights.pop_front() {
            Some(flight) => cluster.deliver(flight),
            None => cluster.pass(Duration::from_millis(50)),
        }
    }
    panic!("no {kind:?} was sent to node {to}");
}

/// A value that was written to all, and the frame that took it to node 2.
fn written(cluster: &mut Cluster, address: &Address, id: u128, value: &str) -> (Dot, Flight) {
    let asked = cluster.ask_put(0, &put_of(address, id, value, &Bytes::new()));
    let late = caught(cluster, Kind::Merge, 2);
    cluster.settle();
    (cluster.told_now(asked).put().dot, late)
}

#[test]
fn rule_8_a_deleted_item_is_reaped_with_all_owners_and_its_dots_stay_covered() {
    let mut cluster = three(Durability::Sync);
    let k = address("k");
    let dot = put(&mut cluster, 0, &k, 1, "v");
    let deleted = delete(&mut cluster, 1, &k, 2).dot;
    exchange(&mut cluster);
    for at in 0..3 {
        assert!(!is_stored(&cluster, at, &k), "n{} still has it", at + 1);
        assert!([dot, deleted].iter().all(|dot| clock(&cluster, at, &k).covers_up_to(*dot)));
        assert_eq!((counters(&cluster, at).reaped, shard(&cluster, at).reapable()), (1, 0));
    }
    assert_equal(&cluster, &[k]);
}

/// A disk that fails a lookup once is no reason to keep a tombstone for ever.
#[test]
fn rule_8_a_tombstone_that_cannot_be_read_for_a_while_is_reaped_afterwards() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 1, &k, 2);
    let key = place(&cluster, &k).1;
    for node in &mut cluster.nodes {
        node.disk.broken.push(key.clone());
    }
    exchange(&mut cluster);
    for at in 0..3 {
        assert!(is_stored(&cluster, at, &k));
        assert!(blocked(&cluster, at, "unreadable") > 0, "n{} has tried", at + 1);
        assert!(!shard(&cluster, at).is_reaping(place(&cluster, &k).0), "it asks nobody");
        cluster.nodes[at].disk.broken.clear();
    }
    exchange_for_long(&mut cluster);
    for at in 0..3 {
        assert!(!is_stored(&cluster, at, &k), "n{} still has it", at + 1);
        assert_eq!(shard(&cluster, at).reapable(), 0);
    }
    assert_equal(&cluster, &[k]);
}

/// `riak_kv` #1094, the doomstone: delete, reap, create again, then a late frame with the old value.
#[test]
fn rule_8_a_late_frame_does_not_bring_a_reaped_item_back() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let (_, late) = written(&mut cluster, &k, 1, "old");
    delete(&mut cluster, 0, &k, 2);
    exchange(&mut cluster);
    assert!(!is_stored(&cluster, 2, &k));
    let refused = counters(&cluster, 2).refused_as_obsolete;
    cluster.deliver(late.clone());
    cluster.settle();
    assert!(!is_stored(&cluster, 2, &k));
    assert_eq!(counters(&cluster, 2).refused_as_obsolete, refused + 1);
    assert!(cluster.get(2, &k, 3).got().versions.is_empty());
    put(&mut cluster, 1, &k, 3, "new");
    cluster.deliver(late);
    exchange(&mut cluster);
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["new"]);
    }
    assert_equal(&cluster, &[k]);
}

/// The other half of it: what comes late is the tombstone, and it must not take the new value along.
#[test]
fn rule_8_a_late_tombstone_does_not_delete_what_was_created_after_it_was_reaped() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "old");
    let token = cluster.get(0, &k, 2).got().token;
    cluster.ask_put(0, &delete_of(&k, 2, &token));
    let late = caught(&cluster, Kind::Merge, 2);
    exchange(&mut cluster);
    assert!(!is_stored(&cluster, 2, &k));
    put(&mut cluster, 1, &k, 3, "new");
    cluster.deliver(late);
    exchange(&mut cluster);
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["new"]);
    }
    assert_equal(&cluster, &[k]);
}

/// Cassandra's `gc_grace`: a node that was away for longer than tombstones live brings what was deleted meanwhile.
#[test]
fn rule_8_no_time_is_long_enough_to_reap_without_an_owner_that_is_away() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    cluster.crash(2);
    delete(&mut cluster, 0, &k, 2);
    exchange(&mut cluster);
    cluster.pass(Duration::from_secs(30 * 24 * 3_600));
    exchange(&mut cluster);
    assert!(is_stored(&cluster, 0, &k) && is_stored(&cluster, 1, &k), "n3 has not confirmed it");
    assert!(blocked(&cluster, 0, "unreachable") > 0);
    cluster.boot(2, false);
    exchange_for_long(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert!(cluster.get(2, &k, 2).got().versions.is_empty());
    assert_equal(&cluster, &[k]);
}

#[test]
fn rule_8_an_old_backup_does_not_bring_back_what_was_deleted_and_reaped() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    let backup = cluster.nodes[2].disk.clone();
    delete(&mut cluster, 0, &k, 2);
    exchange(&mut cluster);
    cluster.crash(2);
    cluster.nodes[2].disk = backup;
    cluster.boot(2, true);
    assert!(is_stored(&cluster, 2, &k));
    for at in 0..3 {
        assert!(cluster.get(at, &k, 2).got().versions.is_empty(), "n{} shows what was deleted", at + 1);
    }
    exchange(&mut cluster);
    assert!(!is_stored(&cluster, 2, &k));
    assert_eq!(counters(&cluster, 2).dropped_obsolete, 1);
    assert!(!shard(&cluster, 2).is_unverified());
    assert_equal(&cluster, &[k]);
}

/// A backup that holds a tombstone is no reason to keep it.
#[test]
fn rule_8_an_old_backup_with_the_tombstone_is_reaped_again() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 0, &k, 2);
    let backup = cluster.nodes[2].disk.clone();
    exchange(&mut cluster);
    cluster.crash(2);
    cluster.nodes[2].disk = backup;
    cluster.boot(2, true);
    exchange(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert_equal(&cluster, &[k]);
}

/// `riak_kv` #1777: a write that comes between the confirmation and the reaping stays.
#[test]
fn rule_8_a_write_between_confirmation_and_reaping_stays() {
    for with_context in [true, false] {
        let mut cluster = three(Durability::Os);
        let k = address("k");
        let ranks = ranks(&cluster, &k);
        let (first, last) = (ranks[0], ranks[2]);
        put(&mut cluster, 0, &k, 1, "v");
        let token = delete(&mut cluster, 0, &k, 2).token;
        until(&mut cluster, Kind::Reap, last);
        assert!(!is_stored(&cluster, first, &k), "the one that began has ended it");
        let held: Vec<Flight> = cluster.flights.drain(..).collect();
        let token = if with_context { token } else { Bytes::new() };
        no_merge_to(&mut cluster, first);
        cluster.put(last, &put_of(&k, 3, "new", &token)).put();
        lose_nothing(&mut cluster);
        for flight in held {
            cluster.deliver(flight);
        }
        cluster.settle();
        assert_eq!(values(&cluster.get(ranks[1], &k, 3).got()), ["new"], "with context: {with_context}");
        exchange(&mut cluster);
        assert_eq!(values(&cluster.get(first, &k, 1).got()), ["new"], "with context: {with_context}");
        assert_equal(&cluster, &[k]);
    }
}

/// `riak_kv` #1336: a round that was lost on its way is begun again.
#[test]
fn rule_8_a_round_that_nobody_answered_is_begun_again() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 0, &k, 2);
    cluster.lose = Box::new(|flight: &Flight| flight.frame.kind() == Some(Kind::ConfirmReply));
    exchange(&mut cluster);
    assert!((0..3).all(|at| is_stored(&cluster, at, &k)));
    assert!((0..3).any(|at| blocked(&cluster, at, "silent") > 0));
    lose_nothing(&mut cluster);
    exchange_for_long(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
}

/// `riak_kv` #311: one owner with an older copy blocks only until an exchange has brought it up to date.
#[test]
fn rule_8_an_owner_with_an_older_copy_is_brought_up_to_date_first() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    cluster.lose = Box::new(|flight: &Flight| match flight.frame.kind() {
        Some(Kind::Merge) => flight.to == 2,
        kind => kind == Some(Kind::Compare),
    });
    delete(&mut cluster, 0, &k, 2);
    until(&mut cluster, Kind::ConfirmReply, 0);
    assert_eq!(cluster.copy(2, &k).versions().iter().filter(|held| !held.tombstone).count(), 1);
    lose_nothing(&mut cluster);
    exchange_for_long(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert_equal(&cluster, &[k]);
}

#[test]
fn rule_8_an_owner_that_missed_the_reaping_ends_its_tombstone_later() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let last = ranks(&cluster, &k)[2];
    put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 0, &k, 2);
    cluster.lose = Box::new(move |flight: &Flight| flight.to == last && flight.frame.kind() == Some(Kind::Reap));
    exchange(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert_eq!((counters(&cluster, last).reaped, counters(&cluster, last).dropped_obsolete), (0, 1));
    assert_equal(&cluster, &[k]);
}

/// A restart loses the queue; a scan finds what was in it.
#[test]
fn rule_8_tombstones_are_reaped_after_a_restart_of_all() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 0, &k, 2);
    (0..3).for_each(|at| cluster.crash(at));
    (0..3).for_each(|at| cluster.boot(at, false));
    exchange(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert_equal(&cluster, &[k]);
}

/// CORDS: a replica that lost a record without noticing calls it obsolete. Two that have it know better.
#[test]
fn rule_8_a_replica_that_lost_a_record_silently_does_not_make_others_drop_it() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    exchange(&mut cluster);
    let place = place(&cluster, &k);
    cluster.nodes[2].disk.items.remove(&place);
    let now = cluster.now;
    cluster.nodes[2].shard.as_mut().unwrap().verify(now);
    exchange(&mut cluster);
    assert_eq!(counters(&cluster, 2).rot_found, 1);
    let distrusted = cluster.nodes.iter().map(|node| node.disk.distrusted).collect::<Vec<_>>();
    assert_eq!(distrusted, [0, 0, 1], "what it keeps in memory would hide the damage from reads");
    assert!(counters(&cluster, 2).refused_as_obsolete > 0, "it believed its clock");
    assert!(counters(&cluster, 2).taken_back > 0);
    assert_eq!(cluster.copy(2, &k), cluster.copy(0, &k));
    assert!((0..3).all(|at| counters(&cluster, at).dropped_obsolete + counters(&cluster, at).reaped == 0));
    assert_equal(&cluster, &[k]);
}

/// What lost its clock with a damaged record says nothing about what is obsolete.
#[test]
fn rule_8_a_replica_that_forgot_its_clock_claims_nothing() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    exchange(&mut cluster);
    rot(&mut cluster, 1, &k);
    cluster.get(1, &k, 2).got();
    cluster.settle();
    assert_eq!(counters(&cluster, 1).restored, 1);
    assert_eq!(cluster.copy(1, &k), cluster.copy(0, &k), "the others' copies are taken, though the clock knew them");
    assert_eq!(counters(&cluster, 1).refused_as_obsolete, 0);
    delete(&mut cluster, 0, &k, 2);
    exchange(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
    assert_equal(&cluster, &[k]);
}

#[test]
fn rule_8_a_put_with_a_context_from_before_the_reaping_replaces_what_it_saw() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let (_, late) = written(&mut cluster, &k, 1, "old");
    let token = delete(&mut cluster, 0, &k, 2).token;
    exchange(&mut cluster);
    cluster.put(0, &put_of(&k, 3, "new", &token)).put();
    assert_eq!(counters(&cluster, 0).fetches, 0, "the clock knows all of that context");
    cluster.deliver(late);
    exchange(&mut cluster);
    assert_eq!(values(&cluster.get(2, &k, 3).got()), ["new"]);
    assert_equal(&cluster, &[k]);
}

/// Rule 3 and rule 8: a retry of a write that was deleted and reaped since is that write, not a new one.
#[test]
fn rule_8_a_late_retry_does_not_write_again_what_was_deleted() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let dot = put(&mut cluster, 0, &k, 1, "v");
    delete(&mut cluster, 0, &k, 2);
    exchange(&mut cluster);
    for at in 0..3 {
        let again = cluster.put(at, &put_of(&k, 1, "v", &Bytes::new())).put();
        assert_eq!((again.dot, again.versions), (dot, 0));
    }
    exchange(&mut cluster);
    assert!((0..3).all(|at| !is_stored(&cluster, at, &k)));
}

/// An item of which a dot never arrived anywhere: it could still come.
#[test]
fn rule_8_a_gap_in_the_clock_keeps_the_tombstone() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let actor = ActorId::new(77);
    let version = |counter: u64, tombstone: bool| {
        let write_id = WriteId::new(u128::from(counter));
        let value = if tombstone { Bytes::new() } else { Bytes::from_static(b"old") };
        let checksum = checksum(&k, write_id, tombstone, &value);
        Version { dot: Dot::new(actor, counter), hlc: Hlc::ZERO, write_id, tombstone, expires_at: 0, checksum, value }
    };
    let merge = |cluster: &Cluster, to: usize, item: &Siblings| {
        let header = Header::new(Kind::Merge, 5, 500, cluster.view[0].layout.id());
        let request = MergeRequest { address: k.clone(), record: item.to_record() };
        let mut body = Vec::new();
        request.encode(&mut body);
        Flight { from: (to + 1) % 3, to, frame: Frame::new(header, body.into()) }
    };
    let past = VersionVector::from_sorted(vec![(actor, 2)]).unwrap();
    let deleted = Siblings::from_parts(past, vec![version(3, true)]).unwrap();
    for to in 0..3 {
        let flight = merge(&cluster, to, &deleted);
        cluster.deliver(flight);
    }
    exchange(&mut cluster);
    assert!((0..3).all(|at| is_stored(&cluster, at, &k)), "dot 1 of the actor is nowhere yet");
    assert!(blocked(&cluster, 0, "gap") > 0);
    assert_eq!((0..3).map(|at| counters(&cluster, at).reaped).sum::<u64>(), 0);
    let late = Siblings::from_parts(VersionVector::new(), vec![version(1, false)]).unwrap();
    let flight = merge(&cluster, 2, &late);
    cluster.deliver(flight);
    exchange(&mut cluster);
    assert!(cluster.get(2, &k, 3).got().versions.is_empty(), "the tombstone was there to meet it");
}

/// Whatever a peer says, a value is removed by nobody but its holder.
#[test]
fn rule_8_nobody_reaps_a_value_for_a_peer() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    let (partition, key) = place(&cluster, &k);
    let hash = item_hash(&key, &cluster.nodes[2].disk.items[&(partition, key.clone())]);
    let request = ReapRequest { partition, items: vec![Reaped { key, hash, stripped: VersionVector::new() }] };
    let mut body = Vec::new();
    request.encode(&mut body);
    let header = Header::new(Kind::Reap, 5, 500, cluster.view[0].layout.id());
    cluster.deliver(Flight { from: 0, to: 2, frame: Frame::new(header, body.into()) });
    cluster.settle();
    assert!(is_stored(&cluster, 2, &k));
}

/// Five nodes, three owners of `k`: what members that own nothing have to say.
fn five() -> (Cluster, Address, Vec<usize>, Vec<usize>) {
    let mut cluster = Cluster::new(5, 3, Durability::Os);
    exchange(&mut cluster);
    let k = address("k");
    let owners = ranks(&cluster, &k);
    let others = (0..5).filter(|at| !owners.contains(at)).collect();
    (cluster, k, owners, others)
}

#[test]
fn rule_8_an_unreachable_member_blocks_reaping() {
    let (mut cluster, k, owners, others) = five();
    put(&mut cluster, owners[0], &k, 1, "v");
    cluster.crash(others[0]);
    delete(&mut cluster, owners[0], &k, 2);
    exchange(&mut cluster);
    assert!(owners.iter().all(|at| is_stored(&cluster, *at, &k)), "it may keep a hint with the old value");
    assert!(owners.iter().any(|at| blocked(&cluster, *at, "unreachable") > 0));
    cluster.boot(others[0], false);
    exchange_for_long(&mut cluster);
    assert!(owners.iter().all(|at| !is_stored(&cluster, *at, &k)));
}

#[test]
fn rule_8_a_hint_with_any_member_blocks_reaping() {
    let (mut cluster, k, owners, others) = five();
    cluster.crash(owners[2]);
    let old = PutRequest { strictness: Strictness::Sloppy, ..put_of(&k, 1, "old", &Bytes::new()) };
    cluster.put(owners[0], &old).put();
    assert_eq!(others.iter().map(|at| cluster.nodes[*at].disk.hints().len()).sum::<usize>(), 1);
    // What is fsynced on behalf of a hint is lost on its way; all else gets through.
    cluster.lose =
        Box::new(|flight: &Flight| flight.frame.kind() == Some(Kind::Merge) && flight.frame.header.wants_fsync());
    cluster.boot(owners[2], false);
    exchange(&mut cluster);
    delete(&mut cluster, owners[0], &k, 2);
    exchange(&mut cluster);
    assert!(owners.iter().all(|at| is_stored(&cluster, *at, &k)));
    assert!(owners.iter().any(|at| blocked(&cluster, *at, "hints") > 0));
    lose_nothing(&mut cluster);
    exchange_for_long(&mut cluster);
    assert!(owners.iter().all(|at| !is_stored(&cluster, *at, &k)));
    assert!(cluster.nodes.iter().all(|node| node.disk.hints().is_empty()));
}

#[test]
fn rule_8_an_owner_that_does_not_count_blocks_reaping() {
    let (mut cluster, k, owners, _) = five();
    put(&mut cluster, owners[0], &k, 1, "v");
    let doubtful = owners[2];
    cluster.crash(doubtful);
    // It cannot be compared with anybody, so it stays in doubt.
    cluster.lose = Box::new(|flight: &Flight| flight.frame.kind() == Some(Kind::Compare));
    cluster.boot(doubtful, true);
    delete(&mut cluster, owners[0], &k, 2);
    exchange(&mut cluster);
    assert!(owners.iter().all(|at| is_stored(&cluster, *at, &k)));
    assert!(owners.iter().any(|at| blocked(&cluster, *at, "unsure") > 0));
    lose_nothing(&mut cluster);
    exchange_for_long(&mut cluster);
    assert!(owners.iter().all(|at| !is_stored(&cluster, *at, &k)));
}

/// A hint for an item that was reaped is settled at its home node, which has known better for long.
#[test]
fn rule_8_a_hint_that_is_obsolete_at_home_is_settled_there() {
    let (mut cluster, k, owners, others) = five();
    cluster.crash(owners[2]);
    let old = PutRequest { strictness: Strictness::Sloppy, ..put_of(&k, 1, "old", &Bytes::new()) };
    cluster.put(owners[0], &old).put();
    let keeper = *others.iter().find(|at| !cluster.nodes[**at].disk.hints().is_empty()).unwrap();
    let with_hint = cluster.nodes[keeper].disk.clone();
    cluster.boot(owners[2], false);
    exchange(&mut cluster);
    delete(&mut cluster, owners[0], &k, 2);
    exchange(&mut cluster);
    assert!(owners.iter().all(|at| !is_stored(&cluster, *at, &k)));
    // The keeper comes back from a backup that still has the hint.
    cluster.crash(keeper);
    cluster.nodes[keeper].disk = with_hint;
    cluster.boot(keeper, true);
    exchange(&mut cluster);
    assert!(cluster.nodes[keeper].disk.hints().is_empty(), "it is delivered, and is nothing");
    assert!(owners.iter().all(|at| !is_stored(&cluster, *at, &k)));
    assert_eq!(counters(&cluster, owners[2]).refused_as_obsolete, 1);
}
