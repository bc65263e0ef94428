//! Fuzz targets, one per frame family, on stable Rust: valid messages are mutated and decoded.
//!
//! A coverage-guided fuzzer needs a nightly compiler; this one needs none, so it runs in every `make test`. Each target
//! starts from valid messages and damages them: bits, bytes, lengths, cuts, repeats, splices of two. A finding prints
//! the seed and the bytes. `QUORATE_FUZZ_SEED` and `QUORATE_FUZZ_ROUNDS` repeat or lengthen a run:
//!
//! ```text
//!   QUORATE_FUZZ_ROUNDS=50000000 cargo nextest run --release --test fuzz
//! ```

#![allow(clippy::unwrap_used, reason = "tests say with a panic what is wrong")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use quorate::protocol::merkle::{Listed, Tree, TreeStamp};
use quorate::protocol::replica::{ItemKey, PartitionClock};
use quorate::protocol::ring::{KeyHash, Layout, LayoutId, Member, Parameters, Roster};
use quorate::protocol::types::{
    ActorId, Address, BootGeneration, ClusterId, DiskId, Histogram, Hlc, NodeId, PartitionId, Seconds, Strictness,
    WriteId,
};
use quorate::protocol::version::{
    ConflictPolicy, Context, Dot, Head, Siblings, TokenKey, TokenKeys, Version, checksum,
};
use quorate::protocol::wire::{
    CompareReply, CompareRequest, Creation, Failure, FailureCode, Frame, FrameDecoder, GetReply, GetRequest, Header,
    Hello, InspectReply, InspectRequest, Inspected, KeysReply, KeysRequest, Kind, MergeReply, MergeRequest, NodeCounts,
    NodeState, NodeStatus, PutReply, PutRequest, Reach, ReadReply, ReadRequest, ReadResult, ScanReply, ScanRequest,
    ShardCounts, Stored, StoredCopy, TableRecord, VerbCounts, ViewReply, Vouch, Vouched, Want, buckets_of,
    decode_control, encode_control,
};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Rounds of one target in `make test`: about a second on one core.
const ROUNDS: u64 = 1_000_000;
/// No mutation makes a message longer than this.
const BYTES_MAX: usize = 4096;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Mutates the corpus and hands every result to the target, which must not panic.
fn fuzz(corpus: &[Vec<u8>], target: impl Fn(&Bytes)) {
    let seed = number("QUORATE_FUZZ_SEED", 1);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for valid in corpus {
        target(&Bytes::from(valid.clone()));
    }
    for round in 0..number("QUORATE_FUZZ_ROUNDS", ROUNDS) {
        let mut bytes = corpus[below(&mut rng, corpus.len())].clone();
        for _ in 0..=below(&mut rng, 4) {
            mutate(&mut rng, &mut bytes, corpus);
        }
        bytes.truncate(BYTES_MAX);
        let bytes = Bytes::from(bytes);
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(outcome.is_ok(), "seed {seed}, round {round}: a panic on {}", bytes.escape_ascii());
    }
}

fn below(rng: &mut Xoshiro256PlusPlus, bound: usize) -> usize {
    usize::try_from(rng.next_u64() % bound.max(1) as u64).expect("below a usize")
}

fn byte(rng: &mut Xoshiro256PlusPlus) -> u8 {
    rng.next_u64().to_be_bytes()[0]
}

