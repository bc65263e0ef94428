//! Codecs come back as they went, and survive anything.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::ring::LayoutId;
use crate::protocol::types::{ActorId, Address, Hlc, NodeId, PartitionId, Strictness, WriteId};
use crate::protocol::version::{Dot, Version, VersionVector};

fn any_bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), range).prop_map(Bytes::from)
}

fn any_address() -> impl Strategy<Value = Address> {
    ("[a-z0-9._-]{1,64}", any_bytes(1..1025), any_bytes(0..1025))
        .prop_map(|(table, key, sort)| Address::new(Bytes::from(table), key, sort).unwrap())
}

fn any_strictness() -> impl Strategy<Value = Strictness> {
    prop_oneof![Just(Strictness::Strict), Just(Strictness::Sloppy)]
}

fn any_dot() -> impl Strategy<Value = Dot> {
    any::<(u64, u64)>().prop_map(|(actor, counter)| Dot::new(ActorId::new(actor), counter))
}

fn any_past() -> impl Strategy<Value = VersionVector> {
    let entries = prop::collection::btree_map(any::<u64>(), 1..u64::MAX, 0..5);
    entries.prop_map(|entries| {
        let entries = entries.into_iter().map(|(actor, counter)| (ActorId::new(actor), counter)).collect();
        VersionVector::from_sorted(entries).unwrap()
    })
}

fn any_put() -> impl Strategy<Value = PutRequest> {
    (
        any_address(),
        any::<u128>(),
        0..3,
        any::<u8>(),
        any_strictness(),
        any_bytes(0..100),
        any::<u64>(),
        any_bytes(0..500),
    )
        .prop_map(|(address, write_id, want, w, strictness, token, checksum, value)| {
            let want = [Want::Value, Want::Delete, Want::DeleteSeen][usize::try_from(want).unwrap()];
            let value = if want == Want::Value { value } else { Bytes::new() };
            PutRequest { address, write_id: WriteId::new(write_id), want, w, strictness, token, checksum, value }
        })
}

fn any_get_reply() -> impl Strategy<Value = GetReply> {
    let version = (any_dot(), any::<u64>(), any::<u128>(), any::<u64>(), any_bytes(0..200));
    let version = version.prop_map(|(dot, hlc, write_id, checksum, value)| Version {
        dot,
        hlc: Hlc::from_bits(hlc),
        write_id: WriteId::new(write_id),
        tombstone: false,
        expires_at: 0,
        checksum,
        value,
    });
    (any_bytes(0..100), prop::collection::vec(version, 0..5)).prop_map(|(token, versions)| GetReply { token, versions })
}

fn any_put_reply() -> impl Strategy<Value = PutReply> {
    let copy = any::<(u128, bool, bool)>();
    let copies = prop::collection::vec(copy, 0..5);
    (any_dot(), any::<u128>(), any::<u16>(), any_bytes(0..100), copies).prop_map(
        |(dot, write_id, versions, token, copies)| {
            let copy = |(node, primary, fsynced)| StoredCopy { node: NodeId::new(node), primary, fsynced };
            let stored = Stored { copies: copies.into_iter().map(copy).collect() };
            PutReply { dot, write_id: WriteId::new(write_id), versions, token, stored }
        },
    )
}

/// Encodes a body and checks that its announced length is its length.
macro_rules! body_of {
    ($message:expr) => {{
        let mut out = Vec::new();
        $message.encode(&mut out);
        prop_assert_eq!(out.len(), $message.body_bytes());
        Bytes::from(out)
    }};
}

