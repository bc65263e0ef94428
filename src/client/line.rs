//! A line: a link to one port of a node, and the calls over it.
//!
//! The link comes back by itself, so a line lives as long as its node is in the map. A call on a line that is down
//! fails at once and has not been sent; a call that was in flight when the line went down is lost, and nobody knows
//! whether the node has carried it out: that is why every write has an id.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::call::{CALLS_MAX, Call, Calls, Lost};
use super::dialer::Dialer;
use super::error::ClientError;
use super::hearing::Hearing;
use crate::pki::Expected;
use crate::protocol::ring::LayoutId;
use crate::protocol::types::NodeId;
use crate::protocol::types::limits::{BUDGET_MS_MAX, BULK_FRAME_BYTES};
use crate::protocol::wire::{Failure, Frame, HEADER_BYTES, Header, Hello, Kind, WireError, decode_control};
use crate::transport::{Class, LaneError, Link, LinkOwner, LinkTerms, Outfit, Purpose, Terms};

/// How long a node is not the first choice after it left a call unanswered although it was heard.
const SUSPICION: Duration = Duration::from_secs(2);

/// A packet is missing after so many round trips: one, and the 25 ms by which acknowledgements may be late.
const ROUND_TRIPS: u32 = 3;

/// How much longer this end waits than it tells the node.
const GRACE: Duration = Duration::from_millis(50);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The node answered that it did not do it, or not as far as asked.
    #[error(transparent)]
    Refused(Failure),
    /// Nothing came in time. It may have been carried out.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The connection ended before the answer. It may have been carried out.
    #[error("the connection was lost before the answer: {0}")]
    Lost(Arc<str>),
    /// Nothing was sent.
    #[error("there is no connection: {0}")]
    Down(String),
    /// Nothing was sent.
    #[error(transparent)]
    Full(LaneError),
    /// Nothing was sent.
    #[error("{CALLS_MAX} requests are in flight to one shard; wait for answers")]
    TooMany,
    /// An answer that cannot be understood.
    #[error("the answer cannot be understood: {0}")]
    Malformed(#[from] WireError),
}

/// What is called when a line comes up.
pub(super) type OnUp = Box<dyn Fn(&Hello) + Send + Sync>;

/// Where a line goes, and who is told when it is up.
pub(super) struct LineTerms {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    pub(super) purpose: Purpose,
    /// Told of every line that comes up.
    pub(super) changed: Arc<Notify>,
    pub(super) on_up: OnUp,
}

/// What came back on a line since a request left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not one packet.
    Nothing,
    /// So many packets had come by then.
    Packets(u32),
}

/// The correlation of no call.
const NOBODY: u64 = u64::MAX;

/// A line.
pub(super) struct Line {
    link: Link,
    calls: Arc<Calls>,
    began: Instant,
    /// Milliseconds after `began` until which the node is suspect; 0 for never.
    suspect_until: AtomicU64,
    hearing: Hearing,
}

/// A call on its way, and what is needed to tell whether the node is there at all.
pub(super) struct Sent {
    pub(super) call: Call,
    /// When it is given up.
    pub(super) until: Instant,
    /// How long that was when it was sent.
    pub(super) budget: Duration,
    /// Packets that had come when it was sent.
    pub(super) heard: u32,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.link.stop();
    }
}

