//! Rot: table files of which some bytes are not what was written. What RocksDB makes of it, and what we make of that.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rocksdb::properties::BACKGROUND_ERRORS;
use rocksdb::{DB, FlushOptions, Options};

use super::*;
use crate::protocol::replica::{Lookup, PartitionImage, ReadId, Storage};
use crate::storage::family::FamilyName;
use crate::storage::rebuild::{Rebuild, Rebuilt};
use crate::storage::tuning::Tuning;

const ZERO: PartitionId = PartitionId::new(0);
const ITEMS: u64 = 3000;

/// Bytes that are overwritten.
const ROT: [u8; 100] = [0xA5; 100];

/// Hashes spread over the whole space, as real ones are.
fn key(n: u64) -> ItemKey {
    item_key("t", xxhash_rust::xxh3::xxh3_64(&n.to_be_bytes()), b"")
}

fn value(n: u64, generation: u64) -> Vec<u8> {
    [&generation.to_be_bytes()[..], &noise(n * 1000 + generation, 500)].concat()
}

fn generation_of(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.get(..8).unwrap().try_into().unwrap())
}

/// Puts items and flushes them into a table file of their own.
fn write(store: &Store, partition: u16, items: impl Iterator<Item = u64>, generation: u64) {
    let seat = store.shard_seat(callbacks().0);
    let puts = items.map(|n| put(partition, &key(n), &value(n, generation))).collect();
    seat.storage().commit(&batch(puts)).unwrap();
    flush(store, partition);
}

fn flush(store: &Store, partition: u16) {
    let handle = store.database.handle(FamilyName::Partition(PartitionId::new(partition))).unwrap();
    let mut options = FlushOptions::default();
    options.set_wait(true);
    store.database.db().flush_cf_opt(&handle, &options).unwrap();
}

/// The newest table file of partition 0.
fn newest_table(store: &Store) -> PathBuf {
    let files = store.database.db().live_files().unwrap();
    let mut files: Vec<_> = files.into_iter().filter(|file| file.column_family_name == "p0000").collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    store.database.db().path().join(files.last().unwrap().name.trim_start_matches('/'))
}

fn rot(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes.get_mut(at..at + ROT.len()).unwrap().copy_from_slice(&ROT);
    fs::write(file, bytes).unwrap();
}

/// A closed directory: generation 1 of all items at the bottom, generation 2 of the even ones in one file above, whose
/// name it is; a clock and a log entry; and other partitions.
fn two_generations(home: &Path) -> PathBuf {
    let store = open(home, Durability::Os);
    write(&store, 0, 0..ITEMS, 1);
    write(&store, 1, 0..100, 1);
    let handle = store.database.handle(FamilyName::Partition(ZERO)).unwrap();
    store.database.db().compact_range_cf(&handle, None::<&[u8]>, None::<&[u8]>);
    drop(handle);
    let record = |key: Vec<u8>| Mutation { partition: ZERO, key: key.into(), value: Some(Bytes::from_static(b"r")) };
    let seat = store.shard_seat(callbacks().0);
    let log = [&[3][..], &1_u64.to_be_bytes()].concat();
    seat.storage().commit(&batch(vec![record(vec![2]), record(log)])).unwrap();
    drop(seat);
    write(&store, 0, (0..ITEMS).step_by(2), 2);
    let file = newest_table(&store);
    store.close().unwrap();
    file
}

/// What each item of partition 0 is, by its generation; an error is unreadable.
fn read_all(store: &Store) -> BTreeMap<u64, Result<Option<u64>, String>> {
    let (callbacks, events) = callbacks();
    let seat = store.shard_seat(callbacks);
    let mut storage = seat.storage();
    let mut read = |n| match storage.read(ReadId::new(n), ZERO, &key(n)) {
        Lookup::Ready(result) => result,
        Lookup::Pending => match next(&events) {
            Event::Completed(ReadCompletion::Read { result, .. }) => result,
            other => unreachable!("{other:?} for a read"),
        },
    };
    let generation = |found: Option<Bytes>| found.map(|value| generation_of(&value));
    (0..ITEMS).map(|n| (n, read(n).map(generation).map_err(|error| error.to_string()))).collect()
}

