//! The tables of a page.

use std::fmt::Write as _;

use super::markup::{Page, milliseconds, short, text};
use crate::load::report::{Report, Run};

/// A row a run.
pub(super) fn runs(page: &mut Page, report: &Report) {
    if report.runs.is_empty() {
        page.line("<p>The report has no runs.</p>");
        return;
    }
    let columns = [
        "run",
        "ops/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "errors",
        "servers us/op",
        "clients us/op",
        "floor us/op",
        "x floor",
    ];
    let caption = "Operations per second without errors; latency; CPU of all servers and of all clients per operation; \
                   the CPU that QUIC and RocksDB alone need, and how many times that was used";
    let rows = report.runs.iter().map(|run| (!run.invalid.is_empty(), row(report, run)));
    table(page, caption, &columns, rows);
}

fn row(report: &Report, run: &Run) -> Vec<String> {
    let floor = report.floor.as_ref().and_then(|floor| floor.needed_by(run));
    let (servers, clients) = (run.cpu_us(true), run.cpu_us(false));
    let or_dash = |is_known: bool, shown: String| if is_known { shown } else { "-".to_owned() };
    let mut cells = vec![run.name.clone(), short(run.rate())];
    if let Ok(all) = run.all().map(|all| &all.latency) {
        let at = |share: f64| or_dash(all.count() > 0, milliseconds(all.quantile(share) as f64));
        cells.extend([at(0.5), at(0.9), at(0.99), at(0.999), at(1.0)]);
    } else {
        cells.extend(std::iter::repeat_n("-".to_owned(), 5));
    }
    let errors: u64 = run.all().map_or(0, |all| all.errors.values().sum());
    cells.push(errors.to_string());
    cells.push(or_dash(servers > 0.0, short(servers)));
    cells.push(or_dash(clients > 0.0, short(clients)));
    cells.push(floor.map_or_else(|| "-".to_owned(), short));
    // Without the servers' share the quotient would flatter.
    let times = floor.filter(|floor| *floor > 0.0 && servers > 0.0).map(|floor| (servers + clients) / floor);
    cells.push(times.map_or_else(|| "-".to_owned(), |times| format!("{times:.1}")));
    cells
}

/// The floor's parts.
pub(super) fn floor(page: &mut Page, report: &Report) {
    let Some(floor) = report.floor.as_ref().filter(|floor| !floor.steps.is_empty()) else { return };
    page.line("<section>");
    page.line("<h2>The floor of this machine</h2>");
    let (replicas, reads) = (report.cluster.replicas, report.cluster.read_quorum);
    page.line(&format!(
        "<p>CPU that QUIC and RocksDB alone need: a put is {replicas} round trips and {replicas} read-modify-writes, a \
         get is {reads} round trips and {reads} reads.</p>"
    ));
    let columns = [
        "operation",
        "value B",
        "in flight",
        "frames a lane",
        "round trip us",
        "round trips/s",
        "batch",
        "access us",
        "operation us",
    ];
    let rows = floor.steps.iter().map(|step| {
        let cells = vec![
            step.operation.clone(),
            step.value_bytes.to_string(),
            step.in_flight.to_string(),
            step.lane_frames.to_string(),
            short(step.echo_us),
            short(step.echo_rate),
            step.batch.to_string(),
            short(step.storage_us),
            short(step.operation_us),
        ];
        (false, cells)
    });
    table(page, "Microseconds of CPU, both ends and all threads", &columns, rows);
    page.line("</section>");
}

/// What failed in a run, by name.
pub(super) fn errors(page: &mut Page, run: &Run) {
    let Ok(all) = run.all() else { return };
    if all.errors.is_empty() {
        return;
    }
    let list = all.errors.iter().map(|(name, count)| format!("{} x {}", short(*count as f64), text(name)));
    page.line(&format!("<p>Errors: {}</p>", list.collect::<Vec<_>>().join(", ")));
}

/// A table; rows with whether they say nothing.
fn table(page: &mut Page, caption: &str, columns: &[&str], rows: impl Iterator<Item = (bool, Vec<String>)>) {
    page.line("<div class=\"scroll\" tabindex=\"0\">");
    page.line("<table>");
    page.line(&format!("<caption>{}</caption>", text(caption)));
    let mut head = String::new();
    for name in columns {
        write!(head, "<th scope=\"col\">{}</th>", text(name)).unwrap_or_default();
    }
    page.line(&format!("<thead><tr>{head}</tr></thead>"));
    page.line("<tbody>");
    for (says_nothing, cells) in rows {
        let mut cells = cells.iter().map(|cell| text(cell));
        let first = cells.next().unwrap_or_default();
        let mut rest = String::new();
        for cell in cells {
            write!(rest, "<td>{cell}</td>").unwrap_or_default();
        }
        let class = if says_nothing { " class=\"invalid\"" } else { "" };
        page.line(&format!("<tr{class}><th scope=\"row\">{first}</th>{rest}</tr>"));
    }
    page.line("</tbody>");
    page.line("</table>");
    page.line("</div>");
}
