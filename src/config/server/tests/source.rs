//! The one source: reference, environment and what is in effect agree with each other and with the parser.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::super::raw::SECTIONS;
use super::*;
use crate::config::field::{Field, Shown};

const EXAMPLE: &str = include_str!("../../../../deploy/quorate.toml");

fn fields() -> impl Iterator<Item = Field> {
    SECTIONS.iter().flat_map(|section| section.fields).copied()
}

/// A file with this text under these variables. Relative paths in it are those of [`parse`], wherever the file is.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quorate.toml");
    let absolute = ["n2.crt", "n2.key", "ca.crt", "ca.crl"]
        .into_iter()
        .fold(text.to_owned(), |text, file| text.replace(&format!("\"{file}\""), &format!("\"/etc/quorate/{file}\"")));
    fs::write(&path, absolute).unwrap();
    ServerConfig::load(&path, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

#[test]
fn example_in_deploy_is_the_reference() {
    assert_eq!(EXAMPLE, ServerConfig::reference(), "write it anew: quorate config reference > deploy/quorate.toml");
    assert!(EXAMPLE.lines().all(|line| line.len() <= 120 && line == line.trim_end()));
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.durability, Durability::Sync);
    assert_eq!(config.http.data, HttpData::Off, "data over HTTP is off until somebody asks for it");
}

#[test]
fn what_the_reference_comments_out_is_the_default() {
    let expected = parse(EXAMPLE).unwrap();
    for field in fields().filter(|field| field.shown == Shown::Default) {
        let line = format!("{} = {}", field.name, field.value);
        let on = EXAMPLE.replacen(&format!("\n# {line}\n"), &format!("\n{line}\n"), 1);
        assert_ne!(on, EXAMPLE, "{line}");
        assert_eq!(parse(&on).unwrap(), expected, "{line} is not the default");
    }
}

#[test]
fn every_field_is_explained() {
    for field in fields() {
        let help = field.help.join("\n");
        assert!(help.trim().len() > 20 && help.ends_with('.'), "{}: {help:?}", field.path());
    }
}

/// What is in effect, written as a file again, is the same configuration; and no field is forgotten.
#[test]
fn what_is_in_effect_is_every_field_and_makes_the_same_configuration() {
    let unix = with_section("[http.data]\nmode = \"unix\"\nsocket = \"/run/q.sock\"");
    let token = with_section("[http.data]\nmode = \"loopback\"\ntoken_file = \"token\"");
    let mut seen = Vec::new();
    for text in [SMALL, WHOLE, &unix, &token] {
        let config = parse(text).unwrap();
        let effective = config.effective();
        let lines: Vec<_> = effective.iter().map(|(field, value)| format!("{field} = {value}")).collect();
        assert_eq!(parse(&lines.join("\n")).unwrap(), config, "{lines:#?}");
        seen.extend(effective.into_iter().map(|(field, _)| field.to_owned()));
    }
    for field in fields() {
        assert!(seen.contains(&field.path()), "effective.rs does not know {}", field.path());
    }
}

#[test]
fn differences_are_named() {
    let (small, whole) = (parse(SMALL).unwrap(), parse(WHOLE).unwrap());
    assert_eq!(small.differs_in(&small), [""; 0]);
    let interval = parse(&with("durability = \"interval\"")).unwrap();
    assert_eq!(small.differs_in(&interval), ["durability", "interval"]);
    assert_eq!(interval.differs_in(&small), ["durability", "interval"]);
    assert!(whole.differs_in(&small).len() > 20);
}

/// Each field of the whole file, taken from the environment instead, makes the same configuration.
#[test]
fn every_field_can_come_from_the_environment() {
    let whole = parse(WHOLE).unwrap();
    let mut variables = Vec::new();
    let loopback = [("http.data.token_file", "/t"), ("http.data.socket", "/s")];
    for field in fields() {
        let path = field.path();
        let value = whole.effective().into_iter().find(|(name, _)| *name == path).map(|(_, value)| value);
        let plain = value.map(|value| value.replace(['"', '[', ']'], ""));
        match (plain, loopback.iter().find(|(name, _)| *name == path)) {
            // An address of IPv6 has brackets of its own.
            (Some(_), _) if path == "advertise" => variables.push((field.variable(), "[fd00::2]:7400".to_owned())),
            (Some(_), _) if path == "http.hosts" => {
                variables.push((field.variable(), "KV2.example.org, [fd00::2]".to_owned()));
            }
            (Some(plain), _) => variables.push((field.variable(), plain)),
            (None, Some((_, other_modes))) => {
                let given = [(field.variable(), (*other_modes).to_owned())];
                let given: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let error = load(WHOLE, &given).unwrap_err().to_string();
                assert!(error.starts_with(&format!("environment: {} = ", field.variable())), "{error}");
            }
            (None, None) => panic!("{path} has no value in the whole file"),
        }
    }
    let given: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for base in ["", SMALL, WHOLE] {
        let loaded = load(base, &given).unwrap();
        assert_eq!(loaded.config, whole, "over {base:?}");
        assert_eq!(loaded.overridden.len(), fields().count() - loopback.len());
    }
}

