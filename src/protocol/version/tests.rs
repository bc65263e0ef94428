//! Laws of the join against a model that remembers the whole history.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::types::{ActorId, Address, Hlc, WriteId};

const REPLICAS: usize = 3;

/// One step of a random history of one item.
#[derive(Debug, Clone)]
enum Step {
    /// A client reads a replica and remembers what it saw in one of a few slots.
    Read { replica: usize, slot: usize },
    /// A client writes at a replica with the context in a slot.
    Put { replica: usize, slot: usize, hlc_lag: u64 },
    /// A client writes with the context that its last write answered.
    Chain { replica: usize, slot: usize },
    /// A client writes without a context.
    BlindPut { replica: usize },
    /// One replica sends its whole item to another.
    Exchange { source: usize, target: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..REPLICAS;
    prop_oneof![
        (replica.clone(), 0..4_usize).prop_map(|(replica, slot)| Step::Read { replica, slot }),
        (replica.clone(), 0..4_usize, 0..40_u64).prop_map(|(replica, slot, hlc_lag)| Step::Put {
            replica,
            slot,
            hlc_lag
        }),
        (replica.clone(), 0..4_usize).prop_map(|(replica, slot)| Step::Chain { replica, slot }),
        replica.clone().prop_map(|replica| Step::BlindPut { replica }),
        (replica.clone(), replica).prop_map(|(source, target)| Step::Exchange { source, target }),
    ]
}

/// The full history: what each write had seen, and what each replica knows of.
#[derive(Default)]
struct History {
    seen: Vec<(Dot, BTreeSet<Dot>)>,
    known: [BTreeSet<Dot>; REPLICAS],
}

impl History {
    /// The maximal elements of what a replica knows.
    fn maximal(&self, replica: usize) -> Vec<Dot> {
        let known = &self.known[replica];
        let replaced = |dot: &Dot| self.seen.iter().any(|(by, seen)| known.contains(by) && seen.contains(dot));
        known.iter().copied().filter(|dot| !replaced(dot)).collect()
    }
}

struct World {
    items: Vec<Siblings>,
    states: Vec<Siblings>,
    history: History,
}

fn version(dot: Dot, hlc: u64) -> Version {
    let write_id = WriteId::new((u128::from(dot.actor().as_u64()) << 64) | u128::from(dot.counter()));
    let value = Bytes::from(format!("{dot}"));
    Version { dot, hlc: Hlc::from_bits(hlc), write_id, tombstone: false, expires_at: 0, checksum: 0, value }
}

/// Runs a history with stamps as skewed as `hlc_lag` says. In a last-writer-wins table a coordinator raises its
/// stamp above what it knows, unless `raise` is off.
fn run(steps: &[Step], policy: ConflictPolicy, raise: bool) -> World {
    let mut items = vec![Siblings::default(); REPLICAS];
    let mut states = vec![Siblings::default()];
    let mut history = History::default();
    let mut slots = vec![(Context::default(), BTreeSet::new()); 4];
    let mut chains = slots.clone();
    let mut counters = [0_u64; REPLICAS];
    for (time, step) in (100_u64..).zip(steps) {
        match *step {
            Step::Read { replica, slot } => {
                slots[slot] = (Context::of(&items[replica]), history.known[replica].clone());
            }
            Step::Put { .. } | Step::BlindPut { .. } | Step::Chain { .. } => {
                let (replica, (seen, mut seen_dots), lag, chain) = match *step {
                    Step::Put { replica, slot, hlc_lag } => (replica, slots[slot].clone(), hlc_lag, None),
                    Step::Chain { replica, slot } => (replica, chains[slot].clone(), 0, Some(slot)),
                    Step::BlindPut { replica } => (replica, Default::default(), 0, None),
                    _ => unreachable!(),
                };
                counters[replica] += 1;
                let dot = Dot::new(ActorId::new(replica as u64 + 1), counters[replica]);
                let mut hlc = time - lag.min(time);
                if raise {
                    hlc = hlc.max(items[replica].hlc().max(seen.hlc).to_bits() + 1);
                }
                // A coordinator fetches what its client has seen before it writes.
                if !items[replica].knows_all(&seen) {
                    for other in items.clone() {
                        items[replica].join(&other, policy);
                    }
                    let all: Vec<Dot> = history.known.iter().flatten().copied().collect();
                    history.known[replica].extend(all);
                }
                items[replica].put(&seen, version(dot, hlc), policy);
                history.known[replica].insert(dot);
                history.seen.push((dot, seen_dots.clone()));
                if let Some(slot) = chain {
                    seen_dots.insert(dot);
                    chains[slot] = (seen.after_write(dot, &items[replica]), seen_dots);
                    if items[replica].versions().len() == 1 {
                        chains[slot].1.extend(&history.known[replica]);
                    }
                }
            }
            Step::Exchange { source, target } => {
                let other = items[source].clone();
                items[target].join(&other, policy);
                let known = history.known[source].clone();
                history.known[target].extend(known);
            }
        }
        states.extend(items.iter().cloned());
    }
    World { items, states, history }
}

fn joined(a: &Siblings, b: &Siblings, policy: ConflictPolicy) -> Siblings {
    let mut out = a.clone();
    out.join(b, policy);
    out
}

fn assert_laws(a: &Siblings, b: &Siblings, c: &Siblings, policy: ConflictPolicy) {
    assert_eq!(joined(a, a, policy), *a, "idempotent");
    assert_eq!(joined(a, b, policy), joined(b, a, policy), "commutative");
    let left = joined(&joined(a, b, policy), c, policy);
    let right = joined(a, &joined(b, c, policy), policy);
    assert_eq!(left, right, "associative");
    assert!(!joined(&left, a, policy).ne(&left), "the join is above its parts");
}

proptest! {
    #[test]
    fn join_is_commutative_associative_and_idempotent(
        steps in prop::collection::vec(step(), 1..60),
        picks in prop::array::uniform3(any::<prop::sample::Index>()),
    ) {
        for policy in [ConflictPolicy::Siblings, ConflictPolicy::LastWriterWins] {
            for raise in [true, false] {
                let world = run(&steps, policy, raise);
                let [a, b, c] = picks.map(|pick| pick.get(&world.states).clone());
                assert_laws(&a, &b, &c, policy);
            }
        }
    }

    #[test]
    fn state_dominates_another_exactly_when_their_join_is_it(
        steps in prop::collection::vec(step(), 1..60),
        picks in prop::array::uniform2(any::<prop::sample::Index>()),
    ) {
        let world = run(&steps, ConflictPolicy::Siblings, true);
        let [a, b] = picks.map(|pick| pick.get(&world.states).clone());
        prop_assert_eq!(a.dominates(&b), joined(&a, &b, ConflictPolicy::Siblings) == a);
    }

    #[test]
    fn siblings_agree_with_the_full_history(steps in prop::collection::vec(step(), 1..80)) {
        let world = run(&steps, ConflictPolicy::Siblings, true);
        for (replica, item) in world.items.iter().enumerate() {
            let held: Vec<Dot> = item.versions().iter().map(|version| version.dot).collect();
            prop_assert_eq!(held, world.history.maximal(replica));
        }
    }

    #[test]
    fn last_writer_wins_keeps_one_version_and_never_an_overwritten_one(steps in prop::collection::vec(step(), 1..80)) {
        let world = run(&steps, ConflictPolicy::LastWriterWins, true);
        for (replica, item) in world.items.iter().enumerate() {
            prop_assert!(item.versions().len() <= 1);
            for version in item.versions() {
                let overwrites = |(by, seen): &(Dot, BTreeSet<Dot>)| {
                    world.history.known[replica].contains(by) && seen.contains(&version.dot)
                };
                prop_assert!(!world.history.seen.iter().any(overwrites), "{} was overwritten", version.dot);
            }
        }
    }

    #[test]
    fn record_round_trips_and_is_canonical(steps in prop::collection::vec(step(), 1..40)) {
        for item in run(&steps, ConflictPolicy::Siblings, true).items {
            let record = item.to_record();
            prop_assert_eq!(record.len(), item.record_bytes());
            let back = Siblings::decode(&record).unwrap();
            prop_assert_eq!(&back, &item);
            prop_assert_eq!(back.to_record(), record.clone());
            let head = Head::decode(&Head::of(&record).unwrap()).unwrap();
            prop_assert!(head.item().is_alike(&item));
            let with_values = item.versions().iter().filter(|version| !version.value.is_empty());
            prop_assert_eq!(head.lacking(), with_values.map(|version| version.dot).collect::<Vec<_>>());
            let lengths: Vec<usize> = item.versions().iter().map(|version| version.value.len()).collect();
            prop_assert_eq!(Head::value_lengths(&Head::of(&record).unwrap()), Ok(lengths));
            let mut filled = head.item().clone();
            filled.fill(&item);
            prop_assert_eq!(&filled, &item);
            prop_assert_eq!(Head::decode(&record).is_ok(), item.value_bytes() == 0, "a record with values is no head");
        }
    }

    #[test]
    fn record_decoder_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), valid_start in any::<bool>()) {
        let mut bytes = bytes;
        if valid_start {
            let mut front = vec![1, 0, 0, 0, u8::try_from(bytes.len() / 2).unwrap(), 0, 0, 0, 0, 0, 0, 0, 0];
            front.append(&mut bytes);
            bytes = front;
        }
        let bytes = Bytes::from(bytes);
        if let Ok(item) = Siblings::decode(&bytes) {
            prop_assert_eq!(item.to_record(), bytes);
        }
    }

    #[test]
    fn torn_record_is_refused(steps in prop::collection::vec(step(), 5..40), cut in any::<prop::sample::Index>()) {
        let record = run(&steps, ConflictPolicy::Siblings, true).items[0].to_record();
        let torn = record.slice(..cut.index(record.len()));
        prop_assert!(Siblings::decode(&torn).is_err());
    }
}

