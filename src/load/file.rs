//! Reports as files: JSON, in a format that says its own number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::report::{REPORT_FORMAT, Report};

/// A report was not read or written. The file is as it was, or, when writing failed, perhaps cut short.
#[derive(Debug, thiserror::Error)]
pub enum ReportFileError {
    /// The file itself.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else than a report.
    #[error(
        "{} is no report of `quorate bench`: {reason}; pass a file that was written with --out", path.display()
    )]
    NotReport {
        /// Which.
        path: PathBuf,
        /// Where, and what is wrong there.
        reason: String,
    },
    /// A report of a newer program.
    #[error(
        "{} has format {found}, and this quorate reads format {REPORT_FORMAT}; a newer quorate wrote it: use that one",
        path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A report that is larger than any run makes one.
    #[error("{} has {found} bytes, and a report has at most {REPORT_BYTES_MAX}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        found: u64,
    },
}

/// A thousand runs of an hour each would be as large.
pub const REPORT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The field that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Report {
    /// Reads a report.
    pub fn read(path: &Path) -> Result<Self, ReportFileError> {
        let failed = |source| ReportFileError::File { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(failed)?.len();
        if found > REPORT_BYTES_MAX {
            return Err(ReportFileError::TooLarge { path: path.to_owned(), found });
        }
        Self::parse(path, &fs::read(path).map_err(failed)?)
    }

    /// Takes a report from bytes; the path is for errors.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ReportFileError> {
        let not_one =
            |error: serde_json::Error| ReportFileError::NotReport { path: path.to_owned(), reason: error.to_string() };
        // First the number alone: what follows may be of a shape that is not known yet.
        let Format { format } = serde_json::from_slice(bytes).map_err(not_one)?;
        if format > REPORT_FORMAT {
            return Err(ReportFileError::Newer { path: path.to_owned(), found: format });
        }
        let report: Self = serde_json::from_slice(bytes).map_err(not_one)?;
        // Percentiles are read off counts that rise; a report whose counts do not was not written by this program.
        for run in &report.runs {
            for operations in run.operations.values() {
                for counts in [&operations.latency, &operations.service] {
                    if !counts.0.is_sorted_by(|a, b| a.0 < b.0) {
                        let reason = format!("the latencies of {:?} do not rise", run.name);
                        return Err(ReportFileError::NotReport { path: path.to_owned(), reason });
                    }
                }
            }
        }
        Ok(report)
    }

    /// Writes the report, and makes the directory when it is missing.
    pub fn write(&self, path: &Path) -> Result<(), ReportFileError> {
        let mut text = serde_json::to_string(self)
            .map_err(|error| ReportFileError::File { path: path.to_owned(), source: io::Error::other(error) })?;
        text.push('\n');
        write(path, &text)
    }
}

/// Writes a file that somebody asked for, and makes its directory when it is missing.
pub fn write(path: &Path, text: &str) -> Result<(), ReportFileError> {
    let failed = |source| ReportFileError::File { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::specimen;

    #[test]
    fn report_comes_back_as_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/report.json");
        let report = specimen::report(vec![specimen::eventful_run()]);
        report.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
    }

    #[test]
    fn what_is_no_report_is_told_with_file_and_way_out() {
        let path = Path::new("a.json");
        let refused = |text: &str| Report::parse(path, text.as_bytes()).unwrap_err().to_string();
        let error = refused("{\"format\": 1, \"runs\": 3}");
        assert!(error.starts_with("a.json is no report of `quorate bench`: ") && error.contains("--out"), "{error}");
        assert!(refused("").contains("EOF"), "{}", refused(""));
        assert!(refused("[1, 2]").contains("a.json"));
        let newer = refused("{\"format\": 99, \"something\": \"else\"}");
        assert!(newer.contains("format 99") && newer.contains("use that one"), "{newer}");
        let missing = Report::read(Path::new("/nonexistent/a.json")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/a.json: "), "{missing}");
    }

    #[test]
    fn counts_that_do_not_rise_are_refused() {
        let mut report = specimen::report(vec![specimen::open_run(100.0, 1000.0)]);
        if let Some(all) = report.runs[0].operations.get_mut("all") {
            all.latency.0.reverse();
        }
        let text = serde_json::to_string(&report).unwrap();
        let error = Report::parse(Path::new("a.json"), text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("do not rise"), "{error}");
    }

    #[test]
    fn numbers_that_json_does_not_know_make_no_report_that_cannot_be_read() {
        // JSON has no infinities; they are written as null, and a report must not have them where a number is due.
        let mut report = specimen::report(vec![specimen::open_run(100.0, 1000.0)]);
        report.runs[0].seconds = f64::INFINITY;
        let text = serde_json::to_string(&report).unwrap();
        assert!(Report::parse(Path::new("a.json"), text.as_bytes()).is_err());
    }
}
