//! An item's address in a path: `/v1/kv/{table}/{key}` or `/v1/kv/{table}/{key}/{sort}`.
//!
//! Each part is bytes, percent-encoded: `%2F` is a slash within a key, `%00` a zero byte, and what they spell need not
//! be UTF-8. A `+` is a plus. Every address has a path, and two paths name one item exactly when their parts decode to
//! the same bytes; an empty sort key may be written as nothing or as a trailing slash.
//!
//! The crate decodes leniently: `%zz` stays as it is. Here it is refused, or a client with a broken encoder would store
//! its values under names that no correct client can find.

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;
use crate::protocol::types::{Address, AddressError};
use crate::protocol::wire::FailureCode;

/// Before every item's path.
pub(super) const ITEMS: &str = "/v1/kv";

/// The form that a wrong path is answered with.
const FORM: &str = "write /v1/kv/{table}/{key} or /v1/kv/{table}/{key}/{sort}, a slash within a part as %2F";

/// The address that a path names.
pub(super) fn address_of(path: &str) -> Result<Address, Refusal> {
    let rest = path.strip_prefix(ITEMS).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    let mut parts = rest.split('/');
    let table = decode(parts.next().unwrap_or_default(), "table")?;
    let Some(key) = parts.next() else {
        return Err(bad(format!("the path has no key; {FORM}")));
    };
    let key = decode(key, "key")?;
    let sort = decode(parts.next().unwrap_or_default(), "sort key")?;
    let more = parts.count();
    if more > 0 {
        return Err(bad(format!("the path has {more} parts too many; {FORM}")));
    }
    Address::new(table, key, sort).map_err(|error| match error {
        AddressError::TableLong(_) | AddressError::KeyLong(_) | AddressError::SortKeyLong(_) => {
            Refusal::failed(FailureCode::TooLarge, error.to_string())
        }
        AddressError::TableEmpty | AddressError::TableCharacter(_) | AddressError::KeyEmpty => bad(error.to_string()),
    })
}

/// The bytes that a part spells.
fn decode(part: &str, what: &str) -> Result<Bytes, Refusal> {
    match bad_escape(part) {
        None => Ok(Bytes::from(percent_decode_str(part).collect::<Vec<u8>>())),
        Some(found) => Err(bad(format!(
            "the {what} has invalid percent-encoding at {found:?}; write % and two hexadecimal digits, and a percent \
             sign itself as %25"
        ))),
    }
}

/// The first percent sign without two hexadecimal digits behind it, with what stands there instead.
pub(super) fn bad_escape(part: &str) -> Option<String> {
    part.match_indices('%')
        .map(|(at, _)| part.get(at..).unwrap_or_default())
        .find(|rest| !matches!(rest.as_bytes(), [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
        .map(|rest| rest.chars().take(3).collect())
}

fn bad(message: String) -> Refusal {
    Refusal::failed(FailureCode::BadInput, message)
}
