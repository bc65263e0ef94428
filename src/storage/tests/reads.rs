//! Reads that need the disk, scans, and a disk that lies.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::protocol::replica::{Lookup, PartitionImage, ReadError, ReadId, ScanPage, ScanRange, Storage};
use crate::storage::family::FamilyName;
use crate::storage::flusher;
use crate::storage::pool::JOBS_MAX;
use crate::storage::scan::{PAGE_KEYS_MAX, SKIPPED_MAX};
use crate::storage::{Rebuilt, ShardStorage};

const ZERO: PartitionId = PartitionId::new(0);

/// Reads, from wherever.
fn read(storage: &mut ShardStorage<'_>, events: &Receiver<Event>, key: &ItemKey) -> Result<Option<Bytes>, ReadError> {
    match storage.read(ReadId::new(77), ZERO, key) {
        Lookup::Ready(result) => result,
        Lookup::Pending => match next(events) {
            Event::Completed(ReadCompletion::Read { id, result }) => {
                assert_eq!(id, ReadId::new(77));
                result
            }
            other => unreachable!("{other:?} for a read"),
        },
    }
}

fn scan(storage: &mut ShardStorage<'_>, events: &Receiver<Event>, range: ScanRange) -> ScanPage {
    storage.scan(ReadId::new(5), ZERO, range);
    match next(events) {
        Event::Completed(ReadCompletion::Scan { id, result }) => {
            assert_eq!(id, ReadId::new(5));
            result.unwrap()
        }
        other => unreachable!("{other:?} for a scan"),
    }
}

#[test]
fn what_was_just_written_is_ready() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let mut storage = seat.storage();
    let key = item_key("t", 1, b"");
    assert_eq!(storage.read(ReadId::new(1), ZERO, &key), Lookup::Ready(Ok(None)));
    storage.commit(&batch(vec![put(0, &key, b"v")])).unwrap();
    assert_eq!(storage.read(ReadId::new(2), ZERO, &key), Lookup::Ready(Ok(Some(Bytes::from_static(b"v")))));
}

/// Else an item in memory would hide that its record on the disk has rotted, until it leaves memory.
#[test]
fn memory_that_is_distrusted_is_emptied_and_reads_meet_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let key = close_with_200_items(home.path()).pop().unwrap();
    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    storage.commit(&batch(vec![put(0, &key, b"newer")])).unwrap();
    assert_eq!(read(&mut storage, &events, &key).unwrap().as_deref(), Some(&b"newer"[..]));
    // Behind its back, as rot comes.
    let handle = store.database.handle(FamilyName::Partition(ZERO)).unwrap();
    store.database.db().put_cf(&handle, key.as_bytes(), b"rot").unwrap();
    assert_eq!(read(&mut storage, &events, &key).unwrap().as_deref(), Some(&b"newer"[..]));
    storage.distrust_memory();
    assert_eq!(storage.item_numbers().bytes, 0);
    assert_eq!(read(&mut storage, &events, &key).unwrap().as_deref(), Some(&b"rot"[..]));
}

#[test]
fn read_that_misses_the_cache_comes_through_the_pool_and_is_cached() {
    let home = tempfile::tempdir().unwrap();
    // The last one: the first shares a block with the format record, which the open has read.
    let key = close_with_200_items(home.path()).pop().unwrap();
    let value = noise(199, 1024);
    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    assert_eq!(storage.read(ReadId::new(1), ZERO, &key), Lookup::Pending);
    let found = Event::Completed(ReadCompletion::Read { id: ReadId::new(1), result: Ok(Some(value.clone().into())) });
    assert_eq!(next(&events), found);
    assert_eq!(storage.read(ReadId::new(2), ZERO, &key), Lookup::Ready(Ok(Some(value.into()))));
}

/// A replica would have reported "not found" for an item that it cannot read, and a read quorum would have lost it.
#[test]
fn damaged_table_file_is_an_error_and_never_absent() {
    let home = tempfile::tempdir().unwrap();
    let keys = close_with_200_items(home.path());
    damage_largest_table(home.path(), 100_000);

    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    // Twice: what the first read left in the cache must not hide it.
    for _ in 0..2 {
        let mut unreadable = 0;
        for (n, key) in (0..).zip(&keys) {
            match read(&mut storage, &events, key) {
                Ok(found) => assert_eq!(found, Some(noise(n, 1024).into()), "item {n}"),
                Err(error) => {
                    assert!(error.0.contains("Corruption"), "{error}");
                    unreadable += 1;
                }
            }
        }
        assert!((1..=16).contains(&unreadable), "{unreadable}: a block or two");
    }
    // A scan over it does not end early as if there were no more.
    storage.scan(ReadId::new(5), ZERO, ScanRange { table: Bytes::new(), after: None, limit: 1000 });
    let Event::Completed(ReadCompletion::Scan { result, .. }) = next(&events) else { unreachable!("a scan's page") };
    assert!(result.is_err(), "{result:?}");
}

