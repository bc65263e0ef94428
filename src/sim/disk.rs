//! A disk: an ordered map per partition, and how much of it would survive a power loss.
//!
//! ```text
//!   commit -> committed (the operating system has it)  ..pending batches..  sync -> durable (the platter has it)
//!   kill:       keeps all that was committed; opening the store again makes it durable, as RocksDB's recovery does
//!   power loss: keeps what is durable, and a prefix of the pending batches: a torn log ends at a whole batch
//! ```
//!
//! A batch is atomic, as a `WriteBatch` of RocksDB is; its log's checksums cut a torn one off.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::draw::Draw;
use super::mutation::Mutation as Broken;
use crate::protocol::merkle::{Listed, Tree, TreeStamp, item_hash, leaf_of};
use crate::protocol::replica::{
    Batch, HintPage, HintRange, ItemKey, ItemPage, ItemRange, KeyKind, Lookup, Mutation, PartitionImage, ReadError,
    ReadId, ScanPage, ScanRange, Storage, hint_prefix,
};
use crate::protocol::types::{BootGeneration, PartitionId};
use crate::protocol::version::{Siblings, Version, checksum, is_reapable};

/// What the partitions of a disk hold.
type Partitions = BTreeMap<PartitionId, BTreeMap<Bytes, Bytes>>;

/// A copy of all that a disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    partitions: Partitions,
    boot: u64,
}

/// The disk of one node, shared by its shards.
#[derive(Debug, Default)]
pub(super) struct Disk {
    committed: Partitions,
    durable: Partitions,
    /// How often a process was started on it. It is raised, and fsynced, before that process says a word.
    boot: u64,
    pending: VecDeque<(u64, Vec<Mutation>)>,
    /// The newest committed batch.
    pub(super) sequence: u64,
    /// Said to be committed, and not committed yet: a mutation's.
    pub(super) limbo: Option<Batch>,
    /// The newest batch that somebody wants to be durable.
    pub(super) asked: u64,
    /// Everything up to this batch is durable.
    pub(super) durable_to: u64,
    /// An fsync is under way.
    pub(super) syncing: bool,
    /// Commits fail.
    pub(super) full: bool,
    /// The next fsync fails.
    pub(super) fail_sync: bool,
    /// Chance that a lookup fails, in a million.
    pub(super) read_errors: u32,
    /// Lookups and fsyncs take so many times as long.
    pub(super) slowness: u64,
    /// What a backup holds, once one was taken.
    pub(super) backup: Option<Image>,
    /// The other copy of a cloned disk.
    pub(super) shelf: Option<Image>,
}

