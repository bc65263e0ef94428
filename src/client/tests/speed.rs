//! A measurement, not a check: what a get costs this side and a fake node together.
//!
//! A best case, good only for comparing this client with itself: one key and so one line, both sides on one thread that
//! never sleeps, frames batched perfectly, a map for a disk, no replicas asked. It says nothing about a cluster's
//! throughput.
//!
//! `cargo nextest run --release --run-ignored only --no-capture client::tests::speed`

use std::time::{Duration, Instant};

use super::fixture::*;
use crate::protocol::wire::Kind;

/// CPU time of this process, all threads, user and system.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_a_get() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.put(address("item"), vec![7; 100]).send().await.unwrap();
    println!("in flight | gets/s | us CPU of both sides");
    for in_flight in [1, 16, 64, 256] {
        let (begun, cpu) = (Instant::now(), cpu_time());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..in_flight {
            let client = client.clone();
            tasks.spawn(async move {
                let mut count = 0_u64;
                while begun.elapsed() < Duration::from_secs(2) {
                    let read = client.get(address("item")).send().await.unwrap();
                    assert_eq!(read.single().unwrap().bytes.len(), 100);
                    count += 1;
                }
                count
            });
        }
        let count = tasks.join_all().await.into_iter().sum::<u64>();
        // What is counted here was asked there: nothing is measured that did not cross the wire.
        let served = fake.asked(Kind::Get).len() as u64;
        assert_eq!(served, count, "gets that the nodes served");
        let count = count as f64;
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_time().as_secs_f64() - cpu.as_secs_f64());
        println!("{in_flight:9} | {:6.0} | {:6.2}", count / wall, cpu * 1e6 / count);
    }
}
