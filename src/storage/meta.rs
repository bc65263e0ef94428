//! The `meta` column family: what a node must know before it may speak to anyone.
//!
//! ```text
//!   identity      format u8 | disk u128 | node u128 | cluster u128
//!   generation    u64, the number of the last boot
//!   kernel-boot   the kernel's boot id during it
//!   clean         empty; there after a clean close until the next open
//!   damaged       names of column families that need a rebuild, one a line
//!   rebuilt       those that had one which nobody has taken note of: name, items kept, gaps
//!   verification, reset-secret, disks    the control thread's own: `server::node`
//!   creation      opaque: how the cluster was created
//!   roster, layouts, tables, token-keys    opaque: the control thread's
//! ```
//!
//! Every write is on the disk when it returns, whatever durability the node has: these records are few, and each one
//! is a promise.

use bytes::Bytes;
use rocksdb::{WriteBatch, WriteOptions};

use super::database::{Database, Failed};
use super::family::FamilyName;
use crate::protocol::types::{BootGeneration, ClusterId, DiskId, NodeId};

/// A record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The write is not on the disk, or may be; the node commits nothing more until it is restarted.
    #[error("the disk failed while {record} was written: {message}; see to the disk and restart this node")]
    Failed {
        /// Which record.
        record: &'static str,
        /// RocksDB's message.
        message: String,
    },
    /// The record cannot be read. Nothing changed.
    #[error("{record} cannot be read: {message}")]
    Unreadable {
        /// Which record.
        record: &'static str,
        /// RocksDB's message.
        message: String,
    },
    /// The record is not what this version writes. Nothing changed.
    #[error("{record} has {found} bytes that are no such record; the disk is damaged or a newer quorate wrote it")]
    Malformed {
        /// Which record.
        record: &'static str,
        /// Its length.
        found: usize,
    },
}

/// Whose data directory this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskIdentity {
    /// The directory's own name; a copy of it has the same.
    pub disk: DiskId,
    /// The node that it belongs to.
    pub node: NodeId,
    /// The cluster whose data is in it.
    pub cluster: ClusterId,
}

/// Typed access to the `meta` column family.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'store> {
    database: &'store Database,
}

/// One change to `meta`: a record's name, and what it gets (`None` deletes it).
pub(super) type Change = (&'static str, Option<Vec<u8>>);

impl<'store> Meta<'store> {
    pub(super) fn new(database: &'store Database) -> Self {
        Self { database }
    }

    /// Whose data directory this is; `None` before the first boot.
    pub fn identity(&self) -> Result<Option<DiskIdentity>, MetaError> {
        let Some(record) = self.record(IDENTITY)? else {
            return Ok(None);
        };
        match parse_identity(&record) {
            Some(identity) => Ok(Some(identity)),
            None => Err(MetaError::Malformed { record: IDENTITY, found: record.len() }),
        }
    }

    /// The last boot's number; `None` before the first.
    pub fn generation(&self) -> Result<Option<BootGeneration>, MetaError> {
        let Some(record) = self.record(GENERATION)? else {
            return Ok(None);
        };
        match <[u8; 8]>::try_from(record.as_ref()) {
            Ok(bytes) => Ok(Some(BootGeneration::new(u64::from_be_bytes(bytes)))),
            Err(_) => Err(MetaError::Malformed { record: GENERATION, found: record.len() }),
        }
    }

    /// How the cluster was created, as it was put.
    pub fn creation(&self) -> Result<Option<Bytes>, MetaError> {
        self.record(CREATION)
    }

    /// Keeps how the cluster was created.
    pub fn put_creation(&self, creation: &[u8]) -> Result<(), MetaError> {
        self.put_record(CREATION, creation)
    }

    /// An opaque record of the control thread's, by its name in lower case.
    pub fn record(&self, name: &'static str) -> Result<Option<Bytes>, MetaError> {
        let unreadable = |message| MetaError::Unreadable { record: name, message };
        let handle = self.database.handle(FamilyName::Meta).ok_or_else(|| unreadable(GONE.to_owned()))?;
        let found = self.database.db().get_pinned_cf(&handle, name);
        let found = found.map_err(|error| unreadable(error.into_string()))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Keeps an opaque record.
    ///
    /// # Panics
    /// When the name does not begin with a letter a to z: the kinds are control characters.
    pub fn put_record(&self, name: &'static str, value: &[u8]) -> Result<(), MetaError> {
        assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "a record's name begins with a letter");
        self.apply(&[(name, Some(value.to_vec()))])
    }

    /// Writes all of the changes or none, and syncs.
    pub(super) fn apply(self, changes: &[Change]) -> Result<(), MetaError> {
        let Some((record, _)) = changes.first() else {
            return Ok(());
        };
        self.write(changes).map_err(|Failed(message)| MetaError::Failed { record, message })
    }

    fn write(self, changes: &[Change]) -> Result<(), Failed> {
        let gone = || Failed(GONE.to_owned());
        let handle = self.database.handle(FamilyName::Meta).ok_or_else(gone)?;
        let family = self.database.family(FamilyName::Meta).ok_or_else(gone)?;
        let mut batch = WriteBatch::default();
        for (name, value) in changes {
            match value {
                Some(value) => batch.put_cf(&handle, name, value),
                None => batch.delete_cf(&handle, name),
            }
        }
        self.database.write(batch, &WriteOptions::default())?;
        family.mark_written(self.database.tick());
        self.database.sync().map(|_| ())
    }
}

/// The bytes of an identity record.
pub(super) fn encode_identity(identity: DiskIdentity) -> Vec<u8> {
    let mut out = vec![IDENTITY_FORMAT];
    for id in [identity.disk.as_u128(), identity.node.as_u128(), identity.cluster.as_u128()] {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out
}

fn parse_identity(record: &[u8]) -> Option<DiskIdentity> {
    let (format, rest) = record.split_first()?;
    let (disk, rest) = rest.split_first_chunk::<16>()?;
    let (node, rest) = rest.split_first_chunk::<16>()?;
    let cluster = <[u8; 16]>::try_from(rest).ok()?;
    (*format == IDENTITY_FORMAT).then(|| DiskIdentity {
        disk: DiskId::new(u128::from_be_bytes(*disk)),
        node: NodeId::new(u128::from_be_bytes(*node)),
        cluster: ClusterId::new(u128::from_be_bytes(cluster)),
    })
}

pub(super) const IDENTITY: &str = "identity";
pub(super) const GENERATION: &str = "generation";
pub(super) const KERNEL_BOOT: &str = "kernel-boot";
pub(super) const CLEAN: &str = "clean";
pub(super) const DAMAGED: &str = "damaged";
pub(super) const REBUILT: &str = "rebuilt";
const CREATION: &str = "creation";
const IDENTITY_FORMAT: u8 = 1;
const GONE: &str = "the meta column family is gone";
