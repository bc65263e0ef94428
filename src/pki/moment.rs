//! Wall-clock seconds, as certificates count them, and the time between two of them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, UnixTime};

use super::identity::{IdentityError, parse_certificate};

/// A second since 1970, at most the last one of the year 9999 (what a certificate can say). Displayed as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// 9999-12-31T23:59:59Z, RFC 5280's "no expiry".
    pub const MAX: Self = Self(253_402_300_799);

    /// The wall clock's.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// This many seconds after 1970; earlier is 1970, later is [`Moment::MAX`].
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(u64::try_from(seconds).unwrap_or(0)).min(Self::MAX)
    }

    /// The second that has begun at `time`, within the bounds.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).min(Self::MAX)
    }

    /// Seconds since 1970, for a metric.
    #[must_use]
    pub const fn as_unix(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// This long after, at most [`Moment::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs())).min(Self::MAX)
    }

    /// This long before, at least 1970.
    #[must_use]
    pub const fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// As rustls has it.
    pub(super) fn to_unix_time(self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0))
    }

    /// From rustls.
    pub(super) fn from_unix_time(time: UnixTime) -> Self {
        Self(time.as_secs()).min(Self::MAX)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.to_system_time()).fmt(f)
    }
}

/// From when until when a certificate holds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Moment,
    /// The last second.
    pub not_after: Moment,
}

/// A new certificate is valid from this long ago, so that a peer whose clock is behind takes it at once.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

impl Validity {
    /// From five minutes before `now` until `lifetime` after it.
    #[must_use]
    pub fn starting(now: Moment, lifetime: Duration) -> Self {
        Self { not_before: now.before(BACKDATED), not_after: now.after(lifetime) }
    }

    /// What the certificate says.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] when it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = parse_certificate(certificate)?;
        let validity = parsed.validity();
        Ok(Self {
            not_before: Moment::from_unix(validity.not_before.timestamp()),
            not_after: Moment::from_unix(validity.not_after.timestamp()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_prints_as_rfc_3339_at_both_ends() {
        assert_eq!(Moment::from_unix(-5).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment::from_unix(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment::from_unix(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn validity_begins_five_minutes_early() {
        let now = Moment::from_unix(1_000_000);
        let validity = Validity::starting(now, Duration::from_secs(60));
        assert_eq!(validity.not_before, Moment::from_unix(999_700));
        assert_eq!(validity.not_after, Moment::from_unix(1_000_060));
    }
}
