//! What a peer may ask, and what happens when it sends nonsense.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::fixture::*;
use crate::pki::Role;
use crate::protocol::types::limits::CLIENT_FRAME_BYTES_MAX;
use crate::protocol::wire::{Failure, FailureCode, Frame, Kind, decode_control};
use crate::transport::{Class, Handler, LaneSender, Peer, Purpose, Session, Terms};

/// Remembers the kinds that were delivered, and echoes.
#[derive(Clone, Default)]
struct Delivered(Arc<Mutex<Vec<u8>>>);

impl Handler for Delivered {
    fn on_frame(&self, peer: &Peer, lane: &LaneSender, frame: Frame) {
        self.0.lock().unwrap().push(frame.header.kind);
        echo(peer, lane, frame);
    }
}

fn failure(frame: &Frame) -> Failure {
    assert_eq!(frame.kind(), Some(Kind::Error));
    decode_control(&frame.body, "error").unwrap()
}

#[tokio::test]
async fn kinds_that_the_sender_may_not_ask_are_answered_and_not_delivered() {
    let world = World::new();
    let delivered = Delivered::default();
    let server = world.serve(delivered.clone());
    let talk = world.converse(client(), &server).await;
    let asked = [Kind::Merge, Kind::Read, Kind::Create, Kind::State, Kind::GetReply];
    for (n, kind) in (0..).zip(asked) {
        // A body that no decoder would take: the kind is judged first.
        talk.send(Class::Normal, frame(kind, n, &b"\xff"[..])).await;
    }
    talk.send(Class::Normal, frame(Kind::Get, 99, &b"fine"[..])).await;
    talk.heard(asked.len() + 1).await;
    let frames = talk.heard.frames.lock().unwrap();
    for ((n, kind), frame) in (0..).zip(asked).zip(frames.iter()) {
        let failure = failure(frame);
        assert_eq!((frame.header.correlation, failure.code), (n, FailureCode::NotAllowed));
        assert_eq!(
            failure.message,
            format!("client app may not send frames of kind {kind:?}: its certificate is of a client")
        );
    }
    assert_eq!(frames.last().unwrap().body, "fine");
    assert_eq!(*delivered.0.lock().unwrap(), [Kind::Get.as_u8()]);
    assert_eq!(server.tally.counts().frames_not_allowed, 5);
}

#[tokio::test]
async fn each_role_may_ask_its_own_kinds() {
    let world = World::new();
    let delivered = Delivered::default();
    let server = world.serve(delivered.clone());
    for (role, kind) in [(Role::Node(PEER), Kind::Merge), (Role::admin("ops").unwrap(), Kind::Create)] {
        let talk = world.converse(role, &server).await;
        talk.send(Class::Normal, frame(kind, 1, &b""[..])).await;
        talk.heard(1).await;
        assert_eq!(delivered.0.lock().unwrap().last(), Some(&kind.as_u8()));
    }
}

#[tokio::test]
async fn unknown_kinds_and_critical_flags_are_answered() {
    let world = World::new();
    let delivered = Delivered::default();
    let server = world.serve(delivered.clone());
    let talk = world.converse(client(), &server).await;
    let changed = |correlation: u64, at: usize, to: u8| {
        let mut bytes = frame(Kind::Get, correlation, &b"x"[..]).to_vec();
        bytes[at] = to;
        Bytes::from(bytes)
    };
    talk.send(Class::Normal, changed(1, 5, 250)).await;
    talk.send(Class::Bulk, changed(2, 6, 0x80)).await;
    // A flag that is not critical is ignored.
    talk.send(Class::Normal, changed(3, 7, 0x80)).await;
    talk.heard(3).await;
    let mut frames = talk.heard.frames.lock().unwrap().clone();
    frames.sort_by_key(|frame| frame.header.correlation);
    let (kind, flag) = (failure(&frames[0]), failure(&frames[1]));
    assert_eq!((kind.code, flag.code), (FailureCode::Unsupported, FailureCode::Unsupported));
    assert!(kind.message.contains("kind 250"), "{kind}");
    assert!(flag.message.contains("critical flags 0x8000"), "{flag}");
    assert_eq!(frames[2].kind(), Some(Kind::GetReply));
    assert_eq!(delivered.0.lock().unwrap().len(), 1);
    assert_eq!(server.tally.counts().frames_unsupported, 2);
}

#[tokio::test]
async fn answer_that_this_end_does_not_understand_becomes_an_error() {
    let world = World::new();
    let server = world.serve(|_: &Peer, lane: &LaneSender, asked: Frame| {
        let mut bytes = frame(Kind::GetReply, asked.header.correlation, &b"x"[..]).to_vec();
        bytes[5] = 250;
        lane.try_send(bytes.into()).unwrap();
    });
    let talk = world.converse(client(), &server).await;
    talk.send(Class::Normal, frame(Kind::Get, 8, &b""[..])).await;
    talk.heard(1).await;
    let frames = talk.heard.frames.lock().unwrap();
    assert_eq!((frames[0].header.correlation, failure(&frames[0]).code), (8, FailureCode::Unsupported));
}

