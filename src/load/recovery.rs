//! How long a cluster takes to be what it was after something was done to it.
//!
//! What it was: the medians of rate and 99th percentile over the seconds before the first event. It is that again from
//! the first second after an event in which nothing fails, the rate is `RATE_SHARE` of the median or more and the
//! 99th percentile at most `P99_TIMES` the median, and the second after it as well: one good second may be chance.

use super::report::{Run, Second};

/// The least share of the earlier rate.
const RATE_SHARE: f64 = 0.8;
/// The most that the earlier 99th percentile may have grown by; a second has few requests beyond its 99th percentile.
const P99_TIMES: f64 = 3.0;
/// Seconds in a row.
const ROW: usize = 2;

/// What came after one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// What was done.
    pub what: String,
    /// When, seconds since the measured time began.
    pub at: f64,
    /// Seconds from the event until all was as before, in steps of a second; none when it was not before the next event
    /// or the end.
    pub seconds: Option<f64>,
    /// Requests that failed until the next event or the end.
    pub errors: u64,
    /// The longest latency until then, microseconds.
    pub max_us: u64,
}

/// One for each event of a run; none at all when no whole second came before the first.
#[must_use]
pub fn recoveries(run: &Run) -> Vec<Recovery> {
    let Some(first) = run.events.first().map(|event| event.at) else { return Vec::new() };
    let before: Vec<&Second> = run.timeline.iter().filter(|second| (second.at + 1) as f64 <= first).collect();
    let (Some(rate), Some(p99)) = (median(&before, good), median(&before, |second| second.p99_us)) else {
        return Vec::new();
    };
    let is_as_before = |second: &Second| {
        let is_quick = second.p99_us as f64 <= P99_TIMES * p99 as f64;
        second.errors == 0 && good(second) as f64 >= RATE_SHARE * rate as f64 && is_quick
    };
    let ends = run.events.iter().skip(1).map(|event| event.at).chain([f64::INFINITY]);
    let recovery = |(event, until): (&super::report::Event, f64)| {
        // The second in which it was done counts: an error in it is its own. The next event's is the next event's.
        let is_its = |second: &&Second| {
            let (from, to) = (second.at as f64, (second.at + 1) as f64);
            to > event.at && (to <= until || from <= event.at)
        };
        let after: Vec<&Second> = run.timeline.iter().filter(is_its).collect();
        let from = after.windows(ROW).find(|row| row.iter().all(|second| is_as_before(second)));
        Recovery {
            what: event.what.clone(),
            at: event.at,
            seconds: from.and_then(|row| row.first()).map(|second| (second.at as f64 - event.at).max(0.0)),
            errors: after.iter().map(|second| second.errors).sum(),
            max_us: after.iter().map(|second| second.max_us).max().unwrap_or(0),
        }
    };
    run.events.iter().zip(ends).map(recovery).collect()
}

fn good(second: &Second) -> u64 {
    second.operations.saturating_sub(second.errors)
}

fn median(seconds: &[&Second], value: impl Fn(&Second) -> u64) -> Option<u64> {
    let mut values: Vec<u64> = seconds.iter().map(|second| value(second)).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::Event;
    use crate::load::specimen;

    #[test]
    fn recovery_is_counted_from_the_event_to_two_good_seconds() {
        let run = specimen::eventful_run();
        let found = recoveries(&run);
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[0].what, found[0].seconds, found[0].errors), ("kill n2", None, 360));
        // Restarted at 6.02 s: from then on nothing fails.
        assert_eq!((&*found[1].what, found[1].seconds, found[1].errors), ("restart n2", Some(0.0), 0));
        let mut run = run;
        run.events.pop();
        let alone = recoveries(&run);
        assert_eq!((alone[0].seconds, alone[0].max_us), (Some(3.0), 6000), "from 3 s to 6 s");
    }

    #[test]
    fn one_good_second_is_none_and_nothing_before_says_nothing() {
        let mut run = specimen::eventful_run();
        run.events.pop();
        for second in &mut run.timeline {
            second.errors = u64::from((3..9).contains(&second.at) && second.at != 5);
            second.p99_us = 3000;
        }
        assert_eq!(recoveries(&run)[0].seconds, None, "only the last second is good: {run:?}");
        run.events = vec![Event { at: 0.4, what: "kill n1".to_owned() }];
        assert_eq!(recoveries(&run), []);
        assert_eq!(recoveries(&specimen::open_run(100.0, 1000.0)), []);
    }
}
