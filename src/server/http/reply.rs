//! What a request that was carried out is answered with.
//!
//! A single version is shown as it is: `curl` prints the value. Several are shown with status 300, "multiple choices",
//! because a client that took the first one for the value would throw the others away with its next write. Whoever
//! asks for `application/json` gets one form for both, with 200.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::memory::Charge;
use super::parameters::{CONTEXT, WRITE_ID};
use crate::protocol::shard::View;
use crate::protocol::types::WallTime;
use crate::protocol::version::{Context, Version};
use crate::protocol::wire::{GetReply, PutReply, StoredCopy};

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

/// The header that says how many versions there are.
const VERSIONS: &str = "quorate-versions";

/// Where a write is.
#[derive(Debug, Serialize)]
pub(super) struct StoredJson {
    nodes: Vec<String>,
    primaries: usize,
    fallbacks: usize,
    fsynced: usize,
}

impl StoredJson {
    /// The copies, with the roster's names of their nodes. A node that left meanwhile is shown by its id.
    pub(super) fn of(copies: &[StoredCopy], view: Option<&View>) -> Self {
        let name = |copy: &StoredCopy| view.map_or_else(|| copy.node.to_string(), |v| v.roster.name_of(copy.node));
        let primaries = copies.iter().filter(|copy| copy.primary).count();
        Self {
            nodes: copies.iter().map(name).collect(),
            primaries,
            fallbacks: copies.len() - primaries,
            fsynced: copies.iter().filter(|copy| copy.fsynced).count(),
        }
    }
}

#[derive(Serialize)]
struct WrittenJson {
    context: String,
    dot: String,
    write_id: String,
    versions: u16,
    stored: StoredJson,
}

/// The answer to a put or a delete.
pub(super) fn written(reply: &PutReply, view: Option<&View>) -> Response {
    let body = WrittenJson {
        context: Context::token_to_text(&reply.token),
        dot: reply.dot.to_string(),
        write_id: reply.write_id.to_string(),
        versions: reply.versions,
        stored: StoredJson::of(&reply.stored.copies, view),
    };
    let mut response = json(StatusCode::OK, &body);
    response.headers_mut().insert(WRITE_ID, header_of(body.write_id));
    token_header(response.headers_mut(), &reply.token);
    response
}

#[derive(Serialize)]
struct VersionsJson {
    context: String,
    versions: Vec<VersionJson>,
}

#[derive(Serialize)]
struct VersionJson {
    value: String,
    dot: String,
    written_at: String,
}

impl VersionJson {
    fn of(version: &Version) -> Self {
        Self {
            value: STANDARD.encode(&version.value),
            dot: version.dot.to_string(),
            written_at: rfc3339(version.hlc.wall()),
        }
    }
}

/// About how many bytes the answer to a read needs at once: the values, and their base64 in the JSON form.
pub(super) fn shown_bytes(reply: &GetReply, as_json: bool) -> usize {
    let values: usize = reply.versions.iter().map(|version| version.value.len()).sum();
    if as_json || reply.versions.len() > 1 { values + values.div_ceil(3) * 4 } else { values }
}

/// The answer to a read that found something. The caller has verified the versions, and took memory for
/// [`shown_bytes`] of them: it is given back when the socket has taken the answer.
pub(super) fn shown(reply: GetReply, as_json: bool, charge: Charge) -> Response {
    let GetReply { token, versions } = reply;
    let count = versions.len();
    let (status, kind, body) = match (<[Version; 1]>::try_from(versions), as_json) {
        (Ok([only]), false) => (StatusCode::OK, OCTETS, only.value),
        (Ok(only), true) => (StatusCode::OK, JSON, versions_text(&token, &only)),
        (Err(many), true) => (StatusCode::OK, JSON, versions_text(&token, &many)),
        (Err(many), false) => (StatusCode::MULTIPLE_CHOICES, JSON, versions_text(&token, &many)),
    };
    let mut response = typed(status, kind, charge.hold(body));
    response.headers_mut().insert(VERSIONS, HeaderValue::from(count));
    token_header(response.headers_mut(), &token);
    response
}

fn versions_text(token: &[u8], versions: &[Version]) -> Bytes {
    let versions = versions.iter().map(VersionJson::of).collect();
    text_of(&VersionsJson { context: Context::token_to_text(token), versions })
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    typed(status, JSON, text_of(body))
}

/// An answer in words, for `curl`.
pub(super) fn text(kind: &'static str, body: impl Into<Body>) -> Response {
    typed(StatusCode::OK, kind, body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// JSON with the line end that a terminal likes.
fn text_of(body: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(body).expect("our answers have text keys and no floats, which is all it refuses");
    text.push(b'\n');
    text.into()
}

/// What every answer says: do not keep it (its context ages at once), do not guess its type.
pub(super) fn finish(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
}

/// Says the context, unless there is none.
pub(super) fn token_header(headers: &mut HeaderMap, token: &[u8]) {
    if !token.is_empty() {
        headers.insert(CONTEXT, header_of(Context::token_to_text(token)));
    }
}

/// A header out of a text that is hexadecimal or base64url.
pub(super) fn header_of(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("hexadecimal digits and base64url are visible ASCII")
}

/// 9999-12-31T23:59:59.999Z, the last time that RFC 3339 can write. A stamp is a peer's word and may be anything.
const LAST: WallTime = WallTime::from_millis(253_402_300_799_999);

fn rfc3339(wall: WallTime) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(wall.min(LAST).as_millis());
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_beyond_the_calendar_are_shown_as_its_end() {
        assert_eq!(rfc3339(WallTime::from_millis(1_753_000_000_123)), "2025-07-20T08:26:40.123Z");
        assert_eq!(rfc3339(LAST), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(WallTime::from_millis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
