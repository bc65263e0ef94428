//! Axes: from values to places in a plot, and where to write which number.

use super::markup::{Page, at, text};

/// Width of every plot in its own units: narrow enough that its text can be read on a telephone.
pub(super) const WIDTH: f64 = 520.0;

/// A rectangle in which something is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Panel {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// From values to shares of a side, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// Logarithmic, between two positive values.
    Logarithmic(f64, f64),
}

/// Most lines of a grid.
const TICKS_MAX: usize = 6;

impl Scale {
    /// From 0 to a round number at or above these values.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step_of(most);
        Self::Linear((most / step).ceil() * step)
    }

    /// Between round numbers (1, 2, 5, 10 ..) around these positive values.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let usable = |value: &f64| value.is_finite() && *value > 0.0;
        let least = values.clone().filter(usable).fold(f64::INFINITY, f64::min);
        let most = values.filter(usable).fold(0.0, f64::max);
        let (least, most) = if least.is_finite() { (least, most) } else { (1.0, 10.0) };
        let low = rounds_below(least);
        let mut high = low;
        while high < most * (1.0 - 1e-9) || high <= low {
            high = next_round(high);
        }
        Self::Logarithmic(low, high)
    }

    /// Where a value lies, 0 to 1; what lies beyond is at the edge.
    pub(super) fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear(most) => value / most,
            Self::Logarithmic(low, high) => (value.max(low) / low).ln() / (high / low).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The values of the grid's lines.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(most) => {
                let step = step_of(most);
                (0..=TICKS_MAX * 2).map(|n| n as f64 * step).take_while(|value| *value <= most * 1.000_1).collect()
            }
            Self::Logarithmic(low, high) => {
                let all: Vec<f64> = std::iter::successors(Some(low), |at| Some(next_round(*at)))
                    .take_while(|at| *at <= high * 1.01)
                    .collect();
                if all.len() <= TICKS_MAX + 2 {
                    return all;
                }
                // Decades alone, then; between 0.001 and a thousand million there are few enough.
                all.into_iter().filter(|value| (value.log10() - value.log10().round()).abs() < 1e-6).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten: at most [`TICKS_MAX`] of it reach this far.
fn step_of(most: f64) -> f64 {
    let rough = most / (TICKS_MAX as f64 - 1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// The greatest 1, 2 or 5 times a power of ten that is not above a value.
fn rounds_below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let rounds = [5.0, 2.0, 1.0].map(|times| times * power);
    rounds.into_iter().find(|round| *round <= value * (1.0 + 1e-9)).unwrap_or(power)
}

/// The next of the row 1, 2, 5, 10 ..
fn next_round(value: f64) -> f64 {
    let power = 10_f64.powf((value * (1.0 + 1e-9)).log10().floor());
    match value / power {
        times if times < 1.5 => 2.0 * power,
        times if times < 3.5 => 5.0 * power,
        _ => 10.0 * power,
    }
}

impl Panel {
    pub(super) fn x(self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }

    pub(super) fn y(self, share: f64) -> f64 {
        self.bottom - share * (self.bottom - self.top)
    }

    /// Lines across and their numbers to the left of them; a name above, where there is one.
    pub(super) fn rows(self, page: &mut Page, scale: Scale, label: &str, shown: impl Fn(f64) -> String) {
        for value in scale.ticks() {
            let y = self.y(scale.share(value));
            page.line(&format!(
                "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{y1}\" y2=\"{y1}\"/>",
                at(self.left),
                at(self.right),
                y1 = at(y)
            ));
            write_at(page, "end", self.left - 6.0, y + 4.0, &shown(value));
        }
        if !label.is_empty() {
            write_at(page, "value", self.left, self.top - 8.0, label);
        }
    }

    /// The line at the foot, and numbers below it.
    pub(super) fn columns(self, page: &mut Page, ticks: &[(f64, String)], label: &str) {
        page.line(&format!(
            "<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/>",
            at(self.left),
            at(self.right),
            y = at(self.bottom)
        ));
        for (share, name) in ticks {
            let x = self.x(*share);
            page.line(&format!(
                "<line class=\"axis\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>",
                at(self.bottom),
                at(self.bottom + 4.0),
                x = at(x)
            ));
            write_at(page, "middle", x, self.bottom + 17.0, name);
        }
        write_at(page, "middle", f64::midpoint(self.left, self.right), self.bottom + 34.0, label);
    }

    /// A line through points given as shares.
    pub(super) fn line(self, page: &mut Page, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let points: Vec<String> = points.map(|(x, y)| format!("{},{}", at(self.x(x)), at(self.y(y)))).collect();
        match points.as_slice() {
            [] => {}
            // One point is no line; a dot is seen.
            [point] => {
                let (x, y) = point.split_once(',').unwrap_or(("0", "0"));
                page.line(&format!("<circle class=\"line {class}\" cx=\"{x}\" cy=\"{y}\" r=\"2\"/>"));
            }
            points => page.line(&format!("<polyline class=\"line {class}\" points=\"{}\"/>", points.join(" "))),
        }
    }
}

/// Text at a place. The class says which end of it lies there.
pub(super) fn write_at(page: &mut Page, class: &str, x: f64, y: f64, words: &str) {
    page.line(&format!("<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>", at(x), at(y), text(words)));
}

/// A name that fits into so many units at twelve a line's height; the rest is cut off, and that is shown.
pub(super) fn fitting(name: &str, units: f64) -> String {
    // A letter of this size is about seven units wide.
    let room = (units / 7.0).floor().max(1.0);
    if name.chars().count() as f64 <= room {
        return name.to_owned();
    }
    let mut kept: String =
        name.chars().zip(1_u32..).take_while(|(_, at)| f64::from(*at) < room).map(|(c, _)| c).collect();
    kept.push('\u{2026}');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len(), "{found:?} and {wanted:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{found} and {wanted}");
        }
    }

    #[test]
    fn grids_have_round_numbers() {
        close(&Scale::linear([93.0].into_iter()).ticks(), &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        close(&Scale::linear([0.0].into_iter()).ticks(), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        close(&Scale::linear(std::iter::empty()).ticks(), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        close(&Scale::linear([f64::NAN, f64::INFINITY, 4.0].into_iter()).ticks(), &[0.0, 1.0, 2.0, 3.0, 4.0]);
        close(&Scale::logarithmic([0.3, 7.0].into_iter()).ticks(), &[0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
        close(&Scale::logarithmic([0.01, 5000.0].into_iter()).ticks(), &[0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]);
        close(&Scale::logarithmic([3.0, 3.0].into_iter()).ticks(), &[2.0, 5.0]);
        close(&Scale::logarithmic(std::iter::empty()).ticks(), &[1.0, 2.0, 5.0, 10.0]);
        for most in [1e-9, 0.7, 3.0, 19.0, 1e12] {
            let ticks = Scale::linear([most].into_iter()).ticks();
            assert!((3..=TICKS_MAX + 1).contains(&ticks.len()), "{most}: {ticks:?}");
        }
    }

    #[test]
    fn places_stay_within_the_panel() {
        let panel = Panel { left: 10.0, top: 0.0, right: 110.0, bottom: 50.0 };
        let scale = Scale::Linear(10.0);
        assert!((panel.x(scale.share(5.0)) - 60.0).abs() < 1e-9);
        assert!((panel.y(scale.share(1e9)) - 0.0).abs() < 1e-9);
        assert!((panel.y(scale.share(f64::NAN)) - 50.0).abs() < 1e-9);
        assert!((Scale::Logarithmic(1.0, 100.0).share(10.0) - 0.5).abs() < 1e-9);
        assert!((Scale::Logarithmic(1.0, 100.0).share(0.0) - 0.0).abs() < 1e-9);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(fitting("short", 100.0), "short");
        assert_eq!(fitting("a name that is too long", 49.0), "a name\u{2026}");
    }
}
