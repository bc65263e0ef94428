//! The list of bugs that others met, against the tests that it names.
//!
//! `src/protocol/shard/tests/field.rs` opens with an entry a bug, `//! - **c4** who, what. Tests: ..`. An entry that
//! names a test that is not there promises what nobody keeps; a test in that file that no entry names is found by
//! nobody.

use std::collections::BTreeSet;

use super::source::Source;
use super::{assert_none, source_and_test_files};

/// Where the list is.
const LIST: &str = "src/protocol/shard/tests/field.rs";
/// Bugs of systems as a whole, and of how they keep track of causality.
const BUGS: (u8, u8) = (20, 13);

/// An entry: its line, its number, and its text on one line.
struct Entry {
    line: usize,
    bug: String,
    text: String,
}

/// The entries in a file's head comment.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, words) in (1..).zip(text.lines()).filter_map(|(line, text)| Some((line, text.strip_prefix("//!")?))) {
        if let Some((bug, rest)) = words.strip_prefix(" - **").and_then(|rest| rest.split_once("** ")) {
            entries.push(Entry { line, bug: bug.to_owned(), text: rest.to_owned() });
        } else if let (Some(entry), Some(more)) = (entries.last_mut(), words.strip_prefix("   ")) {
            entry.text.push(' ');
            entry.text.push_str(more);
        }
    }
    entries
}

/// The names of the tests in a file: what follows `fn` under an attribute that ends in `test]`.
fn tests_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split_once('('));
        match name {
            Some((name, _)) if is_test => found.push(name.to_owned()),
            _ if line.starts_with("#[") => {
                is_test |= line.ends_with("test]") || line.starts_with("#[tokio::test");
                continue;
            }
            _ => {}
        }
        is_test = false;
    }
    found
}

/// What the list promises and the files do not hold, and the other way round.
fn broken_promises(list: &Source, files: &[Source]) -> Vec<String> {
    let all: BTreeSet<String> = files.iter().flat_map(|file| tests_of(&file.text)).collect();
    let entries = entries(&list.text);
    let place = |line: usize| format!("{}:{line}", list.path);
    let mut violations = Vec::new();
    let wanted = (1..=BUGS.0).map(|bug| bug.to_string()).chain((1..=BUGS.1).map(|bug| format!("c{bug}")));
    for (bug, entry) in wanted.zip(entries.iter().map(Some).chain(std::iter::repeat(None))) {
        match entry {
            Some(entry) if entry.bug == bug => {}
            Some(entry) => violations.push(format!("{}: bug {} where {bug} is due", place(entry.line), entry.bug)),
            None => violations.push(format!("{}: bug {bug} has no entry", place(1))),
        }
    }
    let mut named = BTreeSet::new();
    for entry in &entries {
        let tests = entry.text.split_once(" Tests: ").map(|(_, tests)| tests);
        let excused = [" Not yet: ", " Does not apply: "].iter().any(|excuse| entry.text.contains(excuse));
        let shown_by: Vec<&str> = tests.unwrap_or_default().split('`').skip(1).step_by(2).collect();
        if shown_by.is_empty() && !excused {
            violations.push(format!("{}: bug {} has neither a test nor a reason", place(entry.line), entry.bug));
        }
        for name in shown_by {
            if !all.contains(name) {
                violations.push(format!("{}: bug {}: there is no test `{name}`", place(entry.line), entry.bug));
            }
            named.insert(name);
        }
    }
    let unnamed = tests_of(&list.text).into_iter().filter(|test| !named.contains(test.as_str()));
    violations.extend(unnamed.map(|test| format!("{}: `{test}` is in no entry", place(1))));
    violations
}

#[test]
fn bugs_that_others_met_are_tests_by_the_names_that_the_list_gives() {
    let files = source_and_test_files();
    let list = files.iter().find(|file| file.path == LIST).expect("the list of bugs");
    assert_none(&broken_promises(list, &files));
}

#[test]
fn entry_without_its_test_and_test_without_an_entry_are_found() {
    let text = "//! Bugs.\n//!\n//! - **1** Lost. Tests: `kept`,\n//!   `gone`.\n//! - **3** More. Not yet: later.\n\
                //! - **4** Else.\n\n#[test]\nfn kept() {}\n\n#[tokio::test]\nasync fn stray() {}\n\nfn none() {}\n";
    let list = Source::new("src/list.rs", text);
    let found = broken_promises(&list, std::slice::from_ref(&list));
    let has = |what: &str| assert!(found.iter().any(|violation| violation.contains(what)), "{what}: {found:#?}");
    has("src/list.rs:3: bug 1: there is no test `gone`");
    has("src/list.rs:5: bug 3 where 2 is due");
    has("src/list.rs:6: bug 4 has neither a test nor a reason");
    has("src/list.rs:1: bug c13 has no entry");
    has("src/list.rs:1: `stray` is in no entry");
    assert!(!found.iter().any(|violation| violation.contains("`kept`") || violation.contains("`none`")), "{found:#?}");
}
