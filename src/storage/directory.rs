//! The data directory, and the lock that keeps it to one process.
//!
//! Two processes on one RocksDB destroy it. RocksDB has a lock of its own, but its message names neither the owner nor
//! the way out, and it lets go while partitions are created (the database is closed and opened again). Ours is a
//! flock(2) on `<path>/lock`: the kernel drops it when the process dies, however it dies, so there is no stale lock.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

/// A data directory that this process has to itself.
#[derive(Debug)]
pub(super) struct DataDirectory {
    path: PathBuf,
    /// Dropping it unlocks; a field for that only.
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory when there is none, readable by its owner only (token keys are in it), and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Directory { path: path.to_owned(), source };
        let created = !path.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        sign(&mut lock).map_err(failed)?;
        if created {
            sync_entry(path).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The data directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// RocksDB's directory inside it.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join("rocksdb")
    }
}

/// Writes our process id into the lock file, for whoever meets the lock.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// Who has the lock, as far as the lock file tells.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

/// Makes a new directory's own entry durable: an fsync of a file does not cover the name of its directory.
fn sync_entry(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

const LOCK_FILE: &str = "lock";
/// A process id has at most ten digits; whatever else is in the file is not ours.
const HOLDER_BYTES_MAX: u64 = 16;
