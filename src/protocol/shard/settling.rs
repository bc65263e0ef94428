//! What follows from an exchange that was completed: clocks are joined, and a replica is believed again.
//!
//! ```text
//!   our clock is read -> Compare -> their clock and sums are read, as one
//!     -> everything made equal, every item confirmed
//!     -> Settle (our clock) -> they join it -> Settled -> we join theirs
//! ```
//!
//! Each clock was read before anything was compared, so what it covers was stored, or known to be replaced, on the side
//! that it came from, and is so on both sides now. That stands only while neither side lost a record in between: a
//! process has a number for each partition, its *life*, that changes when it starts and when a damaged record is
//! replaced, and a `Settle` for another life is refused.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::exchanging::Asked;
use super::{Now, Shard, Source};
use crate::protocol::anti_entropy::Pair;
use crate::protocol::replica::{Partition, PartitionClock};
use crate::protocol::types::PartitionId;
use crate::protocol::wire::{CompareReply, Failure, FailureCode, Frame, Header, Kind, SettleRequest};

/// The lives of this process, by partition.
#[derive(Debug, Default)]
pub(super) struct Lives {
    first: u64,
    later: BTreeMap<PartitionId, u64>,
}

/// What both sides of an exchange covered before it.
#[derive(Debug)]
pub(super) struct Clocks {
    our_life: u64,
    ours: PartitionClock,
    fingerprint: u64,
    theirs: Option<(u64, PartitionClock)>,
}

impl Lives {
    /// A process begins, with a number that no other has.
    pub(super) fn begin(&mut self, life: u64) {
        self.first = life;
    }

    /// A record of the partition was lost.
    fn renew(&mut self, partition: PartitionId) {
        let next = self.of(partition).wrapping_add(1);
        self.later.insert(partition, next);
    }

    pub(super) fn of(&self, partition: PartitionId) -> u64 {
        self.later.get(&partition).copied().unwrap_or(self.first)
    }
}

impl Clocks {
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Takes what the answer to the first question says of the other side's clock. False when it makes no sense, or is
    /// of another life than an earlier answer.
    pub(super) fn hear(&mut self, reply: &CompareReply) -> bool {
        if let Some((life, _)) = &self.theirs {
            return *life == reply.life;
        }
        let clock = match reply.clock.is_empty() {
            true => Some(self.ours.clone()),
            false => PartitionClock::from_record(&reply.clock).ok().map(|(clock, _)| clock),
        };
        self.theirs = clock.map(|clock| (reply.life, clock));
        self.theirs.is_some()
    }
}

impl Shard {
    /// The clock of a partition that this shard has.
    #[must_use]
    pub fn clock(&self, partition: PartitionId) -> Option<&PartitionClock> {
        self.partitions.get(&partition).map(Partition::clock)
    }

    /// What this replica's clock covers now.
    pub(super) fn clocks_before(&self, partition: PartitionId) -> Clocks {
        let ours = self.clock(partition).cloned().unwrap_or_default();
        Clocks { our_life: self.exchanges.lives.of(partition), fingerprint: ours.fingerprint(), ours, theirs: None }
    }

    /// What is told of this replica's clock to one who has a clock with this fingerprint.
    pub(super) fn clock_for(&self, partition: PartitionId, fingerprint: u64) -> (u64, Bytes) {
        let news = self.clock(partition).filter(|clock| clock.fingerprint() != fingerprint);
        (self.exchanges.lives.of(partition), news.map(|clock| clock.to_record(0)).unwrap_or_default())
    }

    /// A damaged record is replaced: what it said of the past is lost, and with it what the clock and running exchanges
    /// rest on.
    pub(super) fn forget_past(&mut self, partition: PartitionId) {
        self.exchanges.lives.renew(partition);
        if let Some(state) = self.partitions.get_mut(&partition) {
            // What the actor minted for the item may be gone with the record (rule 1).
            state.rotate_actor();
            state.forget_clock();
            self.items.touched.insert(partition);
        }
    }

    /// An exchange left both sides equal.
    pub(super) fn settle(&mut self, now: Now, pair: Pair, clocks: Clocks) {
        let Some((life, theirs)) = clocks.theirs else { return };
        if theirs == clocks.ours || clocks.our_life != self.exchanges.lives.of(pair.partition) {
            return;
        }
        let request = SettleRequest { partition: pair.partition, life, clock: clocks.ours.to_record(0) };
        let asked = Asked::Settle { partition: pair.partition, clock: theirs, until: now.instant.after(PATIENCE) };
        self.ask(now, pair, asked, Kind::Settle, request.body_bytes(), |out| request.encode(out));
    }

    /// The other side has joined this one's clock, so it was the same all the time: its own is joined here.
    pub(super) fn settled(&mut self, partition: PartitionId, clock: &PartitionClock) {
        self.join_clock(partition, clock);
    }

    fn join_clock(&mut self, partition: PartitionId, clock: &PartitionClock) {
        if self.partitions.get_mut(&partition).is_some_and(|state| state.join_clock(clock)) {
            self.counters.clocks_joined += 1;
            self.items.touched.insert(partition);
        }
    }

    /// A peer compared everything with this replica, and all of it is equal.
    pub(super) fn serve_settle(
        &mut self,
        source: Source,
        header: &Header,
        request: &SettleRequest,
    ) -> Result<(), Failure> {
        if request.life != self.exchanges.lives.of(request.partition) {
            let text = "this replica was started again, or lost a record, since it was compared; compare again";
            return Err(Failure::new(FailureCode::Stale, text));
        }
        let (clock, _) = PartitionClock::from_record(&request.clock)
            .map_err(|error| Failure::new(FailureCode::BadInput, error.to_string()))?;
        self.join_clock(request.partition, &clock);
        let header = Header::new(Kind::Settled, header.correlation, 0, self.view.layout.id());
        self.reply(source, Frame::new(header, Bytes::new()).to_bytes());
        Ok(())
    }

    /// All that an exchange brought is safe: what this replica has of the partition was compared with all that the
    /// other owner has. What the other owner cannot read any more it cannot tell; waiting for it would have two damaged
    /// nodes wait for each other.
    pub(super) fn compared(&mut self, pair: Pair) {
        let Some(waiting) = self.exchanges.unverified.get_mut(&pair.partition) else { return };
        waiting.remove(&pair.peer);
        if waiting.is_empty() {
            self.exchanges.unverified.remove(&pair.partition);
        }
    }
}

/// A settlement that is not answered by then is left to the next exchange.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);
