//! Laws of placement.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::types::{Address, NodeId, PartitionId};

fn roster(weights_and_zones: &[(u32, u8)]) -> Roster {
    let member = |(at, &(weight, zone)): (usize, &(u32, u8))| Member {
        id: NodeId::new(at as u128 * 7919 + 1),
        name: format!("n{at}"),
        zone: if zone == 0 { String::new() } else { format!("z{zone}") },
        weight,
        address: SocketAddr::from(([127, 0, 0, 1], 7000 + u16::try_from(at).unwrap())),
    };
    Roster::new(weights_and_zones.iter().enumerate().map(member).collect()).unwrap()
}

#[test]
fn roster_digest_differs_with_every_field_of_a_member() {
    let whole = roster(&[(1, 0), (2, 1), (3, 2)]);
    let changed = |change: fn(&mut Member)| {
        let mut members = whole.members().to_vec();
        change(&mut members[1]);
        Roster::new(members).unwrap().digest()
    };
    assert_eq!(changed(|_| ()), whole.digest());
    let fields: [fn(&mut Member); 5] = [
        |member| member.id = NodeId::new(77),
        |member| member.name = "other".to_owned(),
        |member| member.zone = "other".to_owned(),
        |member| member.weight = 9,
        |member| member.address.set_port(9_999),
    ];
    let digests: BTreeSet<u64> = fields.into_iter().map(changed).chain([whole.digest()]).collect();
    assert_eq!(digests.len(), 6);
}

fn parameters(bits: u32, replicas: u8) -> Parameters {
    Parameters { partitions: 1 << bits, replicas, hash_seed: 42 }
}

proptest! {
    #[test]
    fn preference_lists_have_n_distinct_owners_and_then_everyone_else(
        nodes in prop::collection::vec((1_u32..1000, 0_u8..5), 1..12),
        bits in 0_u32..8,
        replicas in 1_u8..6,
    ) {
        let roster = roster(&nodes);
        let Ok(layout) = Layout::first(&roster, parameters(bits, replicas)) else {
            prop_assert!(nodes.len() < usize::from(replicas));
            return Ok(());
        };
        for partition in layout.partitions() {
            let list = PreferenceList::of(&layout, partition);
            prop_assert_eq!(list.primaries.len(), usize::from(replicas));
            let distinct: BTreeSet<_> = list.primaries.iter().chain(&list.fallbacks).collect();
            prop_assert_eq!(distinct.len(), list.primaries.len() + list.fallbacks.len());
            let named: BTreeSet<_> = layout.partitions().flat_map(|p| layout.owners(p).collect::<Vec<_>>()).collect();
            prop_assert_eq!(distinct.len(), named.union(&list.primaries.iter().copied().collect()).count());
        }
    }

    #[test]
    fn load_follows_weight_within_three_percent_or_one_position(
        nodes in prop::collection::vec(1_u32..5, 3..9),
    ) {
        let zoneless: Vec<_> = nodes.iter().map(|weight| (*weight, 0)).collect();
        let roster = roster(&zoneless);
        let layout = Layout::first(&roster, parameters(8, 3)).unwrap();
        let total: u32 = nodes.iter().sum();
        for member in roster.members() {
            let held = layout.owned_by(member.id).count() as f64;
            let fair = 256.0 * 3.0 * f64::from(member.weight) / f64::from(total);
            // A node cannot own a partition twice; what it cannot take goes to the others.
            if roster.members().iter().all(|m| 3.0 * f64::from(m.weight) <= f64::from(total)) {
                prop_assert!((held - fair).abs() <= (fair * 0.03).max(1.0), "{held} held, {fair} fair");
            } else {
                prop_assert!(held <= 256.0);
            }
        }
    }

    #[test]
    fn replicas_are_in_distinct_zones_when_zones_suffice(
        zones in prop::collection::vec(1_u8..6, 3..12),
    ) {
        let nodes: Vec<_> = zones.iter().map(|zone| (100, *zone)).collect();
        let layout = Layout::first(&roster(&nodes), parameters(6, 3)).unwrap();
        let zone_of = |id: NodeId| zones[usize::try_from((id.as_u128() - 1) / 7919).unwrap()];
        let there_are: BTreeSet<_> = zones.iter().collect();
        for partition in layout.partitions() {
            let used: BTreeSet<_> = layout.owners(partition).map(zone_of).collect();
            prop_assert_eq!(used.len(), there_are.len().min(3));
        }
    }

    #[test]
    fn partition_follows_the_hash_and_ignores_the_sort_key(
        key in prop::collection::vec(any::<u8>(), 1..40),
        sort in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let bare = Address::new(Bytes::from_static(b"t"), key.clone().into(), Bytes::new()).unwrap();
        let sorted = Address::new(Bytes::from_static(b"t"), key.into(), sort.into()).unwrap();
        prop_assert_eq!(KeyHash::of(&bare, 5), KeyHash::of(&sorted, 5));
        let hash = KeyHash::of(&bare, 5);
        prop_assert_eq!(u64::from(partition_of(hash, 6).as_u16()), hash.to_bits() >> 58);
        prop_assert_eq!(partition_of(hash, 0), PartitionId::new(0));
    }
}

