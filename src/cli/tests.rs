//! What is typed, and what comes of it with a cluster of fake nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use tokio::runtime::Runtime;

use super::*;
use crate::client::tests::fixture::{Fake, Mood};
use crate::pki::Role;
use crate::protocol::wire::FailureCode;

#[test]
fn definitions_of_arguments_contradict_nothing() {
    command().debug_assert();
}

/// The subcommands that do something, as they are typed, each with its definition.
fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let inner = |sub: &clap::Command| leaves(sub, &format!("{path} {}", sub.get_name()));
    match command.has_subcommands() {
        true => {
            let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
            command.get_subcommands().filter(shown).flat_map(inner).collect()
        }
        false => vec![(path.trim().to_owned(), command.clone())],
    }
}

/// The words of a line, as a shell splits it, up to a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let pieces = quoted.flat_map(|(at, piece)| match at % 2 {
        0 => piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![piece.to_owned()],
    });
    pieces.take_while(|word| !matches!(word.as_str(), "|" | ">")).collect()
}

#[test]
fn every_subcommand_has_examples_in_its_help_and_every_example_parses() {
    let leaves = leaves(&command(), "");
    assert!(leaves.len() > 15, "{leaves:?}");
    for (path, definition) in &leaves {
        let help = definition.clone().render_long_help().to_string();
        let example = format!("Examples:\n  quorate {path}");
        assert!(help.contains(&example), "`quorate {path} --help` has no example; add one to cli/examples.rs:\n{help}");
    }
    for (path, examples) in examples::EXAMPLES {
        assert!(leaves.iter().any(|(leaf, _)| leaf == path), "examples.rs has `{path}`, which is no subcommand");
        for (line, what) in *examples {
            assert!(line.starts_with(&format!("quorate {path}")) && !what.is_empty(), "{line}");
            command().try_get_matches_from(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

/// Parses a line; an error as its text.
fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::try_parse_from(["quorate"].into_iter().chain(line.split_whitespace())).map_err(|error| error.to_string())
}

#[test]
fn command_lines_that_people_type_are_taken() {
    for line in [
        "put k v",
        "put k - --table carts --sort 2024 --strict -w 3 --json --timeout 500ms",
        "put -k -v --context AQE --write-id 0123456789abcdef0123456789abcdef",
        "put a2V5 @file --base64",
        "get k -r 2 --profile p.toml",
        "--profile p.toml get k --json",
        "delete k --context AQE",
        "status --json",
        "top --once --interval 2s --json",
        "key inspect k --table carts --sort 2024 --node n1 --json --timeout 500ms",
        "key inspect -k --base64",
        "cluster create n1=127.0.0.1:7400 n2=127.0.0.1:7410 n3=[::1]:7420 --zone n1=a --weight n2=2 --table t=lww",
        "cluster create n1=127.0.0.1:7400 --replicas 1 --certificate a.crt --key a.key --ca ca.crt",
        "import f.jsonl --existing replace --in-flight 8 --max-errors 5",
        "export --table t --output f.jsonl",
        "bench run",
        "bench run --workload b --keys 1000000 --value-size 100-2000 --rate 20000.5 --poisson --processes 2 --verify",
        "bench run --mix get=1,rmw=1 --distribution hotspot:0.1:0.9 --in-flight 8 --keep --out r.json --table t",
        "bench run --skip-load --seed 7 --mix put",
        "bench run --duration 1m --warmup 0s --timeout 500ms --distribution zipfian:1.2 --blind --json",
        "cert ca",
    ] {
        parse(line).unwrap();
    }
}

#[test]
fn mistakes_name_the_argument_and_the_way_out() {
    for (line, words) in [
        ("put k", "VALUE"),
        ("get k -r 0", "1..=7"),
        ("put k v -w 9", "1..=7"),
        ("get k --timeout 2h", "1ms to 60s"),
        ("get k --timeout soon", "500ms"),
        ("put k v --context %%", "base64url"),
        ("put k v --write-id 12", "32 hexadecimal digits"),
        ("cluster create", "NAME=ADDR"),
        ("cluster create n1", "NAME=VALUE"),
        ("cluster create n1=here", "here"),
        ("cluster create n1=1.2.3.4:5 --partitions 63", "power of two"),
        ("cluster create n1=1.2.3.4:5 --table t=newest", "lww or siblings"),
        ("cluster create n1=1.2.3.4:5 --certificate a.crt", "--key"),
        ("cluster create n1=1.2.3.4:5 --certificate a --key b --ca c --admin ops", "cannot be used with"),
        ("top --interval 10ms", "250ms to 60s"),
        ("top --json", "--once"),
        ("key inspect", "KEY"),
        ("key look k", "look"),
        ("import f.jsonl --existing drop", "replace"),
        ("import f.jsonl --table Up", "a-z 0-9"),
        ("bench run --mix read=5", "there is get, put"),
        ("bench run --workload g", "a, b, c, d, e and f"),
        ("bench run --workload a --mix get", "cannot be used with"),
        ("bench run --distribution pareto", "hotspot:0.2:0.8"),
        ("bench run --distribution zipfian:x", "no number"),
        ("bench run --value-size 1k", "100-2000"),
        ("bench run --poisson", "--rate"),
        ("bench run --duration soon", "10s"),
        ("delte k", "delete"),
    ] {
        let error = parse(line).map(drop).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn errors_have_their_exit_codes() {
    let refused = |code| {
        let failure = crate::protocol::wire::Failure::new(code, "no");
        anyhow::Error::from(crate::client::ClientError::Refused { node: "n1".to_owned(), failure }).context("outer")
    };
    assert_eq!(outcome::code_of(&refused(FailureCode::QuorumNotMet)), 5);
    assert_eq!(outcome::code_of(&refused(FailureCode::TimedOut)), 5);
    assert_eq!(outcome::code_of(&refused(FailureCode::BadInput)), 1);
    assert_eq!(outcome::code_of(&outcome::UsageError("x".to_owned()).into()), 2);
    assert_eq!(outcome::code_of(&anyhow::anyhow!("x")), 1);
    let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
    assert!(outcome::is_broken_pipe(&anyhow::Error::from(pipe).context("writing")));
}

/// A cluster of fake nodes on threads of its own, and a directory with a profile for it.
struct World {
    fake: Arc<Fake>,
    dir: tempfile::TempDir,
    _runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let fake = runtime.block_on(Fake::start());
        let dir = tempfile::tempdir().unwrap();
        fake.authority.write(dir.path()).unwrap();
        for (name, role) in [("app", Role::client("app").unwrap()), ("admin", Role::admin("admin").unwrap())] {
            let hour = std::time::Duration::from_secs(3600);
            fake.authority.issue(name, role, hour, crate::pki::Moment::now()).unwrap().write(dir.path(), name).unwrap();
        }
        let nodes: Vec<String> = fake.addresses().iter().map(|address| format!("\"{address}\"")).collect();
        let files = "certificate = \"app.crt\"\nkey = \"app.key\"\nca = \"ca.crt\"\ntimeout = \"10s\"\n";
        fs::write(dir.path().join("client.toml"), format!("nodes = [{}]\n{files}", nodes.join(", "))).unwrap();
        Self { fake, dir, _runtime: runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// Carries out a command line; an error as its exit code and text.
    fn try_quorate(&self, line: &str) -> Result<Outcome, (u8, String)> {
        let line = format!("--profile {} {line}", self.path("client.toml").display());
        carry_out(parse(&line).unwrap()).map_err(|error| (outcome::code_of(&error), format!("{error:#}")))
    }

    fn quorate(&self, line: &str) -> Outcome {
        self.try_quorate(line).unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    /// Everything that is stored, by an export.
    fn export(&self) -> Vec<String> {
        let path = self.path("export.jsonl");
        assert_eq!(self.quorate(&format!("export --output {}", path.display())), Outcome::Done);
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn put_get_and_delete_end_as_they_should() {
    let world = World::new();
    assert_eq!(world.quorate("get k"), Outcome::Absent);
    assert_eq!(world.quorate("put k first -w 2 --strict"), Outcome::Done);
    assert_eq!(world.quorate("get k -r 2"), Outcome::Done);
    assert_eq!(world.quorate("put k second --json"), Outcome::Done);
    assert_eq!(world.quorate("get k"), Outcome::Siblings);
    assert_eq!(world.quorate("get k --json"), Outcome::Siblings);
    assert_eq!(world.quorate("delete k"), Outcome::Done);
    assert_eq!(world.quorate("get k --json"), Outcome::Absent);
    let file = world.write("value", "from a file");
    assert_eq!(world.quorate(&format!("put /wA= @{file} --base64 --sort /w==")), Outcome::Done);
    assert_eq!(
        world.export(),
        [r#"{"table":"default","key_base64":"/wA=","sort_base64":"/w==","value":"from a file"}"#]
    );
    world.fake.nodes.iter().for_each(|node| node.feel(Mood::Refuses(FailureCode::QuorumNotMet)));
    assert_eq!(world.try_quorate("put k third").unwrap_err().0, 5);
    assert_eq!(world.try_quorate("get k --sort ! --base64").unwrap_err().0, 2);
}

#[test]
fn import_of_an_export_restores_everything_siblings_included() {
    let world = World::new();
    for line in ["put a 1", "put a 2", "put b 3 --sort x", "put c 4 --table other", "put d 5", "delete d"] {
        world.quorate(line);
    }
    let exported = world.export();
    assert_eq!(exported.len(), 4, "{exported:?}");
    let file = world.write("in.jsonl", &(exported.join("\n") + "\n"));
    // Another cluster, with the same authority for the test's sake: what is gone comes back.
    for node in &world.fake.nodes {
        node.items.lock().unwrap().clear();
    }
    assert_eq!(world.quorate(&format!("import {file}")), Outcome::Done);
    assert_eq!(values(&world.export()), values(&exported));
    assert!(!world.path("in.jsonl.quorate-progress").exists());
    // Again: everything is recognised, by --existing add too.
    for existing in ["skip", "replace", "add"] {
        assert_eq!(world.quorate(&format!("import {file} --existing {existing}")), Outcome::Done);
        assert_eq!(values(&world.export()), values(&exported), "{existing}");
    }
}

/// Key and value of each line, sorted: contexts and dots differ from import to import.
fn values(lines: &[String]) -> Vec<(String, String)> {
    let field = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut out: Vec<_> =
        lines.map(|line| (field(&line, "key") + &field(&line, "sort"), field(&line, "value"))).collect();
    out.sort();
    out
}

#[test]
fn existing_items_are_skipped_replaced_or_joined_as_asked() {
    let world = World::new();
    world.quorate("put k old");
    let file = world.write("in.jsonl", "{\"key\":\"k\",\"value\":\"new\"}\n");
    let now = |world: &World| values(&world.export()).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    world.quorate(&format!("import {file}"));
    assert_eq!(now(&world), ["old"]);
    world.quorate(&format!("import {file} --existing add"));
    assert_eq!(now(&world), ["new", "old"]);
    let file = world.write("other.jsonl", "\n{\"key\":\"k\",\"value\":\"newer\"}");
    world.quorate(&format!("import {file} --existing replace"));
    assert_eq!(now(&world), ["newer"]);
}

#[test]
fn bad_and_failed_lines_are_reported_and_the_rest_is_stored() {
    let world = World::new();
    let text =
        "{\"key\":\"a\",\"value\":\"1\"}\nnonsense\n{\"key\":\"b\",\"value\":\"2\"}\n{\"kye\":\"c\",\"value\":\"3\"}\n";
    let file = world.write("in.jsonl", text);
    assert_eq!(world.quorate(&format!("import {file}")), Outcome::Failed);
    assert_eq!(world.export().len(), 2);
    // Only the file is wrong: there is nothing to come back to.
    assert!(!world.path("in.jsonl.quorate-progress").exists());
    assert_eq!(world.quorate(&format!("import {file} --max-errors 1")), Outcome::Failed);
    assert!(world.path("in.jsonl.quorate-progress").exists());

    let file = world.write("more.jsonl", "{\"key\":\"z\",\"value\":\"1\"}\n");
    world.fake.nodes.iter().for_each(|node| node.feel(Mood::Refuses(FailureCode::QuorumNotMet)));
    assert_eq!(world.quorate(&format!("import {file}")), Outcome::Failed);
    assert!(world.path("more.jsonl.quorate-progress").exists());
    world.fake.nodes.iter().for_each(|node| node.feel(Mood::Well));
    assert_eq!(world.quorate(&format!("import {file}")), Outcome::Done);
    assert!(!world.path("more.jsonl.quorate-progress").exists());
}

#[test]
fn many_lines_are_imported_and_exported_in_one_order() {
    let world = World::new();
    let lines: Vec<String> = (0..500).map(|n| format!("{{\"key\":\"key {n}\",\"value\":\"{n}\"}}")).collect();
    let file = world.write("in.jsonl", &lines.join("\n"));
    assert_eq!(world.quorate(&format!("import {file} --in-flight 32")), Outcome::Done);
    let first = world.export();
    assert_eq!(first.len(), 500);
    assert_eq!(world.export(), first);
}

#[test]
fn status_is_one_only_when_no_node_answers() {
    let world = World::new();
    assert_eq!(world.quorate("status"), Outcome::Done);
    world.fake.nodes[0].stop();
    assert_eq!(world.quorate("status --json --timeout 300ms"), Outcome::Done);
    world.fake.nodes[1].stop();
    world.fake.nodes[2].stop();
    assert_eq!(world.quorate("status --timeout 300ms"), Outcome::Failed);
}

#[test]
fn key_is_inspected_and_top_gives_a_frame_as_long_as_a_node_answers() {
    let world = World::new();
    assert_eq!(world.quorate("put k first"), Outcome::Done);
    for line in
        ["key inspect k", "key inspect k --json", "key inspect nothing --node n2", "top --once --interval 250ms"]
    {
        assert_eq!(world.quorate(line), Outcome::Done, "{line}");
    }
    let (code, text) = world.try_quorate("key inspect k --node n9").unwrap_err();
    assert_eq!(code, 2);
    assert!(text.contains("no member has this name or id; the members are n1, n2, n3"), "{text}");
    world.fake.nodes[0].stop();
    world.fake.nodes[1].stop();
    assert_eq!(world.quorate("key inspect k --timeout 300ms"), Outcome::Done);
    assert_eq!(world.quorate("key inspect k --timeout 300ms --node n1"), Outcome::Failed);
    assert_eq!(world.quorate("top --once --json --interval 250ms"), Outcome::Done);
}

#[test]
fn create_reaches_all_nodes_completes_what_was_begun_and_refuses_another() {
    let world = World::new();
    let dir = Path::display(world.dir.path()).to_string();
    let nodes: Vec<String> = (1..).zip(world.fake.addresses()).map(|(n, address)| format!("n{n}={address}")).collect();
    let create = format!("cluster create {} --admin-dir {dir} --partitions 8", nodes.join(" "));
    assert_eq!(world.quorate(&create), Outcome::Done);
    let record = |node: usize| world.fake.nodes[node].creation.lock().unwrap().clone();
    let made = record(0).unwrap();
    assert_eq!((record(1), record(2)), (Some(made.clone()), Some(made.clone())));
    // One node has lost the race with the power cut: the same command gives it the same record.
    *world.fake.nodes[2].creation.lock().unwrap() = None;
    assert_eq!(world.quorate(&create), Outcome::Done);
    assert_eq!(record(2), Some(made.clone()));
    let (code, text) = world.try_quorate(&format!("{create} --table t=lww")).unwrap_err();
    assert_eq!(code, 1);
    assert!(text.contains("differs in tables") && text.contains(&made.layout.to_string()), "{text}");
    world.fake.nodes[1].stop();
    let (_, text) = world.try_quorate(&format!("{create} --timeout 300ms")).unwrap_err();
    assert!(text.contains("nothing was changed") && text.contains("n2: cannot reach"), "{text}");
    let (code, text) = world.try_quorate("cluster create n1=127.0.0.1:1 --admin-dir /nonexistent").unwrap_err();
    assert_eq!(code, 2, "{text}");
    let (_, text) =
        world.try_quorate("cluster create n1=127.0.0.1:1 --replicas 1 --admin-dir /nonexistent").unwrap_err();
    assert!(text.contains("quorate cert admin"), "{text}");
}
