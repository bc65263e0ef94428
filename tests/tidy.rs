//! Reads the code and keeps the house in shape (design section 2), so that nobody has to remember to.
//!
//! Each rule is a pure function from text to a list of violations, `file:line: what, and what to do`. Each is tested
//! twice: the project keeps it, and a bad example breaks it, for a check that cannot fail checks nothing.

#![expect(clippy::panic, reason = "a test's way to fail; clippy exempts only functions marked #[test]")]

#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/field.rs"]
mod field;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;
use std::process::Command;

use source::{Source, paths, tokens};

/// Who may import whom, from the ground up. A row names only rows above it, so every arrow points down.
/// `protocol` on the right means all of its rooms; on the left it is `protocol/mod.rs`, which only opens doors.
const FLOORS: &[(&str, &[&str])] = &[
    ("protocol::types", &[]),
    ("protocol::version", &["protocol::types"]),
    ("protocol::ring", &["protocol::types"]),
    ("protocol::merkle", &["protocol::types"]),
    ("protocol::wire", &["protocol::types", "protocol::version", "protocol::ring"]),
    ("protocol::membership", &["protocol::types", "protocol::version", "protocol::ring", "protocol::wire"]),
    ("protocol::coordinator", &["protocol::types", "protocol::version", "protocol::ring", "protocol::wire"]),
    (
        "protocol::replica",
        &["protocol::types", "protocol::version", "protocol::ring", "protocol::merkle", "protocol::wire"],
    ),
    (
        "protocol::anti_entropy",
        &["protocol::types", "protocol::version", "protocol::ring", "protocol::merkle", "protocol::wire"],
    ),
    (
        "protocol::shard",
        &[
            "protocol::types",
            "protocol::version",
            "protocol::ring",
            "protocol::merkle",
            "protocol::wire",
            "protocol::membership",
            "protocol::coordinator",
            "protocol::replica",
            "protocol::anti_entropy",
        ],
    ),
    (
        "protocol",
        &[
            "protocol::types",
            "protocol::version",
            "protocol::ring",
            "protocol::merkle",
            "protocol::wire",
            "protocol::membership",
            "protocol::coordinator",
            "protocol::replica",
            "protocol::anti_entropy",
            "protocol::shard",
        ],
    ),
    ("sim", &["protocol"]),
    ("metrics", &["protocol"]),
    ("storage", &["protocol", "metrics"]),
    ("pki", &["protocol"]),
    ("config", &["protocol", "pki"]),
    ("transport", &["protocol", "metrics", "pki"]),
    ("server", &["protocol", "metrics", "storage", "pki", "config", "transport"]),
    ("client", &["protocol", "pki", "config", "transport"]),
    ("load", &["protocol", "metrics", "storage", "pki", "config", "transport", "client"]),
    ("cli", &["protocol", "sim", "metrics", "storage", "pki", "config", "transport", "server", "client", "load"]),
    ("main", &["cli"]),
    // The build script: a program of its own, which knows nothing of ours.
    ("build", &[]),
];

/// Files of `protocol` that may name `HashMap` or `HashSet`, each with the reason why no order leaks from it.
const HASH_ORDER_ALLOWED: &[(&str, &str)] = &[];

/// Crates that are as pure as the rules: no clock, socket, file, thread or entropy in what we call of them.
const PROTOCOL_CRATES: &[&str] = &[
    "base64",
    "bytes",
    "postcard",
    "proptest",
    "rand_core",
    "rand_xoshiro",
    "serde",
    "siphasher",
    "slab",
    "thiserror",
    "xxhash_rust",
];

/// Paths of the standard library that `protocol` may not name, and what to do instead.
const PROTOCOL_STD: &[(&str, &str)] = &[
    ("std::time::Instant", "take `now: types::Instant` as an argument"),
    ("std::time::SystemTime", "take `types::WallTime` as an argument"),
    ("std::time::UNIX_EPOCH", "take `types::WallTime` as an argument"),
    ("std::time::*", "name what you need: `std::time::Duration`"),
    ("std::net", "`core::net` has the address types without the sockets"),
    ("std::fs", "files belong to `storage`"),
    ("std::thread", "threads belong to `server`"),
    ("std::process", "processes belong to `cli`"),
    ("std::env", "settings come in through `new(config, ..)`"),
    ("std::*", "name what you need"),
];

