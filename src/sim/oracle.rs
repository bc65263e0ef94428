//! The oracle: who wrote what knowing what, and whether a state or an answer can follow from it.
//!
//! It watches from outside. Clients tell it what they send and what they are told; every committed record is shown to
//! it, which is how it learns the dot of a write that nobody was told about. Per item it keeps the graph of writes:
//!
//! ```text
//!   w1 {}        -> dot a:1
//!   w2 {a:1}     -> dot b:1     b:1 replaces a:1
//!   w3 {a:1}     -> dot a:2     a:2 replaces a:1, beside b:1
//! ```
//!
//! A state, or the context of an answer, names a past. Every dot in that past is either held, or replaced by a dot in
//! that past (no false dominance); of two held dots neither replaced the other (no false concurrency); every dot has
//! one write and one value (rule 1), and every value was written by somebody (no phantom). The work per state is linear
//! in the item's history, which the workload bounds by moving on to new keys.
//!
//! A write that two owners coordinated has two dots, and replaced under one it is replaced under both. A dot whose twin
//! was replaced may be gone, wherever somebody knew that it was one; and a coordinator that held both, and whose write
//! replaced one of them, must not keep the other. Elsewhere the oracle does not ask for it: whether an owner that met
//! the two one after the other still knew what they are, its log says, and that is not to be seen from outside.
//!
//! *Caveats.* A delete without a context replaces what its coordinator read; the oracle takes that from the record in
//! which the tombstone is first seen. In a last-writer-wins table a dot may also give way to one with a later stamp.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::finding::{Checker, Finding};
use crate::protocol::replica::ItemKey;
use crate::protocol::ring::{KeyHash, Layout, partition_of};
use crate::protocol::types::limits::{MERGED_VERSIONS_MAX, VECTOR_ENTRIES_MAX};
use crate::protocol::types::{Address, Hlc, PartitionId, WriteId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings, Version, VersionVector};

/// What a write had seen.
#[derive(Debug, Clone)]
pub(super) enum Past {
    /// The context that its client sent.
    Sent(Context),
    /// What its coordinator read.
    ReadByCoordinator,
}

/// A write as its client sent it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) item: usize,
    pub(super) tombstone: bool,
    pub(super) checksum: u64,
    pub(super) past: Past,
    /// Nodes that were asked to coordinate it, by a client or by a peer. Nobody else may give it a name (rule 3).
    pub(super) asked: Vec<u16>,
    /// The dot that a client was told, and the copies that it was told of: node, fsynced.
    pub(super) acked: Option<(Dot, Vec<(u16, bool)>)>,
}

/// What a dot's client, or its coordinator, is known to have seen.
#[derive(Debug)]
struct Known {
    context: Context,
    /// Held beside the dot when it was first seen, so not replaced by it, whatever the vector's entries cover.
    beside: Vec<Dot>,
}

impl Known {
    fn covers(&self, dot: Dot) -> bool {
        self.context.covers(dot) && !self.beside.contains(&dot)
    }
}

#[derive(Debug)]
struct Seen {
    dot: Dot,
    write_id: WriteId,
    hlc: Hlc,
    tombstone: bool,
    checksum: u64,
    past: Known,
    /// Dots that replace this one. One whose past has another of them is left out: it proves nothing more.
    replaced_by: Vec<usize>,
}

/// An item and all that happened to it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) address: Address,
    pub(super) key: ItemKey,
    pub(super) partition: PartitionId,
    pub(super) owners: Vec<u16>,
    policy: ConflictPolicy,
    dots: Vec<Seen>,
    places: BTreeMap<Dot, usize>,
    /// What a strict read that begins now must know.
    pub(super) floor: VersionVector,
    /// What some owner has reaped: deleted, and forgotten since (rule 8).
    pub(super) gone: VersionVector,
    /// What some owner has stripped from the item's past (rule 13).
    pub(super) stripped: VersionVector,
    /// Some owner has stripped an entry, also one that a newer version of its actor stands in for.
    pub(super) shortened: bool,
    /// Versions that lived on when an entry was stripped that covers them: an entry of an actor goes up to a write that
    /// was replaced, and an earlier sibling of the same actor may stand beside it. They are not over before an entry
    /// that covers them is stripped where they are not held.
    pub(super) spared: BTreeSet<Dot>,
    /// Sessions that write it, when all of them read first.
    pub(super) modifiers: Option<usize>,
    /// Attempts of writes whose outcome no client knows.
    pub(super) unknown: usize,
}

