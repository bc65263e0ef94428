//! Hash trees of a process that stopped cleanly are the next one's; after a kill they are built again.

use super::cluster::{Cluster, Shape};
use super::door::item;
use super::process::Signal;
use super::until;

/// Enough for every one of the 64 partitions to have some.
const ITEMS: usize = 1_500;
const PARTITIONS: f64 = 64.0;

fn is(found: f64, expected: f64) -> bool {
    found.to_bits() == expected.to_bits()
}

/// All trees of a node are there, by whichever way.
fn trees_ready(cluster: &Cluster, node: usize) -> (f64, f64) {
    until("all hash trees are ready", || {
        let door = cluster.door(node);
        let (taken, built) = (door.metric("quorate_trees_taken_total"), door.metric("quorate_trees_built_total"));
        if is(taken + built, PARTITIONS) { Ok((taken, built)) } else { Err(format!("{taken} taken, {built} built")) }
    })
}

fn write(cluster: &Cluster, what: &str) {
    for key in 0..ITEMS {
        cluster
            .door(key % 3)
            .put(&format!("{}?w=3", item("trees", &format!("{what} {key}"))), None, what.as_bytes())
            .expect(200);
    }
}

#[test]
fn clean_restart_builds_no_tree_and_a_kill_has_them_built_again() {
    let mut cluster = Cluster::start(Shape::SMALL);
    write(&cluster, "first");
    let (taken, built) = trees_ready(&cluster, 1);
    assert!(is(taken, 0.0) && is(built, PARTITIONS), "{taken} taken, {built} built by a new node");

    cluster.nodes[1].signal(Signal::Terminate);
    assert_eq!(cluster.nodes[1].ended().code(), Some(0), "{}", cluster.nodes[1].log());
    cluster.start_node(1);
    cluster.all_connected();
    let (taken, built) = trees_ready(&cluster, 1);
    assert!(is(taken, PARTITIONS) && is(built, 0.0), "{taken} taken, {built} built after a clean stop");
    // They are true: nothing differs, and all partitions are found to be in sync.
    until("every partition was compared", || {
        let metrics = cluster.door(1).get("/metrics");
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let known = text.lines().filter(|line| line.starts_with("quorate_partition_in_sync_age_seconds{")).count();
        if known == 64 { Ok(()) } else { Err(format!("{known} of 64")) }
    });
    assert!(is(cluster.door(1).metric("quorate_exchange_differences_total"), 0.0));

    // A write to every partition, then a kill: no stored tree is believed.
    write(&cluster, "second");
    cluster.nodes[1].kill();
    cluster.start_node(1);
    cluster.all_connected();
    let (taken, built) = trees_ready(&cluster, 1);
    assert!(is(taken, 0.0) && is(built, PARTITIONS), "{taken} taken, {built} built after a kill");
    for key in (0..ITEMS).step_by(50) {
        let answer = cluster.door(1).get(&item("trees", &format!("second {key}"))).expect(200);
        assert_eq!(answer.body, b"second".to_vec(), "item {key}");
    }
}
