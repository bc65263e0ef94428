//! Frames between processes: QUIC endpoints, mutual TLS, lanes.
//!
//! A QUIC stream for each request would cost 17-26 us of CPU a round trip; frames that follow each other on a stream
//! that stays open cost 5 us, because many of them share a packet, a system call and an encryption. So everything here
//! is about long-lived streams, called lanes, and about letting frames gather on them without a timer:
//!
//! ```text
//!   shard, control thread, client
//!      |  try_send: never waits, a full lane fails at once            ^  on_frame: a plain call
//!      v                                                             |
//!   queue of a lane --- writer: all that waits, one write ---> QUIC ---> reader: chunks, cut into frames
//!    (4 MiB)                                                           (stands still while its gate is shut)
//! ```
//!
//! The connecting side opens the lanes and asks; the accepting side answers each frame on the lane that it came by. Two
//! nodes that both ask each other have two connections. The first frame of each direction, on the first lane, is a
//! hello.
//!
//! | module | noun |
//! |---|---|
//! | [`settings`] | numbers of QUIC, each with its reason |
//! | [`endpoint`] | a UDP port |
//! | [`closing`] | why a connection ended, in words for an operator |
//! | [`gate`] | back-pressure on readers |
//! | [`lane`] | a queue, its writer, its reader |
//! | [`purse`] | what many lanes may hold together |
//! | [`greeting`] | TLS, belief and hello: what makes a connection a session |
//! | [`session`] | a connection whose peer is known |
//! | [`service`] | the answering side of a session |
//! | [`conversation`] | the asking side of a session |
//! | [`link`] | an asking side that comes back by itself |
//! | [`exchange`] | requests and their answers, matched |
//! | [`tally`] | counts for metrics |
//! | [`tenure`] | how long a session may last |
//!
//! Nothing here spawns a task: every part is returned as one future, and whoever calls decides on which thread it
//! lives. The futures are `Send` when the callbacks are. One session is one task, whatever it has of lanes (`bundle`
//! polls only those of its parts that were awakened).
//!
//! *Caveats.* Nothing here knows the roster or any key: a policy and the frame's receiver do. A frame that was accepted
//! by a lane may never arrive: when the connection ends, what was on its way is unknown, and the asker is told so.

mod backoff;
mod bundle;
pub mod closing;
pub mod conversation;
pub mod endpoint;
pub mod exchange;
pub mod gate;
pub mod greeting;
pub mod lane;
pub mod link;
pub mod purse;
pub mod service;
pub mod session;
pub mod settings;
pub mod tally;
pub mod tenure;

pub use closing::{CloseCode, explain};
pub use conversation::{Conversation, Lanes};
pub use endpoint::{BindError, NodeSecret, bind};
pub use exchange::{Exchange, ExchangeError};
pub use gate::Gate;
pub use greeting::{Policy, accept, connect};
pub use lane::{Class, LaneError, LaneSender};
pub use link::{Link, LinkOwner, LinkStatus, LinkTerms, Outfit};
pub use purse::Purse;
pub use service::{Handler, failure_frame};
pub use session::{Peer, Session, SessionError, Terms};
pub use settings::{Offload, Purpose, client_config, server_config};
pub use tally::Tally;

#[cfg(test)]
mod tests;
