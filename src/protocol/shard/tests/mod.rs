//! The rules of design section 4, on whole clusters of shards in one thread.

mod cluster;
mod exchanges;
mod failures;
mod field;
mod rules;
mod serving;
