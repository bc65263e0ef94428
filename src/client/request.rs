//! Requests that are put together step by step and then sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::errand::{Errand, Message, Useless};
use super::error::ClientError;
use super::handle::Shared;
use super::versions::{Context, Value, Versions, Written};
use crate::protocol::types::limits::CLIENT_FRAME_BYTES_MAX;
use crate::protocol::types::{Address, Strictness, WriteId};
use crate::protocol::version::{Version, checksum};
use crate::protocol::wire::{GetReply, GetRequest, HEADER_BYTES, Kind, PutReply, PutRequest, Want};

/// A read that is not sent yet.
#[must_use = "a request does nothing until it is sent"]
pub struct Get<'a> {
    shared: &'a Arc<Shared>,
    request: GetRequest,
    timeout: Duration,
}

impl<'a> Get<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, address: Address) -> Self {
        let quorums = shared.quorums;
        let request = GetRequest { address, r: quorums.read.unwrap_or(0), strictness: quorums.strictness };
        Self { shared, request, timeout: shared.timeouts.request }
    }

    /// How many replicas must answer, 1 to N.
    pub const fn r(mut self, replicas: u8) -> Self {
        self.request.r = replicas;
        self
    }

    /// Only owners' answers count, and what they differ in is stored on a write quorum before the answer: reads never
    /// go back in time.
    pub const fn strict(mut self) -> Self {
        self.request.strictness = Strictness::Strict;
        self
    }

    /// Stand-ins' answers count.
    pub const fn sloppy(mut self) -> Self {
        self.request.strictness = Strictness::Sloppy;
        self
    }

    /// Time for the request with its retries.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads the item.
    pub async fn send(self) -> Result<Versions, ClientError> {
        let Self { shared, request, timeout } = self;
        let errand = Errand::new(shared, &request.address, Kind::Get, None, timeout);
        let message = Message {
            body_bytes: request.body_bytes(),
            lay: |out: &mut Vec<u8>| request.encode(out),
            reply: Kind::GetReply,
            read: |body: Bytes| take(GetReply::decode(body)?, &request.address),
        };
        errand.run(message).await
    }
}

/// Checks every version end to end.
fn take(reply: GetReply, address: &Address) -> Result<Versions, Useless> {
    let value = |version: Version| {
        if !version.is_intact(address) {
            return Err(Useless::Corrupt(version.dot));
        }
        let Version { dot, hlc, write_id, value, .. } = version;
        Ok(Value { bytes: value, dot, write_id, written_at: hlc.wall() })
    };
    let values = reply.versions.into_iter().map(value).collect::<Result<_, _>>()?;
    Ok(Versions { context: Context::from_token(reply.token), values })
}

/// A write or a delete that is not sent yet.
#[must_use = "a request does nothing until it is sent"]
pub struct Put<'a> {
    shared: &'a Arc<Shared>,
    address: Address,
    want: Want,
    value: Bytes,
    token: Bytes,
    w: u8,
    strictness: Strictness,
    write_id: Option<WriteId>,
    timeout: Duration,
}

impl<'a> Put<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, address: Address, want: Want, value: Bytes) -> Self {
        let quorums = shared.quorums;
        Self {
            shared,
            address,
            want,
            value,
            token: Bytes::new(),
            w: quorums.write.unwrap_or(0),
            strictness: quorums.strictness,
            write_id: None,
            timeout: shared.timeouts.request,
        }
    }

    /// What was read before: the write replaces exactly that.
    pub fn context(mut self, context: &Context) -> Self {
        self.token = context.as_token().clone();
        if self.want == Want::DeleteSeen && !context.is_none() {
            self.want = Want::Delete;
        }
        self
    }

    /// How many copies must be stored, 1 to N.
    pub const fn w(mut self, copies: u8) -> Self {
        self.w = copies;
        self
    }

    /// Only copies on owners count.
    pub const fn strict(mut self) -> Self {
        self.strictness = Strictness::Strict;
        self
    }

    /// Copies on stand-ins count.
    pub const fn sloppy(mut self) -> Self {
        self.strictness = Strictness::Sloppy;
        self
    }

    /// The write's name: the same as in an attempt before this one, to make both one write. A new one when not given.
    pub const fn write_id(mut self, write_id: WriteId) -> Self {
        self.write_id = Some(write_id);
        self
    }

    /// Time for the request with its retries.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Writes the item.
    pub async fn send(self) -> Result<Written, ClientError> {
        let (shared, timeout) = (self.shared, self.timeout);
        let request = self.into_request();
        let body_bytes = request.body_bytes();
        let (found, limit) = (HEADER_BYTES + body_bytes, CLIENT_FRAME_BYTES_MAX);
        if found > limit {
            return Err(ClientError::TooLarge { found, limit });
        }
        let errand = Errand::new(shared, &request.address, Kind::Put, Some(request.write_id), timeout);
        let message = Message {
            body_bytes,
            lay: |out: &mut Vec<u8>| request.encode(out),
            reply: Kind::PutReply,
            read: |body: Bytes| {
                let PutReply { dot, write_id, versions, token, stored } = PutReply::decode(body)?;
                Ok(Written { dot, write_id, versions, context: Context::from_token(token), stored })
            },
        };
        errand.run(message).await
    }

    fn into_request(self) -> PutRequest {
        let write_id = self.write_id.unwrap_or_else(|| self.shared.next_write_id());
        PutRequest {
            checksum: checksum(&self.address, write_id, self.want != Want::Value, &self.value),
            address: self.address,
            write_id,
            want: self.want,
            w: self.w,
            strictness: self.strictness,
            token: self.token,
            value: self.value,
        }
    }
}
