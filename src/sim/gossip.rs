//! Gossip: the detector of every node, beside its shards. The counterpart of `server::gossip`.
//!
//! ```text
//!   Membership --Send-----> a datagram on the control connection to that member, or nothing while there is none
//!              --Fetch----> a `Members` frame there, answered with `MembersReply`: it comes, or the connection breaks
//!              --Changed--> every shard of the node: do not ask this peer now, or ask it again
//! ```
//!
//! The boot generation lies on the simulated disk, is raised before the process says a word, and goes back with the
//! disk when that is lost, restored or cloned. A process that is paused finds its datagrams and its timers all at once
//! when it goes on, in either order.
//!
//! Checker 11: once everything is mended, nobody holds a member unreachable or suspect, all tables are equal, and then
//! gossip keeps to its pace; a datagram is never over its bound, and no detector asks for turns without end.
//!
//! *Caveats.* Detectors are faster than the server's by a drawn factor, because a run is short. How soon a death is
//! known, and how often the living are slandered, is measured elsewhere (`sim::detector`).

use std::collections::VecDeque;

use bytes::Bytes;

use super::Event;
use super::finding::{Checker, Finding};
use super::mutation::Mutation;
use super::network::{Fate, Letter, Route};
use super::node::{Input, SeatId};
use super::world::World;
use crate::protocol::membership::{DATAGRAM_BYTES_MAX, Matter, Membership, Output, Roster, Standing};
use crate::protocol::types::limits::FRAME_BYTES_MAX;
use crate::protocol::types::{BootGeneration, Instant, NodeId};
use crate::protocol::wire::{Frame, FrameDecoder, Header, Kind};

/// A node's detector, and what waits for its turn.
#[derive(Debug)]
pub(super) struct Gossip {
    machine: Membership,
    inbox: VecDeque<News>,
    turn_at: Option<u64>,
    /// Turns in a row that ended with the wish for one at once.
    restless: u32,
}

/// Something for a detector's next turn.
#[derive(Debug)]
enum News {
    Link { peer: u16, up: bool },
    Datagram { from: NodeId, bytes: Bytes },
    Frame { letter: Letter },
}

/// Datagrams that wait at most; later ones push the oldest out. 256 KiB of the transport's buffer, in smallest ones.
const INBOX_MAX: usize = 4_096;
/// With the server's figures: the longest wait between two pings to an unreachable member, 30 s; the time in which the
/// last verdicts fall, 24 s for ten members; the patience before differing tables are fetched, 30 s.
const MISJUDGED_NS_MAX: u64 = 84_000_000_000;
/// Turns in a row after which a detector may still want one at once: its own probe may have ended a suspicion.
const RESTLESS_MAX: u32 = 3;
/// Datagrams of one node in a second of a calm cluster at most, on average: a probe and an answer, now and then a
/// comparison, and the end of a rumour.
const CALM_DATAGRAMS_MAX: u64 = 6;
/// Of one node in a second of the whole run, faults and all, on average: five rounds of gossip to three while there are
/// rumours, probes for itself and for others, retries. Who starts has news of itself for everybody, which is a second's
/// worth more. What it must find is a flood that feeds itself.
const DATAGRAMS_MAX: u64 = 20;

impl World {
    /// A process starts: so does its detector.
    pub(super) fn begin_gossip(&mut self, number: u16, generation: BootGeneration) {
        let seed = self.gossip.seed();
        let node = &mut self.nodes[usize::from(number)];
        let roster = Roster::new(node.view.roster.members().iter().map(|member| member.id));
        let config = self.options.gossip.config();
        let now = Instant::from_nanos(self.now);
        let mut machine = Membership::new(config, node.view.me, generation, roster, seed, now);
        let digest = node.view.layout.id().hash_prefix();
        machine.set_digests(digest, digest);
        node.gossip = Some(Gossip { machine, inbox: VecDeque::new(), turn_at: None, restless: 0 });
        self.schedule_gossip(number, self.now + 1);
        self.tally.starts += 1;
    }

    /// A control connection came up or broke.
    pub(super) fn tell_gossip(&mut self, number: u16, peer: u16, up: bool) {
        self.post(number, News::Link { peer, up });
    }

    /// Something arrives on a control connection.
    pub(super) fn receive(&mut self, letter: Letter) {
        let (asker, answerer) = if letter.answer { (letter.to, letter.from) } else { (letter.from, letter.to) };
        let link = *self.network.link(Route::control(asker, answerer));
        if !link.alive || link.epoch != letter.epoch {
            return;
        }
        let from = NodeId::new(u128::from(self.identity(letter.from)) + 1);
        let to = letter.to;
        let news = match letter.datagram {
            true => News::Datagram { from, bytes: letter.bytes },
            false => News::Frame { letter },
        };
        self.post(to, news);
    }

