//! A cluster under the real Prometheus, with the configuration, the rules and the dashboards under `grafana/`.
//!
//! What can be asked is asked: every expression of every panel and every rule has to be valid and to return a number,
//! in a cluster of three under load: there is no exception among the panels. Alerts must return nothing there, so for
//! them `promtool` has cases (`grafana/tests/alerts.yml`), and one of them is provoked at the end. What `promtool` has
//! to say about metrics, rules, their cases and the configuration is heard too. `promtool` and `prometheus` are
//! Debian's package `prometheus`; `.ci/deps test` installs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value as Json;

use super::cluster::{Cluster, Shape, text_of};
use super::dashboards::{dashboards, expressions, grafana, panels, read, title};
use super::door::{Door, item};
use super::until;

/// A Prometheus of our own.
struct Prometheus {
    child: Child,
    agent: ureq::Agent,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one in a directory that has its configuration.
    fn start(directory: &Path, address: SocketAddr) -> Self {
        let log = fs::File::create(directory.join("prometheus.log")).expect("a log in our own directory");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", text_of(&directory.join("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", text_of(&directory.join("tsdb"))))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle of an open file"))
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("prometheus: {error}; `.ci/deps test` installs it"));
        let prometheus = Self { child, agent: ureq::Agent::new_with_defaults(), address };
        until("Prometheus is ready", || prometheus.ask("/-/ready"));
        prometheus
    }

    fn ask(&self, target: &str) -> Result<String, String> {
        let answer = self.agent.get(format!("http://{}{target}", self.address)).call();
        let mut answer = answer.map_err(|error| format!("{target}: {error}"))?;
        answer.body_mut().read_to_string().map_err(|error| format!("{target}: {error}"))
    }

    /// What an expression returns now: a finite number, or why not.
    fn query(&self, expression: &str) -> Result<f64, String> {
        // An error of the expression is one of the status too: the message is in the body, which the agent then drops.
        let body =
            self.agent.post(format!("http://{}/api/v1/query", self.address)).config().http_status_as_error(false);
        let answer = body.build().send_form([("query", expression)]);
        let text = answer.map_err(|error| error.to_string())?.body_mut().read_to_string();
        let json: Json = serde_json::from_str(&text.map_err(|error| error.to_string())?).map_err(|e| e.to_string())?;
        if json["status"] != "success" {
            return Err(format!("invalid: {}", json["error"]));
        }
        let results = json["data"]["result"].as_array().cloned().unwrap_or_default();
        let mut values = results.iter().filter_map(|result| result["value"][1].as_str()?.parse::<f64>().ok());
        let finite = values.find(|value| value.is_finite());
        finite.ok_or_else(|| format!("returns nothing: {}", json["data"]))
    }

    /// The alerts that are pending or firing, by name.
    fn alerts(&self) -> Result<BTreeMap<String, String>, String> {
        let json: Json = serde_json::from_str(&self.ask("/api/v1/alerts")?).map_err(|error| error.to_string())?;
        let alerts = json["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        Ok(alerts.iter().map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"]))).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        self.child.kill().and_then(|()| self.child.wait()).map(drop).unwrap_or_default();
    }
}

/// The sample configuration, with a shorter breath and the addresses of this cluster.
fn configuration(doors: &[Door]) -> String {
    let mut text = read("prometheus.yml").replace("15s", "1s");
    for (node, door) in doors.iter().enumerate() {
        let sample = format!("127.0.0.1:{}", 7480 + node);
        assert!(text.contains(&sample), "the sample has a target for each node of `quorate dev`");
        text = text.replace(&sample, &door.address.to_string());
    }
    text
}

/// An expression of a panel, as Grafana would send it.
fn expanded(expression: &str) -> String {
    let variables = [("$__rate_interval", "10s"), ("$cluster", "dev"), ("$node", ".+"), ("$table", ".+")];
    let expanded = variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!expanded.contains('$'), "{expression}: a variable that this test does not know");
    expanded
}

