//! Pages of all kinds of runs: well-formed, escaped, and without numbers that are none.

use super::*;
use crate::load::report::{Distribution, Event, Floor, FloorStep, Process};
use crate::load::specimen;

/// Walks the markup: every tag is closed in its order, every attribute is quoted, every reference is known.
fn check(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>\n"), "no document type");
    let (mut open, mut rest) = (Vec::new(), page.strip_prefix("<!DOCTYPE html>").unwrap_or(page));
    while let Some((before, tail)) = rest.split_once('<') {
        references(before);
        let (tag, after) = tail.split_once('>').unwrap_or_else(|| panic!("a tag is not closed: {tail:.60}"));
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()), "</{name}> closes something else");
            continue;
        }
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(!name.is_empty(), "<{tag}> has no name");
        let attributes = tag.get(name.len()..).unwrap_or_default().trim_end_matches('/');
        assert_eq!(attributes.matches('"').count() % 2, 0, "<{tag}>");
        for (at, piece) in attributes.split('"').enumerate() {
            match at % 2 {
                0 => {
                    assert!(piece.trim().is_empty() || piece.ends_with('='), "<{tag}> has an attribute without quotes");
                }
                _ => references(piece),
            }
        }
        if name == "style" {
            rest = after.split_once("</style>").expect("the style ends").1;
            continue;
        }
        assert!(!matches!(name.as_str(), "script" | "img" | "link" | "iframe" | "object"), "<{tag}> fetches or runs");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new(), "left open");
}

fn references(text: &str) {
    for (_, tail) in text.match_indices('&').map(|(at, _)| text.split_at(at)) {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(known.iter().any(|name| tail.starts_with(name)), "an unknown reference: {tail:.20}");
    }
}

/// What is drawn has numbers only.
fn check_numbers(page: &str) {
    for word in ["NaN", "inf", "Infinity"] {
        assert!(!page.contains(word), "{word} in the page");
    }
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("), "something is fetched");
}

fn floor() -> Floor {
    let step = |operation: &str, operation_us| FloorStep {
        operation: operation.to_owned(),
        value_bytes: 128,
        in_flight: 64,
        lane_frames: 22,
        echo_us: 4.0,
        echo_rate: 150_000.0,
        storage_us: 1.4,
        batch: 22,
        operation_us,
    };
    Floor { steps: vec![step("put", 16.2), step("get", 9.1)] }
}

#[test]
fn page_of_usual_runs_is_well_formed() {
    let mut run = specimen::run("put 128 B, 64 in flight", &[20_000.0, 21_000.0, 19_000.0], &[4000.0, 4100.0, 3900.0]);
    run.settings.duration = std::time::Duration::from_secs(3);
    let mut report = specimen::report(vec![run, specimen::open_run(9000.0, 2500.0), specimen::eventful_run()]);
    report.floor = Some(floor());
    let page = render(&report);
    check(&page);
    check_numbers(&page);
    for words in [
        "Latency by percentile",
        "Second by second",
        "Microseconds by process",
        "The floor of this machine",
        "kill n2 at 3 s",
        "class=\"floor\"",
        "360 x timeout",
        "from the real send time",
    ] {
        assert!(page.contains(words), "no {words:?}");
    }
    // All processes over the floor: 42 us of 16.2.
    assert!(page.contains("<td>16.2</td><td>2.6</td>"), "{page}");
}

#[test]
fn whatever_a_cluster_calls_itself_is_text() {
    let hostile = "</text></svg><script>alert('1 & 2')</script>\"\0\u{202e}";
    let mut run = specimen::eventful_run();
    run.name = hostile.to_owned();
    run.warnings = vec![hostile.to_owned()];
    run.invalid = vec![hostile.to_owned()];
    run.events.push(Event { at: 2.0, what: hostile.to_owned() });
    run.processes.push(Process {
        name: hostile.to_owned(),
        is_server: true,
        cpu_us: 900_000,
        memory_bytes: 0,
        memory_peak_bytes: 0,
    });
    if let Some(all) = run.operations.get_mut("all") {
        all.errors.insert(hostile.to_owned(), 3);
    }
    let mut report = specimen::report(vec![run]);
    report.command.push(hostile.to_owned());
    report.machine.cpu = hostile.to_owned();
    report.cluster.versions = vec![hostile.to_owned()];
    report.floor = Some(floor());
    if let Some(step) = report.floor.as_mut().and_then(|floor| floor.steps.first_mut()) {
        step.operation = hostile.to_owned();
    }
    let page = render(&report);
    check(&page);
    check_numbers(&page);
    assert!(!page.contains("<script"), "markup of a stranger");
}

#[test]
fn runs_that_have_nothing_are_drawn_without_strange_numbers() {
    let empty = specimen::run("empty", &[], &[]);
    let mut bare = empty.clone();
    bare.operations.clear();
    bare.processes.clear();
    bare.seconds = f64::NAN;
    let one = specimen::run("one answer", &[1.0], &[700.0]);
    let mut broken = specimen::open_run(100.0, 1000.0);
    broken.seconds = 0.0;
    broken.events = vec![
        Event { at: f64::NAN, what: "kill n1".to_owned() },
        Event { at: f64::INFINITY, what: "restart n1".to_owned() },
        Event { at: -3.0, what: "stop n2".to_owned() },
    ];
    let mut zero = specimen::run("zeroes", &[0.0; 4], &[0.0; 4]);
    if let Some(all) = zero.operations.get_mut("all") {
        all.latency = Distribution(vec![(0, 5)]);
        all.count = 5;
    }
    let mut report = specimen::report(vec![empty, bare, one, broken, zero]);
    let mut steps = floor();
    steps.steps[0].operation_us = f64::NAN;
    steps.steps[1].echo_us = f64::INFINITY;
    report.floor = Some(steps);
    let page = render(&report);
    check(&page);
    check_numbers(&page);
    let page = render(&specimen::report(Vec::new()));
    check(&page);
    assert!(page.contains("The report has no runs."));
}

#[test]
fn many_runs_and_many_events_fit() {
    let mut run = specimen::eventful_run();
    run.events = (0..30).map(|n| Event { at: f64::from(n) / 3.0, what: format!("kill n{n}") }).collect();
    let page = render(&specimen::report(vec![run; 25]));
    check(&page);
    assert_eq!(page.matches("class=\"event\" x1").count(), 30 * 25, "every event has its line");
}
