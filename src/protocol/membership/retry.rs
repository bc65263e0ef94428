//! Retries: unreachable members are pinged for ever, ever more rarely, never all at once.
//!
//! A cluster that stops asking is split for ever once both sides have forgotten each other (antrea#4491). The waits
//! double up to a cap and each is drawn from its upper half, so that members that vanished together are not retried
//! together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::Rng;

use super::Config;
use super::table::Place;
use crate::protocol::types::Instant;

/// When to ping which unreachable member.
#[derive(Debug, Clone, Default)]
pub(super) struct Retries {
    waits: BTreeMap<Place, (Instant, Duration)>,
    due: BTreeSet<(Instant, Place)>,
}

impl Retries {
    /// The member became unreachable.
    pub(super) fn begin(&mut self, place: Place, config: &Config, rng: &mut impl Rng, now: Instant) {
        self.end(place);
        self.schedule(place, config.retry_min, rng, now);
    }

    /// There is reason to ping it now; the wait after that is as it was.
    pub(super) fn hasten(&mut self, place: Place, now: Instant) {
        if let Some((due, _)) = self.waits.get_mut(&place) {
            self.due.remove(&(*due, place));
            *due = now;
            self.due.insert((now, place));
        }
    }

    pub(super) fn end(&mut self, place: Place) {
        if let Some((due, _)) = self.waits.remove(&place) {
            self.due.remove(&(due, place));
        }
    }

    /// One that is due, its next wait begun.
    pub(super) fn next_due(&mut self, config: &Config, rng: &mut impl Rng, now: Instant) -> Option<Place> {
        let (due, place) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, place));
        let wait = self.waits.get(&place).map_or(config.retry_min, |(_, wait)| *wait);
        self.schedule(place, wait.saturating_mul(2).min(config.retry_max), rng, now);
        Some(place)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn schedule(&mut self, place: Place, wait: Duration, rng: &mut impl Rng, now: Instant) {
        let due = now.after(jittered(wait, rng));
        self.waits.insert(place, (due, wait));
        self.due.insert((due, place));
    }

    /// Moves everything to the places of another roster.
    pub(super) fn remap(&mut self, to: impl Fn(Place) -> Option<Place>) {
        let waits = std::mem::take(&mut self.waits);
        self.due.clear();
        for (place, (due, wait)) in waits {
            let Some(place) = to(place) else { continue };
            self.waits.insert(place, (due, wait));
            self.due.insert((due, place));
        }
    }
}

/// From half of the wait to all of it.
pub(super) fn jittered(wait: Duration, rng: &mut impl Rng) -> Duration {
    let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    let half = nanos / 2;
    let drawn = (u128::from(rng.next_u64()) * u128::from(nanos - half + 1)) >> 64;
    Duration::from_nanos(half + u64::try_from(drawn).expect("at most half of a u64"))
}
