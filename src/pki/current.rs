//! Credentials that are renewed while the process runs.
//!
//! A certificate lives for a year, a process maybe longer, and an authority is replaced without stopping a cluster. So
//! whoever makes a connection asks for the credentials of now, and whoever keeps one is told when they change:
//!
//! ```text
//!   files change, SIGHUP -> load and check all -> the same identity? -> swap -> new connections, sessions judged again
//!                                 |                     |
//!                                 +--- no: the old ones stay, the reason is kept and shown
//! ```

use std::sync::Arc;

use tokio::sync::watch;

use super::credentials::Credentials;
use super::identity::Identity;

/// Told of every renewal; holds the newest credentials.
pub type Renewals = watch::Receiver<Arc<Credentials>>;

/// The credentials of one process. Clones are the same.
#[derive(Debug, Clone)]
pub struct CurrentCredentials(Arc<watch::Sender<Arc<Credentials>>>);

/// New credentials are of somebody else. Nothing changed; whose fault: whoever replaced the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the new certificate is of {found}, but this process is {present}; a process keeps its identity: put the files of \
     {present} back, or stop it first"
)]
pub struct OtherIdentity {
    /// Who this process is.
    pub present: Identity,
    /// Who the new files are of.
    pub found: Identity,
}

impl CurrentCredentials {
    /// The first ones.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(credentials))))
    }

    /// Those of now.
    #[must_use]
    pub fn now(&self) -> Arc<Credentials> {
        self.0.borrow().clone()
    }

    /// Whoever keeps a connection is told of renewals by this.
    #[must_use]
    pub fn renewals(&self) -> Renewals {
        self.0.subscribe()
    }

    /// Takes new ones of the same identity.
    ///
    /// # Errors
    /// [`OtherIdentity`].
    pub fn renew(&self, credentials: Credentials) -> Result<(), OtherIdentity> {
        let present = self.now().identity().clone();
        if *credentials.identity() != present {
            return Err(OtherIdentity { present, found: credentials.identity().clone() });
        }
        self.0.send_replace(Arc::new(credentials));
        Ok(())
    }
}
