//! The other side of reaping: telling an owner what this node has, and ending what all owners confirmed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::items::{Held, LocalCopy, Task, overloaded};
use super::reaping::BrokenReaping;
use super::{Now, Shard, Source};
use crate::protocol::merkle::item_hash;
use crate::protocol::replica::{ItemKey, Mutation, Partition, Storage};
use crate::protocol::types::PartitionId;
use crate::protocol::version::VersionVector;
use crate::protocol::wire::{
    ConfirmReply, ConfirmRequest, Confirmed, Failure, FailureCode, Frame, Header, Kind, ReapRequest, Reapable,
};

/// Questions that are being answered at once.
const CONFIRMS_MAX: usize = 64;

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// All owners confirmed it without a value: it is removed.
    Reap,
    /// All other owners say that what this node has is obsolete: it is removed, whatever it is.
    Drop,
    /// All owners confirmed it, and that these entries of its past are of ended actors: they are removed from it.
    Strip(VersionVector),
}

/// A question that is being answered.
#[derive(Debug)]
struct Confirming {
    source: Source,
    correlation: u64,
    items: Vec<Reapable>,
    keys: Vec<ItemKey>,
    answers: Vec<Confirmed>,
    waiting: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    open: BTreeMap<u64, Confirming>,
    next: u64,
}

impl Shard {
    pub(super) fn accept_confirm(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = ConfirmRequest::decode(frame.body.clone()).map_err(|error| super::refusal(&error))?;
        let partition = request.partition;
        let count = self.view.layout.parameters().partitions;
        if partition.as_index() >= count as usize {
            let text = format!("there is no partition {partition}; the cluster has {count}");
            return Err(Failure::new(FailureCode::BadInput, text));
        }
        if let Some(shard) = self.other_shard(partition) {
            self.outbox.push(super::Output::Forward { shard, source, frame });
            return Ok(());
        }
        if !request.items.is_empty() && !self.partitions.contains_key(&partition) {
            return Err(self.not_an_owner(partition));
        }
        self.serve_confirm(now, source, &frame.header, request, storage)
    }

    fn serve_confirm(
        &mut self,
        now: Now,
        source: Source,
        header: &Header,
        request: ConfirmRequest,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        if self.confirms.open.len() >= CONFIRMS_MAX {
            let text = format!("{CONFIRMS_MAX} questions about items to be reaped are open here; ask again, slower");
            return Err(Failure::overloaded(text, super::burden::RETRY_AFTER));
        }
        let partition = request.partition;
        let parts = |item: &Reapable| {
            let key = ItemKey::from_bytes(item.key.clone())?;
            let (_, address) = key.parts()?;
            Some((key, address))
        };
        let places: Option<Vec<_>> = request.items.iter().map(parts).collect();
        let Some(places) = places else {
            return Err(Failure::new(FailureCode::BadInput, "what is to be confirmed is no item key"));
        };
        self.confirms.next += 1;
        let id = self.confirms.next;
        let confirming = Confirming {
            source,
            correlation: header.correlation,
            keys: places.iter().map(|(key, _)| key.clone()).collect(),
            answers: vec![Confirmed::Unsure; request.items.len()],
            // One more, so that the answer does not leave before all are asked.
            waiting: request.items.len() + 1,
            items: request.items,
        };
        self.confirms.open.insert(id, confirming);
        for (at, (key, address)) in places.iter().enumerate() {
            let task = Task::Confirm { confirm: id, at };
            if self.with_item(now, (partition, key, address), task, storage).is_err() {
                self.answer_confirm(id, partition);
            }
        }
        self.answer_confirm(id, partition);
        Ok(())
    }

    /// This node's copy of one of the items is at hand.
    pub(super) fn confirm_item(&mut self, id: u64, at: usize, partition: PartitionId, key: &ItemKey, copy: LocalCopy) {
        let doubts = self.doubts(partition);
        let clock = self.partitions.get(&partition).map(Partition::clock);
        if let (Some(confirming), Some(clock)) = (self.confirms.open.get_mut(&id), clock)
            && let (Some(item), Some(answer)) = (confirming.items.get(at), confirming.answers.get_mut(at))
        {
            let covered = clock.covers_past(&item.past);
            let same = |held: &Held| item_hash(key.as_bytes(), &held.record) == item.hash;
            *answer = match copy {
                _ if doubts => Confirmed::Unsure,
                Err(_) => Confirmed::Unsure,
                Ok(None) if covered => Confirmed::Obsolete,
                Ok(None) => Confirmed::AbsentUncovered,
                Ok(Some(held)) if same(&held) && covered => Confirmed::Same,
                Ok(Some(held)) if same(&held) => Confirmed::SameUncovered,
                Ok(Some(_)) => Confirmed::Different,
            };
        }
        self.answer_confirm(id, partition);
    }

