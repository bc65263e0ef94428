//! What makes a connection a session, and in which words it is refused.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fixture::*;
use crate::pki::tls::{ALPN_HTTP, SERVER_NAME, client_config as tls_client_config};
use crate::pki::{Credentials, Expected, Identity, Moment, Role};
use crate::protocol::types::{ClusterId, DiskId, NodeId};
use crate::protocol::wire::{Hello, Kind};
use crate::transport::*;

/// Checks that both ends name the reason.
async fn both_say(server: &Server, result: Result<Session, SessionError>, words: &str) {
    let error = result.expect_err("it should be refused").to_string();
    assert!(error.contains(words), "{error}");
    server.ended_with(words).await;
}

#[tokio::test]
async fn both_ends_learn_who_the_other_is() {
    let world = World::new();
    let server = world.serve(echo);
    for role in [Role::Node(PEER), client(), Role::admin("ops").unwrap()] {
        let session = world.connect(role, &server).await.unwrap();
        assert_eq!(session.peer().node(), Some(SERVER));
        assert_eq!(session.peer().hello(), &hello(Some(SERVER)));
        assert_eq!(session.peer().version(), 1);
    }
    assert_eq!(server.tally.counts().sessions, 3);
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let world = World::new();
    let server = world.serve(echo);
    let wrong = Hello { cluster: Some(ClusterId::new(99)), ..hello(Some(PEER)) };
    let result = world.connect_saying(Role::Node(PEER), &server, &wrong).await;
    let words = format!("the peer belongs to cluster {}, this end to {CLUSTER}", ClusterId::new(99));
    both_say(&server, result, &words).await;
    assert_eq!(server.tally.counts().sessions_refused, 1);
}

#[tokio::test]
async fn hello_of_the_accepting_end_is_checked_as_well() {
    let world = World::new();
    // Only the connecting end can see that something is wrong.
    let wrong = hello(Some(NodeId::new(5)));
    let server = world.serve_as(Terms::new(Purpose::Data), wrong, any_identity, echo);
    let result = world.connect(Role::Node(PEER), &server).await;
    let words = format!("the hello is of node {}, but the certificate is of node {SERVER}", NodeId::new(5));
    both_say(&server, result, &words).await;
}

#[tokio::test]
async fn node_without_a_cluster_is_greeted() {
    let world = World::new();
    let server = world.serve(echo);
    let young = Hello { cluster: None, ..hello(Some(PEER)) };
    world.connect_saying(Role::Node(PEER), &server, &young).await.unwrap();
}

#[tokio::test]
async fn hello_that_its_certificate_does_not_bear_out_is_refused() {
    let world = World::new();
    let server = world.serve(echo);
    for (role, node, words) in [
        (
            Role::Node(PEER),
            Some(SERVER),
            format!("the hello is of node {SERVER}, but the certificate is of node {PEER}"),
        ),
        (Role::Node(PEER), None, format!("the hello is of no node, but the certificate is of node {PEER}")),
        (client(), Some(PEER), format!("the hello is of node {PEER}, but the certificate is of client app")),
    ] {
        let result = world.connect_saying(role, &server, &hello(node)).await;
        both_say(&server, result, &words).await;
    }
}

#[tokio::test]
async fn versions_without_overlap_are_refused() {
    let world = World::new();
    let server = world.serve(echo);
    let newer = Hello { version_min: 2, version_max: 3, ..hello(Some(PEER)) };
    let result = world.connect_saying(Role::Node(PEER), &server, &newer).await;
    both_say(&server, result, "no common protocol version: the peer speaks 2 to 3, this end 1 to 1").await;
}

#[tokio::test]
async fn versions_with_overlap_settle_on_the_newest_common_one() {
    let world = World::new();
    let wide = Hello { version_min: 1, version_max: 4, ..hello(Some(SERVER)) };
    let server = world.serve_as(Terms::new(Purpose::Data), wide, any_identity, echo);
    let wide = Hello { version_min: 1, version_max: 3, ..hello(Some(PEER)) };
    let session = world.connect_saying(Role::Node(PEER), &server, &wide).await.unwrap();
    assert_eq!(session.peer().version(), 3);
}

#[tokio::test]
async fn peer_that_the_policy_does_not_believe_is_told_why() {
    let world = World::new();
    let policy = |identity: &Identity| Err(format!("{} is not on the roster", identity.role));
    let server = world.serve_as(Terms::new(Purpose::Data), hello(Some(SERVER)), policy, echo);
    let result = world.connect(Role::Node(PEER), &server).await;
    both_say(&server, result, &format!("node {PEER} is not on the roster")).await;
}

#[derive(Clone)]
struct OneDisk;

impl Policy for OneDisk {
    fn believe(&self, _: &Identity) -> Result<(), String> {
        Ok(())
    }

    fn welcome(&self, identity: &Identity, hello: &Hello) -> Result<(), String> {
        if hello.disk == DiskId::new(1) { Ok(()) } else { Err(format!("{} runs twice", identity.role)) }
    }
}

#[tokio::test]
async fn policy_may_refuse_by_hello() {
    let world = World::new();
    let server = world.serve_as(Terms::new(Purpose::Data), hello(Some(SERVER)), OneDisk, echo);
    world.connect(Role::Node(PEER), &server).await.unwrap();
    let copied = Hello { disk: DiskId::new(2), ..hello(Some(PEER)) };
    let result = world.connect_saying(Role::Node(PEER), &server, &copied).await;
    both_say(&server, result, &format!("node {PEER} runs twice")).await;
}

