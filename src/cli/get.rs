//! `quorate get`: reads an item.

use std::io::{self, IsTerminal as _};

use clap::Args;

use super::address::AddressArgs;
use super::connection::Contact;
use super::outcome::Outcome;
use super::request::{RequestArgs, replicas};
use super::screen::{self, Paint, paint};
use crate::client::{Value, Versions};

/// Read an item.
///
/// One version is printed as it is; several, concurrent ones are printed one after the other, each under a line with
/// its dot and time, and the exit code is 3. The exit code of an absent item is 4. The context goes to standard error.
#[derive(Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    address: AddressArgs,
    /// Replicas that must answer, 1 to 7. Default: the profile's, else the cluster's.
    #[arg(short, value_name = "REPLICAS", value_parser = replicas())]
    r: Option<u8>,
    #[command(flatten)]
    request: RequestArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// The client's.
pub fn run(args: &GetArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let address = args.address.check()?;
    let shown = format!("{address:?}");
    let read = contact.with_client(args.request.timeout, async |client| {
        let get = client.get(address);
        let get = if let Some(r) = args.r { get.r(r) } else { get };
        let get = if args.request.strict { get.strict() } else { get };
        Ok(get.send().await?)
    });
    let read = read?;
    if args.request.json {
        screen::print_json(&screen::versions_json(&read))?;
    } else {
        if !read.is_absent() {
            screen::print(&text(&read.values, io::stdout().is_terminal()))?;
        }
        note(&read, &shown);
    }
    Ok(match read.values.len() {
        0 => Outcome::Absent,
        1 => Outcome::Done,
        _ => Outcome::Siblings,
    })
}

/// What stands on standard error.
fn note(read: &Versions, address: &str) {
    match (read.values.len(), read.context.is_none()) {
        (0, true) => screen::note(&format!("{address} is absent")),
        (0, false) => screen::note(&format!("{address} is deleted")),
        (1, _) => {}
        (count, _) => screen::note(&format!(
            "{address} has {count} concurrent versions; merge them and `quorate put` the result with --context"
        )),
    }
    if !read.context.is_none() {
        screen::note(&format!("context: {}", read.context));
    }
}

/// The only version as it is; several under a line each. Nothing is added to a value that a program reads.
fn text(values: &[Value], for_people: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let count = values.len();
    for (at, value) in values.iter().enumerate() {
        if count > 1 {
            let written = screen::time(value.written_at);
            let head = format!("--- version {} of {count}, dot {}, written {written}", at + 1, value.dot);
            out.extend_from_slice(paint(Paint::Bold, &head).as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(&value.bytes);
        let is_complete = value.bytes.last() == Some(&b'\n');
        if (count > 1 || for_people) && !is_complete {
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests;
