//! The catalogue's own rules, and the page as Prometheus would read it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::protocol::membership;
use crate::protocol::shard::{Counters, Measures, TableMeasures};
use crate::protocol::types::{BootGeneration, Histogram, NodeId, PartitionId, TableName};
use crate::protocol::wire::{NodeStatus, PeerStatus};

/// Every label that a metric may have: each is a series per value on somebody's disk.
const LABELS: &[(&str, &str)] = &[
    ("operation", "get, put, read, merge"),
    ("outcome", "ok and the codes of failures"),
    ("code", "the codes of failures"),
    ("table", "32 a shard"),
    ("peer", "the roster; 64 for histograms"),
    ("partition", "the partitions of this node"),
    ("state", "alive, suspect, unreachable"),
    ("layout", "one at a time"),
    ("from", "memory, rocksdb, disk"),
    ("kind", "delay, stop"),
    ("why", "the words of the code"),
    ("route", "six"),
    ("status", "1xx to 5xx"),
    ("certificate", "node, ca"),
    ("version", "one"),
    ("commit", "one"),
    ("durability", "one"),
    ("shards", "one"),
];

fn status() -> NodeStatus {
    let peer = PeerStatus {
        node: NodeId::new(2),
        name: "n2".to_owned(),
        address: ([127, 0, 0, 1], 1).into(),
        connected: true,
        error: None,
        standing: "alive".to_owned(),
    };
    NodeStatus {
        node: NodeId::new(1),
        name: "n1".to_owned(),
        version: "0".to_owned(),
        cluster: None,
        layout: None,
        role: "member".to_owned(),
        partitions: 64,
        partitions_total: 64,
        shards: 2,
        durability: "sync".to_owned(),
        unverified: false,
        room: "reserve".to_owned(),
        disk_free: 1_000,
        disk_reserve: 2_000,
        stored_bytes: 3 << 20,
        hints: 4,
        hint_bytes: 5_000,
        in_sync_ms: Some(6_000),
        never_in_sync: 0,
        uptime_s: 5,
        generation: BootGeneration::new(3),
        peers: vec![peer],
    }
}

fn shard(table: &str) -> ShardNumbers {
    let mut counters = Counters { gets: 3, puts: 4, ..Counters::default() };
    counters.failures.insert("quorum_not_met", 2);
    counters.expired.insert("merge", 3);
    let mut measures = Measures::default();
    measures.gets.succeeded = 3;
    measures.gets.request.record_time(Duration::from_millis(2));
    measures.puts.failed.insert("quorum_not_met", 2);
    let name = TableName::new(table.to_owned().into()).unwrap();
    measures.tables.insert(name, TableMeasures { gets: 1, puts: 2 });
    let mut round_trips = Histogram::default();
    round_trips.record_time(Duration::from_micros(300));
    measures.round_trips = vec![Histogram::default(), round_trips];
    ShardNumbers {
        counters,
        measures,
        background_share: 0.25,
        in_sync_ages: vec![(PartitionId::new(7), Some(Duration::from_secs(12)))],
        ..ShardNumbers::default()
    }
}

fn numbers() -> NodeNumbers {
    NodeNumbers {
        status: status(),
        shards: vec![shard("carts"), shard("carts")],
        names: vec!["n1".to_owned(), "n2".to_owned()],
        layouts_live: 1,
        gossip: membership::Counters { suspicions: 2, ..Default::default() },
        standings: Standings { alive: 2, suspect: 0, unreachable: 1 },
        refused: 9,
        request_bytes: 10,
        storage: StorageNumbers { partitions: vec![(PartitionId::new(7), 900)], ..StorageNumbers::default() },
        life_renewals: 2,
        quic: QuicNumbers::default(),
        http: HttpNumbers(BTreeMap::from([(
            "/metrics",
            RouteNumbers { answers: [0, 5, 0, 0, 0], ..Default::default() },
        )])),
        process: ProcessNumbers::default(),
        certificates: vec![("node", 1_800_000_000), ("ca", 2_000_000_000)],
        certificate_renewals: 1,
        certificate_reload_failing: false,
        last_scrape: None,
    }
}

