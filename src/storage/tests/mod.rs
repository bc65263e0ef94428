//! The store on real directories: what it keeps, what it refuses, and what it says when the disk lies or fails.

mod boot;
mod cost;
mod durable;
mod model;
mod reads;
mod rot;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Boot, ReadCompletion, ShardCallbacks, Store, StoreOptions};
use crate::protocol::replica::{Batch, ItemKey, Mutation};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::{Address, ClusterId, DiskId, Durability, NodeId, PartitionId};

/// What a shard heard.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Completed(ReadCompletion),
    Durable(u64),
    Failed(String),
}

/// Callbacks that put everything into one channel.
fn callbacks() -> (ShardCallbacks, Receiver<Event>) {
    let (tx, rx) = mpsc::channel();
    let (completed, durable, failed) = (tx.clone(), tx.clone(), tx);
    // A test that has seen enough drops its end.
    let callbacks = ShardCallbacks {
        completed: Arc::new(move |completion| drop(completed.send(Event::Completed(completion)))),
        durable: Arc::new(move |sequence| drop(durable.send(Event::Durable(sequence)))),
        failed: Arc::new(move |message| drop(failed.send(Event::Failed(message.to_owned())))),
    };
    (callbacks, rx)
}

/// The next event, or an end of the test.
fn next(events: &Receiver<Event>) -> Event {
    events.recv_timeout(DEADLINE).expect("an event within the deadline")
}

/// Waits for a condition.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what} within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn options(path: &Path, durability: Durability) -> StoreOptions {
    StoreOptions {
        path: path.to_owned(),
        block_cache_bytes: 8 << 20,
        item_cache_bytes: 1 << 20,
        write_buffer_bytes: 16 << 20,
        durability,
        interval: Duration::from_millis(10),
        read_threads: 2,
    }
}

/// A store of partitions 0 to 3.
fn open(path: &Path, durability: Durability) -> Store {
    let store = Store::open(options(path, durability)).unwrap();
    store.create_partitions(&[0, 1, 2, 3].map(PartitionId::new)).unwrap()
}

fn begin_boot(store: &mut Store) -> Boot {
    store.begin_boot(NodeId::new(1), ClusterId::new(2), DiskId::new(3)).unwrap()
}

fn item_key(table: &str, hash: u64, sort: &[u8]) -> ItemKey {
    let (table, sort) = (Bytes::copy_from_slice(table.as_bytes()), Bytes::copy_from_slice(sort));
    let address = Address::new(table, Bytes::from_static(b"key"), sort).unwrap();
    ItemKey::new(&address, KeyHash::from_bits(hash))
}

fn put(partition: u16, key: &ItemKey, value: &[u8]) -> Mutation {
    let value = Some(Bytes::copy_from_slice(value));
    Mutation { partition: PartitionId::new(partition), key: key.as_bytes().clone(), value }
}

fn batch(mutations: Vec<Mutation>) -> Batch {
    Batch { mutations }
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let word = |n: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_be_bytes(), seed).to_be_bytes();
    (0..).flat_map(word).take(length).collect()
}

/// Far longer than anything takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);
