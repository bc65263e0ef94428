//! The server: what stands around the shards in a running process.
//!
//! | module | noun |
//! |---|---|
//! | [`http`] | the HTTP door: data, health, status and metrics for programs that do not speak QUIC |

pub mod http;
