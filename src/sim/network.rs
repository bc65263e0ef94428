//! The network between nodes: links, lanes, latency, and what goes wrong with them.
//!
//! A link belongs to the node that asks: requests go out on it and answers come back. It is a QUIC connection with
//! ordered lanes, so what is *realistic* is this: frames of a lane arrive in order or, after a reset, not at all; a
//! lost packet is a delay; a cut is noticed only after an idle time, and until then what is sent is gone. *Harsher than
//! QUIC*, and drawn separately, are frames that vanish, come twice or overtake others on a link that stays up. The
//! rules must hold there too, and it finds the same mistakes sooner.
//!
//! Each connection has an epoch. A frame carries the epoch in which it was sent and is lost when it arrives in another.
//! A node has two to each peer: one for data, one for control. Gossip goes by the latter in datagrams, which may be
//! lost, late or overtaken at any time.

use bytes::Bytes;

use super::draw::Draw;
use super::options::{GossipOptions, NetworkOptions};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) from_shard: u16,
    pub(super) to_shard: u16,
    /// It answers a request; the link is then the receiver's.
    pub(super) answer: bool,
    pub(super) epoch: u32,
    pub(super) bytes: Bytes,
    /// It makes no sense, and nobody need understand it.
    pub(super) garbage: bool,
}

/// A datagram, or a frame of a control connection, on its way.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: u16,
    pub(super) to: u16,
    /// It answers a frame; the connection is then the receiver's.
    pub(super) answer: bool,
    pub(super) datagram: bool,
    pub(super) epoch: u32,
    pub(super) bytes: Bytes,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Requests between shards. One connection stands for those to all shards of a peer.
    Data,
    /// Datagrams of gossip, and the tables that are fetched.
    Control,
}

/// Which connection: who reaches out, to whom, what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) asker: u16,
    pub(super) answerer: u16,
    pub(super) purpose: Purpose,
}

impl Route {
    pub(super) fn data(asker: u16, answerer: u16) -> Self {
        Self { asker, answerer, purpose: Purpose::Data }
    }

    pub(super) fn control(asker: u16, answerer: u16) -> Self {
        Self { asker, answerer, purpose: Purpose::Control }
    }

    /// Both connections of one node to another.
    pub(super) fn both(asker: u16, answerer: u16) -> [Self; 2] {
        [Self::data(asker, answerer), Self::control(asker, answerer)]
    }
}

/// A connection from one node to another, as the asker has it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    /// Frames get through.
    pub(super) alive: bool,
    /// The asker's shards, or its detector, believe so.
    pub(super) told: bool,
    pub(super) epoch: u32,
}

/// One direction between two nodes.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    latency: u64,
    cuts: u16,
    clog: u64,
}

/// All ways and links.
#[derive(Debug)]
pub(super) struct Network {
    nodes: usize,
    options: NetworkOptions,
    gossip: GossipOptions,
    ways: Vec<Way>,
    links: Vec<Link>,
    /// When the last frame of each lane arrives.
    lanes: Vec<u64>,
    draw: Draw,
    /// Of datagrams: there are many, and they must not shift the fates of all else.
    datagrams: Draw,
}

/// What becomes of a frame that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives then.
    Arrives(u64),
    /// It arrives then, and once more.
    ArrivesTwice(u64, u64),
    /// It never does.
    Lost,
}

const SHARDS_MAX: usize = 4;
const LANES_PER_PAIR: usize = SHARDS_MAX * SHARDS_MAX * 4;
const US: u64 = 1_000;

impl Network {
    pub(super) fn new(nodes: u16, options: NetworkOptions, gossip: GossipOptions, seed: u64) -> Self {
        let mut draw = Draw::new(seed, "network");
        let nodes = usize::from(nodes);
        let mut way = || {
            let latency = draw.between(options.latency_us_min, options.latency_us_max) * US;
            Way { latency, cuts: 0, clog: 0 }
        };
        let ways = (0..nodes * nodes).map(|_| way()).collect();
        Self {
            nodes,
            options,
            gossip,
            ways,
            links: vec![Link::default(); nodes * nodes * 2],
            lanes: vec![0; nodes * nodes * LANES_PER_PAIR],
            draw,
            datagrams: Draw::new(seed, "datagrams"),
        }
    }

    fn at(&self, from: u16, to: u16) -> usize {
        usize::from(from) * self.nodes + usize::from(to)
    }

    pub(super) fn link(&mut self, route: Route) -> &mut Link {
        let at = self.at(route.asker, route.answerer) * 2 + usize::from(route.purpose == Purpose::Control);
        &mut self.links[at]
    }

