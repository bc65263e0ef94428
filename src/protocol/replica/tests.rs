//! The clock against a set, and the partition's state across a restart.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::ring::KeyHash;
use crate::protocol::types::{ActorId, Address, Hlc, PartitionId, WallTime, WriteId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings, Version, VersionVector, checksum};

fn dot(actor: u64, counter: u64) -> Dot {
    Dot::new(ActorId::new(actor), counter)
}

fn address(key: &str) -> Address {
    Address::new(Bytes::from_static(b"t"), Bytes::copy_from_slice(key.as_bytes()), Bytes::new()).unwrap()
}

fn key(name: &str) -> ItemKey {
    ItemKey::new(&address(name), KeyHash::from_bits(7))
}

fn version(dot: Dot, write_id: u128) -> Version {
    let write_id = WriteId::new(write_id);
    let value = Bytes::from_static(b"v");
    let checksum = checksum(&address("k"), write_id, false, &value);
    Version { dot, hlc: Hlc::ZERO, write_id, tombstone: false, expires_at: 0, checksum, value }
}

/// A disk that keeps one partition.
#[derive(Default)]
struct Disk {
    image: PartitionImage,
}

impl Disk {
    fn commit(&mut self, batch: &Batch) {
        for mutation in &batch.mutations {
            match (mutation.key[0], &mutation.value) {
                (2, Some(record)) => self.image.clock = Some(record.clone()),
                (3, value) => {
                    let sequence = u64::from_be_bytes(mutation.key[1..].try_into().unwrap());
                    self.image.log.retain(|(at, _)| *at != sequence);
                    if let Some(record) = value {
                        self.image.log.push((sequence, record.clone()));
                    }
                }
                other => panic!("unexpected mutation {other:?}"),
            }
        }
    }
}

fn dots() -> impl Strategy<Value = BTreeSet<(u64, u64)>> {
    prop::collection::btree_set((0_u64..3, prop_oneof![1_u64..12, 1_u64..30]), 0..60)
}

fn clock_of(dots: &BTreeSet<(u64, u64)>) -> PartitionClock {
    let mut clock = PartitionClock::default();
    for (actor, counter) in dots {
        clock.add(dot(*actor, *counter));
    }
    clock
}

proptest! {
    #[test]
    fn clock_agrees_with_a_set(dots in prop::collection::vec((0_u64..3, 1_u64..30), 0..80)) {
        let mut clock = PartitionClock::default();
        let mut model = BTreeSet::new();
        for (actor, counter) in dots {
            prop_assert_eq!(clock.add(dot(actor, counter)), model.insert(dot(actor, counter)));
            for probe in 1..31 {
                prop_assert_eq!(clock.covers(dot(actor, probe)), model.contains(&dot(actor, probe)));
            }
        }
        let tops = (0..3).map(|actor| (1..31).rev().find(|n| model.contains(&dot(actor, *n))).unwrap_or(0));
        prop_assert_eq!(clock.missing(), tops.sum::<u64>() - model.len() as u64);
        prop_assert_eq!(PartitionClock::from_record(&clock.to_record(9)), Ok((clock, 9)));
    }

    #[test]
    fn joined_clock_covers_what_either_covered(a in dots(), b in dots(), c in dots()) {
        let [a, b, c] = [a, b, c].map(|dots| (clock_of(&dots), dots));
        let joined = |a: &PartitionClock, b: &PartitionClock| {
            let mut out = a.clone();
            let changed = out.join(b);
            assert_eq!(changed, out != *a);
            out
        };
        let both = joined(&a.0, &b.0);
        // The same runs as when the dots come one by one: equal clocks are equal byte for byte.
        prop_assert_eq!(&both, &clock_of(&a.1.union(&b.1).copied().collect()));
        prop_assert_eq!(&both, &joined(&b.0, &a.0));
        prop_assert_eq!(joined(&both, &c.0), joined(&a.0, &joined(&b.0, &c.0)));
        prop_assert_eq!(a.0.descends(&b.0), a.1.is_superset(&b.1));
        prop_assert_eq!(a.0.fingerprint() == b.0.fingerprint(), a.0 == b.0);
        prop_assert!(both.descends(&a.0) && both.descends(&b.0));
        prop_assert_eq!(PartitionClock::from_record(&both.to_record(3)), Ok((both, 3)));
    }

    #[test]
    fn clock_reader_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok((clock, at)) = PartitionClock::from_record(&bytes) {
            prop_assert_eq!(PartitionClock::from_record(&clock.to_record(at)), Ok((clock, at)));
        }
    }

    #[test]
    fn clock_survives_a_restart_after_any_turn(
        counters in prop::collection::vec((0_u64..3, 1_u64..400), 1..300),
        stop in any::<prop::sample::Index>(),
    ) {
        let mut disk = Disk::default();
        let mut partition = Partition::load(PartitionId::new(0), &disk.image).unwrap();
        let stop = stop.index(counters.len());
        for (at, (actor, counter)) in counters.into_iter().enumerate() {
            let mut item = Siblings::default();
            item.put(&Context::default(), version(dot(actor, counter), at as u128), ConflictPolicy::default());
            partition.record(&key("k"), &item);
            let mut batch = Batch::default();
            partition.seal(WallTime::from_millis(1000 + at as u64), &mut batch);
            disk.commit(&batch);
            if at == stop {
                break;
            }
        }
        let again = Partition::load(PartitionId::new(0), &disk.image).unwrap();
        prop_assert_eq!(again.clock(), partition.clock());
    }
}

