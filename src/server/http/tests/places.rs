//! Health, readiness, numbers, status, and everything that is not there.

use serde_json::json;

use super::caller::{call, get, put};
use super::fake::{FakeDoor, node};
use super::{Served, bind, open};

#[test]
fn health_says_alive_and_readiness_says_why_not() {
    let served = Served::open();
    assert_eq!(served.ask(&get("/healthz")).is(200).text(), "ok\n");
    assert_eq!(served.ask(&get("/readyz")).is(200).text(), "ready\n");
    served.door.be_unready("2 of 3 shards are opening");
    served.ask(&get("/readyz")).refuses(503, "not_ready", &["2 of 3 shards are opening"]);
    assert_eq!(served.ask(&get("/healthz")).is(200).text(), "ok\n");
    assert!(served.ask(&call("HEAD", "/healthz")).is(200).body.is_empty());
}

#[test]
fn metrics_are_prometheus_text() {
    let served = Served::open();
    let reply = served.ask(&get("/metrics"));
    assert!(reply.is(200).text().contains("quorate_puts_total 1"));
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn status_shows_nodes_partitions_and_layout() {
    let served = Served::open();
    let status = served.ask(&get("/v1/cluster/status")).is(200).json();
    assert_eq!(status["cluster"], "00000000000000000000000000000009");
    assert!(status["layout"].as_str().unwrap().starts_with("1-"));
    let numbers = ["partitions", "replicas", "read_quorum", "write_quorum"].map(|name| status[name].clone());
    assert_eq!(numbers, [8, 3, 2, 2]);
    assert_eq!(status["node"]["name"], "n1");
    assert_eq!(status["node"]["role"], "member");
    assert_eq!(status["node"]["generation"], 3);
    let figures = ["stored_bytes", "hints", "hint_bytes", "in_sync_age_ms", "never_in_sync"];
    assert_eq!(figures.map(|name| status["node"][name].as_u64()), [3 << 20, 4, 5_000, 6_000, 0].map(Some));
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let sum = |name: &str| nodes.iter().map(|node| node[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("partitions"), sum("primaries")), (24, 8));
    assert_eq!(nodes[1]["id"], node(2).to_string());
    assert_eq!(nodes[1]["address"], "127.0.0.1:7402");
    let reach: Vec<_> = nodes.iter().map(|node| (node["connected"].clone(), node["error"].clone())).collect();
    assert_eq!(reach[0], (json!(true), json!(null)));
    assert_eq!(reach[1], (json!(true), json!(null)));
    assert_eq!(reach[2], (json!(false), json!("connection refused")));
}

#[test]
fn node_that_waits_says_so() {
    let served = Served::before(FakeDoor::uninitialised(), bind(&open()).unwrap());
    let status = served.ask(&get("/v1/cluster/status")).is(200).json();
    assert_eq!((&status["cluster"], &status["layout"]), (&json!(null), &json!(null)));
    assert_eq!((&status["nodes"], &status["node"]["role"]), (&json!([]), &json!("waiting")));
    served.ask(&get("/v1/kv/t/k")).refuses(503, "uninitialised", &["quorate cluster create"]);
    served.ask(&put("/v1/kv/t/k", "x")).refuses(503, "uninitialised", &[]);
}

#[test]
fn unknown_path_lists_what_there_is() {
    let served = Served::open();
    for path in ["/", "/v2/kv/t/k", "/v1", "/v1/cluster", "/v1/cluster/create", "/healthz/", "/%2e%2e/etc"] {
        for method in ["GET", "POST"] {
            let reply = served.ask(&call(method, path));
            reply.refuses(404, "no_such_path", &["/v1/kv/{table}/{key}", "/v1/cluster/status", "/metrics"]);
        }
    }
}
