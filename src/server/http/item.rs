//! Items: a request for `/v1/kv/..` becomes a message to the shard that coordinates it, and its answer HTTP.
//!
//! ```text
//!   PUT      Put, want Value        context from Quorate-Context
//!   DELETE   Put, want Delete       when the client says what it has read,
//!                  want DeleteSeen  when it does not: the coordinator reads a quorum and deletes what that saw
//!   GET      Get                    HEAD is GET whose body is dropped on the way out
//! ```
//!
//! A write gets its id here when it has none, and every answer about it carries the id, so that a client may repeat
//! the request with the same id and cannot write twice.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::header::CONTENT_RANGE;
use axum::http::request::Parts;
use axum::http::{Method, Request};
use axum::response::Response;
use bytes::Bytes;

use super::parameters::{Parameters, Verb, context_of, wants_json, write_id_of};
use super::refusal::{Code, Refusal};
use super::router::Desk;
use super::{Door, body, path, reply};
use crate::protocol::types::WriteId;
use crate::protocol::version::checksum;
use crate::protocol::wire::{
    Failure, FailureCode, Frame, GetReply, GetRequest, Kind, PutReply, PutRequest, Want, WireError, decode_control,
};

/// What can be done with an item.
const METHODS: &str = "GET, HEAD, PUT, DELETE";

/// A node answers within the budget by itself; past this much more the door answers for it.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// Serves `/v1/kv/..`.
pub(super) async fn serve<D: Door>(State(desk): State<Arc<Desk<D>>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let served = match desk.guard.check_data(&parts.headers) {
        Err(refusal) => Err(refusal),
        Ok(()) => match parts.method {
            Method::GET | Method::HEAD => read(&desk, &parts).await,
            Method::PUT | Method::DELETE => write(&desk, &parts, body).await,
            _ => Err(Refusal::new(Code::NoSuchMethod(METHODS), format!("an item knows {METHODS}"))),
        },
    };
    served.unwrap_or_else(|refusal| refusal.into_response(desk.door.view().as_deref()))
}

async fn read<D: Door>(desk: &Desk<D>, parts: &Parts) -> Result<Response, Refusal> {
    let address = path::address_of(parts.uri.path())?;
    let parameters = Parameters::of(parts.uri.query(), Verb::Read, desk.request_timeout)?;
    let request = GetRequest { address: address.clone(), r: parameters.quorum, strictness: parameters.strictness };
    let mut message = Vec::with_capacity(request.body_bytes());
    request.encode(&mut message);
    let answer = ask(desk, (Kind::Get, Kind::GetReply), message.into(), parameters.budget).await?;
    let answer = GetReply::decode(answer).map_err(senseless)?;
    if let Some(damaged) = answer.versions.iter().find(|version| !version.is_intact(&address)) {
        let dot = damaged.dot;
        tracing::error!(?address, %dot, "a version does not match its end-to-end checksum; it is not shown");
        let text = format!(
            "the version {dot} does not match its checksum: it was damaged on its way to this door, and is not shown; \
             ask again, or another node"
        );
        return Err(Refusal::failed(FailureCode::Unreadable, text));
    }
    if answer.versions.is_empty() {
        return Err(Refusal::not_found(answer.token));
    }
    let as_json = wants_json(&parts.headers);
    let charge = desk.reply_memory.charge(reply::shown_bytes(&answer, as_json))?;
    Ok(reply::shown(answer, as_json, charge))
}

async fn write<D: Door>(desk: &Desk<D>, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let write_id = match write_id_of(&parts.headers)? {
        Some(brought) => brought,
        None => mint()?,
    };
    let written = write_as(desk, parts, body, write_id).await;
    written.map_err(|refusal| refusal.of_write(write_id))
}

async fn write_as<D: Door>(desk: &Desk<D>, parts: &Parts, body: Body, write_id: WriteId) -> Result<Response, Refusal> {
    let address = path::address_of(parts.uri.path())?;
    let parameters = Parameters::of(parts.uri.query(), Verb::Write, desk.request_timeout)?;
    let token = context_of(&parts.headers)?;
    if parts.headers.contains_key(CONTENT_RANGE) {
        return Err(bad("a value is written whole; leave Content-Range out"));
    }
    let deletes = parts.method == Method::DELETE;
    let want = match (deletes, token.is_empty()) {
        (false, _) => Want::Value,
        (true, false) => Want::Delete,
        (true, true) => Want::DeleteSeen,
    };
    if deletes && body.size_hint().lower() > 0 {
        return Err(bad("a delete has no body; use PUT to write a value"));
    }
    let limit = if deletes { 0 } else { desk.door.value_bytes_max() };
    let held = body::read(body, limit, &desk.value_memory, desk.deadlines.body).await?;
    let request = PutRequest {
        checksum: checksum(&address, write_id, deletes, &held.value),
        w: parameters.quorum,
        strictness: parameters.strictness,
        value: held.value.clone(),
        address,
        write_id,
        want,
        token,
    };
    let mut message = Vec::with_capacity(request.body_bytes());
    request.encode(&mut message);
    let answer = ask(desk, (Kind::Put, Kind::PutReply), message.into(), parameters.budget).await?;
    let answer = PutReply::decode(answer).map_err(senseless)?;
    Ok(reply::written(&answer, desk.door.view().as_deref()))
}

/// Asks the node, and insists on the kind of answer that belongs to the question.
async fn ask<D: Door>(
    desk: &Desk<D>,
    (question, expected): (Kind, Kind),
    body: Bytes,
    budget: Duration,
) -> Result<Bytes, Refusal> {
    let asked = tokio::time::timeout(budget + ANSWER_GRACE, desk.door.ask(question, body, budget)).await;
    let Ok(answer) = asked else {
        let text = format!(
            "the node did not answer in {} ms; a write may still surface; retry it with the same write id",
            budget.as_millis()
        );
        return Err(Refusal::failed(FailureCode::TimedOut, text));
    };
    let answer: Frame = answer?;
    match answer.kind() {
        Some(kind) if kind == expected => Ok(answer.body),
        Some(Kind::Error) => {
            let failure: Failure = decode_control(&answer.body, "error").map_err(senseless)?;
            Err(failure.into())
        }
        _ => {
            let kind = answer.header.kind;
            tracing::error!(?question, kind, "the node answered the door with the wrong kind of frame");
            Err(Refusal::new(Code::Internal, format!("the node answered with frame kind {kind}; report this")))
        }
    }
}

/// The node's answer cannot be understood.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn senseless(error: WireError) -> Refusal {
    tracing::error!(%error, "the node's answer to the door is malformed");
    Refusal::new(Code::Internal, format!("the node's answer is malformed ({error}); report this"))
}

fn mint() -> Result<WriteId, Refusal> {
    let mut bytes = [0; 16];
    let minted = getrandom::fill(&mut bytes).map(|()| WriteId::new(u128::from_be_bytes(bytes)));
    minted.map_err(|error| {
        let text = format!("no random write id could be made ({error}); send one in Quorate-Write-Id");
        Refusal::new(Code::Internal, text)
    })
}

fn bad(message: &str) -> Refusal {
    Refusal::failed(FailureCode::BadInput, message)
}
