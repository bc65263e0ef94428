//! The watch over the disk's free space.
//!
//! A full disk is met long before the disk is full: at the reserve new values and hints are refused, at half of it
//! copies that would make items larger (`protocol::shard::Room`). What is left is for deletes, for the files that a
//! flush or a compaction writes before it may remove others, and for a restart, which has to write its log out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::node::NodeError;
use super::state::NodeShared;
use crate::config::ByteSize;
use crate::protocol::shard::{Room, Space};

/// Between two looks: a disk that takes 1 GiB a second fills half of the default reserve in one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The default reserve: at least this, ..
const RESERVE_MIN: u64 = 1 << 30;
/// .. a fiftieth of the disk, ..
const RESERVE_PART: u64 = 50;
/// .. and at most an eighth of it.
const RESERVE_PART_MAX: u64 = 8;

/// The free space of the file system with the data directory, as it was last seen.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    path: PathBuf,
    configured: Option<ByteSize>,
    seen: Mutex<(Room, Space)>,
}

impl DiskSpace {
    /// Not looked at yet.
    pub(crate) fn new(path: &Path, configured: Option<ByteSize>) -> Self {
        Self { path: path.to_owned(), configured, seen: Mutex::default() }
    }

    /// What was seen last.
    pub(crate) fn seen(&self) -> (Room, Space) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures. What cannot be measured is as it was. May wait for the disk: not for a thread that must not.
    pub(crate) fn look(&self) -> (Room, Space) {
        let stat = match rustix::fs::statvfs(&self.path) {
            Ok(stat) => stat,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the free space of the data directory is unknown");
                return self.seen();
            }
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = self.configured.map_or_else(|| reserve_of(total), ByteSize::as_bytes);
        let space = Space { free, reserve };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let room = seen.0.after(space);
        if room != seen.0 {
            tell(seen.0, room, space);
        }
        *seen = (room, space);
        *seen
    }

    /// Why this node takes less than usual, for people.
    pub(crate) fn trouble(&self) -> Option<String> {
        let (room, Space { free, reserve }) = self.seen();
        let refused = match room {
            Room::Plenty => return None,
            Room::Reserve => "new values and hints are refused",
            Room::Emergency => "new values, hints and copies that make items larger are refused",
        };
        let path = self.path.display();
        Some(format!(
            "the disk of {path} is nearly full: {free} bytes are free, {reserve} are its reserve (disk_reserve); \
             {refused}; free space on it"
        ))
    }
}

fn tell(before: Room, room: Room, Space { free, reserve }: Space) {
    let (from, to) = (before.as_str(), room.as_str());
    if room > before {
        tracing::error!(from, to, free, reserve, "the disk is nearly full: less is taken in");
    } else {
        tracing::info!(from, to, free, reserve, "the disk has more room again");
    }
}

/// Measures the disk for as long as the node runs, off the control thread: a disk that hangs must not hold that.
pub(super) async fn watch_disk(shared: Arc<NodeShared>) {
    let mut pulse = tokio::time::interval(LOOK_EVERY);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let shared = shared.clone();
        if tokio::task::spawn_blocking(move || shared.look_at_disk()).await.is_err() {
            return;
        }
    }
}

/// A full disk looks like a broken one to whoever writes to it; for people it is another thing.
pub(super) fn explain_full(error: NodeError, data: &Path) -> NodeError {
    let text = error.to_string();
    if !text.contains("No space left on device") || matches!(error, NodeError::DiskFull { .. }) {
        return error;
    }
    let free = rustix::fs::statvfs(data).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    NodeError::DiskFull { path: data.to_owned(), free, text }
}

/// The reserve of a disk of so many bytes.
fn reserve_of(total: u64) -> u64 {
    (total / RESERVE_PART).max(RESERVE_MIN).min(total / RESERVE_PART_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_a_fiftieth_but_at_least_a_gibibyte_and_at_most_an_eighth() {
        const GIB: u64 = 1 << 30;
        for (total, reserve) in [(0, 0), (2 * GIB, GIB / 4), (8 * GIB, GIB), (40 * GIB, GIB), (1000 * GIB, 20 * GIB)] {
            assert_eq!(reserve_of(total), reserve, "of {total}");
        }
    }

    #[test]
    fn space_of_a_directory_is_seen_and_that_of_none_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DiskSpace::new(dir.path(), Some(ByteSize::new(u64::MAX)));
        let (room, space) = disk.look();
        assert_eq!((room, space.reserve), (Room::Emergency, u64::MAX));
        assert!(space.free > 0);
        assert!(disk.trouble().unwrap().contains("free space on it"));
        let gone = DiskSpace::new(&dir.path().join("none"), None);
        assert_eq!(gone.look(), (Room::Plenty, Space::default()));
        assert_eq!(gone.trouble(), None);
    }
}
