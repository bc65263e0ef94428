//! A link: the asking side to one node, which comes back by itself.
//!
//! ```text
//!            attempt (5 s)           lost, refused
//!   waiting -------------> greeted ----------------> waiting: 100 ms, doubled up to 5 s, jittered
//!      ^                     |  on_up, frames, on_down
//!      +---- new address, `retry_now`: at once
//! ```
//!
//! Everything is synchronous for the owner: while the link is down, `send` fails at once, and `on_down` is called in
//! the same step in which the link goes down, after the last `on_frame`. So the owner fails its requests in flight
//! there and needs no timer to learn that a node is gone. Between the death of a connection and `on_down`, frames may
//! still be taken; they are lost, and `on_down` is what says so.
//!
//! A session ends with its tenure (`tenure`). Before that, and soon after this process's credentials were renewed, the
//! link greets a successor: new frames take it, and the old session is seen out, so the owner notices nothing.
//!
//! A link retries for ever: that a node is unreachable is no reason to forget it. To end it say `stop`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backoff::{Backoff, WAIT_MAX};
use super::conversation::{Conversation, Lanes, Listener};
use super::gate::Gate;
use super::greeting::connect;
use super::lane::{Class, LaneError};
use super::session::{Peer, SessionError, Terms};
use super::tally::{Event, Tally};
use crate::pki::Renewals;
use crate::protocol::types::NodeId;
use crate::protocol::wire::{Frame, Hello};

/// What an attempt connects with. Asked for anew each time, so that renewed certificates and layouts are used.
#[derive(Debug, Clone)]
pub struct Outfit {
    /// From where.
    pub endpoint: quinn::Endpoint,
    /// With which certificate, believing whom.
    pub config: quinn::ClientConfig,
    /// What to say first.
    pub hello: Hello,
}

/// Who uses a link. Called on the link's task; must not block.
pub trait LinkOwner {
    /// For the next attempt.
    fn outfit(&self) -> Outfit;
    /// The link is up, and takes frames.
    fn on_up(&self, hello: &Hello);
    /// An answer.
    fn on_frame(&self, frame: Frame);
    /// The link is down: what was sent and not answered never will be.
    fn on_down(&self, reason: &str);
    /// A datagram, on control connections.
    fn on_datagram(&self, datagram: Bytes) {
        drop(datagram);
    }
    /// Renewals of the credentials that the outfit is made of, if there can be any.
    fn renewals(&self) -> Option<Renewals> {
        None
    }
}

/// What a link is made with.
#[derive(Debug, Clone)]
pub struct LinkTerms {
    /// Where.
    pub address: SocketAddr,
    /// Who must be there.
    pub node: NodeId,
    /// Frame limits and the deadline of an attempt.
    pub terms: Terms,
    /// For the jitter.
    pub seed: u64,
    /// Back-pressure on answers, if any.
    pub gate: Option<Gate>,
    /// Where to count.
    pub tally: Arc<Tally>,
}

/// What a status page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Where the node is looked for.
    pub address: SocketAddr,
    /// Who it must be.
    pub node: NodeId,
    /// Whether frames are taken.
    pub up: bool,
    /// Why it is down, or was the last time.
    pub last_error: Option<String>,
}

/// A link. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: NodeId,
    state: Mutex<State>,
    /// Something in the state has changed that the link's task has to look at.
    nudged: Notify,
}

#[derive(Debug)]
struct State {
    address: SocketAddr,
    /// While it is up.
    up: Option<(Lanes, Peer)>,
    last_error: Option<String>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment, so it is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// A link and the future that keeps it; spawn that where the owner lives. Dropped, it takes the link down silently.
    pub fn new<O: LinkOwner>(terms: LinkTerms, owner: O) -> (Self, impl Future<Output = ()> + use<O>) {
        let state = State { address: terms.address, up: None, last_error: None, stopped: false };
        let link = Self(Arc::new(Shared { node: terms.node, state: Mutex::new(state), nudged: Notify::new() }));
        let keeper = Keeper { link: link.clone(), backoff: Backoff::new(terms.seed), terms, owner };
        (link, keeper.keep())
    }

    /// Queues a frame. Never waits; [`LaneError::Closed`] while the link is down.
    pub fn send(&self, class: Class, frame: Bytes) -> Result<(), LaneError> {
        match &self.0.lock().up {
            Some((lanes, _)) => lanes.send(class, frame),
            None => Err(LaneError::Closed),
        }
    }

