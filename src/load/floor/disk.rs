//! RocksDB alone: the store that a node has, with the accesses that operations make and nothing around them.
//!
//! A put at a replica reads the item, and its turn's batch has the item's record and, for each partition that the turn
//! touched, an entry of the change log. Turns are laid out before the clock starts, and gone through in a circle. The
//! keys fit into memtables and block cache; that is what a floor is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frames::{Messages, address};
use super::{FloorError, FloorPlan, Operation, cpu, go_on};
use crate::protocol::replica::{Batch, Change, ChangeLog, ChangeSet, ItemKey, Lookup, Mutation, ReadId, Storage as _};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::{ActorId, Durability, PartitionId, WallTime, WriteId};
use crate::protocol::version::Dot;
use crate::storage::{ShardCallbacks, ShardStorage, Store, StoreOptions};

/// What accesses cost.
#[derive(Debug)]
pub(super) struct Stored {
    /// A read, microseconds.
    get_us: f64,
    /// A read-modify-write, microseconds, by the size of the batch.
    put_us: Vec<(usize, f64)>,
}

/// A node's memory for blocks and for writes, as its configuration has them by default.
const MEMORY_BYTES: usize = 256 << 20;
/// Accesses between two looks at the clock.
const ROUND: usize = 256;

impl Stored {
    /// One access of an operation, microseconds.
    pub(super) fn cost_us(&self, operation: Operation, batch: usize) -> f64 {
        match operation {
            Operation::Get => self.get_us,
            Operation::Put => self.put_us.iter().find(|(size, _)| *size == batch).map_or(0.0, |(_, cost)| *cost),
        }
    }
}

/// An item's place.
struct Place {
    partition: PartitionId,
    key: ItemKey,
}

/// A turn: its items, and what it writes.
struct Turn {
    places: Vec<usize>,
    batch: Batch,
}

