//! What a run does: which operations on which keys, how many at a time or how often, and for how long.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::contexts::Marks;
use super::error::SettingsError;
use super::ledger::CHECKED_KEYS_MAX;
use super::values::MARK_BYTES;
use crate::protocol::types::TableName;
use crate::protocol::types::limits::{BUDGET_MS_MAX, VALUE_BYTES_MAX};

/// Most requests in flight: what a client's line to one shard holds.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// Highest rate, requests a second: far above what one machine can send.
pub const RATE_MAX: f64 = 10_000_000.0;
/// Longest run.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most client processes.
pub const PROCESSES_MAX: u16 = 64;

/// What one run does. Written into its report, so that the run can be made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Shares of the operations.
    pub mix: Mix,
    /// Which keys they take.
    pub keys: Keys,
    /// How many different keys.
    pub key_count: u64,
    /// How large values are.
    pub value: ValueSize,
    /// When requests are sent.
    pub pace: Pace,
    /// Requests under way at most: of a closed loop exactly so many, of an open one the bound beyond which the
    /// generator counts as behind its schedule.
    pub in_flight: usize,
    /// Measured time.
    pub duration: Duration,
    /// Time before that, in which the same is done and nothing counted.
    pub warmup: Duration,
    /// Puts without the item's context: each leaves a sibling beside the others until somebody merges.
    pub blind: bool,
    /// Values carry their key and a sequence number, and what is read is checked against what was acknowledged.
    pub verify: bool,
    /// Time for one request.
    pub timeout: Duration,
    /// What the random choices come from.
    pub seed: u64,
    /// Client processes that share the load.
    pub processes: u16,
    /// The table that is used.
    pub table: String,
}

/// Shares of the operations, in any unit: 95 and 5 are the same as 19 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mix {
    /// Reads of one item.
    pub get: u32,
    /// Writes of one item, with the context of its last read or write unless blind.
    pub put: u32,
    /// Deletes of one item.
    pub delete: u32,
    /// Short scans.
    pub scan: u32,
    /// A get, and a put with its context.
    pub read_modify_write: u32,
    /// Puts of keys that were never there (YCSB D and E).
    pub insert: u32,
}

/// Which key an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Each as often as the others.
    Uniform,
    /// Zipf's law with this exponent, popular keys scattered over the key space (YCSB's default is 0.99).
    Zipfian(f64),
    /// The keys inserted last are the popular ones.
    Latest,
    /// So great a share of the operations goes to so great a share of the keys.
    Hotspot {
        /// Share of the keys that are hot, 0 to 1.
        keys: f64,
        /// Share of the operations that take one of them, 0 to 1.
        operations: f64,
    },
}

/// How large values are, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueSize {
    /// All the same.
    Fixed(usize),
    /// Each size of the range as often as the others.
    Uniform {
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: the next when the last is answered.
    Closed,
    /// Open loop: so many a second, at even intervals, whatever the answers do.
    Constant(f64),
    /// Open loop: so many a second on average, at random (a Poisson process).
    Poisson(f64),
}

impl Settings {
    /// Whether a run can be made of them.
    ///
    /// # Errors
    /// Names the first field that is wrong, its limit, and the way out.
    pub fn check(&self) -> Result<(), SettingsError> {
        TableName::new(Bytes::copy_from_slice(self.table.as_bytes()))?;
        if self.mix.sum() == 0 {
            return Err(SettingsError::of("mix", "no operation has a share; use such as get=95,put=5"));
        }
        Marks::check(self.key_count)?;
        self.check_value()?;
        self.keys.check()?;
        self.pace.check()?;
        self.check_times()?;
        self.check_in_flight()?;
        self.check_verify()
    }

