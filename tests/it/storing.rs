//! The three interfaces agree: the command line, HTTP and the Rust client see one store, with one shard and with three.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate::client::{Client, Versions};
use quorate::protocol::types::Address;
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use super::cluster::{Cluster, Shape, runtime};
use super::door::item;

/// The three ways in, to one cluster.
struct Ways {
    cluster: Cluster,
    client: Client,
    runtime: Runtime,
}

/// The table of items whose table is not named.
const TABLE: &str = "default";

fn address(key: &str) -> Address {
    Address::new(TABLE.into(), Bytes::copy_from_slice(key.as_bytes()), "".into()).expect("a short key")
}

impl Ways {
    fn into(shape: Shape) -> Self {
        let (cluster, runtime) = (Cluster::start(shape), runtime());
        let client = cluster.client(&runtime);
        Self { cluster, client, runtime }
    }

    fn read(&self, key: &str) -> Versions {
        self.runtime.block_on(self.client.get(address(key)).send()).expect("a read of a whole cluster")
    }

    /// All values of an item by all three ways, which must agree; sorted.
    fn values(&self, key: &str) -> Vec<Vec<u8>> {
        let mut by_client: Vec<_> = self.read(key).values.iter().map(|value| value.bytes.to_vec()).collect();
        by_client.sort();
        for door in self.cluster.doors() {
            let answer = door.ask("GET", &item(TABLE, key), &[("accept", "application/json")], &[]);
            let mut by_http = if answer.status == 404 { Vec::new() } else { values_of(&answer.expect(200).json()) };
            by_http.sort();
            assert_eq!(by_http, by_client, "{key} at {} and by the Rust client", door.address);
        }
        let ran = self.cluster.quorate().args(["get", key, "--json"]).run();
        let mut by_command = values_of(&ran.json());
        by_command.sort();
        assert_eq!(by_command, by_client, "{key} by the command line and by the Rust client:\n{ran}");
        by_client
    }

    /// The context of an item as the command line shows it.
    fn context(&self, key: &str) -> String {
        let json = self.cluster.quorate().args(["get", key, "--json"]).run().json();
        json["context"].as_str().unwrap_or_else(|| panic!("no context in {json}")).to_owned()
    }
}

/// The values in the JSON form of an item.
fn values_of(json: &Json) -> Vec<Vec<u8>> {
    let versions = json["versions"].as_array().unwrap_or_else(|| panic!("no versions in {json}"));
    let value = |version: &Json| STANDARD.decode(version["value"].as_str().expect("base64")).expect("base64");
    versions.iter().map(value).collect()
}

fn interfaces_agree(shape: Shape) {
    let ways = Ways::into(shape);
    // Enough keys that every shard has some; each way writes a third of them.
    let value = |key: usize| format!("value {key} \u{e9}\0\r\n").into_bytes();
    for key in 0..30 {
        let name = format!("a key/{key} \u{e4}%");
        match key % 3 {
            0 => {
                let put = ["put", name.as_str(), "-", "--json"];
                let json = ways.cluster.quorate().args(put).input(&value(key)).run().expect_code(0).json();
                assert_eq!(json["stored"]["fallbacks"], 0, "{json}");
                assert!(json["stored"]["primaries"].as_u64() >= Some(2), "{json}");
            }
            1 => {
                let answer = ways.cluster.door(key % 2).put(&item(TABLE, &name), None, &value(key)).expect(200);
                assert!(answer.json()["stored"]["primaries"].as_u64() >= Some(2), "{answer}");
            }
            _ => {
                let put = ways.client.put(address(&name), value(key)).send();
                let written = ways.runtime.block_on(put).expect("a write to a whole cluster");
                assert!(written.stored.primaries() >= 2, "{written:?}");
            }
        }
        assert_eq!(ways.values(&name), [value(key)], "{name}");
    }
    let ran = ways.cluster.quorate().args(["get", "a key/0 \u{e4}%"]).run().expect_code(0);
    assert_eq!(ran.stdout, value(0), "the raw value and nothing else:\n{ran}");
}

#[test]
fn command_line_http_and_client_agree_with_one_shard() {
    interfaces_agree(Shape::SAFE);
}

#[test]
fn command_line_http_and_client_agree_with_three_shards() {
    interfaces_agree(Shape::WIDE);
}

fn concurrent_writers_make_siblings(shape: Shape) {
    let ways = Ways::into(shape);
    let quorate = || ways.cluster.quorate();
    quorate().args(["put", "cart", "bread"]).run().expect_code(0);
    let seen = ways.context("cart");
    // Two writers that saw the same, by two ways and at two nodes.
    quorate().args(["put", "cart", "bread, milk", "--context", &seen]).run().expect_code(0);
    ways.cluster.door(1).put(&item(TABLE, "cart"), Some(&seen), b"bread, eggs").expect(200);
    assert_eq!(ways.values("cart"), [&b"bread, eggs"[..], b"bread, milk"], "exactly two siblings");

    let both = quorate().args(["get", "cart"]).run().expect_code(3);
    assert!(both.text().contains("bread, milk") && both.text().contains("bread, eggs"), "{both}");
    let choices = ways.cluster.door(2).get(&item(TABLE, "cart")).expect(300);
    assert_eq!(choices.header("quorate-versions"), Some("2"), "{choices}");

    // A third that has seen both leaves one.
    let seen = ways.read("cart").context;
    let put = ways.client.put(address("cart"), "bread, milk, eggs").context(&seen).send();
    let written = ways.runtime.block_on(put).expect("a write with the context of a read");
    assert_eq!(written.versions, 1, "{written:?}");
    assert_eq!(ways.values("cart"), [b"bread, milk, eggs"]);
    quorate().args(["get", "cart"]).run().expect_code(0);
    // And with no context a value stands beside the others.
    quorate().args(["put", "cart", "wine"]).run().expect_code(0);
    assert_eq!(ways.values("cart").len(), 2);
}