/// Fills a store and measures reads, and read-modify-writes in batches of each size that the plan leads to.
pub(super) fn measure(
    plan: &FloorPlan,
    messages: &Messages,
    path: &Path,
    stop: &AtomicBool,
) -> Result<Stored, FloorError> {
    let partitions: Vec<PartitionId> = (0..plan.partitions).map(PartitionId::new).collect();
    let options = StoreOptions {
        path: path.to_owned(),
        block_cache_bytes: MEMORY_BYTES,
        // A node finds recent items in front of RocksDB; the floor is RocksDB's.
        item_cache_bytes: 0,
        write_buffer_bytes: MEMORY_BYTES,
        // No fsync: its cost is waiting, not CPU, and all writes of a moment share one.
        durability: Durability::Os,
        interval: Duration::from_millis(100),
        read_threads: 1,
    };
    let store = Store::open(options)?.create_partitions(&partitions)?;
    let nobody = ShardCallbacks { completed: Arc::new(drop), durable: Arc::new(drop), failed: Arc::new(|_| ()) };
    let seat = store.shard_seat(nobody);
    let mut storage = seat.storage();
    let places = places(plan)?;
    // Every item is there before anything is measured.
    for turn in turns(&places, &messages.record, ROUND) {
        storage.commit(&turn.batch)?;
    }
    let mut sizes: Vec<usize> = plan.in_flight.iter().map(|count| count.div_ceil(plan.nodes)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut put_us = Vec::new();
    for size in sizes {
        go_on(stop)?;
        let turns = turns(&places, &messages.record, size);
        let cost = cost_us(plan.time, |at| {
            let Some(turn) = turns.get(at % turns.len().max(1)) else { return Ok(0) };
            for place in turn.places.iter().filter_map(|place| places.get(*place)) {
                look_up(&mut storage, place)?;
            }
            storage.commit(&turn.batch)?;
            Ok(turn.places.len())
        })?;
        put_us.push((size, cost));
    }
    let get_us = cost_us(plan.time, |at| {
        let from = at * ROUND;
        for index in from..from + ROUND {
            if let Some(place) = places.get(index % places.len()) {
                look_up(&mut storage, place)?;
            }
        }
        Ok(ROUND)
    })?;
    Ok(Stored { get_us, put_us })
}

/// Repeats a piece of work for half the time, and then for all of it: CPU of one access, microseconds.
fn cost_us(time: Duration, mut work: impl FnMut(usize) -> Result<usize, FloorError>) -> Result<f64, FloorError> {
    let mut at = 0;
    let mut for_time = |time: Duration| -> Result<f64, FloorError> {
        let (began, used) = (Instant::now(), cpu());
        let mut accesses = 0;
        while began.elapsed() < time {
            accesses += work(at)?;
            at += 1;
        }
        let used = cpu().saturating_sub(used);
        Ok(used.as_secs_f64() * 1e6 / (accesses as f64).max(1.0))
    };
    for_time(time / 2)?;
    for_time(time)
}

/// Reads one item; it must be there.
fn look_up(storage: &mut ShardStorage<'_>, place: &Place) -> Result<(), FloorError> {
    match storage.read(ReadId::new(0), place.partition, &place.key) {
        Lookup::Ready(Ok(Some(record))) => {
            std::hint::black_box(record);
            Ok(())
        }
        // A miss of the cache is read by another thread, whose CPU counts as well.
        Lookup::Pending => Ok(()),
        Lookup::Ready(Ok(None)) => Err(FloorError::Read("an item is gone".to_owned())),
        Lookup::Ready(Err(error)) => Err(FloorError::Read(error.to_string())),
    }
}

/// All items, each in its partition: spread evenly, as hashes spread them.
fn places(plan: &FloorPlan) -> Result<Vec<Place>, FloorError> {
    let place = |number: usize| {
        let address = address(number)?;
        let hash = KeyHash::of(&address, 1);
        let partition = u16::try_from(hash.to_bits() % u64::from(plan.partitions)).unwrap_or(0);
        Ok(Place { partition: PartitionId::new(partition), key: ItemKey::new(&address, hash) })
    };
    (0..plan.keys).map(place).collect()
}

/// The turns that write every item once, so many at a time.
fn turns(places: &[Place], record: &Bytes, size: usize) -> Vec<Turn> {
    let mut logs: Vec<ChangeLog> = Vec::new();
    let numbered: Vec<usize> = (0..places.len()).collect();
    let turn = |indexes: &[usize]| {
        let mut batch = Batch::default();
        let mut changed: Vec<(PartitionId, ChangeSet)> = Vec::new();
        for (index, place) in indexes.iter().filter_map(|index| Some((*index, places.get(*index)?))) {
            let (partition, key) = (place.partition, place.key.clone());
            let value = Some(record.clone());
            batch.mutations.push(Mutation { partition, key: key.as_bytes().clone(), value });
            let change = Change {
                dot: Dot::new(ActorId::new(u64::MAX / 2), index as u64 + 1),
                write_id: WriteId::new(index as u128),
                key,
            };
            match changed.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, set)) => set.stored.push(change),
                None => changed.push((partition, ChangeSet { stored: vec![change], obsolete: Vec::new() })),
            }
        }
        for (partition, set) in changed {
            if logs.len() <= partition.as_index() {
                logs.resize_with(partition.as_index() + 1, ChangeLog::default);
            }
            if let Some(log) = logs.get_mut(partition.as_index()) {
                let (key, value) = log.append(&set, WallTime::from_millis(1));
                batch.mutations.push(Mutation { partition, key, value: Some(value) });
            }
        }
        Turn { places: indexes.to_vec(), batch }
    };
    numbered.chunks(size.max(1)).map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_write_every_item_once_and_log_each_partition_once() {
        let plan = FloorPlan { partitions: 4, keys: 100, ..FloorPlan::default() };
        let places = places(&plan).unwrap();
        let turns = turns(&places, &Bytes::from_static(b"record"), 30);
        assert_eq!(turns.iter().map(|turn| turn.places.len()).collect::<Vec<_>>(), [30, 30, 30, 10]);
        for turn in &turns {
            let mut partitions: Vec<_> = turn.batch.mutations.iter().map(|mutation| mutation.partition).collect();
            let items = turn.places.len();
            partitions.drain(..items);
            let logged = partitions.len();
            partitions.sort_unstable();
            partitions.dedup();
            assert!((1..=4).contains(&logged) && logged == partitions.len(), "one entry for each partition");
        }
    }
}
