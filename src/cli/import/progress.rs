//! How far an import is, in a small file beside the imported one.
//!
//! ```json
//! {"digest":"0123..","line":4711,"bad":2}
//! ```
//!
//! `line` is the highest line up to which every line is finished; later ones may be finished too, and are recognised by
//! their write ids. The file is replaced as a whole, so a reader finds the old state or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What is appended to the imported file's name.
const SUFFIX: &str = ".quorate-progress";

/// The state of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Of the imported file.
    pub(super) digest: u128,
    /// All lines up to this one are finished.
    pub(super) line: u64,
    /// Lines up to it that were no items.
    pub(super) bad: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    digest: String,
    line: u64,
    bad: u64,
}

impl Progress {
    pub(super) const fn new(digest: u128) -> Self {
        Self { digest, line: 0, bad: 0 }
    }

    /// Where the progress of importing this file is kept.
    pub(super) fn place(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(SUFFIX);
        name.into()
    }

    /// `None` when there is no such file.
    pub(super) fn load(place: &Path) -> anyhow::Result<Option<Self>> {
        let wrong = || format!("{} is no progress file of an import; remove it to begin at line 1", place.display());
        let text = match fs::read(place) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", place.display())),
        };
        let raw: Raw = serde_json::from_slice(&text).with_context(wrong)?;
        let digest = u128::from_str_radix(&raw.digest, 16).with_context(wrong)?;
        Ok(Some(Self { digest, line: raw.line, bad: raw.bad }))
    }

    /// Replaces the file.
    pub(super) fn save(&self, place: &Path) -> anyhow::Result<()> {
        let failed =
            || format!("cannot write the progress to {}; give its directory room, or write access", place.display());
        let raw = Raw { digest: format!("{:032x}", self.digest), line: self.line, bad: self.bad };
        let mut fresh = place.as_os_str().to_owned();
        fresh.push(".new");
        let mut file = File::create(&fresh).with_context(failed)?;
        file.write_all(&serde_json::to_vec(&raw)?).with_context(failed)?;
        file.sync_all().with_context(failed)?;
        fs::rename(&fresh, place).with_context(failed)
    }

    /// The import is complete.
    pub(super) fn remove(place: &Path) -> anyhow::Result<()> {
        match fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("the import is complete, but {} cannot be removed", place.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Follows lines that finish in any order.
#[derive(Debug)]
pub(super) struct Tracker {
    progress: Progress,
    /// Finished ranges beyond the first gap: first line -> last line, and how many of them are bad.
    beyond: BTreeMap<u64, (u64, u64)>,
}

impl Tracker {
    pub(super) const fn new(progress: Progress) -> Self {
        Self { progress, beyond: BTreeMap::new() }
    }

    /// These lines are finished.
    pub(super) fn finish(&mut self, lines: RangeInclusive<u64>) {
        self.note(lines, 0);
    }

    /// This line is no item, and was reported.
    pub(super) fn finish_bad(&mut self, line: u64) {
        self.note(line..=line, 1);
    }

    fn note(&mut self, lines: RangeInclusive<u64>, bad: u64) {
        let (first, last) = lines.into_inner();
        if first != self.progress.line + 1 {
            return self.note_beyond(first, last, bad);
        }
        self.progress.line = last;
        self.progress.bad += bad;
        while let Some((last, bad)) = self.beyond.remove(&(self.progress.line + 1)) {
            self.progress.line = last;
            self.progress.bad += bad;
        }
    }

    /// Ranges that touch become one, so there are no more of them than there are gaps.
    fn note_beyond(&mut self, first: u64, last: u64, bad: u64) {
        let (last, bad) = match self.beyond.remove(&(last + 1)) {
            Some((end, more)) => (end, bad + more),
            None => (last, bad),
        };
        match self.beyond.range_mut(..first).next_back() {
            Some((_, (end, count))) if *end + 1 == first => {
                *end = last;
                *count += bad;
            }
            _ => {
                self.beyond.insert(first, (last, bad));
            }
        }
    }

    /// Finished ranges beyond the first gap.
    #[cfg(test)]
    pub(super) fn ranges(&self) -> usize {
        self.beyond.len()
    }

    pub(super) const fn progress(&self) -> Progress {
        self.progress
    }
}
