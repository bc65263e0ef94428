//! Tests of `config::profile`: what it makes, what it refuses, and in which words.

use super::*;
use tempfile::TempDir;

const GOOD: &str = r#"
nodes = ["127.0.0.1:7400", "[::1]:7410"]
certificate = "app.crt"
key = "/secret/app.key"
ca = "ca.crt"
"#;

/// A directory with the text as its `.quorate/client.toml`.
fn place(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PROFILE_PATH);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let (_dir, path) = place(text);
    let error = Profile::load(&path).expect_err("the file was taken").to_string();
    assert_eq!(error, format!("{}{expected}", path.display()));
}

#[test]
fn good_file_loads_with_its_defaults() {
    let (dir, path) = place(GOOD);
    let profile = Profile::load(&path).unwrap();
    let expected = Profile {
        nodes: vec!["127.0.0.1:7400".parse().unwrap(), "[::1]:7410".parse().unwrap()],
        tls: TlsFiles {
            certificate: dir.path().join(".quorate/app.crt"),
            key: "/secret/app.key".into(),
            ca: dir.path().join(".quorate/ca.crt"),
            crl: None,
        },
        read_quorum: None,
        write_quorum: None,
        timeout: Duration::from_secs(2),
        http: vec![],
    };
    assert_eq!(profile, expected);
}

#[test]
fn profile_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/client.toml");
    let profile = Profile {
        nodes: vec!["127.0.0.1:7400".parse().unwrap()],
        tls: TlsFiles {
            certificate: dir.path().join("deep/app.crt"),
            key: dir.path().join("deep/app.key"),
            ca: "/etc/ca.crt".into(),
            crl: None,
        },
        read_quorum: Some(1),
        write_quorum: Some(3),
        timeout: Duration::from_millis(1500),
        http: vec!["http://127.0.0.1:7480".to_owned()],
    };
    profile.write(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), profile);
    assert!(fs::read_to_string(&path).unwrap().contains("certificate = \"app.crt\""));

    let shorter = Profile { http: vec![], ..profile };
    shorter.write(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), shorter);
    assert_eq!(fs::read_dir(dir.path().join("deep")).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn first_of_the_three_places_wins() {
    let (dir, _) = place(GOOD);
    let other = dir.path().join("other.toml");
    fs::write(&other, GOOD.replace("7400", "7500")).unwrap();
    let third = dir.path().join("third.toml");
    fs::write(&third, GOOD.replace("7400", "7600")).unwrap();
    let port = |explicit: Option<&Path>, variable: Option<&Path>| {
        let variable = variable.map(|path| path.as_os_str().to_owned());
        Profile::discover_in(explicit, variable, dir.path()).unwrap().nodes[0].port()
    };
    assert_eq!(port(Some(&other), Some(&third)), 7500);
    assert_eq!(port(None, Some(&third)), 7600);
    assert_eq!(port(None, Some(Path::new(""))), 7400);
    assert_eq!(port(None, None), 7400);
}

#[test]
fn no_profile_names_all_three_ways() {
    let dir = tempfile::tempdir().unwrap();
    let error = Profile::discover_in(None, None, dir.path()).unwrap_err();
    assert!(matches!(error, ProfileError::None(_)), "{error}");
    let text = error.to_string();
    for way in ["--profile PATH", "QUORATE_PROFILE=PATH", ".quorate/client.toml", "quorate dev"] {
        assert!(text.contains(way), "{text}");
    }
}

/// A command that was meant for one cluster must not reach another one.
#[test]
fn named_place_without_a_file_is_an_error_even_when_the_next_place_has_one() {
    let (dir, _) = place(GOOD);
    let gone = dir.path().join("gone.toml");
    let error = Profile::discover_in(Some(&gone), None, dir.path()).unwrap_err().to_string();
    assert_eq!(error, format!("--profile names {}, but there is no such file", gone.display()));
    let error = Profile::discover_in(None, Some(gone.clone().into()), dir.path()).unwrap_err().to_string();
    assert_eq!(error, format!("QUORATE_PROFILE names {}, but there is no such file", gone.display()));
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let with = |line: &str| format!("{line}{GOOD}");
    refused(&with("node = []"), ":1: unknown field \"node\"; did you mean \"nodes\"?");
    refused(&with("read_quorum = 8"), ":1: read_quorum = 8: use 1 to 7");
    refused(&with("write_quorum = 0"), ":1: write_quorum = 0: use 1 to 7");
    refused(&with("timeout = \"2h\""), ":1: timeout = \"2h\": use \"1ms\" to \"1m\"");
    refused(
        &with("timeout = \"soon\""),
        ":1: timeout = \"soon\": expected number at 0; write a time such as \"500ms\" or \"2s\"",
    );
    refused(
        &with("http = [\"127.0.0.1:7480\"]"),
        ":1: http = \"127.0.0.1:7480\": write a base URL, such as \"http://127.0.0.1:7480\"",
    );
    refused(
        &GOOD.replace("[::1]:7410", "kv:7410"),
        ":2: nodes = \"kv:7410\": \"kv:7410\" is no address to dial; write IP:PORT, such as \"127.0.0.1:7400\"",
    );
    refused(
        &GOOD.replace("\"127.0.0.1:7400\", \"[::1]:7410\"", ""),
        ":2: nodes = []: it has 0 addresses; write 1 to 64, such as [\"127.0.0.1:7400\"]",
    );
    refused(&GOOD.replace("ca = \"ca.crt\"", ""), ": the field \"ca\" is missing; add the line ca = \"ca.crt\"");
    refused("", ": the field \"nodes\" is missing; add the line nodes = [\"127.0.0.1:7400\"]");
}
