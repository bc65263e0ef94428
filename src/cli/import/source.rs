//! The file of an import: its digest, its lines, and the names of the writes that they become.

use std::io::{self, BufRead, Read};
use std::ops::RangeInclusive;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::cli::line::Line;
use crate::protocol::types::limits::{VALUE_BYTES_MAX, VERSIONS_MAX};
use crate::protocol::types::{Address, TableName, WriteId};

/// Longest line, bytes: a value at its limit, each byte of it written as \u0000.
pub(super) const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX * 6 + 64 * 1024;
/// Bytes read at once while digesting.
const CHUNK_BYTES: usize = 256 * 1024;

/// What is known of a file after the first pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) hash: u128,
    pub(super) lines: u64,
}

impl Digest {
    pub(super) fn of(mut file: impl Read) -> io::Result<Self> {
        let mut hash = Xxh3Default::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut lines, mut last) = (0_u64, b'\n');
        loop {
            let count = file.read(&mut chunk)?;
            let read = chunk.get(..count).unwrap_or_default();
            let Some(end) = read.last() else { break };
            hash.update(read);
            lines += read.split(|byte| *byte == b'\n').count() as u64 - 1;
            last = *end;
        }
        // The last line may lack its newline.
        Ok(Self { hash: hash.digest128(), lines: lines + u64::from(last != b'\n') })
    }
}

/// The name of the write that a line becomes: the same in every import of the same file.
pub(super) fn write_id(digest: u128, line: u64) -> WriteId {
    let mut bytes = [0; 16 + 8];
    let (front, back) = bytes.split_at_mut(16);
    front.copy_from_slice(&digest.to_be_bytes());
    back.copy_from_slice(&line.to_be_bytes());
    WriteId::new(xxh3_128(&bytes))
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing stands in the line.
    Blank(u64),
    /// The line is no item.
    Bad { line: u64, reason: String },
    /// One item.
    Unit(Unit),
}

/// The versions that belong to one item: one, or siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    first_line: u64,
    address: Address,
    pub(super) versions: Vec<(WriteId, Bytes)>,
}

impl Unit {
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        self.versions.iter().map(|(_, value)| value.len()).sum()
    }

    /// Where it stands.
    pub(super) fn lines(&self) -> RangeInclusive<u64> {
        let count = u64::try_from(self.versions.len()).unwrap_or(u64::MAX);
        self.first_line..=self.first_line + count.saturating_sub(1)
    }
}

/// Reads a file line by line.
pub(super) struct Source<R> {
    reader: R,
    digest: u128,
    table: TableName,
    /// Lines that are finished already.
    skip: u64,
    line: u64,
    /// Read, and no sibling of the unit before it.
    ahead: Option<Parsed>,
}

/// A line of the file.
enum Parsed {
    Blank(u64),
    Bad { line: u64, reason: String },
    Item(u64, Line),
}

impl<R: BufRead> Source<R> {
    /// A source that begins after the first `skip` lines.
    pub(super) const fn new(reader: R, digest: u128, table: TableName, skip: u64) -> Self {
        Self { reader, digest, table, skip, line: 0, ahead: None }
    }

    /// The next entry; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let parsed = match self.ahead.take() {
            Some(parsed) => Some(parsed),
            None => self.parse()?,
        };
        let (first_line, first) = match parsed {
            None => return Ok(None),
            Some(Parsed::Blank(line)) => return Ok(Some(Entry::Blank(line))),
            Some(Parsed::Bad { line, reason }) => return Ok(Some(Entry::Bad { line, reason })),
            Some(Parsed::Item(line, item)) => (line, item),
        };
        let mut versions = vec![(write_id(self.digest, first_line), first.value.clone())];
        while versions.len() < VERSIONS_MAX && first.context.is_some() {
            match self.parse()? {
                Some(Parsed::Item(line, item)) if item.is_sibling_of(&first) => {
                    versions.push((write_id(self.digest, line), item.value));
                }
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        Ok(Some(Entry::Unit(Unit { first_line, address: first.address, versions })))
    }

    fn parse(&mut self) -> io::Result<Option<Parsed>> {
        loop {
            let mut text = Vec::new();
            let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
            let count = (&mut self.reader).take(most).read_until(b'\n', &mut text)?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = self.line;
            let is_long = count == LINE_BYTES_MAX && text.last() != Some(&b'\n');
            if is_long {
                self.reader.skip_until(b'\n')?;
            }
            if line <= self.skip {
                continue;
            }
            if is_long {
                let reason = format!("the line has more than {LINE_BYTES_MAX} bytes, more than any value needs");
                return Ok(Some(Parsed::Bad { line, reason }));
            }
            let text = text.trim_ascii();
            if text.is_empty() {
                return Ok(Some(Parsed::Blank(line)));
            }
            return Ok(Some(match Line::parse(text, &self.table) {
                Ok(item) => Parsed::Item(line, item),
                Err(reason) => Parsed::Bad { line, reason },
            }));
        }
    }
}
