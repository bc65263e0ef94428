//! A measurement, not a check: what a frame of 100 bytes costs there and back.
//!
//! `cargo nextest run --release --run-ignored only --no-capture transport::tests::echo`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fixture::*;
use crate::pki::Role;
use crate::protocol::wire::{Frame, Kind};
use crate::transport::conversation::Listener;
use crate::transport::*;

/// Sends a frame for each that comes back, until the time is over.
struct Pump {
    lanes: Lanes,
    request: Bytes,
    answered: AtomicU64,
}

impl Listener for Pump {
    fn on_frame(&self, _: Frame) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.lanes.send(Class::Normal, self.request.clone()).unwrap();
    }
    fn on_datagram(&self, _: Bytes) {}
}

/// CPU time of this process, all threads, user and system.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_round_trip() {
    let world = Arc::new(World::new());
    let (tell, address) = mpsc::channel();
    let serving = world.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = serving.serve(echo);
            tell.send(server.clone()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let server = address.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("in flight | round trips/s | us CPU | us wall | frames/packet | packets/datagram-io | mtu");
    for in_flight in [1, 16, 64, 256, 1024] {
        runtime.block_on(measure(&world, &server, in_flight));
    }
}

async fn measure(world: &World, server: &Server, in_flight: u64) {
    let session = world.connect(Role::Node(PEER), server).await.unwrap();
    let (lanes, conversation) = session.converse().await.unwrap();
    let connection = conversation.peer().connection().clone();
    let request = frame(Kind::Get, 1, vec![0; 100 - 32]);
    let pump = Arc::new(Pump { lanes, request, answered: AtomicU64::new(0) });
    let listener = pump.clone();
    let task = tokio::spawn(async move { conversation.run(None, Arc::default(), &*listener).await });
    for _ in 0..in_flight {
        pump.lanes.send(Class::Normal, pump.request.clone()).unwrap();
    }
    // Time for the MTU to be found.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (begun, cpu, before, stats) =
        (Instant::now(), cpu_time(), pump.answered.load(Ordering::Relaxed), connection.stats());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (wall, cpu) = (begun.elapsed(), cpu_time() - cpu);
    let now = connection.stats();
    let count = (pump.answered.load(Ordering::Relaxed) - before) as f64;
    println!(
        "{in_flight:9} | {:13.0} | {:6.2} | {:7.2} | {:13.2} | {:19.2} | {}",
        count / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count,
        wall.as_secs_f64() * 1e6 / count,
        count / (now.udp_tx.datagrams - stats.udp_tx.datagrams) as f64,
        (now.udp_tx.datagrams - stats.udp_tx.datagrams) as f64 / (now.udp_tx.ios - stats.udp_tx.ios) as f64,
        now.path.current_mtu,
    );
    task.abort();
}
