//! One partition's tree: sums, and how far they have been built.

use std::collections::BTreeMap;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

/// Children of a node.
pub const FANOUT: usize = 64;
/// Leaves of a tree: a partition of a million items has about 244 in each.
pub const LEAVES: usize = FANOUT * FANOUT;
/// Bits of the key hash that name a leaf.
const LEAF_BITS: u32 = 12;

const _: () = assert!(LEAVES == 1 << LEAF_BITS);
const _: () = assert!(FANOUT * FANOUT == LEAVES);

/// An item as a listing shows it: its storage key and the hash of what is stored there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The item key.
    pub key: Bytes,
    /// See [`item_hash`].
    pub hash: u64,
    /// Reaping has something to look at in it, as `version::is_reapable` says.
    pub reapable: bool,
}

/// How far the sums have been built.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// Everything up to the cursor is in the sums; `None` for nothing. While a page is being read, `written` has what
    /// was stored above the cursor meanwhile: the page may have it as it was before.
    Building { cursor: Option<Bytes>, written: Option<BTreeMap<Bytes, u64>> },
    /// Everything is.
    Ready,
}

/// The hash tree of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    sums: Vec<u64>,
    root: u64,
    progress: Progress,
}

/// The hash of an item: over its key and its record as it is stored.
#[must_use]
pub fn item_hash(key: &[u8], record: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&(key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(record);
    hash.digest()
}

/// The hash of a list of items: over their keys and hashes, in order.
#[must_use]
pub fn running_hash<'a>(items: impl IntoIterator<Item = (&'a Bytes, u64)>) -> u64 {
    let mut hash = Xxh3Default::new();
    for (key, item) in items {
        hash.update(&(key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(&item.to_be_bytes());
    }
    hash.digest()
}

/// The leaf of an item key, given how many bits of the key hash name its partition. Keys that are none are in leaf 0.
#[must_use]
pub fn leaf_of(key: &[u8], partition_bits: u32) -> usize {
    let hash = key.get(1..9).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map_or(0, u64::from_be_bytes);
    let below = hash.checked_shl(partition_bits).unwrap_or(0);
    usize::try_from(below >> (u64::BITS - LEAF_BITS)).unwrap_or(0)
}

/// The item keys of a leaf: from the first, inclusive, to the second, exclusive; `None` for all that follow.
#[must_use]
pub fn leaf_range(partition: u16, partition_bits: u32, leaf: u16) -> (Bytes, Option<Bytes>) {
    let above = u64::BITS - partition_bits;
    let base = u64::from(partition).checked_shl(above).unwrap_or(0);
    let width = above.saturating_sub(LEAF_BITS);
    let first = base | u64::from(leaf).checked_shl(width).unwrap_or(0);
    let key = |hash: u64| {
        let mut out = vec![ITEM_KIND];
        out.extend_from_slice(&hash.to_be_bytes());
        Bytes::from(out)
    };
    (key(first), first.checked_add(1 << width).map(key))
}

/// The first byte of an item key: `replica::KeyKind::Item`, on a floor above this one.
const ITEM_KIND: u8 = 1;

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree of which nothing is built.
    #[must_use]
    pub fn new() -> Self {
        Self { sums: vec![0; LEAVES], root: 0, progress: Progress::Building { cursor: None, written: None } }
    }

    /// A tree of which everything is built.
    pub(super) fn ready(sums: Vec<u64>) -> Self {
        assert_eq!(sums.len(), LEAVES, "one sum a leaf");
        let root = sums.iter().fold(0, |root: u64, sum| root.wrapping_add(*sum));
        Self { sums, root, progress: Progress::Ready }
    }

    /// The sums of all leaves.
    pub(super) fn all_leaves(&self) -> &[u64] {
        &self.sums
    }

    /// Whether it speaks for all of the partition.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.progress == Progress::Ready
    }

    /// Forgets everything: the partition was changed by something else than writes.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Where the listing is to go on; `None` when the tree is ready or a page is being read. `unsettled` are writes
    /// that the listing may not see yet.
    pub fn begin_page(&mut self, unsettled: impl IntoIterator<Item = (Bytes, u64)>) -> Option<Option<Bytes>> {
        let Progress::Building { cursor, written } = &mut self.progress else { return None };
        if written.is_some() {
            return None;
        }
        let above = |(key, _): &(Bytes, u64)| cursor.as_ref().is_none_or(|cursor| key > cursor);
        *written = Some(unsettled.into_iter().filter(above).collect());
        Some(cursor.clone())
    }

    /// The page could not be read; it is to be asked for again.
    pub fn abandon_page(&mut self) {
        if let Progress::Building { written, .. } = &mut self.progress {
            *written = None;
        }
    }

    /// Takes a page of the listing: everything above the cursor up to the page's last key, or to the end.
    pub fn finish_page(&mut self, page: Vec<Listed>, more: bool, partition_bits: u32) {
        let Progress::Building { cursor, written } = &mut self.progress else { return };
        let Some(written) = written.take() else { return };
        let last = page.last().map(|listed| listed.key.clone());
        let mut counted: BTreeMap<Bytes, u64> = page.into_iter().map(|listed| (listed.key, listed.hash)).collect();
        let reached = |key: &Bytes| !more || last.as_ref().is_some_and(|last| key <= last);
        // What was written meanwhile is as it was written, whatever the page saw.
        counted.extend(written.into_iter().filter(|(key, _)| reached(key)));
        if more {
            *cursor = last.or_else(|| cursor.clone());
        } else {
            self.progress = Progress::Ready;
        }
        for (key, hash) in counted {
            self.shift(&key, partition_bits, 0, hash);
        }
    }

    /// An item changed: from what, if it was there, to what.
    pub fn update(&mut self, key: &Bytes, partition_bits: u32, before: Option<u64>, after: u64) {
        if let Progress::Building { cursor, written } = &mut self.progress
            && cursor.as_ref().is_none_or(|cursor| key > cursor)
        {
            if let Some(written) = written {
                written.insert(key.clone(), after);
            }
            return;
        }
        self.shift(key, partition_bits, before.unwrap_or(0), after);
    }

    /// The sum of all items.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The sums of the inner nodes.
    #[must_use]
    pub fn inner(&self) -> Vec<u64> {
        self.sums.chunks(FANOUT).map(|leaves| leaves.iter().fold(0, |sum: u64, leaf| sum.wrapping_add(*leaf))).collect()
    }

    /// The sums of an inner node's leaves; empty when there is no such node.
    #[must_use]
    pub fn leaves(&self, inner: usize) -> &[u64] {
        self.sums.get(inner * FANOUT..(inner + 1) * FANOUT).unwrap_or(&[])
    }

    fn shift(&mut self, key: &Bytes, partition_bits: u32, before: u64, after: u64) {
        let change = after.wrapping_sub(before);
        self.root = self.root.wrapping_add(change);
        if let Some(sum) = self.sums.get_mut(leaf_of(key, partition_bits)) {
            *sum = sum.wrapping_add(change);
        }
    }
}
