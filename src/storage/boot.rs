//! A boot: a process takes over a data directory.
//!
//! Each boot gets a number above all earlier ones, on the disk before anybody hears it: peers tell two processes with
//! one node id apart by it. And each boot learns how the one before it ended, because what may be missing depends on
//! that:
//!
//! ```text
//!   stopped clean                        nothing
//!   killed, the kernel stayed up         nothing: the log was with the operating system
//!   killed, the kernel restarted too     what was not synced; with `sync` nothing that was acknowledged
//! ```
//!
//! # Caveats
//! The kernel's boot id tells a power loss from a crash of the process. It does not tell that the directory was
//! restored from an older copy; the boot generation, which peers remember, does.

use std::fs;
use std::path::PathBuf;

use super::database::Database;
use super::meta::{self, DiskIdentity, Meta, MetaError};
use crate::protocol::types::{BootGeneration, ClusterId, DiskId, NodeId};

/// How this process comes to its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// This boot's number, on the disk.
    pub generation: BootGeneration,
    /// The directory's name.
    pub disk: DiskId,
    /// The directory had no identity before: a new node, or a known one that lost its disk.
    pub fresh: bool,
    /// The boot before closed the store. True for a fresh directory: nothing is missing from it.
    pub clean: bool,
    /// The operating system has been up since the boot before. False when that cannot be found out.
    pub same_kernel_boot: bool,
}

/// The data directory is not this node's to use. Nothing in it changed, unless it says that the disk failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// The configuration or the certificate belongs to another node than the directory.
    #[error(
        "{} belongs to node {found}, and this is node {expected}; start it with the certificate of {found}, or give \
         {expected} a directory of its own", path.display()
    )]
    ForeignNode {
        /// The data directory.
        path: PathBuf,
        /// In the directory.
        found: NodeId,
        /// In the certificate.
        expected: NodeId,
    },
    /// The data is another cluster's.
    #[error(
        "{} has data of cluster {found}, and this node's certificate is of cluster {expected}; use that cluster's \
         certificates, or give this node a directory of its own", path.display()
    )]
    ForeignCluster {
        /// The data directory.
        path: PathBuf,
        /// In the directory.
        found: ClusterId,
        /// In the certificate.
        expected: ClusterId,
    },
    /// A record of the boot could not be read or written.
    #[error("the boot records in {} are out of reach: {source}", path.display())]
    Meta {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with which record.
        source: MetaError,
    },
}

/// Who wants the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    /// The name that the directory gets when it has none.
    pub(super) fresh_disk: DiskId,
    /// The clean marker was there when the store was opened.
    pub(super) clean: bool,
}

/// Checks whose directory it is, and counts the boot.
pub(super) fn begin(database: &Database, path: &std::path::Path, claim: Claim) -> Result<Boot, BootError> {
    let meta = Meta::new(database);
    let failed = |source| BootError::Meta { path: path.to_owned(), source };
    let found = meta.identity().map_err(failed)?;
    let identity = match found {
        None => DiskIdentity { disk: claim.fresh_disk, node: claim.node, cluster: claim.cluster },
        Some(found) if found.node != claim.node => {
            return Err(BootError::ForeignNode { path: path.to_owned(), found: found.node, expected: claim.node });
        }
        Some(found) if found.cluster != claim.cluster => {
            let (found, expected) = (found.cluster, claim.cluster);
            return Err(BootError::ForeignCluster { path: path.to_owned(), found, expected });
        }
        Some(found) => found,
    };
    let last = meta.generation().map_err(failed)?.map_or(0, BootGeneration::as_u64);
    // Only a damaged record is so high; nothing above it is left.
    let spent = MetaError::Malformed { record: meta::GENERATION, found: size_of::<u64>() };
    let generation = last.checked_add(1).ok_or_else(|| failed(spent))?;
    let kernel = kernel_boot();
    let same_kernel_boot =
        !kernel.is_empty() && meta.record(meta::KERNEL_BOOT).map_err(failed)? == Some(kernel.clone().into());
    meta.apply(&[
        (meta::GENERATION, Some(generation.to_be_bytes().to_vec())),
        (meta::IDENTITY, Some(meta::encode_identity(identity))),
        (meta::KERNEL_BOOT, Some(kernel.into_bytes())),
    ])
    .map_err(failed)?;
    Ok(Boot {
        generation: BootGeneration::new(generation),
        disk: identity.disk,
        fresh: found.is_none(),
        clean: found.is_none() || claim.clean,
        same_kernel_boot,
    })
}

/// The kernel's id of its own boot; empty when there is none to read.
fn kernel_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