fn newest(n: u64) -> u64 {
    if n.is_multiple_of(2) { 2 } else { 1 }
}

/// Opens, reads all, and closes without a rebuild having been necessary: the damage is noted.
fn damage_is_met(home: &Path) -> usize {
    let store = open(home, Durability::Os);
    let found = read_all(&store);
    let mut unreadable = 0;
    for (n, found) in &found {
        match found {
            Ok(found) => assert_eq!(*found, Some(newest(*n)), "item {n}"),
            Err(_) => unreadable += 1,
        }
    }
    assert!(unreadable > 0, "the damage is somewhere");
    assert_eq!(store.damaged(), 1);
    wait_for("the damage is on record", || store.meta().record("damaged").unwrap().is_some());
    // Whatever else is there goes on, and so does the partition itself.
    write(&store, 0, ITEMS..ITEMS + 10, 1);
    write(&store, 1, 0..10, 2);
    store.close().unwrap();
    unreadable
}

/// After a rebuild: the newest of each item, or nothing. Says how many are gone.
fn newest_or_gone(store: &Store) -> usize {
    let mut gone = 0;
    for (n, found) in read_all(store) {
        match found {
            Ok(None) => gone += 1,
            Ok(Some(generation)) => assert_eq!(generation, newest(n), "item {n} went back in time"),
            Err(error) => unreachable!("item {n} is unreadable after a rebuild: {error}"),
        }
    }
    gone
}

#[test]
fn paranoid_database_writes_nothing_more_once_a_compaction_met_damage() {
    // What RocksDB does by default, and why ours is set up otherwise.
    for paranoid in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(paranoid);
        options.set_disable_auto_compactions(true);
        let db = DB::open(&options, home.path()).unwrap();
        for generation in 0..2_u64 {
            for n in 0..500 {
                db.put(key(n).as_bytes(), value(n, generation)).unwrap();
            }
            db.flush().unwrap();
        }
        let file = db.live_files().unwrap().remove(0);
        rot(&home.path().join(file.name.trim_start_matches('/')), 20_000);
        db.compact_range(None::<&[u8]>, None::<&[u8]>);
        let errors = db.property_int_value(BACKGROUND_ERRORS).unwrap().unwrap();
        let write = db.put(b"another", b"write");
        println!("paranoid {paranoid}: {errors} background errors; the next write: {write:?}");
        assert_eq!(write.is_err(), paranoid, "{write:?}");
    }
}

#[test]
fn damaged_data_block_is_rebuilt_around_and_no_older_version_surfaces() {
    let home = tempfile::tempdir().unwrap();
    let file = two_generations(home.path());
    rot(&file, 300_000);
    let unreadable = damage_is_met(home.path());

    let store = open(home.path(), Durability::Os);
    let rebuilt = store.rebuilt().unwrap();
    let [Rebuilt { partition: Some(ZERO), kept, gaps }] = rebuilt.as_slice() else { unreachable!("{rebuilt:?}") };
    let gone = newest_or_gone(&store);
    println!("{unreadable} of {ITEMS} items unreadable; {kept} kept, {gaps} gaps, {gone} gone after the rebuild");
    assert_eq!(u64::try_from(gone).unwrap() + kept, ITEMS + 10);
    // The damaged block hides its own items, and those of lower levels that lie between them.
    assert!(gone >= unreadable && gone <= 4 * unreadable + 4, "{gone} gone for {unreadable}");
    assert!(*gaps >= 1);
    // The clock knows dots whose items are gone: with it, exchanges would refuse to bring them back.
    let seat = store.shard_seat(callbacks().0);
    assert_eq!(seat.storage().load(ZERO).unwrap(), PartitionImage::default());
    drop(seat);
    let aside = home.path().join("quarantine/p0000").join(file.file_name().unwrap());
    assert!(aside.exists(), "{} is set aside", aside.display());
    assert!(home.path().join("quarantine/p0000/reasons.txt").exists());
    assert_eq!(store.damaged(), 0);
    store.close().unwrap();

    // The report stays until it is taken note of; nothing is rebuilt again.
    let store = open(home.path(), Durability::Os);
    assert_eq!(store.rebuilt().unwrap(), rebuilt);
    store.forget_rebuilt().unwrap();
    drop(store);
    let store = open(home.path(), Durability::Os);
    assert_eq!(store.rebuilt().unwrap(), []);
    assert_eq!(newest_or_gone(&store), gone);
    // And what an exchange brings back stays.
    write(&store, 0, 0..ITEMS, 3);
    store.close().unwrap();
    let store = open(home.path(), Durability::Os);
    assert!(read_all(&store).values().all(|found| *found == Ok(Some(3))));
}

