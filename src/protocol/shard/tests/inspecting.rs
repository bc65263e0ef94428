//! Inspections: each node tells what it holds itself, as heads, and nothing changes.

use bytes::Bytes;

use super::cluster::{Cluster, address, put_of};
use crate::protocol::replica::ItemKey;
use crate::protocol::ring::{KeyHash, PreferenceList, partition_of};
use crate::protocol::types::{Address, Durability};
use crate::protocol::version::Head;
use crate::protocol::wire::{InspectReply, Inspected, Kind};

const LARGE: usize = 9_000;

fn inspect(cluster: &mut Cluster, at: usize, address: &Address) -> InspectReply {
    let id = cluster.ask_inspect(at, address);
    cluster.told.remove(&id).expect("nobody is waited for").inspected()
}

fn head(reply: &InspectReply) -> (Head, Vec<usize>) {
    let Inspected::Head(bytes) = &reply.found else { panic!("expected a head: {reply:?}") };
    assert!(bytes.len() < 300, "no values go out: {} bytes", bytes.len());
    (Head::decode(bytes).unwrap(), Head::value_lengths(bytes).unwrap())
}

#[test]
fn node_tells_its_own_copy_and_asks_nobody() {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, &"x".repeat(LARGE), &Bytes::new())).put();
    cluster.lose = Box::new(|flight| flight.to == 2);
    cluster.put(0, &put_of(&k, 2, "small", &Bytes::new())).put();
    cluster.lose = Box::new(|_| false);
    cluster.flights.clear();
    let (both, lengths) = head(&inspect(&mut cluster, 0, &k));
    assert_eq!((both.item().versions().len(), lengths), (2, vec![LARGE, 5]));
    let (one, lengths) = head(&inspect(&mut cluster, 2, &k));
    assert_eq!((one.item().versions().len(), lengths), (1, vec![LARGE]), "n3 has not heard of the second");
    assert!(cluster.flights.is_empty(), "nothing is asked of others, and nothing repaired");
    assert_eq!(cluster.copy(2, &k).versions().len(), 1);
}

#[test]
fn what_is_not_there_and_what_cannot_be_read_are_told_apart() {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let k = address("k");
    let nothing = InspectReply { found: Inspected::Absent, unverified: false, hinted: false };
    assert_eq!(inspect(&mut cluster, 0, &k), nothing);
    cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    let key = cluster.item_key(&k);
    cluster.nodes[1].disk.broken.push(key);
    let Inspected::Unreadable(reason) = inspect(&mut cluster, 1, &k).found else { panic!("it cannot be read") };
    assert!(reason.contains("injected"), "{reason}");
    cluster.nodes[2].shard.as_mut().unwrap().set_unverified(true);
    let doubted = inspect(&mut cluster, 2, &k);
    assert!(doubted.unverified && matches!(doubted.found, Inspected::Head(_)), "{doubted:?}");
}

#[test]
fn read_that_is_pending_is_waited_for_and_a_late_one_is_not_answered_as_if_it_were_not() {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "v", &Bytes::new())).put();
    cluster.nodes[0].disk.slow = true;
    let id = cluster.ask_inspect(0, &k);
    assert!(!cluster.told.contains_key(&id));
    cluster.disk_answers(0);
    assert_eq!(head(&cluster.told.remove(&id).unwrap().inspected()).1, [1]);
    let late = cluster.ask_inspect(0, &k);
    cluster.pass(std::time::Duration::from_secs(1));
    cluster.disk_answers(0);
    assert!(cluster.told.remove(&late).unwrap().failed().message.contains("was not begun"));
}

/// With durability `sync` nothing is shown that a power loss could take back.
#[test]
fn what_is_not_fsynced_is_not_told() {
    let mut cluster = Cluster::new(3, 3, Durability::Sync);
    let k = address("k");
    cluster.nodes[0].hold_fsync = true;
    cluster.ask_put(0, &put_of(&k, 1, "v", &Bytes::new()));
    let id = cluster.ask_inspect(0, &k);
    assert!(!cluster.told.contains_key(&id));
    cluster.fsync(0);
    assert_eq!(head(&cluster.told.remove(&id).unwrap().inspected()).1, [1]);
}

#[test]
fn fallback_tells_the_hints_that_it_keeps() {
    let mut cluster = Cluster::new(4, 3, Durability::Os);
    let k = address("k");
    let layout = &cluster.view[0].layout;
    let partition = partition_of(KeyHash::of(&k, layout.parameters().hash_seed), layout.partition_bits());
    let PreferenceList { primaries, fallbacks } = PreferenceList::of(layout, partition);
    let place = |id: &crate::protocol::types::NodeId| usize::try_from(id.as_u128() - 1).unwrap();
    let (owner, gone, fallback) = (place(&primaries[0]), place(&primaries[2]), place(&fallbacks[0]));
    let nothing = InspectReply { found: Inspected::Absent, unverified: false, hinted: true };
    assert_eq!(inspect(&mut cluster, fallback, &k), nothing);
    cluster.crash(gone);
    let put = crate::protocol::wire::PutRequest {
        strictness: crate::protocol::types::Strictness::Sloppy,
        w: 3,
        ..put_of(&k, 1, "kept", &Bytes::new())
    };
    cluster.put(owner, &put).put();
    let kept = inspect(&mut cluster, fallback, &k);
    assert!(kept.hinted);
    assert_eq!(head(&kept).1, [4]);
    assert!(cluster.nodes[fallback].disk.hints().iter().all(|(key, _)| ItemKey::is_hint(key)));
}

#[test]
fn only_people_may_inspect() {
    use crate::protocol::wire::Sender;
    assert!(Kind::Inspect.may_ask(Sender::Client) && Kind::Inspect.may_ask(Sender::Admin));
    assert!(!Kind::Inspect.may_ask(Sender::Node) && !Kind::InspectReply.may_ask(Sender::Client));
}