    fn check_value(&self) -> Result<(), SettingsError> {
        let (min, max) = (self.value.min(), self.value.max());
        if max > VALUE_BYTES_MAX {
            let reason = format!("{max} bytes are too many; the limit is {VALUE_BYTES_MAX}");
            return Err(SettingsError::of("value-size", reason));
        }
        if min > max {
            let reason = format!("{min}-{max} begins above its end; write the smaller size first");
            return Err(SettingsError::of("value-size", reason));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), SettingsError> {
        let within = |time: Duration, min: Duration| (min..=DURATION_MAX).contains(&time);
        let longest = DURATION_MAX.as_secs();
        if !within(self.duration, Duration::from_secs(1)) || self.duration.subsec_nanos() > 0 {
            let reason = format!("use whole seconds, 1s to {longest}s: a report has a row for each");
            return Err(SettingsError::of("duration", reason));
        }
        if !within(self.warmup, Duration::ZERO) {
            return Err(SettingsError::of("warmup", format!("use 0s to {longest}s")));
        }
        let most = Duration::from_millis(BUDGET_MS_MAX.into());
        if !(Duration::from_millis(1)..=most).contains(&self.timeout) {
            return Err(SettingsError::of("timeout", format!("use 1ms to {}s", most.as_secs())));
        }
        Ok(())
    }

    fn check_in_flight(&self) -> Result<(), SettingsError> {
        let (in_flight, processes) = (self.in_flight, usize::from(self.processes));
        if !(1..=PROCESSES_MAX).contains(&self.processes) {
            let reason = format!("{processes} processes; use 1 to {PROCESSES_MAX}");
            return Err(SettingsError::of("processes", reason));
        }
        if !(processes..=IN_FLIGHT_MAX).contains(&in_flight) {
            let reason = format!("{in_flight} requests; use {processes} (one for each process) to {IN_FLIGHT_MAX}");
            return Err(SettingsError::of("in-flight", reason));
        }
        // Each key is written by one request at a time, and each process has keys of its own.
        let needed = in_flight + processes;
        if !self.blind && self.mix.writes() && usize::try_from(self.key_count).is_ok_and(|keys| keys < needed) {
            let reason = format!(
                "{} keys are too few for {in_flight} writes in flight, each of another key; use at least {needed}, or \
                 fewer in flight, or --blind",
                self.key_count
            );
            return Err(SettingsError::of("keys", reason));
        }
        Ok(())
    }

    fn check_verify(&self) -> Result<(), SettingsError> {
        if !self.verify {
            return Ok(());
        }
        if self.blind {
            let reason = "blind writes of one key have no order that could be checked; leave out --blind";
            return Err(SettingsError::of("verify", reason));
        }
        if self.value.min() < MARK_BYTES {
            let reason = format!(
                "{} bytes hold no key and number; with --verify values have at least {MARK_BYTES}",
                self.value.min()
            );
            return Err(SettingsError::of("value-size", reason));
        }
        if self.key_count > CHECKED_KEYS_MAX {
            let reason = format!(
                "{} keys are too many to remember the writes of each; with --verify use at most {CHECKED_KEYS_MAX}",
                self.key_count
            );
            return Err(SettingsError::of("keys", reason));
        }
        Ok(())
    }
}

impl Keys {
    fn check(self) -> Result<(), SettingsError> {
        let wrong = |reason: String| Err(SettingsError::of("distribution", reason));
        match self {
            Self::Zipfian(exponent) if !(0.01..=10.0).contains(&exponent) => {
                wrong(format!("an exponent of {exponent}; use 0.01 to 10, such as 0.99"))
            }
            Self::Hotspot { keys, operations }
                if !(0.0..=1.0).contains(&keys) || !(0.0..=1.0).contains(&operations) =>
            {
                wrong(format!("shares of {keys} and {operations}; use 0 to 1, such as hotspot:0.2:0.8"))
            }
            Self::Uniform | Self::Zipfian(_) | Self::Latest | Self::Hotspot { .. } => Ok(()),
        }
    }
}

impl Pace {
    /// Requests a second that an open loop sends.
    #[must_use]
    pub const fn rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Constant(rate) | Self::Poisson(rate) => Some(rate),
        }
    }

    /// One of so many equal parts.
    #[must_use]
    pub(super) fn part(self, count: u16) -> Self {
        let count = f64::from(count.max(1));
        match self {
            Self::Closed => Self::Closed,
            Self::Constant(rate) => Self::Constant(rate / count),
            Self::Poisson(rate) => Self::Poisson(rate / count),
        }
    }

    fn check(self) -> Result<(), SettingsError> {
        match self.rate() {
            Some(rate) if !(0.001..=RATE_MAX).contains(&rate) => {
                Err(SettingsError::of("rate", format!("{rate} requests a second; use 0.001 to {RATE_MAX}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
