//! Whether a write has copies enough, and where they are.

use super::{Enough, Slot};

/// One replica's answer to a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It holds the item.
    Stored {
        /// And it survives a power loss.
        fsynced: bool,
    },
    /// It did not answer, or refused. It may hold the item all the same.
    Unknown,
}

/// What to tell the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutResponse {
    /// W copies exist.
    Reply {
        /// Slots that confirmed, in that order, and whether each fsynced.
        copies: Vec<(Slot, bool)>,
    },
    /// They do not, as far as is known.
    Fail {
        /// Slots that confirmed all the same: from them the write may still surface.
        copies: Vec<(Slot, bool)>,
        /// Slots that answered that they could not, or could not be asked.
        unknown: Vec<Slot>,
    },
}

/// The decision of one write. Only owners have slots: a copy elsewhere is a hint, and hints are not there yet.
#[derive(Debug, Clone)]
pub struct Put {
    n: u8,
    w: u8,
    copies: Vec<(Slot, bool)>,
    unknown: Vec<Slot>,
}

impl Put {
    /// A write that needs `w` of `n` copies.
    #[must_use]
    pub fn new(n: u8, w: u8) -> Self {
        assert!(w >= 1 && w <= n, "a write needs 1 to n copies, checked when the request was accepted");
        Self { n, w, copies: Vec::with_capacity(usize::from(n)), unknown: Vec::new() }
    }

    /// Takes one replica's answer. A copy confirmed after an unknown counts: the replica was only late.
    pub fn add_result(&mut self, slot: Slot, result: Copied) {
        if self.copies.iter().any(|(by, _)| *by == slot) {
            return;
        }
        match result {
            Copied::Stored { fsynced } => {
                self.unknown.retain(|by| *by != slot);
                self.copies.push((slot, fsynced));
            }
            Copied::Unknown if self.unknown.contains(&slot) => {}
            Copied::Unknown => self.unknown.push(slot),
        }
    }

    /// Whether the slot has answered, usefully or not.
    #[must_use]
    pub fn has_answered(&self, slot: Slot) -> bool {
        self.copies.iter().any(|(by, _)| *by == slot) || self.unknown.contains(&slot)
    }

    /// Whether the quorum is met, can be, or cannot be.
    #[must_use]
    pub fn enough(&self) -> Enough {
        if self.copies.len() >= usize::from(self.w) {
            Enough::Met
        } else if usize::from(self.n) - self.unknown.len() < usize::from(self.w) {
            Enough::Failed
        } else {
            Enough::Wait
        }
    }

    /// What to tell the client now: the truth so far.
    #[must_use]
    pub fn response(&self) -> PutResponse {
        let copies = self.copies.clone();
        match self.enough() {
            Enough::Met => PutResponse::Reply { copies },
            Enough::Wait | Enough::Failed => PutResponse::Fail { copies, unknown: self.unknown.clone() },
        }
    }

    /// Slots that may still lack the item once the client was told. Hints and exchanges will see to them.
    #[must_use]
    pub fn final_action(&self) -> Vec<Slot> {
        (0..usize::from(self.n)).map(Slot::new).filter(|slot| !self.copies.iter().any(|(by, _)| by == slot)).collect()
    }
}
