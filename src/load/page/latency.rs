//! Latency by percentile. The axis gives each further nine the same room, for the rare is what users remember.

use super::markup::{Page, key_entry, milliseconds};
use super::plot::{Panel, Scale, WIDTH};
use crate::load::report::{Distribution, Run};

const HEIGHT: f64 = 300.0;
const PANEL: Panel = Panel { left: 52.0, top: 26.0, right: WIDTH - 14.0, bottom: HEIGHT - 40.0 };
/// More nines than this nobody measures in a minute.
const NINES_MAX: f64 = 6.0;
/// Points between two nines.
const POINTS_PER_NINE: u32 = 24;

/// The percentiles of a run, or that there are none.
pub(super) fn figure(page: &mut Page, run: &Run) {
    let Ok(all) = run.all() else { return };
    if all.latency.count() == 0 {
        page.line("<p>Nothing was answered, so there are no latencies.</p>");
        return;
    }
    // An open loop's requests may be late; a closed one's never are.
    let mut curves = vec![("s1", "from the intended send time", &all.latency)];
    if run.schedule.is_some() && all.service.count() > 0 {
        curves.push(("s2 dashed", "from the real send time", &all.service));
    }
    let key: String = match curves.len() {
        1 => key_entry("s1", "from sending to the answer"),
        _ => curves.iter().map(|(class, name, _)| key_entry(class, name)).collect(),
    };
    let nines = nines_of(all.latency.count());
    let points = |distribution: &Distribution| -> Vec<(f64, f64)> {
        steps(nines).map(|nine| (nine / nines, distribution.quantile(1.0 - 10_f64.powf(-nine)) as f64)).collect()
    };
    let drawn: Vec<(&str, Vec<(f64, f64)>)> =
        curves.iter().map(|(class, _, distribution)| (*class, points(distribution))).collect();
    let scale = Scale::logarithmic(drawn.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us)));
    let note = format!(
        "p50 {} ms, p99 {} ms, longest {} ms",
        milliseconds(all.latency.quantile(0.5) as f64),
        milliseconds(all.latency.quantile(0.99) as f64),
        milliseconds(all.latency.max() as f64)
    );
    page.open_plot("", "Latency by percentile", &note, &key, (WIDTH, HEIGHT));
    PANEL.rows(page, scale, "ms", milliseconds);
    PANEL.columns(page, &ticks(nines), "percentile");
    for (class, points) in drawn {
        PANEL.line(page, class, points.into_iter().map(|(x, us)| (x, scale.share(us))));
    }
    page.close_plot();
}

/// How many nines so many answers can tell apart; at least two.
fn nines_of(count: u64) -> f64 {
    (count as f64).log10().clamp(2.0, NINES_MAX)
}

/// Nines from 0 on (0 is the fastest, 1 the 90th percentile, 2 the 99th).
fn steps(nines: f64) -> impl Iterator<Item = f64> {
    let step = 1.0 / f64::from(POINTS_PER_NINE);
    let inner = (0_u32..).map(move |n| f64::from(n) * step).take_while(move |nine| *nine < nines);
    inner.chain([nines])
}

/// The percentiles that have names.
fn ticks(nines: f64) -> Vec<(f64, String)> {
    let half = 2_f64.log10();
    let named = [
        (0.0, "0"),
        (half, "50"),
        (1.0, "90"),
        (2.0, "99"),
        (3.0, "99.9"),
        (4.0, "99.99"),
        (5.0, "99.999"),
        (6.0, "99.9999"),
    ];
    let shown = named.into_iter().filter(|(nine, _)| *nine <= nines + 1e-9);
    shown.map(|(nine, name)| (nine / nines, name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_ends_where_the_answers_end() {
        assert!((nines_of(1) - 2.0).abs() < 1e-9);
        assert!((nines_of(10_000) - 4.0).abs() < 1e-9);
        assert!((nines_of(u64::MAX) - NINES_MAX).abs() < 1e-9);
        let names: Vec<String> = ticks(3.2).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0", "50", "90", "99", "99.9"]);
        assert!(ticks(6.0).iter().all(|(share, _)| (0.0..=1.0).contains(share)));
        assert_eq!(steps(2.0).count(), 49);
    }
}
