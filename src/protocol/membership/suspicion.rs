//! Suspicions: how long a member has to refute (Lifeguard, section IV.B, as memberlist's `suspicion.go` has it).
//!
//! ```text
//!   least = multiplier * max(1, log10 members) * probe interval         most = multiplier_max * least
//!   time(c) = most - (most - least) * log(c + 1) / log(k + 1)           c confirmations of k
//! ```
//!
//! A suspicion that nobody else shares runs long: the accuser may be the sick one. Accusers that came to it on their
//! own shorten it. Integers only, so that a run replays the same on every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Config;
use super::table::Place;
use crate::protocol::types::Instant;

/// How long a suspicion lasts in a cluster of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowance {
    least: Duration,
    most: Duration,
    confirmations: usize,
}

impl Allowance {
    pub(super) fn of(config: &Config, members: usize) -> Self {
        // Fewer than k others: nobody could confirm, so there is nothing to wait for.
        let confirmations = if members.saturating_sub(2) < config.confirmations { 0 } else { config.confirmations };
        let log10 = (log2(members) * 30_103 / 100_000).max(ONE);
        let nanos = config.probe_interval.as_nanos() * u128::from(config.suspicion_multiplier) * log10 / ONE;
        let least = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Self { least, most: least.saturating_mul(config.suspicion_multiplier_max), confirmations }
    }

    /// How long a suspicion lasts that so many others confirmed.
    pub(super) fn after(&self, confirmed: usize) -> Duration {
        if confirmed >= self.confirmations {
            return self.least;
        }
        let spread = (self.most.saturating_sub(self.least)).as_nanos();
        let less = spread * log2(confirmed + 1) / log2(self.confirmations + 1);
        self.most.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(u64::MAX)))
    }
}

/// What [`log2`] counts in.
const ONE: u128 = 1 << 10;

/// The binary logarithm in 1024ths, rounded down; 0 of 0.
fn log2(n: usize) -> u128 {
    let n = n as u64;
    let Some(whole) = n.checked_ilog2() else { return 0 };
    // A number from 1 to 2 with 63 binary places; each squaring yields the next place of the logarithm.
    let mut x = u128::from(n) << (63 - whole);
    let mut fraction = 0;
    for _ in 0..10 {
        x = (x * x) >> 63;
        fraction <<= 1;
        if x >> 64 > 0 {
            fraction |= 1;
            x >>= 1;
        }
    }
    u128::from(whole) * ONE + fraction
}

/// One member's time to refute.
#[derive(Debug, Clone)]
struct Suspicion {
    began: Instant,
    due: Instant,
    /// The first, and up to k that confirmed.
    accusers: Vec<Place>,
}

/// All suspicions that run here.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspicions {
    open: BTreeMap<Place, Suspicion>,
    due: BTreeSet<(Instant, Place)>,
}

impl Suspicions {
    /// Begins a member's time to refute, anew if it was running.
    pub(super) fn begin(&mut self, place: Place, accuser: Place, allowance: &Allowance, now: Instant) {
        self.end(place);
        let due = now.after(allowance.after(0));
        self.open.insert(place, Suspicion { began: now, due, accusers: vec![accuser] });
        self.due.insert((due, place));
    }

    /// Somebody else came to the same; false when that changes nothing and is not worth telling.
    pub(super) fn confirm(&mut self, place: Place, accuser: Place, allowance: &Allowance) -> bool {
        let Some(suspicion) = self.open.get_mut(&place) else { return false };
        if suspicion.accusers.len() > allowance.confirmations || suspicion.accusers.contains(&accuser) {
            return false;
        }
        suspicion.accusers.push(accuser);
        let due = suspicion.began.after(allowance.after(suspicion.accusers.len() - 1));
        self.due.remove(&(suspicion.due, place));
        suspicion.due = suspicion.due.min(due);
        self.due.insert((suspicion.due, place));
        true
    }

    /// The member had its time elsewhere: the least is enough here.
    pub(super) fn shorten(&mut self, place: Place, allowance: &Allowance) {
        let Some(suspicion) = self.open.get_mut(&place) else { return };
        self.due.remove(&(suspicion.due, place));
        suspicion.due = suspicion.due.min(suspicion.began.after(allowance.least));
        self.due.insert((suspicion.due, place));
    }

    /// The member refuted, or was found unreachable.
    pub(super) fn end(&mut self, place: Place) {
        if let Some(suspicion) = self.open.remove(&place) {
            self.due.remove(&(suspicion.due, place));
        }
    }

    /// Takes one whose time is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Place> {
        let (due, place) = self.due.first().copied()?;
        (due <= now).then(|| self.end(place))?;
        Some(place)
    }

    /// When the next one is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Gives everybody the time back that this node slept.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.due.clear();
        for (place, suspicion) in &mut self.open {
            suspicion.began = suspicion.began.after(by);
            suspicion.due = suspicion.due.after(by);
            self.due.insert((suspicion.due, *place));
        }
    }

    /// Moves everything to the places of another roster.
    pub(super) fn remap(&mut self, to: impl Fn(Place) -> Option<Place>) {
        let open = std::mem::take(&mut self.open);
        self.due.clear();
        for (place, mut suspicion) in open {
            let Some(place) = to(place) else { continue };
            suspicion.accusers = suspicion.accusers.iter().filter_map(|accuser| to(*accuser)).collect();
            self.due.insert((suspicion.due, place));
            self.open.insert(place, suspicion);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_lasts_as_memberlist_computes_it() {
        let config = Config::default();
        for (members, least) in [(3, 4_000), (10, 4_000), (100, 8_000), (1_000, 12_000), (10_000, 16_000)] {
            let allowance = Allowance::of(&config, members);
            let near = |a: Duration, b: u64| a.as_millis().abs_diff(u128::from(b)) <= u128::from(b / 100);
            assert!(near(allowance.least, least), "{members}: {:?}", allowance.least);
            assert_eq!(allowance.most, allowance.least * 6);
        }
        let allowance = Allowance::of(&config, 100);
        // memberlist: 48 s, then 48 - 40 * ln 2 / ln 3 = 22.8 s, then 8 s.
        let seconds: Vec<_> = (0..4).map(|c| allowance.after(c).as_secs_f64().round()).collect();
        assert_eq!(seconds, [48.0, 23.0, 8.0, 8.0]);
    }

    #[test]
    fn accuser_counts_once() {
        let allowance = Allowance::of(&Config::default(), 100);
        let mut suspicions = Suspicions::default();
        let now = Instant::from_nanos(0);
        suspicions.begin(Place::new(1), Place::new(2), &allowance, now);
        assert!(!suspicions.confirm(Place::new(1), Place::new(2), &allowance));
        assert_eq!(suspicions.deadline(), Some(now.after(allowance.most)));
        assert!(suspicions.confirm(Place::new(1), Place::new(3), &allowance));
        assert!(suspicions.confirm(Place::new(1), Place::new(4), &allowance));
        assert!(!suspicions.confirm(Place::new(1), Place::new(5), &allowance));
        assert_eq!(suspicions.deadline(), Some(now.after(allowance.least)));
    }
}
