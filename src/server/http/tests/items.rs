//! Put, get, delete: what is stored is shown, and every answer says what it must.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::Served;
use super::caller::{Reply, call, delete, get, put};
use super::fake::{Script, node};
use crate::protocol::types::{Address, Strictness};
use crate::protocol::wire::{FailureCode, Frame, Header, Kind, StoredCopy, Want};
use crate::server::http::path::address_of;

#[test]
fn value_that_was_put_is_shown_with_its_context() {
    let served = Served::open();
    let written = served.ask(&put("/v1/kv/users/ann", b"\x00\xffvalue"));
    let told = written.is(200).json();
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["context", "dot", "stored", "versions", "write_id"]);
    assert_eq!(told["stored"], json!({"nodes": ["n1", "n2"], "primaries": 2, "fallbacks": 0, "fsynced": 1}));
    assert_eq!(told["versions"], 1);
    assert_eq!(told["dot"], "00000000000000ac:1");
    assert_eq!(told["context"], written.context());
    assert_eq!(told["write_id"], written.header("quorate-write-id").unwrap());
    let shown = served.ask(&get("/v1/kv/users/ann"));
    shown.is(200);
    assert_eq!(shown.body, b"\x00\xffvalue");
    assert_eq!(shown.header("content-type"), Some("application/octet-stream"));
    assert_eq!(shown.header("quorate-versions"), Some("1"));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
    served.ask(&put("/v1/kv/users/ann", "new").header("Quorate-Context", shown.context())).is(200);
    assert_eq!(served.ask(&get("/v1/kv/users/ann")).text(), "new");
}

#[test]
fn two_writers_leave_two_versions_and_a_third_with_the_context_one() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k", "x")).is(200);
    assert_eq!(served.ask(&put("/v1/kv/t/k", "y")).is(200).json()["versions"], 2);
    let both = served.ask(&get("/v1/kv/t/k"));
    let told = both.is(300).json();
    assert_eq!(both.header("quorate-versions"), Some("2"));
    assert_eq!(both.header("content-type"), Some("application/json"));
    assert_eq!(told["context"], both.context());
    let shown = |version: &serde_json::Value| STANDARD.decode(version["value"].as_str().unwrap()).unwrap();
    let versions = told["versions"].as_array().unwrap();
    assert_eq!(versions.iter().map(shown).collect::<Vec<_>>(), [b"x", b"y"]);
    assert_eq!(versions[0]["dot"], "00000000000000ac:1");
    assert_eq!(versions[0]["written_at"], "2025-07-20T08:26:40.000Z");
    served.ask(&put("/v1/kv/t/k", "z").header("Quorate-Context", both.context())).is(200);
    assert_eq!(served.ask(&get("/v1/kv/t/k")).is(200).text(), "z");
}

#[test]
fn json_is_shown_to_whoever_accepts_it() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k", "x")).is(200);
    for accept in ["application/json", "text/html, Application/JSON;q=0.9"] {
        let one = served.ask(&get("/v1/kv/t/k").header("Accept", accept)).is(200).json();
        assert_eq!(one["versions"][0]["value"], "eA==");
    }
    served.ask(&put("/v1/kv/t/k", "y")).is(200);
    let both = served.ask(&get("/v1/kv/t/k").header("Accept", "application/json"));
    assert_eq!(both.is(200).json()["versions"].as_array().unwrap().len(), 2);
    assert_eq!(served.ask(&get("/v1/kv/t/k").header("Accept", "*/*")).status, 300);
}

#[test]
fn absent_item_is_404_and_deleted_one_has_a_context() {
    let served = Served::open();
    let absent = served.ask(&get("/v1/kv/t/k"));
    absent.refuses(404, "not_found", &["no such item"]);
    assert_eq!(absent.header("quorate-context"), None);
    served.ask(&get("/v1/kv/t/k").header("Accept", "application/json")).refuses(404, "not_found", &[]);
    served.ask(&put("/v1/kv/t/k", "x")).is(200);
    let deleted = served.ask(&delete("/v1/kv/t/k"));
    assert_eq!(deleted.is(200).json()["versions"], 0);
    assert_eq!(served.door.asked().want, Some(Want::DeleteSeen));
    let gone = served.ask(&get("/v1/kv/t/k"));
    gone.refuses(404, "not_found", &["deleted"]);
    served.ask(&put("/v1/kv/t/k", "y").header("Quorate-Context", gone.context())).is(200);
    assert_eq!(served.ask(&get("/v1/kv/t/k")).is(200).text(), "y");
}

#[test]
fn delete_with_a_context_deletes_what_it_saw() {
    let served = Served::open();
    let first = served.ask(&put("/v1/kv/t/k", "x"));
    served.ask(&put("/v1/kv/t/k", "y")).is(200);
    served.ask(&delete("/v1/kv/t/k").header("Quorate-Context", first.context())).is(200);
    assert_eq!(served.door.asked().want, Some(Want::Delete));
    assert_eq!(served.ask(&get("/v1/kv/t/k")).is(200).text(), "y", "the unseen version stays");
}

