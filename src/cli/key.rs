//! `quorate key`: a key under the magnifying glass.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use super::address::AddressArgs;
use super::connection::Contact;
use super::outcome::{Outcome, UsageError};
use super::request::timeout;
use super::screen::{self, Colours};
use crate::client::inspect::Inspection;
use crate::client::{Client, ClientError};
use crate::protocol::types::{Address, WallTime};

mod account;

/// Look at a key on all nodes.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    Inspect(InspectArgs),
}

/// Show where an item lives and what each node holds of it.
///
/// Asks every node of the item's preference list for its own copy: versions, tombstones, sizes, times and what they
/// replaced, no values. Nothing is merged and nothing repaired. A copy that lacks what another one has is behind. Exit
/// code 1 when no node answers.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    address: AddressArgs,
    /// Ask only this node, by its name or id.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Time for all nodes together, such as 500ms or 2s. Default: the profile's.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

/// Carries the command out.
pub fn run(args: &KeyArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    match &args.command {
        KeyCommand::Inspect(args) => inspect(args, contact),
    }
}

fn inspect(args: &InspectArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let address = args.address.check()?;
    let (seen, partitions) = contact.with_client(args.timeout, async |client| {
        let seen = ask(client, &address, args.node.as_deref()).await?;
        Ok((seen, client.view().parameters.partitions))
    })?;
    let now = wall();
    if args.json {
        screen::print_json(&account::to_json(&address, &seen, now))?;
    } else {
        let (width, colours) = (screen::width(), Colours::of_stdout());
        let text = account::to_text(&address, &seen, partitions, now, width, colours);
        screen::print(text.as_bytes())?;
    }
    let answered = seen.replicas.iter().any(|replica| replica.answer.is_ok());
    Ok(if answered { Outcome::Done } else { Outcome::Failed })
}

async fn ask(client: &Client, address: &Address, only: Option<&str>) -> anyhow::Result<Inspection> {
    client.inspect(address, only).await.map_err(|error| match error {
        ClientError::NoSuchNode(name) => {
            let view = client.view();
            let mut names: Vec<&str> = view.roster.members().iter().map(|member| member.name.as_str()).collect();
            names.sort_unstable();
            UsageError(format!("--node {name}: no member has this name or id; the members are {}", names.join(", ")))
                .into()
        }
        error => error.into(),
    })
}

/// Now, as versions are stamped. A clock before 1970 makes everything old.
fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other).unwrap_or_default();
    WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
