//! systemd's side of `Type=notify`, played: a socket, and what the real program says to it.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::DEADLINE;
use super::cluster::{Cluster, Shape};
use super::process::Signal;

/// In this time the program has to ping: it does so four times as often.
const WATCHDOG: Duration = Duration::from_secs(2);

/// Who supervises.
struct Manager {
    socket: UnixDatagram,
    /// What was said so far, a datagram each.
    said: Vec<String>,
}

impl Manager {
    /// Listens on a path of this cluster, and has a node told of it.
    fn of(cluster: &mut Cluster, node: usize) -> Self {
        let path = cluster.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in our own directory");
        Self::with(cluster, node, socket, path.into_os_string())
    }

    fn with(cluster: &mut Cluster, node: usize, socket: UnixDatagram, address: impl Into<std::ffi::OsString>) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout for a socket");
        cluster.nodes[node].set_variable("NOTIFY_SOCKET", address);
        cluster.nodes[node].set_variable("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Self { socket, said: Vec::new() }
    }

    /// The next datagram, if one comes soon.
    fn hear(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        self.said.push(text.clone());
        Some(text)
    }

    /// Hears until a datagram has this line, or a line that begins so; all of that datagram.
    fn hear_until(&mut self, line: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(text) = self.hear().filter(|text| text.lines().any(|said| said.starts_with(line))) {
                return text;
            }
            assert!(began.elapsed() < DEADLINE, "{line:?} was not said; but {:#?}", self.said);
        }
    }

    /// Where in what was said so far a line stands.
    fn place(&self, line: &str) -> Option<usize> {
        self.said.iter().position(|text| text.lines().any(|said| said == line))
    }

    /// Forgets what was said, also what nobody has heard yet.
    fn forget(&mut self) {
        while self.hear().is_some() {}
        self.said.clear();
    }
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn systemd_hears_of_the_start_the_cluster_the_pings_and_the_end() {
    let mut cluster = Cluster::prepare(Shape::WIDE);
    let mut manager = Manager::of(&mut cluster, 0);
    (0..3).for_each(|node| cluster.start_node(node));
    let ready = manager.hear_until("READY=1");
    assert_eq!(ready, "READY=1\nSTATUS=waits for `quorate cluster create` with an admin certificate");
    let order = [
        "STATUS=reading the certificates",
        "STATUS=recovering the storage",
        "STATUS=opening the ports",
        "STATUS=waits for `quorate cluster create` with an admin certificate",
        "READY=1",
    ];
    let places: Vec<_> = order.iter().map(|line| manager.place(line)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} of {:#?}", manager.said);
    (0..3).for_each(|_| drop(manager.hear_until("WATCHDOG=1")));

    cluster.create().expect_code(0);
    manager.hear_until("STATUS=member, serves 64 partitions");
    cluster.all_connected();
    // The shards are asked too by now, and answer.
    (0..3).for_each(|_| drop(manager.hear_until("WATCHDOG=1")));

    // A member is ready when its shards serve, also after an unclean end.
    cluster.nodes[0].kill();
    manager.forget();
    cluster.start_node(0);
    assert_eq!(manager.hear_until("READY=1"), "READY=1\nSTATUS=member, serves 64 partitions");
    assert!(manager.place("STATUS=starting the shards") < manager.place("READY=1"), "{:#?}", manager.said);

    cluster.nodes[0].signal(Signal::Terminate);
    let stopping = manager.hear_until("STOPPING=1");
    assert_eq!(stopping, "STOPPING=1\nSTATUS=stopping: finishing requests and flushing");
    assert!(cluster.nodes[0].ended().success());
}

#[test]
fn reload_takes_the_level_of_the_log_and_refuses_a_bad_file() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    let mut manager = Manager::of(&mut cluster, 0);
    cluster.start_node(0);
    manager.hear_until("READY=1");
    let (file, good) = (cluster.path("n1.toml"), cluster.config(0));
    let mut reload = |cluster: &mut Cluster, text: &str| {
        fs::write(&file, text).expect("a file of our own");
        manager.forget();
        let before = monotonic_usec();
        cluster.nodes[0].signal(Signal::Hangup);
        let reloading = manager.hear_until("RELOADING=1");
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok());
        assert!(
            time.is_some_and(|time| (before..=monotonic_usec()).contains(&time)),
            "{reloading}, not since {before}"
        );
        let ready = manager.hear_until("READY=1");
        ready.strip_prefix("READY=1\nSTATUS=").map(str::to_owned).expect("a status beside READY")
    };
    assert_eq!(reload(&mut cluster, &good), "reloaded: nothing has changed");

    let louder = format!("{good}[log]\nlevel = \"debug\"\n").replace("shards = 1", "shards = 2");
    let expected = "reloaded: log level: debug instead of info; changed and waiting for a restart: shards";
    assert_eq!(reload(&mut cluster, &louder), expected);
    let log = cluster.nodes[0].says("these fields have changed and wait for a restart");
    assert!(log.contains("reloaded: log level: debug instead of info"), "{log}");

    let bad = louder.replace("shards = 2", "shards = 200");
    let refused = reload(&mut cluster, &bad);
    assert!(refused.starts_with("reload refused, everything stays as it is: "), "{refused}");
    assert!(refused.ends_with("n1.toml:4: shards = 200: use 1 to 64"), "{refused}");
    assert!(cluster.nodes[0].is_running());
    assert_eq!(reload(&mut cluster, &good), "reloaded: log level: info instead of debug");
    manager.hear_until("WATCHDOG=1");
}

