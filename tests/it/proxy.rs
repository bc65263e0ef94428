//! A fault proxy for UDP: every packet between two nodes crosses it, and it can lose, delay or refuse any of them.
//!
//! A node listens on its real ports and advertises the proxy's: `advertise = "<front>"`, from which the ports of its
//! shards follow, in its hello as in the roster. So peers and clients know fronts only.
//!
//! ```text
//!   n1 (real a) --> front of n2 --> back (a to n2) --> n2 (real b)        judged as n1 -> n2
//!   n1 (real a) <-- front of n2 <-- back (a to n2) <-- n2 (real b)        judged as n2 -> n1
//! ```
//!
//! Who speaks is told by the sender's real port; a port that no node has is a client's, and gets the side that was
//! named last with [`Proxy::strangers_are`]. There is a back for each (sender's port, front), so that to n2 each
//! speaker has an address of its own, which it keeps over restarts of either.
//!
//! A thread for each socket, which blocks in `recv_from` and is woken at the end by an empty packet (QUIC has none);
//! one more sends what is delayed.

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Who sends or receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// A node, from 0.
    Node(usize),
    /// Clients, by the side that they are on.
    Clients(u8),
}

/// What happens to the packets of one direction between two parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weather {
    /// Packets lost of a thousand; 1,000 is a cut.
    pub(crate) lost_of_1000: u16,
    /// How much later they arrive.
    pub(crate) delay: Duration,
}

impl Weather {
    /// Nothing arrives.
    pub(crate) const CUT: Self = Self { lost_of_1000: 1000, delay: Duration::ZERO };
}

/// A node's ports, in a row each: control, then the shards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) real: SocketAddr,
    /// What it advertises.
    pub(crate) front: SocketAddr,
    /// How many ports it has, control included.
    pub(crate) ports: u16,
}

/// The proxy of a cluster; its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    state: Arc<State>,
    fronts: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

/// Larger than any datagram.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// As the nodes' own sockets have: the kernel's 208 KiB lose packets in bursts that no test has asked to lose.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
struct State {
    rules: Mutex<BTreeMap<(Party, Party), Weather>>,
    tally: Mutex<BTreeMap<(Party, Party), Tally>>,
    /// Who has which real port.
    nodes: BTreeMap<SocketAddr, usize>,
    strangers: Mutex<BTreeMap<SocketAddr, Party>>,
    next_stranger: Mutex<Option<Party>>,
    backs: Mutex<BTreeMap<(SocketAddr, SocketAddr), Back>>,
    delayed: Mutex<BinaryHeap<Delayed>>,
    changed: Condvar,
    drawn: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: u64,
    lost: u64,
}

/// One speaker's way to one front.
#[derive(Debug)]
struct Back {
    socket: Arc<UdpSocket>,
    thread: JoinHandle<()>,
}

/// A packet that is due later. The heap gives the earliest first.
#[derive(Debug)]
struct Delayed {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    packet: Vec<u8>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl Proxy {
    /// Opens the fronts of all nodes. Fair weather everywhere; strangers are `Clients(0)`.
    pub(crate) fn start(places: &[Place]) -> Self {
        let mut state = State::default();
        let (mut fronts, mut addresses) = (Vec::new(), Vec::new());
        for (node, place) in places.iter().enumerate() {
            for slot in 0..place.ports {
                let real = SocketAddr::new(place.real.ip(), place.real.port() + slot);
                let front = SocketAddr::new(place.front.ip(), place.front.port() + slot);
                state.nodes.insert(real, node);
                addresses.push(front);
                fronts.push((node, real, Arc::new(open(front).expect("a port of our own block"))));
            }
        }
        let state = Arc::new(state);
        let mut threads = Vec::new();
        for (node, real, front) in fronts {
            let state = state.clone();
            threads.push(spawn("front", move || serve_front(&state, node, real, &front)));
        }
        let late = state.clone();
        threads.push(spawn("delay", move || serve_delayed(&late)));
        Self { state, fronts: addresses, threads }
    }

    /// Clients whose first packet comes from now on are on this side. Clients connect one after the other.
    pub(crate) fn strangers_are(&self, side: u8) {
        *lock(&self.state.next_stranger) = Some(Party::Clients(side));
    }

