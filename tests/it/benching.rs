//! `quorate bench run` against a real cluster: what it must notice, and what it must not make up.

use std::fs;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::Client;
use quorate::load::report::{Distribution, Report, Run};
use quorate::protocol::types::Address;

use super::cluster::{Cluster, Shape, runtime, text_of};
use super::command::Invocation;
use super::process::{Process, Signal};
use super::until;

/// How long all nodes stand still.
const STALL: Duration = Duration::from_secs(1);
/// What a run says when its measured time begins.
const BEGINS: &str = "the measured time begins";

/// A run in the background, with its report in a file.
struct Bench {
    process: Process,
    report: std::path::PathBuf,
}

impl Bench {
    /// Starts `quorate bench run` and waits until its measured time begins.
    fn start(cluster: &Cluster, name: &str, arguments: &[&str]) -> Self {
        let report = cluster.path(&format!("{name}.json"));
        let (profile, out) = (text_of(&cluster.path("client.toml")), text_of(&report));
        let whole = ["--profile", &profile, "bench", "run", "--out", &out].into_iter().chain(arguments.iter().copied());
        let mut process = Process::new(whole, &cluster.path("."), &cluster.path(&format!("{name}.log")));
        process.start();
        process.says(BEGINS);
        Self { process, report }
    }

    /// Waits for its end: the exit code and the report's one run.
    fn end(&mut self) -> (Option<i32>, Run) {
        let code = self.process.ended().code();
        (code, run_of(&fs::read(&self.report).expect("the report was asked for")))
    }
}

fn run_of(json: &[u8]) -> Run {
    let report: Report = serde_json::from_slice(json).expect("a report");
    let [run] = &report.runs[..] else { panic!("one run was asked for: {report:?}") };
    run.clone()
}

fn quantile(latency: &Distribution, share: f64) -> Duration {
    Duration::from_micros(latency.quantile(share))
}

/// All nodes stand still for a while.
fn stall(cluster: &mut Cluster) {
    cluster.nodes.iter_mut().for_each(|node| node.signal(Signal::Stop));
    // Not waited for anything: the standstill is what is measured.
    thread::sleep(STALL);
    cluster.nodes.iter_mut().for_each(|node| node.signal(Signal::Continue));
}

#[test]
fn standstill_is_in_the_open_loop_s_p99_and_hidden_by_a_closed_loop_s_median() {
    let mut cluster = Cluster::start(Shape::SMALL);
    let common = ["--keys", "500", "--value-size", "100", "--warmup", "0s", "--duration", "4s", "--timeout", "20s"];
    let mut bench = Bench::start(&cluster, "open", &[&common[..], &["--rate", "200"]].concat());
    stall(&mut cluster);
    let (_, open) = bench.end();
    let all = open.all().expect("a sum");
    assert!(all.count + open.schedule.expect("an open loop").unsent >= 800, "200/s for four seconds: {all:?}");
    // A quarter of the requests was meant to be sent in the standstill; the longest waited for all of it.
    let (p90, p99) = (quantile(&all.latency, 0.9), quantile(&all.latency, 0.99));
    assert!(p99 > STALL / 2 && p90 > STALL / 4, "p90 {p90:?}, p99 {p99:?}");

    cluster.all_connected();
    let mut bench = Bench::start(&cluster, "closed", &[&common[..], &["--keep", "--in-flight", "4"]].concat());
    stall(&mut cluster);
    let (_, closed) = bench.end();
    let all = closed.all().expect("a sum");
    let (p50, max) = (quantile(&all.latency, 0.5), quantile(&all.latency, 1.0));
    assert!(p50 < STALL / 4, "p50 {p50:?}");
    assert!(max > STALL / 2, "the standstill is one request of each worker: {max:?}");
    // Second by second it is there to see.
    let slow = closed.timeline.iter().map(|second| second.operations).min().expect("a row for each second");
    let fast = closed.timeline.iter().map(|second| second.operations).max().expect("a row for each second");
    assert_eq!(closed.timeline.len(), 4);
    assert!(slow < fast, "{:?}", closed.timeline);
}

/// A key of the run.
fn address(key: u64) -> Address {
    Address::new(Bytes::from_static(b"bench"), format!("key-{key:012}").into(), Bytes::new()).expect("a short key")
}

