//! `quorate put`: writes an item.

use std::fs::File;
use std::io::{self, Read};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;

use super::address::AddressArgs;
use super::connection::Contact;
use super::outcome::{Outcome, UsageError};
use super::request::{RequestArgs, replicas};
use super::screen;
use crate::client::{Context, Put};
use crate::protocol::types::WriteId;
use crate::protocol::types::limits::VALUE_BYTES_MAX;

/// Write an item.
///
/// Without --context the value stands beside what is there, as a sibling. With the context of a get it replaces exactly
/// what that get showed.
#[derive(Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    address: AddressArgs,
    /// The value itself, - for standard input, or @FILE for a file's content.
    #[arg(value_name = "VALUE|-|@FILE", allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    request: RequestArgs,
}

/// What writes have beside an address.
#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    /// Context of the get that the write replaces.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    context: Option<Context>,
    /// Copies that must be stored, 1 to 7. Default: the profile's, else the cluster's.
    #[arg(short, value_name = "COPIES", value_parser = replicas())]
    w: Option<u8>,
    /// Name of the write, 32 hexadecimal digits: repeat it to repeat a write that may have happened.
    #[arg(long, value_name = "ID")]
    write_id: Option<WriteId>,
}

impl WriteArgs {
    /// The write as it was asked for.
    pub(super) fn apply<'a>(&self, mut put: Put<'a>, strict: bool) -> Put<'a> {
        if let Some(context) = &self.context {
            put = put.context(context);
        }
        if let Some(w) = self.w {
            put = put.w(w);
        }
        if let Some(id) = self.write_id {
            put = put.write_id(id);
        }
        if strict { put.strict() } else { put }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The client's; a refused quorum says what is stored all the same.
pub fn run(args: &PutArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let address = args.address.check()?;
    let value = read_value(&args.value)?;
    let written = contact.with_client(args.request.timeout, async |client| {
        let put = args.write.apply(client.put(address, value), args.request.strict);
        Ok((put.send().await?, client.view().roster))
    });
    let (written, roster) = written?;
    if args.request.json {
        screen::print_json(&screen::written_json(&written, &roster))?;
    } else {
        screen::print(screen::written_text("stored", &written, &roster).as_bytes())?;
        screen::note(&format!("context: {}", written.context));
    }
    Ok(Outcome::Done)
}

/// The value that the argument stands for.
fn read_value(argument: &str) -> anyhow::Result<Bytes> {
    if argument == "-" {
        return read_bounded(io::stdin().lock(), "standard input");
    }
    match argument.strip_prefix('@') {
        Some(path) => {
            let file = File::open(path).with_context(|| {
                format!("cannot read {path}; to store a value that begins with @, give it on standard input with -")
            })?;
            read_bounded(file, path)
        }
        None => Ok(Bytes::copy_from_slice(argument.as_bytes())),
    }
}

fn read_bounded(source: impl Read, name: &str) -> anyhow::Result<Bytes> {
    let mut value = Vec::new();
    let limit = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    source.take(limit.saturating_add(1)).read_to_end(&mut value).with_context(|| format!("cannot read {name}"))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(UsageError(format!(
            "{name} has more than {VALUE_BYTES_MAX} bytes, the most that a value may have; split it over several sort \
             keys"
        ))
        .into());
    }
    Ok(value.into())
}
