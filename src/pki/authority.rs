//! The cluster's certificate authority: ECDSA P-256, two files, no service.
//!
//! `ca.crt` goes to every node and client; `ca.key` makes identities and belongs on no node. The cluster id is in
//! the authority's own certificate (`spiffe://<cluster>`), so there is no third file that could disagree.
//!
//! Invariants: an existing file is replaced only where that is asked for, and then as a whole; a leaf never outlives
//! its authority; a client or an administrator never gets `serverAuth`, so that a stolen client certificate cannot pose
//! as a node.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::identity::{
    Identity, IdentityError, Role, authority_uri, check_name, cluster_of_authority, parse_certificate,
};
use super::moment::{Moment, Validity};
use super::pem::{self, PemError};
use super::provider::{KeyMismatch, certified_key};
use crate::protocol::types::{ClusterId, NodeId};

/// File name of an authority's certificate.
pub const CERTIFICATE_FILE: &str = "ca.crt";
/// File name of an authority's key.
pub const KEY_FILE: &str = "ca.key";

/// Longest host name in DNS, bytes.
const HOST_BYTES_MAX: usize = 253;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 10 years. Replacing an authority touches every file of a cluster.
pub const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// 1 year: long enough to be done by hand, short enough that a forgotten certificate does not last.
pub const LEAF_LIFETIME: Duration = DAY.saturating_mul(365);

