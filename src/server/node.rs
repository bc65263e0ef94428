//! A node: one control thread, one thread per shard, one store; from the first port to the last flush.
//!
//! ```text
//!   start: credentials, store, boot, ports           an error names what and the way out; nothing runs
//!   waiting: the control port talks to administrators    -- Create --> member
//!   member: shards serve, links to the other members
//!   stop: no new requests, finish, fsync, close      exit 0
//! ```

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::admission::ANSWER_BYTES_MAX;
use super::control::{ControlKit, ORDERS_MAX, Order, Vouches, accept_all, ask_all_to_vouch, link_members};
use super::driver::{Ending, STOP_WITHIN};
use super::gossip::Gossip;
use super::inbox::Input;
use super::lives::Lives;
use super::members::RosterPolicy;
use super::phase::{Phase, Phases};
use super::pulse::Pulse;
use super::renewal::{Renewal, Renewer};
use super::shard_thread::{Membership, ShardThread, ShardThreadOptions, renew};
use super::space::{explain_full, watch_disk};
use super::state::{NodeShared, Verification};
use crate::config::server::Durability as ConfiguredDurability;
use crate::config::{ByteSize, ServerConfig};
use crate::pki::tls::{quic_client_config, quic_server_config};
use crate::pki::verifier::Expected;
use crate::pki::{CredentialFiles, CurrentCredentials, Moment, Role};
use crate::protocol::shard::{ShardConfig, View};
use crate::protocol::types::{Durability, NodeId};
use crate::protocol::wire::{Creation, Failure, FailureCode, NodeState, Vouched, decode_control, encode_control};
use crate::storage::{MetaError, Rebuilt, ShardCallbacks, Store, StoreOptions};
use crate::transport::{NodeSecret, Offload, Purpose, Purse, Tally, bind, server_config};

pub use super::node_error::NodeError;

use super::http;

/// How a node is to run.
#[derive(Debug)]
pub struct NodeOptions {
    /// Its configuration.
    pub config: ServerConfig,
    /// Data over HTTP is open to everybody on this machine, whatever the configuration says. For `quorate dev` only.
    pub open_http: bool,
    /// The operator accepts that acknowledged writes may be lost on this disk: its answers count at once.
    pub accept_loss: bool,
    /// Who is told what the node is busy with.
    pub phases: Phases,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    shared: Arc<NodeShared>,
    orders: mpsc::Sender<Order>,
    stop: watch::Sender<bool>,
    join: JoinHandle<Result<(), NodeError>>,
}

impl Node {
    /// Starts a node. Returns once its ports are open and, if it belongs to a cluster, its shards serve.
    pub fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let (stop, stopped) = watch::channel(false);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (started, is_started) = std::sync::mpsc::sync_channel(1);
        let to_self = orders.clone();
        let join = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || control_thread(options, to_self, ordered, stopped, &started))?;
        match is_started.recv() {
            Ok(shared) => Ok(Self { shared, orders, stop, join }),
            Err(_) => Err(join.join().unwrap_or(Err(NodeError::Panicked)).err().unwrap_or(NodeError::Panicked)),
        }
    }

    /// Who the node is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.node
    }

    /// Whether it belongs to a cluster.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.shared.view().is_some()
    }

    /// Whether links to all other members are up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.status().peers.iter().all(|peer| peer.connected)
    }

    /// Makes it a member, as an administrator's `Create` does.
    pub fn create(&self, creation: Creation) -> Result<NodeState, Failure> {
        let (tell, told) = oneshot::channel();
        let stopping = || Failure::new(FailureCode::Stopping, "this node is stopping");
        self.orders.blocking_send(Order::Create(Box::new(creation), tell)).map_err(|_| stopping())?;
        told.blocking_recv().unwrap_or_else(|_| Err(stopping()))
    }

    /// What created it, if anything did.
    #[must_use]
    pub fn state(&self) -> Option<NodeState> {
        let (tell, told) = oneshot::channel();
        self.orders.blocking_send(Order::State(tell)).ok()?;
        told.blocking_recv().ok()
    }

    /// Feels whether its threads and its disk answer.
    pub(super) fn pulse(&self, data_dir: &Path) -> std::io::Result<Pulse> {
        Pulse::new(self.shared.clone(), self.orders.clone(), data_dir)
    }

    /// Tells it to stop: no new requests, finish what is under way.
    pub fn stop(&self) {
        if self.stop.send(true).is_err() {
            tracing::debug!("the node has ended already");
        }
    }

    /// Where one asks it to look at its certificate files now.
    pub(super) fn renewal(&self) -> Arc<Renewal> {
        self.shared.renewal.clone()
    }

    /// Has requests that take this long noted in the log, from now on.
    pub(super) fn slow_requests(&self) -> impl Fn(Option<Duration>) + 'static {
        let shared = self.shared.clone();
        move |threshold| shared.account_for_slow(threshold)
    }

    /// Whether it has ended, by itself or because it was told to.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.is_finished()
    }

    /// Waits for its end, and says how it was.
    pub fn join(self) -> Result<(), NodeError> {
        self.join.join().unwrap_or(Err(NodeError::Panicked))
    }
}

