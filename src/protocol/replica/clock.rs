//! The partition clock: which dots this replica has stored, or knows to be obsolete.
//!
//! ```text
//!   format u8 = 1 | log sequence u64 | actors u32 | per actor: actor u64 | base u64 | runs u32
//!                                                         | (first u64 | last u64)*
//! ```
//!
//! Per actor a base (every dot up to it) and the runs above it; what lies between is a gap: dots that exist and that
//! this replica never saw. Clocks of two replicas are only merged after an exchange that really moved the items.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use super::ReadError;
use crate::protocol::types::ActorId;
use crate::protocol::version::{Dot, VersionVector};

const FORMAT: u8 = 1;

/// The dots of one actor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    base: u64,
    /// First to last, above the base, rising, not touching each other.
    runs: BTreeMap<u64, u64>,
}

/// The dots that a replica has stored or knows to be obsolete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionClock {
    actors: BTreeMap<ActorId, Seen>,
}

impl Seen {
    fn covers(&self, counter: u64) -> bool {
        counter <= self.base || self.runs.range(..=counter).next_back().is_some_and(|(_, last)| counter <= *last)
    }

    fn add(&mut self, counter: u64) -> bool {
        if self.covers(counter) {
            return false;
        }
        // The common case: the next dot of an actor of which nothing is missing.
        if self.base + 1 == counter && self.runs.is_empty() {
            self.base = counter;
            return true;
        }
        let mut first = counter;
        let mut last = counter;
        if let Some((&before, &end)) = self.runs.range(..counter).next_back()
            && end + 1 == counter
        {
            first = before;
        }
        if let Some(end) = counter.checked_add(1).and_then(|next| self.runs.remove(&next)) {
            last = end;
        }
        if self.base + 1 == first {
            self.runs.remove(&first);
            self.base = last;
        } else {
            self.runs.insert(first, last);
        }
        true
    }

    /// Whether every dot of the other one is here too.
    fn descends(&self, other: &Self) -> bool {
        let whole = |first: u64, last: u64| {
            last <= self.base
                || self.runs.range(..=first.max(self.base + 1)).next_back().is_some_and(|(_, end)| last <= *end)
        };
        (other.base == 0 || whole(1, other.base)) && other.runs.iter().all(|(first, last)| whole(*first, *last))
    }

    /// Adds every dot of the other one: both lists of runs are walked once, and runs that touch become one.
    fn join(&mut self, other: &Self) {
        self.base = self.base.max(other.base);
        let mut all: Vec<(u64, u64)> =
            self.runs.iter().chain(&other.runs).map(|(first, last)| (*first, *last)).collect();
        all.sort_unstable();
        self.runs.clear();
        let mut open: Option<(u64, u64)> = None;
        for (first, last) in all {
            if first <= self.base.saturating_add(1) {
                self.base = self.base.max(last);
                continue;
            }
            match &mut open {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => self.runs.extend(open.replace((first, last))),
            }
        }
        self.runs.extend(open);
    }
}

impl PartitionClock {
    /// Whether the dot was stored here or is known to be obsolete.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.actors.get(&dot.actor()).is_some_and(|seen| seen.covers(dot.counter()))
    }

    /// Whether the dot and every earlier one of its actor was stored here or is known to be obsolete. An item that does
    /// not know such a dot knows that it is obsolete: reaping asks for this of every entry that it drops.
    #[must_use]
    pub fn covers_up_to(&self, dot: Dot) -> bool {
        self.actors.get(&dot.actor()).is_some_and(|seen| seen.base >= dot.counter())
    }

    /// Whether that holds of every entry of a past.
    #[must_use]
    pub fn covers_past(&self, past: &VersionVector) -> bool {
        past.iter().all(|dot| self.covers_up_to(dot))
    }

    /// Notes a dot; false when it was known.
    pub fn add(&mut self, dot: Dot) -> bool {
        dot.counter() > 0 && self.actors.entry(dot.actor()).or_default().add(dot.counter())
    }

    /// Whether every dot that the other clock covers is covered here too.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        other.actors.iter().all(|(actor, theirs)| self.actors.get(actor).is_some_and(|ours| ours.descends(theirs)))
    }

    /// Covers what the other clock covers. Only for one whose replica's items were all compared with this replica's, or
    /// given to it, after the clock was read: otherwise a write that was never seen would be taken for an old one.
    /// Returns whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if self.descends(other) {
            return false;
        }
        for (actor, theirs) in &other.actors {
            self.actors.entry(*actor).or_default().join(theirs);
        }
        true
    }

    /// A name for what the clock covers: equal for equal clocks, and different for different ones but for one chance in
    /// 2^64.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(&self.to_record(0))
    }

    /// How many dots are missing below the highest known of each actor: the gaps.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let of = |seen: &Seen| {
            let top = seen.runs.values().next_back().copied().unwrap_or(seen.base);
            let held: u64 = seen.runs.iter().map(|(first, last)| last - first + 1).sum();
            top - seen.base - held
        };
        self.actors.values().map(of).sum()
    }

    /// The record, saying up to which change-log sequence it is complete.
    #[must_use]
    pub fn to_record(&self, sequence: u64) -> Bytes {
        let mut out = Vec::with_capacity(13 + self.actors.len() * 20);
        out.put_u8(FORMAT);
        out.put_u64(sequence);
        out.put_u32(u32::try_from(self.actors.len()).unwrap_or(u32::MAX));
        for (actor, seen) in &self.actors {
            out.put_u64(actor.as_u64());
            out.put_u64(seen.base);
            out.put_u32(u32::try_from(seen.runs.len()).unwrap_or(u32::MAX));
            for (first, last) in &seen.runs {
                out.put_u64(*first);
                out.put_u64(*last);
            }
        }
        out.into()
    }

    /// Reads a record: the clock, and the change-log sequence up to which it is complete.
    pub fn from_record(record: &[u8]) -> Result<(Self, u64), ReadError> {
        let mut rest = record;
        Self::decode(&mut rest)
            .filter(|_| rest.is_empty())
            .ok_or_else(|| ReadError("the partition clock's record is damaged".to_owned()))
    }

    fn decode(rest: &mut &[u8]) -> Option<(Self, u64)> {
        if rest.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let sequence = rest.try_get_u64().ok()?;
        let mut clock = Self::default();
        for _ in 0..rest.try_get_u32().ok()? {
            let actor = ActorId::new(rest.try_get_u64().ok()?);
            let mut seen = Seen { base: rest.try_get_u64().ok()?, runs: BTreeMap::new() };
            let mut top = seen.base;
            for _ in 0..rest.try_get_u32().ok()? {
                let (first, last) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
                // Runs that touched would be one: equal clocks have equal records.
                (first <= last && first > top.checked_add(1)?).then_some(())?;
                seen.runs.insert(first, last);
                top = last;
            }
            clock.actors.insert(actor, seen);
        }
        Some((clock, sequence))
    }
}
