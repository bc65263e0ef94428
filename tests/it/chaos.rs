//! Five real processes behind the fault proxy, under load, through what happens to clusters: a sudden end, a process
//! that stands still, a cut, a cut in one direction, a restart of all.
//!
//! Clients are on two sides, west with n1 n2 n3 and east with n4 n5 (`load`). After each fault:
//!
//! - within 30 s of its end all owners of an item hold the same copy, compared one by one (`audit`), and no node keeps
//!   a hint;
//! - nothing that was acknowledged is lost: it is in what a strict quorum read shows, once;
//! - nothing is there that nobody tried to write;
//! - of the writes of each side, from the fault's beginning to the end of the load, more than 99.9 % succeeded. Each
//!   side reaches two nodes at least, whatever happens; while all nodes are down there is no such client.
//!
//! The time that a fault lasts is the only time that is waited for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::client::Client;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::audit::audit;
use super::fleet::{Fleet, NAMES};
use super::load::{Attempt, CARTS, EAST, Load, SIDES, TABLE, Told, WEST, address, union};
use super::process::Signal;
use super::proxy::Party;

/// By then all owners are equal and hints are gone.
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at whether they are: one reads every copy of every item.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Percent of writes that have to succeed.
const AVAILABILITY: f64 = 99.9;
/// Shorter than the 12 s in which a silent connection ends, and than the time in which members agree that one of them
/// does not answer: nobody but the requests notices.
const SHORT: Duration = Duration::from_secs(4);
/// How long a process stands still.
const STOP: Duration = Duration::from_secs(20);
/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(60);

/// Whether clients are served during a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    GoesOn,
    /// Every node is down for a while.
    Interrupted,
}

/// A fault under load, and what is demanded after it. `fault` returns when it has ended.
fn through(fleet: &mut Fleet, name: &str, service: Service, fault: impl FnOnce(&mut Fleet)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime needs an epoll descriptor");
    let load = Load::start(fleet, &runtime, name);
    let began = Instant::now();
    fault(fleet);
    let healed = Instant::now();
    load.flows();
    let told = load.end(&runtime);
    for (node, name) in NAMES.iter().enumerate() {
        assert!(fleet.nodes[node].is_running(), "{name} has ended:\n{}", fleet.nodes[node].log());
    }
    eprintln!("{name}: the fault lasted {:.1?}", healed - began);
    becomes_whole(fleet, &runtime, healed);
    nothing_is_lost_and_nothing_made_up(fleet, &runtime, &told);
    let since = |attempt: &&Attempt| attempt.began >= began;
    let is_enough = availability(&told.attempts.iter().filter(since));
    eprintln!("  {} carts could not be read", told.blind);
    assert!(service == Service::Interrupted || is_enough.is_ok(), "{name}: {is_enough:?}\n{}", fleet.proxy.report());
}

/// Waits until owners are equal and hints gone, counted from the end of the fault.
fn becomes_whole(fleet: &Fleet, runtime: &Runtime, healed: Instant) {
    loop {
        let look = hints_are_empty(fleet).and_then(|()| audit(fleet, runtime)?.owners_are_equal());
        // A hint that was on its way between two nodes while they were asked is at one of them now.
        let look = look.and_then(|items| hints_are_empty(fleet).map(|()| items));
        let after = healed.elapsed();
        match look {
            Ok(items) => {
                assert!(after <= EQUAL_WITHIN, "whole after {after:?}, later than {EQUAL_WITHIN:?}");
                return eprintln!("  all owners of {items} items equal, no hints, {after:.1?} after its end");
            }
            Err(reason) => {
                assert!(after <= EQUAL_WITHIN, "not whole after {after:?}:\n{reason}\n{}", fleet.proxy.report());
                thread::sleep(LOOK_AGAIN);
            }
        }
    }
}

/// No node keeps a hint.
fn hints_are_empty(fleet: &Fleet) -> Result<(), String> {
    let pending: Vec<f64> = (0..NAMES.len()).map(|node| fleet.door(node).metric("quorate_hints_pending")).collect();
    if pending.iter().all(|pending| *pending == 0.0) { Ok(()) } else { Err(format!("hints pending: {pending:?}")) }
}

/// Every acknowledged write is shown by a strict quorum read, once; and whatever is shown was tried.
fn nothing_is_lost_and_nothing_made_up(fleet: &Fleet, runtime: &Runtime, told: &Told) {
    let client = fleet.client(runtime, SIDES[0], &[0, 1, 2, 3, 4]);
    let wrong = runtime.block_on(async {
        let mut wrong = items_that_are_wrong(&client, told).await;
        for (cart, tried) in &told.tried_carts {
            let found = union(&read(&client, CARTS, cart).await);
            let acknowledged = told.carts.get(cart).cloned().unwrap_or_default();
            wrong.extend(acknowledged.difference(&found).map(|element| format!("{cart}: {element} is lost")));
            wrong.extend(found.difference(tried).map(|element| format!("{cart}: nobody wrote {element}")));
        }
        wrong
    });
    let elements: usize = told.carts.values().map(std::collections::BTreeSet::len).sum();
    assert!(
        wrong.is_empty(),
        "{} of {} acknowledged writes and {elements} elements are wrong:\n{}\n{}",
        wrong.len(),
        told.items.len(),
        wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n"),
        fleet.proxy.report()
    );
    eprintln!("  nothing lost of {} acknowledged items and {elements} cart elements", told.items.len());
}

