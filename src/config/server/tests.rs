//! Tests of `config::server`: what it makes, what it refuses, and in which words.

use super::*;
use std::fs;

mod source;

const SMALL: &str = r#"
name = "n1"
data_dir = "data"
listen = "10.0.0.1:7400"

[tls]
certificate = "n1.crt"
key = "/etc/quorate/n1.key"
ca = "ca.crt"
"#;

const WHOLE: &str = r#"
name = "n-2"
data_dir = "/var/lib/quorate"
listen = "0.0.0.0:7400"
advertise = "[fd00::2]:7400"
shards = 4
durability = "interval"
interval = "10ms"
value_bytes_max = "4 MiB"
read_quorum = 1
write_quorum = 3
request_timeout = "1m"

[tls]
certificate = "n2.crt"
key = "n2.key"
ca = "ca.crt"
crl = "ca.crl"

[http]
listen = "10.0.0.2:7480"
hosts = ["KV2.example.org", "[fd00::2]"]

[http.data]
mode = "tls"
listen = "10.0.0.2:7443"

[storage]
block_cache = "1 GiB"
item_cache = "128 MiB"
write_buffers = 67108864
read_threads = 8
hint_bytes_max = "2 GiB"
disk_reserve = "3 GiB"

[log]
level = "debug"
format = "json"
slow_requests = "2s"
"#;

const PATH: &str = "/etc/quorate/server.toml";

fn parse(text: &str) -> Result<ServerConfig, ConfigError> {
    ServerConfig::parse(Path::new(PATH), text)
}

/// The refusal of the small file with one line added at its top, or of a text of its own.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text).expect_err("the file was taken").to_string();
    assert_eq!(error, format!("{PATH}:{expected}"));
}

/// The small file with a line before its first one: line 1.
fn with(line: &str) -> String {
    let field = line.split(" =").next().unwrap_or_default();
    let kept: Vec<&str> = SMALL.lines().filter(|old| !old.starts_with(&format!("{field} ="))).collect();
    format!("{line}{}", kept.join("\n"))
}

/// The small file with a section after it, whose header is line 10.
fn with_section(section: &str) -> String {
    format!("{SMALL}{section}\n")
}

