//! A replica's copy of one item, as read from its disk or from a peer.

use bytes::Bytes;

use crate::protocol::types::Address;
use crate::protocol::version::Siblings;

/// A copy that cannot be used: unknown, which is never "not found".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Decodes a record and verifies the end-to-end checksum of every version in it. A corrupt copy stays where it is,
/// answers as unreadable and never repairs others.
pub fn open_copy(address: &Address, record: &Bytes) -> Result<Siblings, Unreadable> {
    let item = Siblings::decode(record).map_err(|error| Unreadable(error.to_string()))?;
    match item.versions().iter().find(|version| !version.is_intact(address)) {
        Some(version) => Err(Unreadable(format!("the checksum of version {} does not match its value", version.dot))),
        None => Ok(item),
    }
}
