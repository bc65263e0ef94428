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
