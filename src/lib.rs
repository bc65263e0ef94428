//! Quorate: a leaderless key-value cluster. Dynamo (SOSP 2007) on QUIC and RocksDB.
//!
//! This page is the table of contents. `src/ARCHITECTURE.md` is the guided tour; `tests/tidy.rs` keeps the arrows
//! between these modules pointing down.

pub mod protocol;

pub mod sim;

pub mod storage;
pub mod transport;

pub mod client;
pub mod config;
pub mod load;
pub mod metrics;
pub mod pki;
pub mod server;

pub mod cli;
