//! Which promises are checked, and what each waits for.
//!
//! A checker whose capability does not exist yet is off. `tests/sim.rs` compares this table with the code: whoever adds
//! the capability sees the test fail and is told which checker to turn on.

use super::finding::Checker;

/// A promise and whether it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// The promise.
    pub checker: Checker,
    /// It is checked.
    pub on: bool,
    /// The source file that is missing, or empty, for as long as the capability does not exist.
    pub waits_for: Option<&'static str>,
    /// What is there, and what is not.
    pub because: &'static str,
}

const fn on(checker: Checker, because: &'static str) -> Capability {
    Capability { checker, on: true, waits_for: None, because }
}

/// Every promise, in order.
pub const CAPABILITIES: [Capability; 11] = [
    on(Checker::AckedWrites, "by strict reads during the load and after it, and by looking into the stores"),
    on(Checker::Siblings, "of every committed state and every answer"),
    on(Checker::Convergence, "of records, hash trees, hints and standing; not of what rotted with two of its owners"),
    on(Checker::Deletes, "of every removal, of every commit after it, and of every read that begins after it"),
    on(Checker::Sessions, "when R + W > N; monotonic reads when 2R > N, for agreeing answers are not written back"),
    on(Checker::SiblingCount, "of the table that is written only after reading"),
    on(Checker::Owners, "of the one layout, and of every commit"),
    on(Checker::Termination, "of requests, exchanges and hints; their bytes are bounded, and a quiet cluster is quiet"),
    on(Checker::Bounds, "panics, frames, records"),
    on(Checker::Durability, "of each copy that an answer names, when it names it and in the end"),
    on(Checker::Detector, "once everything is mended; how soon a death is known is measured by `sim::detector`"),
];

/// Whether a source file holds code: anything but comments and blank lines.
#[must_use]
pub fn holds_code(source: &str) -> bool {
    source.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with("//"))
}