/// Puts bytes in place of all that is there.
async fn plant(client: &Client, key: u64, bytes: Bytes) {
    let read = client.get(address(key)).send().await.expect("a healthy cluster");
    client.put(address(key), bytes).context(&read.context).send().await.expect("a healthy cluster");
}

#[test]
fn planted_values_are_caught_wrong_and_stale() {
    let cluster = Cluster::start(Shape::SMALL);
    let arguments = ["--mix", "get=90,put=10", "--keys", "40", "--value-size", "100", "--in-flight", "4", "--verify"];
    let times = ["--rate", "2000", "--warmup", "0s", "--duration", "5s"];
    let mut bench = Bench::start(&cluster, "planted", &[&arguments[..], &times].concat());
    let runtime = runtime();
    let client = cluster.client(&runtime);
    let value = || {
        let read = runtime.block_on(client.get(address(7)).send()).expect("a healthy cluster");
        read.values.first().map(|value| value.bytes.clone()).ok_or_else(|| "it was loaded".to_owned())
    };
    let old = value().expect("every key was loaded");
    until("the key is written anew", || if value()? == old { Err("it is the old value".to_owned()) } else { Ok(()) });
    // The run writes these keys too, and so heals them: they are planted until it ends.
    while bench.process.is_running() {
        runtime.block_on(async {
            plant(&client, 7, old.clone()).await;
            plant(&client, 8, Bytes::from_static(b"nobody in this run has written that")).await;
        });
    }
    let (code, run) = bench.end();
    let found = run.verification.expect("it was asked for");
    assert_eq!(code, Some(1), "{found:?}");
    assert!(found.stale > 0 && found.wrong > 0, "{found:?}");
    let reasons = run.invalid.join("\n");
    assert!(reasons.contains("values are not what was acknowledged"), "{reasons}");
}

#[test]
fn healthy_cluster_is_verified_clean_and_its_servers_are_charged() {
    let cluster = Cluster::start(Shape::WIDE);
    let out = text_of(&cluster.path("clean.json"));
    let mix = ["--mix", "get=50,put=30,delete=10,rmw=5,insert=5", "--distribution", "zipfian", "--keys", "300"];
    let rest = ["--value-size", "32-3000", "--verify", "--in-flight", "32", "--duration", "3s", "--warmup", "1s"];
    let command = || cluster.quorate().args(["bench", "run"]).args(mix).args(rest);
    let ran = command().args(["--out", &out]).run().expect_code(0);
    println!("{}", ran.text());
    let run = run_of(&fs::read(&out).expect("the report was asked for"));
    let found = run.verification.expect("it was asked for");
    assert!(found.is_clean() && found.checked > 300, "{found:?}");
    assert!(run.invalid.is_empty(), "{:?}", run.invalid);
    let all = run.all().expect("a sum");
    assert!(all.errors.is_empty(), "{all:?}");
    for kind in ["get", "put", "delete", "rmw", "insert"] {
        assert!(run.operations[kind].count > 0, "{kind}");
    }
    let counted: u64 = run.timeline.iter().map(|second| second.operations).sum();
    assert_eq!((counted, run.timeline.len()), (all.count, 3));
    let charged: Vec<(&str, bool)> = run.processes.iter().map(|process| (&*process.name, process.is_server)).collect();
    assert_eq!(charged, [("n1", true), ("n2", true), ("n3", true), ("client", false)]);
    for process in &run.processes {
        assert!(process.cpu_us > 0 && process.memory_bytes > 1 << 20, "{process:?}");
        assert!(process.memory_peak_bytes >= process.memory_bytes, "{process:?}");
    }
    assert!(ran.text().contains("durability os"), "{ran}");

    // What is there is taken over: values, numbers, inserted keys; and the next run inserts beyond them.
    command().arg("--keep").run().expect_code(0).complains(&["reading 300 keys"]);
    // A run that does not check has other values; they are refused, not called wrong.
    let plain = ["bench", "run", "--workload", "e", "--keys", "300", "--duration", "1s", "--warmup", "0s", "--json"];
    let scans = run_of(&cluster.quorate().args(plain).run().expect_code(0).stdout);
    assert!(scans.operations["scan"].count > 0 && scans.operations["insert"].count > 0, "{scans:?}");
    assert!(scans.versions.max == 1, "loaded over what was there: {:?}", scans.versions);
    command().arg("--keep").run().expect_code(1).complains(&["no run with --verify wrote", "without --keep"]);
}

