//! Slow requests: which clients' requests took long, and where their time went.
//!
//! ```text
//!   arrived      taken up        own copy at hand                          told
//!      |--- inbox ---|--- own copy ---|                                     |
//!                    |-- n2: asked ------------- answered --|               |
//!                                     |-- own copy written, committed, fsynced --|
//! ```
//!
//! An operation notes a few instants on its way, plain numbers in its slot. Only when its client is told late does
//! anything more happen: an account is made, for the caller to log. Accounts are bounded in number, so that a node on
//! which everything is slow does not fill its disk with saying so; what was left out is counted in the next one.
//!
//! *Caveats.* Times are those of the inputs. Within one turn it is the same time, but for its commit. A request that is
//! refused after it was begun (a conflict, too many copies in memory) has no account, and one for which this node comes
//! to stand in counts from there.

use core::time::Duration;

use super::measures::Verb;
use super::operation::{Operation, Relay, Request};
use super::{Now, PeerIndex, Shard, Source};
use crate::protocol::coordinator::Slot;
use crate::protocol::replica::ItemKey;
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::types::limits::REPLICAS_MAX;
use crate::protocol::types::{Address, Instant, PartitionId, TableName, WriteId};
use crate::protocol::wire::{FailureCode, Frame, GetRequest, Kind, PutRequest};

/// Accounts that a shard may give at once.
const BURST: u32 = 10;
/// And then one in each of these: a few hundred bytes a second on the disk.
const EVERY: Duration = Duration::from_secs(1);

/// The account of a request whose client was told late. Times count from its arrival at this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowRequest {
    /// What was asked.
    pub verb: Verb,
    /// Of which table.
    pub table: TableName,
    /// Of which key: its place on the ring, not the key itself, which may be nobody's business.
    pub hash: KeyHash,
    /// The partition of that.
    pub partition: PartitionId,
    /// The asker's name for the request.
    pub request: u64,
    /// The client's name for a write.
    pub write_id: Option<WriteId>,
    /// Why it failed, if it did.
    pub failure: Option<FailureCode>,
    /// Until its client was told.
    pub took: Duration,
    /// Until this shard took it up; all of the time, when it came too late.
    pub inbox: Duration,
    /// From then until this node's own copy was at hand; none when it never was, or was not needed.
    pub own_copy: Option<Duration>,
    /// The other owners by their place in the preference list; of a request that was passed on, the one that it was
    /// passed to last.
    pub peers: Vec<SlowPeer>,
    /// From asking the replicas until this node's own copy was committed, and fsynced where that is asked of it; none
    /// when nothing was written.
    pub stored: Option<Duration>,
    /// Slow requests since the account before this one of which there is none.
    pub left_out: u64,
}

/// What another node did for a slow request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPeer {
    /// Which.
    pub peer: PeerIndex,
    /// When it was asked last; none when it was not.
    pub asked: Option<Duration>,
    /// When it answered that; none when it had not.
    pub answered: Option<Duration>,
}

/// When an operation came how far. Zero: not yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Milestones {
    taken_up: Instant,
    own_copy: Instant,
    stored: Instant,
    answered: [Instant; REPLICAS_MAX],
    /// Bit per slot: whether it was asked at all.
    asked: u8,
}

const _: () = assert!(REPLICAS_MAX <= 8, "a slot is a bit of a byte");

impl Milestones {
    pub(super) fn take_up(&mut self, now: Now) {
        self.taken_up = now.instant;
    }

    pub(super) fn own_copy_read(&mut self, now: Now) {
        self.own_copy = now.instant;
    }

    pub(super) fn own_copy_stored(&mut self, now: Now) {
        self.stored = now.instant;
    }

    /// An answer to what was asked before counts no more.
    pub(super) fn ask(&mut self, slot: Slot) {
        self.asked |= 1 << slot.as_index();
        self.set_answered(slot, Instant::default());
    }

    pub(super) fn answer(&mut self, slot: Slot, now: Now) {
        self.set_answered(slot, now.instant);
    }

    fn set_answered(&mut self, slot: Slot, at: Instant) {
        if let Some(answered) = self.answered.get_mut(slot.as_index()) {
            *answered = at;
        }
    }
}

/// Which requests are slow, and the accounts that were given of them.
#[derive(Debug, Default)]
pub(super) struct SlowLog {
    /// None: nobody wants to know.
    threshold: Option<Duration>,
    given: u32,
    /// When one less was given.
    regained_at: Instant,
    left_out: u64,
    accounts: Vec<SlowRequest>,
}