#[test]
fn clocks_at_the_end_of_numbers_join_without_overflow() {
    let mut low = PartitionClock::default();
    let mut high = PartitionClock::default();
    low.add(dot(1, 1));
    for counter in [u64::MAX - 3, u64::MAX - 1, u64::MAX] {
        high.add(dot(1, counter));
    }
    assert!(low.join(&high) && low.descends(&high) && !high.descends(&low));
    assert!(high.join(&low) && high == low);
    let touching = {
        let mut record = low.to_record(1).to_vec();
        // The first run is made to begin right above the base.
        let at = 1 + 8 + 4 + 8 + 8 + 4;
        record[at..at + 8].copy_from_slice(&2_u64.to_be_bytes());
        record
    };
    assert!(PartitionClock::from_record(&touching).is_err(), "equal clocks have equal records");
}

#[test]
fn joined_and_forgotten_clocks_survive_a_restart() {
    let mut disk = Disk::default();
    let mut partition = Partition::load(PartitionId::new(0), &disk.image).unwrap();
    let mut item = Siblings::default();
    item.put(&Context::default(), version(dot(1, 1), 1), ConflictPolicy::default());
    let mut seal = |partition: &mut Partition| {
        let mut batch = Batch::default();
        partition.seal(WallTime::from_millis(1), &mut batch);
        disk.commit(&batch);
        let again = Partition::load(PartitionId::new(0), &disk.image).unwrap();
        assert_eq!(again.clock(), partition.clock());
        batch.mutations.len()
    };
    partition.record(&key("k"), &item);
    assert_eq!(seal(&mut partition), 1, "a log entry");
    let theirs = clock_of(&[(2, 1), (2, 2), (2, 5)].into());
    assert!(partition.join_clock(&theirs) && !partition.join_clock(&theirs));
    assert_eq!(seal(&mut partition), 1, "the clock, though nothing was stored");
    assert!(partition.clock().covers(dot(2, 5)) && partition.clock().covers(dot(1, 1)));
    partition.forget_clock();
    assert_eq!(seal(&mut partition), 1);
    assert_eq!(*partition.clock(), PartitionClock::default());
    assert_eq!(seal(&mut partition), 0, "nothing changed any more");
}

#[test]
fn actor_lives_no_longer_than_its_process() {
    let mut disk = Disk::default();
    let mut first = Partition::load(PartitionId::new(0), &disk.image).unwrap();
    let mut item = Siblings::default();
    let minted = first.mint(&item, || ActorId::new(11));
    assert_eq!(first.mint(&Siblings::default(), || unreachable!("one actor a process")), dot(11, 2));
    item.put(&Context::default(), version(minted, 1), ConflictPolicy::default());
    first.record(&key("k"), &item);
    let mut batch = Batch::default();
    first.seal(WallTime::from_millis(1), &mut batch);
    disk.commit(&batch);
    let mut second = Partition::load(PartitionId::new(0), &disk.image).unwrap();
    assert!(second.clock().covers(minted));
    assert_eq!(second.mint(&item, || ActorId::new(12)), dot(12, 1), "a restarted process draws a new actor");
}

/// A peer's copy claims a dot that this process's actor has not minted. To mint above it would be a guess, to mint
/// below it would let the peer's claim swallow the write: a new actor is drawn, and the process stays up.
#[test]
fn dot_is_never_minted_below_what_the_item_claims() {
    let mut partition = Partition::load(PartitionId::new(0), &PartitionImage::default()).unwrap();
    assert_eq!(partition.mint(&Siblings::default(), || ActorId::new(1)), dot(1, 1));
    let mut item = Siblings::default();
    item.put(&Context::default(), version(dot(1, 5), 1), ConflictPolicy::default());
    assert_eq!(partition.mint(&item, || ActorId::new(2)), dot(2, 1));
}

#[test]
#[should_panic(expected = "would be minted twice")]
fn same_actor_drawn_twice_is_not_survived() {
    let mut partition = Partition::load(PartitionId::new(0), &PartitionImage::default()).unwrap();
    let mut item = Siblings::default();
    item.put(&Context::default(), version(dot(1, 5), 1), ConflictPolicy::default());
    partition.mint(&item, || ActorId::new(1));
}

