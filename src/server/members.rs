//! Who is let in: members by the roster, clients and administrators by their certificate, and of each member only one
//! process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::pki::{Identity, Role};
use crate::protocol::ring::Roster;
use crate::protocol::types::{BootGeneration, DiskId, NodeId};
use crate::protocol::wire::Hello;
use crate::transport::{Peer, Policy};

/// Sessions of one endpoint at once, those being greeted included; more are refused. A client's session may pin up to
/// 1 MiB of unread bytes, so this bounds what strangers with a certificate can make a port hold.
pub(crate) const SESSIONS_MAX: usize = 2_048;

/// What is sent to find out whether a connection is alive; no gossip.
pub(crate) const POKE: &[u8] = b"alive?";

/// The sessions of one member, all of one process.
#[derive(Debug)]
struct Process {
    generation: BootGeneration,
    disk: DiskId,
    /// Copies of one directory differ in this only.
    number: u64,
    connections: Vec<quinn::Connection>,
}

impl Process {
    fn of(hello: &Hello) -> Self {
        let Hello { generation, disk, process, .. } = *hello;
        Self { generation, disk, number: process, connections: Vec::new() }
    }

    fn is_of(&self, hello: &Hello) -> bool {
        (self.generation, self.disk, self.number) == (hello.generation, hello.disk, hello.process)
    }
}

#[derive(Debug, Default)]
struct Known {
    roster: Option<Roster>,
    processes: BTreeMap<NodeId, Process>,
}

/// The policy of all endpoints of a node. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct RosterPolicy {
    me: NodeId,
    known: Arc<Mutex<Known>>,
}

impl RosterPolicy {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, known: Arc::default() }
    }

    /// The node is a member of this roster from now on.
    pub(crate) fn adopt(&self, roster: Roster) {
        self.lock().roster = Some(roster);
    }

    /// Notes a session that was let in.
    pub(crate) fn register(&self, peer: &Peer) {
        let Some(node) = peer.node() else { return };
        let hello = peer.hello();
        let mut known = self.lock();
        let process = known.processes.entry(node).or_insert_with(|| Process::of(hello));
        if !process.is_of(hello) {
            *process = Process::of(hello);
        }
        process.connections.retain(|connection| connection.close_reason().is_none());
        process.connections.push(peer.connection().clone());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment or insertion, so the state is whole even if a holder panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policy for RosterPolicy {
    fn believe(&self, identity: &Identity) -> Result<(), String> {
        let known = self.lock();
        match (&identity.role, &known.roster) {
            (Role::Admin(_), _) | (Role::Client(_), Some(_)) => Ok(()),
            (role, None) => Err(format!(
                "this node waits for `quorate cluster create` and talks to administrators only; the \
                 certificate is of {role}"
            )),
            (Role::Node(node), Some(_)) if *node == self.me => {
                Err("this node's own certificate is in use elsewhere; give each node one of its own".to_owned())
            }
            (Role::Node(node), Some(roster)) if roster.member(*node).is_none() => {
                Err(format!("node {node} is not on the roster; an administrator has to add it first"))
            }
            (Role::Node(_), Some(_)) => Ok(()),
        }
    }

    /// Two live processes with one `NodeId` are a copied disk or a copied certificate. The newer is refused; the older
    /// is poked, so that one which died unnoticed is found dead (its successor on the same port disowns the
    /// connection), and the newer, which asks again soon, is then let in.
    fn welcome(&self, identity: &Identity, hello: &Hello) -> Result<(), String> {
        let Role::Node(node) = identity.role else { return Ok(()) };
        let known = self.lock();
        let Some(process) = known.processes.get(&node) else { return Ok(()) };
        if process.is_of(hello) {
            return Ok(());
        }
        let mut alive = process.connections.iter().filter(|connection| connection.close_reason().is_none()).peekable();
        if alive.peek().is_none() {
            return Ok(());
        }
        for connection in alive {
            if let Err(error) = connection.send_datagram(Bytes::from_static(POKE)) {
                tracing::trace!(%error, "a data connection takes no datagrams; its keep-alive will tell");
            }
        }
        let (boot, before) = (hello.generation.as_u64(), process.generation.as_u64());
        tracing::warn!(member = %node, boot, before, "a second process of it was refused while the first is connected");
        Err(format!(
            "another process of node {node} is connected (boot {before}, this is boot {boot}); if both run, stop \
             one and give it a node id and a data directory of its own"
        ))
    }
}
