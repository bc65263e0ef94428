//! The watchdog's decision: is everything in this process alive, or is systemd to end it?
//!
//! A process that accepts connections and answers nobody is worse than a dead one, which others notice. So each round
//! asks every part of the node, and the round is good only if all have answered: the control thread has carried out an
//! order, every shard has run a turn, the disk has taken a write and an fsync. Only a good round pings.
//!
//! ```text
//!   begin_round -> who to ask      answered(part) ..      end_round -> Ping, or who is silent and for how long
//! ```
//!
//! A part that has not answered is not asked again, so a stalled one does not gather questions; its late answer makes
//! the round good in which it comes. No clock, no thread: `pulse` has those.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The control thread.
    Control,
    /// A shard's thread.
    Shard(usize),
    /// The data directory.
    Disk,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("the control thread"),
            Self::Shard(number) => write!(f, "shard {number}"),
            Self::Disk => f.write_str("the disk"),
        }
    }
}

/// What a round has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All parts have answered.
    Ping,
    /// These have not, for this long.
    Silent(Vec<(Part, Duration)>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Silent(parts) = self else { return f.write_str("everything answers") };
        f.write_str("no answer from ")?;
        for (at, (part, time)) in parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{part} for {:.1} s", time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Who has been asked, and when.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    /// Parts with an open question, and the time at which it was asked.
    open: BTreeMap<Part, Duration>,
}

impl Watchdog {
    /// A round begins. `parts` is what the node consists of now; the answer is whom to ask.
    pub(crate) fn begin_round(&mut self, now: Duration, parts: impl IntoIterator<Item = Part>) -> Vec<Part> {
        let ask: Vec<Part> = parts.into_iter().filter(|part| !self.open.contains_key(part)).collect();
        self.open.extend(ask.iter().map(|part| (*part, now)));
        ask
    }

    /// A part has answered.
    pub(crate) fn answered(&mut self, part: Part) {
        self.open.remove(&part);
    }

    /// Whom nobody has heard of yet.
    pub(crate) fn open(&self) -> Vec<Part> {
        self.open.keys().copied().collect()
    }

    /// A round ends.
    pub(crate) fn end_round(&self, now: Duration) -> Verdict {
        if self.open.is_empty() {
            return Verdict::Ping;
        }
        Verdict::Silent(self.open.iter().map(|(part, asked)| (*part, now.saturating_sub(*asked))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part; 4] = [Part::Control, Part::Shard(0), Part::Shard(1), Part::Disk];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn round_in_which_all_answer_pings() {
        let mut watchdog = Watchdog::default();
        for round in 0..3 {
            assert_eq!(watchdog.begin_round(at(round), PARTS), PARTS);
            for part in PARTS {
                watchdog.answered(part);
            }
            assert_eq!(watchdog.end_round(at(round)), Verdict::Ping);
        }
    }

    #[test]
    fn one_stalled_part_stops_the_pings_whichever_it_is() {
        for stalled in PARTS {
            let mut watchdog = Watchdog::default();
            assert_eq!(watchdog.begin_round(at(0), PARTS), PARTS);
            PARTS.iter().filter(|part| **part != stalled).for_each(|part| watchdog.answered(*part));
            assert_eq!(watchdog.end_round(at(5)), Verdict::Silent(vec![(stalled, at(5))]));
            // The others are asked again and answer, which helps nothing; the stalled one gathers no questions.
            let asked = watchdog.begin_round(at(5), PARTS);
            assert!(asked.len() == 3 && !asked.contains(&stalled), "{asked:?}");
            for part in asked {
                watchdog.answered(part);
            }
            assert_eq!(watchdog.end_round(at(10)), Verdict::Silent(vec![(stalled, at(10))]));
            assert_eq!(watchdog.open(), [stalled]);
            // It answers late: alive again.
            watchdog.begin_round(at(10), PARTS);
            for part in PARTS {
                watchdog.answered(part);
            }
            assert_eq!(watchdog.end_round(at(11)), Verdict::Ping);
        }
    }

    #[test]
    fn silence_is_told_with_names_and_times() {
        let mut watchdog = Watchdog::default();
        watchdog.begin_round(at(0), [Part::Shard(3)]);
        watchdog.begin_round(at(2), [Part::Shard(3), Part::Disk]);
        let text = watchdog.end_round(at(4)).to_string();
        assert_eq!(text, "no answer from shard 3 for 4.0 s, the disk for 2.0 s");
    }
}
