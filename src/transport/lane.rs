//! A lane: one long-lived stream that carries frames, with a bounded queue before it.
//!
//! ```text
//!   try_send -> [ frame frame frame .. ]  -> writer: swaps the queue for an empty one,
//!                 at most 4 MiB, counted     copies runs of small frames together, writes all at once, sleeps
//!                 until QUIC has taken them
//! ```
//!
//! There is no timer. While the writer or the connection's driver waits for its turn on the thread, frames gather;
//! under load they share packets by themselves, and alone a frame leaves at once. QUIC keeps what was written as a list
//! of pieces and walks over it for each packet, so a hundred small frames are better one piece.
//!
//! Sending never waits. A full lane says so at once, and the asker treats the request as *unknown*: that is the only
//! honest answer, and it keeps a slow peer from becoming everybody's memory.
//!
//! The answering side's lanes stop reading questions while half of their queue is answers that nobody reads, and pay
//! for what they hold from one purse for all of them ([`Purse`]).
//!
//! *Invariant.* The bytes that a lane holds never exceed [`LANE_BYTES_MAX`], except for a single frame that is larger
//! and was accepted by an empty lane.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::closing::explain;
use super::gate::Gate;
use super::purse::Purse;
use super::session::SessionError;
use crate::protocol::wire::{Frame, FrameDecoder, WireError};

/// Bytes that may wait in a lane, or be half written: what a gigabit link carries in 32 ms.
pub const LANE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A client that reads nothing of what waits for it for so long is cut off: it holds a part of the purse.
const DEAF_MAX: Duration = Duration::from_secs(30);
/// Frames up to this size are copied together with their neighbours. Measured with 1,024 in flight: frames of 100 bytes
/// cost
/// 0.39 us of CPU there and back instead of 1.17, frames of 1 KiB 1.6 us instead of 2.1; frames of 4 KiB gain nothing.
const SMALL_FRAME_BYTES: usize = 2048;
/// Bytes of frames copied together: a piece is kept until its last byte is acknowledged.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Pieces that a reader takes in one call. A piece is a packet's share of the stream, at most 6,500 bytes.
const CHUNKS_MAX: usize = 32;
/// Frames that a reader delivers before others on its thread get a turn: about 100 us of work, so that packets are
/// acknowledged in time.
const FRAMES_PER_TURN: usize = 256;

/// Which lane of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Requests and their answers.
    Normal,
    /// Large values and transfers, which may not delay requests.
    Bulk,
}

impl Class {
    /// The priority of its stream among those of one connection.
    pub(super) const fn priority(self) -> i32 {
        match self {
            Self::Normal => 0,
            Self::Bulk => -1,
        }
    }
}

/// Why a frame was not taken. Nothing was sent; the same frame may be sent again later, or elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// The peer, or the way to it, is slower than the sender.
    #[error("the lane is full: {waiting} bytes wait, the limit is {LANE_BYTES_MAX}; try again, slower")]
    Full {
        /// Bytes that wait.
        waiting: usize,
    },
    /// There is no connection, or it is ending.
    #[error("the lane is closed: there is no connection to the peer")]
    Closed,
}

/// The sending end of a lane. Clones send on the same lane; when the last one is dropped, the lane is finished in
/// order.
#[derive(Debug, Clone)]
pub struct LaneSender(Arc<SenderGuard>);

/// Tells the writer when no sender is left.
#[derive(Debug)]
struct SenderGuard(Arc<Queue>);

impl Drop for SenderGuard {
    fn drop(&mut self) {
        self.0.end(Phase::Finishing);
    }
}

impl LaneSender {
    /// A lane's two ends: one for whoever sends, one for [`write_lane`].
    pub(super) fn new() -> (Self, LaneQueue) {
        Self::paid_from(None)
    }

    /// The same, whose bytes are also counted in a purse.
    pub(super) fn paid_from(purse: Option<Purse>) -> (Self, LaneQueue) {
        let queue = Arc::new(Queue { purse, ..Queue::default() });
        (Self(Arc::new(SenderGuard(queue.clone()))), LaneQueue(queue))
    }

