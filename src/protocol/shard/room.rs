//! Room on the disk: what a node still takes when there is little left of it.
//!
//! ```text
//!   free space      plenty            | reserve               | half of the reserve
//!   new values      taken             | refused               | refused
//!   new hints       taken             | refused               | refused
//!   peers' merges   taken             | taken                 | refused when they make an item larger
//!   deletes, reads, hints on their way home, exchanges outward, compaction: always
//! ```
//!
//! What is new goes first: a client can write through another node, and a hint that is refused does not count toward W.
//! A replica's copy of an acknowledged write is refused last, because each one that is missing weakens a promise, and
//! an exchange has to bring it later. The last half belongs to what makes room: a delete's own records, its log, the
//! files that a flush or a compaction writes before it may remove its inputs.
//!
//! Left is a level only with an eighth of the reserve to spare, so that one flush does not make it flap.

use super::Shard;
use crate::protocol::wire::{Failure, FailureCode};

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Room {
    /// Everything is taken.
    #[default]
    Plenty,
    /// Less than the reserve: no new values and hints.
    Reserve,
    /// Less than half of it: nothing that makes an item larger.
    Emergency,
}

/// A disk's free space, and how much of it is kept for making room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes that this process can still use.
    pub free: u64,
    /// The reserve, bytes.
    pub reserve: u64,
}

impl Room {
    /// The level that follows this one at a measurement.
    #[must_use]
    pub fn after(self, space: Space) -> Self {
        let Space { free, reserve } = space;
        let margin = reserve / 8;
        let level = |from: Self, below: u64| {
            // In this level, or a deeper one, it takes more to get out than it took to get in.
            let edge = if self >= from { below.saturating_add(margin) } else { below };
            free < edge
        };
        match (level(Self::Reserve, reserve), level(Self::Emergency, reserve / 2)) {
            (_, true) => Self::Emergency,
            (true, false) => Self::Reserve,
            (false, false) => Self::Plenty,
        }
    }

    /// The level as people and scripts see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plenty => "plenty",
            Self::Reserve => "reserve",
            Self::Emergency => "emergency",
        }
    }
}

/// By how much a record may grow in an emergency: a tombstone and what it replaces in the vector.
const TOMBSTONE_BYTES: usize = 512;

impl Shard {
    /// Takes a measurement of the disk.
    pub fn set_room(&mut self, room: Room, space: Space) {
        (self.room, self.space) = (room, space);
    }

    /// How much room the shard believes there is.
    #[must_use]
    pub fn room(&self) -> Room {
        self.room
    }

    /// Whether a new value, or a new hint, may be taken in.
    pub(super) fn check_room_for_new(&self, what: &str) -> Result<(), Failure> {
        match self.room {
            Room::Plenty => Ok(()),
            Room::Reserve | Room::Emergency => Err(self.disk_full(what)),
        }
    }

    /// Whether a record of `before` bytes may become one of `after` bytes.
    pub(super) fn check_room_for_merge(&self, before: usize, after: usize) -> Result<(), Failure> {
        match self.room {
            Room::Plenty | Room::Reserve => Ok(()),
            Room::Emergency if after <= before + TOMBSTONE_BYTES => Ok(()),
            Room::Emergency => Err(self.disk_full("copies that make an item larger")),
        }
    }

    fn disk_full(&self, what: &str) -> Failure {
        let name = self.view.roster.name_of(self.view.me);
        let Space { free, reserve } = self.space;
        let text = format!(
            "the disk of {name} is nearly full: {free} bytes are free, {reserve} are its reserve (disk_reserve), so it \
             takes no {what}; deletes and reads go on; free space on it, or write through another node"
        );
        Failure::new(FailureCode::DiskFull, text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space(free: u64) -> Space {
        Space { free, reserve: 800 }
    }

    #[test]
    fn levels_are_entered_at_their_edge_and_left_with_an_eighth_to_spare() {
        let steps = [
            (800, Room::Plenty),
            (799, Room::Reserve),
            (899, Room::Reserve),
            (900, Room::Plenty),
            (399, Room::Emergency),
            (499, Room::Emergency),
            (500, Room::Reserve),
            (850, Room::Reserve),
            (0, Room::Emergency),
            (u64::MAX, Room::Plenty),
        ];
        let mut room = Room::Plenty;
        for (free, expected) in steps {
            room = room.after(space(free));
            assert_eq!(room, expected, "at {free} bytes");
        }
    }

    proptest! {
        /// However it came to be, a level says the truth about what is free, within the spare part.
        #[test]
        fn level_is_what_is_free(frees in prop::collection::vec(0_u64..2_000, 1..50), reserve in 0_u64..1_500) {
            let mut room = Room::Plenty;
            for free in frees {
                room = room.after(Space { free, reserve });
                prop_assert!(free >= reserve || room > Room::Plenty);
                prop_assert!(free >= reserve / 2 || room == Room::Emergency);
                prop_assert!(free < reserve + reserve / 8 || room == Room::Plenty);
                prop_assert!(free < reserve / 2 + reserve / 8 || room < Room::Emergency);
                prop_assert_eq!(room.after(Space { free, reserve }), room, "the same again changes nothing");
            }
        }
    }
}
