//! A TOML file, and errors that point into it.
//!
//! serde knows the place of a mistake as a range of bytes and says what it expected in Rust's words. `Document` turns
//! both into what a person sees in an editor: line, field (with its sections, `http.data.mode`), the text that stands
//! there.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choice::nearest;
use super::environment::Environment;

/// 1 MiB: a configuration is a page; a wrong path may be a disk image.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// At most this many characters of a value go into an error.
const FOUND_CHARACTERS_MAX: usize = 64;

/// What is wrong with a file. Nothing was started or changed; whose fault: whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no file {}; check the path, or write the file", .0.display())]
    Missing(PathBuf),
    /// It is there, and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML, or not text.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A field that does not exist, as a rule a slip.
    #[error("{}:{line}: unknown field \"{field}\"{}; {hint}", path.display(), in_section(section))]
    UnknownField {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Where it stands, such as `http.data`; empty at the top.
        section: String,
        /// The field.
        field: String,
        /// The near name, or all names.
        hint: String,
    },
    /// A field that has no default.
    #[error("{}: the field \"{field}\" is missing; add the line {example}{}", path.display(), under(field))]
    MissingField {
        /// The file.
        path: PathBuf,
        /// The field with its sections.
        field: &'static str,
        /// A line that would do.
        example: &'static str,
    },
    /// A value of the wrong type or outside its limits, or one that contradicts another.
    #[error("{}:{line}: {field} = {found}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field with its sections.
        field: String,
        /// What stands there.
        found: String,
        /// The limit and the way out.
        reason: String,
    },
    /// The same of a value that an environment variable gave.
    #[error("environment: {variable} = {found}: {reason}")]
    Variable {
        /// Which.
        variable: String,
        /// Its value.
        found: String,
        /// The limit and the way out.
        reason: String,
    },
    /// An environment variable that is named nearly like one of ours.
    #[error("environment: unknown variable {variable}; did you mean {near}?")]
    UnknownVariable {
        /// Which.
        variable: String,
        /// What was probably meant.
        near: String,
    },
}

/// The text of a file with its name, and what the environment says over it.
///
/// A place is a range of bytes. Those after the file's end are in the environment's text, which is parsed behind as
/// much white space as the file is long: so a value carries its origin with it, whichever of the two it came from.
#[derive(Debug, Clone)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
    over: String,
    variables: Vec<(Range<usize>, String)>,
}

