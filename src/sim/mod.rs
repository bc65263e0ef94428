//! A simulated world that breaks the cluster and checks what users were promised.
//!
//! One thread, virtual time, one heap of events. The nodes in it run the same `protocol::shard` and
//! `protocol::membership` as the server, turned in the same way, and talk in real encoded frames and datagrams;
//! network, disks, processes and clocks are models that fail as the seed says. A seed and a commit replay a run
//! exactly, on any machine: draws are integers, and order never comes from a hash table.
//!
//! ```text
//!   options --drawn from the seed--> world
//!   crowd   --requests--> node (shards, turns) --frames----> network --> node ..
//!                           |  (detector)      --datagrams-->
//!                           |  commits, fsyncs, boot generation
//!                         disk                    nemesis breaks all of them, and mends them before the check
//!   oracle  <--what clients sent and heard, what disks committed-- finds a promise that was not kept
//! ```
//!
//! The idea of the swarm and of two phases (break anything, then heal and check) is `FoundationDB`'s and
//! `TigerBeetle`'s; that the nodes are pure machines on one heap is sled's. `capabilities` says which promises are
//! checked today, and `mutation` breaks the rules on purpose, to prove that the checkers see it.
//!
//! *Caveats.* QUIC and RocksDB are models here; the real ones are tested in `tests/it`.

pub mod capabilities;
mod convergence;
mod crowd;
mod deletes;
pub mod detector;
mod disk;
mod draw;
mod finding;
mod gossip;
mod heap;
mod links;
mod mutation;
mod nemesis;
mod network;
mod node;
mod options;
mod oracle;
mod report;
mod talk;
mod twin;
mod world;

pub use finding::{Checker, Finding};
pub use mutation::Mutation;
pub use options::{DiskOptions, Fault, GossipOptions, LoadOptions, NemesisOptions, NetworkOptions, Options, Overrides};
pub use report::Report;
pub use world::Tally;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use self::disk::Ask;
use self::draw::Draw;
use self::nemesis::Undo;
use self::network::{Flight, Letter, Route};
use self::node::SeatId;
use self::world::World;
use crate::protocol::ring::LayoutId;
use crate::protocol::wire::{Frame, Header, Kind};

/// The commit that this program is made from; `src/build.rs` asks git. A seed replays on the commit it was run on.
pub const COMMIT: &str = match option_env!("QUORATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Bytes of a frame's header: what garbage keeps whole.
const FRAME_HEADER_BYTES: usize = crate::protocol::wire::HEADER_BYTES;
/// Largest value that the simulated nodes take.
const VALUE_BYTES_MAX: usize = 128 * 1024;
/// Longest way from a client to a node.
const CLIENT_LATENCY_NS_MAX: u64 = 300_000;

/// Something that happens at a time.
#[derive(Debug)]
enum Event {
    /// A shard's turn.
    Turn { seat: SeatId, life: u32 },
    /// A frame arrives.
    Deliver(Flight),
    /// A lookup or a scan is over.
    Looked { seat: SeatId, life: u32, ask: Ask },
    /// An fsync is over.
    Synced { node: u16, life: u32, to: u64, fails: bool },
    /// The interval between two fsyncs is over.
    SyncTick { node: u16, life: u32 },
    /// An asker notices that its connection broke.
    LinkDown { route: Route, epoch: u32 },
    /// An asker reaches out.
    LinkTry { route: Route },
    /// A connection has been silent for as long as it may be.
    LinkIdle { route: Route, epoch: u32 },
    /// A datagram or a frame arrives on a control connection.
    Letter(Letter),
    /// A detector's turn.
    Gossip { node: u16, life: u32 },
    /// A session does its next thing.
    Act { session: usize },
    /// A client's request arrives.
    Request { node: u16, operation: u64, attempt: u32, bytes: Bytes },
    /// An answer arrives at its client.
    Answer { operation: u64, attempt: u32, bytes: Bytes },
    /// A client has waited long enough.
    GiveUp { operation: u64, attempt: u32 },
    /// The nemesis breaks something.
    Strike,
    /// Something is mended.
    Undo(Undo),
    /// A process starts.
    Start { node: u16 },
    /// The next phase may begin.
    Phase,
}

/// Runs the world of a seed.
#[must_use]
pub fn run(seed: u64, overrides: &Overrides) -> Report {
    let mut world = World::new(Options::draw(seed, overrides));
    // Checker 9: an assertion in the rules is a finding like any other.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        world.finding = Some(Finding::new(Checker::Bounds, format!("a node panicked: {}", words(panic.as_ref()))));
    }
    Report {
        overrides: *overrides,
        options: world.options,
        tally: world.tally,
        hash: world.hash,
        finding: world.finding,
        last: world.last.into(),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A frame of any kind that answers nothing and whose body makes no sense.
fn frame_of_noise(draw: &mut Draw, body: &[u8]) -> Bytes {
    let kind = draw.pick(Kind::ALL);
    let header = Header::new(kind, draw.bits(), 100, LayoutId::new(1, u128::from(draw.bits()) << 64));
    Frame::new(header, Bytes::copy_from_slice(body)).to_bytes()
}
