//! `quorate bench compare`: two reports side by side.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::super::outcome::Outcome;
use super::super::screen::{self, Paint, paint};
use super::table::grid;
use crate::load::compare::{Case, Comparison, Line, Metric, Side, Verdict};
use crate::load::report::Report;

/// Compare two reports, and say what is better or worse beyond the noise.
///
/// Runs of the same name are compared; several runs of one name in a report are its repetitions (--repeat), and the
/// best way to know the noise. A difference is called one only when it is improbable between equals (Welch's t-test, at
/// a chance of one in a thousand that anything at all is called different), large enough to matter, and nothing else
/// used the machine.
///
/// Exit code 1 when something is worse in the second report.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The report that is compared with, as --out of the other commands writes it.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The report that is judged.
    #[arg(value_name = "AFTER")]
    after: PathBuf,
}

/// Runs the subcommand.
///
/// # Errors
/// A file that is no report.
pub(super) fn run(args: &CompareArgs) -> anyhow::Result<Outcome> {
    let compared = Comparison::of(&Report::read(&args.before)?, &Report::read(&args.after)?);
    screen::print(render(&compared).as_bytes())?;
    Ok(if compared.count(Verdict::Worse) > 0 { Outcome::Failed } else { Outcome::Done })
}

fn render(compared: &Comparison) -> String {
    let mut out = String::new();
    for case in &compared.cases {
        out.push_str(&render_case(case));
        out.push('\n');
    }
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes all that is written to it");
    for remark in &compared.remarks {
        line(format!("note: {remark}"));
    }
    let count = |verdict| compared.count(verdict);
    let (better, worse, same) = (count(Verdict::Better), count(Verdict::Worse), count(Verdict::Same));
    let unclear = compared.cases.iter().map(|case| case.lines.len()).sum::<usize>() - better - worse - same;
    line(format!("{better} better, {worse} worse, {same} without a difference, {unclear} without a verdict"));
    out
}

fn render_case(case: &Case) -> String {
    let Case { name, repetitions: (first, second), lines, remarks } = case;
    let runs = |count: &usize| if *count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    let mut out = paint(Paint::Bold, &format!("{name} ({} and {})", runs(first), runs(second)));
    out.push('\n');
    let head = ["", "", "before", "after", "change", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(lines.iter().map(row)).collect();
    for (line, text) in std::iter::once(None).chain(lines.iter().map(Some)).zip(grid(&rows)) {
        let verdict = line.map_or_else(String::new, |line| format!("  {}", told(line)));
        out.push_str(format!("{text}{verdict}").trim_end());
        out.push('\n');
    }
    for remark in remarks {
        writeln!(out, "  note: {remark}").expect("a String takes all that is written to it");
    }
    out
}

fn row(line: &Line) -> Vec<String> {
    let Line { metric, a, b, change, .. } = line;
    let change = match metric {
        Metric::Errors => format!("{:+.3} %", (b.mean - a.mean) * 100.0),
        _ if change.is_finite() => format!("{:+.1} %", change * 100.0),
        _ => "from zero".to_owned(),
    };
    vec![metric.name().to_owned(), String::new(), side(*metric, a), side(*metric, b), change]
}

/// `21000 +- 90`: the mean and its standard error.
fn side(metric: Metric, side: &Side) -> String {
    match side.error {
        Some(error) => format!("{} +- {}", metric.shown(side.mean), metric.shown(error)),
        None => metric.shown(side.mean),
    }
}

fn told(line: &Line) -> String {
    let chance = line.chance.map_or_else(String::new, |chance| format!(" (by chance: {})", percent(chance)));
    match line.verdict {
        Verdict::Better => paint(Paint::Good, &format!("better{chance}")),
        Verdict::Worse => paint(Paint::Bad, &format!("worse{chance}")),
        Verdict::Same => "no difference".to_owned(),
        Verdict::Unclear(why) => format!("no verdict: {why}"),
    }
}

fn percent(chance: f64) -> String {
    if chance < 0.0001 { "below 0.01 %".to_owned() } else { format!("{:.2} %", chance * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_stand_beside_means_and_errors() {
        let side = |mean: f64, error| Side { mean, error };
        let line = |metric, a, b, chance, verdict| Line { metric, a, b, change: 0.05, chance, verdict };
        let case = Case {
            name: "put 128 B, 64 in flight".to_owned(),
            repetitions: (3, 1),
            lines: vec![
                line(
                    Metric::Rate,
                    side(20_000.0, Some(120.0)),
                    side(21_000.0, Some(90.0)),
                    Some(0.002),
                    Verdict::Better,
                ),
                line(Metric::P99, side(4000.0, Some(100.0)), side(4200.0, Some(90.0)), Some(0.00001), Verdict::Worse),
                line(Metric::ServerCpu, side(40.0, None), side(42.0, None), None, Verdict::Unclear("repeat the runs")),
                line(Metric::Errors, side(0.0, Some(0.0)), side(0.002, Some(0.0)), Some(1.0), Verdict::Same),
            ],
            remarks: vec!["the settings differ".to_owned()],
        };
        let text = render(&Comparison { cases: vec![case], remarks: vec!["the machines differ".to_owned()] });
        let expected = "\
put 128 B, 64 in flight (3 runs and 1 run)
                            before         after    change
  operations/s         20000 +- 120   21000 +- 90    +5.0 %  better (by chance: 0.20 %)
  p99, ms              4.00 +- 0.10  4.20 +- 0.09    +5.0 %  worse (by chance: below 0.01 %)
  server CPU/op, us            40.0          42.0    +5.0 %  no verdict: repeat the runs
  errors, %            0.000 +- 0.000  0.200 +- 0.000  +0.200 %  no difference
  note: the settings differ

note: the machines differ
1 better, 1 worse, 1 without a difference, 1 without a verdict
";
        let plain = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(plain(&text), plain(expected), "\n{text}");
    }
}
