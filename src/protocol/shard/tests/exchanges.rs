//! Exchanges between shards: what was missed gets everywhere, who lost something counts again, rot is replaced.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Disk, Flight, address, put_of, values};
use crate::protocol::replica::{ItemKey, PartitionClock};
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::shard::Shard;
use crate::protocol::types::{Address, Durability, PartitionId};
use crate::protocol::version::Dot;
use crate::protocol::wire::{Frame, Header, Kind, SettleRequest};

/// Three nodes that all own everything, with trees and clocks that agree.
pub(super) fn three(durability: Durability) -> Cluster {
    let mut cluster = Cluster::new(3, 3, durability);
    exchange(&mut cluster);
    cluster
}

/// Lets exchanges begin and end, several times over.
pub(super) fn exchange(cluster: &mut Cluster) {
    for _ in 0..160 {
        cluster.pass(Duration::from_millis(250));
        cluster.settle();
    }
}

pub(super) fn shard(cluster: &Cluster, at: usize) -> &Shard {
    cluster.nodes[at].shard.as_ref().unwrap()
}

pub(super) fn place(cluster: &Cluster, address: &Address) -> (PartitionId, Bytes) {
    let hash = KeyHash::of(address, 3);
    let partition = partition_of(hash, cluster.view[0].layout.partition_bits());
    (partition, ItemKey::new(address, hash).as_bytes().clone())
}

pub(super) fn put(cluster: &mut Cluster, at: usize, address: &Address, id: u128, value: &str) -> Dot {
    cluster.put(at, &put_of(address, id, value, &Bytes::new())).put().dot
}

pub(super) fn clock<'a>(cluster: &'a Cluster, at: usize, address: &Address) -> &'a PartitionClock {
    shard(cluster, at).clock(place(cluster, address).0).unwrap()
}

pub(super) fn assert_equal(cluster: &Cluster, addresses: &[Address]) {
    for address in addresses {
        let copies: Vec<_> = (0..3).map(|at| cluster.copy(at, address)).collect();
        assert!(copies.windows(2).all(|pair| pair[0] == pair[1]), "{address:?} differs: {copies:#?}");
        let partition = place(cluster, address).0;
        let trees: Vec<_> = (0..3).map(|at| shard(cluster, at).tree(partition).unwrap()).collect();
        assert!(trees.windows(2).all(|pair| pair[0] == pair[1]), "the trees of {partition} differ");
        let clocks: Vec<_> = (0..3).map(|at| clock(cluster, at, address)).collect();
        assert!(clocks.windows(2).all(|pair| pair[0] == pair[1]), "the clocks of {partition} differ: {clocks:#?}");
    }
}

/// Loses every merge to a node.
pub(super) fn no_merge_to(cluster: &mut Cluster, node: usize) {
    cluster.lose = Box::new(move |flight: &Flight| flight.to == node && flight.frame.kind() == Some(Kind::Merge));
}

pub(super) fn lose_nothing(cluster: &mut Cluster) {
    cluster.lose = Box::new(|_| false);
}

#[test]
fn exchange_brings_what_each_side_missed_to_the_other() {
    let mut cluster = three(Durability::Os);
    let (a, b, both) = (address("a"), address("b"), address("both"));
    no_merge_to(&mut cluster, 2);
    put(&mut cluster, 0, &a, 1, "1");
    put(&mut cluster, 1, &both, 2, "2");
    no_merge_to(&mut cluster, 0);
    put(&mut cluster, 2, &b, 3, "3");
    put(&mut cluster, 2, &both, 4, "4");
    lose_nothing(&mut cluster);
    assert!(cluster.copy(2, &a).is_empty() && cluster.copy(0, &b).is_empty());
    exchange(&mut cluster);
    assert_equal(&cluster, &[a, b, both.clone()]);
    assert_eq!(cluster.copy(0, &both).versions().len(), 2, "siblings of both sides");
    let counters: Vec<_> = (0..3).map(|at| shard(&cluster, at).counters().clone()).collect();
    assert!(counters.iter().map(|c| c.items_given + c.items_fetched).sum::<u64>() >= 3);
    assert_eq!(counters.iter().map(|c| c.rot_found + c.restored).sum::<u64>(), 0);
}

