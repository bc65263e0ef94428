//! Rot: a column family some of whose blocks cannot be read is rebuilt from those that can.
//!
//! **While the node runs**, a block whose checksum is wrong is an error of each read that needs it, and nothing else:
//! the item is "unreadable", never "absent" (rule 4). Whoever meets it notes the family (`Database::note_damage`); the
//! flusher writes that down, durably, and stops the family's compactions, which would fail on the block for ever. The
//! others go on: see `tuning` for why a failed compaction does not stop the writes of all.
//!
//! **When the store is opened next**, before anything is served, each family that was noted is rebuilt:
//!
//! ```text
//!   1 find     the stretches of keys that can be read
//!   2 stage    them as table files in <data>/rebuild/p0007.part/, synced, then renamed to p0007/
//!   3 set aside  hard links of the damaged files in <data>/quarantine/p0007/
//!   4 swap     drop the family, create it empty, ingest copies of the staged files
//!   5 record   "damaged" without it and "rebuilt" with it, one synced batch; then remove p0007/
//! ```
//!
//! A crash before the rename of 2 leaves the damaged family as it was; after it, the next open goes on at 4, as often
//! as need be, because nothing writes to the family before 5. The record `rebuilt` stays until the caller has noted, on
//! the disk, that these partitions are incomplete ([`super::Store::forget_rebuilt`]).
//!
//! Why not under running shards: they hold the family's handle, have reads in flight, and trust the partition clock in
//! memory, which a rebuilt partition must not have. A restart of the node drops all of that by the one way that is
//! tested every day; until then the damaged part is answered as unreadable, which other replicas make up for.
//!
//! **What a stretch is.** A damaged block hides every key of its range, in all levels: below it may lie an older one
//! of the same key, and showing that one would undo an acknowledged write. RocksDB's iterator does it right by itself,
//! because each position is the merge of a position in *every* level, and it is invalid if any of them is. So a stretch
//! is what can be walked, forwards from a key until it breaks and backwards from another; and the gap that is left
//! between the two is halved, probed in its middle, and halved again, a bounded number of times.
//!
//! **What is not taken over** when there are gaps: a partition's clock, change log and hash tree. The clock says "I
//! have stored this dot, or know it to be obsolete". After a loss it would have exchanges refused what they bring back
//! (rule 8). Without it the partition starts as a new replica with some items, which the exchanges complete.
//!
//! *Caveats.* `meta` is not rebuilt: it is who the node is, and without it the directory is lost. Hints are taken over
//! as they are, and those that are missing are gone; their writes have other copies, as many as were acknowledged.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DBRawIterator, IngestExternalFileOptions, ReadOptions, SstFileWriter};

use super::database::Database;
use super::family::{FORMAT, FORMAT_KEY, FamilyName};
use super::meta::{self, Meta, MetaError};
use super::tuning::FamilyOptions;
use crate::protocol::replica::KeyKind;
use crate::protocol::types::PartitionId;

/// What a rebuild kept of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Which partition; none for the hints.
    pub partition: Option<PartitionId>,
    /// Items, or hints, that could be read.
    pub kept: u64,
    /// Ranges of keys that could not be read: what was in them is gone from this disk. 0 when nothing is missing.
    pub gaps: u64,
}

/// Why a family was not rebuilt. The damaged one is as it was, or its staged copy is complete: opening again goes on.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The files beside the database.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// RocksDB refuses.
    #[error("RocksDB: {0}")]
    RocksDb(String),
    /// The node's own records.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl From<rocksdb::Error> for RebuildError {
    fn from(error: rocksdb::Error) -> Self {
        Self::RocksDb(error.into_string())
    }
}

/// A family that can be rebuilt, and the places for it.
pub(super) struct Rebuild<'a> {
    database: &'a Database,
    data: &'a Path,
    options: &'a FamilyOptions,
}

/// Keys from the first to the last, both included, that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    first: Vec<u8>,
    last: Vec<u8>,
}

/// Keys from `from`, below `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gap {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Where a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ahead,
    Back,
}

/// What is to be found of a family.
#[derive(Debug, Default)]
pub(super) struct Found {
    stretches: Vec<Stretch>,
    gaps: Vec<Gap>,
    errors: BTreeSet<String>,
}

impl<'a> Rebuild<'a> {
    pub(super) fn new(database: &'a Database, data: &'a Path, options: &'a FamilyOptions) -> Self {
        Self { database, data, options }
    }

