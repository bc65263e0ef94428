//! The files under `grafana/`, as they are: every panel can be read by a person in trouble, and shows something that
//! exists; every metric is on a dashboard; every alert says what to type.
//!
//! Whether their expressions are right is for `observing`, which asks the real Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quorate::metrics::{CATALOGUE, Kind};
use serde_json::Value as Json;

/// The dashboards, in the order in which they are read.
const DASHBOARDS: [&str; 3] = ["cluster", "node", "quorum"];
/// Units that panels use, as Grafana names them.
const UNITS: [&str; 8] = ["short", "s", "bytes", "Bps", "percentunit", "reqps", "cps", "dateTimeAsIso"];

/// A file or directory of `grafana/`.
pub(crate) fn grafana(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(name)
}

pub(crate) fn read(name: &str) -> String {
    let path = grafana(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A dashboard, by its name.
pub(crate) fn dashboard(name: &str) -> Json {
    let text = read(&format!("dashboards/{name}.json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.json is no JSON: {error}"))
}

/// All dashboards, with their names.
pub(crate) fn dashboards() -> Vec<(&'static str, Json)> {
    DASHBOARDS.iter().map(|name| (*name, dashboard(name))).collect()
}

/// The panels of a dashboard that show something.
pub(crate) fn panels(dashboard: &Json) -> Vec<&Json> {
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// A panel's title.
pub(crate) fn title(panel: &Json) -> &str {
    panel["title"].as_str().unwrap_or_default()
}

/// A panel's expressions.
pub(crate) fn expressions(panel: &Json) -> Vec<&str> {
    let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    targets.iter().filter_map(|target| target["expr"].as_str()).collect()
}

/// The names of our metrics in an expression.
pub(crate) fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("quorate_") || word.starts_with("process_")).collect()
}

/// The row of the catalogue that a name in an expression belongs to.
fn row_of(name: &str) -> Option<&'static str> {
    let of = |metric: &&quorate::metrics::Metric| {
        let part = |suffix| name.strip_suffix(suffix) == Some(metric.name);
        match metric.kind {
            Kind::Histogram => part("_bucket") || part("_sum") || part("_count"),
            Kind::Counter | Kind::Gauge => metric.name == name,
        }
    };
    CATALOGUE.iter().find(of).map(|metric| metric.name)
}

/// The lines of the rule files that are expressions or belong to one: everything but labels and annotations.
fn rule_lines() -> Vec<String> {
    let lines = |name| read(name).lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let told = ["summary:", "description:", "runbook:", "#", "- alert:", "- name:", "labels:"];
    let all = lines("rules.yml").into_iter().chain(lines("alerts.yml"));
    all.filter(|line| !told.iter().any(|prefix| line.starts_with(prefix))).collect()
}

#[test]
fn every_metric_is_on_a_dashboard_and_no_panel_shows_one_that_does_not_exist() {
    let dashboards = dashboards();
    let mut shown = BTreeSet::new();
    for (file, dashboard) in &dashboards {
        for panel in panels(dashboard) {
            for name in expressions(panel).into_iter().flat_map(metrics_in) {
                let row = row_of(name);
                shown.extend(row);
                assert!(row.is_some(), "{file}.json, {:?}: there is no metric {name}", title(panel));
            }
        }
    }
    let unseen: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect();
    assert!(unseen.is_empty(), "on no dashboard under grafana/dashboards/: {unseen:?}");
}

#[test]
fn a_metric_that_does_not_exist_is_noticed() {
    let names = |expression| metrics_in(expression).into_iter().map(row_of).collect::<Vec<_>>();
    assert_eq!(names("rate(quorate_no_such_total{cluster=\"$cluster\"}[5m])"), [None]);
    assert_eq!(names("rate(quorate_fsync_seconds{node=~\"n1\"}[5m])"), [None], "a histogram has parts only");
    assert_eq!(names("sum by (le) (quorate_fsync_seconds_bucket)"), [Some("quorate_fsync_seconds")]);
}

#[test]
fn every_rule_names_metrics_that_exist() {
    let lines = rule_lines();
    let named: BTreeSet<&str> = lines.iter().flat_map(|line| metrics_in(line)).collect();
    assert!(named.len() > 10, "the rules were not understood: {named:?}");
    for name in named {
        assert!(row_of(name).is_some(), "a rule names {name}, which no node has");
    }
}

