//! Handshakes in memory for every refusal, and over real loopback QUIC for what only quinn can show.

use super::*;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::{ClientConnection, HandshakeKind, NamedGroup, ServerConnection};
use rustls_pki_types::ServerName;

use crate::pki::authority::{Authority, Leaf};
use crate::pki::moment::Moment;
use crate::protocol::types::{ClusterId, NodeId};

const CLUSTER: ClusterId = ClusterId::new(7);
const OTHER: ClusterId = ClusterId::new(8);
const N1: NodeId = NodeId::new(1);
const N2: NodeId = NodeId::new(2);
const HOUR: Duration = Duration::from_secs(3600);
/// No test waits this long unless it fails.
const DEADLINE: Duration = Duration::from_secs(10);

fn authority(cluster: ClusterId) -> Authority {
    Authority::generate(cluster, 10 * HOUR, Moment::now()).unwrap()
}

fn credentials(authority: &Authority, role: Role) -> Credentials {
    let leaf = authority.issue("x", role, HOUR, Moment::now()).unwrap();
    Credentials::from_leaf(authority, &leaf, Moment::now()).unwrap()
}

fn node(authority: &Authority, id: NodeId) -> Credentials {
    credentials(authority, Role::Node(id))
}

fn client(authority: &Authority) -> Credentials {
    credentials(authority, Role::client("app").unwrap())
}

/// A certificate that ended an hour ago, in credentials that were loaded before.
fn expired(authority: &Authority, role: Role) -> Credentials {
    let then = Moment::now().before(2 * HOUR);
    let leaf = authority.issue("x", role, HOUR, then).unwrap();
    Credentials::from_leaf(authority, &leaf, then).unwrap()
}

/// A server that shows any certificate, as an attacker's would.
fn rogue_server(trusting: &Credentials, leaf: &Leaf) -> ServerConfig {
    let key = crate::pki::provider::certified_key(vec![leaf.certificate().clone()], leaf.key());
    let Ok(key) = key else { panic!("the leaf does not fit its key") };
    let mut config = server_config(trusting, ALPN_QUIC).unwrap();
    config.cert_resolver = Arc::new(SingleCertAndKey::from(key));
    config
}

/// Which end refused the other, and in which words.
#[derive(Debug, PartialEq)]
enum Refusal {
    ByClient(String),
    ByServer(String),
}

/// Runs a handshake in memory until nothing more is said, and returns how it was done.
fn handshake(client: ClientConfig, server: ServerConfig) -> Result<HandshakeKind, Refusal> {
    handshake_shared(&Arc::new(client), &Arc::new(server))
}

