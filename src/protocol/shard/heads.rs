//! Heads in place of large copies: what replicas send when the coordinator has the values already, and the fetching of
//! values that it turns out to lack.
//!
//! A read of a large item that R replicas hold then moves the item once, from the coordinator's own disk. A replica
//! that sends a head has verified the values behind it, as for a whole copy (rule 4), so a damaged copy says
//! "unreadable" here too.

use super::items::LocalCopy;
use super::reading::remaining_ms;
use super::timers::Timer;
use super::{Now, Output, Shard};
use crate::protocol::coordinator::{Replied, Slot};
use crate::protocol::replica::Storage;
use crate::protocol::types::Address;
use crate::protocol::version::{Dot, Head, Siblings};
use crate::protocol::wire::{Frame, Header, Kind, ReadRequest, ReadResult};

/// Values of an item above which a head is sent in their place, bytes. Below it a copy costs about what the round trip
/// for a missing value would.
pub(super) const HEAD_ABOVE_BYTES: usize = 4 * 1024;

/// How much of its copy a replica is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// All of it, or the head when it is large.
    HeadIfLarge,
    /// These versions.
    Only(Vec<Dot>),
}

impl Extent {
    /// What a request asks for.
    pub(super) fn of(header: &Header, wanted: Vec<Dot>) -> Self {
        match (wanted.is_empty(), header.wants_head()) {
            (false, _) => Self::Only(wanted),
            (true, true) => Self::HeadIfLarge,
            (true, false) => Self::Whole,
        }
    }
}

impl Shard {
    /// What a peer is told of this node's copy. The values were verified when it was opened.
    pub(super) fn told(&mut self, copy: LocalCopy, extent: &Extent) -> ReadResult {
        let held = match copy {
            Ok(Some(held)) => held,
            Ok(None) => return ReadResult::Absent,
            Err(_) => return ReadResult::Unreadable,
        };
        match extent {
            Extent::HeadIfLarge if held.item.value_bytes() > HEAD_ABOVE_BYTES => match Head::of(&held.record) {
                Ok(causal) => {
                    self.counters.heads_sent += 1;
                    ReadResult::Head(causal)
                }
                Err(_) => ReadResult::Unreadable,
            },
            Extent::Only(wanted) => {
                let part = held.item.only(wanted);
                // The whole item says all that there is to say: that a version is gone, too.
                let has_all = wanted.iter().all(|dot| part.versions().iter().any(|version| version.dot == *dot));
                match has_all && part.versions().len() < held.item.versions().len() {
                    true => ReadResult::Part(part.to_record()),
                    false => ReadResult::Found(held.record),
                }
            }
            Extent::Whole | Extent::HeadIfLarge => ReadResult::Found(held.record),
        }
    }

    /// Fetches the values that the merge of an operation's answers lacks.
    pub(super) fn fetch_values(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        loop {
            let Some(operation) = self.operations.get_mut(id) else { return };
            let Some(reading) = &mut operation.reading else { return };
            let Some((slot, wanted)) = reading.get.next_fetch() else { break };
            let peer = operation.owners.peer(slot);
            if !self.peers.is_up(peer) {
                return self.copy_read(now, id, slot, Replied::Unknown, storage);
            }
            self.counters.values_fetched += wanted.len() as u64;
            let request = ReadRequest { address: operation.address.clone(), wanted };
            let header = Header::new(Kind::Read, id, remaining_ms(now, operation.deadline), self.view.layout.id());
            let bytes = Frame::build(header, request.body_bytes(), |out| request.encode(out));
            let partition = operation.partition;
            self.peers.asked(peer, now.instant);
            self.outbox.push(Output::Send { peer, partition, correlation: id, bytes });
            let at = now.instant.after(self.peers.hedge_after(now.instant, [peer].into_iter()));
            self.operations.arm(at, id, Timer::Hedge);
        }
    }

    /// Values are late: who else has them is asked as well.
    pub(super) fn fetch_again(&mut self, now: Now, id: u64, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let Some(reading) = &mut operation.reading else { return };
        reading.get.give_up_waiting();
        let before = self.counters.values_fetched;
        self.fetch_values(now, id, storage);
        // Nobody else who answered has them: one more replica is asked, for all of the item.
        if self.counters.values_fetched == before && self.ask_one(now, id) {
            self.counters.hedges += 1;
            self.arm_hedge(now, id);
        }
    }

    /// A replica sent values that were asked for.
    pub(super) fn values_fetched(&mut self, now: Now, id: u64, slot: Slot, part: &Siblings, storage: &mut dyn Storage) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        if operation.writing.is_some() || operation.reading.is_none() || !self.take_copy(id, part.record_bytes()) {
            return;
        }
        let Some(reading) = self.operations.get_mut(id).and_then(|operation| operation.reading.as_mut()) else {
            return;
        };
        reading.get.add_values(slot, part);
        self.read_further(now, id, storage);
    }
}

/// Takes a head. One that does not decode, or whose empty values do not match their checksums, is no answer (rule 5).
pub(super) fn head_of(address: &Address, head: &bytes::Bytes, unverified: bool, trusted: bool) -> Replied {
    let Ok(head) = Head::decode(head) else { return Replied::Unknown };
    let (item, lacking) = head.into_parts();
    if trusted {
        return Replied::Copy { item, unverified };
    }
    let intact = item.versions().iter().all(|version| lacking.contains(&version.dot) || version.is_intact(address));
    if intact { Replied::Head { item, lacking, unverified } } else { Replied::Unknown }
}
