//! What becomes durable when, and what a failure does to it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::storage::family::FamilyName;
use crate::storage::{CloseError, CommitError, MetaError};

fn one(n: u64) -> Batch {
    batch(vec![put(0, &item_key("t", n, b""), b"v")])
}

#[test]
fn fsync_covers_what_was_committed_when_it_began_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let (entered_tx, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let armed = Arc::new(AtomicBool::new(false));
    let slow = Arc::clone(&armed);
    let sync = move |db: &rocksdb::DB| {
        if slow.load(Ordering::SeqCst) {
            entered_tx.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        super::super::database::sync_log(db)
    };
    let store = Store::open_with(options(home.path(), Durability::Sync), Arc::new(sync)).unwrap();
    let store = store.create_partitions(&[PartitionId::new(0)]).unwrap();
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    armed.store(true, Ordering::SeqCst);

    let first = storage.commit(&one(1)).unwrap();
    storage.request_sync(first);
    entered.recv_timeout(DEADLINE).unwrap();
    // The fsync is under way: two more come too late for it, and share the next one.
    let second = storage.commit(&one(2)).unwrap();
    storage.request_sync(second);
    let third = storage.commit(&one(3)).unwrap();
    storage.request_sync(third);
    assert!(first < second && second < third);
    release.send(()).unwrap();
    assert_eq!(next(&events), Event::Durable(first));
    entered.recv_timeout(DEADLINE).unwrap();
    release.send(()).unwrap();
    assert_eq!(next(&events), Event::Durable(third));
    // What is durable already costs no fsync.
    storage.request_sync(second);
    armed.store(false, Ordering::SeqCst);
    let fourth = storage.commit(&one(4)).unwrap();
    storage.request_sync(fourth);
    assert_eq!(next(&events), Event::Durable(fourth));
}

#[test]
fn every_shard_hears_of_its_commits_in_order() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Sync);
    let run = |partition: u16| {
        let (callbacks, events) = callbacks();
        let seat = store.shard_seat(callbacks);
        std::thread::spawn(move || {
            let mut storage = seat.storage();
            let (mut last, mut durable) = (0, 0);
            for n in 0..200 {
                let key = item_key("t", n, b"");
                let sequence = storage.commit(&batch(vec![put(partition, &key, b"v")])).unwrap();
                assert!(sequence > last);
                last = sequence;
                storage.request_sync(sequence);
            }
            while durable < last {
                let Event::Durable(sequence) = next(&events) else { unreachable!("no failure and no read here") };
                assert!(sequence > durable);
                durable = sequence;
            }
        })
    };
    let shards = [0, 1, 2].map(run);
    for shard in shards {
        shard.join().unwrap();
    }
    store.close().unwrap();
}

#[test]
fn interval_syncs_without_being_asked_and_os_only_when_asked() {
    for durability in [Durability::Interval, Durability::Os] {
        let home = tempfile::tempdir().unwrap();
        let syncs = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&syncs);
        let sync = move |_: &rocksdb::DB| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let store = Store::open_with(options(home.path(), durability), Arc::new(sync)).unwrap();
        let store = store.create_partitions(&[PartitionId::new(0)]).unwrap();
        let (callbacks, events) = callbacks();
        let seat = store.shard_seat(callbacks);
        let before = syncs.load(Ordering::SeqCst);
        let sequence = seat.storage().commit(&one(1)).unwrap();
        if durability == Durability::Interval {
            // A sync that was due for the records of the open may come first.
            while next(&events) != Event::Durable(sequence) {}
        } else {
            assert!(events.recv_timeout(Duration::from_millis(100)).is_err());
            assert_eq!(syncs.load(Ordering::SeqCst), before);
            seat.storage().request_sync(sequence);
            assert_eq!(next(&events), Event::Durable(sequence));
        }
    }
}

/// A user would have lost writes that were acknowledged: after a failed fsync the kernel has dropped the dirty pages,
/// and a second fsync succeeds without them.
#[test]
fn fsync_error_is_final() {
    let home = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU32::new(0));
    let (disk, count) = (Arc::clone(&broken), Arc::clone(&calls));
    let sync = move |db: &rocksdb::DB| {
        count.fetch_add(1, Ordering::SeqCst);
        if disk.load(Ordering::SeqCst) {
            return Err("input/output error".to_owned());
        }
        super::super::database::sync_log(db)
    };
    let store = Store::open_with(options(home.path(), Durability::Sync), Arc::new(sync)).unwrap();
    let mut store = store.create_partitions(&[PartitionId::new(0)]).unwrap();
    begin_boot(&mut store);
    let (callbacks, events) = callbacks();
    let (other_callbacks, other_events) = super::callbacks();
    let (seat, other) = (store.shard_seat(callbacks), store.shard_seat(other_callbacks));
    let mut storage = seat.storage();
    let first = storage.commit(&one(1)).unwrap();
    storage.request_sync(first);
    assert_eq!(next(&events), Event::Durable(first));
    assert_eq!(next(&other_events), Event::Durable(first));

    broken.store(true, Ordering::SeqCst);
    let second = storage.commit(&one(2)).unwrap();
    storage.request_sync(second);
    assert_eq!(next(&events), Event::Failed("input/output error".to_owned()));
    assert_eq!(next(&other_events), Event::Failed("input/output error".to_owned()));

    // The disk comes back, and nobody asks it: no commit, no fsync, no word of anything durable.
    broken.store(false, Ordering::SeqCst);
    let asked = calls.load(Ordering::SeqCst);
    let failed = Err(CommitError::Failed { message: "input/output error".to_owned() });
    assert_eq!(storage.commit(&one(3)), failed);
    assert_eq!(other.storage().commit(&one(3)), failed);
    storage.request_sync(second);
    assert!(matches!(store.meta().put_creation(b"x"), Err(MetaError::Failed { .. })));
    assert!(events.recv_timeout(Duration::from_millis(50)).is_err());
    drop(storage);
    drop((seat, other));
    assert!(matches!(store.close(), Err(CloseError::Meta { .. })));
    assert_eq!(calls.load(Ordering::SeqCst), asked);
    assert!(!begin_boot(&mut open(home.path(), Durability::Sync)).clean);
}

