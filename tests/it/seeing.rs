//! What an operator sees: `status`, `top`, `key inspect`, the log and its lines about slow requests.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use quorate::protocol::wire::{FailureCode, InspectReply, Inspected, Kind};
use serde_json::Value as Json;

use super::cluster::{Cluster, NAMES, Shape, runtime, text_of};
use super::command::Invocation;
use super::door::{Door, item};
use super::fleet::Fleet;
use super::process::Signal;
use super::terminal::{Act, Seen, Size, on_terminal};
use super::until;
use super::wire::{Wire, frame};

const WIDE: Size = Size { columns: 150, rows: 24 };

/// A cluster in which everything was compared once, and that stores something.
fn settled() -> Cluster {
    let cluster = Cluster::start(Shape::SMALL);
    for key in 0..20 {
        cluster.door(key % 3).put(&item("seen", &format!("key {key}")), None, &[7; 500]).expect(200);
    }
    until("all copies were compared", || {
        let json = status(&cluster);
        let nodes = json["nodes"].as_array().cloned().unwrap_or_default();
        let compared = nodes.iter().filter(|node| node["in_sync_age_ms"].is_u64() && node["never_in_sync"] == 0);
        if compared.count() == 3 { Ok(()) } else { Err(json.to_string()) }
    });
    cluster
}

fn status(cluster: &Cluster) -> Json {
    cluster.quorate().args(["status", "--json", "--timeout", "1s"]).run().expect_code(0).json()
}

/// The node with this name in an answer.
fn node<'a>(json: &'a Json, list: &str, name: &str) -> &'a Json {
    let nodes = json[list].as_array().unwrap_or_else(|| panic!("no list of {list} in {json}"));
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name} in {json}"))
}

#[test]
fn status_shows_state_stock_and_age_of_each_node_and_who_is_gone() {
    let mut cluster = settled();
    let json = status(&cluster);
    for name in NAMES {
        let node = node(&json, "nodes", name);
        assert_eq!((&node["state"], &node["reachable"]), (&"alive".into(), &true.into()), "{json}");
        assert!(node["stored_bytes"].as_u64() > Some(5_000), "{json}");
        assert_eq!((&node["hints"], &node["hint_bytes"], &node["partitions"]), (&0.into(), &0.into(), &64.into()));
    }

    cluster.nodes[2].kill();
    let json = until("the others believe that n3 is unreachable", || {
        let json = status(&cluster);
        if node(&json, "nodes", "n3")["state"] == "unreachable" { Ok(json) } else { Err(json.to_string()) }
    });
    let gone = node(&json, "nodes", "n3");
    assert_eq!((&gone["reachable"], &gone["standing"]), (&false.into(), &"unreachable".into()), "{json}");
    assert!(gone["error"].as_str().is_some_and(|error| !error.is_empty()), "{json}");
    assert_eq!(node(&json, "nodes", "n1")["state"], "alive", "{json}");

    let text = cluster.quorate().args(["status", "--timeout", "1s"]).run().expect_code(0).text();
    println!("{text}");
    let line = |name: &str| {
        let found = text.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no line of {name} in\n{text}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("NODE")[..5], ["NODE", "STATE", "PARTITIONS", "STORED", "HINTS"], "{text}");
    assert_eq!(line("n1")[..3], ["n1", "alive", "64/64"], "{text}");
    assert_eq!(line("n3")[..4], ["n3", "unreachable", "-", "-"], "{text}");
    assert!(text.contains("2 of 3 nodes answer"), "{text}");
    // The link breaks later than the members agree, or sooner.
    let noticed = ["n1 does not reach n3", "n1 believes that n3"].iter().any(|words| text.contains(words));
    assert!(noticed && text.contains(") does not answer: "), "{text}");
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text:?}");

    let profile = text_of(&cluster.path("client.toml"));
    let narrow = Size { columns: 60, rows: 24 };
    let arguments = ["--profile", &profile, "status", "--timeout", "1s"];
    let seen = on_terminal(narrow, cluster.path("").as_path(), &arguments, &[], Act::Wait);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    for colour in ["\u{1b}[32malive", "\u{1b}[31munreachable", "\u{1b}[33m2 of 3"] {
        assert!(seen.output.contains(colour), "no {colour:?} in {seen:?}");
    }
    let lines = seen.lines();
    let table: Vec<_> = lines.iter().skip_while(|line| !line.starts_with("NODE")).take(4).collect();
    assert!(table.len() == 4 && table.iter().all(|line| line.chars().count() <= 60), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("a wider terminal shows")), "{lines:#?}");
}

