//! The chain from a leaf to a root: signatures, dates and purpose, as webpki checks them.

use std::sync::Arc;

use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::provider::provider;

/// What a certificate is used for in a handshake, hence the extended key usage that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It opens the connection.
    Client,
    /// It accepts the connection.
    Server,
}

/// Checks the signatures up to a root, the dates and the purpose.
pub(super) fn check_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    purpose: Purpose,
    now: UnixTime,
) -> Result<(), Error> {
    match purpose {
        Purpose::Server => {
            let leaf = ParsedCertificate::try_from(leaf)?;
            let algorithms = provider().signature_verification_algorithms.all;
            rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, now, algorithms)
        }
        Purpose::Client => {
            let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
            let verifier = built.map_err(|e| Error::General(e.to_string()))?;
            verifier.verify_client_cert(leaf, intermediates, now).map(|_| ())
        }
    }
}
