//! Floods: more requests, larger values and more unread answers than a node can hold. It says "slower" before its
//! memory grows, and goes on afterwards as if nothing had been.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::pki::Credentials;
use quorate::protocol::ring::LayoutId;
use quorate::protocol::types::{Address, Strictness, WriteId};
use quorate::protocol::version::checksum;
use quorate::protocol::wire::{
    Failure, FailureCode, Frame, GetRequest, Header, Kind, PutRequest, Want, decode_control,
};
use tokio::runtime::Runtime;

use super::cluster::{Cluster, Shape};
use super::door::item;
use super::process::Signal;
use super::until;
use super::wire::Wire;

const MIB: u64 = 1024 * 1024;
/// Clients that read nothing: each could pin 4 MiB of a lane and 1 MiB of QUIC's, a gigabyte in all.
const DEAF: usize = 200;
/// What they may pin together: the node's purse of unread answers with its margin, and QUIC's send windows.
const DEAF_BYTES_MAX: u64 = 128 * MIB * 9 / 8 + DEAF as u64 * MIB;
/// What the requests under way may hold: frames that were taken in, what the shard counts, and the copies it makes.
const REQUEST_BYTES_MAX: u64 = (128 + 128 + 128) * MIB;
/// Write buffers and block cache as configured, sessions, and what an allocator keeps.
const REST_BYTES_MAX: u64 = (64 + 32 + 96) * MIB;

fn address(key: &str) -> Address {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Address::new(bytes("flood"), bytes(key), Bytes::new()).expect("a short key")
}

fn frame_of(kind: Kind, correlation: u64, budget_ms: u32, body: Vec<u8>) -> Frame {
    Frame::new(Header::new(kind, correlation, budget_ms, LayoutId::default()), body.into())
}

fn get(correlation: u64, key: &str) -> Frame {
    let mut body = Vec::new();
    GetRequest { address: address(key), r: 1, strictness: Strictness::Strict }.encode(&mut body);
    frame_of(Kind::Get, correlation, 10_000, body)
}

fn put(correlation: u64, budget_ms: u32, key: &str, value: Vec<u8>) -> Frame {
    let (address, write_id, value) = (address(key), WriteId::new(u128::from(correlation) + 1), Bytes::from(value));
    let checksum = checksum(&address, write_id, false, &value);
    let (want, strictness, token) = (Want::Value, Strictness::Strict, Bytes::new());
    let mut body = Vec::new();
    PutRequest { address, write_id, want, w: 2, strictness, token, checksum, value }.encode(&mut body);
    frame_of(Kind::Put, correlation, budget_ms, body)
}

fn failure_of(frame: &Frame) -> Option<Failure> {
    (frame.kind() == Some(Kind::Error)).then(|| decode_control(&frame.body, "error").expect("our own failure"))
}

fn shard_of(cluster: &Cluster, node: usize) -> std::net::SocketAddr {
    let control = cluster.ports.control(node);
    (control.ip(), control.port() + 1).into()
}

fn clients(runtime: &Runtime, who: &Credentials, at: std::net::SocketAddr, count: usize, window: u32) -> Vec<Wire> {
    let greet = |_| runtime.block_on(Wire::greet_narrowly(who, at, window)).expect("a client is let in");
    (0..count).map(greet).collect()
}

