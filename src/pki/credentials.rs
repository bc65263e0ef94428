//! What one process shows to its peers, and whom it believes: chain, key and roots, all checked when loaded.
//!
//! A process that starts (or reloads) with credentials that no peer would take is better stopped at once, with the file
//! and the way out in the error, than found out by its peers. So everything that a peer will check is checked here: the
//! key's mode and that it belongs to the certificate, the dates, the signature of the authority, the identity and its
//! trust domain, the purposes that the role needs.
//!
//! A `ca` file may hold several authorities of one cluster: while an authority is replaced, trust the new one
//! everywhere, then reissue the leaves, then drop the old one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::authority::{Authority, Leaf};
use super::chain::{Chains, Purpose};
use super::identity::{Identity, IdentityError, Role, cluster_of_authority};
use super::moment::{Moment, Validity};
use super::pem::{self, PemError};
use super::provider::{KeyMismatch, certified_key};
use super::revocation;
use super::verifier::{self, PeerError};
use crate::protocol::types::ClusterId;

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate, and after it any intermediate ones.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
    /// The authority, or several of one cluster.
    pub ca: PathBuf,
    /// Whom the authority has revoked, if there is a list.
    pub crl: Option<PathBuf>,
}

/// Why credentials were not loaded. Nothing changed: a process that reloads keeps the old ones. Whose fault: the
/// operator's.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file that is missing, unreadable, empty, damaged or too open.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Files of two different issues were mixed.
    #[error(
        "the key {} does not belong to the certificate {}; use the pair that was issued together",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A key of a kind that TLS here does not use.
    #[error("the key {} cannot be used: {reason}; issue one with `quorate cert`", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The leaf has no identity.
    #[error("{} has no SPIFFE identity: {source}", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What it lacks.
        source: IdentityError,
    },
    /// The root is not an authority of a cluster.
    #[error("{} is not a Quorate authority: {source}", path.display())]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// What it lacks.
        source: IdentityError,
    },
    /// A bundle of authorities of two clusters would let one cluster's nodes into the other.
    #[error("{} has authorities of two clusters, {first} and {second}; keep those of one", path.display())]
    TwoClusters {
        /// The authority's file.
        path: PathBuf,
        /// The first one's cluster.
        first: ClusterId,
        /// The other's.
        second: ClusterId,
    },
    /// Files of two clusters were mixed.
    #[error(
        "{} is of trust domain {found}, but the authority {} is of {expected}; use the files of one cluster",
        path.display(), ca.display()
    )]
    TrustDomain {
        /// The certificate's file.
        path: PathBuf,
        /// The authority's file.
        ca: PathBuf,
        /// The certificate's cluster.
        found: ClusterId,
        /// The authority's cluster.
        expected: ClusterId,
    },
    /// Its time is over.
    #[error(
        "{} expired at {not_after}, now is {now}; move it and its key away and issue new ones with `quorate cert` (a \
         node's with the same --id)",
        path.display()
    )]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// Its last second.
        not_after: Moment,
        /// The clock that it was compared with.
        now: Moment,
    },
    /// Its time has not come, or this machine's clock is wrong.
    #[error("{} is not valid before {not_before}, now is {now}; check this machine's clock", path.display())]
    NotYetValid {
        /// The certificate's file.
        path: PathBuf,
        /// Its first second.
        not_before: Moment,
        /// The clock that it was compared with.
        now: Moment,
    },
    /// A list of another authority would revoke nobody here, and its operator would believe that it does.
    #[error(
        "the revocation list {} is not of an authority in {}; make it with `quorate cert revoke` of that authority",
        path.display(), ca.display()
    )]
    OtherList {
        /// The list's file.
        path: PathBuf,
        /// The authority's file.
        ca: PathBuf,
    },
    /// A list that is no list.
    #[error("the revocation list {} is damaged: {reason}; make it again with `quorate cert revoke`", path.display())]
    List {
        /// The list's file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The right cluster id, but another authority's signature, or purposes that do not fit the role.
    #[error(
        "{} is not signed by the authority {} for the role {role}: {reason}; issue it again with that authority",
        path.display(), ca.display()
    )]
    NotSigned {
        /// The certificate's file.
        path: PathBuf,
        /// The authority's file.
        ca: PathBuf,
        /// What the certificate claims to be.
        role: Role,
        /// What the verification said.
        reason: String,
    },
}

