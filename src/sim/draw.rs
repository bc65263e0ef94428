//! Draws: integers from a seed, one stream per concern.
//!
//! A stream of its own for the network, the disks, the workload and the faults keeps a change in one of them from
//! shifting the draws of all others. Integers only: floating point rounds differently from machine to machine, and the
//! hash of a run must not.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A million: the unit of all chances.
pub(super) const MILLION: u32 = 1_000_000;

/// A stream of draws.
#[derive(Debug, Clone)]
pub(super) struct Draw(Xoshiro256PlusPlus);

impl Draw {
    /// The stream of one concern under a seed.
    #[must_use]
    pub(super) fn new(seed: u64, concern: &str) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(xxh3_64_with_seed(concern.as_bytes(), seed)))
    }

    /// Any 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below `bound`, which is at least 1. The bias of the multiplication is below 2^-32 for what is drawn here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one outcome");
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product of two 64-bit numbers")
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range of draws goes upward");
        low + self.below(high - low + 1)
    }

    /// True so many times in a million.
    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(u64::from(MILLION)) < u64::from(per_million)
    }

    /// An index below `length`.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// One of the choices.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// A seed for a machine.
    pub(super) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}