#[test]
fn clients_that_read_no_answers_are_served_no_further_and_pin_a_bounded_memory() {
    let cluster = Cluster::start(Shape::SMALL);
    let runtime = Runtime::new().expect("a runtime");
    let (door, app) = (cluster.door(0), cluster.credentials("app"));
    door.put(&item("flood", "large"), None, &vec![7; 900_000]).expect(200);
    let at = shard_of(&cluster, 0);
    let mut deaf = clients(&runtime, &app, at, DEAF, 64 * 1024);
    let before = cluster.nodes[0].resident_bytes();
    for (number, client) in deaf.iter_mut().enumerate() {
        let gets: Vec<u8> = (0..24).flat_map(|n| get(number as u64 * 100 + n, "large").to_bytes()).collect();
        runtime.block_on(client.send_raw(&gets));
    }
    // One who reads is told to come back, and by when: there is no more room for large answers.
    let mut honest = runtime.block_on(Wire::greet(&app, at)).expect("a client is let in");
    let mut correlation = 0;
    let failure = until("a large answer is refused", || {
        correlation += 1;
        runtime.block_on(honest.send(&get(correlation, "large")));
        let answer = runtime.block_on(honest.next())?;
        failure_of(&answer).ok_or_else(|| format!("{:?}", answer.header))
    });
    assert_eq!(failure.code, FailureCode::Overloaded, "{failure}");
    assert!(failure.retry_after_ms > 0, "{failure}");
    let limit = before + DEAF_BYTES_MAX + REST_BYTES_MAX;
    let held = cluster.nodes[0].resident_bytes();
    println!(
        "resident: {} MiB before, {} MiB with {DEAF} clients that read nothing, limit {} MiB",
        before / MIB,
        held / MIB,
        limit / MIB
    );
    assert!(held < limit, "{held} bytes are resident, {before} were before; the limit is {limit}");
    // Small answers still go, and members are not kept from each other.
    door.put(&item("flood", "small"), None, b"small").expect(200);
    assert_eq!(cluster.door(1).get(&item("flood", "small")).expect(200).body, b"small");
    // They go, and it recovers.
    drop(deaf);
    until("large answers are given again", || {
        correlation += 1;
        runtime.block_on(honest.send(&get(correlation, "large")));
        let answer = runtime.block_on(honest.next())?;
        if answer.kind() == Some(Kind::GetReply) { Ok(()) } else { Err(format!("{:?}", failure_of(&answer))) }
    });
}

#[test]
fn flood_of_large_values_leaves_memory_bounded() {
    const WRITERS: usize = 16;
    let mut cluster = Cluster::start(Shape::SMALL);
    let runtime = Runtime::new().expect("a runtime");
    let (door, app) = (cluster.door(0), cluster.credentials("app"));
    let mut writers = clients(&runtime, &app, shard_of(&cluster, 0), WRITERS, 1024 * 1024);
    let before = cluster.nodes[0].resident_bytes();
    let sending = writers.drain(..).enumerate().map(|(number, mut writer)| {
        runtime.spawn(async move {
            for n in 0..12 {
                let correlation = number as u64 * 100 + n;
                writer.send(&put(correlation, 20_000, &correlation.to_string(), vec![7; 1_000_000])).await;
            }
            for _ in 0..12 {
                writer.next().await.expect("every request is answered");
            }
        })
    });
    let sending: Vec<_> = sending.collect();
    let mut most = 0;
    until("every large value is answered", || {
        most = most.max(cluster.nodes[0].resident_bytes());
        let open = sending.iter().filter(|task| !task.is_finished()).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} writers wait")) }
    });
    for task in sending {
        runtime.block_on(task).expect("a writer");
    }
    let limit = before + REQUEST_BYTES_MAX + WRITERS as u64 * 2 * MIB + REST_BYTES_MAX;
    println!("resident: {} MiB before, {} MiB at most, limit {} MiB", before / MIB, most / MIB, limit / MIB);
    assert!(most < limit, "{most} bytes were resident, {before} before; the limit is {limit}");
    door.put(&item("flood", "after"), None, b"after").expect(200);
    cluster.run_still(&[0, 1, 2]);
}

