//! Real data in and out: the packages of this Debian machine, compared as sets with what they were.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;

use super::cluster::{Cluster, Shape, text_of};
use super::door::item;
use super::process::{Process, Signal};
use super::until;

/// Where Debian keeps the state of its packages.
const STATUS: &str = "/var/lib/dpkg/status";
/// Fewer stanzas show little.
const STANZAS_MIN: usize = 400;

/// What a line is about: table, key, sort key.
type Place = [String; 3];

/// The machine's packages as a file of JSON lines in the cluster's directory.
fn packages(cluster: &Cluster) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dpkg_to_jsonl.py");
    let output = Command::new("python3").args([script, STATUS]).output();
    let output = output.unwrap_or_else(|error| panic!("python3 is needed to read {STATUS}: {error}"));
    assert!(output.status.success(), "{script}: {output:?}");
    let count = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(
        count >= STANZAS_MIN,
        "{STATUS} has {count} stanzas; {STANZAS_MIN} are needed: run this on a Debian machine"
    );
    let path = cluster.path("packages.jsonl");
    std::fs::write(&path, output.stdout).expect("a file in our own directory");
    path
}

/// The lines of a file or an export: each place with all its values, sorted.
fn items(lines: &[u8]) -> BTreeMap<Place, Vec<String>> {
    let mut items: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    let text = std::str::from_utf8(lines).expect("JSON is UTF-8");
    for line in text.lines() {
        let json: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let field = |name: &str| {
            let twin = json[format!("{name}_base64")].as_str().map(|text| format!("base64 {text}"));
            twin.unwrap_or_else(|| json[name].as_str().unwrap_or_default().to_owned())
        };
        items.entry(["table", "key", "sort"].map(field)).or_default().push(field("value"));
    }
    for values in items.values_mut() {
        values.sort();
    }
    items
}

/// What the cluster exports.
fn exported(cluster: &Cluster) -> BTreeMap<Place, Vec<String>> {
    items(&cluster.quorate().args(["export"]).run().expect_code(0).stdout)
}

/// Fails unless the two are equal, naming the first places where they are not.
fn same(found: &BTreeMap<Place, Vec<String>>, expected: &BTreeMap<Place, Vec<String>>) {
    let missing: Vec<_> = expected.keys().filter(|place| !found.contains_key(*place)).take(5).collect();
    let strange: Vec<_> = found.keys().filter(|place| !expected.contains_key(*place)).take(5).collect();
    let versions = |place: &Place| (found[place].len(), expected[place].len());
    let differ = expected.iter().filter(|(place, values)| found.get(*place).is_some_and(|there| there != *values));
    let differ: Vec<_> = differ.map(|(place, _)| (place, versions(place))).take(5).collect();
    let same = missing.is_empty() && strange.is_empty() && differ.is_empty();
    let counts = (found.len(), expected.len());
    assert!(same, "{counts:?} items; missing {missing:?}, strange {strange:?}, differing {differ:?}");
}

#[test]
fn packages_of_this_machine_come_out_as_they_went_in() {
    let cluster = Cluster::start(Shape::WIDE);
    let file = packages(&cluster);
    let expected = items(&std::fs::read(&file).expect("the file that was just written"));
    let ran = cluster.quorate().args(["import", &text_of(&file)]).run().expect_code(0);
    println!("{} of {STATUS}: {}", expected.len(), ran.stderr);
    ran.complains(&[&format!("{} stored", expected.len()), "0 errors"]);
    same(&exported(&cluster), &expected);

    // To a file, and only its table.
    cluster.quorate().args(["put", "other", "1"]).run().expect_code(0);
    cluster.quorate().args(["export", "--table", "dpkg", "--output", "out.jsonl"]).run().expect_code(0);
    same(&items(&std::fs::read(cluster.path("out.jsonl")).expect("the export")), &expected);
    // What came out can be read in again, and finds everything there.
    let again = cluster.quorate().args(["import", "out.jsonl"]).run().expect_code(0);
    again.complains(&["0 stored", &format!("{} skipped", expected.len())]);
    assert_eq!(exported(&cluster).len(), expected.len() + 1);
}

#[test]
fn killed_import_is_resumed_and_nothing_is_doubled() {
    // Each write waits for the disk, and the next one for it: slow enough to be killed in the middle.
    let cluster = Cluster::start(Shape::SAFE);
    let file = packages(&cluster);
    let expected = items(&std::fs::read(&file).expect("the file that was just written"));
    let (profile, file) = (text_of(&cluster.path("client.toml")), text_of(&file));
    // Added, not skipped: only the names of the writes keep a line from being stored twice.
    let import = ["--profile", &profile, "import", &file, "--existing", "add", "--in-flight", "1"];
    let mut importer = Process::new(import, &cluster.path(""), &cluster.path("import.log"));
    importer.start();
    let (door, early) = (cluster.door(0), expected.len() / 8);
    until("some lines are imported", || {
        let puts = door.metric("quorate_commit_seconds_count");
        if puts >= early as f64 { Ok(()) } else { Err(format!("{puts} commits; {}", importer.log())) }
    });
    importer.signal(Signal::Kill);
    importer.ended();
    let half = exported(&cluster);
    println!("{} of {} items when the importer was killed", half.len(), expected.len());
    assert!(!half.is_empty() && half.len() < expected.len(), "{} of {}: not in the middle", half.len(), expected.len());

    let resume = &import[2..];
    cluster.quorate().args(resume).run().expect_code(0).complains(&["0 errors"]);
    same(&exported(&cluster), &expected);
    // Once more from the first line: the cluster itself knows every write again.
    cluster.quorate().args(resume).run().expect_code(0).complains(&["0 errors"]);
    let found = exported(&cluster);
    same(&found, &expected);
    for (place, values) in &found {
        assert_eq!(values.len(), 1, "{place:?} has {} versions", values.len());
    }
    let one = found.keys().next().expect("hundreds");
    let target = format!("{}/{}", item(&one[0], &one[1]), item("", &one[2]).trim_start_matches("/v1/kv//"));
    assert_eq!(cluster.door(2).get(&target).expect(200).header("quorate-versions"), Some("1"));
}