/// Why the authority was not made or loaded, or did not issue. No file was changed; whose fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file that is missing, damaged, too open, or in the way.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No certificate in the file belongs to the key.
    #[error(
        "the key {} does not belong to any certificate in {}; use the pair that `quorate cert ca` made",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A key of a kind that cannot sign here.
    #[error("the key {} cannot be used: {reason}; make an authority with `quorate cert ca`", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// Someone else's authority, or a leaf.
    #[error("{} is not a Quorate authority: {source}", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What it lacks.
        source: IdentityError,
    },
    /// The certificate may not sign others.
    #[error(
        "{} is not an authority's certificate (its basic constraints do not say CA); make one with `quorate cert ca`",
        path.display()
    )]
    Leaf {
        /// The certificate's file.
        path: PathBuf,
    },
    /// An authority past its last day issues nothing: the leaf would be invalid at once.
    #[error(
        "the authority of cluster {cluster} expired at {not_after}; make a new one with \
         `quorate cert ca --cluster {cluster}` in another directory and reissue"
    )]
    Expired {
        /// The cluster.
        cluster: ClusterId,
        /// The authority's last second.
        not_after: Moment,
    },
    /// Another authority's certificate cannot be revoked, or renewed, by this one.
    #[error(
        "the certificate of {identity} was not issued by this authority; use the directory of the one that issued it"
    )]
    Foreign {
        /// Whose it is.
        identity: Identity,
    },
    /// A list of revoked certificates that cannot be added to.
    #[error("the revocation list {} cannot be used: {reason}; move it away to begin a new one", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An alternative host that is neither a name nor an address.
    #[error("{0:?} is no host; use a DNS name such as kv1.example.org or an IP address, without port")]
    Host(String),
    /// The asked-for name cannot be an identity.
    #[error(transparent)]
    Name(#[from] IdentityError),
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {0}")]
    Entropy(String),
    /// The certificate library failed. It should not: report it.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A loaded authority. Its key never leaves it.
pub struct Authority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority in memory, valid from five minutes before `now`.
    ///
    /// # Errors
    /// [`AuthorityError::Make`].
    pub fn generate(cluster: ClusterId, lifetime: Duration, now: Moment) -> Result<Self, AuthorityError> {
        let validity = Validity::starting(now, lifetime);
        let key = KeyPair::generate()?;
        // While one authority replaces the other both are trusted, and a revocation list finds its authority by name:
        // so the name has to tell them apart.
        let label = format!("Quorate authority {:.8} {:08x}", cluster.to_string(), mark(&key));
        let mut params = params(&label, authority_uri(cluster), validity)?;
        // It signs leaves only, never another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            cluster,
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            validity,
            issuer: Issuer::new(params, key),
        })
    }

    /// Makes an authority and writes it as `ca.crt` and `ca.key` into a directory, created when missing.
    ///
    /// # Errors
    /// [`PemError::Exists`] when there is one already.
    pub fn create(
        directory: &Path,
        cluster: ClusterId,
        lifetime: Duration,
        now: Moment,
    ) -> Result<Self, AuthorityError> {
        let authority = Self::generate(cluster, lifetime, now)?;
        authority.write(directory)?;
        Ok(authority)
    }

    /// Writes an authority that was made in memory as `ca.crt` and `ca.key`.
    ///
    /// # Errors
    /// [`PemError::Exists`] when there is one already.
    pub fn write(&self, directory: &Path) -> Result<(), PemError> {
        let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        pem::write_pair((&certificate, &self.certificate_pem), (&key, &self.issuer.key().serialize_pem()))
    }

    /// As [`Authority::write`], in place of an authority that may be there. Whatever the old one issued is believed
    /// only by those who still trust it.
    ///
    /// # Errors
    /// [`PemError::Unwritable`].
    pub fn replace(&self, directory: &Path) -> Result<(), PemError> {
        let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        pem::replace_pair((&certificate, &self.certificate_pem), (&key, &self.issuer.key().serialize_pem()))
    }

    /// Loads `ca.crt` and `ca.key` from a directory. The certificate may be a bundle, as while an authority is
    /// replaced: the one that belongs to the key is used.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(directory: &Path) -> Result<Self, AuthorityError> {
        let (path, key_path) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        let bundle = pem::read_certificates(&path)?;
        let key = pem::read_key(&key_path)?;
        let certificate = choose(bundle, &key, &path, &key_path)?;
        let identity_error = |source| AuthorityError::Identity { path: path.clone(), source };
        let cluster = cluster_of_authority(&certificate).map_err(identity_error)?;
        let validity = Validity::of(&certificate).map_err(identity_error)?;
        if !parse_certificate(&certificate).map_err(identity_error)?.is_ca() {
            return Err(AuthorityError::Leaf { path });
        }
        let key = KeyPair::try_from(&key)
            .map_err(|e| AuthorityError::Key { path: key_path.clone(), reason: e.to_string() })?;
        let certificate_pem = to_pem(&certificate);
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { cluster, certificate, certificate_pem, validity, issuer })
    }

    /// Issues a leaf. `label` is for people (the common name); the identity is `role` in this cluster. A leaf ends with
    /// its authority when `lifetime` would outlast it.
    ///
    /// # Errors
    /// [`AuthorityError::Name`] for a name that is no identity, [`AuthorityError::Expired`] for an authority that is
    /// over.
    pub fn issue(&self, label: &str, role: Role, lifetime: Duration, now: Moment) -> Result<Leaf, AuthorityError> {
        self.issue_for_hosts(label, role, &[], lifetime, now)
    }

    /// As [`Authority::issue`], with DNS names and IP addresses beside the identity. The cluster ignores them; programs
    /// that reach a node's HTTP door over TLS (curl, a browser) compare them with the URL.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`AuthorityError::Host`].
    pub fn issue_for_hosts(
        &self,
        label: &str,
        role: Role,
        hosts: &[String],
        lifetime: Duration,
        now: Moment,
    ) -> Result<Leaf, AuthorityError> {
        check_name(label)?;
        if let Role::Client(name) | Role::Admin(name) = &role {
            check_name(name)?;
        }
        if now > self.validity.not_after {
            return Err(AuthorityError::Expired { cluster: self.cluster, not_after: self.validity.not_after });
        }
        let asked = Validity::starting(now, lifetime);
        let validity = Validity { not_after: asked.not_after.min(self.validity.not_after), ..asked };
        let identity = Identity { cluster: self.cluster, role };
        let mut params = params(label, identity.to_string(), validity)?;
        for host in hosts {
            params.subject_alt_names.push(host_name(host)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes(&identity.role);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            identity,
            validity,
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        })
    }

    /// The cluster whose identities it makes.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its own certificate, the root that peers trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its own certificate as `ca.crt` has it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// From when until when it holds.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    pub(super) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// An issued certificate with its key, not yet on disk.
pub struct Leaf {
    identity: Identity,
    validity: Validity,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
    key: Vec<u8>,
}

impl Leaf {
    /// Writes `<name>.crt` and `<name>.key` into a directory, and returns both paths.
    ///
    /// # Errors
    /// [`PemError::Exists`] when either is there already.
    pub fn write(&self, directory: &Path, name: &str) -> Result<LeafFiles, AuthorityError> {
        let files = LeafFiles::of(directory, name)?;
        pem::write_pair((&files.certificate, &self.certificate_pem), (&files.key, &self.key_pem))?;
        Ok(files)
    }