#[test]
fn more_requests_than_a_node_holds_are_told_when_to_come_back_and_it_recovers() {
    const WRITERS: u64 = 6;
    const REQUESTS: u64 = 4_000;
    let mut cluster = Cluster::start(Shape::SMALL);
    let runtime = Runtime::new().expect("a runtime");
    let (door, app) = (cluster.door(0), cluster.credentials("app"));
    let writers = clients(&runtime, &app, shard_of(&cluster, 0), 6, 1024 * 1024);
    // Without the two others no write gets its second copy: what is taken in stays until its time is over.
    (1..3).for_each(|node| cluster.nodes[node].signal(Signal::Stop));
    let sending = (0..WRITERS).zip(writers).map(|(number, mut writer)| {
        runtime.spawn(async move {
            let first = number * REQUESTS;
            let burst = (first..first + REQUESTS).flat_map(|n| put(n, 20_000, &n.to_string(), vec![7; 32]).to_bytes());
            writer.send_raw(&burst.collect::<Vec<u8>>()).await;
            writer
        })
    });
    let writers: Vec<Wire> =
        sending.collect::<Vec<_>>().into_iter().map(|task| runtime.block_on(task).expect("a writer")).collect();
    // Not before it is full: a request of somebody else's that came in with the burst would leave its place free.
    until("the node is full", || {
        let refused = door.metric("quorate_requests_refused_total");
        if refused > 0.0 { Ok(()) } else { Err(format!("{refused} refused")) }
    });
    let mut tries = 0;
    let refused = until("somebody else is told to come back", || {
        tries += 1;
        let target = format!("{}?timeout_ms=50", item("flood", &format!("other {tries}")));
        let answer = door.try_ask("PUT", &target, &[], b"other")?;
        if answer.status == 429 { Ok(answer) } else { Err(answer.to_string()) }
    });
    let refused = refused.refuses(429, "overloaded", &["under way", "limit", "ask again"]);
    let after = refused.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(after.is_some_and(|seconds| seconds >= 1), "{refused}");
    assert!(refused.json()["error"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    assert!(door.metric("quorate_requests_refused_total") > 0.0);
    (1..3).for_each(|node| cluster.nodes[node].signal(Signal::Continue));
    until("writes are taken again", || {
        let answer = door.try_ask("PUT", &item("flood", "recovered"), &[], b"other")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) }
    });
    drop(writers);
    cluster.run_still(&[0, 1, 2]);
}

#[test]
fn requests_that_wait_longer_than_their_budget_are_answered_and_not_begun() {
    const CLIENTS: usize = 8;
    const REQUESTS: u64 = 1_500;
    let cluster = Cluster::start(Shape::SMALL);
    let runtime = Runtime::new().expect("a runtime");
    let app = cluster.credentials("app");
    let at = shard_of(&cluster, 0);
    let senders = (0..CLIENTS as u64).map(|client| {
        let app = app.clone();
        runtime.spawn(async move {
            let mut wire = Wire::greet(&app, at).await.expect("a client is let in");
            let first = client * REQUESTS;
            let burst: Vec<u8> =
                (first..first + REQUESTS).flat_map(|n| put(n, 1, &n.to_string(), vec![7; 64]).to_bytes()).collect();
            wire.send_raw(&burst).await;
            let (mut answered, mut dropped) = (BTreeSet::new(), Vec::new());
            for _ in 0..REQUESTS {
                let answer = wire.next().await.expect("every request is answered");
                let correlation = answer.header.correlation;
                assert!(answered.insert(correlation), "{correlation} is answered twice");
                if failure_of(&answer).is_some_and(|failure| failure.message.contains("was not begun")) {
                    dropped.push(correlation);
                }
            }
            dropped
        })
    });
    let senders: Vec<_> = senders.collect();
    let dropped: Vec<u64> =
        senders.into_iter().flat_map(|sender| runtime.block_on(sender).expect("a client")).collect();
    println!("{} of {} requests with a budget of 1 ms were dropped unserved", dropped.len(), CLIENTS as u64 * REQUESTS);
    assert!(!dropped.is_empty(), "a burst of so many waits for longer than a millisecond");
    let door = cluster.door(0);
    // A scrape shows what the shards have pinned up last.
    until("the dropped ones are counted", || {
        let counted = door.metric("quorate_requests_expired_total");
        let are_all = (counted - dropped.len() as f64).abs() < 0.5;
        are_all.then_some(()).ok_or_else(|| format!("{counted} are counted, {} were dropped", dropped.len()))
    });
    for key in dropped.iter().step_by(dropped.len().div_ceil(20)) {
        door.get(&item("flood", &key.to_string())).expect(404);
    }
}
