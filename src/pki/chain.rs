//! The chain from a leaf to a root: signatures, dates, purpose and revocation, as webpki checks them.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{Error, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

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
    revokes: bool,
}

impl Chains {
    /// Chains to these roots, none of whose leaves is on one of these lists.
    pub(super) fn to(roots: RootCertStore, revoked: Vec<CertificateRevocationListDer<'static>>) -> Result<Self, Error> {
        let (roots, provider) = (Arc::new(roots), provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider);
        let has_lists = !revoked.is_empty();
        if has_lists {
            // An authority that has no list has revoked nobody: while one replaces the other only one may have one. A
            // list past its date still says who was revoked, and refusing everybody for it would end the cluster.
            clients = clients.with_crls(revoked).only_check_end_entity_revocation().allow_unknown_revocation_status();
        }
        let clients = clients.build().map_err(|e| Error::General(e.to_string()))?;
        Ok(Self { roots, algorithms, clients, revokes: has_lists })
    }

    /// Checks the signatures up to a root, the dates and the purpose.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        if purpose == Purpose::Server {
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf)?,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        // That function takes no lists. Whoever may serve here may connect, too, so the other one does it.
        if purpose == Purpose::Client || self.revokes {
            self.clients.verify_client_cert(leaf, intermediates, now)?;
        }
        Ok(())
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
