//! Rumours: about whom there is news, and how often it was told.
//!
//! The queue names members only; what is told is what the table says at that moment, so a rumour is never older than
//! the table, and there is at most one per member. Least told goes first, then newest first (memberlist's rule).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::table::Place;

/// Rumours waiting at once: news of 4,096 members is 113 datagrams, seven seconds of telling at full rate. What is
/// dropped beyond, the most often told first, is found by comparing digests.
pub(super) const RUMOURS_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    told: u32,
    serial: Reverse<u64>,
    about: Place,
}

#[derive(Debug, Clone, Copy)]
struct Rumour {
    turn: Turn,
    accuser: Place,
}

/// The rumours that are still being told.
#[derive(Debug, Clone, Default)]
pub(super) struct Rumours {
    waiting: BTreeMap<Place, Rumour>,
    turns: BTreeSet<Turn>,
    serial: u64,
}

impl Rumours {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// There is news about a member; who accuses it matters only while it is a suspect. False when another rumour had
    /// to go.
    pub(super) fn push(&mut self, about: Place, accuser: Place) -> bool {
        self.remove(about);
        self.serial += 1;
        let turn = Turn { told: 0, serial: Reverse(self.serial), about };
        self.waiting.insert(about, Rumour { turn, accuser });
        self.turns.insert(turn);
        let full = self.waiting.len() > RUMOURS_MAX;
        if let Some(last) = self.turns.last().filter(|_| full).copied() {
            self.remove(last.about);
        }
        !full
    }

    pub(super) fn remove(&mut self, about: Place) {
        if let Some(rumour) = self.waiting.remove(&about) {
            self.turns.remove(&rumour.turn);
        }
    }

    /// Offers the rumours in turn until one is not taken, and counts those that were; one told often enough is
    /// forgotten.
    pub(super) fn tell(&mut self, tellings: u32, mut take: impl FnMut(Place, Place) -> bool) {
        let mut told = Vec::new();
        for turn in &self.turns {
            let Some(rumour) = self.waiting.get(&turn.about) else { continue };
            if !take(turn.about, rumour.accuser) {
                break;
            }
            told.push(*turn);
        }
        for turn in told {
            self.turns.remove(&turn);
            let next = Turn { told: turn.told + 1, ..turn };
            if next.told >= tellings {
                self.waiting.remove(&turn.about);
            } else if let Some(rumour) = self.waiting.get_mut(&turn.about) {
                rumour.turn = next;
                self.turns.insert(next);
            }
        }
    }

    /// Moves everything to the places of another roster.
    pub(super) fn remap(&mut self, to: impl Fn(Place) -> Option<Place>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.turns.clear();
        for rumour in waiting.into_values() {
            let (Some(about), Some(accuser)) = (to(rumour.turn.about), to(rumour.accuser)) else { continue };
            let turn = Turn { about, ..rumour.turn };
            self.turns.insert(turn);
            self.waiting.insert(about, Rumour { turn, accuser });
        }
    }
}
