//! SWIM with Lifeguard (Dynamo 4.8.3 names the need): which members answer.
//!
//! Das, Gupta and Motivala, "SWIM", DSN 2002; Dadgar, Phillips and Currey, "Lifeguard", DSN 2018; figures and formulas
//! as `HashiCorp`'s memberlist has them. Every interval a member, the next of a shuffled round, is pinged; who does not
//! answer is pinged through three helpers; who does not answer them either is suspected, which is told to all, and
//! who does not refute in time is unreachable. News rides on the pings and on rounds of gossip.
//!
//! ```text
//!            no answer, directly or by helpers           not refuted in time
//!     Alive ----------------------------------> Suspect ---------------------> Unreachable
//!       ^                                          |                                |
//!       +------- news of itself in a newer edition-+--------------------------------+
//!
//!     edition = (boot generation, incarnation): a restart is newer than all that was said of the life before, and a
//!     node that hears itself accused in its present edition takes the next one.
//! ```
//!
//! What is ours: **the roster decides who is a member**; this machine says only who answers, and tries the unreachable
//! for ever. Every message carries its sender's edition and the digests of roster, layout and table, so that what
//! rumours leave out is found and fetched over a stream. Any message to a member that is accused here carries the
//! accusation, so it can refute at once. A link that is not up yet is not a failed probe. A tick that comes late
//! gives the lateness back to every suspect: the sleeper was this node. The table of a member that finds most of the
//! cluster unreachable is that of a node that was cut off: its accusations are not taken over.
//!
//! Rooms: `config` (figures), `table` (beliefs and their digest), `message` (bytes), `rumour` (what is told),
//! `suspicion` (time to refute), `health` (trust in oneself), `probe` and `retry` (whom to ask), `round` (what time
//! brings), `hearing` (what others bring), `counters`.
//!
//! Measured in virtual time, where one datagram in a hundred is lost; `quorate sim --detector` measures ours, `cargo
//! bench --bench detector` holds the crate foca (2.0.0, with its LAN figures) beside it, and `tests/sim.rs` asserts
//! both. These are of the scenarios in `tests/sim.rs`, 2026-11-25; they depend on the seeds, not on the machine.
//!
//! ```text
//!   goal                                                                    ours                      foca
//!   100 nodes, 4 overloaded, healthy members held unreachable by healthy
//!     ones, seeds 1, 2, 3: none in 600 s (foca: in 300 s)                   0, 0, 0                   920, 502, 1060
//!   100 nodes, a death is known to all, median of 30                        9.4 s                     10.0 s
//!   1,000 nodes, a death is known to all within 20 s                        13.9, 15.3, 13.2 s
//!   1,000 nodes, an update reaches 99 % in under 2 s                        0.4, 0.4, 0.4 s
//!   bytes a node and second, 10 / 30 / 100 / 300 / 1,000 nodes              96, 100, 100, 99, 99
//!   5,000 nodes for 300 s, on one core in under 10 minutes                  not measured yet
//! ```
//!
//! *Caveats.* A standing is advice for routing, never for ownership. Who holds a member's certificate is believed:
//! it can accuse others, which costs them one refutation a time, and cannot speak in another's name to them.

mod config;
mod counters;
mod health;
mod hearing;
mod message;
mod probe;
mod retry;
mod round;
mod rumour;
mod suspicion;
mod table;

pub use config::{Config, DATAGRAM_BYTES_MAX, MEMBERS_MAX};
pub use counters::Counters;
pub use message::RECORD_BYTES_MAX;
pub use table::{Edition, Roster, Standing};

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use self::health::Health;
use self::message::{Digests, Draft, Kind, News};
use self::probe::{Probe, Relays, Round};
use self::retry::{Retries, jittered};
use self::rumour::Rumours;
use self::suspicion::{Allowance, Suspicions};
use self::table::{Place, Table};
use crate::protocol::types::{BootGeneration, Instant, NodeId};

/// What the caller carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram. A caller without a link drops it, and reaches out.
    Send {
        /// To whom.
        to: NodeId,
        /// At most [`DATAGRAM_BYTES_MAX`].
        bytes: Bytes,
    },
    /// A member's standing is another than it was.
    Changed {
        /// Whose.
        node: NodeId,
        /// What it is now.
        standing: Standing,
    },
    /// A member has what this node has not, or the other way round: fetch its record over a stream and merge it.
    Fetch {
        /// Of whom.
        from: NodeId,
        /// Which record.
        matter: Matter,
    },
}

/// What two members hold alike when nothing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// The roster, which the caller keeps.
    Roster,
    /// The layout, which the caller keeps.
    Layout,
    /// The table: `table_record` there, `handle_table` here.
    Table,
}

/// The digests of the records that a member's caller keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    /// Of its roster.
    pub roster: u64,
    /// Of its layout.
    pub layout: u64,
}

