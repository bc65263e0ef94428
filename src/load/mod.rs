//! The load-test harness: how a user decides whether to trust a cluster with their traffic, and how we know whether a
//! change made it faster. `quorate bench` is its command line.
//!
//! ```text
//!   Settings --> run: workers --> Client --> the cluster           floor: the same machine without a database
//!                 |  schedule, keys, mix, values, verification       |
//!                 v                                                  v
//!               Run (counts, distributions, seconds, processes) --> Report --> JSON, table, page; compare
//! ```
//!
//! | module | noun |
//! |---|---|
//! | `settings`, `report` | what is asked, and what was found |
//! | `run`, `processes` | one run: with this process alone, with several |
//! | `sweep` | going over all keys, before and after |
//! | `worker` | whoever takes a turn, asks and counts |
//! | `schedule`, `alarm` | when requests are sent |
//! | `mix`, `keys`, `values`, `chance` | what is drawn |
//! | `items`, `contexts`, `ledger` | what is remembered of the keys, and what reads are checked against |
//! | `recorder`, `tally` | counts while it runs, and the run that they become |
//! | `usage`, `place` | CPU and memory of processes; which processes, and on what machine |
//! | `watch` | who looks on |
//! | `cluster`, `script`, `recovery` | a local cluster; what is done to it, when, and how long that hurts |
//! | `search` | the highest rate under a bound |
//! | `floor`, `bystanders` | what the machine needs at least; what else used it |
//! | `statistics`, `compare` | noise, and differences beyond it |
//! | `suite`, `file`, `page` | always the same runs; a report as a file, and as a page |
//!
//! *Which settings matter*, measured on 2026-11-28 with three servers and the generator on two cores that others used
//! too, 128 B, 64 in flight unless it says otherwise, always in turn with the build before: CPU of all servers per
//! operation (medians of two to six rounds). The same build differs by up to a half from one quarter of an hour to the
//! next, so only the two figures of a line belong together.
//!
//! | setting | put | get |
//! |---|---|---|
//! | `[storage] item_cache` 64 MiB, timers of what is over dropped; without | 71.0 -> 66.9 us | 30.1 -> 14.6 us |
//! | the same, one request at a time: p50 | 0.34 -> 0.29 ms | 0.18 -> 0.14 ms |
//! | a turn's writes sorted by partition (kept) | 62.4 -> 57.4 us | |
//! | memtables as hash tables, not skip lists (kept): the floor's read-modify-write, 22 in a batch | 8.2 -> 3.7 us | |
//! | the same: a put, beside a neighbour that took half of the machine | 105.6 -> 65.6 us | |
//! | RocksDB's threads nice, 12,000 a second, p99.9 (left out: compaction might starve) | 24.0 -> 21.6 ms | |
//! | mimalloc under RocksDB's C++ as well: within the noise (left out) | 56.5 -> 56.7 us | |
//! | jemalloc under everything instead: within the noise (left out) | 56.5 -> 55.9 us | |
//! | aws-lc-rs instead of ring: within the noise (left out) | 56.5 -> 57.9 us | |
//! | a turn that lets the network in once more before it begins: dearer (left out) | 56.5 -> 64.6 us | |
//! | initial window 16 KiB instead of 2 MiB: no better (left at 2 MiB) | 56.5 -> 67.2 us | |
//! | acknowledgements asked for every 10 packets: within the noise (left out) | 66.9 -> 68.3 us | 14.6 -> 14.7 us |
//! | UDP payload at most 1,452 bytes instead of 6,500 (left at 6,500) | 66.9 -> 71.0 us | 14.6 -> 16.0 us |
//! | link-time optimisation, fat: 12 more minutes of building (left out) | 40.3 -> 38.4 us | 12.1 -> 11.1 us |
//! | a shard that rests up to 1 ms before it waits for input, 12,000 a second, open loop | 117 -> 76 us | |
//! | the same, for which it was left out: p50 there, p99 the same | 1.2 -> 2.2 ms | |
//! | the same: puts a second, 64 in flight | 35,600 -> 23,500 | |
//! | change logs in one column family, appended to a vector: p99 6.9 -> 9.2 ms (left out) | 60.4 -> 63.1 us | |
//! | the same, and all that a turn logs in one row of it: p99 5.5 -> 7.6 ms (left out) | 47.2 -> 50.2 us | |
//! | an index of write ids by hash instead of a tree: within the noise (left out) | 66.0 -> 64.3 us | |
//! | for the measure only, no change log on the disk at all | 54.9 -> 43.6 us | |
//! | skip-list memtables of 2 MiB instead of 16, or without their Bloom filter: within the noise | | |
//! | huge pages for RocksDB's memory (`glibc.malloc.hugetlb=1`): no smaller share of the search (left) | | |
//!
//! What holds puts back is the turn, not what is in it: one costs a node 229 us of CPU with 8 inputs (12,000 puts a
//! second, open loop) and 258 us with 28 (26,400 a second, 64 in flight). A third of it is the kernel (`sendmsg` 18 %,
//! `epoll_wait` 8 %, `recvmmsg` 4 %, the write-ahead log 4 %), for a turn wakes up, reads what two peers and a client
//! sent, writes the log once and sends to all three; the rest is spread thin (insertions into memtables 10 %, else no
//! function above 5 %) over a thread that finds its data out of the processor's caches, because three servers and the
//! generator take turns on two cores. So puts cost less the more are on their way (see the README's table at 256 and
//! 64), and half of the highest rate takes nine tenths of the CPU, which is why the open loop's p99 lies above 5 ms
//! there: whatever comes along, a compaction or an exchange, finds a tenth left. Looked for and not found: in three
//! seconds no shard waited longer than 4.2 ms for a core, of 37,646 turns none took 10 ms, no packet was lost, and with
//! write buffers of 2 GiB the p99 was no lower.
//!
//! What it would take: a core for each shard; and in the program a change log for each shard instead of each partition,
//! trimmed row by row, so that a put's entry touches no memory of its own. It is not enough to write the logs of all
//! partitions as one row a turn: insertions into memtables fall from 11.3 to 8.3 % of the profile, but to know which
//! rows are still needed costs the caches what it spares them.
//!
//! *Caveats.* Client and servers share the machine in a local run, so every figure stands beside the CPU that each
//! process used for it.

mod alarm;
mod bystanders;
mod chance;
mod recorder;
mod schedule;
mod statistics;
mod sweep;
mod tally;
mod usage;
mod worker;

pub mod cluster;
pub mod compare;
pub mod contexts;
pub mod error;
pub mod file;
pub mod floor;
pub mod items;
pub mod keys;
pub mod ledger;
pub mod mix;
pub mod page;
pub mod place;
pub mod processes;
pub mod recovery;
pub mod report;
pub mod run;
pub mod script;
pub mod search;
pub mod settings;
pub mod suite;
pub mod values;
pub mod watch;

#[cfg(test)]
mod specimen;
