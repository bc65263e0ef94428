//! The record of an item: what goes to disk and over the wire, byte for byte the same.
//!
//! ```text
//!   format u8 = 1 | header length u32 | header checksum u64 (XXH3-64)
//!   header:  vector count u16 | (actor u64 | counter u64) per entry
//!            version count u16 | per version, 61 bytes:
//!              actor u64 | counter u64 | hlc u64 | write id u128 | flags u8 | expires-at u64
//!              | length u32 | checksum u64
//!   payloads, in the versions' order
//! ```
//!
//! All numbers big-endian. The causal part comes first, so two records are compared without touching their values.
//! The values have checksums of their own, made where they entered; the header's keeps a flipped bit in a vector or a
//! dot from becoming a past that no write has. Encoding is canonical: equal states have equal bytes, so replicas can be
//! compared by hash.

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use super::{Dot, Siblings, Version, VersionVector};
use crate::protocol::types::limits::{MERGED_VERSIONS_MAX, VALUE_BYTES_MAX, VECTOR_ENTRIES_KEPT, VECTOR_ENTRIES_MAX};
use crate::protocol::types::{ActorId, Hlc, WriteId};

const FORMAT: u8 = 1;
const PREFIX_BYTES: usize = 13;
const LENGTH_AT: std::ops::Range<usize> = 1..5;
const CHECKSUM_AT: std::ops::Range<usize> = 5..13;
const ENTRY_BYTES: usize = 16;
const VERSION_BYTES: usize = 61;
const FLAG_TOMBSTONE: u8 = 1;
/// Where a version's flags are: behind dot, stamp and write id.
const FLAGS_AT: usize = 40;

/// The bytes are not a record. Nothing changed; the copy is unreadable, which is "unknown" and never "not found".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record says it has.
    #[error("the record is cut short")]
    Truncated,
    /// More bytes than the record says it has.
    #[error("the record has {0} bytes too many")]
    Trailing(usize),
    /// Written by a newer program.
    #[error("the record has format {0}; this program reads format {FORMAT}")]
    Format(u8),
    /// A count over its sanity bound.
    #[error("the record claims {found} {what}; the bound is {bound}")]
    Bound {
        /// What is counted.
        what: &'static str,
        /// How many it claims.
        found: usize,
        /// How many there may be.
        bound: usize,
    },
    /// A damaged causal part.
    #[error("the record's header does not match its checksum")]
    Checksum,
    /// Not the canonical order, an unknown flag, or a tombstone with a value.
    #[error("the record is not canonical: {0}")]
    Canonical(&'static str),
}

/// The causal part of a record, without its values: enough to compare an item, too little to show or store it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    item: Siblings,
    lacking: Vec<Dot>,
}

impl Siblings {
    /// How many bytes the record has.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        PREFIX_BYTES + self.header_bytes() + self.value_bytes()
    }

    fn header_bytes(&self) -> usize {
        4 + self.vector().len() * ENTRY_BYTES + self.versions().len() * VERSION_BYTES
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(FORMAT);
        out.put_u32(length_u32(self.header_bytes()));
        out.put_u64(0);
        out.put_u16(count_u16(self.vector().len()));
        for dot in self.vector().iter() {
            out.put_u64(dot.actor().as_u64());
            out.put_u64(dot.counter());
        }
        out.put_u16(count_u16(self.versions().len()));
        for version in self.versions() {
            out.put_u64(version.dot.actor().as_u64());
            out.put_u64(version.dot.counter());
            out.put_u64(version.hlc.to_bits());
            out.put_u128(version.write_id.as_u128());
            out.put_u8(if version.tombstone { FLAG_TOMBSTONE } else { 0 });
            out.put_u64(version.expires_at);
            out.put_u32(length_u32(version.value.len()));
            out.put_u64(version.checksum);
        }
        let checksum = xxh3_64(&out[start + PREFIX_BYTES..]);
        out[start + CHECKSUM_AT.start..start + CHECKSUM_AT.end].copy_from_slice(&checksum.to_be_bytes());
        for version in self.versions() {
            out.put_slice(&version.value);
        }
    }

    /// The record in a buffer of its own.
    #[must_use]
    pub fn to_record(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.record_bytes());
        self.encode(&mut out);
        out.into()
    }

    /// Reads a record; the values are slices of it. Every count is checked before anything is allocated for it.
    ///
    /// # Errors
    /// The first thing that is wrong with the bytes. Never panics.
    pub fn decode(record: &Bytes) -> Result<Self, RecordError> {
        let mut header = header_of(record)?;
        let vector = decode_vector(&mut header)?;
        let count = decode_count(&mut header, "versions", MERGED_VERSIONS_MAX, VERSION_BYTES)?;
        let mut at = record.len() - payload_bytes(record)?;
        let mut versions = Vec::with_capacity(count);
        for _ in 0..count {
            let (mut version, length) = decode_version(&mut header)?;
            let end = at.checked_add(length).filter(|end| *end <= record.len()).ok_or(RecordError::Truncated)?;
            version.value = record.slice(at..end);
            at = end;
            versions.push(version);
        }
        if header.has_remaining() {
            return Err(RecordError::Trailing(header.remaining()));
        }
        if at != record.len() {
            return Err(RecordError::Trailing(record.len() - at));
        }
        // Last, so that whatever bytes come, all of the above has looked at them (the fuzz targets rely on it).
        verify_header(record)?;
        Self::from_parts(vector, versions).ok_or(RecordError::Canonical("versions do not rise by dot"))
    }
}