fn handshake_shared(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<HandshakeKind, Refusal> {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.wants_write() || server.wants_write() {
        carry(|to| client.write_tls(to), |from| server.read_tls(from));
        server.process_new_packets().map_err(|e| Refusal::ByServer(e.to_string()))?;
        carry(|to| server.write_tls(to), |from| client.read_tls(from));
        client.process_new_packets().map_err(|e| Refusal::ByClient(e.to_string()))?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(server.server_name(), None, "a server name was sent");
    assert!(chain_identity(server.peer_certificates()).is_ok());
    assert!(matches!(chain_identity(client.peer_certificates()), Ok(Identity { role: Role::Node(_), .. })));
    Ok(client.handshake_kind().unwrap())
}

/// Everything that one end has to say, into the other.
fn carry(
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
    mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>,
) {
    let mut wire = Vec::new();
    while write(&mut wire).unwrap() > 0 {}
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        read(&mut rest).unwrap();
    }
}

#[track_caller]
fn client_refuses(client: &Credentials, expected: Expected, server: ServerConfig, words: &str) {
    let client = client_config(client, ALPN_QUIC, expected).unwrap();
    match handshake(client, server) {
        Err(Refusal::ByClient(text)) => assert!(text.contains(words), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn server_refuses(client: ClientConfig, server: &Credentials, words: &str) {
    match handshake(client, server_config(server, ALPN_QUIC).unwrap()) {
        Err(Refusal::ByServer(text)) => assert!(text.contains(words), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_role_is_let_in_and_the_expected_node_is_believed() {
    let authority = authority(CLUSTER);
    let server = node(&authority, N1);
    for role in [Role::Node(N2), Role::client("app").unwrap(), Role::admin("ops").unwrap()] {
        let client = credentials(&authority, role);
        for expected in [Expected::Node(N1), Expected::AnyNode] {
            let client = client_config(&client, ALPN_QUIC, expected).unwrap();
            assert_eq!(handshake(client, server_config(&server, ALPN_QUIC).unwrap()), Ok(HandshakeKind::Full));
        }
    }
}

#[test]
fn client_refuses_another_node_than_the_expected_one() {
    let authority = authority(CLUSTER);
    let server = server_config(&node(&authority, N2), ALPN_QUIC).unwrap();
    let words = format!("the peer is node {N2} but {N1} was expected at this address");
    client_refuses(&client(&authority), Expected::Node(N1), server, &words);
}

#[test]
fn client_refuses_another_trust_domain() {
    let (ours, theirs) = (authority(CLUSTER), authority(OTHER));
    let server = server_config(&node(&theirs, N1), ALPN_QUIC).unwrap();
    let words = format!("the peer's certificate is of trust domain {OTHER}, ours is {CLUSTER}");
    client_refuses(&client(&ours), Expected::AnyNode, server, &words);
}

#[test]
fn client_refuses_our_cluster_id_under_another_authority() {
    let (ours, theirs) = (authority(CLUSTER), authority(CLUSTER));
    let server = server_config(&node(&theirs, N1), ALPN_QUIC).unwrap();
    client_refuses(&client(&ours), Expected::Node(N1), server, "is not signed by our authority");
}

#[test]
fn client_refuses_another_trust_domain_under_our_authority() {
    let authority = authority(CLUSTER);
    let uri = Identity { cluster: OTHER, role: Role::Node(N1) }.to_string();
    let forged = authority.forge(&[&uri], &[ExtendedKeyUsagePurpose::ServerAuth]);
    let server = rogue_server(&node(&authority, N1), &forged);
    client_refuses(&client(&authority), Expected::AnyNode, server, "is of trust domain");
}

#[test]
fn client_refuses_an_expired_node() {
    let authority = authority(CLUSTER);
    let server = expired(&authority, Role::Node(N1));
    let words = format!("expired at {}", server.not_after());
    let server = server_config(&server, ALPN_QUIC).unwrap();
    client_refuses(&client(&authority), Expected::Node(N1), server, &words);
}

#[test]
fn client_refuses_a_client_or_administrator_that_serves() {
    let authority = authority(CLUSTER);
    let honest = node(&authority, N1);
    for role in [Role::client("app").unwrap(), Role::admin("ops").unwrap()] {
        let words = format!("the peer is {role}, but only a node may serve");
        let leaf = authority.issue("x", role.clone(), HOUR, Moment::now()).unwrap();
        client_refuses(&client(&authority), Expected::AnyNode, rogue_server(&honest, &leaf), &words);
        // Even one whose certificate says that it may serve.
        let uri = Identity { cluster: CLUSTER, role }.to_string();
        let leaf = authority.forge(&[&uri], &[ExtendedKeyUsagePurpose::ServerAuth]);
        client_refuses(&client(&authority), Expected::AnyNode, rogue_server(&honest, &leaf), &words);
    }
}

#[test]
fn client_refuses_a_node_certificate_that_may_not_serve() {
    let authority = authority(CLUSTER);
    let uri = Identity { cluster: CLUSTER, role: Role::Node(N1) }.to_string();
    let leaf = authority.forge(&[&uri], &[ExtendedKeyUsagePurpose::ClientAuth]);
    let server = rogue_server(&node(&authority, N1), &leaf);
    client_refuses(&client(&authority), Expected::Node(N1), server, "server authentication");
}

#[test]
fn client_refuses_a_certificate_without_identity() {
    let authority = authority(CLUSTER);
    let leaf = authority.forge(&[], &[ExtendedKeyUsagePurpose::ServerAuth]);
    let server = rogue_server(&node(&authority, N1), &leaf);
    client_refuses(&client(&authority), Expected::AnyNode, server, "has no usable identity");
}

#[test]
fn server_refuses_strangers_and_the_expired() {
    let (ours, theirs, forged) = (authority(CLUSTER), authority(OTHER), authority(CLUSTER));
    let server = node(&ours, N1);
    // Each of them trusts our authority, so that it is the server who refuses.
    let trusting = |shown: &Credentials| {
        let mut config = client_config(&client(&ours), ALPN_QUIC, Expected::AnyNode).unwrap();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown.key().clone()));
        config
    };
    server_refuses(trusting(&client(&theirs)), &server, "is of trust domain");
    server_refuses(trusting(&client(&forged)), &server, "is not signed by our authority");
    server_refuses(trusting(&expired(&ours, Role::Node(N2))), &server, "expired at");
}

#[test]
fn server_refuses_a_client_without_certificate() {
    let authority = authority(CLUSTER);
    let verifier = Arc::new(NodeVerifier::new(&client(&authority), Expected::AnyNode));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_QUIC.to_vec()];
    config.enable_sni = false;
    server_refuses(config, &node(&authority, N1), "no certificates");
}

#[test]
fn other_protocol_name_is_refused() {
    let authority = authority(CLUSTER);
    let client = client_config(&client(&authority), b"quorate/2", Expected::AnyNode).unwrap();
    server_refuses(client, &node(&authority, N1), "support any known protocol");
}

#[test]
fn only_a_node_gets_a_server_configuration() {
    let authority = authority(CLUSTER);
    let error = server_config(&client(&authority), ALPN_HTTP).unwrap_err().to_string();
    assert!(error.contains("a server needs the certificate of a node, but this one is of client app"), "{error}");
}

#[test]
fn early_data_tickets_and_key_log_are_off() {
    let authority = authority(CLUSTER);
    let server = server_config(&node(&authority, N1), ALPN_QUIC).unwrap();
    assert_eq!(server.max_early_data_size, 0);
    assert_eq!(server.send_tls13_tickets, 0);
    assert!(!server.session_storage.can_cache());
    assert!(!server.ticketer.enabled());
    assert!(!server.key_log.will_log("CLIENT_RANDOM"));
    let client = client_config(&client(&authority), ALPN_QUIC, Expected::AnyNode).unwrap();
    assert!(!client.enable_early_data);
    assert!(!client.enable_sni);
    assert!(!client.key_log.will_log("CLIENT_RANDOM"));
}

/// A client that would like to resume: it keeps the last ticket of each server.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().unwrap().push(ticket);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap().pop()
    }
}

/// A resumed session takes over the old identity without a look at the certificate: a removed or expired client would
/// stay in.
#[test]
fn eager_client_gets_no_ticket_and_a_full_handshake_each_time() {
    let authority = authority(CLUSTER);
    let tickets = Arc::new(Tickets::default());
    let mut eager = client_config(&client(&authority), ALPN_QUIC, Expected::Node(N1)).unwrap();
    eager.resumption = Resumption::store(tickets.clone());
    let eager = Arc::new(eager);

    // The control: with rustls' defaults on the server this client does resume, so the test can see it.
    let mut lax = server_config(&node(&authority, N1), ALPN_QUIC).unwrap();
    lax.session_storage = rustls::server::ServerSessionMemoryCache::new(16);
    lax.send_tls13_tickets = 2;
    let lax = Arc::new(lax);
    assert_eq!(handshake_shared(&eager, &lax), Ok(HandshakeKind::Full));
    assert_eq!(handshake_shared(&eager, &lax), Ok(HandshakeKind::Resumed));
    tickets.0.lock().unwrap().clear();

    let ours = Arc::new(server_config(&node(&authority, N1), ALPN_QUIC).unwrap());
    for _ in 0..3 {
        assert_eq!(handshake_shared(&eager, &ours), Ok(HandshakeKind::Full));
        assert_eq!(tickets.0.lock().unwrap().len(), 0);
    }
}

#[test]
fn our_client_makes_a_full_handshake_even_when_it_is_offered_tickets() {
    let authority = authority(CLUSTER);
    let mut lax = server_config(&node(&authority, N1), ALPN_QUIC).unwrap();
    lax.session_storage = rustls::server::ServerSessionMemoryCache::new(16);
    lax.send_tls13_tickets = 2;
    let lax = Arc::new(lax);
    let ours = Arc::new(client_config(&client(&authority), ALPN_QUIC, Expected::Node(N1)).unwrap());
    for _ in 0..3 {
        assert_eq!(handshake_shared(&ours, &lax), Ok(HandshakeKind::Full));
    }
}

/// A server endpoint on a free loopback port.
fn listen(credentials: &Credentials) -> (quinn::Endpoint, SocketAddr) {
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic_server_config(credentials).unwrap()));
    let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, address)
}