    /// Returns when the peer reads what it is sent: when not more than half of what the lane may hold waits, or when
    /// nothing is sent any more.
    pub(super) async fn relieved(&self) {
        let queue = &self.0.0;
        loop {
            let read = queue.read.notified();
            if queue.is_relieved() {
                return;
            }
            read.await;
        }
    }

    /// Queues a frame. Never waits.
    pub fn try_send(&self, frame: Bytes) -> Result<(), LaneError> {
        let queue = &self.0.0;
        let mut backlog = queue.lock();
        if backlog.phase != Phase::Open {
            return Err(LaneError::Closed);
        }
        let waiting = backlog.bytes;
        let paid = || queue.purse.as_ref().is_none_or(|purse| purse.take(frame.len()));
        if (waiting > 0 && waiting + frame.len() > LANE_BYTES_MAX) || !paid() {
            return Err(LaneError::Full { waiting });
        }
        backlog.bytes = waiting + frame.len();
        // The writer takes everything at once, so it sleeps, or is about to look again, only when nothing waits.
        let first = backlog.frames.is_empty();
        backlog.frames.push(frame);
        drop(backlog);
        if first {
            queue.filled.notify_one();
        }
        Ok(())
    }

    /// Bytes that wait, or are half written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.0.lock().bytes
    }

    /// Whether frames are taken at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.0.lock().phase == Phase::Open
    }
}

/// The writer's end of a lane. Dropping it closes the lane: senders fail at once.
#[derive(Debug)]
pub(super) struct LaneQueue(Arc<Queue>);

impl Drop for LaneQueue {
    fn drop(&mut self) {
        self.0.end(Phase::Closed);
    }
}

#[derive(Debug, Default)]
struct Queue {
    backlog: Mutex<Backlog>,
    filled: Notify,
    /// Something was written.
    read: Notify,
    purse: Option<Purse>,
}

#[derive(Debug, Default)]
struct Backlog {
    frames: Vec<Bytes>,
    /// Of the frames here and of those that the writer has in hand.
    bytes: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Phase {
    #[default]
    Open,
    /// No sender is left; what waits is still written.
    Finishing,
    /// The writer is gone.
    Closed,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        // No code of ours panics with the lock held, and a counter would be right even then.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_relieved(&self) -> bool {
        let backlog = self.lock();
        backlog.bytes <= LANE_BYTES_MAX / 2 || backlog.phase == Phase::Closed
    }

    fn end(&self, phase: Phase) {
        let mut backlog = self.lock();
        let before = backlog.phase;
        backlog.phase = before.max(phase);
        let mut left = 0;
        if backlog.phase == Phase::Closed {
            backlog.frames = Vec::new();
            // Nothing is written any more, and nothing taken.
            left = if before == Phase::Closed { 0 } else { backlog.bytes };
        }
        drop(backlog);
        self.give_back(left);
        self.filled.notify_one();
        self.read.notify_waiters();
    }

    /// Swaps what waits for an empty list, and says whether more may come.
    fn take(&self, batch: &mut Vec<Bytes>) -> Phase {
        let mut backlog = self.lock();
        std::mem::swap(&mut backlog.frames, batch);
        backlog.phase
    }

    fn written(&self, bytes: usize) {
        let mut backlog = self.lock();
        assert!(backlog.bytes >= bytes, "a lane wrote more bytes than it took");
        backlog.bytes -= bytes;
        drop(backlog);
        self.give_back(bytes);
        self.read.notify_waiters();
    }

    fn give_back(&self, bytes: usize) {
        if let Some(purse) = &self.purse {
            purse.give(bytes);
        }
    }
}

