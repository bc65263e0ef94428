//! Deadlines that frames carry: what comes too late to be of use is not begun.
//!
//! ```text
//!   asker: budget 500 ms --frame--> arrived --inbox, other shards, a turn, the disk--> here
//!                                      +-- 500 ms over: answered "timed out, not begun", counted, nothing applied
//! ```
//!
//! The budget counts from the moment that the frame was read from its lane. The way there is not known, so the asker
//! has always given up before: serving it would be work for nobody, and a node that is behind would stay behind, for
//! every request that it serves late makes the next one late. What is passed on, to other shards, owners and
//! fallbacks, goes with what is left of the time. The answer is one small frame, and true: nothing was applied.
//!
//! **A peer's `Merge` is dropped like everything else.** To apply it late would spare an exchange that one item: but
//! its coordinator has counted this copy as unknown already, has asked a stand-in or has the pair compared soon, and a
//! replica that works off a backlog of late merges first confirms nothing in time until it has. An exchange moves what
//! was dropped when there is room for it, throttled; foreground work comes first.
//!
//! *Caveat.* Time that a frame spends unread in QUIC's buffers, because this node's readers stand still, is not seen.

use super::reading::budget_of;
use super::{Now, Shard, Source};
use crate::protocol::types::Instant;
use crate::protocol::wire::{Failure, FailureCode, Header, Kind};

impl Shard {
    /// When a request is over.
    pub(super) fn deadline_of(source: Source, header: &Header) -> Instant {
        source.arrived.after(budget_of(header))
    }

    /// Why a request is not begun, when its time is over.
    pub(super) fn refuse_expired(&mut self, now: Now, source: Source, header: &Header) -> Result<(), Failure> {
        if now.instant < Self::deadline_of(source, header) {
            return Ok(());
        }
        let kind = Kind::from_u8(header.kind).map_or("other", name_of);
        *self.counters.expired.entry(kind).or_default() += 1;
        let (waited, budget) = (now.instant.since(source.arrived).as_millis(), budget_of(header).as_millis());
        let text = format!(
            "the request waited {waited} ms of its {budget} ms in this node and was not begun; nothing was applied; \
             ask again, slower, or give it more time"
        );
        Err(Failure::new(FailureCode::TimedOut, text))
    }
}

/// Every kind of request that can come too late, as metrics name it.
pub const EXPIRING: [&str; 9] = ["get", "put", "scan", "read", "merge", "hint", "exchange", "reap", "other"];

/// A kind of request, for a metric's label.
const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Get => "get",
        Kind::Put => "put",
        Kind::Scan => "scan",
        Kind::Read => "read",
        Kind::Merge => "merge",
        Kind::Hint => "hint",
        Kind::Compare | Kind::Keys | Kind::Settle => "exchange",
        Kind::Confirm | Kind::Reap => "reap",
        _ => "other",
    }
}
