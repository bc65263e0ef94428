//! The load of a chaos test: writers that remember what they tried and what they were told.
//!
//! Clients are on two sides, west with n1 n2 n3 and east with n4 n5. Each writer writes items of its own, and adds
//! elements to a few carts that all share (read, add, write with the read's context). A cart that cannot be read gets
//! its element as a sibling: always writable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::client::{Client, ClientError};
use quorate::protocol::types::Address;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::until;

/// Where the items of single writers are.
pub(crate) const TABLE: &str = "chaos";
/// Where the carts are.
pub(crate) const CARTS: &str = "carts";
/// The nodes of each side, which its client contacts first.
pub(crate) const WEST: [usize; 3] = [0, 1, 2];
pub(crate) const EAST: [usize; 2] = [3, 4];
/// The sides as the proxy calls their clients.
pub(crate) const SIDES: [u8; 2] = [0, 1];

/// Carts: few, so that writers meet.
const CART_COUNT: usize = 8;
/// Every so many turns of a writer are an element for a cart.
const CART_EVERY: usize = 8;
/// Writers of each side.
const WRITERS: usize = 4;
/// A writer's pace, one write each: in all 400 a second, so that ten seconds of fault can tell 99.9 %.
const PACE: Duration = Duration::from_millis(20);
/// How long a cart's reader waits before it adds its element beside what it cannot see.
const CART_READ: Duration = Duration::from_millis(500);
/// Acknowledged writes of each side before a fault begins, and again after it has ended.
const WARM: usize = 150;

/// A write that was tried.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) began: Instant,
    pub(crate) side: u8,
    /// None when it was acknowledged.
    pub(crate) error: Option<String>,
}

/// What the writers did and were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Acknowledged: key to value.
    pub(crate) items: BTreeMap<String, String>,
    /// Acknowledged: cart to elements.
    pub(crate) carts: BTreeMap<String, BTreeSet<String>>,
    /// Tried: key to value.
    pub(crate) tried_items: BTreeMap<String, String>,
    /// Tried: cart to elements.
    pub(crate) tried_carts: BTreeMap<String, BTreeSet<String>>,
    pub(crate) attempts: Vec<Attempt>,
    /// Carts that could not be read.
    pub(crate) blind: usize,
}

/// The load, while it runs.
pub(crate) struct Load {
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<[AtomicUsize; 2]>,
    writers: JoinSet<()>,
}

impl Load {
    /// Writers on both sides, whose items have this name in their keys. Returns when writes flow.
    pub(crate) fn start(fleet: &Fleet, runtime: &Runtime, name: &str) -> Self {
        let mut load =
            Self { told: Arc::default(), stop: Arc::default(), acknowledged: Arc::default(), writers: JoinSet::new() };
        for (side, contacts) in SIDES.into_iter().zip([&WEST[..], &EAST[..]]) {
            let client = fleet.client(runtime, side, contacts);
            for writer in 0..WRITERS {
                let writer = Writer {
                    client: client.clone(),
                    side,
                    load: name.to_owned(),
                    name: format!("{name} s{side}w{writer}"),
                    told: load.told.clone(),
                    acknowledged: load.acknowledged.clone(),
                };
                load.writers.spawn_on(writer.run(load.stop.clone()), runtime.handle());
            }
        }
        load.flows();
        load
    }

    /// Waits until each side has had writes acknowledged from here on.
    pub(crate) fn flows(&self) {
        let before = self.counts();
        until("writes of both sides are acknowledged", || {
            let now = self.counts();
            let flows = before.iter().zip(now).all(|(before, now)| now >= before + WARM);
            if flows { Ok(()) } else { Err(format!("{before:?}, {now:?}; {:?}", self.last_errors())) }
        });
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|side| self.acknowledged[side].load(Ordering::Relaxed))
    }

    fn last_errors(&self) -> Vec<String> {
        let told = lock(&self.told);
        told.attempts.iter().rev().filter_map(|attempt| attempt.error.clone()).take(3).collect()
    }

    /// Ends the load and takes what it was told.
    pub(crate) fn end(self, runtime: &Runtime) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        runtime.block_on(self.writers.join_all());
        std::mem::take(&mut *lock(&self.told))
    }
}

/// One writer: one write after the other, at a pace.
struct Writer {
    client: Client,
    side: u8,
    load: String,
    name: String,
    told: Arc<Mutex<Told>>,
    acknowledged: Arc<[AtomicUsize; 2]>,
}

impl Writer {
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0.. {
            pace.tick().await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (began, result) = match turn % CART_EVERY {
                0 => self.add(turn).await,
                _ => self.write(turn).await,
            };
            if result.is_ok() {
                self.acknowledged[usize::from(self.side)].fetch_add(1, Ordering::Relaxed);
            }
            let error = result.err().map(|error| error.to_string());
            lock(&self.told).attempts.push(Attempt { began, side: self.side, error });
        }
    }

    async fn write(&self, turn: usize) -> (Instant, Result<(), ClientError>) {
        let (key, value) = (format!("{} {turn}", self.name), format!("{} {turn} {}", self.name, "x".repeat(200)));
        lock(&self.told).tried_items.insert(key.clone(), value.clone());
        let began = Instant::now();
        let result = self.client.put(address(TABLE, &key), value.clone()).send().await.map(drop);
        if result.is_ok() {
            lock(&self.told).items.insert(key, value);
        }
        (began, result)
    }

    async fn add(&self, turn: usize) -> (Instant, Result<(), ClientError>) {
        let cart = format!("{} cart {}", self.load, turn / CART_EVERY % CART_COUNT);
        let element = format!("{}t{turn}", self.name);
        lock(&self.told).tried_carts.entry(cart.clone()).or_default().insert(element.clone());
        let seen = self.client.get(address(CARTS, &cart)).r(1).timeout(CART_READ).send().await;
        let (mut elements, context) = match &seen {
            Ok(seen) => (union(seen.values.iter().map(|value| &value.bytes)), Some(&seen.context)),
            Err(_) => (BTreeSet::new(), None),
        };
        elements.insert(element.clone());
        let value = elements.into_iter().collect::<Vec<_>>().join("\n");
        let put = self.client.put(address(CARTS, &cart), value);
        let began = Instant::now();
        let result = match context {
            Some(context) => put.context(context).send().await.map(drop),
            None => put.send().await.map(drop),
        };
        let mut told = lock(&self.told);
        told.blind += usize::from(seen.is_err());
        if result.is_ok() {
            told.carts.entry(cart).or_default().insert(element);
        }
        (began, result)
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address of these tests.
pub(crate) fn address(table: &str, key: &str) -> Address {
    let table = Bytes::copy_from_slice(table.as_bytes());
    Address::new(table, Bytes::copy_from_slice(key.as_bytes()), "".into()).expect("a short key")
}

/// The elements of all versions of a cart.
pub(crate) fn union<'a>(values: impl IntoIterator<Item = &'a Bytes>) -> BTreeSet<String> {
    let lines = |value: &Bytes| String::from_utf8_lossy(value).lines().map(str::to_owned).collect::<Vec<_>>();
    values.into_iter().flat_map(lines).collect()
}
