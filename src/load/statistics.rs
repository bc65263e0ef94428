//! When a difference is more than noise.
//!
//! Two ways to know the noise of a mean, and one test:
//!
//! | what there is | error of the mean |
//! |---|---|
//! | repetitions of a run | their variance, at least that of [`SPREAD_LEAST`], over their number |
//! | one run, second by second | long-run variance over the number of seconds |
//!
//! Seconds that follow each other resemble each other (a compaction, a neighbour), so `n` of them tell less than `n`
//! independent ones. How much less is the *effective size*: `n (1 - r) / (1 + r)` for a series in which each value
//! keeps the share `r` of the last one's deviation (Zwiers and von Storch, "Taking serial correlation into account in
//! tests of the mean", J. Climate 8, 1995), or `n` times variance over long-run variance with Bartlett's weights (Newey
//! and West, Econometrica 55, 1987), which is what `latte` (pkolaczk/latte, its `stats.rs`) does. The smaller of the
//! two is taken: each alone is too bold for one of the series that clusters really give. `r` is estimated too low in
//! short series; what it lacks on average is added (Marriott and Pope, Biometrika 41, 1954). And ten seconds cannot
//! show that they are independent: no series counts for more than half of its seconds ([`EFFECTIVE_SHARE`]).
//!
//! The test is Welch's: means of unequal variances, Student's t with Welch's and Satterthwaite's degrees of freedom.
//! Who asks about many metrics finds a difference by chance in some; [`holm`] asks for more of each (Holm, 1979).

/// Repetitions lie apart at least so much, relative to their mean. Three that lie within a tenth of a per cent do so by
/// chance: on a shared machine the same three, a minute later, were 10 % away, and a test that takes their closeness
/// for knowledge is sure of a difference that is none.
pub(super) const SPREAD_LEAST: f64 = 0.02;
/// Fewer seconds tell nothing of how they hang together.
pub(super) const SERIES_MIN: usize = 5;

/// A mean, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// The mean.
    pub(super) mean: f64,
    /// Its standard error.
    pub(super) error: f64,
    /// Degrees of freedom of the error.
    pub(super) degrees: f64,
}

impl Estimate {
    /// From repetitions, at least two.
    pub(super) fn of_repetitions(values: &[f64]) -> Option<Self> {
        let (count, mean) = (values.len() as f64, mean(values));
        let variance = variance(values).max((SPREAD_LEAST * mean).powi(2));
        (values.len() >= 2).then(|| Self { mean, error: (variance / count).sqrt(), degrees: count - 1.0 })
    }

    /// From the seconds of one run, at least [`SERIES_MIN`].
    pub(super) fn of_series(values: &[f64]) -> Option<Self> {
        if values.len() < SERIES_MIN {
            return None;
        }
        let count = values.len() as f64;
        let effective = effective_size(values).min(count * EFFECTIVE_SHARE);
        // Values that resemble each other also lie closer to their own mean than to the true one.
        let share = (1.0 - (count / effective - 1.0) / (count - 1.0)).max(1.0 / count);
        let error = (variance(values) / share / effective).sqrt();
        Some(Self { mean: mean(values), error, degrees: (effective - 1.0).max(1.0) })
    }

    /// How probable so great a difference is between two that are equal (two-sided).
    pub(super) fn chance_of_equal(&self, other: &Self) -> f64 {
        let (ours, theirs) = (self.error.powi(2), other.error.powi(2));
        let difference = (self.mean - other.mean).abs();
        if ours + theirs <= 0.0 {
            return if difference > 0.0 { 0.0 } else { 1.0 };
        }
        let degrees = (ours + theirs).powi(2) / (ours.powi(2) / self.degrees + theirs.powi(2) / other.degrees);
        two_sided(difference / (ours + theirs).sqrt(), degrees)
    }
}

/// The arithmetic mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// The variance that a sample shows; 0 of fewer than two.
pub(super) fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0)
}

/// How many independent values tell as much of the mean: between 2 and the number of values.
pub(super) fn effective_size(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let covariance = |lag: usize| {
        let centre = mean(values);
        let later = values.iter().skip(lag);
        values.iter().zip(later).map(|(now, then)| (now - centre) * (then - centre)).sum::<f64>() / count
    };
    let spread = covariance(0);
    if spread <= 0.0 {
        return count;
    }
    let first = covariance(1) / spread;
    let kept = (first + (1.0 + 4.0 * first) / count).clamp(0.0, KEPT_MAX);
    let markov = count * (1.0 - kept) / (1.0 + kept);
    // The farthest lag whose covariance counts.
    let farthest = count.powf(BANDWIDTH).round();
    let weighted = (1_u32..).map(f64::from).zip(1..values.len()).take_while(|(lag, _)| *lag <= farthest);
    let long_run =
        spread + weighted.map(|(at, lag)| 2.0 * (1.0 - at / (farthest + 1.0)) * covariance(lag)).sum::<f64>();
    let bartlett = if long_run > spread { count * spread / long_run } else { count };
    markov.min(bartlett).clamp(2.0, count)
}

/// Chances of several metrics, each raised so that the chance of *any* false alarm among them is what the least
/// says.
pub(super) fn holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    let chance = |index: usize| chances.get(index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| chance(*a).total_cmp(&chance(*b)));
    let mut raised = vec![1.0; chances.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(chance(index) * (chances.len() - rank) as f64).min(1.0);
        if let Some(place) = raised.get_mut(index) {
            *place = least;
        }
    }
    raised
}

/// The chance that Student's t lies farther from zero than `t`.
fn two_sided(t: f64, degrees: f64) -> f64 {
    incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5).clamp(0.0, 1.0)
}

/// The regularised incomplete beta function (DLMF 8.17.22).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges quickly only below the mean of the distribution; beyond it, by symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    front.exp() * fraction(x, a, b) / a
}

/// The continued fraction of the incomplete beta function, by Lentz's method from the front.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let apart = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut upper = 1.0;
    let mut lower = 1.0 / apart(1.0 - (a + b) * x / (a + 1.0));
    let mut value = lower;
    for m in (1..FRACTION_STEPS_MAX).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut factor = 1.0;
        for numerator in [even, odd] {
            lower = 1.0 / apart(1.0 + numerator * lower);
            upper = apart(1.0 + numerator / upper);
            factor = upper * lower;
            value *= factor;
        }
        if (factor - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

/// The logarithm of the gamma function of a positive number (Lanczos with Godfrey's coefficients).
fn ln_gamma(x: f64) -> f64 {
    let x = x - 1.0;
    let terms = (1_u32..).map(f64::from).zip(GODFREY);
    let sum = GODFREY_FIRST + terms.map(|(at, coefficient)| coefficient / (x + at)).sum::<f64>();
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The most that a series counts for, as a share of its values. With all of them, 2 % of equal runs of ten seconds are
/// called different at 1 % when each second keeps half of the last one's deviation; with half of them, 0.1 %.
const EFFECTIVE_SHARE: f64 = 0.5;
/// A series that keeps more of its deviation than this is a trend: it has no mean to speak of.
const KEPT_MAX: f64 = 0.95;
/// The farthest lag is the number of values to this power; `latte` has the same exponent.
const BANDWIDTH: f64 = 0.66;
/// In place of a zero in a denominator.
const TINY: f64 = 1e-300;
/// The fraction converges within some 30 steps for all degrees of freedom that occur.
const FRACTION_STEPS_MAX: u32 = 1000;
const GODFREY_FIRST: f64 = 0.999_999_999_999_809_9;
const GODFREY: [f64; 8] = [
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

#[cfg(test)]
pub(super) mod tests;