/// The record of this node's standing toward its disk.
const VERIFICATION: &str = "verification";
/// The record of the secret that stateless resets are made with.
const RESET_SECRET: &str = "reset-secret";

fn control_thread(
    options: NodeOptions,
    orders: mpsc::Sender<Order>,
    ordered: mpsc::Receiver<Order>,
    stopped: watch::Receiver<bool>,
    started: &std::sync::mpsc::SyncSender<Arc<NodeShared>>,
) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let data = options.config.data_dir.clone();
        let full = |error| explain_full(error, &data);
        let mut control = Control::open(options, orders).map_err(full)?;
        match control.begin(stopped.clone()).await {
            Ok(()) => {}
            Err(error) => {
                control.end().await.map_err(full)?;
                return Err(full(error));
            }
        }
        if started.send(control.shared.clone()).is_err() {
            tracing::debug!("nobody waits for the start any more");
        }
        let disk = control.run(ordered, stopped).await;
        let closed = control.end().await;
        disk.and(closed).map_err(full)
    })
}

/// The control thread's state.
struct Control {
    shared: Arc<NodeShared>,
    kit: ControlKit,
    store: Option<Store>,
    shards: Vec<ShardThread>,
    vouches: Vouches,
    lives: Lives,
    creation: Option<Creation>,
    /// The data directory had no identity before this process.
    fresh: bool,
    open_http: bool,
    http: Option<tokio::task::JoinHandle<()>>,
    phases: Phases,
}

impl Control {
    /// Everything that can fail before somebody relies on the node.
    fn open(options: NodeOptions, orders: mpsc::Sender<Order>) -> Result<Self, NodeError> {
        let NodeOptions { config, open_http, accept_loss, phases } = options;
        phases.enter(Phase::ReadingCertificates);
        let files = CredentialFiles {
            certificate: config.tls.certificate.clone(),
            key: config.tls.key.clone(),
            ca: config.tls.ca.clone(),
            crl: config.tls.crl.clone(),
        };
        let (renewer, credentials) = Renewer::load(files.clone(), Moment::now())?;
        let current = CurrentCredentials::new(credentials.clone());
        let Role::Node(node) = credentials.identity().role.clone() else {
            let (path, role) = (files.certificate.display().to_string(), credentials.identity().role.clone());
            return Err(NodeError::NotANode { path, role });
        };
        // Both forms are made once here, so that making them again for each connection cannot fail.
        let accepting = quic_server_config(&credentials)?;
        quic_client_config(&credentials, Expected::AnyNode)?;
        let (durability, interval) = durability_of(&config);
        phases.enter(Phase::RecoveringStorage);
        let mut store = Store::open(StoreOptions {
            path: config.data_dir.clone(),
            block_cache_bytes: memory(config.storage.block_cache),
            item_cache_bytes: memory(config.storage.item_cache) / usize::from(config.shards).max(1),
            write_buffer_bytes: memory(config.storage.write_buffers),
            durability,
            interval,
            read_threads: config.storage.read_threads,
        })?;
        let cluster = credentials.cluster();
        let boot = store.begin_boot(node, cluster, super::entropy::disk())?;
        let lives = Lives::begin(store.meta(), boot.disk, super::entropy::seed_u64())?;
        note_rebuilt(&store)?;
        let verification = standing(&store, boot, durability, accept_loss)?;
        let secret = reset_secret(&store)?;
        let creation = match store.meta().creation()? {
            None => None,
            Some(record) => {
                Some(decode_control(&record, "creation").map_err(|error| NodeError::Creation(error.to_string()))?)
            }
        };
        let mut shared = NodeShared::new(config, durability, (node, cluster), (boot.generation, boot.disk));
        shared.disk_numbers = store.published();
        shared.set_verification(verification);
        shared.set_vouch(lives.vouch());
        let shared = Arc::new(shared);
        shared.look_at_disk();
        let purse = Purse::new(ANSWER_BYTES_MAX);
        let tally = Arc::new(Tally::default());
        phases.enter(Phase::OpeningPorts);
        let accepting = server_config(accepting, Purpose::Control, Offload::On);
        let endpoint = bind(shared.config.listen, Some(accepting), Some(&secret))?;
        let mut shards = Vec::new();
        for number in 0..shared.config.shards {
            shards.push(ShardThread::start(ShardThreadOptions {
                number,
                address: shared.shard_address(number),
                credentials: current.clone(),
                secret: secret.clone(),
                tally: tally.clone(),
                inboxes: shared.inboxes.clone(),
                reach: shared.reach.clone(),
                clock: shared.clock,
                admission: shared.admission.clone(),
                purse: purse.clone(),
            })?);
        }
        let policy = RosterPolicy::new(node);
        tokio::spawn(renew(endpoint.clone(), current.renewals(), Purpose::Control));
        tokio::spawn(renewer.run(current.clone(), shared.renewal.clone()));
        let kit = ControlKit { shared: shared.clone(), endpoint, credentials: current, policy, tally, orders };
        Ok(Self {
            shared,
            kit,
            store: Some(store),
            shards,
            vouches: Vouches::default(),
            lives,
            creation,
            fresh: boot.fresh,
            open_http,
            http: None,
            phases,
        })
    }