/// Which members answer, as one node sees it.
#[derive(Debug, Clone)]
pub struct Membership {
    config: Config,
    me: NodeId,
    /// This node's place; none while it is not on the roster, and then it is silent.
    here: Option<Place>,
    edition: Edition,
    records: Records,
    /// Members whose last message named other records than this node's, and which.
    differing: BTreeMap<Place, Records>,
    table: Table,
    allowance: Allowance,
    tellings: u32,
    rng: Xoshiro256PlusPlus,
    sequence: u32,
    health: Health,
    round: Round,
    probe: Option<Probe>,
    probe_at: Instant,
    relays: Relays,
    suspicions: Suspicions,
    retries: Retries,
    /// Before this no unreachable member is pinged.
    retry_at: Instant,
    rumours: Rumours,
    gossip_at: Instant,
    compare_at: Instant,
    /// Members whose link is down, and since when.
    down: BTreeMap<Place, Instant>,
    /// When members last answered a request of another kind.
    heard: BTreeMap<Place, Instant>,
    /// When there was last news to tell.
    changed_at: Instant,
    fetched_at: BTreeMap<Matter, Instant>,
    /// Accusations that may still be sent back before the next round of gossip.
    reminders: u32,
    outputs: Vec<Output>,
    counters: Counters,
}

impl Membership {
    /// A machine that finds all members alive and no link up. The caller keeps `generation` on disk and raises it on
    /// every start.
    ///
    /// # Panics
    /// Figures in `config` contradict each other.
    #[must_use]
    pub fn new(
        config: Config,
        me: NodeId,
        generation: BootGeneration,
        roster: Roster,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        config.check();
        let mut rng = Xoshiro256PlusPlus::from_seed(seed);
        let mut first = |interval: Duration| now.after(jittered(interval, &mut rng).saturating_sub(interval / 2));
        let (probe_at, compare_at) = (first(config.probe_interval * 2), first(config.compare_interval * 2));
        let mut machine = Self {
            me,
            here: None,
            edition: Edition::new(generation, 0),
            records: Records::default(),
            differing: BTreeMap::new(),
            table: Table::new(Roster::default()),
            allowance: Allowance::of(&config, 0),
            tellings: 1,
            rng,
            sequence: 0,
            health: Health::new(config.health_max),
            round: Round::default(),
            probe: None,
            probe_at,
            relays: Relays::default(),
            suspicions: Suspicions::default(),
            retries: Retries::default(),
            retry_at: now,
            rumours: Rumours::default(),
            gossip_at: now,
            compare_at,
            down: BTreeMap::new(),
            heard: BTreeMap::new(),
            changed_at: now,
            fetched_at: BTreeMap::new(),
            reminders: 0,
            outputs: Vec::new(),
            counters: Counters::default(),
            config,
        };
        machine.set_roster(now, roster);
        machine
    }

    /// The members are exactly these from now on. What is believed of those that stay, stays.
    pub fn set_roster(&mut self, now: Instant, roster: Roster) {
        let mut table = Table::new(roster);
        self.allowance = Allowance::of(&self.config, table.len());
        self.tellings = self.config.tellings(table.len());
        std::mem::swap(&mut self.table, &mut table);
        let before = table;
        let ids = before.roster().ids();
        let to = |place: Place| ids.get(place.as_index()).and_then(|id| self.table.find(*id));
        self.differing = self.differing.iter().filter_map(|(place, records)| Some((to(*place)?, *records))).collect();
        self.suspicions.remap(to);
        self.retries.remap(to);
        self.rumours.remap(to);
        let ids = self.table.roster().ids().iter().enumerate();
        // Of a new member no link is up yet. Both lists rise, so the map is built at once.
        let since = |id| before.find(id).map_or(Some(now), |place| self.down.get(&place).copied());
        self.down = ids.filter_map(|(index, id)| Some((Place::new(index), since(*id)?))).collect();
        self.heard.clear();
        for (id, edition, standing) in before.iter() {
            if let Some(place) = self.table.find(id) {
                self.table.set(place, edition, standing);
            }
        }
        // A sequence names a place of the old roster: better ask again than take one member's answer for another's.
        self.relays.clear();
        self.probe = None;
        self.round = Round::new(self.table.len());
        self.here = self.table.find(self.me);
        self.changed_at = now;
        if let Some(here) = self.here {
            self.down.remove(&here);
            self.announce(now, here);
        }
    }

    /// The digests of the caller's own records, to be compared with every member's. Zero and zero until it is called.
    pub fn set_digests(&mut self, roster: u64, layout: u64) {
        self.records = Records { roster, layout };
        let own = self.records;
        self.differing.retain(|_, theirs| *theirs != own);
    }