/// A lookup or a scan that is answered later.
#[derive(Debug)]
pub(super) enum Ask {
    /// A lookup.
    Read(ReadId, PartitionId, ItemKey),
    /// A page of keys.
    Scan(ReadId, PartitionId, ScanRange),
    /// A page of hints.
    Hints(ReadId, HintRange),
    /// A page of items with their hashes.
    Items(ReadId, ItemRange),
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { slowness: 1, ..Self::default() }
    }

    /// Commits a batch as one. `None` when the disk is full.
    pub(super) fn commit(&mut self, batch: Batch) -> Option<u64> {
        if self.full {
            return None;
        }
        self.sequence += 1;
        // A copy, as RocksDB makes one: a slice would keep the whole receive buffer in memory.
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let mutations: Vec<Mutation> = batch
            .mutations
            .into_iter()
            .map(|mutation| Mutation { value: mutation.value.as_ref().map(copy), ..mutation })
            .collect();
        apply(&mut self.committed, &mutations);
        self.pending.push_back((self.sequence, mutations));
        Some(self.sequence)
    }

    /// The newest batch that a shard was told of.
    pub(super) fn promised(&self) -> u64 {
        self.sequence + u64::from(self.limbo.is_some())
    }

    /// Everything committed up to a batch is durable now.
    pub(super) fn make_durable(&mut self, to: u64) {
        while self.pending.front().is_some_and(|(at, _)| *at <= to) {
            let Some((at, mutations)) = self.pending.pop_front() else { break };
            apply(&mut self.durable, &mutations);
            self.durable_to = at;
        }
    }

    /// An fsync failed, and the system marked its pages clean: they never reach the platter.
    pub(super) fn forget_pending(&mut self, to: u64) {
        self.pending.retain(|(at, _)| *at > to);
        self.durable_to = to;
    }

    /// The power goes: of the pending batches at most so many survive, from the oldest on.
    pub(super) fn lose_power(&mut self, survive: usize) {
        for (_, mutations) in self.pending.drain(..).take(survive) {
            apply(&mut self.durable, &mutations);
        }
        self.committed = self.durable.clone();
        self.durable_to = self.sequence;
    }

    /// How many batches a power loss can take.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A process opens the store: what its log holds is made durable. Says which boot it is.
    pub(super) fn open(&mut self) -> BootGeneration {
        self.boot += 1;
        self.make_durable(self.sequence);
        self.asked = self.sequence;
        self.syncing = false;
        self.fail_sync = false;
        BootGeneration::new(self.boot)
    }

    /// What the disk holds, to be put aside.
    pub(super) fn image(&self) -> Image {
        Image { partitions: self.durable.clone(), boot: self.boot }
    }

    /// What the operating system would show of the disk now, to be cloned.
    pub(super) fn committed_image(&self) -> Image {
        Image { partitions: self.committed.clone(), boot: self.boot }
    }

    /// Replaces what the disk holds, and hands back what it held.
    pub(super) fn replace(&mut self, image: Image) -> Image {
        self.pending.clear();
        self.committed = image.partitions.clone();
        let partitions = std::mem::replace(&mut self.durable, image.partitions);
        Image { partitions, boot: std::mem::replace(&mut self.boot, image.boot) }
    }

    /// The stored copy of an item, without faults: for checkers.
    pub(super) fn held(&self, partition: PartitionId, key: &Bytes) -> Option<&Bytes> {
        self.committed.get(&partition)?.get(key)
    }

    /// The copy that would survive a power loss now: for checkers.
    pub(super) fn held_durably(&self, partition: PartitionId, key: &Bytes) -> Option<&Bytes> {
        self.durable.get(&partition)?.get(key)
    }

    /// Looks an item up for a shard.
    pub(super) fn lookup(
        &self,
        draw: &mut Draw,
        broken: Option<Broken>,
        partition: PartitionId,
        key: &ItemKey,
    ) -> Result<Option<Bytes>, ReadError> {
        if draw.chance(self.read_errors) {
            return match broken {
                Some(Broken::ErrorAsAbsent) => Ok(None),
                _ => Err(ReadError("the simulated disk failed the lookup".to_owned())),
            };
        }
        Ok(self.held(partition, key.as_bytes()).cloned())
    }

    /// Lists keys for a shard.
    pub(super) fn scan(&self, partition: PartitionId, range: &ScanRange) -> ScanPage {
        let Some(map) = self.committed.get(&partition) else { return ScanPage::default() };
        let from = range.after.as_ref().map_or_else(
            || Bytes::from_static(&[KeyKind::Item as u8]),
            |key| {
                let mut next = key.as_bytes().to_vec();
                next.push(0);
                next.into()
            },
        );
        let end = Bytes::from_static(&[KeyKind::Item as u8 + 1]);
        let in_table = |key: &Bytes| {
            range.table.is_empty() || table_of(key).is_some_and(|table| table.as_slice() == range.table.as_ref())
        };
        let mut keys = map.range(from..end).map(|(key, _)| key.clone()).filter(in_table);
        let page: Vec<Bytes> = keys.by_ref().take(range.limit).collect();
        ScanPage { more: page.len() == range.limit && keys.next().is_some(), keys: page }
    }

    /// Lists hints for a shard. Here they lie among the items of their partition.
    pub(super) fn hints(&self, range: &HintRange) -> HintPage {
        let Some(map) = self.committed.get(&range.partition) else { return HintPage::default() };
        let prefix: Bytes = hint_prefix(range.home, range.partition).into();
        let from = range.after.as_ref().map_or_else(|| prefix.clone(), |key| key.as_bytes().clone());
        let after = |key: &Bytes| range.after.as_ref().is_none_or(|after| key > after.as_bytes());
        let mut rows = map.range(from..).take_while(|(key, _)| key.starts_with(&prefix)).filter(|(key, _)| after(key));
        let key = |bytes: &Bytes| ItemKey::from_hint_bytes(bytes.clone()).expect("only hints have this prefix");
        let hints = rows.by_ref().take(range.limit).map(|(at, record)| (key(at), record.clone())).collect();
        HintPage { hints, more: rows.next().is_some() }
    }

    /// Lists items and their hashes for a shard.
    pub(super) fn items(&self, broken: Option<Broken>, range: &ItemRange) -> ItemPage {
        let Some(map) = self.committed.get(&range.partition) else { return ItemPage::default() };
        let end = Bytes::from_static(&[KeyKind::Item as u8 + 1]);
        let until = range.until.clone().map_or(end.clone(), |until| until.min(end));
        let from = range.from.clone().max(range.after.clone());
        if from >= until {
            return ItemPage::default();
        }
        // Partition bits do not matter here: any share of the items that is the same on all nodes will do.
        let skipped = |key: &Bytes| broken == Some(Broken::SkipTreeLeaf) && leaf_of(key, 0).is_multiple_of(4);
        let mut rows = map.range(from..until).filter(|(key, _)| **key > range.after && !skipped(key));
        let listed = |(key, record): (&Bytes, &Bytes)| Listed {
            key: key.clone(),
            hash: item_hash(key, record),
            reapable: is_reapable(record),
        };
        let items = rows.by_ref().take(range.limit).map(listed).collect();
        ItemPage { items, more: rows.next().is_some() }
    }

    /// The hints that are stored: for checkers.
    pub(super) fn stored_hints(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let hint = |(key, _): &(&Bytes, &Bytes)| key.first() == Some(&(KeyKind::Hint as u8));
        self.committed.values().flatten().filter(hint)
    }

    /// Damages one stored item below the checksums' eyes: a value changes, or the record is cut short.
    pub(super) fn rot(&mut self, draw: &mut Draw, broken: Option<Broken>) -> Option<(PartitionId, Bytes)> {
        let (partition, key) = self.any_item(draw)?;
        let record = self.held(partition, &key)?.clone();
        let damaged = damage(draw, &key, &record, broken)?;
        self.overwrite(partition, &key, &damaged);
        Some((partition, key))
    }

    /// Flips a bit of one stored item's causal header: of a vector, a dot, a stamp, a length, or of a checksum.
    pub(super) fn rot_header(&mut self, draw: &mut Draw) -> bool {
        let Some((partition, key)) = self.any_item(draw) else { return false };
        let Some(record) = self.held(partition, &key).cloned() else { return false };
        let Ok(item) = Siblings::decode(&record) else { return false };
        // The values lie behind the header.
        let values: usize = item.versions().iter().map(|version| version.value.len()).sum();
        let mut damaged = record.to_vec();
        damaged[draw.index(record.len() - values)] ^= 1 << draw.below(8);
        self.overwrite(partition, &key, &damaged.into());
        true
    }

    fn any_item(&self, draw: &mut Draw) -> Option<(PartitionId, Bytes)> {
        let items = self.committed.iter().flat_map(|(partition, map)| {
            let is_item = |key: &&Bytes| key.first() == Some(&(KeyKind::Item as u8));
            map.keys().filter(is_item).map(|key| (*partition, key.clone()))
        });
        let items: Vec<(PartitionId, Bytes)> = items.collect();
        if items.is_empty() { None } else { Some(items[draw.index(items.len())].clone()) }
    }

    fn overwrite(&mut self, partition: PartitionId, key: &Bytes, record: &Bytes) {
        for image in [&mut self.committed, &mut self.durable] {
            if let Some(value) = image.get_mut(&partition).and_then(|map| map.get_mut(key)) {
                *value = record.clone();
            }
        }
    }
}

