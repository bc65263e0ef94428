//! `quorate delete`: deletes an item.

use clap::Args;

use super::address::AddressArgs;
use super::connection::Contact;
use super::outcome::Outcome;
use super::put::WriteArgs;
use super::request::RequestArgs;
use super::screen;

/// Delete an item.
///
/// Without --context it deletes what a quorum holds now. With the context of a get it deletes what that get showed, and
/// what was written since stays.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    address: AddressArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    request: RequestArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// The client's; a refused quorum says what is stored all the same.
pub fn run(args: &DeleteArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let address = args.address.check()?;
    let deleted = contact.with_client(args.request.timeout, async |client| {
        let delete = args.write.apply(client.delete(address), args.request.strict);
        Ok((delete.send().await?, client.view().roster))
    });
    let (deleted, roster) = deleted?;
    if args.request.json {
        screen::print_json(&screen::written_json(&deleted, &roster))?;
    } else {
        screen::print(screen::written_text("deleted", &deleted, &roster).as_bytes())?;
        screen::note(&format!("context: {}", deleted.context));
    }
    Ok(Outcome::Done)
}
