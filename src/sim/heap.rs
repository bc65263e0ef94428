//! The event heap: what happens next, by (virtual time, order of scheduling).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

/// Events to come. Two at the same time happen in the order in which they were scheduled, so a run has one order only.
#[derive(Debug)]
pub(super) struct Heap<E> {
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Slab<E>,
    scheduled: u64,
}

impl<E> Heap<E> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), events: Slab::new(), scheduled: 0 }
    }

    /// Schedules an event at a time, nanoseconds.
    pub(super) fn push(&mut self, at: u64, event: E) {
        self.scheduled += 1;
        let place = self.events.insert(event);
        self.order.push(Reverse((at, self.scheduled, place)));
    }

    /// Takes the next event and its time.
    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        Some((at, self.events.remove(place)))
    }
}
