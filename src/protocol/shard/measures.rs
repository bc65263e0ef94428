//! What a shard measures for operators: how long requests and their quorums take, how they end, what reads find.
//!
//! ```text
//!   began        copies asked for         R-th or W-th answer      told
//!     |--- own copy, fetch, turn ---|---------- quorum ---------|-- write-back --|
//!     |--------------------------------- request -------------------------------|
//!                                   |--- round trip of each replica ---|
//! ```
//!
//! The times are those of the inputs (`now`), so the rules stay without a clock. Everything here is a plain number of
//! one thread; `Shard::measures` is copied out by the driver.
//!
//! Invariants: recording allocates nothing, but for a table's first request; the number of tables and peers that are
//! kept apart is bounded, for each is a label on somebody's disk.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::PeerIndex;
use super::operation::Request;
use crate::protocol::types::{Histogram, Seconds, TableName, Versions};
use crate::protocol::wire::{FailureCode, Kind};

/// Tables that a shard counts by name, the first that come; later ones share [`Measures::other_tables`].
pub const TABLES_MAX: usize = 32;
/// Peers whose round trips are kept apart, by their place in the layout; later ones share the last place.
pub const PEERS_MAX: usize = 64;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// To read an item.
    Get,
    /// To write or delete one.
    Put,
}

impl Verb {
    /// As operators see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
        }
    }

    /// What a client's frame asks for; none when it is about no single item.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Get => Some(Self::Get),
            Kind::Put => Some(Self::Put),
            _ => None,
        }
    }

    pub(super) const fn of_request(request: &Request) -> Self {
        match request {
            Request::Get { .. } => Self::Get,
            Request::Put(_) => Self::Put,
        }
    }
}

/// What is measured of one verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerbMeasures {
    /// From the request to its answer, of those that succeeded.
    pub request: Histogram<Seconds>,
    /// From asking the replicas to the answer that made the quorum.
    pub quorum: Histogram<Seconds>,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// Those that did not, by code.
    pub failed: BTreeMap<&'static str, u64>,
}

/// Requests of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableMeasures {
    /// Reads coordinated.
    pub gets: u64,
    /// Writes coordinated.
    pub puts: u64,
}

impl TableMeasures {
    fn count(&mut self, verb: Verb) {
        match verb {
            Verb::Get => self.gets += 1,
            Verb::Put => self.puts += 1,
        }
    }
}

/// Everything since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measures {
    /// Reads.
    pub gets: VerbMeasures,
    /// Writes.
    pub puts: VerbMeasures,
    /// Live versions that each read found.
    pub versions: Histogram<Versions>,
    /// From asking a replica to its answer, by peer.
    pub round_trips: Vec<Histogram<Seconds>>,
    /// Requests by table, for the first [`TABLES_MAX`].
    pub tables: BTreeMap<TableName, TableMeasures>,
    /// Requests of all other tables.
    pub other_tables: TableMeasures,
}

impl Measures {
    /// One of the two.
    #[must_use]
    pub fn of(&self, verb: Verb) -> &VerbMeasures {
        match verb {
            Verb::Get => &self.gets,
            Verb::Put => &self.puts,
        }
    }

    fn of_mut(&mut self, verb: Verb) -> &mut VerbMeasures {
        match verb {
            Verb::Get => &mut self.gets,
            Verb::Put => &mut self.puts,
        }
    }

    /// A request is coordinated here.
    pub(super) fn began(&mut self, verb: Verb, table: &TableName) {
        if let Some(counts) = self.tables.get_mut(table) {
            return counts.count(verb);
        }
        if self.tables.len() >= TABLES_MAX {
            return self.other_tables.count(verb);
        }
        // A copy of its own: the request's name is a piece of the frame that it came in.
        let name = Bytes::copy_from_slice(table.as_bytes());
        if let Ok(name) = TableName::new(name) {
            self.tables.entry(name).or_default().count(verb);
        }
    }

    /// Enough replicas have answered, this long after they were asked.
    pub(super) fn quorum_met(&mut self, verb: Verb, after: Duration) {
        self.of_mut(verb).quorum.record_time(after);
    }

    /// The client is told of success, this long after it asked.
    pub(super) fn succeeded(&mut self, verb: Verb, after: Duration) {
        let measures = self.of_mut(verb);
        measures.succeeded += 1;
        measures.request.record_time(after);
    }

    /// The client is told of a failure.
    pub(super) fn failed(&mut self, verb: Verb, code: FailureCode) {
        *self.of_mut(verb).failed.entry(code.as_str()).or_default() += 1;
    }

    /// A read found so many live versions.
    pub(super) fn read(&mut self, versions: usize) {
        self.versions.record(versions as u64);
    }

    /// A replica answered, this long after it was asked.
    pub(super) fn answered(&mut self, peer: PeerIndex, after: Duration) {
        let at = peer.as_index().min(PEERS_MAX - 1);
        if self.round_trips.len() <= at {
            self.round_trips.resize(at + 1, Histogram::default());
        }
        if let Some(round_trips) = self.round_trips.get_mut(at) {
            round_trips.record_time(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: usize) -> TableName {
        TableName::new(format!("t{number}").into()).unwrap()
    }

    #[test]
    fn tables_are_counted_by_name_up_to_the_bound_and_none_is_lost() {
        let mut measures = Measures::default();
        for round in 0..3 {
            for number in 0..TABLES_MAX + 10 {
                measures.began(if round == 0 { Verb::Get } else { Verb::Put }, &table(number));
            }
        }
        assert_eq!(measures.tables.len(), TABLES_MAX);
        assert_eq!(measures.tables[&table(0)], TableMeasures { gets: 1, puts: 2 });
        assert_eq!(measures.other_tables, TableMeasures { gets: 10, puts: 20 });
    }

    #[test]
    fn peers_beyond_the_bound_share_the_last_place() {
        let mut measures = Measures::default();
        for peer in [0, 63, 64, u16::MAX] {
            measures.answered(PeerIndex::new(peer), Duration::from_millis(1));
        }
        assert_eq!(measures.round_trips.len(), PEERS_MAX);
        assert_eq!(measures.round_trips[PEERS_MAX - 1].count(), 3);
        assert_eq!(measures.round_trips[1].count(), 0);
    }
}