/// Words that bring an order that differs from run to run, or entropy.
const PROTOCOL_WORDS: &[(&str, &str)] = &[
    ("HashMap", "use `BTreeMap`, or list the file in HASH_ORDER_ALLOWED with the reason"),
    ("HashSet", "use `BTreeSet`, or list the file in HASH_ORDER_ALLOWED with the reason"),
    ("hash_map", "use `BTreeMap`, or list the file in HASH_ORDER_ALLOWED with the reason"),
    ("hash_set", "use `BTreeSet`, or list the file in HASH_ORDER_ALLOWED with the reason"),
    ("RandomState", "use `xxhash_rust` with the cluster's seed"),
    ("DefaultHasher", "use `xxhash_rust`: std's hasher may change with the compiler"),
    ("OsRng", "take a seed as an argument"),
    ("SysRng", "take a seed as an argument"),
    ("f32", "use integers: a run has one hash on every machine"),
    ("f64", "use integers: a run has one hash on every machine"),
];

/// Files that may name floating point, and why: nothing that is replayed depends on it there.
const FLOATS_ALLOWED: &[(&str, &str)] = &[
    ("src/protocol/membership/suspicion.rs", "a test rounds durations for people"),
    ("src/protocol/ring/tests.rs", "tests compare shares"),
    ("src/protocol/types/histogram.rs", "counts in integers; only what is shown to people leaves as a fraction"),
    ("src/protocol/shard/tests/measuring.rs", "a test reads what is shown to people"),
];

/// Where the world draws, and where its rules decide. The world of detectors only measures.
fn is_replayed(path: &str) -> bool {
    path.starts_with("src/protocol/") || (path.starts_with("src/sim/") && !path.starts_with("src/sim/detector/"))
}

/// What a checkout may show at its top; hidden tool files are free.
const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "Makefile", "README.md", "certs", "deploy", "grafana", "src", "tests"];

/// Longest line, columns: two files side by side on a laptop's screen.
const COLUMNS_MAX: usize = 120;

/// Longest file, lines. Style asks the question at 500 already.
const FILE_LINES_MAX: usize = 700;

/// Words of unfinished work, spelled in halves so that this file does not name them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];

// The rules.

/// The floor of a module: `protocol` has rooms, every other floor is one.
fn floor_of(module: &[String]) -> Option<&'static str> {
    let find = |name: &str| FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == name);
    match module {
        [first, second, ..] if first == "protocol" => find(&format!("protocol::{second}")).or_else(|| find("protocol")),
        [first, ..] => find(first),
        [] => None,
    }
}

/// Every `crate::`, `super::` and (in main.rs) `quorate::` path against the table of floors.
fn arrows_that_point_up(files: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let module = file.module();
        // lib.rs is the table of contents: it opens every door and holds nothing.
        if module.is_empty() {
            continue;
        }
        let known = module[0] != "protocol" || module.len() == 1 || floor_of(&module) != Some("protocol");
        let Some(from) = floor_of(&module).filter(|_| known) else {
            let floor = module[..module.len().min(2)].join("::");
            violations.push(format!("{}:1: no floor `{floor}`; give it a row in FLOORS of tests/tidy.rs", file.path));
            continue;
        };
        let allowed = FLOORS.iter().find(|(floor, _)| *floor == from).map_or(&[][..], |(_, allowed)| *allowed);
        for path in paths(&file.text) {
            let Some(target) = file.resolve(&path) else { continue };
            let written = path.segments.join("::");
            let Some(to) = floor_of(&target) else {
                violations.push(format!(
                    "{}:{}: `{written}` leads to the crate's root, which holds nothing; name the floor, as in \
                     `crate::protocol::types`",
                    file.path, path.line
                ));
                continue;
            };
            let inside_allowed = to.starts_with("protocol") && allowed.contains(&"protocol");
            if to != from && !allowed.contains(&to) && !inside_allowed {
                let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
                violations.push(format!(
                    "{}:{}: `{written}`: {from} may not import {to} (it may import {may}); move the shared noun down, \
                     or let the caller pass it in",
                    file.path, path.line
                ));
            }
        }
    }
    violations
}

