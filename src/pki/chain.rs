//! The chain from a leaf to a root: signatures, dates and purpose, as webpki checks them.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::ClientCertVerifier;
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

/// The roots that a chain must lead to, and what is needed to follow it. Made once, used in every handshake.
#[derive(Debug)]
pub(super) struct Chains {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Chains {
    /// Chains to these roots.
    pub(super) fn to(roots: RootCertStore) -> Result<Self, Error> {
        let (roots, provider) = (Arc::new(roots), provider());
        let algorithms = provider.signature_verification_algorithms;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
        let clients = clients.map_err(|e| Error::General(e.to_string()))?;
        Ok(Self { roots, algorithms, clients })
    }

    /// Checks the signatures up to a root, the dates and the purpose.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        match purpose {
            Purpose::Client => self.clients.verify_client_cert(leaf, intermediates, now).map(|_| ()),
            Purpose::Server => rustls::client::verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf)?,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            ),
        }
    }

    /// The roots.
    pub(super) const fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// How signatures of a handshake are verified.
    pub(super) const fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }
}