fn mutate(rng: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = below(rng, bytes.len());
    let interesting = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    match below(rng, 7) {
        _ if bytes.is_empty() => bytes.push(byte(rng)),
        0 => bytes[at] ^= 1 << below(rng, 8),
        1 => bytes[at] = interesting[below(rng, interesting.len())],
        2 => bytes[at] = byte(rng),
        3 => bytes.truncate(at),
        4 => bytes.insert(at, interesting[below(rng, interesting.len())]),
        5 => {
            let end = (at + 1 + below(rng, 16)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            let other = &corpus[below(rng, corpus.len())];
            let from = below(rng, other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn address() -> Address {
    Address::new(Bytes::from_static(b"t"), Bytes::from_static(b"key\0\xff"), Bytes::from_static(b"s\0")).unwrap()
}

fn dot(actor: u64, counter: u64) -> Dot {
    Dot::new(ActorId::new(actor), counter)
}

fn item() -> Siblings {
    let mut item = Siblings::default();
    for n in 1..4 {
        let (write_id, value) = (WriteId::new(n), Bytes::from_static(b"value"));
        let checksum = checksum(&address(), write_id, false, &value);
        let dot = dot(7, u64::try_from(n).unwrap());
        let seen = if n == 2 { Context::of(&item) } else { Context::default() };
        let version = Version { dot, hlc: Hlc::ZERO, write_id, tombstone: false, expires_at: 0, checksum, value };
        item.put(&seen, version, ConflictPolicy::Siblings);
    }
    item
}

macro_rules! body {
    ($message:expr) => {{
        let mut out = Vec::new();
        $message.encode(&mut out);
        out
    }};
}

fn keys() -> TokenKeys {
    TokenKeys { current: TokenKey::new(1, [3; 16]), previous: None }
}

fn token() -> Bytes {
    Context::of(&item()).to_token(&address(), &keys())
}

fn put() -> PutRequest {
    PutRequest {
        address: address(),
        write_id: WriteId::new(1),
        want: Want::Value,
        w: 2,
        strictness: Strictness::Strict,
        token: token(),
        checksum: 5,
        value: Bytes::from_static(b"v"),
    }
}

fn stored() -> Stored {
    Stored { copies: vec![StoredCopy { node: NodeId::new(4), primary: true, fsynced: true }; 3] }
}

fn creation() -> Creation {
    let member = |n: u16| Member {
        id: NodeId::new(u128::from(n)),
        name: format!("n{n}"),
        zone: "z".to_owned(),
        weight: 1,
        address: ([127, 0, 0, 1], 7000 + n).into(),
    };
    let roster = Roster::new((1..4).map(member).collect()).unwrap();
    let parameters = Parameters { partitions: 8, replicas: 3, hash_seed: 1 };
    let layout = Layout::first(&roster, parameters).unwrap().id();
    let tables = vec![TableRecord { name: "latest".to_owned(), policy: ConflictPolicy::LastWriterWins }];
    Creation { cluster: ClusterId::new(1), roster, parameters, layout, token_keys: keys(), tables }
}

#[test]
fn frames() {
    let header = Header::new(Kind::Put, 9, 100, LayoutId::new(1, 2));
    let one = Frame::new(header, body!(put()).into()).to_bytes().to_vec();
    let two = [one.clone(), Frame::new(header.as_forwarded(), Bytes::new()).to_bytes().to_vec()].concat();
    fuzz(&[one, two], |bytes| {
        let mut decoder = FrameDecoder::new(BYTES_MAX);
        for chunk in bytes.chunks(100) {
            decoder.extend(chunk);
            while let Ok(Some(frame)) = decoder.next_frame() {
                assert!(frame.body.len() <= BYTES_MAX);
            }
        }
    });
}

#[test]
fn client_requests() {
    let get = GetRequest { address: address(), r: 2, strictness: Strictness::Sloppy };
    let scan = ScanRequest {
        partition: PartitionId::new(3),
        limit: 9,
        table: Bytes::from_static(b"t"),
        after: ItemKey::new(&address(), KeyHash::from_bits(5)).as_bytes().clone(),
    };
    let inspect = InspectRequest { address: address() };
    fuzz(&[body!(put()), body!(get), body!(scan), body!(inspect)], |bytes| {
        drop(InspectRequest::decode(bytes.clone()));
        if let Ok(put) = PutRequest::decode(bytes.clone()) {
            assert_eq!(body!(put).len(), bytes.len());
            drop(Context::from_token(&put.token, &put.address, &keys()));
        }
        drop(GetRequest::decode(bytes.clone()));
        drop(ScanRequest::decode(bytes.clone()));
    });
}

#[test]
fn client_replies() {
    let got = GetReply { token: token(), versions: item().show().live };
    let put = PutReply { dot: dot(1, 2), write_id: WriteId::new(3), versions: 1, token: token(), stored: stored() };
    let page = ScanReply { more: true, keys: vec![Bytes::from_static(b"k"); 4] };
    let account = |found| InspectReply { found, unverified: true, hinted: false };
    let head = account(Inspected::Head(Head::of(&item().to_record()).unwrap()));
    let unreadable = account(Inspected::Unreadable("why".to_owned()));
    fuzz(&[body!(got), body!(put), body!(page), body!(head), body!(unreadable)], |bytes| {
        if let Ok(InspectReply { found: Inspected::Head(head), .. }) = InspectReply::decode(bytes.clone()) {
            let lengths = Head::value_lengths(&head);
            // What a person is shown has a length for each version.
            if let Ok(head) = Head::decode(&head) {
                assert_eq!(lengths.unwrap().len(), head.item().versions().len());
            }
        }
        drop(GetReply::decode(bytes.clone()));
        drop(PutReply::decode(bytes.clone()));
        drop(ScanReply::decode(bytes.clone()));
    });
}

#[test]
fn replication() {
    let merge = MergeRequest { address: address(), record: item().to_record() };
    let read = ReadRequest { address: address(), wanted: Vec::new() };
    let some = ReadRequest { address: address(), wanted: vec![dot(1, 4), dot(3, 9)] };
    let found = ReadReply { result: ReadResult::Found(item().to_record()), unverified: true };
    let head = ReadReply { result: ReadResult::Head(Head::of(&item().to_record()).unwrap()), unverified: false };
    let part = ReadReply { result: ReadResult::Part(item().to_record()), unverified: false };
    fuzz(&[body!(merge), body!(read), body!(some), body!(found), body!(head), body!(part), vec![1]], |bytes| {
        if let Ok(merge) = MergeRequest::decode(bytes.clone()) {
            drop(quorate::protocol::replica::open_copy(&merge.address, &merge.record));
        }
        drop(ReadRequest::decode(bytes.clone()));
        if let Ok(ReadReply { result: ReadResult::Head(head), .. }) = ReadReply::decode(bytes.clone()) {
            drop(Head::decode(&head));
        }
        drop(MergeReply::decode(bytes.clone()));
    });
}

#[test]
fn exchanges() {
    let partition = PartitionId::new(3);
    let compare = CompareRequest { partition, clock: 7, root: 9, inner: vec![1, 63] };
    let compared = CompareReply { ready: true, life: 4, clock: Bytes::from_static(b"clock"), sums: vec![5; 64] };
    let key = ItemKey::new(&address(), KeyHash::from_bits(5)).as_bytes().clone();
    let keys = KeysRequest { partition, leaf: 4_095, after: key.clone(), until: key.clone(), hash: 8 };
    let listed = KeysReply { reach: Reach::More, items: vec![(key.clone(), 3), (key, 4)] };
    let stamp = TreeStamp { partition: 3, partition_bits: 6, sequence: 5, verified_ms: 9 };
    let mut tree = Tree::new();
    tree.begin_page([]);
    let items = (1..9).map(|at: u8| Listed {
        key: Bytes::from(vec![1, at, at, 3, 4, 5, 6, 7, 8]),
        hash: u64::from(at),
        reapable: false,
    });
    tree.finish_page(items.collect(), false, 6);
    let stored = tree.to_record(stamp).unwrap().to_vec();
    fuzz(&[body!(compare), body!(compared), body!(keys), body!(listed), stored], |bytes| {
        drop(CompareRequest::decode(bytes.clone()));
        drop(CompareReply::decode(bytes.clone()));
        drop(KeysRequest::decode(bytes.clone()));
        drop(KeysReply::decode(bytes.clone()));
        if let Some((tree, stamp)) = Tree::from_record(bytes) {
            assert_eq!(tree.to_record(stamp).as_ref(), Some(bytes), "an accepted record is canonical");
        }
    });
}

#[test]
fn records_tokens_and_keys() {
    let mut clock = PartitionClock::default();
    for n in [1, 2, 5, 9] {
        clock.add(dot(3, n));
    }
    let key = ItemKey::new(&address(), KeyHash::from_bits(5)).as_bytes().to_vec();
    fuzz(&[item().to_record().to_vec(), token().to_vec(), key, clock.to_record(4).to_vec()], |bytes| {
        if let Ok(item) = Siblings::decode(bytes) {
            assert_eq!(item.to_record(), bytes, "an accepted record is canonical");
        }
        drop(Head::decode(bytes));
        if let Ok(head) = Head::of(bytes) {
            drop(Head::decode(&head));
        }
        drop(Context::from_token(bytes, &address(), &keys()));
        drop(PartitionClock::from_record(bytes));
        if let Some(key) = ItemKey::from_bytes(bytes.clone()) {
            assert!(key.parts().is_some());
        }
    });
}

#[test]
fn control() {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        cluster: Some(ClusterId::new(1)),
        node: Some(NodeId::new(2)),
        generation: BootGeneration::new(3),
        disk: DiskId::new(4),
        process: 0,
        shard_ports: vec![7001, 7002],
        layouts: vec![LayoutId::new(1, 2)],
        features: 0,
    };
    let creation = creation();
    let view = ViewReply {
        cluster: creation.cluster,
        roster: creation.roster.clone(),
        parameters: creation.parameters,
        layout: creation.layout,
        read_quorum: 2,
        write_quorum: 2,
    };
    let failure = Failure { stored: stored().copies, ..Failure::new(FailureCode::QuorumNotMet, "1 of 2") };
    let state = NodeState { node: NodeId::new(1), name: "n1".to_owned(), creation: Some(creation.clone()) };
    let times = Histogram::<Seconds>::default();
    let verb = VerbCounts { begun: 9, succeeded: 7, failed: 2, times: buckets_of(&times) };
    let shard = ShardCounts { gets: verb.clone(), puts: verb, ..ShardCounts::default() };
    let corpus = [
        encode_control(&NodeCounts { shards: vec![shard; 2] }).to_vec(),
        encode_control(&hello).to_vec(),
        encode_control(&creation).to_vec(),
        encode_control(&view).to_vec(),
        encode_control(&failure).to_vec(),
        encode_control(&state).to_vec(),
        encode_control(&Vouched { continues: true, epoch: 9 }).to_vec(),
        encode_control(&Vouch::new(DiskId::new(9))).to_vec(),
    ];
    fuzz(&corpus, |bytes| {
        drop(decode_control::<Hello>(bytes, "hello"));
        drop(decode_control::<Failure>(bytes, "error"));
        drop(decode_control::<NodeState>(bytes, "state"));
        drop(decode_control::<NodeStatus>(bytes, "status"));
        drop(decode_control::<NodeCounts>(bytes, "counts"));
        drop(decode_control::<Vouched>(bytes, "vouched"));
        drop(decode_control::<Vouch>(bytes, "vouch"));
        drop(decode_control::<ViewReply>(bytes, "view"));
        // A creation that decodes is checked by computing its layout: hostile parameters must not cost the node its
        // life.
        if let Ok(creation) = decode_control::<Creation>(bytes, "create") {
            drop(Layout::verified(&creation.roster, creation.parameters, creation.layout));
        }
    });
}
