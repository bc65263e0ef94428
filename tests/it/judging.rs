//! What `quorate bench` says of runs: floor, search, timeline, suite, pages, and what is better than what.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quorate::load::report::{ALL, Report, Run};
use serde_json::Value as Json;

use super::cluster::{Cluster, Shape, text_of};
use super::command::{Invocation, Ran};
use super::process::{Process, Signal};
use super::until;

/// The longest of these commands, on two cores that others use as well.
const DEADLINE: Duration = Duration::from_secs(120);
/// A small load.
const SMALL: [&str; 6] = ["--keys", "200", "--value-size", "100", "--warmup", "0s"];

/// A directory of its own, with one inside for local clusters.
struct Place(tempfile::TempDir);

impl Place {
    fn make() -> Self {
        let place = Self(tempfile::Builder::new().prefix("quorate-it-").tempdir().expect("a temporary directory"));
        fs::create_dir(place.path().join("clusters")).expect("a directory of our own");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn bench<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let bench = Invocation::new().inside(self.path()).arg("bench").args(arguments);
        bench.run_within(DEADLINE)
    }

    fn report(&self, name: &str) -> Report {
        Report::read(&self.path().join(name)).expect("a report")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("a file that was asked for")
    }

    /// Nothing of a local cluster is left: no file, and no process that has its directory in its command line.
    fn is_clean(&self) {
        let clusters = self.path().join("clusters");
        let left: Vec<_> = fs::read_dir(&clusters).expect("our own directory").flatten().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let words = text_of(&clusters);
        let processes = fs::read_dir("/proc").expect("the system's own").flatten();
        for process in processes.filter(|process| process.file_name() != std::process::id().to_string().as_str()) {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(!line.contains(&words), "left running: {line}");
        }
    }
}

fn is_page(page: &str) -> bool {
    page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n") && !page.contains("NaN")
}

fn only(report: &Report) -> &Run {
    let [run] = &report.runs[..] else { panic!("one run was asked for: {report:?}") };
    run
}

#[test]
fn floor_has_parts_that_are_positive_and_add_up() {
    let place = Place::make();
    let numbers = ["floor", "--value-size", "100", "--in-flight", "12,1", "--time", "50ms", "--dir", "clusters"];
    let ran = place.bench(numbers.into_iter().chain(["--json"])).expect_code(0);
    let steps = ran.json()["steps"].as_array().cloned().expect("steps");
    assert_eq!(steps.len(), 4, "{ran}");
    for step in &steps {
        let number = |name: &str| step[name].as_f64().expect("a number");
        let (echo, storage, sum) = (number("echo_us"), number("storage_us"), number("operation_us"));
        assert!(echo > 0.0 && storage > 0.0 && number("echo_rate") > 0.0, "{step}");
        let times = if step["operation"] == "put" { 3.0 } else { 2.0 };
        assert!((sum - times * (echo + storage)).abs() < 1e-6, "{step}");
    }
    let text = place.bench(numbers).expect_code(0).text();
    println!("{text}");
    assert!(text.contains("put = 3 round trips + 3 read-modify-writes"), "{text}");
    place.bench(["floor", "--in-flight", "0"]).expect_code(2).complains(&["in flight: from 1 to 4096"]);
    place.is_clean();
}

#[test]
fn local_run_starts_its_cluster_and_removes_it() {
    let place = Place::make();
    let local = ["run", "--local", "--durability", "interval", "--dir", "clusters", "--duration", "1s"];
    let files = ["--out", "run.json", "--html", "run.html", "--in-flight", "8", "--repeat", "2"];
    let ran = place.bench(local.into_iter().chain(files).chain(SMALL)).expect_code(0);
    println!("{}", ran.text());
    let report = place.report("run.json");
    assert_eq!(report.runs.len(), 2, "{ran}");
    assert_eq!(report.cluster.durability, ["interval"]);
    assert!(report.floor.is_some_and(|floor| floor.steps.len() == 2), "a put's and a get's");
    assert!(ran.text().contains("times that was used"), "{ran}");
    let charged: Vec<&str> = report.runs[1].processes.iter().map(|process| &*process.name).collect();
    assert_eq!(charged, ["n1", "n2", "n3", "client"]);
    assert!(is_page(&place.text("run.html")));
    place.is_clean();
    // The same page again from the file.
    place.bench(["page", "run.json", "--out", "again.html"]).expect_code(0);
    assert_eq!(place.text("again.html"), place.text("run.html"));
    for (line, words) in [
        ("run --durability sync", ["--durability", "--local"]),
        ("search --rate 5", ["--rate", "--begin"]),
        ("timeline --kill n9@1s", ["n9", "n1, n2, n3"]),
        ("timeline --kill n1@90s", ["n1", "--duration"]),
        ("run --local --server /nonexistent/quorate --dir clusters", ["/nonexistent/quorate", "cannot be started"]),
    ] {
        let code = if line.contains("--server") { 1 } else { 2 };
        place.bench(line.split(' ')).expect_code(code).complains(&words);
    }
    place.is_clean();
}

