//! Too much to do, too late, too little room: what is refused, what goes on, and that it recovers.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Flight, Told, address, put_of, values};
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::shard::operation::{OPERATIONS_MAX, Operations};
use crate::protocol::shard::{Room, Shard, Source, SourceId, Space};
use crate::protocol::types::{Address, Durability, Instant, Strictness};
use crate::protocol::version::Siblings;
use crate::protocol::wire::{FailureCode, Frame, GetRequest, Header, Kind, PutRequest, Want};

fn three() -> Cluster {
    Cluster::new(3, 3, Durability::Os)
}

fn shard(cluster: &mut Cluster, at: usize) -> &mut Shard {
    cluster.nodes[at].shard.as_mut().unwrap()
}

fn put_body(put: &PutRequest) -> Vec<u8> {
    let mut body = Vec::new();
    put.encode(&mut body);
    body
}

fn get_body(address: &Address) -> Vec<u8> {
    let mut body = Vec::new();
    GetRequest { address: address.clone(), r: 2, strictness: Strictness::Strict }.encode(&mut body);
    body
}

fn delete_of(address: &Address, id: u128, token: &Bytes) -> PutRequest {
    let put = put_of(address, id, "", token);
    let checksum = crate::protocol::version::checksum(address, put.write_id, true, &[]);
    PutRequest { want: Want::Delete, checksum, ..put }
}

/// Hands a client's request to a node in which it waited for so long already.
fn waited(cluster: &mut Cluster, at: usize, (kind, body): (Kind, Vec<u8>), budget: u32, waited: Duration) -> u64 {
    let id = (1 << 40) + cluster.told.len() as u64;
    let nanos = cluster.now.instant.as_nanos() - u64::try_from(waited.as_nanos()).unwrap();
    let source = Source { id: SourceId::new(id), arrived: Instant::from_nanos(nanos) };
    let header = Header::new(kind, id, budget, cluster.view[at].layout.id());
    let now = cluster.now;
    let node = &mut cluster.nodes[at];
    node.shard.as_mut().unwrap().handle_request(now, source, Frame::new(header, body.into()), &mut node.disk);
    cluster.turn(at);
    id
}

