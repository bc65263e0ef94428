//! The environment over the file: `QUORATE_STORAGE_BLOCK_CACHE` says what `block_cache` under `[storage]` is.
//!
//! A variable's value is written as TOML and parsed by the same code as the file, so that it has the same types, limits
//! and errors. A text needs no quotes; a list is its texts with commas between them.
//!
//! A mistyped variable must not leave a field at its default in silence, so one that is near to a known name is
//! refused. One that is near to nothing is reported and ignored: Kubernetes, for one, makes `QUORATE_PORT` for a
//! service that is called quorate.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::ops::Range;

use super::choice::nearest;
use super::document::ConfigError;
use super::field::{Field, Kind, Section, VARIABLE_PREFIX};
use super::profile::PROFILE_VARIABLE;

/// Variables with our prefix that are no field: the client's profile, and the places that the Makefile uses.
const OTHERS: [&str; 3] = [PROFILE_VARIABLE, "QUORATE_CACHE", "QUORATE_CACHE_USED"];

/// What the environment says, as a TOML text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) text: String,
    /// Which variable made which bytes of it.
    pub(super) places: Vec<(Range<usize>, String)>,
    /// Variables that look like ours and are not.
    pub(super) ignored: Vec<String>,
}

impl Environment {
    /// Takes what these sections know out of the environment.
    pub(super) fn of(
        sections: &[Section],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let fields: Vec<Field> = sections.iter().flat_map(|section| section.fields).copied().collect();
        let mut found = Vec::new();
        let mut environment = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else { continue };
            let Some(at) = fields.iter().position(|field| field.variable() == name) else {
                environment.note_stranger(name, &fields)?;
                continue;
            };
            let value = value.into_string().map_err(|_| ConfigError::Variable {
                variable: name.to_owned(),
                found: "..".to_owned(),
                reason: "its value is not UTF-8 text".to_owned(),
            })?;
            found.push((at, value));
        }
        // In the order of the reference, so that each section is opened once.
        found.sort();
        environment.ignored.sort();
        let mut open = "";
        for (at, value) in found {
            environment.write(&fields[at], &value, &mut open);
        }
        Ok(environment)
    }

    fn note_stranger(&mut self, name: &str, fields: &[Field]) -> Result<(), ConfigError> {
        if OTHERS.contains(&name) {
            return Ok(());
        }
        let short = |name: &str| name.trim_start_matches(VARIABLE_PREFIX).to_lowercase();
        let known: Vec<String> = fields.iter().map(|field| short(&field.variable())).collect();
        if let Some(near) = nearest(&short(name), known.iter().map(String::as_str)) {
            let near = format!("{VARIABLE_PREFIX}{}", near.to_uppercase());
            return Err(ConfigError::UnknownVariable { variable: name.to_owned(), near });
        }
        self.ignored.push(name.to_owned());
        Ok(())
    }

    fn write(&mut self, field: &Field, value: &str, open: &mut &'static str) {
        if *open != field.section {
            writeln!(self.text, "[{}]", field.section).expect("a String takes all that is written to it");
            *open = field.section;
        }
        let begin = self.text.len();
        writeln!(self.text, "{} = {}", field.name, literal(field.kind, value))
            .expect("a String takes all that is written to it");
        self.places.push((begin..self.text.len(), field.variable()));
    }
}

/// The value as TOML. What does not fit its kind becomes a text, which the field then refuses in its own words.
fn literal(kind: Kind, value: &str) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    match kind {
        Kind::Number | Kind::Bytes => value.parse::<i64>().map_or_else(|_| text(value), |number| number.to_string()),
        Kind::Text | Kind::Time => text(value),
        Kind::List => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(text);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
    }
}
