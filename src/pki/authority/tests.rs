//! Tests of `pki::authority`: what it makes, what it refuses, and in which words.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CLUSTER: ClusterId = ClusterId::new(7);
const HOUR: Duration = Duration::from_secs(3600);

impl Authority {
    /// A leaf that [`Authority::issue`] would refuse to make.
    pub(in crate::pki) fn forge(&self, uris: &[&str], purposes: &[ExtendedKeyUsagePurpose]) -> Leaf {
        let validity = Validity::starting(Moment::now(), HOUR);
        let mut params = params("forged", "spiffe://".to_owned(), validity).unwrap();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            identity: Identity { cluster: self.cluster, role: Role::Client("forged".to_owned()) },
            validity,
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn authority_loads_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let made = Authority::create(dir.path(), CLUSTER, AUTHORITY_LIFETIME, Moment::now()).unwrap();
    let loaded = Authority::load(dir.path()).unwrap();
    assert_eq!(loaded.cluster(), CLUSTER);
    assert_eq!(loaded.certificate(), made.certificate());
    assert_eq!(loaded.certificate_pem(), fs::read_to_string(dir.path().join("ca.crt")).unwrap().replace("\r\n", "\n"));
    assert_eq!(loaded.validity(), made.validity());
    assert_eq!(mode(&dir.path().join("ca.key")), 0o600);
}

#[test]
fn files_of_a_leaf_have_their_modes() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("a/b");
    let authority = Authority::create(&inside, CLUSTER, AUTHORITY_LIFETIME, Moment::now()).unwrap();
    let leaf = authority.issue("n1", Role::Node(NodeId::new(1)), LEAF_LIFETIME, Moment::now()).unwrap();
    let files = leaf.write(&inside, "n1").unwrap();
    assert_eq!(mode(&files.key), 0o600);
    assert_eq!(mode(&inside), 0o700);
    assert_eq!(files.certificate, inside.join("n1.crt"));
}

#[test]
fn nothing_is_ever_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), CLUSTER, AUTHORITY_LIFETIME, Moment::now()).unwrap();
    let error = Authority::create(dir.path(), CLUSTER, AUTHORITY_LIFETIME, Moment::now()).unwrap_err().to_string();
    assert!(error.contains("ca.crt exists already and is not overwritten"), "{error}");

    let leaf = authority.issue("n1", Role::Node(NodeId::new(1)), LEAF_LIFETIME, Moment::now()).unwrap();
    fs::write(dir.path().join("n1.key"), "precious").unwrap();
    let error = leaf.write(dir.path(), "n1").unwrap_err().to_string();
    assert!(error.contains("n1.key exists already"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("n1.key")).unwrap(), "precious");
    assert!(!dir.path().join("n1.crt").exists(), "half of a pair was written");
    // A leaf that is named as the authority would take its files.
    assert!(leaf.write(dir.path(), "ca").is_err());
}

#[test]
fn leaf_never_outlives_its_authority() {
    let now = Moment::now();
    let authority = Authority::generate(CLUSTER, HOUR, now).unwrap();
    let leaf = authority.issue("n1", Role::Node(NodeId::new(1)), LEAF_LIFETIME, now).unwrap();
    assert_eq!(leaf.validity().not_after, now.after(HOUR));
    assert_eq!(Validity::of(leaf.certificate()).unwrap(), leaf.validity());

    let late = now.after(HOUR).after(HOUR);
    let error = authority.issue("n1", Role::Node(NodeId::new(1)), LEAF_LIFETIME, late).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
}

#[test]
fn only_a_node_may_serve() {
    let now = Moment::now();
    let authority = Authority::generate(CLUSTER, HOUR, now).unwrap();
    let roles =
        [(Role::Node(NodeId::new(1)), true), (Role::client("x").unwrap(), false), (Role::admin("x").unwrap(), false)];
    for (role, serves) in roles {
        let leaf = authority.issue("x", role.clone(), HOUR, now).unwrap();
        let parsed = parse_certificate(leaf.certificate()).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth, "{role}");
        assert_eq!(usage.server_auth, serves, "{role}");
        assert!(!parsed.is_ca(), "{role}");
        assert_eq!(leaf.identity().role, role);
    }
}

