//! Who is let in: Host, Origin, token, socket, and doors that cannot be opened.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::caller::{call, connect, exchange, get, put};
use super::{ANY_PORT, REQUEST_TIMEOUT, Served, bind, open};
use crate::config::server::{HttpConfig, HttpData};
use crate::server::http::{BindError, DataAccess, DoorConfig, TokenError};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with_data(data: DataAccess) -> DoorConfig {
    DoorConfig { data, ..open() }
}

fn token_file(directory: &Path, text: &str, mode: u32) -> PathBuf {
    let path = directory.join("http.token");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn host_must_be_a_name_of_the_door() {
    let served = Served::with(&DoorConfig { hosts: vec!["kv1.example.org".to_owned()], ..open() });
    let port = served.address.port();
    let own = ["localhost", "LocalHost:1", "127.0.0.1", "[::1]", "[::1]:80", "kv1.example.org", "KV1.example.org:9"];
    for host in own.iter().map(|host| (*host).to_owned()).chain([format!("127.0.0.1:{port}")]) {
        served.ask(&get("/healthz").header("Host", host)).is(200);
    }
    for host in ["evil.example.org", "localhost.evil.org", "127.0.0.2", "localhost.", "example.org:80", "a@localhost"] {
        for target in ["/healthz", "/v1/kv/t/k", "/nowhere"] {
            let reply = served.ask(&get(target).header("Host", host));
            reply.refuses(403, "not_allowed", &["not a name of this node", "kv1.example.org", "[http]"]);
        }
    }
    for host in ["", "localhost:x", "[::1", "localhost:123456"] {
        served.ask(&get("/healthz").header("Host", host)).refuses(400, "bad_input", &["malformed"]);
    }
    let twice = get("/healthz").header("Host", "localhost").header("Host", "localhost");
    served.ask(&twice).refuses(400, "bad_input", &["more than once"]);
    let rebound = get("http://evil.example.org/healthz");
    served.ask(&rebound).refuses(403, "not_allowed", &["evil.example.org"]);
    served.ask(&get("http://localhost/healthz")).is(200);
    assert_eq!(served.door.asked_count(), 0);
}

#[test]
fn request_without_host_is_refused_unless_it_is_as_old_as_that() {
    let served = Served::open();
    let bare = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    exchange(connect(served.address), bare).refuses(400, "bad_input", &["no Host", "Host: localhost"]);
    exchange(connect(served.address), b"GET /healthz HTTP/1.0\r\n\r\n").is(200);
}

#[test]
fn pages_of_other_origins_are_refused() {
    let served = Served::open();
    let host = format!("localhost:{}", served.address.port());
    let own = format!("http://{host}");
    let ask = |header: &str, value: &str| served.ask(&get("/v1/kv/t/k").header("Host", &host).header(header, value));
    ask("Origin", &own).is(404);
    for origin in
        ["null", "http://evil.example.org", "http://localhost", &format!("https://{host}"), "http://localhost:1"]
    {
        ask("Origin", origin).refuses(403, "not_allowed", &["other origins"]);
    }
    ask("Sec-Fetch-Site", "same-origin").is(404);
    ask("Sec-Fetch-Site", "none").is(404);
    for site in ["cross-site", "same-site", "whatever"] {
        ask("Sec-Fetch-Site", site).refuses(403, "not_allowed", &["Sec-Fetch-Site"]);
    }
    let form = call("POST", "/healthz").header("Origin", "http://evil.example.org");
    served.ask(&form).refuses(403, "not_allowed", &[]);
}

#[test]
fn data_that_is_off_says_how_to_open_it() {
    let served = Served::with(&with_data(DataAccess::Off));
    for call in [get("/v1/kv/t/k"), put("/v1/kv/t/k", "x"), call("POST", "/v1/kv/t/k"), get("/v1/kv")] {
        served.ask(&call).refuses(403, "not_allowed", &["[http.data]", "token_file", "unix", "tls"]);
    }
    served.ask(&get("/healthz")).is(200);
    served.ask(&get("/v1/cluster/status")).is(200);
    assert_eq!(served.door.asked_count(), 0);
}

#[test]
fn loopback_data_needs_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = token_file(directory.path(), &format!("{TOKEN}\n"), 0o600);
    let served = Served::with(&with_data(DataAccess::Loopback { token_file }));
    let none = served.ask(&put("/v1/kv/t/k", "x"));
    none.refuses(401, "not_authenticated", &["Authorization: Bearer", "token_file"]);
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"quorate\""));
    for wrong in
        ["Bearer nonsense", "Bearer", "Basic abc", &format!("Bearer {TOKEN}0"), &format!("Token {TOKEN}"), TOKEN]
    {
        let reply = served.ask(&get("/v1/kv/t/k").header("Authorization", wrong));
        reply.refuses(401, "not_authenticated", &[]);
        assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"));
        assert!(!reply.text().contains(TOKEN));
    }
    let right = format!("Bearer {TOKEN}");
    let twice = get("/v1/kv/t/k").header("Authorization", &right).header("Authorization", &right);
    served.ask(&twice).refuses(401, "not_authenticated", &[]);
    assert_eq!(served.door.asked_count(), 0);
    served.ask(&put("/v1/kv/t/k", "x").header("Authorization", &right)).is(200);
    served.ask(&get("/v1/kv/t/k").header("Authorization", format!("bearer {TOKEN}"))).is(200);
    served.ask(&get("/metrics")).is(200);
}