#[test]
fn every_name_is_one_in_base_units_and_says_its_type() {
    let mut names = BTreeSet::new();
    for metric in CATALOGUE {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("quorate_") || name.starts_with("process_"), "{name} has no prefix");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name} has strange characters");
        assert_eq!(
            metric.kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}: counters end with _total, no others"
        );
        for unit in ["_ms", "_us", "_ns", "_millis", "_minutes", "_kib", "_mib", "_percent", "_ratio"] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
        for suffix in ["_count", "_sum", "_bucket", "_info_total"] {
            assert!(!name.ends_with(suffix), "{name} ends like a part of a histogram");
        }
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{name} needs a sentence: {:?}", metric.help);
        assert!(matches!(metric.read, Read::Family(_)) || metric.labels.is_empty(), "{name} has labels and one value");
    }
}

#[test]
fn every_label_has_a_known_bound() {
    for metric in CATALOGUE {
        for label in metric.labels {
            let known = LABELS.iter().any(|(name, _)| name == label);
            assert!(known, "{}: the label {label} is not in LABELS; how many values can it have?", metric.name);
        }
    }
}

#[test]
fn units_are_what_names_say() {
    let unit = |name: &str| CATALOGUE.iter().find(|metric| metric.name == name).unwrap().unit();
    assert_eq!(unit("quorate_fsync_seconds"), Unit::Seconds);
    assert_eq!(unit("process_cpu_seconds_total"), Unit::Seconds);
    assert_eq!(unit("quorate_exchange_bytes_total"), Unit::Bytes);
    assert_eq!(unit("quorate_requests_total"), Unit::Count);
}

#[test]
fn shards_are_summed() {
    let text = render(&numbers());
    for line in [
        "quorate_requests_total{operation=\"get\"} 6",
        "quorate_requests_total{operation=\"put\"} 8",
        "quorate_failures_total{code=\"quorum_not_met\"} 4",
        "quorate_answers_total{operation=\"get\",outcome=\"ok\"} 6",
        "quorate_answers_total{operation=\"put\",outcome=\"quorum_not_met\"} 4",
        "quorate_answers_total{operation=\"put\",outcome=\"timed_out\"} 0",
        "quorate_table_requests_total{table=\"carts\",operation=\"put\"} 4",
        "quorate_table_requests_total{table=\"(other)\",operation=\"put\"} 0",
        "quorate_request_seconds_bucket{operation=\"get\",le=\"0.001\"} 0",
        "quorate_request_seconds_bucket{operation=\"get\",le=\"0.0025\"} 2",
        "quorate_request_seconds_bucket{operation=\"get\",le=\"+Inf\"} 2",
        "quorate_request_seconds_count{operation=\"get\"} 2",
        "quorate_replica_round_trip_seconds_count{peer=\"n2\"} 2",
        "quorate_partition_in_sync_age_seconds{partition=\"p0007\"} 12",
        "quorate_partition_bytes{partition=\"p0007\"} 900",
        "quorate_members{state=\"unreachable\"} 1",
        "quorate_http_requests_total{route=\"/metrics\",status=\"2xx\"} 5",
        "quorate_certificate_not_after_seconds{certificate=\"ca\"} 2000000000",
        "quorate_peer_connected{peer=\"n2\"} 1",
        "quorate_boot_generation 3",
        "quorate_requests_expired_total{operation=\"merge\"} 6",
        "quorate_requests_refused_total 9",
        "quorate_request_bytes 10",
        "quorate_background_share 0.25",
        "quorate_disk_reserve_bytes 2000",
        "quorate_disk_full 1",
        "quorate_in_sync_age_seconds 12",
        "quorate_partitions_never_in_sync 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("peer=\"n1\""), "nobody measures the way to itself:\n{text}");
}

#[test]
fn what_is_not_known_is_absent_rather_than_zero() {
    let mut unknown = numbers();
    unknown.shards[0].in_sync_ages[0].1 = None;
    let text = render(&unknown);
    assert!(!text.contains("\nquorate_in_sync_age_seconds "), "{text}");
    assert!(text.contains("\nquorate_partitions_never_in_sync 1\n"), "{text}");
    assert!(!text.contains("quorate_disk_free_bytes"), "{text}");
}

#[test]
fn every_number_says_what_it_is() {
    let text = render(&numbers());
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
}
