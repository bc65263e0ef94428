//! Checker 4: deletes stay deleted, and what may be forgotten is forgotten no earlier (rules 8 and 13).
//!
//! An item that an owner removes was deleted in every version that it held there, or is one that is gone already; at
//! the first removal every other owner knows all that the removed copy knew, and no hint for the item has been lying
//! about. From then on no owner stores a value of it again, and no strict read that begins shows one. The first owner
//! that strips an entry of a past does so when every other owner knows that entry.
//!
//! *Caveats.* What a damaged node knows, holds or takes in proves nothing: it may have lost its clock.

use bytes::Bytes;

use super::finding::{Checker, Finding};
use super::world::World;
use crate::protocol::replica::{ItemKey, KeyKind, Mutation, open_copy};
use crate::protocol::version::{Dot, Siblings, VersionVector};

/// A round of reaping may go by what a member said so long ago.
const HINT_AGE_NS: u64 = 6_000_000_000;

impl World {
    /// A node changed a record of an item, or of a hint for one.
    pub(super) fn committed(&mut self, number: u16, mutation: &Mutation, before: Option<Bytes>) -> Result<(), Finding> {
        let hint = ItemKey::from_hint_bytes(mutation.key.clone()).and_then(|key| key.hint_parts());
        let key = hint.map_or(mutation.key.clone(), |(_, _, item)| item.as_bytes().clone());
        let hint = mutation.key.first() == Some(&(KeyKind::Hint as u8));
        if hint {
            let at = (number, mutation.key.clone());
            match &mutation.value {
                Some(_) => drop(self.hints.insert(at, self.now)),
                None => drop(self.hints.remove(&at)),
            }
        }
        let stored = mutation.value.as_ref();
        let at = self.oracle.place_of(&key).filter(|_| !hint);
        // A damaged record that is replaced by what others have proves nothing.
        let before = before.zip(at).and_then(|(record, at)| open_copy(&self.oracle.items[at].address, &record).ok());
        // First, for it says which entries of a past are missing with good reason.
        if let (Some(at), Some(before), Some(after)) = (at, &before, stored.and_then(|it| Siblings::decode(it).ok())) {
            self.stripped(number, at, before, &after)?;
        }
        if let Some(record) = stored {
            let old_disk = self.nodes.get(usize::from(number)).is_some_and(|node| node.damaged);
            self.oracle.committed((number, hint, old_disk), mutation.partition, &key, record)?;
            if let (Some(at), Some(before), Ok(after)) = (at, &before, Siblings::decode(record)) {
                self.oracle.took_twins_along(at, before, &after)?;
            }
        }
        match (at, before, stored) {
            (Some(at), Some(before), None) => self.reaped(number, at, &before),
            (Some(at), _, Some(record)) => self.stays_gone(number, at, record),
            _ => Ok(()),
        }
    }

    fn reaped(&mut self, number: u16, at: usize, before: &Siblings) -> Result<(), Finding> {
        let item = &self.oracle.items[at];
        let node = format!("n{}", number + 1);
        let address = &item.address;
        if let Some(live) = before.versions().iter().find(|held| !held.tombstone && !item.gone.covers(held.dot)) {
            let text = format!("{node} removed {address:?} with {}, a value that nobody has deleted", live.dot);
            return Err(Finding::new(Checker::Deletes, text));
        }
        let past = before.context();
        if !item.gone.descends(&past) {
            if let Some((other, why)) = self.ignorant(number, at, &past.iter().collect::<Vec<_>>()) {
                let text = format!("{node} reaped {address:?} with the past {past:?} too early: n{} {why}", other + 1);
                return Err(Finding::new(Checker::Deletes, text));
            }
            let old = self.hints.iter().find(|((_, hint), since)| {
                let of = ItemKey::from_hint_bytes(hint.clone()).and_then(|key| key.hint_parts());
                of.is_some_and(|(_, _, key)| key == item.key) && **since + HINT_AGE_NS < self.now
            });
            // With its disk a node loses its hints too.
            let old = old.filter(|((keeper, hint), _)| {
                let disk = self.nodes.get(usize::from(*keeper)).map(|node| &node.disk);
                disk.is_some_and(|disk| disk.stored_hints().any(|(key, _)| key == hint))
            });
            if let Some(((keeper, _), since)) = old {
                let text = format!(
                    "{node} reaped {address:?} while n{} has kept a hint for it since {} ms",
                    keeper + 1,
                    since / 1_000_000
                );
                return Err(Finding::new(Checker::Deletes, text));
            }
            self.tally.reaped += 1;
        }
        self.oracle.items[at].gone.join(&past);
        Ok(())
    }