/// Reads and writes until told to stop.
fn load(doors: &[Door], stop: &AtomicBool) {
    for round in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (door, path) = (&doors[round % doors.len()], item("busy", &format!("key {}", round % 50)));
        let read = door.get(&path);
        let context = read.header("quorate-context").map(str::to_owned);
        door.put(&path, context.as_deref(), b"value").expect(200);
    }
}

/// Does something while there is load.
fn under_load<T: Send>(cluster: &Cluster, work: impl FnOnce() -> T + Send) -> T {
    let (doors, stop) = (cluster.doors(), AtomicBool::new(false));
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&doors, &stop));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        loading.join().expect("the load runs until it is told to stop");
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn top_once_tells_the_rates_of_every_node_under_load() {
    let cluster = Cluster::start(Shape::WIDE);
    let top = |arguments: &[&str]| cluster.quorate().args(["top", "--once", "--interval", "500ms"]).args(arguments);
    under_load(&cluster, || {
        until("every node has reads and writes a second", || {
            let json = top(&["--json"]).run().expect_code(0).json();
            let nodes = json["nodes"].as_array().cloned().unwrap_or_default();
            let busy = |node: &Json| {
                let verb = |name: &str| {
                    node[name]["per_s"].as_f64() > Some(0.0)
                        && node[name]["p50_ms"].as_f64() > Some(0.0)
                        && node[name]["p99_ms"].as_f64() >= node[name]["p50_ms"].as_f64()
                };
                node["state"] == "alive" && verb("gets") && verb("puts")
            };
            if nodes.len() == 3 && nodes.iter().all(busy) { Ok(()) } else { Err(json.to_string()) }
        });
        let text = top(&[]).run().expect_code(0).text();
        println!("{text}");
        assert!(text.starts_with("3 of 3 nodes answer  ") && !text.contains('\u{1b}'), "{text:?}");
        assert!(NAMES.iter().all(|name| text.lines().any(|line| line.starts_with(name))), "{text}");
        // A fast machine answers in microseconds, a busy one in milliseconds.
        let times = [" us ", " ms ", " s "].iter().any(|unit| text.contains(unit));
        assert!(text.contains("GET P99") && times, "{text}");
    });
    // Without load there is nothing to tell, and that is told.
    until("the rates fall to nothing", || {
        let json = top(&["--json"]).run().expect_code(0).json();
        let rate = |name: &str| node(&json, "nodes", name)["gets"]["per_s"].as_f64();
        if NAMES.iter().all(|name| rate(name) == Some(0.0)) { Ok(()) } else { Err(json.to_string()) }
    });
    let mistaken = cluster.quorate().args(["top", "--interval", "1ms"]).run().expect_code(2);
    mistaken.complains(&["250ms to 60s"]);
}

#[test]
fn top_draws_on_a_terminal_and_leaves_it_as_it_was() {
    let cluster = Cluster::start(Shape::SMALL);
    let profile = text_of(&cluster.path("client.toml"));
    let directory = cluster.path("");
    under_load(&cluster, || {
        for (act, interval) in [(Act::Type("q"), "500ms"), (Act::Type("\u{3}"), "250ms"), (Act::Terminate, "250ms")] {
            let arguments = ["--profile", &profile, "top", "--interval", interval];
            // The last is the greatest value of a sparkline.
            let words = ["REQUESTS/S, last", "P99, last", "n3", "alive", "q quits", "\u{2588}"];
            let seen: Seen = on_terminal(WIDE, &directory, &arguments, &words, act);
            assert_eq!(seen.code, Some(0), "{act:?}: {seen:?}");
            assert!(seen.raw && seen.restored, "{act:?}: {seen:?}");
            let place = |escape: &str| seen.output.rfind(escape).unwrap_or_else(|| panic!("no {escape:?} in {seen:?}"));
            let (other, back) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"));
            assert!(other < back && place("\u{1b}[?25l") < place("\u{1b}[?25h"), "{act:?}: {seen:?}");
        }
    });
}

/// What the nodes of a fleet hold of a key.
fn inspect(fleet: &Fleet, arguments: &[&str]) -> Json {
    let profile = text_of(&fleet.path("client.toml"));
    let command = ["--profile", &profile, "key", "inspect", "--table", "seen", "--timeout", "1s", "--json"];
    Invocation::new().args(command).args(arguments).run().expect_code(0).json()
}

