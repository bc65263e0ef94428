//! Which key an operation takes.
//!
//! A choice is made in two steps. A *rank* is drawn by the law, 0 the most popular; then the rank is turned into a
//! place among the keys. Zipf's ranks are scattered over the places by an affine permutation, `place = rank * step mod
//! count`, so popular keys have nothing to do with each other; unlike YCSB's hash, it maps no two ranks to one key and
//! leaves none out. The latest keys are the popular ones of [`Latest`](super::settings::Keys::Latest), so there rank r
//! is the r-th place from the end.
//!
//! Zipf's law is drawn by rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates from
//! monotone discrete distributions", 1996): exact for every exponent, two logarithms a draw, no table, and hardly ever
//! a second round. YCSB's formula (Gray et al., SIGMOD 1994) needs a sum over all keys first, works below an exponent
//! of 1 only, and is exact for two ranks only.

use super::chance::{Chance, whole};
use super::settings::Keys;

/// YCSB's exponent.
pub const ZIPF_EXPONENT: f64 = 0.99;

/// Draws places among keys.
#[derive(Debug, Clone)]
pub(super) struct KeyChoice {
    law: Law,
    /// Keys to choose from.
    count: u64,
}

#[derive(Debug, Clone)]
enum Law {
    Uniform,
    Scattered { zipf: Zipf, step: u64 },
    Latest(Zipf),
    Hotspot { hot: u64, operations: f64 },
}

impl KeyChoice {
    /// Among `count` keys, at least one.
    pub(super) fn new(keys: Keys, count: u64) -> Self {
        let count = count.max(1);
        let law = match keys {
            Keys::Uniform => Law::Uniform,
            Keys::Zipfian(exponent) => Law::Scattered { zipf: Zipf::new(count, exponent), step: coprime(count) },
            Keys::Latest => Law::Latest(Zipf::new(count, ZIPF_EXPONENT)),
            Keys::Hotspot { keys, operations } => {
                let hot = whole((count as f64 * keys).round()).clamp(1, count);
                Law::Hotspot { hot, operations }
            }
        };
        Self { law, count }
    }

    /// There is one key more: the latest one. The scattered laws go on among the keys that they began with, for another
    /// count would give every key another popularity.
    pub(super) fn grow(&mut self) {
        match &mut self.law {
            Law::Uniform => self.count += 1,
            Law::Latest(zipf) => {
                self.count += 1;
                *zipf = Zipf::new(self.count, ZIPF_EXPONENT);
            }
            Law::Scattered { .. } | Law::Hotspot { .. } => {}
        }
    }

    /// A place, 0 to one below the number of keys.
    pub(super) fn draw(&self, chance: &mut Chance) -> u64 {
        match &self.law {
            Law::Uniform => chance.below(self.count),
            Law::Scattered { zipf, step } => scattered(zipf.draw(chance), *step, self.count),
            Law::Latest(zipf) => self.count - 1 - zipf.draw(chance),
            Law::Hotspot { hot, operations } => {
                let cold = self.count - hot;
                if cold == 0 || chance.unit() < *operations { chance.below(*hot) } else { hot + chance.below(cold) }
            }
        }
    }
}

/// Where a rank is: a permutation of the places, for `step` and `count` have no divisor in common.
fn scattered(rank: u64, step: u64, count: u64) -> u64 {
    let product = u128::from(rank) * u128::from(step) % u128::from(count);
    u64::try_from(product).expect("a remainder is below its divisor")
}

/// A step near the golden section of the count, which spreads the first ranks best, without a divisor in common.
fn coprime(count: u64) -> u64 {
    let first = whole(count as f64 * 0.618_033_988_749_895).max(1);
    let mut steps = first..=first + count;
    steps.find(|step| greatest_divisor(*step, count) == 1).expect("of so many in a row, one is 1 more than a multiple")
}

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Zipf's law: rank r (from 0) of `count` comes with a probability in proportion to `1 / (r + 1)^exponent`.
#[derive(Debug, Clone)]
struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the law's hat from its left end, at 1.5 less the first probability, and at count + 0.5.
    first: f64,
    last: f64,
    /// A draw that falls so near below its rank needs no second look.
    near: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let count = count as f64;
        let mut zipf = Self { count, exponent, first: 0.0, last: 0.0, near: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(count + 0.5);
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.hat(2.0));
        zipf
    }

    /// A rank, below the count.
    fn draw(&self, chance: &mut Chance) -> u64 {
        loop {
            let area = self.last + chance.unit() * (self.first - self.last);
            let x = self.inverse(area);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.near || area >= self.integral(rank + 0.5) - self.hat(rank) {
                return whole(rank) - 1;
            }
        }
    }

    fn hat(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// `(x^(1 - exponent) - 1) / (1 - exponent)`, which is the logarithm of x where the exponent is 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_by((1.0 - self.exponent) * log) * log
    }

    fn inverse(&self, area: f64) -> f64 {
        // Rounding may carry it below the left end, where there is no logarithm.
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        (log1p_by(t) * area).exp()
    }
}

/// `(e^x - 1) / x`, also near 0.
fn expm1_by(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 * (1.0 + x / 3.0) }
}

/// `ln(1 + x) / x`, also near 0.
fn log1p_by(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x * (0.5 - x / 3.0) }
}

#[cfg(test)]
mod tests;