fn dot(actor: u64, counter: u64) -> Dot {
    Dot::new(ActorId::new(actor), counter)
}

fn item(vector: &[(u64, u64)], versions: Vec<Version>) -> Siblings {
    let entries = vector.iter().map(|&(a, n)| (ActorId::new(a), n)).collect();
    Siblings::from_parts(VersionVector::from_sorted(entries).unwrap(), versions).unwrap()
}

/// x has the greatest stamp, y overwrote x all the same (its coordinator did not raise), z is concurrent and between.
/// No coordinator of ours makes such a y; a peer's old disk might, and replicas must still agree.
#[test]
fn last_writer_wins_join_is_associative_on_the_triple_y_z_x() {
    let x = item(&[], vec![version(dot(1, 1), 30)]);
    let y = item(&[(1, 1)], vec![version(dot(2, 1), 10)]);
    let z = item(&[], vec![version(dot(3, 1), 20)]);
    for [a, b, c] in [[&x, &y, &z], [&x, &z, &y], [&y, &x, &z], [&y, &z, &x], [&z, &x, &y], [&z, &y, &x]] {
        assert_laws(a, b, c, ConflictPolicy::LastWriterWins);
    }
}

/// The design's section 4 rule 3 collapses at merge. Then this triple gives two outcomes, by order of merging:
/// d1 and d2 are one write, c replaced d1. Joined first, d1 stands for both and c replaces it; joined last, d2 stays.
#[test]
fn collapse_in_the_join_would_not_be_associative() {
    let collapse = |mut item: Siblings| {
        if item.versions().len() > 1 && item.versions()[0].write_id == item.versions()[1].write_id {
            let mut vector = item.vector().clone();
            vector.add(item.versions()[1].dot);
            item = Siblings::from_parts(vector, vec![item.versions()[0].clone()]).unwrap();
        }
        item
    };
    let policy = ConflictPolicy::Siblings;
    let one = version(dot(1, 1), 1);
    let two = Version { dot: dot(2, 1), ..one.clone() };
    let (a, b) = (item(&[], vec![one]), item(&[], vec![two]));
    let c = item(&[(1, 1)], vec![version(dot(3, 1), 2)]);
    let first = collapse(joined(&collapse(joined(&a, &b, policy)), &c, policy));
    let last = collapse(joined(&a, &collapse(joined(&b, &c, policy)), policy));
    assert_ne!(first, last);
}

