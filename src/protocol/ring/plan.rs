//! Who takes what: the assignment of a first layout.
//!
//! Each node gets a quota of replica positions by weight, at most one per partition. Partitions then take, one after
//! the other, the N nodes with the most quota left, from as many zones as possible. Taking the fullest first keeps the
//! quotas feasible to the end (the argument of Gale and Ryser), so the load is within one position of the weight.

use std::collections::BTreeMap;

use super::{Parameters, Roster};

/// Whose fault: the administrator's. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Fewer nodes than copies.
    #[error(
        "{replicas} replicas need at least {replicas} nodes, the roster has {nodes}; add nodes or lower --replicas"
    )]
    FewNodes {
        /// Copies wanted.
        replicas: u8,
        /// Nodes there are.
        nodes: usize,
    },
}

/// `replicas` indices into the roster per partition: deterministic in both arguments.
pub fn plan(roster: &Roster, parameters: Parameters) -> Result<Vec<u16>, PlanError> {
    let replicas = usize::from(parameters.replicas);
    let members = roster.members();
    if members.len() < replicas {
        return Err(PlanError::FewNodes { replicas: parameters.replicas, nodes: members.len() });
    }
    let partitions = u64::from(parameters.partitions);
    let zones = zones_of(roster);
    let zone_count = zones.iter().max().map_or(0, |last| last + 1);
    let mut left = node_quotas(roster, &zones, zone_count, partitions, replicas);
    let mut zone_left = vec![0_u64; zone_count];
    for (zone, quota) in zones.iter().zip(&left) {
        zone_left[*zone] += quota;
    }
    let mut firsts = vec![0_u64; members.len()];
    let mut owners = Vec::with_capacity(parameters.partitions as usize * replicas);
    for _ in 0..partitions {
        let mut chosen: Vec<usize> = Vec::with_capacity(replicas);
        for _ in 0..replicas {
            let used = |zone: usize| chosen.iter().filter(|at| zones[**at] == zone).count();
            let best = (0..members.len())
                .filter(|at| !chosen.contains(at))
                .min_by_key(|at| (used(zones[*at]), u64::MAX - zone_left[zones[*at]], u64::MAX - left[*at], *at))
                .expect("there are at least as many nodes as replicas, checked on entry");
            chosen.push(best);
        }
        for at in &chosen {
            left[*at] = left[*at].saturating_sub(1);
            zone_left[zones[*at]] = zone_left[zones[*at]].saturating_sub(1);
        }
        // The first owner is asked to coordinate first: give every node its share of that by weight.
        chosen.sort_by_key(|at| (firsts[*at] * 1_000_000 / u64::from(members[*at].weight), *at));
        firsts[chosen[0]] += 1;
        owners.extend(chosen.iter().map(|at| u16::try_from(*at).unwrap_or(u16::MAX)));
    }
    Ok(owners)
}

/// Each node's zone as a dense number; a node without a zone is one of its own.
fn zones_of(roster: &Roster) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    let mut next = 0;
    let mut number_of = |name: (bool, String)| {
        *numbers.entry(name).or_insert_with(|| {
            next += 1;
            next - 1
        })
    };
    let name = |member: &super::Member| match member.zone.is_empty() {
        true => (false, member.id.to_string()),
        false => (true, member.zone.clone()),
    };
    roster.members().iter().map(|member| number_of(name(member))).collect()
}

/// Positions per node: by weight inside zone quotas when there are zones enough, at most `partitions` each.
fn node_quotas(roster: &Roster, zones: &[usize], zone_count: usize, partitions: u64, replicas: usize) -> Vec<u64> {
    let weights: Vec<u64> = roster.members().iter().map(|member| u64::from(member.weight)).collect();
    let total = partitions * replicas as u64;
    if zone_count < replicas || zone_count == weights.len() {
        return share(total, &weights, &vec![partitions; weights.len()]);
    }
    let in_zone = |zone: usize| (0..weights.len()).filter(move |at| zones[*at] == zone);
    let zone_weights: Vec<u64> = (0..zone_count).map(|zone| in_zone(zone).map(|at| weights[at]).sum()).collect();
    let zone_quotas = share(total, &zone_weights, &vec![partitions; zone_count]);
    let mut quotas = vec![0; weights.len()];
    for (zone, quota) in zone_quotas.into_iter().enumerate() {
        let nodes: Vec<usize> = in_zone(zone).collect();
        let node_weights: Vec<u64> = nodes.iter().map(|at| weights[*at]).collect();
        for (at, part) in nodes.iter().zip(share(quota, &node_weights, &vec![partitions; nodes.len()])) {
            quotas[*at] = part;
        }
    }
    quotas
}

/// Splits `total` by weight with a cap each; what a cap cuts off goes to the others, fractions to the largest first.
fn share(total: u64, weights: &[u64], caps: &[u64]) -> Vec<u64> {
    let mut parts = vec![0_u64; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut rest = total;
    loop {
        let weight: u64 = open.iter().map(|at| weights[*at]).sum();
        let full: Vec<usize> = open
            .iter()
            .copied()
            .filter(|at| u128::from(rest) * u128::from(weights[*at]) >= u128::from(caps[*at]) * u128::from(weight))
            .collect();
        if full.is_empty() || weight == 0 {
            break;
        }
        for at in full {
            parts[at] = caps[at];
            rest = rest.saturating_sub(caps[at]);
            open.retain(|other| *other != at);
        }
    }
    let weight: u128 = open.iter().map(|at| u128::from(weights[*at])).sum();
    let mut fractions = Vec::with_capacity(open.len());
    let mut given = 0;
    for at in open {
        let exact = u128::from(rest) * u128::from(weights[at]);
        parts[at] = u64::try_from(exact / weight).unwrap_or(0);
        given += parts[at];
        fractions.push((u128::MAX - exact % weight, at));
    }
    fractions.sort_unstable();
    let spare = usize::try_from(rest.saturating_sub(given)).unwrap_or(0);
    for (_, at) in fractions.into_iter().take(spare) {
        parts[at] += 1;
    }
    parts
}