/// Everything that clients and disks showed.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) items: Vec<Item>,
    by_address: BTreeMap<Address, usize>,
    by_key: BTreeMap<Bytes, usize>,
    pub(super) writes: BTreeMap<WriteId, Write>,
    /// Most versions ever held by one item.
    pub(super) versions_max: usize,
    /// Dots that the newest commit showed for the first time.
    pub(super) newest: Vec<Dot>,
}

impl Oracle {
    /// The item at an address, taken in when it is new.
    pub(super) fn item(&mut self, address: &Address, layout: &Layout, policy: ConflictPolicy) -> usize {
        if let Some(at) = self.by_address.get(address) {
            return *at;
        }
        let hash = KeyHash::of(address, layout.parameters().hash_seed);
        let partition = partition_of(hash, layout.partition_bits());
        let key = ItemKey::new(address, hash);
        let at = self.items.len();
        self.by_key.insert(key.as_bytes().clone(), at);
        self.by_address.insert(address.clone(), at);
        self.items.push(Item {
            address: address.clone(),
            key,
            partition,
            owners: layout.owner_indices(partition).to_vec(),
            policy,
            dots: Vec::new(),
            places: BTreeMap::new(),
            floor: VersionVector::new(),
            gone: VersionVector::new(),
            stripped: VersionVector::new(),
            shortened: false,
            spared: BTreeSet::new(),
            modifiers: None,
            unknown: 0,
        });
        at
    }

    /// The place of the item with a storage key.
    pub(super) fn place_of(&self, key: &Bytes) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The item with a storage key.
    pub(super) fn item_at(&self, key: &Bytes) -> Option<&Item> {
        self.by_key.get(key).and_then(|at| self.items.get(*at))
    }

    /// A node committed a record: every state that any replica ever holds passes here.
    pub(super) fn committed(
        &mut self,
        (number, hint, old_disk): (u16, bool, bool),
        partition: PartitionId,
        key: &Bytes,
        record: &Bytes,
    ) -> Result<(), Finding> {
        let node = &format!("n{}", number + 1);
        let Some(&at) = self.by_key.get(key) else {
            let text = format!("{node} stored an item that nobody ever wrote: key {}", key.escape_ascii());
            return Err(Finding::new(Checker::Siblings, text));
        };
        let item = &self.items[at];
        // A hint lies where no copy is: with somebody who is no owner.
        if item.partition != partition || item.owners.contains(&number) == hint {
            let text = format!(
                "{node} stored {:?} in {partition}; the item belongs to {} with the owners {:?} (counted from 0)",
                item.address, item.partition, item.owners
            );
            return Err(Finding::new(Checker::Owners, text));
        }
        let state = Siblings::decode(record).map_err(|error| {
            let text = format!("{node} stored a record of {:?} that does not decode: {error}", self.items[at].address);
            Finding::new(Checker::Bounds, text)
        })?;
        self.versions_max = self.versions_max.max(state.versions().len());
        if state.vector().len() > VECTOR_ENTRIES_MAX || state.versions().len() > MERGED_VERSIONS_MAX {
            let text = format!("{node} stored {:?} over the bounds of a record", self.items[at].address);
            return Err(Finding::new(Checker::Bounds, text));
        }
        for version in state.versions() {
            self.meet(number, at, version, &state)?;
        }
        let item = &self.items[at];
        if let Some(strange) = state.vector().iter().find(|dot| !item.places.contains_key(dot)) {
            let text = format!("{node} stored {:?} with {strange} in its past, which no write has", item.address);
            return Err(Finding::new(Checker::Siblings, text));
        }
        let held: Vec<Dot> = state.versions().iter().map(|version| version.dot).collect();
        // An old disk has what was replaced since, and where the entries that say so were stripped, it learns of that
        // only when the other owners tell. Until then nobody is shown it.
        if !(old_disk && item.shortened) {
            item.concurrent(&held).map_err(|text| siblings(&format!("{node} stored {text}")))?;
        }
        item.dominated(&state.context(), &held).map_err(|text| siblings(&format!("{node} stored {text}")))
    }