/// Reads and writes until told to stop: single versions, siblings, what is not there, what is refused.
fn load(doors: &[Door], stop: &AtomicBool) {
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let door = &doors[usize::try_from(round).unwrap_or(0) % doors.len()];
        for table in ["carts", "orders"] {
            let path = item(table, &format!("key {}", round % 50));
            let read = door.get(&path);
            let context = read.header("quorate-context").map(str::to_owned);
            // Now and then a client writes without having read.
            let context = context.filter(|_| round % 7 != 0);
            door.put(&path, context.as_deref(), format!("value {round}").as_bytes());
            door.get(&format!("{path}?quorum=strict&r=3"));
        }
        door.get(&item("nowhere", "nothing"));
        door.get("/v1/kv/UPPER/x");
        door.get("/readyz");
    }
}

/// Runs promtool, with something on its standard input; what it said.
fn promtool(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(grafana(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; `.ci/deps test` installs it"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("promtool reads what it is given");
    let output = child.wait_with_output().expect("our own child");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("promtool {arguments:?}: {said}")) }
}

#[test]
fn promtool_finds_nothing_wrong_with_rules_and_their_cases() {
    let said = promtool(&["check", "config", "prometheus.yml"], "").unwrap();
    assert!(said.contains("SUCCESS: 2 rule files found"), "{said}");
    promtool(&["check", "rules", "--lint-fatal", "rules.yml", "alerts.yml"], "").unwrap();
    let said = promtool(&["test", "rules", "tests/alerts.yml"], "").unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
    let broken = promtool(&["check", "rules"], "groups:\n- name: g\n  rules:\n  - record: r\n    expr: sum(\n");
    assert!(broken.is_err(), "a check that cannot fail checks nothing: {broken:?}");
}

#[test]
fn prometheus_scrapes_a_cluster_and_every_panel_and_rule_returns_something() {
    let mut cluster = Cluster::start(Shape::SAFE);
    let doors = cluster.doors();
    let directory = cluster.path("prometheus");
    fs::create_dir(&directory).expect("a directory in our own");
    for rules in ["rules.yml", "alerts.yml"] {
        fs::copy(grafana(rules), directory.join(rules)).expect("a copy of the rules");
    }
    fs::write(directory.join("prometheus.yml"), configuration(&doors)).expect("a configuration");
    let prometheus = Prometheus::start(&directory, cluster.ports.http(3));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| load(&doors, &stop));
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask_everything(&prometheus)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = asked {
            std::panic::resume_unwind(panic);
        }
    });
    for door in &doors {
        let page = String::from_utf8(door.get("/metrics").expect(200).body).expect("text");
        promtool(&["check", "metrics"], &page).unwrap();
    }
    let firing: Vec<_> = prometheus.alerts().unwrap().into_iter().filter(|(_, state)| state == "firing").collect();
    assert!(firing.is_empty(), "a healthy cluster wakes nobody: {firing:?}");

    cluster.nodes[2].kill();
    until("the end of a node is noticed", || match prometheus.alerts()?.get("QuorateNodeDown") {
        Some(_) => Ok(()),
        None => Err("no alert yet".to_owned()),
    });
}

fn ask_everything(prometheus: &Prometheus) {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for expression in expressions(panel) {
                let place = format!("{file}.json, {:?}: {expression}", title(panel));
                let query = expanded(expression);
                until(&place, || prometheus.query(&query).map(drop));
            }
        }
        let annotations = dashboard["annotations"]["list"].as_array().cloned().unwrap_or_default();
        for expression in annotations.iter().filter_map(|annotation| annotation["expr"].as_str()) {
            let answer = prometheus.query(&expanded(expression));
            assert!(!matches!(&answer, Err(why) if why.starts_with("invalid")), "{file}.json: {answer:?}");
        }
    }
    for line in read("rules.yml").lines() {
        if let Some(record) = line.trim().strip_prefix("- record: ") {
            until(record, || prometheus.query(record).map(drop));
        }
    }
}