#[test]
fn equal_replicas_say_little_to_each_other() {
    let mut cluster = three(Durability::Os);
    put(&mut cluster, 0, &address("a"), 1, "1");
    exchange(&mut cluster);
    let bytes = |cluster: &Cluster| -> u64 { (0..3).map(|at| shard(cluster, at).counters().exchange_bytes).sum() };
    let begun = |cluster: &Cluster| -> u64 { (0..3).map(|at| shard(cluster, at).counters().exchanges_begun).sum() };
    let before = (bytes(&cluster), begun(&cluster));
    exchange(&mut cluster);
    let (sent, compared) = (bytes(&cluster) - before.0, begun(&cluster) - before.1);
    assert!(compared >= 8 * 6, "every pair was compared in 40 s, not {compared} of 48");
    assert_eq!(sent / compared, 51, "a question of 32 + 19 bytes each");
}

#[test]
fn rule_4_a_lost_disk_counts_again_once_it_was_compared_with_all_other_owners() {
    let mut cluster = three(Durability::Os);
    let keys: Vec<Address> = (0..20).map(|at| address(&format!("k{at}"))).collect();
    for (id, key) in (1..).zip(&keys) {
        put(&mut cluster, 0, key, id, "v");
    }
    cluster.crash(2);
    cluster.crash(1);
    cluster.nodes[2].disk = Disk::default();
    cluster.boot(2, true);
    exchange(&mut cluster);
    assert!(keys.iter().all(|key| cluster.copy(2, key) == cluster.copy(0, key)), "n1 has given all that it has");
    assert!(shard(&cluster, 2).is_unverified(), "n2 may know more, and was not asked");
    assert_eq!(shard(&cluster, 2).partition_in_sync_since(place(&cluster, &keys[0]).0), None);
    let failed = cluster.get(0, &keys[0], 2).failed();
    assert!(failed.message.contains("unverified"), "{}", failed.message);
    cluster.boot(1, false);
    exchange(&mut cluster);
    assert!(!shard(&cluster, 2).is_unverified());
    assert!(shard(&cluster, 2).partition_in_sync_since(place(&cluster, &keys[0]).0).is_some());
    assert_equal(&cluster, &keys);
    cluster.crash(1);
    assert_eq!(values(&cluster.get(0, &keys[0], 2).got()), ["v"], "with n3, which counts");
}

/// A power loss takes what is not fsynced from a node that nobody doubts any more, if it counts too early.
#[test]
fn rule_4_what_an_exchange_brought_is_fsynced_before_it_counts() {
    let mut cluster = three(Durability::Sync);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    cluster.crash(2);
    cluster.nodes[2].disk = Disk::default();
    cluster.nodes[2].hold_fsync = true;
    cluster.boot(2, true);
    exchange(&mut cluster);
    assert_eq!(cluster.copy(2, &k), cluster.copy(0, &k));
    assert!(shard(&cluster, 2).is_unverified(), "what it holds is not safe yet");
    cluster.nodes[2].hold_fsync = false;
    cluster.fsync(2);
    exchange(&mut cluster);
    assert!(!shard(&cluster, 2).is_unverified());
}

/// Cuts a stored record in two. Hands back what is left of it.
pub(super) fn rot(cluster: &mut Cluster, at: usize, address: &Address) -> Bytes {
    let place = place(cluster, address);
    let record = cluster.nodes[at].disk.items.get_mut(&place).unwrap();
    *record = record.slice(..record.len() / 2);
    record.clone()
}

