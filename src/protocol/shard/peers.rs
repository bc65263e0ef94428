//! Which peers answer, and how fast: so that a read does not ask a slow one first, and hedges in good time.

use std::time::Duration;

use super::PeerIndex;
use super::recent::Recent;
use crate::protocol::types::Instant;

/// A peer that owes an answer for longer than this many times its usual round trip is lagging.
const LAGGING_FACTOR: u64 = 8;
/// No peer is called lagging before this: on a busy machine a few milliseconds are nobody's fault.
const LAGGING_MIN: Duration = Duration::from_millis(5);
/// A lagging peer is asked again after this long, to see whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A read asks one more replica when an asked one has not answered within the time in which so many of a hundred of its
/// reads of the last seconds were answered ..
const HEDGE_PERCENT: u32 = 95;
/// .. or, when there were too few of late to tell, within this many usual round trips ..
const HEDGE_FACTOR: u64 = 4;
/// .. but not before this: timers are no finer than a millisecond, and
const HEDGE_MIN: Duration = Duration::from_millis(2);
/// not later than this.
const HEDGE_MAX: Duration = Duration::from_millis(200);
/// One read in so many may ask one more replica (5 %) ..
const HEDGE_SHARE: u32 = 20;
/// .. and what was saved up in quiet times is worth so many: a cluster that turns slow as a whole must not be asked for
/// more by everybody.
const HEDGES_SAVED_MAX: u32 = 100;

/// A write asks a fallback to stand in for an owner that has been silent for this many times its 99th percentile ..
const SILENT_FACTOR: u64 = 3;
/// .. but not before this, and
const SILENT_MIN: Duration = Duration::from_millis(50);
/// not later than this, so that there is time left for the fallback.
const SILENT_MAX: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    up: bool,
    /// The members agree that it does not answer.
    unreachable: bool,
    /// Moving average of round trips, nanoseconds.
    usual: u64,
    /// About the longest of a hundred round trips, nanoseconds.
    p99: u64,
    /// How long its answers to reads took.
    reads: Recent,
    /// Since when an answer is owed.
    owed_since: Option<Instant>,
    /// Since when it has answered nothing although something was asked, probes or not.
    silent_since: Option<Instant>,
}

/// The peers of a shard.
#[derive(Debug)]
pub(super) struct Peers {
    paces: Vec<Pace>,
    /// Shares of a hedge that reads have earned.
    earned: u32,
}

impl Peers {
    pub(super) fn new(count: usize) -> Self {
        Self { paces: vec![Pace::default(); count], earned: HEDGES_SAVED_MAX * HEDGE_SHARE }
    }

    pub(super) fn set_up(&mut self, peer: PeerIndex, up: bool) {
        if let Some(pace) = self.paces.get_mut(peer.as_index()) {
            pace.up = up;
            (pace.owed_since, pace.silent_since) = (None, None);
        }
    }

    pub(super) fn set_reachable(&mut self, peer: PeerIndex, reachable: bool) {
        if let Some(pace) = self.paces.get_mut(peer.as_index()) {
            pace.unreachable = !reachable;
            (pace.owed_since, pace.silent_since) = (None, None);
        }
    }

    /// Whether it may be asked: its link is up, and it is not known to be silent.
    pub(super) fn is_up(&self, peer: PeerIndex) -> bool {
        self.paces.get(peer.as_index()).is_some_and(|pace| pace.up && !pace.unreachable)
    }

    /// Something that will be answered was sent.
    pub(super) fn asked(&mut self, peer: PeerIndex, now: Instant) {
        if let Some(pace) = self.paces.get_mut(peer.as_index()) {
            pace.silent_since.get_or_insert(now);
            let probing = pace.owed_since.is_some_and(|since| now.since(since) > PROBE_EVERY);
            if pace.owed_since.is_none() || probing {
                pace.owed_since = Some(now);
            }
        }
    }