/// Where the rot is in a file of so many bytes; `None` for a file that is gone.
type Place = fn(usize) -> Option<usize>;

#[test]
fn damage_is_survived_wherever_in_the_file_it_is() {
    // First block, index and filters, footer; and a file that is gone.
    let places: [(&str, Place); 5] = [
        ("the first block", |_| Some(100)),
        ("the filter or the index", |length| Some(length - 3_000)),
        ("the properties", |length| Some(length - 700)),
        ("the footer", |length| Some(length - ROT.len())),
        ("all of it", |_| None),
    ];
    for (what, place) in places {
        let home = tempfile::tempdir().unwrap();
        let file = two_generations(home.path());
        match place(usize::try_from(fs::metadata(&file).unwrap().len()).unwrap()) {
            Some(at) => rot(&file, at),
            None => fs::remove_file(&file).unwrap(),
        }
        // It opens, reads all that it can, and never something old.
        let store = open(home.path(), Durability::Os);
        let early = store.rebuilt().unwrap();
        if early.is_empty() {
            for (n, found) in read_all(&store) {
                assert!(matches!(found, Err(_) | Ok(Some(_))), "{what}: item {n}: {found:?}");
                assert!(found.is_err() || found == Ok(Some(newest(n))), "{what}: item {n}: {found:?}");
            }
            if store.damaged() > 0 {
                wait_for("the damage is on record", || store.meta().record("damaged").unwrap().is_some());
            }
        }
        store.close().unwrap();
        let store = open(home.path(), Durability::Os);
        let gone = newest_or_gone(&store);
        println!("{what}: {early:?} at the first open, then {:?}; {gone} of {ITEMS} gone", store.rebuilt().unwrap());
        write(&store, 0, 0..ITEMS, 3);
        assert!(read_all(&store).values().all(|found| *found == Ok(Some(3))), "{what}");
    }
}

/// Opens without the record of damage, so that nothing is rebuilt.
fn open_as_it_is(home: &Path) -> Store {
    let database = home.join("rocksdb");
    let tuning = Tuning::new(&options(home, Durability::Os));
    let names = DB::list_cf(&tuning.database(), &database).unwrap();
    let all = tuning.families();
    let of = |name: &String| FamilyName::parse(name).unwrap_or(FamilyName::Meta);
    let families = names.iter().map(|name| rocksdb::ColumnFamilyDescriptor::new(name, all.of(of(name)).clone()));
    let db = DB::open_cf_descriptors(&tuning.database(), &database, families).unwrap();
    let meta = db.cf_handle("meta").unwrap();
    db.delete_cf(&meta, "damaged").unwrap();
    drop(meta);
    drop(db);
    open(home, Durability::Os)
}

