//! Tests of `pki::credentials`: what it makes, what it refuses, and in which words.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;

use crate::protocol::types::NodeId;

const CLUSTER: ClusterId = ClusterId::new(7);
const OTHER: ClusterId = ClusterId::new(8);
const HOUR: Duration = Duration::from_secs(3600);

/// A directory with an authority and a node's pair.
struct Place {
    dir: TempDir,
    authority: Authority,
}

impl Place {
    fn new(cluster: ClusterId) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path(), cluster, 10 * HOUR, Moment::now()).unwrap();
        let leaf = authority.issue("n1", Role::Node(NodeId::new(1)), HOUR, Moment::now()).unwrap();
        leaf.write(dir.path(), "n1").unwrap();
        Self { dir, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn paths(&self) -> CredentialFiles {
        CredentialFiles {
            certificate: self.path("n1.crt"),
            key: self.path("n1.key"),
            ca: self.path("ca.crt"),
            crl: None,
        }
    }
}

/// The text of the refusal, which names the file.
#[track_caller]
fn refused(paths: &CredentialFiles, now: Moment, named: &Path, expected: &str) {
    let error = Credentials::load_at(paths, now).expect_err("the credentials were taken").to_string();
    assert!(error.contains(expected), "{error}");
    assert!(error.contains(&named.display().to_string()), "{error}");
}

#[test]
fn good_files_load() {
    let place = Place::new(CLUSTER);
    let paths = place.paths();
    let credentials = Credentials::load(&paths.certificate, &paths.key, &paths.ca).unwrap();
    assert_eq!(credentials.identity().role, Role::Node(NodeId::new(1)));
    assert_eq!(credentials.cluster(), CLUSTER);
    assert_eq!(credentials.roots().len(), 1);
    assert_eq!(credentials.chain().len(), 1);
    let left = credentials.not_after().as_unix() - Moment::now().as_unix();
    assert!((3590..=3600).contains(&left), "{left}");
}

#[test]
fn missing_and_empty_files_are_named() {
    let place = Place::new(CLUSTER);
    let now = Moment::now();
    let good = place.paths();
    let gone = place.path("gone");
    refused(&CredentialFiles { certificate: gone.clone(), ..good.clone() }, now, &gone, "cannot read");
    refused(&CredentialFiles { key: gone.clone(), ..good.clone() }, now, &gone, "cannot read");
    refused(&CredentialFiles { ca: gone.clone(), ..good.clone() }, now, &gone, "cannot read");

    let (certificate, key) = (good.certificate.clone(), good.key.clone());
    let swapped =
        CredentialFiles { certificate: key.clone(), key: certificate.clone(), ca: good.ca.clone(), crl: None };
    refused(&swapped, now, &key, "has no certificate in PEM form");
    let twice = CredentialFiles { key: certificate.clone(), ..good.clone() };
    refused(&twice, now, &certificate, "has no private key in PEM form");

    let damaged = place.path("damaged.crt");
    fs::write(&damaged, "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n").unwrap();
    refused(&CredentialFiles { certificate: damaged.clone(), ..good.clone() }, now, &damaged, "is damaged");
    fs::write(&damaged, "x".repeat(1 << 21)).unwrap();
    refused(&CredentialFiles { certificate: damaged.clone(), ..good }, now, &damaged, "more than 1048576 bytes");
}

#[test]
fn key_that_others_can_read_is_refused_with_its_mode() {
    let place = Place::new(CLUSTER);
    let paths = place.paths();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o601] {
        fs::set_permissions(&paths.key, fs::Permissions::from_mode(mode)).unwrap();
        refused(&paths, Moment::now(), &paths.key, &format!("has mode {mode:04o}"));
        refused(&paths, Moment::now(), &paths.key, &format!("chmod 600 {}", paths.key.display()));
    }
    fs::set_permissions(&paths.key, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(Credentials::load_at(&paths, Moment::now()).is_ok());
}

