//! A bad example for each rule: what it must find, and what looks alike and is fine.

use super::source::{Source, paths, tokens};
use super::{
    COLUMNS_MAX, FILE_LINES_MAX, anyhow_outside_the_binary, arrows_that_point_up, files_that_hide_a_noun, impurities,
    lines_out_of_form, strangers_at_the_top, unexplained_dependencies, unfinished_work,
};

/// The example breaks the rule in exactly these places, `file:line`.
fn assert_places(violations: &[String], places: &[&str]) {
    let place = |violation: &String| violation.split(": ").next().unwrap_or_default().to_owned();
    let found: Vec<String> = violations.iter().map(place).collect();
    assert_eq!(found, places, "\n{}\n", violations.join("\n"));
}

fn arrows(path: &str, text: &str) -> Vec<String> {
    arrows_that_point_up(&[Source::new(path, text)])
}

fn impure(text: &str) -> Vec<String> {
    let dependencies = ["tokio", "quinn", "rocksdb", "rand", "getrandom", "bytes", "serde_json"].map(str::to_owned);
    impurities(&[Source::new("src/protocol/ring/plan.rs", text)], &dependencies, &[])
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let up = "//! Plan.\n\nuse crate::protocol::types::NodeId;\nuse crate::protocol::wire::Frame;\n";
    assert_places(&arrows("src/protocol/ring/plan.rs", up), &["src/protocol/ring/plan.rs:4"]);
    assert_places(&arrows("src/transport/lane.rs", "use crate::server::Driver;"), &["src/transport/lane.rs:1"]);
    assert_places(&arrows("src/sim/world.rs", "use crate::storage::Rocks;"), &["src/sim/world.rs:1"]);
    assert_places(&arrows("src/main.rs", "fn main() { quorate::server::run() }"), &["src/main.rs:1"]);
    assert!(arrows("src/main.rs", "fn main() { quorate::cli::run() }").is_empty());
    assert!(arrows("src/lib.rs", "pub use crate::server::Driver;").is_empty());
}

#[test]
fn an_arrow_is_found_in_groups_expressions_and_re_exports() {
    let group = "use crate::protocol::{\n    types::{self, NodeId as Id},\n    shard::{Shard, Turn},\n};\n";
    assert_places(
        &arrows("src/protocol/wire/mod.rs", group),
        &["src/protocol/wire/mod.rs:3", "src/protocol/wire/mod.rs:3"],
    );
    let expression = "fn f() -> u8 {\n    let a = 'x';\n    crate::cli::answer::<u8>(\"crate::load\", 'b', a)\n}";
    assert_places(&arrows("src/pki/mod.rs", expression), &["src/pki/mod.rs:3"]);
    assert_places(&arrows("src/pki/mod.rs", "pub use crate::config::*;"), &["src/pki/mod.rs:1"]);
    assert_places(&arrows("src/pki/mod.rs", "use {std::fmt, crate::config::Server};"), &["src/pki/mod.rs:1"]);
}

#[test]
fn super_is_followed_to_where_it_leads() {
    let leaves = "use super::super::wire::Frame;\nuse super::Layout;\n";
    assert_places(&arrows("src/protocol/ring/plan.rs", leaves), &["src/protocol/ring/plan.rs:1"]);
    assert_places(&arrows("src/protocol/ring/mod.rs", "use super::wire;"), &["src/protocol/ring/mod.rs:1"]);
    let inline = "mod inner {\n    use super::super::super::wire::Frame;\n    use super::super::Layout;\n}\n";
    assert_places(&arrows("src/protocol/ring/plan.rs", inline), &["src/protocol/ring/plan.rs:2"]);
    let closed = "mod inner {\n    fn f() {}\n}\nuse super::super::wire::Frame;\n";
    assert_places(&arrows("src/protocol/ring/plan.rs", closed), &["src/protocol/ring/plan.rs:4"]);
}

#[test]
fn the_crates_root_and_an_unknown_floor_are_found() {
    assert_places(&arrows("src/server/mod.rs", "use crate::VERSION;"), &["src/server/mod.rs:1"]);
    assert_places(&arrows("src/server/mod.rs", "use crate as all;"), &["src/server/mod.rs:1"]);
    assert_places(&arrows("src/protocol/ring/mod.rs", "use crate::protocol::NodeId;"), &["src/protocol/ring/mod.rs:1"]);
    assert_places(&arrows("src/cellar/mod.rs", ""), &["src/cellar/mod.rs:1"]);
    assert_places(&arrows("src/protocol/gossip/mod.rs", ""), &["src/protocol/gossip/mod.rs:1"]);
}

#[test]
fn comments_strings_and_visibilities_are_not_imports() {
    let text = "//! See [`crate::server`].\n/* use crate::cli; /* nested */ use crate::load; */\n\
                pub(crate) fn f<'a>(x: &'a str) {}\npub(in crate::protocol) fn g() { r#\"\"crate::cli::X\"#; \
                b'\\''; }\n";
    assert!(arrows("src/protocol/types/id.rs", text).is_empty());
}

