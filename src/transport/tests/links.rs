//! Links that come back.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::fixture::*;
use crate::pki::Role;
use crate::protocol::wire::{Frame, Hello, Kind};
use crate::transport::*;

/// What an owner was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Up,
    Frame(u64),
    Down(String),
    Datagram(Bytes),
}

#[derive(Clone)]
struct Owner {
    outfit: Outfit,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Owner {
    fn new(world: &World, purpose: Purpose) -> Self {
        let outfit = Outfit {
            endpoint: bind(loopback(), None, None).unwrap(),
            config: world.client_config(Role::Node(PEER), purpose),
            hello: hello(Some(PEER)),
        };
        Self { outfit, told: Arc::default() }
    }

    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// The reasons of every `on_down`.
    fn downs(&self) -> Vec<String> {
        let reason = |told| if let Told::Down(reason) = told { Some(reason) } else { None };
        self.told().into_iter().filter_map(reason).collect()
    }
}

impl LinkOwner for Owner {
    fn outfit(&self) -> Outfit {
        self.outfit.clone()
    }
    fn on_up(&self, _: &Hello) {
        self.tell(Told::Up);
    }
    fn on_frame(&self, frame: Frame) {
        self.tell(Told::Frame(frame.header.correlation));
    }
    fn on_down(&self, reason: &str) {
        self.tell(Told::Down(reason.to_owned()));
    }
    fn on_datagram(&self, datagram: Bytes) {
        self.tell(Told::Datagram(datagram));
    }
}

fn link_terms(address: SocketAddr, purpose: Purpose) -> LinkTerms {
    let terms = Terms { deadline: Duration::from_millis(500), ..Terms::new(purpose) };
    LinkTerms { address, node: SERVER, terms, seed: 1, gate: None, tally: Arc::default() }
}

/// A server on a runtime of its own, that can die without a word, as a killed process does.
struct Process {
    address: SocketAddr,
    kill: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Process {
    fn start(world: &Arc<World>, address: SocketAddr) -> Self {
        let (kill, killed) = oneshot::channel();
        let (bound, address_of) = mpsc::channel();
        let world = world.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let secret = NodeSecret::new([7; 32]);
                let endpoint = bind(address, Some(world.server_config(Purpose::Data)), Some(&secret)).unwrap();
                bound.send(endpoint.local_addr().unwrap()).unwrap();
                tokio::spawn(run_server(endpoint));
                killed.await.ok();
            });
            // Its tasks are dropped where they stand: nothing is sent any more.
            drop(runtime);
        });
        Self { address: address_of.recv().unwrap(), kill, thread }
    }

    fn kill(self) -> SocketAddr {
        self.kill.send(()).unwrap();
        self.thread.join().unwrap();
        self.address
    }
}

async fn run_server(endpoint: quinn::Endpoint) {
    let tally = Arc::new(Tally::default());
    while let Some(incoming) = endpoint.accept().await {
        let tally = tally.clone();
        tokio::spawn(async move {
            let (ours, terms) = (hello(Some(SERVER)), Terms::new(Purpose::Data));
            let session = accept(incoming, &ours, &any_identity, terms, &tally).await.unwrap();
            session.serve(None, tally, echo).await;
        });
    }
}

#[tokio::test]
async fn link_learns_at_once_that_its_peer_has_restarted_and_comes_back() {
    let world = Arc::new(World::new());
    let process = Process::start(&world, loopback());
    let owner = Owner::new(&world, Purpose::Data);
    let (link, keeper) = Link::new(link_terms(process.address, Purpose::Data), owner.clone());
    tokio::spawn(keeper);
    until("the link", || link.is_up()).await;
    link.send(Class::Normal, frame(Kind::Get, 1, &b""[..])).unwrap();
    until("an answer", || owner.told().len() == 2).await;

    let process = Process::start(&world, process.kill());
    // Something to say, so that the new process hears of the old connection before the next keep-alive.
    link.send(Class::Normal, frame(Kind::Get, 2, &b""[..])).unwrap();
    until("the end of the old connection", || !owner.downs().is_empty()).await;
    assert_eq!(owner.downs(), ["the peer has restarted and does not know the connection any more"]);
    until("the link", || link.is_up()).await;
    link.send(Class::Normal, frame(Kind::Get, 3, &b""[..])).unwrap();
    until("an answer", || owner.told().last() == Some(&Told::Frame(3))).await;
    process.kill();
}

#[tokio::test]
async fn link_that_is_down_fails_at_once_and_says_why() {
    let world = World::new();
    let silent = UdpSocket::bind(loopback()).unwrap();
    let owner = Owner::new(&world, Purpose::Data);
    let (link, keeper) = Link::new(link_terms(silent.local_addr().unwrap(), Purpose::Data), owner.clone());
    tokio::spawn(keeper);
    assert_eq!(link.send(Class::Normal, frame(Kind::Get, 1, &b""[..])), Err(LaneError::Closed));
    until("an error", || link.status().last_error.is_some()).await;
    let status = link.status();
    assert!(!status.up);
    assert!(status.last_error.unwrap().contains("no connection within 500 ms"));
    assert_eq!(owner.told(), []);
}

#[tokio::test]
async fn link_follows_its_node_to_another_address() {
    let world = World::new();
    let (old, new) = (world.serve(echo), world.serve(echo));
    let owner = Owner::new(&world, Purpose::Data);
    let (link, keeper) = Link::new(link_terms(old.address, Purpose::Data), owner.clone());
    tokio::spawn(keeper);
    until("the link", || link.is_up()).await;
    link.set_address(new.address);
    until("the new address", || new.tally.counts().sessions == 1 && link.is_up()).await;
    assert_eq!(owner.told(), [Told::Up, Told::Down("the node's address has changed".to_owned()), Told::Up]);
    assert_eq!(link.status().address, new.address);
    old.ended_with("no more use").await;
}

