//! The client against nodes that are made of the real transport and a map in memory.

pub(crate) mod fixture;
mod reaching;
mod requests;
mod scans;
mod sessions;
mod speed;
