//! `quorate sim --detector`: the figures of the failure detector, measured.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::screen;
use crate::sim::detector::{Ours, Scenario};

/// How long the simulation of thousands may take.
const THOUSANDS_LIMIT: Duration = Duration::from_secs(600);

/// Measures every figure under one seed, prints each when it is known, and says how long that took.
pub(super) fn run(seed: u64) -> anyhow::Result<()> {
    let mut missed = 0;
    for scenario in Scenario::ALL {
        let began = Instant::now();
        let figures = scenario.measure::<Ours>(seed);
        let took = began.elapsed();
        let in_time = scenario != Scenario::Thousands || took < THOUSANDS_LIMIT;
        for figure in figures {
            let reached = figure.reached && in_time;
            missed += usize::from(!reached);
            let word = if reached { "reached" } else { "MISSED " };
            screen::print(format!("{word}  {}\n         {}\n", figure.goal, figure.found).as_bytes())?;
        }
        screen::print(format!("         (seed {seed}, {:.1} s)\n", took.as_secs_f64()).as_bytes())?;
    }
    match missed {
        0 => Ok(()),
        1 => bail!("seed {seed}: 1 figure was missed"),
        count => bail!("seed {seed}: {count} figures were missed"),
    }
}