#[test]
fn token_file_must_be_private_and_hold_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let try_token = |text: &str, mode: u32| {
        let token_file = token_file(directory.path(), text, mode);
        bind(&with_data(DataAccess::Loopback { token_file })).map(|_| ())
    };
    try_token(TOKEN, 0o600).unwrap();
    try_token(TOKEN, 0o400).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let error = try_token(TOKEN, mode).unwrap_err();
        assert!(matches!(error, BindError::Token(TokenError::Mode { mode: found, .. }) if found == mode));
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::remove_file(directory.path().join("http.token")).unwrap();
    }
    for text in ["", "\n", "short", "0123456789 abcdef0123456789", &"x".repeat(600), "0123456789abcdefghij\u{e9}"] {
        let error = try_token(text, 0o600).unwrap_err();
        assert!(matches!(error, BindError::Token(TokenError::Text { .. })), "{text:?}: {error}");
    }
    let token_file = directory.path().join("missing");
    let error = bind(&with_data(DataAccess::Loopback { token_file })).unwrap_err();
    assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
}

#[test]
fn unix_socket_has_its_mode_serves_data_and_goes_with_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    // What an unclean stop leaves.
    drop(UnixListener::bind(&socket).unwrap());
    let served = Served::with(&with_data(DataAccess::Unix { socket: socket.clone() }));
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the passing name is gone");
    let ask = |call: &super::Call| exchange(UnixStream::connect(&socket).unwrap(), &call.to_bytes());
    ask(&put("/v1/kv/t/k", "x")).is(200);
    assert_eq!(ask(&get("/v1/kv/t/k")).is(200).text(), "x");
    ask(&get("/v1/kv/t/k").header("Host", "evil.example.org")).refuses(403, "not_allowed", &[]);
    let at_tcp = served.ask(&get("/v1/kv/t/k"));
    at_tcp.refuses(403, "not_allowed", &["curl --unix-socket", socket.to_str().unwrap()]);
    assert_eq!(served.stop().0, 0);
    assert!(!socket.exists());
}

#[test]
fn socket_that_is_taken_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let unix = |socket: &Path| bind(&with_data(DataAccess::Unix { socket: socket.to_owned() }));
    let listening = UnixListener::bind(&socket).unwrap();
    let error = unix(&socket).unwrap_err();
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error}");
    UnixStream::connect(&socket).unwrap();
    drop(listening);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "a file").unwrap();
    let error = unix(&socket).unwrap_err();
    assert!(matches!(error, BindError::NoSocket { .. }), "{error}");
    assert_eq!(fs::read(&socket).unwrap(), b"a file");
    let error = unix(&directory.path().join("missing/http.sock")).unwrap_err();
    assert!(error.to_string().contains("its directory must be there"), "{error}");
    let error = unix(&directory.path().join("x".repeat(100))).unwrap_err();
    assert!(matches!(error, BindError::SocketPath { .. }), "{error}");
}

#[test]
fn port_in_use_is_told_at_start() {
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let listen = taken.local_addr().unwrap();
    let error = bind(&DoorConfig { listen, ..open() }).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BindError::PortInUse { .. }), "{text}");
    for word in [&listen.to_string(), "[http] listen", "in use", "ss -ltnp", "another port"] {
        assert!(text.contains(word), "{text}");
    }
    let elsewhere = "192.0.2.1:7480".parse().unwrap();
    for data in [DataAccess::Off, DataAccess::OpenLoopback] {
        let error = bind(&DoorConfig { listen: elsewhere, ..with_data(data) }).unwrap_err();
        assert!(matches!(error, BindError::NotLoopback(_)), "{error}");
    }
}

#[test]
fn configuration_opens_what_it_says() {
    let (_, tls) = tokio::sync::watch::channel(super::tls::server_tls());
    let of = |data: HttpData| {
        let http = HttpConfig { listen: ANY_PORT, hosts: vec!["kv1".to_owned()], data };
        DoorConfig::of(&http, REQUEST_TIMEOUT, &tls)
    };
    assert!(matches!(of(HttpData::Off).data, DataAccess::Off));
    assert!(matches!(of(HttpData::Loopback { token_file: "t".into() }).data, DataAccess::Loopback { .. }));
    assert!(matches!(of(HttpData::Unix { socket: "s".into() }).data, DataAccess::Unix { .. }));
    let config = of(HttpData::Tls { listen: ANY_PORT });
    assert!(matches!(config.data, DataAccess::Tls { .. }));
    assert_eq!((config.hosts, config.request_timeout), (vec!["kv1".to_owned()], REQUEST_TIMEOUT));
}
