//! Bad input: each a clear error that names the limit and the way out, and nothing is asked of the node.

use super::Served;
use super::caller::{call, delete, get, put};
use crate::protocol::types::limits::{KEY_BYTES_MAX, SORT_KEY_BYTES_MAX, TABLE_BYTES_MAX};

#[test]
fn path_that_is_no_address_is_refused() {
    let served = Served::open();
    let long = |bytes: usize| "k".repeat(bytes);
    let cases = [
        ("/v1/kv".to_owned(), 400, "bad_input", "no key"),
        ("/v1/kv/".to_owned(), 400, "bad_input", "no key"),
        ("/v1/kv/t".to_owned(), 400, "bad_input", "no key"),
        ("/v1/kv/t/".to_owned(), 400, "bad_input", "the key is empty"),
        ("/v1/kv/t//s".to_owned(), 400, "bad_input", "the key is empty"),
        ("/v1/kv//k".to_owned(), 400, "bad_input", "the table name is empty"),
        ("/v1/kv/T/k".to_owned(), 400, "bad_input", "'T'; use a-z 0-9 . _ -"),
        ("/v1/kv/a%2Fb/k".to_owned(), 400, "bad_input", "'/'; use"),
        ("/v1/kv/t/k/s/x".to_owned(), 400, "bad_input", "%2F"),
        ("/v1/kv/t/%".to_owned(), 400, "bad_input", "key has invalid percent-encoding at \"%\""),
        ("/v1/kv/t/a%2".to_owned(), 400, "bad_input", "\"%2\""),
        ("/v1/kv/t/a%zz".to_owned(), 400, "bad_input", "\"%zz\""),
        ("/v1/kv/t/k/%+1".to_owned(), 400, "bad_input", "sort key has invalid percent-encoding"),
        ("/v1/kv/%g0/k".to_owned(), 400, "bad_input", "table has invalid percent-encoding"),
        (format!("/v1/kv/{}/k", long(TABLE_BYTES_MAX + 1)), 413, "too_large", "65 bytes; the limit is 64"),
        (format!("/v1/kv/t/{}", long(KEY_BYTES_MAX + 1)), 413, "too_large", "1025 bytes; the limit is 1024"),
        (format!("/v1/kv/t/k/{}", long(SORT_KEY_BYTES_MAX + 1)), 413, "too_large", "1025 bytes; the limit is 1024"),
    ];
    for (target, status, code, words) in cases {
        for call in [get(&target), put(&target, "x"), delete(&target)] {
            served.ask(&call).refuses(status, code, &[words]);
        }
    }
    assert_eq!(served.door.asked_count(), 0);
    let longest =
        format!("/v1/kv/{}/{}/{}", long(TABLE_BYTES_MAX), "%00".repeat(KEY_BYTES_MAX), long(SORT_KEY_BYTES_MAX));
    served.ask(&put(longest, "x")).is(200);
}

#[test]
fn query_that_is_not_understood_is_refused() {
    let served = Served::open();
    for (query, words) in [
        ("x=1", &["unknown name \"x\"", "knows r, quorum and timeout_ms"][..]),
        ("w=1", &["unknown name \"w\"", "a read knows r"]),
        ("timeout=1", &["timeout_ms"]),
        ("r=1&r=1", &["names r twice"]),
        ("quorum=strict&quorum=strict", &["names quorum twice"]),
        ("r=0", &["r = 0", "at least 1"]),
        ("r=8", &["r = \"8\"", "at most 7"]),
        ("r=-1", &["out of range"]),
        ("r=", &["out of range"]),
        ("r", &["out of range"]),
        ("r=999", &["out of range"]),
        ("quorum=lax", &["\"lax\"", "strict or sloppy"]),
        ("timeout_ms=0", &["1 to 60000"]),
        ("timeout_ms=60001", &["1 to 60000"]),
        ("timeout_ms=1e3", &["1 to 60000"]),
        ("r=%3", &["invalid percent-encoding"]),
        ("r=%ff", &["not UTF-8"]),
    ] {
        served.ask(&get(format!("/v1/kv/t/k?{query}"))).refuses(400, "bad_input", words);
    }
    for query in ["r=1", "w=0", "w=8", "w=2&w=2"] {
        for call in [put(format!("/v1/kv/t/k?{query}"), "x"), delete(format!("/v1/kv/t/k?{query}"))] {
            served.ask(&call).refuses(400, "bad_input", &["w"]);
        }
    }
    assert_eq!(served.door.asked_count(), 0);
}

#[test]
fn write_id_that_is_none_is_refused() {
    let served = Served::open();
    for id in ["", "12", "000102030405060708090a0b0c0d0e0g", "000102030405060708090a0b0c0d0e0f0"] {
        let reply = served.ask(&put("/v1/kv/t/k", "x").header("Quorate-Write-Id", id));
        reply.refuses(400, "bad_input", &["Quorate-Write-Id", "32 hexadecimal digits"]);
    }
    let twice = put("/v1/kv/t/k", "x").header("Quorate-Write-Id", "0").header("Quorate-Write-Id", "0");
    served.ask(&twice).refuses(400, "bad_input", &["more than once"]);
    assert_eq!(served.door.asked_count(), 0);
}

