//! `quorate bench assist`: another client process of a run, started by the first one.

use clap::Args;

use super::super::connection::Contact;
use super::super::outcome::Outcome;
use crate::load::processes;

/// Take part in a run of another process, which says on standard input what to do.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct AssistArgs {}

/// Runs the subcommand.
pub(super) fn run(_args: &AssistArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    contact.with_client(None, async |client| Ok(processes::assist(client).await?))?;
    Ok(Outcome::Done)
}