fn expired(cluster: &mut Cluster, at: usize, kind: &str) -> u64 {
    shard(cluster, at).counters().expired.get(kind).copied().unwrap_or(0)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn request_past_its_deadline_is_answered_and_not_begun() {
    let mut cluster = three();
    cluster.pass(ms(5_000));
    let k = address("k");
    let put = put_body(&put_of(&k, 1, "v", &Bytes::new()));
    let id = waited(&mut cluster, 0, (Kind::Put, put.clone()), 500, ms(500));
    let failure = cluster.told.remove(&id).expect("answered at once").failed();
    assert_eq!(failure.code, FailureCode::TimedOut);
    assert!(failure.message.contains("500 ms") && failure.message.contains("nothing was applied"), "{failure}");
    cluster.settle();
    assert!((0..3).all(|at| cluster.copy(at, &k).is_empty()), "nowhere");
    assert_eq!((expired(&mut cluster, 0, "put"), shard(&mut cluster, 0).counters().puts), (1, 0));
    let id = waited(&mut cluster, 0, (Kind::Get, get_body(&k)), 500, ms(700));
    assert_eq!(cluster.told.remove(&id).unwrap().failed().code, FailureCode::TimedOut);
    assert_eq!(expired(&mut cluster, 0, "get"), 1);
    // A millisecond earlier it is served, with what is left of its time.
    let id = waited(&mut cluster, 0, (Kind::Put, put), 500, ms(499));
    cluster.settle();
    cluster.told_now(id).put();
}

#[test]
fn what_is_passed_on_has_what_is_left_of_the_time() {
    let mut cluster = Cluster::new(5, 3, Durability::Os);
    cluster.pass(ms(5_000));
    let k = address("k");
    let layout = cluster.view[0].layout.clone();
    let partition = partition_of(KeyHash::of(&k, 3), layout.partition_bits());
    let owners: Vec<usize> = layout.owner_indices(partition).iter().map(|at| usize::from(*at)).collect();
    let stranger = (0..5).find(|at| !owners.contains(at)).unwrap();
    let put = put_body(&put_of(&k, 1, "v", &Bytes::new()));
    let id = waited(&mut cluster, stranger, (Kind::Put, put), 500, ms(400));
    let relayed = cluster.flights.front().unwrap().frame.header;
    assert_eq!((relayed.kind, relayed.budget_ms), (Kind::Put.as_u8(), 100), "to the owner");
    let flight = cluster.flights.pop_front().unwrap();
    cluster.pass(ms(30));
    cluster.deliver(flight);
    // Exchanges are under way, too, with a time of their own.
    let merges = cluster.flights.iter().map(|flight| flight.frame.header);
    let merges: Vec<u32> = merges.filter(|it| it.kind == Kind::Merge.as_u8()).map(|it| it.budget_ms).collect();
    assert_eq!(merges, [100, 100], "to the other owners; the way between is not known");
    cluster.settle();
    cluster.told_now(id).put();
}

/// Applied late it would have held up what is in time; the exchange brings it.
#[test]
fn late_merge_is_dropped_counted_unknown_and_brought_by_an_exchange() {
    let mut cluster = three();
    let k = address("k");
    let id = cluster.ask_put(0, &put_of(&k, 1, "v", &Bytes::new()));
    let merges: Vec<Flight> = cluster.flights.drain(..).collect();
    for merge in merges {
        if merge.to == 1 {
            cluster.deliver(merge);
        } else {
            // It waits in the node for longer than its coordinator does.
            let node = &mut cluster.nodes[2];
            let source = Source { id: SourceId::new(0), arrived: cluster.now.instant };
            let later = crate::protocol::shard::Now { instant: cluster.now.instant.after(ms(600)), ..cluster.now };
            node.shard.as_mut().unwrap().handle_request(later, source, merge.frame, &mut node.disk);
            cluster.turn(2);
        }
    }
    cluster.settle();
    cluster.told_now(id).put();
    assert!(cluster.copy(2, &k).is_empty());
    assert_eq!(expired(&mut cluster, 2, "merge"), 1);
    for _ in 0..160 {
        cluster.pass(ms(250));
        cluster.settle();
    }
    assert_eq!(cluster.copy(2, &k), cluster.copy(0, &k), "and yet it gets there");
}

#[test]
fn peer_that_gave_up_is_sent_no_copy_when_the_disk_answers_at_last() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    (1..3).for_each(|at| cluster.nodes[at].disk.slow = true);
    let id = cluster.ask_get(0, &k, 3);
    cluster.settle();
    cluster.pass(ms(600));
    assert_eq!(cluster.told_now(id).failed().code, FailureCode::QuorumNotMet);
    cluster.disk_answers(1);
    let answer = cluster.flights.pop_front().unwrap().frame;
    assert_eq!(answer.kind(), Some(Kind::Error), "no record for nobody");
    assert_eq!(expired(&mut cluster, 1, "read"), 1);
}

#[test]
fn write_whose_own_disk_was_too_slow_is_not_minted_after_its_deadline() {
    let mut cluster = three();
    let k = address("k");
    cluster.nodes[0].disk.slow = true;
    let id = cluster.ask_put(0, &put_of(&k, 1, "v", &Bytes::new()));
    cluster.now.instant = cluster.now.instant.after(ms(600));
    cluster.disk_answers(0);
    let failure = cluster.told_now(id).failed();
    assert!(failure.message.contains("nothing was written"), "{failure}");
    assert!((0..3).all(|at| cluster.copy(at, &k).is_empty()));
}

#[test]
fn more_requests_than_a_shard_holds_are_told_when_to_ask_again_and_it_recovers() {
    let mut cluster = three();
    cluster.nodes[0].disk.slow = true;
    let ids: Vec<u64> = (0..OPERATIONS_MAX)
        .map(|n| cluster.ask_put(0, &put_of(&address(&n.to_string()), n as u128 + 1, "v", &Bytes::new())))
        .collect();
    let failure = cluster.put(0, &put_of(&address("k"), 1 << 80, "v", &Bytes::new())).failed();
    assert_eq!(failure.code, FailureCode::Overloaded);
    assert!(failure.retry_after_ms > 0 && failure.message.contains("16384"), "{failure}");
    cluster.nodes[0].disk.slow = false;
    cluster.disk_answers(0);
    cluster.settle();
    assert_eq!(
        ids.into_iter().filter_map(|id| cluster.told.remove(&id)).map(|told| drop(told.put())).count(),
        OPERATIONS_MAX
    );
    cluster.put(0, &put_of(&address("k"), 1 << 80, "v", &Bytes::new())).put();
    assert_eq!(shard(&mut cluster, 0).bytes_in_flight(), 0, "everything that was charged is given back");
}

