//! Certificates that are issued again, or taken back.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{LEAF_LIFETIME, Lifetime, authority, write};
use crate::pki::authority::{LeafFiles, hosts_of};
use crate::pki::revocation;
use crate::pki::{Identity, Moment, Role, pem};
use crate::protocol::types::NodeId;

/// Issues a certificate of the same identity and hosts again, in place of the one that is there.
pub(super) fn renew(
    dir: &Path,
    name: &str,
    from: Option<PathBuf>,
    lifetime: &Lifetime,
    now: Moment,
) -> anyhow::Result<String> {
    let from = match from {
        Some(from) => from,
        None => LeafFiles::of(dir, name)?.certificate,
    };
    let certificates = pem::read_certificates(&from)?;
    let [certificate, ..] = certificates.as_slice() else { bail!("{} has no certificate", from.display()) };
    let of_file = || format!("{} cannot be renewed", from.display());
    let identity = Identity::from_certificate(certificate).with_context(of_file)?;
    let hosts = hosts_of(certificate).with_context(of_file)?;
    let authority = authority(dir)?;
    if identity.cluster != authority.cluster() {
        let (theirs, ours) = (identity.cluster, authority.cluster());
        bail!(
            "{} is of cluster {theirs}, but the authority in {} of {ours}; use the directory of its authority",
            from.display(),
            dir.display()
        );
    }
    let leaf = authority.issue_for_hosts(name, identity.role, &hosts, lifetime.or(LEAF_LIFETIME), now)?;
    let next = "bring both files to where the old ones are in use; a node takes them within a few seconds, or at once \
                on `systemctl reload` (SIGHUP)";
    write(&leaf, dir, name, true, next)
}

/// Puts a certificate on the authority's list.
pub(super) fn revoke(dir: &Path, file: &Path, now: Moment) -> anyhow::Result<String> {
    let certificates = pem::read_certificates(file)?;
    let [certificate, ..] = certificates.as_slice() else { bail!("{} has no certificate", file.display()) };
    let revoked = revocation::revoke(&authority(dir)?, dir, certificate, now)?;
    let what = if revoked.already { "was revoked already" } else { "is revoked" };
    Ok(format!(
        "the certificate of {} {what}\n\
         \x20 list         {}  ({} on it)\n\
         next: bring the list to every node, as crl under [tls] in its quorate.toml; nodes end the sessions of whoever \
         is on it within a few seconds\n",
        revoked.identity,
        revoked.list.display(),
        revoked.count,
    ))
}

/// The id of the node whose certificate is there: replacing the file must not make another node of it.
pub(super) fn node_there(dir: &Path, name: &str) -> anyhow::Result<Option<NodeId>> {
    let path = LeafFiles::of(dir, name)?.certificate;
    if !path.exists() {
        return Ok(None);
    }
    let certificates = pem::read_certificates(&path)?;
    let identity = certificates.first().map(Identity::from_certificate).transpose()?;
    Ok(identity.and_then(|identity| match identity.role {
        Role::Node(node) => Some(node),
        Role::Client(_) | Role::Admin(_) => None,
    }))
}