#[tokio::test]
async fn another_node_than_the_expected_one_is_refused() {
    let world = World::new();
    let server = world.serve(echo);
    let endpoint = bind(loopback(), None, None).unwrap();
    let config = world.client_config(client(), Purpose::Client);
    let terms = Terms::new(Purpose::Client);
    let result = connect(&endpoint, config, server.address, Some(PEER), &hello(None), terms).await;
    both_say(&server, result, &format!("the peer is node {SERVER} but node {PEER} was expected")).await;
}

/// A connection through TLS, before any hello.
async fn ungreeted(world: &World, server: &Server) -> quinn::Connection {
    let endpoint = bind(loopback(), None, None).unwrap();
    let config = world.client_config(client(), Purpose::Client);
    endpoint.connect_with(config, server.address, SERVER_NAME).unwrap().await.unwrap()
}

#[tokio::test]
async fn connection_without_a_hello_is_closed_at_the_deadline() {
    let world = World::new();
    let terms = Terms { deadline: Duration::from_millis(300), ..Terms::new(Purpose::Data) };
    let server = world.serve_as(terms, hello(Some(SERVER)), any_identity, echo);
    let begun = Instant::now();
    let connection = ungreeted(&world, &server).await;
    let error = explain(&within("the close", connection.closed()).await);
    assert!(error.contains("the hello did not come within 300 ms"), "{error}");
    assert!(begun.elapsed() >= terms.deadline);
    server.ended_with("the hello did not come within 300 ms").await;
}

#[tokio::test]
async fn first_frame_that_is_no_proper_hello_closes_the_connection() {
    let world = World::new();
    let server = world.serve(echo);
    let cut = frame(Kind::Hello, 0, vec![0; 100]).slice(..60);
    for (bytes, words) in [
        (frame(Kind::Get, 1, &b"hm"[..]), "the first frame must be a hello, but its kind is 32"),
        (frame(Kind::Hello, 0, &b"\xff\xff"[..]), "malformed frame: the hello message is malformed"),
        (cut, "malformed frame: the frame is cut short in its hello"),
        (frame(Kind::Hello, 0, vec![0; 70_000]), "announced; the limit here is 65536"),
        (Bytes::from_static(&[0, 0, 0, 3, 1, 1, 1, 1]), "malformed frame: the frame's length cannot be 3"),
    ] {
        let connection = ungreeted(&world, &server).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_chunk(bytes).await.unwrap();
        send.finish().unwrap();
        let error = explain(&within(words, connection.closed()).await);
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(server.tally.counts().frames_malformed, 5);
    world.connect(Role::Node(PEER), &server).await.unwrap();
}

#[tokio::test]
async fn address_where_nobody_answers_is_given_up_at_the_deadline() {
    let world = World::new();
    let silent = UdpSocket::bind(loopback()).unwrap();
    let endpoint = bind(loopback(), None, None).unwrap();
    let terms = Terms { deadline: Duration::from_millis(200), ..Terms::new(Purpose::Client) };
    let config = world.client_config(client(), Purpose::Client);
    let result = connect(&endpoint, config, silent.local_addr().unwrap(), None, &hello(None), terms).await;
    assert_eq!(result.unwrap_err(), SessionError::Unreachable(terms.deadline));
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused_in_words() {
    let (world, stranger) = (World::new(), World::new());
    let server = world.serve(echo);
    // The connecting end refuses first; the accepting end is told.
    let error = stranger.connect(client(), &server).await.unwrap_err().to_string();
    assert!(error.contains("is not signed by our authority; both ends need the same ca.crt"), "{error}");
    server.ended_with("both ends need the same ca.crt").await;
}

#[tokio::test]
async fn expired_client_certificate_is_refused_in_words() {
    let world = World::new();
    let server = world.serve(echo);
    let hour = Duration::from_secs(3600);
    let then = Moment::now().before(2 * hour);
    let leaf = world.authority.issue("x", client(), hour, then).unwrap();
    let expired = Credentials::from_leaf(&world.authority, &leaf, then).unwrap();
    let crypto = crate::pki::tls::quic_client_config(&expired, Expected::AnyNode).unwrap();
    let config = client_config(crypto, Purpose::Client, Offload::On);
    let endpoint = bind(loopback(), None, None).unwrap();
    let terms = Terms::new(Purpose::Client);
    let error = connect(&endpoint, config, server.address, None, &hello(None), terms).await.unwrap_err().to_string();
    assert!(error.contains("the peer refused this end:"), "{error}");
    assert!(error.contains("expired at"), "{error}");
}

#[tokio::test]
async fn another_protocol_is_refused_in_words() {
    let world = World::new();
    let server = world.serve(echo);
    let tls = tls_client_config(&world.credentials(client()), ALPN_HTTP, Expected::AnyNode).unwrap();
    let config = client_config(tls.try_into().unwrap(), Purpose::Client, Offload::On);
    let endpoint = bind(loopback(), None, None).unwrap();
    let terms = Terms::new(Purpose::Client);
    let error = connect(&endpoint, config, server.address, None, &hello(None), terms).await.unwrap_err().to_string();
    assert!(error.contains("the peer refused this end: it speaks another protocol"), "{error}");
    server.ended_with("this end refused the peer: it speaks another protocol").await;
}
