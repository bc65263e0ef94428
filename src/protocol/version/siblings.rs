//! The state of one item: its concurrent versions and the past that they replaced.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::{Context, Dot, VersionVector};
use crate::protocol::types::{Address, Hlc, WriteId};

/// What a table does with concurrent versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum ConflictPolicy {
    /// Keep every concurrent version and show all of them to the reader.
    #[default]
    Siblings,
    /// Keep the greatest (HLC, dot) only. A coordinator's HLC is first raised above everything it knows of the item,
    /// so a later write always wins over what its client had read.
    LastWriterWins,
}

/// One write's value, or its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The write's name.
    pub dot: Dot,
    /// When its coordinator stamped it.
    pub hlc: Hlc,
    /// The client's name for it.
    pub write_id: WriteId,
    /// A delete: a version without a value.
    pub tombstone: bool,
    /// Wall milliseconds after which a coordinator may turn it into a tombstone; 0 for never.
    pub expires_at: u64,
    /// End-to-end checksum over address, write id, kind and value, made where the value entered ([`checksum`]).
    pub checksum: u64,
    /// The value; empty for a tombstone.
    pub value: Bytes,
}

impl Version {
    /// Whether both are the same but for the bytes of their values.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.dot == other.dot
            && self.checksum == other.checksum
            && self.hlc == other.hlc
            && self.write_id == other.write_id
            && self.tombstone == other.tombstone
            && self.expires_at == other.expires_at
    }

    /// Whether the value is still the one that the client sent to this address.
    #[must_use]
    pub fn is_intact(&self, address: &Address) -> bool {
        self.checksum == checksum(address, self.write_id, self.tombstone, &self.value)
    }
}

/// The end-to-end checksum: XXH3-64 over the lengths and bytes of address, write id, kind and value.
/// It finds damage on the way and on disks; it is no defence against a forger, whom mutual TLS keeps out.
#[must_use]
pub fn checksum(address: &Address, write_id: WriteId, tombstone: bool, value: &[u8]) -> u64 {
    let part = |bytes: &Bytes| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut hash = Xxh3Default::new();
    for bytes in [address.table().as_bytes(), address.key(), address.sort()] {
        hash.update(&part(bytes));
        hash.update(bytes);
    }
    hash.update(&write_id.as_u128().to_be_bytes());
    hash.update(&[u8::from(tombstone)]);
    hash.update(value);
    hash.digest()
}

/// The state of an item: versions sorted by dot, and the vector of what they replaced.
///
/// A dot that the vector covers and that is no version here is known to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Siblings {
    vector: VersionVector,
    versions: Vec<Version>,
}

/// What [`Siblings::retire`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Versions that were dropped.
    pub versions: usize,
    /// So many of them had a value.
    pub values: usize,
    /// Versions that were not.
    pub rest: usize,
}

/// An item as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Concurrent live versions, one per write, by rising dot. Empty when the item is absent or deleted.
    pub live: Vec<Version>,
    /// What a client has seen that is shown this.
    pub context: Context,
}

impl Siblings {
    /// Puts decoded parts together; `None` unless the versions rise by dot.
    #[must_use]
    pub fn from_parts(vector: VersionVector, versions: Vec<Version>) -> Option<Self> {
        let rising = versions.windows(2).all(|pair| matches!(pair, [a, b] if a.dot < b.dot));
        rising.then_some(Self { vector, versions })
    }

