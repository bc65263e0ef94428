//! The crate foca in the world of detectors: the baseline that ours has to be better than.
//!
//! Its LAN figures are memberlist's, as ours are. It has no roster, so everybody is told of all others at the start, as
//! one that knows a roster would. It has no link of its own either: when the first one of a node is up, it announces
//! itself there, as its documentation asks of a node that joins.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use bytes::Bytes;
use foca::{
    AccumulatingRuntime, Config, Error, Foca, Identity, Member, NoCustomBroadcast, OwnedNotification, PostcardCodec,
    Timer,
};
use quorate::protocol::membership::{DATAGRAM_BYTES_MAX, Standing};
use quorate::protocol::types::Instant;
use quorate::sim::detector::{Detector, Word};
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// A node's name, as long as ours are. A life ends with the process, or with a verdict, which foca takes as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    id: [u8; 16],
    generation: u64,
    renewals: u32,
}

impl Name {
    fn new(node: u32, generation: u64) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&node.to_be_bytes());
        Self { id, generation, renewals: 0 }
    }

    fn node(&self) -> u32 {
        u32::from_be_bytes([self.id[0], self.id[1], self.id[2], self.id[3]])
    }
}

impl Identity for Name {
    type Addr = [u8; 16];

    fn renew(&self) -> Option<Self> {
        Some(Self { renewals: self.renewals + 1, ..*self })
    }

    fn addr(&self) -> [u8; 16] {
        self.id
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        (self.generation, self.renewals) > (other.generation, other.renewals)
    }
}

/// foca, with its timers kept in order.
pub(crate) struct Baseline {
    foca: Foca<Name, PostcardCodec, Xoshiro256PlusPlus, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Name>,
    timers: BTreeMap<(Instant, u64), Timer<Name>>,
    serial: u64,
    announced: bool,
    generations: BTreeMap<u32, u64>,
    words: Vec<Word>,
}

impl Baseline {
    fn take(&mut self, now: Instant, result: Result<(), Error>) {
        // A message of a name that is no longer valid is this protocol's daily life; one that cannot be read is not.
        if let Err(error) = result {
            assert!(!matches!(error, Error::Encode(_) | Error::Decode(_) | Error::MalformedPacket), "{error}");
        }
        while let Some((to, bytes)) = self.runtime.to_send() {
            self.words.push(Word::Send { to: to.node(), bytes });
        }
        while let Some((wait, timer)) = self.runtime.to_schedule() {
            self.serial += 1;
            self.timers.insert((now.after(wait), self.serial), timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(name) => {
                    self.generations.insert(name.node(), name.generation);
                    self.words.push(Word::Changed { node: name.node(), standing: Standing::Alive });
                }
                OwnedNotification::MemberDown(name) => {
                    self.words.push(Word::Changed { node: name.node(), standing: Standing::Unreachable });
                }
                OwnedNotification::Rename(_, name) => {
                    self.generations.insert(name.node(), name.generation);
                }
                OwnedNotification::Active
                | OwnedNotification::Idle
                | OwnedNotification::Defunct
                | OwnedNotification::Rejoin(_) => {}
            }
        }
    }
}

impl Detector for Baseline {
    const NAME: &'static str = "foca";
    type Common = (u32, Config);

    fn common(members: u32) -> Self::Common {
        let size = NonZeroU32::new(members).expect("a world has members");
        let max_packet_size = NonZeroUsize::new(DATAGRAM_BYTES_MAX).expect("a datagram has bytes");
        (members, Config { max_packet_size, ..Config::new_lan(size) })
    }

    fn start((members, config): &Self::Common, me: u32, generation: u64, seed: [u8; 32], now: Instant) -> Self {
        let rng = Xoshiro256PlusPlus::from_seed(seed);
        let mut baseline = Self {
            foca: Foca::new(Name::new(me, generation), config.clone(), rng, PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            serial: 0,
            announced: false,
            generations: BTreeMap::new(),
            words: Vec::new(),
        };
        let others = (0..*members).filter(|other| *other != me).map(|other| Member::alive(Name::new(other, 1)));
        let told = baseline.foca.apply_many(others, false, &mut baseline.runtime);
        baseline.take(now, told);
        baseline
    }

    fn handle_datagram(&mut self, now: Instant, _from: u32, bytes: &Bytes) {
        let heard = self.foca.handle_data(bytes, &mut self.runtime);
        self.take(now, heard);
    }

    fn handle_tick(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            let done = self.foca.handle_timer(timer, &mut self.runtime);
            self.take(now, done);
        }
    }

    fn next_deadline(&self) -> Instant {
        self.timers.keys().next().map_or(Instant::from_nanos(u64::MAX), |(due, _)| *due)
    }

    fn drain(&mut self) -> Vec<Word> {
        std::mem::take(&mut self.words)
    }

    fn handle_link(&mut self, now: Instant, node: u32, up: bool) {
        if up && !self.announced {
            self.announced = true;
            let generation = self.generations.get(&node).copied().unwrap_or(1);
            let sent = self.foca.announce(Name::new(node, generation), &mut self.runtime);
            self.take(now, sent);
        }
    }

    fn generation(&self, of: u32) -> Option<u64> {
        self.generations.get(&of).copied()
    }
}
