//! Whether a read has heard enough, and what it saw.

use super::{Enough, Slot};
use crate::protocol::version::{ConflictPolicy, Dot, Siblings};

/// One replica's answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replied {
    /// Its copy; an absent item is an empty one.
    Copy {
        /// What it holds.
        item: Siblings,
        /// It may have lost acknowledged writes: it adds data but does not count toward R (rule 4).
        unverified: bool,
    },
    /// It did not answer, or cannot read its copy. Unknown is not absent (rule 4).
    Unknown,
}

/// What to do once a read has heard enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetResponse {
    /// All answers agree, or one was asked for: tell the client.
    Reply,
    /// The answers differ: W owners must hold the merge before the client is told, or a later read could go back
    /// behind this one (rule 9). These hold it already.
    Store {
        /// Slots whose own copy equals the merge.
        holders: Vec<Slot>,
    },
    /// The quorum cannot be met.
    Fail {
        /// Answers that counted.
        answers: u8,
        /// Slots that did not answer usefully.
        unknown: Vec<Slot>,
    },
}

/// What is left to do after the client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetFinal {
    /// Nothing.
    Nothing,
    /// These slots answered with less than the merge.
    Repair(Vec<Slot>),
}

/// The decision of one read.
#[derive(Debug, Clone)]
pub struct Get {
    n: u8,
    r: u8,
    policy: ConflictPolicy,
    merged: Siblings,
    answered: Vec<(Slot, Answer)>,
    /// Somebody may still answer in place of an owner that cannot.
    stand_ins: bool,
}

#[derive(Debug, Clone)]
struct Answer {
    counts: bool,
    /// Its copy, kept while it may differ from the merge; `None` for unknown.
    item: Option<Siblings>,
}

impl Get {
    /// A read of `r` of `n` replicas.
    #[must_use]
    pub fn new(n: u8, r: u8, policy: ConflictPolicy) -> Self {
        assert!(r >= 1 && r <= n, "a read asks 1 to n replicas, checked when the request was accepted");
        Self {
            n,
            r,
            policy,
            merged: Siblings::default(),
            answered: Vec::with_capacity(usize::from(n)),
            stand_ins: false,
        }
    }

    /// Takes one replica's answer. A second answer of the same slot is a duplicate and ignored.
    pub fn add_result(&mut self, slot: Slot, reply: Replied) {
        if self.has_answered(slot) {
            return;
        }
        let answer = match reply {
            Replied::Unknown => Answer { counts: false, item: None },
            Replied::Copy { item, unverified } => {
                if self.answered.is_empty() {
                    self.merged = item.clone();
                } else if item != self.merged {
                    self.merged.join(&item, self.policy);
                }
                Answer { counts: !unverified, item: Some(item) }
            }
        };
        self.answered.push((slot, answer));
    }

    /// Says whether somebody may still answer in place of an owner that cannot: then the read has not failed yet.
    pub fn expect_stand_ins(&mut self, expected: bool) {
        self.stand_ins = expected;
    }

    /// Takes what a stand-in keeps for an owner that could not answer usefully. An empty answer is none (rule 4): a
    /// stand-in knows nothing of what it was not told.
    pub fn add_stand_in(&mut self, item: &Siblings) {
        if item.is_empty() {
            return;
        }
        self.merged.join(item, self.policy);
        if let Some((_, answer)) = self.answered.iter_mut().find(|(_, answer)| !answer.counts) {
            answer.counts = true;
        }
    }

    /// What a slot answered, when it could.
    #[must_use]
    pub fn copy_of(&self, slot: Slot) -> Option<&Siblings> {
        self.answered.iter().find(|(by, _)| *by == slot)?.1.item.as_ref()
    }

    /// Takes versions that are known to be obsolete out of all that was heard (rule 8).
    pub fn retire(&mut self, obsolete: impl Fn(Dot) -> bool) {
        let copies = self.answered.iter_mut().filter_map(|(_, answer)| answer.item.as_mut());
        for item in copies.chain([&mut self.merged]) {
            let retired = item.retire(&obsolete);
            if retired.versions > 0 && retired.rest == 0 {
                *item = Siblings::default();
            }
        }
    }

    /// Whether the slot has answered, usefully or not.
    #[must_use]
    pub fn has_answered(&self, slot: Slot) -> bool {
        self.answered.iter().any(|(by, _)| *by == slot)
    }

    /// Whether the slot's answer counts toward R.
    #[must_use]
    pub fn counted(&self, slot: Slot) -> bool {
        self.answered.iter().any(|(by, answer)| *by == slot && answer.counts)
    }

    /// Answers that count toward R.
    #[must_use]
    pub fn answers(&self) -> u8 {
        self.count(|answer| answer.counts)
    }

    /// Whether the quorum is met, can be, or cannot be.
    #[must_use]
    pub fn enough(&self) -> Enough {
        let answers = self.answers();
        let useless = self.count(|answer| !answer.counts);
        if answers >= self.r {
            Enough::Met
        } else if self.n - useless < self.r && !self.stand_ins {
            Enough::Failed
        } else {
            Enough::Wait
        }
    }

    /// Whether every replica has answered, usefully or not.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.answered.len() >= usize::from(self.n)
    }

    /// What all answers together say.
    #[must_use]
    pub fn merged(&self) -> &Siblings {
        &self.merged
    }

    /// What to do now. Meaningful once [`Get::enough`] is not `Wait`, or when the time is over.
    #[must_use]
    pub fn response(&self) -> GetResponse {
        if self.answers() < self.r {
            let unknown = |(_, answer): &&(Slot, Answer)| !answer.counts;
            let unknown = self.answered.iter().filter(unknown).map(|(slot, _)| *slot).collect();
            return GetResponse::Fail { answers: self.answers(), unknown };
        }
        let holders: Vec<Slot> = self.slots_where(|item| *item == self.merged);
        let differ = self.answered.iter().any(|(_, answer)| answer.item.as_ref().is_some_and(|i| *i != self.merged));
        if differ { GetResponse::Store { holders } } else { GetResponse::Reply }
    }

    /// What is left to do for the replicas that answered.
    #[must_use]
    pub fn final_action(&self) -> GetFinal {
        let stale = self.slots_where(|item| *item != self.merged);
        if stale.is_empty() { GetFinal::Nothing } else { GetFinal::Repair(stale) }
    }

    fn slots_where(&self, holds: impl Fn(&Siblings) -> bool) -> Vec<Slot> {
        let with = |(slot, answer): &(Slot, Answer)| answer.item.as_ref().is_some_and(&holds).then_some(*slot);
        self.answered.iter().filter_map(with).collect()
    }

    fn count(&self, which: impl Fn(&Answer) -> bool) -> u8 {
        let count = self.answered.iter().filter(|(_, answer)| which(answer)).count();
        u8::try_from(count).expect("a slot answers once, and there are at most REPLICAS_MAX of them")
    }
}
