//! Sessions that end with what they stand on, and links that go on.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::*;
use crate::pki::tls::{quic_client_config, quic_server_config};
use crate::pki::{Credentials, CurrentCredentials, Expected, Moment, Role, revocation};
use crate::protocol::wire::{Frame, Hello, Kind};
use crate::transport::*;

impl World {
    /// Credentials that last for so long.
    fn lasting(&self, role: Role, lifetime: Duration) -> Credentials {
        let leaf = self.authority.issue("x", role, lifetime, Moment::now()).unwrap();
        Credentials::from_leaf(&self.authority, &leaf, Moment::now()).unwrap()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Serves with credentials that may be renewed; tells how sessions ended.
fn serve(credentials: CurrentCredentials, ends: std::sync::mpsc::Sender<String>) -> std::net::SocketAddr {
    let crypto = quic_server_config(&credentials.now()).unwrap();
    let endpoint = bind(loopback(), Some(server_config(crypto, Purpose::Data, Offload::On)), None).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let (renewals, ends) = (credentials.renewals(), ends.clone());
            tokio::spawn(async move {
                let (ours, terms, tally) = (hello(Some(SERVER)), Terms::new(Purpose::Data), Arc::default());
                let session = accept(incoming, &ours, &any_identity, terms, &tally).await.unwrap();
                let error = session.judged_by(renewals).serve(None, tally, echo).await;
                ends.send(error.to_string()).ok();
            });
        }
    });
    address
}

async fn connect_with(credentials: &Credentials, address: std::net::SocketAddr) -> Talk {
    let crypto = quic_client_config(credentials, Expected::AnyNode).unwrap();
    let config = client_config(crypto, Purpose::Data, Offload::On);
    let endpoint = bind(loopback(), None, None).unwrap();
    let terms = Terms::new(Purpose::Data);
    let session = connect(&endpoint, config, address, Some(SERVER), &hello(None), terms).await.unwrap();
    Talk::over(session).await
}

#[tokio::test]
async fn session_ends_with_the_certificate_of_either_end() {
    let world = World::new();
    let (ends, ended) = std::sync::mpsc::channel();
    let node = CurrentCredentials::new(world.lasting(Role::Node(SERVER), HOUR));
    let address = serve(node, ends.clone());
    let talk = connect_with(&world.lasting(client(), Duration::from_secs(2)), address).await;
    talk.lanes.send(Class::Normal, frame(Kind::Get, 1, "a")).unwrap();
    talk.heard(1).await;
    talk.ended_with("certificate has expired at").await;
    let end = ended.recv_timeout(DEADLINE).unwrap();
    assert!(end.contains("certificate has expired at"), "{end}");

    let node = CurrentCredentials::new(world.lasting(Role::Node(SERVER), Duration::from_secs(2)));
    let address = serve(node, ends);
    let talk = connect_with(&world.lasting(client(), HOUR), address).await;
    talk.ended_with("certificate has expired at").await;
}

#[tokio::test]
async fn session_of_somebody_who_is_revoked_ends_at_the_renewal() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.authority.write(dir.path()).unwrap();
    let node = world.authority.issue("n1", Role::Node(SERVER), HOUR, Moment::now()).unwrap();
    let files = node.write(dir.path(), "n1").unwrap();
    let files = crate::pki::CredentialFiles {
        certificate: files.certificate,
        key: files.key,
        ca: dir.path().join("ca.crt"),
        crl: None,
    };
    let current = CurrentCredentials::new(Credentials::load_at(&files, Moment::now()).unwrap());
    let (ends, ended) = std::sync::mpsc::channel();
    let address = serve(current.clone(), ends);

    let stolen = world.authority.issue("app", client(), HOUR, Moment::now()).unwrap();
    let thief = connect_with(&Credentials::from_leaf(&world.authority, &stolen, Moment::now()).unwrap(), address).await;
    let honest = connect_with(&world.lasting(client(), HOUR), address).await;
    let list = revocation::revoke(&world.authority, dir.path(), stolen.certificate(), Moment::now()).unwrap().list;
    let files = crate::pki::CredentialFiles { crl: Some(list), ..files };
    current.renew(Credentials::load_at(&files, Moment::now()).unwrap()).unwrap();

    thief.ended_with("was revoked").await;
    assert!(ended.recv_timeout(DEADLINE).unwrap().contains("was revoked"));
    honest.lanes.send(Class::Normal, frame(Kind::Get, 1, "a")).unwrap();
    honest.heard(1).await;
    assert_eq!(honest.heard.end(), None);
}

/// Counts what it is told.
#[derive(Clone)]
struct Owner {
    endpoint: quinn::Endpoint,
    credentials: CurrentCredentials,
    told: Arc<std::sync::Mutex<Vec<String>>>,
}

impl LinkOwner for Owner {
    fn outfit(&self) -> Outfit {
        let crypto = quic_client_config(&self.credentials.now(), Expected::Node(SERVER)).unwrap();
        let config = client_config(crypto, Purpose::Data, Offload::On);
        Outfit { endpoint: self.endpoint.clone(), config, hello: hello(Some(PEER)) }
    }
    fn on_up(&self, _: &Hello) {
        self.told.lock().unwrap().push("up".to_owned());
    }
    fn on_frame(&self, frame: Frame) {
        self.told.lock().unwrap().push(format!("answer {}", frame.header.correlation));
    }
    fn on_down(&self, reason: &str) {
        self.told.lock().unwrap().push(format!("down: {reason}"));
    }
    fn renewals(&self) -> Option<crate::pki::Renewals> {
        Some(self.credentials.renewals())
    }
}

/// A node's certificate lasts for seconds and is renewed in time: whoever asks over a link loses no answer and is not
/// told of anything, though no session outlives its certificate.
#[tokio::test]
async fn link_goes_on_over_new_sessions_and_loses_no_answer() {
    let world = World::new();
    let (ends, ended) = std::sync::mpsc::channel();
    let short = Duration::from_secs(4);
    let server = CurrentCredentials::new(world.lasting(Role::Node(SERVER), HOUR));
    let address = serve(server, ends);
    let mine = CurrentCredentials::new(world.lasting(Role::Node(PEER), short));
    let owner =
        Owner { endpoint: bind(loopback(), None, None).unwrap(), credentials: mine.clone(), told: Arc::default() };
    let told = owner.told.clone();
    let terms = LinkTerms {
        address,
        node: SERVER,
        terms: Terms::new(Purpose::Data),
        seed: 1,
        gate: None,
        tally: Arc::default(),
    };
    let (link, keeping) = Link::new(terms, owner);
    tokio::spawn(keeping);
    until("the link is up", || link.is_up()).await;
    // The new credentials are there long before the old ones end; the link uses them within 5 s, or when its session's
    // tenure says so, and the old session, which ends with its certificate, is left by then.
    mine.renew(world.lasting(Role::Node(PEER), HOUR)).unwrap();
    let began = std::time::Instant::now();
    let mut asked = 0;
    while began.elapsed() < short + Duration::from_secs(3) {
        asked += 1;
        link.send(Class::Normal, frame(Kind::Get, asked, "a")).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("all answers", || {
        told.lock().unwrap().iter().filter(|told| told.starts_with("answer")).count() as u64 >= asked
    })
    .await;
    let told = told.lock().unwrap();
    assert_eq!(told.iter().filter(|told| !told.starts_with("answer")).collect::<Vec<_>>(), ["up"]);
    assert!(ended.try_recv().is_ok(), "the first session has ended");
}