#[test]
fn two_versions_of_one_write_are_shown_once_and_replaced_together() {
    let one = version(dot(1, 1), 1);
    let two = Version { dot: dot(2, 1), ..one.clone() };
    let mut both = joined(&item(&[], vec![one]), &item(&[], vec![two]), ConflictPolicy::Siblings);
    let shown = both.show();
    assert_eq!(shown.live.len(), 1);
    assert_eq!(shown.live[0].dot, dot(1, 1));
    both.put(&shown.context, version(dot(1, 2), 3), ConflictPolicy::Siblings);
    assert_eq!(both.versions().len(), 1);
}

/// A client that knew a write under one dot replaced it; the other dot was left beside the new value. The earlier
/// sibling of the twin's actor, which nobody has replaced, must stay.
#[test]
fn put_over_one_twin_replaces_the_other_and_no_sibling_of_its_actor() {
    let one = version(dot(1, 2), 1);
    let two = Version { dot: dot(2, 1), ..one.clone() };
    let seen_in_full = Context::of(&item(&[], vec![two.clone()]));
    let own_only = Context { own: Some(dot(2, 1)), ..Context::default() };
    for seen in [seen_in_full, own_only] {
        let mut state = item(&[], vec![version(dot(1, 1), 1), one.clone(), two.clone()]);
        state.put(&seen, version(dot(3, 1), 2), ConflictPolicy::Siblings);
        assert_eq!(state, item(&[(1, 2), (2, 1)], vec![version(dot(1, 1), 1), version(dot(3, 1), 2)]));
        assert!(state.has_replaced(dot(1, 2)) && !state.has_replaced(dot(1, 1)) && !state.has_replaced(dot(3, 1)));
    }
    let mut state = item(&[], vec![one.clone(), two]);
    state.put(&Context::default(), version(dot(3, 1), 2), ConflictPolicy::Siblings);
    assert_eq!(state.versions().len(), 3, "who has seen neither replaces neither");
}

