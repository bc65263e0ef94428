//! What the requests under way in a shard hold in memory, and what is said when that is too much.
//!
//! ```text
//!   begun    value of a put, body of a relayed request        refused from `bytes_max` on: 429, nothing was begun
//!   written  the record that is sent to the other owners
//!   read     each copy that an owner sends                     refused from twice that on: 429, nothing was written
//!   told     its client has the answer, an owner is late       kept up to half of it; an exchange does it later
//! ```
//!
//! Requests are counted too ([`OPERATIONS_MAX`]): small ones cost more than their bytes. A request that is alone may be
//! larger than the bounds, or an item at its limit could never be read.

use core::time::Duration;

use super::Shard;
use super::operation::{OPERATIONS_MAX, Operations};
use crate::protocol::wire::Failure;

/// Bytes that the requests under way in all shards of a node hold, before no more are begun: a hundred values of 1 MiB,
/// or a full count of small ones.
const NODE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A shard's part of them is not less than two of the largest values.
const SHARD_BYTES_MIN: usize = 16 * 1024 * 1024;
/// A backlog of this many requests is worked off in a tenth of a second, or else the next answer says so again.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A shard's part of the node's bound.
pub(super) fn bytes_max(shards: u16) -> usize {
    (NODE_BYTES_MAX / usize::from(shards.max(1))).max(SHARD_BYTES_MIN)
}

impl Shard {
    /// Whether one more request may be begun.
    pub(super) fn admit(&self) -> Result<(), Failure> {
        let (count, bytes, bytes_max) = (self.operations.len(), self.operations.bytes(), self.operations.bytes_max());
        if count >= OPERATIONS_MAX {
            let text = format!("{count} requests are under way in this shard, which is its limit; ask again, slower");
            return Err(Failure::overloaded(text, RETRY_AFTER));
        }
        if bytes >= bytes_max {
            return Err(Failure::overloaded(too_heavy(bytes, bytes_max), RETRY_AFTER));
        }
        Ok(())
    }

    /// Takes the weight of a copy that was read for a request. False when there is no room for it: the request was
    /// refused, and nothing was written.
    pub(super) fn take_copy(&mut self, id: u64, bytes: usize) -> bool {
        if self.operations.charge_within(id, bytes, 2 * self.operations.bytes_max()) {
            return true;
        }
        let text = too_heavy(self.operations.bytes(), 2 * self.operations.bytes_max());
        self.refuse(id, &Failure::overloaded(text, RETRY_AFTER));
        false
    }

    /// Bytes that the requests under way hold.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.operations.bytes()
    }
}

fn too_heavy(bytes: usize, limit: usize) -> String {
    format!("the requests under way in this shard hold {bytes} bytes; the limit is {limit}; ask again, slower")
}

impl Operations {
    /// Adds to what an operation holds.
    pub(super) fn charge(&mut self, id: u64, bytes: usize) {
        self.charge_within(id, bytes, usize::MAX);
    }

    /// Adds to what an operation holds, unless all of them would hold more than this; one that is alone may.
    fn charge_within(&mut self, id: u64, bytes: usize, limit: usize) -> bool {
        let all = self.bytes();
        let Some(operation) = self.get_mut(id) else { return true };
        let alone = operation.charged == all;
        if !alone && all.saturating_add(bytes) > limit {
            return false;
        }
        operation.charged += bytes;
        self.add_bytes(bytes);
        true
    }
}
