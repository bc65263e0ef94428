//! Owners that cannot be reached: who stands in for them, what it keeps, and how that gets home.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, HINT_BYTES_MAX, Told, address, put_of, values};
use crate::protocol::ring::{KeyHash, PreferenceList, partition_of};
use crate::protocol::types::{Address, Durability, Strictness};
use crate::protocol::version::Siblings;
use crate::protocol::wire::{FailureCode, GetRequest, Kind, PutRequest};

/// Five nodes, three copies, and where `k` belongs.
pub(super) struct Place {
    pub(super) cluster: Cluster,
    pub(super) k: Address,
    pub(super) owners: Vec<usize>,
    pub(super) fallbacks: Vec<usize>,
}

pub(super) fn five() -> Place {
    five_with(Durability::Os)
}

fn five_with(durability: Durability) -> Place {
    let cluster = Cluster::new(5, 3, durability);
    let k = address("k");
    let layout = &cluster.view[0].layout;
    let partition = partition_of(KeyHash::of(&k, 3), layout.partition_bits());
    let list = PreferenceList::of(layout, partition);
    let at = |node: &crate::protocol::types::NodeId| layout.nodes().iter().position(|id| id == node).unwrap();
    let owners = list.primaries.iter().map(at).collect();
    let fallbacks = list.fallbacks.iter().map(at).collect();
    Place { cluster, k, owners, fallbacks }
}

pub(super) fn sloppy(address: &Address, id: u128, value: &str, token: &Bytes) -> PutRequest {
    PutRequest { strictness: Strictness::Sloppy, ..put_of(address, id, value, token) }
}

fn sloppy_get(cluster: &mut Cluster, at: usize, address: &Address) -> Told {
    let mut body = Vec::new();
    GetRequest { address: address.clone(), r: 2, strictness: Strictness::Sloppy }.encode(&mut body);
    let id = cluster.request(at, Kind::Get, body);
    cluster.settle();
    cluster.told_now(id)
}

/// Lets deliveries begin and end.
pub(super) fn quieten(cluster: &mut Cluster) {
    for _ in 0..40 {
        cluster.pass(Duration::from_millis(500));
        cluster.settle();
    }
}

pub(super) fn hints(cluster: &Cluster) -> usize {
    cluster.nodes.iter().map(|node| node.disk.hints().len()).sum()
}

