//! Several futures of one type in one task, each polled only when it was awakened itself.
//!
//! A session has a reader and a writer for each lane, and they come and go. As tasks of their own they would need
//! `spawn` on one kind of runtime and `spawn_local` on the other; polled all together at every wake, each wake would
//! lock the connection eight times. So every part gets a waker of its own, which notes the part and passes on the wake.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The parts that are not finished.
pub(super) struct Bundle<F> {
    parts: Vec<Part<F>>,
    /// The task that polls the bundle, once it has.
    task: Option<Waker>,
}

struct Part<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// A part's waker.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake_by_ref();
        }
    }
}

impl<F: Future> Bundle<F> {
    pub(super) const fn new() -> Self {
        Self { parts: Vec::new(), task: None }
    }

    /// Adds a part; it is polled for the first time when the bundle is polled next.
    pub(super) fn add(&mut self, future: F) {
        let task = self.task.clone().unwrap_or_else(|| Waker::noop().clone());
        self.parts.push(Part::new(Box::pin(future), task));
    }

    /// What the next part to finish returns. An empty bundle never finishes.
    pub(super) async fn next(&mut self) -> F::Output {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        self.follow(context.waker());
        for index in 0..self.parts.len() {
            let Some(part) = self.parts.get_mut(index) else { break };
            if !part.bell.rung.swap(false, Ordering::AcqRel) {
                continue;
            }
            let polled = part.future.as_mut().poll(&mut Context::from_waker(&part.waker));
            if let Poll::Ready(output) = polled {
                // Whoever awaits `next` calls it again; the parts behind this one have kept their rung bells.
                self.parts.swap_remove(index);
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }

    /// Makes the bells wake the task that polls now. A task's waker stays the same, so this happens once.
    fn follow(&mut self, task: &Waker) {
        if self.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            return;
        }
        self.task = Some(task.clone());
        for part in &mut self.parts {
            let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: task.clone() });
            part.waker = Waker::from(bell.clone());
            part.bell = bell;
        }
    }
}

impl<F: Future> Part<F> {
    fn new(future: Pin<Box<F>>, task: Waker) -> Self {
        // Rung from the start: that is its first poll.
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task });
        Self { future, waker: Waker::from(bell.clone()), bell }
    }
}