    /// Puts something into a detector's inbox and sees to its turn.
    fn post(&mut self, number: u16, news: News) {
        let Some(node) = self.nodes.get_mut(usize::from(number)) else { return };
        let Some(gossip) = &mut node.gossip else { return };
        if gossip.inbox.len() >= INBOX_MAX
            && let Some(oldest) = gossip.inbox.iter().position(|news| matches!(news, News::Datagram { .. }))
        {
            gossip.inbox.remove(oldest);
        }
        gossip.inbox.push_back(news);
        let at = self.now + self.gossip.between(5_000, 40_000) * node.slowness;
        self.schedule_gossip(number, at);
    }

    fn schedule_gossip(&mut self, number: u16, at: u64) {
        let node = &mut self.nodes[usize::from(number)];
        let life = node.life;
        let Some(gossip) = &mut node.gossip else { return };
        if gossip.turn_at.is_none_or(|planned| planned > at) {
            gossip.turn_at = Some(at);
            self.heap.push(at, Event::Gossip { node: number, life });
        }
    }

    /// A detector's turn: what came, what is due, and what it says.
    pub(super) fn run_gossip(&mut self, number: u16) {
        let node = &mut self.nodes[usize::from(number)];
        let until = node.paused_until;
        let now = Instant::from_nanos(self.now);
        let Some(gossip) = &mut node.gossip else { return };
        if gossip.turn_at != Some(self.now) {
            return;
        }
        gossip.turn_at = None;
        if until > self.now {
            return self.schedule_gossip(number, until);
        }
        // Whether a timer or a datagram wakes the control thread first is chance.
        if self.gossip.chance(500_000) {
            gossip.machine.handle_tick(now);
        }
        let mut asked = Vec::new();
        for news in std::mem::take(&mut gossip.inbox) {
            match news {
                News::Link { peer, up } => {
                    gossip.machine.handle_link(now, NodeId::new(u128::from(peer) + 1), up);
                }
                News::Datagram { from, bytes } => gossip.machine.handle_datagram(now, from, &bytes),
                News::Frame { letter } => {
                    let frame = frame_of(&letter.bytes);
                    match frame.kind() {
                        Some(Kind::Members) => asked.push((letter, frame, gossip.machine.table_record())),
                        Some(Kind::MembersReply) => {
                            let from = NodeId::new(u128::from(letter.from) + 1);
                            gossip.machine.handle_table(now, from, &frame.body);
                        }
                        _ => {}
                    }
                }
            }
        }
        gossip.machine.handle_tick(now);
        let outputs: Vec<Output> = gossip.machine.drain().collect();
        let next = gossip.machine.next_deadline().as_nanos();
        gossip.restless = if next <= self.now { gossip.restless + 1 } else { 0 };
        if gossip.restless > RESTLESS_MAX {
            let text = format!("the detector of n{} wants a turn at {next} ns, again and again", number + 1);
            self.finding.get_or_insert(Finding::new(Checker::Detector, text));
        }
        self.schedule_gossip(number, next.max(self.now + 1));
        for (letter, frame, record) in asked {
            let header = Header { kind: Kind::MembersReply.as_u8(), ..frame.header };
            let bytes = Frame::new(header, record).to_bytes();
            self.mail(&Letter { from: letter.to, to: letter.from, answer: true, bytes, ..letter });
        }
        for output in outputs {
            self.say(number, output);
        }
    }

    fn say(&mut self, number: u16, output: Output) {
        match output {
            Output::Send { to, bytes } => {
                if bytes.len() > DATAGRAM_BYTES_MAX {
                    let text = format!("n{} sent a datagram of {} bytes", number + 1, bytes.len());
                    self.finding.get_or_insert(Finding::new(Checker::Bounds, text));
                }
                let broken = self.options.mutation == Some(Mutation::ForgetUnreachable);
                if broken && self.standing(number, to) == Some(Standing::Unreachable) {
                    return;
                }
                let to = self.number_of(to);
                let epoch = self.network.link(Route::control(number, to)).epoch;
                let letter = Letter { from: number, to, answer: false, datagram: true, epoch, bytes };
                let times = if self.options.mutation == Some(Mutation::RepeatGossip) { 10 } else { 1 };
                for _ in 0..times {
                    self.tally.datagrams += 1;
                    self.tally.datagram_bytes += letter.bytes.len() as u64;
                    self.mail(&letter);
                }
                if let Some(bytes) = self.network.noise(&letter.bytes) {
                    self.mail(&Letter { bytes, ..letter });
                }
            }
            Output::Changed { node, standing } => self.changed(number, node, standing),
            Output::Fetch { from, matter: Matter::Table } => {
                let layout = self.nodes[usize::from(number)].view.layout.id();
                let bytes = Frame::new(Header::new(Kind::Members, 2, 5_000, layout), Bytes::new()).to_bytes();
                let to = self.number_of(from);
                let epoch = self.network.link(Route::control(number, to)).epoch;
                self.mail(&Letter { from: number, to, answer: false, datagram: false, epoch, bytes });
            }
            Output::Fetch { from, matter: Matter::Roster | Matter::Layout } => {
                let text = format!("n{} asks {from} for a roster or a layout, and all have the same", number + 1);
                self.finding.get_or_insert(Finding::new(Checker::Detector, text));
            }
        }
    }