/// A client endpoint, and a connection attempt from it.
fn dial(credentials: &Credentials, expected: Expected, address: SocketAddr) -> (quinn::Endpoint, quinn::Connecting) {
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(quic_client_config(credentials, expected).unwrap()));
    let connecting = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
    (endpoint, connecting)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing happened before the deadline")
}

#[tokio::test]
async fn mutual_tls_over_quic_tells_each_end_who_the_other_is() {
    let authority = authority(CLUSTER);
    let (server, client) = (node(&authority, N1), client(&authority));
    let (endpoint, address) = listen(&server);
    let echo = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut tx, mut rx) = connection.accept_bi().await.unwrap();
        let text = rx.read_to_end(64).await.unwrap();
        tx.write_all(&text).await.unwrap();
        tx.finish().unwrap();
        let peer = peer_identity(&connection).unwrap();
        connection.closed().await;
        peer
    });
    let (_endpoint, connecting) = dial(&client, Expected::Node(N1), address);
    let connection = within(connecting).await.unwrap();
    let (mut tx, mut rx) = connection.open_bi().await.unwrap();
    tx.write_all(b"hello").await.unwrap();
    tx.finish().unwrap();
    assert_eq!(within(rx.read_to_end(64)).await.unwrap(), b"hello");
    assert_eq!(peer_identity(&connection).unwrap(), *server.identity());
    connection.close(0u32.into(), b"done");
    assert_eq!(within(echo).await.unwrap(), *client.identity());
}