    /// What the versions replaced.
    #[must_use]
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The versions, by rising dot, tombstones included.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Whether nothing was ever written here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.vector.is_empty()
    }

    /// The past of a client that has seen all of this.
    #[must_use]
    pub fn context(&self) -> VersionVector {
        let mut past = self.vector.clone();
        for version in &self.versions {
            past.add(version.dot);
        }
        past
    }

    /// Whether the write is known here: held, or replaced.
    #[must_use]
    pub fn knows(&self, dot: Dot) -> bool {
        self.vector.covers(dot) || self.versions.iter().any(|version| version.dot == dot)
    }

    /// Whether the write was replaced: it is in the past, and no version here.
    #[must_use]
    pub fn has_replaced(&self, dot: Dot) -> bool {
        self.vector.covers(dot) && self.versions.binary_search_by_key(&dot, |version| version.dot).is_err()
    }

    /// Whether everything that the client has seen is known here.
    #[must_use]
    pub fn knows_all(&self, seen: &Context) -> bool {
        let own = seen.own.is_none_or(|dot| self.knows(dot));
        own && (self.vector.descends(&seen.vector) || self.context().descends(&seen.vector))
    }

    /// The version of this write, when it is held.
    #[must_use]
    pub fn version_of(&self, write_id: WriteId) -> Option<&Version> {
        self.versions.iter().find(|version| version.write_id == write_id)
    }

    /// The highest stamp among the versions.
    #[must_use]
    pub fn hlc(&self) -> Hlc {
        self.versions.iter().map(|version| version.hlc).max().unwrap_or_default()
    }

    /// Bytes of all values.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.versions.iter().map(|version| version.value.len()).sum()
    }

    /// Whether both are the same but for the bytes of their values: the values' checksums say what those are.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let alike = |(ours, theirs): (&Version, &Version)| ours.is_alike(theirs);
        self.vector == other.vector
            && self.versions.len() == other.versions.len()
            && self.versions.iter().zip(&other.versions).all(alike)
    }

    /// Takes the values that are empty here from the same versions of another copy, whose checksums were verified.
    pub fn fill(&mut self, from: &Self) {
        for version in self.versions.iter_mut().filter(|version| version.value.is_empty()) {
            if let Ok(at) = from.versions.binary_search_by_key(&version.dot, |held| held.dot)
                && let Some(held) = from.versions.get(at).filter(|held| held.is_alike(version))
            {
                version.value = held.value.clone();
            }
        }
    }

    /// These versions and nothing else: no item, but a way to send their values.
    #[must_use]
    pub fn only(&self, wanted: &[Dot]) -> Self {
        let versions = self.versions.iter().filter(|version| wanted.contains(&version.dot)).cloned().collect();
        Self { vector: VersionVector::new(), versions }
    }

    /// A new write: drops the versions that its client had seen, with their twins, and adds it. The caller minted its
    /// dot above everything that this item knows of the actor, and for a last-writer-wins table its HLC above all of
    /// it.
    pub fn put(&mut self, seen: &Context, version: Version, policy: ConflictPolicy) {
        self.retire_twins_of(seen);
        self.put_beside_twins(seen, version, policy);
    }

    /// The other half of [`put`](Self::put): on its own it breaks rule 3, so that the simulated world can prove that it
    /// would notice.
    #[doc(hidden)]
    pub fn put_beside_twins(&mut self, seen: &Context, version: Version, policy: ConflictPolicy) {
        assert!(!self.knows(version.dot), "a dot is minted once");
        self.versions.retain(|held| !seen.covers(held.dot));
        self.vector.join(&seen.vector);
        if let Some(own) = seen.own {
            self.vector.add(own);
        }
        self.insert(version);
        self.settle(policy);
    }

    /// Whether the join with `older` is this state, byte for byte: everything that it has is here or replaced here.
    /// The common case of a replica that receives the next write of an item.
    #[must_use]
    pub fn dominates(&self, older: &Self) -> bool {
        let holds = |dot: Dot| self.versions.binary_search_by_key(&dot, |version| version.dot).is_ok();
        let replaced = |version: &Version| holds(version.dot) || self.vector.covers(version.dot);
        let kept = |version: &Version| !older.vector.covers(version.dot) || older.versions.contains(version);
        self.vector.descends(&older.vector) && older.versions.iter().all(replaced) && self.versions.iter().all(kept)
    }

    /// Joins what another replica holds. Returns whether anything here changed.
    pub fn join(&mut self, other: &Self, policy: ConflictPolicy) -> bool {
        let before = self.clone();
        match policy {
            ConflictPolicy::Siblings => self.join_siblings(other),
            // Causality is not asked: every coordinator raised its stamp above what it replaced, so the greatest
            // stamp is never an old one, and a maximum of a total order cannot depend on the order of joins.
            ConflictPolicy::LastWriterWins => {
                for version in &other.versions {
                    if !self.versions.iter().any(|held| held.dot == version.dot) {
                        self.insert(version.clone());
                    }
                }
            }
        }
        self.vector.join(&other.vector);
        self.settle(policy);
        *self != before
    }

    /// Whether nothing here has a value: only deletes, or nothing but a past.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.versions.iter().all(|version| version.tombstone)
    }

    /// Drops the versions that are known to be obsolete; their dots enter the past. Returns what was dropped.
    pub fn retire(&mut self, obsolete: impl Fn(Dot) -> bool) -> Retired {
        let mut retired = Retired { versions: 0, values: 0, rest: 0 };
        let vector = &mut self.vector;
        self.versions.retain(|version| {
            let drop = obsolete(version.dot);
            if drop {
                vector.add(version.dot);
                retired.versions += 1;
                retired.values += usize::from(!version.tombstone);
            } else {
                retired.rest += 1;
            }
            !drop
        });
        retired
    }

    /// The same item without these entries of its past.
    #[must_use]
    pub fn without_entries(&self, stripped: &[Dot]) -> Self {
        let kept = self.vector.iter().filter(|dot| !stripped.contains(dot));
        let entries = kept.map(|dot| (dot.actor(), dot.counter())).collect();
        let vector = VersionVector::from_sorted(entries).expect("a part of a vector rises as the vector does");
        Self { vector, versions: self.versions.clone() }
    }

    /// What a client is shown: tombstones beside live versions are not, and of one write only its lower dot is.
    #[must_use]
    pub fn show(&self) -> Shown {
        let mut live: Vec<Version> = Vec::with_capacity(self.versions.len());
        for version in self.versions.iter().filter(|version| !version.tombstone) {
            if !live.iter().any(|kept| kept.write_id == version.write_id) {
                live.push(version.clone());
            }
        }
        Shown { live, context: Context::of(self) }
    }

    /// Drops the twins of what the client had seen: a write that two owners coordinated has two dots, and whoever has
    /// replaced it under one of them has replaced it under both. The twin's dot enters the past, and by the meaning of
    /// an entry all earlier dots of its actor do. That takes nothing along: whoever holds a version came to it with
    /// whole items, so each earlier dot of its actor is held here, and stays, or was replaced.
    fn retire_twins_of(&mut self, seen: &Context) {
        let (replaced, kept): (Vec<&Version>, _) = self.versions.iter().partition(|held| seen.covers(held.dot));
        let is_twin = |held: &&Version| replaced.iter().any(|version| version.write_id == held.write_id);
        let twins: Vec<Dot> = kept.into_iter().filter(is_twin).map(|held| held.dot).collect();
        if !twins.is_empty() {
            self.retire(|dot| twins.contains(&dot));
        }
    }

    fn join_siblings(&mut self, other: &Self) {
        let holds = |versions: &[Version], dot: Dot| versions.binary_search_by_key(&dot, |v| v.dot).is_ok();
        self.versions.retain(|held| holds(&other.versions, held.dot) || !other.vector.covers(held.dot));
        for version in &other.versions {
            if !self.vector.covers(version.dot) {
                self.insert(version.clone());
            }
        }
    }

    fn insert(&mut self, version: Version) {
        if let Err(at) = self.versions.binary_search_by_key(&version.dot, |held| held.dot) {
            self.versions.insert(at, version);
        }
    }

    /// Last-writer-wins keeps one version; the losers' dots enter the vector.
    fn settle(&mut self, policy: ConflictPolicy) {
        if policy == ConflictPolicy::Siblings || self.versions.len() < 2 {
            return;
        }
        let Some(winner) = self.versions.iter().map(|version| (version.hlc, version.dot)).max() else { return };
        for version in &self.versions {
            if version.dot != winner.1 {
                self.vector.add(version.dot);
            }
        }
        self.versions.retain(|version| version.dot == winner.1);
    }
}