fn damage(draw: &mut Draw, key: &Bytes, record: &Bytes, broken: Option<Broken>) -> Option<Bytes> {
    let item = Siblings::decode(record).ok()?;
    let with_value = item.versions().iter().position(|version| !version.value.is_empty());
    let Some(at) = with_value.filter(|_| broken == Some(Broken::BlessRot) || draw.chance(700_000)) else {
        return Some(record.slice(..record.len() / 2));
    };
    let mut versions: Vec<Version> = item.versions().to_vec();
    let version = versions.get_mut(at)?;
    let mut value = version.value.to_vec();
    let byte = draw.index(value.len());
    value[byte] ^= 1 << draw.below(8);
    version.value = value.into();
    if broken == Some(Broken::BlessRot) {
        let (_, address) = ItemKey::from_bytes(key.clone())?.parts()?;
        version.checksum = checksum(&address, version.write_id, false, &version.value);
    }
    Siblings::from_parts(item.vector().clone(), versions).map(|item| item.to_record())
}

fn table_of(key: &Bytes) -> Option<Vec<u8>> {
    let rest = key.get(9..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    rest.get(..end).map(<[u8]>::to_vec)
}

fn apply(image: &mut Partitions, mutations: &[Mutation]) {
    for mutation in mutations {
        let map = image.entry(mutation.partition).or_default();
        match &mutation.value {
            Some(value) => drop(map.insert(mutation.key.clone(), value.clone())),
            None => drop(map.remove(&mutation.key)),
        }
    }
}

/// A node's disk as one of its shards sees it during a turn.
pub(super) struct Desk<'a> {
    pub(super) disk: &'a mut Disk,
    pub(super) draw: &'a mut Draw,
    /// What is to be answered later.
    pub(super) asks: &'a mut Vec<Ask>,
    /// Chance that a lookup is answered later, in a million.
    pub(super) pending: u32,
    pub(super) broken: Option<Broken>,
}

