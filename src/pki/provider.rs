//! The cryptography under everything here: ring.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// ring, chosen explicitly so that no process-wide default is needed, with AES-128-GCM first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

/// Why a key and a certificate do not go together.
pub(super) enum KeyMismatch {
    /// They are of two different pairs.
    Other,
    /// The key or the certificate is of a kind that cannot be used, and why.
    Unusable(String),
}

/// Joins a chain with its key.
pub(super) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, KeyMismatch> {
    use rustls::{Error, InconsistentKeys};
    CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => KeyMismatch::Other,
        e => KeyMismatch::Unusable(e.to_string()),
    })
}
