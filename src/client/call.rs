//! Calls in flight on one line: a dense table whose places are half of the correlation id.
//!
//! ```text
//!   correlation u64 = serial u32 | place u32
//!   place: waiting (with the waker of whoever waits) -> answered (the frame) -> taken by the waiter
//! ```
//!
//! A place is the whole cost of a call: no channel, no task. The serial number keeps a late answer to a call that was
//! given up from being taken for the answer to the next call in the same place.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::protocol::wire::Frame;

/// Calls in flight on one line: more only make the answers late.
pub(super) const CALLS_MAX: usize = 16_384;

/// The line went down before the answer; why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost(pub(super) Arc<str>);

/// The calls in flight on one line.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    places: Slab<Place>,
    serial: u32,
}

#[derive(Debug)]
struct Place {
    correlation: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Answered(Frame),
    Lost(Lost),
}

/// A call in flight. Await it for the answer; dropped, the call is given up and a late answer is ignored.
pub(super) struct Call {
    calls: Arc<Calls>,
    correlation: u64,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements that hold the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. `None` when [`CALLS_MAX`] are taken.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Call> {
        let mut table = self.lock();
        if table.places.len() >= CALLS_MAX {
            return None;
        }
        table.serial = table.serial.wrapping_add(1);
        let serial = u64::from(table.serial) << 32;
        let place = table.places.vacant_entry();
        let correlation = serial | u64::try_from(place.key()).expect("a place is below CALLS_MAX");
        place.insert(Place { correlation, state: State::Waiting(None) });
        drop(table);
        Some(Call { calls: self.clone(), correlation })
    }

    /// Hands an answer to its call.
    pub(super) fn answer(&self, frame: Frame) {
        let mut table = self.lock();
        let Some(place) = table.place(frame.header.correlation) else {
            tracing::trace!(correlation = frame.header.correlation, "an answer came late");
            return;
        };
        if let State::Waiting(waker) = std::mem::replace(&mut place.state, State::Answered(frame)) {
            drop(table);
            wake(waker);
        }
    }

    /// Fails every call in flight.
    pub(super) fn lose(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let mut wakers = Vec::new();
        for (_, place) in &mut self.lock().places {
            if let State::Waiting(waker) = &mut place.state {
                wakers.push(waker.take());
                place.state = State::Lost(Lost(reason.clone()));
            }
        }
        wakers.into_iter().for_each(wake);
    }

    /// Calls that wait for their answers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().places.len()
    }
}

impl Table {
    fn place(&mut self, correlation: u64) -> Option<&mut Place> {
        let place = self.places.get_mut(index(correlation)?)?;
        (place.correlation == correlation).then_some(place)
    }
}

impl Call {
    /// What the request carries and the answer brings back.
    pub(super) const fn correlation(&self) -> u64 {
        self.correlation
    }
}

impl Future for Call {
    type Output = Result<Frame, Lost>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut table = self.calls.lock();
        let place = table.place(self.correlation).expect("a call keeps its place until it is dropped");
        match std::mem::replace(&mut place.state, State::Waiting(None)) {
            State::Answered(frame) => Poll::Ready(Ok(frame)),
            State::Lost(lost) => Poll::Ready(Err(lost)),
            State::Waiting(waker) => {
                let waker = match waker {
                    Some(waker) if waker.will_wake(context.waker()) => waker,
                    _ => context.waker().clone(),
                };
                place.state = State::Waiting(Some(waker));
                Poll::Pending
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut table = self.calls.lock();
        if table.place(self.correlation).is_some()
            && let Some(place) = index(self.correlation)
        {
            let given_up = table.places.try_remove(place);
            drop(table);
            // A frame that nobody took is freed outside of the lock.
            drop(given_up);
        }
    }
}

fn index(correlation: u64) -> Option<usize> {
    usize::try_from(correlation & u64::from(u32::MAX)).ok()
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
