//! Who may come in: judged by a request's headers alone, before a byte of its body is read.
//!
//! Three doors could be left open by trusting loopback, and each has its lock:
//!
//! | attack | lock |
//! |---|---|
//! | a page rebinds its own host name to 127.0.0.1 and reads as its own site | the Host must be a configured name |
//! | a page sends a form, an image or a script request here | a foreign Origin, or a Sec-Fetch-Site of another site |
//! | another user of the machine connects | the bearer token, the unix socket's mode, or a client certificate |
//!
//! Programs such as curl send neither Origin nor Sec-Fetch-Site and pass. CORS is never granted: OPTIONS is refused
//! like every other method that a place does not have.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

use super::parameters::once;
use super::refusal::Refusal;
use super::token::Token;
use crate::config::server::HOSTS_ALWAYS;
use crate::protocol::wire::FailureCode;

/// The header by which browsers say whose page caused a request.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a listener serves data.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// Not here; where or how instead.
    Closed(String),
    /// To whoever could connect.
    Open,
    /// To whoever shows the token.
    Token(Token),
}

/// The locks of one listener.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    hosts: Vec<String>,
    scheme: &'static str,
    access: Access,
}

impl Guard {
    /// The guard of a listener at `ip` (none for a unix socket). An address that the operator wrote down is a name too:
    /// no foreign page can have it.
    pub(super) fn new(hosts: &[String], ip: Option<IpAddr>, scheme: &'static str, access: Access) -> Self {
        let own = ip.filter(|ip| !ip.is_unspecified()).map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let always = HOSTS_ALWAYS.iter().map(|host| (*host).to_owned());
        Self { hosts: always.chain(own).chain(hosts.iter().cloned()).collect(), scheme, access }
    }

    /// Checks where a request says that it goes and comes from.
    pub(super) fn check_origin(&self, request: &Parts) -> Result<(), Refusal> {
        let host = once(&request.headers, HOST.as_str())?;
        if host.is_none() && request.version > Version::HTTP_10 {
            return Err(bad("the request has no Host header; HTTP/1.1 needs one, such as Host: localhost"));
        }
        for authority in [host, request.uri.authority().map(Authority::as_str)].into_iter().flatten() {
            self.check_host(authority)?;
        }
        if let Some(origin) = once(&request.headers, ORIGIN.as_str())?
            && !self.is_own(origin, host)
        {
            let text = format!(
                "the request comes from a page of {:?}; pages of other origins may not use this door: call it from a \
                 program, without an Origin header",
                shorten(origin)
            );
            return Err(not_allowed(text));
        }
        match once(&request.headers, SEC_FETCH_SITE)? {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err(not_allowed(
                "a browser sent this request for a page of another site or port (Sec-Fetch-Site); such pages may not \
                 use this door: open the address itself, or call it from a program",
            )),
        }
    }

    fn check_host(&self, authority: &str) -> Result<(), Refusal> {
        let Some(name) = name_of(authority) else {
            return Err(bad(format!("the Host {:?} is malformed; send NAME or NAME:PORT", shorten(authority))));
        };
        let name = name.to_ascii_lowercase();
        if self.hosts.contains(&name) {
            return Ok(());
        }
        let text = format!(
            "the Host {:?} is not a name of this node; use one of {}, or add it to hosts under [http] of its \
             configuration",
            shorten(&name),
            self.hosts.join(", ")
        );
        Err(not_allowed(text))
    }

    /// Whether a page's origin is this very door.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let own = origin.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case(self.scheme));
        matches!((own, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
    }

    /// Checks that a request may touch data here.
    pub(super) fn check_data(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.access {
            Access::Open => Ok(()),
            Access::Token(token) => token.check(headers),
            Access::Closed(way_out) => Err(not_allowed(way_out.clone())),
        }
    }
}

/// The host of `host` or `host:port`.
fn name_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at_checked(end)?;
    let digits = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let fine = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    (fine && !name.is_empty()).then_some(name)
}

/// At most so much of a foreign text goes into an answer.
const SHOWN_CHARACTERS_MAX: usize = 64;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::failed(FailureCode::BadInput, message)
}

fn not_allowed(message: impl Into<String>) -> Refusal {
    Refusal::failed(FailureCode::NotAllowed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_what_stands_before_the_port() {
        for (authority, name) in [
            ("localhost", Some("localhost")),
            ("localhost:7480", Some("localhost")),
            ("[::1]:7480", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("a:b", None),
            ("a:123456", None),
            ("[::1", None),
            ("[::1]x", None),
            ("user@localhost", Some("user@localhost")),
            (":80", None),
            ("", None),
        ] {
            assert_eq!(name_of(authority), name, "{authority}");
        }
    }

    #[test]
    fn own_address_is_a_name_and_any_address_is_not() {
        let guard = |ip: &str| Guard::new(&[], Some(ip.parse().unwrap()), "https", Access::Open);
        assert!(guard("10.0.0.1").check_host("10.0.0.1:7443").is_ok());
        assert!(guard("fd00::1").check_host("[fd00::1]:7443").is_ok());
        assert!(guard("10.0.0.1").check_host("10.0.0.2:7443").is_err());
        assert!(guard("0.0.0.0").check_host("0.0.0.0").is_err());
    }
}
