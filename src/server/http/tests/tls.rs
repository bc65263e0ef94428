//! Data behind client certificates.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use tokio::sync::watch;

use super::caller::{Call, Reply, connect, exchange, get, put};
use super::{ANY_PORT, Served, bind, open};
use crate::pki::tls::{ALPN_HTTP, SERVER_NAME, client_config};
use crate::pki::{Authority, Credentials, Expected, Moment, Role};
use crate::protocol::types::{ClusterId, NodeId};
use crate::server::http::{DataAccess, DoorConfig, tls_config};

const HOUR: Duration = Duration::from_secs(3600);
const NODE: NodeId = NodeId::new(1);

fn authority() -> Authority {
    Authority::generate(ClusterId::new(7), 10 * HOUR, Moment::now()).unwrap()
}

fn credentials(authority: &Authority, role: Role) -> Credentials {
    let leaf = authority.issue("x", role, HOUR, Moment::now()).unwrap();
    Credentials::from_leaf(authority, &leaf, Moment::now()).unwrap()
}

pub(super) fn server_tls() -> Arc<rustls::ServerConfig> {
    tls_config(&credentials(&authority(), Role::Node(NODE))).unwrap()
}

fn client(credentials: &Credentials) -> ClientConfig {
    client_config(credentials, ALPN_HTTP, Expected::Node(NODE)).unwrap()
}

fn served(authority: &Authority) -> (Served, watch::Sender<Arc<rustls::ServerConfig>>) {
    let config = tls_config(&credentials(authority, Role::Node(NODE))).unwrap();
    let (renew, tls) = watch::channel(config);
    (Served::with(&DoorConfig { data: DataAccess::Tls { listen: ANY_PORT, tls }, ..open() }), renew)
}

fn ask(served: &Served, client: ClientConfig, call: &Call) -> Reply {
    exchange(stream(served, client), &call.to_bytes())
}

fn stream(served: &Served, client: ClientConfig) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let connection = ClientConnection::new(Arc::new(client), name).unwrap();
    StreamOwned::new(connection, connect(served.tls_address.unwrap()))
}

#[test]
fn every_role_of_the_cluster_may_use_data() {
    let authority = authority();
    let (served, _renew) = served(&authority);
    for role in [Role::client("app").unwrap(), Role::admin("ops").unwrap(), Role::Node(NodeId::new(2))] {
        let client = client(&credentials(&authority, role));
        ask(&served, client.clone(), &put("/v1/kv/t/k", "x")).is(200);
        ask(&served, client.clone(), &get("/healthz")).is(200);
        let own = format!("https://{}", served.tls_address.unwrap());
        let host = served.tls_address.unwrap().to_string();
        let page = get("/v1/cluster/status").header("Host", &host).header("Origin", own);
        ask(&served, client.clone(), &page).is(200);
        ask(&served, client, &get("/").header("Origin", "http://localhost")).refuses(403, "not_allowed", &[]);
    }
    let at_tcp = served.ask(&get("/v1/kv/t/k"));
    at_tcp.refuses(403, "not_allowed", &["https://", "client certificate"]);
    served.ask(&get("/metrics")).is(200);
}

#[test]
fn nobody_else_gets_a_byte() {
    let authority = authority();
    let (served, _renew) = served(&authority);
    let stranger = Authority::generate(ClusterId::new(7), 10 * HOUR, Moment::now()).unwrap();
    let good = client(&credentials(&authority, Role::client("app").unwrap()));
    // The right trust in the server, a certificate of another authority that claims the same cluster.
    let mut wrong = good.clone();
    let leaf = stranger.issue("x", Role::client("app").unwrap(), HOUR, Moment::now()).unwrap();
    let own = Credentials::from_leaf(&stranger, &leaf, Moment::now()).unwrap();
    wrong.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(own.key().clone()));
    let mut none = good.clone();
    none.client_auth_cert_resolver = Arc::new(NoCertificate);
    for refused in [wrong, none] {
        let mut stream = stream(&served, refused);
        let mut answer = Vec::new();
        let outcome = stream.write_all(&get("/healthz").to_bytes()).and_then(|()| stream.read_to_end(&mut answer));
        assert!(outcome.is_err(), "{}", String::from_utf8_lossy(&answer));
        assert!(answer.is_empty());
    }
    // Plain HTTP at the TLS port.
    let mut plain = connect(served.tls_address.unwrap());
    plain.write_all(&get("/healthz").to_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"));
    ask(&served, good, &get("/healthz")).is(200);
    assert_eq!(served.door.asked_count(), 0);
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn renewed_certificate_serves_from_the_next_connection_on() {
    let authority = authority();
    let (served, renew) = served(&authority);
    let first = client(&credentials(&authority, Role::client("app").unwrap()));
    ask(&served, first.clone(), &get("/healthz")).is(200);
    let second = NodeId::new(5);
    renew.send(tls_config(&credentials(&authority, Role::Node(second))).unwrap()).unwrap();
    let expecting = credentials(&authority, Role::client("app").unwrap());
    let client = client_config(&expecting, ALPN_HTTP, Expected::Node(second)).unwrap();
    ask(&served, client, &get("/healthz")).is(200);
}

#[test]
fn only_a_node_may_open_the_door() {
    let client = credentials(&authority(), Role::client("app").unwrap());
    assert!(tls_config(&client).unwrap_err().to_string().contains("certificate of a node"));
    let (_, tls) = watch::channel(server_tls());
    let taken = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let listen = taken.local_addr().unwrap();
    let error = bind(&DoorConfig { data: DataAccess::Tls { listen, tls }, ..open() }).unwrap_err();
    assert!(error.to_string().contains("[http.data] listen"), "{error}");
}
