//! A purse: bytes that many lanes may hold together.
//!
//! A bound for each lane is no bound for a node: two thousand clients that read no answers would fill two thousand
//! lanes. So the lanes of all clients of a node pay from one purse. Where it is empty a large frame is
//! refused as by a full lane; a small one, such as the answer that says so, may still go up to a margin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Frames up to this size may use the margin.
const SMALL_BYTES: usize = 1024;
/// The margin is this part of the purse.
const MARGIN_PART: usize = 8;

/// A purse. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Purse(Arc<State>);

#[derive(Debug)]
struct State {
    held: AtomicUsize,
    limit: usize,
}

impl Purse {
    /// A purse of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(State { held: AtomicUsize::new(0), limit }))
    }

    /// Takes bytes, if there are so many. A single frame may overdraw what is left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let limit = match bytes <= SMALL_BYTES {
            true => self.0.limit + self.0.limit / MARGIN_PART,
            false => self.0.limit,
        };
        let taken = self.0.held.fetch_add(bytes, Ordering::AcqRel) < limit;
        if !taken {
            self.give(bytes);
        }
        taken
    }

    /// Gives back what was taken.
    pub fn give(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_purse_refuses_large_frames_and_pays_for_small_ones_up_to_a_margin() {
        let purse = Purse::new(64 * 1024);
        assert!(purse.take(60 * 1024) && purse.take(8 * 1024), "the last one may overdraw");
        assert!(!purse.take(2 * 1024));
        let small = (0..100).take_while(|_| purse.take(1024)).count();
        assert_eq!(small, 4, "68 KiB are held, and the margin ends at 72");
        purse.give(60 * 1024);
        assert!(purse.take(2 * 1024));
        assert_eq!(purse.held(), (8 + 4 + 2) * 1024);
    }
}
