//! A node's HTTP door, as a program that has the bearer token uses it.

use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::{HeaderMap, Request};

use super::cluster::TOKEN;

/// Longer than any request may take in a node.
const TIMEOUT: Duration = Duration::from_secs(70);
/// More than any test reads.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One node's door. Clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    agent: ureq::Agent,
    pub(crate) address: SocketAddr,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Door {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT))
            .build();
        Self { agent: config.into(), address }
    }

    /// Sends a request; a body only where HTTP has one. An error is one of the connection.
    pub(crate) fn try_ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.address));
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let failed = |error: ureq::Error| format!("{method} {target}: {error}");
        let answered = if method == "PUT" {
            self.agent.run(request.body(body).map_err(|error| error.to_string())?)
        } else {
            self.agent.run(request.body(()).map_err(|error| error.to_string())?)
        };
        let (parts, mut body) = answered.map_err(failed)?.into_parts();
        let body = body.with_config().limit(BODY_BYTES_MAX).read_to_vec().map_err(failed)?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Sends a request to a node that runs.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_ask(method, target, headers, body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a place or an item.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], &[])
    }

    /// Writes an item.
    pub(crate) fn put(&self, target: &str, context: Option<&str>, value: &[u8]) -> Answer {
        let headers: Vec<_> = context.iter().map(|context| ("quorate-context", *context)).collect();
        self.ask("PUT", target, &headers, value)
    }

    /// A counter or gauge of `/metrics`, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values: Vec<f64> =
            text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        assert!(!values.is_empty(), "no metric {name} in\n{text}");
        values.iter().sum()
    }
}

/// The path of an item.
pub(crate) fn item(table: &str, key: &str) -> String {
    format!("/v1/kv/{table}/{}", utf8_percent_encode(key, NON_ALPHANUMERIC))
}

impl Answer {
    /// Fails unless the status is this one.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Fails unless it is a refusal with this status and code, whose message has all these words.
    pub(crate) fn refuses(self, status: u16, code: &str, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(self.json()["error"]["code"], code, "{self}");
        let message = self.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        for word in words {
            assert!(message.contains(word), "no {word:?} in the message of\n{self}");
        }
        self
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("our headers are ASCII"))
    }

    /// The context that it hands out.
    pub(crate) fn context(&self) -> String {
        self.header("quorate-context").unwrap_or_else(|| panic!("no context:\n{self}")).to_owned()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}\n{:?}\n{}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
