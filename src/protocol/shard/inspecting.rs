//! Inspection: a person asks what this node itself holds of an item.
//!
//! The answer is the head of this node's own copy, or of the hints that it keeps for owners: no quorum, no other node,
//! no values. It goes the way of every other look at an item, so that it sees what this turn wrote, waits for a read
//! that is under way, and finds a damaged copy as every reader does.

use super::hints::Asker;
use super::items::{LocalCopy, Task, overloaded};
use super::{Now, Place, Shard, Source, refusal};
use crate::protocol::replica::{ItemKey, Storage};
use crate::protocol::ring::KeyHash;
use crate::protocol::types::PartitionId;
use crate::protocol::version::Head;
use crate::protocol::wire::{Failure, Frame, Header, InspectReply, InspectRequest, Inspected, Kind};

impl Shard {
    /// Takes the question in. Not passed on to another node: it is about this one.
    pub(super) fn accept_inspect(
        &mut self,
        now: Now,
        source: Source,
        frame: Frame,
        storage: &mut dyn Storage,
    ) -> Result<(), Failure> {
        let InspectRequest { address } = InspectRequest::decode(frame.body.clone()).map_err(|error| refusal(&error))?;
        match self.place(source, &address, frame)? {
            Place::Here(partition, hash, header) => {
                let key = ItemKey::new(&address, hash);
                let task = Task::Inspect { source, header };
                self.with_item(now, (partition, &key, &address), task, storage).map_err(|_| overloaded())
            }
            Place::OtherNode(partition, frame) => {
                let hash = KeyHash::of(&address, self.view.layout.parameters().hash_seed);
                let asker = Asker::Person { source, correlation: frame.header.correlation };
                self.serve_hinted_read(now, asker, &address, partition, hash, storage);
                Ok(())
            }
            Place::OtherShard => Ok(()),
        }
    }

    /// Answers with this node's own copy.
    pub(super) fn tell_copy(
        &mut self,
        (source, correlation): (Source, u64),
        partition: PartitionId,
        key: &ItemKey,
        copy: LocalCopy,
    ) {
        let found = match copy {
            Ok(Some(held)) => match Head::of(&held.record) {
                Ok(causal) => Inspected::Head(causal),
                Err(error) => Inspected::Unreadable(error.to_string()),
            },
            Ok(None) => Inspected::Absent,
            Err(unreadable) => Inspected::Unreadable(unreadable.to_string()),
        };
        let reply = InspectReply { found, unverified: self.doubts(partition), hinted: false };
        let bytes = self.inspection(correlation, &reply);
        self.reply_when_durable(source, key, bytes);
    }

    /// Answers with the hints that this node keeps of the item, joined.
    pub(super) fn tell_hints(&mut self, source: Source, correlation: u64, keys: &[ItemKey], found: Inspected) {
        let bytes = self.inspection(correlation, &InspectReply { found, unverified: false, hinted: true });
        match self.newest_unsafe(keys) {
            Some(key) => self.reply_when_durable(source, &key, bytes),
            None => self.reply(source, bytes),
        }
    }

    fn inspection(&self, correlation: u64, reply: &InspectReply) -> bytes::Bytes {
        let header = Header::new(Kind::InspectReply, correlation, 0, self.view.layout.id());
        Frame::build(header, reply.body_bytes(), |out| reply.encode(out))
    }
}