proptest! {
    #[test]
    fn requests_come_back_as_they_went(
        put in any_put(), get_address in any_address(), r in any::<u8>(), strictness in any_strictness(),
        reply in any_get_reply(), put_reply in any_put_reply(), after in any_bytes(0..300),
        keys in prop::collection::vec(any_bytes(0..50), 0..9), record in any_bytes(0..99), unverified in any::<bool>(),
    ) {
        prop_assert_eq!(PutRequest::decode(body_of!(put)).unwrap(), put.clone());
        let get = GetRequest { address: get_address.clone(), r, strictness };
        prop_assert_eq!(GetRequest::decode(body_of!(get)).unwrap(), get);
        prop_assert_eq!(GetReply::decode(body_of!(reply)).unwrap(), reply);
        prop_assert_eq!(PutReply::decode(body_of!(put_reply)).unwrap(), put_reply);
        let scan = ScanRequest { partition: PartitionId::new(9), limit: 7, table: Bytes::from_static(b"t"), after };
        prop_assert_eq!(ScanRequest::decode(body_of!(scan)).unwrap(), scan);
        let scanned = ScanReply { more: true, keys };
        prop_assert_eq!(ScanReply::decode(body_of!(scanned)).unwrap(), scanned);
        for wanted in [Vec::new(), vec![Dot::new(ActorId::new(7), 5)], vec![Dot::new(ActorId::new(7), 5); 4096]] {
            let read = ReadRequest { address: get_address.clone(), wanted };
            prop_assert_eq!(ReadRequest::decode(body_of!(read)).unwrap(), read);
        }
        for result in [
            ReadResult::Found(record.clone()),
            ReadResult::Absent,
            ReadResult::Unreadable,
            ReadResult::Head(record.clone()),
            ReadResult::Part(record.clone()),
        ] {
            let found = ReadReply { result, unverified };
            prop_assert_eq!(ReadReply::decode(body_of!(found)).unwrap(), found);
        }
        let inspect = InspectRequest { address: get_address.clone() };
        prop_assert_eq!(InspectRequest::decode(body_of!(inspect)).unwrap(), inspect);
        for found in [
            Inspected::Head(record.clone()),
            Inspected::Absent,
            Inspected::Unreadable("the record is cut short".to_owned()),
        ] {
            let told = InspectReply { found, unverified, hinted: !unverified };
            prop_assert_eq!(InspectReply::decode(body_of!(told)).unwrap(), told);
        }
        let merge = MergeRequest { address: get_address, record };
        prop_assert_eq!(MergeRequest::decode(body_of!(merge)).unwrap(), merge);
    }

    #[test]
    fn questions_about_reaping_come_back_as_they_went(
        keys in prop::collection::vec((any_bytes(0..40), any::<u64>(), any_past()), 0..9), hints in any::<u64>(),
        actor in any::<Option<u64>>(), answers in prop::collection::vec(0_u8..6, 0..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let partition = PartitionId::new(9);
        let items = keys.iter().cloned().map(|(key, hash, past)| Reapable { key, hash, past }).collect();
        let confirm = ConfirmRequest { partition, items };
        prop_assert_eq!(ConfirmRequest::decode(body_of!(confirm)).unwrap(), confirm.clone());
        let items = keys.into_iter().map(|(key, hash, stripped)| Reaped { key, hash, stripped }).collect();
        let reap = ReapRequest { partition, items };
        prop_assert_eq!(ReapRequest::decode(body_of!(reap)).unwrap(), reap);
        let known = [
            Confirmed::Same, Confirmed::Obsolete, Confirmed::SameUncovered, Confirmed::AbsentUncovered,
            Confirmed::Different, Confirmed::Unsure,
        ];
        let answers = answers.into_iter().map(|at| known[usize::from(at)]).collect();
        let reply = ConfirmReply { hints, actor: actor.map(ActorId::new), answers };
        prop_assert_eq!(ConfirmReply::decode(body_of!(reply)).unwrap(), reply);
        let body = body_of!(confirm);
        prop_assert!(ConfirmRequest::decode(body.slice(..cut.index(body.len()))).is_err());
    }

    #[test]
    fn words_of_exchanges_come_back_as_they_went(
        (clock, root, leaf, hash) in any::<(u64, u64, u16, u64)>(), inner in prop::collection::vec(any::<u8>(), 0..64),
        (after, until, record) in (any_bytes(0..99), any_bytes(0..99), any_bytes(0..99)),
        sums in prop::collection::vec(any::<u64>(), 0..70), more in any::<bool>(),
        items in prop::collection::vec((any_bytes(0..50), any::<u64>()), 0..9),
    ) {
        let partition = PartitionId::new(leaf);
        let compare = CompareRequest { partition, clock, root, inner };
        prop_assert_eq!(CompareRequest::decode(body_of!(compare)).unwrap(), compare);
        let compared = CompareReply { ready: more, life: root, clock: record.clone(), sums };
        prop_assert_eq!(CompareReply::decode(body_of!(compared)).unwrap(), compared);
        let keys = KeysRequest { partition, leaf, after, until, hash };
        prop_assert_eq!(KeysRequest::decode(body_of!(keys)).unwrap(), keys);
        for reach in [Reach::All, Reach::More, Reach::Same] {
            let listed = KeysReply { reach, items: items.clone() };
            prop_assert_eq!(KeysReply::decode(body_of!(listed)).unwrap(), listed);
        }
        let settle = SettleRequest { partition, life: clock, clock: record };
        prop_assert_eq!(SettleRequest::decode(body_of!(settle)).unwrap(), settle);
    }

    #[test]
    fn every_truncation_of_a_request_is_refused(put in any_put(), cut in any::<prop::sample::Index>()) {
        let body = body_of!(put);
        let cut = cut.index(body.len());
        prop_assert!(PutRequest::decode(body.slice(..cut)).is_err());
    }

    #[test]
    fn decoders_never_panic_on_arbitrary_bytes(body in any_bytes(0..400)) {
        super::decode_any(&body);
    }

    #[test]
    fn decoders_never_panic_on_damaged_messages(
        put in any_put(),
        reply in any_get_reply(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        for body in [body_of!(put), body_of!(reply)] {
            let mut damaged = body.to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
            super::decode_any(&Bytes::from(damaged));
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut(
        bodies in prop::collection::vec(any_bytes(0..300), 1..9),
        step in 1_usize..200,
    ) {
        let mut stream = Vec::new();
        for (at, body) in bodies.iter().enumerate() {
            let header = Header::new(Kind::Put, at as u64, 5, LayoutId::new(1, 7 << 64));
            stream.extend_from_slice(&Frame::new(header, body.clone()).to_bytes());
        }
        let mut decoder = FrameDecoder::new(1000);
        let mut seen = Vec::new();
        for chunk in stream.chunks(step) {
            decoder.extend(chunk);
            while let Some(frame) = decoder.next_frame().unwrap() {
                prop_assert_eq!(frame.header.correlation, seen.len() as u64);
                prop_assert!(frame.header.names(LayoutId::new(1, 7 << 64)));
                seen.push(frame.body);
            }
        }
        prop_assert!(!decoder.is_mid_frame());
        prop_assert_eq!(seen, bodies);
    }

    #[test]
    fn frame_decoder_never_panics_and_never_holds_more_than_its_limit(
        chunks in prop::collection::vec(any_bytes(0..200), 0..20),
    ) {
        let mut decoder = FrameDecoder::new(500);
        for chunk in chunks {
            decoder.extend(&chunk);
            while let Ok(Some(frame)) = decoder.next_frame() {
                prop_assert!(frame.body.len() <= 500);
            }
        }
    }
}

#[test]
fn read_of_no_versions_or_of_too_many_is_refused() {
    let address = Address::new(Bytes::from_static(b"t"), Bytes::from_static(b"k"), Bytes::new()).unwrap();
    let mut body = Vec::new();
    ReadRequest { address, wanted: Vec::new() }.encode(&mut body);
    let with = |count: u16, dots: usize| {
        let mut body = body.clone();
        body.extend_from_slice(&count.to_be_bytes());
        body.resize(body.len() + dots * 16, 1);
        ReadRequest::decode(Bytes::from(body))
    };
    assert!(with(2, 2).is_ok());
    assert_eq!(with(0, 0), Err(WireError::Field { what: "number of versions", found: 0 }));
    assert_eq!(with(4097, 4097), Err(WireError::Field { what: "number of versions", found: 4097 }));
    assert_eq!(with(3, 2), Err(WireError::Truncated("versions")), "a count is believed only when the bytes are there");
    assert_eq!(with(1, 2), Err(WireError::Trailing(16)));
}

#[test]
fn oversized_frame_is_refused_before_its_body_arrives() {
    let mut decoder = FrameDecoder::new(1000);
    decoder.extend(&2_000_000_000_u32.to_be_bytes());
    assert_eq!(decoder.next_frame(), Err(WireError::Oversized { found: 2_000_000_000, limit: 1000 }));
}

#[test]
fn clients_may_not_send_what_replicas_send_each_other() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_u8(kind.as_u8()), Some(*kind));
        let people_only = matches!(kind, Kind::Inspect);
        assert!(!(people_only && kind.may_ask(Sender::Node)));
        let replica_only = matches!(kind, Kind::Read | Kind::Merge | Kind::Confirm | Kind::Reap);
        assert!(!(replica_only && kind.may_ask(Sender::Client)));
        assert!(!(replica_only && kind.may_ask(Sender::Admin)));
        assert!(!(matches!(kind, Kind::Create | Kind::State) && kind.may_ask(Sender::Client)));
        assert!(!(matches!(kind, Kind::Create | Kind::State) && kind.may_ask(Sender::Node)));
        assert!(!(kind.is_reply() && kind.may_ask(Sender::Node)));
    }
}

#[test]
fn more_items_than_a_round_has_are_refused() {
    let item = Reapable { key: Bytes::from_static(b"k"), hash: 1, past: VersionVector::new() };
    let request = ConfirmRequest { partition: PartitionId::new(9), items: vec![item; REAPING_ITEMS_MAX + 1] };
    let mut body = Vec::new();
    request.encode(&mut body);
    let refused = ConfirmRequest::decode(body.into());
    assert_eq!(refused, Err(WireError::Field { what: "count of items", found: 257 }));
}

#[test]
fn failure_comes_back_as_it_went() {
    let copy = StoredCopy { node: NodeId::new(5), primary: true, fsynced: false };
    let failure = Failure { stored: vec![copy], ..Failure::new(FailureCode::QuorumNotMet, "1 of 2") };
    assert_eq!(decode_control::<Failure>(&encode_control(&failure), "error"), Ok(failure));
}

#[test]
fn long_reasons_are_cut_between_letters_and_longer_ones_refused() {
    let told = |reason: &str| {
        let found = Inspected::Unreadable(reason.to_owned());
        let reply = InspectReply { found, unverified: false, hinted: false };
        let mut body = Vec::new();
        reply.encode(&mut body);
        assert_eq!(body.len(), reply.body_bytes());
        InspectReply::decode(body.into()).unwrap().found
    };
    let long = "\u{e9}".repeat(300);
    assert_eq!(told(&long), Inspected::Unreadable("\u{e9}".repeat(256)));
    assert_eq!(told(&format!("x{long}")), Inspected::Unreadable(format!("x{}", "\u{e9}".repeat(255))));
    let refused = InspectReply::decode(Bytes::from([&[2, 0][..], &[b'x'; 513]].concat()));
    assert_eq!(refused, Err(WireError::Field { what: "length of a reason", found: 513 }));
    assert_eq!(InspectReply::decode(Bytes::from_static(&[1, 0, 9])), Err(WireError::Trailing(1)));
}

#[test]
fn counts_come_back_as_they_went() {
    let mut times = crate::protocol::types::Histogram::<crate::protocol::types::Seconds>::default();
    times.record(7);
    let verb = VerbCounts { begun: 9, succeeded: 7, failed: 2, times: buckets_of(&times) };
    let shard = ShardCounts {
        shard: 1,
        at_ns: 5,
        gets: verb.clone(),
        puts: VerbCounts::default(),
        in_flight: 3,
        queued: vec![Bucket { up_to: u64::MAX, count: 4 }],
    };
    let counts = NodeCounts { shards: vec![shard; 64] };
    let body = encode_control(&counts);
    assert!(body.len() < 64 * 1_024, "{} bytes of 64 shards", body.len());
    assert_eq!(decode_control::<NodeCounts>(&body, "counts"), Ok(counts));
    assert!(decode_control::<NodeCounts>(&body[..body.len() - 1], "counts").is_err());
}

/// Nodes of different versions talk to each other while a cluster is upgraded: these bytes stay.
#[test]
fn golden_frame_pins_the_header() {
    let header = Header::new(Kind::Merge, 0x0102_0304_0506_0708, 500, LayoutId::new(7, 0xabcd << 112));
    let bytes = Frame::new(header.as_forwarded(), Bytes::from_static(b"\xee")).to_bytes();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(hex, "0000001d013200010102030405060708000001f400000007abcd000000000000ee");
}
