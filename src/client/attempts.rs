//! The attempts of one errand that are in flight: one, unless its node is silent and another was asked beside it.
//!
//! ```text
//!   sent --150 ms, no packet came back--> silent: somebody else is asked, and this one may still answer
//!     |  --its time is over-------------> over
//!     +----answered, lost---------------> over
//! ```
//!
//! Asking two is safe for a write because it carries its write id: what both coordinate is one write.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::call::Lost;
use super::line::{CallError, Heard, Sent, answer_of};
use super::map::Candidate;
use crate::protocol::wire::Frame;

/// How long a node may send nothing at all before somebody else is asked as well: far above a round trip and the 25 ms
/// of a late acknowledgement, far below a request's time.
const LISTEN: Duration = Duration::from_millis(150);

/// The attempts in flight.
#[derive(Default)]
pub(super) struct Attempts(Vec<Attempt>);

struct Attempt {
    candidate: Candidate,
    sent: Sent,
    began: Instant,
    look_at: Instant,
    silent: bool,
}

/// An attempt that is over.
pub(super) struct Over {
    pub(super) candidate: Candidate,
    pub(super) result: Result<Frame, CallError>,
}

impl Attempts {
    pub(super) fn begin(&mut self, candidate: Candidate, sent: Sent) {
        let began = Instant::now();
        self.0.push(Attempt { candidate, sent, began, look_at: began + LISTEN, silent: false });
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is with a node that is there: it has its time, and nobody else is asked meanwhile.
    pub(super) fn are_heard(&self) -> bool {
        self.0.iter().any(|attempt| !attempt.silent)
    }

    /// The next attempt that is over; none when a node turned out to be silent. Waits for ever when there is none.
    pub(super) async fn next(&mut self) -> Option<Over> {
        loop {
            let Some(wake) = self.0.iter().map(Attempt::wake_at).min() else { return std::future::pending().await };
            if let Ok((place, answer)) = timeout_at(wake, self.answer()).await {
                let Attempt { candidate, .. } = self.0.swap_remove(place);
                return Some(Over { candidate, result: answer_of(answer) });
            }
            if let Some(over) = self.expire() {
                return Some(over);
            }
            if self.listen() {
                return None;
            }
        }
    }

    /// The next answer, and whose.
    async fn answer(&mut self) -> (usize, Result<Frame, Lost>) {
        poll_fn(|context| {
            for (place, attempt) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(answer) = Pin::new(&mut attempt.sent.call).poll(context) {
                    return Poll::Ready((place, answer));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn expire(&mut self) -> Option<Over> {
        let now = Instant::now();
        let place = self.0.iter().position(|attempt| attempt.sent.until <= now)?;
        let Attempt { candidate, sent, .. } = self.0.swap_remove(place);
        candidate.line.note_unanswered();
        Some(Over { candidate, result: Err(CallError::Silent(sent.budget)) })
    }

    /// Looks after those that are due. Whether one of them has turned silent.
    fn listen(&mut self) -> bool {
        let now = Instant::now();
        let mut turned = false;
        for attempt in self.0.iter_mut().filter(|attempt| !attempt.silent && attempt.look_at <= now) {
            attempt.look_at = now + LISTEN;
            match attempt.candidate.line.look(attempt.sent.heard, attempt.began) {
                None => {}
                Some(Heard::Nothing) => {
                    attempt.silent = true;
                    turned = true;
                }
                // It may have been on its way when the node fell silent, so the node is asked for another: a living
                // one acknowledges within milliseconds, however long its answer takes.
                Some(Heard::Packets(packets)) => {
                    attempt.sent.heard = packets;
                    attempt.began = now;
                    attempt.candidate.line.prod();
                }
            }
        }
        turned
    }
}

impl Attempt {
    fn wake_at(&self) -> Instant {
        if self.silent { self.sent.until } else { self.sent.until.min(self.look_at) }
    }
}