async fn items_that_are_wrong(client: &Client, told: &Told) -> Vec<String> {
    let mut wrong = Vec::new();
    let items: Vec<_> = told.tried_items.iter().collect();
    // Some reads at once; each keeps a node busy for less than a millisecond.
    for some in items.chunks(64) {
        let mut reading = JoinSet::new();
        for (key, value) in some {
            let (client, key, value) = (client.clone(), (*key).clone(), (*value).clone());
            let acknowledged = told.items.contains_key(&key);
            reading.spawn(async move {
                let values = read(&client, TABLE, &key).await;
                let right = match values.as_slice() {
                    [] => !acknowledged,
                    [found] => *found == value.as_bytes(),
                    _ => false,
                };
                (!right).then(|| format!("{key}: acknowledged {acknowledged}, found {values:?}"))
            });
        }
        wrong.extend(reading.join_all().await.into_iter().flatten());
    }
    wrong
}

/// Reads one item, again and again until a strict quorum answers.
async fn read(client: &Client, table: &str, key: &str) -> Vec<Bytes> {
    let mut tries = 0;
    loop {
        match client.get(address(table, key)).strict().timeout(Duration::from_secs(5)).send().await {
            Ok(versions) => return versions.values.into_iter().map(|value| value.bytes).collect(),
            // Connections that were cut are being made again.
            Err(error) if tries >= 8 => panic!("{table} {key}: {error}"),
            Err(_) => tries += 1,
        }
    }
}

/// The share of writes that succeeded, side by side.
fn availability<'a>(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Result<(), String> {
    let mut text = String::new();
    let mut is_enough = true;
    for side in SIDES {
        let (mut all, mut failed, mut errors) = (0_usize, 0_usize, BTreeMap::<&str, usize>::new());
        for attempt in attempts.clone().filter(|attempt| attempt.side == side) {
            all += 1;
            if let Some(error) = &attempt.error {
                failed += 1;
                *errors.entry(error.as_str()).or_default() += 1;
            }
        }
        let share = 100.0 * (all - failed) as f64 / all.max(1) as f64;
        is_enough &= all > 0 && share > AVAILABILITY;
        writeln!(text, "  side {side}: {share:.3} % of {all} writes succeeded").expect("text to memory");
        for (error, count) in errors.iter().take(5) {
            writeln!(text, "    {count} x {error}").expect("text to memory");
        }
    }
    eprint!("{text}");
    if is_enough { Ok(()) } else { Err(format!("availability must be above {AVAILABILITY} %:\n{text}")) }
}

/// The only waiting for a time: a fault has to last.
fn lasts(time: Duration) {
    thread::sleep(time);
}

fn kill_one(fleet: &mut Fleet, time: Duration) {
    fleet.nodes[1].kill();
    lasts(time);
    fleet.start_node(1);
}

fn stop_one(fleet: &mut Fleet, time: Duration) {
    fleet.nodes[2].signal(Signal::Stop);
    lasts(time);
    fleet.nodes[2].signal(Signal::Continue);
}

/// West and east do not reach each other, nodes or clients.
fn cut_two_ways(fleet: &Fleet, time: Duration) {
    let mut west = Fleet::parties(&WEST);
    let mut east = Fleet::parties(&EAST);
    west.push(Party::Clients(SIDES[0]));
    east.push(Party::Clients(SIDES[1]));
    fleet.proxy.cut(&west, &east);
    lasts(time);
    fleet.proxy.heal();
}

/// What east's nodes send does not arrive at the west's; clients reach everybody.
fn cut_one_way(fleet: &Fleet, time: Duration) {
    fleet.proxy.cut_one_way(&Fleet::parties(&EAST), &Fleet::parties(&WEST));
    lasts(time);
    fleet.proxy.heal();
}

fn restart_all(fleet: &mut Fleet) {
    fleet.nodes.iter_mut().for_each(|node| node.signal(Signal::Kill));
    for node in &mut fleet.nodes {
        node.ended();
    }
    (0..NAMES.len()).for_each(|node| fleet.start_node(node));
}

#[test]
fn cluster_is_whole_after_a_kill_a_stop_and_a_restart_of_all() {
    let mut fleet = Fleet::start();
    through(&mut fleet, "kill", Service::GoesOn, |fleet| kill_one(fleet, SHORT));
    through(&mut fleet, "stop", Service::GoesOn, |fleet| stop_one(fleet, STOP));
    through(&mut fleet, "restart", Service::Interrupted, restart_all);
}

#[test]
fn cluster_is_whole_after_a_cut_and_both_sides_are_served() {
    let mut fleet = Fleet::start();
    through(&mut fleet, "short cut", Service::GoesOn, |fleet| cut_two_ways(fleet, SHORT));
    through(&mut fleet, "cut", Service::GoesOn, |fleet| cut_two_ways(fleet, CUT));
}

#[test]
fn cluster_is_whole_after_a_cut_in_one_direction_and_all_are_served() {
    let mut fleet = Fleet::start();
    through(&mut fleet, "short one-way cut", Service::GoesOn, |fleet| cut_one_way(fleet, SHORT));
    through(&mut fleet, "one-way cut", Service::GoesOn, |fleet| cut_one_way(fleet, CUT));
}
