//! The highest rate that a cluster serves with a bounded latency.
//!
//! Open loop, for a closed one slows down with the cluster and hides what its users would have waited. A rate counts
//! only when its run met all of [`Terms`]: the bound on the 99th percentile of the time from the *intended* send time,
//! few errors, and a generator that kept its schedule, without which the rate was never offered.
//!
//! ```text
//!   begin, x2, x2, x2 .. until one fails | then the middle (geometric) between the best and the worst, until they
//!   lie within the precision of each other
//! ```
//!
//! A rate that fails is tried once more: one hiccup of a neighbour would otherwise end the doubling far too low, and
//! nothing above it would be tried again. A rate that succeeds is not, so the result leans to the high side by a step.
//!
//! [`Search`] is the decision alone: it says which rate is next and is told what came of it.

use std::time::Duration;

use super::report::Run;

/// What a rate has to meet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The most that the 99th percentile may be.
    pub p99_max: Duration,
    /// The largest share of operations that may fail.
    pub errors_max: f64,
    /// The largest share of requests that may be sent late, when the latest of them was by more than half of `p99_max`.
    /// Lateness is in the latencies: what it must not do is make them.
    pub late_max: f64,
}

impl Terms {
    /// With this bound, at most one error in a thousand and one late request in a hundred.
    #[must_use]
    pub const fn new(p99_max: Duration) -> Self {
        Self { p99_max, errors_max: 0.001, late_max: 0.01 }
    }

    /// What came of a run under these terms.
    #[must_use]
    pub fn judge(&self, run: &Run) -> Outcome {
        let Ok(all) = run.all() else { return Outcome::Failed("nothing was counted".to_owned()) };
        if let Some(reason) = run.invalid.first() {
            return Outcome::Failed(reason.clone());
        }
        if all.count == 0 {
            return Outcome::Failed("nothing was answered".to_owned());
        }
        let errors = all.errors.values().sum::<u64>() as f64 / all.count as f64;
        if errors > self.errors_max {
            return Outcome::Failed(format!("{:.2} % errors", errors * 100.0));
        }
        let Some(schedule) = run.schedule else { return Outcome::Failed("the run had no schedule".to_owned()) };
        let intended = (all.count + schedule.unsent) as f64;
        let (late, unsent) = (schedule.late as f64 / intended, schedule.unsent as f64 / intended);
        if unsent > self.errors_max {
            return Outcome::Failed(format!("{:.1} % of the requests were never sent", unsent * 100.0));
        }
        let latest = Duration::from_micros(schedule.late_max_us);
        if late > self.late_max && latest > self.p99_max / 2 {
            let (late, latest) = (late * 100.0, latest.as_secs_f64() * 1000.0);
            return Outcome::Failed(format!(
                "{late:.1} % of the requests were sent late, the latest by {latest:.1} ms"
            ));
        }
        let p99 = Duration::from_micros(all.latency.quantile(0.99));
        if p99 > self.p99_max {
            return Outcome::Failed(format!("p99 of {:.2} ms", p99.as_secs_f64() * 1000.0));
        }
        Outcome::Met
    }
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The terms were met.
    Met,
    /// They were not, and why.
    Failed(String),
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The first rate, per second.
    pub begin: f64,
    /// The search ends when the best and the worst rate lie within this share of each other.
    pub precision: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { begin: 1000.0, precision: 0.05 }
    }
}

/// A search under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    plan: Plan,
    best: Option<f64>,
    worst: Option<f64>,
    /// Failed once.
    doubted: Option<f64>,
    steps: u32,
}

/// A rate below this is no rate: the search gives up.
const RATE_MIN: f64 = 1.0;
/// No cluster serves this from one generator: the search ends there.
const RATE_MAX: f64 = 10_000_000.0;
/// Twice the doublings and halvings between the two, and the bisections of the finest precision.
const STEPS_MAX: u32 = 64;

impl Search {
    /// A search that has not begun.
    #[must_use]
    pub const fn new(plan: Plan) -> Self {
        Self { plan, best: None, worst: None, doubted: None, steps: 0 }
    }

    /// The rate to try next; none when the search is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        if self.steps >= STEPS_MAX {
            return None;
        }
        if self.doubted.is_some() {
            return self.doubted;
        }
        match (self.best, self.worst) {
            (None, None) => Some(self.plan.begin.clamp(RATE_MIN, RATE_MAX)),
            (Some(best), None) => (best < RATE_MAX).then(|| (best * 2.0).min(RATE_MAX)),
            (None, Some(worst)) => (worst > RATE_MIN).then(|| (worst / 2.0).max(RATE_MIN)),
            (Some(best), Some(worst)) => (worst > best * (1.0 + self.plan.precision)).then(|| (best * worst).sqrt()),
        }
    }

    /// Notes what came of the rate that was next.
    pub fn record(&mut self, rate: f64, outcome: &Outcome) {
        self.steps += 1;
        match outcome {
            Outcome::Met => {
                self.best = Some(self.best.map_or(rate, |best| best.max(rate)));
                self.doubted = None;
            }
            Outcome::Failed(_) if self.doubted.is_none() => self.doubted = Some(rate),
            Outcome::Failed(_) => {
                self.worst = Some(self.worst.map_or(rate, |worst| worst.min(rate)));
                self.doubted = None;
            }
        }
    }

    /// The highest rate that met the terms.
    #[must_use]
    pub const fn best(&self) -> Option<f64> {
        self.best
    }
}

#[cfg(test)]
mod tests;