    /// As [`Leaf::write`], in place of files that may be there.
    ///
    /// # Errors
    /// [`PemError::Unwritable`].
    pub fn replace(&self, directory: &Path, name: &str) -> Result<LeafFiles, AuthorityError> {
        let files = LeafFiles::of(directory, name)?;
        pem::replace_pair((&files.certificate, &self.certificate_pem), (&files.key, &self.key_pem))?;
        Ok(files)
    }

    /// Who it names.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when until when it holds.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A copy of the key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Where a leaf was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFiles {
    /// `<name>.crt`.
    pub certificate: PathBuf,
    /// `<name>.key`, mode 0600.
    pub key: PathBuf,
}

impl LeafFiles {
    /// Where a leaf of this name is in a directory.
    ///
    /// # Errors
    /// [`IdentityError::Name`].
    pub fn of(directory: &Path, name: &str) -> Result<Self, IdentityError> {
        check_name(name)?;
        Ok(Self { certificate: directory.join(format!("{name}.crt")), key: directory.join(format!("{name}.key")) })
    }
}

/// A random cluster id.
///
/// # Errors
/// [`AuthorityError::Entropy`].
pub fn random_cluster() -> Result<ClusterId, AuthorityError> {
    random().map(ClusterId::new)
}

/// A random node id.
///
/// # Errors
/// [`AuthorityError::Entropy`].
pub fn random_node() -> Result<NodeId, AuthorityError> {
    random().map(NodeId::new)
}

fn random() -> Result<u128, AuthorityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| AuthorityError::Entropy(e.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// What every certificate of ours has: one organisation, one label, one URI, its dates.
fn params(label: &str, uri: String, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Quorate");
    params.distinguished_name.push(DnType::CommonName, label);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    // A moment is at most the year 9999's last, which is also this library's: the sum cannot overflow.
    params.not_before = epoch + Duration::from_secs(validity.not_before.as_unix());
    params.not_after = epoch + Duration::from_secs(validity.not_after.as_unix());
    Ok(params)
}

/// Four bytes that two keys share once in four thousand million times.
fn mark(key: &KeyPair) -> u32 {
    key.public_key_raw()
        .iter()
        .fold(0, |mark: u32, byte| mark.rotate_left(5).wrapping_mul(0x0100_0193) ^ u32::from(*byte))
}

/// The DNS names and IP addresses that a certificate carries beside its identity, as [`Authority::issue_for_hosts`]
/// takes them.
///
/// # Errors
/// [`IdentityError::Certificate`].
pub fn hosts_of(certificate: &CertificateDer<'_>) -> Result<Vec<String>, IdentityError> {
    use x509_parser::extensions::GeneralName;
    let parsed = parse_certificate(certificate)?;
    let names = parsed.subject_alternative_name().map_err(|e| IdentityError::Certificate(e.to_string()))?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::IpAddr::from(v6).to_string()),
        },
        _ => None,
    };
    Ok(names.iter().filter_map(host).collect())
}

/// A host as a subject alternative name.
fn host_name(host: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = host.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(label) {
        return Err(AuthorityError::Host(host.chars().take(HOST_BYTES_MAX).collect()));
    }
    Ok(SanType::DnsName(host.try_into()?))
}

fn purposes(role: &Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Node(_) => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        Role::Client(_) | Role::Admin(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

/// The certificate of a bundle that belongs to the key.
fn choose(
    bundle: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    path: &Path,
    key_path: &Path,
) -> Result<CertificateDer<'static>, AuthorityError> {
    for certificate in bundle {
        match certified_key(vec![certificate.clone()], key.clone_key()) {
            Ok(_) => return Ok(certificate),
            Err(KeyMismatch::Other) => {}
            Err(KeyMismatch::Unusable(reason)) => {
                return Err(AuthorityError::Key { path: key_path.to_owned(), reason });
            }
        }
    }
    Err(AuthorityError::KeyMismatch { certificate: path.to_owned(), key: key_path.to_owned() })
}

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate.as_ref());
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    // RFC 7468: lines of 64 characters.
    while let Some((line, tail)) = rest.split_at_checked(64) {
        pem.extend([line, "\n"]);
        rest = tail;
    }
    if !rest.is_empty() {
        pem.extend([rest, "\n"]);
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests;