impl Head {
    /// The head of a record: its bytes up to the first value, nothing copied.
    ///
    /// # Errors
    /// The record is shorter than it says.
    pub fn of(record: &Bytes) -> Result<Bytes, RecordError> {
        let values = payload_bytes(record)?;
        Ok(record.slice(..record.len() - values))
    }

    /// Reads a head. Every count is checked before anything is allocated for it.
    ///
    /// # Errors
    /// The first thing that is wrong with the bytes. Never panics.
    pub fn decode(head: &Bytes) -> Result<Self, RecordError> {
        let mut header = header_of(head)?;
        let vector = decode_vector(&mut header)?;
        let count = decode_count(&mut header, "versions", MERGED_VERSIONS_MAX, VERSION_BYTES)?;
        let mut versions = Vec::with_capacity(count);
        let mut lacking = Vec::new();
        for _ in 0..count {
            let (version, length) = decode_version(&mut header)?;
            if length > 0 {
                lacking.push(version.dot);
            }
            versions.push(version);
        }
        if header.has_remaining() {
            return Err(RecordError::Trailing(header.remaining()));
        }
        let values = payload_bytes(head)?;
        if values > 0 {
            return Err(RecordError::Trailing(values));
        }
        verify_header(head)?;
        let item =
            Siblings::from_parts(vector, versions).ok_or(RecordError::Canonical("versions do not rise by dot"))?;
        Ok(Self { item, lacking })
    }

    /// How many bytes the value of each version has, in the versions' order: what a head says of values that it lacks.
    ///
    /// # Errors
    /// As [`Head::decode`], without its last checks: for a head that it takes.
    pub fn value_lengths(head: &Bytes) -> Result<Vec<usize>, RecordError> {
        let mut header = header_of(head)?;
        decode_vector(&mut header)?;
        let count = decode_count(&mut header, "versions", MERGED_VERSIONS_MAX, VERSION_BYTES)?;
        (0..count).map(|_| decode_version(&mut header).map(|(_, length)| length)).collect()
    }

    /// The item, with empty values.
    #[must_use]
    pub fn item(&self) -> &Siblings {
        &self.item
    }

    /// The versions that have a value which is not here, by rising dot.
    #[must_use]
    pub fn lacking(&self) -> &[Dot] {
        &self.lacking
    }

    /// Item and dots of what is lacking.
    #[must_use]
    pub fn into_parts(self) -> (Siblings, Vec<Dot>) {
        (self.item, self.lacking)
    }
}