#[test]
fn a_clock_a_socket_a_file_and_a_thread_in_the_rules_are_found() {
    for line in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::time;",
        "use std::time::{self, Duration};",
        "use std::time::*;",
        "use std::net::SocketAddr;",
        "use std::{fmt, fs};",
        "fn f() { std::thread::yield_now() }",
        "fn f() { ::std::process::exit(1) }",
        "use tokio::time::sleep;",
        "use tokio;",
        "#[tokio::test] fn f() {}",
        "use quinn::Endpoint;",
        "use rocksdb::DB;",
        "fn f() -> u8 { rand::random() }",
        "fn f() { getrandom::fill(&mut []) }",
        "use std::collections::HashMap;",
        "use std::collections::{BTreeMap, HashSet};",
        "use std::collections::hash_map::Entry;",
    ] {
        let found = impure(line);
        assert!(!found.is_empty(), "not found: {line}");
        assert!(found.iter().all(|violation| violation.starts_with("src/protocol/ring/plan.rs:1: ")), "{found:?}");
    }
    let fine = "//! No HashMap, no std::fs.\nuse std::time::Duration;\nuse core::net::SocketAddr;\nuse bytes::Bytes;\n\
                use crate::protocol::types::Instant;\nfn f(tokio: u8) -> u8 { tokio }\n";
    assert!(impure(fine).is_empty(), "{:?}", impure(fine));
}

#[test]
fn a_hash_table_is_allowed_by_name_only_and_below_the_rules_only() {
    let file = Source::new("src/protocol/ring/plan.rs", "use std::collections::HashMap;\nuse std::fs;\n");
    let allowed = [("src/protocol/ring/plan.rs", "counted, never walked")];
    assert_places(&impurities(&[file], &[], &allowed), &["src/protocol/ring/plan.rs:2"]);
    let shell = Source::new("src/server/mod.rs", "use std::collections::HashMap;\nuse std::fs;\n");
    assert!(impurities(&[shell], &[], &[]).is_empty());
}

#[test]
fn anyhow_in_the_library_is_found() {
    let text = "fn f() -> anyhow::Result<()> { Ok(()) }\n// anyhow here is a comment\n";
    let at = |path: &str| anyhow_outside_the_binary(&[Source::new(path, text)]);
    assert_places(&at("src/server/mod.rs"), &["src/server/mod.rs:1"]);
    assert!(at("src/main.rs").is_empty());
    assert!(at("src/cli/put.rs").is_empty());
}

#[test]
fn a_long_line_a_strange_letter_and_a_tab_are_found() {
    let text = format!("{}\n{}x\n// na\u{ef}ve\n\tlet x;\n", "x".repeat(COLUMNS_MAX), "x".repeat(COLUMNS_MAX));
    let found = lines_out_of_form(&[Source::new("src/a.rs", &text)]);
    assert_places(&found, &["src/a.rs:2", "src/a.rs:3", "src/a.rs:4"]);
}

#[test]
fn unfinished_work_is_found() {
    let text = concat!("// TO", "DO: later\n// TO", "DOS are fine\n// FIX", "ME(me)\nlet a = 1; // XX", "X\n");
    assert_places(&unfinished_work(&[Source::new("src/a.rs", text)]), &["src/a.rs:1", "src/a.rs:3", "src/a.rs:4"]);
}

#[test]
fn a_long_file_a_missing_head_and_an_empty_name_are_found() {
    let found = |path: &str, text: &str| files_that_hide_a_noun(&[Source::new(path, text)]);
    assert!(found("src/ring.rs", &"//! x\n".repeat(FILE_LINES_MAX)).is_empty());
    assert_places(&found("src/ring.rs", &"//! x\n".repeat(FILE_LINES_MAX + 1)), &["src/ring.rs:700"]);
    assert_places(&found("src/ring.rs", "use std::fmt;\n"), &["src/ring.rs:1"]);
    assert_places(&found("src/ring/helpers.rs", "//! x\n"), &["src/ring/helpers.rs:1"]);
    assert_places(&found("src/util/ring.rs", "//! x\n"), &["src/util/ring.rs:1"]);
    assert_places(&found("src/ring.rs", "//! x\n\nmod common {}\n"), &["src/ring.rs:3"]);
}

#[test]
fn a_stranger_at_the_top_is_found() {
    let names = ["Cargo.toml", "src", ".config", "target", "benches"].map(str::to_owned);
    assert_places(&strangers_at_the_top(&names), &["target:1", "benches:1"]);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"a\"\n\n[dependencies]\n# Both for one reason.\na = \"1\"\nb = { version = \
                    \"1\", features = [\n    \"x\",\n] }\n\nc = \"1\"\n\n[dev-dependencies]\nd.workspace = true\n\n\
                    [target.'cfg(unix)'.dependencies.e]\nversion = \"1\"\n\n# A reason.\n[build-dependencies.f]\n";
    let places = ["Cargo.toml:11", "Cargo.toml:14", "Cargo.toml:16"];
    assert_places(&unexplained_dependencies(manifest), &places);
}

#[test]
fn text_is_read_as_words_and_whole_paths() {
    let words: Vec<&str> =
        tokens("a::b /* c */ r#type 'd' '\\'' 'e: \"f\\\"\" br##\"g\"#\"## h").iter().map(|t| t.text).collect();
    assert_eq!(words, ["a", "::", "b", "type", ":", "h"]);
    let written: Vec<String> = paths("use a::{self, b::{c, d as e}, *}; x = Vec::<u8>::new(); k::l::<u8>(m)")
        .iter()
        .map(|p| p.segments.join("::"))
        .collect();
    assert_eq!(written, ["a", "a::b::c", "a::b::d", "a::*", "k::l"]);
}
