//! What a checker found, in words a person can act on.

use std::fmt;

/// A promise that is watched from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// 1: no acknowledged write is lost.
    AckedWrites,
    /// 2: exactly the concurrent versions are there, each with one value.
    Siblings,
    /// 3: all owners hold the same in the end.
    Convergence,
    /// 4: what was deleted stays deleted.
    Deletes,
    /// 5: a strict read sees what was acknowledged, and what an earlier read showed.
    Sessions,
    /// 6: an item has no more siblings than concurrent writers.
    SiblingCount,
    /// 7: a partition has N distinct owners, and nobody else holds anything of it.
    Owners,
    /// 8: every request ends once and in time; nothing is sent when nobody asks.
    Termination,
    /// 9: no panic, and no named bound exceeded.
    Bounds,
    /// 10: what is said to be stored, or fsynced, is.
    Durability,
    /// 11: who is well is not held unreachable for long, all members agree, and gossip stays within its bounds.
    Detector,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which promise.
    pub checker: Checker,
    /// What happened, to which item, when.
    pub text: String,
}

impl Finding {
    pub(super) fn new(checker: Checker, text: String) -> Self {
        Self { checker, text }
    }
}

impl Checker {
    /// Its number in the list of promises.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// What users were promised.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::AckedWrites => "no acknowledged write is lost",
            Self::Siblings => "exactly the concurrent versions of an item are there, each with one name and one value",
            Self::Convergence => "once everything is mended, all owners of an item hold the same",
            Self::Deletes => "what was deleted stays deleted",
            Self::Sessions => "a strict read sees what was acknowledged, and what an earlier strict read showed",
            Self::SiblingCount => "an item has no more siblings than concurrent writers",
            Self::Owners => "a partition has N distinct owners, and nobody else holds anything of it",
            Self::Termination => "every request ends once and in time, and a quiet cluster is quiet",
            Self::Bounds => "no node panics, and no named bound is exceeded",
            Self::Durability => "what is said to be stored, or fsynced, is",
            Self::Detector => "a member that is well is not held unreachable for long, and gossip stays bounded",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checker {} ({:?}): {}", self.checker.number(), self.checker, self.text)
    }
}
