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

use super::ReadError;
use crate::protocol::types::ActorId;
use crate::protocol::version::Dot;

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
}

impl PartitionClock {
    /// Whether the dot was stored here or is known to be obsolete.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.actors.get(&dot.actor()).is_some_and(|seen| seen.covers(dot.counter()))
    }

    /// Notes a dot; false when it was known.
    pub fn add(&mut self, dot: Dot) -> bool {
        dot.counter() > 0 && self.actors.entry(dot.actor()).or_default().add(dot.counter())
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
            for _ in 0..rest.try_get_u32().ok()? {
                let (first, last) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
                (first <= last && first > seen.base).then_some(())?;
                seen.runs.insert(first, last);
            }
            clock.actors.insert(actor, seen);
        }
        Some((clock, sequence))
    }
}
