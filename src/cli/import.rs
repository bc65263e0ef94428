//! `quorate import`: stores the items of a file of JSON lines.
//!
//! ```text
//!   pass 1: digest of the file, and how many lines it has
//!   pass 2: lines -> units (a line, or the siblings of one item) -> at most --in-flight tasks -> counts, progress file
//! ```
//!
//! The name of each write is a hash of the file's digest and its line number. So when an import is repeated, whether it
//! was killed or the cluster failed, writes that did happen are known again by their names and nothing is doubled. The
//! progress file only saves time.
//!
//! *Caveats.* Two units with one address never run at the same time, so their order in the file is their order in the
//! cluster. Whether an item exists already is read before it is written; a writer that comes between the two is not
//! lost, but makes a sibling.

mod progress;
mod source;
mod store;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::task::JoinSet;

use super::address::table_name;
use super::connection::Contact;
use super::meter::Meter;
use super::outcome::Outcome;
use super::request::timeout;
use super::screen;
use crate::client::{Client, ClientError};
use crate::protocol::types::{Address, TableName};

use progress::{Progress, Tracker};
use source::{Digest, Entry, Source, Unit};
use store::{Stored, store};

/// Bytes of values in flight: with 64 tasks, 1 MiB each.
const BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;
/// Between two writes of the progress file.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// Store the items of a file of JSON lines.
///
/// A line is {"key": .., "value": ..}, with "table" and "sort" when they are not the default; each of key, sort and
/// value may stand as `key_base64`, `sort_base64`, `value_base64` instead. Repeat the same command after a failure: it
/// goes on where it was, and doubles nothing. Exit code 1 when any line failed.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File of JSON lines.
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    /// Table of the lines that name none.
    #[arg(long, default_value = super::address::TABLE, value_name = "TABLE", value_parser = table_name)]
    table: TableName,
    /// What to do with an item that is there already: skip the line, replace the item, or add the line as a sibling.
    #[arg(long, value_enum, default_value_t = Existing::Skip, value_name = "WHAT")]
    existing: Existing,
    /// Items at once.
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// Stop after so many lines have failed.
    #[arg(long, default_value = "1000", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_errors: u64,
    /// Time for each request with its retries.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = timeout)]
    timeout: Duration,
}

/// What to do with an item that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Existing {
    /// Put the line beside it.
    Add,
    /// Put the line in its place.
    Replace,
    /// Leave it as it is.
    Skip,
}

/// Lines by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    stored: Stored,
    /// Lines that are no items.
    bad: u64,
    /// Lines that the cluster did not take.
    failed: u64,
}

impl Counts {
    const fn errors(&self) -> u64 {
        self.bad.saturating_add(self.failed)
    }

    /// `12 stored, 3 skipped (existing), 0 already there, 1 errors`
    fn text(&self) -> String {
        let Stored { written, skipped, already } = self.stored;
        format!(
            "{written} stored, {skipped} skipped (existing), {already} stored by an earlier run, {} errors",
            self.errors()
        )
    }
}

/// Runs the subcommand.
///
/// # Errors
/// A file that cannot be read, no cluster; lines that fail are reported one by one instead.
pub fn run(args: &ImportArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let path = &args.file;
    let unreadable = || format!("cannot read {}", path.display());
    // Two passes and a resumed run need a file that can be read again.
    anyhow::ensure!(
        !path.is_dir() && path != Path::new("-"),
        "{} is not a file; name a file of JSON lines",
        path.display()
    );
    let digest = Digest::of(File::open(path).with_context(unreadable)?).with_context(unreadable)?;
    let place = Progress::place(path);
    let before = Progress::load(&place)?;
    let progress = match before {
        Some(progress) if progress.digest == digest.hash => progress,
        Some(_) => {
            screen::note(&format!(
                "{} has changed since {} was written; beginning at line 1",
                path.display(),
                place.display()
            ));
            Progress::new(digest.hash)
        }
        None => Progress::new(digest.hash),
    };
    let reader = BufReader::new(File::open(path).with_context(unreadable)?);
    let source = Source::new(reader, digest.hash, args.table.clone(), progress.line);
    contact.with_client(Some(args.timeout), async |client| {
        let meter = Meter::new("importing", "lines", digest.lines, progress.line);
        let mut import = Import::new(args, client, place, progress, meter);
        import.run(source).await
    })
}

/// An import under way.
struct Import<'a> {
    args: &'a ImportArgs,
    client: &'a Client,
    place: PathBuf,
    tracker: Tracker,
    saved: Instant,
    meter: Meter,
    counts: Counts,
    lines_seen: u64,
    tasks: JoinSet<Finished>,
    /// Items that are being written.
    busy: HashSet<Address>,
    bytes: usize,
}

