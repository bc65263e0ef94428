//! The world: one heap of events, everything that they touch, and the phases of a run.
//!
//! ```text
//!   load    sessions work, the nemesis breaks things
//!   heal    everything is mended; requests under way end; then nothing may be sent any more
//!   dark    (drawn, with `sync`) the power of all nodes goes and comes back
//!   check   every item is read through several nodes; then the stores themselves are looked into
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Event;
use super::crowd::{Crowd, TABLES};
use super::draw::Draw;
use super::finding::{Checker, Finding};
use super::heap::Heap;
use super::mutation::Mutation;
use super::network::Network;
use super::node::{Input, Node, SeatId};
use super::options::{Fault, Options};
use super::oracle::Oracle;
use crate::protocol::replica::open_copy;
use crate::protocol::ring::{Layout, Member, Parameters, Roster};
use crate::protocol::shard::View;
use crate::protocol::types::{ClusterId, NodeId};
use crate::protocol::version::{ConflictPolicy, TokenKey, TokenKeys, VersionVector};
use crate::protocol::wire::{Creation, TableRecord};

const MS: u64 = 1_000_000;
/// Lines kept of what happened last.
const LOG_LINES_MAX: usize = 60;
/// A load that is not over by then is cut off: slow networks, long pauses.
const LOAD_NS_MAX: u64 = 300_000 * MS;
/// From here on nothing may be on its way: the longest budget, its relays, and the slowest frame.
const SETTLE_NS: u64 = 10_000 * MS;
/// Within so long after that all owners are equal: a few rounds of the longest back-off, and the throttled search for
/// rot.
pub(super) const CONVERGENCE_NS_MAX: u64 = 90_000 * MS;
/// For so long nothing may be sent, once everything is settled.
const QUIET_NS: u64 = 1_000 * MS;
/// Nodes through which each item is read at the end.
const AUDITS_PER_ITEM: usize = 2;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Load,
    Heal,
    Quiet,
    Dark,
    Check,
    Over,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Processes that started.
    pub starts: u64,
    /// Frames between nodes.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams of gossip.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Times that a node gave a member up as unreachable.
    pub verdicts: u64,
    /// Reads answered.
    pub gets: u64,
    /// Writes acknowledged.
    pub puts: u64,
    /// Scans answered.
    pub scans: u64,
    /// Requests that a node said it could not serve.
    pub failures: u64,
    /// Requests that nobody answered in time.
    pub timeouts: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Items written.
    pub items: u64,
    /// Writes acknowledged with a stand-in's copy among those that counted.
    pub hinted: u64,
    /// Second processes of a node that ran beside the first.
    pub twins: u64,
    /// Connections of theirs that a peer let in.
    pub twins_let_in: u64,
    /// Connections of theirs that a peer refused.
    pub twins_refused: u64,
    /// Items reaped.
    pub reaped: u64,
    /// Vectors stripped.
    pub stripped: u64,
    /// Most versions that one item had.
    pub versions_max: u64,
}