#[tokio::test]
async fn stopped_link_goes_down_and_stays_down() {
    let world = World::new();
    let server = world.serve(echo);
    let owner = Owner::new(&world, Purpose::Data);
    let (link, keeper) = Link::new(link_terms(server.address, Purpose::Data), owner.clone());
    let task = tokio::spawn(keeper);
    until("the link", || link.is_up()).await;
    link.stop();
    within("the end of the task", task).await.unwrap();
    assert_eq!(owner.told(), [Told::Up, Told::Down("the link was stopped".to_owned())]);
    assert_eq!(link.send(Class::Bulk, Bytes::new()), Err(LaneError::Closed));
}

#[tokio::test]
async fn dropped_keeper_takes_the_link_down() {
    let world = World::new();
    let server = world.serve(echo);
    let (link, keeper) = Link::new(link_terms(server.address, Purpose::Data), Owner::new(&world, Purpose::Data));
    let task = tokio::spawn(keeper);
    until("the link", || link.is_up()).await;
    task.abort();
    until("the end of the link", || !link.is_up()).await;
}

#[tokio::test]
async fn refused_link_keeps_the_reason_and_tries_again() {
    let world = World::new();
    let refusals = Arc::new(Mutex::new(0));
    let counter = refusals.clone();
    let policy = move |_: &crate::pki::Identity| {
        let mut refusals = counter.lock().unwrap();
        *refusals += 1;
        if *refusals <= 3 { Err("not on the roster yet".to_owned()) } else { Ok(()) }
    };
    let server = world.serve_as(Terms::new(Purpose::Data), hello(Some(SERVER)), policy, echo);
    let (link, keeper) = Link::new(link_terms(server.address, Purpose::Data), Owner::new(&world, Purpose::Data));
    tokio::spawn(keeper);
    until("an error", || link.status().last_error.is_some()).await;
    let error = link.status().last_error.unwrap();
    assert!(error.contains("not on the roster yet"), "{error}");
    // It would come up by itself after its waits; the nudge shortens them.
    until("the link", || {
        link.retry_now();
        link.is_up()
    })
    .await;
    assert_eq!(*refusals.lock().unwrap(), 4);
}

/// Sends each datagram back.
#[derive(Clone)]
struct DatagramEcho;

impl Handler for DatagramEcho {
    fn on_frame(&self, peer: &Peer, lane: &LaneSender, frame: Frame) {
        echo(peer, lane, frame);
    }
    fn on_datagram(&self, peer: &Peer, datagram: Bytes) {
        peer.send_datagram(datagram).unwrap();
    }
}

#[tokio::test]
async fn datagrams_travel_both_ways_on_control_links() {
    let world = World::new();
    let server = world.serve_as(Terms::new(Purpose::Control), hello(Some(SERVER)), any_identity, DatagramEcho);
    let owner = Owner::new(&world, Purpose::Control);
    let (link, keeper) = Link::new(link_terms(server.address, Purpose::Control), owner.clone());
    tokio::spawn(keeper);
    until("the link", || link.is_up()).await;
    let ping = Bytes::from(vec![0x11; session::DATAGRAM_BYTES_MAX]);
    // One may be lost, so it is sent until one comes back.
    until("a datagram", || {
        link.send_datagram(ping.clone()).unwrap();
        owner.told().contains(&Told::Datagram(ping.clone()))
    })
    .await;
}

/// What a shard is: state without locks, on one thread.
struct LocalOwner {
    outfit: Outfit,
    told: Rc<RefCell<Vec<Told>>>,
}

impl LinkOwner for LocalOwner {
    fn outfit(&self) -> Outfit {
        self.outfit.clone()
    }
    fn on_up(&self, _: &Hello) {
        self.told.borrow_mut().push(Told::Up);
    }
    fn on_frame(&self, frame: Frame) {
        self.told.borrow_mut().push(Told::Frame(frame.header.correlation));
    }
    fn on_down(&self, reason: &str) {
        self.told.borrow_mut().push(Told::Down(reason.to_owned()));
    }
}

#[tokio::test]
async fn owner_may_live_on_one_thread() {
    let world = World::new();
    let server = world.serve(echo);
    let outfit = Owner::new(&world, Purpose::Data).outfit;
    let told = Rc::new(RefCell::new(Vec::new()));
    let owner = LocalOwner { outfit, told: told.clone() };
    let (link, keeper) = Link::new(link_terms(server.address, Purpose::Data), owner);
    let local = tokio::task::LocalSet::new();
    local.spawn_local(keeper);
    local
        .run_until(async {
            until("the link", || link.is_up()).await;
            link.send(Class::Normal, frame(Kind::Get, 4, &b""[..])).unwrap();
            until("an answer", || told.borrow().last() == Some(&Told::Frame(4))).await;
        })
        .await;
}

#[test]
fn waits_grow_up_to_the_cap_and_differ_between_seeds() {
    use crate::transport::backoff::{Backoff, WAIT_MAX, WAIT_MIN};
    let mut backoff = Backoff::new(5);
    let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
    for (n, wait) in (0..).zip(&waits) {
        let whole = (WAIT_MIN * 2_u32.pow(n)).min(WAIT_MAX);
        assert!((whole / 2..=whole).contains(wait), "wait {n} was {wait:?}");
    }
    backoff.reset();
    assert!(backoff.next() <= WAIT_MIN);
    assert_ne!(Backoff::new(5).next(), Backoff::new(6).next());
    assert_eq!(Backoff::new(5).next(), waits[0]);
}
