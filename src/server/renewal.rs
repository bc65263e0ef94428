//! Certificate files that change under a running node.
//!
//! They are read again every few seconds and compared by content, which also finds a directory that was exchanged as a
//! whole; a SIGHUP does it at once. Certificate and key are two files, so what has just changed is looked at once more
//! before it counts. What cannot be used changes nothing: the node goes on with what it has, says why, once, and shows
//! it as a metric until the files are good again.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use xxhash_rust::xxh3::Xxh3;

use crate::pki::{CredentialFiles, Credentials, CredentialsError, CurrentCredentials, Moment};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a file that are compared: more than any certificate has.
const COMPARED_BYTES_MAX: u64 = 1024 * 1024;

/// How renewals went, for metrics, and how to ask for one.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    asked: Notify,
    renewed: AtomicU64,
    failing: AtomicBool,
}

impl Renewal {
    /// Has the files read now.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// How often newer credentials were taken.
    pub(crate) fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Whether the files hold something that cannot be used.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// What looking at the files came to.
#[derive(Debug)]
enum Look {
    /// They are what is in use.
    Same,
    /// They have just changed: looked at once more before they count.
    Changing,
    /// They can be used.
    New(Credentials),
    /// They cannot.
    Bad(CredentialsError),
}

/// Whoever looks at the files.
#[derive(Debug)]
pub(crate) struct Renewer {
    files: CredentialFiles,
    /// What is in use.
    used: u64,
    /// What was there at the last look.
    seen: u64,
    /// Why what is there is not used, as it was told last.
    told: Option<String>,
}

impl Renewer {
    /// The first credentials.
    pub(crate) fn load(files: CredentialFiles, now: Moment) -> Result<(Self, Credentials), CredentialsError> {
        // Before they are read: a change in between is then found by the next look.
        let seen = content(&files);
        let credentials = Credentials::load_at(&files, now)?;
        Ok((Self { files, used: seen, seen, told: None }, credentials))
    }

    /// Looks for as long as the node runs.
    pub(crate) async fn run(mut self, current: CurrentCredentials, renewal: std::sync::Arc<Renewal>) {
        loop {
            let asked = tokio::time::timeout(LOOK_EVERY, renewal.asked.notified()).await.is_ok();
            // Files may be on a network, and the node's control thread must not wait for one.
            let looked = tokio::task::spawn_blocking(move || {
                let look = self.look(asked, Moment::now());
                (self, look)
            });
            let Ok((renewer, look)) = looked.await else { return };
            self = renewer;
            self.act(look, asked, &current, &renewal);
        }
    }

    fn look(&mut self, asked: bool, now: Moment) -> Look {
        let found = content(&self.files);
        let settled = found == std::mem::replace(&mut self.seen, found);
        if found == self.used {
            return Look::Same;
        }
        if !settled && !asked {
            return Look::Changing;
        }
        match Credentials::load_at(&self.files, now) {
            Ok(credentials) => Look::New(credentials),
            Err(error) => Look::Bad(error),
        }
    }

    fn act(&mut self, look: Look, asked: bool, current: &CurrentCredentials, renewal: &Renewal) {
        let refusal = match look {
            Look::Changing => return,
            Look::Same => {
                if asked {
                    tracing::info!("the certificate files are what is in use already");
                }
                None
            }
            Look::New(credentials) => {
                let not_after = credentials.not_after();
                match current.renew(credentials) {
                    Ok(()) => {
                        self.used = self.seen;
                        renewal.renewed.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(%not_after, "renewed the certificate; new connections use it from now on");
                        None
                    }
                    Err(error) => Some(error.to_string()),
                }
            }
            Look::Bad(error) => Some(error.to_string()),
        };
        renewal.failing.store(refusal.is_some(), Ordering::Relaxed);
        if let Some(reason) = refusal.as_ref().filter(|reason| asked || Some(*reason) != self.told.as_ref()) {
            tracing::error!(%reason, "the new certificate files cannot be used; the node goes on with the old ones");
        }
        self.told = refusal;
    }
}

/// A name for what the files hold. A file that cannot be read counts as empty: reading it for use will say why.
fn content(files: &CredentialFiles) -> u64 {
    let mut hash = Xxh3::new();
    for path in [&files.certificate, &files.key, &files.ca].into_iter().chain(&files.crl) {
        let bytes = bytes_of(path).unwrap_or_default();
        hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(&bytes);
    }
    hash.digest()
}

fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(COMPARED_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