/// Writes what is sent until the last sender is dropped, then finishes the stream.
pub(super) async fn write_lane(queue: LaneQueue, mut stream: quinn::SendStream) -> Result<(), SessionError> {
    let mut batch = Vec::new();
    loop {
        let phase = queue.0.take(&mut batch);
        if batch.is_empty() {
            if phase != Phase::Open {
                // A stream that the peer has stopped is finished as well.
                return stream.finish().or(Ok(()));
            }
            queue.0.filled.notified().await;
            continue;
        }
        gather(&mut batch);
        // As `write_all_chunks` does, but each part that QUIC takes makes room in the lane at once.
        let mut rest = batch.as_mut_slice();
        while !rest.is_empty() {
            let write = stream.write_chunks(rest);
            let written = match queue.0.purse {
                None => write.await,
                // What it holds, others lack.
                Some(_) => tokio::time::timeout(DEAF_MAX, write).await.map_err(|_| SessionError::Deaf(DEAF_MAX))?,
            };
            let written = written.map_err(write_error)?;
            queue.0.written(written.bytes);
            rest = &mut rest[written.chunks..];
        }
        batch.clear();
    }
}

/// Replaces each run of small frames by pieces with the same bytes.
pub(super) fn gather(batch: &mut Vec<Bytes>) {
    let mut kept = 0;
    let mut next = 0;
    while next < batch.len() {
        let run = run_of_small(&batch[next..]);
        let piece = if run > 1 {
            let run = &batch[next..next + run];
            let mut piece = Vec::with_capacity(run.iter().map(Bytes::len).sum());
            for frame in run {
                piece.extend_from_slice(frame);
            }
            Bytes::from(piece)
        } else {
            std::mem::take(&mut batch[next])
        };
        next += run.max(1);
        batch[kept] = piece;
        kept += 1;
    }
    batch.truncate(kept);
}

/// How many of the first frames go into one piece.
fn run_of_small(frames: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |frame: &&Bytes| {
        bytes += frame.len();
        frame.len() <= SMALL_FRAME_BYTES && bytes <= PIECE_BYTES_MAX
    };
    frames.iter().take_while(fits).count()
}

fn write_error(error: quinn::WriteError) -> SessionError {
    match error {
        quinn::WriteError::ConnectionLost(error) => SessionError::Lost(explain(&error)),
        error => SessionError::Lost(format!("the peer does not read the lane any more: {error}")),
    }
}

fn read_error(error: quinn::ReadError) -> SessionError {
    match error {
        quinn::ReadError::ConnectionLost(error) => SessionError::Lost(explain(&error)),
        error => SessionError::Lost(format!("the peer gave up the lane: {error}")),
    }
}

/// Reads frames until the peer finishes the stream. Stands still while the gate is shut, and while the peer leaves
/// unread what it is sent on `answers`: who takes no answers gets nothing more done.
pub(super) async fn read_lane(
    connection: &quinn::Connection,
    mut stream: quinn::RecvStream,
    mut decoder: FrameDecoder,
    (gate, answers): (Option<&Gate>, Option<&LaneSender>),
    mut on_frame: impl FnMut(Frame) -> Result<(), SessionError>,
) -> Result<(), SessionError> {
    let mut chunks: [Bytes; CHUNKS_MAX] = std::array::from_fn(|_| Bytes::new());
    let mut delivered = 0;
    loop {
        if let Some(gate) = gate
            && !gate.is_open()
        {
            pass(gate.passed(), connection).await?;
        }
        if let Some(answers) = answers
            && answers.waiting() > LANE_BYTES_MAX / 2
        {
            pass(answers.relieved(), connection).await?;
        }
        let Some(count) = stream.read_chunks(&mut chunks).await.map_err(read_error)? else { break };
        for chunk in &mut chunks[..count] {
            decoder.extend(&std::mem::take(chunk));
            while let Some(frame) = decoder.next_frame()? {
                on_frame(frame)?;
                delivered += 1;
            }
        }
        if delivered >= FRAMES_PER_TURN {
            delivered = 0;
            tokio::task::yield_now().await;
        }
    }
    if decoder.is_mid_frame() { Err(WireError::Truncated("body").into()) } else { Ok(()) }
}

/// Waits for leave to go on, or for the end of the connection, which a reader that stands still would not see.
async fn pass(leave: impl Future<Output = ()>, connection: &quinn::Connection) -> Result<(), SessionError> {
    tokio::select! {
        () = leave => Ok(()),
        error = connection.closed() => Err(SessionError::Lost(explain(&error))),
    }
}
