//! Known values of Student's t, and series whose truth is known.

use super::*;

/// Numbers that look random and are the same on every machine (`SplitMix64`, Steele and others 2014).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, neither included.
    pub(crate) fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Normal, of mean 0 and variance 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * self.share().ln()).sqrt(), std::f64::consts::TAU * self.share());
        radius * angle.cos()
    }

    /// A series around `mean` whose values have the relative deviation `spread`, each keeping the share `kept` of the
    /// one before.
    pub(crate) fn series(&mut self, count: usize, mean: f64, spread: f64, kept: f64) -> Vec<f64> {
        let mut state = self.normal();
        let mut next = || {
            let value = mean * (1.0 + spread * state);
            state = kept * state + (1.0 - kept * kept).sqrt() * self.normal();
            value
        };
        (0..count).map(|_| next()).collect()
    }
}

#[test]
fn chances_are_those_of_the_tables() {
    // Student's t, two-sided: the usual table's 95, 99 and 99.9 %.
    for (t, degrees, chance) in [
        (12.706, 1.0, 0.05),
        (4.303, 2.0, 0.05),
        (2.776, 4.0, 0.05),
        (4.604, 4.0, 0.01),
        (8.610, 4.0, 0.001),
        (2.228, 10.0, 0.05),
        (3.169, 10.0, 0.01),
        (2.042, 30.0, 0.05),
        (3.646, 30.0, 0.001),
        (1.984, 100.0, 0.05),
        (1.960, 100_000.0, 0.05),
    ] {
        let found = two_sided(t, degrees);
        assert!((found - chance).abs() < chance * 0.003, "t {t} of {degrees}: {found}, the table has {chance}");
    }
    assert!((two_sided(0.0, 5.0) - 1.0).abs() < 1e-12);
    assert!(two_sided(1e6, 5.0) < 1e-12);
}

#[test]
fn welch_of_an_example_that_can_be_done_by_hand() {
    // Means 3 and 6, variances 2.5 and 10: t = 3 / sqrt(0.5 + 2) = 1.897 with 6.25 / 1.0625 = 5.88 degrees.
    let of = |values: [f64; 5]| Estimate::of_repetitions(&values).expect("five");
    let chance = of([1.0, 2.0, 3.0, 4.0, 5.0]).chance_of_equal(&of([2.0, 4.0, 6.0, 8.0, 10.0]));
    assert!((chance - two_sided(1.897_366_6, 5.882_353)).abs() < 1e-6, "{chance}");
    assert!((0.105..0.110).contains(&chance), "between the table's 0.1 (1.94) and 0.2 (1.44): {chance}");
}

#[test]
fn equal_constants_are_equal_and_unequal_ones_are_not() {
    let constant = |value: f64| Estimate::of_repetitions(&[value; 3]).expect("three");
    assert!((constant(5.0).chance_of_equal(&constant(5.0)) - 1.0).abs() < 1e-12);
    assert!(constant(5.0).chance_of_equal(&constant(10.0)) < 1e-3);
    assert!(constant(0.0).chance_of_equal(&constant(1e-9)) < 1e-3, "nothing fails, and then something does, always");
    assert_eq!(Estimate::of_repetitions(&[1.0]), None);
    assert_eq!(Estimate::of_series(&[1.0; 4]), None);
    assert!((effective_size(&[3.0; 9]) - 9.0).abs() < 1e-12, "what does not vary is known");
}

#[test]
fn series_that_hang_together_count_less() {
    let mut noise = Noise(7);
    let mut mean_of = |kept: f64| {
        let sizes: Vec<f64> = (0..200).map(|_| effective_size(&noise.series(60, 100.0, 0.1, kept))).collect();
        mean(&sizes)
    };
    let (free, loose, tight) = (mean_of(0.0), mean_of(0.5), mean_of(0.9));
    assert!(free > 40.0 && free <= 60.0, "{free}");
    assert!((8.0..30.0).contains(&loose), "60 (1 - 0.5) / (1 + 0.5) = 20, found {loose}");
    assert!((2.0..8.0).contains(&tight), "60 (1 - 0.9) / (1 + 0.9) = 3.2, found {tight}");
}

#[test]
fn many_questions_ask_for_more() {
    assert_eq!(holm(&[]), Vec::<f64>::new());
    let raised = holm(&[0.01, 0.04, 0.03]);
    for (found, wanted) in raised.iter().zip([0.03, 0.06, 0.06]) {
        assert!((found - wanted).abs() < 1e-12, "{raised:?}");
    }
    assert!(holm(&[0.9, 0.8]).iter().all(|chance| *chance <= 1.0));
}

#[test]
fn equal_series_are_seldom_found_different() {
    let mut noise = Noise(11);
    for (count, kept) in [(5, 0.0), (5, 0.5), (10, 0.3), (30, 0.0), (30, 0.6), (60, 0.8)] {
        let tries = 4000;
        let alarms = (0..tries)
            .filter(|_| {
                let estimate = |noise: &mut Noise| Estimate::of_series(&noise.series(count, 100.0, 0.1, kept));
                let (a, b) = (estimate(&mut noise).expect("enough"), estimate(&mut noise).expect("enough"));
                a.chance_of_equal(&b) < 0.01
            })
            .count();
        println!("{count} seconds, {kept} kept: {alarms} of {tries} below 0.01");
        assert!(alarms < tries / 25, "{count} seconds, {kept} kept: {alarms} of {tries}");
    }
}