/// A unit whose task is over.
struct Finished {
    address: Address,
    lines: std::ops::RangeInclusive<u64>,
    bytes: usize,
    result: Result<Stored, ClientError>,
}

impl<'a> Import<'a> {
    fn new(args: &'a ImportArgs, client: &'a Client, place: PathBuf, progress: Progress, meter: Meter) -> Self {
        let lines_seen = progress.line;
        Self {
            args,
            client,
            place,
            // What an earlier run has reported is still wrong.
            counts: Counts { bad: progress.bad, ..Counts::default() },
            tracker: Tracker::new(progress),
            saved: Instant::now(),
            meter,
            lines_seen,
            tasks: JoinSet::new(),
            busy: HashSet::new(),
            bytes: 0,
        }
    }

    async fn run(&mut self, mut source: Source<BufReader<File>>) -> anyhow::Result<Outcome> {
        if self.lines_seen > 0 {
            self.meter.say(&format!("going on after line {}", self.lines_seen));
        }
        while self.counts.errors() < self.args.max_errors {
            match source.next().with_context(|| format!("cannot read {}", self.args.file.display()))? {
                None => break,
                Some(Entry::Blank(line)) => self.tracker.finish(line..=line),
                Some(Entry::Bad { line, reason }) => {
                    self.counts.bad += 1;
                    self.tracker.finish_bad(line);
                    self.meter.say(&format!("line {line}: {reason}"));
                }
                Some(Entry::Unit(unit)) => {
                    self.make_room(&unit).await?;
                    self.begin(unit);
                }
            }
            self.show()?;
        }
        let is_complete = self.counts.errors() < self.args.max_errors;
        while !self.tasks.is_empty() {
            self.join().await?;
            self.show()?;
        }
        self.meter.finish();
        self.conclude(is_complete)
    }

    /// Waits until the unit may run: not too many, not too large, and none of the same item.
    async fn make_room(&mut self, unit: &Unit) -> anyhow::Result<()> {
        let most = usize::from(self.args.in_flight);
        while !self.tasks.is_empty()
            && (self.tasks.len() >= most
                || self.bytes + unit.bytes() > BYTES_IN_FLIGHT_MAX
                || self.busy.contains(unit.address()))
        {
            self.join().await?;
        }
        Ok(())
    }

    fn begin(&mut self, unit: Unit) {
        let (client, existing) = (self.client.clone(), self.args.existing);
        let (address, lines, bytes) = (unit.address().clone(), unit.lines(), unit.bytes());
        self.busy.insert(address.clone());
        self.bytes += bytes;
        self.tasks.spawn(async move {
            let result = store(&client, existing, unit).await;
            Finished { address, lines, bytes, result }
        });
    }

    async fn join(&mut self) -> anyhow::Result<()> {
        let Some(finished) = self.tasks.join_next().await else { return Ok(()) };
        let Finished { address, lines, bytes, result } = finished.context("a task of the import has panicked")?;
        self.busy.remove(&address);
        self.bytes -= bytes;
        match result {
            Ok(stored) => {
                self.counts.stored.add(stored);
                self.tracker.finish(lines);
            }
            // Not finished: a repeated import comes back to these lines.
            Err(error) => {
                self.counts.failed += lines.clone().count() as u64;
                self.meter.say(&format!("line {}: {address:?}: {error}", lines.start()));
            }
        }
        Ok(())
    }

    fn show(&mut self) -> anyhow::Result<()> {
        let counts = self.counts;
        let Stored { written, skipped, already } = counts.stored;
        let done = self.lines_seen + written + skipped + already + counts.errors();
        self.meter.show(done, || counts.text());
        if self.saved.elapsed() >= SAVE_PAUSE {
            self.saved = Instant::now();
            self.tracker.progress().save(&self.place)?;
        }
        Ok(())
    }

    fn conclude(&self, is_complete: bool) -> anyhow::Result<Outcome> {
        let place = self.place.display();
        if is_complete && self.counts.failed == 0 {
            Progress::remove(&self.place)?;
        } else {
            self.tracker.progress().save(&self.place)?;
        }
        let mut report = format!("imported {}: {}", self.args.file.display(), self.counts.text());
        if !is_complete {
            let most = self.args.max_errors;
            write!(report, "; stopped at {most} errors (--max-errors)")?;
        }
        if self.counts.failed > 0 || !is_complete {
            write!(report, "; repeat the command to go on after line {} ({place})", self.tracker.progress().line)?;
        }
        screen::note(&report);
        Ok(if self.counts.errors() == 0 { Outcome::Done } else { Outcome::Failed })
    }
}

#[cfg(test)]
mod tests;
