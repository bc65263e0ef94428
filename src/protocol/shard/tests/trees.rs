//! Hash trees between two processes: taken over after a clean stop, built again after any other.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, address, put_of};
use crate::protocol::merkle::{Tree, TreeStamp};
use crate::protocol::replica::KeyKind;
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::shard::Shard;
use crate::protocol::types::{Address, Durability, PartitionId};

/// Partitions of the test's cluster.
const PARTITIONS: u64 = 8;

fn three() -> Cluster {
    let mut cluster = Cluster::new(3, 3, Durability::Os);
    for (id, at) in (1..).zip(0..50) {
        put(&mut cluster, id, &address(&format!("k{at}")));
    }
    pass(&mut cluster);
    cluster
}

fn put(cluster: &mut Cluster, id: u128, address: &Address) {
    cluster.put(0, &put_of(address, id, "v", &Bytes::new())).put();
}

fn pass(cluster: &mut Cluster) {
    for _ in 0..80 {
        cluster.pass(Duration::from_millis(250));
        cluster.settle();
    }
}

fn shard(cluster: &Cluster, at: usize) -> &Shard {
    cluster.nodes[at].shard.as_ref().unwrap()
}

fn trees(cluster: &Cluster, at: usize) -> Vec<Option<Tree>> {
    (0..u16::try_from(PARTITIONS).unwrap()).map(|of| shard(cluster, at).tree(PartitionId::new(of)).cloned()).collect()
}

fn stored(cluster: &Cluster, at: usize) -> Vec<PartitionId> {
    let tree = |(partition, key): &(PartitionId, Bytes)| (key[..] == [KeyKind::Tree as u8]).then_some(*partition);
    cluster.nodes[at].disk.items.keys().filter_map(tree).collect()
}

fn partition(cluster: &Cluster, address: &Address) -> PartitionId {
    partition_of(KeyHash::of(address, 3), cluster.view[0].layout.partition_bits())
}

/// Trees taken over, and trees built, by a node's present process.
fn taken_and_built(cluster: &Cluster, at: usize) -> (u64, u64) {
    let counters = shard(cluster, at).counters();
    (counters.trees_taken, counters.trees_built)
}

#[test]
fn clean_stop_leaves_the_trees_to_the_next_process() {
    let mut cluster = three();
    let before = trees(&cluster, 1);
    assert!(before.iter().all(Option::is_some));
    cluster.stop(1);
    assert_eq!(stored(&cluster, 1).len() as u64, PARTITIONS);
    cluster.boot(1, false);
    assert_eq!(trees(&cluster, 1), before, "at once");
    pass(&mut cluster);
    assert_eq!(taken_and_built(&cluster, 1), (PARTITIONS, 0));
    assert_eq!(shard(&cluster, 1).counters().exchanges_failed, 0);
}

#[test]
fn crash_leaves_no_tree_of_a_partition_that_was_written_to() {
    let mut cluster = three();
    cluster.stop(1);
    cluster.boot(1, false);
    let k = address("another");
    put(&mut cluster, 99, &k);
    let written = partition(&cluster, &k);
    assert!(!stored(&cluster, 1).contains(&written), "deleted with the write");
    assert_eq!(stored(&cluster, 1).len() as u64, PARTITIONS - 1, "the others are true still");
    let before = trees(&cluster, 1);
    cluster.crash(1);
    cluster.boot(1, false);
    assert!(shard(&cluster, 1).tree(written).is_none());
    pass(&mut cluster);
    assert_eq!(taken_and_built(&cluster, 1), (PARTITIONS - 1, 1));
    assert_eq!(trees(&cluster, 1), before);
}

#[test]
fn crash_of_a_process_that_never_stopped_cleanly_has_all_trees_built() {
    let mut cluster = three();
    cluster.crash(1);
    cluster.boot(1, false);
    pass(&mut cluster);
    assert_eq!(taken_and_built(&cluster, 1), (0, PARTITIONS));
}

/// Makes another record of a tree's.
type Damage = Box<dyn Fn(&Bytes) -> Bytes>;

#[test]
fn tree_that_is_damaged_or_of_another_state_is_built_again() {
    let cluster = three();
    let other = |change: fn(TreeStamp) -> TreeStamp| {
        move |record: &Bytes| {
            let (tree, stamp) = Tree::from_record(record).unwrap();
            tree.to_record(change(stamp)).unwrap()
        }
    };
    let damages: [(&str, Damage); 5] = [
        ("cut short", Box::new(|record| record.slice(..record.len() / 2))),
        (
            "one bit",
            Box::new(|record| {
                let mut record = record.to_vec();
                record[30] ^= 4;
                record.into()
            }),
        ),
        ("sequence", Box::new(other(|stamp| TreeStamp { sequence: stamp.sequence + 1, ..stamp }))),
        ("partition", Box::new(other(|stamp| TreeStamp { partition: stamp.partition ^ 1, ..stamp }))),
        ("bits", Box::new(other(|stamp| TreeStamp { partition_bits: stamp.partition_bits + 1, ..stamp }))),
    ];
    let k0 = partition(&cluster, &address("k0"));
    drop(cluster);
    for (what, damage) in damages {
        let mut cluster = three();
        let before = trees(&cluster, 1);
        cluster.stop(1);
        let record = cluster.nodes[1].disk.items.get_mut(&(k0, Bytes::from_static(&[KeyKind::Tree as u8]))).unwrap();
        *record = damage(record);
        cluster.boot(1, false);
        pass(&mut cluster);
        assert_eq!(taken_and_built(&cluster, 1), (PARTITIONS - 1, 1), "{what}");
        assert_eq!(trees(&cluster, 1), before, "{what}");
        // What was found wanting is not found again.
        cluster.stop(1);
        cluster.boot(1, false);
        assert_eq!(taken_and_built(&cluster, 1), (PARTITIONS, 0), "{what}");
    }
}

/// A node that is restarted every hour is verified all the same.
#[test]
fn tree_remembers_over_a_restart_when_it_was_last_compared_with_the_disk() {
    let mut cluster = three();
    for _ in 0..25 {
        assert_eq!(shard(&cluster, 1).counters().trees_verified, 0);
        cluster.stop(1);
        cluster.boot(1, false);
        assert_eq!(taken_and_built(&cluster, 1), (PARTITIONS, 0));
        if cluster.now.wall.as_millis() < 1_700_000_000_000 + 23 * 3_600_000 {
            cluster.pass(Duration::from_secs(3_600));
            cluster.settle();
        }
    }
    cluster.pass(Duration::from_secs(3_600));
    pass(&mut cluster);
    let counters = shard(&cluster, 1).counters();
    assert_eq!((counters.trees_verified, counters.rot_found), (PARTITIONS, 0), "a sound disk is what writes made it");
    assert_eq!(cluster.nodes[1].disk.distrusted, 0);
}
