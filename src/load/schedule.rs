//! When requests are sent.
//!
//! A closed loop sends the next when the last is answered, so it stops asking while the cluster stands still, and hides
//! that it did ("coordinated omission", Gil Tene). An open loop has a list of times that does not care:
//!
//! ```text
//!   intended:  |    |    |    |    |    |    |       latency = answer - intended     what a user waits
//!   sent:      |    |    |              ||||  |      service = answer - sent         what the cluster took
//!                        ^ all in flight  ^ sent as soon as anybody is free, late, and charged from their times
//! ```
//!
//! The times are reckoned from the beginning, never from the request before, so they do not drift. Whoever is woken
//! sends all that is due: the alarm, and every worker whose request was answered.

use std::cell::RefCell;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::chance::{Chance, whole};
use super::report::Schedule;
use super::settings::Pace;

/// A request counts as late when it was sent so long after its time.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// The intended times of an open loop, as nanoseconds since the beginning.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    law: Law,
    /// Nanoseconds between two, on average.
    mean: f64,
    /// How many have been taken.
    count: u64,
    /// The next, nanoseconds.
    next: f64,
}

#[derive(Debug, Clone)]
enum Law {
    /// The n-th is at `(n + phase) * mean`.
    Constant { phase: f64 },
    /// Each is an exponential time after the one before.
    Poisson(Chance),
}

impl Arrivals {
    /// The times of a pace; none of a closed loop. `phase`, 0 to 1, is how far into the first interval an even schedule
    /// begins: several processes take turns.
    pub(super) fn new(pace: Pace, phase: f64, mut chance: Chance) -> Option<Self> {
        let arrivals = |rate: f64, law, first: f64| {
            let mean = 1e9 / rate;
            Self { law, mean, count: 0, next: first * mean }
        };
        match pace {
            Pace::Closed => None,
            Pace::Constant(rate) => Some(arrivals(rate, Law::Constant { phase }, phase)),
            Pace::Poisson(rate) => {
                let first = chance.exponential();
                Some(arrivals(rate, Law::Poisson(chance), first))
            }
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Duration {
        Duration::from_nanos(whole(self.next))
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Duration {
        let taken = self.next();
        self.count += 1;
        self.next = match &mut self.law {
            Law::Constant { phase } => (self.count as f64 + *phase) * self.mean,
            Law::Poisson(chance) => self.next + chance.exponential() * self.mean,
        };
        taken
    }
}

/// Hands out turns to the workers of one process.
#[derive(Debug)]
pub(super) struct Turns(RefCell<State>);

#[derive(Debug)]
struct State {
    arrivals: Option<Arrivals>,
    began: Instant,
    /// Requests from here on are counted.
    measured_from: Instant,
    until: Instant,
    /// Workers that have nothing to do, the last one first. One that was polled for another reason and took a turn is
    /// still among them, without a waker.
    idle: Vec<usize>,
    /// By worker, while it has nothing to do.
    wakers: Vec<Option<Waker>>,
    kept: Schedule,
}

/// A request's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// When it was meant to be sent.
    pub(super) intended: Instant,
    /// When it was taken, which is when it is sent.
    pub(super) taken: Instant,
    /// Whether it is in the measured time.
    pub(super) is_measured: bool,
}

impl Turns {
    /// Turns from `began` to `until`. `offered` is what the pace asks for, requests a second.
    pub(super) fn new(
        arrivals: Option<Arrivals>,
        offered: f64,
        began: Instant,
        measured_from: Instant,
        until: Instant,
    ) -> Self {
        let kept = Schedule { offered, ..Schedule::default() };
        let (idle, wakers) = (Vec::new(), Vec::new());
        Self(RefCell::new(State { arrivals, began, measured_from, until, idle, wakers, kept }))
    }

    /// The next turn of a worker; none when the time is over. Waits in an open loop until one is due. Workers are
    /// numbered from 0 without gaps.
    pub(super) async fn next(&self, worker: usize) -> Option<Turn> {
        std::future::poll_fn(|context| {
            let now = Instant::now();
            let mut state = self.0.borrow_mut();
            if now >= state.until {
                return Poll::Ready(None);
            }
            let Some(turn) = state.take(now) else {
                state.rest(worker, context.waker());
                return Poll::Pending;
            };
            state.note(turn);
            if let Some(waker) = state.wakers.get_mut(worker) {
                *waker = None;
            }
            // Whoever takes a turn wakes the next when there is one more, so nobody has to count them.
            state.wake_one(now);
            Poll::Ready(Some(turn))
        })
        .await
    }

    /// When somebody has to be woken next: a turn is due, or the time is over.
    pub(super) fn due(&self) -> Instant {
        let state = self.0.borrow();
        state.next().map_or(state.until, |next| next.min(state.until))
    }

    /// Wakes a worker when a turn is due, and all when the time is over. Whether it is over.
    pub(super) fn wake(&self, now: Instant) -> bool {
        let mut state = self.0.borrow_mut();
        let is_over = now >= state.until;
        if is_over {
            state.wakers.drain(..).flatten().for_each(Waker::wake);
        } else {
            state.wake_one(now);
        }
        is_over
    }

    /// How the schedule was kept; none of a closed loop. What is left of it was never sent.
    pub(super) fn finish(self) -> Option<Schedule> {
        let mut state = self.0.into_inner();
        while state.next()? < state.until {
            if let Some(turn) = state.take(state.until)
                && turn.is_measured
            {
                state.kept.unsent += 1;
            }
        }
        Some(state.kept)
    }
}

impl State {
    fn next(&self) -> Option<Instant> {
        self.arrivals.as_ref().map(|arrivals| self.began + arrivals.next())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next().is_some_and(|next| next <= now)
    }

    /// A turn that is due.
    fn take(&mut self, now: Instant) -> Option<Turn> {
        let Some(arrivals) = &mut self.arrivals else {
            return Some(Turn { intended: now, taken: now, is_measured: now >= self.measured_from });
        };
        if self.began + arrivals.next() > now {
            return None;
        }
        let intended = self.began + arrivals.take();
        let is_measured = intended >= self.measured_from;
        Some(Turn { intended, taken: now, is_measured })
    }

    /// Notes how late a turn was taken.
    fn note(&mut self, turn: Turn) {
        let delay = turn.taken.saturating_duration_since(turn.intended);
        if turn.is_measured && delay > LATE {
            self.kept.late += 1;
            self.kept.late_max_us = self.kept.late_max_us.max(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn rest(&mut self, worker: usize, waker: &Waker) {
        if self.wakers.len() <= worker {
            self.wakers.resize_with(worker + 1, || None);
        }
        let place = self.wakers.get_mut(worker).expect("there is a place for it now");
        if place.is_none() {
            self.idle.push(worker);
        }
        *place = Some(waker.clone());
    }

    /// Wakes a worker that has nothing to do, when a turn is due.
    fn wake_one(&mut self, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        while let Some(worker) = self.idle.pop() {
            if let Some(waker) = self.wakers.get_mut(worker).and_then(Option::take) {
                return waker.wake();
            }
        }
    }
}

impl Schedule {
    /// Adds another process's.
    pub(super) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.late += other.late;
        self.late_max_us = self.late_max_us.max(other.late_max_us);
        self.unsent += other.unsent;
    }
}

#[cfg(test)]
mod tests;