    /// Finishes what an earlier open began, and rebuilds what was noted as damaged. `unreadable` are those whose format
    /// record cannot be read.
    pub(super) fn run(&self, unreadable: &[FamilyName]) -> Result<(), RebuildError> {
        let meta = Meta::new(self.database);
        let mut damaged = parse_names(meta.record(meta::DAMAGED)?.as_deref().unwrap_or_default());
        damaged.extend(unreadable);
        // Who the node is is nothing that could be half there.
        damaged.remove(&FamilyName::Meta);
        for name in self.staged()? {
            damaged.remove(&name);
            let report = self.read_report(name)?;
            self.swap(name)?;
            self.record(report)?;
        }
        for name in damaged {
            if self.database.family(name).is_none() {
                continue;
            }
            let report = self.stage(name)?;
            self.swap(name)?;
            self.record(report)?;
            let (kept, gaps) = (report.kept, report.gaps);
            tracing::error!(family = %name, kept, gaps, "a damaged column family was rebuilt from what can be read");
        }
        Ok(())
    }

    /// Families whose staged copy is complete.
    fn staged(&self) -> Result<Vec<FamilyName>, RebuildError> {
        let place = self.data.join(REBUILD);
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RebuildError::Io { path: place, source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| RebuildError::Io { path: place.clone(), source })?;
            // Others are parts that a crash left: `stage` makes them anew.
            names.extend(entry.file_name().to_str().and_then(FamilyName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Steps 1 to 3.
    pub(super) fn stage(&self, name: FamilyName) -> Result<Rebuilt, RebuildError> {
        self.stage_found(name, self.find(name)?)
    }

    /// Steps 2 and 3. What can no longer be read when it is copied is looked for again: else everything after it would
    /// be left out.
    pub(super) fn stage_found(&self, name: FamilyName, mut found: Found) -> Result<Rebuilt, RebuildError> {
        let part = self.data.join(REBUILD).join(format!("{name}.part"));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| RebuildError::Io { path, source }
        };
        let mut attempt = 1;
        let kept = loop {
            if part.exists() {
                fs::remove_dir_all(&part).map_err(at(&part))?;
            }
            fs::create_dir_all(&part).map_err(at(&part))?;
            let gaps = found.gaps.len();
            let kept = self.write(name, &part, &mut found)?;
            if found.gaps.len() == gaps || attempt == ATTEMPTS_MAX {
                break kept;
            }
            attempt += 1;
            let again = self.find(name)?;
            found.stretches = again.stretches;
            found.errors.extend(again.errors);
            // If all can be read this time, the gap stays: such a disk is not asked for a clock (see the head).
            if !again.gaps.is_empty() {
                found.gaps = again.gaps;
            }
        };
        self.set_aside(name, &found.errors)?;
        let gaps = u64::try_from(found.gaps.len()).unwrap_or(u64::MAX);
        let report = part.join(REPORT);
        fs::write(&report, format!("{kept} {gaps}")).map_err(at(&report))?;
        sync(&report).and_then(|()| sync(&part)).map_err(at(&part))?;
        let whole = self.data.join(REBUILD).join(name.to_string());
        fs::rename(&part, &whole).map_err(at(&whole))?;
        let place = self.data.join(REBUILD);
        sync(&place).and_then(|()| sync(self.data)).map_err(at(&place))?;
        Ok(Rebuilt { partition: partition_of(name), kept, gaps })
    }

    fn read_report(&self, name: FamilyName) -> Result<Rebuilt, RebuildError> {
        let path = self.data.join(REBUILD).join(name.to_string()).join(REPORT);
        let text = fs::read_to_string(&path).map_err(|source| RebuildError::Io { path: path.clone(), source })?;
        let mut numbers = text.split(' ').map(str::parse::<u64>);
        let (Some(Ok(kept)), Some(Ok(gaps))) = (numbers.next(), numbers.next()) else {
            let source = io::Error::new(io::ErrorKind::InvalidData, "not the report of a rebuild");
            return Err(RebuildError::Io { path, source });
        };
        Ok(Rebuilt { partition: partition_of(name), kept, gaps })
    }

    /// Step 1.
    pub(super) fn find(&self, name: FamilyName) -> Result<Found, RebuildError> {
        let mut found = Found::default();
        // All but the format record, which is written anew.
        let all = Gap { from: vec![1], to: END.to_vec() };
        let mut gaps = VecDeque::from([all]);
        let mut probes = 0;
        while let Some(gap) = gaps.pop_front() {
            probes += 1;
            let Some(rest) = self.probe(name, gap, &mut found)? else { continue };
            match rest.halves().filter(|_| probes < PROBES_MAX) {
                Some(halves) => gaps.extend(halves),
                None => found.gaps.push(rest),
            }
        }
        found.stretches.sort_by(|a, b| a.first.cmp(&b.first));
        found.gaps.sort_by(|a, b| a.from.cmp(&b.from));
        // Halves that were given up meet where nothing was ever found.
        found.gaps.dedup_by(|next, gap| {
            let meet = gap.to == next.from;
            if meet {
                gap.to.clone_from(&next.to);
            }
            meet
        });
        Ok(found)
    }

    /// Walks into a gap from both ends; what is left of it, unless nothing is.
    fn probe(&self, name: FamilyName, gap: Gap, found: &mut Found) -> Result<Option<Gap>, RebuildError> {
        let Gap { mut from, mut to } = gap;
        let mut rows = self.rows(name, &from, &to)?;
        rows.seek(&from);
        let ahead = walk(&mut rows, Way::Ahead).map(|(first, last)| Stretch { first, last });
        let status = rows.status();
        if let Some(stretch) = ahead {
            from.clone_from(&stretch.last);
            from.push(0);
            found.stretches.push(stretch);
        }
        let Err(error) = status else { return Ok(None) };
        found.errors.insert(error.into_string());
        let mut rows = self.rows(name, &from, &to)?;
        rows.seek_to_last();
        let back = walk(&mut rows, Way::Back).map(|(last, first)| Stretch { first, last });
        let status = rows.status();
        if let Some(stretch) = back {
            to.clone_from(&stretch.first);
            found.stretches.push(stretch);
        }
        let Err(error) = status else { return Ok(None) };
        found.errors.insert(error.into_string());
        Ok(Some(Gap { from, to }))
    }

    fn rows(&self, name: FamilyName, from: &[u8], to: &[u8]) -> Result<DBRawIterator<'_>, RebuildError> {
        let gone = || RebuildError::RocksDb(format!("column family {name} is gone"));
        let handle = self.database.handle(name).ok_or_else(gone)?;
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        Ok(self.database.rows(&handle, options))
    }

    /// Step 2: the stretches in order, as table files. How many items they have.
    fn write(&self, name: FamilyName, part: &Path, found: &mut Found) -> Result<u64, RebuildError> {
        let mut kept = 0;
        let mut files = 0_u32;
        let begin = |files: u32| -> Result<SstFileWriter<'_>, RebuildError> {
            let writer = SstFileWriter::create(self.options.of(name));
            writer.open(part.join(format!("{files:06}.sst")))?;
            Ok(writer)
        };
        let mut writer = begin(files)?;
        // Before every other key; the old one may have been in a damaged block.
        writer.put(FORMAT_KEY, FORMAT.to_be_bytes())?;
        let limit = end_of(name, &found.gaps);
        for stretch in &found.stretches {
            let mut end = stretch.last.clone();
            end.push(0);
            let end = end.min(limit.clone());
            if stretch.first >= end {
                break;
            }
            let mut rows = self.rows(name, &stretch.first, &end)?;
            rows.seek(&stretch.first);
            while let Some((key, value)) = rows.item() {
                if writer.file_size() > STAGED_FILE_BYTES {
                    writer.finish()?;
                    files += 1;
                    writer = begin(files)?;
                }
                writer.put(key, value)?;
                kept += u64::from(is_counted(name, key));
                rows.next();
            }
            if let Err(error) = rows.status() {
                // It could be read a moment ago: the disk goes on failing.
                found.errors.insert(error.into_string());
                found.gaps.push(Gap { from: stretch.first.clone(), to: end.clone() });
            }
        }
        writer.finish()?;
        Ok(kept)
    }

