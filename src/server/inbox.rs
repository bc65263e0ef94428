//! A shard's inbox: everything that other tasks and threads have for it, taken in one piece per turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::admission::Ticket;
use super::report::{Pinboard, ShardReport};
use crate::protocol::shard::{PeerIndex, Room, Space};
use crate::protocol::types::Instant;
use crate::protocol::wire::Frame;
use crate::storage::ReadCompletion;
use crate::transport::{Gate, LaneSender};

/// Bytes that may wait before the readers of lanes stand still. Eight times what one lane may queue.
const INBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an input costs beside its frame.
const INPUT_BYTES: usize = 256;

/// Where an answer goes, and what the request is counted by until then.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// The lane that the request came by.
    Lane(LaneSender, Ticket),
    /// The HTTP door, which waits.
    Door(oneshot::Sender<Frame>, Ticket),
}

/// One thing for a shard to take in.
#[derive(Debug)]
pub(crate) enum Input {
    /// Somebody asks.
    Request {
        /// Who gets the answer.
        reply_to: ReplyTo,
        /// What is asked.
        frame: Frame,
        /// When it was read, before it waited here.
        arrived: Instant,
    },
    /// A peer answers.
    Answer {
        /// Who.
        peer: PeerIndex,
        /// What.
        frame: Frame,
    },
    /// A link to one shard of a peer came up or went down.
    Link {
        /// Whose.
        peer: PeerIndex,
        /// Which of its shards.
        shard: usize,
        /// Up or down.
        up: bool,
    },
    /// A peer answers, or does not, as the members see it together.
    Reachable {
        /// Which.
        peer: PeerIndex,
        /// It answers.
        reachable: bool,
    },
    /// A peer's shards listen on these ports.
    Ports {
        /// Whose.
        peer: PeerIndex,
        /// By shard.
        ports: Vec<u16>,
    },
    /// The disk answered.
    Completed(ReadCompletion),
    /// Everything up to this sequence is fsynced.
    Durable(u64),
    /// The disk failed.
    Failed(String),
    /// How much room there is on the disk.
    Room(Room, Space),
    /// This node's answers count toward R, or do not.
    Unverified(bool),
    /// From here on requests that take this long are accounted for.
    SlowRequests(Option<Duration>),
    /// Somebody wants the counts.
    Report(oneshot::Sender<ShardReport>),
    /// Finish what is under way, within this time, and end.
    Stop(Duration),
}

/// A queue with many senders and one receiver. Senders never wait; the gate holds back those that can.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Vec<Input>>,
    bytes: AtomicUsize,
    filled: Notify,
    gate: Gate,
    pinboard: Pinboard,
}

impl Inbox {
    /// The gate of the lanes that feed this inbox.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// What the shard says about itself.
    pub(crate) fn pinboard(&self) -> &Pinboard {
        &self.pinboard
    }

    pub(crate) fn push(&self, input: Input) {
        let bytes = bytes_of(&input);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.is_empty();
        queue.push(input);
        drop(queue);
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > INBOX_BYTES_MAX {
            self.gate.shut();
        }
        if first {
            self.filled.notify_one();
        }
    }

    /// Takes everything, in order, into an empty vector.
    pub(crate) fn take(&self, into: &mut Vec<Input>) {
        std::mem::swap(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner), into);
        if self.bytes.swap(0, Ordering::Relaxed) > INBOX_BYTES_MAX {
            self.gate.open();
        }
    }

    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}

fn bytes_of(input: &Input) -> usize {
    match input {
        Input::Request { frame, .. } | Input::Answer { frame, .. } => frame.body.len() + INPUT_BYTES,
        Input::Link { .. }
        | Input::Reachable { .. }
        | Input::Ports { .. }
        | Input::Completed(_)
        | Input::Durable(_)
        | Input::Failed(_)
        | Input::Unverified(_)
        | Input::Room(..)
        | Input::SlowRequests(_)
        | Input::Report(_)
        | Input::Stop(_) => 0,
    }
}