    /// The weather on the way from one to the other; the way back has its own.
    pub(crate) fn set(&self, from: Party, to: Party, weather: Weather) {
        lock(&self.state.rules).insert((from, to), weather);
    }

    /// Nothing passes between the two groups, in either direction.
    pub(crate) fn cut(&self, one: &[Party], other: &[Party]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Nothing passes from one group to the other.
    pub(crate) fn cut_one_way(&self, from: &[Party], to: &[Party]) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))) {
            self.set(from, to, Weather::CUT);
        }
    }

    /// Fair weather everywhere.
    pub(crate) fn heal(&self) {
        lock(&self.state.rules).clear();
    }

    /// Packets that passed and packets that were lost, by who sent them to whom: for the report of a failure.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for ((from, to), Tally { passed, lost }) in lock(&self.state.tally).iter() {
            writeln!(text, "{from:?} -> {to:?}: {passed} passed, {lost} lost").expect("text is written to memory");
        }
        text
    }

    /// Packets lost from one to the other so far.
    pub(crate) fn lost(&self, from: Party, to: Party) -> u64 {
        lock(&self.state.tally).get(&(from, to)).map_or(0, |tally| tally.lost)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        // Under the lock, so that the thread is either before its look at the flag or in its wait.
        let guard = lock(&self.state.delayed);
        self.state.changed.notify_all();
        drop(guard);
        self.fronts.iter().copied().for_each(wake);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().expect("a thread of the proxy does not panic");
        }
        for Back { socket, thread } in std::mem::take(&mut *lock(&self.state.backs)).into_values() {
            wake(socket.local_addr().expect("an open socket has an address"));
            thread.join().expect("a thread of the proxy does not panic");
        }
    }
}

/// Sends the empty packet that ends a thread.
fn wake(address: SocketAddr) {
    let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    waker.send_to(&[], address).expect("a packet to this machine");
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(format!("proxy-{name}")).stack_size(256 * 1024).spawn(run).expect("a thread")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

/// The next packet; none at the end. A port at the other end that is closed is an error of the socket's, which only
/// says that a node is down.
fn receive<'a>(state: &State, socket: &UdpSocket, buffer: &'a mut [u8]) -> Option<(&'a [u8], SocketAddr)> {
    loop {
        let received = socket.recv_from(buffer);
        if state.stopping.load(Ordering::SeqCst) {
            return None;
        }
        if let Ok((length, from)) = received
            && length > 0
        {
            return Some((&buffer[..length], from));
        }
    }
}

/// Packets to a node: each goes on through the back of its speaker.
fn serve_front(state: &Arc<State>, node: usize, real: SocketAddr, front: &Arc<UdpSocket>) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    // Looked up once for each speaker.
    let mut known: BTreeMap<SocketAddr, (Party, Arc<UdpSocket>)> = BTreeMap::new();
    while let Some((packet, from)) = receive(state, front, &mut buffer) {
        let (party, back) = known.entry(from).or_insert_with(|| {
            let party = state.party(from);
            (party, state.back(from, party, node, real, front))
        });
        state.pass((*party, Party::Node(node)), back, real, packet);
    }
}

/// Packets from a node to one speaker: each goes on through the front that the speaker knows.
fn serve_back(
    state: &State,
    (node, to): (Party, Party),
    speaker: SocketAddr,
    back: &UdpSocket,
    front: &Arc<UdpSocket>,
) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while let Some((packet, _)) = receive(state, back, &mut buffer) {
        state.pass((node, to), front, speaker, packet);
    }
}

