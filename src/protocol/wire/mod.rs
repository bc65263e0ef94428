//! What goes over the wire: frames, and the messages in them.
//!
//! A lane is a long-lived QUIC stream that carries frames one after the other:
//!
//! ```text
//!   len u32 | version u8 | kind u8 | flags u16 | correlation u64 | budget_ms u32
//!           | layout number u32 | layout hash u64 | body
//! ```
//!
//! `len` counts what follows it. The hot path's bodies (requests, replicas) are laid by hand; control messages, which
//! nobody counts in microseconds, are serde and postcard. Every decoder checks a length against what is there before
//! it allocates, refuses trailing bytes, and never panics: the fuzz targets under `tests/fuzz` try each family.

mod codec;
mod control;
mod counts;
mod exchange;
mod failure;
mod frame;
mod inspection;
mod kind;
mod reaping;
mod replication;
mod request;

pub use codec::WireError;
pub use control::{
    Creation, Hello, Life, NodeState, NodeStatus, PeerStatus, TableRecord, ViewReply, Vouch, Vouched, decode_control,
    encode_control,
};
pub use counts::{Bucket, NodeCounts, ShardCounts, VerbCounts, buckets_of};
pub use exchange::{CompareReply, CompareRequest, KeysReply, KeysRequest, Reach, SettleRequest};
pub use failure::{Failure, FailureCode};
pub use frame::{Frame, FrameDecoder, HEADER_BYTES, Header, PROTOCOL_VERSION};
pub use inspection::{InspectReply, InspectRequest, Inspected};
pub use kind::{Kind, Sender};
pub use reaping::{ConfirmReply, ConfirmRequest, Confirmed, REAPING_ITEMS_MAX, ReapRequest, Reapable, Reaped};
pub use replication::{HintRequest, MergeReply, MergeRequest, ReadReply, ReadRequest, ReadResult, Refused};
pub use request::{GetReply, GetRequest, PutReply, PutRequest, ScanReply, ScanRequest, Stored, StoredCopy, Want};

#[cfg(test)]
mod tests;

/// Tries every decoder of this module on a body; the result of each is dropped. What the fuzz target and the laws call:
/// whatever a peer sends as a body ends up in one of these.
pub fn decode_any(body: &bytes::Bytes) -> usize {
    use crate::protocol::version::{Head, Siblings};
    [
        GetRequest::decode(body.clone()).is_ok(),
        GetReply::decode(body.clone()).is_ok(),
        PutRequest::decode(body.clone()).is_ok(),
        PutReply::decode(body.clone()).is_ok(),
        ScanRequest::decode(body.clone()).is_ok(),
        ScanReply::decode(body.clone()).is_ok(),
        InspectRequest::decode(body.clone()).is_ok(),
        InspectReply::decode(body.clone()).is_ok(),
        ReadRequest::decode(body.clone()).is_ok(),
        ReadReply::decode(body.clone()).is_ok(),
        Head::decode(body).is_ok(),
        MergeRequest::decode(body.clone()).is_ok_and(|merge| Siblings::decode(&merge.record).is_ok()),
        MergeReply::decode(body.clone()).is_ok(),
        HintRequest::decode(body.clone()).is_ok_and(|hint| Siblings::decode(&hint.record).is_ok()),
        CompareRequest::decode(body.clone()).is_ok(),
        CompareReply::decode(body.clone()).is_ok(),
        KeysRequest::decode(body.clone()).is_ok(),
        KeysReply::decode(body.clone()).is_ok(),
        SettleRequest::decode(body.clone()).is_ok(),
        ConfirmRequest::decode(body.clone()).is_ok(),
        ConfirmReply::decode(body.clone()).is_ok(),
        ReapRequest::decode(body.clone()).is_ok(),
        decode_control::<Hello>(body, "hello").is_ok(),
        decode_control::<Creation>(body, "create").is_ok(),
        decode_control::<NodeState>(body, "state").is_ok(),
        decode_control::<ViewReply>(body, "view").is_ok(),
        decode_control::<NodeStatus>(body, "status").is_ok(),
        decode_control::<NodeCounts>(body, "counts").is_ok(),
        decode_control::<Failure>(body, "error").is_ok(),
    ]
    .into_iter()
    .filter(|understood| *understood)
    .count()
}