#[test]
fn failed_commit_is_final_for_every_shard() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let (other_callbacks, other_events) = super::callbacks();
    let (seat, other) = (store.shard_seat(callbacks), store.shard_seat(other_callbacks));
    let (mut storage, mut other) = (seat.storage(), other.storage());
    // The nearest thing to a broken disk that a test can have: RocksDB refuses a family that is gone.
    store.database.db().drop_cf("p0000").unwrap();
    let Err(CommitError::Failed { message }) = storage.commit(&one(1)) else { unreachable!("the family is gone") };
    assert_eq!(next(&events), Event::Failed(message.clone()));
    assert_eq!(next(&other_events), Event::Failed(message.clone()));
    let healthy = batch(vec![put(1, &item_key("t", 1, b""), b"v")]);
    assert_eq!(other.commit(&healthy), Err(CommitError::Failed { message }));
}

/// What a power loss leaves of a log: some of its tail is missing, in the middle of a record.
#[test]
fn torn_log_loses_only_its_tail() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let mut storage = seat.storage();
    for n in 0..20 {
        // Two partitions in each commit: all of it or nothing.
        let key = item_key("t", n, b"");
        storage.commit(&batch(vec![put(0, &key, b"v"), put(1, &key, b"v")])).unwrap();
    }
    drop(storage);
    drop(seat);
    drop(store);
    let entries = std::fs::read_dir(home.path().join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    let log = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();

    let store = open(home.path(), Durability::Os);
    let found = |partition: u16| {
        let handle = store.database.handle(FamilyName::Partition(PartitionId::new(partition))).unwrap();
        let there = |n: &u64| store.database.db().get_cf(&handle, item_key("t", *n, b"").as_bytes()).unwrap().is_some();
        (0..20).filter(there).collect::<Vec<_>>()
    };
    assert_eq!(found(0), (0..19).collect::<Vec<_>>());
    assert_eq!(found(1), found(0));
}

/// A user would have had a disk full of log files: each flush of a busy partition begins a new one, and a partition
/// that was written once keeps them all.
#[test]
fn idle_partition_is_flushed_after_a_minute() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    seat.storage().commit(&one(1)).unwrap();
    let database = &store.database;
    let unflushed = || {
        let handle = database.handle(FamilyName::Partition(PartitionId::new(0))).unwrap();
        database.db().property_int_value_cf(&handle, "rocksdb.num-entries-active-mem-table").unwrap()
    };
    assert!(unflushed() > Some(0));
    for _ in 0..240 {
        database.advance_tick();
    }
    wait_for("a flush", || unflushed() == Some(0));
    let family = database.family(FamilyName::Partition(PartitionId::new(0))).unwrap();
    assert_eq!(family.unflushed_since(), None);
}

#[test]
fn log_files_do_not_pile_up() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let mut storage = seat.storage();
    // Partition 1 is written once; partition 0 is flushed again and again.
    storage.commit(&batch(vec![put(1, &item_key("t", 1, b""), b"v")])).unwrap();
    let busy = store.database.family(FamilyName::Partition(PartitionId::new(0))).unwrap();
    for n in 0..60 {
        storage.commit(&one(n)).unwrap();
        super::super::flusher::flush(&store.database, &busy, true);
    }
    wait_for("fewer log files", || super::super::flusher::log_files(&store.database) < 32);
}

#[test]
fn family_names_have_one_spelling() {
    let partition = FamilyName::Partition(PartitionId::new(12));
    assert_eq!(FamilyName::parse("p0012"), Some(partition));
    assert_eq!(FamilyName::parse("p65535"), Some(FamilyName::Partition(PartitionId::new(65_535))));
    for name in ["p12", "p00012", "p+012", "p", "q0012", "p65536", "p-001", "default", ""] {
        assert_eq!(FamilyName::parse(name), None, "{name}");
    }
}
