//! A run second by second: operations, the 99th percentile, errors, and what was done to the cluster.

use super::markup::{Page, at, key_entry, milliseconds, short};
use super::plot::{Panel, Scale, WIDTH, fitting, write_at};
use crate::load::report::{Event, Run, Second};

const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 14.0;
/// Heights of the panels, and the room above each for its name.
const PANEL: f64 = 84.0;
const GAP: f64 = 28.0;
/// Room for the names of events at the top, a line each; more are marked and not named.
const EVENT_LINE: f64 = 15.0;
const EVENT_LINES_MAX: usize = 8;
/// A line through more points than this is a blur; its file is long, too.
const POINTS_MAX: usize = 600;

/// A panel: class, name, what is drawn, and how its numbers are shown.
type Series = (&'static str, &'static str, fn(&Second) -> f64, fn(f64) -> String);

/// The seconds of a run, or that there are none.
pub(super) fn figure(page: &mut Page, run: &Run) {
    if run.timeline.is_empty() {
        page.line("<p>The run has no seconds to show.</p>");
        return;
    }
    let seconds = thinned(&run.timeline);
    let span = span(run);
    let named = run.events.len().min(EVENT_LINES_MAX);
    let top = 8.0 + named as f64 * EVENT_LINE;
    let has_errors = run.timeline.iter().any(|second| second.errors > 0);
    let panels = if has_errors { 3 } else { 2 };
    let panel = |index: u32| {
        let upper = top + GAP + f64::from(index) * (PANEL + GAP);
        Panel { left: LEFT, top: upper, right: RIGHT, bottom: upper + PANEL }
    };
    let last = panel(panels - 1);
    let note = format!("{} s, {} operations/s without errors", short(run.seconds), short(run.rate()));
    let key: String = [("s1", "operations per second"), ("s2", "99th percentile"), ("sbad", "errors per second")]
        .into_iter()
        .filter(|(class, _)| has_errors || *class != "sbad")
        .map(|(class, name)| key_entry(class, name))
        .collect();
    page.open_plot("", "Second by second", &note, &key, (WIDTH, last.bottom + 40.0));
    let series: [Series; 3] = [
        ("s1", "operations/s", |second| second.operations.saturating_sub(second.errors) as f64, short),
        ("s2", "p99, ms", |second| second.p99_us as f64, milliseconds),
        ("sbad", "errors/s", |second| second.errors as f64, short),
    ];
    for (index, (class, name, value, shown)) in (0..panels).zip(series) {
        let panel = panel(index);
        let scale = match index {
            // A stall is a thousand times a good second, and both have to be seen.
            1 => Scale::logarithmic(seconds.iter().map(value).filter(|us| *us > 0.0)),
            _ => Scale::linear(seconds.iter().map(value)),
        };
        panel.rows(page, scale, name, shown);
        let points = seconds.iter().map(|second| ((second.at as f64 + 0.5) / span, scale.share(value(second))));
        panel.line(page, class, points);
    }
    let ticks = Scale::linear([span].into_iter()).ticks().into_iter().filter(|tick| *tick <= span * 1.001);
    let ticks: Vec<(f64, String)> = ticks.map(|tick| (tick / span, short(tick))).collect();
    last.columns(page, &ticks, "seconds");
    events(page, &run.events, span, (panel(0).top, last.bottom));
    page.close_plot();
}

/// Seconds on the axis.
fn span(run: &Run) -> f64 {
    let last = run.timeline.last().map_or(1.0, |second| second.at as f64 + 1.0);
    let span = if run.seconds.is_finite() { last.max(run.seconds) } else { last };
    span.max(1.0)
}

/// A line down the panels for each event, its name above them: stairs, so that names never meet.
fn events(page: &mut Page, events: &[Event], span: f64, (top, bottom): (f64, f64)) {
    let panel = Panel { left: LEFT, top, right: RIGHT, bottom };
    for (index, event) in events.iter().enumerate() {
        let share = if event.at.is_finite() { (event.at / span).clamp(0.0, 1.0) } else { 0.0 };
        let x = panel.x(share);
        let line = (index as f64).min(EVENT_LINES_MAX as f64 - 1.0);
        let from = 8.0 + line * EVENT_LINE;
        page.line(&format!(
            "<line class=\"event\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>",
            at(from),
            at(bottom),
            x = at(x)
        ));
        if index < EVENT_LINES_MAX {
            let name = format!("{} at {} s", event.what, short(event.at));
            // To the side that has room.
            match share > 0.6 {
                true => write_at(page, "event end", x - 4.0, from + 10.0, &fitting(&name, x - 4.0)),
                false => write_at(page, "event", x + 4.0, from + 10.0, &fitting(&name, WIDTH - x - 4.0)),
            }
        }
    }
}

/// As many seconds as can be drawn: the worst of each group when there are more.
fn thinned(seconds: &[Second]) -> Vec<Second> {
    let group = seconds.len().div_ceil(POINTS_MAX).max(1);
    let worst = |group: &[Second]| {
        let mean = |value: fn(&Second) -> u64| group.iter().map(value).sum::<u64>() / (group.len() as u64).max(1);
        let most = |value: fn(&Second) -> u64| group.iter().map(value).max().unwrap_or(0);
        Second {
            at: group.first().map_or(0, |second| second.at),
            operations: mean(|second| second.operations),
            errors: most(|second| second.errors),
            p50_us: most(|second| second.p50_us),
            p99_us: most(|second| second.p99_us),
            max_us: most(|second| second.max_us),
        }
    };
    seconds.chunks(group).map(worst).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_thinned_and_their_worst_moments_kept() {
        let seconds: Vec<Second> =
            (0..5000).map(|at| Second { at, operations: 10, p99_us: 5, ..Second::default() }).collect();
        assert_eq!(thinned(&seconds[..POINTS_MAX]).len(), POINTS_MAX);
        let mut seconds = seconds;
        seconds[2718].p99_us = 9000;
        let thin = thinned(&seconds);
        assert!(thin.len() <= POINTS_MAX);
        assert_eq!(thin.iter().map(|second| second.p99_us).max(), Some(9000));
    }
}