#[test]
fn name_that_is_no_identity_is_refused() {
    let now = Moment::now();
    let authority = Authority::generate(CLUSTER, HOUR, now).unwrap();
    let wrong = Role::Client("../escape".to_owned());
    assert!(matches!(authority.issue("x", wrong, HOUR, now), Err(AuthorityError::Name(_))));
    let fine = Role::client("x").unwrap();
    assert!(matches!(authority.issue("a/b", fine.clone(), HOUR, now), Err(AuthorityError::Name(_))));
    let leaf = authority.issue("x", fine, HOUR, now).unwrap();
    assert!(matches!(leaf.write(Path::new("/nowhere"), "a/b"), Err(AuthorityError::Name(_))));
}

#[test]
fn leaf_and_strange_key_do_not_load_as_an_authority() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = Moment::now();
    let authority = Authority::create(dir.path(), CLUSTER, HOUR, now).unwrap();
    Authority::create(other.path(), CLUSTER, HOUR, now).unwrap();
    fs::copy(other.path().join("ca.key"), dir.path().join("ca.key")).unwrap();
    let error = Authority::load(dir.path()).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMismatch { .. }), "{error}");

    let leaf = authority.issue("ca", Role::Node(NodeId::new(1)), HOUR, now).unwrap();
    let third = tempfile::tempdir().unwrap();
    leaf.write(third.path(), "ca").unwrap();
    let error = Authority::load(third.path()).unwrap_err();
    assert!(matches!(error, AuthorityError::Identity { .. }), "{error}");

    // The authority's own URI, but no right to sign.
    let forged = authority.forge(&[&authority_uri(CLUSTER)], &[]);
    let fourth = tempfile::tempdir().unwrap();
    forged.write(fourth.path(), "ca").unwrap();
    let error = Authority::load(fourth.path()).unwrap_err();
    assert!(matches!(error, AuthorityError::Leaf { .. }), "{error}");
}

#[test]
fn bundle_of_two_authorities_loads_the_one_of_the_key() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Authority::create(old.path(), CLUSTER, HOUR, Moment::now()).unwrap();
    let made = Authority::create(new.path(), CLUSTER, HOUR, Moment::now()).unwrap();
    let bundle = [old.path(), new.path()].map(|dir| fs::read_to_string(dir.join("ca.crt")).unwrap()).concat();
    fs::write(new.path().join("ca.crt"), bundle).unwrap();
    assert_eq!(Authority::load(new.path()).unwrap().certificate(), made.certificate());
}

#[test]
fn debug_form_shows_no_key() {
    let authority = Authority::generate(CLUSTER, HOUR, Moment::now()).unwrap();
    let leaf = authority.issue("x", Role::client("x").unwrap(), HOUR, Moment::now()).unwrap();
    assert!(format!("{authority:?} {leaf:?}").len() < 300);
}

#[test]
fn hosts_stand_beside_the_one_identity() {
    use x509_parser::extensions::GeneralName;
    let now = Moment::now();
    let authority = Authority::generate(CLUSTER, HOUR, now).unwrap();
    let role = Role::Node(NodeId::new(1));
    let hosts = ["kv1.example.org".to_owned(), "10.0.0.1".to_owned()];
    let leaf = authority.issue_for_hosts("n1", role.clone(), &hosts, HOUR, now).unwrap();
    assert_eq!(Identity::from_certificate(leaf.certificate()).unwrap(), *leaf.identity());
    let parsed = parse_certificate(leaf.certificate()).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(names.contains(&GeneralName::DNSName("kv1.example.org")), "{names:?}");
    assert!(names.contains(&GeneralName::IPAddress(&[10, 0, 0, 1])), "{names:?}");

    for host in ["", "kv1:7443", "http://kv1", "a..b", "*.example.org", &"a".repeat(64), &"a.".repeat(200)] {
        let error = authority.issue_for_hosts("n1", role.clone(), &[host.to_owned()], HOUR, now).unwrap_err();
        assert!(matches!(error, AuthorityError::Host(_)), "{host}: {error}");
    }
}
