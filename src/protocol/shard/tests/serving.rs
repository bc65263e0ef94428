//! Limits, roles of nodes, slow disks and peers, and frames that make no sense.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::cluster::{Cluster, Flight, address, put_of, values};
use crate::protocol::ring::LayoutId;
use crate::protocol::types::Durability;
use crate::protocol::types::limits::VERSIONS_MAX;
use crate::protocol::wire::{FailureCode, Frame, Header, Kind, PutRequest};

fn three() -> Cluster {
    Cluster::new(3, 3, Durability::Os)
}

fn none() -> Bytes {
    Bytes::new()
}

#[test]
fn sixty_fifth_version_is_refused_with_the_way_out() {
    let mut cluster = three();
    let k = address("k");
    for n in 0..VERSIONS_MAX {
        cluster.put(n % 3, &put_of(&k, n as u128 + 1, &n.to_string(), &none())).put();
    }
    let failure = cluster.put(0, &put_of(&k, 1000, "one more", &none())).failed();
    assert_eq!(failure.code, FailureCode::TooLarge);
    assert!(failure.message.contains("64") && failure.message.contains("with the context"), "{failure}");
    let seen = cluster.get(0, &k, 2).got();
    assert_eq!(seen.versions.len(), VERSIONS_MAX, "nothing stored is lost");
    cluster.put(0, &put_of(&k, 1001, "merged", &seen.token)).put();
    assert_eq!(values(&cluster.get(1, &k, 2).got()), ["merged"]);
}

#[test]
fn value_over_the_limit_is_refused_with_the_limit() {
    let mut cluster = three();
    let failure = cluster.put(0, &put_of(&address("k"), 1, &"x".repeat(10_001), &none())).failed();
    assert_eq!(failure.code, FailureCode::TooLarge);
    assert!(failure.message.contains("10001 bytes") && failure.message.contains("is 10000"), "{failure}");
}

#[test]
fn quorums_out_of_range_are_refused() {
    let mut cluster = three();
    let k = address("k");
    let failure = cluster.put(0, &PutRequest { w: 4, ..put_of(&k, 1, "v", &none()) }).failed();
    assert_eq!((failure.code, failure.message.as_str()), {
        (FailureCode::BadInput, "w = 4 is out of range; a write needs 1 to n = 3 replicas")
    });
    assert_eq!(cluster.get(0, &k, 9).failed().code, FailureCode::BadInput);
}

#[test]
fn forged_and_foreign_contexts_are_refused() {
    let mut cluster = three();
    let (k, l) = (address("k"), address("l"));
    cluster.put(0, &put_of(&k, 1, "v", &none())).put();
    let token = cluster.get(0, &k, 2).got().token;
    let failure = cluster.put(0, &put_of(&l, 2, "v", &token)).failed();
    assert!(failure.message.contains("belongs to another table, key or sort key"), "{failure}");
    let mut forged = token.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(cluster.put(0, &put_of(&k, 3, "v", &forged.into())).failed().code, FailureCode::BadInput);
    assert_eq!(cluster.put(0, &put_of(&k, 4, "v", &token.slice(..20))).failed().code, FailureCode::BadInput);
}

#[test]
fn any_node_takes_any_request() {
    let mut cluster = Cluster::new(5, 3, Durability::Os);
    for n in 0..40_u16 {
        let k = address(&n.to_string());
        let at = usize::from(n % 5);
        cluster.put(at, &put_of(&k, u128::from(n) + 1, "v", &none())).put();
        assert_eq!(values(&cluster.get((at + 2) % 5, &k, 2).got()), ["v"]);
    }
    let relayed: u64 = cluster.nodes.iter().map(|node| node.shard.as_ref().unwrap().counters().relayed).sum();
    assert!(relayed > 0);
}