#[test]
fn context_that_is_garbage_truncated_forged_foreign_or_old_is_refused() {
    let served = Served::open();
    let context = served.ask(&put("/v1/kv/t/k", "x")).context();
    let other = served.ask(&put("/v1/kv/t/other", "x")).context();
    let changed = |at: usize, character: &str| {
        let mut text = context.clone();
        text.replace_range(at..=at, if &text[at..=at] == character { "B" } else { character });
        text
    };
    let cut = &context[..context.len() - 4];
    for (text, words) in [
        ("", "empty"),
        ("!!!", "not base64url"),
        ("a b", "not base64url"),
        ("AQE", "cut short"),
        (cut, "context"),
        (&changed(20, "A"), "forged or damaged"),
        (&changed(0, "B"), "format"),
        (&other, "belongs to another"),
        (&"A".repeat(90_000), "cut short or padded"),
    ] {
        for call in [put("/v1/kv/t/k", "y"), delete("/v1/kv/t/k")] {
            let reply = served.ask(&call.header("Quorate-Context", text));
            reply.refuses(400, "bad_input", &[words]);
        }
    }
    let twice = put("/v1/kv/t/k", "y").header("Quorate-Context", &context).header("Quorate-Context", &context);
    served.ask(&twice).refuses(400, "bad_input", &["more than once"]);
    assert_eq!(served.ask(&get("/v1/kv/t/k")).text(), "x", "nothing changed");
}

#[test]
fn value_over_the_limit_is_refused_announced_or_not() {
    let served = Served::open();
    let limit = super::fake::VALUE_BYTES_MAX;
    let words: &[&str] = &["the limit here is 65536", "value_bytes_max"];
    served.ask(&put("/v1/kv/t/k", vec![7; limit])).is(200);
    served.ask(&put("/v1/kv/t/k", vec![7; limit + 1])).refuses(413, "too_large", words);
    served.ask(&put("/v1/kv/t/k", vec![7; 4 << 20])).refuses(413, "too_large", words);
    let announced = call("PUT", "/v1/kv/t/k").header("Content-Length", "18446744073709551000");
    served.ask(&announced).refuses(413, "too_large", words);
    let expecting = call("PUT", "/v1/kv/t/k").header("Content-Length", "99999999").header("Expect", "100-continue");
    served.ask(&expecting).refuses(413, "too_large", words);
    let mut chunks = Vec::new();
    for _ in 0..40 {
        chunks.extend_from_slice(b"10000\r\n");
        chunks.resize(chunks.len() + 0x10000, 7);
        chunks.extend_from_slice(b"\r\n");
    }
    let chunked = call("PUT", "/v1/kv/t/k").header("Transfer-Encoding", "chunked");
    served.ask(&chunked.body(chunks)).refuses(413, "too_large", words);
    assert_eq!(served.door.asked_count(), 1);
}

#[test]
fn body_that_ends_early_or_belongs_to_nothing_is_refused() {
    let served = Served::open();
    let chunked = call("PUT", "/v1/kv/t/k").header("Transfer-Encoding", "chunked");
    served.ask(&chunked.body("zz\r\n")).refuses(400, "bad_input", &["malformed", "nothing was written"]);
    served.ask(&delete("/v1/kv/t/k").body("x")).refuses(400, "bad_input", &["a delete has no body"]);
    let part = put("/v1/kv/t/k", "x").header("Content-Range", "bytes 0-0/2");
    served.ask(&part).refuses(400, "bad_input", &["written whole"]);
    assert_eq!(served.door.asked_count(), 0);
}

#[test]
fn method_that_a_place_does_not_have_is_refused() {
    let served = Served::open();
    for method in ["POST", "PATCH", "OPTIONS", "BREW"] {
        let reply = served.ask(&call(method, "/v1/kv/t/k"));
        reply.refuses(405, "no_such_method", &["PUT"]);
        assert_eq!(reply.header("allow"), Some("GET, HEAD, PUT, DELETE"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    for place in ["/healthz", "/readyz", "/metrics", "/v1/cluster/status"] {
        for method in ["PUT", "POST", "DELETE", "OPTIONS"] {
            let reply = served.ask(&call(method, place));
            reply.refuses(405, "no_such_method", &["GET"]);
            assert_eq!(reply.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn bytes_that_are_no_http_do_not_hurt() {
    let served = Served::open();
    for rubbish in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        use std::io::{Read, Write};
        let mut stream = super::caller::connect(served.address);
        stream.write_all(rubbish).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    }
    served.ask(&get("/healthz")).is(200);
}