    /// A copy became another one. What a coordinator held of a write under two dots, and its client replaced under one
    /// of them, is replaced: that needs no memory but the copy, when nothing else was joined to it.
    pub(super) fn took_twins_along(&self, at: usize, before: &Siblings, after: &Siblings) -> Result<(), Finding> {
        let item = &self.items[at];
        let past = before.context();
        let held = |version: &Version| before.versions().iter().any(|held| held.dot == version.dot);
        for by in after.versions().iter().filter(|version| self.newest.contains(&version.dot) && !held(version)) {
            let Some(Past::Sent(seen)) = self.writes.get(&by.write_id).map(|write| &write.past) else { continue };
            let others = after.versions().iter().filter(|version| version.dot != by.dot);
            let alone = past.descends(after.vector()) && others.clone().all(held) && before.knows_all(seen);
            for of in before.versions().iter().filter(|of| alone && seen.covers(of.dot)) {
                if let Some(twin) = others.clone().find(|version| version.write_id == of.write_id) {
                    let text = format!(
                        "{:?} with {} (write {}) beside {}, whose client replaced the same write as {}, held beside it",
                        item.address, twin.dot, twin.write_id, by.dot, of.dot
                    );
                    return Err(siblings(&text));
                }
            }
        }
        Ok(())
    }

    /// A client was told what a strict read saw. `floor` is what it had to know when it began, `gone` what was reaped
    /// by then.
    pub(super) fn read(
        &mut self,
        at: usize,
        versions: &[Version],
        context: &Context,
        (floor, gone): (&VersionVector, &VersionVector),
        who: &str,
    ) -> Result<(), Finding> {
        let item = &self.items[at];
        if let Some(back) = versions.iter().find(|version| gone.covers(version.dot)) {
            let text = format!(
                "{who} was shown {} (write {}) of {:?}, which was deleted and reaped before the read began",
                back.dot, back.write_id, item.address
            );
            return Err(Finding::new(Checker::Deletes, text));
        }
        for version in versions {
            let known = item.places.get(&version.dot).and_then(|place| item.dots.get(*place));
            let same = known.is_some_and(|seen| seen.write_id == version.write_id && seen.checksum == version.checksum);
            if !same || !version.is_intact(&item.address) {
                let text = format!(
                    "{who} was shown a value of {:?} (dot {}, write {}) that is not what its client wrote",
                    item.address, version.dot, version.write_id
                );
                return Err(Finding::new(Checker::Siblings, text));
            }
        }
        let twice = versions
            .iter()
            .enumerate()
            .find(|(place, version)| versions.iter().take(*place).any(|before| before.write_id == version.write_id));
        if let Some((_, version)) = twice {
            let text = format!("{who} was shown write {} of {:?} twice", version.write_id, item.address);
            return Err(siblings(&text));
        }
        if let Some(missing) = floor.iter().find(|dot| !context.vector.covers(*dot) && !item.is_over(*dot)) {
            let known = item.places.get(&missing).and_then(|place| item.dots.get(*place));
            let write = known.map(|seen| seen.write_id.to_string()).unwrap_or_default();
            let acked = known.and_then(|seen| self.writes.get(&seen.write_id)).is_some_and(|w| w.acked.is_some());
            let (checker, why) = if acked {
                (Checker::AckedWrites, "was acknowledged")
            } else {
                (Checker::Sessions, "was shown by a read")
            };
            let text = format!(
                "{who} read {:?} and did not see dot {missing} (write {write}), which {why} before the read began; it \
                 saw the past {:?}",
                item.address, context.vector
            );
            return Err(Finding::new(checker, text));
        }
        if let Some(modifiers) = item.modifiers
            && versions.len() > modifiers + item.unknown
        {
            let text = format!(
                "{who} was shown {} siblings of {:?}, which {modifiers} sessions write after reading, with {} attempts \
                 of unknown outcome",
                versions.len(),
                item.address,
                item.unknown
            );
            return Err(Finding::new(Checker::SiblingCount, text));
        }
        let mut held: Vec<Dot> = versions.iter().map(|version| version.dot).collect();
        // Tombstones, and second dots of a write that is shown, are there without being shown.
        let again = |seen: &Seen| versions.iter().any(|version| version.write_id == seen.write_id);
        let shown = |seen: &&Seen| context.vector.covers(seen.dot) && (seen.tombstone || again(seen));
        let beside: Vec<Dot> = item.dots.iter().filter(shown).map(|seen| seen.dot).collect();
        item.concurrent(&held).map_err(|text| siblings(&format!("{who} was shown {text}")))?;
        held.extend(beside);
        item.dominated(&context.vector, &held).map_err(|text| siblings(&format!("{who} was shown {text}")))
    }

