//! What is configured, and what the program tells of itself: `quorate config`, the environment, man pages, completions.

use std::fs;
use std::path::Path;

use super::cluster::{Cluster, Shape, text_of};
use super::command::{Invocation, shell};
use super::process::PROGRAM;

#[test]
fn reference_is_the_example_that_is_installed() {
    let printed = Invocation::new().args(["config", "reference"]).run().expect_code(0).text();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/quorate.toml");
    assert_eq!(printed, fs::read_to_string(example).expect("a file of the project"));
}

#[test]
fn configuration_is_checked_without_starting_anything() {
    let cluster = Cluster::prepare(Shape::SMALL);
    let file = text_of(&cluster.path("n1.toml"));
    let check = |more: &[&str]| Invocation::new().args(["config", "check", &file]).args(more).run();
    let report = check(&["--tls", "--show"]).expect_code(0).text();
    for words in ["is a configuration", "node n1, data in ", "certificate of node ", "storage.read_threads = 2"] {
        assert!(report.contains(words), "no {words:?} in {report}");
    }
    assert!(!cluster.path("n1").exists(), "a check has made the data directory");

    fs::write(&file, cluster.config(0).replace("durability = \"os\"", "durabilty = \"os\"")).expect("our own file");
    let expected = "n1.toml:5: unknown field \"durabilty\"; did you mean \"durability\"?";
    check(&[]).expect_code(1).complains(&[expected]);
    fs::write(&file, cluster.config(0)).expect("our own file");
    fs::rename(cluster.path("certs/app.crt"), cluster.path("certs/n1.crt")).expect("our own files");
    fs::rename(cluster.path("certs/app.key"), cluster.path("certs/n1.key")).expect("our own files");
    check(&[]).expect_code(0);
    check(&["--tls"]).expect_code(1).complains(&["n1.crt is the certificate of client app, not of a node"]);
}

#[test]
fn environment_overrides_the_file_of_a_running_node() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    cluster.nodes[0].set_variable("QUORATE_NAME", "renamed");
    cluster.nodes[0].set_variable("QUORATE_SERVICE_HOST", "10.96.0.1");
    cluster.start_node(0);
    let log = cluster.nodes[0].says("renamed (");
    assert!(log.contains("the environment overrides the configuration") && log.contains("QUORATE_NAME"), "{log}");
    assert!(log.contains("these environment variables mean nothing here"), "{log}");
    cluster.nodes[0].kill();
    cluster.nodes[0].set_variable("QUORATE_SHARD", "3");
    cluster.nodes[0].start();
    assert!(!cluster.nodes[0].ended().success());
    let log = cluster.nodes[0].log();
    assert!(log.contains("environment: unknown variable QUORATE_SHARD; did you mean QUORATE_SHARDS?"), "{log}");
}

#[test]
fn every_subcommand_has_a_man_page_with_examples() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let man = dir.path().join("man");
    Invocation::new().args(["man", &text_of(&man)]).run().expect_code(0);
    let mut pages: Vec<_> = fs::read_dir(&man)
        .expect("it was just written")
        .map(|page| page.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    pages.sort();
    for page in ["quorate.1", "quorate-server.1", "quorate-config-check.1", "quorate-cluster-create.1"] {
        assert!(pages.iter().any(|name| name == page), "no {page} among {pages:?}");
    }
    let server = fs::read_to_string(man.join("quorate-server.1")).expect("a page");
    for part in [".TH quorate-server 1", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", "Examples:", "accept"] {
        assert!(server.contains(part), "no {part:?} in {server}");
    }
}

/// bash is asked as it asks itself when somebody presses Tab.
#[test]
fn completions_complete() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for shell_name in ["bash", "zsh", "fish"] {
        let script = Invocation::new().args(["completions", shell_name]).run().expect_code(0).text();
        assert!(script.contains("accept-loss"), "no option of a subcommand for {shell_name}: {script}");
        fs::write(dir.path().join(shell_name), script).expect("our own directory");
    }
    let line = "bash -c 'source ./bash; COMP_WORDS=(quorate config ch); COMP_CWORD=2; _quorate quorate ch config; \
                echo \"${COMPREPLY[@]}\"'";
    assert_eq!(shell(line, dir.path()).expect_code(0).text(), "check\n");
    assert!(Path::new(PROGRAM).exists());
    Invocation::new().args(["completions", "tcsh"]).run().expect_code(2).complains(&["possible values: bash"]);
}
