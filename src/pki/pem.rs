//! Certificates and keys in files: read with errors that name the path, written without replacing one by accident.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// Mode of a certificate: everyone may read it.
pub const CERTIFICATE_MODE: u32 = 0o644;
/// Mode of a key: its owner alone.
pub const KEY_MODE: u32 = 0o600;

/// The bits that let anyone but the owner touch a file.
const FOREIGN_BITS: u32 = 0o077;

/// 1 MiB: a chain or a bundle of authorities is a few kilobytes; a wrong path may be anything.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is wrong with a file. No file was changed, unless the variant says otherwise; whose fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// Missing, or not ours to read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Surely not a certificate or a key.
    #[error("{} has more than {FILE_BYTES_MAX} bytes, so it is no certificate or key; check the path", path.display())]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// A readable file without what was looked for.
    #[error("{} has no {what} in PEM form; it should have a line -----BEGIN {begin}-----", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// The words of the line that was missed.
        begin: &'static str,
    },
    /// A section that is cut off or not base64.
    #[error("{} is damaged: {reason}; copy it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// Others could read the key and take this identity.
    #[error("the key {0} has mode {mode:04o}, so others can read it; run `chmod 600 {0}`", path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not overwritten by accident: it may be the only copy of a key.
    #[error(
        "{} exists already and is not overwritten; choose another name or directory, or say --force to replace it",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the directory refused. A half-written file was removed; when only its name could not be made
    /// durable, both files are there.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads all certificates of a file, in order: at least one.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let (text, _) = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| PemError::Damaged { path: path.to_owned(), reason: e.to_string() })?;
    if certificates.is_empty() {
        return Err(PemError::Empty { path: path.to_owned(), what: "certificate", begin: "CERTIFICATE" });
    }
    Ok(certificates)
}

/// Reads all revocation lists of a file: at least one.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let (text, _) = read(path)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| PemError::Damaged { path: path.to_owned(), reason: e.to_string() })?;
    if lists.is_empty() {
        return Err(PemError::Empty { path: path.to_owned(), what: "revocation list", begin: "X509 CRL" });
    }
    Ok(lists)
}

/// Reads the first private key of a file that only its owner can read.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let (text, mode) = read(path)?;
    // The content first: for a wrong path `chmod` would be the wrong way out.
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => {
            PemError::Empty { path: path.to_owned(), what: "private key", begin: "PRIVATE KEY" }
        }
        e => PemError::Damaged { path: path.to_owned(), reason: e.to_string() },
    })?;
    if mode & FOREIGN_BITS != 0 {
        return Err(PemError::KeyMode { path: path.to_owned(), mode });
    }
    Ok(key)
}

/// The bytes and the permission bits of one and the same open file.
fn read(path: &Path) -> Result<(Vec<u8>, u32), PemError> {
    let unreadable = |source| PemError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).map_or(true, |read| read > FILE_BYTES_MAX) {
        return Err(PemError::Large { path: path.to_owned() });
    }
    Ok((bytes, mode))
}

/// Writes a certificate and its key as two new files, or neither. Creates the directory (mode 0700) when it is missing.
///
/// # Errors
/// [`PemError::Exists`] when either is there, [`PemError::Unwritable`] otherwise.
pub fn write_pair(certificate: (&Path, &str), key: (&Path, &str)) -> Result<(), PemError> {
    for path in [certificate.0, key.0] {
        if path.symlink_metadata().is_ok() {
            return Err(PemError::Exists { path: path.to_owned() });
        }
    }
    if let Some(directory) = key.0.parent() {
        create_directory(directory)?;
    }
    write_new(key.0, key.1, KEY_MODE)?;
    write_new(certificate.0, certificate.1, CERTIFICATE_MODE).inspect_err(|_| discard(key.0))?;
    sync_names(&[certificate.0, key.0])
}

/// Writes a certificate and its key in place of what is there. A reader in between may see the new key beside the old
/// certificate; each file by itself is the old one or the new one.
///
/// # Errors
/// [`PemError::Unwritable`]; before the first file is replaced nothing has changed.
pub fn replace_pair(certificate: (&Path, &str), key: (&Path, &str)) -> Result<(), PemError> {
    if let Some(directory) = key.0.parent() {
        create_directory(directory)?;
    }
    let (fresh_key, fresh_certificate) = (fresh(key.0), fresh(certificate.0));
    write_fresh(&fresh_key, key.1, KEY_MODE)?;
    write_fresh(&fresh_certificate, certificate.1, CERTIFICATE_MODE).inspect_err(|_| discard(&fresh_key))?;
    rename(&fresh_key, key.0)?;
    rename(&fresh_certificate, certificate.0)?;
    sync_names(&[certificate.0, key.0])
}

/// Writes a file that everyone may read, in place of what is there.
///
/// # Errors
/// [`PemError::Unwritable`]; nothing has changed then, except when only the name could not be made durable.
pub fn replace(path: &Path, text: &str) -> Result<(), PemError> {
    let fresh = fresh(path);
    write_fresh(&fresh, text, CERTIFICATE_MODE)?;
    rename(&fresh, path)?;
    sync_names(&[path])
}

/// Where a file's successor is written before it takes the name.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// What an earlier attempt left under this name is of no use to anybody.
fn write_fresh(path: &Path, text: &str, mode: u32) -> Result<(), PemError> {
    discard(path);
    write_new(path, text, mode)
}

fn rename(from: &Path, to: &Path) -> Result<(), PemError> {
    fs::rename(from, to).map_err(|source| {
        discard(from);
        PemError::Unwritable { path: to.to_owned(), source }
    })
}

/// The names too: a file without its name is as lost as one without its bytes.
fn sync_names(paths: &[&Path]) -> Result<(), PemError> {
    for path in paths {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|source| PemError::Unwritable { path: directory.to_owned(), source })?;
    }
    Ok(())
}

fn create_directory(directory: &Path) -> Result<(), PemError> {
    use std::os::unix::fs::DirBuilderExt;
    let built = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    built.map_err(|source| PemError::Unwritable { path: directory.to_owned(), source })
}

/// Writes a file that must not be there, and makes it durable: losing a key after its certificate was handed out hurts.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), PemError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(PemError::Exists { path: path.to_owned() }),
        Err(source) => return Err(PemError::Unwritable { path: path.to_owned(), source }),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        discard(path);
        PemError::Unwritable { path: path.to_owned(), source }
    })
}

/// Removes a file that this call has just made, or is about to make anew. The error that led here is the one to report.
fn discard(path: &Path) {
    drop(fs::remove_file(path));
}
