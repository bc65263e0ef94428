//! `quorate dev`, as a newcomer meets it: it starts, says what to type, takes it, and stops on Ctrl-C.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command::{Ran, shell};
use super::door::{Door, item};
use super::ports::Ports;
use super::process::{Process, Signal};

/// A development cluster and its directory.
struct Developing {
    process: Process,
    dir: TempDir,
    ports: Ports,
}

impl Developing {
    fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("quorate-it-dev-").tempdir().expect("a temporary directory");
        let ports = Ports::take();
        let base = ports.first().to_string();
        let arguments = [&["dev", "--base-port", &base], arguments].concat();
        let process = Process::new(arguments, dir.path(), &dir.path().join("dev.log"));
        Self { process, dir, ports }
    }

    /// Starts it; all that it says before it waits.
    fn start(&mut self) -> String {
        self.process.start();
        self.process.says("Ctrl-C stops it")
    }

    /// Ctrl-C; fails unless that is no failure.
    fn stop(&mut self) {
        self.process.signal(Signal::Interrupt);
        let status = self.process.ended();
        let log = self.process.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopped; everything that was acknowledged is on the disk"), "{log}");
    }

    fn run(&self, line: &str) -> Ran {
        shell(line, self.dir.path())
    }
}

/// The commands that it offers to try.
fn offered(greeting: &str) -> Vec<String> {
    let after = greeting.split("try, in another terminal:").nth(1).unwrap_or_else(|| panic!("{greeting}"));
    let lines = after.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Ctrl-C"));
    lines.map(str::to_owned).collect()
}

/// The directory that a greeting names.
fn directory(greeting: &str) -> PathBuf {
    let named = greeting.lines().find_map(|line| line.strip_prefix("starting three nodes in "));
    Path::new(named.unwrap_or_else(|| panic!("{greeting}")).trim_end_matches(" ..")).to_owned()
}

#[test]
fn ephemeral_cluster_takes_the_five_commands_and_leaves_nothing() {
    let mut developing = Developing::new(&["--ephemeral"]);
    let greeting = developing.start();
    for node in 0..3 {
        let (quic, http) = (developing.ports.control(node), developing.ports.http(node));
        assert!(greeting.contains(&format!("quic {quic}/udp   http http://{http}")), "{greeting}");
    }
    let commands = offered(&greeting);
    let [put, get, status, read, write] = commands.as_slice() else { panic!("five commands: {commands:?}") };
    developing.run(put).expect_code(0);
    assert_eq!(developing.run(get).expect_code(0).text(), "hello, world");
    let shown = developing.run(status).expect_code(0).text();
    assert!(["n1", "n2", "n3", "64/64"].iter().all(|word| shown.contains(word)), "{shown}");
    let shown = developing.run(read).expect_code(0).text();
    assert!(shown.starts_with("HTTP/1.1 200") && shown.ends_with("hello, world"), "{shown}");
    assert!(shown.to_lowercase().contains("quorate-context: "), "{shown}");
    let shown = developing.run(write).expect_code(0).json();
    assert_eq!(shown["stored"]["fallbacks"], 0, "{shown}");
    // curl had no context, so there are two versions now, and get says so.
    let both = developing.run(get).expect_code(3).text();
    assert!(both.contains("hello, world") && both.contains("from curl"), "{both}");

    let directory = directory(&greeting);
    assert!(directory.join("client.toml").exists(), "{}", directory.display());
    developing.stop();
    assert!(!directory.exists(), "{} is left behind", directory.display());
}

#[test]
fn cluster_in_a_directory_keeps_its_data_between_runs() {
    let mut developing = Developing::new(&["--dir", "kept", "--shards", "2"]);
    let greeting = developing.start();
    assert!(greeting.contains("(new)"), "{greeting}");
    let get = offered(&greeting).get(1).cloned().unwrap_or_else(|| panic!("{greeting}"));
    let target = item("default", "greeting");
    for node in 0..20 {
        let door = Door::new(developing.ports.http(node % 3));
        door.put(&item("default", &format!("key {node}")), None, format!("value {node}").as_bytes()).expect(200);
    }
    let first = Door::new(developing.ports.http(0));
    first.put(&target, None, b"kept").expect(200);
    developing.stop();

    let greeting = developing.start();
    assert!(greeting.contains("(kept from an earlier run)"), "{greeting}");
    assert_eq!(developing.run(&get).expect_code(0).text(), "kept");
    for node in 0..20 {
        let door = Door::new(developing.ports.http((node + 1) % 3));
        let answer = door.get(&item("default", &format!("key {node}"))).expect(200);
        assert_eq!(String::from_utf8_lossy(&answer.body), format!("value {node}"));
    }
    // A second one on the same directory or ports is told so, and the first goes on.
    let port = developing.ports.first();
    let line = format!("{} dev --dir kept --base-port {port}", super::process::PROGRAM);
    let second = developing.run(&line);
    assert_ne!(second.code, Some(0), "{second}");
    second.complains(&["in use"]);
    assert_eq!(developing.run(&get).expect_code(0).text(), "kept");
    developing.stop();
}
