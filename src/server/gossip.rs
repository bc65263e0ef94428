//! Gossip: the membership machine on the control thread, its datagrams on the control links.
//!
//! A standing is advice. It reaches the shards as "do not ask this one now", and an operator as status and metrics; who
//! is a member is the roster's, and what a node owns the layout's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant as TokioInstant;

use super::clock::Clock;
use super::inbox::Input;
use super::state::NodeShared;
use crate::metrics::Standings;
use crate::protocol::membership::{Config, Counters, Matter, Membership, Output, Roster, Standing};
use crate::protocol::shard::View;
use crate::protocol::types::{BootGeneration, NodeId};
use crate::protocol::wire::{Frame, Header, Kind};
use crate::transport::Class;

/// The machine, shared by the tasks of the control thread. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Gossip(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    machine: Mutex<Membership>,
    /// Something came in: there may be something to send, or something due earlier.
    nudged: Notify,
}

impl Gossip {
    pub(crate) fn new(view: &View, generation: BootGeneration, clock: Clock) -> Self {
        let roster = Roster::new(view.roster.members().iter().map(|member| member.id));
        let (config, seed, now) = (Config::default(), super::entropy::random(), clock.now().instant);
        let mut machine = Membership::new(config, view.me, generation, roster, seed, now);
        machine.set_digests(view.roster.digest(), view.layout.id().hash_prefix());
        Self(Arc::new(Inner { clock, machine: Mutex::new(machine), nudged: Notify::new() }))
    }

    /// A member's link came up or broke.
    pub(crate) fn link(&self, node: NodeId, up: bool) {
        let now = self.0.clock.now().instant;
        self.lock().handle_link(now, node, up);
        self.0.nudged.notify_one();
    }

    /// A member sent a datagram.
    pub(crate) fn datagram(&self, from: NodeId, bytes: &Bytes) {
        let now = self.0.clock.now().instant;
        self.lock().handle_datagram(now, from, bytes);
        self.0.nudged.notify_one();
    }

    /// A member sent the table that it was asked for.
    pub(crate) fn table(&self, from: NodeId, record: &Bytes) {
        let now = self.0.clock.now().instant;
        self.lock().handle_table(now, from, record);
        self.0.nudged.notify_one();
    }

    /// This node's table, for a member that asks.
    pub(crate) fn record(&self) -> Bytes {
        self.lock().table_record()
    }

    /// What is believed of a member.
    pub(crate) fn standing(&self, node: NodeId) -> Option<Standing> {
        self.lock().standing(node)
    }

    /// What a member has that this node has not, in words; none while both have the same roster and layout.
    pub(crate) fn difference(&self, node: NodeId) -> Option<String> {
        let machine = self.lock();
        let (_, theirs) = machine.differing().find(|(member, _)| *member == node)?;
        let ours = machine.records();
        let mut words = Vec::new();
        for (what, theirs, ours) in [("roster", theirs.roster, ours.roster), ("layout", theirs.layout, ours.layout)] {
            if theirs != ours {
                words.push(format!("{what} {theirs:016x}, not {ours:016x} as here"));
            }
        }
        Some(format!("it has {}", words.join(" and ")))
    }

    /// How many members are believed to be what.
    pub(crate) fn standings(&self) -> Standings {
        let mut count = Standings::default();
        for (_, standing) in self.lock().members() {
            match standing {
                Standing::Alive => count.alive += 1,
                Standing::Suspect => count.suspect += 1,
                Standing::Unreachable => count.unreachable += 1,
            }
        }
        count
    }

    pub(crate) fn counters(&self) -> Counters {
        self.lock().counters()
    }

    /// Lets the machine act when it wants to, for as long as the node runs.
    pub(crate) async fn run(self, shared: Arc<NodeShared>) {
        loop {
            let (outputs, due) = {
                let now = self.0.clock.now().instant;
                let mut machine = self.lock();
                machine.handle_tick(now);
                let outputs: Vec<Output> = machine.drain().collect();
                (outputs, machine.next_deadline().since(now))
            };
            for output in outputs {
                carry_out(&shared, output);
            }
            // Elapsed or nudged: the next round finds out what there is.
            drop(tokio::time::timeout_at(TokioInstant::now() + due, self.0.nudged.notified()).await);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Membership> {
        // The machine is whole between two inputs, and an input that panicked is a defect that the tests of the machine
        // look for; going on is better than a node without a detector.
        self.0.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn carry_out(shared: &NodeShared, output: Output) {
    match output {
        Output::Send { to, bytes } => {
            let link = shared.links().get(&to).cloned();
            // Without a link nothing is sent; the link tries by itself, and the machine knows that it is down.
            if let Some(Err(error)) = link.map(|link| link.send_datagram(bytes)) {
                tracing::trace!(%to, %error, "gossip not sent");
            }
        }
        Output::Changed { node, standing } => changed(shared, node, standing),
        Output::Fetch { from, matter: Matter::Table } => {
            let layout = shared.view().map(|view| view.layout.id()).unwrap_or_default();
            let frame = Frame::new(Header::new(Kind::Members, 2, 5_000, layout), Bytes::new()).to_bytes();
            let link = shared.links().get(&from).cloned();
            if let Some(Err(error)) = link.map(|link| link.send(Class::Normal, frame)) {
                tracing::debug!(%from, %error, "not asked what it believes of the members");
            }
        }
        // Roster and layout are made once, with the cluster: there is nothing to fetch yet that would mend it, so an
        // operator is told, here, by the status and by a metric.
        Output::Fetch { from, matter: matter @ (Matter::Roster | Matter::Layout) } => {
            let difference = shared.gossip().and_then(|gossip| gossip.difference(from));
            let difference = difference.unwrap_or_else(|| "it agrees by now".to_owned());
            tracing::warn!(%from, ?matter, "a member has another record than this node: {difference}");
        }
    }
}

/// A member's standing changed: the shards are told whether to ask it.
fn changed(shared: &NodeShared, node: NodeId, standing: Standing) {
    match standing {
        Standing::Unreachable => {
            tracing::warn!(member = %node, "member unreachable: it does not answer, nor to others");
        }
        Standing::Alive => tracing::info!(member = %node, "member alive"),
        Standing::Suspect => tracing::info!(member = %node, "member suspected: it does not answer"),
    }
    let Some(peer) = shared.view().and_then(|view| view.peer_of(node)) else { return };
    let reachable = standing != Standing::Unreachable;
    for inbox in &shared.inboxes {
        inbox.push(Input::Reachable { peer, reachable });
    }
}

/// A standing as people and scripts see it.
pub(crate) const fn name_of(standing: Standing) -> &'static str {
    match standing {
        Standing::Alive => "alive",
        Standing::Suspect => "suspect",
        Standing::Unreachable => "unreachable",
    }
}
