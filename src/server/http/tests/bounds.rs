//! Bounds in bytes and in time, and the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::caller::{DEADLINE, Reply, call, connect, exchange, get, put, read_reply};
use super::fake::Script;
use super::{Served, open, wait_for};
use crate::server::http::{Deadlines, DoorConfig, HEADER_BYTES_MAX};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

fn with_deadlines(change: impl FnOnce(&mut Deadlines)) -> DoorConfig {
    let mut deadlines = Deadlines { header: LONG, body: LONG, stall: LONG, stop: LONG };
    change(&mut deadlines);
    DoorConfig { deadlines, ..open() }
}

/// Reads until the peer closes; what was read, and how long that took.
fn until_closed(mut stream: TcpStream) -> (Vec<u8>, Duration) {
    let (mut bytes, began) = (Vec::new(), Instant::now());
    drop(stream.read_to_end(&mut bytes));
    let took = began.elapsed();
    assert!(took < DEADLINE, "the connection was not closed");
    (bytes, took)
}

#[test]
fn headers_have_a_bound_that_every_context_fits() {
    let served = Served::open();
    // The longest context that there can be: it is judged by the node, not by its length.
    let token = "A".repeat(87_460);
    let longest = put("/v1/kv/t/k", "x").header("Quorate-Context", &token);
    served.ask(&longest).refuses(400, "bad_input", &["format 0"]);
    let over = get("/healthz").header("X-Filler", "x".repeat(HEADER_BYTES_MAX));
    served.ask(&over).refuses(431, "headers_too_large", &["the limit is 114688"]);
    let target = get(format!("/healthz?{}", "x".repeat(60_000))).header("X-Filler", "x".repeat(60_000));
    served.ask(&target).refuses(431, "headers_too_large", &[]);
    // Past what is parsed at all, the answer is bare.
    served.ask(&get("/healthz").header("X-Filler", "x".repeat(1 << 20))).is(431);
    let many = (0..200).fold(get("/healthz"), |call, at| call.header(&format!("X-{at}"), "x"));
    served.ask(&many).is(431);
    assert_eq!(served.ask(&get("/healthz")).status, 200);
}

#[test]
fn client_that_sends_headers_slowly_is_dropped() {
    let served = Served::with(&with_deadlines(|deadlines| deadlines.header = SHORT));
    let mut silent = connect(served.address);
    let mut slow = connect(served.address);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-").unwrap();
    let trickle = slow.try_clone().unwrap();
    let began = Instant::now();
    std::thread::spawn(move || {
        let mut trickle = trickle;
        while began.elapsed() < DEADLINE && trickle.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(until_closed(slow).0.is_empty());
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    served.ask(&get("/healthz")).is(200);
}

#[test]
fn body_that_does_not_arrive_is_given_up() {
    let served = Served::with(&with_deadlines(|deadlines| deadlines.body = SHORT));
    let stream = connect(served.address);
    let request = call("PUT", "/v1/kv/t/k").header("Content-Length", "10").body("half").to_bytes();
    let reply = exchange(stream, &request);
    reply.refuses(408, "body_timed_out", &["200ms"]);
    assert!(reply.json()["error"]["write_id"].is_string());
    assert_eq!(served.door.asked_count(), 0);
}

/// Without the linger the client would be reset while it still sends, and would never see why.
#[test]
fn refusal_reaches_a_client_that_sends_everything_first() {
    let served = Served::open();
    let mut stream = connect(served.address);
    stream.write_all(&put("/v1/kv/t/k", vec![7; 16 << 20]).to_bytes()).unwrap();
    read_reply(&mut stream).refuses(413, "too_large", &["16777216 bytes"]);
}

#[test]
fn reader_that_stops_reading_is_dropped() {
    let served = Served::with(&with_deadlines(|deadlines| deadlines.stall = SHORT));
    let value = vec![7; super::fake::VALUE_BYTES_MAX];
    for _ in 0..64 {
        served.ask(&put("/v1/kv/t/k", &value)).is(200);
    }
    // More than the socket's buffers hold: 64 versions of 64 KiB, in base64, four times over.
    let mut stream = connect(served.address);
    for _ in 0..4 {
        stream.write_all(&get("/v1/kv/t/k").header("Connection", "keep-alive").to_bytes()).unwrap();
    }
    wait_for("the first answer", || served.door.asked_count() > 64);
    // Not reading is what is tested: the pause must be longer than the patience, however slow the machine is.
    std::thread::sleep(SHORT * 4);
    let answered = until_closed(stream).0.len();
    assert!(answered < 4 * 64 * value.len(), "{answered} bytes came all the same");
    served.ask(&get("/healthz")).is(200);
}

#[test]
fn idle_connections_close_at_once_when_the_door_does() {
    let served = Served::open();
    let mut idle = connect(served.address);
    idle.write_all(&get("/healthz").header("Connection", "keep-alive").to_bytes()).unwrap();
    let mut head = [0; 12];
    idle.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let address = served.address;
    let (cut_off, took) = served.stop();
    assert_eq!(cut_off, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(until_closed(idle).0.ends_with(b"ok\n"));
    assert!(TcpStream::connect(address).is_err(), "nothing listens any more");
}

#[test]
fn request_under_way_is_finished_when_the_door_closes() {
    let served = Served::open();
    served.door.script(Script::Later(Duration::from_millis(500)));
    let mut stream = connect(served.address);
    let request = put("/v1/kv/t/k", "x").header("Connection", "keep-alive").to_bytes();
    stream.write_all(&request).unwrap();
    let door = served.door.clone();
    // The script is taken when the node is asked.
    wait_for("the request", || !door.is_scripted());
    assert_eq!(served.stop().0, 0);
    read_reply(&mut stream).is(200);
}

#[test]
fn request_that_takes_too_long_is_cut_off_when_the_door_closes() {
    let served = Served::with(&with_deadlines(|deadlines| deadlines.stop = SHORT));
    served.door.script(Script::Silence);
    let mut stream = connect(served.address);
    stream.write_all(&get("/v1/kv/t/k?timeout_ms=60000").to_bytes()).unwrap();
    let door = served.door.clone();
    wait_for("the request", || !door.is_scripted());
    assert_eq!(served.stop().0, 1);
    assert!(until_closed(stream).0.is_empty());
}

#[test]
fn door_closes_when_nobody_can_tell_it_to() {
    let Served { runtime, serving, stop, .. } = Served::open();
    drop(stop);
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, serving).await });
    assert_eq!(ended.unwrap().unwrap().unwrap(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = Served::open();
    let first = put("/v1/kv/t/k", "one").header("Connection", "keep-alive").to_bytes();
    let bytes = [first, get("/v1/kv/t/k").to_bytes()].concat();
    let mut stream = connect(served.address);
    stream.write_all(&bytes).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let text = String::from_utf8(answers).unwrap();
    let second = text.rfind("HTTP/1.1 ").unwrap();
    assert!(second > 0 && text.starts_with("HTTP/1.1 200"));
    assert_eq!(Reply::parse(&text.as_bytes()[second..]).is(200).text(), "one");
}