fn dots(versions: &Json) -> Vec<String> {
    let dot = |version: &Json| version["dot"].as_str().unwrap_or_default().to_owned();
    versions.as_array().into_iter().flatten().map(dot).collect()
}

/// A key whose last owner is n5, so that n5 coordinates nothing for it.
fn key_of_n5(fleet: &Fleet) -> String {
    let owner = |key: &String| {
        let seen = inspect(fleet, &[key]);
        let replicas = seen["replicas"].as_array().cloned().unwrap_or_default();
        let last = replicas.iter().rfind(|replica| replica["role"] == "primary");
        last.is_some_and(|replica| replica["name"] == "n5")
    };
    (0..200).map(|number| format!("key-{number}")).find(owner).expect("a fifth of all keys")
}

#[test]
fn key_inspect_shows_siblings_who_is_behind_who_keeps_hints_and_who_is_gone() {
    let mut fleet = Fleet::start();
    let fronts: Vec<String> = (0..5).map(|node| format!("\"{}\"", fleet.front(node))).collect();
    let profile = format!(
        "nodes = [{}]\ncertificate = \"certs/app.crt\"\nkey = \"certs/app.key\"\nca = \"certs/ca.crt\"\n",
        fronts.join(", ")
    );
    fs::write(fleet.path("client.toml"), profile).expect("a profile in our own directory");
    let profile = text_of(&fleet.path("client.toml"));
    let quorate = |arguments: &[&str]| Invocation::new().args(["--profile", &profile]).args(arguments);
    let key = key_of_n5(&fleet);
    let replica = |seen: &Json, name: &str| node(seen, "replicas", name).clone();

    assert!(dots(&replica(&inspect(&fleet, &[&key]), "n5")["versions"]).is_empty());
    for value in ["first", "second"] {
        quorate(&["put", &key, value, "--table", "seen"]).run().expect_code(0);
    }
    let both = until("all owners have both siblings", || {
        let seen = inspect(&fleet, &[&key]);
        let owners = seen["replicas"].as_array().cloned().unwrap_or_default();
        let whole = |replica: &&Json| replica["state"] == "up_to_date" && dots(&replica["versions"]).len() == 2;
        if owners.iter().filter(whole).count() == 3 { Ok(seen) } else { Err(seen.to_string()) }
    });
    let mine = replica(&both, "n5");
    let sizes: Vec<_> = mine["versions"].as_array().into_iter().flatten().map(|version| &version["bytes"]).collect();
    assert_eq!(sizes, [5, 6], "{both}");
    let siblings = dots(&mine["versions"]);

    // n5 hears nothing of the delete; clients reach it all the same.
    fleet.proxy.cut(&Fleet::parties(&[4]), &Fleet::parties(&[0, 1, 2, 3]));
    quorate(&["delete", &key, "--table", "seen"]).run().expect_code(0);
    let seen = until("somebody keeps the delete for n5", || {
        let seen = inspect(&fleet, &[&key]);
        let keeps = seen["replicas"].as_array().into_iter().flatten().any(|replica| replica["state"] == "keeps_hints");
        if keeps { Ok(seen) } else { Err(seen.to_string()) }
    });
    let late = replica(&seen, "n5");
    assert_eq!((&late["state"], &late["replaced"]), (&"behind".into(), &siblings.clone().into()), "{seen}");
    let lacking = late["lacks"].as_array().cloned().unwrap_or_default();
    let first = seen["replicas"].as_array().and_then(|replicas| replicas.first()).cloned().unwrap_or_default();
    assert_eq!(first["versions"][0]["tombstone"], true, "{seen}");
    assert_eq!(lacking, [first["versions"][0]["dot"].clone()], "{seen}");
    let text = quorate(&["key", "inspect", &key, "--table", "seen", "--timeout", "1s"]).run().expect_code(0).text();
    println!("{text}");
    for words in ["n5 is behind: it lacks ", "still has ", "tombstone", "keeps hints", "prefers  "] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }

    fleet.nodes[4].kill();
    fleet.proxy.heal();
    let seen = inspect(&fleet, &[&key]);
    assert_eq!(replica(&seen, "n5")["state"], "no_answer", "{seen}");
    assert!(replica(&seen, "n5")["error"].is_string(), "{seen}");

    quorate(&["key", "inspect", &key, "--node", "n9"]).run().expect_code(2).complains(&["n9", "n1, n2, n3, n4, n5"]);
    quorate(&["key", "inspect", ""]).run().expect_code(2).complains(&["key is empty", "1024"]);
    quorate(&["key", "inspect", &"k".repeat(1025)]).run().expect_code(2).complains(&["1025 bytes", "1024"]);
    quorate(&["key", "inspect", &key, "--table", "No"]).run().expect_code(2).complains(&["a-z 0-9"]);
    let one = inspect(&fleet, &[&key, "--node", "n1"]);
    assert_eq!(one["replicas"].as_array().map(Vec::len), Some(1), "{one}");
}

