//! Processes die and come back: what was acknowledged is there, and what cannot be promised is not.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::Client;
use quorate::protocol::types::Address;
use tokio::task::JoinSet;

use super::cluster::{Cluster, NAMES, Shape, runtime};
use super::door::{Door, item};
use super::process::Signal;
use super::until;

/// The table of all these tests.
const TABLE: &str = "kept";

/// What was acknowledged: key to value.
type Acknowledged = BTreeMap<String, String>;

/// Writes items through one node; all must be acknowledged.
fn write(door: &Door, keys: impl Iterator<Item = usize>, kept: &mut Acknowledged) {
    for key in keys {
        let (key, value) = (format!("key {key}"), format!("value {key} by {}", door.address));
        door.put(&item(TABLE, &key), None, value.as_bytes()).expect(200);
        kept.insert(key, value);
    }
}

/// Reads all of it through one node: each item has its one value.
fn all_there(door: &Door, kept: &Acknowledged) {
    for (key, value) in kept {
        let answer = door.get(&item(TABLE, key)).expect(200);
        assert_eq!(String::from_utf8_lossy(&answer.body), *value, "{key} of {} at {}", kept.len(), door.address);
        assert_eq!(answer.header("quorate-versions"), Some("1"), "{key} at {}", door.address);
    }
}

#[test]
fn quorums_go_on_without_one_node_and_fail_honestly_without_two() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let mut kept = Acknowledged::new();
    write(&cluster.door(0), 0..20, &mut kept);

    cluster.nodes[2].kill();
    // R = W = 2 goes on, at once and by every way.
    for node in [0, 1] {
        write(&cluster.door(node), node * 100 + 100..node * 100 + 120, &mut kept);
        all_there(&cluster.door(node), &kept);
    }
    cluster.quorate().args(["put", "by hand", "1"]).run().expect_code(0);
    assert_eq!(cluster.quorate().args(["get", "by hand"]).run().expect_code(0).text(), "1");

    // W = 3 does not, and says what there is.
    let target = format!("{}?quorum=strict&w=3&timeout_ms=700", item(TABLE, "wide"));
    let refused = cluster.door(0).put(&target, None, b"wide").refuses(503, "quorum_not_met", &["2 of 3", "n3"]);
    let error = &refused.json()["error"];
    let mut nodes: Vec<_> =
        error["stored"]["nodes"].as_array().expect("nodes").iter().map(ToString::to_string).collect();
    nodes.sort();
    assert_eq!(nodes, ["\"n1\"", "\"n2\""], "{refused}");
    assert_eq!(error["stored"]["primaries"], 2, "{refused}");
    assert_eq!(error["stored"]["fallbacks"], 0, "{refused}");
    assert_eq!(error["retryable"], true, "{refused}");
    assert!(error["write_id"].is_string(), "{refused}");
    let put = ["put", "wide by hand", "1", "--strict", "-w", "3", "--timeout", "700ms"];
    cluster.quorate().args(put).run().expect_code(5).complains(&["2 of 3"]);
    cluster.quorate().args(["get", "by hand", "--strict", "-r", "3", "--timeout", "700ms"]).run().expect_code(5);
    // The write that was refused had two copies, as the answer said, and surfaces.
    assert_eq!(cluster.door(1).get(&item(TABLE, "wide")).expect(200).body, b"wide");

    cluster.nodes[1].kill();
    let target = format!("{}?timeout_ms=500", item(TABLE, "alone"));
    let refused = cluster.door(0).put(&target, None, b"alone").refuses(503, "quorum_not_met", &["1 of 2"]);
    assert_eq!(refused.json()["error"]["stored"]["nodes"], serde_json::json!(["n1"]), "{refused}");
    let target = format!("{}?timeout_ms=500", item(TABLE, "key 0"));
    cluster.door(0).get(&target).refuses(503, "quorum_not_met", &["1 of 2"]);
    cluster.quorate().args(["put", "alone by hand", "1", "--timeout", "700ms"]).run().expect_code(5);
    // Two that are gone are missed once their connections have been silent for long enough.
    until("n1 is not ready", || {
        let ready = cluster.door(0).get("/readyz");
        if ready.status == 503 { Ok(ready) } else { Err(ready.to_string()) }
    })
    .refuses(503, "not_ready", &["1 members", "quorum is 2"]);
    assert_eq!(cluster.door(0).get("/healthz").expect(200).body, b"ok\n");

    // Both come back, find the others by themselves, and nothing that was acknowledged is lost.
    cluster.start_node(1);
    cluster.start_node(2);
    cluster.all_connected();
    for door in cluster.doors() {
        all_there(&door, &kept);
    }
}

