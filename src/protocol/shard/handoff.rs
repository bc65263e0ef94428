//! Hints on their way home (Dynamo 4.6): in pages, with a window that grows while the home node keeps up.
//!
//! ```text
//!   page of hints --Merge, fsync wanted--> home node --fsynced--> removed here, and the actor rotated (rule 1)
//!        ^                                     |
//!        +------- window +1 --------- window / 2, back-off --- silence or no link
//! ```
//!
//! A hint that changed after it was read stays, and leaves with a later pass: what was delivered is not all of it.

use core::time::Duration;

use bytes::Bytes;
use rand_core::Rng;

use super::operation::Operations;
use super::{Now, Output, PeerIndex, Shard};
use crate::protocol::replica::{HintPage, HintRange, ItemKey, Mutation, ReadError, ReadId, Storage, open_copy};
use crate::protocol::types::{Instant, PartitionId};
use crate::protocol::wire::{Frame, Header, Kind, MergeReply, MergeRequest};

/// Hints on their way to one home node at first.
pub(super) const WINDOW_FIRST: usize = 4;
/// And at most: 64 of a kilobyte are one full packet train.
const WINDOW_MAX: usize = 64;
/// Hints of a page.
const PAGE_HINTS: usize = 128;
/// Bytes of a page, about: what one home node may keep in memory here.
const PAGE_BYTES: usize = 1024 * 1024;
/// A home node that answers nothing for so long is given up for now.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon after it was stored a hint for a home node that is up leaves.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(200);
/// Between two attempts, doubled per failure up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

impl Shard {
    /// When a delivery is to begin, or to be given up.
    pub(super) fn next_handoff(&self) -> Option<Instant> {
        let due = |(peer, home): (&PeerIndex, &super::hints::Home)| home.wake.filter(|_| self.peers.is_up(*peer));
        self.hints.homes.iter().filter_map(due).min()
    }

    /// Begins the deliveries that are due, and gives up those that go nowhere.
    pub(super) fn tick_handoff(&mut self, now: Now, storage: &mut dyn Storage) {
        let due = |(peer, home): (&PeerIndex, &super::hints::Home)| {
            let due = self.peers.is_up(*peer) && home.wake.is_some_and(|wake| wake <= now.instant);
            due.then_some(*peer)
        };
        let due: Vec<PeerIndex> = self.hints.homes.iter().filter_map(due).collect();
        for peer in due {
            let Some(home) = self.hints.homes.get_mut(&peer) else { continue };
            home.wake = None;
            if home.sent.is_empty() {
                self.deliver(now, peer, storage);
            } else {
                self.handoff_failed(now, peer);
            }
        }
    }

    /// The home node's link came up or went down.
    pub(super) fn handoff_peer(&mut self, now: Now, peer: PeerIndex, up: bool) {
        let Some(home) = self.hints.homes.get_mut(&peer) else { return };
        if !up {
            return self.handoff_failed(now, peer);
        }
        if home.count > 0 {
            home.failures = 0;
            home.wake = Some(now.instant);
        }
    }

    /// Sends what the window allows, and has the next page read.
    fn deliver(&mut self, now: Now, peer: PeerIndex, storage: &mut dyn Storage) {
        loop {
            let Some(home) = self.hints.homes.get_mut(&peer) else { return };
            if home.sent.len() >= self.throttle.of(home.window) {
                return;
            }
            let Some((key, record)) = home.queue.pop_front() else { break };
            self.send_hint_home(now, peer, key, &record);
        }
        let Some(home) = self.hints.homes.get_mut(&peer) else { return };
        if home.page.is_some() {
            return;
        }
        let (from, after) = home.cursor.clone().unwrap_or((PartitionId::new(0), None));
        if let Some(partition) = self.hints.next_partition(peer, from) {
            let after = after.filter(|_| partition == from);
            return self.read_page(peer, partition, after, storage);
        }
        let Some(home) = self.hints.homes.get_mut(&peer) else { return };
        if home.sent.is_empty() {
            // The pass is over. What is left had changed on its way, or was refused.
            home.cursor = None;
            if home.count > 0 {
                home.failures += 1;
                let wait = self.retry_after(peer);
                if let Some(home) = self.hints.homes.get_mut(&peer) {
                    home.wake = Some(now.instant.after(wait));
                }
            }
        }
    }

    fn read_page(
        &mut self,
        peer: PeerIndex,
        partition: PartitionId,
        after: Option<ItemKey>,
        storage: &mut dyn Storage,
    ) {
        let Some(node) = self.view.layout.nodes().get(peer.as_index()).copied() else { return };
        let id = self.items.next_read();
        // What this turn writes or removes may be read as it was before.
        let unsettled = self.items.unsettled_hints();
        if let Some(home) = self.hints.homes.get_mut(&peer) {
            if home.cursor.is_none() && home.sent.is_empty() {
                home.changed.clear();
            }
            home.changed.extend(unsettled);
            home.page = Some(id);
            home.cursor = Some((partition, after.clone()));
        }
        storage.hints(id, HintRange { home: node, partition, after, limit: PAGE_HINTS, bytes: PAGE_BYTES });
    }