#[test]
fn retry_finds_its_write_in_the_log_until_the_window_ends() {
    let mut partition = Partition::load(PartitionId::new(0), &PartitionImage::default()).unwrap();
    let turn = |partition: &mut Partition, n: u64, wall: u64| {
        let mut item = Siblings::default();
        item.put(&Context::default(), version(dot(1, n), u128::from(n)), ConflictPolicy::default());
        partition.record(&key("k"), &item);
        let mut batch = Batch::default();
        partition.seal(WallTime::from_millis(wall), &mut batch);
    };
    turn(&mut partition, 1, 1000);
    assert_eq!(partition.find(WriteId::new(1), &key("k")), Some(dot(1, 1)));
    assert_eq!(partition.find(WriteId::new(1), &key("other")), None, "a write id names a write of one item");
    turn(&mut partition, 2, 1000 + RETRY_WINDOW_MS);
    assert_eq!(partition.find(WriteId::new(1), &key("k")), Some(dot(1, 1)));
    turn(&mut partition, 3, 1001 + RETRY_WINDOW_MS);
    assert_eq!(partition.find(WriteId::new(1), &key("k")), None);
    assert_eq!(partition.find(WriteId::new(3), &key("k")), Some(dot(1, 3)));
}

/// A write that two owners coordinated. The dots leave the log as their entries do, the first first.
#[test]
fn log_keeps_all_dots_of_a_write_until_each_is_trimmed() {
    let mut disk = Disk::default();
    let mut partition = Partition::load(PartitionId::new(0), &disk.image).unwrap();
    let store = |disk: &mut Disk, partition: &mut Partition, write_id: u128, at: Dot, wall: u64| {
        let mut item = Siblings::default();
        item.put(&Context::default(), version(at, write_id), ConflictPolicy::default());
        partition.record(&key("k"), &item);
        let mut batch = Batch::default();
        partition.seal(WallTime::from_millis(wall), &mut batch);
        disk.commit(&batch);
    };
    let dots = |partition: &Partition| partition.dots_of(WriteId::new(7), &key("k")).collect::<Vec<_>>();
    store(&mut disk, &mut partition, 7, dot(2, 1), 1000);
    store(&mut disk, &mut partition, 7, dot(1, 1), 2000);
    assert_eq!(dots(&partition), [dot(2, 1), dot(1, 1)]);
    assert_eq!(partition.find(WriteId::new(7), &key("k")), Some(dot(2, 1)), "the first stays its name");
    assert_eq!(dots(&Partition::load(PartitionId::new(0), &disk.image).unwrap()), [dot(2, 1), dot(1, 1)]);
    assert_eq!(partition.dots_of(WriteId::new(7), &key("other")).count(), 0);
    store(&mut disk, &mut partition, 8, dot(1, 2), 1001 + RETRY_WINDOW_MS);
    assert_eq!(dots(&partition), [dot(1, 1)]);
    store(&mut disk, &mut partition, 9, dot(1, 3), 2001 + RETRY_WINDOW_MS);
    assert!(dots(&partition).is_empty());
}

#[test]
fn log_stays_within_its_bytes_under_load() {
    let mut disk = Disk::default();
    let mut partition = Partition::load(PartitionId::new(0), &disk.image).unwrap();
    for n in 1..30_000_u64 {
        let mut item = Siblings::default();
        item.put(&Context::default(), version(dot(1, n), u128::from(n)), ConflictPolicy::default());
        partition.record(&key("k"), &item);
        if n % 4 == 0 {
            let mut batch = Batch::default();
            partition.seal(WallTime::from_millis(1000), &mut batch);
            disk.commit(&batch);
        }
    }
    let bytes: usize = disk.image.log.iter().map(|(_, record)| record.len()).sum();
    assert!(bytes <= LOG_BYTES_MAX + 1024, "{bytes}");
}

#[test]
fn copy_with_a_flipped_bit_is_unreadable() {
    let mut item = Siblings::default();
    item.put(&Context::default(), version(dot(1, 1), 1), ConflictPolicy::default());
    let record = item.to_record();
    assert_eq!(open_copy(&address("k"), &record), Ok(item));
    assert!(open_copy(&address("l"), &record).is_err(), "a copy under another address is no copy of it");
    for at in 0..record.len() {
        let mut damaged = record.to_vec();
        damaged[at] ^= 4;
        let opened = open_copy(&address("k"), &Bytes::from(damaged));
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn clock_covers_all_up_to_a_dot_only_without_a_gap() {
    let mut clock = PartitionClock::default();
    for n in [1, 2, 3, 5] {
        clock.add(dot(1, n));
    }
    assert!(clock.covers(dot(1, 5)) && clock.covers_up_to(dot(1, 3)));
    assert!(!clock.covers_up_to(dot(1, 5)), "dot 4 may still come");
    let past = |n: u64| {
        let mut past = VersionVector::new();
        past.add(dot(1, n));
        past
    };
    assert!(clock.covers_past(&past(3)) && !clock.covers_past(&past(5)) && clock.covers_past(&VersionVector::new()));
    clock.add(dot(1, 4));
    assert!(clock.covers_past(&past(5)));
}