#[test]
fn every_panel_has_a_unit_a_description_and_the_data_source_of_the_dashboard() {
    for (file, dashboard) in dashboards() {
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = format!("{file}.json, {:?}", title(panel));
            assert!(
                !title(panel).is_empty() && titles.insert(title(panel).to_owned() + &panel["type"].to_string()),
                "{place}: title"
            );
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(
                description.len() > 20 && description.ends_with('.'),
                "{place}: what is it, what to do? {description:?}"
            );
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(UNITS.contains(&unit), "{place}: unit {unit:?}; known are {UNITS:?}");
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            assert!(!targets.is_empty(), "{place} shows nothing");
            for source in targets.iter().chain([panel]).map(|part| &part["datasource"]) {
                assert_eq!(source["uid"], "${datasource}", "{place}: another data source cannot be chosen");
            }
            for expression in expressions(panel) {
                let chosen = expression.contains("cluster=\"$cluster\"") && expression.contains("node=~\"$node\"");
                assert!(chosen, "{place}: {expression} ignores what is chosen above");
                check_unit(&place, unit, expression);
            }
        }
    }
}

/// What is measured in seconds or bytes is shown so, unless it is compared or counted.
fn check_unit(place: &str, unit: &str, expression: &str) {
    let derived = expression.contains('/') || expression.contains("_count{") || expression.contains("count(");
    if derived || !matches!(unit, "short" | "cps" | "reqps") {
        return;
    }
    let plain = metrics_in(expression).into_iter().filter_map(row_of).find(|name| {
        let rate_of_time = expression.contains("process_cpu_seconds_total");
        !rate_of_time && (name.ends_with("_seconds") || name.contains("_bytes"))
    });
    assert_eq!(plain, None, "{place}: shown as {unit}");
}

#[test]
fn every_dashboard_begins_with_whether_it_is_well_and_then_why() {
    for (file, dashboard) in dashboards() {
        let rows: Vec<&str> =
            dashboard["panels"].as_array().expect("panels").iter().filter(|p| p["type"] == "row").map(title).collect();
        assert_eq!(rows.first(), Some(&"Healthy?"), "{file}.json");
        assert!(rows.len() >= 3, "{file}.json: {rows:?}");
        let first = panels(&dashboard)[0];
        assert_eq!(first["type"], "stat", "{file}.json begins with an answer, not with a curve");
        let variables = dashboard["templating"]["list"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
        assert!(names.starts_with(&["datasource", "cluster", "node"]), "{file}.json: {names:?}");
        let text = dashboard["panels"].to_string();
        for name in names.iter().filter(|name| **name != "datasource") {
            assert!(text.contains(&format!("${name}")), "{file}.json: the variable {name} changes nothing");
        }
        assert_eq!(dashboard["uid"], format!("quorate-{file}"), "links between dashboards go by it");
    }
    let tables = |name| dashboard(name)["templating"]["list"].to_string().contains("\"table\"");
    assert!(tables("cluster") && tables("quorum"), "a table can be chosen where something is by table");
}

#[test]
fn panels_lie_beside_each_other_and_not_on_top() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let number = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
            let (x, y, w, h) = (number("x"), number("y"), number("w"), number("h"));
            assert!(x + w <= 24, "{file}.json, {:?} is beside the screen", title(panel));
            for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
                assert!(taken.insert(cell), "{file}.json, {:?} lies on another panel", title(panel));
            }
        }
    }
}

/// Alerts, each with its lines.
fn alerts() -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in read("alerts.yml").lines().map(str::trim) {
        match line.strip_prefix("- alert: ") {
            Some(name) => found.push((name.to_owned(), Vec::new())),
            None => {
                if let Some((_, lines)) = found.last_mut() {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_alert_says_what_to_type_and_is_tested() {
    let cases = read("tests/alerts.yml");
    let alerts = alerts();
    assert!(alerts.len() > 10, "the alerts were not understood: {alerts:?}");
    // Annotations that several alerts share stand at the first of them.
    let shared = read("alerts.yml");
    for (alert, lines) in alerts {
        let refers = lines.iter().find_map(|line| line.strip_prefix("annotations: *"));
        let runbook = match refers {
            Some(anchor) => {
                let from = shared.split(&format!("annotations: &{anchor}")).nth(1);
                from.and_then(|rest| rest.lines().find_map(|line| line.trim().strip_prefix("runbook: ")))
                    .map(str::to_owned)
            }
            None => lines.iter().find_map(|line| line.strip_prefix("runbook: ")).map(str::to_owned),
        };
        let runbook = runbook.unwrap_or_else(|| panic!("{alert} has no runbook"));
        assert!(runbook.matches('`').count() >= 2, "{alert}: the runbook names no command: {runbook}");
        assert!(lines.iter().any(|line| line.starts_with("labels: { severity: ")), "{alert}: whom does it wake?");
        assert!(cases.contains(&format!("alertname: {alert}\n")), "{alert} has no case in grafana/tests/alerts.yml");
        let fires = format!("alertname: {alert}\n    exp_alerts:\n");
        assert!(cases.contains(&fires), "{alert}: no case in which it fires");
    }
}
