//! What a request asks for beside its path: the query, and the headers that are ours.
//!
//! | name | on | means |
//! |---|---|---|
//! | `r` | GET, HEAD | replicas that must answer, 1 to N |
//! | `w` | PUT, DELETE | copies that must be stored, 1 to N |
//! | `quorum` | all | `sloppy` (default) or `strict` |
//! | `timeout_ms` | all | time for the request, 1 to 60,000 |
//! | `Quorate-Context` | PUT, DELETE | what the client has read of the item |
//! | `Quorate-Write-Id` | PUT, DELETE | the client's name for the write: 32 hexadecimal digits |
//!
//! A name that is not known is refused: somebody who writes `?timeout=50` believes that it does something.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::path::bad_escape;
use super::refusal::Refusal;
use crate::protocol::types::limits::{BUDGET_MS_MAX, REPLICAS_MAX};
use crate::protocol::types::{Strictness, WriteId};
use crate::protocol::version::Context;
use crate::protocol::wire::FailureCode;

/// The header that carries a context, in both directions.
pub(super) const CONTEXT: &str = "quorate-context";
/// The header that carries a write id, in both directions.
pub(super) const WRITE_ID: &str = "quorate-write-id";

/// What a request does, hence which number of its quorum it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// It reads: `r`.
    Read,
    /// It writes: `w`.
    Write,
}

impl Verb {
    const fn quorum(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Write => "w",
        }
    }
}

/// A query, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `r` or `w`; 0 for the node's default, which a client cannot write.
    pub(super) quorum: u8,
    /// Whether fallbacks may help.
    pub(super) strictness: Strictness,
    /// Time for the request.
    pub(super) budget: Duration,
}

impl Parameters {
    /// Reads a query, the part of the target behind the question mark.
    pub(super) fn of(query: Option<&str>, verb: Verb, budget: Duration) -> Result<Self, Refusal> {
        let (mut quorum, mut strictness, mut timeout) = (None, None, None);
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let doubled = match name.as_str() {
                name if name == verb.quorum() => quorum.replace(quorum_of(verb, &value)?).is_some(),
                "quorum" => strictness.replace(strictness_of(&value)?).is_some(),
                "timeout_ms" => timeout.replace(timeout_of(&value)?).is_some(),
                unknown => {
                    let known = known(verb);
                    return Err(bad(format!("the query has the unknown name {:?}; {known}", shorten(unknown))));
                }
            };
            if doubled {
                return Err(bad(format!("the query names {name} twice; {}, each at most once", known(verb))));
            }
        }
        Ok(Self {
            quorum: quorum.unwrap_or(0),
            strictness: strictness.unwrap_or(Strictness::Sloppy),
            budget: timeout.unwrap_or(budget),
        })
    }
}

fn known(verb: Verb) -> String {
    let what = match verb {
        Verb::Read => "a read",
        Verb::Write => "a write",
    };
    format!("{what} knows {}, quorum and timeout_ms", verb.quorum())
}

fn decode(text: &str) -> Result<String, Refusal> {
    if let Some(found) = bad_escape(text) {
        return Err(bad(format!("the query has invalid percent-encoding at {found:?}")));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| bad("the query is not UTF-8".to_owned()))
}

fn quorum_of(verb: Verb, value: &str) -> Result<u8, Refusal> {
    let name = verb.quorum();
    let least = match verb {
        Verb::Read => "a read asks at least 1 replica",
        Verb::Write => "a write needs at least 1 copy",
    };
    match value.parse::<u8>() {
        Ok(0) => Err(bad(format!("{name} = 0 is out of range; {least}"))),
        // N itself is the cluster's: the node refuses what is between it and this.
        Ok(number) if usize::from(number) <= REPLICAS_MAX => Ok(number),
        _ => Err(bad(format!(
            "{name} = {:?} is out of range; use 1 to N, the cluster's replicas, of which there are at most \
             {REPLICAS_MAX}",
            shorten(value)
        ))),
    }
}

fn strictness_of(value: &str) -> Result<Strictness, Refusal> {
    match value {
        "strict" => Ok(Strictness::Strict),
        "sloppy" => Ok(Strictness::Sloppy),
        _ => Err(bad(format!("quorum = {:?} is not known; use strict or sloppy", shorten(value)))),
    }
}

fn timeout_of(value: &str) -> Result<Duration, Refusal> {
    match value.parse::<u32>() {
        Ok(millis) if (1..=BUDGET_MS_MAX).contains(&millis) => Ok(Duration::from_millis(u64::from(millis))),
        _ => Err(bad(format!("timeout_ms = {:?} is out of range; use 1 to {BUDGET_MS_MAX}", shorten(value)))),
    }
}

/// The context that a write hands in; empty for none. Only its text is judged here: its MAC is the shard's to check.
pub(super) fn context_of(headers: &HeaderMap) -> Result<Bytes, Refusal> {
    let Some(text) = once(headers, CONTEXT)? else { return Ok(Bytes::new()) };
    if text.is_empty() {
        return Err(bad("the header Quorate-Context is empty; leave it out when nothing was read".to_owned()));
    }
    Context::token_from_text(text).map_err(|error| bad(error.to_string()))
}

/// The write id that a client brought.
pub(super) fn write_id_of(headers: &HeaderMap) -> Result<Option<WriteId>, Refusal> {
    let Some(text) = once(headers, WRITE_ID)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| bad(format!("the header Quorate-Write-Id is wrong: {error}")))
}

/// Whether the client asks for the JSON form of a read.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

/// The one value of a header, when it is there.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(bad(format!("the header {name} is there more than once; send it once")));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| bad(format!("the header {name} is not visible ASCII")))
}

/// At most so much of a foreign text goes into an answer.
const SHOWN_CHARACTERS_MAX: usize = 64;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

fn bad(message: String) -> Refusal {
    Refusal::failed(FailureCode::BadInput, message)
}