    /// The digests of this node's own records.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records
    }

    /// Members whose last message named another roster or layout than this node's, and which, in the order of ids.
    pub fn differing(&self) -> impl Iterator<Item = (NodeId, Records)> {
        self.differing.iter().map(|(place, records)| (self.table.id(*place), *records))
    }

    /// The link to a member came up or broke. Only on a link that is up does silence count at once.
    pub fn handle_link(&mut self, now: Instant, node: NodeId, up: bool) {
        let Some(place) = self.table.find(node).filter(|place| self.here != Some(*place)) else { return };
        if !up {
            self.down.entry(place).or_insert(now);
            // The rest of this probe would measure the link, which has its own limit.
            if self.probe.as_ref().is_some_and(|probe| probe.target == place) {
                self.probe = None;
                self.probe_at = self.probe_at.min(now.after(self.config.probe_interval));
            }
        } else if self.down.remove(&place).is_some() {
            self.retries.hasten(place, now);
        }
    }

    /// A member answered some request of this node, which says as much as an answer to a ping. Traffic that answers
    /// nothing does not: it proves only one direction.
    pub fn handle_heard(&mut self, now: Instant, node: NodeId) {
        let Some(place) = self.table.find(node).filter(|place| self.here != Some(*place)) else { return };
        let before = self.heard.insert(place, now);
        if self.probe.as_ref().is_some_and(|probe| probe.target == place) {
            self.succeed(now);
        }
        // It answers: let it know at once that it is accused. Once: requests are many.
        if before.is_none_or(|at| now.since(at) >= self.config.probe_interval) {
            self.retries.hasten(place, now);
        }
    }

    /// What is believed of a member; none of a node that is not on the roster.
    #[must_use]
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        self.table.find(node).map(|place| self.table.standing(place))
    }

    /// The newest edition heard of a member.
    #[must_use]
    pub fn edition(&self, node: NodeId) -> Option<Edition> {
        self.table.find(node).map(|place| self.table.edition(place))
    }

    /// Every member and what is believed of it, this node included, in the order of ids.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, Standing)> {
        self.table.iter().map(|(id, _, standing)| (id, standing))
    }

    /// The digest of the table: members that believe the same have the same.
    #[must_use]
    pub fn table_digest(&self) -> u64 {
        self.table.digest()
    }

    /// The whole table, for a member that fetches it; at most [`RECORD_BYTES_MAX`].
    #[must_use]
    pub fn table_record(&self) -> Bytes {
        message::to_record(&self.table).into()
    }

    /// Takes what the caller has to carry out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Output> {
        self.outputs.drain(..)
    }

    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            suspected_now: self.table.suspect() as u64,
            unreachable_now: self.table.unreachable() as u64,
            rumours_now: self.rumours.len() as u64,
            differing_now: self.differing.len() as u64,
            health_now: self.health.score(),
            ..self.counters
        }
    }

    /// Tells everybody this node's own edition.
    fn announce(&mut self, now: Instant, here: Place) {
        self.table.set(here, self.edition, Standing::Alive);
        self.spread(now, here, here);
    }

    /// There is news to tell of a member.
    fn spread(&mut self, now: Instant, about: Place, accuser: Place) {
        if self.rumours.is_empty() {
            self.gossip_at = self.gossip_at.max(now);
        }
        self.changed_at = now;
        let dropped = !self.rumours.push(about, accuser);
        self.counters.rumours_dropped += u64::from(dropped);
    }

    fn change(&mut self, place: Place, edition: Edition, standing: Standing) {
        let before = self.table.standing(place);
        self.table.set(place, edition, standing);
        if before != standing {
            self.outputs.push(Output::Changed { node: self.table.id(place), standing });
        }
    }

    fn news_of(&self, place: Place, accuser: Place) -> News {
        News {
            node: self.table.id(place),
            edition: self.table.edition(place),
            standing: self.table.standing(place),
            accuser: self.table.id(accuser),
        }
    }

    fn digests(&self) -> Digests {
        Digests { roster: self.records.roster, layout: self.records.layout, table: self.table.digest() }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends a message with as much news as fits: first what the receiver is accused of, so that it can refute.
    fn send(&mut self, to: Place, kind: Kind, sequence: u32) {
        let Some(here) = self.here else { return };
        let mut draft = Draft::new(kind, sequence, self.edition, self.digests());
        if self.table.standing(to) != Standing::Alive {
            // Passed on, an accusation names its first accuser; sent back to the accused, its bearer will do.
            draft.add(&self.news_of(to, here));
        }
        // What an unreachable member is told is probably lost, and would count as told.
        if self.table.standing(to) != Standing::Unreachable {
            let mut rumours = std::mem::take(&mut self.rumours);
            rumours.tell(self.tellings, |about, accuser| draft.add(&self.news_of(about, accuser)));
            self.rumours = rumours;
        }
        let bytes = Bytes::from(draft.finish());
        self.counters.sent += 1;
        self.counters.sent_bytes += bytes.len() as u64;
        self.outputs.push(Output::Send { to: self.table.id(to), bytes });
    }
}

#[cfg(test)]
mod tests;
