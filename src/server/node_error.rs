//! Why a node did not start, or ended by itself.

use std::path::PathBuf;

use super::http;
use crate::pki::tls::TlsError;
use crate::pki::{CredentialsError, Role};
use crate::storage::{BootError, CloseError, MetaError, OpenError};
use crate::transport::BindError;

/// The node did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The certificate, its key or its CA.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate is a client's or an administrator's.
    #[error("{path} is the certificate of {role}, not of a node; make one with `quorate cert node`")]
    NotANode {
        /// Which file.
        path: String,
        /// Whose it is.
        role: Role,
    },
    /// The certificate cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory belongs to another node or cluster.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The node's own records.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The record of the cluster's creation.
    #[error(
        "the record of the cluster's creation cannot be used: {0}; this data directory needs another program version"
    )]
    Creation(String),
    /// A UDP port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP door.
    #[error(transparent)]
    Http(#[from] http::BindError),
    /// A thread or a runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The disk failed; nothing that was not safe was acknowledged.
    #[error("the disk failed, so the node has ended: {0}")]
    Disk(String),
    /// No room on the disk, not even for the log or for a start. Nothing that was safe was lost.
    #[error(
        "the disk of {} is full ({free} bytes are free): {text}; nothing that was acknowledged as safe is lost: free \
         some hundred megabytes on that disk (`du -x` finds the large files; never remove one of the data directory), \
         then start this node again", path.display()
    )]
    DiskFull {
        /// The data directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// What the disk refused.
        text: String,
    },
    /// The data directory was not closed cleanly.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// A thread panicked: a mistake of ours.
    #[error("the control thread panicked")]
    Panicked,
}
