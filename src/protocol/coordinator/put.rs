//! Whether a write has copies enough, and where they are.

use super::{Enough, Slot};
use crate::protocol::types::Strictness;
use crate::protocol::types::limits::REPLICAS_MAX;

/// One replica's answer to a merge, or a stand-in's to a hint.
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

/// Who holds a copy in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The slot's owner.
    Owner,
    /// A fallback that keeps it as a hint, by the caller's number for it.
    StandIn(u16),
}

/// A confirmed copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Whose copy it is, or whose it stands for.
    pub slot: Slot,
    /// Who holds it.
    pub holder: Holder,
    /// It survives a power loss of its holder.
    pub fsynced: bool,
}

/// What to tell the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutResponse {
    /// W copies exist.
    Reply {
        /// In the order in which they were confirmed.
        copies: Vec<Copy>,
    },
    /// They do not, as far as is known.
    Fail {
        /// Copies that were confirmed all the same: from them the write may still surface.
        copies: Vec<Copy>,
    },
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Owner {
    #[default]
    Waiting,
    Stored,
    Unknown,
}

/// What is known of who stands in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum StandIn {
    #[default]
    None,
    Asked(u16),
    Stored,
    /// There is nobody left to ask.
    Exhausted,
}

/// The decision of one write (Dynamo 4.6). A slot counts once, by its owner's copy or, when the request is sloppy, by
/// that of a stand-in.
#[derive(Debug, Clone)]
pub struct Put {
    n: u8,
    w: u8,
    strictness: Strictness,
    owners: [Owner; REPLICAS_MAX],
    stand_ins: [StandIn; REPLICAS_MAX],
    copies: Vec<Copy>,
}

impl Put {
    /// A write that needs `w` of `n` copies.
    #[must_use]
    pub fn new(n: u8, w: u8, strictness: Strictness) -> Self {
        assert!(w >= 1 && w <= n, "a write needs 1 to n copies, checked when the request was accepted");
        assert!(usize::from(n) <= REPLICAS_MAX, "a layout has at most REPLICAS_MAX owners of a partition");
        Self {
            n,
            w,
            strictness,
            owners: [Owner::Waiting; REPLICAS_MAX],
            stand_ins: [StandIn::None; REPLICAS_MAX],
            copies: Vec::with_capacity(usize::from(n)),
        }
    }

    /// Takes an owner's answer. A copy confirmed after an unknown counts: the owner was only late.
    pub fn add_result(&mut self, slot: Slot, result: Copied) {
        let Some(owner) = self.owners.get_mut(slot.as_index()) else { return };
        match (*owner, result) {
            (Owner::Stored, _) => {}
            (_, Copied::Unknown) => *owner = Owner::Unknown,
            (_, Copied::Stored { fsynced }) => {
                *owner = Owner::Stored;
                self.copies.push(Copy { slot, holder: Holder::Owner, fsynced });
            }
        }
    }

    /// Notes who is asked to stand in for a slot's owner.
    pub fn ask_stand_in(&mut self, slot: Slot, by: u16) {
        if let Some(stand_in) = self.stand_ins.get_mut(slot.as_index()) {
            *stand_in = StandIn::Asked(by);
        }
    }

    /// Notes that nobody is left to stand in for a slot's owner.
    pub fn exhaust_stand_ins(&mut self, slot: Slot) {
        if let Some(stand_in) = self.stand_ins.get_mut(slot.as_index()) {
            *stand_in = StandIn::Exhausted;
        }
    }

    /// Takes a stand-in's answer; the slot it stood in for, if it was asked for one and now somebody else has to be.
    pub fn add_stand_in(&mut self, by: u16, result: Copied) -> Option<Slot> {
        let at = self.stand_ins.iter().position(|stand_in| *stand_in == StandIn::Asked(by))?;
        let slot = Slot::new(at);
        let stand_in = self.stand_ins.get_mut(at)?;
        match result {
            Copied::Stored { fsynced } => {
                *stand_in = StandIn::Stored;
                self.copies.push(Copy { slot, holder: Holder::StandIn(by), fsynced });
                None
            }
            Copied::Unknown => {
                *stand_in = StandIn::None;
                Some(slot)
            }
        }
    }

    /// Whether the slot's owner has answered, usefully or not.
    #[must_use]
    pub fn has_answered(&self, slot: Slot) -> bool {
        self.owners.get(slot.as_index()).is_some_and(|owner| *owner != Owner::Waiting)
    }

    /// Whether the slot's owner holds the item.
    #[must_use]
    pub fn is_stored(&self, slot: Slot) -> bool {
        self.owners.get(slot.as_index()) == Some(&Owner::Stored)
    }

    /// Whether the slot has neither its owner's copy nor somebody who stands in, or was asked to.
    #[must_use]
    pub fn lacks_stand_in(&self, slot: Slot) -> bool {
        !self.is_stored(slot) && self.stand_ins.get(slot.as_index()) == Some(&StandIn::None)
    }

    /// Whether nothing is being waited for: each slot has a copy, or nobody left who could make one. A failed write is
    /// reported only then, or when its time is over: "how many copies exist" must count those that are just being made.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.slots().all(|(owner, stand_in)| match (owner, stand_in) {
            (Owner::Stored, _) | (_, StandIn::Stored) | (Owner::Unknown, StandIn::Exhausted) => true,
            // An owner whom nobody could stand in for may still be only late.
            (Owner::Waiting, _) | (Owner::Unknown, StandIn::None | StandIn::Asked(_)) => false,
        })
    }

    /// Whether the quorum is met, can be, or cannot be.
    #[must_use]
    pub fn enough(&self) -> Enough {
        let sloppy = self.strictness == Strictness::Sloppy;
        let hopeless = self
            .slots()
            .filter(|(owner, stand_in)| *owner == Owner::Unknown && (!sloppy || *stand_in == StandIn::Exhausted));
        let (w, n) = (usize::from(self.w), usize::from(self.n));
        if self.counted() >= w {
            Enough::Met
        } else if n - hopeless.count() < w {
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
            Enough::Wait | Enough::Failed => PutResponse::Fail { copies },
        }
    }

    /// Copies that count toward W.
    #[must_use]
    pub fn counted(&self) -> usize {
        let sloppy = self.strictness == Strictness::Sloppy;
        let counts =
            |(owner, stand_in): &(Owner, StandIn)| *owner == Owner::Stored || (sloppy && *stand_in == StandIn::Stored);
        self.slots().filter(counts).count()
    }

    /// Slots whose owner may still lack the item, with nobody standing in: to be hinted or left to an exchange.
    #[must_use]
    pub fn final_action(&self) -> Vec<Slot> {
        let slots = (0..usize::from(self.n)).map(Slot::new);
        slots.filter(|slot| self.lacks_stand_in(*slot)).collect()
    }

    fn slots(&self) -> impl Iterator<Item = (Owner, StandIn)> {
        self.owners.iter().copied().zip(self.stand_ins.iter().copied()).take(usize::from(self.n))
    }
}
