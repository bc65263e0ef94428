//! Judges the certificate that a peer shows.
//!
//! Both directions check the chain to the authority at the current time, then the identity, then its trust domain. A
//! server takes every role of its trust domain (what a role may do is decided per frame). A client takes a node only,
//! and when it knows which node lives at the address, only that one: otherwise any node of the cluster, stolen or
//! misdirected, could stand in for another.
//!
//! rustls would compare the DNS name that the client dialled; here names mean nothing and are not looked at.
//!
//! rustls words its own certificate errors for programmers (`NotValidForName`, UNIX seconds), so each is turned into a
//! [`PeerError`] whose sentence an operator can act on.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::chain::{Chains, Purpose};
use super::credentials::Credentials;
use super::identity::{Identity, IdentityError, Role};
use super::moment::Moment;
use crate::protocol::types::{ClusterId, NodeId};

/// Whom a client expects at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This node and no other.
    Node(NodeId),
    /// Any node of the cluster: the first contact, when the roster is not known yet.
    AnyNode,
}

/// Why a peer was not believed. The connection was refused before any frame; the same peer with the same certificate is
/// refused again. Whose fault: whoever configured one of the two ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The connection ended up without a certificate, or not yet through its handshake.
    #[error("the peer showed no certificate; mutual TLS is required")]
    NoCertificate,
    /// Not one of ours.
    #[error("the peer's certificate has no usable identity: {0}")]
    Identity(#[from] IdentityError),
    /// The address belongs to another cluster.
    #[error(
        "the peer's certificate is of trust domain {found}, ours is {ours}; \
         it belongs to another cluster: check the address and the ca file"
    )]
    TrustDomain {
        /// The peer's cluster.
        found: ClusterId,
        /// Our cluster.
        ours: ClusterId,
    },
    /// The right cluster id under another authority's signature.
    #[error(
        "the certificate of the peer, which says {0}, is not signed by our authority; both ends need the same ca.crt"
    )]
    UnknownIssuer(Identity),
    /// Its time is over.
    #[error("the certificate of the peer {identity} expired at {not_after}, now is {now}; issue a new one there")]
    Expired {
        /// Who it was.
        identity: Identity,
        /// Its last second.
        not_after: Moment,
        /// This machine's clock.
        now: Moment,
    },
    /// Its time has not come.
    #[error("the certificate of the peer {identity} is not valid before {not_before}, now is {now}; check both clocks")]
    NotYetValid {
        /// Who it is.
        identity: Identity,
        /// Its first second.
        not_before: Moment,
        /// This machine's clock.
        now: Moment,
    },
    /// Its authority took it back.
    #[error("the certificate of the peer {0} was revoked; issue a new one there, or keep it out")]
    Revoked(Identity),
    /// A client or an administrator listens where a node was expected.
    #[error("the peer is {0}, but only a node may serve; check the certificate that it was started with")]
    NotNode(Role),
    /// Two nodes changed places, or one stands in for another.
    #[error("the peer is node {found} but {expected} was expected at this address; check the roster and the addresses")]
    OtherNode {
        /// Who answered.
        found: NodeId,
        /// Who should have.
        expected: NodeId,
    },
    /// Everything else that is wrong with a chain, in the library's words.
    #[error("the certificate of the peer, which says {identity}, is not acceptable: {reason}")]
    Chain {
        /// What it claims to be.
        identity: Identity,
        /// What the library said.
        reason: String,
    },
}

impl From<PeerError> for Error {
    // Not `CertificateError::Other`: its text is the debug form. The alert is then `handshake_failure`, and the
    // sentence travels beside it: quinn puts it into the error of this end and into the close frame for the other.
    fn from(error: PeerError) -> Self {
        Self::Other(OtherError(Arc::new(error)))
    }
}

/// Our side of every judgement.
#[derive(Debug)]
struct Trust {
    chains: Arc<Chains>,
    cluster: ClusterId,
}

impl Trust {
    fn new(credentials: &Credentials) -> Self {
        Self { chains: credentials.chains().clone(), cluster: credentials.cluster() }
    }

    /// The identity of a peer with a valid chain in our trust domain.
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<Identity, PeerError> {
        // Nothing is believed before the chain is checked; until then the identity only words the refusal.
        let identity = Identity::from_certificate(leaf)?;
        if identity.cluster != self.cluster {
            return Err(PeerError::TrustDomain { found: identity.cluster, ours: self.cluster });
        }
        match self.chains.check(leaf, intermediates, purpose, now) {
            Ok(()) => Ok(identity),
            Err(error) => Err(explain_chain(identity, purpose, error)),
        }
    }
}

/// Who showed this chain, if these credentials believe it.
pub(super) fn judge(
    credentials: &Credentials,
    chain: &[CertificateDer<'_>],
    purpose: Purpose,
    now: Moment,
) -> Result<Identity, PeerError> {
    let (leaf, intermediates) = chain.split_first().ok_or(PeerError::NoCertificate)?;
    Trust::new(credentials).judge(leaf, intermediates, purpose, now.to_unix_time())
}

/// Words a library's error for an operator.
fn explain_chain(identity: Identity, purpose: Purpose, error: Error) -> PeerError {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            PeerError::UnknownIssuer(identity)
        }
        Error::InvalidCertificate(CertificateError::Revoked) => PeerError::Revoked(identity),
        Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => PeerError::Expired {
            identity,
            not_after: Moment::from_unix_time(not_after),
            now: Moment::from_unix_time(time),
        },
        Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            PeerError::NotYetValid {
                identity,
                not_before: Moment::from_unix_time(not_before),
                now: Moment::from_unix_time(time),
            }
        }
        Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) if purpose == Purpose::Server && !matches!(identity.role, Role::Node(_)) => PeerError::NotNode(identity.role),
        error => PeerError::Chain { identity, reason: error.to_string() },
    }
}

/// The client's judge of a server.
#[derive(Debug)]
pub(super) struct NodeVerifier {
    trust: Trust,
    expected: Expected,
}

impl NodeVerifier {
    pub(super) fn new(credentials: &Credentials, expected: Expected) -> Self {
        Self { trust: Trust::new(credentials), expected }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let identity = self.trust.judge(end_entity, intermediates, Purpose::Server, now)?;
        let Role::Node(found) = identity.role else {
            return Err(PeerError::NotNode(identity.role).into());
        };
        match self.expected {
            Expected::Node(expected) if expected != found => Err(PeerError::OtherNode { found, expected }.into()),
            Expected::Node(_) | Expected::AnyNode => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, self.trust.chains.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.chains.algorithms().supported_schemes()
    }
}

/// The server's judge of whoever connects.
#[derive(Debug)]
pub(super) struct RoleVerifier {
    trust: Trust,
}

impl RoleVerifier {
    pub(super) fn new(credentials: &Credentials) -> Self {
        Self { trust: Trust::new(credentials) }
    }
}

impl ClientCertVerifier for RoleVerifier {
    // No hints: a process has one certificate, and the list would tell a stranger the authority's name.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.judge(end_entity, intermediates, Purpose::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, self.trust.chains.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.chains.algorithms().supported_schemes()
    }
}

/// TLS 1.2 is not compiled in; the trait asks all the same.
fn no_tls12() -> Error {
    PeerIncompatible::ServerDoesNotSupportTls12Or13.into()
}
