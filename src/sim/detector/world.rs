//! The world: detectors, the ways between them, and what is counted.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::super::draw::Draw;
use super::super::heap::Heap;
use super::{Detector, Word};
use crate::protocol::membership::Standing;
use crate::protocol::types::Instant;

/// Datagrams that wait at an overloaded node: a 64 KiB socket buffer of 256-byte charges and more. Later ones are lost.
const INBOX_MAX: usize = 1_024;
/// How long links take to come up after a start: a handshake at a busy time.
const HANDSHAKE_NS: u64 = 200_000_000;

/// What a world is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Members, numbered from 0.
    pub nodes: u32,
    /// The first so many are overloaded.
    pub overloaded: u32,
    /// Datagrams lost, in a million.
    pub loss: u32,
    /// Shortest and longest way of all but one datagram in a hundred, which takes up to fifty times as long.
    pub latency: (Duration, Duration),
    /// How long an overloaded node sleeps, at least and at most.
    pub asleep: (Duration, Duration),
    /// How long it is awake in between.
    pub awake: (Duration, Duration),
    /// How long it takes over a datagram, at most.
    pub handling: Duration,
}

impl Settings {
    /// A local network with one datagram in a hundred lost.
    #[must_use]
    pub const fn new(nodes: u32) -> Self {
        Self {
            nodes,
            overloaded: 0,
            loss: 10_000,
            latency: (Duration::from_micros(200), Duration::from_millis(2)),
            asleep: (Duration::from_millis(500), Duration::from_secs(12)),
            awake: (Duration::from_millis(5), Duration::from_millis(500)),
            handling: Duration::from_millis(5),
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Events handled.
    pub events: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Largest datagram.
    pub bytes_max: u64,
    /// Tables fetched.
    pub fetches: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Times that a healthy node came to hold a healthy, running one unreachable.
    pub slanders: u64,
    /// The same, where an overloaded node held it.
    pub slanders_by_overloaded: u64,
    /// Times that a healthy node came to suspect a healthy, running one. A detector need not say so.
    pub suspicions: u64,
    /// Times that a healthy node held an overloaded one unreachable, which is not wrong.
    pub overloaded_given_up: u64,
}

enum Event {
    Tick { node: u32 },
    Deliver { from: u32, to: u32, bytes: Bytes },
    Table { from: u32, to: u32, life: u32, bytes: Bytes },
    Serve { node: u32 },
    Sleep { node: u32 },
    Links { node: u32, life: u32 },
}

struct Seat<D> {
    detector: Option<D>,
    /// Raised by every start and stop.
    life: u32,
    generation: u64,
    /// The tick that counts; others are late thoughts.
    armed: u64,
    /// Whether its links are up. A datagram to or from one without links goes nowhere.
    linked: bool,
    /// An overloaded node does nothing before.
    free_at: u64,
    inbox: VecDeque<(u32, Bytes)>,
}

/// Detectors in virtual time.
pub struct World<D: Detector> {
    settings: Settings,
    common: D::Common,
    heap: Heap<Event>,
    now: u64,
    network: Draw,
    load: Draw,
    seeds: Draw,
    seats: Vec<Seat<D>>,
    /// Members cut off from all others.
    cut: BTreeSet<u32>,
    watched: Option<Watch>,
    tally: Tally,
}

/// What is being waited for, and who has come to know it.
struct Watch {
    of: u32,
    /// A generation to hear of; none to wait for the verdict.
    generation: Option<u64>,
    since: u64,
    known: Vec<bool>,
    /// When each that knows came to know, rising.
    times: Vec<u64>,
}

impl<D: Detector> fmt::Debug for World<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("settings", &self.settings).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl<D: Detector> World<D> {
    /// Everybody starts at once, all links up.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        assert!(settings.overloaded < settings.nodes, "somebody has to be well");
        let seat = |_| Seat {
            detector: None,
            life: 0,
            generation: 0,
            armed: u64::MAX,
            linked: false,
            free_at: 0,
            inbox: VecDeque::new(),
        };
        let mut world = Self {
            seats: (0..settings.nodes).map(seat).collect(),
            common: D::common(settings.nodes),
            heap: Heap::new(),
            now: 0,
            network: Draw::new(seed, "network"),
            load: Draw::new(seed, "load"),
            seeds: Draw::new(seed, "seeds"),
            cut: BTreeSet::new(),
            watched: None,
            tally: Tally::default(),
            settings,
        };
        let nodes = world.settings.nodes;
        for node in 0..nodes {
            world.start(node);
            let seat = world.seat_mut(node);
            seat.linked = true;
            // One detector after the other, each while it is in the processor's cache.
            if let Some(detector) = &mut seat.detector {
                for other in (0..nodes).filter(|other| *other != node) {
                    detector.handle_link(Instant::from_nanos(0), other, true);
                }
            }
            if node < world.settings.overloaded {
                let at = world.between(world.settings.awake);
                world.heap.push(at, Event::Sleep { node });
            }
        }
        for node in 0..nodes {
            world.settle(node);
        }
        world
    }

    /// Counts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The detector of a running member.
    #[must_use]
    pub fn detector(&self, node: u32) -> Option<&D> {
        self.seat(node).detector.as_ref()
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Ends a member without a word. Its links stay up: nobody tells a network that a machine has died.
    pub fn kill(&mut self, node: u32) {
        let seat = self.seat_mut(node);
        seat.detector = None;
        seat.life += 1;
        seat.armed = u64::MAX;
        seat.inbox.clear();
    }

    /// Starts a member anew, in the next boot generation. Links to it break, and are up again a little later.
    pub fn restart(&mut self, node: u32) {
        self.kill(node);
        self.start(node);
        self.seat_mut(node).linked = false;
        self.settle(node);
        let now = self.instant();
        for other in (0..self.settings.nodes).filter(|other| *other != node) {
            if let Some(detector) = &mut self.seats[other as usize].detector {
                detector.handle_link(now, node, false);
            }
            self.settle(other);
        }
        let life = self.seat(node).life;
        self.heap.push(self.now + HANDSHAKE_NS, Event::Links { node, life });
    }

    /// Cuts a member off from all that are not cut off, or puts it back. Links notice nothing.
    pub fn cut(&mut self, node: u32, cut: bool) {
        if cut {
            self.cut.insert(node)
        } else {
            self.cut.remove(&node)
        };
    }

    /// Waits from now on until all others hold this member unreachable.
    pub fn watch_death(&mut self, of: u32) {
        self.watch(of, None);
    }

    /// Waits from now on until all others have heard of this member's present boot generation.
    pub fn watch_generation(&mut self, of: u32) {
        let generation = self.seat(of).generation;
        self.watch(of, Some(generation));
    }

    /// How long it took until this share, in a hundred, of the running others knew what is watched.
    #[must_use]
    pub fn known_after(&self, percent: usize) -> Option<Duration> {
        let watch = self.watched.as_ref()?;
        let running = (0..).zip(&self.seats).filter(|(node, seat)| *node != watch.of && seat.detector.is_some());
        let needed = (running.count() * percent).div_ceil(100).max(1);
        watch.times.get(needed - 1).map(|at| Duration::from_nanos(at - watch.since))
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + nanos(time);
        while let Some((at, event)) = self.heap.pop() {
            if at > end {
                self.heap.push(at, event);
                break;
            }
            self.now = at;
            self.tally.events += 1;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        let now = self.instant();
        match event {
            Event::Tick { node } => {
                let at = self.now;
                let seat = self.seat_mut(node);
                if seat.armed != at {
                    return;
                }
                // Of every second one only the inbox sleeps: its timers run on time and find no answers.
                if seat.free_at > at && node % 2 == 0 {
                    seat.armed = seat.free_at;
                    let at = seat.free_at;
                    self.heap.push(at, Event::Tick { node });
                    return;
                }
                seat.armed = u64::MAX;
                if let Some(detector) = &mut seat.detector {
                    detector.handle_tick(now);
                }
                self.settle(node);
            }
            Event::Deliver { from, to, bytes } if to < self.settings.overloaded => {
                let at = self.now;
                let seat = self.seat_mut(to);
                if seat.inbox.len() < INBOX_MAX && seat.detector.is_some() {
                    seat.inbox.push_back((from, bytes));
                    let first = (seat.inbox.len() == 1).then_some(seat.free_at.max(at));
                    if let Some(first) = first {
                        self.heap.push(first, Event::Serve { node: to });
                    }
                }
            }
            Event::Deliver { from, to, bytes } => {
                if let Some(detector) = &mut self.seat_mut(to).detector {
                    detector.handle_datagram(now, from, &bytes);
                }
                self.settle(to);
            }
            Event::Table { from, to, life, bytes } => {
                if self.seat(to).life == life
                    && let Some(detector) = &mut self.seat_mut(to).detector
                {
                    detector.handle_table(now, from, &bytes);
                }
                self.settle(to);
            }
            Event::Serve { node } => self.serve(node),
            Event::Sleep { node } => {
                let wakes = self.now + self.between(self.settings.asleep);
                let sleeps = wakes + self.between(self.settings.awake);
                self.seat_mut(node).free_at = wakes;
                self.heap.push(sleeps, Event::Sleep { node });
            }
            Event::Links { node, life } => {
                if self.seat(node).life == life {
                    self.link_to_all(node);
                }
            }
        }
    }

    /// An overloaded node takes one datagram from its inbox, when it is free.
    fn serve(&mut self, node: u32) {
        let now = self.now;
        let handling = self.load.between(0, nanos(self.settings.handling));
        let seat = self.seat_mut(node);
        if seat.free_at > now {
            let at = seat.free_at;
            self.heap.push(at, Event::Serve { node });
            return;
        }
        let Some((from, bytes)) = seat.inbox.pop_front() else { return };
        seat.free_at = now + handling;
        let next = (!seat.inbox.is_empty()).then_some(seat.free_at);
        if let Some(detector) = &mut seat.detector {
            detector.handle_datagram(Instant::from_nanos(now), from, &bytes);
        }
        if let Some(next) = next {
            self.heap.push(next, Event::Serve { node });
        }
        self.settle(node);
    }

    /// Carries out what a detector wants, counts what it believes, and arms its next tick.
    fn settle(&mut self, node: u32) {
        let words = self.seat_mut(node).detector.as_mut().map(Detector::drain).unwrap_or_default();
        for word in words {
            match word {
                Word::Send { to, bytes } => self.send(node, to, bytes),
                Word::Changed { node: of, standing } => self.judge(node, of, standing),
                Word::Fetch { from } => self.fetch(node, from),
            }
        }
        self.look(node);
        let seat = self.seat_mut(node);
        let Some(detector) = &seat.detector else { return };
        let due = detector.next_deadline().as_nanos();
        if due < seat.armed {
            seat.armed = due;
            self.heap.push(due, Event::Tick { node });
        }
    }

    fn send(&mut self, from: u32, to: u32, bytes: Bytes) {
        self.tally.datagrams += 1;
        self.tally.bytes += bytes.len() as u64;
        self.tally.bytes_max = self.tally.bytes_max.max(bytes.len() as u64);
        let lost = self.network.chance(self.settings.loss);
        if lost || self.is_cut(from, to) || to >= self.settings.nodes {
            return;
        }
        if !self.seat(from).linked || !self.seat(to).linked {
            return;
        }
        let delay = self.delay();
        self.heap.push(self.now + delay, Event::Deliver { from, to, bytes });
    }

    fn delay(&mut self) -> u64 {
        let (low, high) = self.settings.latency;
        let delay = self.network.between(nanos(low), nanos(high));
        if self.network.chance(10_000) { delay * self.network.between(1, 50) } else { delay }
    }

    fn fetch(&mut self, node: u32, from: u32) {
        if self.is_cut(from, node) || !self.seat(from).linked || !self.seat(node).linked {
            return;
        }
        let Some(bytes) = self.seat(from).detector.as_ref().map(Detector::table) else { return };
        self.tally.fetches += 1;
        self.tally.fetched_bytes += bytes.len() as u64;
        // There and back, and whatever the one that is asked or the one that asks still sleeps.
        let free = self.seat(from).free_at.max(self.seat(node).free_at).max(self.now);
        let at = free + self.delay() + self.delay();
        let life = self.seat(node).life;
        self.heap.push(at, Event::Table { from, to: node, life, bytes });
    }

    fn judge(&mut self, by: u32, of: u32, standing: Standing) {
        let overloaded = self.settings.overloaded;
        // A member that just started is unreachable for as long as its links take.
        let answers = self.seat(of).detector.is_some() && self.seat(of).linked;
        let slander = of >= overloaded && answers && !self.cut.contains(&of) && !self.cut.contains(&by);
        match standing {
            Standing::Unreachable if slander && by >= overloaded => self.tally.slanders += 1,
            Standing::Unreachable if slander => self.tally.slanders_by_overloaded += 1,
            Standing::Unreachable if of < overloaded && by >= overloaded => self.tally.overloaded_given_up += 1,
            Standing::Suspect if slander && by >= overloaded => self.tally.suspicions += 1,
            Standing::Alive | Standing::Suspect | Standing::Unreachable => {}
        }
        let now = self.now;
        if let Some(watch) = self.watched.as_mut().filter(|watch| watch.of == of && watch.generation.is_none()) {
            let known = &mut watch.known[by as usize];
            if standing == Standing::Unreachable && !*known {
                *known = true;
                watch.times.push(now);
            }
        }
    }

    fn watch(&mut self, of: u32, generation: Option<u64>) {
        let known = vec![false; self.seats.len()];
        self.watched = Some(Watch { of, generation, since: self.now, known, times: Vec::new() });
    }

    /// Whether a node has heard of the generation that is watched.
    fn look(&mut self, node: u32) {
        let Some(watch) = &mut self.watched else { return };
        let Some(generation) = watch.generation else { return };
        let known = &mut watch.known[node as usize];
        let detector = self.seats[node as usize].detector.as_ref();
        if node != watch.of && !*known && detector.is_some_and(|d| d.generation(watch.of) >= Some(generation)) {
            *known = true;
            watch.times.push(self.now);
        }
    }

    fn start(&mut self, node: u32) {
        let seed = self.seeds.seed();
        let generation = self.seat(node).generation + 1;
        let detector = D::start(&self.common, node, generation, seed, self.instant());
        let seat = self.seat_mut(node);
        seat.generation = generation;
        seat.life += 1;
        seat.detector = Some(detector);
    }

    /// All links of a member come up, at both ends.
    fn link_to_all(&mut self, node: u32) {
        let now = self.instant();
        self.seat_mut(node).linked = true;
        for other in (0..self.settings.nodes).filter(|other| *other != node) {
            for (here, there) in [(node, other), (other, node)] {
                let both = self.seat(here).detector.is_some() && self.seat(there).detector.is_some();
                if let Some(detector) = self.seat_mut(here).detector.as_mut().filter(|_| both) {
                    detector.handle_link(now, there, true);
                }
            }
            self.settle(other);
        }
        self.settle(node);
    }

    fn is_cut(&self, one: u32, other: u32) -> bool {
        !self.cut.is_empty() && self.cut.contains(&one) != self.cut.contains(&other)
    }

    fn between(&mut self, range: (Duration, Duration)) -> u64 {
        self.load.between(nanos(range.0), nanos(range.1))
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn seat(&self, node: u32) -> &Seat<D> {
        &self.seats[node as usize]
    }

    fn seat_mut(&mut self, node: u32) -> &mut Seat<D> {
        &mut self.seats[node as usize]
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
