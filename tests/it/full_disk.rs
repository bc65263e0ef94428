//! A small disk fills up: what is refused and by whom, what goes on, and that a node comes back in the middle of it.
//!
//! The disk is a tmpfs that the test mounts, which takes root, as CI has it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::cluster::{Cluster, NAMES, Shape, text_of};
use super::door::item;
use super::until;

/// The disk. RocksDB takes about 30 MiB of it at first.
const DISK_MIB: usize = 224;
/// What is in the way until somebody frees it.
const BALLAST_MIB: usize = 72;
const VALUE_BYTES: usize = 512 * 1024;

/// A file system of its own, unmounted when dropped.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts it; none where this process may not, which is said aloud.
    fn mount() -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("quorate-disk-").tempdir().expect("a temporary directory");
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir.path()).output();
        let refused = match mounted {
            Ok(output) if output.status.success() => return Some(Self { dir }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("*** SKIPPED: no file system can be mounted here, so a full disk is NOT tested: {refused}");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of so many bytes, or as many as there is room for.
    fn put_in_the_way(&self, name: &str, bytes: usize) {
        let mut file = File::create(self.path(name)).expect("a file on the small disk");
        let block = vec![7; 64 * 1024];
        for _ in 0..bytes.div_ceil(block.len()) {
            if file.write_all(&block).is_err() {
                break;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left behind may still have a file open.
        let unmounted = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.dir.path().display());
    }
}

/// Bytes that do not compress, different for each key.
fn value(key: usize) -> Vec<u8> {
    let mut bytes = vec![0; VALUE_BYTES];
    let random = File::open("/dev/urandom").expect("there is entropy");
    random.read_exact_at(&mut bytes, 0).expect("it does not end");
    bytes.splice(..8, key.to_be_bytes());
    bytes
}

/// A cluster whose first node lives on the small disk.
fn cluster_on(disk: &SmallDisk) -> Cluster {
    let mut cluster = Cluster::prepare(Shape::SAFE);
    let config = cluster.config(0).replace("data_dir = \"n1\"", &format!("data_dir = {:?}", text_of(&disk.path("n1"))));
    // A start writes what the log has into table files before the log goes: the reserve, an eighth of this disk, has to
    // hold what is not flushed yet.
    assert!(config.contains("write_buffers = \"64 MiB\""), "{config}");
    let config = config.replace("write_buffers = \"64 MiB\"", "write_buffers = \"16 MiB\"");
    fs::write(cluster.path("n1.toml"), config).expect("a configuration");
    (0..NAMES.len()).for_each(|node| cluster.start_node(node));
    cluster.create().expect_code(0);
    cluster.all_connected();
    cluster
}

#[test]
fn full_disk_refuses_values_keeps_deletes_and_takes_values_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut cluster = cluster_on(&disk);
    let (full, other) = (cluster.door(0), cluster.door(1));
    full.put(&format!("{}?w=3", item("full", "early")), None, b"early").expect(200);
    disk.put_in_the_way("ballast", BALLAST_MIB * 1024 * 1024);

    // Puts fill the rest, until they are refused: long before the disk is full.
    let mut stored = 0;
    let refused = loop {
        let answer = full.put(&item("full", &stored.to_string()), None, &value(stored));
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < DISK_MIB * 2, "the disk must be full by now");
    };
    let refused =
        refused.refuses(507, "disk_full", &["the disk of n1", "bytes are free", "disk_reserve", "free space"]);
    assert_eq!(refused.json()["error"]["retryable"], true, "through another node");
    assert!(stored > 10, "{stored} values were stored before");
    let status = &cluster.status(0)["node"];
    assert!(status["disk"] == "reserve" || status["disk"] == "emergency", "{status}");
    assert!(full.metric("quorate_disk_full") > 0.0 && full.metric("quorate_disk_free_bytes") > 0.0);
    let lines = cluster.quorate().args(["status"]).run().expect_code(0);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.contains("the disk of n1 is nearly full"), "{lines}");

    // Reads and deletes go on, and so do writes through the others.
    assert_eq!(full.get(&item("full", "early")).expect(200).body, b"early");
    full.ask("DELETE", &item("full", "0"), &[], &[]).expect(200);
    full.get(&item("full", "0")).expect(404);
    other.put(&item("full", "through another"), None, b"fine").expect(200);

    // A restart in this state is a start like any other.
    cluster.nodes[0].kill();
    cluster.start_node(0);
    cluster.linked(&[0, 1, 2]);
    full.put(&item("full", "more"), None, b"more").refuses(507, "disk_full", &["the disk of n1"]);
    assert_eq!(full.get(&item("full", "early")).expect(200).body, b"early");

    // Room is made, and it takes values again.
    fs::remove_file(disk.path("ballast")).expect("the ballast");
    until("n1 takes values again", || {
        let answer = full.try_ask("PUT", &item("full", "again"), &[], b"again")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) }
    });
    assert!(full.metric("quorate_disk_full") < 1.0);
    cluster.all_connected();
    full.put(&format!("{}?quorum=strict&w=3", item("full", "all three")), None, b"x").expect(200);
    for door in cluster.doors() {
        assert_eq!(door.get(&item("full", "through another")).expect(200).body, b"fine");
        door.get(&item("full", "0")).expect(404);
    }
    cluster.run_still(&[0, 1, 2]);
}

#[test]
fn node_that_cannot_start_for_want_of_room_says_so_and_starts_when_there_is_some() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut cluster = cluster_on(&disk);
    cluster.door(0).put(&format!("{}?w=3", item("full", "kept")), None, b"kept").expect(200);
    cluster.nodes[0].kill();
    disk.put_in_the_way("ballast", DISK_MIB * 1024 * 1024);
    cluster.nodes[0].start();
    let status = cluster.nodes[0].ended();
    let log = cluster.nodes[0].log();
    assert_eq!(status.code(), Some(1), "{log}");
    for words in [
        "is full",
        "bytes are free",
        "No space left on device",
        "nothing that was acknowledged",
        "start this node again",
    ] {
        assert!(log.contains(words), "no {words:?} in\n{log}");
    }
    fs::remove_file(disk.path("ballast")).expect("the ballast");
    cluster.start_node(0);
    cluster.all_connected();
    assert_eq!(cluster.door(0).get(&item("full", "kept")).expect(200).body, b"kept");
}
