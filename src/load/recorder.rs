//! Counts what became of operations while a run is made, and makes a second of it every second.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::mix::Kind;
use super::report::{Distribution, LATENCY_MAX_US, Operations, Second, Versions};
use super::schedule::Turn;

/// Whether the real send time is recorded beside the intended one, which are the same in a closed loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loop {
    Closed,
    Open,
}

/// Whether the latencies of each second are kept, to be added to those of other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Percentiles,
    Distributions,
}

/// An operation that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) turn: Turn,
    /// When it was really sent.
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    /// The error's name.
    pub(super) error: Option<&'static str>,
}

/// Counts of one process.
#[derive(Debug)]
pub(super) struct Recorder {
    pace: Loop,
    /// By [`Kind::index`].
    kinds: [Option<Counts>; Kind::ALL.len()],
    warmup: Seconds,
    measured: Seconds,
    pub(super) versions: Versions,
}

#[derive(Debug)]
struct Counts {
    latency: Histogram<u64>,
    service: Histogram<u64>,
    errors: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// For a warmup that begins at `began` and a measured time of so many seconds from `measured_from` on.
    pub(super) fn new(pace: Loop, detail: Detail, began: Instant, measured_from: Instant, seconds: u64) -> Self {
        Self {
            pace,
            kinds: [const { None }; Kind::ALL.len()],
            warmup: Seconds::new(began, u64::MAX, Detail::Percentiles),
            measured: Seconds::new(measured_from, seconds, detail),
            versions: Versions::default(),
        }
    }

    /// Counts an answer.
    pub(super) fn note(&mut self, answer: Answer) {
        let Answer { kind, turn, sent, answered, error } = answer;
        let latency = micros(turn.intended, answered);
        if !turn.is_measured {
            return self.warmup.note(answered, latency, error.is_some());
        }
        self.measured.note(answered, latency, error.is_some());
        let counts = self.kinds.get_mut(kind.index()).expect("every kind has a place");
        let counts = counts.get_or_insert_with(|| Counts {
            latency: histogram(),
            service: histogram(),
            errors: BTreeMap::new(),
        });
        counts.latency.saturating_record(latency);
        if self.pace == Loop::Open {
            counts.service.saturating_record(micros(sent, answered));
        }
        if let Some(name) = error {
            *counts.errors.entry(name).or_default() += 1;
        }
    }

    /// Counts the versions that an answer told of an item; one that has none is no item.
    pub(super) fn note_versions(&mut self, turn: Turn, versions: usize) {
        if turn.is_measured && versions > 0 {
            let versions = u64::try_from(versions).unwrap_or(u64::MAX);
            self.versions.answers += 1;
            self.versions.sum += versions;
            self.versions.max = self.versions.max.max(versions);
        }
    }

    /// The last whole second of the warmup, or of the measured time.
    pub(super) fn last_second(&mut self, is_measured: bool, now: Instant) -> Second {
        if is_measured { self.measured.last(now) } else { self.warmup.last(now) }
    }

    /// All that was counted: operations by kind, and second by second.
    pub(super) fn finish(self) -> (BTreeMap<String, Operations>, Vec<Second>, Vec<Distribution>) {
        let operations = Kind::ALL.into_iter().zip(self.kinds).filter_map(|(kind, counts)| {
            let Counts { latency, service, errors } = counts?;
            let latency = Distribution::of(&latency);
            let service = match self.pace {
                Loop::Closed => latency.clone(),
                Loop::Open => Distribution::of(&service),
            };
            let errors = errors.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            Some((kind.name().to_owned(), Operations { count: latency.count(), errors, latency, service }))
        });
        let operations = operations.collect();
        let (seconds, distributions) = self.measured.finish();
        (operations, seconds, distributions)
    }
}

/// Second by second. Answers after the last one count in it: they were asked for in the measured time, and a row for
/// the few milliseconds of the end would look like a dip.
#[derive(Debug)]
struct Seconds {
    began: Instant,
    limit: u64,
    current: u64,
    latency: Histogram<u64>,
    errors: u64,
    done: Vec<Second>,
    detail: Detail,
    distributions: Vec<Distribution>,
}

impl Seconds {
    fn new(began: Instant, limit: u64, detail: Detail) -> Self {
        let (latency, limit) = (histogram(), limit.max(1));
        Self { began, limit, current: 0, latency, errors: 0, done: Vec::new(), detail, distributions: Vec::new() }
    }