#[test]
fn put_with_old_context_creates_sibling() {
    let mut state = Siblings::default();
    let policy = ConflictPolicy::Siblings;
    state.put(&Context::default(), version(dot(1, 1), 1), policy);
    let old = Context::of(&state);
    state.put(&old, version(dot(1, 2), 2), policy);
    state.put(&old, version(dot(1, 3), 3), policy);
    assert_eq!(state.show().live.len(), 2);
    state.put(&Context::of(&state), version(dot(1, 4), 4), policy);
    assert_eq!(state.show().live.len(), 1);
}

#[test]
fn tombstone_beside_one_live_version_reads_as_that_version() {
    let tomb = Version { tombstone: true, value: Bytes::new(), ..version(dot(1, 1), 1) };
    let state = item(&[], vec![tomb, version(dot(2, 1), 2)]);
    let shown = state.show();
    assert_eq!(shown.live.len(), 1);
    assert!(shown.context.covers(dot(1, 1)));
}

mod token {
    use super::*;

    fn keys() -> TokenKeys {
        TokenKeys { current: TokenKey::new(1, [7; 16]), previous: None }
    }

    fn address(key: &'static str) -> Address {
        Address::new(Bytes::from_static(b"t"), Bytes::from_static(key.as_bytes()), Bytes::new()).unwrap()
    }

    fn context() -> Context {
        let mut vector = VersionVector::new();
        vector.add(dot(9, 4));
        vector.add(dot(3, 2));
        Context { vector, own: Some(dot(5, 6)), hlc: Hlc::from_bits(77) }
    }

    #[test]
    fn token_comes_back_as_it_went() {
        let token = context().to_token(&address("k"), &keys());
        let text = Context::token_to_text(&token);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let back = Context::token_from_text(&text).unwrap();
        assert_eq!(Context::from_token(&back, &address("k"), &keys()), Ok(context()));
    }

