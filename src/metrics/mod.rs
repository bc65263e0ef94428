//! A node's numbers, as Prometheus reads them.
//!
//! The shards count in plain integers on their own threads; a scrape asks them and lays the answers out once. So the
//! request path has no atomic, no lock and no label lookup for the sake of a dashboard.

use std::time::Duration;

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::protocol::shard::Counters;
use crate::protocol::wire::NodeStatus;

/// What a scrape shows.
#[derive(Debug, Clone)]
pub struct NodeNumbers {
    /// How the node sees itself.
    pub status: NodeStatus,
    /// Counts of each shard that answered.
    pub shards: Vec<Counters>,
    /// Hints that are kept for other nodes.
    pub hints: u64,
    /// Their bytes.
    pub hint_bytes: u64,
    /// How long this process has known of the oldest of them.
    pub oldest_hint: Duration,
    /// How long ago everything on the node agreed with the other owners' copies; none while that is not known.
    pub in_sync_age: Option<Duration>,
    /// What the members say of each other.
    pub gossip: crate::protocol::membership::Counters,
    /// Requests under way.
    pub in_flight: u64,
    /// Turns run.
    pub turns: u64,
    /// Turns that wrote something: commits to RocksDB.
    pub commits: u64,
    /// Sessions begun.
    pub sessions: u64,
    /// Connections that did not become a session.
    pub sessions_refused: u64,
    /// Sessions ended because of a frame that cannot be understood.
    pub frames_malformed: u64,
    /// Frames that their sender's certificate does not allow.
    pub frames_not_allowed: u64,
    /// Frames of an unknown kind.
    pub frames_unsupported: u64,
    /// Column families with a damaged block, as far as reads have met one.
    pub damaged: u64,
    /// How often the disk's life was renewed.
    pub life_renewals: u64,
}

/// The text of a scrape.
///
/// # Panics
/// When two numbers have one name, which the test of this module would have found.
#[must_use]
pub fn render(numbers: &NodeNumbers) -> String {
    let page = lay_out(numbers).expect("each number has a name of its own, as the test of this module checks");
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&page.gather(), &mut text);
    encoded.expect("text is written to memory");
    String::from_utf8(text).unwrap_or_default()
}

