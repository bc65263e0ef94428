//! A report as one page: HTML with its style and its plots in it, for a browser, a printer or an attachment.
//!
//! No scripts, no fonts, nothing fetched: what is sent to somebody is all there is. Light and dark follow the reader's
//! system. Plots are SVG in coordinates of their own and grow with the window; a reader who cannot see them finds their
//! numbers in the tables, and a title on each.
//!
//! Everything that comes from a report is text to this module, escaped in one place (`markup::text`): the names of
//! nodes and of errors are chosen by whoever was asked. Numbers that are no numbers are drawn as zero, never written.
//!
//! *Invariant.* The page is well-formed XML too: that is how the tests know that nothing was left open.

use std::fmt::Write as _;

use super::report::{Report, Run};
use markup::{Page, text};

mod latency;
mod markup;
mod plot;
mod processor;
mod summary;
mod timeline;

/// Draws a report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    head(&mut page, report);
    summary::runs(&mut page, report);
    summary::floor(&mut page, report);
    processor::section(&mut page, report);
    for run in &report.runs {
        section(&mut page, run);
    }
    foot(&mut page, report);
    page.finish()
}

const STYLE: &str = include_str!("page/page.css");

fn head(page: &mut Page, report: &Report) {
    let title = match report.runs.as_slice() {
        [run] => format!("Load test: {}", run.name),
        _ => "Load test".to_owned(),
    };
    page.line("<!DOCTYPE html>");
    page.line("<html lang=\"en\">");
    page.line("<head>");
    page.line("<meta charset=\"utf-8\"/>");
    page.line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
    page.line("<meta name=\"color-scheme\" content=\"light dark\"/>");
    page.line(&format!("<title>{}</title>", text(&title)));
    page.line(&format!("<style>\n{STYLE}</style>"));
    page.line("</head>");
    page.line("<body>");
    page.line("<header>");
    page.line(&format!("<h1>{}</h1>", text(&title)));
    page.line("<dl class=\"facts\">");
    for (name, value) in facts(report) {
        page.line(&format!("<div><dt>{name}</dt><dd>{}</dd></div>", text(&value)));
    }
    page.line("</dl>");
    page.line("</header>");
    page.line("<main>");
}

/// What was measured, on what, and when.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let (machine, cluster) = (&report.machine, &report.cluster);
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    vec![
        ("made", report.made_at.clone()),
        ("program", report.program.clone()),
        ("machine", format!("{} x {}, {gib:.1} GiB, {}", machine.cores, machine.cpu, machine.kernel)),
        (
            "cluster",
            format!(
                "{} nodes, {} partitions, N={} R={} W={}, durability {}, version {}",
                cluster.nodes,
                cluster.partitions,
                cluster.replicas,
                cluster.read_quorum,
                cluster.write_quorum,
                cluster.durability.join(" and "),
                cluster.versions.join(" and ")
            ),
        ),
        ("command", report.command.join(" ")),
    ]
}

/// One run: its plots, and what there is to say.
fn section(page: &mut Page, run: &Run) {
    page.line("<section>");
    page.line(&format!("<h2>{}</h2>", text(&run.name)));
    for reason in &run.invalid {
        page.line(&format!("<p class=\"invalid\">This run says nothing: {}</p>", text(reason)));
    }
    for warning in &run.warnings {
        page.line(&format!("<p class=\"warning\">{}</p>", text(warning)));
    }
    summary::errors(page, run);
    page.line("<div class=\"figures\">");
    latency::figure(page, run);
    timeline::figure(page, run);
    page.line("</div>");
    page.line("</section>");
}

fn foot(page: &mut Page, report: &Report) {
    page.line("</main>");
    let mut how = String::from("Latencies count from the time at which a request was meant to be sent");
    if report.runs.iter().all(|run| run.schedule.is_none()) {
        how = String::from(
            "Closed loops send the next request when the last is answered, so their latencies are those of ",
        );
        how.push_str("a saturated cluster");
    }
    write!(how, "; errors are in them. CPU is of all processes on this machine.").unwrap_or_default();
    page.line(&format!("<footer><p>{}</p></footer>", text(&how)));
    page.line("</body>");
    page.line("</html>");
}

#[cfg(test)]
mod tests;
