//! CPU per operation: a bar for each run, made of its processes, beside the floor.

use super::markup::{Page, at, key_entry, short, text};
use super::plot::{Panel, Scale, WIDTH, fitting, write_at};
use crate::load::report::{Report, Run};

/// Height of a bar with the name above it.
const ROW: f64 = 42.0;
const BAR: f64 = 18.0;
/// Colours; a process beyond them shares the last.
const COLOURS: usize = 6;

/// A run's bar: microseconds by process.
struct Bar<'a> {
    name: &'a str,
    parts: Vec<(usize, f64)>,
    floor: Option<f64>,
}

/// The CPU of all runs, where any was measured.
pub(super) fn section(page: &mut Page, report: &Report) {
    let mut names: Vec<&str> = Vec::new();
    // Servers first: they are what is being judged.
    for servers in [true, false] {
        for process in report.runs.iter().flat_map(|run| &run.processes).filter(|process| process.is_server == servers)
        {
            if !names.contains(&process.name.as_str()) {
                names.push(&process.name);
            }
        }
    }
    let bars: Vec<Bar<'_>> = report.runs.iter().filter_map(|run| bar(report, run, &names)).collect();
    if bars.is_empty() {
        return;
    }
    page.line("<section>");
    page.line("<h2>CPU per operation</h2>");
    figure(page, &bars, &names);
    page.line("</section>");
}

fn bar<'a>(report: &Report, run: &'a Run, names: &[&str]) -> Option<Bar<'a>> {
    let count = run.all().ok()?.count;
    if count == 0 {
        return None;
    }
    let of = |name: &str| -> u64 { run.processes.iter().filter(|p| p.name == name).map(|p| p.cpu_us).sum() };
    let parts = names.iter().enumerate().map(|(index, name)| (index, of(name) as f64 / count as f64));
    let parts: Vec<(usize, f64)> = parts.filter(|(_, us)| *us > 0.0).collect();
    let floor = report.floor.as_ref().and_then(|floor| floor.needed_by(run)).filter(|us| us.is_finite());
    (!parts.is_empty()).then_some(Bar { name: &run.name, parts, floor })
}

impl Bar<'_> {
    fn sum(&self) -> f64 {
        self.parts.iter().map(|(_, us)| us).sum()
    }
}

fn figure(page: &mut Page, bars: &[Bar<'_>], names: &[&str]) {
    let panel = Panel { left: 8.0, top: 8.0, right: WIDTH - 58.0, bottom: 8.0 + bars.len() as f64 * ROW };
    let scale = Scale::linear(bars.iter().flat_map(|bar| [bar.sum(), bar.floor.unwrap_or(0.0)]));
    let has_floor = bars.iter().any(|bar| bar.floor.is_some());
    let mut key: String = names.iter().enumerate().map(|(index, name)| key_entry(&colour(index), name)).collect();
    if has_floor {
        key.push_str(&key_entry("floor", "floor of this machine"));
    }
    let note = "user and system time of every process, over the operations answered";
    page.open_plot("wide", "Microseconds by process", note, &key, (WIDTH, panel.bottom + 40.0));
    let ticks = scale.ticks().into_iter().map(|tick| (scale.share(tick), short(tick))).collect::<Vec<_>>();
    for (share, _) in &ticks {
        page.line(&format!(
            "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>",
            at(panel.top),
            at(panel.bottom),
            x = at(panel.x(*share))
        ));
    }
    for (index, bar) in bars.iter().enumerate() {
        let top = panel.top + index as f64 * ROW;
        row(page, panel, scale, bar, names, top);
    }
    panel.columns(page, &ticks, "microseconds of CPU per operation");
    page.close_plot();
}

fn row(page: &mut Page, panel: Panel, scale: Scale, bar: &Bar<'_>, names: &[&str], top: f64) {
    write_at(page, "value", panel.left, top + 13.0, &fitting(bar.name, panel.right - panel.left));
    let (upper, mut so_far) = (top + 18.0, 0.0);
    for (index, us) in &bar.parts {
        let (from, to) = (panel.x(scale.share(so_far)), panel.x(scale.share(so_far + us)));
        so_far += us;
        page.line(&format!(
            "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}: {} us</title></rect>",
            colour(*index),
            at(from),
            at(upper),
            // A hair's breadth between the parts.
            at((to - from - 0.6).max(0.4)),
            at(BAR),
            text(names.get(*index).copied().unwrap_or_default()),
            short(*us)
        ));
    }
    write_at(page, "value", panel.x(scale.share(so_far)) + 5.0, upper + 13.5, &format!("{} us", short(so_far)));
    if let Some(floor) = bar.floor {
        page.line(&format!(
            "<line class=\"floor\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"><title>floor: {} us</title></line>",
            at(upper - 3.0),
            at(upper + BAR + 3.0),
            short(floor),
            x = at(panel.x(scale.share(floor)))
        ));
    }
}

fn colour(index: usize) -> String {
    format!("f{}", index.min(COLOURS - 1) + 1)
}
