//! What makes a connection a session: TLS, belief, and a hello in each direction.
//!
//! ```text
//!   connecting                         accepting
//!     TLS 1.3, certificates of both ------ policy: is this identity believed?
//!     opens the first lane, hello -------> checks versions, cluster, node
//!     checks the same <------------------- hello
//! ```
//!
//! Whoever finds something wrong closes the connection with the reason as text. The other end shows it, so both logs
//! name the cause. All of it has one deadline: a peer that says nothing costs a connection for 5 s.

use std::time::Duration;

use bytes::Buf;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{Instant, timeout_at};

use super::closing::explain;
use super::session::{Peer, Session, SessionError, Shown, Terms};
use super::settings::{Purpose, widen};
use super::tally::{Event, Tally};
use crate::pki::{Identity, PeerError, Role, tls::SERVER_NAME};
use crate::protocol::ring::LayoutId;
use crate::protocol::types::NodeId;
use crate::protocol::wire::{Frame, FrameDecoder, Header, Hello, Kind, WireError, decode_control, encode_control};

/// Largest hello, bytes: 1,000 shard ports and 1,000 live layouts would fit. It is read before much is known of the
/// peer.
const HELLO_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a frame's length field.
const LENGTH_BYTES: usize = 4;

/// Decides whether a peer is believed. A closure that looks at the identity is one.
pub trait Policy {
    /// Is this identity let in at all, now? An error's text is what the peer is told. Asked before any frame is read.
    fn believe(&self, identity: &Identity) -> Result<(), String>;

    /// Is it let in with this hello? For what the certificate cannot tell: two sessions of one node with different
    /// disks.
    fn welcome(&self, identity: &Identity, hello: &Hello) -> Result<(), String> {
        let _: (&Identity, &Hello) = (identity, hello);
        Ok(())
    }
}

impl<F: Fn(&Identity) -> Result<(), String>> Policy for F {
    fn believe(&self, identity: &Identity) -> Result<(), String> {
        self(identity)
    }
}

/// Makes an incoming connection a session, or closes it.
pub async fn accept(
    incoming: quinn::Incoming,
    our_hello: &Hello,
    policy: &impl Policy,
    terms: Terms,
    tally: &Tally,
) -> Result<Session, SessionError> {
    let end = Instant::now() + terms.deadline;
    let result = accept_until(incoming, our_hello, policy, terms, end).await;
    tally.count(match &result {
        Ok(_) => Event::Session,
        Err(error) if error.is_malformed() => Event::Malformed,
        Err(_) => Event::Refused,
    });
    result
}

async fn accept_until(
    incoming: quinn::Incoming,
    our_hello: &Hello,
    policy: &impl Policy,
    terms: Terms,
    end: Instant,
) -> Result<Session, SessionError> {
    let lost = |error| SessionError::Lost(explain(&error));
    let connecting = incoming.accept().map_err(lost)?;
    let connection =
        timeout_at(end, connecting).await.map_err(|_| SessionError::Unreachable(terms.deadline))?.map_err(lost)?;
    let greeting = async {
        let shown = Shown::by(&connection)?;
        let identity = shown.identity.clone();
        policy.believe(&identity).map_err(SessionError::NotBelieved)?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(lost)?;
        let hello = read_hello(&mut receive).await?;
        let version = compare(our_hello, &hello, &identity)?;
        policy.welcome(&identity, &hello).map_err(SessionError::NotBelieved)?;
        write_hello(&mut send, our_hello).await?;
        Ok((Peer::new(connection.clone(), shown, hello, version), send, receive))
    };
    let (peer, send, receive) = finish(&connection, end, terms.deadline, greeting).await?;
    if terms.purpose != Purpose::Control && peer.node().is_some() {
        widen(&connection);
    }
    Ok(Session { peer, terms, send, receive, purse: None, renewals: None })
}

