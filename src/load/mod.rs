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