/// A disk that hangs is made of a pipe: whoever opens it to write waits until somebody reads.
#[test]
fn disk_that_does_not_answer_stops_the_pings_until_it_does() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    let mut manager = Manager::of(&mut cluster, 0);
    let (data, pulse) = (cluster.path("n1"), cluster.path("n1/pulse"));
    // The node makes its directory as it needs it.
    cluster.start_node(0);
    manager.hear_until("WATCHDOG=1");
    cluster.nodes[0].signal(Signal::Terminate);
    assert!(cluster.nodes[0].ended().success());
    assert!(data.is_dir());
    fs::remove_file(&pulse).expect("the disk was felt by this file");
    let made = Command::new("mkfifo").arg(&pulse).status().expect("coreutils");
    assert!(made.success());

    manager.forget();
    cluster.start_node(0);
    manager.hear_until("READY=1");
    // More rounds than fit into the time in which systemd wants a ping.
    for _ in 0..5 {
        let status = manager.hear_until("STATUS=no answer from ");
        assert!(status.contains("the disk for "), "{status}");
    }
    assert_eq!(manager.place("WATCHDOG=1"), None, "pings with a disk that hangs: {:#?}", manager.said);
    cluster.nodes[0].says("no ping for the watchdog");

    let reader = fs::OpenOptions::new().read(true).open(&pulse).expect("the node waits for a reader");
    let ping = manager.hear_until("WATCHDOG=1");
    assert_eq!(ping, "WATCHDOG=1\nSTATUS=waits for `quorate cluster create` with an admin certificate");
    // A pipe cannot be fsynced: the disk has answered, with an error that is told.
    cluster.nodes[0].says("the disk answers with an error");
    drop(reader);
}

#[test]
fn abstract_socket_is_told_too_and_a_failed_start_says_why() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    let name = format!("quorate-it-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("a name that nobody else has");
    let mut manager = Manager::with(&mut cluster, 0, socket, format!("@{name}"));
    cluster.start_node(0);
    manager.hear_until("READY=1");
    cluster.nodes[0].kill();

    manager.forget();
    fs::remove_file(cluster.path("certs/n1.key")).expect("a file of our own");
    cluster.nodes[0].start();
    let status = manager.hear_until("STATUS=cannot read ");
    assert!(status.contains("n1.key"), "{status}");
    assert!(!cluster.nodes[0].ended().success());
    assert_eq!(manager.place("READY=1"), None, "{:#?}", manager.said);
}

#[test]
fn address_of_no_known_kind_is_told_and_the_node_runs() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    cluster.nodes[0].set_variable("NOTIFY_SOCKET", "vsock:2:1234");
    cluster.start_node(0);
    cluster.nodes[0].says("NOTIFY_SOCKET=vsock:2:1234 is neither a path from / nor an abstract name");
    assert!(cluster.path("n1").is_dir());
}
