//! What exchanges and trees stand on: sums told to peers, and lists of items read from the disk.

use bytes::Bytes;

use super::exchanging::{PAGE_ITEMS, Wanted};
use super::trees::Built;
use super::{Now, Shard, Source};
use crate::protocol::anti_entropy::Side;
use crate::protocol::merkle::{FANOUT, LEAVES, Listed, running_hash};
use crate::protocol::replica::{ItemPage, ItemRange, KeyKind, ReadError, ReadId, Storage};
use crate::protocol::types::PartitionId;
use crate::protocol::wire::{
    CompareReply, CompareRequest, Failure, FailureCode, Frame, Header, KeysReply, KeysRequest, Kind, Reach,
};

/// Pages that peers wait for at once.
const SERVED_MAX: usize = 64;

impl Shard {
    /// Tells a peer the sums that it asks for.
    pub(super) fn serve_compare(
        &mut self,
        source: Source,
        header: &Header,
        request: &CompareRequest,
    ) -> Result<(), Failure> {
        if let Some(node) = request.inner.iter().find(|node| usize::from(**node) >= FANOUT) {
            let text = format!("there is no inner node {node}; a hash tree has {FANOUT}");
            return Err(Failure::new(FailureCode::BadInput, text));
        }
        let reply = match self.exchanges.trees.get(request.partition).filter(|tree| tree.is_ready()) {
            None => {
                self.exchanges.trees.want(request.partition);
                CompareReply { ready: false, life: 0, clock: Bytes::new(), sums: Vec::new() }
            }
            // The clock is as old as the sums: both are of this very moment.
            Some(tree) if request.inner.is_empty() => {
                let (life, clock) = self.clock_for(request.partition, request.clock);
                let sums = if tree.root() == request.root { Vec::new() } else { tree.inner() };
                CompareReply { ready: true, life, clock, sums }
            }
            Some(tree) => {
                let (life, clock) = (self.exchanges.lives.of(request.partition), Bytes::new());
                let leaves = |node: &u8| tree.leaves(usize::from(*node)).iter().copied();
                CompareReply { ready: true, life, clock, sums: request.inner.iter().flat_map(leaves).collect() }
            }
        };
        let header = Header::new(Kind::CompareReply, header.correlation, 0, self.view.layout.id());
        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
        self.reply(source, bytes);
        Ok(())
    }

    /// Begins to list a leaf for a peer.
    pub(super) fn serve_keys(
        &mut self,
        source: Source,
        header: &Header,
        request: KeysRequest,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        if self.exchanges.served >= SERVED_MAX {
            let text = format!("{SERVED_MAX} lists of items are being read in this shard; ask again, slower");
            return Err(Failure::overloaded(text, super::burden::RETRY_AFTER));
        }
        if usize::from(request.leaf) >= LEAVES {
            let text = format!("there is no leaf {}; a hash tree has {}", request.leaf, LEAVES);
            return Err(Failure::new(FailureCode::BadInput, text));
        }
        let mut range = self.leaf(request.partition, request.leaf, request.after);
        if !request.until.is_empty() {
            if request.until <= range.after || request.until < range.from {
                let text = "the stretch of items ends before it begins";
                return Err(Failure::new(FailureCode::BadInput, text));
            }
            // The first key after it.
            let until: Bytes = [request.until.as_ref(), &[0]].concat().into();
            range.until = Some(range.until.map_or_else(|| until.clone(), |end| end.min(until.clone())));
        }
        let id = self.items.next_read();
        self.exchanges.served += 1;
        self.exchanges.pages.insert(id, Wanted::Peer { source, correlation: header.correlation, hash: request.hash });
        storage.items(id, range);
        Ok(())
    }

    /// Has the next page of a tree read, a bounded piece of work at a time.
    pub(super) fn build_trees(&mut self, now: Now, storage: &mut dyn Storage) {
        let unsettled = |partition: PartitionId| self.items.unsettled_items(partition, &self.view);
        let Some((partition, after)) = self.exchanges.trees.begin_page(now, unsettled) else { return };
        let id = self.items.next_read();
        let first = Bytes::from_static(&[KeyKind::Item as u8]);
        let range =
            ItemRange { partition, from: first, after: after.unwrap_or_default(), until: None, limit: PAGE_ITEMS };
        self.exchanges.pages.insert(id, Wanted::Tree);
        storage.items(id, range);
    }

    /// Takes a page of items that the storage was asked for.
    pub fn handle_items(&mut self, now: Now, id: ReadId, page: Result<ItemPage, ReadError>, storage: &mut dyn Storage) {
        let Some(wanted) = self.exchanges.pages.remove(&id) else { return };
        let bits = self.view.layout.partition_bits();
        match wanted {
            Wanted::Tree => {
                self.counters.unreadable += u64::from(page.is_err());
                match self.exchanges.trees.finish_page(now, page.ok(), bits, &self.throttle) {
                    Built::Partly => {}
                    Built::Kept => self.counters.trees_built += 1,
                    Built::Verified => self.counters.trees_verified += 1,
                    Built::Differs => {
                        self.counters.rot_found += 1;
                        storage.distrust_memory();
                    }
                }
                self.look_by(now.instant);
            }
            Wanted::Reapable => self.reapable_listed(now, page.ok()),
            Wanted::Exchange(number) => match page {
                Err(_) => self.fail_exchange(now, number, storage),
                Ok(page) => {
                    let items = page.items.into_iter().map(|Listed { key, hash, .. }| (key, hash)).collect();
                    self.listed(now, number, Side::Ours, items, page.more, storage);
                }
            },
            Wanted::Peer { source, correlation, hash } => {
                self.exchanges.served = self.exchanges.served.saturating_sub(1);
                match page {
                    Err(error) => {
                        let failure = Failure::new(FailureCode::Unreadable, error.to_string());
                        self.reply_failure(source, correlation, &failure);
                    }
                    Ok(page) => {
                        let reply = keys_reply(page, hash);
                        self.counters.pages_matched += u64::from(reply.reach == Reach::Same);
                        let header = Header::new(Kind::KeysReply, correlation, 0, self.view.layout.id());
                        let bytes = Frame::build(header, reply.body_bytes(), |out| reply.encode(out));
                        self.reply(source, bytes);
                    }
                }
            }
        }
    }
}

/// What a peer is told of a stretch of which it has this running hash.
fn keys_reply(page: ItemPage, hash: u64) -> KeysReply {
    if !page.more && running_hash(page.items.iter().map(|listed| (&listed.key, listed.hash))) == hash {
        return KeysReply { reach: Reach::Same, items: Vec::new() };
    }
    let reach = if page.more { Reach::More } else { Reach::All };
    KeysReply { reach, items: page.items.into_iter().map(|Listed { key, hash, .. }| (key, hash)).collect() }
}
