//! Which peers answer, and how fast: so that a read does not ask a slow one first, and hedges in good time.

use std::time::Duration;

use super::PeerIndex;
use crate::protocol::types::Instant;

/// A peer that owes an answer for longer than this many times its usual round trip is lagging.
const LAGGING_FACTOR: u64 = 8;
/// No peer is called lagging before this: on a busy machine a few milliseconds are nobody's fault.
const LAGGING_MIN: Duration = Duration::from_millis(5);
/// A lagging peer is asked again after this long, to see whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A read asks one more replica when an asked one has not answered within this many usual round trips ..
const HEDGE_FACTOR: u64 = 4;
/// .. but not before this, and
const HEDGE_MIN: Duration = Duration::from_millis(10);
/// not later than this.
const HEDGE_MAX: Duration = Duration::from_millis(200);

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
    /// Since when an answer is owed.
    owed_since: Option<Instant>,
    /// Since when it has answered nothing although something was asked, probes or not.
    silent_since: Option<Instant>,
}

/// The peers of a shard.
#[derive(Debug)]
pub(super) struct Peers {
    paces: Vec<Pace>,
}

impl Peers {
    pub(super) fn new(count: usize) -> Self {
        Self { paces: vec![Pace::default(); count] }
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

    /// After how long a read that asked these peers asks one more.
    pub(super) fn hedge_after(&self, asked: impl Iterator<Item = PeerIndex>) -> Duration {
        let usual = asked.filter_map(|peer| self.paces.get(peer.as_index())).map(|pace| pace.usual).max();
        Duration::from_nanos(usual.unwrap_or(0).saturating_mul(HEDGE_FACTOR)).clamp(HEDGE_MIN, HEDGE_MAX)
    }
}

fn lagging_after(pace: &Pace) -> Duration {
    Duration::from_nanos(pace.usual.saturating_mul(LAGGING_FACTOR)).max(LAGGING_MIN)
}
