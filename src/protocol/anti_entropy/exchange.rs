//! One exchange, as the replica sees it that began it.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::protocol::merkle::{FANOUT, Tree, running_hash};

/// Items on their way at once.
const MOVING_MAX: usize = 8;

/// Whose items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This replica's.
    Ours,
    /// The other one's.
    Theirs,
}

/// An item that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its key.
    pub key: Bytes,
    /// The other replica has something there.
    pub theirs: bool,
}

/// What the exchange wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The other replica's sums of the leaves below these inner nodes; when there are none, of the inner nodes, unless
    /// the roots are equal: then none.
    Compare(Vec<u8>),
    /// A pause, then [`Exchange::handle_pause`].
    Pause,
    /// A page of this replica's items of a leaf, after a key.
    List(u16, Bytes),
    /// The other replica's items of a stretch, unless they are the same.
    Match(Stretch),
    /// An item made the same on both sides, then [`Exchange::handle_moved`].
    Move(Difference),
    /// It is over.
    Done(Outcome),
}

/// A stretch of a leaf, and what this replica has in it: what a page of 1,024 items comes down to when both have the
/// same ones, however many items a wide key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which leaf.
    pub leaf: u16,
    /// Strictly after this key; empty for the leaf's beginning.
    pub after: Bytes,
    /// Up to this key, inclusive; empty for the leaf's end.
    pub until: Bytes,
    /// The running hash of this replica's items in it.
    pub hash: u64,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that differed and could be read was made equal.
    Completed {
        /// So many items.
        moved: u64,
        /// So many could not be read on one side: they have to be restored before the two agree.
        unreadable: u64,
        /// So many are obsolete on one side and not yet reaped on the other.
        obsolete: u64,
    },
    /// Something could not be read, sent or confirmed.
    Failed,
}

/// What became of an item that was to be made the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is the same.
    Equal,
    /// One side's copy is damaged, or its disk has no room for it: the two do not agree, and others may be moved.
    Unreadable,
    /// One side knows that it is obsolete, the other has yet to reap it (rule 8).
    Obsolete,
    /// It was not sent, or not confirmed.
    Failed,
}

/// One side's items of the leaf that is being compared.
#[derive(Debug, Default)]
struct Pages {
    items: VecDeque<(Bytes, u64)>,
    /// Everything up to this key is known.
    last: Bytes,
    /// Ours: there is nothing in the leaf after these. Theirs: everything up to the last of ours was told.
    ended: bool,
    asked: bool,
}