    /// Step 3: links the files that the errors name; all of the family's when they name none.
    fn set_aside(&self, name: FamilyName, errors: &BTreeSet<String>) -> Result<(), RebuildError> {
        if errors.is_empty() {
            return Ok(());
        }
        let text = name.to_string();
        let files: Vec<String> = self
            .database
            .db()
            .live_files()?
            .into_iter()
            .filter(|file| file.column_family_name == text)
            .map(|file| file.name.trim_start_matches('/').to_owned())
            .collect();
        let named: Vec<&String> =
            files.iter().filter(|file| errors.iter().any(|e| e.contains(file.as_str()))).collect();
        let aside = if named.is_empty() { files.iter().collect() } else { named };
        let place = self.data.join(QUARANTINE).join(&text);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| RebuildError::Io { path, source }
        };
        fs::create_dir_all(&place).map_err(at(&place))?;
        for file in aside {
            let link = place.join(file);
            match fs::hard_link(self.database.db().path().join(file), &link) {
                Ok(()) => {}
                // An attempt before this one has set it aside already; or the damage is that the file is gone.
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                Err(source) => return Err(RebuildError::Io { path: link, source }),
            }
        }
        let reasons = place.join(REASONS);
        let lines: String = errors.iter().flat_map(|error| [error.as_str(), "\n"]).collect();
        fs::write(&reasons, lines).map_err(at(&reasons))
    }

    /// Step 4. May be repeated.
    pub(super) fn swap(&self, name: FamilyName) -> Result<(), RebuildError> {
        let (db, text) = (self.database.db(), name.to_string());
        let place = self.data.join(REBUILD).join(&text);
        let entries = fs::read_dir(&place).map_err(|source| RebuildError::Io { path: place.clone(), source })?;
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "sst"));
        files.sort();
        if db.cf_handle(&text).is_some() {
            db.drop_cf(&text)?;
        }
        db.create_cf(&text, self.options.of(name))?;
        let handle = db.cf_handle(&text).ok_or_else(|| RebuildError::RocksDb(format!("{text} was not created")))?;
        let mut options = IngestExternalFileOptions::default();
        // Copies: the staged files are what a repetition starts from.
        options.set_move_files(false);
        db.ingest_external_file_cf_opts(&handle, &options, files)?;
        Ok(())
    }

    /// Step 5.
    fn record(&self, report: Rebuilt) -> Result<(), RebuildError> {
        let meta = Meta::new(self.database);
        let name = report.partition.map_or(FamilyName::Hints, FamilyName::Partition);
        let mut damaged = parse_names(meta.record(meta::DAMAGED)?.as_deref().unwrap_or_default());
        damaged.remove(&name);
        let mut rebuilt = meta.record(meta::REBUILT)?.map(|record| record.to_vec()).unwrap_or_default();
        rebuilt.extend_from_slice(format!("{name} {} {}\n", report.kept, report.gaps).as_bytes());
        meta.apply(&[(meta::DAMAGED, Some(encode_names(&damaged))), (meta::REBUILT, Some(rebuilt))])?;
        let place = self.data.join(REBUILD).join(name.to_string());
        fs::remove_dir_all(&place).map_err(|source| RebuildError::Io { path: place.clone(), source })
    }
}

