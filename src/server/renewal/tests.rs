//! Tests of `server::renewal`: what changes is taken, what cannot be used changes nothing.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::pki::{Authority, Role};
use crate::protocol::types::{ClusterId, NodeId};

const HOUR: Duration = Duration::from_secs(3600);

struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
    renewer: Renewer,
    current: CurrentCredentials,
    renewal: Arc<Renewal>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path(), ClusterId::new(7), HOUR * 9, Moment::now()).unwrap();
        issue(&authority, dir.path(), 1, HOUR);
        let path = |file: &str| dir.path().join(file);
        let files = CredentialFiles { certificate: path("n1.crt"), key: path("n1.key"), ca: path("ca.crt"), crl: None };
        let (renewer, credentials) = Renewer::load(files, Moment::now()).unwrap();
        let current = CurrentCredentials::new(credentials);
        Self { dir, authority, renewer, current, renewal: Arc::default() }
    }

    /// Two looks, as a change needs.
    fn look(&mut self) {
        for _ in 0..2 {
            let look = self.renewer.look(false, Moment::now());
            self.renewer.act(look, false, &self.current, &self.renewal);
        }
    }

    fn state(&self) -> (u64, bool) {
        (self.renewal.renewed(), self.renewal.is_failing())
    }
}

fn issue(authority: &Authority, dir: &Path, node: u128, lifetime: Duration) {
    let leaf = authority.issue("n1", Role::Node(NodeId::new(node)), lifetime, Moment::now()).unwrap();
    leaf.replace(dir, "n1").unwrap();
}

#[test]
fn renewed_files_are_taken_and_told() {
    let mut place = Place::new();
    let told = place.current.renewals();
    place.look();
    assert_eq!(place.state(), (0, false));
    assert!(!told.has_changed().unwrap());
    issue(&place.authority, place.dir.path(), 1, HOUR * 5);
    place.look();
    assert_eq!(place.state(), (1, false));
    assert!(told.has_changed().unwrap());
    assert!(place.current.now().not_after() > Moment::now().after(HOUR * 4));
}

#[test]
fn change_counts_at_the_second_look_or_when_asked_for() {
    let mut place = Place::new();
    issue(&place.authority, place.dir.path(), 1, HOUR * 5);
    assert!(matches!(place.renewer.look(false, Moment::now()), Look::Changing));
    assert!(matches!(place.renewer.look(false, Moment::now()), Look::New(_)));
    issue(&place.authority, place.dir.path(), 1, HOUR * 6);
    assert!(matches!(place.renewer.look(true, Moment::now()), Look::New(_)));
}

#[test]
fn bad_files_change_nothing_until_they_are_good_again() {
    let mut place = Place::new();
    let before = place.current.now().not_after();
    let certificate = place.dir.path().join("n1.crt");
    let good = fs::read(&certificate).unwrap();

    fs::write(&certificate, "rubbish").unwrap();
    place.look();
    assert_eq!((place.state(), place.current.now().not_after()), ((0, true), before));
    assert!(place.renewer.told.as_ref().unwrap().contains("n1.crt"), "{:?}", place.renewer.told);
    fs::remove_file(&certificate).unwrap();
    place.look();
    assert_eq!(place.state(), (0, true));
    fs::write(&certificate, good).unwrap();
    place.look();
    assert_eq!(place.state(), (0, false));
}

#[test]
fn certificate_of_another_node_is_refused() {
    let mut place = Place::new();
    issue(&place.authority, place.dir.path(), 2, HOUR * 5);
    place.look();
    assert_eq!(place.state(), (0, true));
    assert!(place.renewer.told.as_ref().unwrap().contains("a process keeps its identity"), "{:?}", place.renewer.told);
}
