//! The store beside an ordered map: random turns, reads and scans, over restarts of every kind.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::replica::{Lookup, ReadId, ScanRange, Storage};
use crate::storage::ShardStorage;
use crate::storage::flusher;

#[derive(Debug, Clone)]
enum Step {
    /// Partition, item, and a value's seed; `None` deletes.
    Commit(Vec<(u16, u8, Option<u8>)>),
    Read(u16, u8),
    Scan {
        partition: u16,
        table: bool,
        limit: usize,
    },
    /// All memtables to table files, so that reads go to the disk.
    Flush,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    let mutation = (0..4_u16, 0..40_u8, prop::option::weighted(0.8, any::<u8>()));
    prop_oneof![
        4 => vec(mutation, 0..20).prop_map(Step::Commit),
        4 => (0..4_u16, 0..40_u8).prop_map(|(partition, item)| Step::Read(partition, item)),
        2 => (0..4_u16, any::<bool>(), 1..8_usize)
            .prop_map(|(partition, table, limit)| Step::Scan { partition, table, limit }),
        1 => Just(Step::Flush),
    ]
}

/// Forty items in two tables, some of one key, with awkward bytes.
fn item(n: u8) -> ItemKey {
    let table = if n.is_multiple_of(4) { "t" } else { "t2" };
    item_key(table, u64::from(n / 5), &[0, n % 3, 0xff][..usize::from(n % 4)])
}

fn value(seed: u8) -> Vec<u8> {
    noise(u64::from(seed), usize::from(seed) * 8)
}

type Model = BTreeMap<(u16, Bytes), Vec<u8>>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn store_agrees_with_an_ordered_map(
        sessions in vec((vec(step(), 1..30), prop_oneof![Just(End::Close), Just(End::Drop)]), 1..4)
    ) {
        let home = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        for (steps, end) in sessions {
            let store = open(home.path(), Durability::Os);
            let (callbacks, events) = callbacks();
            let seat = store.shard_seat(callbacks);
            let mut storage = seat.storage();
            for step in steps {
                take(&step, &store, &mut storage, &events, &mut model)?;
            }
            drop(storage);
            drop(seat);
            match end {
                End::Close => store.close().unwrap(),
                End::Drop => drop(store),
            }
        }
    }
}

fn take(
    step: &Step,
    store: &Store,
    storage: &mut ShardStorage<'_>,
    events: &Receiver<Event>,
    model: &mut Model,
) -> Result<(), TestCaseError> {
    match step {
        Step::Commit(mutations) => commit(mutations, storage, model),
        Step::Flush => {
            for family in store.database.families() {
                flusher::flush(&store.database, &family, true);
            }
        }
        Step::Read(partition, n) => {
            let key = item(*n);
            let found = match storage.read(ReadId::new(1), PartitionId::new(*partition), &key) {
                Lookup::Ready(result) => result.unwrap(),
                Lookup::Pending => match next(events) {
                    Event::Completed(ReadCompletion::Read { result, .. }) => result.unwrap(),
                    other => unreachable!("{other:?} for a read"),
                },
            };
            let expected = model.get(&(*partition, key.as_bytes().clone()));
            prop_assert_eq!(found.as_deref(), expected.map(Vec::as_slice));
        }
        Step::Scan { partition, table, limit } => {
            let table = if *table { Bytes::from_static(b"t2") } else { Bytes::new() };
            let found = scan_all(storage, events, PartitionId::new(*partition), &table, *limit);
            let wanted = |key: &Bytes| table.is_empty() || key[9..].starts_with(b"t2\0");
            let keys = model.keys().filter(|(place, key)| place == partition && wanted(key));
            let expected: Vec<_> = keys.map(|(_, key)| key.clone()).collect();
            prop_assert_eq!(found, expected);
        }
    }
    Ok(())
}

fn commit(mutations: &[(u16, u8, Option<u8>)], storage: &mut ShardStorage<'_>, model: &mut Model) {
    let mut turn = Batch::default();
    for (partition, n, seed) in mutations {
        let (key, value) = (item(*n).as_bytes().clone(), seed.map(value));
        match &value {
            Some(value) => model.insert((*partition, key.clone()), value.clone()),
            None => model.remove(&(*partition, key.clone())),
        };
        turn.mutations.push(Mutation { partition: PartitionId::new(*partition), key, value: value.map(Bytes::from) });
    }
    storage.commit(&turn).unwrap();
}

fn scan_all(
    storage: &mut ShardStorage<'_>,
    events: &Receiver<Event>,
    partition: PartitionId,
    table: &Bytes,
    limit: usize,
) -> Vec<Bytes> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        storage.scan(ReadId::new(2), partition, ScanRange { table: table.clone(), after, limit });
        let Event::Completed(ReadCompletion::Scan { result, .. }) = next(events) else {
            unreachable!("a scan's page");
        };
        let page = result.unwrap();
        found.extend(page.keys.iter().cloned());
        if !page.more {
            return found;
        }
        after = Some(ItemKey::from_bytes(page.keys.last().unwrap().clone()).unwrap());
    }
}
