//! A node as a client sees it: where it is, which ports its shards have, and the lines to them.
//!
//! The control line stays open for one reason: its hello tells the shards' ports, and a node that restarts may come
//! back with others. Lines to shards are opened when a request first needs them, so a short-lived command connects to
//! little.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dialer::Dialer;
use super::line::{Line, LineTerms};
use crate::protocol::ring::Member;
use crate::protocol::types::{NodeId, PartitionId};
use crate::transport::Purpose;

/// Most shards that a node may announce: more threads than any machine has.
const SHARDS_MAX: usize = 1024;

/// How long a node may take to be connected before another one is asked instead: a few handshakes on a slow day.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// A node of the map.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    dialer: Arc<Dialer>,
    changed: Arc<Notify>,
    /// When the control line was asked for; the hot path looks no further.
    opened: OnceLock<Instant>,
    lines: Mutex<Lines>,
}

/// Whether a node can be asked.
pub(super) enum Reach {
    /// Over this line.
    Up(Arc<Line>),
    /// It was asked for so lately that it may still come.
    Soon,
    /// No.
    Down,
}

#[derive(Default)]
struct Lines {
    control: Option<Line>,
    /// One for each shard, with its port.
    shards: Vec<(u16, Option<Arc<Line>>)>,
    /// Why no line could even be begun.
    error: Option<String>,
}

impl Node {
    pub(super) fn new(member: &Member, dialer: Arc<Dialer>, changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            id: member.id,
            name: member.name.clone(),
            address: member.address,
            dialer,
            changed,
            opened: OnceLock::new(),
            lines: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Every change is one assignment, so the lines are whole even if a holder panicked.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the control line, unless it is.
    pub(super) fn open(self: &Arc<Self>) {
        if self.opened.set(Instant::now()).is_err() {
            return;
        }
        let node = Arc::downgrade(self);
        let on_up = Box::new(move |hello: &crate::protocol::wire::Hello| {
            if let Some(node) = node.upgrade() {
                node.learn(&hello.shard_ports);
            }
        });
        let (id, address, changed) = (self.id, self.address, self.changed.clone());
        let terms = LineTerms { node: id, address, purpose: Purpose::Control, changed, on_up };
        let opened = Line::open(&self.dialer, terms);
        let mut lines = self.lock();
        match opened {
            Ok(line) => lines.control = Some(line),
            Err(error) => lines.error = Some(error.to_string()),
        }
    }

    /// Takes over the shards' ports. Lines to ports that are no more end.
    pub(super) fn learn(&self, ports: &[u16]) {
        let ports = ports.get(..SHARDS_MAX).unwrap_or(ports);
        let mut lines = self.lock();
        if lines.shards.iter().map(|(port, _)| port).eq(ports) {
            // The node was heard of: its shards need not wait for their back-off.
            lines.shards.iter().filter_map(|(_, line)| line.as_ref()).for_each(|line| line.retry_now());
            return;
        }
        let fresh = ports.iter().map(|port| (*port, None)).collect();
        let old = std::mem::replace(&mut lines.shards, fresh);
        drop(lines);
        drop(old);
        self.changed.notify_waiters();
    }

    /// The line to the shard of a partition, as soon as its port is known. Opens what is not open.
    pub(super) fn line(self: &Arc<Self>, partition: PartitionId) -> Option<Arc<Line>> {
        if self.opened.get().is_none() {
            self.open();
        }
        let mut lines = self.lock();
        let count = lines.shards.len();
        let shard = partition.as_index().checked_rem(count)?;
        let (port, line) = lines.shards.get_mut(shard)?;
        if let Some(line) = line {
            return Some(line.clone());
        }
        let address = SocketAddr::new(self.address.ip(), *port);
        let (changed, on_up) = (self.changed.clone(), Box::new(|_: &_| {}));
        let terms = LineTerms { node: self.id, address, purpose: Purpose::Client, changed, on_up };
        match Line::open(&self.dialer, terms) {
            Ok(opened) => Some(line.insert(Arc::new(opened)).clone()),
            Err(error) => {
                lines.error = Some(error.to_string());
                None
            }
        }
    }

    /// The line to the shard of a partition, if it is up, or may be in a moment. Opens what is not open.
    pub(super) fn reach(self: &Arc<Self>, partition: PartitionId) -> Reach {
        match self.line(partition) {
            Some(line) if line.is_up() => Reach::Up(line),
            Some(line) if line.is_young(PATIENCE) => Reach::Soon,
            None if self.opened.get().is_none_or(|at| at.elapsed() < PATIENCE) => Reach::Soon,
            Some(_) | None => Reach::Down,
        }
    }

    /// Whether the node is connected to.
    pub(super) fn is_up(&self) -> bool {
        self.lock().control.as_ref().is_some_and(Line::is_up)
    }

    /// Does not wait for the back-off of any line.
    pub(super) fn retry_now(&self) {
        let lines = self.lock();
        lines.control.iter().for_each(Line::retry_now);
        lines.shards.iter().filter_map(|(_, line)| line.as_ref()).for_each(|line| line.retry_now());
    }

    /// Why the node cannot be asked.
    pub(super) fn reason(&self, partition: PartitionId) -> String {
        let lines = self.lock();
        let shard = partition.as_index().checked_rem(lines.shards.len());
        let line = shard.and_then(|shard| lines.shards.get(shard)?.1.as_ref());
        let control = || lines.control.as_ref().map(Line::reason);
        let reason = match line {
            Some(line) => Some(line.reason()),
            None => lines.error.clone().or_else(control),
        };
        format!("{}: {}", self.name, reason.unwrap_or_else(|| "it is being connected".to_owned()))
    }
}