/// No clock, socket, file, thread, entropy, floating point or order of a hash table below `src/protocol/` and in the
/// simulated world: a seed and a commit replay a run on any machine.
fn impurities(files: &[Source], dependencies: &[String], hash_order_allowed: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| is_replayed(&file.path)) {
        let hash_allowed = hash_order_allowed.iter().any(|(path, _)| *path == file.path);
        let floats_allowed = FLOATS_ALLOWED.iter().any(|(path, _)| *path == file.path);
        for token in tokens(&file.text) {
            for (word, instead) in PROTOCOL_WORDS.iter().filter(|(word, _)| *word == token.text) {
                let hashes = word.to_lowercase().replace('_', "").starts_with("hash");
                let floats = matches!(*word, "f32" | "f64");
                if !(hash_allowed && hashes || floats_allowed && floats) {
                    violations.push(format!("{}:{}: `{word}` in the rules; {instead}", file.path, token.line));
                }
            }
        }
        for path in paths(&file.text) {
            let written = path.segments.join("::");
            let place = format!("{}:{}", file.path, path.line);
            for (banned, instead) in PROTOCOL_STD.iter().filter(|(banned, _)| path.starts_with(banned)) {
                violations.push(format!("{place}: `{banned}` in the rules; {instead}"));
            }
            if matches!(written.as_str(), "std" | "std::time") {
                violations.push(format!("{place}: `{written}` whole in the rules; name what you need of it"));
            }
            let first = &path.segments[0];
            if dependencies.contains(first) && !PROTOCOL_CRATES.contains(&first.as_str()) {
                violations.push(format!(
                    "{place}: the crate `{first}` in the rules; it belongs to the shell (if it is pure, add it to \
                     PROTOCOL_CRATES of tests/tidy.rs)"
                ));
            }
        }
    }
    violations
}

/// `anyhow` only where a person reads the error.
fn anyhow_outside_the_binary(files: &[Source]) -> Vec<String> {
    let home = |path: &str| path == "src/main.rs" || path == "src/cli.rs" || path.starts_with("src/cli/");
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/") && !home(&file.path)) {
        for token in tokens(&file.text).into_iter().filter(|token| token.text == "anyhow") {
            violations.push(format!(
                "{}:{}: anyhow outside main.rs and cli/; write a thiserror enum beside the operation",
                file.path, token.line
            ));
        }
    }
    violations
}

/// Plain ASCII, no tabs, at most 120 columns.
fn lines_out_of_form(files: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in numbered(&file.text) {
            let place = format!("{}:{number}", file.path);
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                violations.push(format!("{place}: {columns} columns; break the line at {COLUMNS_MAX}"));
            }
            if let Some(strange) = line.chars().find(|c| !c.is_ascii()) {
                violations
                    .push(format!("{place}: {strange:?} is not ASCII; use plain words, or an escape in a string"));
            }
            if line.contains('\t') {
                violations.push(format!("{place}: a tab; use spaces, or `\\t` in a string"));
            }
        }
    }
    violations
}

/// Unfinished work is an issue, not a comment.
fn unfinished_work(files: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in numbered(&file.text) {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
            if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
                violations.push(format!("{}:{number}: {word}; do it now, or open an issue and say what is", file.path));
            }
        }
    }
    violations
}

/// A file is one noun: named, introduced, and of a size to read at one sitting.
fn files_that_hide_a_noun(files: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            violations.push(format!(
                "{}:{FILE_LINES_MAX}: {lines} lines, at most {FILE_LINES_MAX}: which noun is hiding in it?",
                file.path
            ));
        }
        if !file.text.starts_with("//!") {
            violations.push(format!("{}:1: no head; start with `//!` and say what this is", file.path));
        }
        let name = file.path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = name {
            violations.push(format!("{}:1: `{name}` says nothing; name the noun of the paper", file.path));
        }
        let words = tokens(&file.text);
        for pair in words.windows(2).filter(|pair| pair[0].text == "mod" && EMPTY_NAMES.contains(&pair[1].text)) {
            violations.push(format!(
                "{}:{}: `mod {}` says nothing; name the noun of the paper",
                file.path, pair[1].line, pair[1].text
            ));
        }
    }
    violations
}

/// Names at the top of the project that are not on the list.
fn strangers_at_the_top(names: &[String]) -> Vec<String> {
    let strange = names.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    strange
        .map(|name| format!("{name}:1: does not belong at the top, which holds {}; move it", TOP_LEVEL.join(", ")))
        .collect()
}

/// Dependencies with no comment above them, their own or their group's (a blank line ends a group).
fn unexplained_dependencies(manifest: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let mut explained = false;
    for (number, what) in manifest_lines(manifest) {
        match what {
            Manifest::Blank | Manifest::Header => explained = false,
            Manifest::Comment => explained = true,
            Manifest::Dependency(name) if !explained => violations
                .push(format!("Cargo.toml:{number}: `{name}` without a reason; put a comment above: why is it here?")),
            Manifest::Dependency(_) | Manifest::Other => {}
        }
    }
    violations
}

enum Manifest<'a> {
    Blank,
    Comment,
    Header,
    Dependency(&'a str),
    Other,
}

