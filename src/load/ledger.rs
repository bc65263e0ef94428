//! What was written and acknowledged, and whether a read agrees with it (`--verify`).
//!
//! One writer at a time has a key, so a key's writes are numbered 1, 2, 3 .. in the order in which they began, and of
//! each key three numbers are enough:
//!
//! ```text
//!   issued   the last write that was begun       acked   the last that was acknowledged
//!   deleted  the last that was a delete
//!
//!   write   1--ok  2--ok   3--?        4 (delete) --ok    5--...
//!   read                      begin: floor = acked = 2 .................. end: shows versions
//! ```
//!
//! A read that began when write `floor` was acknowledged has to show it or a newer one:
//!
//! - *wrong*: a version that is no value of ours, or whose number was never issued for this key;
//! - *right*: the newest version is at least `floor`; also nothing at all, when a delete of at least `floor` was
//!   issued, for a delete shows nothing;
//! - *stale*: everything else. In the last read of all keys it is called *lost*.
//!
//! A write without an answer (3) may have happened, or happen later as a sibling of what was written since, and a
//! delete that did not know it does not remove it. So a version that is older than the floor is right beside a delete
//! when its own write had no answer.
//!
//! *Caveats.* Several versions are right when one of them is new enough: an old one that came back beside it shows in
//! the number of versions, not here. A write without an answer is excused for ever, also after it was seen and
//! replaced.

use std::collections::BTreeMap;

use super::items::Share;
use super::report::Verification;

/// Most keys that are checked: twelve bytes each.
pub const CHECKED_KEYS_MAX: u64 = 50_000_000;
/// So many findings are told in words; the rest are counted.
const FINDINGS_MAX: usize = 5;

/// The writes of all keys, and what reads showed of them.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Whose keys these are; others are not asked about.
    share: Share,
    entries: Vec<Entry>,
    /// Writes without an answer, by key.
    unsure: BTreeMap<u64, Vec<u32>>,
    found: Verification,
    findings: Vec<String>,
}

/// A key's writes.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    acked: u32,
    issued: u32,
    deleted: u32,
}

/// What a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Value,
    Delete,
}

/// The write that was acknowledged when a read began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor(u32);

/// One version that a read showed: its number, or none when it is no value of ours or of another key.
pub(super) type Shown = Option<u64>;

/// What a read's answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    Stale,
}

impl Ledger {
    pub(super) fn new(share: Share) -> Self {
        let (found, findings) = (Verification::default(), Vec::new());
        Self { share, entries: Vec::new(), unsure: BTreeMap::new(), found, findings }
    }

    /// A key's new write begins: its number.
    pub(super) fn begin_write(&mut self, key: u64, change: Change) -> u64 {
        let entry = self.entry_mut(key);
        // Four thousand million writes of one key outlast every run.
        entry.issued = entry.issued.saturating_add(1);
        if change == Change::Delete {
            entry.deleted = entry.issued;
        }
        entry.issued.into()
    }

    /// It was acknowledged.
    pub(super) fn acknowledge(&mut self, key: u64, number: u64) {
        let entry = self.entry_mut(key);
        entry.acked = entry.acked.max(u32::try_from(number).unwrap_or(u32::MAX));
    }

    /// It had no answer, or a refusal: it may surface.
    pub(super) fn give_up(&mut self, key: u64, number: u64) {
        self.unsure.entry(key).or_default().push(u32::try_from(number).unwrap_or(u32::MAX));
    }

    /// A read of a key begins.
    pub(super) fn begin_read(&self, key: u64) -> Floor {
        Floor(self.entry(key).acked)
    }

    /// It has ended.
    pub(super) fn end_read(&mut self, key: u64, floor: Floor, shown: &[Shown]) {
        self.found.checked += 1;
        match self.judge(key, floor, shown) {
            Verdict::Right => {}
            Verdict::Wrong => {
                self.found.wrong += 1;
                self.tell(key, floor, shown, "wrong");
            }
            Verdict::Stale => {
                self.found.stale += 1;
                self.tell(key, floor, shown, "stale");
            }
        }
    }

