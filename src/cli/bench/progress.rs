//! How far a run is, on standard error: a bar for each phase on a terminal, a line every five seconds elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::Instant;

use super::super::meter::Meter;
use super::super::screen;
use crate::load::report::Second;
use crate::load::watch::{Phase, Progress, Watch};

/// Shows the phases of a run one after the other.
#[derive(Default)]
pub(super) struct Show {
    shown: Option<(Phase, Meter)>,
}

impl Show {
    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if let Some((_, meter)) = self.shown.take() {
            meter.finish();
        }
    }
}

impl Watch for Show {
    fn began(&mut self, _at: Instant) {
        note("the measured time begins");
    }

    fn progress(&mut self, progress: &Progress) {
        let Progress { phase, done, total, second } = progress;
        if self.shown.as_ref().is_none_or(|(shown, _)| shown != phase) {
            self.finish();
            let verb = verb(*phase);
            let meter = match phase {
                Phase::Warmup | Phase::Measuring => Meter::of_seconds(verb, *total),
                Phase::Loading | Phase::Reading | Phase::Checking => {
                    note(&format!("{verb} {total} keys"));
                    Meter::new(verb, "keys", *total, 0)
                }
            };
            self.shown = Some((*phase, meter));
        }
        if let Some((_, meter)) = &mut self.shown {
            meter.show(*done, || second.as_ref().map(live).unwrap_or_default());
        }
    }
}

/// Where there is no bar, the beginning of a phase is told in words.
fn note(text: &str) {
    if !io::stderr().is_terminal() {
        screen::note(text);
    }
}

const fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "loading",
        Phase::Reading => "reading",
        Phase::Warmup => "warming up",
        Phase::Measuring => "measuring",
        Phase::Checking => "checking",
    }
}

/// `41234/s, p50 0.71 ms, p99 3.1 ms, 2 errors`
fn live(second: &Second) -> String {
    let Second { operations, errors, p50_us, p99_us, .. } = second;
    let ms = |us: &u64| *us as f64 / 1000.0;
    let errors = match errors {
        0 => String::new(),
        1 => ", 1 error".to_owned(),
        count => format!(", {count} errors"),
    };
    format!("{operations}/s, p50 {:.2} ms, p99 {:.2} ms{errors}", ms(p50_us), ms(p99_us))
}
