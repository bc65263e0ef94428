//! The page as Prometheus would read it.

use super::*;
use crate::protocol::types::{BootGeneration, NodeId};
use crate::protocol::wire::PeerStatus;

fn numbers() -> NodeNumbers {
    let peer = PeerStatus {
        node: NodeId::new(2),
        name: "n2".to_owned(),
        address: ([127, 0, 0, 1], 1).into(),
        connected: true,
        error: None,
        standing: "alive".to_owned(),
    };
    let status = NodeStatus {
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
        uptime_s: 5,
        generation: BootGeneration::new(3),
        peers: vec![peer],
    };
    let mut shard = Counters { gets: 3, puts: 4, ..Counters::default() };
    shard.failures.insert("quorum_not_met", 2);
    NodeNumbers {
        status,
        shards: vec![shard.clone(), shard],
        hints: 7,
        hint_bytes: 900,
        oldest_hint: Duration::from_secs(3),
        in_sync_age: Some(Duration::from_secs(12)),
        gossip: crate::protocol::membership::Counters { suspicions: 2, ..Default::default() },
        in_flight: 1,
        turns: 2,
        commits: 1,
        sessions: 5,
        sessions_refused: 0,
        frames_malformed: 0,
        frames_not_allowed: 0,
        frames_unsupported: 0,
        damaged: 0,
        life_renewals: 0,
    }
}

#[test]
fn shards_are_summed_and_every_number_has_one_name() {
    let text = render(&numbers());
    for line in [
        "quorate_requests_total{kind=\"get\"} 6",
        "quorate_requests_total{kind=\"put\"} 8",
        "quorate_failures_total{code=\"quorum_not_met\"} 4",
        "quorate_peer_connected{peer=\"n2\"} 1",
        "quorate_boot_generation 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn every_number_says_what_it_is() {
    let text = render(&numbers());
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
}