#[tokio::test]
async fn refusal_by_the_client_is_one_sentence_at_both_ends() {
    let authority = authority(CLUSTER);
    let (endpoint, address) = listen(&node(&authority, N2));
    let accepted = tokio::spawn(async move { endpoint.accept().await.unwrap().await.map(|_| ()) });
    let (_endpoint, connecting) = dial(&client(&authority), Expected::Node(N1), address);
    let error = within(connecting).await.unwrap_err();
    let sentence =
        format!("the peer is node {N2} but {N1} was expected at this address; check the roster and the addresses");
    assert_eq!(explain(&error), sentence);
    let error = within(accepted).await.unwrap().unwrap_err();
    assert_eq!(explain(&error), format!("the peer refused this end: {sentence}"));
}

#[tokio::test]
async fn refusal_by_the_server_reaches_the_client_as_a_sentence() {
    let (ours, theirs) = (authority(CLUSTER), authority(OTHER));
    let (endpoint, address) = listen(&node(&ours, N1));
    let accepted = tokio::spawn(async move { endpoint.accept().await.unwrap().await.map(|_| ()) });
    let mut config = client_config(&client(&ours), ALPN_QUIC, Expected::AnyNode).unwrap();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(client(&theirs).key().clone()));
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    // The client is through before the server has seen its certificate; the refusal follows.
    let error = match within(endpoint.connect_with(config, address, SERVER_NAME).unwrap()).await {
        Ok(connection) => within(connection.closed()).await,
        Err(error) => error,
    };
    let refusal = explain(&within(accepted).await.unwrap().unwrap_err());
    assert!(refusal.contains(&format!("is of trust domain {OTHER}, ours is {CLUSTER}")), "{refusal}");
    assert_eq!(explain(&error), format!("the peer refused this end: {refusal}"));
}

#[tokio::test]
async fn early_data_is_not_possible() {
    let authority = authority(CLUSTER);
    let (endpoint, address) = listen(&node(&authority, N1));
    let server = tokio::spawn(async move {
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(endpoint.accept().await.unwrap().await.unwrap());
        }
        for connection in connections {
            connection.closed().await;
        }
    });
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let crypto = Arc::new(quic_client_config(&client(&authority), Expected::Node(N1)).unwrap());
    for _ in 0..2 {
        let config = quinn::ClientConfig::new(crypto.clone());
        let connecting = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
        let connecting = connecting.into_0rtt().err().expect("data could be sent before the handshake");
        within(connecting).await.unwrap().close(0u32.into(), b"done");
    }
    within(server).await.unwrap();
}
