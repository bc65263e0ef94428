//! From a path to what serves it, behind the guard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONNECTION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;

use super::guard::Guard;
use super::memory::Memory;
use super::refusal::{Code, Refusal};
use super::status::StatusJson;
use super::{Deadlines, Door, item, reply};
use crate::protocol::types::limits::{KEY_BYTES_MAX, SORT_KEY_BYTES_MAX, TABLE_BYTES_MAX, VECTOR_ENTRIES_MAX};

/// Bytes of a request's target and headers together. A context has 60 bytes and 16 for each of up to 4,096 entries of
/// its vector, in base64 about 86 KiB: a client must always be able to hand back what it was given. Ordinary contexts
/// have a few hundred bytes.
pub const HEADER_BYTES_MAX: usize = 112 * 1024;

const CONTEXT_CHARACTERS_MAX: usize = (64 + VECTOR_ENTRIES_MAX * 16).div_ceil(3) * 4;
const PATH_CHARACTERS_MAX: usize = 3 * (TABLE_BYTES_MAX + KEY_BYTES_MAX + SORT_KEY_BYTES_MAX) + 16;
const OTHER_CHARACTERS_MIN: usize = 8 * 1024;
const _: () = assert!(CONTEXT_CHARACTERS_MAX + PATH_CHARACTERS_MAX + OTHER_CHARACTERS_MIN <= HEADER_BYTES_MAX);

/// What stands behind every route of one listener.
#[derive(Debug)]
pub(super) struct Desk<D> {
    pub(super) door: D,
    pub(super) guard: Guard,
    pub(super) request_timeout: Duration,
    pub(super) deadlines: Deadlines,
    pub(super) value_memory: Memory,
    pub(super) reply_memory: Memory,
}

/// All that there is, for somebody who asked for something else.
const ROUTES: &str = "/v1/kv/{table}/{key}, /v1/kv/{table}/{key}/{sort}, /v1/cluster/status, /healthz, /readyz and \
                      /metrics";
/// What can be done with everything but items.
const METHODS: &str = "GET, HEAD";

/// The routes of a listener.
pub(super) fn router<D: Door>(desk: Arc<Desk<D>>) -> Router {
    Router::new()
        .route("/healthz", any(health::<D>))
        .route("/readyz", any(readiness::<D>))
        .route("/metrics", any(metrics::<D>))
        .route("/v1/cluster/status", any(status::<D>))
        .route("/v1/kv", any(item::serve::<D>))
        .route("/v1/kv/", any(item::serve::<D>))
        .route("/v1/kv/{*address}", any(item::serve::<D>))
        .fallback(nowhere::<D>)
        .layer(middleware::from_fn_with_state(desk.clone(), admit::<D>))
        .with_state(desk)
}

/// Stands before every route: bounds the headers, asks the guard, finishes every answer and counts it.
async fn admit<D: Door>(State(desk): State<Arc<Desk<D>>>, request: Request<Body>, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (path, began) = (parts.uri.path().to_owned(), Instant::now());
    let mut response = match bound_headers(&parts).and_then(|()| desk.guard.check_origin(&parts)) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => {
            let mut response = refusal.into_response(None);
            // Whoever is not let in has no business on this connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    };
    reply::finish(response.headers_mut());
    desk.door.tally().count(&path, response.status(), began.elapsed());
    response
}

fn bound_headers(parts: &Parts) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let found = target + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    if found <= HEADER_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "the request's target and headers have {found} bytes; the limit is {HEADER_BYTES_MAX}, which is enough for \
         every context: send less beside it"
    );
    Err(Refusal::new(Code::HeadersTooLarge, text))
}

/// Everything but items is only looked at.
fn looks(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::new(Code::NoSuchMethod(METHODS), format!("this place knows {METHODS}"))),
    }
}

fn answer(answered: Result<Response, Refusal>) -> Response {
    answered.unwrap_or_else(|refusal| refusal.into_response(None))
}

const PLAIN: &str = "text/plain; charset=utf-8";
/// Prometheus' text format, by its version.
const NUMBERS: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn health<D: Door>(State(_): State<Arc<Desk<D>>>, method: Method) -> Response {
    answer(looks(&method).map(|()| reply::text(PLAIN, "ok\n")))
}

async fn readiness<D: Door>(State(desk): State<Arc<Desk<D>>>, method: Method) -> Response {
    let ready = looks(&method).and_then(|()| {
        desk.door.readiness().map_err(|why| Refusal::new(Code::NotReady, format!("this node is not ready: {why}")))
    });
    answer(ready.map(|()| reply::text(PLAIN, "ready\n")))
}

async fn metrics<D: Door>(State(desk): State<Arc<Desk<D>>>, method: Method) -> Response {
    match looks(&method) {
        Ok(()) => answer(Ok(reply::text(NUMBERS, desk.door.metrics().await))),
        Err(refusal) => answer(Err(refusal)),
    }
}

async fn status<D: Door>(State(desk): State<Arc<Desk<D>>>, method: Method) -> Response {
    answer(looks(&method).map(|()| {
        let view = desk.door.view();
        reply::json(axum::http::StatusCode::OK, &StatusJson::of(desk.door.status(), view.as_deref()))
    }))
}

async fn nowhere<D: Door>(State(_): State<Arc<Desk<D>>>) -> Response {
    answer(Err(Refusal::new(Code::NoSuchPath, format!("there is no such path; there are {ROUTES}"))))
}
