//! Tests of `cli::cert`: what it makes, what it refuses, and in which words.

use super::*;
use clap::Parser;

use crate::pki::Credentials;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
const NODE: &str = "fedcba9876543210fedcba9876543210";

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    cert: CertArgs,
}

/// The report of a command line in a directory, at a fixed time for its dates.
fn cert(dir: &Path, line: &str) -> anyhow::Result<String> {
    let dir = dir.to_str().unwrap();
    let words = ["cert", "--dir", dir].into_iter().chain(line.split_whitespace());
    make(Program::try_parse_from(words)?.cert, Moment::now())
}

#[test]
fn authority_node_client_and_admin_are_made_and_load() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("certs");
    let report = cert(&dir, &format!("ca --cluster {CLUSTER}")).unwrap();
    assert!(report.contains(&format!("made the authority of cluster {CLUSTER}")), "{report}");
    assert!(report.contains(&format!("next: quorate cert node n1 --dir {}", dir.display())), "{report}");

    let table = [
        (format!("node n1 --id {NODE} --host 10.0.0.1 --host kv1"), "n1", format!("spiffe://{CLUSTER}/node/{NODE}")),
        ("client app --days 30".to_owned(), "app", format!("spiffe://{CLUSTER}/client/app")),
        ("admin ops".to_owned(), "ops", format!("spiffe://{CLUSTER}/admin/ops")),
    ];
    for (line, name, identity) in table {
        let report = cert(&dir, &line).unwrap();
        assert!(report.contains(&identity), "{report}");
        let path = |end: &str| dir.join(format!("{name}.{end}"));
        let credentials = Credentials::load(&path("crt"), &path("key"), &dir.join(CERTIFICATE_FILE)).unwrap();
        assert_eq!(credentials.identity().to_string(), identity);
        assert!(report.contains(&credentials.not_after().to_string()), "{report}");
        assert!(report.contains(&path("key").display().to_string()), "{report}");
        assert!(report.contains("next: "), "{report}");
    }
}

#[test]
fn days_set_the_last_day() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca --days 100").unwrap();
    cert(dir.path(), "client app --days 30").unwrap();
    let path = |name: &str| dir.path().join(name);
    let credentials = Credentials::load(&path("app.crt"), &path("app.key"), &path("ca.crt")).unwrap();
    let days = (credentials.not_after().as_unix() - Moment::now().as_unix()).div_ceil(24 * 60 * 60);
    assert_eq!(days, 30);
    assert!(cert(dir.path(), "client other --days 0").is_err());
    assert!(cert(dir.path(), "client other --days 36501").is_err());
}

#[test]
fn node_gets_a_random_id() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca").unwrap();
    let identity = |name: &str| {
        let report = cert(dir.path(), &format!("node {name}")).unwrap();
        report.lines().find(|line| line.contains("identity")).unwrap().to_owned()
    };
    assert_ne!(identity("n1"), identity("n2"));
}

#[test]
fn mistakes_have_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let error = format!("{:#}", cert(dir.path(), "node n1").unwrap_err());
    assert!(error.contains("`quorate cert ca` makes one"), "{error}");
    assert!(error.contains("ca.crt"), "{error}");

    cert(dir.path(), "ca").unwrap();
    let error = cert(dir.path(), "ca").unwrap_err().to_string();
    assert!(error.contains("is not overwritten") && error.contains("--force"), "{error}");
    cert(dir.path(), "node n1").unwrap();
    let error = cert(dir.path(), "client n1").unwrap_err().to_string();
    assert!(error.contains("n1.crt exists already"), "{error}");
    let error = cert(dir.path(), "admin Ops").unwrap_err().to_string();
    assert!(error.contains("the name \"Ops\" is not allowed"), "{error}");
    assert!(cert(dir.path(), "node n2 --id 12").unwrap_err().to_string().contains("32 hexadecimal digits"));
}

#[test]
fn renewing_keeps_identity_and_hosts_and_makes_a_new_key() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca").unwrap();
    cert(dir.path(), "node n1 --host kv1 --host 10.0.0.1 --days 2").unwrap();
    let path = |name: &str| dir.path().join(name);
    let load = || Credentials::load(&path("n1.crt"), &path("n1.key"), &path("ca.crt")).unwrap();
    let (before, key) = (load(), std::fs::read(path("n1.key")).unwrap());
    let report = cert(dir.path(), "renew n1 --lifetime 700m").unwrap();
    assert!(report.contains("next: bring both files"), "{report}");
    let after = load();
    assert_eq!(after.identity(), before.identity());
    assert!(after.not_after() < before.not_after());
    assert_ne!(std::fs::read(path("n1.key")).unwrap(), key);
    let shown = cert(dir.path(), "show").unwrap();
    assert!(shown.contains("hosts        kv1, 10.0.0.1"), "{shown}");
    assert!(shown.contains("may          connect, serve"), "{shown}");
    assert!(shown.contains("11 h left"), "{shown}");

    let error = cert(dir.path(), "renew n2").unwrap_err().to_string();
    assert!(error.contains("n2.crt"), "{error}");
    let error = cert(dir.path(), "renew n1 --lifetime 0s").unwrap_err().to_string();
    assert!(error.contains("use 1s to 36500d"), "{error}");
}

#[test]
fn authority_of_another_cluster_does_not_renew() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    cert(dir.path(), "ca").unwrap();
    cert(dir.path(), "client app").unwrap();
    cert(other.path(), "ca").unwrap();
    let from = dir.path().join("app.crt").display().to_string();
    let error = cert(other.path(), &format!("renew app --from {from}")).unwrap_err().to_string();
    assert!(error.contains("use the directory of its authority"), "{error}");
}

#[test]
fn force_replaces_and_keeps_the_node() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca").unwrap();
    cert(dir.path(), &format!("node n1 --id {NODE}")).unwrap();
    let report = cert(dir.path(), "node n1 --force").unwrap();
    assert!(report.contains(NODE), "{report}");
    cert(dir.path(), "ca --force").unwrap();
    let path = |name: &str| dir.path().join(name);
    assert!(Credentials::load(&path("n1.crt"), &path("n1.key"), &path("ca.crt")).is_err(), "another authority");
}

#[test]
fn certificates_that_end_soon_fail_a_check() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca").unwrap();
    cert(dir.path(), "client app --days 10").unwrap();
    cert(dir.path(), "client old --days 100").unwrap();
    cert(dir.path(), "show --within 5d").unwrap();
    let error = cert(dir.path(), "show --within 30d").unwrap_err().to_string();
    assert!(error.contains("ending within 30days: ") && error.contains("app.crt at"), "{error}");
    assert!(!error.contains("old.crt at"), "{error}");
    assert!(cert(&dir.path().join("nowhere"), "show").unwrap_err().to_string().contains("cannot list"));
}

#[test]
fn revoked_certificate_is_on_the_list_that_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    cert(dir.path(), "ca").unwrap();
    cert(dir.path(), "client app").unwrap();
    let file = dir.path().join("app.crt").display().to_string();
    let report = cert(dir.path(), &format!("revoke {file}")).unwrap();
    assert!(report.contains("is revoked") && report.contains("ca.crl  (1 on it)"), "{report}");
    let shown = cert(dir.path(), "show").unwrap();
    let serial = shown.lines().skip_while(|line| !line.ends_with("app.crt")).find(|line| line.contains("serial"));
    let serial = serial.unwrap().split_whitespace().last().unwrap();
    assert!(shown.contains(&format!("revoked      serial {serial} since")), "{shown}");
}
