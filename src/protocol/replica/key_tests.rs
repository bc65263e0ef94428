//! The bytes of item keys: golden vectors, and the laws of their order.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn item_key(hash: u64, table: &str, key: &[u8], sort: &[u8]) -> ItemKey {
    let copy = Bytes::copy_from_slice;
    let address = Address::new(copy(table.as_bytes()), copy(key), copy(sort)).unwrap();
    ItemKey::new(&address, KeyHash::from_bits(hash))
}

/// Bytes that are mostly those with a meaning to `escape`.
fn awkward(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![4 => prop::sample::select(vec![0_u8, 1, 0xfe, 0xff]), 1 => any::<u8>()], lengths)
}

/// On the disk of every node: a change of these is a new format.
#[test]
fn golden_vectors() {
    let cases: [(ItemKey, &[u8]); 4] = [
        (item_key(0x0102_0304_0506_0708, "t", b"k", b""), b"\x01\x01\x02\x03\x04\x05\x06\x07\x08t\0k\0\0\0\0"),
        (item_key(0, "users", b"ann", b"mail"), b"\x01\0\0\0\0\0\0\0\0users\0ann\0\0mail\0\0"),
        (item_key(1, "t", b"\0", b"\0\xff"), b"\x01\0\0\0\0\0\0\0\x01t\0\0\xff\0\0\0\xff\xff\0\0"),
        (
            item_key(u64::MAX, "a-b_c.9", b"\xff\xff", b""),
            b"\x01\xff\xff\xff\xff\xff\xff\xff\xffa-b_c.9\0\xff\xff\0\0\0\0",
        ),
    ];
    for (key, bytes) in cases {
        assert_eq!(key.as_bytes().as_ref(), bytes);
        assert_eq!(ItemKey::from_bytes(Bytes::from_static(bytes)), Some(key));
    }
    let kinds = [KeyKind::Item, KeyKind::Clock, KeyKind::Change, KeyKind::Tree, KeyKind::Chunk];
    assert_eq!(kinds.map(|kind| kind as u8), [1, 2, 3, 4, 5]);
}

#[test]
fn longest_key_is_within_its_bound() {
    let (table, zeros) = ("t".repeat(TABLE_BYTES_MAX), vec![0; KEY_BYTES_MAX]);
    let key = item_key(7, &table, &zeros, &zeros);
    assert_eq!(key.as_bytes().len(), ITEM_KEY_BYTES_MAX);
    assert!(key.parts().is_some());
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    let good = item_key(7, "t", b"k", b"s").as_bytes().clone();
    for cut in 0..good.len() {
        assert_eq!(ItemKey::from_bytes(good.slice(..cut)), None, "cut at {cut}");
    }
    let trailing = [&good[..], b"x"].concat();
    let other_kind = [&[2], &good[1..]].concat();
    let no_key = b"\x01\0\0\0\0\0\0\0\0t\0\0\0\0\0".to_vec();
    let bad_escape = b"\x01\0\0\0\0\0\0\0\0t\0k\0\x07\0\0\0\0".to_vec();
    let bad_table = b"\x01\0\0\0\0\0\0\0\0T\0k\0\0\0\0".to_vec();
    for bytes in [trailing, other_kind, no_key, bad_escape, bad_table] {
        assert_eq!(ItemKey::from_bytes(bytes.clone().into()), None, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn byte_order_is_key_then_sort_key_within_a_hash_and_table(
        a in (awkward(1..6), awkward(0..6)),
        b in (awkward(1..6), awkward(0..6)),
        hash in any::<u64>(),
    ) {
        let (left, right) = (item_key(hash, "t", &a.0, &a.1), item_key(hash, "t", &b.0, &b.1));
        prop_assert_eq!(left.as_bytes().cmp(right.as_bytes()), a.cmp(&b));
    }

    #[test]
    fn byte_order_is_hash_order_first_and_tables_do_not_mix(
        hashes in (any::<u64>(), any::<u64>()),
        tables in ("[a-z0-9._-]{1,3}", "[a-z0-9._-]{1,3}"),
        keys in (awkward(1..4), awkward(1..4)),
    ) {
        let left = item_key(hashes.0, &tables.0, &keys.0, b"");
        let right = item_key(hashes.1, &tables.1, &keys.1, b"");
        let expected = (hashes.0, &tables.0, &keys.0).cmp(&(hashes.1, &tables.1, &keys.1));
        prop_assert_eq!(left.as_bytes().cmp(right.as_bytes()), expected);
    }

    #[test]
    fn address_and_hash_come_back(
        table in "[a-z0-9._-]{1,64}",
        key in awkward(1..40),
        sort in awkward(0..40),
        hash in any::<u64>(),
    ) {
        let made = item_key(hash, &table, &key, &sort);
        let (found, address) = made.parts().unwrap();
        prop_assert_eq!(found, KeyHash::from_bits(hash));
        prop_assert_eq!(address.table().as_str(), table);
        prop_assert_eq!(address.key().to_vec(), key);
        prop_assert_eq!(address.sort().to_vec(), sort);
        prop_assert_eq!(ItemKey::from_bytes(made.as_bytes().clone()), Some(made));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_as_they_are(
        head in prop::option::of(Just(b"\x01\0\0\0\0\0\0\0\x09t\0k".to_vec())),
        tail in awkward(0..24),
    ) {
        let bytes: Bytes = [head.unwrap_or_default(), tail].concat().into();
        if let Some(key) = ItemKey::from_bytes(bytes.clone()) {
            let (hash, address) = key.parts().unwrap();
            // One spelling for each key: what is read is what would be written.
            prop_assert_eq!(ItemKey::new(&address, hash), key);
        }
    }
}