#[test]
fn block_that_rots_while_the_family_is_copied_takes_no_other_with_it() {
    let home = tempfile::tempdir().unwrap();
    let file = two_generations(home.path());
    let store = open(home.path(), Durability::Os);
    let families = Tuning::new(&options(home.path(), Durability::Os)).families();
    let rebuild = Rebuild::new(&store.database, home.path(), &families);
    let name = FamilyName::Partition(ZERO);
    let found = rebuild.find(name).unwrap();
    rot(&file, 300_000);
    let staged = rebuild.stage_found(name, found).unwrap();
    assert!(staged.gaps > 0 && staged.kept < ITEMS, "the damage was met: {staged:?}");
    rebuild.swap(name).unwrap();
    drop(store);
    let store = open(home.path(), Durability::Os);
    let gone = newest_or_gone(&store);
    println!("{staged:?}; {gone} of {ITEMS} gone");
    // One block, and what lies between its items in the level below: not the half of the partition after it.
    assert!(gone > 0 && gone < 200, "{gone} gone");
    let seat = store.shard_seat(callbacks().0);
    assert_eq!(seat.storage().load(ZERO).unwrap(), PartitionImage::default(), "no clock over a gap");
}

#[test]
fn rebuild_that_was_cut_off_goes_on_at_the_next_open() {
    for steps in [1, 2] {
        let home = tempfile::tempdir().unwrap();
        let file = two_generations(home.path());
        rot(&file, 300_000);
        damage_is_met(home.path());
        // As an open does, up to a crash.
        let store = open_as_it_is(home.path());
        let families = Tuning::new(&options(home.path(), Durability::Os)).families();
        let rebuild = Rebuild::new(&store.database, home.path(), &families);
        let name = FamilyName::Partition(ZERO);
        let staged = rebuild.stage(name).unwrap();
        if steps > 1 {
            rebuild.swap(name).unwrap();
        }
        drop(store);
        let store = open(home.path(), Durability::Os);
        assert_eq!(store.rebuilt().unwrap(), [staged], "after {steps} steps");
        let gone = newest_or_gone(&store);
        assert_eq!(u64::try_from(gone).unwrap() + staged.kept, ITEMS + 10);
        assert!(!home.path().join("rebuild/p0000").exists());
    }
}

#[test]
fn damage_that_only_a_compaction_meets_is_found_and_stops_nobody() {
    let home = tempfile::tempdir().unwrap();
    let file = two_generations(home.path());
    rot(&file, 300_000);
    let store = open(home.path(), Durability::Os);
    let handle = store.database.handle(FamilyName::Partition(ZERO)).unwrap();
    store.database.db().compact_range_cf(&handle, None::<&[u8]>, None::<&[u8]>);
    drop(handle);
    write(&store, 1, 0..10, 2);
    wait_for("the family is found", || store.damaged() == 1);
    wait_for("the damage is on record", || store.meta().record("damaged").unwrap().is_some());
    assert_eq!(store.database.check(), Ok(()), "the disk has not failed");
    drop(store);
    let store = open(home.path(), Durability::Os);
    let rebuilt = store.rebuilt().unwrap();
    assert!(matches!(rebuilt.as_slice(), [Rebuilt { partition: Some(ZERO), gaps: 1.., .. }]), "{rebuilt:?}");
}

#[test]
fn family_that_was_noted_and_is_whole_keeps_everything() {
    let home = tempfile::tempdir().unwrap();
    two_generations(home.path());
    let store = open(home.path(), Durability::Os);
    store.meta().put_record("damaged", b"p0000\n").unwrap();
    store.close().unwrap();
    let store = open(home.path(), Durability::Os);
    assert_eq!(store.rebuilt().unwrap(), [Rebuilt { partition: Some(ZERO), kept: ITEMS, gaps: 0 }]);
    assert_eq!(newest_or_gone(&store), 0);
    let seat = store.shard_seat(callbacks().0);
    let image = seat.storage().load(ZERO).unwrap();
    assert!(image.clock.is_some() && image.log.len() == 1, "nothing is missing, so the clock is true: {image:?}");
}