    /// Adds a cut of one direction, or takes one away.
    pub(super) fn cut(&mut self, from: u16, to: u16, add: bool) {
        let at = self.at(from, to);
        let cuts = &mut self.ways[at].cuts;
        *cuts = if add { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// Delays everything in one direction.
    pub(super) fn clog(&mut self, from: u16, to: u16, nanos: u64) {
        let at = self.at(from, to);
        self.ways[at].clog = nanos;
    }

    /// Whether two nodes can talk: a connection needs both directions.
    pub(super) fn open(&self, a: u16, b: u16) -> bool {
        self.ways[self.at(a, b)].cuts == 0 && self.ways[self.at(b, a)].cuts == 0
    }

    /// No faults from here on.
    pub(super) fn calm(&mut self) {
        for way in &mut self.ways {
            (way.cuts, way.clog) = (0, 0);
        }
        let options = &mut self.options;
        (options.loss, options.duplicate, options.reorder) = (0, 0, 0);
        (options.lane_full, options.garbage, options.tail) = (0, 0, 0);
        self.gossip.calm();
    }

    /// Whether a lane refuses a frame.
    pub(super) fn refuses(&mut self) -> bool {
        self.draw.chance(self.options.lane_full)
    }

    /// Whether garbage follows a frame: what it is.
    pub(super) fn garbage(&mut self, bytes: &Bytes) -> Option<Bytes> {
        if !self.draw.chance(self.options.garbage) {
            return None;
        }
        let draw = &mut self.draw;
        // A body cut short, or one of nothing but noise; a header that no request goes by.
        let body: Vec<u8> = if draw.chance(500_000) {
            let body = bytes.get(super::FRAME_HEADER_BYTES..).unwrap_or_default();
            body.get(..draw.index(body.len() + 1)).unwrap_or_default().to_vec()
        } else {
            (0..draw.below(100)).map(|_| u8::try_from(draw.below(256)).unwrap_or_default()).collect()
        };
        Some(super::frame_of_noise(draw, &body))
    }

    /// When a frame arrives, if it does.
    pub(super) fn fate(&mut self, now: u64, flight: &Flight) -> Fate {
        let (from, to) = (flight.from, flight.to);
        let way = self.ways[self.at(from, to)];
        let (asker, answerer) = if flight.answer { (to, from) } else { (from, to) };
        let link = *self.link(Route::data(asker, answerer));
        if way.cuts > 0 || !link.alive || link.epoch != flight.epoch || self.draw.chance(self.options.loss) {
            return Fate::Lost;
        }
        // A gigabit a second, a jitter of a quarter, and now and then a retransmission.
        let mut travel = way.latency + self.draw.below(way.latency / 4 + 1) + flight.bytes.len() as u64 * 8 + way.clog;
        if self.draw.chance(self.options.tail) {
            travel += way.latency * 10 + 20_000_000;
        }
        let arrival = now + travel;
        if self.draw.chance(self.options.reorder) {
            return Fate::Arrives(arrival + self.draw.below(way.latency * 20 + 1));
        }
        let bulk = flight.bytes.len() > crate::protocol::types::limits::BULK_FRAME_BYTES;
        let shards = usize::from(flight.from_shard) * SHARDS_MAX + usize::from(flight.to_shard);
        let lane = (self.at(from, to) * SHARDS_MAX * SHARDS_MAX + shards) * 4
            + usize::from(flight.answer) * 2
            + usize::from(bulk);
        let arrival = arrival.max(self.lanes[lane] + 1);
        self.lanes[lane] = arrival;
        if self.draw.chance(self.options.duplicate) {
            return Fate::ArrivesTwice(arrival, arrival + self.draw.below(way.latency * 20 + 1));
        }
        Fate::Arrives(arrival)
    }

    /// When a letter arrives, if it does. Datagrams have no order.
    pub(super) fn letter_fate(&mut self, now: u64, letter: &Letter) -> Fate {
        let (from, to) = (letter.from, letter.to);
        let way = self.ways[self.at(from, to)];
        let (asker, answerer) = if letter.answer { (to, from) } else { (from, to) };
        let link = *self.link(Route::control(asker, answerer));
        if way.cuts > 0 || !link.alive || link.epoch != letter.epoch {
            return Fate::Lost;
        }
        let draw = &mut self.datagrams;
        let mut travel = way.latency + draw.below(way.latency / 4 + 1) + letter.bytes.len() as u64 * 8 + way.clog;
        if !letter.datagram {
            return Fate::Arrives(now + travel);
        }
        if draw.chance(self.gossip.loss) {
            return Fate::Lost;
        }
        if draw.chance(self.gossip.late) {
            travel += draw.below(way.latency * 50 + 1);
        }
        let arrival = now + travel;
        if draw.chance(self.gossip.duplicate) {
            return Fate::ArrivesTwice(arrival, arrival + draw.below(way.latency * 20 + 1));
        }
        Fate::Arrives(arrival)
    }

    /// A datagram that makes no sense, to follow one that does.
    pub(super) fn noise(&mut self, bytes: &Bytes) -> Option<Bytes> {
        let draw = &mut self.datagrams;
        if !draw.chance(self.options.garbage) {
            return None;
        }
        if draw.chance(500_000) {
            return Some(bytes.slice(..draw.index(bytes.len() + 1)));
        }
        Some((0..draw.below(1_200)).map(|_| u8::try_from(draw.below(256)).unwrap_or_default()).collect())
    }

    /// Between two bounds, nanoseconds.
    pub(super) fn delay(&mut self, low: u64, high: u64) -> u64 {
        self.draw.between(low, high)
    }

    /// The place at which a receiver's buffer ends for the moment: frames arrive in pieces.
    pub(super) fn piece(&mut self, length: usize) -> usize {
        if self.draw.chance(100_000) { self.draw.index(length + 1) } else { length }
    }
}