/// Checked credentials. Cheap to clone; the key stays inside.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
    chains: Arc<Chains>,
    identity: Identity,
    validity: Validity,
    authority_not_after: Moment,
}

impl Credentials {
    /// Reads and checks three files against the wall clock.
    ///
    /// # Errors
    /// Names the file, what is wrong with it and the way out.
    pub fn load(certificate: &Path, key: &Path, ca: &Path) -> Result<Self, CredentialsError> {
        let paths =
            CredentialFiles { certificate: certificate.to_owned(), key: key.to_owned(), ca: ca.to_owned(), crl: None };
        Self::load_at(&paths, Moment::now())
    }

    /// As [`Credentials::load`], at a given time.
    ///
    /// # Errors
    /// Names the file, what is wrong with it and the way out.
    pub fn load_at(paths: &CredentialFiles, now: Moment) -> Result<Self, CredentialsError> {
        let chain = pem::read_certificates(&paths.certificate)?;
        let key = pem::read_key(&paths.key)?;
        let authorities = pem::read_certificates(&paths.ca)?;
        let revoked = paths.crl.as_deref().map(pem::read_revocation_lists).transpose()?.unwrap_or_default();
        check(chain, key, (&authorities, revoked), paths, now)
    }

    /// Credentials of a leaf that was never on disk: for `quorate dev` and tests.
    ///
    /// # Errors
    /// The same checks as for files; the paths read `(in memory)`.
    pub fn from_leaf(authority: &Authority, leaf: &Leaf, now: Moment) -> Result<Self, CredentialsError> {
        let place = || PathBuf::from("(in memory)");
        let paths = CredentialFiles { certificate: place(), key: place(), ca: place(), crl: None };
        let trusted = (&[authority.certificate().clone()][..], Vec::new());
        check(vec![leaf.certificate().clone()], leaf.key(), trusted, &paths, now)
    }

