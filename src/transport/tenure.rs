//! How long a session may last: a day, no longer than the certificate behind it, and no longer than it is believed.
//!
//! A handshake is looked at once, and QUIC has no second one. So without an end a session would outlive its
//! certificate, a revocation, or the removal of an authority, for as long as both processes run. The end is the same on
//! both sides:
//!
//! ```text
//!   began                         renews (asking side)       ends
//!     |-----------------------------------|----------------------|   min(24 h, the peer's notAfter)
//!                                         \-- a successor is greeted, new frames take it, the old one is seen out
//! ```
//!
//! When this process's credentials change, every session's peer is judged again by the new ones.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::session::{Peer, SessionError};
use crate::pki::{Moment, Renewals};

/// A session's greatest age.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The asking side begins a successor after this many hundredths of what a session may last, and some more ..
const RENEW_PERCENT: u32 = 80;
/// .. of up to this many, so that a cluster's sessions are not all renewed at once.
const RENEW_SPREAD_PERCENT: u32 = 10;
/// A session that may not last longer than this is not worth a successor: the certificate is about to end.
const RENEW_MIN: Duration = Duration::from_secs(1);

/// Which end of its session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was connected to.
    Accepting,
    /// It connected.
    Connecting,
}

/// The bounds of one session.
#[derive(Debug)]
pub(super) struct Tenure {
    end: End,
    peer: Peer,
    /// When it ends, and whether that is the certificate's end.
    ends: Instant,
    expires: bool,
    lasts: Duration,
    renewals: Option<Renewals>,
}

impl Tenure {
    /// Of a session that begins now.
    pub(super) fn begin(peer: &Peer, end: End, renewals: Option<Renewals>) -> Self {
        let (lasts, expires) = allowed(peer.not_after(), Moment::now());
        Self { end, peer: peer.clone(), ends: Instant::now() + lasts, expires, lasts, renewals }
    }

    /// When the asking side is to begin a successor. `jitter` is a random number.
    pub(super) fn renew_at(&self, jitter: u64) -> Instant {
        let spread = u32::try_from(jitter % u64::from(RENEW_SPREAD_PERCENT * 10)).unwrap_or(0);
        let before = self.lasts / 1_000 * (RENEW_PERCENT * 10 + spread);
        match self.lasts > RENEW_MIN {
            true => self.ends - self.lasts + before,
            false => self.ends,
        }
    }

    /// Returns why the session is over, once it is.
    pub(super) async fn over(mut self) -> SessionError {
        loop {
            let renewed = async {
                match &mut self.renewals {
                    Some(renewals) => renewals.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(self.ends) => return self.ended(),
                renewed = renewed => match renewed {
                    true => if let Err(error) = self.judge() {
                        return error;
                    },
                    // Nobody renews any more: the process is ending.
                    false => self.renewals = None,
                },
            }
        }
    }

    fn ended(&self) -> SessionError {
        match self.expires {
            true => SessionError::Expired(self.peer.not_after()),
            false => SessionError::Aged,
        }
    }

    fn judge(&mut self) -> Result<(), SessionError> {
        let Some(renewals) = &mut self.renewals else { return Ok(()) };
        let credentials = renewals.borrow_and_update().clone();
        let judged = match self.end {
            End::Accepting => credentials.believe_client(self.peer.chain(), Moment::now()),
            End::Connecting => credentials.believe_node(self.peer.chain(), Moment::now()),
        };
        judged.map(drop).map_err(SessionError::Peer)
    }
}

/// How long a session may last from now on, and whether it is the certificate that ends it.
fn allowed(not_after: Moment, now: Moment) -> (Duration, bool) {
    // The last second is still valid.
    let left = Duration::from_secs((not_after.as_unix() + 1).saturating_sub(now.as_unix()));
    (left.min(AGE_MAX), left < AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_lasts_a_day_or_as_long_as_its_certificate() {
        let now = Moment::from_unix(1_000_000);
        assert_eq!(allowed(now.after(AGE_MAX * 3), now), (AGE_MAX, false));
        assert_eq!(allowed(now.after(Duration::from_secs(60)), now), (Duration::from_secs(61), true));
        assert_eq!(allowed(now, now), (Duration::from_secs(1), true));
        assert_eq!(allowed(now.before(Duration::from_secs(5)), now), (Duration::ZERO, true));
    }
}