#[test]
fn relay_asks_the_next_owner_when_one_goes_down() {
    let mut cluster = Cluster::new(4, 3, Durability::Os);
    for n in 0..20_u16 {
        let k = address(&n.to_string());
        let hash = crate::protocol::ring::KeyHash::of(&k, 3);
        let partition = crate::protocol::ring::partition_of(hash, 3);
        let owners: Vec<u16> = cluster.view[0].layout.owner_indices(partition).to_vec();
        let outsider = (0..4_u16).find(|at| !owners.contains(at)).unwrap();
        let id = cluster.ask_put(usize::from(outsider), &put_of(&k, 1, "v", &none()));
        let asked = cluster.flights.front().unwrap().to;
        cluster.crash(asked);
        cluster.settle();
        cluster.told_now(id).put();
        cluster.boot(asked, false);
    }
}

#[test]
fn operations_on_an_item_that_is_being_read_go_on_in_order() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "old", &none())).put();
    let seen = cluster.get(0, &k, 2).got().token;
    cluster.nodes[0].disk.slow = true;
    let first = cluster.ask_put(0, &put_of(&k, 2, "a", &seen));
    let second = cluster.ask_put(0, &put_of(&k, 3, "b", &seen));
    let read = cluster.ask_get(0, &k, 1);
    cluster.settle();
    assert_eq!(cluster.nodes[0].disk.pending.len(), 1, "one item is read once");
    assert!(cluster.told.is_empty());
    cluster.disk_answers(0);
    cluster.settle();
    cluster.told_now(first).put();
    cluster.told_now(second).put();
    assert_eq!(values(&cluster.told_now(read).got()), ["a", "b"]);
    cluster.nodes[0].disk.slow = false;
    assert_eq!(values(&cluster.get(1, &k, 3).got()), ["a", "b"]);
}

#[test]
fn silent_peer_is_hedged_and_then_avoided() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "v", &none())).put();
    cluster.get(0, &k, 2).got();
    // The peer that n1 asks first falls silent without going down.
    let id = cluster.ask_get(0, &k, 2);
    let silent = cluster.flights.front().unwrap().to;
    cluster.lose = Box::new(move |flight: &Flight| flight.to == silent);
    cluster.settle();
    assert!(cluster.told.is_empty());
    cluster.pass(Duration::from_millis(11));
    cluster.settle();
    assert_eq!(values(&cluster.told_now(id).got()), ["v"]);
    let hedges = |cluster: &Cluster| cluster.nodes[0].shard.as_ref().unwrap().counters().hedges;
    assert_eq!(hedges(&cluster), 1);
    for _ in 0..50 {
        let id = cluster.ask_get(0, &k, 2);
        assert_ne!(cluster.flights.front().unwrap().to, silent, "a lagging peer is not asked first");
        cluster.settle();
        cluster.told_now(id).got();
    }
    assert_eq!(hedges(&cluster), 1);
}

#[test]
fn frame_for_another_layout_is_stale_and_applied_nowhere() {
    let mut cluster = three();
    let k = address("k");
    let record = {
        cluster.put(0, &put_of(&k, 1, "v", &none())).put();
        cluster.copy(0, &k).to_record()
    };
    let l = address("l");
    let mut body = Vec::new();
    crate::protocol::wire::MergeRequest { address: l.clone(), record }.encode(&mut body);
    let header = Header::new(Kind::Merge, 5, 500, LayoutId::new(7, 7));
    cluster.deliver(Flight { from: 1, to: 0, frame: Frame::new(header, body.into()) });
    let answer = cluster.flights.pop_front().unwrap();
    let failure: crate::protocol::wire::Failure =
        crate::protocol::wire::decode_control(&answer.frame.body, "error").unwrap();
    assert_eq!(failure.code, FailureCode::Stale);
    assert!(cluster.copy(0, &l).is_empty());
}

#[test]
fn late_duplicated_and_unasked_answers_are_ignored() {
    let mut cluster = three();
    let k = address("k");
    let id = cluster.ask_put(0, &put_of(&k, 1, "v", &none()));
    let mut answers = Vec::new();
    while let Some(flight) = cluster.flights.pop_front() {
        if flight.to == 0 {
            answers.push(flight.clone());
        }
        cluster.deliver(flight);
    }
    cluster.told_now(id).put();
    for answer in answers {
        cluster.deliver(answer.clone());
        cluster.deliver(Flight { from: 2, ..answer });
    }
    assert!(cluster.told.is_empty());
    assert_eq!(values(&cluster.get(0, &k, 2).got()), ["v"]);
}

