//! The tree against a rescan.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::*;

const BITS: u32 = 3;

fn key(hash: u64, name: u8) -> Bytes {
    let mut out = vec![1];
    out.put_u64(hash);
    out.push(name);
    out.into()
}

fn rescan(items: &BTreeMap<Bytes, u64>) -> Tree {
    let mut tree = Tree::new();
    tree.begin_page([]).unwrap();
    let page = items.iter().map(|(key, hash)| Listed { key: key.clone(), hash: *hash, reapable: false }).collect();
    tree.finish_page(page, false, BITS);
    tree
}

fn writes() -> impl Strategy<Value = Vec<(Bytes, u64)>> {
    prop::collection::vec(((0_u64..40, 0_u8..3), any::<u64>()), 0..60)
        .prop_map(|writes| writes.into_iter().map(|((at, name), hash)| (key(at << 55, name), hash)).collect())
}

#[test]
fn leaf_is_named_by_the_bits_below_the_partitions() {
    assert_eq!(leaf_of(&key(0, 0), BITS), 0);
    assert_eq!(leaf_of(&key(u64::MAX, 0), BITS), LEAVES - 1);
    assert_eq!(leaf_of(&key(0b101 << 61, 0), BITS), 0);
    assert_eq!(leaf_of(&key(1 << (61 - 12), 0), BITS), 1);
    assert_eq!(leaf_of(b"no key", BITS), 0);
}

#[test]
fn range_of_a_leaf_holds_its_keys_and_no_other() {
    for (bits, partition, leaf) in
        [(0, 0, 0), (0, 0, 4_095), (3, 5, 17), (3, 7, 4_095), (16, 65_535, 4_095), (16, 1, 1)]
    {
        let (from, until) = leaf_range(partition, bits, leaf);
        let first = u64::from_be_bytes(from[1..9].try_into().unwrap());
        assert_eq!(leaf_of(&key(first, 0), bits), usize::from(leaf));
        assert_eq!(first.checked_shr(64 - bits).unwrap_or(0), u64::from(partition));
        let last = until.map_or(u64::MAX, |until| u64::from_be_bytes(until[1..9].try_into().unwrap()) - 1);
        assert_eq!(leaf_of(&key(last, 9), bits), usize::from(leaf));
        assert_eq!(last.checked_shr(64 - bits).unwrap_or(0), u64::from(partition));
    }
}

#[test]
fn item_hash_tells_key_from_record() {
    assert_ne!(item_hash(b"ab", b"c"), item_hash(b"a", b"bc"));
}

proptest! {
    #[test]
    fn tree_kept_in_step_equals_a_rescan(writes in writes()) {
        let mut tree = rescan(&BTreeMap::new());
        let mut items = BTreeMap::new();
        for (key, hash) in writes {
            let before = items.insert(key.clone(), hash);
            tree.update(&key, BITS, before, hash);
        }
        prop_assert_eq!(tree, rescan(&items));
    }

    /// Writes go on while the tree is built, between the reading of a page and its arrival too.
    #[test]
    fn tree_built_under_writes_equals_a_rescan(
        first in writes(),
        rest in prop::collection::vec((writes(), writes()), 0..20),
        limit in 1_usize..7,
    ) {
        let mut items: BTreeMap<Bytes, u64> = first.into_iter().collect();
        let mut tree = Tree::new();
        let write = |tree: &mut Tree, items: &mut BTreeMap<Bytes, u64>, writes: Vec<(Bytes, u64)>| {
            for (key, hash) in writes {
                let before = items.insert(key.clone(), hash);
                tree.update(&key, BITS, before, hash);
            }
        };
        let mut rest = rest.into_iter();
        while !tree.is_ready() {
            let cursor = tree.begin_page([]).unwrap();
            let above = |key: &&Bytes| cursor.as_ref().is_none_or(|cursor| *key > cursor);
            let page: Vec<Listed> = items.keys().filter(above).take(limit)
                .map(|key| Listed { key: key.clone(), hash: items[key], reapable: false }).collect();
            let more = items.keys().filter(above).count() > limit;
            let (during, after) = rest.next().unwrap_or_default();
            write(&mut tree, &mut items, during);
            tree.finish_page(page, more, BITS);
            write(&mut tree, &mut items, after);
        }
        prop_assert_eq!(tree, rescan(&items));
    }

    #[test]
    fn differing_leaves_are_those_of_differing_items(ours in writes(), theirs in writes()) {
        let ours: BTreeMap<_, _> = ours.into_iter().collect();
        let theirs: BTreeMap<_, _> = theirs.into_iter().collect();
        let (a, b) = (rescan(&ours), rescan(&theirs));
        let keys: BTreeSet<&Bytes> = ours.keys().chain(theirs.keys()).collect();
        let expected: BTreeSet<usize> =
            keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).map(|key| leaf_of(key, BITS)).collect();
        let inner: Vec<usize> = (0..FANOUT).filter(|at| a.inner()[*at] != b.inner()[*at]).collect();
        let leaves = inner.iter().flat_map(|at| (0..FANOUT).map(move |leaf| (at * FANOUT + leaf, *at, leaf)));
        let differing = leaves.filter(|(_, at, leaf)| a.leaves(*at)[*leaf] != b.leaves(*at)[*leaf]);
        let found: BTreeSet<usize> = differing.map(|(all, _, _)| all).collect();
        prop_assert_eq!(found, expected.clone());
        prop_assert_eq!(a.root() == b.root(), expected.is_empty());
    }
}

#[test]
fn tree_that_is_not_ready_is_not_stored() {
    let stamp = TreeStamp { partition: 1, partition_bits: 3, sequence: 9, verified_ms: 7 };
    assert_eq!(Tree::new().to_record(stamp), None);
    let mut half = Tree::new();
    half.begin_page([]);
    half.finish_page(vec![Listed { key: key(1, 1), hash: 5, reapable: false }], true, BITS);
    assert_eq!(half.to_record(stamp), None);
}

proptest! {
    #[test]
    fn stored_tree_comes_back_as_it_went(writes in writes(), sequence in any::<u64>(), verified_ms in any::<u64>()) {
        let tree = rescan(&writes.into_iter().collect());
        let stamp = TreeStamp { partition: 5, partition_bits: 3, sequence, verified_ms };
        let record = tree.to_record(stamp).unwrap();
        prop_assert_eq!(Tree::from_record(&record), Some((tree, stamp)));
    }

    #[test]
    fn damaged_record_of_a_tree_is_no_tree(
        writes in writes(), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>(),
    ) {
        let stamp = TreeStamp { partition: 5, partition_bits: 3, sequence: 4, verified_ms: 6 };
        let record = rescan(&writes.into_iter().collect()).to_record(stamp).unwrap();
        let mut damaged = record.to_vec();
        damaged[at.index(record.len())] ^= 1 << bit;
        prop_assert_eq!(Tree::from_record(&damaged), None);
        prop_assert_eq!(Tree::from_record(&record[..cut.index(record.len())]), None);
    }

    #[test]
    fn bytes_are_no_tree_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut body = vec![1];
        body.extend_from_slice(&bytes);
        let checksum = xxhash_rust::xxh3::xxh3_64(&body).to_be_bytes();
        body.extend_from_slice(&checksum);
        if let Some((tree, stamp)) = Tree::from_record(&body) {
            prop_assert_eq!(tree.to_record(stamp).unwrap().to_vec(), body, "an accepted record is canonical");
        }
        prop_assert_eq!(Tree::from_record(&bytes), None);
    }
}
