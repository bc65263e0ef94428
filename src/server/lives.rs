//! Lives of data directories: what tells a node's disk from a new one, from an older copy of it, and from a clone.
//!
//! A directory that comes back as it once was looks whole: it has forgotten writes that its node has acknowledged, and
//! nothing in it says so. The others can: each directory has a *life*, and members remember each other's newest.
//!
//! ```text
//!   life = epoch (above all known, at each start) | process (drawn at the start) | count (up while it writes)
//!
//!   start --vouch(before, now)--> member: is `before` where the life ended that I remember?
//!                                   yes: `now` is remembered
//!                                   no:  "I remember epoch E": the node is *lost* (rule 4) and notes that on its disk;
//!                                        then its epoch is E + 1, it says so (atoned), and that is remembered
//! ```
//!
//! Invariant: a member forgets a life only for one that continues it, or for one whose node has noted what it lacks. So
//! neither an answer that gets lost nor a sudden end in between makes an old directory pass for a whole one.
//!
//! *Caveats.* The count is renewed every few seconds (`RENEW_EVERY`): a copy that is younger than that, taken from the
//! very process that ended, cannot be told. Nor can copies of all nodes that were put back together; nobody remembers
//! more then, which is right.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::node::NodeError;
use crate::protocol::types::{DiskId, NodeId};
use crate::protocol::wire::{Life, Vouch, Vouched, decode_control, encode_control};
use crate::storage::{Meta, MetaError};

/// How often a life is renewed while the node writes: one fsync and a small frame to each member.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// The record of the own life, and of what it has atoned for.
const LIFE: &str = "life";
/// The record of the members' lives.
const MEMBERS: &str = "members";

/// The own life, and those that are remembered.
#[derive(Debug)]
pub(super) struct Lives {
    disk: DiskId,
    before: Life,
    now: Life,
    atoned: u64,
    members: BTreeMap<NodeId, (DiskId, Life)>,
    renewed: Instant,
    /// How much had been written when it was renewed.
    written: u64,
}

impl Lives {
    /// Begins a life. On the disk before anybody hears of it.
    pub(super) fn begin(meta: Meta<'_>, disk: DiskId, process: u64) -> Result<Self, NodeError> {
        let bad = |error: crate::protocol::wire::WireError| NodeError::Creation(error.to_string());
        let (before, atoned): (Life, u64) = match meta.record(LIFE)? {
            Some(record) => decode_control(&record, "life").map_err(bad)?,
            None => Default::default(),
        };
        let members: Vec<(NodeId, DiskId, Life)> = match meta.record(MEMBERS)? {
            Some(record) => decode_control(&record, "members' lives").map_err(bad)?,
            None => Vec::new(),
        };
        let members = members.into_iter().map(|(node, disk, life)| (node, (disk, life))).collect();
        let now = Life { epoch: before.epoch.saturating_add(1), process, count: 0 };
        let lives = Self { disk, before, now, atoned, members, renewed: Instant::now(), written: 0 };
        lives.keep_own(meta)?;
        Ok(lives)
    }

    fn keep_own(&self, meta: Meta<'_>) -> Result<(), MetaError> {
        meta.put_record(LIFE, &encode_control(&(self.now, self.atoned)))
    }

    pub(super) fn keep_members(&self, meta: Meta<'_>) -> Result<(), MetaError> {
        let members: Vec<_> = self.members.iter().map(|(node, (disk, life))| (*node, *disk, *life)).collect();
        meta.put_record(MEMBERS, &encode_control(&members))
    }

    /// What the members are asked to vouch for.
    pub(super) fn vouch(&self) -> Vouch {
        Vouch { disk: self.disk, before: self.before, now: self.now, atoned: self.atoned }
    }

    /// A member comes with a directory. What it is told.
    pub(super) fn remember(&mut self, meta: Meta<'_>, node: NodeId, vouch: &Vouch) -> Result<Vouched, MetaError> {
        let known = self.members.get(&node).copied();
        let continues = known
            .is_none_or(|(disk, life)| (disk == vouch.disk && vouch.goes_on_from(life)) || life.epoch < vouch.atoned);
        if let (false, Some((disk, life))) = (continues, known) {
            tracing::error!(
                member = %node, disk = %vouch.disk, remembered = %disk, epoch = life.epoch,
                "a member came back with another disk, or an older copy of it"
            );
            return Ok(Vouched { continues, epoch: life.epoch });
        }
        self.members.insert(node, (vouch.disk, vouch.now));
        // A renewal is kept with the next own one: should it be forgotten, its node's next start still continues it.
        if known.is_none_or(|(disk, life)| disk != vouch.disk || life.process != vouch.now.process) {
            self.keep_members(meta)?;
        }
        Ok(Vouched { continues, epoch: vouch.now.epoch })
    }

    /// A member remembers a life up to this epoch that this one does not continue. That is noted on the disk already;
    /// now this life is above that.
    pub(super) fn atone(&mut self, meta: Meta<'_>, epoch: u64) -> Result<(), MetaError> {
        self.now.epoch = self.now.epoch.max(epoch.saturating_add(1));
        self.atoned = self.now.epoch;
        self.keep_own(meta)
    }

    /// Renews the life when it is time and something was written since. True when the members have to be told.
    pub(super) fn renew(&mut self, meta: Meta<'_>, written: u64) -> Result<bool, MetaError> {
        if written == self.written || self.renewed.elapsed() < RENEW_EVERY {
            return Ok(false);
        }
        self.now.count = self.now.count.saturating_add(1);
        self.keep_members(meta)?;
        self.keep_own(meta)?;
        self.renewed = Instant::now();
        Ok(true)
    }

    /// So much was written when the renewal itself was.
    pub(super) const fn renewed_at(&mut self, written: u64) {
        self.written = written;
    }
}

#[cfg(test)]
mod tests;
