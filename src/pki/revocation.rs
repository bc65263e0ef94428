//! Certificates that their authority took back: a list that it signs, `ca.crl`.
//!
//! Leaves are few and live for a year, so a list is short and is passed around as a file. Nodes read it when they start
//! and when it changes, and end the sessions of whoever is on it (`transport::tenure`).
//!
//! *Caveats.* The first way to keep a *node* out is to remove it from the roster; a list does that for clients and
//! administrators, who are on no roster. A list past its `next update` still counts: it says who was revoked, and
//! nobody fetches newer ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use x509_parser::revocation_list::RevokedCertificate;

use super::authority::{Authority, AuthorityError};
use super::credentials::CredentialsError;
use super::identity::{Identity, IdentityError, parse_certificate};
use super::moment::Moment;
use super::pem;

/// File name of an authority's list of revoked certificates.
pub const LIST_FILE: &str = "ca.crl";

/// When a next list is promised. Nothing here waits for it; other programs may warn.
const NEXT_UPDATE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) serial: Vec<u8>,
    pub(super) since: Moment,
}

/// What revoking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Whose certificate it was.
    pub identity: Identity,
    /// The list's file.
    pub list: PathBuf,
    /// How many certificates are on it.
    pub count: usize,
    /// It was on it before.
    pub already: bool,
}

/// Puts a certificate on the authority's list in this directory, which is made if there is none.
///
/// # Errors
/// [`AuthorityError::Foreign`] for a certificate of another authority; nothing changed.
pub fn revoke(
    authority: &Authority,
    directory: &Path,
    certificate: &CertificateDer<'_>,
    now: Moment,
) -> Result<Revoked, AuthorityError> {
    let path = directory.join(LIST_FILE);
    let identity = Identity::from_certificate(certificate)?;
    let parsed = parse_certificate(certificate)?;
    let root = parse_certificate(authority.certificate())?;
    if parsed.issuer().as_raw() != root.subject().as_raw() {
        return Err(AuthorityError::Foreign { identity });
    }
    let (mut entries, number) = match fs::exists(&path) {
        Ok(false) => (Vec::new(), 0),
        Ok(true) | Err(_) => read(&path, authority.certificate())?,
    };
    let serial = parsed.raw_serial().to_vec();
    let already = entries.iter().any(|entry| entry.serial == serial);
    if !already {
        entries.push(Entry { serial, since: now });
        pem::replace(&path, &sign(authority, &entries, number + 1, now)?)?;
    }
    Ok(Revoked { identity, list: path, count: entries.len(), already })
}

/// The entries of the list that this authority signed last, and its number.
fn read(path: &Path, root: &CertificateDer<'_>) -> Result<(Vec<Entry>, u64), AuthorityError> {
    let lists = pem::read_revocation_lists(path)?;
    let damaged = |reason: String| AuthorityError::List { path: path.to_owned(), reason };
    let root = parse_certificate(root)?;
    for list in &lists {
        let list = parse(list).map_err(damaged)?;
        if list.issuer().as_raw() != root.subject().as_raw() {
            continue;
        }
        return Ok((entries(&list), number(&list)));
    }
    Err(damaged("it is of another authority".to_owned()))
}

pub(super) fn entries(list: &CertificateRevocationList<'_>) -> Vec<Entry> {
    let entry = |revoked: &RevokedCertificate<'_>| Entry {
        serial: revoked.raw_serial().to_vec(),
        since: Moment::from_unix(revoked.revocation_date.timestamp()),
    };
    list.iter_revoked_certificates().map(entry).collect()
}

/// The list's number; of one that has none, or one beyond any of ours, 0.
pub(super) fn number(list: &CertificateRevocationList<'_>) -> u64 {
    let digits = list.crl_number().map(x509_parser::num_bigint::BigUint::to_u64_digits);
    match digits.as_deref() {
        Some([number]) => *number,
        _ => 0,
    }
}

pub(super) fn parse<'a>(list: &'a CertificateRevocationListDer<'_>) -> Result<CertificateRevocationList<'a>, String> {
    match CertificateRevocationList::from_der(list.as_ref()) {
        Ok(([], list)) => Ok(list),
        Ok((rest, _)) => Err(format!("{} bytes follow it", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

fn sign(authority: &Authority, entries: &[Entry], number: u64, now: Moment) -> Result<String, AuthorityError> {
    let at = |moment: Moment| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.as_unix());
    let revoked = |entry: &Entry| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&entry.serial),
        revocation_time: at(entry.since),
        reason_code: Some(RevocationReason::Unspecified),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: at(now),
        next_update: at(now.after(NEXT_UPDATE)),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: entries.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(authority.issuer())?.pem()?)
}

/// Whether every list is of one of the trusted authorities.
pub(super) fn check_issuers(
    lists: &[CertificateRevocationListDer<'_>],
    authorities: &[CertificateDer<'_>],
    path: &Path,
    ca: &Path,
) -> Result<(), CredentialsError> {
    let damaged = |reason: String| CredentialsError::List { path: path.to_owned(), reason };
    for list in lists {
        let list = parse(list).map_err(damaged)?;
        let is_issuer = |authority: &CertificateDer<'_>| -> Result<bool, IdentityError> {
            Ok(parse_certificate(authority)?.subject().as_raw() == list.issuer().as_raw())
        };
        let mut known = false;
        for authority in authorities {
            known |=
                is_issuer(authority).map_err(|source| CredentialsError::Authority { path: ca.to_owned(), source })?;
        }
        if !known {
            return Err(CredentialsError::OtherList { path: path.to_owned(), ca: ca.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
