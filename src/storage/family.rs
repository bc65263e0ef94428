//! Column families: their names, and the format that each says it is written in.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::types::PartitionId;

/// Which column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FamilyName {
    /// Identity, boot generation, the cluster's creation.
    Meta,
    /// Writes kept for unreachable owners.
    Hints,
    /// A partition that lives here.
    Partition(PartitionId),
}

impl FamilyName {
    /// The family with this name; `None` for one that no quorate known to us makes.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "meta" => Some(Self::Meta),
            "hints" => Some(Self::Hints),
            _ => {
                let partition = PartitionId::new(name.strip_prefix('p')?.parse().ok()?);
                // Only the one spelling: p12 and p00012 are not p0012.
                (partition.to_string() == name).then_some(Self::Partition(partition))
            }
        }
    }
}

impl fmt::Display for FamilyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta"),
            Self::Hints => f.write_str("hints"),
            Self::Partition(partition) => partition.fmt(f),
        }
    }
}

/// One column family of the open database, shared by all who write to it.
#[derive(Debug)]
pub(super) struct Family {
    name: FamilyName,
    text: String,
    /// The flusher's tick at the first write since the last flush; 0 when there was none.
    first_unflushed: AtomicU32,
}

impl Family {
    pub(super) fn new(name: FamilyName) -> Self {
        Self { name, text: name.to_string(), first_unflushed: AtomicU32::new(0) }
    }

    pub(super) fn name(&self) -> FamilyName {
        self.name
    }

    /// Its name as RocksDB has it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Notes a write at `tick`. Called AFTER the write: a mark made before it could be taken by a flush that does not
    /// contain it, and the write would then pin the log for ever.
    pub(super) fn mark_written(&self, tick: u32) {
        assert!(tick > 0, "tick 0 means that nothing is unflushed");
        if self.first_unflushed.load(Ordering::Relaxed) == 0 {
            self.first_unflushed.store(tick, Ordering::Release);
        }
    }

    /// The tick of the oldest unflushed write.
    pub(super) fn unflushed_since(&self) -> Option<u32> {
        let tick = self.first_unflushed.load(Ordering::Acquire);
        (tick > 0).then_some(tick)
    }

    /// Forgets the mark. Called BEFORE the flush begins, so that a write during it marks the family again.
    pub(super) fn unmark(&self) {
        self.first_unflushed.store(0, Ordering::Release);
    }
}

/// The key of the format record: kind 0, before every other kind.
pub(super) const FORMAT_KEY: &[u8] = &[0];
/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u16 = 1;

/// The format in a format record; `None` when the record is none.
pub(super) fn parse_format(record: &[u8]) -> Option<u16> {
    record.try_into().ok().map(u16::from_be_bytes)
}
