//! Rows of the catalogue that need more than a line: several samples, of all shards together.

use std::collections::BTreeMap;

use super::numbers::NodeNumbers;
use super::page::Samples;
use crate::protocol::shard::{EXPIRING, Measures, PEERS_MAX, TableMeasures, Verb, VerbMeasures};
use crate::protocol::types::{Histogram, Scale, Seconds};
use crate::protocol::wire::FailureCode;

/// What clients ask for.
const VERBS: [Verb; 2] = [Verb::Get, Verb::Put];
/// What tables and peers beyond their bounds are counted under: no table can have this name.
const OTHERS: &str = "(other)";

/// What all shards have counted.
pub(super) fn sum_of<'a, S: Scale + 'a>(parts: impl Iterator<Item = &'a Histogram<S>>) -> Histogram<S> {
    let mut sum = Histogram::default();
    parts.for_each(|part| sum.absorb(part));
    sum
}

/// A distribution of both verbs.
pub(super) fn by_verb(numbers: &NodeNumbers, out: &mut Samples, of: fn(&VerbMeasures) -> &Histogram<Seconds>) {
    for verb in VERBS {
        out.put_histogram(&[verb.as_str()], &sum_of(numbers.measures().map(|measures| of(measures.of(verb)))));
    }
}

/// Every outcome of both, also those that did not happen: the first failure is then a rise, not a beginning.
pub(super) fn answers(numbers: &NodeNumbers, out: &mut Samples) {
    for verb in VERBS {
        let succeeded: u64 = numbers.measures().map(|measures| measures.of(verb).succeeded).sum();
        out.put(&[verb.as_str(), "ok"], succeeded as f64);
        for code in FailureCode::ALL.map(FailureCode::as_str) {
            let failed: u64 = numbers.measures().filter_map(|measures| measures.of(verb).failed.get(code)).sum();
            out.put(&[verb.as_str(), code], failed as f64);
        }
    }
}

/// Every code, as above.
pub(super) fn failures(numbers: &NodeNumbers, out: &mut Samples) {
    for code in FailureCode::ALL.map(FailureCode::as_str) {
        let failed: u64 = numbers.shards.iter().filter_map(|shard| shard.counters.failures.get(code)).sum();
        out.put(&[code], failed as f64);
    }
}

/// What came too late, also what did not.
pub(super) fn expired(numbers: &NodeNumbers, out: &mut Samples) {
    for kind in EXPIRING {
        let expired: u64 = numbers.shards.iter().filter_map(|shard| shard.counters.expired.get(kind)).sum();
        out.put(&[kind], expired as f64);
    }
}

/// What reaping waited for.
pub(super) fn blocked(numbers: &NodeNumbers, out: &mut Samples) {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (why, count) in numbers.shards.iter().flat_map(|shard| &shard.counters.reaping_blocked) {
        *sums.entry(why).or_default() += count;
    }
    for (why, count) in sums {
        out.put(&[why], count as f64);
    }
}

/// By table, and what is left.
pub(super) fn tables(numbers: &NodeNumbers, out: &mut Samples) {
    let mut tables = BTreeMap::<&str, TableMeasures>::new();
    let named = |measures| {
        let Measures { tables, other_tables, .. }: &Measures = measures;
        let others = std::iter::once((OTHERS, other_tables));
        tables.iter().map(|(table, counts)| (table.as_str(), counts)).chain(others)
    };
    for (table, counts) in numbers.measures().flat_map(named) {
        let sum = tables.entry(table).or_default();
        sum.gets += counts.gets;
        sum.puts += counts.puts;
    }
    for (table, counts) in tables {
        out.put(&[table, "get"], counts.gets as f64);
        out.put(&[table, "put"], counts.puts as f64);
    }
}

/// Peers whose answers nobody has measured are left out, this node among them.
pub(super) fn round_trips(numbers: &NodeNumbers, out: &mut Samples) {
    for (place, name) in numbers.names.iter().enumerate() {
        let sum = sum_of(numbers.measures().filter_map(|measures| measures.round_trips.get(place)));
        let shared = place + 1 == PEERS_MAX && numbers.names.len() > PEERS_MAX;
        if sum.count() > 0 {
            out.put_histogram(&[if shared { OTHERS } else { name }], &sum);
        }
    }
}