#[test]
fn first_layout_is_the_same_on_every_node_and_differs_with_every_input() {
    let three = roster(&[(100, 0), (100, 0), (100, 0)]);
    let layout = Layout::first(&three, parameters(6, 3)).unwrap();
    assert_eq!(layout, Layout::first(&three, parameters(6, 3)).unwrap());
    assert_eq!(layout.id().to_string(), "1-".to_owned() + &format!("{:016x}", layout.id().hash_prefix()));
    for other in [
        Layout::first(&roster(&[(100, 0), (100, 0), (200, 0)]), parameters(6, 3)).unwrap(),
        Layout::first(&three, parameters(7, 3)).unwrap(),
        Layout::first(&three, Parameters { hash_seed: 43, ..parameters(6, 3) }).unwrap(),
    ] {
        assert_ne!(layout.id(), other.id());
        let refused = Layout::verified(&three, parameters(6, 3), other.id()).unwrap_err();
        assert!(matches!(refused, LayoutError::Differs { .. }), "{refused}");
    }
}

#[test]
fn coordination_is_spread_evenly() {
    let layout = Layout::first(&roster(&[(1, 0), (1, 0), (1, 0)]), parameters(6, 3)).unwrap();
    for node in layout.nodes() {
        let firsts = layout.partitions().filter(|p| layout.owners(*p).next() == Some(*node)).count();
        assert!((21..=22).contains(&firsts), "{firsts} of 64");
    }
}

#[test]
fn too_few_nodes_are_refused_with_both_numbers() {
    let error = Layout::first(&roster(&[(1, 0), (1, 0)]), parameters(6, 3)).unwrap_err();
    assert_eq!(error.to_string(), "3 replicas need at least 3 nodes, the roster has 2; add nodes or lower --replicas");
}

#[test]
fn golden_hashes_pin_the_placement_of_existing_data() {
    let address = |table: &'static str, key: &'static str| {
        Address::new(Bytes::from_static(table.as_bytes()), Bytes::from_static(key.as_bytes()), Bytes::new()).unwrap()
    };
    assert_ne!(KeyHash::of(&address("ab", "c"), 0), KeyHash::of(&address("a", "bc"), 0));
    assert_eq!(KeyHash::of(&address("t", "k"), 0).to_bits(), GOLDEN_T_K);
    assert_eq!(KeyHash::of(&address("users", "alice"), 42).to_bits(), GOLDEN_USERS_ALICE);
}

const GOLDEN_T_K: u64 = 13_775_314_880_373_105_695;
const GOLDEN_USERS_ALICE: u64 = 285_131_747_172_230_520;
