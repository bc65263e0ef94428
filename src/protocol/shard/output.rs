//! What goes into a shard beside frames, and what comes out.

use bytes::Bytes;

use crate::protocol::replica::Mutation;
use crate::protocol::types::{Instant, PartitionId, WallTime};
use crate::protocol::wire::{FailureCode, Frame};

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The stopwatch: deadlines and hedges.
    pub instant: Instant,
    /// The wall: stamps.
    pub wall: WallTime,
}

/// A peer's dense number: its place in the layout's list of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(u16);

impl PeerIndex {
    /// The peer at this place.
    #[must_use]
    pub const fn new(at: u16) -> Self {
        Self(at)
    }

    /// The place as an index.
    #[must_use]
    pub fn as_index(self) -> usize {
        usize::from(self.0)
    }
}

/// The caller's name for a lane, or a local door, on which answers go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u64);

impl SourceId {
    /// The source with this number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The source as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Where a request came from, and when. Its role was checked before the frame came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Where the answer goes.
    pub id: SourceId,
    /// When the frame was read from its lane, before it waited anywhere: its budget counts from here.
    pub arrived: Instant,
}

/// Something for the caller to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A frame for the shard of a peer that has this partition.
    Send {
        /// Which peer.
        peer: PeerIndex,
        /// Which of its shards.
        partition: PartitionId,
        /// Named again in `handle_send_failed`, should the lane refuse it.
        correlation: u64,
        /// The whole frame.
        bytes: Bytes,
    },
    /// A frame for the one who asked.
    Reply {
        /// Where to.
        source: Source,
        /// The whole frame.
        bytes: Bytes,
    },
    /// A request for another shard of this node; its answer goes to the same source.
    Forward {
        /// Which shard.
        shard: u16,
        /// Where its answer goes.
        source: Source,
        /// The request.
        frame: Frame,
    },
}

/// The bytes of a turn, added up as they come.
#[derive(Debug, Default)]
pub(super) struct Weight {
    mutations: usize,
    outputs: usize,
    bytes: usize,
}

impl Weight {
    /// What is written and said so far.
    pub(super) fn of(&mut self, mutations: &[Mutation], outputs: &[Output]) -> usize {
        let value = |mutation: &Mutation| mutation.value.as_ref().map_or(0, Bytes::len) + mutation.key.len();
        self.bytes += mutations.get(self.mutations..).unwrap_or_default().iter().map(value).sum::<usize>();
        let frame = |output: &Output| match output {
            Output::Send { bytes, .. } | Output::Reply { bytes, .. } => bytes.len(),
            Output::Forward { frame, .. } => frame.body.len(),
        };
        self.bytes += outputs.get(self.outputs..).unwrap_or_default().iter().map(frame).sum::<usize>();
        (self.mutations, self.outputs) = (mutations.len(), outputs.len());
        self.bytes
    }
}

/// Counts since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads coordinated.
    pub gets: u64,
    /// Writes coordinated.
    pub puts: u64,
    /// Copies read for peers.
    pub replica_reads: u64,
    /// Items joined for peers.
    pub replica_merges: u64,
    /// Reads whose answers differed and were stored on W owners first.
    pub write_backs: u64,
    /// Reads that asked one more replica because an asked one was slow.
    pub hedges: u64,
    /// Writes that fetched what their context had seen first.
    pub fetches: u64,
    /// Replicas that a read found behind, and sent what they lack.
    pub read_repairs: u64,
    /// Heads sent in place of large copies.
    pub heads_sent: u64,
    /// Values fetched because a head named them and no copy had them.
    pub values_fetched: u64,
    /// Hints that peers asked this node to keep.
    pub hints_asked: u64,
    /// Hints taken in; one that is joined into another is not counted again.
    pub hints_stored: u64,
    /// Hints that were not taken in because there was no room for them.
    pub hints_refused: u64,
    /// Hints that their home nodes have fsynced, removed here.
    pub hints_delivered: u64,
    /// Fallbacks asked to stand in for an owner.
    pub stand_ins: u64,
    /// Requests coordinated here because no owner answered.
    pub stood_in: u64,
    /// Exchanges begun here.
    pub exchanges_begun: u64,
    /// Exchanges that ended with both sides equal.
    pub exchanges_completed: u64,
    /// Exchanges that did not.
    pub exchanges_failed: u64,
    /// Items that exchanges found to differ.
    pub differences: u64,
    /// Pages of items that a peer and this node had alike.
    pub pages_matched: u64,
    /// Items fetched because a peer had more of them.
    pub items_fetched: u64,
    /// Items given because a peer had less of them.
    pub items_given: u64,
    /// Bytes of frames that exchanges begun here have sent.
    pub exchange_bytes: u64,
    /// Clocks that learnt something from another owner's, after an exchange that left both sides equal.
    pub clocks_joined: u64,
    /// Hash trees taken over from the process before.
    pub trees_taken: u64,
    /// Hash trees built from what is on the disk because there was none.
    pub trees_built: u64,
    /// Hash trees built from what is on the disk and found to be the ones that writes kept.
    pub trees_verified: u64,
    /// Partitions in which bytes had changed without a write.
    pub rot_found: u64,
    /// Damaged copies replaced by what the other owners have.
    pub restored: u64,
    /// Rounds of reaping begun here.
    pub reaping_rounds: u64,
    /// Tombstones removed here after all owners had confirmed them.
    pub reaped: u64,
    /// Entries of vectors stripped here after all owners had confirmed them.
    pub stripped: u64,
    /// Items removed here because all other owners had reaped them.
    pub dropped_obsolete: u64,
    /// Versions that came from elsewhere and were not joined, because they were deleted or replaced long ago.
    pub refused_as_obsolete: u64,
    /// Items sent back to an owner that called obsolete what another one still holds.
    pub contested: u64,
    /// Items taken back because another owner still holds them.
    pub taken_back: u64,
    /// Items that a round of reaping had to leave for later, by what was in the way.
    pub reaping_blocked: std::collections::BTreeMap<&'static str, u64>,
    /// Writes whose id was known already.
    pub retries_recognised: u64,
    /// Requests passed on to a replica.
    pub relayed: u64,
    /// Requests passed on to another shard of this node.
    pub forwarded_to_shard: u64,
    /// Lookups of own copies that memory answered: the turn's own writes, RocksDB's memtables or its block cache.
    pub reads_ready: u64,
    /// Lookups that had to go to the disk.
    pub reads_pending: u64,
    /// Own copies that could not be read.
    pub unreadable: u64,
    /// Items that reached the warning of 16 versions.
    pub versions_warned: u64,
    /// Items whose vector reached the warning of 64 entries.
    pub vector_warned: u64,
    /// Answers that belonged to nothing: late, duplicated, or of the wrong kind.
    pub answers_ignored: u64,
    /// Requests whose time was over before this shard got to them, by kind: not served, and answered so.
    pub expired: std::collections::BTreeMap<&'static str, u64>,
    /// Failures told to clients and peers, by code.
    pub failures: std::collections::BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(super) fn failed(&mut self, code: FailureCode) {
        *self.failures.entry(code.as_str()).or_default() += 1;
    }
}
