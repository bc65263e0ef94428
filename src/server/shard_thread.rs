//! A shard's thread: its runtime, its UDP port, and the driver once the node is a member.
//!
//! The port is opened when the process starts, so that a port in use is found before anybody relies on the node; frames
//! are taken only when the node belongs to a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot};

use super::admission::{Admission, Asker};
use super::clock::Clock;
use super::driver::{Driver, Ending};
use super::inbox::{Inbox, Input, ReplyTo};
use super::links::{LinkKit, Links};
use super::members::{RosterPolicy, SESSIONS_MAX};
use super::reach::Reach;
use crate::pki::tls::quic_server_config;
use crate::pki::{CurrentCredentials, Renewals};
use crate::protocol::replica::ReadError;
use crate::protocol::shard::{Shard, ShardConfig, View};
use crate::protocol::wire::{Frame, Hello};
use crate::storage::ShardSeat;
use crate::transport::{
    BindError, LaneSender, NodeSecret, Offload, Peer, Purpose, Purse, Session, SessionError, Tally, Terms, accept,
    bind, failure_frame, server_config,
};

/// What a shard's thread is started with.
#[derive(Debug)]
pub(crate) struct ShardThreadOptions {
    pub(crate) number: u16,
    pub(crate) address: SocketAddr,
    pub(crate) credentials: CurrentCredentials,
    pub(crate) secret: NodeSecret,
    pub(crate) tally: Arc<Tally>,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) clock: Clock,
    pub(crate) admission: Admission,
    /// For the answers that wait in the lanes of all sessions.
    pub(crate) purse: Purse,
}

/// What it needs once the node is a member.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) view: Arc<View>,
    pub(crate) seat: ShardSeat,
    pub(crate) config: ShardConfig,
    pub(crate) hello: Hello,
    pub(crate) policy: RosterPolicy,
    /// Told once the shard takes frames, or why it does not.
    pub(crate) ready: oneshot::Sender<Result<(), ReadError>>,
}

/// A shard's thread.
#[derive(Debug)]
pub(crate) struct ShardThread {
    join: JoinHandle<Ending>,
    begin: Option<oneshot::Sender<Membership>>,
}

impl ShardThread {
    /// Starts the thread and opens its port.
    pub(crate) fn start(options: ShardThreadOptions) -> Result<Self, BindError> {
        let (tell_bound, is_bound) = mpsc::sync_channel(1);
        let (begin, on_begin) = oneshot::channel();
        let name = format!("shard-{}", options.number);
        let join = std::thread::Builder::new()
            .name(name)
            .spawn(move || run(&options, &tell_bound, on_begin))
            .map_err(|source| BindError::Io { address: SocketAddr::from(([0, 0, 0, 0], 0)), source })?;
        match is_bound.recv() {
            Ok(Ok(())) => Ok(Self { join, begin: Some(begin) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(BindError::NoRuntime(SocketAddr::from(([0, 0, 0, 0], 0)))),
        }
    }

    /// The node is a member: serve. Only the first call counts.
    pub(crate) fn begin(&mut self, membership: Membership) {
        if let Some(begin) = self.begin.take() {
            // A thread that is gone already says why when it is joined.
            drop(begin.send(membership));
        }
    }

    /// Waits for the end of the thread. One that never began ends now.
    pub(crate) fn join(mut self) -> Ending {
        drop(self.begin.take());
        self.join.join().unwrap_or_else(|_| Ending::DiskFailed("the shard's thread panicked".to_owned()))
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.join.is_finished()
    }
}

fn run(
    options: &ShardThreadOptions,
    bound: &mpsc::SyncSender<Result<(), BindError>>,
    begun: oneshot::Receiver<Membership>,
) -> Ending {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Input is polled often: acknowledgements that wait behind a long queue of tasks look like a slow network.
        .event_interval(31)
        .build()
        .expect("a runtime needs an epoll descriptor, as the process has at its start");
    runtime.block_on(async {
        let renewals = options.credentials.renewals();
        let crypto = quic_server_config(&options.credentials.now())
            .expect("the credentials made a server configuration when they were loaded");
        let config = server_config(crypto, Purpose::Data, Offload::On);
        let endpoint = match bind(options.address, Some(config), Some(&options.secret)) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                drop(bound.send(Err(error)));
                return Ending::Stopped;
            }
        };
        drop(bound.send(Ok(())));
        tokio::spawn(renew(endpoint.clone(), renewals, Purpose::Data));
        // Until the node is a member, connections wait unaccepted and are dropped when too many do.
        let Ok(membership) = begun.await else { return Ending::Stopped };
        let ending = serve(options, endpoint.clone(), membership).await;
        endpoint.close(0_u32.into(), b"the node stops");
        // Says goodbye to the peers, so that they need not find out by a timeout.
        let goodbye = tokio::time::timeout(std::time::Duration::from_millis(200), endpoint.wait_idle()).await;
        tracing::trace!(complete = goodbye.is_ok(), "endpoint closed");
        ending
    })
}