#[test]
fn one_variable_changes_one_field_and_is_reported() {
    let loaded = load(WHOLE, &[("QUORATE_STORAGE_READ_THREADS", "3"), ("PATH", "/bin")]).unwrap();
    let expected = parse(&WHOLE.replace("read_threads = 8", "read_threads = 3")).unwrap();
    assert_eq!(
        loaded,
        Loaded { config: expected, overridden: vec!["QUORATE_STORAGE_READ_THREADS".to_owned()], ignored: vec![] }
    );
}

#[test]
fn errors_of_the_environment_name_the_variable() {
    for (name, value, expected) in [
        ("QUORATE_SHARDS", "100", "environment: QUORATE_SHARDS = 100: use 1 to 64"),
        (
            "QUORATE_SHARDS",
            "two",
            "environment: QUORATE_SHARDS = \"two\": invalid type: string \"two\", expected a whole number",
        ),
        (
            "QUORATE_DURABILITY",
            "snyc",
            "environment: QUORATE_DURABILITY = \"snyc\": did you mean \"sync\"? \
             it is one of \"sync\", \"interval\", \"os\"",
        ),
        (
            "QUORATE_STORAGE_BLOCK_CACHE",
            "1 MiB",
            "environment: QUORATE_STORAGE_BLOCK_CACHE = \"1 MiB\": use 8 MiB to 1024 GiB",
        ),
        ("QUORATE_SHARD", "1", "environment: unknown variable QUORATE_SHARD; did you mean QUORATE_SHARDS?"),
        (
            "QUORATE_HTTP_DATA_MOD",
            "off",
            "environment: unknown variable QUORATE_HTTP_DATA_MOD; did you mean QUORATE_HTTP_DATA_MODE?",
        ),
    ] {
        assert_eq!(load(SMALL, &[(name, value)]).unwrap_err().to_string(), expected);
    }
    // A value is a value, whatever it looks like.
    let error = load(SMALL, &[("QUORATE_NAME", "a\nlisten = 1")]).unwrap_err().to_string();
    assert!(error.starts_with("environment: QUORATE_NAME = "), "{error}");
    assert!(error.ends_with(": use 1 to 32 of a-z 0-9 -"), "{error}");
    // What the file says is still the file's mistake, with its line.
    let error = load(&with("shards = 0"), &[("QUORATE_LOG_LEVEL", "debug")]).unwrap_err().to_string();
    assert!(error.ends_with("quorate.toml:1: shards = 0: use 1 to 64"), "{error}");
    let broken = [(OsString::from("QUORATE_NAME"), OsString::from_vec(vec![0xff]))];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quorate.toml");
    fs::write(&path, SMALL).unwrap();
    let error = ServerConfig::load(&path, broken).unwrap_err().to_string();
    assert_eq!(error, "environment: QUORATE_NAME = ..: its value is not UTF-8 text");
}

#[test]
fn variables_of_others_do_not_stop_a_node() {
    // As Kubernetes makes them for a service called quorate; and our own that are no fields.
    let others = [
        ("QUORATE_PORT_7400_UDP_ADDR", "10.96.0.1"),
        ("QUORATE_SERVICE_HOST", "10.96.0.1"),
        ("QUORATE_PROFILE", "client.toml"),
        ("QUORATE_CACHE", "/tmp"),
    ];
    let loaded = load(SMALL, &others).unwrap();
    assert_eq!(loaded.ignored, ["QUORATE_PORT_7400_UDP_ADDR", "QUORATE_SERVICE_HOST"]);
    assert!(loaded.overridden.is_empty());
}