    /// Sends a datagram of at most [`super::session::DATAGRAM_BYTES_MAX`]; it may be lost. Only on control links.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), LaneError> {
        self.peer().ok_or(LaneError::Closed)?.send_datagram(datagram)
    }

    /// Who is at the other end, while the link is up.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.0.lock().up.as_ref().map(|(_, peer)| peer.clone())
    }

    /// Whether frames are taken.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.lock().up.is_some()
    }

    /// For status pages.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let state = self.0.lock();
        LinkStatus {
            address: state.address,
            node: self.0.node,
            up: state.up.is_some(),
            last_error: state.last_error.clone(),
        }
    }

    /// The node is somewhere else now: a session with the old address ends, and the new one is tried at once.
    pub fn set_address(&self, address: SocketAddr) {
        self.0.lock().address = address;
        self.0.nudged.notify_one();
    }

    /// Does not wait for the back-off: the node was heard of.
    pub fn retry_now(&self) {
        self.0.nudged.notify_one();
    }

    /// Takes the link down for good; `on_down` is called if it was up, and the future ends.
    pub fn stop(&self) {
        self.0.lock().stopped = true;
        self.0.nudged.notify_one();
    }

    fn fail(&self, reason: &str) {
        let mut state = self.0.lock();
        state.up = None;
        state.last_error = Some(reason.to_owned());
    }

    /// Returns why a session or an attempt at this address has to be given up, once it has.
    async fn given_up(&self, address: SocketAddr) -> Interruption {
        loop {
            {
                let state = self.0.lock();
                if state.stopped {
                    return Interruption::Stopped;
                }
                if state.address != address {
                    return Interruption::Moved;
                }
            }
            self.0.nudged.notified().await;
        }
    }
}

/// Why the owner ended what went on.
enum Interruption {
    Stopped,
    Moved,
}

/// The task of a link.
struct Keeper<O> {
    link: Link,
    terms: LinkTerms,
    backoff: Backoff,
    owner: O,
}

/// Takes the link down when the task is dropped, whatever it was doing.
struct DownOnDrop(Link);

impl Drop for DownOnDrop {
    fn drop(&mut self) {
        self.0.0.lock().up = None;
    }
}

impl<O: LinkOwner> Keeper<O> {
    async fn keep(mut self) {
        let _down = DownOnDrop(self.link.clone());
        loop {
            let address = self.link.0.lock().address;
            let interruption = match self.attempt(address).await {
                Ok((lanes, conversation)) => self.converse(address, lanes, conversation).await,
                Err(Ended::Error(error)) => {
                    self.terms.tally.count(Event::Refused);
                    self.link.fail(&error.to_string());
                    tracing::debug!(peer = %self.terms.node, %address, %error, "no link");
                    None
                }
                Err(Ended::Interrupted(interruption)) => Some(interruption),
            };
            match interruption {
                Some(Interruption::Stopped) => return,
                Some(Interruption::Moved) => {}
                None => self.wait(address).await,
            }
        }
    }

    /// One attempt, within its deadline, or until it is of no use any more.
    async fn attempt(&self, address: SocketAddr) -> Result<(Lanes, Conversation), Ended> {
        let Outfit { endpoint, config, hello } = self.owner.outfit();
        let opening = async {
            let terms = self.terms.terms;
            let mut session = connect(&endpoint, config, address, Some(self.terms.node), &hello, terms).await?;
            if let Some(renewals) = self.owner.renewals() {
                session = session.judged_by(renewals);
            }
            let lanes = tokio::time::timeout(terms.deadline, session.converse()).await;
            lanes.unwrap_or(Err(SessionError::Unreachable(terms.deadline)))
        };
        tokio::select! {
            biased;
            interruption = self.link.given_up(address) => Err(Ended::Interrupted(interruption)),
            opened = opening => opened.map_err(Ended::Error),
        }
    }

    /// From `on_up` to `on_down`.
    async fn converse(&mut self, address: SocketAddr, lanes: Lanes, talk: Conversation) -> Option<Interruption> {
        let peer = talk.peer().clone();
        let began = Instant::now();
        let jitter = self.backoff.jitter();
        self.terms.tally.count(Event::Session);
        self.link.0.lock().up = Some((lanes, peer.clone()));
        tracing::info!(peer = %self.terms.node, %address, "link up");
        self.owner.on_up(peer.hello());
        let (reason, interruption) = self.carry(address, talk, jitter).await;
        self.link.fail(&reason);
        tracing::info!(peer = %self.terms.node, %address, reason, "link down");
        self.owner.on_down(&reason);
        // A session that ends right after its greeting counts as a failure, or two nodes that refuse each other's
        // frames would greet ten times a second.
        if began.elapsed() >= WAIT_MAX {
            self.backoff.reset();
        }
        interruption
    }