#[test]
fn bytes_of_requests_are_bounded_at_their_beginning_and_while_copies_come() {
    let mut cluster = three();
    let large = "x".repeat(900);
    for n in 0..3 {
        cluster.put(n, &put_of(&address("k"), n as u128 + 1, &large, &Bytes::new())).put();
    }
    shard(&mut cluster, 0).operations = Operations::new(3_000);
    cluster.nodes[0].disk.slow = true;
    let puts: Vec<u64> =
        (0..3).map(|n| cluster.ask_put(0, &put_of(&address(&n.to_string()), n + 10, &large, &Bytes::new()))).collect();
    let failure = {
        let id = cluster.ask_put(0, &put_of(&address("3"), 20, &large, &Bytes::new()));
        let id2 = cluster.ask_put(0, &put_of(&address("4"), 21, &large, &Bytes::new()));
        cluster.told.remove(&id).or_else(|| cluster.told.remove(&id2)).expect("refused at once").failed()
    };
    assert_eq!(failure.code, FailureCode::Overloaded);
    assert!(failure.message.contains("3000"), "{failure}");
    cluster.pass(ms(600));
    cluster.settle();
    for id in puts {
        drop(cluster.told_now(id));
    }
    cluster.nodes[0].disk.pending.clear();
    cluster.nodes[0].disk.slow = false;
    cluster.told.clear();
    // Two reads of three versions each: the copies of one may be held beside those of another up to twice the bound.
    let reads: Vec<u64> = (0..4).map(|_| cluster.ask_get(0, &address("k"), 3)).collect();
    cluster.settle();
    let told: Vec<Told> = reads.into_iter().map(|id| cluster.told_now(id)).collect();
    let refused =
        told.iter().filter(|told| matches!(told, Told::Failed(failure) if failure.code == FailureCode::Overloaded));
    assert!((1..4).contains(&refused.count()), "some are, not all: {told:?}");
    assert_eq!(shard(&mut cluster, 0).bytes_in_flight(), 0);
    assert_eq!(cluster.get(0, &address("k"), 3).got().versions.len(), 3, "one alone may be larger than the bound");
}

/// Node 0 has less room than its reserve, or than half of it.
fn fill(cluster: &mut Cluster, at: usize, room: Room) {
    shard(cluster, at).set_room(room, Space { free: 7, reserve: 100 });
}

#[test]
fn nearly_full_disk_refuses_values_and_keeps_deletes_reads_and_replication() {
    let mut cluster = three();
    let (k, l) = (address("k"), address("l"));
    cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    let seen = cluster.get(0, &k, 2).got();
    for room in [Room::Reserve, Room::Emergency] {
        fill(&mut cluster, 0, room);
        let failure = cluster.put(0, &put_of(&l, 2, "v", &Bytes::new())).failed();
        assert_eq!(failure.code, FailureCode::DiskFull);
        for word in ["the disk of n1", "7 bytes are free", "100 are its reserve", "disk_reserve", "free space on it"] {
            assert!(failure.message.contains(word), "{word} is missing: {failure}");
        }
    }
    cluster.put(0, &delete_of(&k, 3, &seen.token)).put();
    assert!(cluster.get(1, &k, 2).got().versions.is_empty(), "deleted, in an emergency too");
    fill(&mut cluster, 0, Room::Reserve);
    cluster.put(1, &put_of(&l, 4, "v", &Bytes::new())).put();
    cluster.settle();
    assert!(!cluster.copy(0, &l).is_empty(), "a peer's write is replicated here all the same");
    fill(&mut cluster, 0, Room::Plenty);
    cluster.put(0, &put_of(&l, 5, "w", &Bytes::new())).put();
}

#[test]
fn in_an_emergency_nothing_grows_and_what_was_refused_comes_later() {
    let mut cluster = three();
    let (k, l) = (address("k"), address("l"));
    cluster.put(1, &put_of(&k, 1, &"x".repeat(800), &Bytes::new())).put();
    cluster.settle();
    fill(&mut cluster, 0, Room::Emergency);
    let reply = cluster.put(1, &put_of(&l, 2, &"y".repeat(800), &Bytes::new())).put();
    assert_eq!(reply.stored.copies.len(), 2, "not on the full one: {:?}", reply.stored);
    assert!(cluster.copy(0, &l).is_empty());
    let seen = cluster.get(1, &k, 2).got();
    let reply = cluster.put(1, &delete_of(&k, 3, &seen.token)).put();
    cluster.settle();
    assert!(cluster.copy(0, &k).versions().iter().all(|version| version.tombstone), "a delete makes room: {reply:?}");
    for _ in 0..100 {
        cluster.pass(ms(250));
        cluster.settle();
    }
    assert!(cluster.copy(0, &l).is_empty(), "an exchange does not bring it either");
    fill(&mut cluster, 0, Room::Plenty);
    for _ in 0..200 {
        cluster.pass(ms(250));
        cluster.settle();
    }
    assert_eq!(cluster.copy(0, &l), cluster.copy(1, &l), "and then it does");
}

