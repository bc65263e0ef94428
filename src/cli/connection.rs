//! From a profile to a client, and the runtime that both live on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::client::{Client, ClientOptions};
use crate::config::Profile;
use crate::pki::Credentials;

/// The environment variable that makes the transport talk: `QUORATE_LOG=debug`.
const LOG_VARIABLE: &str = "QUORATE_LOG";

/// Where the profile is, as far as the command line says.
#[derive(Debug)]
pub struct Contact {
    profile: Option<PathBuf>,
}

impl Contact {
    pub(super) const fn new(profile: Option<PathBuf>) -> Self {
        Self { profile }
    }

    /// The arguments that make another process of this program find the same profile.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let named = self.profile.iter().flat_map(|profile| ["--profile".into(), profile.clone().into_os_string()]);
        named.collect()
    }

    /// Profile and certificate, read and checked.
    pub(super) fn options(&self, timeout: Option<Duration>) -> anyhow::Result<ClientOptions> {
        let profile = Profile::discover(self.profile.as_deref())?;
        let credentials = Credentials::load(&profile.tls.certificate, &profile.tls.key, &profile.tls.ca)
            .context("the profile's certificate cannot be used")?;
        let mut options = ClientOptions::new(profile.nodes, credentials);
        options.timeouts.request = timeout.unwrap_or(profile.timeout);
        options.quorums.read = profile.read_quorum;
        options.quorums.write = profile.write_quorum;
        Ok(options)
    }

    /// Connects, does the work, and takes leave of the nodes.
    pub(super) fn with_client<T>(
        &self,
        timeout: Option<Duration>,
        work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let options = self.options(timeout)?;
        block_on(async {
            let client = Client::connect(options).await?;
            let done = work(&client).await;
            client.close().await;
            done
        })
    }
}

/// Runs a command's future on this thread; a command has no use for more.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let filter = EnvFilter::builder().with_env_var(LOG_VARIABLE).with_default_directive(tracing::Level::ERROR.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr);
    // One that is set already stays.
    log.try_init().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(work)
}