#[test]
fn head_is_get_without_the_body() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k", "12345")).is(200);
    let head = served.ask(&call("HEAD", "/v1/kv/t/k"));
    head.is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("5"), 0));
    assert_eq!(head.context(), served.ask(&get("/v1/kv/t/k")).context());
    let absent = served.ask(&call("HEAD", "/v1/kv/t/other"));
    assert_eq!((absent.status, absent.body.len()), (404, 0));
}

#[test]
fn query_reaches_the_node() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k?w=3&quorum=strict&timeout_ms=500", "x")).is(200);
    let asked = served.door.asked();
    assert_eq!((asked.quorum, asked.strictness), (3, Strictness::Strict));
    assert_eq!(asked.budget.as_millis(), 500);
    served.ask(&get("/v1/kv/t/k?quorum=%73loppy&&r=1&")).is(200);
    let asked = served.door.asked();
    assert_eq!((asked.quorum, asked.strictness), (1, Strictness::Sloppy));
    assert_eq!(asked.budget, super::REQUEST_TIMEOUT);
    served.ask(&get("/v1/kv/t/k")).is(200);
    assert_eq!(served.door.asked().quorum, 0);
    served.ask(&put("/v1/kv/t/k?w=5", "x")).refuses(400, "bad_input", &["w = 5", "n = 3"]);
}

#[test]
fn write_id_is_the_clients_or_made_and_always_told() {
    let served = Served::open();
    let id = "000102030405060708090a0b0c0d0e0f";
    let brought = served.ask(&put("/v1/kv/t/k", "x").header("Quorate-Write-Id", id));
    assert_eq!(brought.is(200).json()["write_id"], id);
    assert_eq!(brought.header("quorate-write-id"), Some(id));
    let made = |reply: &Reply| reply.header("quorate-write-id").unwrap().to_owned();
    let (one, two) = (served.ask(&put("/v1/kv/t/k", "x")), served.ask(&delete("/v1/kv/t/k")));
    assert_ne!(made(&one), made(&two));
    assert_eq!(made(&one).len(), 32);
    served.door.fail(FailureCode::TimedOut, "too slow", vec![]);
    let failed = served.ask(&put("/v1/kv/t/k", "x"));
    assert_eq!(failed.refuses(504, "timed_out", &[]).json()["error"]["write_id"], made(&failed));
    let refused = served.ask(&put("/v1/kv/t/k?w=0", "x").header("Quorate-Write-Id", id));
    assert_eq!(refused.refuses(400, "bad_input", &[]).json()["error"]["write_id"], id);
}

#[test]
fn every_failure_has_its_status() {
    use FailureCode::*;
    let served = Served::open();
    for (code, status, retryable) in [
        (BadInput, 400, false),
        (TooLarge, 413, false),
        (NotAllowed, 403, false),
        (Overloaded, 429, true),
        (QuorumNotMet, 503, true),
        (TimedOut, 504, true),
        (Stale, 503, true),
        (Uninitialised, 503, true),
        (Unreadable, 503, true),
        (Stopping, 503, true),
        (Unsupported, 400, false),
        (Conflict, 409, false),
    ] {
        served.door.fail(code, "the reason", vec![]);
        let reply = served.ask(&get("/v1/kv/t/k"));
        reply.refuses(status, code.as_str(), &["the reason"]);
        assert_eq!(reply.json()["error"]["retryable"], retryable);
        assert_eq!(reply.header("retry-after").is_some(), code == Overloaded);
        assert!(reply.json()["error"].get("stored").is_none());
    }
}

#[test]
fn failed_quorum_says_which_copies_exist() {
    let served = Served::open();
    let copy = |number, primary| StoredCopy { node: node(number), primary, fsynced: false };
    served.door.fail(FailureCode::QuorumNotMet, "1 of 2", vec![copy(2, true), copy(77, false)]);
    let reply = served.ask(&put("/v1/kv/t/k", "x"));
    let stored = &reply.refuses(503, "quorum_not_met", &["1 of 2"]).json()["error"]["stored"];
    let nodes = json!(["n2", node(77).to_string()]);
    assert_eq!(stored, &json!({"nodes": nodes, "primaries": 1, "fallbacks": 1, "fsynced": 0}));
}

#[test]
fn damaged_version_is_not_shown() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k", "precious")).is(200);
    for accept in ["*/*", "application/json"] {
        served.door.script(Script::Damage);
        let reply = served.ask(&get("/v1/kv/t/k").header("Accept", accept));
        reply.refuses(503, "unreadable", &["checksum", "not shown"]);
        assert_eq!(reply.header("quorate-context"), None);
    }
    assert_eq!(served.ask(&get("/v1/kv/t/k")).is(200).text(), "precious");
}

