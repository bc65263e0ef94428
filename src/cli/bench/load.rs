//! The arguments that say which load: the same for every command that makes runs.

use std::time::Duration;

use clap::Args;

use super::super::outcome::UsageError;
use super::super::request::timeout;
use crate::client::REQUEST_TIMEOUT;
use crate::load::keys::ZIPF_EXPONENT;
use crate::load::mix::Workload;
use crate::load::settings::{Keys, Mix, Pace, Settings, ValueSize};

/// Requests in flight of a closed loop, unless it is said.
const IN_FLIGHT_CLOSED: usize = 64;
/// The bound of an open loop: a second of 1,000 requests may be under way.
const IN_FLIGHT_OPEN: usize = 1024;

/// Which load.
#[derive(Debug, Clone, Args)]
pub(super) struct LoadArgs {
    /// Shares of the operations get, put, delete, scan, rmw (read, modify, write) and insert, in any unit, such as
    /// get=95,put=5.
    #[arg(long, value_name = "SHARES", default_value = "get=50,put=50", conflicts_with = "workload")]
    mix: Mix,
    /// One of YCSB's workloads, with its operations and its choice of keys: a (half updates), b (5 % updates), c
    /// (reads), d (reads of the latest), e (short scans), f (read, modify, write).
    #[arg(long, value_name = "A..F", value_parser = workload)]
    workload: Option<Workload>,
    /// Which keys: uniform, zipfian or zipfian:EXPONENT, latest, or hotspot:KEYS:OPERATIONS (shares from 0 to 1)
    /// [default: uniform, or the workload's].
    #[arg(long, value_name = "LAW", value_parser = distribution)]
    distribution: Option<Keys>,
    /// How many different keys.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    keys: u64,
    /// Bytes of a value: a size, or a range such as 100-2000.
    #[arg(long, value_name = "BYTES|MIN-MAX", default_value = "1024", value_parser = value_size)]
    value_size: ValueSize,
    /// Requests under way: of a closed loop always so many, with --rate at most [default: 64, with --rate
    /// 1024, and at most half of --keys].
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
    /// Open loop: so many requests a second, whatever the answers do; latencies count from the time at which each was
    /// to be sent. Without it the next request is sent when one is answered (closed loop).
    #[arg(long, value_name = "PER_SECOND")]
    pub(super) rate: Option<f64>,
    /// The rate on average, at random times, as independent users send; else at even intervals.
    #[arg(long, requires = "rate")]
    pub(super) poisson: bool,
    /// Measured time, whole seconds.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    duration: Duration,
    /// Time before that, in which the same is done and nothing counted.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    warmup: Duration,
    /// Put without the item's context: each put leaves a sibling beside the others.
    #[arg(long)]
    blind: bool,
    /// Check every value that is read: that it was written under this key, and is not older than what was acknowledged
    /// before; and read all keys at the end. Exit code 1 when anything is wrong, stale or lost.
    #[arg(long)]
    verify: bool,
    /// Time for one request with its retries, such as 500ms or 2s; at most 60s. Default: the profile's.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(super) timeout: Option<Duration>,
    /// What the random choices come from: the same seed asks for the same.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Client processes that share the load; each is one thread.
    #[arg(long, value_name = "N", default_value_t = 1)]
    processes: u16,
    /// The table that is written and read. What is in it stays there.
    #[arg(long, value_name = "TABLE", default_value = "bench")]
    table: String,
}

impl LoadArgs {
    /// Whether a rate was said.
    pub(super) const fn is_paced(&self) -> bool {
        self.rate.is_some()
    }

    /// The settings, checked. The profile's timeout is not known yet.
    pub(super) fn check(&self) -> anyhow::Result<Settings> {
        let pace = match (self.rate, self.poisson) {
            (None, _) => Pace::Closed,
            (Some(rate), false) => Pace::Constant(rate),
            (Some(rate), true) => Pace::Poisson(rate),
        };
        let in_flight = match pace {
            Pace::Closed => IN_FLIGHT_CLOSED,
            Pace::Constant(_) | Pace::Poisson(_) => IN_FLIGHT_OPEN,
        };
        // Each write in flight is of another key.
        let half = usize::try_from(self.keys / 2).unwrap_or(usize::MAX);
        let in_flight = in_flight.min(half).max(usize::from(self.processes).max(1));
        let settings = Settings {
            mix: self.workload.map_or(self.mix, Workload::mix),
            keys: self.distribution.or(self.workload.map(Workload::keys)).unwrap_or(Keys::Uniform),
            key_count: self.keys,
            value: self.value_size,
            pace,
            in_flight: self.in_flight.unwrap_or(in_flight),
            duration: self.duration,
            warmup: self.warmup,
            blind: self.blind,
            verify: self.verify,
            timeout: self.timeout.unwrap_or(REQUEST_TIMEOUT),
            seed: self.seed,
            processes: self.processes,
            table: self.table.clone(),
        };
        // Fields of settings have the names of their arguments.
        settings.check().map_err(|error| UsageError(format!("--{error}")))?;
        Ok(settings)
    }
}

/// For clap: one of YCSB's workloads.
fn workload(text: &str) -> Result<Workload, String> {
    let found = Workload::ALL.into_iter().find(|workload| workload.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "there is a, b, c, d, e and f".to_owned())
}

/// For clap: a choice of keys.
fn distribution(text: &str) -> Result<Keys, String> {
    let share = |text: &str| text.parse::<f64>().map_err(|_| format!("{text:?} is no number"));
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["uniform"] => Ok(Keys::Uniform),
        ["latest"] => Ok(Keys::Latest),
        ["zipfian"] => Ok(Keys::Zipfian(ZIPF_EXPONENT)),
        ["zipfian", exponent] => Ok(Keys::Zipfian(share(exponent)?)),
        ["hotspot"] => Ok(Keys::Hotspot { keys: 0.2, operations: 0.8 }),
        ["hotspot", keys, operations] => Ok(Keys::Hotspot { keys: share(keys)?, operations: share(operations)? }),
        _ => Err("there is uniform, zipfian, zipfian:0.99, latest, and hotspot:0.2:0.8".to_owned()),
    }
}

/// For clap: a size, or a range of sizes.
fn value_size(text: &str) -> Result<ValueSize, String> {
    let bytes = |text: &str| {
        let number = text.trim().parse::<usize>();
        number.map_err(|_| {
            format!("{text:?} is no number of bytes; write a size such as 1024, or a range such as 100-2000")
        })
    };
    match text.split_once('-') {
        Some((min, max)) => Ok(ValueSize::Uniform { min: bytes(min)?, max: bytes(max)? }),
        None => Ok(ValueSize::Fixed(bytes(text)?)),
    }
}

/// For clap: a time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write a time such as 10s or 5m"))
}
