//! A node that neither dies nor answers: SIGSTOP takes its processor away, and the sockets stay open.
//!
//! Nobody may wait for it. The two others are measured with it and without it in one run, in alternating rounds, so
//! that whatever else the machine does happens to both.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Shape};
use super::door::{Door, item};
use super::process::Signal;

/// Rounds of each kind.
const ROUNDS: usize = 4;
/// Puts, and as many gets, of each of two clients in a round.
const OPERATIONS: usize = 250;
/// How much slower the slowest hundredth may be, in all: the machine has two cores and other things to do.
const FACTOR: u32 = 4;
/// What the machine's own hiccups may add.
const GRACE: Duration = Duration::from_millis(25);

/// Times of one kind of operation.
#[derive(Debug, Default)]
struct Times {
    puts: Vec<Duration>,
    gets: Vec<Duration>,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.gets.extend(other.gets);
    }
}

/// The time below which this share of the operations, in percent, was done.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// One client at one node: puts and gets in turn.
fn operate(door: &Door, round: usize) -> Times {
    let mut times = Times::default();
    for operation in 0..OPERATIONS {
        let target = item("slow", &format!("{} {round} {operation}", door.address));
        let began = Instant::now();
        door.put(&target, None, &[7; 200]).expect(200);
        let put = Instant::now();
        assert_eq!(door.get(&target).expect(200).body, [7; 200]);
        times.puts.push(put - began);
        times.gets.push(put.elapsed());
    }
    times
}

/// Both clients at once.
fn operate_both(cluster: &Cluster, round: usize) -> Times {
    let mut times = Times::default();
    thread::scope(|scope| {
        let clients = [0, 1].map(|node| (cluster.door(node), scope));
        let clients = clients.map(|(door, scope)| scope.spawn(move || operate(&door, round)));
        for client in clients {
            times.add(client.join().expect("a client fails when an answer is wrong"));
        }
    });
    times
}

fn numbers(what: &str, times: &[Duration]) -> String {
    let mut line = format!("{what:<22}");
    for percent in [50, 90, 99, 100] {
        write!(line, "  p{percent} {:?}", percentile(times, percent)).expect("text is written to memory");
    }
    line
}

#[test]
fn stopped_node_leaves_the_latency_of_the_others_unchanged() {
    let mut cluster = Cluster::start(Shape::SMALL);
    // Once for nothing: caches, connections, the first files.
    operate_both(&cluster, 0);
    let (mut running, mut stopped) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        cluster.all_connected();
        running.add(operate_both(&cluster, 1 + 2 * round));
        cluster.nodes[2].signal(Signal::Stop);
        stopped.add(operate_both(&cluster, 2 + 2 * round));
        cluster.nodes[2].signal(Signal::Continue);
    }
    let mut report = String::new();
    for (what, times) in [
        ("puts, all running", &running.puts),
        ("puts, one stopped", &stopped.puts),
        ("gets, all running", &running.gets),
        ("gets, one stopped", &stopped.gets),
    ] {
        writeln!(report, "{}", numbers(what, times)).expect("text is written to memory");
    }
    println!("{report}");
    for (what, running, stopped) in [("puts", &running.puts, &stopped.puts), ("gets", &running.gets, &stopped.gets)] {
        let (with, without) = (percentile(running, 99), percentile(stopped, 99));
        assert!(
            without <= with * FACTOR + GRACE,
            "p99 of {what}: {with:?} with all, {without:?} with one stopped\n{report}"
        );
    }
    // It goes on as if nothing had been.
    cluster.all_connected();
    cluster.door(2).put(&format!("{}?quorum=strict&w=3", item("slow", "after")), None, b"all").expect(200);
}