    fn answer_confirm(&mut self, id: u64, partition: PartitionId) {
        let Some(confirming) = self.confirms.open.get_mut(&id) else { return };
        confirming.waiting -= 1;
        if confirming.waiting > 0 {
            return;
        }
        let Some(Confirming { source, correlation, keys, answers, .. }) = self.confirms.open.remove(&id) else {
            return;
        };
        let state = self.partitions.get(&partition).or_else(|| self.stand_ins.get(&partition));
        let reply = ConfirmReply {
            // Of hints for nodes that no layout knows nobody knows whose partitions they are.
            hints: self.hints.count_of(partition) + self.hints.orphans,
            actor: state.and_then(Partition::actor),
            answers,
        };
        let header = Header::new(Kind::ConfirmReply, correlation, 0, self.view.layout.id());
        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
        // What is said of the items must survive a power loss here before anybody acts on it.
        match (keys.first(), self.newest_unsafe(&keys)) {
            (None, _) => self.reply(source, bytes),
            (Some(key), None) => self.reply_when_fsynced(source, key, bytes),
            (_, Some(key)) => self.reply_when_fsynced(source, &key, bytes),
        }
    }

    pub(super) fn accept_reap(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        self.refuse_stale(&frame.header)?;
        let request = ReapRequest::decode(frame.body.clone()).map_err(|error| super::refusal(&error))?;
        let Some(header) = self.place_partition(source, request.partition, frame)? else { return Ok(()) };
        for item in request.items {
            let Some(key) = ItemKey::from_bytes(item.key) else { continue };
            let Some((_, address)) = key.parts() else { continue };
            let end = if item.stripped.is_empty() { End::Reap } else { End::Strip(item.stripped) };
            let task = Task::Reap { hash: item.hash, end };
            self.with_item(now, (request.partition, &key, &address), task, storage).map_err(|_| overloaded())?;
        }
        let header = Header::new(Kind::Reaped, header.correlation, 0, self.view.layout.id());
        self.reply(source, Frame::new(header, Bytes::new()).to_bytes());
        Ok(())
    }

    /// Ends an item if it is still what was confirmed. Whoever asks, nothing with a value is removed that not all
    /// others call obsolete, and nothing that this replica's clock would not keep out afterwards.
    pub(super) fn reap_item(
        &mut self,
        now: Now,
        partition: PartitionId,
        key: &ItemKey,
        hash: u64,
        end: &End,
        copy: LocalCopy,
    ) {
        let held = match copy {
            Ok(Some(held)) => held,
            Ok(None) => return,
            // Nothing else would bring it back into the queue.
            Err(_) => return self.note_reapable(now, partition, key),
        };
        let unproven = self.reaping.is_broken(BrokenReaping::StripUnproven);
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let past = held.item.context();
        let covered = state.clock().covers_past(&past) || unproven;
        if item_hash(key.as_bytes(), &held.record) != hash {
            return;
        }
        match end {
            End::Reap if covered && held.item.is_dead() => {}
            End::Drop => {}
            End::Strip(entries) if covered => {
                state.bury(entries);
                let dots: Vec<_> =
                    entries.iter().filter(|dot| held.item.vector().counter(dot.actor()) == dot.counter()).collect();
                let item = held.item.without_entries(&dots);
                if item != held.item {
                    self.counters.stripped += dots.len() as u64;
                    let record = item.to_record();
                    self.store(now, partition, key, Some(&held), Held { item, record });
                }
                return;
            }
            End::Reap | End::Strip(_) => return,
        }
        state.bury(&past);
        self.items.touched.insert(partition);
        self.counters.reaped += u64::from(*end == End::Reap);
        self.counters.dropped_obsolete += u64::from(*end == End::Drop);
        let bits = self.view.layout.partition_bits();
        self.exchanges.trees.update(partition, key.as_bytes(), bits, Some(hash), 0);
        self.batch.mutations.push(Mutation { partition, key: key.as_bytes().clone(), value: None });
        self.items.note_removed(key);
    }
}
