//! Rumours: about whom there is news, and how often it was told.
//!
//! ```text
//!   told 0:  newest .. oldest           a message takes from the front, the least told first,
//!   told 1:  told first .. told last    and what it took goes behind those that were told as often
//!   told 2:  ..                         until it was told often enough
//! ```
//!
//! The queue names members only; what is told is what the table says at that moment, so a rumour is never older than
//! the table, and there is at most one per member. Least told goes first, and of those never told the newest
//! (memberlist's rule). Lists in flat memory: when a large cluster starts at once, every member tells of all others,
//! and ordered trees were nine tenths of the work.

use slab::Slab;

use super::table::Place;

/// Rumours waiting at once: news of 4,096 members is 113 datagrams, seven seconds of telling at full rate. What is
/// dropped beyond, the most often told first, is found by comparing digests.
pub(super) const RUMOURS_MAX: usize = 4_096;

/// No rumour: the end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Rumour {
    about: Place,
    /// Who accuses it; matters only while it is a suspect.
    accuser: Place,
    told: u32,
    before: u32,
    after: u32,
}

/// The rumours that were told equally often.
#[derive(Debug, Clone, Copy)]
struct Row {
    first: u32,
    last: u32,
}

/// The rumours that are still being told.
#[derive(Debug, Clone, Default)]
pub(super) struct Rumours {
    held: Slab<Rumour>,
    /// By how often they were told.
    rows: Vec<Row>,
    /// By place of the member that they are about.
    about: Vec<u32>,
}

impl Rumours {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// There is news about a member. False when another rumour had to go.
    pub(super) fn push(&mut self, about: Place, accuser: Place) -> bool {
        self.remove(about);
        let full = self.len() == RUMOURS_MAX;
        if full && let Some(row) = self.rows.iter().rev().find(|row| row.last != NONE) {
            let about = self.at(row.last).about;
            self.remove(about);
        }
        let slot = self.insert(Rumour { about, accuser, told: 0, before: NONE, after: NONE });
        let row = self.row(0);
        let second = std::mem::replace(&mut row.first, slot);
        match second {
            NONE => row.last = slot,
            _ => self.at_mut(second).before = slot,
        }
        self.at_mut(slot).after = second;
        !full
    }

    pub(super) fn remove(&mut self, about: Place) {
        let Some(slot) = self.about.get(about.as_index()).copied().filter(|slot| *slot != NONE) else { return };
        self.unlink(slot);
        self.about[about.as_index()] = NONE;
        self.held.remove(index(slot));
    }

