//! `quorate bench assist`: another client process of a run, started by the first one.

use std::time::Duration;

use clap::Args;

use super::super::connection::Contact;
use super::super::outcome::Outcome;
use super::super::request::timeout;
use crate::load::processes;

/// Take part in a run of another process, which says on standard input what to do.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct AssistArgs {
    /// Time for one request, as the first process has it.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

/// Runs the subcommand.
pub(super) fn run(args: &AssistArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    contact.with_client(args.timeout, async |client| Ok(processes::assist(client).await?))?;
    Ok(Outcome::Done)
}