impl Document {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
            _ => ConfigError::Unreadable { path: path.to_owned(), source },
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let not_text = |reason: &str| ConfigError::Syntax { path: path.to_owned(), line: 1, reason: reason.to_owned() };
        if u64::try_from(read).map_or(true, |read| read > FILE_BYTES_MAX) {
            return Err(not_text("the file has more than 1 MiB, so it is no configuration; check the path"));
        }
        let text = String::from_utf8(bytes).map_err(|_| not_text("the file is not UTF-8 text; check the path"))?;
        Ok(Self::new(path, text))
    }

    /// A text that did not come from the disk, under this name.
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, over: String::new(), variables: Vec::new() }
    }

    /// The same, with the environment over it.
    pub(super) fn under(mut self, environment: Environment) -> Self {
        // One byte more than the file has: an error at the file's very end is the file's.
        let shift = self.text.len() + 1;
        self.over = " ".repeat(shift) + &environment.text;
        let moved = |(place, variable): (Range<usize>, String)| (place.start + shift..place.end + shift, variable);
        self.variables = environment.places.into_iter().map(moved).collect();
        self
    }

    /// The path as seen from the file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Reads the document as a `T`.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let table = DeTable::parse(&self.text).map_err(|e| ConfigError::Syntax {
            path: self.path.clone(),
            line: self.line(e.span().unwrap_or(0..0).start),
            reason: e.message().replace('\n', ", "),
        })?;
        toml::from_str(&self.text).map_err(|e| self.explain(table.get_ref(), &e))
    }

    /// Reads what the environment says as a `T`.
    pub(super) fn parse_environment<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.over).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            self.refuse(span, plain_words(error.message()))
        })
    }

    /// An error about the value at this place.
    pub(super) fn refuse(&self, span: Range<usize>, reason: impl Into<String>) -> ConfigError {
        if let Some((_, variable)) = self.variables.iter().find(|(place, _)| place.contains(&span.start)) {
            let (variable, found) = (variable.clone(), self.found(&span));
            return ConfigError::Variable { variable, found, reason: reason.into() };
        }
        let names = DeTable::parse(&self.text).ok().and_then(|table| names_at(table.get_ref(), &span));
        ConfigError::Value {
            path: self.path.clone(),
            line: self.line(span.start),
            field: names.unwrap_or_default().join("."),
            found: self.found(&span),
            reason: reason.into(),
        }
    }

    /// The value, or an error that says which line to add.
    pub(super) fn require<T>(
        &self,
        value: Option<T>,
        field: &'static str,
        example: &'static str,
    ) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::MissingField { path: self.path.clone(), field, example })
    }

    /// A number within its limits, or its default.
    pub(super) fn within<T: TryFrom<i64> + PartialOrd + std::fmt::Display>(
        &self,
        value: Option<&Spanned<i64>>,
        default: T,
        limits: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        let Some(value) = value else { return Ok(default) };
        match T::try_from(*value.get_ref()) {
            Ok(number) if limits.contains(&number) => Ok(number),
            _ => Err(self.refuse(value.span(), format!("use {} to {}", limits.start(), limits.end()))),
        }
    }

    /// Words serde's error.
    fn explain(&self, table: &DeTable<'_>, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let names = names_at(table, &span).unwrap_or_default();
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let (field, known) = quoted(rest);
            let section = names.split_last().map(|(_, section)| section.join(".")).unwrap_or_default();
            return ConfigError::UnknownField {
                path: self.path.clone(),
                line: self.line(span.start),
                section,
                hint: field_hint(&field, &known),
                field,
            };
        }
        ConfigError::Value {
            path: self.path.clone(),
            line: self.line(span.start),
            field: names.join("."),
            found: self.found(&span),
            reason: plain_words(message),
        }
    }

    /// The line of a byte, from 1.
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
    }

    /// The text of a place, as far as it fits on a line.
    fn found(&self, span: &Range<usize>) -> String {
        let source = if span.start > self.text.len() { &self.over } else { &self.text };
        let text = source.get(span.clone()).unwrap_or_default();
        let mut found: String = text.lines().next().unwrap_or_default().chars().take(FOUND_CHARACTERS_MAX).collect();
        if found.len() < text.trim_end().len() {
            found.push_str(" ..");
        }
        found
    }
}

/// The names that lead to a place, outermost first.
fn names_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        // A section's own range is its header only, so its fields are looked for first.
        let inside = match value.get_ref() {
            DeValue::Table(inner) => names_at(inner, span),
            _ => None,
        };
        let name = || key.get_ref().to_string();
        if let Some(mut names) = inside {
            names.insert(0, name());
            return Some(names);
        }
        if covers(key.span()) || covers(value.span()) {
            return Some(vec![name()]);
        }
    }
    None
}

/// The words in back-quotes: the found one, then the known ones.
fn quoted(text: &str) -> (String, Vec<String>) {
    let mut words = text.split('`').skip(1).step_by(2).map(str::to_owned);
    (words.next().unwrap_or_default(), words.collect())
}

fn field_hint(field: &str, known: &[String]) -> String {
    match nearest(field, known.iter().map(String::as_str)) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("the fields here are {}", known.join(", ")),
    }
}

/// Rust's names of types, as people call them.
fn plain_words(message: &str) -> String {
    if let Some((found, _)) = message.split_once(", expected struct ") {
        return format!("{found}, expected a section with fields of its own");
    }
    message.replace("expected i64", "expected a whole number").replace("expected a sequence", "expected a list [..]")
}

fn in_section(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

fn under(field: &str) -> String {
    field.rsplit_once('.').map(|(section, _)| format!(" under [{section}]")).unwrap_or_default()
}
