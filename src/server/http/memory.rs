//! How much memory the values in flight may take, over all connections of a listener together.
//!
//! A connection count alone is no bound worth having: 1,024 connections times an 8 MiB value, or a 16 MiB item in
//! base64, is more than most machines have. So bytes are charged as they arrive, not as they are announced (a client
//! that announces 8 MiB and sends nothing costs nothing), and given back when the last reference to them is gone:
//! for an answer that is when the socket has taken it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::protocol::types::limits::{FRAME_BYTES_MAX, VALUE_BYTES_MAX};
use crate::protocol::wire::FailureCode;

/// Bytes of request bodies at once: 64 values of the default limit, 8 of the highest. Each is copied once more into
/// the message to the shard.
pub const VALUE_BYTES_TOTAL_MAX: usize = 64 * 1024 * 1024;
/// Bytes of answers at once: the largest frame, in base64, fits beside several items at their limit.
pub const REPLY_BYTES_TOTAL_MAX: usize = 256 * 1024 * 1024;

const _: () = assert!(VALUE_BYTES_MAX <= VALUE_BYTES_TOTAL_MAX);
const _: () = assert!(FRAME_BYTES_MAX + FRAME_BYTES_MAX.div_ceil(3) * 4 <= REPLY_BYTES_TOTAL_MAX);
const _: () = assert!(REPLY_BYTES_TOTAL_MAX <= u32::MAX as usize);

/// A purse of bytes.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    free: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from a purse, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge(OwnedSemaphorePermit);

impl Memory {
    pub(super) fn new(total: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// Takes so many bytes, or says at once that there are not enough: a client that waits would hold what it has.
    pub(super) fn charge(&self, bytes: usize) -> Result<Charge, Refusal> {
        let permit = u32::try_from(bytes).ok().and_then(|count| self.free.clone().try_acquire_many_owned(count).ok());
        permit.map(Charge).ok_or_else(|| {
            let text = format!(
                "the values in flight at this door would exceed {} bytes; ask again, with fewer or smaller requests \
                 at once",
                self.total
            );
            Refusal::failed(FailureCode::Overloaded, text)
        })
    }

    /// How many bytes are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

impl Charge {
    /// Adds another charge of the same purse.
    pub(super) fn join(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// The bytes, charged until the last reference to them is dropped.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_back_with_their_last_reference() {
        let memory = Memory::new(10);
        let mut charge = memory.charge(4).unwrap();
        charge.join(memory.charge(3).unwrap());
        assert_eq!(memory.charge(4).unwrap_err().code.as_str(), "overloaded");
        let held = charge.hold(Bytes::from_static(b"seven.."));
        let slice = held.slice(2..4);
        drop(held);
        assert_eq!(memory.free(), 3);
        drop(slice);
        assert_eq!(memory.free(), 10);
    }
}