    /// Opens the HTTP door, and serves if the node is a member already.
    async fn begin(&mut self, stopped: watch::Receiver<bool>) -> Result<(), NodeError> {
        let (shared, tally) = (self.shared.clone(), self.kit.tally.clone());
        let door = super::door::NodeDoor::new(shared.clone(), tally, self.kit.credentials.clone());
        tokio::spawn(async move { shared.process.keep().await });
        let config = &self.shared.config;
        let (renewed, tls) = watch::channel(http::tls_config(&self.kit.credentials.now())?);
        let mut renewals = self.kit.credentials.renewals();
        tokio::spawn(async move {
            while renewals.changed().await.is_ok() {
                let credentials = renewals.borrow_and_update().clone();
                let config = http::tls_config(&credentials);
                renewed.send_replace(config.expect("the credentials made this configuration when they were loaded"));
            }
        });
        let config = match self.open_http {
            true => http::DoorConfig::open_loopback(config.http.listen, config.request_timeout),
            false => http::DoorConfig::of(&config.http, config.request_timeout, &tls),
        };
        let server = http::bind(&config)?;
        self.http = Some(tokio::spawn(async move {
            match server.serve(door, stopped).await {
                Ok(cut_off) => tracing::debug!(cut_off, "the HTTP door is closed"),
                Err(error) => tracing::error!(%error, "the HTTP door has closed by itself"),
            }
        }));
        match self.creation.clone() {
            None => self.phases.enter(Phase::Waiting),
            Some(creation) => {
                self.become_member(&creation).await.map_err(|failure| NodeError::Creation(failure.message))?;
            }
        }
        tokio::spawn(accept_all(self.kit.clone()));
        tokio::spawn(watch_disk(self.shared.clone()));
        Ok(())
    }

