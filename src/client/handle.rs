//! The client: a map of the cluster, kept fresh, and the way from a request to an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::control::Control;
use super::dialer::Dialer;
use super::error::ClientError;
use super::line::fresh_seed;
use super::map::Map;
use super::options::{ClientOptions, Quorums, Timeouts};
use super::request::{Get, Put};
use super::scan::Scan;
use crate::protocol::types::{Address, TableName, WriteId};
use crate::protocol::wire::{NodeStatus, ViewReply, Want};

/// How long a node may be silent before the next one is tried as well.
const STAGGER: Duration = Duration::from_millis(250);
/// Refreshes that answers ask for happen at most this often.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// A client of one cluster. Cheap to clone; clones share connections, which end when the last clone is dropped.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Shared>);

/// What the clones share.
pub(super) struct Shared {
    dialer: Arc<Dialer>,
    first_contacts: Vec<SocketAddr>,
    pub(super) timeouts: Timeouts,
    pub(super) quorums: Quorums,
    map: RwLock<Arc<Map>>,
    /// A line came up, or a node told its ports.
    pub(super) changed: Arc<Notify>,
    /// One refresh at a time.
    refreshing: tokio::sync::Mutex<()>,
    /// A refresh that answers asked for is under way, or was a moment ago.
    refresh_pending: AtomicBool,
    write_ids: WriteIds,
}

/// 128-bit names of writes: a random beginning, then one after the other.
struct WriteIds {
    high: u64,
    low: AtomicU64,
}

impl Client {
    /// Learns the view from the first of the given nodes that answers.
    ///
    /// Must be called on a tokio runtime of any flavour, with time and IO; it drives the client's connections, so it
    /// has to run as long as the client is used. Requests may be made on other runtimes.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let dialer = Arc::new(Dialer::new(options.credentials));
        let changed = Arc::new(Notify::new());
        let contact = first_view(&dialer, &options.nodes, options.timeouts.connect).await?;
        let map = Map::draw(contact.view, contact.address, None, &dialer, &changed)?;
        if let Some(node) = contact.control.node().and_then(|id| map.node(id)) {
            // One handshake less for a command that asks one question.
            node.learn(&contact.control.hello().shard_ports);
        }
        Ok(Self(Arc::new(Shared {
            dialer,
            first_contacts: options.nodes,
            timeouts: options.timeouts,
            quorums: options.quorums,
            map: RwLock::new(Arc::new(map)),
            changed,
            refreshing: tokio::sync::Mutex::default(),
            refresh_pending: AtomicBool::new(false),
            write_ids: WriteIds { high: fresh_seed(), low: AtomicU64::new(fresh_seed()) },
        })))
    }

    /// Reads an item.
    pub fn get(&self, address: Address) -> Get<'_> {
        Get::new(&self.0, address)
    }

    /// Writes an item. Without a context the value stands beside what is there, as a sibling; with the context of a
    /// read it replaces what that read saw.
    pub fn put(&self, address: Address, value: impl Into<Bytes>) -> Put<'_> {
        Put::new(&self.0, address, Want::Value, value.into())
    }

    /// Deletes what the context has seen; without a context, what a quorum holds when the delete arrives.
    pub fn delete(&self, address: Address) -> Put<'_> {
        Put::new(&self.0, address, Want::DeleteSeen, Bytes::new())
    }

    /// Lists the addresses of a table, or of all.
    #[must_use]
    pub fn scan(&self, table: Option<TableName>) -> Scan {
        Scan::new(self.clone(), table)
    }

    /// A new name for a write, to keep beside the write until it is known to be done: a later retry with it is the same
    /// write.
    #[must_use]
    pub fn next_write_id(&self) -> WriteId {
        self.0.next_write_id()
    }

    /// The cluster as this client knows it: roster, layout, quorums.
    #[must_use]
    pub fn view(&self) -> ViewReply {
        self.0.map().view.clone()
    }

    /// What requests ask for that do not say.
    #[must_use]
    pub fn quorums(&self) -> Quorums {
        self.0.quorums
    }

    /// How the node with this name or id sees itself and its peers.
    pub async fn status(&self, node: &str) -> Result<NodeStatus, ClientError> {
        let view = self.view();
        let member = view.roster.members().iter().find(|member| member.name == node || member.id.to_string() == node);
        let member = member.ok_or_else(|| ClientError::NoSuchNode(node.to_owned()))?;
        self.control(member.address).await?.status().await
    }

    /// A session with the control endpoint at an address, from this client's port.
    pub async fn control(&self, address: SocketAddr) -> Result<Control, ClientError> {
        Control::dial_with(self.0.dialer.clone(), address, self.0.timeouts.connect).await
    }

    /// Learns the view anew. Done by itself when a node answers that the client is behind.
    pub async fn refresh(&self) -> Result<(), ClientError> {
        self.0.refresh().await
    }

    /// Ends all connections of all clones and gives the news a moment to leave. Requests in flight fail. Not needed:
    /// nodes notice by themselves after a while.
    pub async fn close(self) {
        self.0.dialer.close().await;
    }
}

