//! The crowd: client sessions, what they ask for next, and what they make of the answers.
//!
//! A session does one thing after the other. A write keeps its id through its retries, which go to other nodes; one
//! that no answer confirmed is *indeterminate*: it may surface, and nothing may be concluded from it. Late answers to
//! an earlier attempt are ignored, as a client that gave up ignores them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::draw::Draw;
use super::options::LoadOptions;
use crate::protocol::types::{PartitionId, Strictness, WriteId};
use crate::protocol::version::VersionVector;
use crate::protocol::wire::Want;

/// What a session does all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trade {
    /// Reads.
    Reader,
    /// Writes without context: every write is a sibling.
    BlindWriter,
    /// Writes with the context of its own last write.
    ChainWriter,
    /// Reads, then writes with what it read.
    Modifier,
    /// Deletes, with the context of a read or with what its coordinator sees.
    Deleter,
    /// Lists keys.
    Scanner,
    /// Reads every item through several nodes when all is over.
    Auditor,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) trade: Trade,
    /// Where it asks first.
    pub(super) home: u16,
    /// What it knows of items.
    pub(super) tokens: BTreeMap<usize, Bytes>,
    /// It writes this next, with what it just read.
    pub(super) next: Option<(usize, Want)>,
    pub(super) busy: bool,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Get { item: usize },
    Put { item: usize, want: Want, write_id: WriteId, token: Bytes, value: Bytes, checksum: u64 },
    Scan { partition: PartitionId, after: Bytes },
}

/// A request of a session, through all its attempts.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) session: usize,
    pub(super) wish: Wish,
    pub(super) attempt: u32,
    pub(super) node: u16,
    pub(super) budget_ms: u32,
    /// Whether stand-ins may help.
    pub(super) strictness: Strictness,
    /// What a read that begins when this began must know.
    pub(super) floor: VersionVector,
    /// What was deleted and reaped by then.
    pub(super) gone: VersionVector,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) sessions: Vec<Session>,
    pub(super) operations: BTreeMap<u64, Operation>,
    pub(super) begun: u64,
    /// Items and nodes still to be read at the end, and how often each was tried.
    pub(super) audits: VecDeque<(usize, u16, u32)>,
    /// How often each key was given up for a new one.
    generations: BTreeMap<(u8, u64), u64>,
    pub(super) draw: Draw,
}

/// The tables: siblings for everybody, siblings written only after reading, last writer wins.
pub(super) const TABLES: [&str; 3] = ["items", "carts", "latest"];
/// The table that only modifiers write.
pub(super) const MODIFIED: usize = 1;
/// The last-writer-wins table.
pub(super) const LATEST: usize = 2;
/// Writes after which a key is left for a new one: checking a state is linear in the writes of its item.
pub(super) const WRITES_PER_KEY_MAX: usize = 250;
/// Above what replicas send whole whatever they are asked.
const LARGE_BYTES: u64 = 4_097;
/// Sessions that read everything at the end.
const AUDITORS: usize = 16;

impl Crowd {
    pub(super) fn new(load: &LoadOptions, nodes: u16, seed: u64) -> Self {
        let mut draw = Draw::new(seed, "load");
        let trades = [
            (Trade::Reader, load.readers),
            (Trade::BlindWriter, load.blind_writers),
            (Trade::ChainWriter, load.chain_writers),
            (Trade::Modifier, load.modifiers),
            (Trade::Deleter, load.deleters),
            (Trade::Scanner, load.scanners),
        ];
        let mut sessions = Vec::new();
        for (trade, count) in trades {
            for _ in 0..count {
                let home = u16::try_from(draw.below(u64::from(nodes))).expect("at most 50");
                sessions.push(Session { trade, home, tokens: BTreeMap::new(), next: None, busy: false });
            }
        }
        Self {
            sessions,
            operations: BTreeMap::new(),
            begun: 0,
            audits: VecDeque::new(),
            generations: BTreeMap::new(),
            draw,
        }
    }

    /// Adds the sessions that read everything at the end, and says which they are.
    pub(super) fn add_auditors(&mut self) -> std::ops::Range<usize> {
        let first = self.sessions.len();
        for _ in 0..AUDITORS {
            let session = Session { trade: Trade::Auditor, home: 0, tokens: BTreeMap::new(), next: None, busy: false };
            self.sessions.push(session);
        }
        first..self.sessions.len()
    }

    /// A table and a key for a session's next operation.
    pub(super) fn choose(&mut self, trade: Trade, load: &LoadOptions) -> (usize, u64) {
        let table = match trade {
            Trade::Modifier => self.draw.pick(&[MODIFIED, MODIFIED, 0, LATEST]),
            Trade::Reader => self.draw.pick(&[0, MODIFIED, LATEST]),
            _ => self.draw.pick(&[0, 0, LATEST]),
        };
        let key = if self.draw.chance(load.hot) { 0 } else { self.draw.below(load.keys) };
        (table, key)
    }

    /// The name of a key in its present generation.
    pub(super) fn key_name(&self, table: usize, key: u64) -> String {
        let generation = self.generations.get(&(u8::try_from(table).unwrap_or(0), key)).copied().unwrap_or(0);
        format!("key-{key}-{generation}")
    }

    /// Leaves a key for a new one.
    pub(super) fn renew(&mut self, table: usize, key: u64) {
        *self.generations.entry((u8::try_from(table).unwrap_or(0), key)).or_default() += 1;
    }

    /// How many sessions write after reading.
    pub(super) fn modifiers(&self) -> usize {
        self.sessions.iter().filter(|session| session.trade == Trade::Modifier).count()
    }

    pub(super) fn write_id(&mut self) -> WriteId {
        WriteId::new(u128::from(self.draw.bits()) << 64 | u128::from(self.draw.bits()))
    }

    /// A value that no other write has.
    pub(super) fn value(&mut self, number: u64, load: &LoadOptions) -> Bytes {
        let mut value = number.to_be_bytes().to_vec();
        let bulk = self.draw.chance(load.bulk);
        let mut length = if bulk { 70_000 } else { self.draw.between(8, load.value_bytes_max.max(8)) };
        if load.large > 0 && self.draw.chance(load.large) {
            length += LARGE_BYTES;
        }
        value.resize(usize::try_from(length).expect("below 100 KB"), b'.');
        value.into()
    }
}