    /// Carries out orders until the node is told to stop or a shard ends by itself.
    async fn run(
        &mut self,
        mut ordered: mpsc::Receiver<Order>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let mut pulse = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some(order) => self.carry_out(order).await?,
                    None => return Ok(()),
                },
                // An error means that the node was dropped: nobody can stop it any more, so it stops.
                changed = stopped.changed() => {
                    if changed.is_err() || *stopped.borrow() {
                        return Ok(());
                    }
                }
                _ = pulse.tick() => {
                    if self.shards.iter().any(ShardThread::is_finished) {
                        return Ok(());
                    }
                    self.recover_standing().await?;
                    self.renew_life()?;
                }
            }
        }
    }

    /// A node that may lack acknowledged writes is believed again once all its partitions were compared with all their
    /// other owners (rule 4).
    async fn recover_standing(&mut self) -> Result<(), NodeError> {
        if self.shared.verification() == Verification::Verified || self.shared.view().is_none() {
            return Ok(());
        }
        let reports = self.shared.reports().await;
        let all = reports.len() == self.shared.inboxes.len();
        match all && reports.iter().all(|report| !report.unverified) {
            true => self.stand(Verification::Verified),
            false => Ok(()),
        }
    }

    async fn carry_out(&mut self, order: Order) -> Result<(), NodeError> {
        match order {
            Order::State(tell) => drop(tell.send(self.state())),
            Order::Create(creation, tell) => {
                let created = self.create(*creation).await;
                let fatal = self.store.is_none();
                let reason = created.as_ref().err().map(ToString::to_string);
                drop(tell.send(created));
                if fatal {
                    return Err(NodeError::Disk(reason.unwrap_or_default()));
                }
            }
            Order::Vouch(node, vouch, tell) => {
                let Some(store) = &self.store else { return Ok(()) };
                let vouched = self.lives.remember(store.meta(), node, &vouch)?;
                if tell.send(vouched).is_err() {
                    tracing::debug!(member = %node, "the asker is gone");
                }
            }
            Order::Vouched(by, vouched) => self.take_vouched(by, vouched)?,
        }
        Ok(())
    }

    fn state(&self) -> NodeState {
        NodeState { node: self.shared.node, name: self.shared.config.name.clone(), creation: self.creation.clone() }
    }

    /// Once, fsynced; the same content again is success, other content is refused with both ids.
    async fn create(&mut self, creation: Creation) -> Result<NodeState, Failure> {
        if let Some(present) = &self.creation {
            if *present == creation {
                return Ok(self.state());
            }
            let text = format!(
                "this node belongs to cluster {} with layout {} already; cluster {} with layout {} is refused",
                present.cluster, present.layout, creation.cluster, creation.layout
            );
            return Err(Failure::new(FailureCode::Conflict, text));
        }
        self.check(&creation)?;
        let disk_failed = |error: MetaError| Failure::new(FailureCode::Unreadable, error.to_string());
        let store = self.store.as_ref().ok_or_else(|| Failure::new(FailureCode::Stopping, "the node is stopping"))?;
        if self.fresh {
            let record = Verification::Fresh.as_str().as_bytes();
            store.meta().put_record(VERIFICATION, record).map_err(disk_failed)?;
            self.shared.set_verification(Verification::Fresh);
        }
        store.meta().put_creation(&encode_control(&creation)).map_err(disk_failed)?;
        let became = self.become_member(&creation).await;
        became.inspect_err(|_| self.phases.enter(Phase::Waiting))?;
        self.creation = Some(creation);
        Ok(self.state())
    }

    fn check(&self, creation: &Creation) -> Result<(), Failure> {
        let conflict = |text: String| Failure::new(FailureCode::Conflict, text);
        if creation.cluster != self.shared.cluster {
            let ours = self.shared.cluster;
            return Err(conflict(format!("this node's certificate is of cluster {ours}, not {}", creation.cluster)));
        }
        let Some(member) = creation.roster.member(self.shared.node) else {
            return Err(conflict(format!("the roster has no node {}, which this one is", self.shared.node)));
        };
        let advertised = self.shared.config.advertise;
        if member.address != advertised {
            return Err(conflict(format!(
                "the roster has {} at {}, but its configuration says {advertised} (advertise, or else listen); peers \
                 would look for it in the wrong place",
                member.name, member.address
            )));
        }
        Ok(())
    }

    /// Creates what is missing of the node's partitions, starts its shards, and reaches out to the other members.
    async fn become_member(&mut self, creation: &Creation) -> Result<(), Failure> {
        let bad = |text: String| Failure::new(FailureCode::BadInput, text);
        let (r, w) = (self.shared.config.read_quorum, self.shared.config.write_quorum);
        let view = View::of(self.shared.node, creation, r, w).map_err(|error| bad(error.to_string()))?;
        if (r, w) != (view.read_quorum, view.write_quorum) {
            let (r, w, n) = (view.read_quorum, view.write_quorum, creation.parameters.replicas);
            tracing::warn!(r, w, n, "the configured default quorums are above n; these are used");
        }
        let view = Arc::new(view);
        let owned: Vec<_> = view.layout.owned_by(self.shared.node).collect();
        let Some(store) = self.store.take() else { return Err(bad("the node is stopping".to_owned())) };
        self.phases.enter(Phase::CreatingPartitions);
        let store = store.create_partitions(&owned).map_err(|error| {
            Failure::new(FailureCode::Unreadable, format!("the partitions could not be created: {error}"))
        })?;
        self.shared.adopt(view.clone());
        self.shared.look_at_disk();
        self.kit.policy.adopt(view.roster.clone());
        self.phases.enter(Phase::StartingShards);
        let begun = self.begin_shards(&store, &view).await;
        self.shared.account_for_slow(self.shared.config.log.slow_requests);
        self.store = Some(store);
        begun?;
        let gossip = Gossip::new(&view, self.shared.generation, self.shared.clock);
        self.shared.begin_gossip(gossip.clone());
        link_members(&self.kit, &view);
        tokio::spawn(gossip.run(self.shared.clone()));
        if view.roster.members().len() == 1 && self.shared.verification() == Verification::Fresh {
            self.stand(Verification::Verified).map_err(|error| bad(error.to_string()))?;
        }
        self.phases.enter(Phase::Member { partitions: owned.len() });
        tracing::info!(cluster = %view.cluster, layout = %view.layout.id(), partitions = owned.len(), "member");
        Ok(())
    }

    async fn begin_shards(&mut self, store: &Store, view: &Arc<View>) -> Result<(), Failure> {
        let unverified = self.shared.verification() != Verification::Verified;
        let mut waiting = Vec::new();
        for (number, thread) in (0_u16..).zip(&mut self.shards) {
            let inbox = self.shared.inboxes.get(usize::from(number)).cloned();
            let inbox = inbox.expect("a node has an inbox per shard");
            let (completed, durable, failed) = (inbox.clone(), inbox.clone(), inbox);
            let callbacks = ShardCallbacks {
                completed: Arc::new(move |completion| completed.push(Input::Completed(completion))),
                durable: Arc::new(move |sequence| durable.push(Input::Durable(sequence))),
                failed: Arc::new(move |reason: &str| failed.push(Input::Failed(reason.to_owned()))),
            };
            let (ready, is_ready) = oneshot::channel();
            thread.begin(Membership {
                view: view.clone(),
                seat: store.shard_seat(callbacks),
                config: ShardConfig {
                    shard: number,
                    shards: self.shared.config.shards,
                    durability: self.shared.durability,
                    value_bytes_max: self.shared.config.value_bytes_max,
                    unverified,
                    hint_bytes_max: self.shared.config.storage.hint_bytes_max.as_bytes()
                        / u64::from(self.shared.config.shards),
                },
                hello: self.shared.hello(),
                policy: self.kit.policy.clone(),
                ready,
            });
            waiting.push(is_ready);
        }
        for is_ready in waiting {
            let unreadable = |text: String| Failure::new(FailureCode::Unreadable, text);
            match is_ready.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(unreadable(error.to_string())),
                Err(_) => return Err(unreadable("a shard's thread has ended".to_owned())),
            }
        }
        Ok(())
    }

    /// Takes a new standing toward the own disk: on the disk first.
    fn stand(&mut self, verification: Verification) -> Result<(), NodeError> {
        if let Some(store) = &self.store {
            store.meta().put_record(VERIFICATION, verification.as_str().as_bytes())?;
        }
        match verification {
            Verification::Verified => tracing::info!("this node's answers count toward R"),
            Verification::Fresh => {}
            Verification::Lost => tracing::error!(
                "this node had another disk before, or this is an older copy of it: until its copies are restored its \
                 answers do not count toward R"
            ),
        }
        self.shared.set_verification(verification);
        Ok(())
    }

    /// A member told whether this node's disk is the one that it remembers.
    fn take_vouched(&mut self, by: NodeId, vouched: Vouched) -> Result<(), NodeError> {
        let verification = self.vouches.note(&self.shared, by, vouched.continues);
        if let Some(verification) = verification {
            self.stand(verification)?;
        }
        if !vouched.continues
            && let Some(store) = &self.store
        {
            // The standing is on the disk: from here on the members may forget what this disk does not have.
            self.lives.atone(store.meta(), vouched.epoch)?;
            self.shared.set_vouch(self.lives.vouch());
            ask_all_to_vouch(&self.shared);
        }
        Ok(())
    }

    /// The life of the disk goes on.
    fn renew_life(&mut self) -> Result<(), NodeError> {
        let Some(store) = &self.store else { return Ok(()) };
        if self.shared.view().is_some() && self.lives.renew(store.meta(), store.written())? {
            self.lives.renewed_at(store.written());
            self.shared.set_vouch(self.lives.vouch());
            ask_all_to_vouch(&self.shared);
        }
        Ok(())
    }

    /// Stops in order: HTTP, shards, links, store.
    async fn end(&mut self) -> Result<(), NodeError> {
        if let Some(http) = self.http.take() {
            // The door finishes its requests within its own bound; it is cut off only if it does not keep to that.
            let within = STOP_WITHIN + Duration::from_secs(1);
            let mut http = http;
            if tokio::time::timeout(within, &mut http).await.is_err() {
                http.abort();
            }
        }
        for inbox in &self.shared.inboxes {
            inbox.push(Input::Stop(STOP_WITHIN));
        }
        let shards = std::mem::take(&mut self.shards);
        let endings = tokio::task::spawn_blocking(|| shards.into_iter().map(ShardThread::join).collect::<Vec<_>>());
        let endings = endings.await.map_err(|_| NodeError::Panicked)?;
        let links: Vec<_> = std::mem::take(&mut *self.shared.links()).into_values().collect();
        links.iter().for_each(crate::transport::Link::stop);
        self.kit.endpoint.close(0_u32.into(), b"the node stops");
        let goodbye = tokio::time::timeout(Duration::from_millis(200), self.kit.endpoint.wait_idle()).await;
        tracing::trace!(complete = goodbye.is_ok(), "control endpoint closed");
        if let Some(Ending::DiskFailed(reason)) = endings.into_iter().find(|ending| *ending != Ending::Stopped) {
            return Err(NodeError::Disk(reason));
        }
        if let Some(store) = self.store.take() {
            store.close()?;
        }
        Ok(())
    }
}

