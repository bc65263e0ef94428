//! `quorate bench page`: a report as HTML.

use std::path::PathBuf;

use clap::Args;

use super::super::outcome::Outcome;
use super::super::screen;
use super::output;
use crate::load::report::Report;

/// Draw a report as a page: HTML in one file, with nothing to fetch.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// A report, as --out of the other commands writes it.
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    /// Where to write the page [default: beside the report, ending in .html].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// A file that is no report, or one that cannot be written.
pub(super) fn run(args: &PageArgs) -> anyhow::Result<Outcome> {
    let report = Report::read(&args.report)?;
    let out = args.out.clone().unwrap_or_else(|| args.report.with_extension("html"));
    output::write(&report, None, Some(&out))?;
    screen::note(&format!("wrote {}", out.display()));
    Ok(Outcome::Done)
}
