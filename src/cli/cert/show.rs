//! Certificates and revocation lists, for people.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::DAY;
use crate::pki::description::{Described, describe, describe_list};
use crate::pki::{Moment, pem};

/// Describes files, or all of a directory. Fails when one of the certificates ends within a time.
pub(super) fn show(dir: &Path, files: Vec<PathBuf>, within: Option<Duration>, now: Moment) -> anyhow::Result<String> {
    let files = if files.is_empty() { all_of(dir)? } else { files };
    let mut report = String::new();
    let mut ending = Vec::new();
    for file in &files {
        if file.extension().is_some_and(|extension| extension == "crl") {
            for list in pem::read_revocation_lists(file)? {
                let list = describe_list(&list).with_context(|| format!("{} cannot be shown", file.display()))?;
                writeln!(report, "{}", file.display())?;
                writeln!(report, "  issued by    {}", list.issuer)?;
                writeln!(report, "  made         {}, number {}", list.made, list.number)?;
                for (serial, since) in &list.revoked {
                    writeln!(report, "  revoked      serial {serial} since {since}")?;
                }
            }
            continue;
        }
        for certificate in pem::read_certificates(file)? {
            let described = describe(&certificate).with_context(|| format!("{} cannot be shown", file.display()))?;
            lay(&mut report, file, &described, now)?;
            let ends = described.validity.not_after;
            if within.is_some_and(|within| ends < now.after(within)) {
                ending.push(format!("{} at {ends}", file.display()));
            }
        }
    }
    match (ending.is_empty(), within) {
        (false, Some(within)) => {
            bail!("{report}ending within {}: {}", humantime::format_duration(within), ending.join(", "))
        }
        _ => Ok(report),
    }
}

fn lay(report: &mut String, file: &Path, described: &Described, now: Moment) -> std::fmt::Result {
    let validity = described.validity;
    writeln!(report, "{}", file.display())?;
    writeln!(report, "  identity     {}", described.uri)?;
    writeln!(report, "  may          {}", described.purposes.join(", "))?;
    writeln!(report, "  issued by    {}", described.issuer)?;
    writeln!(report, "  serial       {}", described.serial)?;
    if !described.hosts.is_empty() {
        writeln!(report, "  hosts        {}", described.hosts.join(", "))?;
    }
    let left = validity.not_after.as_unix().checked_sub(now.as_unix());
    let left = match left {
        None => "EXPIRED".to_owned(),
        Some(_) if now < validity.not_before => "not valid yet".to_owned(),
        Some(seconds) if seconds < 2 * DAY.as_secs() => format!("{} h left", seconds / 3600),
        Some(seconds) => format!("{} days left", seconds / DAY.as_secs()),
    };
    writeln!(report, "  valid        {} to {}  ({left})", validity.not_before, validity.not_after)
}

/// The certificates and lists of a directory, the authority's first.
fn all_of(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in read {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        let is_shown = path.extension().is_some_and(|extension| extension == "crt" || extension == "crl");
        if is_shown {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{} has no certificates; `quorate cert ca` makes an authority there", dir.display());
    }
    let is_leaf = |path: &PathBuf| path.file_stem().is_none_or(|stem| stem != "ca");
    files.sort_by_key(|path| (is_leaf(path), path.clone()));
    Ok(files)
}
