//! Whether a read has heard enough, and what it saw.
//!
//! Of a large item most replicas send the *head*: which versions there are, without their values. Versions compare by
//! heads as well as by copies, so quorum, merge and repair are decided alike; only nobody may be shown, or sent, a
//! merge that lacks a value. What it lacks is fetched from who has it:
//!
//! ```text
//!   whole copy {a}  +  head {a}     merge {a}, complete: nothing to fetch
//!   whole copy {a}  +  head {a, b}  merge {a, b}, lacks b -> next_fetch: b from the sender of the head
//!   the sender cannot               -> it answered nothing useful: its head is forgotten
//! ```

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
    /// The head of its copy: a promise that it has these versions, and that their values were verified.
    Head {
        /// What it holds, with empty values.
        item: Siblings,
        /// The versions that have a value which is not here.
        lacking: Vec<Dot>,
        /// As above.
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
    /// What stand-ins said, apart from the owners.
    stood_in: Siblings,
    /// Versions that have a value, as heads say. One that is empty here is lacking.
    valued: Vec<Dot>,
    fetches: Vec<Fetch>,
    /// Somebody may still answer in place of an owner that cannot.
    stand_ins: bool,
}

#[derive(Debug, Clone)]
struct Answer {
    counts: bool,
    /// Its copy, or the head of it; `None` for unknown.
    item: Option<Siblings>,
}

/// Values on their way.
#[derive(Debug, Clone)]
struct Fetch {
    from: Slot,
    wanted: Vec<Dot>,
    /// Somebody else may be asked for the same.
    slow: bool,
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
            stood_in: Siblings::default(),
            valued: Vec::new(),
            fetches: Vec::new(),
            stand_ins: false,
        }
    }

    /// Takes one replica's answer. A second answer of the same slot is a duplicate and ignored, unless values were
    /// fetched from it: then a copy takes the place of its head, and "unknown" takes the head back.
    pub fn add_result(&mut self, slot: Slot, reply: Replied) {
        if self.has_answered(slot) {
            return self.fetched_otherwise(slot, reply);
        }
        let answer = match reply {
            Replied::Unknown => Answer { counts: false, item: None },
            Replied::Copy { item, unverified } => Answer { counts: !unverified, item: Some(item) },
            Replied::Head { item, lacking, unverified } => {
                self.valued.extend(lacking);
                Answer { counts: !unverified, item: Some(item) }
            }
        };
        if let Some(item) = &answer.item {
            absorb(&mut self.merged, item, self.policy);
        }
        self.answered.push((slot, answer));
    }

    /// A replica that was asked for values answered with something else.
    fn fetched_otherwise(&mut self, slot: Slot, reply: Replied) {
        if !self.fetches.iter().any(|fetch| fetch.from == slot) {
            return;
        }
        let answer = match reply {
            Replied::Copy { item, unverified } => Answer { counts: !unverified, item: Some(item) },
            // A promise that was not kept.
            Replied::Unknown => Answer { counts: false, item: None },
            // The first answer once more.
            Replied::Head { .. } => return,
        };
        self.fetches.retain(|fetch| fetch.from != slot);
        self.answered.iter_mut().filter(|(by, _)| *by == slot).for_each(|(_, kept)| *kept = answer.clone());
        self.merged = self.stood_in.clone();
        for item in self.answered.iter().filter_map(|(_, answer)| answer.item.as_ref()) {
            absorb(&mut self.merged, item, self.policy);
        }
    }

    /// Takes values that were fetched: these versions of a slot's copy, whose checksums were verified.
    pub fn add_values(&mut self, slot: Slot, part: &Siblings) {
        self.fetches.retain(|fetch| fetch.from != slot);
        let item = self.answered.iter_mut().find(|(by, _)| *by == slot).and_then(|(_, answer)| answer.item.as_mut());
        if let Some(item) = item {
            item.fill(part);
            self.merged.fill(item);
        }
    }

    /// Whether the merge has all its values: only then may it be shown, sent or stored.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.valued.is_empty() || self.lacking().next().is_none()
    }

    /// The versions of the merge whose values are known to no copy here.
    fn lacking(&self) -> impl Iterator<Item = Dot> {
        let lacks = |version: &&crate::protocol::version::Version| {
            version.value.is_empty() && self.valued.contains(&version.dot)
        };
        self.merged.versions().iter().filter(lacks).map(|version| version.dot)
    }

    /// Which values to fetch from whom, unless all that is lacking is on its way.
    pub fn next_fetch(&mut self) -> Option<(Slot, Vec<Dot>)> {
        let coming = |dot: &Dot| self.fetches.iter().any(|fetch| !fetch.slow && fetch.wanted.contains(dot));
        let open: Vec<Dot> = self.lacking().filter(|dot| !coming(dot)).collect();
        let has = |answer: &Answer, dot: Dot| {
            answer.item.as_ref().is_some_and(|item| item.versions().iter().any(|version| version.dot == dot))
        };
        let asked = |slot: Slot| self.fetches.iter().any(|fetch| fetch.from == slot);
        let from = open.iter().find_map(|dot| {
            let holder = |(slot, answer): &&(Slot, Answer)| !asked(*slot) && has(answer, *dot);
            self.answered.iter().find(holder).map(|(slot, answer)| (*slot, answer))
        });
        let (slot, answer) = from?;
        let wanted: Vec<Dot> = open.into_iter().filter(|dot| has(answer, *dot)).collect();
        self.fetches.push(Fetch { from: slot, wanted: wanted.clone(), slow: false });
        Some((slot, wanted))
    }

    /// The values on their way are late: they may be fetched from others, too.
    pub fn give_up_waiting(&mut self) {
        self.fetches.iter_mut().for_each(|fetch| fetch.slow = true);
    }

    /// Slots that were asked for values and have not sent them.
    pub fn fetching(&self) -> impl Iterator<Item = Slot> {
        self.fetches.iter().map(|fetch| fetch.from)
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
        absorb(&mut self.stood_in, item, self.policy);
        absorb(&mut self.merged, item, self.policy);
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

    /// What all answers together say. Its values are there when [`Get::is_complete`] says so.
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
        let holders: Vec<Slot> = self.slots_where(|item| item.is_alike(&self.merged));
        let differs = |item: &Siblings| !item.is_alike(&self.merged);
        let differ = self.answered.iter().any(|(_, answer)| answer.item.as_ref().is_some_and(differs));
        if differ { GetResponse::Store { holders } } else { GetResponse::Reply }
    }

    /// What is left to do for the replicas that answered.
    #[must_use]
    pub fn final_action(&self) -> GetFinal {
        let stale = self.slots_where(|item| !item.is_alike(&self.merged));
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

/// Joins an answer into what was merged so far; either may lack values that the other has.
fn absorb(merged: &mut Siblings, item: &Siblings, policy: ConflictPolicy) {
    if merged.is_empty() {
        item.clone_into(merged);
        return;
    }
    merged.fill(item);
    if !item.is_alike(merged) {
        merged.join(item, policy);
    }
}
