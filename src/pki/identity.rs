//! A peer's name: the one URI in its certificate.
//!
//! ```text
//! spiffe://0f3c..32 hex digits../node/12ab..32 hex digits..
//!          trust domain: cluster      role  name
//! ```
//!
//! The spelling is canonical: an identity that parses prints as the text that it came from, so logs can be searched and
//! two spellings of one peer cannot exist.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::protocol::types::{ClusterId, NodeId};

/// Longest name of a client or an administrator, bytes: it fits a common name (RFC 5280, ub-common-name).
pub const NAME_BYTES_MAX: usize = 64;

const SCHEME: &str = "spiffe://";

/// What a peer is, and which one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A server of the cluster. Only a node may speak to nodes as one of them.
    Node(NodeId),
    /// Reads and writes items.
    Client(String),
    /// Changes the roster and the layout, and does all that a client does.
    Admin(String),
}

impl Role {
    /// A client with this name.
    ///
    /// # Errors
    /// [`IdentityError::Name`].
    pub fn client(name: &str) -> Result<Self, IdentityError> {
        check_name(name).map(|()| Self::Client(name.to_owned()))
    }

    /// An administrator with this name.
    ///
    /// # Errors
    /// [`IdentityError::Name`].
    pub fn admin(name: &str) -> Result<Self, IdentityError> {
        check_name(name).map(|()| Self::Admin(name.to_owned()))
    }

    /// `node`, `client` or `admin`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Client(_) => "client",
            Self::Admin(_) => "admin",
        }
    }
}

/// `node 12ab..`, `client app`, `admin ops`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Client(name) => write!(f, "client {name}"),
            Self::Admin(name) => write!(f, "admin {name}"),
        }
    }
}

/// A role in a cluster. Displayed and parsed as its SPIFFE URI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The trust domain.
    pub cluster: ClusterId,
    /// Who in it.
    pub role: Role,
}

/// Why a text or a certificate is not an identity. Nothing changed; whose fault: whoever made the certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("it is not an X.509 certificate: {0}")]
    Certificate(String),
    /// A certificate of someone else's authority, as a rule.
    #[error("the certificate has no URI in its subject alternative name; make one with `quorate cert`")]
    NoUri,
    /// A certificate with two identities could be taken for either.
    #[error("the certificate has {0} URIs in its subject alternative name; it needs exactly one, spiffe://CLUSTER/..")]
    ManyUris(usize),
    /// Another scheme, or no scheme.
    #[error("the identity {0:?} does not begin with spiffe://")]
    Scheme(String),
    /// The trust domain is not a cluster id.
    #[error("the trust domain of {0:?} is not a cluster id of 32 lower-case hexadecimal digits")]
    TrustDomain(String),
    /// The path is not one of the three, or the node id is none.
    #[error(
        "the identity {0:?} does not end in /node/ID (32 lower-case hexadecimal digits), /client/NAME or /admin/NAME"
    )]
    Path(String),
    /// A name outside the alphabet or the length.
    #[error("the name {0:?} is not allowed; use 1 to {NAME_BYTES_MAX} of a-z 0-9 . _ - and not . or .. alone")]
    Name(String),
    /// An authority's URI has no path, a leaf's has one.
    #[error(
        "the certificate's URI {0:?} is not spiffe://CLUSTER, so it is not a Quorate authority; \
         use the ca.crt of `quorate cert ca`"
    )]
    NotAuthority(String),
}

impl Identity {
    /// Reads the identity out of a leaf certificate. Checks no signature and no date: that is the verifier's work.
    ///
    /// # Errors
    /// Says what the certificate lacks.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        uri_of(certificate)?.parse()
    }
}

/// Reads the cluster out of an authority's certificate: its URI is the trust domain alone.
///
/// # Errors
/// Says what the certificate lacks.
pub fn cluster_of_authority(certificate: &CertificateDer<'_>) -> Result<ClusterId, IdentityError> {
    let uri = uri_of(certificate)?;
    let domain = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(shorten(&uri)))?;
    if domain.contains('/') {
        return Err(IdentityError::NotAuthority(shorten(&uri)));
    }
    parse_cluster(domain, &uri)
}

/// The URI that an authority of this cluster carries.
#[must_use]
pub fn authority_uri(cluster: ClusterId) -> String {
    format!("{SCHEME}{cluster}")
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/", self.cluster, self.role.kind())?;
        match &self.role {
            Role::Node(id) => write!(f, "{id}"),
            Role::Client(name) | Role::Admin(name) => f.write_str(name),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(shorten(text)))?;
        let wrong_path = || IdentityError::Path(shorten(text));
        let (domain, path) = rest.split_once('/').ok_or_else(wrong_path)?;
        let cluster = parse_cluster(domain, text)?;
        let (kind, name) = path.split_once('/').ok_or_else(wrong_path)?;
        let role = match kind {
            "node" if is_lower_case(name) => Role::Node(name.parse().map_err(|_| wrong_path())?),
            "client" => Role::client(name)?,
            "admin" => Role::admin(name)?,
            _ => return Err(wrong_path()),
        };
        Ok(Self { cluster, role })
    }
}

/// Checks the name of a client or an administrator, or the label of a node's files.
///
/// # Errors
/// [`IdentityError::Name`].
pub fn check_name(name: &str) -> Result<(), IdentityError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let length = 1..=NAME_BYTES_MAX;
    // SPIFFE forbids the relative path segments, and as a file's name they are trouble.
    if !length.contains(&name.len()) || !name.bytes().all(allowed) || matches!(name, "." | "..") {
        return Err(IdentityError::Name(shorten(name)));
    }
    Ok(())
}

fn parse_cluster(domain: &str, text: &str) -> Result<ClusterId, IdentityError> {
    let wrong = || IdentityError::TrustDomain(shorten(text));
    if is_lower_case(domain) { domain.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

/// Whether the text is spelled as ids are printed.
fn is_lower_case(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// The one URI of the subject alternative name.
pub(super) fn uri_of(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let parsed = parse_certificate(certificate)?;
    let names = parsed.subject_alternative_name().map_err(|e| IdentityError::Certificate(e.to_string()))?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (None, _) => Err(IdentityError::NoUri),
        (Some(uri), 0) => Ok(uri.to_owned()),
        (Some(_), more) => Err(IdentityError::ManyUris(more + 1)),
    }
}

/// Parses the whole of a certificate: bytes after it are an error.
pub(super) fn parse_certificate<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match x509_parser::parse_x509_certificate(certificate.as_ref()) {
        Ok(([], parsed)) => Ok(parsed),
        Ok((rest, _)) => Err(IdentityError::Certificate(format!("{} bytes follow it", rest.len()))),
        Err(e) => Err(IdentityError::Certificate(e.to_string())),
    }
}

/// At most this many characters of a foreign text go into an error.
const SHOWN_CHARACTERS_MAX: usize = 128;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
