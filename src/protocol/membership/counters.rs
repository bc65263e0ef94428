//! Counters: what happened since the machine began, for operators and for tests.

use crate::protocol::types::{Histogram, Seconds};

/// Counts since the machine began, and five that are how many there are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams taken that made sense.
    pub received: u64,
    /// Datagrams and records that made no sense.
    pub garbage: u64,
    /// Datagrams, news and accusers of nodes that are not on the roster.
    pub unknown: u64,
    /// Probes begun.
    pub probes: u64,
    /// Probes that an answer to some request replaced.
    pub probes_spared: u64,
    /// Probes put off because the link was not up yet.
    pub probes_waiting: u64,
    /// Probes that neither the member nor a helper answered.
    pub probes_failed: u64,
    /// Probes that only a helper's word saved: the direct way is broken.
    pub probes_relayed: u64,
    /// From a probe's begin to the answer that ended it, direct, by a helper, or to another request.
    pub probe_times: Histogram<Seconds>,
    /// Nacks that did not come.
    pub nacks_missing: u64,
    /// Requests to probe for others that were refused because too many were open.
    pub relays_refused: u64,
    /// Suspicions begun here, by own probe or by hearsay.
    pub suspicions: u64,
    /// Suspicions that became a verdict here or were told as one.
    pub unreachable: u64,
    /// Accusations of this node that it refuted.
    pub refutations: u64,
    /// Accusations of this node's past, which need no refutation.
    pub stale_accusations: u64,
    /// Ticks that came so late that the lateness was forgiven to everybody.
    pub stalls: u64,
    /// Rumours dropped because too many waited.
    pub rumours_dropped: u64,
    /// Pings to unreachable members.
    pub retries: u64,
    /// Fetches asked of the caller.
    pub fetches: u64,
    /// Records of other tables that were merged.
    pub tables_merged: u64,
    /// Members suspected now.
    pub suspected_now: u64,
    /// Members unreachable now.
    pub unreachable_now: u64,
    /// Rumours being told now.
    pub rumours_now: u64,
    /// Members that have another roster or layout than this node now.
    pub differing_now: u64,
    /// The local health score now: 0 is well.
    pub health_now: u32,
}