#[test]
fn small_file_takes_every_default() {
    let config = parse(SMALL).unwrap();
    let expected = ServerConfig {
        name: "n1".to_owned(),
        data_dir: "/etc/quorate/data".into(),
        listen: "10.0.0.1:7400".parse().unwrap(),
        advertise: "10.0.0.1:7400".parse().unwrap(),
        shards: 1,
        durability: Durability::Sync,
        value_bytes_max: 1 << 20,
        read_quorum: 2,
        write_quorum: 2,
        request_timeout: Duration::from_secs(2),
        tls: TlsFiles {
            certificate: "/etc/quorate/n1.crt".into(),
            key: "/etc/quorate/n1.key".into(),
            ca: "/etc/quorate/ca.crt".into(),
            crl: None,
        },
        http: HttpConfig { listen: "127.0.0.1:7480".parse().unwrap(), hosts: vec![], data: HttpData::Off },
        storage: StorageConfig {
            block_cache: ByteSize::new(256 << 20),
            item_cache: ByteSize::new(64 << 20),
            write_buffers: ByteSize::new(256 << 20),
            read_threads: 2,
            disk_reserve: None,
            hint_bytes_max: ByteSize::new(1 << 30),
        },
        log: LogConfig {
            level: LogLevel::Info,
            format: LogFormat::Auto,
            slow_requests: Some(Duration::from_millis(500)),
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn whole_file_sets_every_field() {
    let config = parse(WHOLE).unwrap();
    let expected = ServerConfig {
        name: "n-2".to_owned(),
        data_dir: "/var/lib/quorate".into(),
        listen: "0.0.0.0:7400".parse().unwrap(),
        advertise: "[fd00::2]:7400".parse().unwrap(),
        shards: 4,
        durability: Durability::Interval(Duration::from_millis(10)),
        value_bytes_max: 4 << 20,
        read_quorum: 1,
        write_quorum: 3,
        request_timeout: Duration::from_secs(60),
        tls: TlsFiles {
            certificate: "/etc/quorate/n2.crt".into(),
            key: "/etc/quorate/n2.key".into(),
            ca: "/etc/quorate/ca.crt".into(),
            crl: Some("/etc/quorate/ca.crl".into()),
        },
        http: HttpConfig {
            listen: "10.0.0.2:7480".parse().unwrap(),
            hosts: vec!["kv2.example.org".to_owned(), "[fd00::2]".to_owned()],
            data: HttpData::Tls { listen: "10.0.0.2:7443".parse().unwrap() },
        },
        storage: StorageConfig {
            block_cache: ByteSize::new(1 << 30),
            item_cache: ByteSize::new(128 << 20),
            write_buffers: ByteSize::new(64 << 20),
            read_threads: 8,
            disk_reserve: Some(ByteSize::new(3 << 30)),
            hint_bytes_max: ByteSize::new(2 << 30),
        },
        log: LogConfig { level: LogLevel::Debug, format: LogFormat::Json, slow_requests: Some(Duration::from_secs(2)) },
    };
    assert_eq!(config, expected);
}

#[test]
fn shards_listen_on_the_ports_after_the_control_port() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.shard_address(0), Some("0.0.0.0:7401".parse().unwrap()));
    assert_eq!(config.shard_advertise(3), Some("[fd00::2]:7404".parse().unwrap()));
    assert_eq!(config.shard_address(4), None);
}

#[test]
fn allowed_hosts_are_the_local_ones_and_the_configured_ones() {
    let http = parse(WHOLE).unwrap().http;
    for host in ["localhost", "127.0.0.1", "[::1]", "kv2.example.org", "[fd00::2]"] {
        assert!(http.allows_host(host), "{host}");
    }
    assert!(!http.allows_host("evil.example.org"));
}

#[test]
fn other_data_doors_parse() {
    let token = with_section("[http.data]\nmode = \"loopback\"\ntoken_file = \"token\"");
    assert_eq!(parse(&token).unwrap().http.data, HttpData::Loopback { token_file: "/etc/quorate/token".into() });
    let unix = with_section("[http.data]\nmode = \"unix\"\nsocket = \"/run/q.sock\"");
    assert_eq!(parse(&unix).unwrap().http.data, HttpData::Unix { socket: "/run/q.sock".into() });
    let off = with_section("[http.data]\nmode = \"off\"");
    assert_eq!(parse(&off).unwrap().http.data, HttpData::Off);
}

#[test]
fn missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    let error = ServerConfig::load(&path, []).unwrap_err().to_string();
    assert_eq!(error, format!("there is no file {}; check the path, or write the file", path.display()));
    let error = ServerConfig::load(dir.path(), []).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(ServerConfig::load(&path, []).unwrap_err().to_string().contains("is not UTF-8 text"));
    fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(ServerConfig::load(&path, []).unwrap_err().to_string().contains("has more than 1 MiB"));
    fs::write(&path, SMALL).unwrap();
    assert_eq!(ServerConfig::load(&path, []).unwrap().config.data_dir, dir.path().join("data"));
}

#[test]
fn every_missing_field_says_which_line_to_add() {
    let table = [
        ("name", "the field \"name\" is missing; add the line name = \"n1\""),
        ("data_dir", "the field \"data_dir\" is missing; add the line data_dir = \"data\""),
        ("listen", "the field \"listen\" is missing; add the line listen = \"127.0.0.1:7400\""),
        ("certificate", "the field \"tls.certificate\" is missing; add the line certificate = \"n1.crt\" under [tls]"),
        ("key", "the field \"tls.key\" is missing; add the line key = \"n1.key\" under [tls]"),
        ("ca", "the field \"tls.ca\" is missing; add the line ca = \"ca.crt\" under [tls]"),
    ];
    for (field, expected) in table {
        let kept: Vec<&str> = SMALL.lines().filter(|line| !line.starts_with(&format!("{field} ="))).collect();
        let error = parse(&kept.join("\n")).unwrap_err().to_string();
        assert_eq!(error, format!("{PATH}: {expected}"));
    }
    assert!(matches!(parse(""), Err(ConfigError::MissingField { .. })));
}

#[test]
fn unknown_field_gets_the_near_name() {
    refused(&with("durabilty = \"os\""), "1: unknown field \"durabilty\"; did you mean \"durability\"?");
    refused(
        &with_section("[http.data]\nmod = \"off\""),
        "11: unknown field \"mod\" in [http.data]; did you mean \"mode\"?",
    );
    refused(
        &with_section("[log]\nzookeeper = 1"),
        "11: unknown field \"zookeeper\" in [log]; the fields here are level, format, slow_requests",
    );
    refused(&with_section("[storag]\nread_threads = 1"), "10: unknown field \"storag\"; did you mean \"storage\"?");
}