#[test]
fn interrupted_run_leaves_nothing_behind() {
    let place = Place::make();
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let log = place.path().join(format!("{signal:?}.log"));
        let line = ["bench", "run", "--local", "--dir", "clusters", "--duration", "100s"].into_iter().chain(SMALL);
        let mut process = Process::new(line, place.path(), &log);
        process.start();
        process.says("the measured time begins");
        process.signal(signal);
        assert_eq!(process.ended().code(), Some(1), "{}", process.log());
        process.says("what was started is removed");
        place.is_clean();
    }
}

#[test]
fn timeline_shows_what_was_done_and_that_it_is_over() {
    let place = Place::make();
    let script = ["timeline", "--kill", "n2@3s", "--restart", "n2@6s", "--stop", "n3@9s", "--cont", "n3@10s"];
    let load = ["--duration", "16s", "--rate", "100", "--dir", "clusters", "--timeout", "4s"];
    let files = ["--out", "timeline.json", "--html", "timeline.html"];
    let ran = place.bench(script.into_iter().chain(load).chain(files).chain(SMALL));
    println!("{}", ran.text());
    let report = place.report("timeline.json");
    let run = only(&report);
    let done: Vec<&str> = run.events.iter().map(|event| &*event.what).collect();
    assert_eq!(done, ["kill n2", "restart n2", "stop n3", "cont n3"], "{ran}");
    for (event, planned) in run.events.iter().zip([3.0, 6.0, 9.0, 10.0]) {
        assert!(event.at >= planned, "not before its time: {event:?}");
    }
    assert_eq!(run.timeline.len(), 16);
    // A node before and after its restart is one, and both are charged.
    let charged: Vec<&str> = run.processes.iter().map(|process| &*process.name).collect();
    assert_eq!(charged, ["n1", "n2", "n3", "client"]);
    // Nothing fails at the end: all three are there again.
    let last = run.timeline.last().expect("sixteen");
    assert!(last.operations > 0 && last.errors == 0, "{ran}");
    let page = place.text("timeline.html");
    assert!(is_page(&page) && page.contains("kill n2 at ") && page.contains("Second by second"));
    assert!(ran.text().contains("  restart n2 at 6."), "{ran}");
    place.is_clean();
}

#[test]
fn search_ends_with_a_rate_and_its_steps() {
    let cluster = Cluster::start(Shape::SMALL);
    let out = text_of(&cluster.path("search.json"));
    let terms = ["bench", "search", "--p99", "2s", "--begin", "200", "--precision", "1", "--duration", "1s"];
    let ran = cluster.quorate().args(terms).args(SMALL).args(["--out", &out]).run_within(DEADLINE);
    println!("{}\n{}", ran.stderr, ran.text());
    let report = Report::read(Path::new(&out)).expect("a report");
    assert!(report.runs.len() >= 2, "one that is served and one that is not, or twice one that is not: {ran}");
    let found = report.runs.iter().filter(|run| run.schedule.is_some()).count();
    assert_eq!(found, report.runs.len(), "open loops only");
    // On a machine that has no time for the generator no rate is offered, and that is said, too.
    match ran.code {
        Some(0) => assert!(ran.text().contains("operations/s with a p99 of at most 2s"), "{ran}"),
        Some(1) => assert!(ran.text().contains("no rate with a p99 of at most 2s"), "{ran}"),
        _ => panic!("{ran}"),
    }
}

