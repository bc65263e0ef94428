//! Frames at every width, and what sparklines say.

use super::super::watch::tests::{rates, watched};
use super::*;
use crate::protocol::types::ClusterId;

/// n1 is busy, n2 less so, n3 does not answer.
fn nodes() -> Vec<Watched> {
    let busy = (1..=80).map(|second| Some(rates(second * 50, u64::from(second % 7 + 1)))).collect();
    let less = (1..=80).map(|second| (second != 79).then(|| rates(100, 2))).collect();
    vec![watched(1, busy), watched(2, less), watched(3, vec![None; 4])]
}

fn frame(width: Option<usize>, glyphs: Glyphs) -> Vec<String> {
    let roll = Roll { cluster: ClusterId::new(0xabcd << 112), nodes: nodes() };
    Frame { width, colours: Colours::NONE, glyphs, interval: Duration::from_secs(1) }.lines(&roll)
}

#[test]
fn every_node_has_a_row_with_its_rates() {
    let lines = frame(None, Glyphs::None);
    assert!(
        lines[0].starts_with("2 of 3 nodes answer  4.1k gets/s  0 puts/s  0 failed/s  cluster abcd0000"),
        "{lines:?}"
    );
    let cells = |at: usize| lines[at].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    assert_eq!(cells(2), COLUMNS.map(|column| column.head));
    assert_eq!(cells(3), ["n1", "alive", "4.0k", "310 us", "4.0 ms", "0", "-", "-", "0", "2", "4", "0", "6s ago"]);
    assert_eq!(cells(5)[..3], ["n3", "no answer", "-"]);
    assert_eq!(lines.len(), 6, "a plain frame has no sparklines: {lines:?}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [20, 30, 45, 60, 79, 100, 140, 200] {
        for line in frame(Some(width), Glyphs::Blocks) {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
        }
    }
    let wide = frame(Some(160), Glyphs::Blocks);
    assert!(
        wide.iter().any(|line| line.contains("REQUESTS/S, last 51s") && line.contains("P99, last 51s")),
        "{wide:?}"
    );
    let narrow = frame(Some(60), Glyphs::Blocks);
    assert!(narrow.iter().any(|line| line.starts_with("P99, last")), "{narrow:?}");
}

#[test]
fn sparkline_rises_to_the_greatest_of_all_and_has_gaps() {
    let lines = frame(Some(160), Glyphs::Ascii);
    let head = lines.iter().position(|line| line.starts_with("REQUESTS/S")).unwrap();
    let drawn = |at: usize| lines[head + at].chars().skip(4).take(51).collect::<String>();
    let (busy, less, silent) = (drawn(1), drawn(2), drawn(3));
    assert!(busy.contains("***") && busy.trim_end().ends_with('#'), "{busy:?}");
    assert!(
        less.trim().starts_with("...") && less.trim_end().ends_with(". ."),
        "a gap where there was no answer: {less:?}"
    );
    assert_eq!(silent.trim(), "");
    assert!(lines[head + 1].contains("4.0k max     4.0k"), "{lines:?}");
}
