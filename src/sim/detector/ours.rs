//! The project's own detector, as the world's.

use bytes::Bytes;

use super::{Detector, Word};
use crate::protocol::membership::{Config, Counters, Matter, Membership, Output, Roster};
use crate::protocol::types::{BootGeneration, Instant, NodeId};

/// [`Membership`] with members numbered from 0.
#[derive(Debug)]
pub struct Ours(Membership);

impl Ours {
    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.counters()
    }
}

fn id(number: u32) -> NodeId {
    NodeId::new(u128::from(number) << 96)
}

fn number(id: NodeId) -> u32 {
    u32::try_from(id.as_u128() >> 96).expect("the upper 32 bits")
}

impl Detector for Ours {
    const NAME: &'static str = "ours";
    type Common = Roster;

    fn common(members: u32) -> Roster {
        Roster::new((0..members).map(id))
    }

    fn start(roster: &Roster, me: u32, generation: u64, seed: [u8; 32], now: Instant) -> Self {
        Self(Membership::new(Config::default(), id(me), BootGeneration::new(generation), roster.clone(), seed, now))
    }

    fn handle_datagram(&mut self, now: Instant, from: u32, bytes: &Bytes) {
        self.0.handle_datagram(now, id(from), bytes);
    }

    fn handle_tick(&mut self, now: Instant) {
        self.0.handle_tick(now);
    }

    fn next_deadline(&self) -> Instant {
        self.0.next_deadline()
    }

    fn drain(&mut self) -> Vec<Word> {
        let word = |output| match output {
            Output::Send { to, bytes } => Some(Word::Send { to: number(to), bytes }),
            Output::Changed { node, standing } => Some(Word::Changed { node: number(node), standing }),
            Output::Fetch { from, matter: Matter::Table } => Some(Word::Fetch { from: number(from) }),
            Output::Fetch { matter: Matter::Roster | Matter::Layout, .. } => None,
        };
        self.0.drain().filter_map(word).collect()
    }

    fn handle_link(&mut self, now: Instant, node: u32, up: bool) {
        self.0.handle_link(now, id(node), up);
    }

    fn table(&self) -> Bytes {
        self.0.table_record()
    }

    fn handle_table(&mut self, now: Instant, from: u32, table: &Bytes) {
        self.0.handle_table(now, id(from), table);
    }

    fn generation(&self, of: u32) -> Option<u64> {
        self.0.edition(id(of)).map(|edition| edition.generation().as_u64())
    }
}
