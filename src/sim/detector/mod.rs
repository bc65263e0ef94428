//! A world of failure detectors only: thousands of them, datagrams, and what goes wrong with nodes and ways.
//!
//! The shards' world has tens of nodes and all of their data; whether a detector slanders a healthy member shows with
//! hundreds, and whether it is cheap with thousands. The same world runs any [`Detector`], so that ours can stand
//! beside another under the same seed and the same faults.
//!
//! ```text
//!   scenario --kill, restart, cut, overload--> world --datagrams, late or lost--> detector ..
//!                                               |  <--sends, verdicts, fetches-----'
//!                                             tally: who slandered whom, when a death was known, bytes
//! ```
//!
//! An overloaded node sleeps for seconds, is awake for moments, and takes milliseconds over every datagram, as the
//! machines of Lifeguard's experiments do; its inbox drops what it has no place for. The timers of those with an even
//! number sleep too, as those of a machine without CPU do; of the others only the inbox does, which is harder: such a
//! node has no late tick to tell it that the fault is its own.

mod figures;
mod ours;
mod world;

pub use figures::{Figure, Scenario, death, slander, spread, thousands};
pub use ours::Ours;
pub use world::{Settings, Tally, World};

use bytes::Bytes;

use crate::protocol::membership::Standing;
use crate::protocol::types::Instant;

/// What a detector wants, or came to believe. Members are numbered from 0.
#[derive(Debug, Clone)]
pub enum Word {
    /// Send a datagram.
    Send {
        /// To whom.
        to: u32,
        /// What.
        bytes: Bytes,
    },
    /// A member's standing is another than it was.
    Changed {
        /// Whose.
        node: u32,
        /// What it is now.
        standing: Standing,
    },
    /// Fetch a member's table over a stream.
    Fetch {
        /// Whose.
        from: u32,
    },
}

/// A failure detector in the world.
pub trait Detector: Sized {
    /// What it is called in tables.
    const NAME: &'static str;
    /// What all detectors of one world share: the members, the figures.
    type Common;
    /// What detectors in a world of so many members share.
    fn common(members: u32) -> Self::Common;
    /// A member that just started, with all of its links down.
    fn start(common: &Self::Common, me: u32, generation: u64, seed: [u8; 32], now: Instant) -> Self;
    /// A datagram from a member.
    fn handle_datagram(&mut self, now: Instant, from: u32, bytes: &Bytes);
    /// Does what is due.
    fn handle_tick(&mut self, now: Instant);
    /// When something is due next.
    fn next_deadline(&self) -> Instant;
    /// What it wants and believes since the last time, in order.
    fn drain(&mut self) -> Vec<Word>;
    /// The link to a member came up or broke.
    fn handle_link(&mut self, _now: Instant, _node: u32, _up: bool) {}
    /// The whole table, for a member that fetches it.
    fn table(&self) -> Bytes {
        Bytes::new()
    }
    /// A member's whole table.
    fn handle_table(&mut self, _now: Instant, _from: u32, _table: &Bytes) {}
    /// The newest boot generation heard of a member.
    fn generation(&self, _of: u32) -> Option<u64> {
        None
    }
}