async fn serve(options: &ShardThreadOptions, endpoint: quinn::Endpoint, membership: Membership) -> Ending {
    let Membership { view, seat, config, hello, policy, ready } = membership;
    let mut storage = seat.storage();
    let shard = match Shard::new(config, view.clone(), super::entropy::random(), &mut storage) {
        Ok(shard) => shard,
        Err(error) => {
            let reason = error.to_string();
            drop(ready.send(Err(error)));
            return Ending::DiskFailed(reason);
        }
    };
    let number = usize::from(options.number);
    let inbox = options.inboxes.get(number).cloned().expect("a node has an inbox per shard");
    let kit = LinkKit {
        endpoint: endpoint.clone(),
        credentials: options.credentials.clone(),
        hello: hello.clone(),
        tally: options.tally.clone(),
        inbox: inbox.clone(),
        number,
        reach: options.reach.clone(),
    };
    let host = Host {
        inbox,
        hello,
        policy,
        tally: options.tally.clone(),
        admission: options.admission.clone(),
        purse: options.purse.clone(),
        clock: options.clock,
        credentials: options.credentials.clone(),
    };
    let accepting = tokio::spawn(accept_all(endpoint, host));
    let links = Links::new(kit, &view);
    let driver = Driver::new(shard, storage, number, options.inboxes.clone(), links, options.clock);
    drop(ready.send(Ok(())));
    let ending = driver.run().await;
    accepting.abort();
    ending
}

/// Has an endpoint accept with the newest credentials, for as long as there can be newer ones.
pub(super) async fn renew(endpoint: quinn::Endpoint, mut renewals: Renewals, purpose: Purpose) {
    while renewals.changed().await.is_ok() {
        let credentials = renewals.borrow_and_update().clone();
        let crypto = quic_server_config(&credentials)
            .expect("the credentials made a server configuration when they were loaded");
        endpoint.set_server_config(Some(server_config(crypto, purpose, Offload::On)));
    }
}

/// What sessions are served with.
#[derive(Debug, Clone)]
struct Host {
    inbox: Arc<Inbox>,
    hello: Hello,
    policy: RosterPolicy,
    tally: Arc<Tally>,
    admission: Admission,
    purse: Purse,
    clock: Clock,
    credentials: CurrentCredentials,
}

impl Host {
    /// Serves a session until it ends. A request is admitted, or answered that it is not, before it waits anywhere.
    async fn serve(self, session: Session) -> SessionError {
        let asker = if session.peer().node().is_some() { Asker::Member } else { Asker::Client };
        let admission = self.admission.session(asker);
        let Self { inbox, tally, purse, clock, credentials, .. } = self;
        let gate = Some(inbox.gate());
        let take = move |_: &Peer, lane: &LaneSender, frame: Frame| match admission.admit(frame.body.len()) {
            Ok(ticket) => {
                let (reply_to, arrived) = (ReplyTo::Lane(lane.clone(), ticket), clock.now().instant);
                inbox.push(Input::Request { reply_to, frame, arrived });
            }
            // Who leaves no room for the answer reads none.
            Err(failure) => drop(lane.try_send(failure_frame(frame.header.correlation, &failure))),
        };
        // A member's answers are bounded by its own lanes; what clients leave unread must not cost it any.
        let session = if asker == Asker::Client { session.paid_from(purse) } else { session };
        session.judged_by(credentials.renewals()).serve(gate, tally, take).await
    }
}

/// Takes connections until the endpoint closes; each session is one task.
async fn accept_all(endpoint: quinn::Endpoint, host: Host) {
    let places = Arc::new(Semaphore::new(SESSIONS_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(remote = %incoming.remote_address(), "refused: {SESSIONS_MAX} sessions are open");
            incoming.refuse();
            continue;
        };
        let host = host.clone();
        tokio::spawn(async move {
            let _place = place;
            let remote = incoming.remote_address();
            match accept(incoming, &host.hello, &host.policy, Terms::new(Purpose::Data), &host.tally).await {
                Ok(session) => {
                    let error = host.serve(session).await;
                    tracing::debug!(%remote, %error, "session ended");
                }
                Err(error) => tracing::warn!(%remote, %error, "connection refused"),
            }
        });
    }
}
