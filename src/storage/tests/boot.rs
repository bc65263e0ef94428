//! Opening, locking, booting, closing.

use std::os::unix::fs::PermissionsExt;

use rocksdb::WriteBatch;

use super::*;
use crate::protocol::replica::{Lookup, ReadId, Storage};
use crate::protocol::types::BootGeneration;
use crate::storage::family::{FORMAT_KEY, FamilyName};
use crate::storage::{BootError, CloseError, CommitError, DiskIdentity, OpenError};

#[test]
fn directory_is_made_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a/b");
    let store = open(&path, Durability::Os);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(store.partitions(), [0, 1, 2, 3].map(PartitionId::new));
}

#[test]
fn second_open_of_a_directory_is_refused_and_names_the_holder() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let error = Store::open(options(home.path(), Durability::Os)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&home.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(store);
    drop(Store::open(options(home.path(), Durability::Os)).unwrap());
}

#[test]
fn directory_stays_locked_while_partitions_are_created() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let store = store.create_partitions(&[PartitionId::new(9)]).unwrap();
    assert!(matches!(Store::open(options(home.path(), Durability::Os)), Err(OpenError::InUse { .. })));
    assert_eq!(store.partitions(), [0, 1, 2, 3, 9].map(PartitionId::new));
    // Again: nothing to do.
    let store = store.create_partitions(&[PartitionId::new(9)]).unwrap();
    assert_eq!(store.partitions().len(), 5);
}

#[test]
fn generation_grows_with_each_boot_and_the_disk_keeps_its_name() {
    let home = tempfile::tempdir().unwrap();
    for generation in 1..=4 {
        let mut store = open(home.path(), Durability::Os);
        let boot = store.begin_boot(NodeId::new(1), ClusterId::new(2), DiskId::new(100 + generation)).unwrap();
        assert_eq!(boot.generation, BootGeneration::new(u64::try_from(generation).unwrap()));
        assert_eq!(boot.disk, DiskId::new(101), "minted at the first boot");
        assert_eq!(boot.fresh, generation == 1);
        assert_eq!(boot.same_kernel_boot, generation > 1);
        let identity = DiskIdentity { disk: DiskId::new(101), node: NodeId::new(1), cluster: ClusterId::new(2) };
        assert_eq!(store.meta().identity().unwrap(), Some(identity));
        if generation % 2 == 0 {
            store.close().unwrap();
        }
    }
}

#[test]
fn boot_tells_how_the_one_before_it_ended() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path(), Durability::Os);
    assert!(begin_boot(&mut store).clean, "nothing is missing from a fresh directory");
    drop(store);

    let mut store = open(home.path(), Durability::Os);
    assert!(!begin_boot(&mut store).clean, "dropped, not closed");
    store.close().unwrap();

    let mut store = open(home.path(), Durability::Os);
    assert!(begin_boot(&mut store).clean);
    // The marker is not left lying about for a boot that ends badly.
    drop(store);
    let mut store = open(home.path(), Durability::Os);
    assert!(!begin_boot(&mut store).clean);
}

#[test]
fn tool_that_does_not_boot_keeps_the_verdict() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path(), Durability::Os);
    begin_boot(&mut store);
    drop(store);
    // Opened and closed without a boot after an unclean stop, and after a clean one.
    open(home.path(), Durability::Os).close().unwrap();
    let mut store = open(home.path(), Durability::Os);
    assert!(!begin_boot(&mut store).clean);
    store.close().unwrap();
    open(home.path(), Durability::Os).close().unwrap();
    let mut store = open(home.path(), Durability::Os);
    assert!(begin_boot(&mut store).clean);
}

#[test]
fn directory_of_another_node_or_cluster_is_refused_with_both_ids() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path(), Durability::Os);
    begin_boot(&mut store);
    store.close().unwrap();

    let mut store = open(home.path(), Durability::Os);
    let error = store.begin_boot(NodeId::new(9), ClusterId::new(2), DiskId::new(3)).unwrap_err();
    assert!(matches!(error, BootError::ForeignNode { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&NodeId::new(9).to_string()) && text.contains(&NodeId::new(1).to_string()), "{text}");

    let error = store.begin_boot(NodeId::new(1), ClusterId::new(8), DiskId::new(3)).unwrap_err();
    assert!(matches!(error, BootError::ForeignCluster { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&ClusterId::new(8).to_string()) && text.contains(&ClusterId::new(2).to_string()), "{text}");

    // Neither counted.
    assert_eq!(begin_boot(&mut store).generation, BootGeneration::new(2));
}

#[test]
fn records_of_the_node_survive() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    assert_eq!(store.meta().creation().unwrap(), None);
    store.meta().put_creation(b"created").unwrap();
    store.meta().put_record("roster", b"all").unwrap();
    drop(store);
    let store = open(home.path(), Durability::Os);
    assert_eq!(store.meta().creation().unwrap(), Some(Bytes::from_static(b"created")));
    assert_eq!(store.meta().record("roster").unwrap(), Some(Bytes::from_static(b"all")));
}