impl Tally {
    /// Adds the counts of another run.
    pub fn add(&mut self, run: &Self) {
        self.events += run.events;
        self.starts += run.starts;
        self.frames += run.frames;
        self.bytes += run.bytes;
        self.datagrams += run.datagrams;
        self.datagram_bytes += run.datagram_bytes;
        self.verdicts += run.verdicts;
        self.gets += run.gets;
        self.puts += run.puts;
        self.scans += run.scans;
        self.failures += run.failures;
        self.timeouts += run.timeouts;
        self.virtual_ms += run.virtual_ms;
        self.items += run.items;
        self.hinted += run.hinted;
        self.twins += run.twins;
        self.twins_let_in += run.twins_let_in;
        self.twins_refused += run.twins_refused;
        self.reaped += run.reaped;
        self.stripped += run.stripped;
        self.versions_max = self.versions_max.max(run.versions_max);
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) now: u64,
    pub(super) heap: Heap<Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) crowd: Crowd,
    pub(super) oracle: Oracle,
    pub(super) finding: Option<Finding>,
    pub(super) tally: Tally,
    pub(super) phase: Phase,
    /// Of everything that happened, in order.
    pub(super) hash: u64,
    pub(super) last: VecDeque<(u64, String)>,
    pub(super) boot: Draw,
    pub(super) disks: Draw,
    pub(super) turns: Draw,
    pub(super) nemesis: Draw,
    pub(super) mutants: Draw,
    /// Whether a process is told to end, or killed.
    pub(super) cleanly: Draw,
    pub(super) gossip: Draw,
    /// The node of which two processes run, and how many lives their second ones had.
    pub(super) twin_of: Option<u16>,
    pub(super) twin_lives: u32,
    /// Since when each hint has been as it is, by the node that keeps it and its key.
    pub(super) hints: BTreeMap<(u16, Bytes), u64>,
    /// The counts when everybody had become equal.
    pub(super) settled: Tally,
    healing_until: u64,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let seed = options.seed;
        let mut clocks = Draw::new(seed, "clocks");
        let creation = creation(&options);
        let nodes: Vec<Node> = (0..options.nodes)
            .zip(&options.shards)
            .map(|(number, shards)| {
                let id = NodeId::new(u128::from(number) + 1);
                let mut view = View::of(id, &creation, options.r, options.w).expect("the layout is the roster's");
                if options.mutation == Some(Mutation::PlanTwoOnOne) {
                    view.layout = view.layout.with_two_copies_on_one_node();
                }
                Node::new(Arc::new(view), *shards, &mut clocks, options.nemesis.wall_ms_max)
            })
            .collect();
        let places = options.nodes + u16::from(options.nemesis.kinds.contains(&Fault::Twin));
        Self {
            now: 0,
            heap: Heap::new(),
            nodes,
            network: Network::new(places, options.network.clone(), options.gossip.clone(), seed),
            crowd: Crowd::new(&options.load, options.nodes, seed),
            oracle: Oracle::default(),
            finding: None,
            tally: Tally::default(),
            phase: Phase::Load,
            hash: seed,
            last: VecDeque::new(),
            boot: Draw::new(seed, "boot"),
            disks: Draw::new(seed, "disks"),
            turns: Draw::new(seed, "turns"),
            nemesis: Draw::new(seed, "nemesis"),
            mutants: Draw::new(seed, "mutants"),
            cleanly: Draw::new(seed, "clean stops"),
            gossip: Draw::new(seed, "gossip"),
            twin_of: None,
            twin_lives: 0,
            hints: BTreeMap::new(),
            settled: Tally::default(),
            healing_until: 0,
            options,
        }
    }

    /// Runs until all phases are over or something is found.
    pub(super) fn run(&mut self) {
        self.check_owners();
        (0..self.options.nodes).for_each(|number| self.start(number));
        for session in 0..self.crowd.sessions.len() {
            self.heap.push(50 * MS, Event::Act { session });
        }
        self.heap.push(100 * MS, Event::Strike);
        self.heap.push(100 * MS, Event::Phase);
        while self.finding.is_none() && self.phase != Phase::Over {
            let Some((at, event)) = self.heap.pop() else { break };
            assert!(at >= self.now, "time goes forward");
            self.now = at;
            self.tally.events += 1;
            self.note(&event);
            self.happen(event);
        }
        self.tally.virtual_ms = self.now / MS;
        self.tally.items = self.oracle.items.len() as u64;
        self.tally.versions_max = self.oracle.versions_max as u64;
    }

    fn happen(&mut self, event: Event) {
        let lives = |world: &Self, node: u16, life: u32| {
            world.nodes.get(usize::from(node)).is_some_and(|node| node.life == life)
        };
        match event {
            Event::Turn { seat, life } if lives(self, seat.node, life) => self.run_turn(seat),
            Event::Looked { seat, life, ask } if lives(self, seat.node, life) => self.looked(seat, ask),
            Event::Synced { node, life, to, fails } if lives(self, node, life) => self.synced(node, to, fails),
            Event::SyncTick { node, life } if lives(self, node, life) => {
                let disk = &mut self.nodes[usize::from(node)].disk;
                disk.asked = disk.sequence;
                self.begin_sync(node);
                let after = self.options.disk.interval_ms * MS;
                self.heap.push(self.now + after, Event::SyncTick { node, life });
            }
            Event::Gossip { node, life } if lives(self, node, life) => self.run_gossip(node),
            // What was meant for a process that is gone.
            Event::Turn { .. }
            | Event::Looked { .. }
            | Event::Synced { .. }
            | Event::SyncTick { .. }
            | Event::Gossip { .. } => {}
            Event::Deliver(flight) => self.deliver(&flight),
            Event::LinkDown { route, epoch } => self.link_down(route, epoch),
            Event::LinkTry { route } => self.link_try(route),
            Event::LinkIdle { route, epoch } => self.link_idle(route, epoch),
            Event::Letter(letter) => self.receive(letter),
            Event::Act { session } => self.act(session),
            Event::Request { node, operation, attempt, bytes } => self.request(node, operation, attempt, &bytes),
            Event::Answer { operation, attempt, bytes } => self.answered_client(operation, attempt, &bytes),
            Event::GiveUp { operation, attempt } => self.give_up(operation, attempt),
            Event::Strike => self.strike(),
            Event::Undo(undo) => self.mend(undo),
            Event::Start { node } => {
                if usize::from(node) < self.nodes.len() {
                    self.start(node);
                }
            }
            Event::Phase => self.next_phase(),
        }
    }

    /// A lookup or a scan that went to the disk is over.
    fn looked(&mut self, seat: SeatId, ask: super::disk::Ask) {
        let disk = &self.nodes[usize::from(seat.node)].disk;
        let input = match ask {
            super::disk::Ask::Read(id, partition, key) => {
                let result = disk.lookup(&mut self.disks, self.options.mutation, partition, &key);
                Input::Read { id, result }
            }
            super::disk::Ask::Scan(id, partition, range) => Input::Scan { id, page: disk.scan(partition, &range) },
            super::disk::Ask::Hints(id, range) => Input::Hints { id, page: disk.hints(&range) },
            super::disk::Ask::Items(id, range) => Input::Items { id, page: disk.items(self.options.mutation, &range) },
        };
        self.hand(seat, input);
    }

    /// Adds an event to the hash of the run.
    fn note(&mut self, event: &Event) {
        let (kind, a, b, bytes): (u8, u64, u64, &[u8]) = match event {
            Event::Turn { seat, life } => {
                (1, u64::from(seat.node) << 16 | u64::from(seat.shard), u64::from(*life), &[])
            }
            Event::Deliver(flight) => (2, u64::from(flight.from) << 16 | u64::from(flight.to), 0, &flight.bytes),
            Event::Looked { seat, .. } => (3, u64::from(seat.node), u64::from(seat.shard), &[]),
            Event::Synced { node, to, .. } => (4, u64::from(*node), *to, &[]),
            Event::SyncTick { node, .. } => (5, u64::from(*node), 0, &[]),
            Event::LinkDown { route, .. } => (6, u64::from(route.asker), u64::from(route.answerer), &[]),
            Event::LinkTry { route } => (7, u64::from(route.asker), u64::from(route.answerer), &[]),
            Event::LinkIdle { route, .. } => (8, u64::from(route.asker), u64::from(route.answerer), &[]),
            Event::Act { session } => (9, *session as u64, 0, &[]),
            Event::Request { node, operation, bytes, .. } => (10, u64::from(*node), *operation, bytes),
            Event::Answer { operation, bytes, .. } => (11, *operation, 0, bytes),
            Event::GiveUp { operation, attempt } => (12, *operation, u64::from(*attempt), &[]),
            Event::Strike => (13, 0, 0, &[]),
            Event::Undo(_) => (14, 0, 0, &[]),
            Event::Start { node } => (15, u64::from(*node), 0, &[]),
            Event::Phase => (16, 0, 0, &[]),
            Event::Letter(letter) => (17, u64::from(letter.from), u64::from(letter.to), &letter.bytes),
            Event::Gossip { node, .. } => (18, u64::from(*node), 0, &[]),
        };
        let mut head = [0_u8; 25];
        head[..8].copy_from_slice(&self.now.to_be_bytes());
        head[8] = kind;
        head[9..17].copy_from_slice(&a.to_be_bytes());
        head[17..].copy_from_slice(&b.to_be_bytes());
        self.hash = xxh3_64_with_seed(&head, self.hash);
        if !bytes.is_empty() {
            self.hash = xxh3_64_with_seed(bytes, self.hash);
        }
    }

    /// Keeps a line for the report of a failure.
    pub(super) fn log(&mut self, line: impl FnOnce() -> String) {
        if self.last.len() == LOG_LINES_MAX {
            self.last.pop_front();
        }
        let now = self.now;
        self.last.push_back((now, line()));
    }

    /// Plans a turn for a shard that has nothing new, in case that it slept through something.
    pub(super) fn wake(&mut self, seat: SeatId) {
        if self.nodes[usize::from(seat.node)].running {
            self.schedule_turn(seat, self.now + 1);
        }
    }

    fn next_phase(&mut self) {
        self.check_gossip();
        let after = match self.phase {
            Phase::Load => {
                let done = self.crowd.begun >= self.options.load.operations && self.crowd.operations.is_empty();
                if !done && self.now < LOAD_NS_MAX {
                    50 * MS
                } else {
                    self.phase = Phase::Heal;
                    self.heal();
                    let budget = self.options.load.budget_ms_max * u64::from(self.options.load.attempts_max);
                    self.healing_until = self.now + SETTLE_NS + budget * MS + CONVERGENCE_NS_MAX;
                    SETTLE_NS + budget * MS
                }
            }
            Phase::Heal if self.healing_until > self.now && self.is_unsettled() => {
                self.check_detectors(self.now + CONVERGENCE_NS_MAX - self.healing_until);
                100 * MS
            }
            Phase::Heal => {
                // First: whoever is held unreachable is not compared with, nor given its hints.
                self.check_detectors(CONVERGENCE_NS_MAX);
                self.check_convergence();
                self.phase = Phase::Quiet;
                self.settled = self.tally;
                QUIET_NS
            }
            Phase::Quiet => {
                self.check_quiet();
                self.check_calm_gossip();
                self.phase = Phase::Dark;
                if self.options.nemesis.power_loss_at_end {
                    self.lose_all_power();
                }
                SETTLE_NS
            }
            Phase::Dark => {
                self.phase = Phase::Check;
                self.plan_audits();
                50 * MS
            }
            Phase::Check if self.crowd.audits.is_empty() && self.crowd.operations.is_empty() => {
                self.phase = Phase::Over;
                self.look_into_stores();
                return;
            }
            Phase::Check => 50 * MS,
            Phase::Over => return,
        };
        self.heap.push(self.now + after, Event::Phase);
    }

    /// Whether owners still differ, or somebody still misjudges a member.
    fn is_unsettled(&self) -> bool {
        self.misjudged().is_some() || self.difference().is_some()
    }

    /// Checker 7: N distinct owners, and all nodes have one layout.
    fn check_owners(&mut self) {
        let first = &self.nodes[0].view.layout;
        let differs = self.nodes.iter().any(|node| node.view.layout != *first);
        let short = first.partitions().find(|partition| {
            let mut owners = first.owner_indices(*partition).to_vec();
            owners.sort_unstable();
            owners.dedup();
            owners.len() != usize::from(self.options.n)
        });
        if differs || short.is_some() {
            let text = format!("the nodes' layouts differ ({differs}) or {short:?} has fewer than N distinct owners");
            self.finding = Some(Finding::new(Checker::Owners, text));
        }
    }

    fn plan_audits(&mut self) {
        for item in 0..self.oracle.items.len() {
            let mut node = self.crowd.draw.below(u64::from(self.options.nodes));
            for _ in 0..AUDITS_PER_ITEM {
                let through = u16::try_from(node).expect("at most 50");
                self.crowd.audits.push_back((item, through, 0));
                node =
                    (node + 1 + self.crowd.draw.below(u64::from(self.options.nodes))) % u64::from(self.options.nodes);
            }
        }
        for session in self.crowd.add_auditors() {
            self.heap.push(self.now + MS, Event::Act { session });
        }
    }

    /// Checkers 1 and 10, without asking the nodes: what was acknowledged is known to the owners together, and each
    /// owner that was named and lost nothing still has it.
    fn look_into_stores(&mut self) {
        for (at, item) in self.oracle.items.iter().enumerate() {
            let mut together = VersionVector::new();
            for owner in &item.owners {
                let node = &self.nodes[usize::from(*owner)];
                let Some(record) = node.disk.held(item.partition, item.key.as_bytes()) else { continue };
                // A damaged copy says nothing.
                let Ok(held) = open_copy(&item.address, record) else { continue };
                together.join(&held.context());
            }
            let damaged = |node: u16| self.nodes[usize::from(node)].damaged;
            if let Some((write, dot)) = self.oracle.lost(at, &together, usize::from(self.options.w), &damaged) {
                let text = format!(
                    "acknowledged write {write} (dot {dot}) of {:?} is on no owner any more, and nothing replaced it; \
                     owners (counted from 0) {:?}, confirmed by {:?}, lost something {:?}",
                    item.address,
                    item.owners,
                    self.oracle.writes.get(&write).and_then(|write| write.acked.as_ref()).map(|(_, copies)| copies),
                    self.nodes
                        .iter()
                        .enumerate()
                        .filter(|(_, node)| node.damaged)
                        .map(|(at, _)| at)
                        .collect::<Vec<_>>()
                );
                self.finding.get_or_insert(Finding::new(Checker::AckedWrites, text));
                return;
            }
        }
        for (write_id, write) in &self.oracle.writes {
            let Some((dot, copies)) = &write.acked else { continue };
            let item = &self.oracle.items[write.item];
            for (number, fsynced) in copies {
                // What a stand-in kept went home.
                if !item.owners.contains(number) {
                    continue;
                }
                let node = &self.nodes[usize::from(*number)];
                let record = node.disk.held(item.partition, item.key.as_bytes());
                let knows = record.and_then(|record| open_copy(&item.address, record).ok());
                if node.damaged || item.is_over(*dot) || knows.is_some_and(|held| held.context().covers(*dot)) {
                    continue;
                }
                let text = format!(
                    "n{} confirmed write {write_id} (dot {dot}, fsynced: {fsynced}) of {:?}, lost nothing since, and \
                     does not know it",
                    number + 1,
                    item.address
                );
                self.finding.get_or_insert(Finding::new(Checker::Durability, text));
                return;
            }
        }
    }
}

fn creation(options: &Options) -> Creation {
    let member = |number: u16| Member {
        id: NodeId::new(u128::from(number) + 1),
        name: format!("n{}", number + 1),
        zone: String::new(),
        weight: 1,
        address: ([127, 0, 0, 1], 7000 + number).into(),
    };
    let roster = Roster::new((0..options.nodes).map(member).collect()).expect("ids, names and addresses differ");
    let parameters = Parameters { partitions: options.partitions, replicas: options.n, hash_seed: options.seed };
    let layout = Layout::first(&roster, parameters).expect("no more copies than nodes are drawn");
    let latest = TableRecord { name: TABLES[super::crowd::LATEST].to_owned(), policy: ConflictPolicy::LastWriterWins };
    Creation {
        cluster: ClusterId::new(u128::from(options.seed)),
        layout: layout.id(),
        roster,
        parameters,
        token_keys: TokenKeys { current: TokenKey::new(1, [7; 16]), previous: None },
        tables: vec![latest],
    }
}
