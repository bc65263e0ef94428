//! Tests of `pki::identity`: what it makes, what it refuses, and in which words.

use super::*;
use crate::pki::{Authority, Moment};
use std::time::Duration;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
const NODE: &str = "fedcba9876543210fedcba9876543210";
const HOUR: Duration = Duration::from_secs(3600);

fn parse(text: &str) -> Result<Identity, IdentityError> {
    text.parse()
}

#[test]
fn identity_prints_as_the_text_that_it_came_from() {
    for path in [format!("node/{NODE}"), "client/app-1.blue_green".to_owned(), "admin/ops".to_owned()] {
        let text = format!("spiffe://{CLUSTER}/{path}");
        assert_eq!(parse(&text).unwrap().to_string(), text);
    }
}

#[test]
fn identity_refuses_every_other_spelling() {
    let upper = NODE.to_uppercase();
    let cluster_upper = CLUSTER.to_uppercase();
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    let table = [
        (String::new(), "does not begin with spiffe://"),
        (format!("https://{CLUSTER}/node/{NODE}"), "does not begin with spiffe://"),
        (format!("SPIFFE://{CLUSTER}/node/{NODE}"), "does not begin with spiffe://"),
        (format!("spiffe://{CLUSTER}"), "does not end in"),
        (format!("spiffe://{CLUSTER}/node"), "does not end in"),
        (format!("spiffe://{CLUSTER}/node/{upper}"), "does not end in"),
        (format!("spiffe://{CLUSTER}/node/{NODE}0"), "does not end in"),
        (format!("spiffe://{CLUSTER}/node/{NODE}/x"), "does not end in"),
        (format!("spiffe://{CLUSTER}/god/{NODE}"), "does not end in"),
        (format!("spiffe://{cluster_upper}/node/{NODE}"), "is not a cluster id"),
        (format!("spiffe://short/node/{NODE}"), "is not a cluster id"),
        (format!("spiffe:///node/{NODE}"), "is not a cluster id"),
        (format!("spiffe://{CLUSTER}/client/"), "is not allowed"),
        (format!("spiffe://{CLUSTER}/client/App"), "is not allowed"),
        (format!("spiffe://{CLUSTER}/client/a/b"), "is not allowed"),
        (format!("spiffe://{CLUSTER}/admin/.."), "is not allowed"),
        (format!("spiffe://{CLUSTER}/admin/{long}"), "is not allowed"),
    ];
    for (text, expected) in table {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn error_shows_at_most_128_characters_of_a_foreign_text() {
    let error = parse(&"x".repeat(1 << 20)).unwrap_err().to_string();
    assert!(error.len() < 256, "{} bytes", error.len());
}

#[test]
fn certificate_needs_exactly_one_uri() {
    let cluster = CLUSTER.parse().unwrap();
    let authority = Authority::generate(cluster, HOUR, Moment::now()).unwrap();
    let uri = format!("spiffe://{CLUSTER}/client/app");
    let read = |uris: &[&str]| Identity::from_certificate(authority.forge(uris, &[]).certificate());
    assert_eq!(read(&[&uri]).unwrap().role, Role::Client("app".to_owned()));
    assert_eq!(read(&[]), Err(IdentityError::NoUri));
    assert_eq!(read(&[&uri, &uri]), Err(IdentityError::ManyUris(2)));
}

#[test]
fn garbage_is_no_certificate() {
    for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"hello"] {
        let error = Identity::from_certificate(&CertificateDer::from(bytes)).unwrap_err();
        assert!(matches!(error, IdentityError::Certificate(_)), "{error}");
    }
}

#[test]
fn every_damaged_certificate_is_judged_without_panic() {
    let authority = Authority::generate(CLUSTER.parse().unwrap(), HOUR, Moment::now()).unwrap();
    let leaf = authority.issue("app", Role::client("app").unwrap(), HOUR, Moment::now()).unwrap();
    let whole = leaf.certificate().as_ref();
    for end in 0..whole.len() {
        let cut = CertificateDer::from(&whole[..end]);
        assert!(Identity::from_certificate(&cut).is_err(), "cut at {end}");
        let mut damaged = whole.to_vec();
        damaged[end] ^= 0x55;
        // Some bytes carry no meaning for the identity (the signature); none may panic.
        drop(Identity::from_certificate(&CertificateDer::from(damaged)));
    }
    let mut long = whole.to_vec();
    long.push(0);
    let error = Identity::from_certificate(&CertificateDer::from(long)).unwrap_err();
    assert_eq!(error, IdentityError::Certificate("1 bytes follow it".to_owned()));
}
