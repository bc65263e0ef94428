//! Peers that are not what they should be: certificates that do not fit, and frames that no correct program sends, over
//! real QUIC. Each is told why; the process and what it stores go on.

use std::time::Duration;

use bytes::Bytes;
use quorate::pki::authority::random_node;
use quorate::pki::{Authority, Credentials, Moment, Role};
use quorate::protocol::types::limits::{CLIENT_FRAME_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use quorate::protocol::types::{Address, ClusterId, Strictness};
use quorate::protocol::wire::{FailureCode, Frame, GetReply, GetRequest, HEADER_BYTES, Hello, Kind, encode_control};

use super::cluster::{Cluster, NAMES, Shape, make_certificates, runtime};
use super::door::item;
use super::process::Signal;
use super::wire::{Wire, frame, hello_of};

const HOUR: Duration = Duration::from_secs(3600);

/// A cluster with items in it, and who can make any certificate for it.
struct Besieged {
    cluster: Cluster,
    authority: Authority,
}

impl Besieged {
    fn new() -> Self {
        let cluster = Cluster::start(Shape::SMALL);
        let authority = Authority::load(&cluster.path("certs")).expect("the authority that was just made");
        let besieged = Self { cluster, authority };
        for key in 0..20 {
            besieged.cluster.door(0).put(&item("kept", &key.to_string()), None, b"kept").expect(200);
        }
        besieged
    }

    /// Valid credentials of anybody.
    fn issue(&self, role: Role) -> Credentials {
        let leaf = self.authority.issue("stranger", role, HOUR, Moment::now()).expect("a certificate");
        Credentials::from_leaf(&self.authority, &leaf, Moment::now()).expect("a certificate that was just made")
    }

    /// Control port and shard port of the first node.
    fn ports(&self) -> [std::net::SocketAddr; 2] {
        let control = self.cluster.ports.control(0);
        [control, (control.ip(), control.port() + 1).into()]
    }

    /// All processes run, without a panic, and everything stored is there.
    fn stands(&mut self) {
        self.cluster.run_still(&[0, 1, 2]);
        for node in &self.cluster.nodes {
            assert!(!node.log().contains("panicked"), "{}", node.log());
        }
        for door in self.cluster.doors() {
            for key in 0..20 {
                let answer = door.get(&item("kept", &key.to_string())).expect(200);
                assert_eq!((answer.body.as_slice(), answer.header("quorate-versions")), (&b"kept"[..], Some("1")));
            }
        }
    }
}

fn a_get(key: &'static str) -> Bytes {
    let address = Address::new("kept".into(), key.into(), "".into()).expect("a short key");
    let request = GetRequest { address, r: 0, strictness: Strictness::Sloppy };
    let mut body = Vec::new();
    request.encode(&mut body);
    body.into()
}

/// What it says when somebody is not let in, by connecting and waiting.
async fn turned_away(credentials: &Credentials, address: std::net::SocketAddr, hello: &Hello) -> String {
    match Wire::greet_saying(credentials, address, hello).await {
        Ok(wire) => wire.closed().await,
        Err(reason) => reason,
    }
}

fn has(reason: &str, words: &[&str]) {
    for word in words {
        assert!(reason.contains(word), "no {word:?} in {reason:?}");
    }
}

#[test]
fn certificates_that_do_not_fit_are_told_why() {
    let mut besieged = Besieged::new();
    let runtime = runtime();
    let past = Moment::now().before(HOUR * 48);
    let role = Role::client("late").expect("a name");
    let leaf = besieged.authority.issue("late", role, HOUR, past).expect("a certificate of the past");
    let expired = Credentials::from_leaf(&besieged.authority, &leaf, past).expect("it was valid then");
    // The cluster's own id, but another key behind it.
    let forger = Authority::generate(besieged.authority.cluster(), HOUR, Moment::now()).expect("an authority");
    let leaf = forger.issue("app", Role::client("app").expect("a name"), HOUR, Moment::now()).expect("a certificate");
    let unsigned = Credentials::from_leaf(&besieged.authority, &leaf, Moment::now()).is_err();
    assert!(unsigned, "credentials that nobody would believe are refused before they are used");
    let other = tempfile::tempdir().expect("a temporary directory");
    make_certificates(other.path());
    let foreign = |who: &str| {
        let file = |name: &str| other.path().join("certs").join(name);
        let (certificate, key) = (file(&format!("{who}.crt")), file(&format!("{who}.key")));
        Credentials::load(&certificate, &key, &file("ca.crt")).expect("certificates that were just made")
    };
    let stranger = besieged.issue(Role::Node(random_node().expect("entropy")));
    let itself = besieged.cluster.credentials("n1");
    let twin = besieged.cluster.credentials("n2");
    let app = besieged.cluster.credentials("app");
    let as_n2 = Hello { node: hello_of(&twin).node, ..hello_of(&app) };
    let elsewhere = Hello { cluster: Some(ClusterId::new(1)), ..hello_of(&app) };
    let newer = Hello { version_min: 200, version_max: 201, ..hello_of(&app) };
    for address in besieged.ports() {
        let away = |who: &Credentials, hello: &Hello| runtime.block_on(turned_away(who, address, hello));
        has(&away(&expired, &hello_of(&expired)), &["expired"]);
        // This end refuses first: it does not know the node's authority either.
        let reason = away(&foreign("app"), &hello_of(&app));
        assert!(reason.contains("authority") || reason.contains("trust domain"), "{reason}");
        has(&away(&stranger, &hello_of(&stranger)), &["not on the roster", "administrator"]);
        has(&away(&itself, &hello_of(&itself)), &["own certificate is in use elsewhere"]);
        has(&away(&twin, &hello_of(&twin)), &["another process of node", "of its own"]);
        has(&away(&app, &as_n2), &["certificate is of client app"]);
        has(&away(&app, &elsewhere), &["belongs to cluster", "check the address"]);
        has(&away(&app, &newer), &["no common protocol version", "upgrade"]);
    }
    assert!(besieged.cluster.door(0).metric("quorate_sessions_refused_total") >= 10.0);
    besieged.cluster.all_connected();
    besieged.stands();
}

#[test]
fn client_that_asks_for_what_nodes_do_is_refused() {
    let mut besieged = Besieged::new();
    let [control, shard] = besieged.ports();
    runtime().block_on(async {
        for role in [Role::client("app").expect("a name"), Role::admin("ops").expect("a name")] {
            let credentials = besieged.issue(role.clone());
            let mut wire = Wire::greet(&credentials, shard).await.expect("anybody with a certificate is greeted");
            for kind in [Kind::Read, Kind::Merge, Kind::Vouch] {
                let failure = wire.refused(&frame(kind, 7, a_get("0"))).await;
                assert_eq!(failure.code, FailureCode::NotAllowed, "{kind:?} by {role}: {failure}");
                has(&failure.message, &["may not send", "its certificate is of"]);
            }
            // Answers are nobody's to send to a node.
            let failure = wire.refused(&frame(Kind::MergeReply, 8, Bytes::new())).await;
            assert_eq!(failure.code, FailureCode::NotAllowed, "{failure}");
            // The same session goes on.
            wire.send(&frame(Kind::Get, 9, a_get("0"))).await;
            let answer = wire.next().await.expect("an answer");
            assert_eq!(answer.kind(), Some(Kind::GetReply), "{answer:?}");
            assert_eq!(GetReply::decode(answer.body).expect("a reply").versions.len(), 1);
            let mut wire = Wire::greet(&credentials, control).await.expect("anybody with a certificate is greeted");
            assert_eq!(wire.refused(&frame(Kind::Vouch, 1, Bytes::new())).await.code, FailureCode::NotAllowed);
        }
    });
    assert!(besieged.cluster.door(0).metric("quorate_frames_not_allowed_total") >= 8.0);
    besieged.stands();
}

/// A length field with this number, and nothing else.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("below 4 GiB").to_be_bytes()
}