/// Takes note of column families that were damaged and rebuilt with gaps: acknowledged writes are missing.
fn note_rebuilt(store: &Store) -> Result<(), NodeError> {
    let rebuilt = store.rebuilt()?;
    if rebuilt.is_empty() {
        return Ok(());
    }
    for Rebuilt { partition, kept, gaps } in &rebuilt {
        let what = partition.map_or_else(|| "the hints".to_owned(), |partition| format!("partition {partition}"));
        tracing::error!(
            kept,
            gaps,
            "{what}: a table file was damaged; what could be read was kept, the file is under quarantine/"
        );
    }
    if rebuilt.iter().any(|rebuilt| rebuilt.partition.is_some() && rebuilt.gaps > 0) {
        store.meta().put_record(VERIFICATION, Verification::Lost.as_str().as_bytes())?;
    }
    // After the standing is on the disk: a crash in between does both again.
    store.forget_rebuilt()?;
    Ok(())
}

/// The node's standing toward its disk at a start.
fn standing(
    store: &Store,
    boot: crate::storage::Boot,
    durability: Durability,
    accept_loss: bool,
) -> Result<Verification, NodeError> {
    let recorded = store.meta().record(VERIFICATION)?;
    let mut verification = recorded.map_or(Verification::Verified, |record| Verification::from_record(&record));
    // Without `sync` an acknowledged write may have been in the memory of a machine that lost its power.
    let lost_power = !boot.fresh && !boot.clean && !boot.same_kernel_boot;
    if lost_power && durability != Durability::Sync {
        verification = Verification::Lost;
        store.meta().put_record(VERIFICATION, verification.as_str().as_bytes())?;
    }
    if verification == Verification::Lost && accept_loss {
        tracing::warn!("--accept-loss: acknowledged writes may be missing here, and this node's answers count again");
        verification = Verification::Verified;
        store.meta().put_record(VERIFICATION, verification.as_str().as_bytes())?;
    }
    if verification == Verification::Lost {
        tracing::error!(
            "this node may have lost acknowledged writes: its answers add data but do not count toward R; \
             start it once with --accept-loss to take that into account"
        );
    }
    Ok(verification)
}

fn reset_secret(store: &Store) -> Result<NodeSecret, NodeError> {
    let recorded = store.meta().record(RESET_SECRET)?;
    if let Some(secret) = recorded.and_then(|record| <[u8; 32]>::try_from(record.as_ref()).ok()) {
        return Ok(NodeSecret::new(secret));
    }
    let secret: [u8; 32] = super::entropy::random();
    store.meta().put_record(RESET_SECRET, &secret)?;
    Ok(NodeSecret::new(secret))
}

fn memory(size: ByteSize) -> usize {
    usize::try_from(size.as_bytes()).unwrap_or(usize::MAX)
}

fn durability_of(config: &ServerConfig) -> (Durability, Duration) {
    match config.durability {
        ConfiguredDurability::Sync => (Durability::Sync, Duration::from_millis(100)),
        ConfiguredDurability::Interval(interval) => (Durability::Interval, interval),
        ConfiguredDurability::Os => (Durability::Os, Duration::from_millis(100)),
    }
}