fn serve_delayed(state: &State) {
    let mut delayed = lock(&state.delayed);
    while !state.stopping.load(Ordering::SeqCst) {
        let now = Instant::now();
        let wait = match delayed.peek() {
            Some(first) if first.due <= now => {
                if let Some(first) = delayed.pop() {
                    send(&first.socket, first.to, &first.packet);
                }
                continue;
            }
            Some(first) => first.due - now,
            None => Duration::from_secs(60),
        };
        delayed = state.changed.wait_timeout(delayed, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// A packet that the kernel does not take is a packet lost.
fn send(socket: &UdpSocket, to: SocketAddr, packet: &[u8]) {
    socket.send_to(packet, to).map(drop).unwrap_or_default();
}

impl State {
    fn party(&self, from: SocketAddr) -> Party {
        if let Some(node) = self.nodes.get(&from) {
            return Party::Node(*node);
        }
        let next = lock(&self.next_stranger).unwrap_or(Party::Clients(0));
        *lock(&self.strangers).entry(from).or_insert(next)
    }

    fn back(
        self: &Arc<Self>,
        from: SocketAddr,
        party: Party,
        node: usize,
        real: SocketAddr,
        front: &Arc<UdpSocket>,
    ) -> Arc<UdpSocket> {
        let socket = Arc::new(open((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port"));
        let (state, back, front) = (self.clone(), socket.clone(), front.clone());
        let way = (Party::Node(node), party);
        let thread = spawn("back", move || serve_back(&state, way, from, &back, &front));
        let old = lock(&self.backs).insert((from, real), Back { socket: socket.clone(), thread });
        assert!(old.is_none(), "a front makes one back for each speaker");
        socket
    }

    /// Sends a packet on as the weather has it.
    fn pass(&self, way: (Party, Party), socket: &Arc<UdpSocket>, to: SocketAddr, packet: &[u8]) {
        let weather = lock(&self.rules).get(&way).copied().unwrap_or_default();
        let is_lost = weather.lost_of_1000 > 0 && self.draw() < u64::from(weather.lost_of_1000);
        let mut tally = lock(&self.tally);
        let tally = tally.entry(way).or_default();
        if is_lost {
            tally.lost += 1;
            return;
        }
        tally.passed += 1;
        if weather.delay.is_zero() {
            send(socket, to, packet);
            return;
        }
        let due = Instant::now() + weather.delay;
        lock(&self.delayed).push(Delayed { due, socket: socket.clone(), to, packet: packet.to_vec() });
        self.changed.notify_one();
    }

    /// 0 to 999, evenly (`SplitMix64`).
    fn draw(&self) -> u64 {
        let mut word = self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % 1000
    }
}

#[test]
fn proxy_knows_who_speaks_and_loses_what_it_is_told_to() {
    let ports = super::ports::Ports::take();
    let real = [0, 1].map(|node| UdpSocket::bind(ports.control(node)).expect("a port of our own block"));
    let places = [0, 1].map(|node| Place { real: ports.control(node), front: ports.control(node + 2), ports: 1 });
    let proxy = Proxy::start(&places);
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    for socket in real.iter().chain([&client]) {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time above zero");
    }
    let hear = |socket: &UdpSocket| {
        let mut buffer = [0; 64];
        let (length, from) = socket.recv_from(&mut buffer).expect("a packet within ten seconds");
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
    };
    // There and back: the answer comes from where the question went.
    real[0].send_to(b"question", places[1].front).expect("a packet");
    let (question, back) = hear(&real[1]);
    assert_eq!(question, "question");
    real[1].send_to(b"answer", back).expect("a packet");
    assert_eq!(hear(&real[0]), ("answer".to_owned(), places[1].front));

    // Cut one way, packets of the other way pass; a client has weather of its own, by the side that it is on.
    let (first, second) = (Party::Node(0), Party::Node(1));
    proxy.cut_one_way(&[first], &[second]);
    proxy.strangers_are(7);
    proxy.set(Party::Clients(7), second, Weather { lost_of_1000: 0, delay: Duration::from_millis(50) });
    real[0].send_to(b"lost", places[1].front).expect("a packet");
    let began = Instant::now();
    client.send_to(b"from a client", places[1].front).expect("a packet");
    assert_eq!(hear(&real[1]).0, "from a client", "the one that was cut is not before it");
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    real[1].send_to(b"the other way", places[0].front).expect("a packet");
    assert_eq!(hear(&real[0]).0, "the other way");
    super::until("the packet is counted as lost", || match proxy.lost(first, second) {
        1 => Ok(()),
        lost => Err(format!("{lost} lost\n{}", proxy.report())),
    });
    proxy.heal();
    real[0].send_to(b"again", places[1].front).expect("a packet");
    assert_eq!(hear(&real[1]), ("again".to_owned(), back), "a speaker keeps its address");
}