#[test]
fn syntax_errors_name_the_line() {
    let error = parse("name = \"n1\"\nlisten = 10.0.0.1:7400\n").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { line: 2, .. }), "{error}");
    let error = parse("name = \"n1\"\n\nname = \"n2\"\n").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { line: 3, .. }), "{error}");
}

#[test]
fn values_of_the_wrong_type_are_shown() {
    refused(&with("shards = \"two\""), "1: shards = \"two\": invalid type: string \"two\", expected a whole number");
    refused(&with("http = 1"), "1: http = 1: invalid type: integer `1`, expected a section with fields of its own");
    refused(&with("name = 1"), "1: name = 1: invalid type: integer `1`, expected a string");
    refused(
        &with("request_timeout = 2"),
        "1: request_timeout = 2: invalid type: integer `2`, expected a time with its unit in quotes, \
         such as \"500ms\" or \"2s\"",
    );
    refused(
        &with("value_bytes_max = \"4 MB\""),
        "1: value_bytes_max = \"4 MB\": write whole bytes, or a whole number with B, KiB, MiB or GiB, \
         such as \"4 MiB\"",
    );
}

#[test]
fn numbers_outside_their_limits_are_refused_with_them() {
    refused(&with("shards = 0"), "1: shards = 0: use 1 to 64");
    refused(&with("shards = 65"), "1: shards = 65: use 1 to 64");
    refused(&with("shards = -1"), "1: shards = -1: use 1 to 64");
    refused(&with("read_quorum = 8"), "1: read_quorum = 8: use 1 to 7");
    refused(&with("write_quorum = 0"), "1: write_quorum = 0: use 1 to 7");
    refused(&with("request_timeout = \"61s\""), "1: request_timeout = \"61s\": use \"1ms\" to \"1m\"");
    refused(&with("request_timeout = \"0s\""), "1: request_timeout = \"0s\": use \"1ms\" to \"1m\"");
    let value = "use 1 B to 8 MiB; split larger values over several sort keys";
    refused(&with("value_bytes_max = \"9 MiB\""), &format!("1: value_bytes_max = \"9 MiB\": {value}"));
    refused(&with("value_bytes_max = 0"), &format!("1: value_bytes_max = 0: {value}"));
    refused(&with_section("[storage]\nread_threads = 0"), "11: storage.read_threads = 0: use 1 to 64");
    refused(
        &with_section("[storage]\nblock_cache = \"1 MiB\""),
        "11: storage.block_cache = \"1 MiB\": use 8 MiB to 1024 GiB",
    );
    refused(&with_section("[storage]\nitem_cache = 0"), "11: storage.item_cache = 0: use 1 MiB to 1024 GiB");
    refused(&with_section("[storage]\nwrite_buffers = 1"), "11: storage.write_buffers = 1: use 16 MiB to 1024 GiB");
}

#[test]
fn words_outside_their_list_are_refused_with_it() {
    refused(
        &with("durability = \"snyc\""),
        "1: durability = \"snyc\": did you mean \"sync\"? it is one of \"sync\", \"interval\", \"os\"",
    );
    refused(
        &with_section("[log]\nlevel = \"loud\""),
        "11: log.level = \"loud\": use one of \"error\", \"warn\", \"info\", \"debug\"",
    );
    refused(
        &with_section("[log]\nslow_requests = \"2h\""),
        "11: log.slow_requests = \"2h\": use \"1ms\" to \"1m\", such as \"500ms\", or \"off\"",
    );
    refused(
        &with_section("[log]\nformat = \"jsn\""),
        "11: log.format = \"jsn\": did you mean \"json\"? it is one of \"auto\", \"text\", \"json\", \"journal\"",
    );
    refused(
        &with_section("[http.data]\nmode = \"tsl\""),
        "11: http.data.mode = \"tsl\": did you mean \"tls\"? it is one of \"off\", \"loopback\", \"unix\", \"tls\"",
    );
}

#[test]
fn labels_and_paths_are_checked() {
    for name in ["", "N1", "n_1", &"n".repeat(33)] {
        refused(&with(&format!("name = \"{name}\"")), &format!("1: name = \"{name}\": use 1 to 32 of a-z 0-9 -"));
    }
    refused(
        &with("data_dir = \"\""),
        "1: data_dir = \"\": the path is empty; write one, relative to this file or from /",
    );
}

