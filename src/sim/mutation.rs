//! Rules broken on purpose, to prove that the net catches fish.
//!
//! Each mutation lives in the world's own shims (the network, the disk, the start of a process): what is tested is the
//! program as it ships. Some cannot be had from outside, and have a hook in the rules (`Shard::keep_stand_in_actors`,
//! `Shard::break_reaping`, `Shard::trust_heads`, `Shard::keep_twins`, `Layout::with_two_copies_on_one_node`).
//! `tests/sim.rs` runs each and asserts that a checker finds it.
//!
//! No mutation, and why: rules 10 and 11 (there is one layout, and nobody is removed).

/// A rule that the world breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Rule 1: a process that starts again on an older disk draws the actors that its predecessor drew.
    ReuseActor,
    /// Rule 3: a retry carries a new write id.
    NewIdOnRetry,
    /// Rule 4: a lookup that fails says "absent".
    ErrorAsAbsent,
    /// Rule 4: a node that lost its disk counts toward R at once.
    TrustLostDisk,
    /// Rule 5: a damaged value gets a checksum that fits.
    BlessRot,
    /// Rule 6: a failed fsync is retried, and the retry says "done".
    RetrySync,
    /// Rule 7: a peer confirms what it never got.
    ConfirmUnstored,
    /// Rule 7: a shard is told that its turn is committed though the disk dropped it.
    DropCommits,
    /// Rule 7: a shard is told that its turn is committed one turn before it is, so an acknowledgement may leave
    /// before the commit.
    AcknowledgeBeforeCommit,
    /// Rule 7: a shard is told that its turn is fsynced as soon as it asks, so a reply leaves before it is durable.
    ReleaseBeforeDurable,
    /// Rule 9: the merge of a read is confirmed by owners that never got it.
    SkipWriteBack,
    /// Rule 12: a frame that makes no sense ends the process.
    PanicOnGarbage,
    /// Rule 3: a replica gives a write that was passed on to it a name of its own.
    RemintForwarded,
    /// Rule 3: a write that two owners coordinated is replaced under one of its dots only.
    KeepTwins,
    /// Section 5: a layout with two copies of a partition on one node.
    PlanTwoOnOne,
    /// A coordinator sends its new version without the siblings beside it.
    SendNewVersionOnly,
    /// A merge arrives without the past that it replaces.
    DropContextOnMerge,
    /// A request is never answered.
    SwallowAnswers,
    /// A node commits what a peer sent it to a partition of another.
    StoreElsewhere,
    /// Rule 7: a stand-in confirms a hint and does not keep it.
    LoseHint,
    /// Rule 7: a strict write counts hints.
    CountHintsAsOwners,
    /// Rules 1 and 2: a stand-in goes on minting with an actor whose hint was delivered and removed.
    KeepStandInActor,
    /// Some leaves of the hash tree are not listed.
    SkipTreeLeaf,
    /// Rule 8: a tombstone is reaped though one owner was not asked.
    ReapTooEarly,
    /// Rule 8: a tombstone is reaped though nobody was asked about hints.
    ReapDespiteHints,
    /// Rule 8: what the clock covers and the copy does not know is joined all the same.
    TakeObsoleteBack,
    /// Rule 13: an entry of a vector is stripped without asking anybody.
    StripUnproven,
    /// A stored hash tree outlives the writes that come after it.
    BelieveStaleTree,
    /// Rules 4 and 5: the head of an item is taken for the item.
    TrustHead,
    /// A request's time counts from its turn, not from its arrival: it is served after its asker has given up.
    ForgetArrival,
    /// A member that was found unreachable is never spoken to again.
    ForgetUnreachable,
    /// A node says everything to others ten times over.
    RepeatGossip,
    /// The shards are not told that a member answers again.
    KeepReturnsFromShards,
}

impl Mutation {
    /// Every mutation there is.
    pub const ALL: [Self; 33] = [
        Self::ReuseActor,
        Self::NewIdOnRetry,
        Self::ErrorAsAbsent,
        Self::TrustLostDisk,
        Self::BlessRot,
        Self::RetrySync,
        Self::ConfirmUnstored,
        Self::DropCommits,
        Self::AcknowledgeBeforeCommit,
        Self::ReleaseBeforeDurable,
        Self::SkipWriteBack,
        Self::PanicOnGarbage,
        Self::RemintForwarded,
        Self::KeepTwins,
        Self::PlanTwoOnOne,
        Self::SendNewVersionOnly,
        Self::DropContextOnMerge,
        Self::SwallowAnswers,
        Self::StoreElsewhere,
        Self::LoseHint,
        Self::CountHintsAsOwners,
        Self::KeepStandInActor,
        Self::SkipTreeLeaf,
        Self::ReapTooEarly,
        Self::ReapDespiteHints,
        Self::TakeObsoleteBack,
        Self::StripUnproven,
        Self::BelieveStaleTree,
        Self::TrustHead,
        Self::ForgetArrival,
        Self::ForgetUnreachable,
        Self::RepeatGossip,
        Self::KeepReturnsFromShards,
    ];
}