    /// The last read of a key has ended; nothing is being written.
    pub(super) fn end_last_read(&mut self, key: u64, shown: &[Shown]) {
        self.found.checked += 1;
        let floor = self.begin_read(key);
        match self.judge(key, floor, shown) {
            Verdict::Right => {}
            Verdict::Wrong => {
                self.found.wrong += 1;
                self.tell(key, floor, shown, "wrong at the end");
            }
            Verdict::Stale => {
                self.found.lost += 1;
                self.tell(key, floor, shown, "lost");
            }
        }
    }

    /// What an earlier run has left of a key is where its numbers begin. False when it is nothing that such a run
    /// wrote.
    pub(super) fn adopt(&mut self, key: u64, shown: &[Shown]) -> bool {
        let mut newest = 0;
        for version in shown {
            let Some(number) = version.and_then(|number| u32::try_from(number).ok()) else { return false };
            newest = newest.max(number);
        }
        *self.entry_mut(key) = Entry { acked: newest, issued: newest, deleted: 0 };
        self.unsure.remove(&key);
        true
    }

    /// What was found so far, and the first findings in words. The next run begins with none.
    pub(super) fn take_found(&mut self) -> (Verification, Vec<String>) {
        (std::mem::take(&mut self.found), std::mem::take(&mut self.findings))
    }

    fn judge(&self, key: u64, Floor(floor): Floor, shown: &[Shown]) -> Verdict {
        let entry = self.entry(key);
        let is_ours = |number: u64| (1..=u64::from(entry.issued)).contains(&number);
        if !shown.iter().all(|version| version.is_some_and(is_ours)) {
            return Verdict::Wrong;
        }
        let numbers = || shown.iter().flatten().copied();
        if numbers().max().is_some_and(|newest| newest >= u64::from(floor)) {
            return Verdict::Right;
        }
        let may_be_absent = floor == 0 || entry.deleted >= floor;
        let unsure = self.unsure.get(&key).map_or(&[][..], Vec::as_slice);
        let is_unsure = |number: u64| unsure.iter().any(|unsure| u64::from(*unsure) == number);
        if may_be_absent && numbers().all(is_unsure) { Verdict::Right } else { Verdict::Stale }
    }

    fn tell(&mut self, key: u64, Floor(floor): Floor, shown: &[Shown], what: &str) {
        if self.findings.len() >= FINDINGS_MAX {
            return;
        }
        let versions: Vec<String> = shown
            .iter()
            .map(|version| version.map_or_else(|| "a value of nobody's".to_owned(), |number| format!("write {number}")))
            .collect();
        let versions = if versions.is_empty() { "nothing".to_owned() } else { versions.join(" and ") };
        let issued = self.entry(key).issued;
        self.findings.push(format!(
            "{what}: key {key} showed {versions}; write {floor} was acknowledged before, {issued} were begun"
        ));
    }

    fn entry(&self, key: u64) -> Entry {
        let place = usize::try_from(self.share.place(key)).ok();
        place.and_then(|place| self.entries.get(place)).copied().unwrap_or_default()
    }

    fn entry_mut(&mut self, key: u64) -> &mut Entry {
        let at = usize::try_from(self.share.place(key)).expect("keys are below KEYS_MAX");
        if self.entries.len() <= at {
            self.entries.resize(at + 1, Entry::default());
        }
        self.entries.get_mut(at).expect("there is a place for it now")
    }
}

impl Verification {
    /// Whether everything was as it was written.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.wrong == 0 && self.stale == 0 && self.lost == 0
    }

    /// Adds another process's.
    pub(super) const fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.wrong += other.wrong;
        self.stale += other.stale;
        self.lost += other.lost;
    }
}

#[cfg(test)]
mod tests;