impl Line {
    /// A line that connects by itself from now on.
    pub(super) fn open(dialer: &Dialer, terms: LineTerms) -> Result<Self, ClientError> {
        let calls = Arc::new(Calls::default());
        let outfit = Outfit {
            endpoint: dialer.endpoint(terms.address)?,
            config: dialer.config(Expected::Node(terms.node), terms.purpose)?,
            hello: dialer.hello(),
        };
        let link_terms = LinkTerms {
            address: terms.address,
            node: terms.node,
            terms: Terms::new(terms.purpose),
            seed: fresh_seed(),
            gate: None,
            tally: dialer.tally.clone(),
        };
        let owner = Owner { outfit, calls: calls.clone(), changed: terms.changed, on_up: terms.on_up };
        let (link, keeping) = Link::new(link_terms, owner);
        dialer.runtime().spawn(keeping);
        Ok(Self { link, calls, began: Instant::now(), suspect_until: AtomicU64::new(0), hearing: Hearing::default() })
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Whether the line was opened so lately that it may still come up.
    pub(super) fn is_young(&self, patience: Duration) -> bool {
        self.began.elapsed() < patience
    }

    /// Whether the node has left a call unanswered lately, or nothing was heard of it since it was found deaf.
    pub(super) fn is_suspect(&self) -> bool {
        let until = self.suspect_until.load(Ordering::Relaxed);
        (until > 0 && self.elapsed_ms() < until) || self.hearing.is_deaf(|| self.packets())
    }

    /// Looks whether the node is there: a packet comes back for every packet, however long an answer takes. None while
    /// it is too early to tell.
    pub(super) fn look(&self, heard: u32, since: Instant) -> Option<Heard> {
        let Some(stats) = self.stats() else { return Some(Heard::Nothing) };
        if since.elapsed() < stats.path.rtt * ROUND_TRIPS {
            return None;
        }
        let packets = packets_of(&stats);
        if packets == heard {
            self.hearing.note_deaf(packets);
        }
        match self.hearing.is_deaf(|| Some(packets)) {
            true => Some(Heard::Nothing),
            false => Some(Heard::Packets(packets)),
        }
    }

    /// Sends something that has to be acknowledged. Whatever is answered is nobody's answer.
    pub(super) fn prod(&self) {
        let header = Header::new(Kind::Ping, NOBODY, 0, LayoutId::default());
        if let Err(error) = self.link.send(Class::Normal, Frame::build(header, 0, |_| {})) {
            tracing::trace!(%error, "a line is down, or so full that it needs no prodding");
        }
    }

    /// The node did not answer in time.
    pub(super) fn note_unanswered(&self) {
        let until = self.elapsed_ms() + u64::try_from(SUSPICION.as_millis()).unwrap_or(u64::MAX);
        self.suspect_until.store(until, Ordering::Relaxed);
    }

    fn stats(&self) -> Option<quinn::ConnectionStats> {
        self.link.peer().map(|peer| peer.connection().stats())
    }

    fn packets(&self) -> Option<u32> {
        self.stats().as_ref().map(packets_of)
    }

    /// Does not wait for the back-off.
    pub(super) fn retry_now(&self) {
        self.link.retry_now();
    }

    /// Why the line is down.
    pub(super) fn reason(&self) -> String {
        self.link.status().last_error.unwrap_or_else(|| "it is being connected".to_owned())
    }

    /// Asks, to be answered until then. `lay` lays a body of `body_bytes` behind the header.
    pub(super) fn ask(
        &self,
        kind: Kind,
        layout: LayoutId,
        body_bytes: usize,
        lay: impl FnOnce(&mut Vec<u8>),
        until: Instant,
    ) -> Result<Sent, CallError> {
        let call = self.calls.begin().ok_or(CallError::TooMany)?;
        let heard = self.hearing.packets(self.elapsed_ms(), || self.packets());
        let budget = until.saturating_duration_since(Instant::now());
        // The node's own account of what was missing comes a moment before this end stops waiting.
        let granted = budget.saturating_sub((budget / 10).min(GRACE));
        let header = Header::new(kind, call.correlation(), budget_ms(granted), layout);
        let class = if HEADER_BYTES + body_bytes > BULK_FRAME_BYTES { Class::Bulk } else { Class::Normal };
        self.send(class, Frame::build(header, body_bytes, lay))?;
        Ok(Sent { call, until, budget, heard })
    }

    /// Asks, and waits for the answer until then.
    pub(super) async fn call(
        &self,
        kind: Kind,
        layout: LayoutId,
        body_bytes: usize,
        lay: impl FnOnce(&mut Vec<u8>),
        until: Instant,
    ) -> Result<Frame, CallError> {
        let Sent { call, budget, .. } = self.ask(kind, layout, body_bytes, lay, until)?;
        if let Ok(answer) = tokio::time::timeout_at(until, call).await {
            return answer_of(answer);
        }
        self.note_unanswered();
        Err(CallError::Silent(budget))
    }

    fn send(&self, class: Class, frame: Bytes) -> Result<(), CallError> {
        self.link.send(class, frame).map_err(|error| match error {
            LaneError::Closed => CallError::Down(self.reason()),
            LaneError::Full { .. } => CallError::Full(error),
        })
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What came for a call, as the caller sees it.
pub(super) fn answer_of(answer: Result<Frame, Lost>) -> Result<Frame, CallError> {
    let frame = answer.map_err(|Lost(reason)| CallError::Lost(reason))?;
    match frame.kind() {
        Some(Kind::Error) => Err(CallError::Refused(decode_control(&frame.body, "error")?)),
        _ => Ok(frame),
    }
}

/// Packets that have come on a connection. Only whether it changes is looked at, so it may wrap.
fn packets_of(stats: &quinn::ConnectionStats) -> u32 {
    u32::try_from(stats.udp_rx.datagrams & u64::from(u32::MAX)).expect("a masked number")
}

/// What the link tells about itself.
struct Owner {
    outfit: Outfit,
    calls: Arc<Calls>,
    changed: Arc<Notify>,
    on_up: OnUp,
}

impl LinkOwner for Owner {
    fn outfit(&self) -> Outfit {
        self.outfit.clone()
    }

    fn on_up(&self, hello: &Hello) {
        (self.on_up)(hello);
        self.changed.notify_waiters();
    }

    fn on_frame(&self, frame: Frame) {
        self.calls.answer(frame);
    }

    fn on_down(&self, reason: &str) {
        self.calls.lose(reason);
    }
}

impl Drop for Owner {
    /// The link's task may be dropped with its runtime; nobody may wait for it then.
    fn drop(&mut self) {
        self.calls.lose("the client's runtime has stopped");
    }
}

/// A budget as frames carry it: at least a millisecond, at most what nodes grant.
pub(super) fn budget_ms(budget: Duration) -> u32 {
    u32::try_from(budget.as_millis()).unwrap_or(u32::MAX).clamp(1, BUDGET_MS_MAX)
}

/// A seed for jitter. Without entropy lines come back in step, which is no reason to fail.
pub(super) fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        Err(_) => 0,
    }
}
