//! How far a long command is: a bar on a terminal, plain lines every few seconds elsewhere. On standard error.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen;

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The unit of a time.
const SECONDS: &str = "s";

/// Progress of a command over a known number of units.
pub(super) struct Meter {
    verb: &'static str,
    unit: &'static str,
    total: u64,
    /// Where this run began: what an earlier one did is no part of the rate.
    begun_at: u64,
    began: Instant,
    said: Instant,
    /// On a terminal.
    bar: Option<ProgressBar>,
}

impl Meter {
    pub(super) fn new(verb: &'static str, unit: &'static str, total: u64, begun_at: u64) -> Self {
        let template = format!("{verb} {{wide_bar}} {{pos}}/{{len}} {unit}  {{per_sec}}  ETA {{eta}}  {{msg}}");
        Self::with_template(&template, verb, unit, total, begun_at)
    }

    /// Of a known time, which has neither a rate nor an end that had to be guessed.
    pub(super) fn of_seconds(verb: &'static str, total: u64) -> Self {
        let template = format!("{verb} {{wide_bar}} {{pos}}/{{len}} {SECONDS}  {{msg}}");
        Self::with_template(&template, verb, SECONDS, total, 0)
    }

    fn with_template(template: &str, verb: &'static str, unit: &'static str, total: u64, begun_at: u64) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(begun_at);
            bar.reset_eta();
            bar
        });
        Self { verb, unit, total, begun_at, began: now, said: now, bar }
    }

    /// So far; `message` tells what else is counted.
    pub(super) fn show(&mut self, done: u64, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message());
        } else if self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            screen::note(&self.plain(done, self.began.elapsed(), &message()));
        }
    }

    /// Says something beside the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| screen::note(text)),
            None => screen::note(text),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// `importing: 1200 of 5000 lines (24 %), 240/s, 16s left; 3 skipped`
    fn plain(&self, done: u64, elapsed: Duration, message: &str) -> String {
        let Self { verb, unit, total, .. } = self;
        let percent = done.saturating_mul(100).checked_div(*total).unwrap_or(100);
        let beside = if message.is_empty() { String::new() } else { format!("; {message}") };
        if *unit == SECONDS {
            return format!("{verb}: {done} of {total} {unit}{beside}");
        }
        let rate = done.saturating_sub(self.begun_at) as f64 / elapsed.as_secs_f64().max(0.001);
        let left = match total.saturating_sub(done) as f64 / rate {
            left if left.is_finite() && left < 1e9 => {
                let left = Duration::from_secs_f64(left.ceil());
                format!(", {} left", humantime::format_duration(left))
            }
            _ => String::new(),
        };
        format!("{verb}: {done} of {total} {unit} ({percent} %), {rate:.0}/s{left}{beside}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_line_has_rate_and_time_left_of_this_run() {
        let mut meter = Meter::new("importing", "lines", 5000, 1000);
        meter.bar = None;
        let line = meter.plain(2000, Duration::from_secs(10), "3 errors");
        assert_eq!(line, "importing: 2000 of 5000 lines (40 %), 100/s, 30s left; 3 errors");
        let line = meter.plain(1000, Duration::ZERO, "-");
        assert_eq!(line, "importing: 1000 of 5000 lines (20 %), 0/s; -");
        let line = Meter::of_seconds("measuring", 10).plain(5, Duration::from_secs(5), "900/s");
        assert_eq!(line, "measuring: 5 of 10 s; 900/s");
        assert!(Meter::new("x", "y", 0, 0).plain(0, Duration::ZERO, "").contains("(100 %)"));
    }
}
