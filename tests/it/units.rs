//! The units, judged by systemd's own tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::cluster::text_of;
use super::process::PROGRAM;

/// Highest exposure that systemd may find, in tenths: what is left is a service on the network.
const EXPOSURE_MAX: &str = "15";
const UNITS: [&str; 2] = ["quorate.service", "quorate@.service"];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name);
    fs::read_to_string(path).expect("a file of the project")
}

/// The units in a directory of their own, with the program under test in place of the installed one.
fn units() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in UNITS {
        let text = unit(name).replace("/usr/bin/quorate", PROGRAM);
        fs::write(dir.path().join(name), text).expect("our own directory");
    }
    dir
}

/// Runs a tool; all that it says.
fn tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(name).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}; `.ci/deps test` installs systemd"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn units_are_verified_by_systemd() {
    let dir = units();
    for name in UNITS {
        let path = text_of(&dir.path().join(name));
        let (fine, said) = tool("systemd-analyze", &["verify", "--man=no", &path]);
        assert!(fine && said.trim().is_empty(), "{name}: {said}");
    }
    let wrong = unit("quorate.service").replace("WatchdogSec=30", "WatchdogSec=often");
    let path = dir.path().join("wrong.service");
    fs::write(&path, wrong).expect("our own directory");
    let (_, said) = tool("systemd-analyze", &["verify", "--man=no", &text_of(&path)]);
    assert!(said.contains("often"), "a wrong unit is not found wrong: {said}");
}

#[test]
fn units_are_confined_as_far_as_a_service_on_the_network_can_be() {
    let dir = units();
    for name in UNITS {
        let path = text_of(&dir.path().join(name));
        let judge = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, &path];
        let (fine, said) = tool("systemd-analyze", &judge);
        assert!(fine && said.contains("Overall exposure level"), "{name}: {said}");
    }
    let open = unit("quorate.service").replace("ProtectSystem=strict", "").replace("PrivateUsers=yes", "");
    let open: Vec<&str> = open.lines().filter(|line| !line.starts_with("SystemCall")).collect();
    let open = open.join("\n") + "\n";
    let path = dir.path().join("open.service");
    fs::write(&path, open).expect("our own directory");
    let judge = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, &text_of(&path)];
    assert!(!tool("systemd-analyze", &judge).0, "a threshold that an open unit passes is none");
}

/// What the unit of one node and that of one of several differ in is the node's name.
#[test]
fn unit_of_an_instance_is_the_same_unit() {
    let settings = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
    };
    let expected = unit("quorate.service")
        .replace("Description=Quorate key-value node", "Description=Quorate key-value node %i")
        .replace("/etc/quorate/node.", "/etc/quorate/%i.")
        .replace("/etc/quorate/quorate.", "/etc/quorate/%i.")
        .replace("StateDirectory=quorate\n", "StateDirectory=quorate-%i\n")
        .replace("RuntimeDirectory=quorate\n", "RuntimeDirectory=quorate-%i\n");
    assert_eq!(settings(unit("quorate@.service")), settings(expected));
}

#[test]
fn users_and_directories_are_made_as_systemd_makes_them() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(root.path().join("etc")).expect("our own directory");
    let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let at_root = format!("--root={}", text_of(root.path()));
    let run = |name: &str, more: &[&str], file: &str| {
        let file = text_of(&entries.join(file));
        let mut arguments = vec![at_root.as_str()];
        arguments.extend(more);
        arguments.push(&file);
        let (succeeded, said) = tool(name, &arguments);
        assert!(succeeded, "{name}: {said}");
    };
    run("systemd-sysusers", &[], "quorate.sysusers");
    let users = fs::read_to_string(root.path().join("etc/passwd")).expect("sysusers writes it");
    let user = users.lines().find(|line| line.starts_with("quorate:")).unwrap_or_else(|| panic!("no user: {users}"));
    assert!(user.contains(":Quorate node:/var/lib/quorate:") && user.ends_with("nologin"), "{user}");
    // Directories are given to that user, which only root may do.
    if is_root() {
        run("systemd-tmpfiles", &["--create"], "quorate.tmpfiles");
        assert!(root.path().join("etc/quorate").is_dir() && root.path().join("var/lib/quorate").is_dir());
    }
}

fn is_root() -> bool {
    let (_, said) = tool("id", &["-u"]);
    said.trim() == "0"
}
