//! Every metric of a node: name, type, unit, labels, help, and where its value is. ONE table.
//!
//! | constructor | for |
//! |---|---|
//! | `total` | something that only grows; its name ends with `_total` |
//! | `gauge` | something that goes up and down, and is always known |
//! | `known` | the same, absent while it is not known |
//! | `family` | everything else: with labels, or a histogram |
//!
//! Names are in base units: `_seconds`, `_bytes`; a ratio is left to whoever divides. A label's values are bounded.

use super::families::{answers, blocked, by_verb, expired, failures, round_trips, sum_of, tables};
use super::numbers::{ItemCacheNumbers, NodeNumbers};
use super::page::Samples;

/// What can be done with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows: rates of it make sense.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution: quantiles of its rates make sense.
    Histogram,
}

impl Kind {
    /// As Prometheus has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric counts in, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time.
    Seconds,
    /// Space.
    Bytes,
    /// Things.
    Count,
}

/// Where the value is.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    /// A count.
    Total(fn(&NodeNumbers) -> u64),
    /// A number.
    Value(fn(&NodeNumbers) -> f64),
    /// A number, once it is known.
    Known(fn(&NodeNumbers) -> Option<f64>),
    /// Any number of samples.
    Family(fn(&NodeNumbers, &mut Samples)),
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Unique, with its unit.
    pub name: &'static str,
    /// What can be done with it.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// A sentence for a person.
    pub help: &'static str,
    /// Where its value is.
    pub read: Read,
}

impl Metric {
    /// What it counts in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let name = self.name.trim_end_matches("_total");
        if name.ends_with("_seconds") {
            Unit::Seconds
        } else if name.ends_with("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        }
    }
}

const fn total(name: &'static str, help: &'static str, read: fn(&NodeNumbers) -> u64) -> Metric {
    Metric { name, kind: Kind::Counter, labels: &[], help, read: Read::Total(read) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&NodeNumbers) -> f64) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help, read: Read::Value(read) }
}

const fn known(name: &'static str, help: &'static str, read: fn(&NodeNumbers) -> Option<f64>) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help, read: Read::Known(read) }
}

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&NodeNumbers, &mut Samples),
) -> Metric {
    Metric { name, kind, labels, help, read: Read::Family(read) }
}

use Kind::{Counter, Gauge, Histogram as Distribution};