#[test]
fn node_that_answers_nonsense_or_nothing_is_reported() {
    let served = Served::open();
    let layout = crate::protocol::ring::LayoutId::default();
    for (kind, body) in [(Kind::Pong, &b""[..]), (Kind::GetReply, b"\x00"), (Kind::Error, b"\xff")] {
        served.door.script(Script::Say(Ok(Frame::new(Header::new(kind, 0, 0, layout), body.into()))));
        served.ask(&get("/v1/kv/t/k")).refuses(500, "internal", &["report this"]);
    }
    served.door.script(Script::Silence);
    served.ask(&put("/v1/kv/t/k?timeout_ms=1", "x")).refuses(504, "timed_out", &["1 ms", "same write id"]);
}

#[test]
fn connection_serves_one_request_after_the_other() {
    let served = Served::open();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/v1/kv/t/k", served.address);
    for value in ["a", "b", "c"] {
        let seen = agent.get(&url).call().unwrap();
        let context = seen.headers().get("quorate-context").map(|context| context.to_str().unwrap().to_owned());
        let put = agent.put(&url);
        let put = if let Some(context) = context { put.header("Quorate-Context", context) } else { put };
        assert_eq!(put.send(value).unwrap().status(), 200);
        assert_eq!(agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap(), value);
    }
}

#[test]
fn chunked_value_is_put_together() {
    let served = Served::open();
    let chunked = call("PUT", "/v1/kv/t/k").header("Transfer-Encoding", "chunked");
    served.ask(&chunked.body("3\r\nabc\r\n1\r\nd\r\n4\r\nefgh\r\n0\r\nTrailer: x\r\n\r\n")).is(200);
    assert_eq!(served.ask(&get("/v1/kv/t/k")).text(), "abcdefgh");
}

#[test]
fn empty_value_is_a_value() {
    let served = Served::open();
    served.ask(&put("/v1/kv/t/k", "")).is(200);
    let shown = served.ask(&get("/v1/kv/t/k"));
    assert_eq!((shown.is(200).text().as_str(), shown.header("content-length")), ("", Some("0")));
}

#[test]
fn awkward_keys_are_keys() {
    let served = Served::open();
    let named = |key: &'static [u8], sort: &'static [u8]| Address::new("t".into(), key.into(), sort.into()).unwrap();
    for (target, address) in [
        ("/v1/kv/t/a%2Fb", named(b"a/b", b"")),
        ("/v1/kv/t/a/b", named(b"a", b"b")),
        ("/v1/kv/t/a/", named(b"a", b"")),
        ("/v1/kv/t/%00%fF/%25", named(b"\x00\xff", b"%")),
        ("/v1/kv/t/a+b%20c", named(b"a+b c", b"")),
        ("/v1/kv/t/../x", named(b"..", b"x")),
        ("/v1/kv/%74/%2e%2e", named(b"..", b"")),
    ] {
        served.ask(&put(target, target)).is(200);
        assert_eq!(served.door.value(&address).as_deref(), Some(target.as_bytes()), "{target}");
        assert_eq!(served.ask(&get(target)).is(200).text(), target);
    }
}

/// The path that an ordinary encoder writes for an address.
fn encoded(bytes: &[u8], all: bool) -> String {
    let fine = |b: u8| !all && (b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    bytes.iter().map(|b| if fine(*b) { char::from(*b).to_string() } else { format!("%{b:02x}") }).collect()
}

proptest! {
    /// Every key and sort key has a path, and the path names exactly them.
    #[test]
    fn any_bytes_make_a_path_and_come_back(
        table in "[a-z0-9._-]{1,64}",
        key in prop::collection::vec(any::<u8>(), 1..1025),
        sort in prop::collection::vec(any::<u8>(), 0..1025),
        all in any::<bool>(),
    ) {
        let address = Address::new(table.clone().into(), key.clone().into(), sort.clone().into()).unwrap();
        let mut parts = vec!["/v1/kv".to_owned(), encoded(table.as_bytes(), all), encoded(&key, all)];
        if !sort.is_empty() || all {
            parts.push(encoded(&sort, all));
        }
        let path = parts.join("/");
        prop_assert!(path.parse::<axum::http::Uri>().is_ok(), "{}", path);
        prop_assert_eq!(address_of(&path).unwrap(), address);
    }

    /// No path panics, and what is taken is written by an encoder as something that means the same.
    #[test]
    fn any_path_is_an_address_or_a_refusal(rest in "[a-z%/0-9fF.+]{0,40}") {
        if let Ok(address) = address_of(&format!("/v1/kv/{rest}")) {
            let again = format!(
                "/v1/kv/{}/{}/{}",
                address.table().as_str(),
                encoded(address.key(), false),
                encoded(address.sort(), false)
            );
            prop_assert_eq!(address_of(&again).unwrap(), address);
        }
    }
}