#[test]
fn nearly_full_stand_in_refuses_the_hint_and_the_next_keeps_it() {
    let mut cluster = Cluster::new(5, 3, Durability::Os);
    let k = address("k");
    let layout = cluster.view[0].layout.clone();
    let partition = partition_of(KeyHash::of(&k, 3), layout.partition_bits());
    let list = crate::protocol::ring::PreferenceList::of(&layout, partition);
    let at = |node: &crate::protocol::types::NodeId| layout.nodes().iter().position(|id| id == node).unwrap();
    let owners: Vec<usize> = list.primaries.iter().map(at).collect();
    let fallbacks: Vec<usize> = list.fallbacks.iter().map(at).collect();
    fill(&mut cluster, fallbacks[0], Room::Reserve);
    cluster.crash(owners[2]);
    let put = PutRequest { w: 3, strictness: Strictness::Sloppy, ..put_of(&k, 1, "v", &Bytes::new()) };
    let reply = cluster.put(owners[0], &put).put();
    assert_eq!(reply.stored.fallbacks(), 1);
    assert!(cluster.nodes[fallbacks[0]].disk.hints().is_empty());
    assert_eq!(cluster.nodes[fallbacks[1]].disk.hints().len(), 1);
}

#[test]
fn request_that_a_full_node_refuses_is_passed_on_to_another_owner() {
    let mut cluster = Cluster::new(5, 3, Durability::Os);
    let k = address("k");
    let layout = cluster.view[0].layout.clone();
    let partition = partition_of(KeyHash::of(&k, 3), layout.partition_bits());
    let owners: Vec<usize> = layout.owner_indices(partition).iter().map(|at| usize::from(*at)).collect();
    let stranger = (0..5).find(|at| !owners.contains(at)).unwrap();
    fill(&mut cluster, owners[0], Room::Reserve);
    cluster.put(stranger, &put_of(&k, 1, "v", &Bytes::new())).put();
    assert_eq!(values(&cluster.get(stranger, &k, 2).got()), ["v"]);
}

/// Slow foreground narrows what repairs get, and they end all the same.
#[test]
fn background_work_gives_way_to_a_suffering_foreground_and_still_ends() {
    let mut cluster = Cluster::new(3, 3, Durability::Sync);
    for _ in 0..160 {
        cluster.pass(ms(250));
        cluster.settle();
    }
    assert_eq!(shard(&mut cluster, 0).background_permille(), 1_000);
    let mut id = 0;
    let mut slow_second = |cluster: &mut Cluster| {
        cluster.nodes.iter_mut().for_each(|node| node.hold_fsync = true);
        let ids: Vec<u64> = (0..100)
            .map(|_| {
                id += 1;
                cluster.ask_put(0, &put_of(&address(&format!("slow {id}")), id, "v", &Bytes::new()))
            })
            .collect();
        cluster.settle();
        cluster.pass(ms(200));
        cluster.nodes.iter_mut().for_each(|node| node.hold_fsync = false);
        (0..3).for_each(|at| cluster.fsync(at));
        cluster.settle();
        for id in ids {
            drop(cluster.told_now(id).put());
        }
        (0..4).for_each(|_| {
            cluster.pass(ms(250));
            cluster.settle();
        });
    };
    // Node 2 misses sixty writes, which an exchange has to bring.
    cluster.lose = Box::new(|flight| flight.to == 2 && flight.frame.kind() == Some(Kind::Merge));
    let missed: Vec<Address> = (0..60).map(|n| address(&format!("missed {n}"))).collect();
    for (n, address) in (0..).zip(&missed) {
        cluster.put(0, &put_of(address, (1 << 90) + n, "v", &Bytes::new())).put();
    }
    cluster.lose = Box::new(|_| false);
    for _ in 0..6 {
        slow_second(&mut cluster);
    }
    let share = shard(&mut cluster, 0).background_permille();
    assert!(share < 200, "{share}");
    for _ in 0..30 {
        slow_second(&mut cluster);
    }
    let copies: Vec<Siblings> = missed.iter().map(|address| cluster.copy(2, address)).collect();
    let arrived = copies.iter().filter(|copy| !copy.is_empty()).count();
    assert_eq!(arrived, missed.len(), "repair goes on while the foreground suffers");
    for _ in 0..80 {
        cluster.pass(ms(250));
        cluster.settle();
    }
    assert_eq!(shard(&mut cluster, 0).background_permille(), 1_000, "and has all of it afterwards");
}