/// What can be wrong with a frame, by somebody who is let in. `limit` is the largest that he may send there.
async fn misbehave(credentials: &Credentials, address: std::net::SocketAddr, limit: usize) {
    let greet = async || Wire::greet(credentials, address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    // Frames that can be cut out of the stream are answered, and the session goes on.
    let mut wire = greet().await;
    let mut unknown = frame(Kind::Ping, 1, Bytes::new());
    unknown.header.kind = 250;
    let failure = wire.refused(&unknown).await;
    assert_eq!(failure.code, FailureCode::Unsupported, "{failure}");
    has(&failure.message, &["kind 250", "version 1"]);
    let mut critical = frame(Kind::Ping, 2, Bytes::new());
    critical.header.flags = 0x8000;
    let failure = wire.refused(&critical).await;
    assert_eq!(failure.code, FailureCode::Unsupported, "{failure}");
    has(&failure.message, &["0x8000"]);
    for (at, body) in [&b""[..], b"\xff", b"\x04kept\0\x010\0\0\x03\x09", &[0xff; 1000]].into_iter().enumerate() {
        for kind in [Kind::Get, Kind::Put, Kind::Scan] {
            let failure = wire.refused(&frame(kind, 10 + at as u64, body)).await;
            let expected = [FailureCode::BadInput, FailureCode::Unsupported, FailureCode::TooLarge];
            assert!(expected.contains(&failure.code), "{kind:?} with {body:?}: {failure:?}");
        }
    }
    drop(wire);
    // What cannot be ends the session, with the reason.
    for (bytes, words) in [
        (length(limit + 1).to_vec(), vec![(limit + 1).to_string(), limit.to_string()]),
        (length(u32::MAX as usize).to_vec(), vec![limit.to_string()]),
        (length(HEADER_BYTES - 5).to_vec(), vec!["length".to_owned(), (HEADER_BYTES - 5).to_string()]),
        (vec![0xff; 5000], vec![limit.to_string()]),
        (
            frame(Kind::Hello, 0, encode_control(&hello_of(credentials))).to_bytes().to_vec(),
            vec!["second hello".into()],
        ),
    ] {
        let mut wire = greet().await;
        wire.send_raw(&bytes).await;
        let reason = wire.closed().await;
        for word in words {
            has(&reason, &[&word]);
        }
    }
    // Cut short: the end of the lane in the middle of a header and of a body.
    let whole = frame(Kind::Get, 1, a_get("0")).to_bytes();
    for cut in [2, HEADER_BYTES, whole.len() - 1] {
        let mut wire = greet().await;
        wire.send_raw(&whole[..cut]).await;
        wire.finish();
        let reason = wire.closed().await;
        has(&reason, &["cut short"]);
    }
    // Before any hello: something else, half of one, and too large a one.
    for (bytes, words) in [
        (whole.to_vec(), ["first frame must be a hello"]),
        (frame(Kind::Hello, 0, vec![0xff; 40]).to_bytes().to_vec(), ["hello"]),
        (length(70_000).to_vec(), ["65536"]),
    ] {
        let mut wire = Wire::dial(credentials, address).await.expect("a certificate of the cluster");
        wire.send_raw(&bytes).await;
        has(&wire.closed().await, &words);
    }
}

#[test]
fn frames_that_a_client_mangles_end_its_session_and_nothing_else() {
    let mut besieged = Besieged::new();
    let app = besieged.cluster.credentials("app");
    let [control, shard] = besieged.ports();
    runtime().block_on(async {
        misbehave(&app, shard, CLIENT_FRAME_BYTES_MAX).await;
        misbehave(&app, control, CONTROL_FRAME_BYTES_MAX).await;
    });
    assert!(besieged.cluster.door(0).metric("quorate_frames_malformed_total") >= 10.0);
    besieged.stands();
}

#[test]
fn frames_that_a_member_mangles_end_its_session_and_nothing_else() {
    let mut besieged = Besieged::new();
    // Somebody has the third node's certificate, and the node itself is down.
    besieged.cluster.nodes[2].signal(Signal::Terminate);
    besieged.cluster.nodes[2].ended();
    let member = besieged.cluster.credentials("n3");
    let [control, shard] = besieged.ports();
    let runtime = runtime();
    super::until("the first node lets the new process of the third in", || {
        runtime.block_on(async {
            let first = Wire::greet(&member, shard).await.map(drop);
            first.and(Wire::greet(&member, control).await.map(drop))
        })
    });
    runtime.block_on(async {
        misbehave(&member, shard, FRAME_BYTES_MAX).await;
        misbehave(&member, control, CONTROL_FRAME_BYTES_MAX).await;
        let mut wire = Wire::greet(&member, shard).await.expect("a member");
        for body in [&b""[..], b"\x04kept\0\x010\0\0", &[0; 64], &[0xff; 4096]] {
            for kind in [Kind::Merge, Kind::Read] {
                let asked: Frame = frame(kind, 3, body);
                wire.send(&asked).await;
                let answer = wire.next().await.expect("an answer");
                assert!(matches!(answer.kind(), Some(Kind::Error | Kind::ReadReply)), "{kind:?} {body:?}: {answer:?}");
                assert!(kind == Kind::Read || answer.kind() == Some(Kind::Error), "{body:?} was merged");
            }
        }
    });
    assert!(besieged.cluster.door(0).metric("quorate_frames_malformed_total") >= 10.0);
    besieged.cluster.start_node(2);
    besieged.cluster.all_connected();
    besieged.stands();
    let names: Vec<_> = besieged.cluster.status(0)["nodes"].as_array().expect("nodes").clone();
    assert_eq!(names.len(), NAMES.len());
}
