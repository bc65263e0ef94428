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
//! *Which settings matter*, measured on 2026-11-28 with three servers and the generator on two noisy cores, 128 B, 64
//! in flight, in turn with the build before, CPU of all servers per operation (median of three):
//!
//! | setting | put | get |
//! |---|---|---|
//! | `[storage] item_cache` 64 MiB, timers of what is over dropped; without | 71.0 -> 66.9 us | 30.1 -> 14.6 us |
//! | the same, one request at a time: p50 | 0.34 -> 0.29 ms | 0.18 -> 0.14 ms |
//! | a turn's writes sorted by partition (kept) | 62.4 -> 57.4 us | |
//! | acknowledgements asked for every 10 packets: within the noise (left out) | 66.9 -> 68.3 us | 14.6 -> 14.7 us |
//! | UDP payload at most 1,452 bytes instead of 6,500 (left at 6,500) | 66.9 -> 71.0 us | 14.6 -> 16.0 us |
//! | memtables of 2 MiB instead of 16, or without their Bloom filter: within the noise (left) | | |
//! | huge pages for RocksDB's memory (`glibc.malloc.hugetlb=1`): no smaller share of the search (left) | | |
//!
//! What holds puts back: 40 % of the servers' CPU is RocksDB's insertion into memtables, of which two thirds is one
//! function that misses the processor's cache at each step of a skip list (`FindSpliceForLevel`, 27 %); 17 % is the
//! kernel, 11 % the rules, 6 % QUIC and TLS, 6 % allocation. One entry of the change log a turn instead of one a
//! partition and turn would spare the servers nearly half of those insertions.
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
