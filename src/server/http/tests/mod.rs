//! The door over real sockets, before a node in memory that speaks the real messages.

mod access;
mod bounds;
mod caller;
mod fake;
mod input;
mod items;
mod places;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::caller::{Call, DEADLINE, Reply};
use self::fake::FakeDoor;
use super::{DoorConfig, Listeners, bind};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A door that is being served.
struct Served {
    runtime: Runtime,
    door: FakeDoor,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<usize>>,
}

impl Served {
    /// Data open on loopback.
    fn open() -> Self {
        Self::with(&open())
    }

    fn with(config: &DoorConfig) -> Self {
        Self::before(FakeDoor::new(), bind(config).unwrap())
    }

    fn before(door: FakeDoor, listeners: Listeners) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (address, tls_address) = (listeners.address().unwrap(), listeners.tls_address());
        let (stop, stopped) = watch::channel(false);
        let serving = runtime.spawn(listeners.serve(door.clone(), stopped));
        Self { runtime, door, address, tls_address, stop, serving }
    }

    fn ask(&self, call: &Call) -> Reply {
        call.at(self.address)
    }

    /// Stops and returns how many connections were cut off, and how long it took.
    fn stop(self) -> (usize, Duration) {
        let began = Instant::now();
        self.stop.send(true).unwrap();
        let ended = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, self.serving).await });
        (ended.unwrap().unwrap().unwrap(), began.elapsed())
    }
}

fn open() -> DoorConfig {
    DoorConfig::open_loopback(ANY_PORT, REQUEST_TIMEOUT)
}

/// Waits until something is true.
#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}