#[tokio::test]
async fn question_on_a_lane_for_answers_ends_the_session() {
    let world = World::new();
    let server = world.serve(|_: &Peer, lane: &LaneSender, _: Frame| {
        lane.try_send(frame(Kind::Get, 1, &b""[..])).unwrap();
    });
    let talk = world.converse(client(), &server).await;
    talk.send(Class::Normal, frame(Kind::Get, 8, &b""[..])).await;
    talk.ended_with("the peer asked (32) on a lane where it may only answer").await;
}

/// Writes bytes as they are, and ends the lane when asked to.
async fn write_raw(session: &mut Session, bytes: Bytes, finish: bool) {
    session.send.write_chunk(bytes).await.unwrap();
    if finish {
        session.send.finish().unwrap();
    }
}

#[tokio::test]
async fn malformed_frames_end_their_own_session_only() {
    let world = World::new();
    let server = world.serve(echo);
    let bystander = world.converse(client(), &server).await;
    let whole = frame(Kind::Get, 1, vec![0; 100]);
    let mut version = whole.to_vec();
    version[4] = 9;
    let oversized = u32::try_from(CLIENT_FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    let cases = [
        (Bytes::from_static(b"\xff\xff\xff\xffnonsense"), false, "a frame of 4294967295 bytes was announced"),
        (oversized.to_vec().into(), false, "announced; the limit here is 8519680"),
        (Bytes::from_static(&[0, 0, 0, 1, 0]), false, "the frame's length cannot be 1"),
        (version.into(), false, "the frame speaks protocol version 9; this node speaks 1"),
        (whole.slice(..90), true, "malformed frame: the frame is cut short in its body"),
        (frame(Kind::Hello, 0, &b""[..]), false, "a second hello came"),
    ];
    let count = cases.len();
    for (bytes, finish, words) in cases {
        let mut session = world.connect(client(), &server).await.unwrap();
        write_raw(&mut session, bytes, finish).await;
        let error = crate::transport::explain(&within(words, session.peer().connection().closed()).await);
        assert!(error.contains(words), "{error}");
    }
    bystander.send(Class::Normal, frame(Kind::Get, 5, &b"still here"[..])).await;
    bystander.heard(1).await;
    assert_eq!(server.tally.counts().frames_malformed, u64::try_from(count).unwrap());
}

#[tokio::test]
async fn frame_limit_depends_on_the_sender() {
    let world = World::new();
    let server = world.serve(echo);
    let large = frame(Kind::Get, 1, vec![0; CLIENT_FRAME_BYTES_MAX]);
    let node = world.converse(Role::Node(PEER), &server).await;
    node.send(Class::Bulk, large.clone()).await;
    node.heard(1).await;
    let client = world.converse(client(), &server).await;
    client.send(Class::Bulk, large).await;
    client.ended_with("announced; the limit here is 8519680").await;

    let control = world.serve_as(Terms::new(Purpose::Control), hello(Some(SERVER)), any_identity, echo);
    let node = world.converse(Role::Node(PEER), &control).await;
    node.send(Class::Normal, frame(Kind::Status, 1, vec![0; 5 * 1024 * 1024])).await;
    node.ended_with("announced; the limit here is 4194304").await;
}

#[tokio::test]
async fn peer_may_not_open_more_lanes_than_the_limit() {
    let world = World::new();
    let server = world.serve(echo);
    let session = world.connect(client(), &server).await.unwrap();
    let connection = session.peer().connection();
    let mut lanes = Vec::new();
    for _ in 1..crate::transport::settings::LANES_MAX {
        lanes.push(within("a lane", connection.open_bi()).await.unwrap());
    }
    let more = tokio::time::timeout(std::time::Duration::from_millis(100), connection.open_bi()).await;
    assert!(more.is_err(), "one more lane than allowed was opened");
}

#[tokio::test]
async fn what_a_connection_carried_is_counted_while_it_is_open_and_after() {
    let world = World::new();
    let server = world.serve(echo);
    let talk = world.converse(client(), &server).await;
    talk.send(Class::Normal, frame(Kind::Get, 1, vec![7_u8; 50_000])).await;
    talk.heard(1).await;
    let open = server.tally.counts();
    assert_eq!(open.connections, 1);
    assert!(open.received_bytes > 50_000 && open.sent_bytes > 50_000, "{open:?}");
    drop(talk);
    until("the session is over", || server.tally.counts().connections == 0).await;
    let ended = server.tally.counts();
    assert!(ended.received_bytes >= open.received_bytes && ended.sent_packets >= open.sent_packets, "{ended:?}");
}
