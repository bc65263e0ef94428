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
    assert!(error.contains("is never overwritten"), "{error}");
    cert(dir.path(), "node n1").unwrap();
    let error = cert(dir.path(), "client n1").unwrap_err().to_string();
    assert!(error.contains("n1.crt exists already"), "{error}");
    let error = cert(dir.path(), "admin Ops").unwrap_err().to_string();
    assert!(error.contains("the name \"Ops\" is not allowed"), "{error}");
    assert!(cert(dir.path(), "node n2 --id 12").unwrap_err().to_string().contains("32 hexadecimal digits"));
}