/// Goes on from a valid position until there is none; the first and the last key passed.
fn walk(rows: &mut DBRawIterator<'_>, way: Way) -> Option<(Vec<u8>, Vec<u8>)> {
    let first = rows.key()?.to_vec();
    let mut last = first.clone();
    while let Some(key) = rows.key() {
        last.clear();
        last.extend_from_slice(key);
        match way {
            Way::Ahead => rows.next(),
            Way::Back => rows.prev(),
        }
    }
    Some((first, last))
}

impl Gap {
    /// Two gaps that meet in the middle: in the middle of the numbers that the 16 bytes after the common beginning are.
    /// `None` when nothing lies between the ends.
    fn halves(&self) -> Option<[Self; 2]> {
        let common = self.from.iter().zip(&self.to).take_while(|(a, b)| a == b).count();
        let number = |key: &[u8]| {
            let mut bytes = [0; 16];
            for (byte, found) in bytes.iter_mut().zip(key.iter().skip(common)) {
                *byte = *found;
            }
            u128::from_be_bytes(bytes)
        };
        let (low, high) = (number(&self.from), number(&self.to));
        let middle = low + high.checked_sub(low)? / 2;
        let mut key = self.from.get(..common)?.to_vec();
        key.extend_from_slice(&middle.to_be_bytes());
        let between = self.from < key && key < self.to;
        between.then(|| [Self { from: self.from.clone(), to: key.clone() }, Self { from: key, to: self.to.clone() }])
    }
}