    /// Runs a session and its successors, until one of them ends before it has a successor.
    async fn carry(&self, address: SocketAddr, talk: Conversation, jitter: u64) -> (String, Option<Interruption>) {
        let run = |talk: Conversation| talk.run(self.terms.gate.clone(), self.terms.tally.clone(), self);
        let mut renewals = self.owner.renewals();
        let (mut peer, mut renew_at) = (talk.peer().clone(), talk.renew_at(jitter));
        let mut current = Box::pin(run(talk));
        let mut successor = none_of(|| self.attempt(address));
        let mut leaving = None;
        loop {
            tokio::select! {
                biased;
                interruption = self.link.given_up(address) => return Self::interrupted(&peer, interruption),
                error = &mut current => return (error.to_string(), None),
                () = see_out(&mut leaving) => leaving = None,
                opened = settled(&mut successor) => match opened {
                    Ok((lanes, talk)) if same_process(&peer, talk.peer()) => {
                        let fresh = talk.peer().clone();
                        let before = self.link.0.lock().up.replace((lanes, fresh.clone()));
                        tracing::debug!(peer = %self.terms.node, %address, "the link goes on over a new session");
                        renew_at = talk.renew_at(jitter);
                        let old = std::mem::replace(&mut current, Box::pin(run(talk)));
                        let old_peer = std::mem::replace(&mut peer, fresh);
                        let until = Instant::now() + SEE_OUT;
                        leaving = Some(Leaving { session: old, peer: old_peer, _lanes: before, until });
                    }
                    // What was on its way to the old process is lost: as if the old session had ended first.
                    Ok((_, talk)) => {
                        SessionError::Done.end(talk.peer().connection());
                        SessionError::Done.end(peer.connection());
                        return ("the node has restarted".to_owned(), None);
                    }
                    Err(Ended::Error(error)) => {
                        tracing::warn!(peer = %self.terms.node, %address, %error, "no successor for a session");
                        renew_at = Instant::now() + RENEW_AGAIN;
                    }
                    Err(Ended::Interrupted(interruption)) => return Self::interrupted(&peer, interruption),
                },
                () = tokio::time::sleep_until(renew_at), if successor.is_none() && leaving.is_none() => {
                    successor = Some(Box::pin(self.attempt(address)));
                }
                () = renewed(&mut renewals) => {
                    let spread = u64::try_from(RENEWED_SPREAD.as_millis()).expect("a few seconds");
                    renew_at = renew_at.min(Instant::now() + Duration::from_millis(jitter % spread));
                }
            }
        }
    }

    fn interrupted(peer: &Peer, interruption: Interruption) -> (String, Option<Interruption>) {
        let reason = match interruption {
            Interruption::Stopped => "the link was stopped",
            Interruption::Moved => "the node's address has changed",
        };
        SessionError::Done.end(peer.connection());
        (reason.to_owned(), Some(interruption))
    }

    /// Until the next attempt is due or was asked for.
    async fn wait(&mut self, address: SocketAddr) {
        let wait: Duration = self.backoff.next();
        tracing::trace!(peer = %self.terms.node, %address, ?wait, "link waits");
        // Elapsed or nudged: the next attempt finds out what has changed.
        if tokio::time::timeout(wait, self.link.0.nudged.notified()).await.is_ok() {
            tracing::trace!(peer = %self.terms.node, "link was nudged");
        }
    }
}

/// How long an old session may go on beside its successor: longer than a request takes.
const SEE_OUT: Duration = Duration::from_secs(10);
/// After a successor could not be greeted.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// Within this long after new credentials all links use them.
const RENEWED_SPREAD: Duration = Duration::from_secs(5);

/// A session that has a successor. Its lanes are kept, for it ends when nobody could send any more.
struct Leaving<S> {
    session: Pin<Box<S>>,
    peer: Peer,
    _lanes: Option<(Lanes, Peer)>,
    until: Instant,
}

/// Returns once the old session has ended, by itself or because its time is over. Never if there is none.
async fn see_out<S: Future<Output = SessionError>>(leaving: &mut Option<Leaving<S>>) {
    let Some(leaving) = leaving else { return std::future::pending().await };
    if tokio::time::timeout_at(leaving.until, &mut leaving.session).await.is_err() {
        SessionError::Done.end(leaving.peer.connection());
    }
}

/// No attempt, of the type that attempts have.
fn none_of<A>(_: impl FnOnce() -> A) -> Option<Pin<Box<A>>> {
    None
}

/// What became of an attempt, which is gone then. Never returns if there is none.
async fn settled<A: Future>(attempt: &mut Option<Pin<Box<A>>>) -> A::Output {
    let Some(pending) = attempt else { return std::future::pending().await };
    let output = pending.await;
    *attempt = None;
    output
}

/// Returns when credentials were renewed. Never when they cannot be.
async fn renewed(renewals: &mut Option<Renewals>) {
    if let Some(watched) = renewals {
        match watched.changed().await {
            Ok(()) => return,
            Err(_) => *renewals = None,
        }
    }
    std::future::pending::<()>().await;
}

fn same_process(one: &Peer, other: &Peer) -> bool {
    (one.hello().generation, one.hello().disk) == (other.hello().generation, other.hello().disk)
}

/// Why there is no conversation.
enum Ended {
    Error(SessionError),
    Interrupted(Interruption),
}

impl<O: LinkOwner> Listener for Keeper<O> {
    fn on_frame(&self, frame: Frame) {
        self.owner.on_frame(frame);
    }

    fn on_datagram(&self, datagram: Bytes) {
        self.owner.on_datagram(datagram);
    }
}
