//! Three kinds of time, never mixed: a machine's own stopwatch, the wall, and the hybrid of wall and counter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds on a stopwatch that only goes forward. It has no meaning outside its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// This many nanoseconds after the stopwatch started.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the stopwatch started.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This long after.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Milliseconds since 1970, as the machine's wall clock has them: it may jump, and nothing safe depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct WallTime(u64);

impl WallTime {
    /// This many milliseconds after 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// A hybrid logical clock's reading: 48 bits of milliseconds since 1970, then 16 bits of counter.
/// It orders writes of a last-writer-wins table and shows people when a version was written; causality never rests
/// on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every other reading.
    pub const ZERO: Self = Self(0);

    /// The reading with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits: milliseconds, then counter.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The wall part.
    #[must_use]
    pub const fn wall(self) -> WallTime {
        WallTime(self.0 >> 16)
    }

    /// The smallest reading that is at least the wall's and above `self`.
    #[must_use]
    pub fn tick(self, wall: WallTime) -> Self {
        let wall = Self((wall.0 & 0xffff_ffff_ffff) << 16);
        wall.max(Self(self.0.saturating_add(1)))
    }

    /// How far the wall part is ahead of `wall`.
    #[must_use]
    pub const fn ahead_of(self, wall: WallTime) -> Duration {
        Duration::from_millis((self.0 >> 16).saturating_sub(wall.0))
    }
}