    fn stripped(&mut self, number: u16, at: usize, before: &Siblings, after: &Siblings) -> Result<(), Finding> {
        let (was, is) = (before.context(), after.context());
        let mut entries = VersionVector::new();
        was.iter().filter(|dot| !is.covers(*dot)).for_each(|dot| entries.add(dot));
        let item = &mut self.oracle.items[at];
        item.shortened |= !after.vector().descends(before.vector());
        let item = &self.oracle.items[at];
        if entries.is_empty() {
            return Ok(());
        }
        if let Some(held) = before.versions().iter().find(|held| !after.knows(held.dot)) {
            let text = format!("n{} lost {} of {:?} with its past", number + 1, held.dot, item.address);
            return Err(Finding::new(Checker::AckedWrites, text));
        }
        // An entry may go up past a sibling of its actor that still stands: that one stays, and is not over yet.
        let ended: Vec<Dot> =
            item.spared.iter().filter(|dot| entries.covers(**dot) && !is.covers(**dot)).copied().collect();
        if ended.is_empty() && item.stripped.descends(&entries) {
            return Ok(());
        }
        let proven: Vec<Dot> = entries.iter().chain(ended.iter().copied()).collect();
        if let Some((other, why)) = self.ignorant(number, at, &proven) {
            let text = format!(
                "n{} stripped {entries:?} from {:?} without proof: n{} {why}",
                number + 1,
                item.address,
                other + 1
            );
            return Err(Finding::new(Checker::Deletes, text));
        }
        self.tally.stripped += 1;
        let item = &mut self.oracle.items[at];
        item.spared.retain(|dot| !ended.contains(dot));
        let kept = after.versions().iter().map(|held| held.dot);
        item.spared.extend(kept.filter(|dot| entries.covers(*dot) && !item.stripped.covers(*dot)));
        item.stripped.join(&entries);
        Ok(())
    }

    /// Another owner, undamaged, that does not know all of a past.
    fn ignorant(&self, number: u16, at: usize, past: &[Dot]) -> Option<(u16, String)> {
        let item = &self.oracle.items[at];
        item.owners.iter().filter(|owner| **owner != number).find_map(|owner| {
            let node = &self.nodes[usize::from(*owner)];
            let record = node.disk.held(item.partition, item.key.as_bytes());
            let held = match record.map(|record| open_copy(&item.address, record)) {
                None => VersionVector::new(),
                Some(Ok(held)) => held.context(),
                Some(Err(_)) => return None,
            };
            let missing = past.iter().find(|dot| !held.covers(**dot) && !item.is_over(**dot))?;
            (!node.damaged).then(|| (*owner, format!("does not know {missing}; it has {held:?}")))
        })
    }

    /// No owner stores a value again that is gone.
    fn stays_gone(&self, number: u16, at: usize, record: &Bytes) -> Result<(), Finding> {
        let Ok(state) = Siblings::decode(record) else { return Ok(()) };
        let item = &self.oracle.items[at];
        let back = state.versions().iter().find(|held| !held.tombstone && item.gone.covers(held.dot));
        match back.filter(|_| self.nodes.get(usize::from(number)).is_some_and(|node| !node.damaged)) {
            None => Ok(()),
            Some(back) => {
                let text = format!(
                    "n{} stored {} (write {}) of {:?} again, which was deleted and reaped",
                    number + 1,
                    back.dot,
                    back.write_id,
                    item.address
                );
                Err(Finding::new(Checker::Deletes, text))
            }
        }
    }
}