#[derive(Debug)]
enum Stage {
    Inner,
    Leaves,
    Pause,
    LeavesAgain,
    Items,
    Over,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    stage: Stage,
    /// Inner nodes that differ.
    inner: Vec<u8>,
    /// Leaves that differed the first time.
    suspects: BTreeSet<u16>,
    /// Leaves to be compared item by item; the first is being compared.
    leaves: VecDeque<u16>,
    ours: Pages,
    theirs: Pages,
    pending: VecDeque<Difference>,
    moving: usize,
    moved: u64,
    unreadable: u64,
    obsolete: u64,
    steps: VecDeque<Step>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

impl Exchange {
    /// Begins by asking for the inner sums.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stage: Stage::Inner,
            inner: Vec::new(),
            suspects: BTreeSet::new(),
            leaves: VecDeque::new(),
            ours: Pages::default(),
            theirs: Pages::default(),
            pending: VecDeque::new(),
            moving: 0,
            moved: 0,
            unreadable: 0,
            obsolete: 0,
            steps: VecDeque::from([Step::Compare(Vec::new())]),
        }
    }

    /// What is to be done next, in order.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The other replica's sums came. Too few or too many are no answer.
    pub fn handle_sums(&mut self, ours: &Tree, theirs: &[u64]) {
        if !ours.is_ready() {
            return self.end(Outcome::Failed);
        }
        match self.stage {
            Stage::Inner if theirs.is_empty() => self.end(Outcome::Completed { moved: 0, unreadable: 0, obsolete: 0 }),
            Stage::Inner if theirs.len() == FANOUT => {
                let differs = |(at, (ours, theirs)): (u8, (&u64, &u64))| (ours != theirs).then_some(at);
                self.inner = (0..).zip(ours.inner().iter().zip(theirs)).filter_map(differs).collect();
                if self.inner.is_empty() {
                    return self.end(Outcome::Completed { moved: 0, unreadable: 0, obsolete: 0 });
                }
                self.stage = Stage::Leaves;
                self.steps.push_back(Step::Compare(self.inner.clone()));
            }
            Stage::Leaves if theirs.len() == self.inner.len() * FANOUT => {
                self.suspects = self.differing(ours, theirs);
                if self.suspects.is_empty() {
                    return self.end(Outcome::Completed { moved: 0, unreadable: 0, obsolete: 0 });
                }
                self.stage = Stage::Pause;
                self.steps.push_back(Step::Pause);
            }
            Stage::LeavesAgain if theirs.len() == self.inner.len() * FANOUT => {
                let again = self.differing(ours, theirs);
                self.leaves = self.suspects.intersection(&again).copied().collect();
                self.stage = Stage::Items;
                self.begin_leaf();
                self.compare_items();
            }
            _ => self.end(Outcome::Failed),
        }
    }

    /// The pause is over.
    pub fn handle_pause(&mut self) {
        if matches!(self.stage, Stage::Pause) {
            self.stage = Stage::LeavesAgain;
            self.steps.push_back(Step::Compare(self.inner.clone()));
        }
    }

    /// A page of a side's items came. One that does not rise ends the exchange: it would never end by itself.
    pub fn handle_items(&mut self, side: Side, items: Vec<(Bytes, u64)>, more: bool) {
        let until = self.until();
        let pages = match side {
            Side::Ours => &mut self.ours,
            Side::Theirs => &mut self.theirs,
        };
        if !pages.asked {
            return;
        }
        pages.asked = false;
        let mut last = pages.last.clone();
        for (key, _) in &items {
            let beyond = side == Side::Theirs && !until.is_empty() && *key > until;
            if *key <= last || beyond {
                return self.end(Outcome::Failed);
            }
            last = key.clone();
        }
        pages.ended = !more || items.is_empty();
        pages.last = last;
        pages.items.extend(items);
        match side {
            // A new stretch: of the other side nothing is known in it.
            Side::Ours => self.theirs.ended = false,
            Side::Theirs if self.theirs.ended => self.theirs.last = until,
            Side::Theirs => {}
        }
        self.compare_items();
    }

    /// The other replica has the same items in the stretch.
    pub fn handle_match(&mut self) {
        if !self.theirs.asked {
            return;
        }
        self.theirs.asked = false;
        self.theirs.ended = true;
        self.theirs.last = self.until();
        self.ours.items.clear();
        self.compare_items();
    }

    /// Up to where the present stretch goes; empty for the leaf's end.
    fn until(&self) -> Bytes {
        if self.ours.ended { Bytes::new() } else { self.ours.last.clone() }
    }

    /// An item is the same on both sides now, or could not be made so.
    pub fn handle_moved(&mut self, moved: Moved) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        match moved {
            Moved::Failed => return self.end(Outcome::Failed),
            Moved::Equal => self.moved += 1,
            Moved::Unreadable => self.unreadable += 1,
            Moved::Obsolete => self.obsolete += 1,
        }
        self.moving = self.moving.saturating_sub(1);
        self.compare_items();
    }

    /// Something that the exchange needs cannot be had.
    pub fn fail(&mut self) {
        self.end(Outcome::Failed);
    }

    fn differing(&self, ours: &Tree, theirs: &[u64]) -> BTreeSet<u16> {
        let mut differing = BTreeSet::new();
        for (inner, theirs) in self.inner.iter().zip(theirs.chunks(FANOUT)) {
            let first = u16::from(*inner) * u16::try_from(FANOUT).expect("64 fits");
            for (leaf, (ours, theirs)) in (first..).zip(ours.leaves(usize::from(*inner)).iter().zip(theirs)) {
                if ours != theirs {
                    differing.insert(leaf);
                }
            }
        }
        differing
    }

    fn begin_leaf(&mut self) {
        self.ours = Pages::default();
        // Of no stretch is everything known.
        self.theirs = Pages { ended: true, ..Pages::default() };
    }

    /// Asks for what is compared next: a page of ours, then theirs of the same stretch.
    fn ask_page(&mut self) {
        let Some(leaf) = self.leaves.front().copied() else { return };
        if self.ours.asked || self.theirs.asked {
            return;
        }
        if self.theirs.ended {
            self.ours.asked = true;
            self.steps.push_back(Step::List(leaf, self.ours.last.clone()));
            return;
        }
        self.theirs.asked = true;
        let (after, until) = (self.theirs.last.clone(), self.until());
        let hash = running_hash(self.ours.items.iter().map(|(key, hash)| (key, *hash)));
        self.steps.push_back(Step::Match(Stretch { leaf, after, until, hash }));
    }

    /// Walks both lists in step, as far as both are known.
    fn compare_items(&mut self) {
        while !self.leaves.is_empty() {
            let unknown = self.theirs.items.is_empty() && !self.theirs.ended;
            let done = self.ours.items.is_empty() && self.theirs.items.is_empty() && self.theirs.ended;
            if unknown || (done && !self.ours.ended) {
                self.ask_page();
                break;
            }
            // The next keys are compared only when there is room for what may come of it.
            if self.pending.len() >= MOVING_MAX {
                break;
            }
            match (self.ours.items.front(), self.theirs.items.front()) {
                (None, None) => {
                    self.leaves.pop_front();
                    self.begin_leaf();
                }
                (Some((key, _)), None) => {
                    self.pending.push_back(Difference { key: key.clone(), theirs: false });
                    self.ours.items.pop_front();
                }
                (None, Some((key, _))) => {
                    self.pending.push_back(Difference { key: key.clone(), theirs: true });
                    self.theirs.items.pop_front();
                }
                (Some((ours, our_hash)), Some((theirs, their_hash))) => {
                    let order = ours.cmp(theirs);
                    if order.is_lt() {
                        self.pending.push_back(Difference { key: ours.clone(), theirs: false });
                    } else if order.is_gt() || our_hash != their_hash {
                        self.pending.push_back(Difference { key: theirs.clone(), theirs: true });
                    }
                    if order.is_le() {
                        self.ours.items.pop_front();
                    }
                    if order.is_ge() {
                        self.theirs.items.pop_front();
                    }
                }
            }
        }
        while self.moving < MOVING_MAX {
            let Some(difference) = self.pending.pop_front() else { break };
            self.moving += 1;
            self.steps.push_back(Step::Move(difference));
        }
        if self.leaves.is_empty() && self.moving == 0 && self.pending.is_empty() {
            let Self { moved, unreadable, obsolete, .. } = *self;
            self.end(Outcome::Completed { moved, unreadable, obsolete });
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if !matches!(self.stage, Stage::Over) {
            self.stage = Stage::Over;
            self.steps.clear();
            self.steps.push_back(Step::Done(outcome));
        }
    }
}
