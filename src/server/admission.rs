//! Admission: how many requests, and bytes of them, a node takes in before it says "slower".
//!
//! ```text
//!   frame --ticket--> inbox, other shards, machine, fsync --answer handed to its lane--> ticket torn
//!      \-- no ticket: answered "overloaded", with when to ask again; the frame is dropped, nothing was begun
//! ```
//!
//! A ticket counts a request, and the bytes of its frame, against its session and against the node, from the moment
//! that it was read until its answer was handed over or nobody is there to take it. Clients are refused first: members
//! may have twice as much under way, so that writes which were admitted elsewhere still find their replicas here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::protocol::types::limits::VALUE_BYTES_MAX;
use crate::protocol::wire::Failure;

/// Requests of a node at once, of clients: as many as one of its shards carries out.
pub(crate) const NODE_REQUESTS_MAX: usize = 16_384;
/// Bytes of their frames: 128 of the usual largest values. A frame that is taken may be the one that goes beyond.
pub(crate) const NODE_REQUEST_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Requests of one client's session at once: a quarter of the node, so that no client can be alone on it.
pub(crate) const SESSION_REQUESTS_MAX: usize = 4_096;
/// Bytes of their frames: two of the largest values that a node can be configured for.
pub(crate) const SESSION_REQUEST_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX;
/// Bytes of answers that all sessions of a node leave unread together (`transport::Purse`).
pub(crate) const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// When to ask again: what is under way takes some milliseconds each.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client, an administrator or the HTTP door.
    Client,
    /// A member.
    Member,
}

/// What a node has taken in. Clones are the same account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    node: Arc<Account>,
    refused: Arc<AtomicU64>,
}

/// Requests and their bytes.
#[derive(Debug, Default)]
struct Account {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// One session's part of it.
#[derive(Debug)]
pub(crate) struct SessionAdmission {
    all: Admission,
    session: Arc<Account>,
    asker: Asker,
}

/// A request that was admitted, until its answer is handed over.
#[derive(Debug)]
pub(crate) struct Ticket {
    node: Arc<Account>,
    session: Arc<Account>,
    bytes: usize,
}

impl Admission {
    /// A session begins.
    pub(crate) fn session(&self, asker: Asker) -> SessionAdmission {
        SessionAdmission { all: self.clone(), session: Arc::default(), asker }
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Bytes of requests that are admitted and not answered.
    pub(crate) fn bytes(&self) -> usize {
        self.node.bytes.load(Ordering::Relaxed)
    }
}

impl SessionAdmission {
    /// A ticket for a request of so many bytes.
    ///
    /// # Errors
    /// What there is too much of, and when to ask again.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Ticket, Failure> {
        let (session, node) = match self.asker {
            Asker::Client => (Some((SESSION_REQUESTS_MAX, SESSION_REQUEST_BYTES_MAX)), 1),
            // A member's lanes are bounded by its own queues, and what it sends was admitted there.
            Asker::Member => (None, 2),
        };
        let refused = match session {
            Some((requests, bytes)) => self.session.over(requests, bytes, "this connection"),
            None => None,
        };
        let refused = refused
            .or_else(|| self.all.node.over(node * NODE_REQUESTS_MAX, node * NODE_REQUEST_BYTES_MAX, "this node"));
        if let Some(text) = refused {
            self.all.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::overloaded(text, RETRY_AFTER));
        }
        self.session.add(bytes);
        self.all.node.add(bytes);
        Ok(Ticket { node: self.all.node.clone(), session: self.session.clone(), bytes })
    }
}

impl Account {
    /// Why no more is taken, if there is a reason.
    fn over(&self, requests_max: usize, bytes_max: usize, whose: &str) -> Option<String> {
        let (requests, bytes) = (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        (requests >= requests_max || bytes >= bytes_max).then(|| {
            format!(
                "{requests} requests with {bytes} bytes of {whose} are under way; the limits are {requests_max} and \
                 {bytes_max}; ask again, slower"
            )
        })
    }

    fn add(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session.remove(self.bytes);
        self.node.remove(self.bytes);
    }
}

const _: () = assert!(SESSION_REQUESTS_MAX * 4 <= NODE_REQUESTS_MAX);
const _: () = assert!(SESSION_REQUEST_BYTES_MAX * 4 <= NODE_REQUEST_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::wire::FailureCode;

    #[test]
    fn session_is_bounded_in_requests_and_in_bytes_and_others_go_on() {
        let admission = Admission::default();
        let (one, other) = (admission.session(Asker::Client), admission.session(Asker::Client));
        let tickets: Vec<Ticket> = (0..SESSION_REQUESTS_MAX).map(|_| one.admit(100).unwrap()).collect();
        let failure = one.admit(100).unwrap_err();
        assert_eq!((failure.code, failure.retry_after_ms), (FailureCode::Overloaded, 100));
        assert!(failure.message.contains("4096 requests") && failure.message.contains("this connection"), "{failure}");
        assert!(other.admit(100).is_ok());
        drop(tickets);
        let large = [(); 2].map(|()| one.admit(VALUE_BYTES_MAX).unwrap());
        assert!(one.admit(1).is_err());
        drop(large);
        assert!(one.admit(1).is_ok());
        assert_eq!((admission.bytes(), admission.refused()), (0, 2));
    }

    #[test]
    fn clients_are_refused_before_members() {
        let admission = Admission::default();
        let clients: Vec<_> = (0..9).map(|_| admission.session(Asker::Client)).collect();
        let member = admission.session(Asker::Member);
        let half = SESSION_REQUEST_BYTES_MAX / 2;
        let mut held: Vec<Ticket> =
            clients[..8].iter().flat_map(|c| [c.admit(half).unwrap(), c.admit(half).unwrap()]).collect();
        let failure = clients[8].admit(1).unwrap_err();
        assert!(failure.message.contains("this node"), "{failure}");
        while admission.bytes() < 2 * NODE_REQUEST_BYTES_MAX {
            held.push(member.admit(half).unwrap());
        }
        assert!(member.admit(1).is_err());
    }
}
