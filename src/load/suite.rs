//! The suite: the runs that show in three minutes what a change did, always the same and under the same names.
//!
//! ```text
//!   for each size:   put, get at 256 and 64 in flight: what the cluster does and what that costs
//!                    put, get one at a time: what one request waits for when nobody else asks
//!   for the last:    put, get in an open loop at half of the most that was reached: what users wait
//!   one more cluster: put, with an fsync before each answer
//! ```
//!
//! The keys of a size are loaded once; all runs of a size share them.

use std::time::Duration;

use super::report::Run;
use super::settings::{Keys, Mix, Pace, Settings, ValueSize};
use crate::client::REQUEST_TIMEOUT;

/// How long a suite is, and how fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Sizes of values, bytes.
    pub sizes: Vec<usize>,
    /// Requests in flight.
    pub in_flight: Vec<usize>,
    /// Different keys of each size.
    pub keys: u64,
    /// Measured time of a run.
    pub duration: Duration,
    /// Time before that.
    pub warmup: Duration,
    /// Time for each part of the floor.
    pub floor_time: Duration,
}

/// Share of the highest rate at which an open loop is run.
const OPEN_SHARE: f64 = 0.5;
/// An open loop's bound of requests under way, as `bench run` has it.
const OPEN_IN_FLIGHT: usize = 1024;

/// What the open loops are called: by the share, for the rate itself is another in each suite.
const OPEN_NAME: &str = "open loop at half the maximum";

impl Suite {
    /// About three minutes.
    #[must_use]
    pub fn full() -> Self {
        Self {
            sizes: vec![128, 1024],
            in_flight: vec![256, 64, 1],
            keys: 20_000,
            duration: Duration::from_secs(7),
            warmup: Duration::from_secs(2),
            floor_time: Duration::from_millis(600),
        }
    }

    /// Half a minute: whether everything works, not how fast.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            in_flight: vec![256, 1],
            keys: 3000,
            duration: Duration::from_secs(1),
            warmup: Duration::from_millis(300),
            floor_time: Duration::from_millis(50),
            ..Self::full()
        }
    }

    /// The closed loops of one size, in their order.
    #[must_use]
    pub fn closed(&self, size: usize) -> Vec<Settings> {
        let depths = || self.in_flight.iter().copied();
        let puts = depths().map(|in_flight| self.settings(size, put(), Pace::Closed, in_flight));
        let gets = depths().map(|in_flight| self.settings(size, get(), Pace::Closed, in_flight));
        puts.chain(gets).collect()
    }

    /// The open loops, whose rates follow from what the closed ones of that size reached; with their names.
    #[must_use]
    pub fn open(&self, size: usize, runs: &[Run]) -> Vec<(String, Settings)> {
        let best = |mix: Mix| {
            let same =
                runs.iter().filter(|run| run.settings.mix == mix && run.settings.value == ValueSize::Fixed(size));
            same.map(Run::rate).fold(0.0, f64::max)
        };
        let rates = [put(), get()].map(|mix| (mix, (best(mix) * OPEN_SHARE).floor()));
        let open = rates.into_iter().filter(|(_, rate)| *rate >= 1.0).map(|(mix, rate)| {
            let settings = self.settings(size, mix, Pace::Poisson(rate), OPEN_IN_FLIGHT);
            (format!("{mix} {size} B, {OPEN_NAME}"), settings)
        });
        open.collect()
    }

    /// The puts of the cluster that waits for its disks, with their name.
    #[must_use]
    pub fn synced(&self, size: usize) -> (String, Settings) {
        let in_flight = self.in_flight.first().copied().unwrap_or(1);
        let settings = self.settings(size, put(), Pace::Closed, in_flight);
        (format!("{}, sync", settings.name()), settings)
    }

    /// How many runs it makes.
    #[must_use]
    pub fn count(&self) -> usize {
        2 * self.sizes.len() * self.in_flight.len() + 2 + 1
    }

    fn settings(&self, size: usize, mix: Mix, pace: Pace, in_flight: usize) -> Settings {
        Settings {
            mix,
            keys: Keys::Uniform,
            key_count: self.keys,
            value: ValueSize::Fixed(size),
            pace,
            in_flight,
            duration: self.duration,
            warmup: self.warmup,
            blind: false,
            verify: false,
            timeout: REQUEST_TIMEOUT,
            seed: 1,
            processes: 1,
            // A table for each size: what is read has the size that is said.
            table: format!("bench{size}"),
        }
    }
}

fn put() -> Mix {
    Mix { put: 1, ..Mix::default() }
}

fn get() -> Mix {
    Mix { get: 1, ..Mix::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::load::specimen;

    #[test]
    fn every_run_can_be_made_and_has_a_name_of_its_own() {
        for suite in [Suite::full(), Suite::quick()] {
            let mut names = BTreeSet::new();
            let mut runs = Vec::new();
            for size in &suite.sizes {
                for settings in suite.closed(*size) {
                    assert_eq!(settings.check(), Ok(()));
                    let mut run = specimen::run(&settings.name(), &[4000.0; 3], &[900.0; 3]);
                    names.insert(run.name.clone());
                    run.settings = settings;
                    runs.push(run);
                }
            }
            let last = suite.sizes.last().copied().unwrap();
            for (name, settings) in suite.open(last, &runs).into_iter().chain([suite.synced(last)]) {
                assert_eq!(settings.check(), Ok(()));
                if let Some(rate) = settings.pace.rate() {
                    assert!((rate - 2000.0).abs() < 1.0, "half of the maximum: {rate}");
                }
                names.insert(name);
            }
            assert_eq!(names.len(), suite.count(), "{names:?}");
        }
        assert_eq!(Suite::full().open(1024, &[]), [], "of nothing there is no half");
    }

    #[test]
    fn full_suite_takes_about_three_minutes() {
        let suite = Suite::full();
        let each = suite.duration + suite.warmup;
        let floor = suite.floor_time.mul_f64(1.5) * u32::try_from(suite.sizes.len() * 10).unwrap();
        let whole = each * u32::try_from(suite.count()).unwrap() + floor;
        assert!((120..=190).contains(&whole.as_secs()), "{whole:?} without the starts");
    }
}
