//! A scrape of a node whose shards and disk do not answer: there are none. All that it can read is memory.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::config::ServerConfig;
use crate::metrics::{ShardNumbers, TurnNumbers};
use crate::pki::{Authority, Credentials, CurrentCredentials, Moment, Role};
use crate::protocol::ring::{Layout, Member, Parameters, Roster};
use crate::protocol::shard::{Counters, Measures};
use crate::protocol::types::{
    BootGeneration, ClusterId, DiskId, Durability, Histogram, Instant as Stopwatch, NodeId, PartitionId, TableName,
};
use crate::protocol::version::{TokenKey, TokenKeys};
use crate::protocol::wire::Creation;
use crate::server::report::ShardReport;

const NODES: u16 = 3;
const PARTITIONS: u16 = 64;
const CLUSTER: ClusterId = ClusterId::new(7);
const HOUR: Duration = Duration::from_secs(3600);

fn door(shards: u16) -> NodeDoor {
    let text = format!(
        "name = \"n1\"\ndata_dir = \"data\"\nlisten = \"127.0.0.1:7400\"\nshards = {shards}\n\
         [tls]\ncertificate = \"n1.crt\"\nkey = \"n1.key\"\nca = \"ca.crt\"\n"
    );
    let config = ServerConfig::parse(std::path::Path::new("/etc/quorate/quorate.toml"), &text).unwrap();
    let me = NodeId::new(1);
    let authority = Authority::generate(CLUSTER, 10 * HOUR, Moment::now()).unwrap();
    let leaf = authority.issue("n1", Role::Node(me), HOUR, Moment::now()).unwrap();
    let credentials = Credentials::from_leaf(&authority, &leaf, Moment::now()).unwrap();
    let credentials = CurrentCredentials::new(credentials);
    let started = (BootGeneration::new(1), DiskId::new(1));
    let shared = NodeShared::new(config, Durability::Sync, (me, CLUSTER), started);
    NodeDoor::new(Arc::new(shared), Arc::default(), credentials)
}

fn view() -> View {
    let member = |number: u16| Member {
        id: NodeId::new(u128::from(number)),
        name: format!("n{number}"),
        zone: String::new(),
        weight: 1,
        address: ([127, 0, 0, 1], 7400 + number).into(),
    };
    let roster = Roster::new((1..=NODES).map(member).collect()).unwrap();
    let parameters = Parameters { partitions: u32::from(PARTITIONS), replicas: 3, hash_seed: 7 };
    let layout = Layout::first(&roster, parameters).unwrap().id();
    let token_keys = TokenKeys { current: TokenKey::new(1, [5; 16]), previous: None };
    let creation = Creation { cluster: CLUSTER, roster, parameters, layout, token_keys, tables: Vec::new() };
    View::of(NodeId::new(1), &creation, 2, 2).unwrap()
}

/// As full as a report gets: all tables, all peers, a share of the partitions.
fn report(shard: u16, shards: u16) -> ShardReport {
    let mut measures = Measures::default();
    for table in 0..crate::protocol::shard::TABLES_MAX {
        let name = TableName::new(format!("table-{table}").into()).unwrap();
        measures.tables.insert(name, crate::protocol::shard::TableMeasures { gets: 1, puts: 2 });
    }
    let mut round_trips = Histogram::default();
    round_trips.record_time(Duration::from_micros(300));
    measures.round_trips = vec![round_trips; usize::from(NODES)];
    let partitions = (0..PARTITIONS).filter(|partition| partition % shards == shard);
    ShardReport {
        at: Stopwatch::from_nanos(0),
        counters: Counters { gets: 5, ..Counters::default() },
        measures,
        turns: TurnNumbers::default(),
        items: crate::metrics::ItemCacheNumbers::default(),
        unverified: false,
        in_sync: partitions.map(|p| (PartitionId::new(p), Some(Stopwatch::from_nanos(0)))).collect(),
        in_flight: 1,
        background_share: 1.0,
        hints: (1, 100),
        oldest_hint: Duration::from_secs(9),
    }
}

/// Polls once: a scrape that had to wait for anybody would not be ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the scrape waits for somebody"),
    }
}

#[test]
fn scrape_waits_for_no_shard_and_no_disk() {
    let door = door(4);
    let page = ready(door.metrics());
    assert!(page.contains("quorate_requests_total{operation=\"get\"} 0\n"), "{page}");
    assert!(page.contains("quorate_certificate_not_after_seconds{certificate=\"ca\"} "), "{page}");
    for inbox in &door.shared.inboxes {
        let mut asked = Vec::new();
        inbox.take(&mut asked);
        assert!(asked.is_empty(), "a scrape asks the shards for nothing: {asked:?}");
    }
}

/// `cargo nextest run --release --lib -E 'test(scrape_of_64_partitions)' --no-capture` prints how long it takes.
#[test]
fn scrape_of_64_partitions_lays_out_what_was_pinned_up() {
    let door = door(2);
    door.shared.adopt(Arc::new(view()));
    for (shard, inbox) in (0..).zip(&door.shared.inboxes) {
        inbox.pinboard().pin(report(shard, 2));
    }
    let began = Instant::now();
    let page = ready(door.metrics());
    println!("a page of {} bytes, {} lines, in {:?}", page.len(), page.lines().count(), began.elapsed());
    assert!(page.contains("quorate_requests_total{operation=\"get\"} 10\n"), "{page}");
    for partition in 0..PARTITIONS {
        let line = format!("\nquorate_partition_in_sync_age_seconds{{partition=\"{}\"}} ", PartitionId::new(partition));
        assert!(page.contains(&line), "{line} is missing in\n{page}");
    }
    let next = ready(door.metrics());
    assert!(next.contains("\nquorate_scrape_seconds "), "{next}");
}

#[test]
fn ages_grow_while_nothing_is_pinned_up() {
    let pinned = report(0, 1);
    let later = Stopwatch::from_nanos(0).after(Duration::from_secs(60));
    let ShardNumbers { oldest_hint, in_sync_ages, .. } = pinned.numbers(later);
    assert_eq!(oldest_hint, Duration::from_secs(69));
    assert!(in_sync_ages.iter().all(|(_, age)| *age == Some(Duration::from_secs(60))));
    let without = ShardReport { hints: (0, 0), oldest_hint: Duration::ZERO, ..pinned };
    assert_eq!(without.numbers(later).oldest_hint, Duration::ZERO, "no hint grows old");
}
