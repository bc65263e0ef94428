//! When something is to be looked at again, if it is still under way then.
//!
//! Nearly every request is over long before its timers are due. One that is over must cost nothing more: it neither
//! wakes the shard, nor does it stay in the heap until its time. So timers lie in a heap for each kind, whose members
//! are armed for about the same time ahead: the first of a heap is that of the oldest request, and those whose request
//! is over are dropped as soon as they come first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::protocol::types::Instant;

/// What a timer was armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Its client waits no longer.
    Deadline,
    /// A replica that was asked to read is slow.
    Hedge,
    /// An owner is silent for longer than it ever is.
    Silence,
}

impl Timer {
    const ALL: [Self; 3] = [Self::Deadline, Self::Hedge, Self::Silence];
}

/// The timers of all requests.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: Heap,
    hedges: Heap,
    silences: Heap,
}

type Heap = BinaryHeap<Reverse<(Instant, u64)>>;

impl Timers {
    pub(super) fn arm(&mut self, at: Instant, id: u64, timer: Timer) {
        self.heap(timer).push(Reverse((at, id)));
    }

    /// The first timer whose request is under way, as `is_alive` says. Those before it are dropped.
    pub(super) fn first(&mut self, is_alive: impl Fn(u64) -> bool) -> Option<(Instant, u64, Timer)> {
        let mut first = None;
        for timer in Timer::ALL {
            let heap = self.heap(timer);
            while heap.peek().is_some_and(|Reverse((_, id))| !is_alive(*id)) {
                heap.pop();
            }
            let next = heap.peek().map(|Reverse((at, id))| (*at, *id, timer));
            first = first.into_iter().chain(next).min();
        }
        first
    }

    /// Takes the first timer of a kind away.
    pub(super) fn pop(&mut self, timer: Timer) {
        self.heap(timer).pop();
    }

    fn heap(&mut self, timer: Timer) -> &mut Heap {
        match timer {
            Timer::Deadline => &mut self.deadlines,
            Timer::Hedge => &mut self.hedges,
            Timer::Silence => &mut self.silences,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: living timers come in the order of their times, the dead never.
        #[test]
        fn living_timers_come_in_order(armed in prop::collection::vec((0..50_u64, 0..20_u64, 0..3_usize), 0..100)) {
            let is_alive = |id: u64| !id.is_multiple_of(3);
            let mut timers = Timers::default();
            let mut listed = Vec::new();
            for (at, id, kind) in armed {
                let (at, timer) = (Instant::from_nanos(at), Timer::ALL[kind]);
                timers.arm(at, id, timer);
                listed.extend(is_alive(id).then_some((at, id, timer)));
            }
            listed.sort_unstable();
            let mut taken = Vec::new();
            while let Some((at, id, timer)) = timers.first(is_alive) {
                timers.pop(timer);
                taken.push((at, id, timer));
            }
            prop_assert_eq!(taken, listed);
        }
    }

    #[test]
    fn timers_of_what_is_over_are_not_kept() {
        let mut timers = Timers::default();
        for id in 0..1_000 {
            timers.arm(Instant::from_nanos(2_000 + id), id, Timer::Deadline);
            timers.arm(Instant::from_nanos(1_000 + id), id, Timer::Hedge);
            // The latest request is under way, the ones before it are over.
            assert_eq!(timers.first(|living| living == id), Some((Instant::from_nanos(1_000 + id), id, Timer::Hedge)));
        }
        assert_eq!((timers.deadlines.len(), timers.hedges.len()), (1, 1));
    }
}