#[test]
fn restarted_node_reconnects_and_serves_by_itself() {
    let mut cluster = Cluster::start(Shape::WIDE);
    let mut kept = Acknowledged::new();
    write(&cluster.door(0), 0..20, &mut kept);
    // Once at once, before anybody has missed it, and once after that.
    for (round, is_missed) in [false, true].into_iter().enumerate() {
        let before = cluster.status(1)["node"]["generation"].as_u64().expect("a generation");
        cluster.nodes[1].kill();
        if is_missed {
            until("n1 misses n2", || {
                let status = cluster.status(0);
                let missed = |member: &serde_json::Value| member["name"] == "n2" && member["connected"] == false;
                let missed = status["nodes"].as_array().is_some_and(|members| members.iter().any(missed));
                if missed { Ok(()) } else { Err(status.to_string()) }
            });
        }
        write(&cluster.door(2), 100 + round * 10..110 + round * 10, &mut kept);
        cluster.start_node(1);
        cluster.all_connected();
        let after = cluster.status(1)["node"]["generation"].as_u64().expect("a generation");
        assert_eq!(after, before + 1, "every start counts");
        all_there(&cluster.door(1), &kept);
        // It is a full member again: all three copies are made.
        cluster.all_reach_all();
    }
}

/// Writers at once: enough that every group commit has several.
const WRITERS: usize = 32;
/// Writes that are acknowledged before the load is broken off.
const BEFORE_THE_KILL: usize = 600;

/// One writer: unique items, one after the other, until it is told to stop. What it was told is kept, is.
async fn write_until(client: Client, writer: usize, stop: &AtomicBool, count: &AtomicUsize) -> Acknowledged {
    let mut kept = Acknowledged::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("writer {writer} turn {turn}"), format!("{writer} {turn} {}", "x".repeat(300)));
        let address = Address::new(TABLE.into(), Bytes::from(key.clone()), "".into()).expect("a short key");
        let put = client.put(address, value.clone()).timeout(Duration::from_secs(1)).send();
        if put.await.is_ok() {
            kept.insert(key, value);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    kept
}

#[test]
fn every_acknowledged_write_survives_the_sudden_end_of_all_nodes() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let runtime = runtime();
    let client = cluster.client(&runtime);
    let (stop, count): (&AtomicBool, &AtomicUsize) = (Box::leak(Box::default()), Box::leak(Box::default()));
    let mut kept = Acknowledged::new();
    // Twice: the second time it happens to data that has survived once.
    for round in 0..2 {
        stop.store(false, Ordering::Relaxed);
        count.store(0, Ordering::Relaxed);
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = client.clone();
            writers.spawn_on(write_until(client, round * WRITERS + writer, stop, count), runtime.handle());
        }
        until("writes are acknowledged", || {
            let count = count.load(Ordering::Relaxed);
            if count >= BEFORE_THE_KILL { Ok(()) } else { Err(format!("{count} of {BEFORE_THE_KILL}")) }
        });
        for node in &mut cluster.nodes {
            node.signal(Signal::Kill);
        }
        for node in &mut cluster.nodes {
            node.ended();
        }
        stop.store(true, Ordering::Relaxed);
        let before = kept.len();
        kept.extend(runtime.block_on(writers.join_all()).into_iter().flatten());
        let new = kept.len() - before;
        assert!(new > 200, "{new} writes were acknowledged before the kill, too few to show anything");
        println!("round {round}: {new} acknowledged before kill -9 of all three nodes");
        (0..NAMES.len()).for_each(|node| cluster.start_node(node));
        cluster.all_connected();
        for door in cluster.doors() {
            all_there(&door, &kept);
        }
    }
}

/// What a writer over HTTP was told while its node stopped.
#[derive(Debug, Default)]
struct Told {
    kept: Acknowledged,
    refused: Vec<String>,
    cut_off: Vec<String>,
}