    /// Any answer came: the peer is alive, and this is about how long it takes.
    pub(super) fn heard(&mut self, peer: PeerIndex, now: Instant) {
        let Some(pace) = self.paces.get_mut(peer.as_index()) else { return };
        pace.silent_since = None;
        if let Some(since) = pace.owed_since.take() {
            let sample = u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX);
            pace.usual = if pace.usual == 0 { sample } else { pace.usual - pace.usual / 8 + sample / 8 };
            // A frugal quantile: up by a step for each sample above it, down by a hundredth of one for each below.
            let step = pace.usual / 2 + 1;
            pace.p99 =
                if sample > pace.p99 { pace.p99.saturating_add(step) } else { pace.p99 - pace.p99.min(step / 99) };
        }
    }

    /// How little a read should like to ask this peer: down, lagging, or fine. A lagging one is fine now and then, as a
    /// probe.
    pub(super) fn reluctance(&self, peer: PeerIndex, now: Instant) -> u8 {
        match self.paces.get(peer.as_index()) {
            None => 2,
            Some(pace) if !pace.up || pace.unreachable => 2,
            Some(pace) => match pace.owed_since {
                Some(since) if now.since(since) > PROBE_EVERY => 0,
                Some(since) if now.since(since) > lagging_after(pace) => 1,
                _ => 0,
            },
        }
    }

    /// After how long from now somebody else is asked to stand in for this peer. `times` as long is waited for what
    /// takes it more than one round trip. What it has been silent for counts: behind a cut every request would wait
    /// anew for a peer that has not answered any of them.
    pub(super) fn silent_after(&self, peer: PeerIndex, times: u32, now: Instant) -> Duration {
        let pace = self.paces.get(peer.as_index()).copied().unwrap_or_default();
        let usual = Duration::from_nanos(pace.p99.saturating_mul(SILENT_FACTOR)).clamp(SILENT_MIN, SILENT_MAX);
        let silent = pace.silent_since.map_or(Duration::ZERO, |since| now.since(since));
        (usual * times).saturating_sub(silent).max(SILENT_MIN)
    }

    /// A peer answered a read, or has let it wait for so long.
    pub(super) fn read_took(&mut self, peer: PeerIndex, now: Instant, took: Duration) {
        if let Some(pace) = self.paces.get_mut(peer.as_index()) {
            pace.reads.add(now, took);
        }
    }

    /// After how long a read that asked these peers asks one more: the slowest of them sets the pace, for the read
    /// waits for all of them.
    pub(super) fn hedge_after(&mut self, now: Instant, asked: impl Iterator<Item = PeerIndex>) -> Duration {
        let mut after = HEDGE_MIN;
        for peer in asked {
            let Some(pace) = self.paces.get_mut(peer.as_index()) else { continue };
            let guess = || Duration::from_nanos(pace.usual.saturating_mul(HEDGE_FACTOR));
            after = after.max(pace.reads.quantile(now, HEDGE_PERCENT).unwrap_or_else(guess));
        }
        after.min(HEDGE_MAX)
    }

    /// A read began: it may pay a share of a hedge.
    pub(super) fn earn_hedge(&mut self) {
        self.earned = (self.earned + 1).min(HEDGES_SAVED_MAX * HEDGE_SHARE);
    }

    /// Whether a read may ask one more replica; it has paid for it then.
    pub(super) fn spend_hedge(&mut self) -> bool {
        let may = self.earned >= HEDGE_SHARE;
        self.earned -= if may { HEDGE_SHARE } else { 0 };
        may
    }
}

fn lagging_after(pace: &Pace) -> Duration {
    Duration::from_nanos(pace.usual.saturating_mul(LAGGING_FACTOR)).max(LAGGING_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerIndex = PeerIndex::new(0);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn peers_after(reads: impl Iterator<Item = u64>) -> Peers {
        let mut peers = Peers::new(1);
        reads.for_each(|ms| peers.read_took(PEER, at(1_000), Duration::from_millis(ms)));
        peers
    }

    #[test]
    fn hedge_waits_for_the_95th_percentile_of_the_last_seconds() {
        // 94 of 100 take 8 ms, 6 take 60: the 95th is one of the slow ones. One fewer of those, and it is not.
        let slow = |count: u64| (0..100).map(move |number| if number < count { 60 } else { 8 });
        let after = |count: u64| peers_after(slow(count)).hedge_after(at(1_500), [PEER].into_iter());
        assert!(after(6) > Duration::from_millis(60) && after(6) < Duration::from_millis(76), "{:?}", after(6));
        assert!(after(5) > Duration::from_millis(8) && after(5) < Duration::from_millis(11), "{:?}", after(5));
        // Not of long ago.
        assert_eq!(peers_after(slow(6)).hedge_after(at(9_000), [PEER].into_iter()), HEDGE_MIN);
    }

    #[test]
    fn hedge_is_as_late_as_the_slowest_of_those_asked_and_bounded() {
        let mut peers = Peers::new(2);
        (0..100).for_each(|_| peers.read_took(PEER, at(0), Duration::from_micros(100)));
        (0..100).for_each(|_| peers.read_took(PeerIndex::new(1), at(0), Duration::from_secs(1)));
        assert_eq!(peers.hedge_after(at(0), [PEER].into_iter()), HEDGE_MIN);
        assert_eq!(peers.hedge_after(at(0), [PEER, PeerIndex::new(1)].into_iter()), HEDGE_MAX);
        assert_eq!(peers.hedge_after(at(0), [PeerIndex::new(9)].into_iter()), HEDGE_MIN, "of nobody");
    }

    #[test]
    fn hedges_are_one_read_in_twenty_and_a_few_saved() {
        let mut peers = Peers::new(0);
        let spent = |peers: &mut Peers| (0..1_000).filter(|_| peers.spend_hedge()).count();
        assert_eq!(spent(&mut peers), 100, "a cluster without much traffic hedges too");
        (0..1_000).for_each(|_| peers.earn_hedge());
        assert_eq!(spent(&mut peers), 50, "5 %");
        (0..1_000_000).for_each(|_| peers.earn_hedge());
        assert_eq!(spent(&mut peers), 100, "a quiet year is no licence for a storm");
    }
}
