//! The server: real clocks, threads, sockets and disks around the machines of `protocol`.
//!
//! | module | noun |
//! |---|---|
//! | [`node`] | a node from its first port to its last flush |
//! | `shard_thread`, `driver`, `inbox`, `links` | a shard: thread, turns, queue in, lanes out |
//! | `control`, `members`, `state`, `reach` | the control endpoint, who is let in, what is shared, who is reached |
//! | `gossip` | the membership machine and its datagrams |
//! | [`http`], `door` | the HTTP door and the node behind it |
//! | [`run`], [`dev`] | `quorate server` and `quorate dev` |
//!
//! A request never changes thread between its lane and the memtable, except when it came over HTTP or to the wrong
//! shard.

mod clock;
mod control;
pub mod dev;
mod door;
mod driver;
mod entropy;
mod gossip;
pub mod http;
mod inbox;
mod links;
mod members;
pub mod node;
mod reach;
mod renewal;
pub mod run;
mod shard_thread;
mod state;
