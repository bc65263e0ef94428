//! `quorate export`: writes all items as JSON lines, in the shape that `quorate import` reads.
//!
//! Addresses come from a scan, in the order of the keys' hashes: the same order in every export of one cluster. Values
//! are read by ordinary quorum reads, many at a time, and written in that order. An item that is deleted meanwhile is
//! left out.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::task::JoinHandle;

use super::address::table_name;
use super::connection::Contact;
use super::line::lines_of;
use super::meter::Meter;
use super::outcome::Outcome;
use super::request::timeout;
use super::screen;
use crate::client::{Client, ClientError, Versions};
use crate::protocol::types::{Address, TableName};

/// Write all items as JSON lines, in the shape that import reads.
///
/// Lines have "table", "key", "sort" (unless it is empty) and "value"; what is not UTF-8 stands in `key_base64`,
/// `sort_base64` and `value_base64`. An item with siblings is one line for each, with the same "context". The order is
/// the same in every export of one cluster. It is no snapshot: what is written meanwhile may be in it or not.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only this table.
    #[arg(long, value_name = "TABLE", value_parser = table_name)]
    table: Option<TableName>,
    /// File to write, replaced when complete; standard output when not given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Reads at once.
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// Time for each read with its retries.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = timeout)]
    timeout: Duration,
}

/// Runs the subcommand.
///
/// # Errors
/// A partition that too few owners list, an item that cannot be read, a file that cannot be written. What was written
/// so far is then no export.
pub fn run(args: ExportArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let in_flight = usize::from(args.in_flight);
    contact.with_client(Some(args.timeout), async |client| {
        let count = match &args.output {
            None => export(client, args.table, in_flight, &mut BufWriter::new(io::stdout().lock())).await?,
            Some(path) => {
                let part = part_of(path);
                let shown = || format!("cannot write {}", part.display());
                let mut file = BufWriter::new(File::create(&part).with_context(shown)?);
                let count = export(client, args.table, in_flight, &mut file).await?;
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all().with_context(shown)?;
                fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))?;
                count
            }
        };
        screen::note(&format!("exported {} items, {} of them with siblings", count.items, count.with_siblings));
        Ok(Outcome::Done)
    })
}

/// Where the file is while it is not complete.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

#[derive(Debug, Default)]
struct Count {
    items: u64,
    with_siblings: u64,
}

type Reading = JoinHandle<Result<Versions, ClientError>>;

async fn export(
    client: &Client,
    table: Option<TableName>,
    in_flight: usize,
    out: &mut impl Write,
) -> anyhow::Result<Count> {
    let mut scan = client.scan(table);
    let partitions = u64::try_from(scan.partitions_left()).unwrap_or(u64::MAX);
    let mut meter = Meter::new("exporting", "partitions", partitions, 0);
    let mut count = Count::default();
    let mut reading: VecDeque<(Address, Reading)> = VecDeque::with_capacity(in_flight);
    loop {
        let next = scan.next().await?;
        let is_last = next.is_none();
        if let Some(address) = next {
            let (client, wanted) = (client.clone(), address.clone());
            let read = tokio::spawn(async move { client.get(wanted).send().await });
            reading.push_back((address, read));
        }
        while reading.len() >= in_flight || is_last {
            let Some((address, read)) = reading.pop_front() else { break };
            let read = read.await?.with_context(|| format!("cannot read {address:?}"))?;
            out.write_all(lines_of(&address, &read)?.as_bytes())?;
            count.items += u64::from(!read.is_absent());
            count.with_siblings += u64::from(read.values.len() > 1);
        }
        if is_last {
            break;
        }
        let left = u64::try_from(scan.partitions_left()).unwrap_or(u64::MAX);
        meter.show(partitions.saturating_sub(left), || format!("{} items", count.items));
    }
    meter.finish();
    out.flush()?;
    Ok(count)
}
