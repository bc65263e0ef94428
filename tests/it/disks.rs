//! A disk that comes back as it once was, and one that is there twice. Both look whole; only the others can tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::cluster::{Cluster, Shape, text_of};
use super::door::{Door, item};
use super::process::{Process, Signal};
use super::until;

const TABLE: &str = "disks";

/// Key to value.
type Acknowledged = BTreeMap<String, String>;

/// Writes items whose three copies are all acknowledged.
fn write(door: &Door, keys: std::ops::Range<usize>, kept: &mut Acknowledged) {
    for key in keys {
        let (key, value) = (format!("key {key}"), format!("value {key} by {}", door.address));
        // One that has just been stopped, or is just coming back, does not confirm at once; a retry with the same id is
        // the same write.
        let mut id = None;
        until("all three copies are acknowledged", || {
            let target = format!("{}?quorum=strict&w=3", item(TABLE, &key));
            let headers: Vec<(&str, &str)> = id.iter().map(|id: &String| ("quorate-write-id", id.as_str())).collect();
            let answer = door.try_ask("PUT", &target, &headers, value.as_bytes())?;
            if answer.status == 200 {
                return Ok(());
            }
            id = id.take().or_else(|| answer.header("quorate-write-id").map(str::to_owned));
            Err(answer.to_string())
        });
        kept.insert(key, value);
    }
}

fn all_there(door: &Door, kept: &Acknowledged) {
    for (key, value) in kept {
        let answer = door.get(&item(TABLE, key)).expect(200);
        assert_eq!(String::from_utf8_lossy(&answer.body), *value, "{key} of {} at {}", kept.len(), door.address);
        assert_eq!(answer.header("quorate-versions"), Some("1"), "{key} at {}", door.address);
    }
}

/// Copies a directory of files and directories, but for the lock of the process that has it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory of our own");
    for entry in fs::read_dir(from).expect("a data directory") {
        let entry = entry.expect("an entry of it");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a file to be copied")),
        }
    }
}

/// What a snapshot of the volume would be: the process stands still meanwhile.
fn snapshot(cluster: &mut Cluster, node: usize, from: &str, to: &str) {
    cluster.nodes[node].signal(Signal::Stop);
    copy(&cluster.path(from), &cluster.path(to));
    cluster.nodes[node].signal(Signal::Continue);
}

/// With n3's copies gone and its word believed, R = 2 of n1 (which was down) and n3 would say "not found".
fn is_noticed_and_made_whole(cluster: &mut Cluster, kept: &Acknowledged) {
    cluster.nodes[2].kill();
    fs::remove_dir_all(cluster.path("n3")).expect("the data directory of a dead node");
    copy(&cluster.path("n3.old"), &cluster.path("n3"));
    cluster.start_node(2);
    cluster.nodes[2].says("an older copy of it: until its copies are restored");
    until("n3 is believed again", || {
        let status = cluster.status(2);
        let trusted = status["node"]["unverified"] == false;
        if trusted { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.all_connected();
    // It has all that it had acknowledged since: any other may go.
    cluster.nodes[0].kill();
    for node in [1, 2] {
        all_there(&cluster.door(node), kept);
    }
    cluster.start_node(0);
    cluster.all_connected();
    // And that is over: the next start is one like any other.
    cluster.nodes[2].kill();
    cluster.start_node(2);
    cluster.all_connected();
    assert!(!cluster.nodes[2].log().contains("older copy"), "{}", cluster.nodes[2].log());
    all_there(&cluster.door(2), kept);
}

#[test]
fn older_copy_of_a_disk_is_noticed_and_made_whole_before_it_counts() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let mut kept = Acknowledged::new();
    write(&cluster.door(0), 0..20, &mut kept);
    snapshot(&mut cluster, 2, "n3", "n3.old");
    cluster.all_connected();

    // From the very process that ended.
    let before = cluster.door(2).metric("quorate_life_renewals_total");
    let mut key = 20;
    until("n3 has told the others that it went on", || {
        write(&cluster.door(0), key..key + 1, &mut kept);
        key += 1;
        let now = cluster.door(2).metric("quorate_life_renewals_total");
        if now >= before + 2.0 { Ok(()) } else { Err(format!("{now} renewals, {before} before the copy")) }
    });
    is_noticed_and_made_whole(&mut cluster, &kept);

    // And from an earlier start, by a copy that has been noticed once itself.
    fs::remove_dir_all(cluster.path("n3.old")).expect("a directory of our own");
    snapshot(&mut cluster, 2, "n3", "n3.old");
    cluster.all_connected();
    cluster.nodes[2].kill();
    cluster.start_node(2);
    cluster.all_connected();
    write(&cluster.door(1), 1000..1040, &mut kept);
    is_noticed_and_made_whole(&mut cluster, &kept);
}

#[test]
fn second_process_on_a_clone_of_a_disk_is_refused_and_told_why() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let mut kept = Acknowledged::new();
    write(&cluster.door(0), 0..20, &mut kept);
    // Both processes begin at the same state, and so have the same boot generation.
    cluster.nodes[1].signal(Signal::Terminate);
    assert_eq!(cluster.nodes[1].ended().code(), Some(0), "{}", cluster.nodes[1].log());
    copy(&cluster.path("n2"), &cluster.path("clone"));
    cluster.start_node(1);
    cluster.all_connected();

    let (http, control) = (cluster.ports.http(1).to_string(), cluster.ports.control(1).to_string());
    let config = cluster.config(1).replace("data_dir = \"n2\"", "data_dir = \"clone\"");
    let config = config.replace(&http, &cluster.ports.http(5).to_string());
    let config = config.replace(&control, &cluster.ports.control(5).to_string());
    fs::write(cluster.path("clone.toml"), config).expect("a configuration");
    let directory = cluster.path("");
    let arguments = ["server", "--config", &text_of(&cluster.path("clone.toml"))];
    let mut clone = Process::new(arguments, &directory, &cluster.path("clone.log"));
    clone.start();
    clone.says(" listens on ");
    let door = Door::new(cluster.ports.http(5));
    let generation = |status: &serde_json::Value| status["node"]["generation"].as_u64();
    until("the clone is told why it is let in nowhere", || {
        let status = door.try_ask("GET", "/v1/cluster/status", &[], &[])?;
        let text = status.to_string();
        let refused = text.matches("another process of node").count();
        if refused == 2 { Ok(()) } else { Err(text) }
    });
    let status = door.get("/v1/cluster/status").json();
    assert_eq!(generation(&status), generation(&cluster.status(1)), "only the process tells them apart");
    door.get("/readyz").refuses(503, "not_ready", &["1 members", "quorum is 2"]);
    // It can make no quorum, so nothing is acknowledged that the others do not have.
    let target = format!("{}?timeout_ms=500", item(TABLE, "clone"));
    door.put(&target, None, b"x").refuses(503, "quorum_not_met", &["1 of 2"]);
    door.get(&format!("{}?timeout_ms=500", item(TABLE, "key 0"))).refuses(503, "quorum_not_met", &["1 of 2"]);
    // The others and the first process go on.
    write(&cluster.door(1), 100..140, &mut kept);
    cluster.all_connected();

    // Without the first the clone is let in: it has missed writes, so it is made whole before it counts.
    cluster.nodes[1].kill();
    until("the clone says that it may lack writes", || {
        let log = clone.log();
        if log.contains("an older copy of it: until its copies are restored") { Ok(()) } else { Err(log) }
    });
    drop(clone);
    cluster.start_node(1);
    cluster.all_connected();
    for door in cluster.doors() {
        all_there(&door, &kept);
    }
}
