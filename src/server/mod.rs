//! The server: real clocks, threads, sockets and disks around the machines of `protocol`.
//!
//! | module | noun |
//! |---|---|
//! | [`node`], `node_error` | a node from its first port to its last flush; why it did not start, or ended |
//! | `shard_thread`, `driver`, `inbox`, `links` | a shard: thread, turns, queue in, lanes out |
//! | `control`, `members`, `state`, `reach` | the control endpoint, who is let in, what is shared, who is reached |
//! | `admission`, `space` | what is refused: too many requests, too little room on the disk |
//! | `report`, `process`, `slow` | what a shard and the process tell operators; slow requests in the log |
//! | `gossip` | the membership machine and its datagrams |
//! | `lives` | what tells a node's disk from a new one, an older copy and a clone |
//! | [`http`], `door` | the HTTP door and the node behind it |
//! | [`run`], [`dev`] | `quorate server` and `quorate dev` |
//! | [`phase`], [`reload`] | what a node is busy with; what it takes from a changed configuration |
//! | `supervision`, `notify`, `progress` | what systemd is told |
//! | `watchdog`, `pulse` | whether everything in the process answers |
//!
//! A request never changes thread between its lane and the memtable, except when it came over HTTP or to the wrong
//! shard.

mod admission;
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
mod lives;
mod members;
pub mod node;
mod node_error;
mod notify;
pub mod phase;
mod process;
mod progress;
mod pulse;
mod reach;
pub mod reload;
mod renewal;
mod report;
pub mod run;
mod shard_thread;
mod slow;
mod space;
mod state;
mod supervision;
mod watchdog;
