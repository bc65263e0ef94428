//! Serving peers: copies read, items joined, keys listed.

use super::heads::Extent;
use super::hints::hint_reply;
use super::items::{Held, LocalCopy, Task, overloaded};
use super::reaping::BrokenReaping;
use super::writing::merge_reply;
use super::{Now, Shard, Source};
use crate::protocol::replica::{ItemKey, Partition, ReadError, ReadId, ScanPage, ScanRange, Storage, open_copy};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::{Address, PartitionId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Retired, Siblings};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, Header, Kind, MergeRequest, ReadReply, ScanReply, ScanRequest,
};

/// Keys of one page at most: about 64 KiB of ordinary keys, and a bounded piece of work for the read pool.
const SCAN_KEYS_MAX: usize = 1_024;
/// Scans of one shard at once.
const SCANS_MAX: usize = 256;

impl Shard {
    pub(super) fn serve_read(
        &mut self,
        now: Now,
        (source, header): (Source, Header),
        address: &Address,
        extent: Extent,
        (partition, hash): (PartitionId, KeyHash),
        storage: &mut dyn Storage,
    ) {
        self.counters.replica_reads += 1;
        let key = ItemKey::new(address, hash);
        let task = Task::Read { source, header, extent };
        if self.with_item(now, (partition, &key, address), task, storage).is_err() {
            self.reply_failure(source, header.correlation, &overloaded());
        }
    }

    /// Answers a peer's read. A record goes out as it lies on the disk; its checksums were verified when it was opened.
    pub(super) fn send_copy(
        &mut self,
        (source, correlation): (Source, u64),
        partition: PartitionId,
        key: &ItemKey,
        copy: LocalCopy,
        extent: &Extent,
    ) {
        let result = self.told(copy, extent);
        let reply = ReadReply { result, unverified: self.doubts(partition) };
        let header = Header::new(Kind::ReadReply, correlation, 0, self.view.layout.id());
        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
        self.reply_when_durable(source, key, bytes);
    }

    pub(super) fn serve_merge(
        &mut self,
        now: Now,
        (source, header): (Source, Header),
        request: MergeRequest,
        partition: PartitionId,
        hash: KeyHash,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.counters.replica_merges += 1;
        let MergeRequest { address, record } = request;
        // Verified before it is stored (rule 5): a copy that is damaged where it comes from goes no further.
        let item = open_copy(&address, &record)
            .map_err(|error| Failure::new(FailureCode::BadInput, format!("the item to join is damaged: {error}")))?;
        let key = ItemKey::new(&address, hash);
        let task = Task::Merge { source, header, address: address.clone(), held: Held { item, record } };
        self.with_item(now, (partition, &key, &address), task, storage).map_err(|_| overloaded())
    }

    /// Joins a peer's item into this node's copy, or into a hint. A copy never refuses or truncates; hints have a
    /// bound.
    #[expect(clippy::too_many_arguments, reason = "a request and where it belongs")]
    pub(super) fn merge(
        &mut self,
        now: Now,
        (source, header): (Source, Header),
        address: &Address,
        partition: PartitionId,
        key: &ItemKey,
        theirs: Held,
        copy: LocalCopy,
    ) {
        let ours = match copy {
            Ok(ours) => ours,
            Err(unreadable) => {
                // Joining into an empty copy would turn "unknown" into "absent" for all other versions.
                let text = format!("this node's copy is unreadable, so nothing is joined to it: {unreadable}");
                self.reply_failure(source, header.correlation, &Failure::new(FailureCode::Unreadable, text));
                return;
            }
        };
        let before = ours.as_ref().map_or(0, |held| held.record.len());
        let contested = header.is_contested();
        let (theirs, retired) = match contested {
            true => (theirs, Retired::default()),
            false => self.without_obsolete((partition, key), ours.as_ref(), theirs),
        };
        self.counters.taken_back += u64::from(contested);
        if let Some(joined) = self.joined((partition, key, address), ours.as_ref(), theirs) {
            let after = joined.record.len();
            if let Err(failure) = self.check_hint_room(key, before, after) {
                self.counters.hints_refused += 1;
                return self.reply_failure(source, header.correlation, &failure);
            }
            if let Err(failure) = self.check_room_for_merge(before, after) {
                return self.reply_failure(source, header.correlation, &failure);
            }
            self.store(now, partition, key, ours.as_ref(), joined);
        }
        let fsynced = self.release.fsyncs() || header.wants_fsync();
        let bytes = match key.is_hint() {
            true => hint_reply(header.correlation, fsynced, self),
            false => merge_reply(header.correlation, fsynced, retired.into(), self),
        };
        match header.wants_fsync() {
            true => self.reply_when_fsynced(source, key, bytes),
            false => self.reply_when_durable(source, key, bytes),
        }
    }

