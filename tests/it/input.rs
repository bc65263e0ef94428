//! Bad requests over HTTP: each is refused with its limit and the way out, and what is stored stays as it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cluster::{Cluster, Shape};
use super::door::{Door, item};

/// Requests with what is wrong about them; the item stays as it was.
fn cluster_with_an_item() -> (Cluster, Door, String) {
    let cluster = Cluster::start(Shape::SMALL);
    let door = cluster.door(0);
    let context = door.put(&item("t", "key"), None, b"stored").expect(200).context();
    (cluster, door, context)
}

/// Fails unless the item has the one value that it had, at every node.
fn unchanged(cluster: &Cluster) {
    for door in cluster.doors() {
        let answer = door.get(&item("t", "key")).expect(200);
        assert_eq!(
            (answer.body.as_slice(), answer.header("quorate-versions")),
            (&b"stored"[..], Some("1")),
            "{answer}"
        );
    }
}

#[test]
fn pages_and_names_from_elsewhere_are_refused() {
    let (cluster, door, _) = cluster_with_an_item();
    let target = item("t", "key");
    let with = |name: &str, value: &str| door.ask("GET", &target, &[(name, value)], &[]);
    with("origin", "https://evil.example").refuses(403, "not_allowed", &["evil.example", "Origin"]);
    with("origin", "null").refuses(403, "not_allowed", &["Origin"]);
    with("sec-fetch-site", "cross-site").refuses(403, "not_allowed", &["Sec-Fetch-Site"]);
    with("host", "evil.example").refuses(403, "not_allowed", &["evil.example", "hosts under [http]"]);
    with("host", "127.0.0.1.evil.example:80").refuses(403, "not_allowed", &["hosts"]);
    let write = [("origin", "https://evil.example")];
    door.ask("PUT", &target, &write, b"evil").refuses(403, "not_allowed", &["evil.example"]);
    door.ask("DELETE", &target, &write, &[]).refuses(403, "not_allowed", &["evil.example"]);
    // The status is no more theirs than the data.
    door.ask("GET", "/v1/cluster/status", &write, &[]).refuses(403, "not_allowed", &["evil.example"]);
    unchanged(&cluster);
}