/// Puts to one node until its door is closed.
fn put_until_closed(door: &Door, writer: usize) -> Told {
    let mut told = Told::default();
    for turn in 0.. {
        let (key, value) = (format!("writer {writer} turn {turn}"), format!("value {writer} {turn}"));
        match door.try_ask("PUT", &item(TABLE, &key), &[], value.as_bytes()) {
            Ok(answer) if answer.status == 200 => drop(told.kept.insert(key, value)),
            Ok(answer) => {
                let error = &answer.json()["error"];
                assert!(error["code"].is_string() && error["retryable"] == true, "not honest: {answer}");
                told.refused.push(answer.to_string());
            }
            Err(error) => {
                told.cut_off.push(error);
                return told;
            }
        }
    }
    told
}

#[test]
fn terminated_node_answers_what_is_in_flight_and_exits_cleanly() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let door = cluster.door(0);
    let told: Vec<Told> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn({
                    let door = &door;
                    move || put_until_closed(&Door::new(door.address), writer)
                })
            })
            .collect();
        until("writes are acknowledged", || {
            let puts = door.metric("quorate_requests_total");
            if puts >= 200.0 { Ok(()) } else { Err(format!("{puts} requests")) }
        });
        cluster.nodes[0].signal(Signal::Terminate);
        writers.into_iter().map(|writer| writer.join().expect("a writer saw something dishonest")).collect()
    });
    let status = cluster.nodes[0].ended();
    assert_eq!(status.code(), Some(0), "SIGTERM is no failure: {status}; {told:?}");
    let log = cluster.nodes[0].log();
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let kept: Acknowledged = told.iter().flat_map(|told| told.kept.clone()).collect();
    println!("{} acknowledged; refused {:?}", kept.len(), told.iter().map(|told| &told.refused).collect::<Vec<_>>());
    // After the order a connection is closed between two requests or refused; none is cut off within one.
    for error in told.iter().flat_map(|told| &told.cut_off) {
        let is_between =
            ["refused", "closed", "reset", "disconnected"].iter().any(|word| error.to_lowercase().contains(word));
        assert!(is_between, "{error}");
    }
    // The others have every write that was acknowledged, and the node has too once it is back.
    all_there(&cluster.door(1), &kept);
    cluster.start_node(0);
    cluster.all_connected();
    all_there(&cluster.door(0), &kept);
    for node in &mut cluster.nodes {
        node.signal(Signal::Terminate);
    }
    for node in &mut cluster.nodes {
        assert_eq!(node.ended().code(), Some(0), "{}", node.log());
    }
}

#[test]
fn node_that_lost_its_disk_hides_nothing_and_is_restored_by_the_others() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let mut kept = Acknowledged::new();
    write(&cluster.door(0), 0..20, &mut kept);
    // These are on n1 and n3 only: with n3's disk gone, every answer that counts n3's "not found" would be wrong.
    cluster.nodes[1].kill();
    write(&cluster.door(0), 20..60, &mut kept);
    cluster.start_node(1);
    cluster.all_connected();

    cluster.nodes[2].kill();
    fs::remove_dir_all(cluster.path("n3")).expect("the data directory of a dead node");
    cluster.start_node(2);
    assert_eq!(cluster.status(2)["node"]["role"], "waiting");
    cluster.door(2).get("/readyz").refuses(503, "not_ready", &["quorate cluster create"]);
    cluster.door(2).get(&item(TABLE, "key 0")).refuses(503, "uninitialised", &["quorate cluster create"]);

    // The same command completes the cluster again, with the same record.
    let layout = cluster.status(0)["layout"].clone();
    let ran = cluster.create().expect_code(0);
    assert!(ran.text().contains("is a member now"), "{ran}");
    assert_eq!(cluster.status(2)["layout"], layout);
    cluster.linked(&[0, 1, 2]);
    // Its answers do not count until it was compared with the others; then it has everything, and they do.
    until("n3 is restored", || {
        let status = cluster.status(2);
        if status["node"]["unverified"] == false { Ok(()) } else { Err(status.to_string()) }
    });
    for door in cluster.doors() {
        all_there(&door, &kept);
    }
    // What was on n1 and n3 only is on n2 and n3 now: n1 may go.
    cluster.nodes[0].kill();
    for node in [1, 2] {
        all_there(&cluster.door(node), &kept);
    }
    // Its standing outlives a restart.
    cluster.start_node(0);
    cluster.nodes[2].kill();
    cluster.start_node(2);
    cluster.linked(&[0, 1, 2]);
    cluster.all_reach_all();
    assert_eq!(cluster.status(2)["node"]["unverified"], false, "{}", cluster.status(2));
    for door in cluster.doors() {
        all_there(&door, &kept);
    }
}