    /// A node is asked to coordinate a write.
    pub(super) fn asked(&mut self, write_id: WriteId, node: u16) {
        if let Some(write) = self.writes.get_mut(&write_id)
            && !write.asked.contains(&node)
        {
            write.asked.push(node);
        }
    }

    /// The acknowledged write that a set of copies does not know. One is promised to survive the loss of any W - 1 of
    /// the disks that acknowledged it.
    pub(super) fn lost(
        &self,
        at: usize,
        past: &VersionVector,
        w: usize,
        damaged: &dyn Fn(u16) -> bool,
    ) -> Option<(WriteId, Dot)> {
        let acked = |seen: &Seen| {
            let (dot, copies) = self.writes.get(&seen.write_id)?.acked.as_ref()?;
            let dot = *dot;
            let owners = &self.items.get(at)?.owners;
            let stood_in = copies.iter().any(|(node, _)| !owners.contains(node));
            // What a stand-in kept went to its owner: the copy is lost with the disk that has it by then.
            let elsewhere = owners.iter().filter(|owner| stood_in && !copies.iter().any(|(node, _)| node == *owner));
            let lost = copies.iter().map(|(node, _)| node).chain(elsewhere).filter(|node| damaged(**node)).count();
            let over = self.items.get(at)?.is_over(dot);
            (!past.covers(dot) && !over && lost < w).then_some((seen.write_id, dot))
        };
        self.items.get(at)?.dots.iter().find_map(acked)
    }

    /// Takes a version in, or compares it with what it was when it was first seen.
    fn meet(&mut self, number: u16, at: usize, version: &Version, state: &Siblings) -> Result<(), Finding> {
        let node = &format!("n{}", number + 1);
        let item = &mut self.items[at];
        if let Some(seen) = item.places.get(&version.dot).and_then(|place| item.dots.get(*place)) {
            let same = seen.write_id == version.write_id
                && seen.checksum == version.checksum
                && seen.hlc == version.hlc
                && seen.tombstone == version.tombstone;
            if same && version.is_intact(&item.address) {
                return Ok(());
            }
            let text = format!(
                "{node} stored {:?} with dot {} for write {} (stamp {}), but that dot is write {} (stamp {}): one name \
                 for two writes, so one of them will be dropped as the other",
                item.address,
                version.dot,
                version.write_id,
                version.hlc.to_bits(),
                seen.write_id,
                seen.hlc.to_bits()
            );
            return Err(siblings(&text));
        }
        let written = self.writes.get(&version.write_id).filter(|write| write.item == at);
        let genuine =
            written.filter(|write| write.checksum == version.checksum && write.tombstone == version.tombstone);
        let Some(write) = genuine.filter(|_| version.is_intact(&item.address)) else {
            let text = format!(
                "{node} stored {:?} with dot {} for write {}, which no client sent for this item with this value",
                item.address, version.dot, version.write_id
            );
            return Err(siblings(&text));
        };
        if !write.asked.contains(&number) {
            let text = format!(
                "{node} stored {:?} with dot {} for write {}, which nobody has seen and which {node} was never asked \
                 to coordinate: a write that is passed on must keep its name",
                item.address, version.dot, version.write_id
            );
            return Err(siblings(&text));
        }
        let past = match &write.past {
            Past::Sent(context) => Known { context: context.clone(), beside: Vec::new() },
            Past::ReadByCoordinator => Known {
                context: Context { vector: state.vector().clone(), own: None, hlc: Hlc::ZERO },
                beside: state.versions().iter().map(|held| held.dot).collect(),
            },
        };
        item.take_in(version, past);
        self.newest.push(version.dot);
        Ok(())
    }
}