/// Connects and makes the connection a session, or closes it. The TLS configuration decides whom to believe; `expected`
/// is compared with certificate and hello once more. The address is in no error: whoever asked knows it.
pub async fn connect(
    endpoint: &quinn::Endpoint,
    config: quinn::ClientConfig,
    address: std::net::SocketAddr,
    expected: Option<NodeId>,
    our_hello: &Hello,
    terms: Terms,
) -> Result<Session, SessionError> {
    let end = Instant::now() + terms.deadline;
    let lost = |error| SessionError::Lost(explain(&error));
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| SessionError::Connect(error.to_string()))?;
    let connection =
        timeout_at(end, connecting).await.map_err(|_| SessionError::Unreachable(terms.deadline))?.map_err(lost)?;
    let greeting = async {
        let shown = Shown::by(&connection)?;
        let identity = shown.identity.clone();
        let (mut send, mut receive) = connection.open_bi().await.map_err(lost)?;
        write_hello(&mut send, our_hello).await?;
        let hello = read_hello(&mut receive).await?;
        let version = compare(our_hello, &hello, &identity)?;
        check_expected(expected, &identity)?;
        Ok((Peer::new(connection.clone(), shown, hello, version), send, receive))
    };
    let (peer, send, receive) = finish(&connection, end, terms.deadline, greeting).await?;
    Ok(Session { peer, terms, send, receive, purse: None, renewals: None })
}

/// Awaits a greeting until its end; closes the connection with the reason when it fails.
async fn finish<T>(
    connection: &Connection,
    end: Instant,
    deadline: Duration,
    greeting: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    let result = timeout_at(end, greeting).await.unwrap_or(Err(SessionError::HelloLate(deadline)));
    if let Err(error) = &result {
        error.end(connection);
    }
    result
}

async fn write_hello(send: &mut SendStream, hello: &Hello) -> Result<(), SessionError> {
    let header = Header::new(Kind::Hello, 0, 0, LayoutId::default());
    let frame = Frame::new(header, encode_control(hello)).to_bytes();
    send.write_chunk(frame).await.map_err(|error| match error {
        quinn::WriteError::ConnectionLost(error) => SessionError::Lost(explain(&error)),
        error => SessionError::Lost(format!("the peer did not take the hello: {error}")),
    })
}

/// Reads exactly the first frame, so that whoever reads the lane afterwards starts with the second.
async fn read_hello(receive: &mut RecvStream) -> Result<Hello, SessionError> {
    let mut length = [0; LENGTH_BYTES];
    receive.read_exact(&mut length).await.map_err(read_error)?;
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.extend(&length);
    // Refuses a length over the limit before anything is allocated for it.
    decoder.next_frame()?;
    let bytes = usize::try_from(length.as_slice().get_u32()).unwrap_or(usize::MAX);
    assert!(bytes <= HELLO_BYTES_MAX, "the decoder has refused a longer one");
    let mut rest = vec![0; bytes];
    receive.read_exact(&mut rest).await.map_err(read_error)?;
    decoder.extend(&rest);
    let frame = decoder.next_frame()?.ok_or(WireError::Truncated("hello"))?;
    match frame.kind() {
        Some(Kind::Hello) => Ok(decode_control(&frame.body, "hello")?),
        _ => Err(SessionError::NotHello(frame.header.kind)),
    }
}

fn read_error(error: quinn::ReadExactError) -> SessionError {
    match error {
        quinn::ReadExactError::FinishedEarly(_) => WireError::Truncated("hello").into(),
        quinn::ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error)) => {
            SessionError::Lost(explain(&error))
        }
        quinn::ReadExactError::ReadError(error) => SessionError::Lost(format!("the peer gave up the lane: {error}")),
    }
}

/// Whether two hellos go together, and the version that both ends speak.
fn compare(ours: &Hello, theirs: &Hello, identity: &Identity) -> Result<u8, SessionError> {
    let version = ours.version_max.min(theirs.version_max);
    if version < ours.version_min.max(theirs.version_min) {
        return Err(SessionError::Versions {
            ours: (ours.version_min, ours.version_max),
            theirs: (theirs.version_min, theirs.version_max),
        });
    }
    if let (Some(ours), Some(theirs)) = (ours.cluster, theirs.cluster)
        && ours != theirs
    {
        return Err(SessionError::Cluster { ours, theirs });
    }
    let certified = match identity.role {
        Role::Node(node) => Some(node),
        Role::Client(_) | Role::Admin(_) => None,
    };
    if theirs.node != certified {
        return Err(SessionError::NotCertified { hello: theirs.node, certificate: identity.role.clone() });
    }
    Ok(version)
}

fn check_expected(expected: Option<NodeId>, identity: &Identity) -> Result<(), SessionError> {
    match (expected, &identity.role) {
        (Some(expected), Role::Node(found)) if expected == *found => Ok(()),
        (Some(expected), found) => Err(SessionError::OtherNode { expected, found: found.clone() }),
        (None, Role::Node(_)) => Ok(()),
        (None, found @ (Role::Client(_) | Role::Admin(_))) => Err(PeerError::NotNode(found.clone()).into()),
    }
}