/// The manifest's lines, each with its number and what it is. Lines within brackets are part of the line before.
fn manifest_lines(manifest: &str) -> Vec<(usize, Manifest<'_>)> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut open = 0_usize;
    for (number, line) in numbered(manifest) {
        let line = line.trim();
        let opened = line.matches(['[', '{']).count();
        let closed = line.matches([']', '}']).count();
        if open > 0 {
            open = (open + opened).saturating_sub(closed);
            continue;
        }
        let what = if line.is_empty() {
            Manifest::Blank
        } else if line.starts_with('#') {
            Manifest::Comment
        } else if line.starts_with('[') {
            let table = line.trim_matches(['[', ']']);
            in_dependencies = table.ends_with("dependencies");
            match table.rsplit_once("dependencies.") {
                Some((_, name)) => Manifest::Dependency(name),
                None => Manifest::Header,
            }
        } else {
            open = opened.saturating_sub(closed);
            match line.split_once(['=', '.', ' ']) {
                Some((name, _)) if in_dependencies => Manifest::Dependency(name.trim()),
                _ => Manifest::Other,
            }
        };
        found.push((number, what));
    }
    found
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

// The project, as the rules see it.

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every Rust file below a directory of the project, in the order of its path.
fn rust_files(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("an entry of a directory that was just opened").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(root()).expect("found below the root").to_string_lossy().into_owned();
                found.push(Source::new(&inside, &read(&path)));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no Rust file below {directory}: the rule would hold for nothing");
    found
}

fn source_files() -> Vec<Source> {
    rust_files("src")
}

fn source_and_test_files() -> Vec<Source> {
    [rust_files("src"), rust_files("tests")].into_iter().flatten().collect()
}

/// The names at the top: what git tracks, or, without git, what lies there but for `target`.
fn top_level_names() -> Vec<String> {
    let tracked = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let tracked = tracked.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    let mut names: Vec<String> = match tracked {
        Some(output) => String::from_utf8_lossy(&output.stdout)
            .split_terminator('\0')
            .filter_map(|path| path.split('/').next().map(str::to_owned))
            .collect(),
        None => fs::read_dir(root())
            .expect("the project's own directory")
            .map(|entry| entry.expect("an entry of the project").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "target")
            .collect(),
    };
    names.sort();
    names.dedup();
    assert!(names.iter().any(|name| name == "Cargo.toml"), "no Cargo.toml among the names at the top: {names:?}");
    names
}

/// The crates that the manifest names, as code writes them.
fn dependency_names(manifest: &str) -> Vec<String> {
    let lines = manifest_lines(manifest);
    let names = lines.iter().filter_map(|(_, what)| match what {
        Manifest::Dependency(name) => Some(name.replace('-', "_")),
        Manifest::Blank | Manifest::Comment | Manifest::Header | Manifest::Other => None,
    });
    names.collect()
}

fn assert_none(violations: &[String]) {
    let count = violations.len();
    assert!(violations.is_empty(), "{count} to mend:\n{}\n", violations.join("\n"));
}

// The project keeps the rules.

#[test]
fn imports_point_down() {
    assert_none(&arrows_that_point_up(&source_files()));
}

#[test]
fn the_rules_read_no_clock_and_touch_no_machine() {
    let dependencies = dependency_names(&read(&root().join("Cargo.toml")));
    assert!(dependencies.iter().any(|name| name == "tokio"), "the manifest was not understood: {dependencies:?}");
    assert_none(&impurities(&source_files(), &dependencies, HASH_ORDER_ALLOWED));
}

#[test]
fn anyhow_stays_in_main_and_cli() {
    assert_none(&anyhow_outside_the_binary(&source_files()));
}

#[test]
fn lines_are_plain_ascii_of_120_columns() {
    assert_none(&lines_out_of_form(&source_and_test_files()));
}

#[test]
fn nothing_is_left_unfinished_in_a_comment() {
    assert_none(&unfinished_work(&source_and_test_files()));
}

#[test]
fn a_file_is_one_noun_with_a_head() {
    assert_none(&files_that_hide_a_noun(&source_and_test_files()));
}

#[test]
fn the_top_level_keeps_its_few_names() {
    assert_none(&strangers_at_the_top(&top_level_names()));
}

#[test]
fn every_dependency_says_why_it_is_here() {
    assert_none(&unexplained_dependencies(&read(&root().join("Cargo.toml"))));
}

#[test]
fn the_table_of_floors_names_only_rows_above() {
    for (row, (floor, allowed)) in FLOORS.iter().enumerate() {
        for below in *allowed {
            assert!(FLOORS[..row].iter().any(|(name, _)| name == below), "{floor} names {below}, not above it");
        }
    }
}
