//! The messages of one operation, as they are on the wire: for their sizes, and to be sent in the echo.
//!
//! The item is one that a run has worn in: it was written through each of three nodes, so its version vector, its
//! context token and its record have their lasting size.

use bytes::Bytes;

use super::{FloorError, Operation};
use crate::protocol::replica::ReadError;
use crate::protocol::types::{ActorId, Address, Hlc, NodeId, Strictness, WallTime, WriteId};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Head, Siblings, TokenKey, TokenKeys, Version, checksum};
use crate::protocol::wire::{
    GetReply, GetRequest, Kind, MergeReply, MergeRequest, PutReply, PutRequest, ReadReply, ReadRequest, ReadResult,
    Stored, StoredCopy, Want,
};

/// One request and what answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) asked: (Kind, Bytes),
    pub(super) answered: (Kind, Bytes),
}

/// The messages about an item with a value of one size.
#[derive(Debug)]
pub(super) struct Messages {
    /// What a node stores of it.
    pub(super) record: Bytes,
    put: Leg,
    merge: Leg,
    get: Leg,
    read: Leg,
}

/// Nodes through which the item was written.
const WRITERS: u64 = 3;

impl Messages {
    /// Those about values of this size.
    pub(super) fn of(value_bytes: usize) -> Result<Self, FloorError> {
        let address = address(1)?;
        let value = noise(value_bytes);
        let write_id = WriteId::new(u128::MAX / 3);
        let checksum = checksum(&address, write_id, false, &value);
        let mut item = Siblings::default();
        for writer in 1..=WRITERS {
            let dot = Dot::new(ActorId::new(u64::MAX / (writer + 1)), 1000);
            let hlc = Hlc::default().tick(WallTime::from_millis(1_800_000_000_000));
            let (tombstone, expires_at) = (false, 0);
            let version = Version { dot, hlc, write_id, tombstone, expires_at, checksum, value: value.clone() };
            item.put(&Context::of(&item), version, ConflictPolicy::Siblings);
        }
        let keys = TokenKeys { current: TokenKey::new(1, [7; 16]), previous: None };
        let token = Context::of(&item).to_token(&address, &keys);
        let record = item.to_record();
        let version = item.versions().first().cloned().ok_or_else(|| FloorError::Read("an empty item".to_owned()))?;
        Ok(Self {
            put: put(&address, &version, &token),
            merge: merge(&address, &record),
            get: get(&address, &version, &token),
            read: read(&address, &record)?,
            record,
        })
    }

    /// One operation's round trips, in the order in which a lane carries them: the client's, then the other replicas'.
    pub(super) fn legs(&self, operation: Operation, (replicas, read_quorum): (u8, u8)) -> Vec<Leg> {
        let (first, other, others) = match operation {
            Operation::Put => (&self.put, &self.merge, replicas - 1),
            Operation::Get => (&self.get, &self.read, read_quorum - 1),
        };
        let mut legs = vec![first.clone()];
        legs.extend((0..others).map(|_| other.clone()));
        legs
    }
}

/// The address of a measured item.
pub(super) fn address(number: usize) -> Result<Address, FloorError> {
    Ok(Address::new(Bytes::from_static(b"bench"), Bytes::from(format!("key-{number:012}")), Bytes::new())?)
}

/// Bytes that no compression shortens (the high bytes of a linear congruential generator, Knuth's MMIX).
pub(super) fn noise(bytes: usize) -> Bytes {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [high, ..] = state.to_be_bytes();
        high
    };
    (0..bytes).map(next).collect()
}

fn encoded(bytes: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(bytes);
    encode(&mut out);
    out.into()
}

fn put(address: &Address, version: &Version, token: &Bytes) -> Leg {
    let request = PutRequest {
        address: address.clone(),
        write_id: version.write_id,
        want: Want::Value,
        w: 0,
        strictness: Strictness::Sloppy,
        token: token.clone(),
        checksum: version.checksum,
        value: version.value.clone(),
    };
    let copy = |node| StoredCopy { node: NodeId::new(node), primary: true, fsynced: false };
    let reply = PutReply {
        dot: version.dot,
        write_id: version.write_id,
        versions: 1,
        token: token.clone(),
        stored: Stored { copies: vec![copy(1), copy(2)] },
    };
    Leg {
        asked: (Kind::Put, encoded(request.body_bytes(), |out| request.encode(out))),
        answered: (Kind::PutReply, encoded(reply.body_bytes(), |out| reply.encode(out))),
    }
}

fn merge(address: &Address, record: &Bytes) -> Leg {
    let request = MergeRequest { address: address.clone(), record: record.clone() };
    let reply = MergeReply { fsynced: false, refused: crate::protocol::wire::Refused::default() };
    Leg {
        asked: (Kind::Merge, encoded(request.body_bytes(), |out| request.encode(out))),
        answered: (Kind::MergeReply, encoded(MergeReply::BODY_BYTES, |out| reply.encode(out))),
    }
}

fn get(address: &Address, version: &Version, token: &Bytes) -> Leg {
    let request = GetRequest { address: address.clone(), r: 0, strictness: Strictness::Sloppy };
    let reply = GetReply { token: token.clone(), versions: vec![version.clone()] };
    Leg {
        asked: (Kind::Get, encoded(request.body_bytes(), |out| request.encode(out))),
        answered: (Kind::GetReply, encoded(reply.body_bytes(), |out| reply.encode(out))),
    }
}

/// The second answer of a get is the head of the record: its values are here already.
fn read(address: &Address, record: &Bytes) -> Result<Leg, FloorError> {
    let request = ReadRequest { address: address.clone(), wanted: Vec::new() };
    let head = Head::of(record).map_err(|error| FloorError::Read(ReadError(error.to_string()).to_string()))?;
    let reply = ReadReply { result: ReadResult::Head(head), unverified: false };
    Ok(Leg {
        asked: (Kind::Read, encoded(request.body_bytes(), |out| request.encode(out))),
        answered: (Kind::ReadReply, encoded(reply.body_bytes(), |out| reply.encode(out))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_value_where_it_travels_and_not_where_it_does_not() {
        let (small, large) = (Messages::of(100).unwrap(), Messages::of(1100).unwrap());
        let sizes = |messages: &Messages, operation| {
            let legs = messages.legs(operation, (3, 2));
            legs.iter().map(|leg| (leg.asked.1.len(), leg.answered.1.len())).collect::<Vec<_>>()
        };
        let grown = |operation| {
            let pairs = sizes(&small, operation).into_iter().zip(sizes(&large, operation));
            pairs.map(|(small, large)| (large.0 - small.0, large.1 - small.1)).collect::<Vec<_>>()
        };
        assert_eq!(grown(Operation::Put), [(1000, 0), (1000, 0), (1000, 0)], "there three times, back never");
        assert_eq!(grown(Operation::Get), [(0, 1000), (0, 0)], "back once: the second answer is a head");
        assert_eq!(large.record.len() - small.record.len(), 1000);
        assert_eq!(small.legs(Operation::Get, (3, 3)).len(), 3);
    }

    #[test]
    fn messages_are_what_a_node_reads() {
        let messages = Messages::of(64).unwrap();
        let [put, merge, _] = messages.legs(Operation::Put, (3, 2)).try_into().unwrap();
        let request = PutRequest::decode(put.asked.1).unwrap();
        assert_eq!(request.value.len(), 64);
        let merge = MergeRequest::decode(merge.asked.1).unwrap();
        let item = Siblings::decode(&merge.record).unwrap();
        assert_eq!((item.versions().len(), item.vector().len()), (1, 2), "one version, and the two that it replaced");
    }
}
