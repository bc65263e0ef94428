//! A node's numbers, as Prometheus reads them.
//!
//! ```text
//!   shard threads   plain integers --copied a few times a second--+
//!   fsync thread    a histogram behind a lock of its own -----------+--> NodeNumbers --> page
//!   flusher         RocksDB and the disk, sampled every 2 s --------+      CATALOGUE
//!   control thread  gossip, links, HTTP, the process ---------------+
//! ```
//!
//! `catalogue` is the ONE table of all metrics: name, type, labels, help, and where the value is. A new number is one
//! row there, and a panel on a dashboard under `grafana/`: a test finds a row that no dashboard shows.
//!
//! Invariants: the request path has no atomic, no lock, no allocation and no label lookup for the sake of a dashboard.
//! A scrape waits for nobody and reads no disk: it lays out copies. The values of every label are bounded: by the
//! roster, the partitions, a list in the code, or `TABLES_MAX`.
//!
//! *Caveats.* What a shard says is up to a quarter of a second old, what RocksDB says two seconds.

mod catalogue;
mod families;
mod numbers;
mod page;

pub use catalogue::{CATALOGUE, Kind, Metric, Read, Unit};
pub use numbers::{
    DiskNumbers, HttpNumbers, ItemCacheNumbers, NodeNumbers, ProcessNumbers, QuicNumbers, RouteNumbers, ShardNumbers,
    Standings, StorageNumbers, TurnNumbers,
};
pub use page::{Samples, render};

#[cfg(test)]
mod tests;