#[test]
fn writers_with_one_context_make_two_siblings_with_one_shard() {
    concurrent_writers_make_siblings(Shape::SMALL);
}

#[test]
fn writers_with_one_context_make_two_siblings_with_three_shards() {
    concurrent_writers_make_siblings(Shape::WIDE);
}

#[test]
fn delete_removes_what_was_seen_and_nothing_else() {
    let ways = Ways::into(Shape::WIDE);
    let quorate = || ways.cluster.quorate();
    quorate().args(["get", "never"]).run().expect_code(4);
    ways.cluster.door(0).get(&item(TABLE, "never")).refuses(404, "not_found", &[]);

    // Without a context: what a quorum holds.
    quorate().args(["put", "one", "1"]).run().expect_code(0);
    quorate().args(["delete", "one"]).run().expect_code(0);
    assert!(ways.values("one").is_empty());
    let gone = quorate().args(["get", "one"]).run().expect_code(4);
    assert!(gone.stdout.is_empty(), "{gone}");
    let gone = ways.cluster.door(1).get(&item(TABLE, "one")).refuses(404, "not_found", &["deleted"]);
    // Written anew with the tombstone's context it is one version.
    ways.cluster.door(2).put(&item(TABLE, "one"), Some(&gone.context()), b"again").expect(200);
    assert_eq!(ways.values("one"), [b"again"]);

    // With a context: what that read saw; what was written since stays.
    quorate().args(["put", "two", "old"]).run().expect_code(0);
    let seen = ways.context("two");
    quorate().args(["put", "two", "new", "--context", &seen]).run().expect_code(0);
    quorate().args(["delete", "two", "--context", &seen]).run().expect_code(0);
    assert_eq!(ways.values("two"), [b"new"]);
    let target = item(TABLE, "two");
    ways.cluster.door(0).ask("DELETE", &target, &[], &[]).expect(200);
    assert!(ways.values("two").is_empty());
}

#[test]
fn command_line_takes_values_and_names_in_every_form() {
    let cluster = Cluster::start(Shape::SMALL);
    let quorate = || cluster.quorate();
    let binary: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    fs::write(cluster.path("value.bin"), &binary).expect("a file in our own directory");
    quorate().args(["put", "file", "@value.bin"]).run().expect_code(0);
    assert!(quorate().args(["get", "file"]).run().expect_code(0).stdout == binary, "@FILE gives the file's bytes");
    quorate().args(["put", "input", "-"]).input(&binary).run().expect_code(0);
    assert!(quorate().args(["get", "input"]).run().expect_code(0).stdout == binary, "- gives standard input");
    quorate().args(["put", "empty", ""]).run().expect_code(0);
    assert!(quorate().args(["get", "empty"]).run().expect_code(0).stdout.is_empty());

    let row = ["--table", "rows", "--sort", "2024"];
    quorate().args(["put", "file", "a row"]).args(row).run().expect_code(0);
    assert_eq!(quorate().args(["get", "file", "-r", "3", "--strict"]).args(row).run().expect_code(0).text(), "a row");
    cluster.door(1).get("/v1/kv/rows/file/2024").expect(200);
    quorate().args(["get", "file", "--table", "rows"]).run().expect_code(4);

    let written = quorate().args(["put", "json", "1", "-w", "3", "--strict", "--json"]).run().expect_code(0).json();
    assert_eq!(written["stored"]["primaries"], 3, "{written}");
    assert_eq!(written["versions"], 1, "{written}");
    // The same write again is the same write.
    let id = written["write_id"].as_str().expect("a write id").to_owned();
    let again = quorate().args(["put", "json", "1", "--write-id", &id, "--json"]).run().expect_code(0).json();
    assert_eq!((&again["dot"], &again["versions"]), (&written["dot"], &written["versions"]), "{again}");
    let read = quorate().args(["get", "json", "--json"]).run().expect_code(0).json();
    assert_eq!(values_of(&read), [b"1"]);

    for bad in [
        &["put", "key"][..],
        &["put", "", "value"],
        &["put", "key", "value", "-w", "0"],
        &["put", "key", "value", "-w", "8"],
        &["get", "key", "--table", "Capital"],
        &["get", "key", "--colour"],
        &["put", "key", "value", "--context", "?"],
        &["put", "key", "value", "--write-id", "12"],
        &["put", "key", "value", "--timeout", "2h"],
        &["put", &"k".repeat(1025), "value"],
        &["frobnicate"],
    ] {
        let ran = quorate().args(bad).run().expect_code(2);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran}");
    }
    // Nothing was written by any of them.
    quorate().args(["get", "key"]).run().expect_code(4);
    // W above N: only the cluster knows N.
    quorate().args(["put", "key", "value", "-w", "5"]).run().complains(&["5", "3"]);
    let status = quorate().args(["status"]).run().expect_code(0);
    for name in super::cluster::NAMES {
        assert!(status.text().contains(name), "{status}");
    }
}