impl Shared {
    pub(super) fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn next_write_id(&self) -> WriteId {
        let low = self.write_ids.low.fetch_add(1, Ordering::Relaxed);
        WriteId::new(u128::from(self.write_ids.high) << 64 | u128::from(low))
    }

    /// Learns the view anew; waits for a refresh that is under way instead of beginning another.
    pub(super) async fn refresh(&self) -> Result<(), ClientError> {
        let seen = self.map();
        let _one = self.refreshing.lock().await;
        let map = self.map();
        if !Arc::ptr_eq(&seen, &map) {
            return Ok(());
        }
        // Nodes that are connected to answer first; the given ones are the last resort.
        let (mut known, down): (Vec<_>, Vec<_>) = map.nodes().iter().partition(|node| node.is_up());
        known.extend(down);
        let mut addresses: Vec<SocketAddr> = known.iter().map(|node| node.address).collect();
        addresses.extend(self.first_contacts.iter().filter(|address| !known.iter().any(|n| n.address == **address)));
        let contact = first_view(&self.dialer, &addresses, self.timeouts.connect).await?;
        if contact.view.layout.number() < map.layout().number() {
            // A node that is behind itself.
            return Ok(());
        }
        let fresh = Map::draw(contact.view, contact.address, Some(&map), &self.dialer, &self.changed)?;
        tracing::debug!(old = %map.layout(), new = %fresh.layout(), "a new view");
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Refreshes soon, without anybody waiting for it.
    pub(super) fn refresh_later(self: &Arc<Self>) {
        if self.refresh_pending.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::downgrade(self);
        self.dialer.runtime().spawn(async move {
            if let Some(shared) = shared.upgrade()
                && let Err(error) = shared.refresh().await
            {
                tracing::debug!(%error, "no new view");
            }
            tokio::time::sleep(REFRESH_PAUSE).await;
            if let Some(shared) = shared.upgrade() {
                shared.refresh_pending.store(false, Ordering::Relaxed);
            }
        });
    }
}

/// A node that told its view.
struct Contact {
    address: SocketAddr,
    control: Control,
    view: ViewReply,
}

/// Asks the nodes for their view, each a moment after the one before it, and the next at once when one fails.
async fn first_view(dialer: &Arc<Dialer>, addresses: &[SocketAddr], timeout: Duration) -> Result<Contact, ClientError> {
    if addresses.is_empty() {
        return Err(ClientError::NoNodes);
    }
    let mut waiting = addresses.iter().copied();
    let mut asking = JoinSet::new();
    let mut tried = Vec::new();
    let mut begin = |asking: &mut JoinSet<_>| match waiting.next() {
        Some(address) => {
            let dialer = dialer.clone();
            asking.spawn(async move { (address, ask_view(dialer, address, timeout).await) });
            true
        }
        None => false,
    };
    begin(&mut asking);
    loop {
        match tokio::time::timeout(STAGGER, asking.join_next()).await {
            Ok(Some(Ok((_, Ok(contact))))) => return Ok(contact),
            Ok(Some(Ok((address, Err(error))))) => {
                // The address is named beside the reason already.
                let reason = match error {
                    ClientError::Session { source, .. } => source.to_string(),
                    ClientError::Refused { failure, .. } => failure.to_string(),
                    error => error.to_string(),
                };
                tried.push((address, reason));
                begin(&mut asking);
            }
            Ok(Some(Err(_))) | Err(_) => {
                begin(&mut asking);
            }
            Ok(None) => {
                if !begin(&mut asking) {
                    return Err(ClientError::NoAnswer { tried });
                }
            }
        }
    }
}

async fn ask_view(dialer: Arc<Dialer>, address: SocketAddr, timeout: Duration) -> Result<Contact, ClientError> {
    let control = Control::dial_with(dialer, address, timeout).await?;
    let view = control.view().await?;
    Ok(Contact { address, control, view })
}