#[test]
fn unknown_format_is_refused_with_both_formats() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    rewrite_format(&store, Some(&2_u16.to_be_bytes()));
    drop(store);
    let error = Store::open(options(home.path(), Durability::Os)).unwrap_err();
    assert!(matches!(error, OpenError::FormatUnknown { found: 2, .. }), "{error}");
    let text = error.to_string();
    for word in ["p0002", "format 2", "format 1", "newer quorate"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn data_without_a_format_is_refused() {
    for record in [None, Some(&b"junk"[..])] {
        let home = tempfile::tempdir().unwrap();
        let store = open(home.path(), Durability::Os);
        let (callbacks, _events) = callbacks();
        let seat = store.shard_seat(callbacks);
        seat.storage().commit(&batch(vec![put(2, &item_key("t", 1, b""), b"v")])).unwrap();
        drop(seat);
        rewrite_format(&store, record);
        drop(store);
        let error = Store::open(options(home.path(), Durability::Os)).unwrap_err();
        assert!(matches!(error, OpenError::FormatMissing { .. }), "{error}");
    }
}

/// Gives partition 2 another format record.
fn rewrite_format(store: &Store, record: Option<&[u8]>) {
    let handle = store.database.handle(FamilyName::Partition(PartitionId::new(2))).unwrap();
    let mut writes = WriteBatch::default();
    match record {
        Some(record) => writes.put_cf(&handle, FORMAT_KEY, record),
        None => writes.delete_cf(&handle, FORMAT_KEY),
    }
    store.database.db().write(writes).unwrap();
}

#[test]
fn foreign_column_family_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    store.database.db().create_cf("p12", &rocksdb::Options::default()).unwrap();
    drop(store);
    let error = Store::open(options(home.path(), Durability::Os)).unwrap_err();
    assert!(matches!(error, OpenError::FamilyUnknown { .. }), "{error}");
}

#[test]
fn store_with_a_running_shard_is_not_closed_and_not_clean() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path(), Durability::Os);
    begin_boot(&mut store);
    let seat = store.shard_seat(callbacks().0);
    assert!(matches!(store.close(), Err(CloseError::ShardsRunning { seats: 1, .. })));
    drop(seat);
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let more = store.create_partitions(&[PartitionId::new(7)]);
    assert!(matches!(more, Err(OpenError::ShardsRunning { seats: 1, .. })));
    drop(seat);
    assert!(!begin_boot(&mut open(home.path(), Durability::Os)).clean);
}

#[test]
fn partition_is_created_while_a_shard_runs() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path(), Durability::Os);
    let seat = store.shard_seat(callbacks().0);
    let mut storage = seat.storage();
    let (seven, key) = (PartitionId::new(7), item_key("t", 1, b""));
    let missing = storage.commit(&batch(vec![put(0, &key, b"v"), put(7, &key, b"v")]));
    assert_eq!(missing, Err(CommitError::PartitionMissing(seven)));
    assert!(matches!(storage.read(ReadId::new(1), seven, &key), Lookup::Ready(Err(_))), "unknown, not absent");
    assert!(storage.load(seven).is_err());
    store.create_partition(seven).unwrap();
    store.create_partition(seven).unwrap();
    storage.commit(&batch(vec![put(7, &key, b"v")])).unwrap();
    assert_eq!(storage.read(ReadId::new(2), seven, &key), Lookup::Ready(Ok(Some(Bytes::from_static(b"v")))));
    let zero = storage.read(ReadId::new(3), PartitionId::new(0), &key);
    assert_eq!(zero, Lookup::Ready(Ok(None)), "of a refused batch nothing is written");
    drop(storage);
    drop(seat);
    drop(store);
    assert!(open(home.path(), Durability::Os).partitions().contains(&seven));
}
