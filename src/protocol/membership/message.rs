//! The datagrams and the table's record, byte by byte, big-endian.
//!
//! ```text
//!   datagram: format u8 = 1 | kind u8 | sequence u32 | generation u64 | incarnation u32
//!             | roster u64 | layout u64 | table u64 | subject u128 (Ask only) | news*
//!   news:     standing u8 | node u128 | generation u64 | incarnation u32 | accuser u128 (suspects only)
//!   record:   format u8 = 1 | members u32 | (standing u8 | node u128 | generation u64 | incarnation u32)*
//! ```
//!
//! Generation and incarnation are the sender's own edition, so that every message is also news of its sender. Who the
//! sender is says the connection's certificate, never the datagram.

use bytes::{Buf, BufMut};

use super::table::{Edition, Standing, Table};
use super::{DATAGRAM_BYTES_MAX, MEMBERS_MAX};
use crate::protocol::types::{BootGeneration, NodeId};

const FORMAT: u8 = 1;

/// Bytes of a datagram before its news, the subject of an Ask included.
const HEADER_BYTES_MAX: usize = 58;
/// Bytes of news of a suspect, the longest.
const NEWS_BYTES_MAX: usize = 45;
const _: () = assert!(HEADER_BYTES_MAX + 2 * NEWS_BYTES_MAX <= DATAGRAM_BYTES_MAX);

/// Largest record of a table.
pub const RECORD_BYTES_MAX: usize = 5 + MEMBERS_MAX * 29;

/// What a datagram is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answer me.
    Ping,
    /// I answer, to the ping of this sequence.
    Ack,
    /// Ping that one for me.
    Ask(NodeId),
    /// It answered me, to your Ask of this sequence.
    Relay,
    /// It has not answered me so far; but I am well.
    Nack,
    /// Only news.
    Gossip,
    /// Only digests; tell me yours if they differ.
    Compare,
}

/// What two members compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digests {
    pub(super) roster: u64,
    pub(super) layout: u64,
    pub(super) table: u64,
}

/// News of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    pub(super) node: NodeId,
    pub(super) edition: Edition,
    pub(super) standing: Standing,
    /// Who got no answer; of a suspect only, otherwise the node itself.
    pub(super) accuser: NodeId,
}

/// A datagram that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) sequence: u32,
    pub(super) edition: Edition,
    pub(super) digests: Digests,
    pub(super) news: Vec<News>,
}

impl News {
    const fn len(&self) -> usize {
        match self.standing {
            Standing::Suspect => NEWS_BYTES_MAX,
            Standing::Alive | Standing::Unreachable => 29,
        }
    }
}

/// A datagram being written.
#[derive(Debug)]
pub(super) struct Draft(Vec<u8>);

impl Draft {
    pub(super) fn new(kind: Kind, sequence: u32, edition: Edition, digests: Digests) -> Self {
        let mut out = Vec::with_capacity(128);
        out.put_u8(FORMAT);
        out.put_u8(match kind {
            Kind::Ping => 1,
            Kind::Ack => 2,
            Kind::Ask(_) => 3,
            Kind::Relay => 4,
            Kind::Nack => 5,
            Kind::Gossip => 6,
            Kind::Compare => 7,
        });
        out.put_u32(sequence);
        out.put_u64(edition.generation().as_u64());
        out.put_u32(edition.incarnation());
        out.put_u64(digests.roster);
        out.put_u64(digests.layout);
        out.put_u64(digests.table);
        if let Kind::Ask(subject) = kind {
            out.put_u128(subject.as_u128());
        }
        Self(out)
    }

    /// Adds news; false when it no longer fits.
    pub(super) fn add(&mut self, news: &News) -> bool {
        let fits = self.0.len() + news.len() <= DATAGRAM_BYTES_MAX;
        if fits {
            put_belief(&mut self.0, news.node, news.edition, news.standing);
            if news.standing == Standing::Suspect {
                self.0.put_u128(news.accuser.as_u128());
            }
        }
        fits
    }

    pub(super) fn finish(self) -> Vec<u8> {
        assert!(self.0.len() <= DATAGRAM_BYTES_MAX, "every piece of news was measured before it was added");
        self.0
    }
}

impl Message {
    /// Reads a datagram; none when any byte of it makes no sense.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        (bytes.len() <= DATAGRAM_BYTES_MAX && rest.try_get_u8().ok()? == FORMAT).then_some(())?;
        let code = rest.try_get_u8().ok()?;
        let sequence = rest.try_get_u32().ok()?;
        let edition = get_edition(&mut rest)?;
        let digests = Digests {
            roster: rest.try_get_u64().ok()?,
            layout: rest.try_get_u64().ok()?,
            table: rest.try_get_u64().ok()?,
        };
        let kind = match code {
            1 => Kind::Ping,
            2 => Kind::Ack,
            3 => Kind::Ask(NodeId::new(rest.try_get_u128().ok()?)),
            4 => Kind::Relay,
            5 => Kind::Nack,
            6 => Kind::Gossip,
            7 => Kind::Compare,
            _ => return None,
        };
        let mut news = Vec::new();
        while !rest.is_empty() {
            let (node, edition, standing) = get_belief(&mut rest)?;
            let accuser = match standing {
                Standing::Suspect => NodeId::new(rest.try_get_u128().ok()?),
                Standing::Alive | Standing::Unreachable => node,
            };
            news.push(News { node, edition, standing, accuser });
        }
        Some(Self { kind, sequence, edition, digests, news })
    }
}

/// The record of a whole table.
pub(super) fn to_record(table: &Table) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + table.len() * 29);
    out.put_u8(FORMAT);
    out.put_u32(u32::try_from(table.len()).expect("a roster has at most MEMBERS_MAX members"));
    for (id, edition, standing) in table.iter() {
        put_belief(&mut out, id, edition, standing);
    }
    out
}

/// Reads a record; none when any byte of it makes no sense.
pub(super) fn from_record(record: &[u8]) -> Option<Vec<(NodeId, Edition, Standing)>> {
    let mut rest = record;
    (record.len() <= RECORD_BYTES_MAX && rest.try_get_u8().ok()? == FORMAT).then_some(())?;
    let members = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    // Before anything is allocated for them.
    (members.checked_mul(29)? == rest.len()).then_some(())?;
    (0..members).map(|_| get_belief(&mut rest)).collect()
}

fn put_belief(out: &mut Vec<u8>, id: NodeId, edition: Edition, standing: Standing) {
    out.put_u8(match standing {
        Standing::Alive => 0,
        Standing::Suspect => 1,
        Standing::Unreachable => 2,
    });
    out.put_u128(id.as_u128());
    out.put_u64(edition.generation().as_u64());
    out.put_u32(edition.incarnation());
}

fn get_belief(rest: &mut &[u8]) -> Option<(NodeId, Edition, Standing)> {
    let standing = match rest.try_get_u8().ok()? {
        0 => Standing::Alive,
        1 => Standing::Suspect,
        2 => Standing::Unreachable,
        _ => return None,
    };
    Some((NodeId::new(rest.try_get_u128().ok()?), get_edition(rest)?, standing))
}

fn get_edition(rest: &mut &[u8]) -> Option<Edition> {
    let generation = BootGeneration::new(rest.try_get_u64().ok()?);
    Some(Edition::new(generation, rest.try_get_u32().ok()?))
}
