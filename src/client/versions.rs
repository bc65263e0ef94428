//! What is read and what a write became.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::protocol::types::{WallTime, WriteId};
use crate::protocol::version::{self, ContextError, Dot};
use crate::protocol::wire::Stored;

/// What a client has seen of one item: hand it back with the next write. Opaque, and bound to the item's address.
///
/// As text it is base64url, and comes back with [`str::parse`].
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Context(Bytes);

impl Context {
    /// The context of a client that has seen nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(Bytes::new())
    }

    /// A token as it came over the wire.
    #[must_use]
    pub const fn from_token(token: Bytes) -> Self {
        Self(token)
    }

    /// The token.
    #[must_use]
    pub const fn as_token(&self) -> &Bytes {
        &self.0
    }

    /// Whether nothing was ever written to the item.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&version::Context::token_to_text(&self.0))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({self})")
    }
}

impl FromStr for Context {
    type Err = ContextError;

    fn from_str(text: &str) -> Result<Self, ContextError> {
        version::Context::token_from_text(text).map(Self)
    }
}

/// One of an item's concurrent versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What was written. A slice of the receive buffer: copy it if you keep a small one for long.
    pub bytes: Bytes,
    /// The write's name in the cluster.
    pub dot: Dot,
    /// The write's name with its writer.
    pub write_id: WriteId,
    /// When its coordinator's clock said it was written. For people; causality never rests on it.
    pub written_at: WallTime,
}

/// An item as it was read. No value: it is absent, or deleted (then the context is not empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Hand it back with a write that replaces exactly these values.
    pub context: Context,
    /// The concurrent versions, by rising dot; more than one are siblings.
    pub values: Vec<Value>,
}

impl Versions {
    /// The value, when there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&Value> {
        match self.values.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.values.is_empty()
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name in the cluster.
    pub dot: Dot,
    /// Its name with its writer.
    pub write_id: WriteId,
    /// Live versions of the item now, as its coordinator has it.
    pub versions: u16,
    /// What the writer has seen now: what it handed in, and its own write.
    pub context: Context,
    /// The copies.
    pub stored: Stored,
}
