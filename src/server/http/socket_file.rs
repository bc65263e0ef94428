//! The unix socket's file: made with its mode from the first moment, and removed when the door closes.
//!
//! `bind` makes the file with whatever the umask leaves, and a `chmod` afterwards leaves a moment in which anyone may
//! connect. The umask is the whole process's. So the socket is bound under a passing name, given its mode, and renamed:
//! under its own name it is never seen with another mode. The rename also replaces the file that an unclean stop left.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::listener::BindError;

/// Mode of the socket: its owner and its group may connect.
pub const SOCKET_MODE: u32 = 0o660;

/// Longest path of the socket, bytes. The system's limit is 107, and the passing name may be a few bytes longer.
const PATH_BYTES_MAX: usize = 96;

/// A socket's file. Dropping it removes the file, unless somebody else's is there by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    /// Binds a listener at the path.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, Self), BindError> {
        let failed = |source| BindError::Socket { path: path.to_owned(), source };
        let bytes = path.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            return Err(BindError::SocketPath { path: path.to_owned(), bytes, limit: PATH_BYTES_MAX });
        }
        refuse_occupied(path)?;
        let passing = passing_name(path);
        // A process with this number died between the two names.
        if passing.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
            discard(&passing);
        }
        let listener = UnixListener::bind(&passing).map_err(failed)?;
        let placed = place(&passing, path).inspect_err(|_| discard(&passing)).map_err(failed)?;
        Ok((listener, Self { path: path.to_owned(), inode: placed }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == self.inode) {
            discard(&self.path);
        }
    }
}

/// Gives the socket its mode, then its name.
fn place(passing: &Path, path: &Path) -> io::Result<(u64, u64)> {
    fs::set_permissions(passing, Permissions::from_mode(SOCKET_MODE))?;
    let made = fs::symlink_metadata(passing)?;
    fs::rename(passing, path)?;
    Ok((made.dev(), made.ino()))
}

/// A name in the same directory that no other running process takes.
fn passing_name(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{:x}", std::process::id()))
}

/// Whether something is there that must not be replaced.
fn refuse_occupied(path: &Path) -> Result<(), BindError> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(BindError::NoSocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::SocketInUse { path: path.to_owned() }),
        // Nobody listens: an unclean stop left it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(BindError::Socket { path: path.to_owned(), source }),
    }
}

/// Removes a file if it is there. What happens next is told by what happens next.
fn discard(path: &Path) {
    drop(fs::remove_file(path));
}