impl SlowLog {
    /// Whether a request that arrived then is to be accounted for, and how many before it were not.
    fn admits(&mut self, now: Now, arrived: Instant) -> Option<u64> {
        let took = now.instant.since(arrived);
        if self.threshold.is_none_or(|threshold| took < threshold) {
            return None;
        }
        let periods = now.instant.since(self.regained_at).as_nanos() / EVERY.as_nanos();
        if periods > 0 {
            self.given = self.given.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
            self.regained_at = now.instant;
        }
        if self.given >= BURST {
            self.left_out += 1;
            return None;
        }
        self.given += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// An operation's client is told.
    pub(super) fn note(&mut self, now: Now, operation: &Operation, failure: Option<FailureCode>) {
        let Some(left_out) = self.admits(now, operation.began) else { return };
        let milestones = &operation.milestones;
        let since = |at: Instant, from: Instant| (at != Instant::default()).then(|| at.since(from));
        let peer = |slot: Slot| {
            let asked = milestones.asked & (1 << slot.as_index()) != 0;
            let asked_at = operation.slots_asked_at.get(slot.as_index()).filter(|_| asked);
            let answered_at = milestones.answered.get(slot.as_index()).copied().unwrap_or_default();
            SlowPeer {
                peer: operation.owners.peer(slot),
                asked: asked_at.map(|at| at.since(operation.began)),
                answered: since(answered_at, operation.began),
            }
        };
        let (verb, write_id) = match &operation.request {
            Request::Get { .. } => (Verb::Get, None),
            Request::Put(work) => (Verb::Put, Some(work.request.write_id)),
        };
        let own = operation.key.hint_parts().map(|(_, _, key)| key);
        let own: &ItemKey = own.as_ref().unwrap_or(&operation.key);
        self.accounts.push(SlowRequest {
            verb,
            table: operation.address.table().clone(),
            hash: own.parts().map_or(KeyHash::from_bits(0), |(hash, _)| hash),
            partition: operation.partition,
            request: operation.correlation,
            write_id,
            failure,
            took: now.instant.since(operation.began),
            inbox: milestones.taken_up.since(operation.began),
            own_copy: since(milestones.own_copy, milestones.taken_up),
            peers: operation.owners.others().map(peer).collect(),
            stored: since(milestones.stored, operation.asked_at),
            left_out,
        });
    }
}

impl Shard {
    /// From here on clients' requests that take this long are accounted for; `None` for none. What that costs a
    /// request that is not slow: a few numbers in its place, whatever the threshold.
    pub fn account_for_slow(&mut self, threshold: Option<Duration>) {
        self.slow.threshold = threshold;
    }

    /// The accounts since the last call.
    pub fn take_slow(&mut self) -> Vec<SlowRequest> {
        std::mem::take(&mut self.slow.accounts)
    }

    /// A request that was passed on is answered, by the node that it was passed to or in its place.
    pub(super) fn note_slow_relay(&mut self, now: Now, relay: &Relay, failure: Option<FailureCode>) {
        let (source, taken_up) = (relay.source, relay.taken_up);
        let asked = Some(relay.asked_at.since(source.arrived)).filter(|_| relay.asked_at != Instant::default());
        // Whoever was asked last and failed it has answered, or was given up; a deadline that passed tells which.
        let answered = Some(now.instant.since(source.arrived)).filter(|_| failure.is_none());
        let peer = asked.map(|_| SlowPeer { peer: relay.to, asked, answered });
        self.note_unbegun(now, source, (relay.kind, &relay.body, relay.correlation), taken_up, peer, failure);
    }

    /// A request came too late to be begun.
    pub(super) fn note_slow_expired(&mut self, now: Now, source: Source, frame: &Frame, failure: FailureCode) {
        let Some(kind) = frame.kind().filter(|kind| Verb::of(*kind).is_some()) else { return };
        let request = (kind, &frame.body, frame.header.correlation);
        self.note_unbegun(now, source, request, now.instant, None, Some(failure));
    }

    fn note_unbegun(
        &mut self,
        now: Now,
        source: Source,
        (kind, body, request): (Kind, &bytes::Bytes, u64),
        taken_up: Instant,
        peer: Option<SlowPeer>,
        failure: Option<FailureCode>,
    ) {
        let Some(left_out) = self.slow.admits(now, source.arrived) else { return };
        let Some((verb, address, write_id)) = asked_for(kind, body) else { return };
        let hash = KeyHash::of(&address, self.view.layout.parameters().hash_seed);
        self.slow.accounts.push(SlowRequest {
            verb,
            table: address.table().clone(),
            hash,
            partition: partition_of(hash, self.view.layout.partition_bits()),
            request,
            write_id,
            failure,
            took: now.instant.since(source.arrived),
            inbox: taken_up.since(source.arrived),
            own_copy: None,
            peers: peer.into_iter().collect(),
            stored: None,
            left_out,
        });
    }
}

/// What a client's frame is about.
fn asked_for(kind: Kind, body: &bytes::Bytes) -> Option<(Verb, Address, Option<WriteId>)> {
    match Verb::of(kind)? {
        Verb::Get => GetRequest::decode(body.clone()).ok().map(|request| (Verb::Get, request.address, None)),
        Verb::Put => {
            let request = PutRequest::decode(body.clone()).ok()?;
            Some((Verb::Put, request.address, Some(request.write_id)))
        }
    }
}