#[test]
fn members_may_not_inspect_and_people_are_told_what_is_wrong() {
    let mut cluster = Cluster::start(Shape::SMALL);
    cluster.door(0).put(&item("seen", "key"), None, b"value").expect(200);
    let control = cluster.ports.control(0);
    let shard = SocketAddr::new(control.ip(), control.port() + 1);
    let runtime = runtime();
    let [person, administrator] = ["app", "ops"].map(|who| cluster.credentials(who));
    let wellformed = b"\x04seen\0\x03key\0\0";
    runtime.block_on(async {
        for credentials in [&person, &administrator] {
            let mut wire = Wire::greet(credentials, shard).await.expect("somebody with a certificate");
            wire.send(&frame(Kind::Inspect, 1, &wellformed[..])).await;
            let answer = wire.next().await.expect("an answer");
            assert_eq!(answer.kind(), Some(Kind::InspectReply), "{answer:?}");
            let told = InspectReply::decode(answer.body).expect("an account");
            assert!(matches!(told.found, Inspected::Head(_)) && !told.hinted, "{told:?}");
            let long = [&b"\x01t\x04\x01"[..], &[b'k'; 1025], &[0, 0]].concat();
            for (body, code, words) in [
                (&b""[..], FailureCode::BadInput, "cut short"),
                (&b"\x04seen\0\0\0\0"[..], FailureCode::BadInput, "key is empty"),
                (&b"\x04seen\0\x03key\0\0!"[..], FailureCode::BadInput, "1 bytes after its end"),
                (&long, FailureCode::TooLarge, "1025 bytes; the limit is 1024"),
            ] {
                let failure = wire.refused(&frame(Kind::Inspect, 2, body.to_vec())).await;
                assert!(failure.code == code && failure.message.contains(words), "{words:?}: {failure:?}");
            }
        }
    });
    // Somebody has the third node's certificate, and the node itself is down.
    cluster.nodes[2].signal(Signal::Terminate);
    cluster.nodes[2].ended();
    let member = cluster.credentials("n3");
    let refused = until("the first node lets the new process of the third in", || {
        runtime.block_on(async {
            let mut wire = Wire::greet(&member, shard).await?;
            Ok(wire.refused(&frame(Kind::Inspect, 3, &wellformed[..])).await)
        })
    });
    assert_eq!(refused.code, FailureCode::NotAllowed, "before the body is looked at: {refused:?}");
    cluster.run_still(&[0, 1]);
}

/// The lines of a log that are JSON and about slow requests, but for those that find out whether copies are made.
fn slow_lines(log: &str) -> Vec<Json> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter(|line| line["message"] == "slow request" && line["table"] != "probe").collect()
}

