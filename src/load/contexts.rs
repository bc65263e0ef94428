//! The contexts that the generator remembers, in bounded memory.
//!
//! Every key has one place, and where there are more keys than [`CONTEXTS_MAX`], several share one and the last that
//! was remembered has it. So popular keys are there even in a key space that is far larger. A put whose context is not
//! there reads it first.

use super::error::SettingsError;

/// Most contexts that are remembered: with their tokens of some 80 bytes about 200 MiB.
pub const CONTEXTS_MAX: usize = 1 << 21;
/// Most memory of their tokens; a key that is written through many coordinators has longer ones.
const TOKEN_BYTES_MAX: usize = 512 << 20;
/// Nobody's key.
const NOBODY: u64 = u64::MAX;

/// Contexts by key.
#[derive(Debug)]
pub(super) struct Contexts {
    places: Vec<Place>,
    /// Bytes of all tokens.
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Place {
    key: u64,
    token: Box<[u8]>,
}

impl Contexts {
    /// Nothing remembered yet. There are places for keys as far as they are remembered.
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), bytes: 0 }
    }

    /// Whether every one of so many keys has a place of its own.
    pub(super) fn are_kept_of(keys: u64) -> bool {
        usize::try_from(keys).is_ok_and(|keys| keys <= CONTEXTS_MAX)
    }

    fn at(key: u64) -> usize {
        usize::try_from(key).unwrap_or(usize::MAX) % CONTEXTS_MAX
    }

    fn place_mut(&mut self, key: u64) -> &mut Place {
        let at = Self::at(key);
        if self.places.len() <= at {
            self.places.resize(at + 1, Place { key: NOBODY, token: Box::default() });
        }
        self.places.get_mut(at).expect("there is a place for it now")
    }

    /// A key's token, if it is remembered.
    pub(super) fn token(&self, key: u64) -> Option<&[u8]> {
        let place = self.places.get(Self::at(key))?;
        (place.key == key).then_some(&place.token)
    }

    /// Remembers a token.
    pub(super) fn keep(&mut self, key: u64, token: &[u8]) {
        let place = self.place_mut(key);
        // Nearly always the new token of a key is as long as its old one, and takes its memory.
        if place.token.len() == token.len() {
            place.token.copy_from_slice(token);
            place.key = key;
            return;
        }
        let replaced = place.token.len();
        if self.bytes - replaced + token.len() > TOKEN_BYTES_MAX {
            return self.forget(key);
        }
        *self.place_mut(key) = Place { key, token: token.into() };
        self.bytes = self.bytes - replaced + token.len();
    }

    /// Remembers a token in a place that is free, so that reading does not push out what was written.
    pub(super) fn offer(&mut self, key: u64, token: &[u8]) {
        if self.places.get(Self::at(key)).is_none_or(|place| place.key == NOBODY) {
            self.keep(key, token);
        }
    }

    /// The next write of the key has to read first: its last one may have happened or not, or left siblings.
    pub(super) fn forget(&mut self, key: u64) {
        if let Some(place) = self.places.get_mut(Self::at(key)).filter(|place| place.key == key) {
            place.key = NOBODY;
        }
    }
}

/// A bit for each key: whether it is being written.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u64>);

/// Most keys of a run: a bit each is 128 MiB.
pub const KEYS_MAX: u64 = 1 << 30;

impl Marks {
    /// Refuses key spaces that no machine has the memory for.
    pub(super) fn check(keys: u64) -> Result<(), SettingsError> {
        match keys {
            1..=KEYS_MAX => Ok(()),
            0 => Err(SettingsError::of("keys", "0 keys leave nothing to do; use at least 1")),
            _ => Err(SettingsError::of("keys", format!("{keys} keys are too many; the limit is {KEYS_MAX}"))),
        }
    }

    fn place(key: u64) -> (usize, u64) {
        (usize::try_from(key / 64).unwrap_or(usize::MAX), 1 << (key % 64))
    }

    /// Marks a key; false when it was marked.
    pub(super) fn set(&mut self, key: u64) -> bool {
        let (at, bit) = Self::place(key);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let word = self.0.get_mut(at).expect("there is a place for it now");
        let was_free = *word & bit == 0;
        *word |= bit;
        was_free
    }

    /// Takes a key's mark away.
    pub(super) fn clear(&mut self, key: u64) {
        let (at, bit) = Self::place(key);
        if let Some(word) = self.0.get_mut(at) {
            *word &= !bit;
        }
    }

    /// Whether a key is marked.
    pub(super) fn has(&self, key: u64) -> bool {
        let (at, bit) = Self::place(key);
        self.0.get(at).is_some_and(|word| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_is_what_was_kept_last() {
        let mut contexts = Contexts::new();
        assert_eq!(contexts.token(3), None);
        contexts.keep(3, b"first");
        contexts.keep(3, b"other");
        assert_eq!(contexts.token(3), Some(&b"other"[..]));
        contexts.keep(3, b"longer than that");
        assert_eq!(contexts.token(3), Some(&b"longer than that"[..]));
        assert_eq!(contexts.bytes, 16);
        contexts.offer(3, b"read meanwhile");
        assert_eq!(contexts.token(3), Some(&b"longer than that"[..]));
        contexts.forget(3);
        assert_eq!(contexts.token(3), None);
        contexts.offer(3, b"read");
        assert_eq!(contexts.token(3), Some(&b"read"[..]));
        assert_eq!(contexts.bytes, 4);
    }

    #[test]
    fn keys_of_one_place_never_take_each_others_context() {
        let mut contexts = Contexts::new();
        assert!(!Contexts::are_kept_of(1 << 40) && Contexts::are_kept_of(1 << 21));
        let other = 5 + (1 << 21);
        contexts.keep(5, b"five");
        contexts.offer(other, b"else");
        assert_eq!((contexts.token(5), contexts.token(other)), (Some(&b"five"[..]), None));
        contexts.keep(other, b"else");
        assert_eq!((contexts.token(5), contexts.token(other)), (None, Some(&b"else"[..])));
        contexts.forget(5);
        assert_eq!(contexts.token(other), Some(&b"else"[..]));
    }

    #[test]
    fn marks_are_taken_once() {
        let mut marks = Marks::default();
        for key in [0, 63, 64, 1000] {
            assert!(!marks.has(key) && marks.set(key) && !marks.set(key) && marks.has(key));
        }
        marks.clear(64);
        assert!(!marks.has(64) && marks.has(63) && marks.set(64));
    }
}