#[test]
fn key_of_another_certificate_is_refused() {
    let (place, other) = (Place::new(CLUSTER), Place::new(CLUSTER));
    let paths = CredentialFiles { key: other.path("n1.key"), ..place.paths() };
    refused(&paths, Moment::now(), &paths.key, "does not belong to the certificate");
}

#[test]
fn certificate_outside_its_dates_is_refused_with_the_date() {
    let place = Place::new(CLUSTER);
    let paths = place.paths();
    let validity = Credentials::load_at(&paths, Moment::now()).unwrap().validity;
    assert!(Credentials::load_at(&paths, validity.not_after).is_ok());
    assert!(Credentials::load_at(&paths, validity.not_before).is_ok());

    let second = Duration::from_secs(1);
    let expected = format!("expired at {}", validity.not_after);
    refused(&paths, validity.not_after.after(second), &paths.certificate, &expected);
    let expected = format!("is not valid before {}", validity.not_before);
    refused(&paths, validity.not_before.before(second), &paths.certificate, &expected);
}

#[test]
fn other_authority_of_the_same_cluster_is_refused() {
    let (place, other) = (Place::new(CLUSTER), Place::new(CLUSTER));
    let paths = CredentialFiles { ca: other.path("ca.crt"), ..place.paths() };
    refused(&paths, Moment::now(), &paths.ca, "is not signed by the authority");
}

#[test]
fn other_trust_domain_is_refused_with_both() {
    let (place, other) = (Place::new(CLUSTER), Place::new(OTHER));
    let paths = CredentialFiles { ca: other.path("ca.crt"), ..place.paths() };
    let expected = format!("is of trust domain {CLUSTER}, but the authority");
    refused(&paths, Moment::now(), &paths.certificate, &expected);
    refused(&paths, Moment::now(), &paths.ca, &OTHER.to_string());
}

#[test]
fn bundle_of_one_cluster_is_trusted_and_of_two_refused() {
    let (place, second, stranger) = (Place::new(CLUSTER), Place::new(CLUSTER), Place::new(OTHER));
    let bundle = |other: &Place| {
        let path = place.path("bundle.crt");
        let text = place.authority.certificate_pem().to_owned() + other.authority.certificate_pem();
        fs::write(&path, text).unwrap();
        CredentialFiles { ca: path, ..place.paths() }
    };
    assert_eq!(Credentials::load_at(&bundle(&second), Moment::now()).unwrap().roots().len(), 2);
    let paths = bundle(&stranger);
    refused(&paths, Moment::now(), &paths.ca, "has authorities of two clusters");
}

#[test]
fn certificate_without_identity_is_refused() {
    let place = Place::new(CLUSTER);
    let leaf = place.authority.forge(&[], &[]);
    let error = Credentials::from_leaf(&place.authority, &leaf, Moment::now()).unwrap_err().to_string();
    assert!(error.contains("has no SPIFFE identity"), "{error}");
}

#[test]
fn leaf_in_place_of_the_authority_is_refused() {
    let place = Place::new(CLUSTER);
    let paths = CredentialFiles { ca: place.path("n1.crt"), ..place.paths() };
    refused(&paths, Moment::now(), &paths.ca, "is not a Quorate authority");
}

#[test]
fn node_without_server_purpose_is_refused() {
    let place = Place::new(CLUSTER);
    let identity = Identity { cluster: CLUSTER, role: Role::Node(NodeId::new(1)) };
    let purposes = [rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = place.authority.forge(&[&identity.to_string()], &purposes);
    let error = Credentials::from_leaf(&place.authority, &leaf, Moment::now()).unwrap_err().to_string();
    assert!(error.contains("server authentication"), "{error}");
}

#[test]
fn credentials_from_memory_are_those_from_files() {
    let now = Moment::now();
    let authority = Authority::generate(CLUSTER, HOUR, now).unwrap();
    let leaf = authority.issue("app", Role::client("app").unwrap(), HOUR, now).unwrap();
    let credentials = Credentials::from_leaf(&authority, &leaf, now).unwrap();
    assert_eq!(credentials.identity(), leaf.identity());
    assert!(!format!("{credentials:?}").contains("key"));
}
