//! Accounts of slow requests: where their time went, and that there are not too many.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Flight, address, put_of, table_address};
use crate::protocol::ring::KeyHash;
use crate::protocol::shard::{PeerIndex, SlowPeer, SlowRequest, Verb};
use crate::protocol::types::{Durability, WriteId};
use crate::protocol::wire::{FailureCode, Kind, PutRequest};

const THRESHOLD: Duration = Duration::from_millis(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn three(durability: Durability) -> Cluster {
    let mut cluster = Cluster::new(3, 3, durability);
    cluster.nodes[0].shard.as_mut().unwrap().account_for_slow(Some(THRESHOLD));
    cluster
}

fn accounts(cluster: &mut Cluster) -> Vec<SlowRequest> {
    cluster.nodes[0].shard.as_mut().unwrap().take_slow()
}

/// The one account there is.
fn account(cluster: &mut Cluster) -> SlowRequest {
    let mut found = accounts(cluster);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn peer(at: u16, asked: Option<u64>, answered: Option<u64>) -> SlowPeer {
    SlowPeer { peer: PeerIndex::new(at), asked: asked.map(ms), answered: answered.map(ms) }
}

/// The peers of an account by their place in the layout.
fn peers(account: &SlowRequest) -> Vec<SlowPeer> {
    let mut peers = account.peers.clone();
    peers.sort_by_key(|peer| peer.peer);
    peers
}

#[test]
fn slow_put_tells_its_own_copy_each_replica_and_the_fsync_apart() {
    let mut cluster = three(Durability::Sync);
    cluster.nodes[0].hold_fsync = true;
    cluster.nodes[0].disk.slow = true;
    let k = table_address("carts", "k");
    let id = cluster.ask_put(0, &PutRequest { w: 3, ..put_of(&k, 7, "v", &Bytes::new()) });
    cluster.pass(ms(4));
    cluster.disk_answers(0);
    cluster.pass(ms(8));
    for (kind, to) in [(Kind::Merge, 1), (Kind::MergeReply, 0)] {
        let is_it = |flight: &Flight| flight.frame.kind() == Some(kind) && flight.to == to;
        let at = cluster.flights.iter().position(is_it).unwrap();
        let flight = cluster.flights.remove(at).unwrap();
        cluster.deliver(flight);
    }
    cluster.pass(ms(3));
    cluster.settle();
    cluster.pass(ms(5));
    cluster.fsync(0);
    cluster.told.remove(&id).expect("three copies are there").put();
    let hash = KeyHash::of(&k, cluster.view[0].layout.parameters().hash_seed);
    let found = account(&mut cluster);
    assert_eq!((found.verb, found.table.as_str(), found.hash), (Verb::Put, "carts", hash));
    assert_eq!((found.request, found.write_id, found.failure), (id, Some(WriteId::new(7)), None));
    assert_eq!((found.took, found.inbox, found.own_copy), (ms(20), ms(0), Some(ms(4))));
    assert_eq!(found.stored, Some(ms(16)), "from the write at 4 ms to the fsync at 20 ms");
    assert_eq!(peers(&found), [peer(1, Some(4), Some(12)), peer(2, Some(4), Some(15))]);
    assert_eq!(found.left_out, 0);
}

#[test]
fn slow_get_tells_who_did_not_answer() {
    let mut cluster = three(Durability::Os);
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    assert_eq!(accounts(&mut cluster), [], "it was not slow");
    cluster.lose = Box::new(|flight| flight.to == 2);
    let id = cluster.ask_get(0, &k, 3);
    cluster.settle();
    cluster.told_now(id).failed();
    let found = account(&mut cluster);
    assert_eq!((found.verb, found.failure), (Verb::Get, Some(FailureCode::QuorumNotMet)));
    assert_eq!((found.own_copy, found.stored), (Some(ms(0)), None));
    assert_eq!(peers(&found), [peer(1, Some(0), Some(0)), peer(2, Some(0), None)]);
    assert!(found.took >= ms(500));
}

#[test]
fn owner_that_is_down_is_not_asked_and_that_is_told() {
    let mut cluster = three(Durability::Os);
    cluster.crash(2);
    cluster.nodes[0].disk.slow = true;
    let id = cluster.ask_put(0, &put_of(&address("k"), 1, "v", &Bytes::new()));
    cluster.pass(ms(30));
    cluster.disk_answers(0);
    cluster.settle();
    cluster.told_now(id).put();
    let found = account(&mut cluster);
    assert_eq!((found.took, found.own_copy), (ms(30), Some(ms(30))));
    assert_eq!(peers(&found), [peer(1, Some(30), Some(30)), peer(2, None, None)]);
}

#[test]
fn request_that_was_passed_on_tells_to_whom_and_one_that_came_too_late_how_long_it_waited() {
    let mut cluster = Cluster::new(4, 3, Durability::Os);
    let layout = cluster.view[0].layout.clone();
    let is_foreign = |key: &String| {
        let hash = KeyHash::of(&address(key), layout.parameters().hash_seed);
        let partition = crate::protocol::ring::partition_of(hash, layout.partition_bits());
        !layout.is_owner(partition, cluster.view[0].me)
    };
    let foreign = (0..1_000).map(|at| format!("k{at}")).find(is_foreign).unwrap();
    cluster.nodes[0].shard.as_mut().unwrap().account_for_slow(Some(THRESHOLD));
    let id = cluster.ask_get(0, &address(&foreign), 2);
    cluster.pass(ms(20));
    cluster.settle();
    cluster.told_now(id).got();
    let found = account(&mut cluster);
    assert_eq!((found.request, found.took, found.failure), (id, ms(20), None));
    assert!(
        matches!(found.peers.as_slice(), [SlowPeer { asked: Some(asked), answered: Some(answered), .. }]
        if (*asked, *answered) == (ms(0), ms(20))),
        "{found:?}"
    );

    let arrived = cluster.now.instant;
    cluster.pass(ms(600));
    let late = cluster.request_that_arrived(0, arrived, &address(&foreign));
    assert_eq!(cluster.told_now(late).failed().code, FailureCode::TimedOut);
    let found = account(&mut cluster);
    assert_eq!((found.took, found.inbox, found.failure), (ms(600), ms(600), Some(FailureCode::TimedOut)));
    assert_eq!((found.peers.len(), found.own_copy), (0, None));
}

#[test]
fn accounts_are_bounded_and_those_left_out_are_counted() {
    let mut cluster = three(Durability::Os);
    cluster.nodes[0].disk.slow = true;
    let slow = |cluster: &mut Cluster, count: usize| {
        let ids: Vec<_> = (0..count).map(|at| cluster.ask_get(0, &address(&format!("k{at}")), 2)).collect();
        cluster.pass(ms(50));
        cluster.disk_answers(0);
        cluster.settle();
        for id in ids {
            cluster.told_now(id);
        }
        accounts(cluster)
    };
    let first = slow(&mut cluster, 30);
    assert_eq!((first.len(), first[9].left_out), (10, 0), "ten at once");
    cluster.pass(ms(2_500));
    let next = slow(&mut cluster, 5);
    assert_eq!(next.iter().map(|account| account.left_out).collect::<Vec<_>>(), [20, 0], "and one a second");
    cluster.pass(Duration::from_secs(60));
    let later = slow(&mut cluster, 20);
    assert_eq!((later.len(), later[0].left_out), (10, 3), "pauses are not saved up beyond ten");
    cluster.nodes[0].shard.as_mut().unwrap().account_for_slow(None);
    cluster.pass(Duration::from_secs(60));
    assert_eq!(slow(&mut cluster, 3), []);
}
