//! The random choices of a run, all from its seed: the same settings ask for the same operations at the same times, and
//! for the same keys but for those that are passed over because they are being written.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A source of random choices.
#[derive(Debug, Clone)]
pub(super) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// One of the streams of a seed: each process and each use has its own, so that none shifts another.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        // An odd constant keeps neighbouring seeds and streams apart; the generator's own seeding mixes the rest.
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ stream.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Any number.
    pub(super) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, each as often as the others (within 2^-64 of it); 0 when the bound is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.any()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a product of two u64")
    }

    /// A size of a range, both ends included.
    pub(super) fn size(&mut self, min: usize, max: usize) -> usize {
        let span = u64::try_from(max.saturating_sub(min)).unwrap_or(u64::MAX);
        min.saturating_add(usize::try_from(self.below(span.saturating_add(1))).unwrap_or(0))
    }

    /// At least 0 and below 1, in steps of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.any() >> 11) as f64 * STEP
    }

    /// The time to the next event of a Poisson process, in units of its mean.
    pub(super) fn exponential(&mut self) -> f64 {
        // 1 - unit is never 0, whose logarithm is infinite.
        -(1.0 - self.unit()).ln()
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// A number without its fraction; 0 for what is negative or no number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such casts stop at the ends of the type")]
pub(super) const fn whole(number: f64) -> u64 {
    number as u64
}
