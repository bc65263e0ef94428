//! TLS as this cluster speaks it, for rustls and for quinn.
//!
//! One place decides, for every door and every direction:
//!
//! | matter | here | why not the default |
//! |---|---|---|
//! | version | 1.3 only | nothing else is spoken |
//! | certificates | on both sides, always | an identity is needed before the first frame |
//! | cipher suite | AES-128-GCM first, the server's order | the fewest rounds where the CPU has AES instructions |
//! | 0-RTT | off | replayable, and before the client's certificate; quinn's constructors switch it on |
//! | resumption | off: no store, no tickets | a resumed session takes over the old identity, unverified, past expiry |
//! | key log, SNI | none | secrets stay in the process; names mean nothing |
//!
//! A configuration is immutable. To reload certificates build a new one and swap it in (`Endpoint::set_server_config`,
//! `connect_with`): new connections use it, old ones keep what they have.
//!
//! *Caveat.* In TLS 1.3 a client has finished its handshake before the server has seen its certificate. So a refused
//! client first sees a connection and then its end; [`explain`] words both forms.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use super::credentials::Credentials;
use super::identity::{Identity, Role};
use super::provider::provider;
use super::verifier::{Expected, NodeVerifier, PeerError, RoleVerifier};

/// The protocol name on QUIC. A new major version of the frames gets a new name.
pub const ALPN_QUIC: &[u8] = b"quorate/1";
/// The protocol name of the HTTP door.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// What to give to `Endpoint::connect` as the server's name: it must parse, and is neither sent nor compared.
pub const SERVER_NAME: &str = "quorate";

/// Why no configuration was built. Nothing changed. Whose fault: the operator's for a role, ours otherwise.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Only a node may accept connections.
    #[error("a server needs the certificate of a node, but this one is of {0}; make one with `quorate cert node NAME`")]
    Role(Role),
    /// The TLS library refused the settings. It should not: report it.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The QUIC library refused the cipher suites. It should not: report it.
    #[error("cannot set up QUIC: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

/// TLS for a server: takes every role of the own trust domain, and only with a certificate.
///
/// # Errors
/// [`TlsError::Role`] when the credentials are not a node's.
pub fn server_config(credentials: &Credentials, alpn: &[u8]) -> Result<ServerConfig, TlsError> {
    let Role::Node(_) = credentials.identity().role else {
        return Err(TlsError::Role(credentials.identity().role.clone()));
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(RoleVerifier::new(credentials)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key().clone())));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(config)
}

/// TLS for a client: shows its certificate and takes only the expected node.
///
/// # Errors
/// [`TlsError::Rustls`], which should not happen.
pub fn client_config(credentials: &Credentials, alpn: &[u8], expected: Expected) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NodeVerifier::new(credentials, expected)))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key().clone())));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// [`server_config`] for QUIC, with [`ALPN_QUIC`].
///
/// # Errors
/// As [`server_config`].
pub fn quic_server_config(credentials: &Credentials) -> Result<QuicServerConfig, TlsError> {
    Ok(QuicServerConfig::try_from(server_config(credentials, ALPN_QUIC)?)?)
}

/// [`client_config`] for QUIC, with [`ALPN_QUIC`].
///
/// # Errors
/// As [`client_config`].
pub fn quic_client_config(credentials: &Credentials, expected: Expected) -> Result<QuicClientConfig, TlsError> {
    Ok(QuicClientConfig::try_from(client_config(credentials, ALPN_QUIC, expected)?)?)
}

/// Who is at the other end of an established connection. The handshake has verified it.
///
/// # Errors
/// [`PeerError::NoCertificate`] before the handshake is over.
pub fn peer_identity(connection: &quinn::Connection) -> Result<Identity, PeerError> {
    chain_identity(Some(&peer_chain(connection)?))
}

/// What the other end of an established connection has shown. The handshake has verified it.
///
/// # Errors
/// [`PeerError::NoCertificate`] before the handshake is over.
pub fn peer_chain(connection: &quinn::Connection) -> Result<Vec<CertificateDer<'static>>, PeerError> {
    let shown = connection.peer_identity().ok_or(PeerError::NoCertificate)?;
    let chain = shown.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| PeerError::NoCertificate)?;
    Ok(*chain)
}

/// Who showed this chain: for TLS over TCP, whose connection has `peer_certificates()`. The handshake must be over.
///
/// # Errors
/// [`PeerError::NoCertificate`] when there is none.
pub fn chain_identity(chain: Option<&[CertificateDer<'_>]>) -> Result<Identity, PeerError> {
    let leaf = chain.and_then(<[_]>::first).ok_or(PeerError::NoCertificate)?;
    Ok(Identity::from_certificate(leaf)?)
}

/// Words the end of a connection for an operator: a refused certificate by its sentence alone, whichever end refused.
#[must_use]
pub fn explain(error: &quinn::ConnectionError) -> String {
    match error {
        quinn::ConnectionError::TransportError(e) => match sentence(&e.reason) {
            Some(sentence) => sentence.to_owned(),
            None => e.to_string(),
        },
        quinn::ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            match sentence(&reason) {
                Some(sentence) => format!("the peer refused this end: {sentence}"),
                None => error.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// What stands after rustls' prefix for errors that are not its own.
fn sentence(reason: &str) -> Option<&str> {
    reason.split_once("other error: ").map(|(_, sentence)| sentence)
}

#[cfg(test)]
mod tests;