#[test]
fn damaged_format_record_of_a_partition_is_rebuilt_with_the_rest() {
    let home = tempfile::tempdir().unwrap();
    close_with_200_items(home.path());
    // The format record is in the first block.
    damage_largest_table(home.path(), 1000);
    let store = Store::open(options(home.path(), Durability::Os)).unwrap();
    let rebuilt = store.rebuilt().unwrap();
    assert!(
        matches!(rebuilt.as_slice(), [Rebuilt { partition: Some(ZERO), kept: 180..200, gaps: 1.. }]),
        "{rebuilt:?}"
    );
    drop(store);
    Store::open(options(home.path(), Durability::Os)).unwrap();
}

/// Leaves 200 KiB in one table file of partition 0.
fn close_with_200_items(home: &Path) -> Vec<ItemKey> {
    let keys: Vec<_> = (0..200).map(|n| item_key("t", n, b"")).collect();
    let store = open(home, Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let puts = keys.iter().zip(0..).map(|(key, n)| put(0, key, &noise(n, 1024))).collect();
    seat.storage().commit(&batch(puts)).unwrap();
    drop(seat);
    store.close().unwrap();
    keys
}

/// Flips bits of a hundred bytes.
fn damage_largest_table(home: &Path, at: usize) {
    let path = largest_table(home);
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[at..at + 100] {
        *byte ^= 0x55;
    }
    fs::write(&path, bytes).unwrap();
}

fn largest_table(home: &Path) -> PathBuf {
    let files = fs::read_dir(home.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn scan_of_a_rare_table_finds_all_of_it_and_always_advances() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    // Hash order: 2 rare ones, a gap of 2.5 steps, a rare one, a gap, a rare one; then a tail without any.
    let rare = [0, 1, 10_400, 15_000].map(|hash| item_key("rare", hash, b""));
    let tail = 15_000 + 2 * u64::try_from(SKIPPED_MAX).unwrap();
    let common: Vec<_> = (2..tail).map(|hash| put(0, &item_key("common", hash, b""), b"")).collect();
    storage.commit(&batch(common)).unwrap();
    storage.commit(&batch(rare.iter().map(|key| put(0, key, b"")).collect())).unwrap();
    // Other kinds are not items.
    let clock = Mutation { partition: ZERO, key: Bytes::from_static(&[2]), value: Some(Bytes::new()) };
    storage.commit(&batch(vec![clock])).unwrap();

    for limit in [0, 1, 2, 3, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let table = Bytes::from_static(b"rare");
            let page = scan(&mut storage, &events, ScanRange { table, after: after.clone(), limit });
            assert!(page.keys.len() <= limit.max(1));
            assert!(!page.more || !page.keys.is_empty(), "an empty page with more would go round for ever");
            found.extend(page.keys.iter().cloned());
            after = page.keys.last().map(|key| ItemKey::from_bytes(key.clone()).unwrap());
            if !page.more {
                break;
            }
        }
        let expected: Vec<_> = rare.iter().map(|key| key.as_bytes().clone()).collect();
        assert_eq!(found, expected, "limit {limit}");
    }
    let all = scan(&mut storage, &events, ScanRange { table: Bytes::new(), after: None, limit: usize::MAX });
    assert_eq!((all.keys.len(), all.more), (PAGE_KEYS_MAX, true));
    let none = scan(&mut storage, &events, ScanRange { table: Bytes::from_static(b"rar"), after: None, limit: 9 });
    assert_eq!(none, ScanPage { keys: Vec::new(), more: false }, "a prefix of a table's name is another table");
}

/// All items of a key are in one bucket of the memtable, which turns from a list into a skip list on the way.
#[test]
fn many_sort_keys_of_one_key_are_found_and_in_order_beside_others() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions { item_cache_bytes: 0, ..options(home.path(), Durability::Os) }).unwrap();
    let store = store.create_partitions(&[ZERO]).unwrap();
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    let wide = |n: u64| item_key("t", 7, &(n * 7919 % 1000).to_be_bytes());
    let other = |n: u64| item_key("t", 1000 * n, b"");
    for generation in [b"1", b"2"] {
        for n in 0..1000 {
            storage.commit(&batch(vec![put(0, &wide(n), generation), put(0, &other(n), generation)])).unwrap();
        }
    }
    let mut expected: Vec<Bytes> = (0..1000).flat_map(|n| [wide(n), other(n)]).map(|k| k.as_bytes().clone()).collect();
    expected.sort_unstable();
    for place in ["the memtable", "a table file"] {
        for n in 0..1000 {
            for key in [wide(n), other(n)] {
                assert_eq!(read(&mut storage, &events, &key).unwrap().as_deref(), Some(&b"2"[..]), "in {place}");
            }
        }
        let all = scan(&mut storage, &events, ScanRange { table: Bytes::new(), after: None, limit: usize::MAX });
        assert!(all.keys == expected, "in {place}: {} keys, in order or not", all.keys.len());
        let rest = ScanRange { table: Bytes::new(), after: ItemKey::from_bytes(expected[700].clone()), limit: 500 };
        assert_eq!(scan(&mut storage, &events, rest).keys, expected[701..1201], "in {place}");
        flusher::flush(&store.database, &store.database.family(FamilyName::Partition(ZERO)).unwrap(), true);
    }
}