#[test]
fn rotten_copy_is_replaced_and_kept_aside_and_its_actor_ends() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let before = put(&mut cluster, 1, &k, 1, "v");
    let rotten = rot(&mut cluster, 1, &k);
    assert_eq!(values(&cluster.get(1, &k, 2).got()), ["v"], "the others have it");
    cluster.settle();
    let (partition, key) = place(&cluster, &k);
    let aside = ItemKey::from_bytes(key).unwrap().quarantined();
    assert_eq!(cluster.nodes[1].disk.items.get(&(partition, aside)), Some(&rotten));
    assert_eq!(shard(&cluster, 1).counters().restored, 1);
    assert!(!clock(&cluster, 1, &k).covers(Dot::new(before.actor(), before.counter() + 1)));
    let after = put(&mut cluster, 1, &k, 2, "w");
    assert_ne!(after.actor(), before.actor(), "rule 1: what it minted may be gone with the record");
    exchange(&mut cluster);
    assert_equal(&cluster, &[k]);
}

#[test]
fn rot_that_nobody_reads_is_found_by_verifying() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 1, &k, 1, "v");
    exchange(&mut cluster);
    rot(&mut cluster, 1, &k);
    exchange(&mut cluster);
    assert!(cluster.nodes[1].shard.as_ref().unwrap().counters().rot_found == 0, "a tree kept in step cannot see it");
    let now = cluster.now;
    cluster.nodes[1].shard.as_mut().unwrap().verify(now);
    exchange(&mut cluster);
    assert_eq!(shard(&cluster, 1).counters().rot_found, 1);
    assert_equal(&cluster, &[k]);
}

/// Two answers of three owners may both lack what only the third confirmed.
#[test]
fn rule_5_a_rotten_copy_stays_while_an_owner_cannot_say_what_it_has() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 1, &k, 1, "v");
    cluster.crash(0);
    let rotten = rot(&mut cluster, 1, &k);
    cluster.get(1, &k, 2).failed();
    exchange(&mut cluster);
    let place = place(&cluster, &k);
    assert_eq!(cluster.nodes[1].disk.items.get(&place), Some(&rotten), "n1 is away");
    // It comes back and doubts its own copies: its answer adds data, and is no proof that there is nothing else.
    cluster.boot(0, true);
    cluster.get(1, &k, 2).failed();
    assert_eq!(cluster.nodes[1].disk.items.get(&place), Some(&rotten), "n1 may have lost what it had");
    exchange(&mut cluster);
    cluster.get(1, &k, 2).got();
    exchange(&mut cluster);
    assert_equal(&cluster, &[k]);
}

/// Rule 3 and rule 7: the log outlives the record. A write that went with a damaged copy, and that nobody else has, is
/// not known by its retry: the copies that would be confirmed do not have it.
#[test]
fn rule_7_a_retry_of_a_write_that_went_with_a_damaged_copy_is_stored_anew() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 0, &k, 1, "v");
    let lost = put_of(&k, 2, "w", &Bytes::new());
    cluster.lose = Box::new(|flight: &Flight| flight.from == 1 || flight.to == 1);
    cluster.put(1, &lost).failed();
    assert_eq!(cluster.copy(1, &k).versions().len(), 2, "it is stored with its coordinator alone");
    rot(&mut cluster, 1, &k);
    lose_nothing(&mut cluster);
    assert_eq!(values(&cluster.get(1, &k, 2).got()), ["v"]);
    cluster.settle();
    assert_eq!(shard(&cluster, 1).counters().restored, 1);
    let dot = cluster.put(1, &lost).put().dot;
    cluster.settle();
    assert!((0..3).all(|at| cluster.copy(at, &k).knows(dot)), "who confirms it has it");
    assert_eq!(values(&cluster.get(2, &k, 3).got()).len(), 2);
    exchange(&mut cluster);
    assert_equal(&cluster, &[k]);
}

#[test]
fn lookup_that_fails_is_no_rot() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    put(&mut cluster, 1, &k, 1, "v");
    let key = cluster.item_key(&k);
    cluster.nodes[1].disk.broken.push(key);
    cluster.get(1, &k, 2).got();
    exchange(&mut cluster);
    cluster.nodes[1].disk.broken.clear();
    exchange(&mut cluster);
    assert_eq!(shard(&cluster, 1).counters().restored, 0);
    assert_equal(&cluster, &[k]);
}

