//! Contexts: what a client has seen, as a token that it cannot forge and need not understand.
//!
//! ```text
//!   version u8 = 1 | key id u8 | address hash u128 | hlc u64 | own dot u128 (0 for none)
//!   | count u16 | (actor u64 | counter u64) per entry | mac u128
//! ```
//!
//! The own dot is for the context that a *write* answers with. Its client has seen what it handed in, and its own new
//! version, but not the siblings beside it. A vector cannot say that: an entry for the new dot would cover an unseen
//! sibling of the same actor, and the client's next write would silently drop somebody's acknowledged one.
//!
//! The MAC is SipHash-2-4-128 with a key that the whole cluster shares, over everything before it. Without it a client
//! could claim to have seen dots that do not exist yet, and its write would silently swallow other people's later ones.
//! The hash of the address is keyed too, so a token for one item cannot be made to fit another.

use std::fmt;
use std::hash::Hasher;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{Dot, Siblings, VersionVector};
use crate::protocol::types::limits::VECTOR_ENTRIES_MAX;
use crate::protocol::types::{ActorId, Address, Hlc};

const FORMAT: u8 = 1;
const FIXED_BYTES: usize = 1 + 1 + 16 + 8 + 16 + 2 + 16;
const ENTRY_BYTES: usize = 16;
/// Longest token, bytes.
const TOKEN_BYTES_MAX: usize = FIXED_BYTES + VECTOR_ENTRIES_MAX * ENTRY_BYTES;

/// Whose fault: the caller's. Nothing changed; read the item again and use the context of that answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Not base64url.
    #[error("the context is not base64url text; send it back exactly as it was received")]
    Text,
    /// Too short, too long, or counts that do not fit.
    #[error("the context is cut short or padded ({0} bytes); send it back exactly as it was received")]
    Length(usize),
    /// Made by another version of the program.
    #[error("the context has format {0}; this node reads format {FORMAT}; read the item again")]
    Format(u8),
    /// Made with a key that was rotated away, or by another cluster.
    #[error("the context was made with key {0}, which this cluster does not have any more; read the item again")]
    Key(u8),
    /// Changed on the way, or made up.
    #[error("the context is forged or damaged: its MAC does not match; send it back exactly as it was received")]
    Mac,
    /// Of another item.
    #[error("the context belongs to another table, key or sort key; use the one that was read from this item")]
    Address,
}

/// A secret key for tokens, with the number that names it in them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    id: u8,
    secret: [u8; 16],
}

impl TokenKey {
    /// The key with this number.
    #[must_use]
    pub const fn new(id: u8, secret: [u8; 16]) -> Self {
        Self { id, secret }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}, secret)", self.id)
    }
}

/// The keys in force: new tokens are made with the first, the second is still accepted during a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKeys {
    /// Makes new tokens.
    pub current: TokenKey,
    /// Still believed.
    pub previous: Option<TokenKey>,
}

/// What a client has seen of one item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Its causal past.
    pub vector: VersionVector,
    /// Its own last write, seen without the siblings beside it.
    pub own: Option<Dot>,
    /// The highest stamp it has seen.
    pub hlc: Hlc,
}

impl Context {
    /// What a client has seen that was shown this item.
    #[must_use]
    pub fn of(item: &Siblings) -> Self {
        Self { vector: item.context(), own: None, hlc: item.hlc() }
    }

    /// What a client has seen that handed in `self` and was told that its write became `dot` of `item`.
    #[must_use]
    pub fn after_write(&self, dot: Dot, item: &Siblings) -> Self {
        match item.versions() {
            // Nothing is beside the write: all that the item's past covers is replaced already.
            [only] if only.dot == dot => Self::of(item),
            _ => Self { vector: self.vector.clone(), own: Some(dot), hlc: item.hlc() },
        }
    }

    /// Whether the client has seen this write, or one that replaced it.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.own == Some(dot) || self.vector.covers(dot)
    }

    /// Whether the client has seen nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.own.is_none()
    }

    /// The token for a client, bound to the address.
    #[must_use]
    pub fn to_token(&self, address: &Address, keys: &TokenKeys) -> Bytes {
        let mut token = Vec::with_capacity(FIXED_BYTES + self.vector.len() * ENTRY_BYTES);
        token.put_u8(FORMAT);
        token.put_u8(keys.current.id);
        token.put_u128(address_hash(address, &keys.current));
        token.put_u64(self.hlc.to_bits());
        token.put_u64(self.own.map_or(0, |dot| dot.actor().as_u64()));
        token.put_u64(self.own.map_or(0, Dot::counter));
        token.put_u16(u16::try_from(self.vector.len()).unwrap_or(u16::MAX));
        for dot in self.vector.iter() {
            token.put_u64(dot.actor().as_u64());
            token.put_u64(dot.counter());
        }
        let mac = mac(&token, &keys.current);
        token.put_u128(mac);
        token.into()
    }

    /// Reads a token that a client hands back for `address`.
    ///
    /// # Errors
    /// Which of the token's promises does not hold.
    pub fn from_token(token: &[u8], address: &Address, keys: &TokenKeys) -> Result<Self, ContextError> {
        if token.len() < FIXED_BYTES || token.len() > TOKEN_BYTES_MAX {
            return Err(ContextError::Length(token.len()));
        }
        let (signed, mut tail) = token.split_at(token.len() - 16);
        let mut body = signed;
        let format = body.get_u8();
        if format != FORMAT {
            return Err(ContextError::Format(format));
        }
        let id = body.get_u8();
        let key = [Some(keys.current), keys.previous].into_iter().flatten().find(|key| key.id == id);
        let key = key.ok_or(ContextError::Key(id))?;
        if mac(signed, &key) != tail.get_u128() {
            return Err(ContextError::Mac);
        }
        if body.get_u128() != address_hash(address, &key) {
            return Err(ContextError::Address);
        }
        let hlc = Hlc::from_bits(body.get_u64());
        let own = Dot::new(ActorId::new(body.get_u64()), body.get_u64());
        let own = (own.counter() > 0).then_some(own);
        let count = usize::from(body.get_u16());
        if count > VECTOR_ENTRIES_MAX || body.remaining() != count * ENTRY_BYTES {
            return Err(ContextError::Length(token.len()));
        }
        let entries = (0..count).map(|_| (ActorId::new(body.get_u64()), body.get_u64())).collect();
        let vector = VersionVector::from_sorted(entries).ok_or(ContextError::Length(token.len()))?;
        Ok(Self { vector, own, hlc })
    }

    /// A token as people and headers carry it.
    #[must_use]
    pub fn token_to_text(token: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(token)
    }

    /// A token out of a header or a command line.
    ///
    /// # Errors
    /// The text is no base64url, or longer than any token.
    pub fn token_from_text(text: &str) -> Result<Bytes, ContextError> {
        if text.len() > TOKEN_BYTES_MAX.div_ceil(3) * 4 {
            return Err(ContextError::Length(text.len()));
        }
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map(Bytes::from).map_err(|_| ContextError::Text)
    }
}

fn address_hash(address: &Address, key: &TokenKey) -> u128 {
    let mut hash = SipHasher24::new_with_key(&key.secret);
    for bytes in [address.table().as_bytes(), address.key(), address.sort()] {
        hash.write(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        hash.write(bytes);
    }
    hash.finish128().as_u128()
}

fn mac(signed: &[u8], key: &TokenKey) -> u128 {
    let mut hash = SipHasher24::new_with_key(&key.secret);
    hash.write(signed);
    hash.finish128().as_u128()
}
