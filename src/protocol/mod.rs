//! The rules: pure and deterministic.
//!
//! Nothing below this line reads a clock, opens a socket or a file, starts a thread or asks for entropy. Time comes in
//! as an argument, randomness from a seed, and everything that leaves is data for the caller to carry out. That is
//! why the server and the simulator can run the very same `shard`.
//!
//! Arrows point down: `shard` composes the machines, the machines stand on `version`, `ring` and `wire`, and all of
//! them on `types`.

pub mod anti_entropy;
pub mod coordinator;
pub mod membership;
pub mod merkle;
pub mod replica;
pub mod ring;
pub mod shard;
pub mod types;
pub mod version;
pub mod wire;
