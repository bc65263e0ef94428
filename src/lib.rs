//! Quorate: a leaderless key-value cluster. Dynamo (SOSP 2007) on QUIC and RocksDB.
//!
//! This page is the table of contents. `src/ARCHITECTURE.md` is the guided tour; `tests/tidy.rs` keeps the arrows
//! between these modules pointing down.

pub mod cli;
pub mod client;
pub mod config;
pub mod pki;
pub mod protocol;
pub mod transport;