    /// Rule 8, in the one place where something foreign meets this node's copy: a version that the partition clock
    /// covers, with all earlier ones of its actor, and that the copy does not know, was replaced or deleted and then
    /// forgotten everywhere. It is dropped, and its dot enters the past, so that whoever still has it learns of it.
    /// What is obsolete as a whole, and of which nothing is stored here, becomes nothing.
    pub(super) fn without_obsolete(
        &mut self,
        (partition, key): (PartitionId, &ItemKey),
        ours: Option<&Held>,
        mut theirs: Held,
    ) -> (Held, Retired) {
        let state = self.partitions.get(&partition).filter(|_| !key.is_hint());
        let filters = !self.reaping.is_broken(BrokenReaping::TakeBack);
        let Some(clock) = state.map(Partition::clock).filter(|_| filters) else { return (theirs, Retired::default()) };
        let known = |dot: Dot| ours.is_some_and(|ours| ours.item.knows(dot));
        let obsolete = |dot: Dot| clock.covers_up_to(dot) && !known(dot);
        if !theirs.item.versions().iter().any(|version| obsolete(version.dot)) {
            return (theirs, Retired::default());
        }
        let retired = theirs.item.retire(obsolete);
        self.counters.refused_as_obsolete += retired.versions as u64;
        if ours.is_none() && retired.rest == 0 {
            theirs.item = Siblings::default();
        }
        theirs.record = theirs.item.to_record();
        (theirs, retired)
    }

    /// What this node's copy is to become, if it is to change.
    pub(super) fn joined(
        &self,
        (partition, key, address): (PartitionId, &ItemKey, &Address),
        ours: Option<&Held>,
        theirs: Held,
    ) -> Option<Held> {
        let policy = self.view.policy(address.table());
        let mut joined = match ours {
            None if theirs.item.is_empty() => return None,
            Some(ours) if ours.item == theirs.item => return None,
            None => theirs,
            Some(ours) if policy == ConflictPolicy::Siblings && theirs.item.dominates(&ours.item) => theirs,
            Some(ours) => {
                let mut item = ours.item.clone();
                if !item.join(&theirs.item, policy) {
                    return None;
                }
                let record = if item == theirs.item { theirs.record } else { item.to_record() };
                Held { item, record }
            }
        };
        if self.retire_twins((partition, key), policy, &mut joined.item, &Context::default()) {
            joined.record = joined.item.to_record();
        }
        Some(joined)
    }

    /// Joins what a read found into this node's copy, when the client has its answer already.
    pub(super) fn repair(
        &mut self,
        now: Now,
        address: &Address,
        partition: PartitionId,
        key: &ItemKey,
        theirs: Held,
        copy: LocalCopy,
    ) {
        // A copy that cannot be read is not repaired by a read: others may have more of it than this read saw.
        let Ok(ours) = copy else { return };
        let (theirs, _) = self.without_obsolete((partition, key), ours.as_ref(), theirs);
        if let Some(joined) = self.joined((partition, key, address), ours.as_ref(), theirs)
            && self.check_hint_room(key, 0, joined.record.len()).is_ok()
            && self.check_room_for_merge(ours.as_ref().map_or(0, |held| held.record.len()), joined.record.len()).is_ok()
        {
            self.store(now, partition, key, ours.as_ref(), joined);
        }
    }

    pub(super) fn serve_scan(
        &mut self,
        source: Source,
        correlation: u64,
        request: ScanRequest,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        if self.scans.len() >= SCANS_MAX {
            let text = format!("{SCANS_MAX} scans are under way in this shard; ask again, slower");
            return Err(Failure::overloaded(text, super::burden::RETRY_AFTER));
        }
        let after = match request.after.is_empty() {
            true => None,
            false => Some(ItemKey::from_bytes(request.after).ok_or_else(|| {
                Failure::new(FailureCode::BadInput, "the cursor is no item key; use the last key of the page before")
            })?),
        };
        let limit = usize::from(request.limit).clamp(1, SCAN_KEYS_MAX);
        let id = self.items.next_read();
        self.scans.insert(id, (source, correlation));
        storage.scan(id, request.partition, ScanRange { table: request.table, after, limit });
        Ok(())
    }

    /// Takes the page of a scan that the storage was asked for.
    pub fn handle_scan(&mut self, id: ReadId, result: Result<ScanPage, ReadError>) {
        let Some((source, correlation)) = self.scans.remove(&id) else { return };
        match result {
            Err(error) => self.reply_failure(source, correlation, &unreadable(&error)),
            Ok(page) => {
                let reply = ScanReply { more: page.more, keys: page.keys };
                let header = Header::new(Kind::ScanReply, correlation, 0, self.view.layout.id());
                let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
                self.reply(source, bytes);
            }
        }
    }
}

fn unreadable(error: &ReadError) -> Failure {
    Failure::new(FailureCode::Unreadable, error.to_string())
}
