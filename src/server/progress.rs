//! Whether this process gets on with its work: it used CPU since the last look.
//!
//! Replaying a log or rebuilding a damaged file takes as long as there is data, and says nothing on the way. More time
//! is asked for only while it moves; a recovery that hangs on its disk uses no CPU, and systemd's timeout ends it.

use std::fs;

/// Least CPU between two looks that counts, in ticks of 10 ms: the look itself takes less.
const TICKS_MIN: u64 = 2;

/// The CPU time at the last look.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    ticks: u64,
}

impl Progress {
    /// Looks again. Without `/proc` nothing is seen to move.
    pub(crate) fn has_moved(&mut self) -> bool {
        match fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(ticks_of) {
            Some(ticks) => self.note(ticks),
            None => false,
        }
    }

    fn note(&mut self, ticks: u64) -> bool {
        let moved = ticks >= self.ticks + TICKS_MIN;
        if moved {
            self.ticks = ticks;
        }
        moved
    }
}

/// User and system time of all threads, fields 14 and 15. The name before them may hold anything, so they are counted
/// from its closing bracket.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 5 5 20 0 4 0 100 1 1";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("7 (a) S 1"), None);
        assert!(fs::read_to_string("/proc/self/stat").is_ok_and(|stat| ticks_of(&stat).is_some()));
    }

    #[test]
    fn only_more_cpu_than_the_look_takes_is_progress() {
        let mut progress = Progress::default();
        assert!(progress.note(5));
        assert!(!progress.note(5));
        assert!(!progress.note(6), "one tick may be the look's own");
        assert!(progress.note(7), "and slow work adds up");
    }
}
