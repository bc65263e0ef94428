//! A UDP port, opened with buffers that hold a burst.
//!
//! Linux gives a UDP socket 208 KiB by default. That is thirty packets of 6,500 bytes: the next one is lost, and a lost
//! last packet waits for a timer. So the buffers are set before quinn takes the socket, which sets none.
//!
//! A process that restarts knows nothing of the connections that its predecessor had. Its peers would find out by their
//! idle timeout, after 12 s, unless it answers their packets with a *stateless reset* (RFC 9000, 10.3): a token that
//! only the old process and the new one can make. The key of the token is therefore derived from a secret that outlives
//! the process, a [`NodeSecret`]. That alone does not do it: quinn's default connection ids are signed with a key that
//! dies with the process, and a packet for an id with a foreign signature is dropped without a word. So with a secret,
//! ids are plain random bytes, and every packet for an unknown one is answered, at most one each 20 ms.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use socket2::{Domain, Protocol, Socket, Type};

use super::settings::UDP_PAYLOAD_BYTES_MAX;

/// Bytes of a socket's buffer in each direction: 600 packets of the largest size, or what 10 Gbit/s brings in 3 ms.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a connection id: a restarted process has to tell them from noise by nothing but the token.
const CONNECTION_ID_BYTES: usize = 8;

/// Why no port was opened. Nothing changed. Whose fault: the operator's, as a rule.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process, or another Quorate, has it. Retry once it is gone.
    #[error(
        "UDP port {port} of {ip} is in use by another process (`ss -lunp 'sport = :{port}'` shows which); \
         stop it, or configure another port",
        port = .0.port(), ip = .0.ip()
    )]
    InUse(SocketAddr),
    /// No interface has this address.
    #[error(
        "{ip} is not an address of this machine (`ip address` lists them); configure one that is, or {any} for all",
        ip = .0.ip(), any = if .0.is_ipv4() { "0.0.0.0" } else { "[::]" }
    )]
    NotLocal(SocketAddr),
    /// A port below 1024, or a sandbox.
    #[error(
        "this process may not open UDP port {port} of {ip}; use a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
        port = .0.port(), ip = .0.ip()
    )]
    NotPermitted(SocketAddr),
    /// Called outside of a tokio runtime: a mistake of ours.
    #[error("cannot open UDP {0}: there is no tokio runtime on this thread")]
    NoRuntime(SocketAddr),
    /// Everything else, in the system's words.
    #[error("cannot open UDP {address}: {source}")]
    Io {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What outlives the process and lets its successor speak for it: kept in its data directory, never shown.
#[derive(Clone)]
pub struct NodeSecret(Arc<[u8; 32]>);

impl NodeSecret {
    /// A secret of these bytes. Whoever has them can end connections of this node, and no more.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(bytes))
    }
}

impl std::fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeSecret(..)")
    }
}

/// Opens a UDP port for connecting and, with a server configuration, for accepting. Port 0 lets the system choose.
/// Without a secret, peers learn of a restart by their idle timeout only; clients need none.
///
/// Must be called on the tokio runtime that is to drive the endpoint.
pub fn bind(
    address: SocketAddr,
    server_config: Option<quinn::ServerConfig>,
    secret: Option<&NodeSecret>,
) -> Result<quinn::Endpoint, BindError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(BindError::NoRuntime(address));
    }
    let classify = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal(address),
        io::ErrorKind::PermissionDenied => BindError::NotPermitted(address),
        _ => BindError::Io { address, source },
    };
    let socket = open_socket(address).map_err(classify)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(endpoint_config(secret), server_config, socket, runtime).map_err(classify)
}

fn endpoint_config(secret: Option<&NodeSecret>) -> EndpointConfig {
    let mut config = match secret {
        Some(secret) => EndpointConfig::new(Arc::new(ResetKey::new(secret))),
        None => EndpointConfig::default(),
    };
    if secret.is_some() {
        config.cid_generator(|| Box::new(RandomIds));
    }
    config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).expect("QUIC allows payloads from 1,200 bytes up");
    config
}

fn open_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` means every address, as operators expect, not every IPv6 one.
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    warn_of_small_buffer("receive", "net.core.rmem_max", socket.recv_buffer_size()?, address);
    warn_of_small_buffer("send", "net.core.wmem_max", socket.send_buffer_size()?, address);
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Linux caps a buffer without an error, and reports twice of what it gave (the rest is its own bookkeeping).
fn warn_of_small_buffer(which: &str, setting: &str, reported: usize, address: SocketAddr) {
    let given = if cfg!(target_os = "linux") { reported / 2 } else { reported };
    if given < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            %address,
            given,
            wanted = SOCKET_BUFFER_BYTES,
            "the {which} buffer of a UDP port is small, bursts will be lost; raise it: \
             sysctl -w {setting}={SOCKET_BUFFER_BYTES}"
        );
    }
}

/// HMAC-SHA256 under the node's secret, by the provider that TLS uses anyway.
struct ResetKey {
    key: OkmBlock,
    hkdf: &'static dyn Hkdf,
}

/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// Keeps the reset key apart from whatever else is made of the same secret.
const RESET_KEY_LABEL: &[u8] = b"quorate stateless reset";

impl ResetKey {
    fn new(secret: &NodeSecret) -> Self {
        let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256;
        let hkdf = suite.hkdf_provider;
        let derived = hkdf.hmac_sign(&OkmBlock::new(secret.0.as_slice()), RESET_KEY_LABEL);
        Self { key: OkmBlock::new(derived.as_ref()), hkdf }
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(self.hkdf.hmac_sign(&self.key, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        SIGNATURE_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = self.hkdf.hmac_sign(&self.key, data);
        let expected = expected.as_ref();
        // Every byte is looked at, so that the time tells nothing of how many are right.
        let differing = expected.iter().zip(signature).fold(0, |bits, (a, b)| bits | (a ^ b));
        if differing == 0 && signature.len() == expected.len() { Ok(()) } else { Err(CryptoError) }
    }
}

/// Connection ids without a signature: any of them could be of the process before this one.
#[derive(Debug)]
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes, as it did when the process began");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
