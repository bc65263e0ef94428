//! A request that was not carried out, in HTTP's words.
//!
//! ```json
//! {"error": {"code": "quorum_not_met", "message": "write quorum not met: 1 of 2 copies in ..",
//!            "retryable": true, "stored": {"nodes": ["n1"], "primaries": 1, "fallbacks": 0, "fsynced": 1},
//!            "write_id": "00f1.."}}
//! ```
//!
//! `retryable` says whether the same request may succeed later or elsewhere; a write is then retried with the same
//! write id, which every answer to a write carries. `stored` is there when copies of a failed write exist all the same.

use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::reply::{StoredJson, header_of, json, token_header};
use crate::protocol::shard::View;
use crate::protocol::types::WriteId;
use crate::protocol::wire::{Failure, FailureCode, StoredCopy};

/// What kind of refusal: the shards' kinds, and the door's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// As a node or its shard said, or would have.
    Failed(FailureCode),
    /// There is no such item.
    NotFound,
    /// There is no such place at this door.
    NoSuchPath,
    /// The place is there, but this cannot be done with it; with what can.
    NoSuchMethod(&'static str),
    /// The bearer token is missing or wrong; with the challenge.
    NotAuthenticated(&'static str),
    /// The headers are over their bound.
    HeadersTooLarge,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// The node should not be sent requests now.
    NotReady,
    /// The node's own answer makes no sense.
    Internal,
}

impl Code {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Failed(code) => code.as_str(),
            Self::NotFound => "not_found",
            Self::NoSuchPath => "no_such_path",
            Self::NoSuchMethod(_) => "no_such_method",
            Self::NotAuthenticated(_) => "not_authenticated",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BodyTimedOut => "body_timed_out",
            Self::NotReady => "not_ready",
            Self::Internal => "internal",
        }
    }

    const fn is_retryable(self) -> bool {
        match self {
            Self::Failed(code) => code.is_retryable(),
            Self::BodyTimedOut | Self::NotReady | Self::Internal => true,
            Self::NotFound
            | Self::NoSuchPath
            | Self::NoSuchMethod(_)
            | Self::NotAuthenticated(_)
            | Self::HeadersTooLarge => false,
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Failed(FailureCode::BadInput | FailureCode::Unsupported) => StatusCode::BAD_REQUEST,
            Self::Failed(FailureCode::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed(FailureCode::NotAllowed) => StatusCode::FORBIDDEN,
            Self::Failed(FailureCode::Overloaded) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed(FailureCode::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(FailureCode::Conflict) => StatusCode::CONFLICT,
            Self::Failed(FailureCode::DiskFull) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed(
                FailureCode::QuorumNotMet
                | FailureCode::Stale
                | FailureCode::Uninitialised
                | FailureCode::Unreadable
                | FailureCode::Stopping,
            )
            | Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::NoSuchMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAuthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Seconds after which a client that is told to slow down may ask again, at least: queues here drain in milliseconds.
const RETRY_AFTER_SECONDS_MIN: u32 = 1;

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    /// Boxed: it is empty in most refusals, and a result is as large as its error.
    about: Box<About>,
}

/// What a refusal is about, as far as there is such a thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct About {
    stored: Vec<StoredCopy>,
    write_id: Option<WriteId>,
    token: Bytes,
    retry_after_ms: u32,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), about: Box::default() }
    }

    /// A refusal of a kind that the shards know too.
    pub(super) fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Self::new(Code::Failed(code), message)
    }

    /// An item that is not there. The token is empty unless it was there once.
    pub(super) fn not_found(token: Bytes) -> Self {
        let message = if token.is_empty() {
            "there is no such item"
        } else {
            "the item was deleted; to write it anew hand in the context of this answer"
        };
        let mut refusal = Self::new(Code::NotFound, message);
        refusal.about.token = token;
        refusal
    }

    /// The same refusal, naming the write that it is about.
    pub(super) fn of_write(mut self, write_id: WriteId) -> Self {
        self.about.write_id = Some(write_id);
        self
    }

    /// The answer. The view names the nodes that hold copies.
    pub(super) fn into_response(self, view: Option<&View>) -> Response {
        let About { stored, write_id, token, retry_after_ms } = *self.about;
        let stored = (!stored.is_empty()).then(|| StoredJson::of(&stored, view));
        let write_id = write_id.map(|id| id.to_string());
        let error = ErrorJson {
            code: self.code.as_str(),
            message: &self.message,
            retryable: self.code.is_retryable(),
            stored,
            write_id: write_id.as_deref(),
            retry_after_ms: (retry_after_ms > 0).then_some(retry_after_ms),
        };
        let mut response = json(self.code.status(), &Wrapped { error });
        let headers = response.headers_mut();
        if let Some(write_id) = write_id {
            headers.insert(super::parameters::WRITE_ID, header_of(write_id));
        }
        token_header(headers, &token);
        match self.code {
            Code::Failed(FailureCode::Overloaded) => {
                headers.insert(RETRY_AFTER, retry_after_ms.div_ceil(1_000).max(RETRY_AFTER_SECONDS_MIN).into());
            }
            Code::NoSuchMethod(allow) => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Code::NotAuthenticated(challenge) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Code::HeadersTooLarge | Code::BodyTimedOut => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Code::Failed(_) | Code::NotFound | Code::NoSuchPath | Code::NotReady | Code::Internal => {}
        }
        response
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let mut refusal = Self::failed(failure.code, failure.message);
        refusal.about.stored = failure.stored;
        refusal.about.retry_after_ms = failure.retry_after_ms;
        refusal
    }
}

#[derive(Serialize)]
struct Wrapped<'a> {
    error: ErrorJson<'a>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    code: &'a str,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<StoredJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_id: Option<&'a str>,
    /// When to ask again, for whoever is faster than a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u32>,
}