impl Item {
    fn take_in(&mut self, version: &Version, past: Known) {
        let place = self.dots.len();
        for at in 0..place {
            let dots = &self.dots;
            if !past.covers(dots[at].dot) || dots[at].dot == version.dot {
                continue;
            }
            let proven = dots[at].replaced_by.iter().any(|by| past.covers(dots[*by].dot));
            if !proven {
                self.dots[at].replaced_by.push(place);
            }
        }
        // A request that two owners coordinated, because the first was silent: either dot may be seen alone.
        self.unknown += usize::from(self.dots.iter().any(|seen| seen.write_id == version.write_id));
        self.places.insert(version.dot, place);
        self.dots.push(Seen {
            dot: version.dot,
            write_id: version.write_id,
            hlc: version.hlc,
            tombstone: version.tombstone,
            checksum: version.checksum,
            past,
            replaced_by: Vec::new(),
        });
    }

    /// Whether an owner may know nothing of a dot any more: it was deleted and reaped, or replaced and stripped.
    pub(super) fn is_over(&self, dot: Dot) -> bool {
        self.gone.covers(dot) || self.stripped.covers(dot) && !self.spared.contains(&dot)
    }

    /// Every dot that a commit ever showed.
    pub(super) fn all_dots(&self) -> impl Iterator<Item = Dot> {
        self.dots.iter().map(|seen| seen.dot)
    }

    /// How many writes the item has seen.
    pub(super) fn writes(&self) -> usize {
        self.dots.len()
    }

    fn seen(&self, dot: Dot) -> Option<&Seen> {
        self.places.get(&dot).and_then(|place| self.dots.get(*place))
    }

    /// No false concurrency.
    fn concurrent(&self, held: &[Dot]) -> Result<(), String> {
        let seen: Vec<&Seen> = held.iter().filter_map(|dot| self.seen(*dot)).collect();
        if self.policy == ConflictPolicy::LastWriterWins && held.len() > 1 {
            return Err(format!("{:?}, a last-writer-wins item, with {} versions", self.address, held.len()));
        }
        for by in &seen {
            if let Some(of) = seen.iter().find(|of| of.dot != by.dot && by.past.covers(of.dot)) {
                let stripped = if self.stripped.covers(of.dot) { ", and whose entry was stripped since" } else { "" };
                return Err(format!(
                    "{:?} with {} (write {}{stripped}) beside {} (write {}), whose client had seen the former and \
                     replaced it",
                    self.address, of.dot, of.write_id, by.dot, by.write_id
                ));
            }
        }
        Ok(())
    }

    /// No false dominance.
    fn dominated(&self, past: &VersionVector, held: &[Dot]) -> Result<(), String> {
        let winner = held.iter().filter_map(|dot| self.seen(*dot)).map(|seen| (seen.hlc, seen.dot)).max();
        let dropped = |seen: &&Seen| past.covers(seen.dot) && !held.contains(&seen.dot) && !self.gone.covers(seen.dot);
        for seen in self.dots.iter().filter(dropped) {
            let known = |by: &usize| past.covers(self.dots[*by].dot) || self.is_over(self.dots[*by].dot);
            let over = |of: &Seen| of.replaced_by.iter().any(known);
            let twin = |of: &Seen| of.write_id == seen.write_id && over(of);
            let replaced = over(seen) || self.policy == ConflictPolicy::Siblings && self.dots.iter().any(twin);
            let outlived = self.policy == ConflictPolicy::LastWriterWins
                && winner.is_some_and(|winner| winner > (seen.hlc, seen.dot));
            if !replaced && !outlived {
                return Err(format!(
                    "{:?} without {} (write {}{}), though its past {past:?} claims to know that write and nothing in \
                     that past replaced it: the write is dropped, and no client wanted that",
                    self.address,
                    seen.dot,
                    seen.write_id,
                    if seen.tombstone { ", a delete" } else { "" }
                ));
            }
        }
        Ok(())
    }
}

fn siblings(text: &str) -> Finding {
    Finding::new(Checker::Siblings, text.to_owned())
}
