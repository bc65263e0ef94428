//! Probes: whom to ask next, what is being waited for, and what is being asked on behalf of others.

use std::collections::{BTreeMap, VecDeque};

use rand_core::Rng;

use super::table::Place;
use crate::protocol::types::Instant;

/// Probes made at once for others: with k = 3 helpers each node serves 3 a second of a whole cluster in trouble, so
/// this is a minute and more of the worst; the asker of one that is refused takes it for a missing nack.
pub(super) const RELAYS_MAX: usize = 256;

/// The order in which members are probed: each once in a round, every round shuffled anew, so that a dead member is
/// found within two rounds at the latest (SWIM 4.3).
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    order: Vec<Place>,
    next: usize,
}

impl Round {
    pub(super) fn new(members: usize) -> Self {
        Self { order: (0..members).map(Place::new).collect(), next: members }
    }

    /// The next member, this node included.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Option<Place> {
        if self.next >= self.order.len() {
            for last in (1..self.order.len()).rev() {
                self.order.swap(last, below(rng, last + 1));
            }
            self.next = 0;
        }
        let place = self.order.get(self.next).copied();
        self.next += 1;
        place
    }
}

/// A number below `bound`, which is at least 1.
pub(super) fn below(rng: &mut impl Rng, bound: usize) -> usize {
    let wide = u128::from(rng.next_u64()) * bound as u128;
    usize::try_from(wide >> 64).expect("below a usize")
}

/// What the prober waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The member's own answer.
    Direct {
        /// When the helpers are asked.
        until: Instant,
    },
    /// An answer by way of the helpers.
    Indirect {
        /// Helpers asked.
        asked: u32,
        /// Helpers that said in time that they got no answer.
        nacks: u32,
    },
}

/// The probe that is under way.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) target: Place,
    pub(super) sequence: u32,
    pub(super) stage: Stage,
    pub(super) began: Instant,
    /// When silence has become a failure.
    pub(super) until: Instant,
}

/// A ping sent for somebody else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    pub(super) asker: Place,
    pub(super) asker_sequence: u32,
    pub(super) target: Place,
}

/// The pings sent for others, by their sequence and in the order in which nacks are due.
#[derive(Debug, Clone, Default)]
pub(super) struct Relays {
    open: BTreeMap<u32, Relay>,
    due: VecDeque<(Instant, u32)>,
}

impl Relays {
    pub(super) fn is_full(&self) -> bool {
        self.due.len() >= RELAYS_MAX
    }

    /// Opens one; all wait equally long, so the last opened is the last due.
    pub(super) fn open(&mut self, sequence: u32, relay: Relay, nack_at: Instant) {
        assert!(!self.is_full(), "the caller refuses what is beyond the bound");
        self.open.insert(sequence, relay);
        self.due.push_back((nack_at, sequence));
    }

    /// The target answered.
    pub(super) fn close(&mut self, sequence: u32, target: Place) -> Option<Relay> {
        self.open.get(&sequence).filter(|relay| relay.target == target)?;
        self.open.remove(&sequence)
    }

    /// Takes one whose target has not answered in time. Those that were answered fall out of the queue here.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Relay> {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, sequence)) = self.due.pop_front() else { break };
            if let Some(relay) = self.open.remove(&sequence) {
                return Some(relay);
            }
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.due.clear();
    }
}
