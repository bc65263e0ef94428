//! The table: what is believed of every member of the roster, and a digest of it.
//!
//! ```text
//!   roster (sorted)   n0   n1   n2   n3        place = position in the roster
//!   beliefs           A3   A1   U7   A2        standing and edition, 16 bytes each
//!   digest            sum of the hashes of all beliefs, so that one change costs two hashes
//! ```
//!
//! A suspicion counts as alive in the digest: it lasts seconds and ends in an edition or a verdict that does count.

use std::sync::Arc;

use bytes::BufMut;
use xxhash_rust::xxh3::xxh3_64;

use super::MEMBERS_MAX;
use crate::protocol::types::{BootGeneration, NodeId};

/// Who is a member: sorted, without repetitions, shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster(Arc<[NodeId]>);

impl Roster {
    /// The roster of these members; at most [`MEMBERS_MAX`].
    ///
    /// # Panics
    /// More members: the administrator's door has to refuse them before.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() <= MEMBERS_MAX, "a roster has at most {MEMBERS_MAX} members, not {}", ids.len());
        Self(ids.into())
    }

    /// The members, rising.
    #[must_use]
    pub fn ids(&self) -> &[NodeId] {
        &self.0
    }
}

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It answers, or nobody has complained.
    Alive,
    /// Somebody got no answer; it has time to refute.
    Suspect,
    /// It did not refute in time. It is still a member and is still tried.
    Unreachable,
}

/// Which of two pieces of a node's news about itself is newer: the boot generation decides, then the incarnation,
/// which the node raises to refute. A restarted node is therefore newer than all that was said of its former life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition {
    generation: BootGeneration,
    incarnation: u32,
}

impl Edition {
    /// The edition with these numbers.
    #[must_use]
    pub const fn new(generation: BootGeneration, incarnation: u32) -> Self {
        Self { generation, incarnation }
    }

    /// How many times the node's data directory was opened.
    #[must_use]
    pub const fn generation(self) -> BootGeneration {
        self.generation
    }

    /// How often the node refuted in this life.
    #[must_use]
    pub const fn incarnation(self) -> u32 {
        self.incarnation
    }

    /// The smallest edition that is newer.
    #[must_use]
    pub fn next(self) -> Self {
        match self.incarnation.checked_add(1) {
            Some(incarnation) => Self { incarnation, ..self },
            None => Self::new(BootGeneration::new(self.generation.as_u64().saturating_add(1)), 0),
        }
    }
}

/// A member's position in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("a roster has at most MEMBERS_MAX members"))
    }

    pub(super) fn as_index(self) -> usize {
        usize::try_from(self.0).expect("an index of memory")
    }
}

/// What is believed of one member.
#[derive(Debug, Clone, Copy)]
struct Belief {
    // Not an `Edition`, whose padding would make it 24 bytes: thousands of tables of thousands fill memory.
    generation: BootGeneration,
    incarnation: u32,
    standing: Standing,
}

const _: () = assert!(size_of::<Belief>() == 16);

impl Belief {
    const fn new(edition: Edition, standing: Standing) -> Self {
        Self { generation: edition.generation, incarnation: edition.incarnation, standing }
    }

    const fn edition(self) -> Edition {
        Edition::new(self.generation, self.incarnation)
    }
}

/// What is believed of every member.
#[derive(Debug, Clone)]
pub(super) struct Table {
    roster: Roster,
    beliefs: Vec<Belief>,
    digest: u64,
    unreachable: usize,
    suspect: usize,
}

/// Of a member that was never heard of. Its own first edition is at least this.
const UNHEARD: Belief = Belief::new(Edition::new(BootGeneration::new(0), 0), Standing::Alive);

impl Table {
    /// Everybody alive and unheard.
    pub(super) fn new(roster: Roster) -> Self {
        let beliefs = vec![UNHEARD; roster.ids().len()];
        let hash = |id: &NodeId| hash(*id, UNHEARD);
        let digest = roster.ids().iter().map(hash).fold(0, u64::wrapping_add);
        Self { roster, beliefs, digest, unreachable: 0, suspect: 0 }
    }

    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn len(&self) -> usize {
        self.beliefs.len()
    }

    pub(super) fn find(&self, id: NodeId) -> Option<Place> {
        self.roster.ids().binary_search(&id).ok().map(Place::new)
    }

    pub(super) fn id(&self, place: Place) -> NodeId {
        self.roster.ids()[place.as_index()]
    }

    pub(super) fn standing(&self, place: Place) -> Standing {
        self.beliefs[place.as_index()].standing
    }

    pub(super) fn edition(&self, place: Place) -> Edition {
        self.beliefs[place.as_index()].edition()
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn unreachable(&self) -> usize {
        self.unreachable
    }

    pub(super) fn suspect(&self) -> usize {
        self.suspect
    }

    /// Believes something else of a member.
    pub(super) fn set(&mut self, place: Place, edition: Edition, standing: Standing) {
        let id = self.id(place);
        let belief = &mut self.beliefs[place.as_index()];
        let before = std::mem::replace(belief, Belief::new(edition, standing));
        self.digest = self.digest.wrapping_sub(hash(id, before)).wrapping_add(hash(id, *belief));
        self.unreachable += usize::from(standing == Standing::Unreachable);
        self.unreachable -= usize::from(before.standing == Standing::Unreachable);
        self.suspect += usize::from(standing == Standing::Suspect);
        self.suspect -= usize::from(before.standing == Standing::Suspect);
    }

    /// Every member, in the order of ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, Edition, Standing)> {
        let pairs = self.roster.ids().iter().zip(&self.beliefs);
        pairs.map(|(id, belief)| (*id, belief.edition(), belief.standing))
    }
}

fn hash(id: NodeId, belief: Belief) -> u64 {
    let mut bytes = [0; 29];
    let mut out = &mut bytes[..];
    out.put_u128(id.as_u128());
    out.put_u64(belief.generation.as_u64());
    out.put_u32(belief.incarnation);
    out.put_u8(u8::from(belief.standing == Standing::Unreachable));
    xxh3_64(&bytes)
}
