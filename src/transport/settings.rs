//! The numbers of QUIC, each with its reason.
//!
//! quinn's defaults are made for a few large transfers over the internet. This is a mesh of small frames in one data
//! centre, with peers that are trusted to be correct only up to a named bound. What was measured, and the traps
//! (segment offload above an MTU of 6,550, an initial window of eight packets), is in the design notes'
//! `performance.md`.
//!
//! A receiver's memory for one connection is at most its connection window, whatever the stream windows say, so an
//! accepted connection starts with the window of an untrusted client, and `widen` raises it once a node is behind it.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Membership between nodes, and administration: small frames, datagrams.
    Control,
    /// Requests: the shards' ports and the connections to them.
    Data,
    /// A client's own end of its connections to [`Purpose::Data`] ports.
    Client,
}

/// Whether the kernel cuts a large send into packets (GSO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offload {
    /// Ten packets a system call.
    #[default]
    On,
    /// For hosts that promise it and then drop such sends (quinn-rs/quinn#1671).
    Off,
}

/// Largest UDP payload that is tried, bytes. Ten segments go to the kernel at once, and above 64 KiB in all it refuses
/// them with an error that quinn takes for a failed probe: every full batch is then lost silently.
pub const UDP_PAYLOAD_BYTES_MAX: u16 = 6500;
/// Segments that quinn gives to the kernel in one call.
const SEGMENTS_MAX: u32 = 10;
const _: () = assert!(UDP_PAYLOAD_BYTES_MAX as u32 * SEGMENTS_MAX < 65_536);
/// Bytes on their way before the first acknowledgement: a burst of a turn's frames goes out at once. quinn's 12,000
/// would make the ninth packet wait for a round trip.
const INITIAL_WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// Lanes that a peer may have open on one connection: normal and bulk, twice.
pub const LANES_MAX: u32 = 4;
/// Unread bytes of one lane. Large, so that the credit is renewed rarely; the connection's window is the bound.
const LANE_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Unread bytes of one lane of a control connection: a frame there is 4 MiB at most, and rare.
const CONTROL_LANE_WINDOW_BYTES: u32 = 1024 * 1024;
/// Unread bytes of a connection from a node: two lanes' worth.
const NODE_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Unread bytes of a connection of which no node is known to be behind: 1,000 of them could pin 1 GiB.
const UNTRUSTED_WINDOW_BYTES: u32 = 1024 * 1024;
/// Unread bytes of a control connection.
const CONTROL_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes written and not acknowledged, to a node: what 1 Gbit/s holds on a way of 64 ms.
const NODE_SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// The same, to a client that may have stopped reading.
const UNTRUSTED_SEND_WINDOW_BYTES: u64 = 1024 * 1024;
/// An idle connection is kept in the memory of firewalls, and its silent death is found within [`IDLE_TIMEOUT`].
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// Three keep-alives without an answer. Finding dead nodes quickly is membership's work, not this timer's.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(12);
/// Before the first measurement. The default of 333 ms would have a lost first packet repeated after a second.
const INITIAL_RTT: Duration = Duration::from_millis(20);
/// Datagrams waiting to be sent: a stale ping is better dropped than sent late.
const DATAGRAM_SEND_BYTES: usize = 64 * 1024;
/// Datagrams waiting to be read.
const DATAGRAM_RECEIVE_BYTES: usize = 256 * 1024;
/// Handshakes that wait to be accepted.
const INCOMING_MAX: usize = 1024;
/// Bytes that one waiting handshake may bring: a certificate chain and a hello.
const INCOMING_BYTES: u64 = 64 * 1024;
/// Bytes that all of them may bring.
const INCOMING_BYTES_TOTAL: u64 = 16 * 1024 * 1024;

/// Which end of a connection a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Accepting,
    Connecting,
}

/// Settings for accepting connections.
#[must_use]
pub fn server_config(crypto: QuicServerConfig, purpose: Purpose, offload: Offload) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport_config(purpose, End::Accepting, offload)))
        // A node's address is in the roster; a connection that moves is somebody else's packets.
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    config
}

/// Settings for connecting.
#[must_use]
pub fn client_config(crypto: QuicClientConfig, purpose: Purpose, offload: Offload) -> quinn::ClientConfig {
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(purpose, End::Connecting, offload)));
    config
}

/// Gives an accepted data connection the windows of a node.
pub(super) fn widen(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(NODE_WINDOW_BYTES));
    connection.set_send_window(NODE_SEND_WINDOW_BYTES);
}

fn transport_config(purpose: Purpose, end: End, offload: Offload) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW_BYTES);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(UDP_PAYLOAD_BYTES_MAX);
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Fairness would cut every lane's frames into slices; among the few lanes priority is enough.
        .send_fairness(false)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(Arc::new(congestion))
        .enable_segmentation_offload(offload == Offload::On);
    // Only the connecting side opens lanes.
    let lanes = match end {
        End::Accepting => LANES_MAX,
        End::Connecting => 0,
    };
    config.max_concurrent_bidi_streams(VarInt::from_u32(lanes));
    let (lane, connection, send) = match (purpose, end) {
        (Purpose::Control, _) => (CONTROL_LANE_WINDOW_BYTES, CONTROL_WINDOW_BYTES, UNTRUSTED_SEND_WINDOW_BYTES),
        (Purpose::Data | Purpose::Client, End::Accepting) => {
            (LANE_WINDOW_BYTES, UNTRUSTED_WINDOW_BYTES, UNTRUSTED_SEND_WINDOW_BYTES)
        }
        // Whom we connect to is a node, by certificate.
        (Purpose::Data | Purpose::Client, End::Connecting) => {
            (LANE_WINDOW_BYTES, NODE_WINDOW_BYTES, NODE_SEND_WINDOW_BYTES)
        }
    };
    config.stream_receive_window(VarInt::from_u32(lane)).receive_window(VarInt::from_u32(connection)).send_window(send);
    config.datagram_send_buffer_size(DATAGRAM_SEND_BYTES).datagram_receive_buffer_size(match purpose {
        Purpose::Control => Some(DATAGRAM_RECEIVE_BYTES),
        Purpose::Data | Purpose::Client => None,
    });
    config
}

/// [`IDLE_TIMEOUT`] as QUIC says it.
const IDLE_TIMEOUT_MS: u32 = 12_000;
const _: () = assert!(IDLE_TIMEOUT.as_millis() == IDLE_TIMEOUT_MS as u128);
const _: () = assert!(KEEP_ALIVE.as_secs() * 3 <= IDLE_TIMEOUT.as_secs());
