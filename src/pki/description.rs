//! What a certificate or a revocation list says, for people. Nothing is verified.

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::authority::hosts_of;
use super::identity::{IdentityError, parse_certificate, uri_of};
use super::moment::{Moment, Validity};
use super::revocation;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// `spiffe://..`
    pub uri: String,
    /// The common name of who signed it.
    pub issuer: String,
    /// Hexadecimal digits, as revocation lists have it.
    pub serial: String,
    /// From when until when it holds.
    pub validity: Validity,
    /// What it may be used for: `sign`, `connect`, `serve`.
    pub purposes: Vec<&'static str>,
    /// DNS names and addresses beside the identity.
    pub hosts: Vec<String>,
}

/// A revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedList {
    /// The common name of who signed it.
    pub issuer: String,
    /// When.
    pub made: Moment,
    /// Which in the order of its issuer's lists.
    pub number: u64,
    /// Serial numbers, and since when they are revoked.
    pub revoked: Vec<(String, Moment)>,
}

/// Describes a certificate of ours.
///
/// # Errors
/// It is none.
pub fn describe(certificate: &CertificateDer<'_>) -> Result<Described, IdentityError> {
    let parsed = parse_certificate(certificate)?;
    let mut purposes = Vec::new();
    if parsed.is_ca() {
        purposes.push("sign");
    }
    if let Ok(Some(usage)) = parsed.extended_key_usage() {
        if usage.value.client_auth {
            purposes.push("connect");
        }
        if usage.value.server_auth {
            purposes.push("serve");
        }
    }
    Ok(Described {
        uri: uri_of(certificate)?,
        issuer: parsed.issuer().to_string(),
        serial: digits(parsed.raw_serial()),
        validity: Validity::of(certificate)?,
        purposes,
        hosts: hosts_of(certificate)?,
    })
}

/// Describes a revocation list.
///
/// # Errors
/// It is none.
pub fn describe_list(list: &CertificateRevocationListDer<'_>) -> Result<DescribedList, IdentityError> {
    let parsed = revocation::parse(list).map_err(IdentityError::Certificate)?;
    let entries = revocation::entries(&parsed);
    Ok(DescribedList {
        issuer: parsed.issuer().to_string(),
        made: Moment::from_unix(parsed.last_update().timestamp()),
        number: revocation::number(&parsed),
        revoked: entries.into_iter().map(|entry| (digits(&entry.serial), entry.since)).collect(),
    })
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        digits.extend([byte >> 4, byte & 15].map(|half| char::from_digit(u32::from(half), 16).unwrap_or('?')));
        digits
    })
}
