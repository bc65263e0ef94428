//! Why a connection ended, in words for an operator.
//!
//! QUIC carries a code and a text with the end of a connection. The text is ours and says what was wrong, so the side
//! that was refused can show it; the codes let a program tell the cases apart. TLS brings only an alert number over;
//! pki's own verdicts travel beside it as a sentence, and the other alerts are worded here.

use quinn::{ConnectionError, VarInt};

use super::settings::IDLE_TIMEOUT;
use crate::pki::tls;

/// Longest text that goes with the end of a connection, bytes: it has to fit into a packet of 1,200.
pub const REASON_BYTES_MAX: usize = 900;

/// What kind of end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// The process stops, or has no more use for the connection.
    Done = 0,
    /// The peer is not believed: not on the roster, removed, or a double.
    NotBelieved = 1,
    /// The hellos do not go together: versions, cluster, node.
    Hello = 2,
    /// A frame that cannot be understood.
    Malformed = 3,
    /// What had to come did not come in time.
    Deadline = 4,
}

impl CloseCode {
    /// The code as QUIC says it.
    #[must_use]
    pub const fn as_var_int(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// Ends a connection with a code and a text, which the peer's [`explain`] will show.
pub fn close(connection: &quinn::Connection, code: CloseCode, reason: &str) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    connection.close(code.as_var_int(), &reason.as_bytes()[..end]);
}

/// A sentence about the end of a connection: what happened, and where it helps, what to do.
#[must_use]
pub fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            format!("the peer ended the session (code {})", close.error_code)
        }
        ConnectionError::ApplicationClosed(close) => {
            format!("the peer ended the session, saying: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
            Some(alert) if !has_sentence(&close.reason) => {
                format!("the peer refused this end: {}", explain_alert(alert))
            }
            _ if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED => {
                "the peer refuses new connections: it is stopping, or has too many".to_owned()
            }
            _ => tls::explain(error),
        },
        ConnectionError::TransportError(refusal) => match alert(u64::from(refusal.code)) {
            Some(alert) if !has_sentence(refusal.reason.as_bytes()) => {
                format!("this end refused the peer: {} ({})", explain_alert(alert), refusal.reason)
            }
            _ => tls::explain(error),
        },
        ConnectionError::Reset => "the peer has restarted and does not know the connection any more".to_owned(),
        ConnectionError::TimedOut => {
            format!("nothing was heard from the peer for {} s", IDLE_TIMEOUT.as_secs())
        }
        ConnectionError::LocallyClosed => "the connection was closed by this end".to_owned(),
        ConnectionError::VersionMismatch => "the peer does not speak QUIC version 1".to_owned(),
        ConnectionError::CidsExhausted => "this end has no connection ids left".to_owned(),
    }
}

/// The TLS alert in a QUIC error code (RFC 9001, 4.8).
fn alert(code: u64) -> Option<u8> {
    code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())
}

/// Whether pki's own words are in the reason; it knows them again.
fn has_sentence(reason: &[u8]) -> bool {
    String::from_utf8_lossy(reason).contains("other error: ")
}

/// What a TLS alert means here (RFC 8446, 6.2; RFC 7301 for 120).
fn explain_alert(alert: u8) -> String {
    let text = match alert {
        40 => "no common TLS settings, or the certificate was not accepted",
        42 | 43 => "the certificate is damaged or of a kind that is not taken",
        44 => "the certificate was revoked",
        45 => "the certificate has expired or is not valid yet; issue a new one, and check both clocks",
        46 => "the certificate is not acceptable",
        48 => "the certificate is not signed by an authority that is trusted there; both ends need the same ca.crt",
        49 => "the certificate is valid, but access is denied",
        51 => "the handshake's signature is wrong; the key does not belong to the certificate",
        70 => "TLS 1.3 is required",
        80 => "an internal error of its TLS",
        116 => "a certificate is required; both ends must show one",
        120 => "it speaks another protocol, or another major version of this one; check the address and the port",
        other => return format!("TLS alert {other}"),
    };
    text.to_owned()
}
