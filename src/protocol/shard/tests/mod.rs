//! The rules of design section 4, on whole clusters of shards in one thread.

mod cluster;
mod exchanges;
mod failures;
mod field;
mod heads;
mod inspecting;
mod measuring;
mod overload;
mod reaping;
mod rules;
mod serving;
mod slow;
mod stripping;
mod trees;
mod twins;
