//! What operators are told: times by the clock that was handed in, and every end of a request counted once.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, address, put_of, table_address};
use crate::protocol::shard::{Measures, TableMeasures, VerbMeasures};
use crate::protocol::types::{Durability, Histogram, Scale, TableName};

fn three() -> Cluster {
    Cluster::new(3, 3, Durability::Os)
}

fn measures(cluster: &Cluster) -> &Measures {
    cluster.nodes[0].shard.as_ref().unwrap().measures()
}

/// How many values are not above a bound, as shown to people.
fn up_to<S: Scale>(histogram: &Histogram<S>, bound: f64) -> u64 {
    let found = histogram.cumulative().find(|(at, _)| (at - bound).abs() < 1e-9);
    found.unwrap_or_else(|| panic!("{bound} is no bound of the scale")).1
}

#[test]
fn put_is_measured_from_the_request_to_its_answer_and_by_replica() {
    let mut cluster = three();
    let id = cluster.ask_put(0, &put_of(&address("k"), 1, "v", &Bytes::new()));
    cluster.pass(Duration::from_millis(5));
    cluster.settle();
    cluster.told_now(id).put();
    let puts = &measures(&cluster).puts;
    assert_eq!(puts.succeeded, 1);
    assert_eq!((up_to(&puts.request, 0.0025), up_to(&puts.request, 0.005)), (0, 1));
    assert_eq!((up_to(&puts.quorum, 0.0025), up_to(&puts.quorum, 0.005)), (0, 1));
    let answered: Vec<u64> = measures(&cluster).round_trips.iter().map(Histogram::count).collect();
    assert_eq!(answered, [0, 1, 1], "also the one that came after the client was told");
    assert_eq!(measures(&cluster).gets, VerbMeasures::default());
}

#[test]
fn get_is_measured_and_its_versions_counted() {
    let mut cluster = three();
    let k = address("k");
    for (id, value) in [(1, "a"), (2, "b")] {
        cluster.put(0, &put_of(&k, id, value, &Bytes::new())).put();
    }
    let id = cluster.ask_get(0, &k, 2);
    cluster.pass(Duration::from_millis(1));
    cluster.settle();
    assert_eq!(cluster.told_now(id).got().versions.len(), 2);
    cluster.get(0, &address("nothing"), 2).got();
    let measures = measures(&cluster);
    assert_eq!(measures.gets.succeeded, 2);
    assert_eq!((up_to(&measures.gets.request, 0.0005), measures.gets.request.count()), (1, 2));
    assert_eq!(measures.gets.quorum.count(), 2);
    let versions = &measures.versions;
    assert_eq!((up_to(versions, 0.0), up_to(versions, 1.0), up_to(versions, 2.0)), (1, 1, 2));
}

#[test]
fn failed_request_is_counted_by_its_code_and_has_no_time() {
    let mut cluster = three();
    cluster.lose = Box::new(|_| true);
    let put = cluster.ask_put(0, &put_of(&address("k"), 1, "v", &Bytes::new()));
    let get = cluster.ask_get(0, &address("k"), 2);
    cluster.settle();
    cluster.told_now(put);
    cluster.told_now(get);
    let measures = measures(&cluster);
    for verb in [&measures.gets, &measures.puts] {
        assert_eq!(verb.failed.iter().collect::<Vec<_>>(), [(&"quorum_not_met", &1)]);
        assert_eq!((verb.succeeded, verb.request.count(), verb.quorum.count()), (0, 0, 0));
    }
}

#[test]
fn requests_are_counted_by_table() {
    let mut cluster = three();
    for (id, table) in [(1, "carts"), (2, "carts"), (3, "orders")] {
        cluster.put(0, &put_of(&table_address(table, "k"), id, "v", &Bytes::new())).put();
    }
    cluster.get(0, &table_address("orders", "k"), 2).got();
    let table = |name: &'static str| measures(&cluster).tables[&TableName::new(name.into()).unwrap()];
    assert_eq!(table("carts"), TableMeasures { gets: 0, puts: 2 });
    assert_eq!(table("orders"), TableMeasures { gets: 1, puts: 1 });
}