#[test]
fn rule_7_a_hint_counts_for_a_sloppy_write_and_is_reported_as_one() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.crash(owners[1]);
    cluster.crash(owners[2]);
    let reply = cluster.put(owners[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    assert_eq!((reply.stored.primaries(), reply.stored.fallbacks()), (1, 1));
    let stand_in = reply.stored.copies.iter().find(|copy| !copy.primary).unwrap();
    assert_eq!(stand_in.node, cluster.view[0].layout.nodes()[fallbacks[0]], "the first in preference-list order");
    let (key, record) = cluster.nodes[fallbacks[0]].disk.hints().remove(0);
    let home = key.hint_parts().unwrap().0;
    assert_eq!(home, cluster.view[0].layout.nodes()[owners[1]]);
    assert!(Siblings::decode(&record).unwrap().knows(reply.dot), "the hint keeps the dot");
}

#[test]
fn rule_7_a_strict_write_never_counts_a_hint_and_leaves_it_all_the_same() {
    let Place { mut cluster, k, owners, .. } = five();
    cluster.crash(owners[1]);
    cluster.crash(owners[2]);
    let failure = cluster.put(owners[0], &put_of(&k, 1, "v", &Bytes::new())).failed();
    assert_eq!(failure.code, FailureCode::QuorumNotMet);
    assert!(failure.message.contains("1 of 2"), "{failure}");
    assert_eq!(failure.stored.iter().filter(|copy| !copy.primary).count(), 2, "{failure:?}");
    assert_eq!(hints(&cluster), 2);
}

#[test]
fn hint_goes_home_and_is_removed_only_when_its_home_has_fsynced_it() {
    let Place { mut cluster, k, owners, .. } = five();
    cluster.crash(owners[2]);
    cluster.put(owners[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    assert_eq!(hints(&cluster), 1);
    cluster.nodes[owners[2]].hold_fsync = true;
    cluster.boot(owners[2], false);
    cluster.settle();
    cluster.pass(Duration::from_millis(300));
    cluster.settle();
    assert_eq!(cluster.copy(owners[2], &k).versions().len(), 1, "it is delivered");
    assert_eq!(hints(&cluster), 1, "and kept: a power loss could still take it");
    cluster.nodes[owners[2]].hold_fsync = false;
    cluster.fsync(owners[2]);
    cluster.settle();
    assert_eq!(hints(&cluster), 0);
    assert_eq!(cluster.copy(owners[2], &k), cluster.copy(owners[0], &k));
}

#[test]
fn hints_survive_a_restart_of_their_keeper() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.crash(owners[2]);
    cluster.put(owners[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    cluster.crash(fallbacks[0]);
    cluster.boot(fallbacks[0], false);
    assert_eq!(cluster.nodes[fallbacks[0]].shard.as_ref().unwrap().hint_stock().0, 1, "counted at the start");
    cluster.boot(owners[2], false);
    quieten(&mut cluster);
    assert_eq!(hints(&cluster), 0);
    assert_eq!(cluster.copy(owners[2], &k).versions().len(), 1);
}

#[test]
fn hints_for_one_item_collapse_into_one() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.crash(owners[2]);
    for id in 1..=3 {
        cluster.put(owners[0], &sloppy(&k, id, &format!("v{id}"), &Bytes::new())).put();
    }
    let kept = cluster.nodes[fallbacks[0]].disk.hints();
    assert_eq!(kept.len(), 1);
    assert_eq!(Siblings::decode(&kept[0].1).unwrap().versions().len(), 3);
}

#[test]
fn hint_that_changed_on_its_way_stays_for_the_next_pass() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.crash(owners[2]);
    cluster.put(owners[0], &sloppy(&k, 1, "first", &Bytes::new())).put();
    cluster.boot(owners[2], false);
    cluster.settle();
    // The first hint is on its way when the second write reaches its keeper.
    cluster.nodes[owners[2]].hold_fsync = true;
    cluster.pass(Duration::from_millis(300));
    cluster.settle();
    let silent = owners[2];
    cluster.lose = Box::new(move |flight| flight.to == silent && flight.from != silent);
    cluster.put(owners[0], &sloppy(&k, 2, "second", &Bytes::new())).put();
    cluster.pass(Duration::from_secs(3));
    cluster.settle();
    cluster.lose = Box::new(|_| false);
    cluster.nodes[silent].hold_fsync = false;
    cluster.fsync(silent);
    cluster.settle();
    assert_eq!(cluster.nodes[fallbacks[0]].disk.hints().len(), 1, "what was delivered was not all of it");
    quieten(&mut cluster);
    assert_eq!(hints(&cluster), 0);
    assert_eq!(cluster.copy(silent, &k).versions().len(), 2);
}

#[test]
fn full_hint_store_refuses_and_the_write_does_not_count_it() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.crash(owners[1]);
    cluster.crash(owners[2]);
    let large = "x".repeat(900);
    let mut refused = None;
    for id in 1..20 {
        match cluster.put(owners[0], &sloppy(&k, id, &large, &Bytes::new())) {
            Told::Put(reply) => assert_eq!(reply.stored.fallbacks(), 1),
            Told::Failed(failure) => {
                refused = Some(failure);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let failure = refused.expect("the store of hints has a bound");
    assert_eq!(failure.code, FailureCode::QuorumNotMet);
    for at in fallbacks {
        let (_, bytes) = cluster.nodes[at].shard.as_ref().unwrap().hint_stock();
        assert!(bytes <= HINT_BYTES_MAX, "{bytes} bytes of hints");
    }
}

#[test]
fn silent_owner_is_stood_in_for_within_the_request() {
    let Place { mut cluster, k, owners, .. } = five();
    let silent = [owners[1], owners[2]];
    cluster.lose = Box::new(move |flight| silent.contains(&flight.to));
    let began = cluster.now.instant;
    let reply = cluster.put(owners[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    assert_eq!((reply.stored.primaries(), reply.stored.fallbacks()), (1, 1));
    let took = cluster.now.instant.since(began);
    assert!(took < Duration::from_millis(200), "{took:?}: long before the deadline, without any detector");
}

#[test]
fn owner_that_stays_silent_gets_its_copy_by_a_hint_after_the_client_was_told() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    let silent = owners[2];
    cluster.lose = Box::new(move |flight| flight.to == silent);
    let reply = cluster.put(owners[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    assert_eq!(reply.stored.primaries(), 2);
    assert_eq!(hints(&cluster), 0);
    cluster.pass(Duration::from_secs(1));
    cluster.settle();
    assert_eq!(cluster.nodes[fallbacks[0]].disk.hints().len(), 1);
    cluster.lose = Box::new(|_| false);
    quieten(&mut cluster);
    assert_eq!(hints(&cluster), 0);
    assert_eq!(cluster.copy(silent, &k), cluster.copy(owners[0], &k));
}

/// Behind a cut, before anybody has noticed it: the links are up, and nothing comes back. A client that reaches only
/// nodes that own nothing of its item could not write.
#[test]
fn write_whose_owners_are_all_silent_is_stood_in_for_within_its_time() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.put(fallbacks[0], &sloppy(&k, 1, "before", &Bytes::new())).put();
    let cut = owners.clone();
    cluster.lose = Box::new(move |flight| cut.contains(&flight.to) || cut.contains(&flight.from));
    let mut took = Vec::new();
    for id in 2..6 {
        let began = cluster.now.instant;
        let reply = cluster.put(fallbacks[0], &sloppy(&k, id, "v", &Bytes::new())).put();
        assert_eq!((reply.stored.primaries(), reply.stored.fallbacks()), (0, 2), "put {id}");
        took.push(cluster.now.instant.since(began));
    }
    // Whoever has been silent for so long is not waited for as long again, request by request.
    assert!(took[1..].iter().all(|later| *later < took[0]), "{took:?}");
    cluster.lose = Box::new(|_| false);
    quieten(&mut cluster);
    assert_eq!(hints(&cluster), 0);
    let shown = values(&cluster.get(owners[0], &k, 3).got());
    assert_eq!(shown, ["before", "v", "v", "v", "v"]);
}

/// Rule 2. `riak_kv` lost such writes: the second put of the fallback had a dot whose meaning its replicas did not
/// know.
#[test]
fn rule_2_two_puts_of_a_fallback_with_a_delivered_hint_between_them() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    for at in &owners {
        cluster.crash(*at);
    }
    let first = cluster.put(fallbacks[0], &sloppy(&k, 1, "first", &Bytes::new())).put();
    assert_eq!(first.stored.primaries(), 0);
    // The first owner comes back and gets the hint; then it goes away again.
    cluster.boot(owners[0], false);
    quieten(&mut cluster);
    assert_eq!(cluster.copy(owners[0], &k).versions().len(), 1);
    cluster.crash(owners[0]);
    let second = cluster.put(fallbacks[0], &sloppy(&k, 2, "second", &Bytes::new())).put();
    assert_ne!(first.dot.actor(), second.dot.actor(), "the hint went, and the actor with it");
    // Replicas that saw only the second write: a client reads there and writes over it.
    let kept: Vec<usize> = (0..5).filter(|at| !cluster.nodes[*at].disk.hints().is_empty()).collect();
    assert!(!kept.is_empty());
    cluster.boot(owners[1], false);
    cluster.boot(owners[2], false);
    quieten(&mut cluster);
    let seen = cluster.get(owners[1], &k, 2).got();
    cluster.put(owners[1], &put_of(&k, 3, "third", &seen.token)).put();
    cluster.boot(owners[0], false);
    quieten(&mut cluster);
    let all = values(&cluster.get(owners[0], &k, 3).got());
    let shown = values(&seen);
    assert!(all.contains(&"third".to_owned()), "{all:?}");
    assert!(shown.contains(&"first".to_owned()) || all.contains(&"first".to_owned()), "{shown:?}, then {all:?}");
}

#[test]
fn rule_2_a_fallback_coordinates_only_when_no_owner_answers() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    let reply = cluster.put(fallbacks[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    assert!(reply.stored.primaries() >= 2, "an owner coordinated it: {reply:?}");
    cluster.crash(owners[0]);
    cluster.crash(owners[1]);
    let reply = cluster.put(fallbacks[1], &sloppy(&k, 2, "w", &Bytes::new())).put();
    assert_eq!((reply.stored.primaries(), reply.stored.fallbacks()), (1, 1), "one owner is left, and it coordinated");
}

#[test]
fn fallback_does_not_coordinate_a_strict_write() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    for at in &owners {
        cluster.crash(*at);
    }
    let failure = cluster.put(fallbacks[0], &put_of(&k, 1, "v", &Bytes::new())).failed();
    assert!(failure.message.contains("no owner"), "{failure}");
    assert_eq!(hints(&cluster), 0);
}

#[test]
fn sloppy_read_finds_what_stand_ins_keep_and_a_strict_one_says_who_is_missing() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    for at in &owners {
        cluster.crash(*at);
    }
    cluster.put(fallbacks[0], &sloppy(&k, 1, "v", &Bytes::new())).put();
    for at in &fallbacks {
        assert_eq!(values(&sloppy_get(&mut cluster, *at, &k).got()), ["v"], "at {at}");
    }
    assert!(cluster.get(fallbacks[0], &k, 2).failed().message.contains("no owner"));
}

#[test]
fn rule_4_an_empty_answer_of_a_stand_in_is_not_absence() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.put(owners[0], &put_of(&k, 1, "v", &Bytes::new())).put();
    for at in &owners {
        cluster.crash(*at);
    }
    let failure = sloppy_get(&mut cluster, fallbacks[0], &k).failed();
    assert_eq!(failure.code, FailureCode::QuorumNotMet, "{failure}");
}

#[test]
fn sloppy_read_repairs_who_is_behind_after_it_answered() {
    let Place { mut cluster, k, owners, .. } = five();
    let behind = owners[0];
    cluster.lose = Box::new(move |flight| flight.to == behind && flight.frame.kind() == Some(Kind::Merge));
    cluster.put(owners[1], &put_of(&k, 1, "v", &Bytes::new())).put();
    cluster.lose = Box::new(|_| false);
    assert!(cluster.copy(behind, &k).is_empty());
    assert_eq!(values(&sloppy_get(&mut cluster, behind, &k).got()), ["v"]);
    cluster.settle();
    assert_eq!(cluster.copy(behind, &k).versions().len(), 1);
    let repairs: u64 =
        cluster.nodes.iter().filter_map(|node| node.shard.as_ref()).map(|s| s.counters().read_repairs).sum();
    assert!(repairs >= 1);
}

#[test]
fn hint_for_somebody_who_owns_nothing_of_it_is_refused() {
    use crate::protocol::shard::{Source, SourceId};
    use crate::protocol::types::NodeId;
    use crate::protocol::wire::{Frame, FrameDecoder, Header, HintRequest};
    let Place { mut cluster, k, owners, fallbacks } = five();
    cluster.put(owners[0], &put_of(&k, 1, "v", &Bytes::new())).put();
    let record = cluster.copy(owners[0], &k).to_record();
    let header = Header::new(Kind::Hint, 7, 100, cluster.view[0].layout.id());
    let now = cluster.now;
    let node = |at: usize| cluster.view[0].layout.nodes()[at];
    let cases = [
        (fallbacks[0], NodeId::new(99), "a stranger"),
        (fallbacks[0], node(fallbacks[1]), "a member that does not own it"),
        (owners[0], node(owners[1]), "an owner keeps copies, not hints"),
    ];
    for (to, home, why) in cases {
        let mut decoder = FrameDecoder::new(usize::MAX);
        decoder.extend(&HintRequest::frame_of(header, home, &k, &record));
        let frame: Frame = decoder.next_frame().unwrap().unwrap();
        let node = &mut cluster.nodes[to];
        let source = Source { id: SourceId::new(u64::try_from(owners[2]).unwrap()) };
        node.shard.as_mut().unwrap().handle_request(now, source, frame, &mut node.disk);
        cluster.turn(to);
        let answer = cluster.flights.pop_back().unwrap();
        assert_eq!(answer.frame.kind(), Some(Kind::Error), "{why}");
    }
    assert_eq!(hints(&cluster), 0);
}