/// Every metric of a node, in the order of the page.
pub const CATALOGUE: &[Metric] = &[
    // Requests of clients, and the quorums behind them.
    family("quorate_requests_total", Counter, &["operation"], "Client requests coordinated by this node.", |n, out| {
        out.put(&["get"], n.count(|c| c.gets) as f64);
        out.put(&["put"], n.count(|c| c.puts) as f64);
    }),
    family(
        "quorate_answers_total",
        Counter,
        &["operation", "outcome"],
        "Answers to requests that were coordinated or given up here: ok, or the code of the failure.",
        answers,
    ),
    family(
        "quorate_table_requests_total",
        Counter,
        &["table", "operation"],
        "Client requests by table: the first 32 tables of each shard by name, the rest as (other).",
        tables,
    ),
    family(
        "quorate_request_seconds",
        Distribution,
        &["operation"],
        "From a request to its answer at the coordinator, of requests that succeeded.",
        |n, out| by_verb(n, out, |verb| &verb.request),
    ),
    family(
        "quorate_quorum_seconds",
        Distribution,
        &["operation"],
        "From asking the replicas to the R-th or W-th answer that made the quorum.",
        |n, out| by_verb(n, out, |verb| &verb.quorum),
    ),
    family(
        "quorate_replica_round_trip_seconds",
        Distribution,
        &["peer"],
        "From asking another replica to its answer, by node; the 64th and later nodes share one.",
        round_trips,
    ),
    family(
        "quorate_read_versions",
        Distribution,
        &[],
        "Live versions that a read found: 0 is not found, 2 and more are siblings.",
        |n, out| out.put_histogram(&[], &sum_of(n.measures().map(|m| &m.versions))),
    ),
    gauge("quorate_in_flight", "Requests under way.", |n| n.sum(|s| s.in_flight) as f64),
    gauge("quorate_request_bytes", "Bytes of requests taken in and not answered.", |n| n.request_bytes as f64),
    total("quorate_requests_refused_total", "Requests refused because too many are under way.", |n| n.refused),
    family(
        "quorate_requests_expired_total",
        Counter,
        &["operation"],
        "Requests whose time was over before they were begun.",
        expired,
    ),
    family(
        "quorate_replica_requests_total",
        Counter,
        &["operation"],
        "What other coordinators asked of this replica.",
        |n, out| {
            out.put(&["read"], n.count(|c| c.replica_reads) as f64);
            out.put(&["merge"], n.count(|c| c.replica_merges) as f64);
        },
    ),
    family("quorate_failures_total", Counter, &["code"], "Failures told to clients and peers.", failures),
    total("quorate_write_backs_total", "Reads whose answers differed and were stored first.", |n| {
        n.count(|c| c.write_backs)
    }),
    total("quorate_heads_sent_total", "Heads sent to other coordinators in place of large copies.", |n| {
        n.count(|c| c.heads_sent)
    }),
    total("quorate_values_fetched_total", "Values fetched by the dots that heads named.", |n| {
        n.count(|c| c.values_fetched)
    }),
    total("quorate_hedges_total", "Reads that asked one more replica because one was slow.", |n| n.count(|c| c.hedges)),
    total("quorate_fetches_total", "Writes that fetched what their context had seen.", |n| n.count(|c| c.fetches)),
    total("quorate_retries_recognised_total", "Writes whose id was known already.", |n| {
        n.count(|c| c.retries_recognised)
    }),
    total("quorate_relayed_total", "Requests passed on to an owner.", |n| n.count(|c| c.relayed)),
    total("quorate_forwarded_total", "Requests passed on to another shard.", |n| n.count(|c| c.forwarded_to_shard)),
    total("quorate_answers_ignored_total", "Late, duplicated or unasked answers.", |n| n.count(|c| c.answers_ignored)),
    total("quorate_versions_warned_total", "Items that reached 16 versions.", |n| n.count(|c| c.versions_warned)),
    total("quorate_vector_warned_total", "Items whose vector reached 64 entries.", |n| n.count(|c| c.vector_warned)),
    // What keeps copies equal.
    gauge(
        "quorate_background_share",
        "Part of its usual pace that background work has where it has least: 1/16 to 1.",
        |n| n.shards.iter().map(|shard| shard.background_share).fold(1.0, f64::min),
    ),
    total("quorate_read_repairs_total", "Replicas that a read found behind and sent the merge.", |n| {
        n.count(|c| c.read_repairs)
    }),
    total("quorate_exchanges_begun_total", "Exchanges begun here.", |n| n.count(|c| c.exchanges_begun)),
    total("quorate_exchanges_completed_total", "Exchanges that left both sides equal.", |n| {
        n.count(|c| c.exchanges_completed)
    }),
    total("quorate_exchanges_failed_total", "Exchanges that were broken off.", |n| n.count(|c| c.exchanges_failed)),
    total("quorate_exchange_differences_total", "Items that exchanges found to differ.", |n| {
        n.count(|c| c.differences)
    }),
    total("quorate_exchange_pages_matched_total", "Pages of items that were the same on both sides.", |n| {
        n.count(|c| c.pages_matched)
    }),
    total("quorate_exchange_items_fetched_total", "Items fetched by exchanges.", |n| n.count(|c| c.items_fetched)),
    total("quorate_exchange_items_given_total", "Items given by exchanges.", |n| n.count(|c| c.items_given)),
    total("quorate_exchange_bytes_total", "Bytes sent by exchanges begun here.", |n| n.count(|c| c.exchange_bytes)),
    total("quorate_clocks_joined_total", "Partition clocks that learnt from another owner's.", |n| {
        n.count(|c| c.clocks_joined)
    }),
    known(
        "quorate_in_sync_age_seconds",
        "Time since everything here agreed with the other owners' copies; absent until it once did.",
        |n| n.in_sync_age().map(|age| age.as_secs_f64()),
    ),
    family("quorate_partition_in_sync_age_seconds", Gauge, &["partition"], "The same by partition.", |n, out| {
        for (partition, age) in n.shards.iter().flat_map(|shard| &shard.in_sync_ages) {
            if let Some(age) = age {
                out.put(&[&partition.to_string()], age.as_secs_f64());
            }
        }
    }),
    gauge(
        "quorate_partitions_never_in_sync",
        "Partitions that this process has not compared with all their other owners yet.",
        |n| n.shards.iter().flat_map(|shard| &shard.in_sync_ages).filter(|(_, age)| age.is_none()).count() as f64,
    ),
    total("quorate_trees_taken_total", "Hash trees left by the process before.", |n| n.count(|c| c.trees_taken)),
    total("quorate_trees_built_total", "Hash trees built because there was none.", |n| n.count(|c| c.trees_built)),
    total("quorate_trees_verified_total", "Hash trees found to be those of the disk.", |n| {
        n.count(|c| c.trees_verified)
    }),
    // What goes by proof.
    total("quorate_reaping_rounds_total", "Rounds of reaping begun here.", |n| n.count(|c| c.reaping_rounds)),
    total("quorate_reaped_total", "Tombstones removed after all owners confirmed them.", |n| n.count(|c| c.reaped)),
    total("quorate_stripped_total", "Vector entries stripped after all owners confirmed.", |n| n.count(|c| c.stripped)),
    family(
        "quorate_reaping_blocked_total",
        Counter,
        &["why"],
        "Times that reaping had to wait, by what it waited for.",
        blocked,
    ),
    total("quorate_dropped_obsolete_total", "Items dropped because all other owners had reaped them.", |n| {
        n.count(|c| c.dropped_obsolete)
    }),
    total("quorate_refused_obsolete_total", "Versions refused as deleted long ago.", |n| {
        n.count(|c| c.refused_as_obsolete)
    }),
    total("quorate_contested_total", "Items sent back to an owner that had lost them.", |n| n.count(|c| c.contested)),
    total("quorate_taken_back_total", "Items taken back from other owners.", |n| n.count(|c| c.taken_back)),
    total("quorate_rot_found_total", "Partitions found to have changed without a write.", |n| n.count(|c| c.rot_found)),
    total("quorate_unreadable_total", "Own copies that could not be read.", |n| n.count(|c| c.unreadable)),
    total("quorate_copies_restored_total", "Damaged copies replaced by the other owners'.", |n| {
        n.count(|c| c.restored)
    }),
    // Writes kept for others.
    gauge("quorate_hints_pending", "Hints kept for other nodes.", |n| n.sum(|s| s.hints) as f64),
    gauge("quorate_hints_bytes", "Bytes of the hints kept for other nodes.", |n| n.sum(|s| s.hint_bytes) as f64),
    gauge("quorate_hints_oldest_seconds", "Age of the oldest hint, from when this process knew.", |n| {
        n.shards.iter().map(|shard| shard.oldest_hint).max().unwrap_or_default().as_secs_f64()
    }),
    total("quorate_hints_asked_total", "Hints that other nodes asked this one to keep.", |n| {
        n.count(|c| c.hints_asked)
    }),
    total("quorate_hints_stored_total", "Hints taken in for other nodes.", |n| n.count(|c| c.hints_stored)),
    total(
        "quorate_hints_refused_total",
        "Hints not taken in for want of room; one that was taken in is never dropped.",
        |n| n.count(|c| c.hints_refused),
    ),
    total("quorate_hints_delivered_total", "Hints that their home nodes have fsynced.", |n| {
        n.count(|c| c.hints_delivered)
    }),
    total("quorate_stand_ins_total", "Fallbacks asked to stand in for an owner.", |n| n.count(|c| c.stand_ins)),
    total("quorate_stood_in_total", "Requests coordinated without owning the item.", |n| n.count(|c| c.stood_in)),
    // Members and the layout.
    family(
        "quorate_members",
        Gauge,
        &["state"],
        "Members by what this node believes of them, itself included.",
        |n, out| {
            out.put(&["alive"], n.standings.alive as f64);
            out.put(&["suspect"], n.standings.suspect as f64);
            out.put(&["unreachable"], n.standings.unreachable as f64);
        },
    ),
    family("quorate_peer_connected", Gauge, &["peer"], "1 while all links to a member are up.", |n, out| {
        for peer in &n.status.peers {
            out.put(&[&peer.name], f64::from(u8::from(peer.connected)));
        }
    }),
    family(
        "quorate_probe_seconds",
        Distribution,
        &[],
        "From probing a member to its answer, direct, by a helper, or to another request.",
        |n, out| out.put_histogram(&[], &n.gossip.probe_times),
    ),
    total("quorate_probes_total", "Members probed.", |n| n.gossip.probes),
    total("quorate_probes_failed_total", "Probes that nobody answered.", |n| n.gossip.probes_failed),
    total("quorate_suspicions_total", "Members suspected by this node.", |n| n.gossip.suspicions),
    total("quorate_refutations_total", "Accusations of this node that it refuted.", |n| n.gossip.refutations),
    gauge(
        "quorate_health_multiplier",
        "How much longer this node waits for probes because it finds itself slow: 1 is well.",
        |n| f64::from(n.gossip.health_now + 1),
    ),
    total("quorate_gossip_sent_total", "Gossip datagrams sent.", |n| n.gossip.sent),
    total("quorate_gossip_sent_bytes_total", "Bytes of gossip datagrams sent.", |n| n.gossip.sent_bytes),
    total("quorate_gossip_garbage_total", "Gossip that made no sense.", |n| n.gossip.garbage),
    gauge("quorate_members_differing", "Members with another roster or layout than this node.", |n| {
        n.gossip.differing_now as f64
    }),
    gauge("quorate_member", "1 when the node belongs to a cluster.", |n| {
        f64::from(u8::from(n.status.cluster.is_some()))
    }),
    gauge("quorate_unverified", "1 when answers do not count toward R.", |n| f64::from(u8::from(n.status.unverified))),
    gauge("quorate_boot_generation", "Starts of this data directory.", |n| n.status.generation.as_u64() as f64),
    total("quorate_life_renewals_total", "Marks by which members would know an older copy of this disk.", |n| {
        n.life_renewals
    }),
    gauge("quorate_partitions", "Partitions that this node holds.", |n| f64::from(n.status.partitions)),
    family("quorate_layout_info", Gauge, &["layout"], "The layout that this node goes by, as a label.", |n, out| {
        if let Some(layout) = n.status.layout {
            out.put(&[&layout.to_string()], 1.0);
        }
    }),
    known("quorate_layout_number", "The number of the layout that this node goes by.", |n| {
        n.status.layout.map(|layout| f64::from(layout.number()))
    }),
    gauge("quorate_layouts_live", "Layouts that writes go to.", |n| n.layouts_live as f64),
    // Turns of the shards.
    family(
        "quorate_turn_seconds",
        Distribution,
        &[],
        "Turns of all shards, from the first input to the last output.",
        |n, out| {
            out.put_histogram(&[], &sum_of(n.shards.iter().map(|s| &s.turns.times)));
        },
    ),
    family("quorate_turn_inputs", Distribution, &[], "Inputs of a turn.", |n, out| {
        out.put_histogram(&[], &sum_of(n.shards.iter().map(|s| &s.turns.inputs)));
    }),
    family(
        "quorate_queue_inputs",
        Distribution,
        &[],
        "Inputs that waited when a shard came to take them.",
        |n, out| {
            out.put_histogram(&[], &sum_of(n.shards.iter().map(|s| &s.turns.queued)));
        },
    ),
    family("quorate_commit_seconds", Distribution, &[], "Commits to RocksDB, one a turn that writes.", |n, out| {
        out.put_histogram(&[], &sum_of(n.shards.iter().map(|s| &s.turns.commit_times)));
    }),
    family("quorate_commit_writes", Distribution, &[], "Records written by a commit.", |n, out| {
        out.put_histogram(&[], &sum_of(n.shards.iter().map(|s| &s.turns.commit_writes)));
    }),
    // The disk.
    family("quorate_fsync_seconds", Distribution, &[], "Fsyncs of the write-ahead log.", |n, out| {
        out.put_histogram(&[], &n.storage.fsync_times);
    }),
    family(
        "quorate_lookups_total",
        Counter,
        &["from"],
        "Lookups of own copies, answered from memory or sent to the disk.",
        |n, out| {
            out.put(&["memory"], n.count(|c| c.reads_ready) as f64);
            out.put(&["disk"], n.count(|c| c.reads_pending) as f64);
        },
    ),
    family(
        "quorate_partition_bytes",
        Gauge,
        &["partition"],
        "Bytes of a partition here: table files and memtables.",
        |n, out| {
            for (partition, bytes) in &n.storage.partitions {
                out.put(&[&partition.to_string()], *bytes as f64);
            }
        },
    ),
    gauge("quorate_table_files_bytes", "Bytes of all table files.", |n| n.storage.table_bytes as f64),
    gauge("quorate_memtables_bytes", "Bytes of all memtables.", |n| n.storage.memtable_bytes as f64),
    gauge("quorate_block_cache_bytes", "Bytes in the block cache.", |n| n.storage.cache_bytes as f64),
    gauge("quorate_block_cache_capacity_bytes", "Bytes that the block cache may have.", |n| {
        n.storage.cache_capacity_bytes as f64
    }),
    gauge("quorate_item_cache_bytes", "Bytes of the items that the shards keep in memory.", |n| {
        n.shards.iter().map(|shard| shard.items.bytes).sum::<u64>() as f64
    }),
    gauge("quorate_item_cache_capacity_bytes", "Bytes that those items may take.", |n| {
        n.shards.iter().map(|shard| shard.items.capacity_bytes).sum::<u64>() as f64
    }),
    family(
        "quorate_item_lookups_total",
        Counter,
        &["from"],
        "Lookups of items by the shards: found in the item cache, or looked for in RocksDB.",
        |n, out| {
            let sum = |of: fn(&ItemCacheNumbers) -> u64| n.shards.iter().map(|shard| of(&shard.items)).sum::<u64>();
            out.put(&["memory"], sum(|items| items.hits) as f64);
            out.put(&["rocksdb"], sum(|items| items.misses) as f64);
        },
    ),
    gauge("quorate_compactions_running", "Compactions that run.", |n| n.storage.compactions as f64),
    gauge("quorate_flushes_running", "Flushes that run.", |n| n.storage.flushes as f64),
    gauge("quorate_compaction_pending_bytes", "Bytes that compactions still have to rewrite, estimated.", |n| {
        n.storage.compaction_pending_bytes as f64
    }),
    family(
        "quorate_write_stalls_total",
        Counter,
        &["kind"],
        "Times that RocksDB slowed down or stopped writes.",
        |n, out| {
            out.put(&["delay"], n.storage.write_delays as f64);
            out.put(&["stop"], n.storage.write_stops as f64);
        },
    ),
    gauge("quorate_writes_stopped", "1 while RocksDB takes no writes.", |n| {
        f64::from(u8::from(n.storage.writes_stopped))
    }),
    total("quorate_background_errors_total", "Flushes and compactions that failed.", |n| n.storage.background_errors),
    gauge("quorate_log_files", "Live files of the write-ahead log.", |n| n.storage.log_files as f64),
    gauge("quorate_log_bytes", "Bytes of the write-ahead log.", |n| n.storage.log_bytes as f64),
    gauge("quorate_damaged_families", "Column families with a damaged block; a restart rebuilds them.", |n| {
        n.storage.damaged as f64
    }),
    known("quorate_disk_free_bytes", "Bytes that may still be written to the data directory.", |n| {
        n.storage.disk.map(|disk| disk.free_bytes as f64)
    }),
    known("quorate_disk_size_bytes", "Bytes of the file system of the data directory.", |n| {
        n.storage.disk.map(|disk| disk.size_bytes as f64)
    }),
    gauge("quorate_disk_reserve_bytes", "Free bytes below which new values are refused.", |n| {
        n.status.disk_reserve as f64
    }),
    gauge("quorate_disk_full", "1 while new values are refused for want of room.", |n| {
        f64::from(u8::from(!matches!(&*n.status.room, "" | "plenty")))
    }),
    // Connections.
    gauge("quorate_quic_connections", "Open QUIC sessions, of nodes and clients.", |n| n.quic.connections as f64),
    total("quorate_quic_sent_bytes_total", "Bytes of UDP sent.", |n| n.quic.sent_bytes),
    total("quorate_quic_received_bytes_total", "Bytes of UDP received.", |n| n.quic.received_bytes),
    total("quorate_quic_sent_packets_total", "QUIC packets sent.", |n| n.quic.sent_packets),
    total("quorate_quic_lost_packets_total", "QUIC packets taken for lost.", |n| n.quic.lost_packets),
    family(
        "quorate_quic_rtt_seconds",
        Gauge,
        &["peer"],
        "Smoothed round trip time of the control link to a member.",
        |n, out| {
            for (peer, rtt) in &n.quic.round_trips {
                out.put(&[peer], rtt.as_secs_f64());
            }
        },
    ),
    total("quorate_sessions_total", "Handshakes that became a session.", |n| n.quic.sessions),
    total("quorate_sessions_refused_total", "Connections that did not become a session.", |n| n.quic.sessions_refused),
    total("quorate_frames_malformed_total", "Sessions ended by a malformed frame.", |n| n.quic.frames_malformed),
    total("quorate_frames_not_allowed_total", "Frames that their sender may not ask.", |n| n.quic.frames_not_allowed),
    total("quorate_frames_unsupported_total", "Frames of an unknown kind.", |n| n.quic.frames_unsupported),
    // The HTTP door.
    family(
        "quorate_http_requests_total",
        Counter,
        &["route", "status"],
        "HTTP requests by route and class of status.",
        |n, out| {
            for (route, numbers) in &n.http.0 {
                for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(numbers.answers) {
                    out.put(&[route, class], count as f64);
                }
            }
        },
    ),
    family(
        "quorate_http_request_seconds",
        Distribution,
        &["route"],
        "From the headers of an HTTP request to those of its answer.",
        |n, out| {
            for (route, numbers) in &n.http.0 {
                out.put_histogram(&[route], &numbers.times);
            }
        },
    ),
    // The process. Names and meanings as all of Prometheus' own clients have them.
    family("process_cpu_seconds_total", Counter, &[], "User and system CPU time of the process.", |n, out| {
        out.put(&[], n.process.cpu_seconds);
    }),
    gauge("process_resident_memory_bytes", "Memory of the process that is in use.", |n| {
        n.process.resident_bytes as f64
    }),
    gauge("process_open_fds", "Open file descriptors of the process.", |n| n.process.open_files as f64),
    gauge("process_max_fds", "How many of them there may be.", |n| n.process.open_files_max as f64),
    gauge("process_threads", "Threads of the process.", |n| n.process.threads as f64),
    gauge("process_start_time_seconds", "When the process was started, since 1970.", |n| n.process.started),
    family(
        "quorate_build_info",
        Gauge,
        &["version", "commit", "durability", "shards"],
        "What runs here, as labels.",
        |n, out| {
            let (status, commit) = (&n.status, env!("QUORATE_COMMIT"));
            out.put(&[&status.version, commit, &status.durability, &status.shards.to_string()], 1.0);
        },
    ),
    total("quorate_certificate_renewals_total", "Renewed certificate files that were taken.", |n| {
        n.certificate_renewals
    }),
    gauge("quorate_certificate_reload_failing", "1 while the certificate files cannot be used.", |n| {
        f64::from(u8::from(n.certificate_reload_failing))
    }),
    family(
        "quorate_certificate_not_after_seconds",
        Gauge,
        &["certificate"],
        "The last second of the node's certificate and of its authority's, since 1970.",
        |n, out| {
            for (which, at) in &n.certificates {
                out.put(&[which], *at as f64);
            }
        },
    ),
    known("quorate_scrape_seconds", "How long the page before this one took.", |n| {
        n.last_scrape.map(|time| time.as_secs_f64())
    }),
];