/// Whether reaping has something to look at in a record: no version in it has a value, or its past has more
/// entries than are kept without a look. Looks at the causal part only and believes it: what is damaged is found by
/// those who open it.
#[must_use]
pub fn is_reapable(record: &[u8]) -> bool {
    let dead = || {
        let mut header = record.get(PREFIX_BYTES..)?;
        let entries = usize::from(header.try_get_u16().ok()?);
        if entries > VECTOR_ENTRIES_KEPT {
            return Some(true);
        }
        let mut versions = header.get(entries * ENTRY_BYTES..)?;
        let count = usize::from(versions.try_get_u16().ok()?);
        let flags = versions.chunks_exact(VERSION_BYTES).take(count).map(|version| version[FLAGS_AT]);
        Some(flags.filter(|flags| flags & FLAG_TOMBSTONE != 0).count() == count)
    };
    dead().unwrap_or(false)
}

fn header_of(record: &Bytes) -> Result<&[u8], RecordError> {
    let (&format, _) = record.split_first().ok_or(RecordError::Truncated)?;
    if format != FORMAT {
        return Err(RecordError::Format(format));
    }
    let end = record.len() - payload_bytes(record)?;
    record.get(PREFIX_BYTES..end).ok_or(RecordError::Truncated)
}

fn verify_header(record: &Bytes) -> Result<(), RecordError> {
    let mut claimed = record.get(CHECKSUM_AT).ok_or(RecordError::Truncated)?;
    if xxh3_64(header_of(record)?) == claimed.get_u64() { Ok(()) } else { Err(RecordError::Checksum) }
}

/// Bytes after the header.
fn payload_bytes(record: &Bytes) -> Result<usize, RecordError> {
    let mut length = record.get(LENGTH_AT).ok_or(RecordError::Truncated)?;
    let length = usize::try_from(length.get_u32()).map_err(|_| RecordError::Truncated)?;
    record.len().checked_sub(PREFIX_BYTES).and_then(|rest| rest.checked_sub(length)).ok_or(RecordError::Truncated)
}

fn decode_vector(header: &mut &[u8]) -> Result<VersionVector, RecordError> {
    let count = decode_count(header, "vector entries", VECTOR_ENTRIES_MAX, ENTRY_BYTES)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push((ActorId::new(header.get_u64()), header.get_u64()));
    }
    VersionVector::from_sorted(entries).ok_or(RecordError::Canonical("vector entries do not rise by actor"))
}

/// A count that the remaining bytes can hold.
fn decode_count(header: &mut &[u8], what: &'static str, bound: usize, bytes_each: usize) -> Result<usize, RecordError> {
    let count = usize::from(header.try_get_u16().map_err(|_| RecordError::Truncated)?);
    if count > bound {
        return Err(RecordError::Bound { what, found: count, bound });
    }
    if header.remaining() < count * bytes_each {
        return Err(RecordError::Truncated);
    }
    Ok(count)
}

/// One version without its value, and the value's length. The caller checked that the bytes are there.
fn decode_version(header: &mut &[u8]) -> Result<(Version, usize), RecordError> {
    let dot = Dot::new(ActorId::new(header.get_u64()), header.get_u64());
    let hlc = Hlc::from_bits(header.get_u64());
    let write_id = WriteId::new(header.get_u128());
    let flags = header.get_u8();
    let expires_at = header.get_u64();
    let length = usize::try_from(header.get_u32()).map_err(|_| RecordError::Truncated)?;
    let checksum = header.get_u64();
    if flags & !FLAG_TOMBSTONE != 0 {
        return Err(RecordError::Canonical("unknown flag of a version"));
    }
    if dot.counter() == 0 {
        return Err(RecordError::Canonical("a dot counts from 1"));
    }
    if length > VALUE_BYTES_MAX {
        return Err(RecordError::Bound { what: "value bytes", found: length, bound: VALUE_BYTES_MAX });
    }
    let tombstone = flags & FLAG_TOMBSTONE != 0;
    if tombstone && length > 0 {
        return Err(RecordError::Canonical("a tombstone with a value"));
    }
    Ok((Version { dot, hlc, write_id, tombstone, expires_at, checksum, value: Bytes::new() }, length))
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("an item in memory is below 4 GiB: its parts are bounded when decoded")
}

fn count_u16(count: usize) -> u16 {
    u16::try_from(count).expect("vector and versions are bounded by 4,096 when decoded and by 64 when put")
}
