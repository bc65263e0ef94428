//! The arguments that name an item.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::Args;

use super::outcome::UsageError;
use crate::protocol::types::{Address, TableName};

/// The table when none is named.
pub(super) const TABLE: &str = "default";

/// Which item.
#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// Key of the item, 1 to 1024 bytes.
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// Table of the item.
    #[arg(long, default_value = TABLE, value_name = "TABLE")]
    table: String,
    /// Sort key: orders the items of one key; at most 1024 bytes.
    #[arg(long, default_value = "", value_name = "KEY", allow_hyphen_values = true)]
    sort: String,
    /// KEY and --sort are base64 (standard or URL-safe), for keys that are not text.
    #[arg(long)]
    base64: bool,
}

impl AddressArgs {
    /// The address, within all limits.
    pub(super) fn check(&self) -> Result<Address, UsageError> {
        let bytes = |argument: &str, text: &str| {
            if self.base64 {
                from_base64(text).ok_or_else(|| not_base64(argument, text))
            } else {
                Ok(text.to_owned().into())
            }
        };
        let (key, sort) = (bytes("KEY", &self.key)?, bytes("--sort", &self.sort)?);
        let table = Bytes::copy_from_slice(self.table.as_bytes());
        Address::new(table, key, sort).map_err(|error| UsageError(error.to_string()))
    }
}

fn not_base64(argument: &str, text: &str) -> UsageError {
    UsageError(format!("{argument}: {text:?} is not base64, which --base64 says it is"))
}

/// Bytes in any of the four usual alphabets.
pub(super) fn from_base64(text: &str) -> Option<Bytes> {
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    engines.iter().find_map(|engine| engine.decode(text).ok()).map(Bytes::from)
}

/// For clap: a table's name.
pub(super) fn table_name(text: &str) -> Result<TableName, String> {
    TableName::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|error| error.to_string())
}