#[test]
fn stopping_shard_refuses_clients_and_still_serves_peers() {
    let mut cluster = three();
    let k = address("k");
    cluster.nodes[0].shard.as_mut().unwrap().begin_stop();
    assert_eq!(cluster.put(0, &put_of(&k, 1, "v", &none())).failed().code, FailureCode::Stopping);
    cluster.put(1, &PutRequest { w: 3, ..put_of(&k, 2, "v", &none()) }).put();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rule 12: whatever an authenticated peer sends, of whatever kind, the shard stays up and its items stay.
    #[test]
    fn rule_12_no_frame_of_a_peer_stops_a_shard(
        frames in prop::collection::vec(
            (any::<u8>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..200), any::<bool>()),
            1..40,
        ),
    ) {
        let mut cluster = three();
        let k = address("k");
        cluster.put(0, &put_of(&k, 1, "v", &none())).put();
        let layout = cluster.view[0].layout.id();
        for (kind, correlation, body, shifted) in frames {
            let Some(kind) = Kind::from_u8(kind % 64) else { continue };
            let correlation = if shifted { (1 << 32) | (correlation % 4) } else { correlation };
            let frame = Frame::new(Header::new(kind, correlation, 1, layout), body.into());
            cluster.deliver(Flight { from: 1, to: 0, frame });
            cluster.flights.clear();
        }
        prop_assert_eq!(values(&cluster.get(2, &k, 2).got()), ["v"]);
    }

    /// Random requests, losses, crashes and restarts: every request is answered once, and what was acknowledged is
    /// present or was replaced by a write that had seen it.
    #[test]
    fn acknowledged_writes_survive_losses_and_restarts(
        steps in prop::collection::vec((0_u8..10, 0_usize..3, 0_u8..3, any::<bool>()), 1..120),
        slow in any::<bool>(),
    ) {
        let mut cluster = three();
        let mut tokens = vec![none(); 3];
        let mut acknowledged: Vec<std::collections::BTreeSet<String>> = vec![std::collections::BTreeSet::default(); 3];
        let mut shown: Vec<std::collections::BTreeSet<String>> = vec![std::collections::BTreeSet::default(); 3];
        for (n, (step, at, key, flag)) in steps.into_iter().enumerate() {
            let k = address(&key.to_string());
            let key = usize::from(key);
            match step {
                0 => {
                    cluster.crash(at);
                    cluster.boot(at, false);
                }
                1 => cluster.lose = Box::new(move |flight| flight.to == at && flag),
                2 => cluster.lose = Box::new(|_| false),
                3 => cluster.nodes[at].disk.slow = slow && flag,
                4..=6 => {
                    let id = cluster.ask_get(at, &k, 2);
                    cluster.settle();
                    (0..3).for_each(|node| cluster.disk_answers(node));
                    cluster.settle();
                    if let super::cluster::Told::Got(reply) = cluster.told_now(id) {
                        shown[key] = values(&reply).into_iter().collect();
                        for write in &acknowledged[key] {
                            prop_assert!(shown[key].contains(write), "{write} was acknowledged and is gone");
                        }
                        tokens[key] = reply.token;
                    }
                }
                _ => {
                    let token = if flag { tokens[key].clone() } else { none() };
                    let id = cluster.ask_put(at, &put_of(&k, n as u128 + 1, &n.to_string(), &token));
                    cluster.settle();
                    (0..3).for_each(|node| cluster.disk_answers(node));
                    cluster.settle();
                    let replaced: Vec<String> = if flag { shown[key].iter().cloned().collect() } else { Vec::new() };
                    // Stored somewhere at least, so what its client had seen may be replaced from here on.
                    acknowledged[key].retain(|write| !replaced.contains(write));
                    if let super::cluster::Told::Put(_) = cluster.told_now(id) {
                        acknowledged[key].insert(n.to_string());
                    }
                }
            }
        }
    }
}
