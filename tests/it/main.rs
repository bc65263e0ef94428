//! Tests of the real program: processes, sockets and files, wired as an operator wires them. ONE binary.
//!
//! | module | noun |
//! |---|---|
//! | `cluster` | three processes with certificates, configurations and profiles of their own |
//! | `process` | one process: started, signalled, never left behind |
//! | `door`, `command` | what a user types: HTTP requests, command lines |
//! | `wire` | what nobody should send: frames by hand |
//! | `proxy`, `fleet` | five processes behind a fault proxy for UDP |
//! | `audit` | what each replica really holds |
//! | `load` | writers that remember what they tried and were told |
//! | `chaos` | kills, stops and cuts under load: nothing is lost, and all becomes equal again |
//! | `storing` | the three interfaces agree |
//! | `failing` | processes die and come back |
//! | `renewing` | certificates end, are renewed, revoked, or turn bad |
//! | `rotting` | table files rot |
//! | `disks` | a disk is put back as it once was, or cloned |
//! | `flooding` | more requests and unread answers than a node can hold |
//! | `full_disk` | a small disk fills up |
//! | `slow_peer` | one that neither dies nor answers |
//! | `refusals`, `strangers`, `input` | bad files, bad peers, bad requests |
//! | `importing` | real data in and out |
//! | `benching`, `judging` | `quorate bench`: what it measures, and what it says of that |
//! | `developing` | `quorate dev` |
//! | `seeing`, `terminal` | `status`, `top`, `key inspect` and the log, also on a terminal |
//! | `dashboards`, `observing` | what is under `grafana/`, as files and under the real Prometheus |
//! | `configuring` | `quorate config`, the environment, man pages and completions |
//! | `supervising`, `units` | what systemd hears, and what it says of our units |
//! | `production` | the package, and the README's commands on three machines |
//!
//! They take turns (`.config/nextest.toml`), for each may start a cluster of three on this machine. Nothing waits for a
//! time to pass: it waits for a condition with a deadline, and a failure prints what every process has logged.

#![expect(clippy::panic, reason = "a test's way to fail; clippy exempts only functions marked #[test]")]

mod audit;
mod cluster;
mod command;
mod door;
mod fleet;
mod load;
mod ports;
mod process;
mod proxy;
mod terminal;
mod wire;

mod benching;
mod chaos;
mod configuring;
mod dashboards;
mod developing;
mod disks;
mod failing;
mod flooding;
mod full_disk;
mod importing;
mod input;
mod judging;
mod observing;
mod production;
mod refusals;
mod renewing;
mod rotting;
mod seeing;
mod slow_peer;
mod standing_in;
mod storing;
mod strangers;
mod supervising;
mod trees;
mod units;

use std::time::{Duration, Instant};

/// No condition takes this long unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(40);
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is an answer; fails with the last reason why there is none.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    until_within(DEADLINE, what, look)
}

/// The same with a deadline of its own.
pub(crate) fn until_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) => assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}; last: {reason}"),
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn help_is_given_and_is_no_error() {
    let ran = command::Invocation::new().args(["--help"]).run();
    ran.expect_code(0);
}
