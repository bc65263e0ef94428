//! Where a report goes: a table or JSON on standard output, and files.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::super::outcome::Outcome;
use super::super::screen;
use crate::load::report::Report;
use crate::load::{file, page};

/// Where a report goes.
#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// Also write the report to a file, JSON: for `quorate bench compare` and `quorate bench page`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write the report as a page with plots, HTML in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    /// Before an hour of measuring, not after it.
    pub(super) fn try_to_write(&self) -> anyhow::Result<()> {
        self.out.iter().chain(&self.html).try_for_each(|path| {
            let opened = File::options().create(true).append(true).open(path);
            opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
        })
    }

    /// Prints a report, as JSON or with `table`, and writes it to its files.
    pub(super) fn publish(&self, report: &Report, table: impl FnOnce(&Report) -> String) -> anyhow::Result<Outcome> {
        write(report, self.out.as_deref(), self.html.as_deref())?;
        match self.json {
            true => screen::print_json(&serde_json::to_value(report)?)?,
            false => screen::print(table(report).as_bytes())?,
        }
        Ok(outcome(report))
    }
}

/// Writes a report to files.
pub(super) fn write(report: &Report, json: Option<&Path>, html: Option<&Path>) -> anyhow::Result<()> {
    if let Some(path) = json {
        report.write(path)?;
    }
    if let Some(path) = html {
        file::write(path, &page::render(report))?;
    }
    Ok(())
}

/// A report with a run that says nothing is a failure.
pub(super) fn outcome(report: &Report) -> Outcome {
    let is_valid = report.runs.iter().all(|run| run.invalid.is_empty());
    if is_valid { Outcome::Done } else { Outcome::Failed }
}
