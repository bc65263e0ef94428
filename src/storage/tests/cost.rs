//! What reads and commits cost. No asserts: run it by hand and read it, on a quiet machine.
//!
//! `cargo nextest run --release --run-ignored only cost --no-capture`
//!
//! On two virtual cores that other builds shared, 64 partitions, memtables of many overwrites:
//!
//! ```text
//!   commit of 64 puts    128 B 48 us    1 KiB 171 us (0.75 and 2.7 us a put: cold memtables, page faults, log)
//!   commit of 1 put      128 B 1.2 us   1 KiB 2.4 us     until it is durable 174 us
//!   read from memtable   128 B 0.9 us   1 KiB 1.3 us     of nothing 0.14 us, from the block cache 0.65 us
//!   cf_handle by name    31 ns, so 64 of them are 2 us of a turn
//! ```

use std::hint::black_box;

use super::*;
use crate::protocol::replica::{ReadId, Storage};

/// Nanoseconds for each of `count` calls, the best of five rounds.
fn measure(name: &str, count: u64, mut call: impl FnMut(u64)) {
    let round = |_| {
        let start = Instant::now();
        (0..count).for_each(&mut call);
        start.elapsed().as_nanos() / u128::from(count)
    };
    let best = (0..5).map(round).min();
    println!("{name}: {} ns", best.unwrap_or_default());
}

#[test]
#[ignore = "a measurement"]
fn cost_of_reads_and_commits() {
    let home = tempfile::tempdir().unwrap();
    let partitions: Vec<_> = (0..64).map(PartitionId::new).collect();
    let large = StoreOptions { write_buffer_bytes: 256 << 20, ..options(home.path(), Durability::Sync) };
    let store = Store::open(large).unwrap().create_partitions(&partitions).unwrap();
    println!("with 64 empty partitions open: {}", resident());
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    let keys: Vec<_> = (0..4096).map(|n| item_key("table", n << 40, b"")).collect();
    let spread = |n: u64| (u16::try_from(n % 64).unwrap(), &keys[usize::try_from(n % 4096).unwrap()]);
    for length in [128, 1024] {
        let turn = |n: u64, puts: u64| {
            let put = |i| {
                let (partition, key) = spread(n * puts + i);
                put(partition, key, &noise(n, length))
            };
            batch((0..puts).map(put).collect())
        };
        let turns: Vec<_> = (0..64).map(|n| turn(n, 64)).collect();
        let at = |n: u64| usize::try_from(n % 64).unwrap();
        measure(&format!("commit of 64 puts of {length} B"), 512, |n| {
            storage.commit(&turns[at(n)]).unwrap();
        });
        let singles: Vec<_> = (0..64).map(|n| turn(n, 1)).collect();
        measure(&format!("commit of 1 put of {length} B"), 4096, |n| {
            storage.commit(&singles[at(n)]).unwrap();
        });
        measure(&format!("read of {length} B from a memtable"), 65_536, |n| {
            let (partition, key) = spread(n);
            black_box(storage.read(ReadId::new(n), PartitionId::new(partition), key));
        });
    }
    let absent = item_key("table", 5, b"absent");
    measure("read of nothing", 65_536, |n| {
        black_box(storage.read(ReadId::new(n), PartitionId::new(u16::try_from(n % 64).unwrap()), &absent));
    });
    let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    measure("cf_handle by name, which the shards' tables save", 65_536, |n| {
        black_box(store.database.db().cf_handle(&names[usize::try_from(n % 64).unwrap()]));
    });
    measure("commit of 1 put of 1024 B, until it is durable", 64, |n| {
        let sequence = storage.commit(&batch(vec![put(0, spread(n).1, &noise(n, 1024))])).unwrap();
        storage.request_sync(sequence);
        while !matches!(next(&events), Event::Durable(covered) if covered >= sequence) {}
    });
    for family in store.database.families() {
        super::super::flusher::flush(&store.database, &family, true);
    }
    for key in &keys {
        for partition in &partitions {
            black_box(storage.read(ReadId::new(0), *partition, key));
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    measure("read of 1024 B from the block cache, or handed to the pool", 4096, |n| {
        let (partition, key) = spread(n);
        black_box(storage.read(ReadId::new(n), PartitionId::new(partition), key));
    });
}

/// Memory of this process that is really there.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
}
