//! Values: what is written, and whether what is read is what was written.
//!
//! Bytes come from a pool of random ones, for values of real programs do not compress to nothing. A plain value is a
//! slice of it and costs no copy. A marked one tells whose it is:
//!
//! ```text
//!   magic u32 | length u32 | key u64 | sequence u64 | check u64 | fill ..
//!   check: XXH3 of all before it; fill: bytes of the pool from a place that the check names
//! ```
//!
//! The pool is the same in every run, whatever its seed, so a value that an earlier run marked can be read.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::chance::Chance;
use super::settings::ValueSize;
use crate::protocol::types::limits::VALUE_BYTES_MAX;

/// Bytes of a mark: the shortest value that can be checked.
pub const MARK_BYTES: usize = 32;
/// "QBV1".
const MAGIC: u32 = 0x5142_5631;
/// The seed of the pool.
const POOL_SEED: u64 = 0x0051_756F_7261_7465;
/// Places from which a value may be cut: two values share their bytes once in 65,536.
const PLACES: usize = 65_536;
/// Bytes that are laid together: some hundred keys, tokens and short values for one allocation.
const ARENA_BYTES: usize = 64 * 1024;

/// What a marked value says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) key: u64,
    pub(super) sequence: u64,
}

/// Makes values and judges them.
#[derive(Debug)]
pub(super) struct Values {
    pool: Bytes,
    size: ValueSize,
}

impl Values {
    pub(super) fn new(size: ValueSize) -> Self {
        // Whatever was written by a run with longer values can be checked too.
        let mut pool = vec![0; VALUE_BYTES_MAX.min(size.max().max(1 << 20)) + PLACES];
        Chance::new(POOL_SEED, 0).fill(&mut pool);
        Self { pool: pool.into(), size }
    }

    /// A size.
    pub(super) fn draw_size(&self, chance: &mut Chance) -> usize {
        match self.size {
            ValueSize::Fixed(bytes) => bytes,
            ValueSize::Uniform { min, max } => chance.size(min, max),
        }
    }

    /// A value that says nothing.
    pub(super) fn plain(&self, size: usize, chance: &mut Chance) -> Bytes {
        let place = chance.size(0, PLACES - 1);
        self.pool.slice(place..place + size.min(self.pool.len() - PLACES))
    }

    /// A value that says whose it is, of at least [`MARK_BYTES`].
    pub(super) fn marked(&self, mark: Mark, size: usize, arena: &mut Arena) -> Bytes {
        let size = size.max(MARK_BYTES);
        arena.lay(size, |out| {
            let begin = out.len();
            out.put_u32(MAGIC);
            out.put_u32(u32::try_from(size).expect("values have at most 8 MiB"));
            out.put_u64(mark.key);
            out.put_u64(mark.sequence);
            let check = xxh3_64(out.get(begin..).expect("that was just laid"));
            out.put_u64(check);
            out.put_slice(self.fill(check, size - MARK_BYTES).expect("the pool was made for the longest value"));
        })
    }

    /// Reads a marked value. None when it is none, or when a single byte differs.
    pub(super) fn read(&self, value: &[u8]) -> Option<Mark> {
        let (mark, fill) = value.split_at_checked(MARK_BYTES)?;
        let (said, check) = mark.split_at_checked(MARK_BYTES - 8)?;
        let number = |from: usize, to: usize| {
            said.get(from..to)?.iter().try_fold(0_u64, |number, byte| Some(number << 8 | u64::from(*byte)))
        };
        let check = u64::from_be_bytes(check.try_into().ok()?);
        let length = usize::try_from(number(4, 8)?).ok()?;
        let is_whole = number(0, 4)? == u64::from(MAGIC)
            && length == value.len()
            && check == xxh3_64(said)
            && self.fill(check, fill.len())? == fill;
        let mark = Mark { key: number(8, 16)?, sequence: number(16, 24)? };
        is_whole.then_some(mark)
    }

    fn fill(&self, check: u64, bytes: usize) -> Option<&[u8]> {
        let place = usize::try_from(check).unwrap_or(usize::MAX) % PLACES;
        self.pool.get(place..place.checked_add(bytes)?)
    }
}

/// Where small pieces of requests are laid, many for one allocation. A piece keeps its neighbours' memory, so it is for
/// what goes soon.
#[derive(Debug, Default)]
pub(super) struct Arena(BytesMut);

impl Arena {
    /// Lays a piece of at most so many bytes.
    pub(super) fn lay(&mut self, bytes: usize, lay: impl FnOnce(&mut BytesMut)) -> Bytes {
        if self.0.capacity() < bytes {
            // What is left of the old one is given up; pieces that are in use keep it.
            self.0 = BytesMut::with_capacity(ARENA_BYTES.max(bytes));
        }
        lay(&mut self.0);
        self.0.split().freeze()
    }
}

impl ValueSize {
    /// The smallest.
    #[must_use]
    pub const fn min(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { min, .. } => min,
        }
    }

    /// The largest.
    #[must_use]
    pub const fn max(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { max, .. } => max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_values_are_told_from_all_others() {
        let (values, mut arena) = (Values::new(ValueSize::Uniform { min: 32, max: 5000 }), Arena::default());
        for (size, sequence) in [(32, 0), (33, 1), (1024, 77), (5000, u64::MAX)] {
            let mark = Mark { key: 9, sequence };
            let value = values.marked(mark, size, &mut arena);
            assert_eq!(value.len(), size);
            assert_eq!(values.read(&value), Some(mark));
            for at in 0..size {
                let mut bad = value.to_vec();
                bad[at] ^= 1;
                assert_eq!(values.read(&bad), None, "byte {at} of {size} was changed and nobody saw it");
            }
            assert_eq!(values.read(&value[..size - 1]), None);
            assert_eq!(values.read(&[&value[..], b"x"].concat()), None);
        }
        assert_eq!(values.read(b"foreign"), None);
        assert_eq!(values.read(&[7; 100]), None);
    }

    #[test]
    fn any_run_reads_the_marks_of_any_other() {
        let (long, short) = (Values::new(ValueSize::Fixed(2 << 20)), Values::new(ValueSize::Fixed(32)));
        let mark = Mark { key: 1, sequence: 2 };
        let value = short.marked(mark, 32, &mut Arena::default());
        assert_eq!(long.read(&value), Some(mark));
        let value = long.marked(mark, 1 << 20, &mut Arena::default());
        assert_eq!(short.read(&value), Some(mark));
    }

    #[test]
    fn plain_values_have_the_sizes_of_their_law() {
        let values = Values::new(ValueSize::Uniform { min: 10, max: 13 });
        let mut chance = Chance::new(5, 5);
        let mut found = [0_u32; 4];
        for _ in 0..4000 {
            let size = values.draw_size(&mut chance);
            assert_eq!(values.plain(size, &mut chance).len(), size);
            found[size - 10] += 1;
        }
        assert!(found.iter().all(|count| (850..1150).contains(count)), "{found:?}");
    }

    #[test]
    fn arena_keeps_pieces_apart() {
        let mut arena = Arena::default();
        let pieces: Vec<Bytes> =
            (0..20_000_u32).map(|n| arena.lay(16, |out| out.put_slice(&n.to_be_bytes()))).collect();
        assert!(pieces.iter().zip(0..).all(|(piece, n)| piece[..] == u32::to_be_bytes(n)));
        assert_eq!(arena.lay(200_000, |out| out.put_bytes(1, 200_000)).len(), 200_000);
    }
}