#[test]
fn addresses_that_cannot_work_are_refused() {
    refused(
        &with("listen = \"localhost:7400\""),
        "1: listen = \"localhost:7400\": write IP:PORT, such as \"127.0.0.1:7400\" or \"[::1]:7400\"; \
         host names are not looked up",
    );
    refused(
        &with("listen = \"10.0.0.1:0\""),
        "1: listen = \"10.0.0.1:0\": port 0 would be another one after each start; write a fixed port, such as 7400",
    );
    refused(
        &with("listen = \"0.0.0.0:7400\""),
        "1: listen = \"0.0.0.0:7400\": peers cannot dial this address; \
         add advertise = \"IP:PORT\" with the address that they can reach",
    );
    for advertise in ["0.0.0.0:7400", "[::]:7400", "224.0.0.1:7400"] {
        let reason = "peers cannot dial this address; write the one address that they can reach";
        refused(&with(&format!("advertise = \"{advertise}\"")), &format!("1: advertise = \"{advertise}\": {reason}"));
    }
}

#[test]
fn ports_of_the_shards_must_exist() {
    let highest = with("listen = \"10.0.0.1:65531\"").replace("[tls]", "shards = 4\n[tls]");
    assert_eq!(parse(&highest).unwrap().shard_address(3).unwrap().port(), 65535);
    let reason = "4 shards take the ports after it, up to 65535; use a port up to 65531";
    let above = with("listen = \"10.0.0.1:65532\"").replace("[tls]", "shards = 4\n[tls]");
    refused(&above, &format!("1: listen = \"10.0.0.1:65532\": {reason}"));
    let advertised = with("advertise = \"10.0.0.9:65535\"").replace("[tls]", "shards = 4\n[tls]");
    refused(&advertised, &format!("1: advertise = \"10.0.0.9:65535\": {reason}"));
}

#[test]
fn interval_belongs_to_interval_durability() {
    let idle = "it has no effect with durability = \"sync\"; write durability = \"interval\" or drop it";
    refused(&with("interval = \"10ms\""), &format!("1: interval = \"10ms\": {idle}"));
    let both = with("durability = \"interval\"");
    assert_eq!(parse(&both).unwrap().durability, Durability::Interval(Duration::from_millis(100)));
    let long = both.replace("[tls]", "interval = \"11s\"\n[tls]");
    assert!(parse(&long).unwrap_err().to_string().ends_with("interval = \"11s\": use \"1ms\" to \"10s\""));
    assert_eq!(parse(&with("durability = \"os\"")).unwrap().durability, Durability::Os);
}

#[test]
fn http_beyond_loopback_needs_tls() {
    let reason = "this door asks nobody who they are, so it must be loopback, such as \"127.0.0.1:7480\"; \
                  to open it wider set mode = \"tls\" under [http.data]";
    for address in ["0.0.0.0:7480", "10.0.0.1:7480", "[::]:7480"] {
        let section = format!("[http]\nlisten = \"{address}\"");
        refused(&with_section(&section), &format!("11: http.listen = \"{address}\": {reason}"));
    }
    assert!(parse(&with_section("[http]\nlisten = \"[::1]:7480\"")).is_ok());
}

#[test]
fn hosts_are_bare_names() {
    for host in ["http://kv", "kv:7480", "", "[kv]", "a/b"] {
        let error = parse(&with_section(&format!("[http]\nhosts = [\"{host}\"]"))).unwrap_err().to_string();
        assert!(error.contains(&format!("http.hosts = \"{host}\": write a bare host name")), "{error}");
    }
}

#[test]
fn data_door_needs_its_own_field_and_no_other() {
    let needs = |mode: &str, words: &str| {
        let text = with_section(&format!("[http.data]\nmode = \"{mode}\""));
        refused(&text, &format!("11: http.data.mode = \"{mode}\": {words}"));
    };
    needs("loopback", "it needs a bearer token; add token_file = \"http.token\"");
    needs("unix", "it needs a path; add socket = \"/run/quorate/http.sock\"");
    needs("tls", "it needs an address; add listen = \"10.0.0.1:7443\"");

    refused(
        &with_section("[http.data]\ntoken_file = \"t\""),
        "11: http.data.token_file = \"t\": it has no effect with mode = \"off\"; set mode = \"loopback\" or drop it",
    );
    refused(
        &with_section("[http.data]\nmode = \"tls\"\nsocket = \"s\"\nlisten = \"10.0.0.1:1\""),
        "12: http.data.socket = \"s\": it has no effect with mode = \"tls\"; set mode = \"unix\" or drop it",
    );
    refused(
        &with_section("[http.data]\nmode = \"tls\"\nlisten = \"127.0.0.1:7480\""),
        "12: http.data.listen = \"127.0.0.1:7480\": [http] listen has this address already; use another port",
    );
}
