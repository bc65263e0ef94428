//! The nouns that everything else is made of, each with its limits.

mod address;
mod durability;
mod histogram;
mod id;
pub mod limits;
mod quorum;
mod time;

pub use address::{Address, AddressError, SortKey, TableName};
pub use durability::Durability;
pub use histogram::{Histogram, Scale, Seconds, Things, Versions};
pub use id::{ActorId, BootGeneration, ClusterId, DiskId, IdError, NodeId, PartitionId, WriteId};
pub use quorum::{Quorum, QuorumError, Strictness};
pub use time::{Hlc, Instant, WallTime};