/// The end of the keys that are taken over of a family with gaps.
fn end_of(name: FamilyName, gaps: &[Gap]) -> Vec<u8> {
    match name {
        // Items only: see the head of this file.
        FamilyName::Partition(_) if !gaps.is_empty() => vec![KeyKind::Item as u8 + 1],
        FamilyName::Partition(_) | FamilyName::Hints | FamilyName::Meta => END.to_vec(),
    }
}

/// Whether a key is one of those that people count.
fn is_counted(name: FamilyName, key: &[u8]) -> bool {
    name == FamilyName::Hints || key.first() == Some(&(KeyKind::Item as u8))
}

fn partition_of(name: FamilyName) -> Option<PartitionId> {
    match name {
        FamilyName::Partition(partition) => Some(partition),
        FamilyName::Hints | FamilyName::Meta => None,
    }
}

/// The names in a record, one a line. A line that is none belongs to another version and is left out.
pub(super) fn parse_names(record: &[u8]) -> BTreeSet<FamilyName> {
    String::from_utf8_lossy(record).lines().filter_map(FamilyName::parse).collect()
}

/// The record of some names.
pub(super) fn encode_names(names: &BTreeSet<FamilyName>) -> Vec<u8> {
    names.iter().flat_map(|name| [name.to_string(), "\n".to_owned()]).collect::<String>().into_bytes()
}

/// The reports in the record of rebuilt families.
pub(super) fn parse_reports(record: &[u8]) -> Vec<Rebuilt> {
    let report = |line: &str| {
        let mut words = line.split(' ');
        let name = FamilyName::parse(words.next()?)?;
        let (kept, gaps) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Rebuilt { partition: partition_of(name), kept, gaps })
    };
    String::from_utf8_lossy(record).lines().filter_map(report).collect()
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// No key of ours begins with so many FF.
const END: [u8; 17] = [0xff; 17];
/// Staged copies, in the data directory.
const REBUILD: &str = "rebuild";
/// Damaged files, in the data directory. For the operator, who may remove them.
const QUARANTINE: &str = "quarantine";
/// In a staged copy: how many items, how many gaps.
const REPORT: &str = "report";
/// In a quarantine: what RocksDB said.
const REASONS: &str = "reasons.txt";
/// Probes of one family. A damaged block of 8 KiB takes about thirty; a whole file that is lost is found out to be so
/// to a four-thousandth of its range.
const PROBES_MAX: u32 = 4096;
/// Copies of one family that are begun, when blocks that were found readable are not any more.
const ATTEMPTS_MAX: u32 = 3;
/// A staged file is ended above this: RocksDB handles files of this size every day.
const STAGED_FILE_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_gap_meet_and_end() {
        let gap = |from: &[u8], to: &[u8]| Gap { from: from.to_vec(), to: to.to_vec() };
        let [low, high] = gap(&[1], &[2]).halves().unwrap();
        assert_eq!((low.from, high.to), (vec![1], vec![2]));
        assert_eq!(low.to, high.from);
        assert_eq!(low.to.get(..2).unwrap(), [1, 128]);
        // Keys that differ late are halved where they differ.
        let (mut from, mut to) = (vec![7; 40], vec![7; 40]);
        from.push(1);
        to.push(3);
        let [low, _] = gap(&from, &to).halves().unwrap();
        assert_eq!(low.to.get(..41).unwrap(), [&[7; 40][..], &[2]].concat());
        // Nothing fits between a key and the next one, and halving ends.
        assert_eq!(gap(&[5], &[5, 0]).halves(), None);
        let mut rest = gap(&[1], &[2]);
        let mut steps = 0;
        while let Some([low, _]) = rest.halves() {
            rest = low;
            steps += 1;
            assert!(steps < 1000, "halving does not end");
        }
    }

    #[test]
    fn records_of_names_and_reports_are_read_back() {
        let names = BTreeSet::from([FamilyName::Hints, FamilyName::Partition(PartitionId::new(7))]);
        assert_eq!(parse_names(&encode_names(&names)), names);
        assert_eq!(parse_names(b"p0007\nwhat is this\n"), BTreeSet::from([FamilyName::Partition(PartitionId::new(7))]));
        let seven = Rebuilt { partition: Some(PartitionId::new(7)), kept: 12, gaps: 1 };
        let hints = Rebuilt { partition: None, kept: 0, gaps: 0 };
        assert_eq!(parse_reports(b"p0007 12 1\nhints 0 0\nnonsense\n"), [seven, hints]);
    }
}