fn lay_out(numbers: &NodeNumbers) -> prometheus::Result<Registry> {
    let page = Registry::new();
    let sum = |of: fn(&Counters) -> u64| numbers.shards.iter().map(of).sum::<u64>();
    let requests = counters(&page, "quorate_requests_total", "Client requests coordinated by this node.", "kind")?;
    requests.with_label_values(&["get"]).inc_by(sum(|c| c.gets));
    requests.with_label_values(&["put"]).inc_by(sum(|c| c.puts));
    let replica = counters(&page, "quorate_replica_requests_total", "Requests of other coordinators.", "kind")?;
    replica.with_label_values(&["read"]).inc_by(sum(|c| c.replica_reads));
    replica.with_label_values(&["merge"]).inc_by(sum(|c| c.replica_merges));
    let failures = counters(&page, "quorate_failures_total", "Failures told to clients and peers.", "code")?;
    for (code, count) in numbers.shards.iter().flat_map(|shard| &shard.failures) {
        failures.with_label_values(&[code]).inc_by(*count);
    }
    for (name, help, value) in [
        ("quorate_write_backs_total", "Reads whose answers differed and were stored first.", sum(|c| c.write_backs)),
        ("quorate_hedges_total", "Reads that asked one more replica because one was slow.", sum(|c| c.hedges)),
        (
            "quorate_read_repairs_total",
            "Replicas that a read found behind and sent the merge.",
            sum(|c| c.read_repairs),
        ),
        ("quorate_exchanges_begun_total", "Exchanges begun here.", sum(|c| c.exchanges_begun)),
        ("quorate_exchanges_completed_total", "Exchanges that left both sides equal.", sum(|c| c.exchanges_completed)),
        ("quorate_exchanges_failed_total", "Exchanges that were broken off.", sum(|c| c.exchanges_failed)),
        ("quorate_exchange_differences_total", "Items that exchanges found to differ.", sum(|c| c.differences)),
        ("quorate_exchange_items_fetched_total", "Items fetched by exchanges.", sum(|c| c.items_fetched)),
        ("quorate_exchange_items_given_total", "Items given by exchanges.", sum(|c| c.items_given)),
        ("quorate_exchange_bytes_total", "Bytes sent by exchanges begun here.", sum(|c| c.exchange_bytes)),
        ("quorate_rot_found_total", "Partitions found to have changed without a write.", sum(|c| c.rot_found)),
        ("quorate_copies_restored_total", "Damaged copies replaced by the other owners'.", sum(|c| c.restored)),
        ("quorate_hints_stored_total", "Hints taken in for other nodes.", sum(|c| c.hints_stored)),
        ("quorate_hints_delivered_total", "Hints that their home nodes have fsynced.", sum(|c| c.hints_delivered)),
        ("quorate_stand_ins_total", "Fallbacks asked to stand in for an owner.", sum(|c| c.stand_ins)),
        ("quorate_stood_in_total", "Requests coordinated without owning the item.", sum(|c| c.stood_in)),
        ("quorate_fetches_total", "Writes that fetched what their context had seen.", sum(|c| c.fetches)),
        ("quorate_retries_recognised_total", "Writes whose id was known already.", sum(|c| c.retries_recognised)),
        ("quorate_relayed_total", "Requests passed on to an owner.", sum(|c| c.relayed)),
        ("quorate_forwarded_total", "Requests passed on to another shard.", sum(|c| c.forwarded_to_shard)),
        ("quorate_reads_pending_total", "Lookups that had to go to the disk.", sum(|c| c.reads_pending)),
        ("quorate_unreadable_total", "Own copies that could not be read.", sum(|c| c.unreadable)),
        ("quorate_versions_warned_total", "Items that reached 16 versions.", sum(|c| c.versions_warned)),
        ("quorate_vector_warned_total", "Items whose vector reached 64 entries.", sum(|c| c.vector_warned)),
        ("quorate_answers_ignored_total", "Late, duplicated or unasked answers.", sum(|c| c.answers_ignored)),
        ("quorate_gossip_sent_total", "Gossip datagrams sent.", numbers.gossip.sent),
        ("quorate_gossip_sent_bytes_total", "Their bytes.", numbers.gossip.sent_bytes),
        ("quorate_gossip_garbage_total", "Gossip that made no sense.", numbers.gossip.garbage),
        ("quorate_probes_total", "Members probed.", numbers.gossip.probes),
        ("quorate_probes_failed_total", "Probes that nobody answered.", numbers.gossip.probes_failed),
        ("quorate_suspicions_total", "Members suspected by this node.", numbers.gossip.suspicions),
        ("quorate_refutations_total", "Accusations of this node that it refuted.", numbers.gossip.refutations),
        ("quorate_life_renewals_total", "Marks by which members would know an older copy.", numbers.life_renewals),
        ("quorate_turns_total", "Turns of all shards.", numbers.turns),
        ("quorate_commits_total", "Turns that wrote something.", numbers.commits),
        ("quorate_sessions_total", "Sessions begun.", numbers.sessions),
        ("quorate_sessions_refused_total", "Connections refused.", numbers.sessions_refused),
        ("quorate_frames_malformed_total", "Sessions ended by a malformed frame.", numbers.frames_malformed),
        ("quorate_frames_not_allowed_total", "Frames that their sender may not ask.", numbers.frames_not_allowed),
        ("quorate_frames_unsupported_total", "Frames of an unknown kind.", numbers.frames_unsupported),
    ] {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        page.register(Box::new(counter))?;
    }
    let status = &numbers.status;
    for (name, help, value) in [
        ("quorate_hints_pending", "Hints kept for other nodes.", numbers.hints),
        ("quorate_hints_bytes", "Bytes of the hints kept for other nodes.", numbers.hint_bytes),
        (
            "quorate_hints_oldest_seconds",
            "Age of the oldest hint, from when this process knew.",
            numbers.oldest_hint.as_secs(),
        ),
        ("quorate_members_suspected", "Members that are suspected now.", numbers.gossip.suspected_now),
        ("quorate_members_unreachable", "Members that do not answer.", numbers.gossip.unreachable_now),
        ("quorate_health_score", "How slow this node finds itself, 0 to 8.", u64::from(numbers.gossip.health_now)),
        ("quorate_in_flight", "Requests under way.", numbers.in_flight),
        ("quorate_damaged_families", "Column families with a damaged block; a restart rebuilds them.", numbers.damaged),
        ("quorate_partitions", "Partitions that this node holds.", u64::from(status.partitions)),
        ("quorate_member", "1 when the node belongs to a cluster.", u64::from(status.cluster.is_some())),
        ("quorate_unverified", "1 when answers do not count toward R.", u64::from(status.unverified)),
        ("quorate_uptime_seconds", "Seconds since the start.", status.uptime_s),
        ("quorate_boot_generation", "Starts of this data directory.", status.generation.as_u64()),
    ] {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        page.register(Box::new(gauge))?;
    }
    // Absent until it is known: a zero would say "in sync now".
    if let Some(age) = numbers.in_sync_age {
        let help = "Seconds since everything here agreed with the other owners' copies.";
        let gauge = IntGauge::new("quorate_in_sync_age_seconds", help)?;
        gauge.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        page.register(Box::new(gauge))?;
    }
    peers(&page, status)?;
    Ok(page)
}

/// A line for each other member.
fn peers(page: &Registry, status: &NodeStatus) -> prometheus::Result<()> {
    let peers = Opts::new("quorate_peer_connected", "1 while the control link to a member is up.");
    let peers = {
        let vector = IntGaugeVec::new(peers, &["peer"])?;
        page.register(Box::new(vector.clone()))?;
        vector
    };
    for peer in &status.peers {
        peers.with_label_values(&[peer.name.as_str()]).set(i64::from(peer.connected));
    }
    Ok(())
}

fn counters(page: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    let vector = IntCounterVec::new(Opts::new(name, help), &[label])?;
    page.register(Box::new(vector.clone()))?;
    Ok(vector)
}

#[cfg(test)]
mod tests;