    /// Whether a chain that somebody showed when connecting to us would be believed by these credentials: for sessions
    /// that began under older ones.
    ///
    /// # Errors
    /// Why not.
    pub fn believe_client(&self, chain: &[CertificateDer<'_>], now: Moment) -> Result<Identity, PeerError> {
        verifier::judge(self, chain, Purpose::Client, now)
    }

    /// Whether a chain that a node showed when we connected to it would be believed by these credentials.
    ///
    /// # Errors
    /// Why not.
    pub fn believe_node(&self, chain: &[CertificateDer<'_>], now: Moment) -> Result<Identity, PeerError> {
        verifier::judge(self, chain, Purpose::Server, now)
    }

    /// The leaf and any intermediate certificates, as peers see them.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The chain with its signing key.
    #[must_use]
    pub const fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The authorities that peers must be signed by.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        self.chains.roots()
    }

    /// The roots, ready to check chains.
    pub(super) const fn chains(&self) -> &Arc<Chains> {
        &self.chains
    }

    /// Who these credentials say we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The trust domain: the leaf's, the authority's and every peer's.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// The last second of the leaf, for the expiry metric.
    #[must_use]
    pub const fn not_after(&self) -> Moment {
        self.validity.not_after
    }

    /// The last second of the authority; of several, of the one that ends first.
    #[must_use]
    pub const fn authority_not_after(&self) -> Moment {
        self.authority_not_after
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("not_after", &self.validity.not_after)
            .finish_non_exhaustive()
    }
}

/// Every check, the plainest mistake first.
fn check(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    (authorities, revoked): (&[CertificateDer<'static>], Vec<CertificateRevocationListDer<'static>>),
    paths: &CredentialFiles,
    now: Moment,
) -> Result<Credentials, CredentialsError> {
    let key = certified_key(chain, key).map_err(|e| match e {
        KeyMismatch::Other => {
            CredentialsError::KeyMismatch { certificate: paths.certificate.clone(), key: paths.key.clone() }
        }
        KeyMismatch::Unusable(reason) => CredentialsError::Key { path: paths.key.clone(), reason },
    })?;
    let Some((leaf, intermediates)) = key.cert.split_first() else {
        return Err(
            PemError::Empty { path: paths.certificate.clone(), what: "certificate", begin: "CERTIFICATE" }.into()
        );
    };
    let Trusted { chains, cluster, not_after: authority_not_after } = trust(authorities, revoked, paths)?;
    let identity_error = |source| CredentialsError::Identity { path: paths.certificate.clone(), source };
    let identity = Identity::from_certificate(leaf).map_err(identity_error)?;
    if identity.cluster != cluster {
        return Err(CredentialsError::TrustDomain {
            path: paths.certificate.clone(),
            ca: paths.ca.clone(),
            found: identity.cluster,
            expected: cluster,
        });
    }
    let validity = Validity::of(leaf).map_err(identity_error)?;
    check_dates(validity, &paths.certificate, now)?;
    for purpose in purposes(&identity.role) {
        chains.check(leaf, intermediates, *purpose, now.to_unix_time()).map_err(|e| CredentialsError::NotSigned {
            path: paths.certificate.clone(),
            ca: paths.ca.clone(),
            role: identity.role.clone(),
            reason: e.to_string(),
        })?;
    }
    Ok(Credentials { key: Arc::new(key), chains: Arc::new(chains), identity, validity, authority_not_after })
}

/// Chains to the roots, the one cluster that they are of, and the end of the one that ends first.
struct Trusted {
    chains: Chains,
    cluster: ClusterId,
    not_after: Moment,
}

fn trust(
    authorities: &[CertificateDer<'static>],
    revoked: Vec<CertificateRevocationListDer<'static>>,
    paths: &CredentialFiles,
) -> Result<Trusted, CredentialsError> {
    let path = paths.ca.as_path();
    let authority_error = |source| CredentialsError::Authority { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    let mut cluster = None;
    let mut not_after = Moment::MAX;
    for authority in authorities {
        let second = cluster_of_authority(authority).map_err(authority_error)?;
        let first = *cluster.get_or_insert(second);
        if first != second {
            return Err(CredentialsError::TwoClusters { path: path.to_owned(), first, second });
        }
        not_after = not_after.min(Validity::of(authority).map_err(authority_error)?.not_after);
        let added = roots.add(authority.clone());
        added.map_err(|e| authority_error(IdentityError::Certificate(e.to_string())))?;
    }
    let Some(cluster) = cluster else {
        return Err(PemError::Empty { path: path.to_owned(), what: "certificate", begin: "CERTIFICATE" }.into());
    };
    if let Some(list) = &paths.crl {
        revocation::check_issuers(&revoked, authorities, list, path)?;
    }
    let chains = Chains::to(roots, revoked).map_err(|e| authority_error(IdentityError::Certificate(e.to_string())))?;
    Ok(Trusted { chains, cluster, not_after })
}

fn check_dates(validity: Validity, path: &Path, now: Moment) -> Result<(), CredentialsError> {
    let Validity { not_before, not_after } = validity;
    if now > not_after {
        return Err(CredentialsError::Expired { path: path.to_owned(), not_after, now });
    }
    if now < not_before {
        return Err(CredentialsError::NotYetValid { path: path.to_owned(), not_before, now });
    }
    Ok(())
}

/// What a role does with its certificate.
const fn purposes(role: &Role) -> &'static [Purpose] {
    match role {
        Role::Node(_) => &[Purpose::Client, Purpose::Server],
        Role::Client(_) | Role::Admin(_) => &[Purpose::Client],
    }
}

#[cfg(test)]
mod tests;
