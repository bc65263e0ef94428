//! A village of machines under test: a queue of datagrams in virtual time, roads that can be closed.

mod field;
mod laws;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::{Config, Matter, Membership, Output, Roster, Standing};
use crate::protocol::types::{BootGeneration, Instant, NodeId};

/// One way, every datagram.
const LATENCY: Duration = Duration::from_millis(1);

pub(super) fn id(number: u64) -> NodeId {
    NodeId::new(u128::from(number) << 64 | 7)
}

pub(super) fn seed(number: u64) -> [u8; 32] {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed
}

pub(super) fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A machine of a roster `0..members`, links up, what it said at its beginning drained.
pub(super) fn machine(me: u64, members: u64, now: Instant) -> Membership {
    let roster = Roster::new((0..members).map(id));
    let mut machine = Membership::new(Config::default(), id(me), BootGeneration::new(1), roster, seed(me), now);
    for other in (0..members).filter(|other| *other != me) {
        machine.handle_link(now, id(other), true);
    }
    machine
}

/// What a machine wants to send.
pub(super) fn sends(machine: &mut Membership) -> Vec<(NodeId, Bytes)> {
    let outputs: Vec<_> = machine.drain().collect();
    let send = |output| match output {
        Output::Send { to, bytes } => Some((to, bytes)),
        Output::Changed { .. } | Output::Fetch { .. } => None,
    };
    outputs.into_iter().filter_map(send).collect()
}

/// Machines and the roads between them.
pub(super) struct Village {
    pub(super) now: Instant,
    pub(super) machines: BTreeMap<u64, Membership>,
    members: u64,
    road: BTreeMap<(Instant, u64), (u64, u64, Bytes)>,
    serial: u64,
    /// Directed ways that lose everything.
    pub(super) closed: BTreeSet<(u64, u64)>,
    /// What each member came to believe of another, in order.
    pub(super) changes: Vec<(u64, u64, Standing)>,
    pub(super) datagrams: u64,
}

impl Village {
    pub(super) fn new(members: u64) -> Self {
        let mut village = Self {
            now: at(0),
            machines: BTreeMap::new(),
            members,
            road: BTreeMap::new(),
            serial: 0,
            closed: BTreeSet::new(),
            changes: Vec::new(),
            datagrams: 0,
        };
        for me in 0..members {
            village.start(me, 1);
        }
        village
    }

    /// Starts a member anew, all links up.
    pub(super) fn start(&mut self, me: u64, generation: u64) {
        let roster = Roster::new((0..self.members).map(id));
        let generation_of = BootGeneration::new(generation);
        let seed = seed(me + generation * 1_000_003);
        let mut machine = Membership::new(Config::default(), id(me), generation_of, roster, seed, self.now);
        for other in (0..self.members).filter(|other| *other != me) {
            machine.handle_link(self.now, id(other), true);
            if let Some(other) = self.machines.get_mut(&other) {
                other.handle_link(self.now, id(me), false);
                other.handle_link(self.now, id(me), true);
            }
        }
        self.machines.insert(me, machine);
    }

    pub(super) fn stop(&mut self, me: u64) {
        self.machines.remove(&me);
    }

    /// Closes (or opens) all roads in and out of a member.
    pub(super) fn cut(&mut self, me: u64, cut: bool) {
        for other in (0..self.members).filter(|other| *other != me) {
            for way in [(me, other), (other, me)] {
                if cut {
                    self.closed.insert(way)
                } else {
                    self.closed.remove(&way)
                };
            }
        }
    }

    pub(super) fn number(node: NodeId) -> u64 {
        u64::try_from(node.as_u128() >> 64).expect("made by id()")
    }

    pub(super) fn run(&mut self, for_time: Duration) {
        let end = self.now.after(for_time);
        loop {
            let tick = self.machines.iter().map(|(me, machine)| (machine.next_deadline(), *me)).min();
            let arrival = self.road.keys().next().copied();
            let next = [tick.map(|(at, _)| at), arrival.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let me = if let Some(key) = arrival.filter(|(at, _)| *at <= next) {
                let (from, to, bytes) = self.road.remove(&key).expect("just seen");
                let Some(machine) = self.machines.get_mut(&to) else { continue };
                machine.handle_datagram(self.now, id(from), &bytes);
                to
            } else {
                let (_, me) = tick.expect("the earliest is a tick");
                self.machines.get_mut(&me).expect("just seen").handle_tick(self.now);
                me
            };
            self.carry_out(me);
        }
        self.now = end;
    }

    pub(super) fn carry_out(&mut self, me: u64) {
        let outputs: Vec<_> = self.machines.get_mut(&me).map(|machine| machine.drain().collect()).unwrap_or_default();
        for output in outputs {
            match output {
                Output::Send { to, bytes } => {
                    assert!(bytes.len() <= super::DATAGRAM_BYTES_MAX);
                    self.datagrams += 1;
                    let to = Self::number(to);
                    if !self.closed.contains(&(me, to)) {
                        self.serial += 1;
                        self.road.insert((self.now.after(LATENCY), self.serial), (me, to, bytes));
                    }
                }
                Output::Changed { node, standing } => self.changes.push((me, Self::number(node), standing)),
                Output::Fetch { from, matter } => self.fetch(me, from, matter),
            }
        }
    }

    fn fetch(&mut self, me: u64, from: NodeId, matter: Matter) {
        let other = Self::number(from);
        let open = !self.closed.contains(&(me, other)) && !self.closed.contains(&(other, me));
        if open
            && matter == Matter::Table
            && let Some(record) = self.machines.get(&other).map(Membership::table_record)
            && let Some(machine) = self.machines.get_mut(&me)
        {
            machine.handle_table(self.now, from, &record);
            self.carry_out(me);
        }
    }

    /// What each living member believes of one.
    pub(super) fn opinions(&self, of: u64) -> Vec<Standing> {
        let others = self.machines.iter().filter(|(me, _)| **me != of);
        others.map(|(_, machine)| machine.standing(id(of)).expect("on the roster")).collect()
    }

    pub(super) fn all_hold(&self, of: u64, standing: Standing) -> bool {
        self.opinions(of).iter().all(|held| *held == standing)
    }

    pub(super) fn all_well(&self) -> bool {
        (0..self.members).all(|of| self.all_hold(of, Standing::Alive))
    }
}