    #[test]
    fn every_single_changed_byte_is_refused() {
        let token = context().to_token(&address("k"), &keys());
        for at in 0..token.len() {
            let mut forged = token.to_vec();
            forged[at] ^= 1;
            assert!(Context::from_token(&forged, &address("k"), &keys()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn token_of_another_address_is_refused_as_such() {
        let token = context().to_token(&address("k"), &keys());
        assert_eq!(Context::from_token(&token, &address("l"), &keys()), Err(ContextError::Address));
    }

    #[test]
    fn token_of_a_rotated_key_is_believed_until_the_key_is_dropped() {
        let token = context().to_token(&address("k"), &keys());
        let rotated = TokenKeys { current: TokenKey::new(2, [8; 16]), previous: Some(keys().current) };
        assert!(Context::from_token(&token, &address("k"), &rotated).is_ok());
        let dropped = TokenKeys { previous: None, ..rotated };
        assert_eq!(Context::from_token(&token, &address("k"), &dropped), Err(ContextError::Key(1)));
    }

    #[test]
    fn truncated_foreign_and_garbage_tokens_are_told_apart() {
        let token = context().to_token(&address("k"), &keys());
        assert!(matches!(Context::from_token(&token[..10], &address("k"), &keys()), Err(ContextError::Length(10))));
        let mut foreign = token.to_vec();
        foreign[0] = 9;
        assert_eq!(Context::from_token(&foreign, &address("k"), &keys()), Err(ContextError::Format(9)));
        assert_eq!(Context::token_from_text("no spaces!"), Err(ContextError::Text));
    }

    proptest! {
        #[test]
        fn token_reader_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Context::from_token(&bytes, &address("k"), &keys()).is_err());
        }
    }
}

/// Two clients write without a context at one coordinator; the second goes on with the context of its own answer.
/// A vector alone would say that it had seen the first client's write, and would drop it.
#[test]
fn context_of_a_write_does_not_cover_the_sibling_beside_it() {
    let mut state = Siblings::default();
    let policy = ConflictPolicy::Siblings;
    state.put(&Context::default(), version(dot(1, 1), 1), policy);
    state.put(&Context::default(), version(dot(1, 2), 2), policy);
    let answered = Context::default().after_write(dot(1, 2), &state);
    state.put(&answered, version(dot(1, 3), 3), policy);
    let held: Vec<Dot> = state.versions().iter().map(|version| version.dot).collect();
    assert_eq!(held, [dot(1, 1), dot(1, 3)]);
}

/// Of the header of the golden record.
const CHECKSUM: &str = "64409aa2458d3296";

/// Data on disks and frames between versions of the program depend on these bytes.
#[test]
fn golden_record_pins_the_format() {
    let tomb = Version { tombstone: true, value: Bytes::new(), ..version(dot(2, 3), 5) };
    let record = item(&[(1, 4)], vec![version(dot(2, 1), 7), tomb]).to_record();
    let hex = record.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let vector = "0001000000000000000100000000000000040002";
    let live = "0000000000000002000000000000000100000000000000070000000000000002000000000000000100\
                0000000000000000000000120000000000000000";
    let dead = "0000000000000002000000000000000300000000000000050000000000000002000000000000000301\
                0000000000000000000000000000000000000000";
    let value = "303030303030303030303030303030323a31";
    assert_eq!(hex, format!("010000008e{CHECKSUM}{vector}{live}{dead}{value}"));
}

#[test]
fn reapable_is_what_has_no_value_or_a_long_past() {
    use crate::protocol::types::limits::VECTOR_ENTRIES_KEPT;
    let tomb = |at: u64| Version { tombstone: true, value: Bytes::new(), ..version(dot(at, 9), 5) };
    let kept: Vec<(u64, u64)> = (10..).zip(1..).take(VECTOR_ENTRIES_KEPT).collect();
    let long: Vec<(u64, u64)> = (10..).zip(1..).take(VECTOR_ENTRIES_KEPT + 1).collect();
    for (item, reapable) in [
        (item(&kept, vec![tomb(1), tomb(2)]), true),
        (item(&kept, vec![tomb(1), version(dot(2, 9), 7)]), false),
        (item(&long, vec![version(dot(2, 9), 7)]), true),
        (item(&[(1, 4)], vec![]), true),
    ] {
        let record = item.to_record();
        assert_eq!(is_reapable(&record), reapable, "{item:?}");
        assert_eq!(item.is_dead() || item.vector().len() > VECTOR_ENTRIES_KEPT, reapable, "{item:?}");
        for cut in 0..record.len() {
            std::hint::black_box(is_reapable(&record[..cut]));
        }
    }
}

#[test]
fn what_is_retired_enters_the_past() {
    let tomb = Version { tombstone: true, value: Bytes::new(), ..version(dot(2, 3), 5) };
    let mut state = item(&[(1, 4)], vec![version(dot(2, 1), 7), tomb, version(dot(3, 1), 8)]);
    let retired = state.retire(|of| of.actor() == ActorId::new(2));
    assert_eq!(retired, Retired { versions: 2, values: 1, rest: 1 });
    assert_eq!(state, item(&[(1, 4), (2, 3)], vec![version(dot(3, 1), 8)]));
    assert_eq!(state.without_entries(&[dot(1, 4)]), item(&[(2, 3)], vec![version(dot(3, 1), 8)]));
}
