//! Tests of `pki::revocation`: who is on a list is refused in both directions, and nobody else is.

use super::*;
use crate::pki::{CredentialFiles, Credentials, Leaf, PeerError, Role};
use crate::protocol::types::{ClusterId, NodeId};

const CLUSTER: ClusterId = ClusterId::new(7);
const HOUR: Duration = Duration::from_secs(3600);

/// A directory with an authority, and leaves in it.
struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path(), CLUSTER, HOUR, Moment::now()).unwrap();
        Self { dir, authority }
    }

    fn issue(&self, name: &str, role: Role) -> Leaf {
        let leaf = self.authority.issue(name, role, HOUR, Moment::now()).unwrap();
        leaf.write(self.dir.path(), name).unwrap();
        leaf
    }

    fn files(&self, name: &str, list: bool) -> CredentialFiles {
        let path = |file: String| self.dir.path().join(file);
        CredentialFiles {
            certificate: path(format!("{name}.crt")),
            key: path(format!("{name}.key")),
            ca: path("ca.crt".to_owned()),
            crl: list.then(|| path(LIST_FILE.to_owned())),
        }
    }

    fn revoke(&self, leaf: &Leaf) -> Revoked {
        revoke(&self.authority, self.dir.path(), leaf.certificate(), Moment::now()).unwrap()
    }
}

#[test]
fn revoked_client_and_revoked_node_are_refused_and_nobody_else() {
    let place = Place::new();
    place.issue("n1", Role::Node(NodeId::new(1)));
    let (n2, app) = (place.issue("n2", Role::Node(NodeId::new(2))), place.issue("app", Role::Client("app".to_owned())));
    let other = place.issue("other", Role::Client("other".to_owned()));
    place.revoke(&app);
    assert_eq!(place.revoke(&n2).count, 2);

    let n1 = Credentials::load_at(&place.files("n1", true), Moment::now()).unwrap();
    let shown = |leaf: &Leaf| [leaf.certificate().clone()];
    let revoked = |leaf: &Leaf| PeerError::Revoked(leaf.identity().clone());
    assert_eq!(n1.believe_client(&shown(&app), Moment::now()), Err(revoked(&app)));
    assert_eq!(n1.believe_client(&shown(&n2), Moment::now()), Err(revoked(&n2)));
    assert_eq!(n1.believe_node(&shown(&n2), Moment::now()), Err(revoked(&n2)));
    assert_eq!(n1.believe_client(&shown(&other), Moment::now()).as_ref(), Ok(other.identity()));
    // Without the list everybody is believed.
    let trusting = Credentials::load_at(&place.files("n1", false), Moment::now()).unwrap();
    assert!(trusting.believe_node(&shown(&n2), Moment::now()).is_ok());
}

#[test]
fn certificate_of_the_same_name_that_was_issued_again_is_believed() {
    let place = Place::new();
    place.issue("n1", Role::Node(NodeId::new(1)));
    let stolen = place.issue("app", Role::Client("app".to_owned()));
    place.revoke(&stolen);
    let again = place.authority.issue("app", Role::Client("app".to_owned()), HOUR, Moment::now()).unwrap();
    let n1 = Credentials::load_at(&place.files("n1", true), Moment::now()).unwrap();
    assert!(n1.believe_client(&[again.certificate().clone()], Moment::now()).is_ok());
}

#[test]
fn revoking_twice_changes_nothing() {
    let place = Place::new();
    let app = place.issue("app", Role::Client("app".to_owned()));
    let first = place.revoke(&app);
    assert!(!first.already);
    let before = fs::read(&first.list).unwrap();
    let second = place.revoke(&app);
    assert!(second.already);
    assert_eq!((second.count, fs::read(&second.list).unwrap()), (1, before));
}

#[test]
fn list_past_its_date_still_revokes() {
    let place = Place::new();
    place.issue("n1", Role::Node(NodeId::new(1)));
    let app = place.issue("app", Role::Client("app".to_owned()));
    let long_ago = Moment::now().before(NEXT_UPDATE * 2);
    revoke(&place.authority, place.dir.path(), app.certificate(), long_ago).unwrap();
    let n1 = Credentials::load_at(&place.files("n1", true), Moment::now()).unwrap();
    let refused = n1.believe_client(&[app.certificate().clone()], Moment::now());
    assert_eq!(refused, Err(PeerError::Revoked(app.identity().clone())));
}

#[test]
fn lists_of_others_and_damaged_ones_are_refused_by_name() {
    let (place, other) = (Place::new(), Place::new());
    let app = other.issue("app", Role::Client("app".to_owned()));
    place.issue("n1", Role::Node(NodeId::new(1)));
    let foreign = revoke(&place.authority, place.dir.path(), app.certificate(), Moment::now()).unwrap_err();
    assert!(foreign.to_string().contains("was not issued by this authority"), "{foreign}");

    let list = other.revoke(&app).list;
    let files = CredentialFiles { crl: Some(list.clone()), ..place.files("n1", false) };
    let error = Credentials::load_at(&files, Moment::now()).unwrap_err().to_string();
    assert!(error.contains(&list.display().to_string()) && error.contains("is not of an authority in"), "{error}");

    fs::write(&list, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
    let error = Credentials::load_at(&files, Moment::now()).unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    let error = revoke(&other.authority, other.dir.path(), app.certificate(), Moment::now()).unwrap_err().to_string();
    assert!(error.contains("cannot be used"), "{error}");
}

#[test]
fn two_authorities_of_one_cluster_keep_lists_apart() {
    let (old, new) = (Place::new(), Place::new());
    let stolen = old.issue("app", Role::Client("app".to_owned()));
    let kept = new.issue("app2", Role::Client("app2".to_owned()));
    new.issue("n1", Role::Node(NodeId::new(1)));
    let list = old.revoke(&stolen).list;
    let bundle = new.dir.path().join("both.crt");
    fs::write(&bundle, format!("{}{}", new.authority.certificate_pem(), old.authority.certificate_pem())).unwrap();
    let files = CredentialFiles { ca: bundle, crl: Some(list), ..new.files("n1", false) };
    let n1 = Credentials::load_at(&files, Moment::now()).unwrap();
    assert!(n1.believe_client(&[kept.certificate().clone()], Moment::now()).is_ok());
    let refused = n1.believe_client(&[stolen.certificate().clone()], Moment::now());
    assert_eq!(refused, Err(PeerError::Revoked(stolen.identity().clone())));
}