#[test]
fn several_processes_share_a_run_and_their_counts_add_up() {
    let cluster = Cluster::start(Shape::SMALL);
    let arguments = ["bench", "run", "--processes", "2", "--keys", "301", "--in-flight", "9", "--verify", "--json"];
    let mix = ["--mix", "get=5,put=5,insert=1", "--distribution", "latest", "--duration", "2s", "--warmup", "1s"];
    let ran = cluster.quorate().args(arguments).args(mix).run().expect_code(0);
    let run = run_of(&ran.stdout);
    let found = run.verification.expect("it was asked for");
    assert!(found.is_clean() && found.checked > 301, "{found:?}");
    let names: Vec<&str> = run.processes.iter().map(|process| &*process.name).collect();
    assert_eq!(names, ["n1", "n2", "n3", "client 0", "client 1"]);
    assert!(run.processes.iter().all(|process| process.cpu_us > 0), "{:?}", run.processes);
    let all = run.all().expect("a sum");
    let counted: u64 = run.timeline.iter().map(|second| second.operations).sum();
    assert_eq!((counted, all.latency.count()), (all.count, all.count));
    assert!(all.errors.is_empty(), "{all:?}");
    assert!(run.versions.mean() < 1.01, "{:?}", run.versions);
}

#[test]
fn open_loop_keeps_its_rate_and_several_processes_share_it() {
    let cluster = Cluster::start(Shape::SMALL);
    let common =
        ["bench", "run", "--keys", "500", "--value-size", "10", "--duration", "3s", "--warmup", "0s", "--json"];
    for more in [&["--rate", "300"][..], &["--rate", "300", "--poisson", "--processes", "3", "--keep"]] {
        let run = run_of(&cluster.quorate().args(common).args(more).run().expect_code(0).stdout);
        let (all, schedule) = (run.all().expect("a sum"), run.schedule.expect("an open loop"));
        assert!((schedule.offered - 300.0).abs() < 1e-6, "{schedule:?}");
        let intended = all.count + schedule.unsent;
        // Even intervals are exact to a request for each process; Poisson's 900 are within six deviations of 30.
        let off = if more.len() > 2 { 180 } else { 3 };
        assert!(intended.abs_diff(900) <= off, "{intended} of 900, {more:?}");
        assert!(all.latency.max() >= all.service.max() / 2, "{all:?}");
    }
}

#[test]
fn mistakes_are_told_before_anything_is_contacted() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    for (line, words) in [
        ("--keys 10 --in-flight 10", ["--keys: 10 keys are too few", "--blind"]),
        ("--keys 0", ["--keys: ", "at least 1"]),
        ("--value-size 9000000", ["--value-size: ", "8388608"]),
        ("--value-size 16 --verify", ["--value-size: ", "at least 32"]),
        ("--verify --blind", ["--verify: ", "leave out --blind"]),
        ("--duration 1500ms", ["--duration: ", "whole seconds"]),
        ("--rate=-5", ["--rate: ", "0.001"]),
        ("--rate 0", ["--rate: ", "0.001"]),
        ("--table Up", ["--table: ", "a-z 0-9"]),
        ("--processes 65", ["--processes: ", "1 to 64"]),
        ("--in-flight 0", ["--in-flight: ", "16384"]),
        ("--mix get=0", ["--mix: ", "get=95,put=5"]),
    ] {
        let command = Invocation::new().inside(nowhere.path()).args(["bench", "run"]).args(line.split(' '));
        command.run().expect_code(2).complains(&words);
    }
    let unwritable = ["bench", "run", "--out", "no/such/directory/r.json"];
    Invocation::new().inside(nowhere.path()).args(unwritable).run().expect_code(1).complains(&["no/such/directory"]);
    // Another client process without a first one ends.
    let cluster = Cluster::start(Shape::SMALL);
    cluster.quorate().args(["bench", "assist"]).run().expect_code(1).complains(&["the assignment"]);
}