#[test]
fn requests_without_the_token_are_refused() {
    let (cluster, door, _) = cluster_with_an_item();
    // Beside the right one, which every request of this door carries.
    let doubled = [("authorization", "Bearer 00000000000000000000000000000000")];
    let answer = door.ask("GET", &item("t", "key"), &doubled, &[]);
    assert!([400, 401].contains(&answer.status), "{answer}");
    for token in ["", "Authorization: Bearer 00000000000000000000000000000000\r\n", "Authorization: Basic AAAA\r\n"] {
        let answer =
            raw(&door, &format!("GET /v1/kv/t/key HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("not_authenticated"), "{answer}");
        assert!(!answer.contains("stored"), "{answer}");
    }
    unchanged(&cluster);
}

#[test]
fn malformed_paths_and_parameters_are_refused() {
    let (cluster, door, _) = cluster_with_an_item();
    let bad = |target: &str, words: &[&str]| drop(door.get(target).refuses(400, "bad_input", words));
    bad("/v1/kv/t/%zz", &["percent-encoding", "%zz", "%25"]);
    bad("/v1/kv/t/key%4", &["percent-encoding", "%4"]);
    bad("/v1/kv/t/", &["empty"]);
    bad("/v1/kv/t", &["no key", "/v1/kv/{table}/{key}"]);
    bad("/v1/kv/t/a/b/c", &["too many", "%2F"]);
    bad("/v1/kv/Capital/key", &["a-z"]);
    bad(&format!("{}?r=0", item("t", "key")), &["r = 0", "at least 1"]);
    bad(&format!("{}?r=8", item("t", "key")), &["1 to N", "7"]);
    bad(&format!("{}?r=4", item("t", "key")), &["4", "3"]);
    bad(&format!("{}?quorum=lax", item("t", "key")), &["lax", "strict or sloppy"]);
    bad(&format!("{}?timeout=5", item("t", "key")), &["timeout", "timeout_ms"]);
    bad(&format!("{}?timeout_ms=60001", item("t", "key")), &["60001", "60000"]);
    let put = |query: &str, words: &[&str]| {
        door.put(&format!("{}?{query}", item("t", "key")), None, b"bad").refuses(400, "bad_input", words)
    };
    put("w=4", &["4", "3"]);
    put("w=0", &["w = 0", "at least 1"]);
    put("w=99", &["1 to N"]);
    put("r=2", &["unknown name", "w, quorum and timeout_ms"]);
    for id in ["", "12", "xyz", &"0".repeat(33), "0x00000000000000000000000000000001"] {
        let answer = door.ask("PUT", &item("t", "key"), &[("quorate-write-id", id)], b"bad");
        answer.refuses(400, "bad_input", &["Quorate-Write-Id", "32"]);
    }
    door.ask("POST", &item("t", "key"), &[], &[]).refuses(405, "no_such_method", &[]);
    door.get("/v2/kv/t/key").refuses(404, "no_such_path", &["/v1/kv/{table}/{key}"]);
    unchanged(&cluster);
}

#[test]
fn values_and_names_over_their_limits_are_refused() {
    let (cluster, door, _) = cluster_with_an_item();
    let limit = 1024 * 1024;
    let target = item("t", "key");
    let answer = door.put(&target, None, &vec![1; limit + 1]);
    answer.refuses(413, "too_large", &["1048576"]);
    let (key, sort) = ("k".repeat(1025), "s".repeat(1025));
    door.put(&item("t", &key), None, b"1").refuses(413, "too_large", &["1025", "1024"]);
    door.put(&format!("{}/{sort}", item("t", "key")), None, b"1").refuses(413, "too_large", &["1025", "1024"]);
    door.put(&item(&"t".repeat(65), "key"), None, b"1").refuses(413, "too_large", &["65", "64"]);
    // At the limits it is stored.
    let (key, value) = ("k".repeat(1024), vec![7; limit]);
    door.put(&item("t", &key), None, &value).expect(200);
    assert!(cluster.door(1).get(&item("t", &key)).expect(200).body == value, "the largest value is the same");
    // The 65th version of one item.
    for version in 0..64 {
        door.put(&item("t", "many"), None, version.to_string().as_bytes()).expect(200);
    }
    let answer = door.put(&item("t", "many"), None, b"64").refuses(413, "too_large", &["64", "context"]);
    assert_eq!(answer.json()["error"]["retryable"], false, "{answer}");
    let all = door.get(&item("t", "many")).expect(300);
    assert_eq!(all.header("quorate-versions"), Some("64"));
    door.put(&item("t", "many"), Some(&all.context()), b"merged").expect(200);
    assert_eq!(cluster.door(2).get(&item("t", "many")).expect(200).body, b"merged");
    unchanged(&cluster);
}

#[test]
fn contexts_that_were_not_given_for_this_item_are_refused() {
    let (cluster, door, context) = cluster_with_an_item();
    let token = URL_SAFE_NO_PAD.decode(&context).expect("a context is base64url");
    let changed = |at: usize, bits: u8| {
        let mut token = token.clone();
        token[at] ^= bits;
        URL_SAFE_NO_PAD.encode(token)
    };
    let other = door.put(&item("t", "other"), None, b"other").expect(200).context();
    for (context, words) in [
        ("not base64!".to_owned(), &["base64url"][..]),
        ("AAAA".to_owned(), &["cut short"]),
        (URL_SAFE_NO_PAD.encode(&token[..token.len() - 1]), &["exactly as it was received"]),
        (URL_SAFE_NO_PAD.encode([&token[..], &[0]].concat()), &["exactly as it was received"]),
        (changed(0, 0x7f), &["format", "read the item again"]),
        (changed(1, 0x7f), &["key", "read the item again"]),
        (changed(token.len() - 1, 1), &["forged or damaged"]),
        (changed(20, 1), &["forged or damaged"]),
        (other, &["another table, key or sort key"]),
    ] {
        for door in cluster.doors() {
            door.put(&item("t", "key"), Some(&context), b"bad").refuses(400, "bad_input", words);
            let delete = door.ask("DELETE", &item("t", "key"), &[("quorate-context", context.as_str())], &[]);
            delete.refuses(400, "bad_input", words);
        }
    }
    unchanged(&cluster);
    // Another cluster's token, as from a copied script.
    let elsewhere = Cluster::start(Shape::SMALL);
    let context = elsewhere.door(0).put(&item("t", "key"), None, b"1").expect(200).context();
    door.put(&item("t", "key"), Some(&context), b"bad").refuses(400, "bad_input", &["forged or damaged"]);
    unchanged(&cluster);
}

/// Sends these bytes and reads until the other end closes.
fn raw(door: &Door, bytes: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(door.address).expect("a running node");
    stream.set_read_timeout(Some(super::DEADLINE)).expect("a deadline");
    stream.write_all(bytes.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    answer
}

#[test]
fn bytes_that_are_no_http_end_their_connection_and_nothing_else() {
    let (mut cluster, door, _) = cluster_with_an_item();
    for bytes in [
        "\0\x01\x02\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET /v1/kv/t/key HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "a".repeat(150_000)),
    ] {
        let answer = raw(&door, &bytes);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    }
    cluster.run_still(&[0]);
    unchanged(&cluster);
}
