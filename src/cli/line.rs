//! One line of an import or export: a version of an item as JSON.
//!
//! ```json
//! {"table":"default","key":"alice","value":"bread"}
//! {"table":"t","key_base64":"/wA=","sort":"2024","value":"a","context":"AQE..","dot":"00..:1","written_at":"2024-.."}
//! ```
//!
//! `table` and `sort` may be left out, and each of `key`, `sort` and `value` has a twin in base64 for what is not
//! UTF-8. An item with siblings is one line for each, next to each other, with the same `context`; that is how an
//! import knows to put them back side by side. `dot` and `written_at` are for people, and ignored on the way in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::address::from_base64;
use super::screen;
use crate::client::Versions;
use crate::protocol::types::limits::VALUE_BYTES_MAX;
use crate::protocol::types::{Address, TableName};

/// The fields as they stand in a file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<String>,
}

/// A line, within all limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) address: Address,
    pub(super) value: Bytes,
    /// What siblings have in common.
    pub(super) context: Option<String>,
}

impl Line {
    /// Reads a line; `table` is for lines that name none. The error is a reason for people.
    pub(super) fn parse(text: &[u8], table: &TableName) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(text).map_err(|error| {
            // It is one line of its own to the parser.
            error.to_string().replace("line 1 column", "column")
        })?;
        let key = one_of("key", raw.key, raw.key_base64)?.ok_or("there is no \"key\" or \"key_base64\"")?;
        let sort = one_of("sort", raw.sort, raw.sort_base64)?.unwrap_or_default();
        let value = one_of("value", raw.value, raw.value_base64)?.ok_or("there is no \"value\" or \"value_base64\"")?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("the value has {} bytes; the limit is {VALUE_BYTES_MAX}", value.len()));
        }
        let table = raw.table.map_or_else(|| table.as_bytes().clone(), Bytes::from);
        let address = Address::new(table, key, sort).map_err(|error| error.to_string())?;
        Ok(Self { address, value, context: raw.context })
    }

    /// Whether the two are siblings of one item.
    pub(super) fn is_sibling_of(&self, other: &Self) -> bool {
        self.context.is_some() && self.context == other.context && self.address == other.address
    }
}

/// A field or its twin in base64.
fn one_of(name: &str, text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("there are both \"{name}\" and \"{name}_base64\"; keep one")),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(text)) => from_base64(&text).map(Some).ok_or_else(|| format!("\"{name}_base64\" is not base64")),
        (None, None) => Ok(None),
    }
}

/// The lines of an item, one for each version, each with its newline.
pub(super) fn lines_of(address: &Address, read: &Versions) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    let has_siblings = read.values.len() > 1;
    for value in &read.values {
        let mut raw = Raw { table: Some(address.table().as_str().to_owned()), ..Raw::default() };
        (raw.key, raw.key_base64) = as_text(address.key());
        if !address.sort().is_empty() {
            (raw.sort, raw.sort_base64) = as_text(address.sort());
        }
        (raw.value, raw.value_base64) = as_text(&value.bytes);
        if has_siblings {
            raw.context = Some(read.context.to_string());
            raw.dot = Some(value.dot.to_string());
            raw.written_at = Some(screen::time(value.written_at));
        }
        out.push_str(&serde_json::to_string(&raw)?);
        out.push('\n');
    }
    Ok(out)
}

/// Text, or base64 of what is none.
fn as_text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests;
