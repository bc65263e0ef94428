//! A causal past: per actor, how far it is known.

use std::fmt;

use super::Dot;
use crate::protocol::types::ActorId;

/// Per actor the highest counter seen of an item. An entry `(a, n)` means *every* dot of `a` for this item up to `n`.
/// Sorted by actor, no entry is zero. Never pruned by age or size (Dynamo 4.4 did, and lost causality).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct VersionVector {
    entries: Vec<(ActorId, u64)>,
}

impl VersionVector {
    /// The empty past.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// A vector from entries that must already be sorted by actor, without repeats and zeros.
    #[must_use]
    pub fn from_sorted(entries: Vec<(ActorId, u64)>) -> Option<Self> {
        let rising = entries.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let positive = entries.iter().all(|entry| entry.1 > 0);
        (rising && positive).then_some(Self { entries })
    }

    /// The highest counter known of `actor`, 0 when none is.
    #[must_use]
    pub fn counter(&self, actor: ActorId) -> u64 {
        self.position(actor).ok().and_then(|at| self.entries.get(at)).map_or(0, |entry| entry.1)
    }

    /// Whether this past contains the write.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.counter(dot.actor()) >= dot.counter()
    }

    /// Whether this past contains all of `other`.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        other.entries.iter().all(|&(actor, counter)| self.counter(actor) >= counter)
    }

    /// Adds one write, and by the meaning of an entry all earlier ones of its actor for the item.
    pub fn add(&mut self, dot: Dot) {
        match self.position(dot.actor()) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = entry.1.max(dot.counter());
                }
            }
            Err(at) => self.entries.insert(at, (dot.actor(), dot.counter())),
        }
    }

    /// The least past that contains both.
    pub fn join(&mut self, other: &Self) {
        if self.entries.is_empty() {
            self.entries.clone_from(&other.entries);
            return;
        }
        for &(actor, counter) in &other.entries {
            self.add(Dot::new(actor, counter));
        }
    }

    /// The entries as dots, by rising actor.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.entries.iter().map(|&(actor, counter)| Dot::new(actor, counter))
    }

    /// How many actors have an entry.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, actor: ActorId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&actor, |entry| entry.0)
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(a, n)| (a, n))).finish()
    }
}