#[test]
fn large_memtable_is_flushed_when_it_is_listed_and_a_small_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    let unflushed = || {
        let handle = store.database.handle(FamilyName::Partition(ZERO)).unwrap();
        store.database.db().property_int_value_cf(&handle, "rocksdb.num-entries-active-mem-table").unwrap().unwrap()
    };
    let all = || ScanRange { table: Bytes::new(), after: None, limit: usize::MAX };
    storage.commit(&batch((0..10).map(|n| put(0, &item_key("t", n, b""), b"small")).collect())).unwrap();
    assert_eq!(scan(&mut storage, &events, all()).keys.len(), 10);
    let few = unflushed();
    assert!(few >= 10, "{few} entries stay");
    storage.commit(&batch((10..1000).map(|n| put(0, &item_key("t", n, b""), &noise(n, 1000))).collect())).unwrap();
    assert_eq!(scan(&mut storage, &events, all()).keys.len(), 1000, "whether it is flushed or not");
    wait_for("the memtable is flushed", || unflushed() == 0);
    assert_eq!(scan(&mut storage, &events, all()).keys.len(), 1000);
}

#[test]
fn load_gives_clock_and_log_by_rising_sequence() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let mut storage = seat.storage();
    assert_eq!(storage.load(ZERO), Ok(PartitionImage::default()));
    let record = |key: Vec<u8>, value: &'static [u8]| Mutation {
        partition: ZERO,
        key: key.into(),
        value: Some(Bytes::from_static(value)),
    };
    let entry = |sequence: u64, value| record([&[3][..], &sequence.to_be_bytes()].concat(), value);
    let mutations = vec![entry(256, b"c"), entry(1, b"a"), entry(255, b"b"), record(vec![2], b"clock")];
    storage.commit(&batch(mutations)).unwrap();
    storage.commit(&batch(vec![put(0, &item_key("t", 1, b""), b"v"), record(vec![4, 0], b"tree")])).unwrap();
    let image = storage.load(ZERO).unwrap();
    assert_eq!(image.clock, Some(Bytes::from_static(b"clock")));
    let log = [(1, &b"a"[..]), (255, b"b"), (256, b"c")].map(|(n, entry)| (n, Bytes::from_static(entry)));
    assert_eq!(image.log, log);
    storage.commit(&batch(vec![record(vec![3, 1], b"short")])).unwrap();
    assert!(storage.load(ZERO).is_err(), "a key that is none of ours is damage");
}

#[test]
fn full_queue_answers_unknown_and_blocks_nobody() {
    let home = tempfile::tempdir().unwrap();
    let key = close_with_200_items(home.path()).pop().unwrap();
    let store = Store::open(StoreOptions { read_threads: 1, ..options(home.path(), Durability::Os) }).unwrap();
    let (callbacks, events) = callbacks();
    // The only thread of the pool waits in the callback until the test has filled the queue.
    let (entered_tx, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (released, forward) = (Mutex::new(released), Arc::clone(&callbacks.completed));
    let completed = move |completion: ReadCompletion| {
        if matches!(completion, ReadCompletion::Scan { id, .. } if id == ReadId::new(0)) {
            entered_tx.send(()).unwrap();
            // An error when the test failed meanwhile: nobody waits then.
            released.lock().unwrap().recv().unwrap_or_default();
        }
        forward(completion);
    };
    let seat = store.shard_seat(ShardCallbacks { completed: Arc::new(completed), ..callbacks });
    let mut storage = seat.storage();
    let range = ScanRange { table: Bytes::new(), after: None, limit: 1 };
    storage.scan(ReadId::new(0), ZERO, range.clone());
    entered.recv_timeout(DEADLINE).unwrap();
    for n in 1..=u64::try_from(JOBS_MAX).unwrap() {
        assert_eq!(storage.read(ReadId::new(n), ZERO, &key), Lookup::Pending);
    }
    let Lookup::Ready(Err(error)) = storage.read(ReadId::new(9999), ZERO, &key) else {
        unreachable!("the queue is full")
    };
    assert!(error.0.contains("1024 reads wait"), "{error}");
    storage.scan(ReadId::new(9999), ZERO, range);
    let refused = next(&events);
    assert!(matches!(&refused, Event::Completed(ReadCompletion::Scan { result: Err(_), .. })), "{refused:?}");
    release.send(()).unwrap();
    for _ in 0..=JOBS_MAX {
        assert!(matches!(
            next(&events),
            Event::Completed(
                ReadCompletion::Read { result: Ok(Some(_)), .. } | ReadCompletion::Scan { result: Ok(_), .. }
            )
        ));
    }
}
