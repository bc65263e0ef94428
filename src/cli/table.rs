//! Tables for terminals: columns as wide as what is in them, colours by cell, and a width that is kept.
//!
//! ```text
//!   wide    NODE  ZONE  STATE  PARTITIONS  STORED   HINTS  IN SYNC  UPTIME  VERSION
//!   narrow  NODE  STATE  STORED   IN SYNC          the least important columns go first
//!   very    NODE  STA..  STORED                    then what is left is shortened, the longest first
//! ```
//!
//! A line never wraps: a table that does is read by nobody.

use super::screen::{Colours, Paint};

/// Between two columns.
const GAP: usize = 2;
/// No column is shortened below this.
const COLUMN_MIN: usize = 4;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// How soon it may go when there is no room: 0 never, the greatest first.
    pub(super) spare: u8,
    /// Numbers stand at the right of their column.
    pub(super) right: bool,
}

impl Column {
    /// Words.
    pub(super) const fn text(head: &'static str, spare: u8) -> Self {
        Self { head, spare, right: false }
    }

    /// Numbers.
    pub(super) const fn number(head: &'static str, spare: u8) -> Self {
        Self { head, spare, right: true }
    }
}

/// What stands in a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) paint: Option<Paint>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: None }
    }

    pub(super) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint: Some(paint) }
    }

    /// Nothing is known, or there is nothing to know.
    pub(super) fn none() -> Self {
        Self::painted("-", Paint::Dim)
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A row has a cell for each column.
    pub(super) fn new(columns: &[Column], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.to_vec(), rows }
    }

    /// The same without a column.
    pub(super) fn without(mut self, head: &str) -> Self {
        let Some(at) = self.columns.iter().position(|column| column.head == head) else { return self };
        self.columns.remove(at);
        self.rows.iter_mut().filter(|row| row.len() > at).for_each(|row| drop(row.remove(at)));
        self
    }

    /// Its lines, the head first, and the heads of what was left out. Without a width nothing is.
    pub(super) fn lines(&self, width: Option<usize>, colours: Colours) -> (Vec<String>, Vec<&'static str>) {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut widths: Vec<usize> = shown.iter().map(|at| self.width_of(*at)).collect();
        let mut left_out = Vec::new();
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().filter_map(|at| widths.get(*at)).sum::<usize>() + GAP * shown.len().saturating_sub(1)
        };
        let limit = width.unwrap_or(usize::MAX);
        while total(&shown, &widths) > limit {
            let spare = |at: &usize| self.columns.get(*at).map_or(0, |column| column.spare);
            let Some(least) = shown.iter().copied().max_by_key(spare).filter(|at| spare(at) > 0) else { break };
            shown.retain(|at| *at != least);
            left_out.extend(self.columns.get(least).map(|column| column.head));
        }
        while total(&shown, &widths) > limit {
            let widest = shown.iter().copied().max_by_key(|at| widths.get(*at).copied());
            match widest.and_then(|at| widths.get_mut(at)).filter(|width| **width > COLUMN_MIN) {
                Some(width) => *width -= 1,
                None => break,
            }
        }
        let head = self.columns.iter().map(|column| Cell::painted(column.head, Paint::Bold)).collect();
        let all = std::iter::once(&head).chain(&self.rows);
        let lines = all.map(|cells: &Vec<Cell>| self.line(cells, &shown, &widths, colours)).collect();
        left_out.reverse();
        (lines, left_out)
    }

    fn width_of(&self, column: usize) -> usize {
        let head = self.columns.get(column).map_or(0, |column| column.head.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        cells.chain([head]).max().unwrap_or(0)
    }

    fn line(&self, cells: &[Cell], shown: &[usize], widths: &[usize], colours: Colours) -> String {
        let mut line = String::new();
        for (place, at) in shown.iter().enumerate() {
            let (Some(cell), Some(width), Some(column)) = (cells.get(*at), widths.get(*at), self.columns.get(*at))
            else {
                continue;
            };
            let text = shortened(&cell.text, *width);
            let pad = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = cell.paint.map_or_else(|| text.clone(), |paint| colours.paint(paint, &text));
            let is_last = place + 1 == shown.len();
            match (column.right, is_last) {
                (true, _) => line.push_str(&(pad + &text)),
                (false, true) => line.push_str(&text),
                (false, false) => line.push_str(&(text + &pad)),
            }
            if !is_last {
                line.push_str(&" ".repeat(GAP));
            }
        }
        line
    }
}

/// The text, or its beginning and two points.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(2));
    kept.chain("..".chars().take(width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            Column::text("NODE", 0),
            Column::text("ZONE", 2),
            Column::text("STATE", 0),
            Column::number("STORED", 1),
            Column::text("VERSION", 3),
        ];
        let row = |cells: [&str; 5]| cells.map(Cell::new).to_vec();
        Table::new(
            &columns,
            vec![row(["n1", "a", "alive", "1.2 GiB", "0.1.0"]), row(["a-long-name", "b", "unreachable", "-", "-"])],
        )
    }

    fn shown(width: Option<usize>) -> (Vec<String>, Vec<&'static str>) {
        table().lines(width, Colours::NONE)
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let (lines, left_out) = shown(None);
        assert_eq!(
            lines,
            [
                "NODE         ZONE  STATE         STORED  VERSION",
                "n1           a     alive        1.2 GiB  0.1.0",
                "a-long-name  b     unreachable        -  -",
            ]
        );
        assert!(left_out.is_empty());
    }

    #[test]
    fn narrow_terminal_loses_the_least_important_columns_first() {
        for (width, gone) in
            [(47, vec!["VERSION"]), (35, vec!["ZONE", "VERSION"]), (24, vec!["STORED", "ZONE", "VERSION"])]
        {
            let (lines, left_out) = shown(Some(width));
            assert_eq!(left_out, gone, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
    }

    #[test]
    fn what_may_not_go_is_shortened_and_no_line_is_wider_than_the_terminal() {
        for width in [10, 12, 17, 20] {
            let (lines, _) = shown(Some(width));
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
        }
        // Both columns give, the longer one first.
        assert_eq!(shown(Some(17)).0, ["NODE      STATE", "n1        alive", "a-long..  unrea.."]);
    }

    #[test]
    fn colours_take_no_room() {
        let cells = vec![vec![Cell::painted("alive", Paint::Good), Cell::new("x")]];
        let columns = [Column::text("STATE", 0), Column::text("B", 0)];
        let (lines, _) = Table::new(&columns, cells).lines(None, Colours::ALL);
        assert_eq!(lines[1], "\x1b[32malive\x1b[0m  x");
    }
}