    fn note(&mut self, answered: Instant, latency: u64, is_error: bool) {
        self.advance(answered);
        self.latency.saturating_record(latency);
        self.errors += u64::from(is_error);
    }

    /// Closes the seconds that are over.
    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.began).as_secs().min(self.limit - 1);
        while self.current < second {
            self.close();
        }
    }

    fn close(&mut self) {
        let Self { latency, errors, .. } = self;
        self.done.push(Second {
            at: self.current,
            operations: latency.len(),
            errors: std::mem::take(errors),
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
        });
        if self.detail == Detail::Distributions {
            self.distributions.push(Distribution::of(latency));
        }
        latency.reset();
        self.current += 1;
    }

    fn last(&mut self, now: Instant) -> Second {
        self.advance(now);
        self.done.last().cloned().unwrap_or_default()
    }

    fn finish(mut self) -> (Vec<Second>, Vec<Distribution>) {
        while self.current < self.limit {
            self.close();
        }
        (self.done, self.distributions)
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}

fn histogram() -> Histogram<u64> {
    // Three digits of 1 us to a minute: 17 times 1024 counts.
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds and digits that the crate takes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(began: Instant, intended_ms: u64, sent_ms: u64, answered_ms: u64) -> Answer {
        let at = |ms| began + Duration::from_millis(ms);
        let turn = Turn { intended: at(intended_ms), taken: at(sent_ms), is_measured: true };
        Answer { kind: Kind::Put, turn, sent: at(sent_ms), answered: at(answered_ms), error: None }
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_service_from_the_real_one() {
        let began = Instant::now();
        let mut recorder = Recorder::new(Loop::Open, Detail::Percentiles, began, began, 10);
        recorder.note(answer(began, 100, 900, 950));
        let (operations, ..) = recorder.finish();
        let put = &operations["put"];
        assert!(put.latency.max().abs_diff(850_000) < 1000 && put.service.max().abs_diff(50_000) < 100, "{put:?}");
        let mut recorder = Recorder::new(Loop::Closed, Detail::Percentiles, began, began, 10);
        recorder.note(answer(began, 100, 100, 150));
        let (operations, ..) = recorder.finish();
        assert_eq!(operations["put"].latency, operations["put"].service);
    }

    #[test]
    fn errors_are_latencies_too_and_have_names() {
        let began = Instant::now();
        let mut recorder = Recorder::new(Loop::Closed, Detail::Percentiles, began, began, 2);
        recorder.note(Answer { error: Some("unanswered"), ..answer(began, 0, 0, 1500) });
        recorder.note(answer(began, 0, 0, 10));
        let (operations, seconds, _) = recorder.finish();
        let put = &operations["put"];
        assert_eq!((put.count, put.errors["unanswered"]), (2, 1));
        assert!(put.latency.max() >= 1_500_000);
        assert_eq!(seconds.iter().map(|second| second.errors).sum::<u64>(), 1);
    }

    #[test]
    fn a_standstill_is_seconds_of_nothing_and_the_end_is_no_dip() {
        let began = Instant::now();
        let mut recorder = Recorder::new(Loop::Closed, Detail::Distributions, began, began, 4);
        for answered in [10, 20, 3_100, 4_600] {
            recorder.note(answer(began, 0, 0, answered));
        }
        let (_, seconds, distributions) = recorder.finish();
        let counts: Vec<(u64, u64)> = seconds.iter().map(|second| (second.at, second.operations)).collect();
        assert_eq!(counts, [(0, 2), (1, 0), (2, 0), (3, 2)]);
        assert!(seconds.iter().zip(&distributions).all(|(second, all)| second.operations == all.count()));
        assert_eq!((seconds[1].max_us, seconds[3].max_us / 1_000_000), (0, 4));
    }

    #[test]
    fn warmup_is_shown_and_not_counted() {
        let began = Instant::now();
        let from = began + Duration::from_secs(2);
        let mut recorder = Recorder::new(Loop::Closed, Detail::Percentiles, began, from, 1);
        let mut early = answer(began, 0, 0, 300);
        early.turn.is_measured = false;
        recorder.note(early);
        recorder.note_versions(early.turn, 5);
        assert_eq!(recorder.last_second(false, began + Duration::from_millis(1001)).operations, 1);
        let (operations, seconds, _) = recorder.finish();
        assert!(operations.is_empty() && seconds.iter().all(|second| second.operations == 0));
    }
}