    /// A page of hints was read.
    pub(super) fn hint_page(
        &mut self,
        now: Now,
        id: ReadId,
        page: Result<HintPage, ReadError>,
        storage: &mut dyn Storage,
    ) {
        let of = self.hints.homes.iter_mut().find(|(_, home)| home.page == Some(id));
        let Some((peer, home)) = of.map(|(peer, home)| (*peer, home)) else { return };
        home.page = None;
        match page {
            Err(_) => {
                self.counters.unreadable += 1;
                self.handoff_failed(now, peer);
            }
            Ok(page) => {
                let last = page.hints.last().map(|(key, _)| key.clone());
                if let Some((partition, after)) = &mut home.cursor {
                    if page.more {
                        *after = last;
                    } else {
                        (*partition, *after) = (PartitionId::new(partition.as_u16().saturating_add(1)), None);
                    }
                }
                let under_way = |key: &ItemKey| home.sent.values().any(|(sent, _)| sent == key);
                let fresh = |(key, _): &(ItemKey, Bytes)| !home.changed.contains(key) && !under_way(key);
                let fresh: Vec<_> = page.hints.into_iter().filter(fresh).collect();
                home.queue.extend(fresh);
                self.deliver(now, peer, storage);
            }
        }
    }

    fn send_hint_home(&mut self, now: Now, peer: PeerIndex, key: ItemKey, record: &Bytes) {
        let Some((_, partition, item_key)) = key.hint_parts() else { return };
        let Some((_, address)) = item_key.parts() else { return };
        // Verified before it is sent (rule 5): what rotted here must not spread.
        if open_copy(&address, record).is_err() {
            self.counters.unreadable += 1;
            return;
        }
        self.hints.next_errand += 1;
        let errand = self.hints.next_errand;
        let correlation = Operations::errand(errand);
        let patience = u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX);
        let header = Header::new(Kind::Merge, correlation, patience, self.view.layout.id()).with_fsync();
        let request = MergeRequest { address, record: record.clone() };
        let bytes = Frame::build(header, request.body_bytes(), |out| request.encode(out));
        if let Some(home) = self.hints.homes.get_mut(&peer) {
            home.sent.insert(errand, (key, record.len()));
            home.wake = Some(now.instant.after(PATIENCE));
        }
        self.peers.asked(peer, now.instant);
        self.outbox.push(Output::Send { peer, partition, correlation, bytes });
    }

    /// The home node answered an errand.
    pub(super) fn errand_answered(
        &mut self,
        now: Now,
        peer: PeerIndex,
        errand: u64,
        frame: &Frame,
        storage: &mut dyn Storage,
    ) {
        let Some(home) = self.hints.homes.get_mut(&peer) else { return };
        let Some((key, record_bytes)) = home.sent.remove(&errand) else { return };
        let reply = match frame.kind() {
            Some(Kind::MergeReply) => MergeReply::decode(frame.body.clone()).ok(),
            _ => None,
        };
        let delivered = reply.is_some_and(|reply| reply.fsynced);
        if delivered {
            home.failures = 0;
            home.window = (home.window + 1).min(WINDOW_MAX);
        } else {
            // It is there and could not: this hint waits for the next pass, the others go on.
            home.window = (home.window / 2).max(1);
        }
        home.wake = (!home.sent.is_empty()).then(|| now.instant.after(PATIENCE));
        let changed = home.changed.contains(&key);
        if delivered && !changed && !self.items.is_latched(&key) && !self.items.is_written(&key) {
            self.remove_hint(peer, &key, record_bytes);
        }
        self.deliver(now, peer, storage);
    }

    fn remove_hint(&mut self, peer: PeerIndex, key: &ItemKey, record_bytes: usize) {
        let Some((_, partition, _)) = key.hint_parts() else { return };
        self.counters.hints_delivered += 1;
        // A page that is being read may still have it.
        if let Some(home) = self.hints.homes.get_mut(&peer) {
            home.changed.insert(key.clone());
        }
        self.hints.remove(peer, partition, record_bytes);
        self.batch.mutations.push(Mutation { partition, key: key.as_bytes().clone(), value: None });
        self.items.note_removed(key);
        // The dots that were minted over this hint leave with it (rule 1).
        if let Some(state) = self.stand_ins.get_mut(&partition).filter(|_| !self.keeps_actors) {
            state.rotate_actor();
        }
    }

    /// The link to the home node broke, or it is silent.
    pub(super) fn handoff_failed(&mut self, now: Now, peer: PeerIndex) {
        let wait = self.retry_after(peer);
        let Some(home) = self.hints.homes.get_mut(&peer) else { return };
        home.sent.clear();
        home.queue.clear();
        home.cursor = None;
        home.window = (home.window / 2).max(1);
        home.failures += 1;
        home.wake = (home.count > 0).then(|| now.instant.after(wait));
    }

    /// Half to one and a half of the doubled wait, so that the fallbacks of one node do not all come at once.
    fn retry_after(&mut self, peer: PeerIndex) -> Duration {
        let failures = self.hints.homes.get(&peer).map_or(0, |home| home.failures).min(6);
        let wait = (RETRY.0 * (1 << failures)).min(RETRY.1);
        let jitter = self.rng.next_u64() % 1_024;
        wait / 2 + wait * u32::try_from(jitter).unwrap_or(0) / 1_024
    }
}