#[test]
fn equal_runs_are_called_different_in_none_of_twenty_tries() {
    let cluster = Cluster::start(Shape::SMALL);
    let path = |name: &str| text_of(&cluster.path(name));
    let (all, before, after) = (path("all.json"), path("before.json"), path("after.json"));
    let runs = ["bench", "run", "--repeat", "24", "--duration", "1s", "--in-flight", "8", "--out", &all];
    cluster.quorate().args(runs).args(SMALL).run_within(DEADLINE).expect_code(0);
    let report = Report::read(Path::new(&all)).expect("a report");
    let side = |first: usize| {
        let runs = (first..first + 3).map(|at| report.runs[at % report.runs.len()].clone()).collect();
        Report { runs, ..report.clone() }
    };
    let mut judged = 0;
    for attempt in 0..20 {
        side(attempt).write(Path::new(&before)).expect("a file of our own");
        side(attempt + 3).write(Path::new(&after)).expect("a file of our own");
        let ran = Invocation::new().args(["bench", "compare", &before, &after]).run().expect_code(0);
        let text = ran.text();
        assert!(text.contains("\n0 better, 0 worse, "), "try {attempt}: {ran}");
        judged += u32::from(text.contains("no difference"));
        if attempt == 0 {
            println!("{text}");
        }
    }
    println!("{judged} of 20 tries had a quiet machine, and so a verdict");
}

#[test]
fn quick_suite_writes_a_report_and_a_page() {
    let place = Place::make();
    let ran = place.bench(["suite", "--quick", "--out-dir", "new/bench", "--dir", "clusters"]).expect_code(0);
    println!("{}", ran.text());
    let json: Json = serde_json::from_str(&place.text("new/bench/report.json")).expect("JSON");
    assert_eq!(json["format"], 1);
    let report = place.report("new/bench/report.json");
    assert_eq!(report.runs.len(), 11);
    assert_eq!(report.cluster.durability, ["os", "sync"]);
    for run in &report.runs {
        assert!(run.operations[ALL].count > 0 && run.invalid.is_empty(), "{run:?}");
        assert!(ran.text().contains(&run.name), "no {:?} in {ran}", run.name);
    }
    let floor = report.floor.expect("it stands beside the runs");
    assert_eq!(floor.steps.len(), 8, "put and get, two sizes, two depths");
    assert!(is_page(&place.text("new/bench/report.html")));
    place.is_clean();
    // With itself nothing is different.
    let twice = ["compare", "new/bench/report.json", "new/bench/report.json"];
    let ran = place.bench(twice).expect_code(0);
    assert!(ran.text().contains("\n0 better, 0 worse, "), "{ran}");
}

#[test]
fn what_is_no_report_is_told_with_its_file_and_a_way_out() {
    let place = Place::make();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("a file of our own");
    write("newer.json", "{\"format\": 99, \"runs\": {}}");
    write("cut.json", "{\"format\": 1, \"made_at\": \"2026-1");
    write("other.json", "[1, 2, 3]");
    for (file, words) in [
        ("newer.json", ["newer.json has format 99", "use that one"]),
        ("cut.json", ["cut.json is no report", "--out"]),
        ("other.json", ["other.json is no report", "--out"]),
        ("missing.json", ["missing.json", "No such file"]),
    ] {
        place.bench(["compare", file, file]).expect_code(1).complains(&words);
        place.bench(["page", file]).expect_code(1).complains(&words);
    }
    let left: Vec<_> = fs::read_dir(place.path()).expect("our own directory").flatten().collect();
    assert_eq!(left.len(), 4, "no page was written: {left:?}");
}

#[test]
fn node_that_ends_by_itself_is_the_reason() {
    let place = Place::make();
    let log = place.path().join("run.log");
    let line = ["bench", "run", "--local", "--dir", "clusters", "--duration", "4s"].into_iter().chain(SMALL);
    let mut process = Process::new(line, place.path(), &log);
    process.start();
    process.says("the measured time begins");
    let words = text_of(&place.path().join("clusters"));
    let pid = until("a server runs", || {
        let pids = fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten();
        let server = pids.into_iter().find(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("\0server\0") && line.contains(&words) && line.contains("n3.toml")
        });
        server.map(|server| server.file_name().to_string_lossy().into_owned()).ok_or_else(|| "none yet".to_owned())
    });
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    assert_eq!(process.ended().code(), Some(1), "{}", process.log());
    process.says("n3 has ended by itself (signal 9)");
    place.is_clean();
}
