//! Who is a member: by an administrator's word only.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::protocol::types::NodeId;
use crate::protocol::types::limits::NODES_MAX;

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its identity; the only part that anything is decided by.
    pub id: NodeId,
    /// Its label for people, such as `n1`.
    pub name: String,
    /// Its failure zone (rack, site). Empty for "every node is its own".
    pub zone: String,
    /// Its share of the data relative to the others, 1 to 1,000,000.
    pub weight: u32,
    /// Where its control endpoint listens (UDP).
    pub address: SocketAddr,
}

/// Whose fault: the administrator's. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Nobody in it.
    #[error("the roster is empty; name at least one node")]
    Empty,
    /// More than this program is made for.
    #[error("the roster has {0} nodes; the limit is {NODES_MAX}")]
    Long(usize),
    /// One node id twice.
    #[error("node id {id} is in the roster twice ({first} and {second}); give each node a certificate of its own")]
    SameId {
        /// The id.
        id: NodeId,
        /// One of its names.
        first: String,
        /// The other.
        second: String,
    },
    /// One name twice.
    #[error("the name {0:?} is in the roster twice; names are labels, but people must be able to tell them apart")]
    SameName(String),
    /// One address twice.
    #[error("the address {0} is in the roster twice; each node needs its own")]
    SameAddress(SocketAddr),
    /// A name that is no label.
    #[error("{0:?} is no node name; use 1 to 32 of a-z 0-9 -")]
    Name(String),
    /// A zone name that is too long.
    #[error("the zone of {0} has more than 64 bytes")]
    Zone(String),
    /// A weight of nothing, or beyond reason.
    #[error("{name} has weight {weight}; use 1 to 1000000")]
    Weight {
        /// Whose.
        name: String,
        /// What it is.
        weight: u32,
    },
}

/// The members, sorted by id, without repeats of id, name or address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Member>", into = "Vec<Member>")]
pub struct Roster {
    members: Vec<Member>,
}

impl Roster {
    /// Checks and sorts the members.
    pub fn new(mut members: Vec<Member>) -> Result<Self, RosterError> {
        if members.is_empty() {
            return Err(RosterError::Empty);
        }
        if members.len() > NODES_MAX {
            return Err(RosterError::Long(members.len()));
        }
        members.iter().try_for_each(check)?;
        refuse_repeats(&members)?;
        members.sort_by_key(|member| member.id);
        Ok(Self { members })
    }

    /// The members by rising id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.members.get(at)
    }

    /// Names the roster: nodes with the same members, at the same addresses, have the same. Other than a layout's id it
    /// covers labels and addresses too.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(self.members.len() * 64);
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        for member in &self.members {
            bytes.extend_from_slice(&member.id.as_u128().to_be_bytes());
            bytes.extend_from_slice(&member.weight.to_be_bytes());
            text(&mut bytes, &member.name);
            text(&mut bytes, &member.zone);
            text(&mut bytes, &member.address.to_string());
        }
        xxh3_64(&bytes)
    }

    /// A node's label, or its id when it is no member.
    #[must_use]
    pub fn name_of(&self, id: NodeId) -> String {
        self.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
    }
}

impl TryFrom<Vec<Member>> for Roster {
    type Error = RosterError;

    fn try_from(members: Vec<Member>) -> Result<Self, RosterError> {
        Self::new(members)
    }
}

impl From<Roster> for Vec<Member> {
    fn from(roster: Roster) -> Self {
        roster.members
    }
}

fn check(member: &Member) -> Result<(), RosterError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if member.name.is_empty() || member.name.len() > 32 || !member.name.bytes().all(allowed) {
        return Err(RosterError::Name(member.name.chars().take(64).collect()));
    }
    if member.zone.len() > 64 {
        return Err(RosterError::Zone(member.name.clone()));
    }
    if !(1..=1_000_000).contains(&member.weight) {
        return Err(RosterError::Weight { name: member.name.clone(), weight: member.weight });
    }
    Ok(())
}

fn refuse_repeats(members: &[Member]) -> Result<(), RosterError> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by_key(|member| member.id);
    for pair in sorted.windows(2) {
        if let [a, b] = pair
            && a.id == b.id
        {
            return Err(RosterError::SameId { id: a.id, first: a.name.clone(), second: b.name.clone() });
        }
    }
    sorted.sort_by_key(|member| &member.name);
    if let Some([a, _]) = sorted.windows(2).find(|pair| matches!(pair, [a, b] if a.name == b.name)) {
        return Err(RosterError::SameName(a.name.clone()));
    }
    sorted.sort_by_key(|member| member.address);
    if let Some([a, _]) = sorted.windows(2).find(|pair| matches!(pair, [a, b] if a.address == b.address)) {
        return Err(RosterError::SameAddress(a.address));
    }
    Ok(())
}