    /// Offers the rumours in turn until one is not taken, and counts those that were; one told often enough is
    /// forgotten.
    pub(super) fn tell(&mut self, tellings: u32, mut take: impl FnMut(Place, Place) -> bool) {
        let mut told = Vec::new();
        'rows: for row in &self.rows {
            let mut slot = row.first;
            while slot != NONE {
                let rumour = self.at(slot);
                if !take(rumour.about, rumour.accuser) {
                    break 'rows;
                }
                told.push(slot);
                slot = rumour.after;
            }
        }
        // Only now: nothing is told twice in one message.
        for slot in told {
            let rumour = *self.at(slot);
            if rumour.told + 1 >= tellings {
                self.remove(rumour.about);
            } else {
                self.unlink(slot);
                self.at_mut(slot).told += 1;
                self.append(slot);
            }
        }
    }

    /// Moves everything to the places of another roster.
    pub(super) fn remap(&mut self, to: impl Fn(Place) -> Option<Place>) {
        let before = std::mem::take(self);
        for row in &before.rows {
            let mut slot = row.first;
            while slot != NONE {
                let rumour = *before.at(slot);
                slot = rumour.after;
                let (Some(about), Some(accuser)) = (to(rumour.about), to(rumour.accuser)) else { continue };
                let slot = self.insert(Rumour { about, accuser, ..rumour });
                self.append(slot);
            }
        }
    }

    fn insert(&mut self, rumour: Rumour) -> u32 {
        let place = rumour.about.as_index();
        if self.about.len() <= place {
            self.about.resize(place + 1, NONE);
        }
        let slot = u32::try_from(self.held.insert(rumour)).expect("at most RUMOURS_MAX");
        self.about[place] = slot;
        slot
    }

    /// Puts a rumour behind those that were told as often.
    fn append(&mut self, slot: u32) {
        let told = self.at(slot).told;
        let row = self.row(told);
        let last = std::mem::replace(&mut row.last, slot);
        match last {
            NONE => row.first = slot,
            _ => self.at_mut(last).after = slot,
        }
        let rumour = self.at_mut(slot);
        rumour.before = last;
        rumour.after = NONE;
    }

    fn unlink(&mut self, slot: u32) {
        let Rumour { told, before, after, .. } = *self.at(slot);
        match before {
            NONE => self.row(told).first = after,
            _ => self.at_mut(before).after = after,
        }
        match after {
            NONE => self.row(told).last = before,
            _ => self.at_mut(after).before = before,
        }
    }

    fn row(&mut self, told: u32) -> &mut Row {
        let told = index(told);
        if self.rows.len() <= told {
            self.rows.resize(told + 1, Row { first: NONE, last: NONE });
        }
        &mut self.rows[told]
    }

    fn at(&self, slot: u32) -> &Rumour {
        &self.held[index(slot)]
    }

    fn at_mut(&mut self, slot: u32) -> &mut Rumour {
        &mut self.held[index(slot)]
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("an index of memory")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What a message with so much room tells.
    fn told(rumours: &mut Rumours, tellings: u32, room: usize) -> Vec<usize> {
        let mut told = Vec::new();
        rumours.tell(tellings, |about, _| {
            let fits = told.len() < room;
            if fits {
                told.push(about.as_index());
            }
            fits
        });
        told
    }

    #[test]
    fn least_told_goes_first_then_the_newest() {
        let mut rumours = Rumours::default();
        for about in 1..=3 {
            rumours.push(Place::new(about), Place::new(0));
        }
        assert_eq!(told(&mut rumours, 3, 2), [3, 2]);
        assert_eq!(told(&mut rumours, 3, 2), [1, 3]);
        rumours.push(Place::new(4), Place::new(0));
        assert_eq!(told(&mut rumours, 3, 9), [4, 2, 1, 3]);
        // 3 was told three times; news of a member that is already talked about counts anew.
        rumours.push(Place::new(2), Place::new(0));
        assert_eq!(told(&mut rumours, 3, 9), [2, 4, 1]);
        assert_eq!(told(&mut rumours, 3, 9), [2, 4]);
        assert_eq!(told(&mut rumours, 3, 9), [2]);
        assert!(rumours.is_empty());
    }

    #[test]
    fn beyond_the_bound_the_most_often_told_is_dropped() {
        let mut rumours = Rumours::default();
        assert!(rumours.push(Place::new(0), Place::new(0)));
        told(&mut rumours, 9, 1);
        for about in 1..RUMOURS_MAX {
            assert!(rumours.push(Place::new(about), Place::new(0)));
        }
        assert!(!rumours.push(Place::new(RUMOURS_MAX), Place::new(0)));
        assert_eq!(rumours.len(), RUMOURS_MAX);
        let all = told(&mut rumours, 1, usize::MAX);
        assert_eq!(all, (1..=RUMOURS_MAX).rev().collect::<Vec<_>>());
    }

    proptest! {
        /// Against a plain list that is sorted by how often each was told.
        #[test]
        fn rumours_are_told_as_often_as_they_should(steps in vec((0_usize..12, 0_u8..4, 0_usize..5), 1..200)) {
            let mut rumours = Rumours::default();
            let mut model: Vec<(usize, u32)> = Vec::new();
            for (about, action, room) in steps {
                match action {
                    0 => {
                        rumours.push(Place::new(about), Place::new(0));
                        model.retain(|(member, _)| *member != about);
                        model.push((about, 0));
                    }
                    1 => {
                        rumours.remove(Place::new(about));
                        model.retain(|(member, _)| *member != about);
                    }
                    2 => rumours.remap(Some),
                    _ => {
                        let mut least: Vec<u32> = model.iter().map(|(_, told)| *told).collect();
                        least.sort_unstable();
                        least.truncate(room);
                        let mut told_before = Vec::new();
                        for about in told(&mut rumours, 3, room) {
                            let at = model.iter().position(|(member, _)| *member == about);
                            let (_, times) = model.remove(at.expect("one that waits"));
                            told_before.push(times);
                            if times + 1 < 3 {
                                model.push((about, times + 1));
                            }
                        }
                        prop_assert_eq!(told_before, least);
                    }
                }
                prop_assert_eq!(rumours.len(), model.len());
            }
        }
    }
}
