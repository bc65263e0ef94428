//! Requests and their answers, matched: what the client and the administration tool use over one session.
//!
//! Any number of tasks ask at once; their frames share the lanes and come back in any order. A correlation is a place
//! in a table and a serial number, so a late answer to a request that was given up finds its place taken by another
//! serial number, and is dropped. When the session ends, everything in flight fails with its reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;
use tokio::sync::oneshot;

use super::conversation::{Lanes, Listener};
use super::lane::{Class, LaneError};
use super::session::{Peer, Session, SessionError};
use super::tally::Tally;
use crate::protocol::ring::LayoutId;
use crate::protocol::types::limits::BULK_FRAME_BYTES;
use crate::protocol::wire::{Failure, Frame, Header, Kind, WireError, decode_control};

/// Requests in flight on one session: more only make the answers late.
pub const IN_FLIGHT_MAX: usize = 16_384;

/// Why there is no answer. For a write, whether it took place is unknown unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The node answered that it did not carry out the request, or not as far as asked. Its code tells whether to
    /// retry.
    #[error(transparent)]
    Refused(Failure),
    /// No answer within the budget.
    #[error("no answer to {kind:?} within {} ms", .budget.as_millis())]
    TimedOut {
        /// What was asked.
        kind: Kind,
        /// The budget.
        budget: Duration,
    },
    /// The session ended before the answer.
    #[error("the connection was lost before the answer: {0}")]
    Lost(String),
    /// The session had ended before. Nothing was sent.
    #[error("there is no connection: {0}")]
    Down(String),
    /// The lane does not take it. Nothing was sent.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// Nothing was sent.
    #[error("{IN_FLIGHT_MAX} requests are in flight on one connection already; wait for answers, or open another")]
    TooMany,
    /// An answer that cannot be understood. Whose fault: the node's.
    #[error("the node's answer cannot be understood: {0}")]
    Malformed(#[from] WireError),
}

/// Asks over one session. Clones ask over the same one; when the last is dropped, the session ends.
#[derive(Debug, Clone)]
pub struct Exchange {
    lanes: Lanes,
    peer: Peer,
    pending: Arc<Pending>,
}

impl Exchange {
    /// An exchange over a session, and the future that runs it until the session ends.
    pub async fn open(
        session: Session,
        tally: Arc<Tally>,
    ) -> Result<(Self, impl Future<Output = SessionError> + Send), SessionError> {
        let peer = session.peer().clone();
        let (lanes, conversation) = session.converse().await?;
        let pending = Arc::new(Pending::default());
        let running = {
            let pending = pending.clone();
            async move {
                let ending = EndOnDrop(pending);
                let error = conversation.run(None, tally, &*ending.0).await;
                ending.0.end(&error.to_string());
                error
            }
        };
        Ok((Self { lanes, peer, pending }, running))
    }

    /// Who is asked.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether requests can be sent.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.pending.lock().ended.is_none()
    }

    /// Requests that wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.lock().taken.len()
    }

    /// Asks without naming a layout.
    pub async fn request(&self, kind: Kind, body: Bytes, budget: Duration) -> Result<Frame, ExchangeError> {
        self.request_in(LayoutId::default(), kind, body, budget).await
    }

    /// Asks, and waits for the answer as long as the budget lasts. Large requests take the bulk lane.
    pub async fn request_in(
        &self,
        layout: LayoutId,
        kind: Kind,
        body: Bytes,
        budget: Duration,
    ) -> Result<Frame, ExchangeError> {
        let (correlation, answer) = self.pending.add()?;
        // Given up by a timeout or by a dropped caller: the place becomes free at once.
        let _place = Place { pending: &self.pending, correlation };
        let budget_ms = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
        let class = if body.len() > BULK_FRAME_BYTES { Class::Bulk } else { Class::Normal };
        let frame = Frame::new(Header::new(kind, correlation, budget_ms, layout), body).to_bytes();
        self.lanes.send(class, frame).map_err(|error| self.pending.explain(error))?;
        let frame = match tokio::time::timeout(budget, answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(_)) => return Err(ExchangeError::Lost(self.pending.reason())),
            Err(_) => return Err(ExchangeError::TimedOut { kind, budget }),
        };
        match frame.kind() {
            Some(Kind::Error) => Err(ExchangeError::Refused(decode_control(&frame.body, "error")?)),
            _ => Ok(frame),
        }
    }
}

/// The requests in flight.
#[derive(Debug, Default)]
struct Pending(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    taken: Slab<Waiting>,
    serial: u32,
    /// Why the session ended, once it has.
    ended: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    correlation: u64,
    answer: oneshot::Sender<Frame>,
}

/// The place of a request in flight; free again when dropped.
struct Place<'a> {
    pending: &'a Pending,
    correlation: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.pending.remove(self.correlation));
    }
}

/// Fails what is in flight when the running future is dropped.
struct EndOnDrop(Arc<Pending>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end("the session was dropped by this end");
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // The table is whole between any two statements that hold the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> Result<(u64, oneshot::Receiver<Frame>), ExchangeError> {
        let mut table = self.lock();
        if let Some(reason) = &table.ended {
            return Err(ExchangeError::Down(reason.clone()));
        }
        if table.taken.len() >= IN_FLIGHT_MAX {
            return Err(ExchangeError::TooMany);
        }
        table.serial = table.serial.wrapping_add(1);
        let serial = u64::from(table.serial) << 32;
        let (answer, receiver) = oneshot::channel();
        let place = table.taken.vacant_entry();
        let correlation = serial | u64::try_from(place.key()).expect("a place is below the most requests in flight");
        place.insert(Waiting { correlation, answer });
        Ok((correlation, receiver))
    }

    fn remove(&self, correlation: u64) -> Option<Waiting> {
        let place = usize::try_from(correlation & u64::from(u32::MAX)).ok()?;
        let mut table = self.lock();
        if table.taken.get(place)?.correlation != correlation {
            return None;
        }
        table.taken.try_remove(place)
    }

    /// Only the first reason counts.
    fn end(&self, reason: &str) {
        let mut table = self.lock();
        if table.ended.is_none() {
            table.ended = Some(reason.to_owned());
        }
        let failed = std::mem::take(&mut table.taken);
        drop(table);
        // Wakes every asker, outside of the lock.
        drop(failed);
    }

    fn reason(&self) -> String {
        self.lock().ended.clone().unwrap_or_else(|| "the session is ending".to_owned())
    }

    fn explain(&self, error: LaneError) -> ExchangeError {
        match error {
            LaneError::Closed => ExchangeError::Down(self.reason()),
            LaneError::Full { .. } => ExchangeError::Lane(error),
        }
    }
}

impl Listener for Pending {
    fn on_frame(&self, frame: Frame) {
        let Some(waiting) = self.remove(frame.header.correlation) else {
            tracing::trace!(correlation = frame.header.correlation, "an answer came late");
            return;
        };
        if waiting.answer.send(frame).is_err() {
            tracing::trace!("an answer was not awaited any more");
        }
    }

    fn on_datagram(&self, datagram: Bytes) {
        drop(datagram);
    }
}