    /// A member's standing changed: the shards are told whether to ask it, as the server tells them.
    fn changed(&mut self, number: u16, node: NodeId, standing: Standing) {
        let peer = self.number_of(node);
        let reachable = standing != Standing::Unreachable;
        if !reachable {
            self.tally.verdicts += 1;
            self.log(|| format!("n{} finds n{} unreachable", number + 1, peer + 1));
        }
        if reachable && self.options.mutation == Some(Mutation::KeepReturnsFromShards) {
            return;
        }
        for shard in 0..self.nodes[usize::from(number)].seats.len() {
            let shard = u16::try_from(shard).expect("at most 4 shards");
            self.hand(SeatId { node: number, shard }, Input::Standing { peer, reachable });
        }
    }

    fn mail(&mut self, letter: &Letter) {
        match self.network.letter_fate(self.now, letter) {
            Fate::Lost => {}
            Fate::Arrives(at) => self.heap.push(at, Event::Letter(letter.clone())),
            Fate::ArrivesTwice(at, again) => {
                self.heap.push(at, Event::Letter(letter.clone()));
                self.heap.push(again, Event::Letter(letter.clone()));
            }
        }
    }

    fn standing(&self, number: u16, of: NodeId) -> Option<Standing> {
        self.nodes[usize::from(number)].gossip.as_ref()?.machine.standing(of)
    }

    /// The number under which a member's address is dialled.
    fn number_of(&self, node: NodeId) -> u16 {
        let peer = self.nodes[0].view.peer_of(node).expect("a detector speaks of members of its roster only");
        u16::try_from(peer.as_index()).expect("at most 50")
    }

    /// Checker 11: of nodes that all run and can all be reached, what somebody still believes otherwise, in words.
    pub(super) fn misjudged(&self) -> Option<String> {
        let machines = || (1..).zip(&self.nodes).filter_map(|(at, node)| Some((at, &node.gossip.as_ref()?.machine)));
        for (at, machine) in machines() {
            if let Some((of, standing)) = machine.members().find(|(_, standing)| *standing != Standing::Alive) {
                return Some(format!("n{at} holds n{} for {standing:?}", self.number_of(of) + 1));
            }
        }
        let first = machines().next()?.1;
        let (at, _) = machines().find(|(_, machine)| machine.table_digest() != first.table_digest())?;
        Some(format!("n{at} and n1 believe different editions of some member"))
    }

    /// Checker 11: nobody who is well stays misjudged, so long after everything was mended and links had time to come.
    pub(super) fn check_detectors(&mut self, calm: u64) {
        let most = MISJUDGED_NS_MAX / u64::from(self.options.gossip.speed);
        if calm < most {
            return;
        }
        let Some(what) = self.misjudged() else { return };
        let text = format!("{} ms after everything was mended and connected {what}", most / 1_000_000);
        self.finding.get_or_insert(Finding::new(Checker::Detector, text));
    }

    /// Checker 11: gossip keeps to its pace in a calm second.
    pub(super) fn check_calm_gossip(&mut self) {
        let sent = self.tally.datagrams - self.settled.datagrams;
        let most = self.gossip_pace() * CALM_DATAGRAMS_MAX;
        if sent > most {
            let text = format!("{sent} datagrams were sent in a second in which nothing changed; {most} are enough");
            self.finding.get_or_insert(Finding::new(Checker::Detector, text));
        }
    }

    /// Checker 11: gossip keeps to its pace from the beginning, whatever happens. Lost ones count.
    pub(super) fn check_gossip(&mut self) {
        let (sent, ms) = (self.tally.datagrams, self.now / 1_000_000);
        let most = self.gossip_pace() * DATAGRAMS_MAX * (ms / 1_000 + 1) + self.tally.starts * DATAGRAMS_MAX;
        if sent > most {
            let text = format!("{sent} datagrams were sent in the first {ms} ms; {most} are enough");
            self.finding.get_or_insert(Finding::new(Checker::Detector, text));
        }
    }

    fn gossip_pace(&self) -> u64 {
        u64::from(self.options.nodes) * u64::from(self.options.gossip.speed)
    }
}

fn frame_of(bytes: &Bytes) -> Frame {
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
    decoder.extend(bytes);
    decoder.next_frame().ok().flatten().expect("a node's frame is whole")
}