#[test]
fn slow_request_leaves_one_line_that_says_where_the_time_went() {
    let mut cluster = Cluster::start(Shape::SMALL);
    let door = cluster.door(0);
    let slow = |key: &str| {
        let target = format!("{}?quorum=strict&w=3&timeout_ms=700", item("carts", key));
        door.put(&target, None, b"bread").expect(503);
    };
    // Members that agree that n3 does not answer ask it nothing, and wait for nothing: each time it has to be new.
    let stall = |cluster: &mut Cluster| {
        cluster.nodes[2].signal(Signal::Continue);
        cluster.all_reach_all();
        cluster.nodes[2].signal(Signal::Stop);
    };
    // The command line's client asks a key's first owner.
    let mine = |key: &String| {
        let seen = cluster.quorate().args(["key", "inspect", key, "--json"]).run().expect_code(0).json();
        seen["replicas"][0]["name"] == "n1"
    };
    let key_of_n1 = (0..200).map(|number| format!("key-{number}")).find(mine).expect("a third of all keys");
    stall(&mut cluster);
    slow("secret");
    let line = until("a line about the slow request", || {
        let log = cluster.nodes[0].log();
        slow_lines(&log).pop().ok_or(log)
    });
    println!("{line}");
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let known = [text("level"), text("node"), text("kind"), text("outcome"), text("table")];
    assert_eq!(known, ["WARN", "n1", "put", "quorum_not_met", "carts"], "{line}");
    assert!(line["took_ms"].as_f64().is_some_and(|took| (650.0..5_000.0).contains(&took)), "{line}");
    let early = |field: &str| line[field].as_f64().is_some_and(|time| time < 500.0);
    assert!(early("inbox_ms") && early("own_copy_ms") && early("stored_ms"), "{line}");
    assert!(text("peers").contains("n3 asked at ") && text("peers").contains(" silent"), "{line}");
    assert!(text("peers").contains("n2 asked at ") && text("peers").contains("answered at"), "{line}");
    assert!(text("write_id").len() == 32 && line["request"].is_null(), "HTTP has no names for requests: {line}");
    let seen = cluster.quorate().args(["key", "inspect", "secret", "--table", "carts", "--json", "--timeout", "1s"]);
    let seen = seen.run().expect_code(0).json();
    assert_eq!(text("hash"), seen["hash"].as_str().unwrap_or_default(), "{line} {seen}");
    let partition = seen["partition"].as_u64().unwrap_or_default();
    assert_eq!(text("partition"), format!("p{partition:04}"), "{line}");
    assert!(!line.to_string().contains("secret"), "the key is nobody's business: {line}");

    // A reload turns it off, and on again.
    let good = cluster.config(0);
    let reload = |cluster: &mut Cluster, threshold: &str, says: &str| {
        let text = format!("{good}[log]\nslow_requests = \"{threshold}\"\n");
        fs::write(cluster.path("n1.toml"), text).expect("a file of our own");
        cluster.nodes[0].signal(Signal::Hangup);
        cluster.nodes[0].says(says);
    };
    reload(&mut cluster, "off", "slow requests: not noted any more");
    stall(&mut cluster);
    slow("unnoticed");
    reload(&mut cluster, "300ms", "slow requests: noted from 300ms on");
    stall(&mut cluster);
    let put = ["put", &key_of_n1, "bread", "--strict", "-w", "3", "--timeout", "700ms"];
    assert_ne!(cluster.quorate().args(put).run().code, Some(0), "n3 has no copy");
    let lines = until("a line about the next slow request", || {
        let log = cluster.nodes[0].log();
        let lines = slow_lines(&log);
        if lines.len() > 1 { Ok(lines) } else { Err(log) }
    });
    assert_eq!(lines.len(), 2, "none about the one between: {lines:#?}");
    assert!(lines[1]["request"].as_str().is_some_and(|request| request.len() == 16), "{lines:#?}");
    cluster.nodes[2].signal(Signal::Continue);
}

#[test]
fn log_is_text_on_a_terminal_the_journals_in_the_journal_and_json_elsewhere() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    // Nobody said anything: JSON, every line with its node.
    cluster.nodes[0].set_variable("RUST_LOG", "quorate=debug");
    cluster.start_node(0);
    let log = until("lines of the log", || {
        let log = cluster.nodes[0].log();
        if log.contains("\"level\":") { Ok(log) } else { Err(log) }
    });
    let lines: Vec<Json> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["level"] == "DEBUG"), "RUST_LOG is heard:\n{log}");
    for line in &lines {
        assert!(line["node"] == "n1" && line["timestamp"].is_string() && line["message"].is_string(), "{line}");
    }

    // Standard error is the journal, as systemd would say: a priority before each line.
    let file = cluster.path("n2.log");
    let meta = fs::File::create(&file).and_then(|file| file.metadata()).expect("a log in our own directory");
    cluster.nodes[1].set_variable("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    cluster.nodes[1].set_variable("RUST_LOG", "no=such=filter");
    cluster.start_node(1);
    let log = cluster.nodes[1].says("is no filter and has no effect");
    let line = log.lines().find(|line| line.contains("is no filter")).unwrap_or_default();
    assert!(line.starts_with("<4>n2 RUST_LOG is no filter"), "{log}");

    // On a terminal: text in colours, until it is told to stop.
    let config = text_of(&cluster.path("n3.toml"));
    fs::write(&config, format!("{}[log]\nlevel = \"debug\"\n", cluster.config(2))).expect("a file of our own");
    let arguments = ["server", "--config", &config];
    let seen = on_terminal(WIDE, &cluster.path(""), &arguments, &["DEBUG", "listens on"], Act::Terminate);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(seen.output.contains("\u{1b}[34mDEBUG\u{1b}[0m n3 "), "{seen:?}");
    assert!(!seen.output.contains("\"level\""), "{seen:?}");
}