impl Desk<'_> {
    /// The stored tree. Broken, it claims to be of the newest write, whichever it is of.
    fn shown_tree(&self, record: &Bytes, map: &BTreeMap<Bytes, Bytes>) -> Bytes {
        let stamped = Tree::from_record(record).filter(|_| self.broken == Some(Broken::BelieveStaleTree));
        let Some((tree, stamp)) = stamped else { return record.clone() };
        let log = Bytes::from_static(&[KeyKind::Change as u8])..Bytes::from_static(&[KeyKind::Change as u8 + 1]);
        let newest = map.range(log).next_back().and_then(|(key, _)| key.get(1..)?.try_into().ok());
        let sequence = newest.map_or(stamp.sequence, u64::from_be_bytes);
        tree.to_record(TreeStamp { sequence, ..stamp }).expect("a stored tree is ready")
    }
}

impl Storage for Desk<'_> {
    fn read(&mut self, id: ReadId, partition: PartitionId, key: &ItemKey) -> Lookup {
        if self.draw.chance(self.pending) {
            self.asks.push(Ask::Read(id, partition, key.clone()));
            return Lookup::Pending;
        }
        Lookup::Ready(self.disk.lookup(self.draw, self.broken, partition, key))
    }

    fn scan(&mut self, id: ReadId, partition: PartitionId, range: ScanRange) {
        self.asks.push(Ask::Scan(id, partition, range));
    }

    fn items(&mut self, id: ReadId, range: ItemRange) {
        self.asks.push(Ask::Items(id, range));
    }

    fn hints(&mut self, id: ReadId, range: HintRange) {
        self.asks.push(Ask::Hints(id, range));
    }

    fn load_hints(&mut self, visit: &mut dyn FnMut(&ItemKey, usize)) -> Result<(), ReadError> {
        for (key, record) in self.disk.stored_hints() {
            let key = ItemKey::from_hint_bytes(key.clone()).ok_or_else(|| ReadError("no hint's key".to_owned()))?;
            visit(&key, record.len());
        }
        Ok(())
    }

    fn load(&mut self, partition: PartitionId) -> Result<PartitionImage, ReadError> {
        let Some(map) = self.disk.committed.get(&partition) else { return Ok(PartitionImage::default()) };
        let log = Bytes::from_static(&[KeyKind::Change as u8])..Bytes::from_static(&[KeyKind::Change as u8 + 1]);
        let entry = |(key, value): (&Bytes, &Bytes)| {
            let sequence = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            let sequence = sequence.ok_or_else(|| ReadError("a key of the change log has no sequence".to_owned()))?;
            Ok((sequence, value.clone()))
        };
        Ok(PartitionImage {
            clock: map.get([KeyKind::Clock as u8].as_slice()).cloned(),
            log: map.range(log).map(entry).collect::<Result<_, ReadError>>()?,
            tree: map.get([KeyKind::Tree as u8].as_slice()).map(|record| self.shown_tree(record, map)),
        })
    }
}
