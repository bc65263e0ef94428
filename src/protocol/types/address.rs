//! Where an item lives: table, key and sort key.

use std::fmt;

use bytes::Bytes;

use super::limits::{KEY_BYTES_MAX, SORT_KEY_BYTES_MAX, TABLE_BYTES_MAX};

/// Whose fault: the caller's. Nothing changed; the same request never succeeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A table without a name.
    #[error("the table name is empty; use 1 to {TABLE_BYTES_MAX} of a-z 0-9 . _ -")]
    TableEmpty,
    /// A table name over its limit.
    #[error("the table name has {0} bytes; the limit is {TABLE_BYTES_MAX}")]
    TableLong(usize),
    /// A byte that a table name may not have.
    #[error("the table name has the character {0:?}; use a-z 0-9 . _ -")]
    TableCharacter(char),
    /// No key.
    #[error("the key is empty; it needs 1 to {KEY_BYTES_MAX} bytes")]
    KeyEmpty,
    /// A key over its limit.
    #[error("the key has {0} bytes; the limit is {KEY_BYTES_MAX}; put long names into the value")]
    KeyLong(usize),
    /// A sort key over its limit.
    #[error("the sort key has {0} bytes; the limit is {SORT_KEY_BYTES_MAX}")]
    SortKeyLong(usize),
}

/// A table's name: 1 to 64 of `a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Bytes);

impl TableName {
    /// Checks the name.
    ///
    /// # Errors
    /// Says what is wrong with it, and the limit.
    pub fn new(name: Bytes) -> Result<Self, AddressError> {
        if name.is_empty() {
            return Err(AddressError::TableEmpty);
        }
        if name.len() > TABLE_BYTES_MAX {
            return Err(AddressError::TableLong(name.len()));
        }
        let allowed = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        match name.iter().find(|b| !allowed(b)) {
            Some(b) => Err(AddressError::TableCharacter(char::from(*b))),
            None => Ok(Self(name)),
        }
    }

    /// The name's bytes, all of them ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The second half of a key: orders the items of one key. May be empty.
pub type SortKey = Bytes;

/// Where an item lives. All items of one (table, key) share a partition, in sort-key order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    table: TableName,
    key: Bytes,
    sort: SortKey,
}

impl Address {
    /// Checks the three parts.
    ///
    /// # Errors
    /// Says which part breaks which limit.
    pub fn new(table: Bytes, key: Bytes, sort: SortKey) -> Result<Self, AddressError> {
        let table = TableName::new(table)?;
        if key.is_empty() {
            return Err(AddressError::KeyEmpty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(AddressError::KeyLong(key.len()));
        }
        if sort.len() > SORT_KEY_BYTES_MAX {
            return Err(AddressError::SortKeyLong(sort.len()));
        }
        Ok(Self { table, key, sort })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The key, 1 to 1,024 bytes.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The sort key, 0 to 1,024 bytes.
    #[must_use]
    pub fn sort(&self) -> &SortKey {
        &self.sort
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table.as_str(), self.key.escape_ascii())?;
        if !self.sort.is_empty() {
            write!(f, "/{}", self.sort.escape_ascii())?;
        }
        Ok(())
    }
}