#[test]
fn clocks_are_joined_only_when_every_item_was_confirmed() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let to_n3 = |flight: &Flight| {
        flight.to == 2 && matches!(flight.frame.kind(), Some(Kind::Merge | Kind::ReadReply | Kind::KeysReply))
    };
    cluster.lose = Box::new(to_n3);
    let dot = put(&mut cluster, 0, &k, 1, "v");
    exchange(&mut cluster);
    assert!(clock(&cluster, 0, &k).covers(dot) && clock(&cluster, 1, &k).covers(dot));
    assert!(!clock(&cluster, 2, &k).covers(dot), "rule 8 would refuse the write for ever");
    assert!((0..3).map(|at| shard(&cluster, at).counters().exchanges_failed).sum::<u64>() > 0);
    lose_nothing(&mut cluster);
    exchange(&mut cluster);
    assert_equal(&cluster, &[k]);
    assert!((0..3).map(|at| shard(&cluster, at).counters().clocks_joined).sum::<u64>() == 0, "the items brought it");
}

#[test]
fn clocks_close_the_gaps_that_items_cannot_close() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    no_merge_to(&mut cluster, 2);
    let first = cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    let second = cluster.put(0, &put_of(&k, 2, "w", &first.token)).put();
    lose_nothing(&mut cluster);
    let third = cluster.put(0, &put_of(&k, 3, "x", &second.token)).put();
    assert!(!clock(&cluster, 2, &k).covers(first.dot), "it never saw the first, nor its name in a vector");
    exchange(&mut cluster);
    assert!(clock(&cluster, 2, &k).covers(first.dot) && clock(&cluster, 2, &k).covers(third.dot));
    assert_equal(&cluster, &[k]);
    assert!(shard(&cluster, 2).counters().clocks_joined > 0);
    let kept = clock(&cluster, 2, &address("k")).clone();
    cluster.crash(2);
    cluster.boot(2, false);
    assert_eq!(*clock(&cluster, 2, &address("k")), kept, "it is on the disk");
}

#[test]
fn settlement_with_another_life_is_refused() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    let dot = put(&mut cluster, 0, &k, 1, "v");
    let (partition, _) = place(&cluster, &k);
    let mut theirs = PartitionClock::default();
    theirs.add(Dot::new(dot.actor(), 77));
    let request = SettleRequest { partition, life: 5, clock: theirs.to_record(0) };
    let mut body = Vec::new();
    request.encode(&mut body);
    let header = Header::new(Kind::Settle, 9, 100, cluster.view[0].layout.id());
    cluster.deliver(Flight { from: 0, to: 1, frame: Frame::new(header, body.into()) });
    let answer = cluster.flights.pop_back().unwrap();
    assert_eq!((answer.from, answer.frame.kind()), (1, Some(Kind::Error)));
    assert!(!clock(&cluster, 1, &k).covers(Dot::new(dot.actor(), 77)));
}

/// Each step of an exchange may lead to the next at once: thousands of them must not be thousands of stack frames.
#[test]
fn exchange_of_many_damaged_items_ends() {
    let mut cluster = three(Durability::Os);
    for at in 0..4_000 {
        // All of them in one leaf.
        let sort = Bytes::from(format!("{at}"));
        let wide = Address::new(Bytes::from_static(b"t"), Bytes::from_static(b"wide"), sort).unwrap();
        let place = place(&cluster, &wide);
        cluster.nodes[0].disk.items.insert(place, Bytes::from_static(b"no record"));
    }
    let now = cluster.now;
    cluster.nodes[0].shard.as_mut().unwrap().verify(now);
    cluster.crash(2);
    for _ in 0..60 {
        cluster.pass(Duration::from_millis(250));
        cluster.settle();
    }
    assert!(shard(&cluster, 0).counters().unreadable > 2_000);
}
