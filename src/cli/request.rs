//! The arguments that all requests share, and their parsers.

use std::time::Duration;

use clap::Args;

use crate::protocol::types::limits::BUDGET_MS_MAX;

/// How a request is made and its answer shown.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// Only owners count toward the quorum, no stand-ins; reads never go back in time.
    #[arg(long)]
    pub(super) strict: bool,
    /// Print JSON, as the HTTP door does.
    #[arg(long)]
    pub(super) json: bool,
    /// Time for the request with its retries, such as 500ms or 2s; at most 60s. Default: the profile's.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(super) timeout: Option<Duration>,
}

/// For clap: a time from 1 ms to what nodes grant.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_millis(u64::from(BUDGET_MS_MAX));
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_millis(1)..=longest).contains(&time) => Ok(time),
        Ok(_) => Err(format!("use 1ms to {}s", longest.as_secs())),
        Err(error) => Err(format!("{error}; write a time such as 500ms or 2s")),
    }
}

/// For clap: a number of replicas.
pub(super) fn replicas() -> impl clap::builder::IntoResettable<clap::builder::ValueParser> {
    use crate::protocol::types::limits::REPLICAS_MAX;
    clap::value_parser!(u8).range(1..=i64::try_from(REPLICAS_MAX).unwrap_or(i64::MAX))
}
