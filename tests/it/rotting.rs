//! A disk that rots: a hundred bytes of some table files of one node are overwritten.

use std::fs;
use std::path::PathBuf;

use super::cluster::{Cluster, Shape};
use super::door::{Door, item};
use super::process::Signal;
use super::until;

const ITEMS: usize = 400;
/// A file of a partition has about 25 KiB; `meta` and the empty ones are far below this.
const FILE_BYTES_MIN: u64 = 12_000;
/// Files that rot.
const ROTTEN: usize = 8;

fn value(key: usize) -> Vec<u8> {
    // Different bytes that compress little.
    (0..4000_usize).map(|at| u8::try_from((at * at * (key + 7) / 13) % 251).expect("a remainder of 251")).collect()
}

/// Every item is what it was, through every node.
fn all_right(cluster: &Cluster) {
    cluster.doors().iter().for_each(all_right_at);
}

/// Every item is what it was, through one node.
fn all_right_at(door: &Door) {
    for key in 0..ITEMS {
        let answer = door.get(&item("rot", &key.to_string())).expect(200);
        assert!(answer.body == value(key), "item {key} at {}: {} bytes", door.address, answer.body.len());
        assert_eq!(answer.header("quorate-versions"), Some("1"), "item {key} at {}", door.address);
    }
}

fn stop(cluster: &mut Cluster, node: usize) {
    cluster.nodes[node].signal(Signal::Terminate);
    assert_eq!(cluster.nodes[node].ended().code(), Some(0), "{}", cluster.nodes[node].log());
}

#[test]
fn rot_of_one_node_is_never_shown_and_is_rebuilt_around_at_its_next_start() {
    let mut cluster = Cluster::start(Shape::SMALL);
    for key in 0..ITEMS {
        cluster.door(key % 3).put(&format!("{}?w=3", item("rot", &key.to_string())), None, &value(key)).expect(200);
    }
    stop(&mut cluster, 1);
    let files = fs::read_dir(cluster.path("n2/rocksdb")).expect("the node's data").map(|entry| entry.expect("a file"));
    let mut files: Vec<(u64, PathBuf)> =
        files.map(|entry| (entry.metadata().map_or(0, |metadata| metadata.len()), entry.path())).collect();
    files.retain(|(bytes, path)| *bytes > FILE_BYTES_MIN && path.extension().is_some_and(|end| end == "sst"));
    files.sort();
    let rotten: Vec<_> = files.into_iter().rev().take(ROTTEN).collect();
    assert_eq!(rotten.len(), ROTTEN, "{rotten:?}");
    for (bytes, path) in &rotten {
        let mut content = fs::read(path).expect("a table file");
        let middle = usize::try_from(bytes / 2).expect("a small file");
        content[middle..middle + 100].fill(0xA5);
        fs::write(path, content).expect("a file of our own");
    }

    // It serves, and is right: what it cannot read itself, the others have.
    cluster.start_node(1);
    cluster.all_connected();
    all_right(&cluster);
    let damaged = cluster.door(1).metric("quorate_damaged_families");
    assert!(damaged >= 1.0, "{damaged} damaged families are known; {ROTTEN} files are");
    for door in [cluster.door(0), cluster.door(2)] {
        assert_eq!(door.metric("quorate_damaged_families").to_bits(), 0.0_f64.to_bits(), "it does not spread");
    }
    // Writes go on, and so does the node.
    for key in 0..20 {
        cluster.door(1).put(&item("rot", &format!("after {key}")), None, b"after").expect(200);
    }
    cluster.run_still(&[0, 1, 2]);

    stop(&mut cluster, 1);
    cluster.start_node(1);
    cluster.linked(&[0, 1, 2]);
    let log = cluster.nodes[1].log();
    assert!(log.contains("was rebuilt from what can be read"), "{log}");
    // Its answers do not count until exchanges have brought back what is missing. That may be soon.
    assert!(log.contains("this node may have lost acknowledged writes"), "{log}");
    assert!(cluster.path("n2/quarantine").is_dir(), "the damaged files are set aside");
    assert_eq!(cluster.door(1).metric("quorate_damaged_families").to_bits(), 0.0_f64.to_bits());
    all_right(&cluster);

    // It is repaired: what was missing is back, and another node may go.
    until("n2 is believed again", || {
        let status = cluster.status(1);
        if status["node"]["unverified"] == false { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.all_connected();
    cluster.nodes[0].kill();
    for door in [cluster.door(1), cluster.door(2)] {
        all_right_at(&door);
    }
}
