//! The figures of the protocol: intervals, limits, and what more or less of each costs.

use std::time::Duration;

/// Largest datagram sent or taken. A QUIC packet of 1200 bytes, the smallest path there may be, leaves 1162 for a
/// datagram (RFC 9221); the rest is room for longer connection ids.
pub const DATAGRAM_BYTES_MAX: usize = 1_100;

/// Largest roster. Its table record is 290 KB, and a full mesh of QUIC connections ends well before.
pub const MEMBERS_MAX: usize = 10_000;

/// How often members are probed and told, and how long a silence is forgiven. The default is memberlist's LAN profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// From one probe to the next. Longer is cheaper and notices later.
    pub probe_interval: Duration,
    /// How long a direct answer may take before others are asked to try. Below `probe_interval`.
    pub probe_timeout: Duration,
    /// How many others are asked to try.
    pub helpers: usize,
    /// A suspicion lasts at least this many times `log10(members)` probe intervals.
    pub suspicion_multiplier: u32,
    /// Without confirmations it lasts this many times as long.
    pub suspicion_multiplier_max: u32,
    /// So many accusers beside the first shorten it to the least.
    pub confirmations: usize,
    /// From one round of rumours to the next.
    pub gossip_interval: Duration,
    /// Members told in one round.
    pub gossip_targets: usize,
    /// A rumour is told `retransmits * ceil(log10(members + 1))` times.
    pub retransmits: u32,
    /// Worst value of the local health score.
    pub health_max: u32,
    /// How long a link may be down before that counts as a failed probe: a handshake and its retries.
    pub link_limit: Duration,
    /// First wait between two pings to an unreachable member.
    pub retry_min: Duration,
    /// Longest wait between two pings to an unreachable member.
    pub retry_max: Duration,
    /// From one comparison of digests with a random member to the next.
    pub compare_interval: Duration,
    /// From one fetch of the same matter to the next.
    pub fetch_interval: Duration,
    /// A table that changed within this time is still being told about, so a difference is not yet worth a fetch.
    pub quiet: Duration,
    /// A difference that has lasted so long is worth a fetch even if the table never rests.
    pub patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            helpers: 3,
            suspicion_multiplier: 4,
            suspicion_multiplier_max: 6,
            confirmations: 2,
            gossip_interval: Duration::from_millis(200),
            gossip_targets: 3,
            retransmits: 4,
            health_max: 8,
            link_limit: Duration::from_secs(5),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            compare_interval: Duration::from_secs(10),
            fetch_interval: Duration::from_secs(5),
            quiet: Duration::from_secs(3),
            patience: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Stops on figures that contradict each other: they come from the programmer, never from a peer.
    pub(super) fn check(&self) {
        assert!(!self.probe_timeout.is_zero(), "an answer needs time");
        assert!(self.probe_timeout < self.probe_interval, "the helpers need the rest of the interval");
        assert!(!self.gossip_interval.is_zero(), "rumours need an interval");
        assert!(!self.compare_interval.is_zero(), "comparisons need an interval");
        assert!(!self.retry_min.is_zero(), "a retry needs a wait");
        assert!(self.retry_min <= self.retry_max, "the longest wait is at least the first");
        assert!(self.suspicion_multiplier >= 1, "a suspicion needs time to be refuted");
        assert!(self.suspicion_multiplier_max >= 1, "the longest suspicion is at least the shortest");
    }

    /// How often a rumour is told among so many members: `retransmits * ceil(log10(members + 1))`.
    #[must_use]
    pub fn tellings(&self, members: usize) -> u32 {
        let mut digits = 0;
        let mut reach = 1_usize;
        while reach < members.saturating_add(1) {
            reach = reach.saturating_mul(10);
            digits += 1;
        }
        self.retransmits * digits.max(1)
    }
}
