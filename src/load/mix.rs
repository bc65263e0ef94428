//! Which operations, in which shares: of one's own, or one of YCSB's six workloads.
//!
//! | workload | operations | keys | like |
//! |---|---|---|---|
//! | a | get 50, put 50 | zipfian 0.99 | a session store |
//! | b | get 95, put 5 | zipfian 0.99 | tags of photographs |
//! | c | get 100 | zipfian 0.99 | profiles of users |
//! | d | get 95, insert 5 | latest | what is new |
//! | e | scan 95, insert 5 | zipfian 0.99 | threads of a conversation |
//! | f | get 50, read-modify-write 50 | zipfian 0.99 | records of users |
//!
//! (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", `SoCC` 2010.) *Caveat.* Keys are hashed over the
//! ring, so there are no ranges of keys: a scan lists addresses from a random partition on, without their values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::chance::Chance;
use super::error::SettingsError;
use super::keys::ZIPF_EXPONENT;
use super::settings::{Keys, Mix};

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Reads an item.
    Get,
    /// Writes an item.
    Put,
    /// Deletes an item.
    Delete,
    /// Lists a few addresses.
    Scan,
    /// Reads an item and writes it with the context of that.
    ReadModifyWrite,
    /// Writes an item that was never there.
    Insert,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 6] = [Self::Get, Self::Put, Self::Delete, Self::Scan, Self::ReadModifyWrite, Self::Insert];

    /// As reports and the command line have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "rmw",
            Self::Insert => "insert",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Get => 0,
            Self::Put => 1,
            Self::Delete => 2,
            Self::Scan => 3,
            Self::ReadModifyWrite => 4,
            Self::Insert => 5,
        }
    }
}

/// One of YCSB's workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Half updates.
    A,
    /// Mostly reads.
    B,
    /// Reads only.
    C,
    /// Reads of the latest.
    D,
    /// Short scans.
    E,
    /// Read, modify, write.
    F,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F];

    /// As the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::E => "e",
            Self::F => "f",
        }
    }

    /// Its operations.
    #[must_use]
    pub fn mix(self) -> Mix {
        let mix = Mix::default();
        match self {
            Self::A => Mix { get: 50, put: 50, ..mix },
            Self::B => Mix { get: 95, put: 5, ..mix },
            Self::C => Mix { get: 100, ..mix },
            Self::D => Mix { get: 95, insert: 5, ..mix },
            Self::E => Mix { scan: 95, insert: 5, ..mix },
            Self::F => Mix { get: 50, read_modify_write: 50, ..mix },
        }
    }

    /// Its choice of keys.
    #[must_use]
    pub const fn keys(self) -> Keys {
        match self {
            Self::D => Keys::Latest,
            Self::A | Self::B | Self::C | Self::E | Self::F => Keys::Zipfian(ZIPF_EXPONENT),
        }
    }
}

impl Mix {
    /// The share of a kind.
    #[must_use]
    pub const fn share(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Get => self.get,
            Kind::Put => self.put,
            Kind::Delete => self.delete,
            Kind::Scan => self.scan,
            Kind::ReadModifyWrite => self.read_modify_write,
            Kind::Insert => self.insert,
        }
    }

    const fn share_mut(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Get => &mut self.get,
            Kind::Put => &mut self.put,
            Kind::Delete => &mut self.delete,
            Kind::Scan => &mut self.scan,
            Kind::ReadModifyWrite => &mut self.read_modify_write,
            Kind::Insert => &mut self.insert,
        }
    }

    /// The sum of the shares.
    #[must_use]
    pub fn sum(&self) -> u64 {
        Kind::ALL.into_iter().map(|kind| u64::from(self.share(kind))).sum()
    }

    /// The kinds that occur, in the order of reports.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<'_> {
        Kind::ALL.into_iter().filter(|kind| self.share(*kind) > 0)
    }

    /// Whether items are written that a later operation reads.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.put > 0 || self.delete > 0 || self.read_modify_write > 0 || self.insert > 0
    }

    /// A kind, each as often as its share says.
    pub(super) fn draw(&self, chance: &mut Chance) -> Kind {
        let mut left = chance.below(self.sum());
        for kind in self.kinds() {
            let share = u64::from(self.share(kind));
            if left < share {
                return kind;
            }
            left -= share;
        }
        // Settings without any share are refused before.
        Kind::Get
    }
}

/// `get=95,put=5`.
impl FromStr for Mix {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let names = || Kind::ALL.map(Kind::name).join(", ");
        let wrong = |reason: String| SettingsError::of("mix", reason);
        let mut mix = Self::default();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(|| wrong(format!("{name:?} is no operation; there is {}", names())))?;
            let share: u32 = share.trim().parse().map_err(|_| {
                wrong(format!("{share:?} is no share of {name}; use whole numbers, such as get=95,put=5"))
            })?;
            let place = mix.share_mut(kind);
            if *place > 0 {
                return Err(wrong(format!("{name} is there twice; give each operation one share")));
            }
            *place = share;
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds = self.kinds();
        // One kind alone needs no share.
        if let (Some(only), None) = (kinds.next(), kinds.next()) {
            return f.write_str(only.name());
        }
        for (at, kind) in self.kinds().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}={}", kind.name(), self.share(kind))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
