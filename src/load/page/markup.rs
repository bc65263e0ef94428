//! Text that becomes markup, and numbers that become text.

use std::fmt::Write as _;

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    out: String,
    figures: u32,
}

impl Page {
    /// Adds a line of markup.
    pub(super) fn line(&mut self, markup: &str) {
        self.out.push_str(markup);
        self.out.push('\n');
    }

    /// Opens a plot in a figure: caption, what it is for those who do not see it, and its size in its own units.
    pub(super) fn open_plot(&mut self, class: &str, caption: &str, note: &str, key: &str, (width, height): (f64, f64)) {
        self.figures += 1;
        let number = self.figures;
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.line(&format!("<figure{class}>"));
        self.line(&format!("<figcaption>{} <small>{}</small></figcaption>", text(caption), text(note)));
        if !key.is_empty() {
            self.line(&format!("<ul class=\"key\">{key}</ul>"));
        }
        self.line(&format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"plot-{number}\">",
            at(width),
            at(height)
        ));
        self.line(&format!("<title id=\"plot-{number}\">{}: {}</title>", text(caption), text(note)));
    }

    pub(super) fn close_plot(&mut self) {
        self.line("</svg>");
        self.line("</figure>");
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// An entry of a key: a stroke or a patch in its colour, and its name.
pub(super) fn key_entry(class: &str, name: &str) -> String {
    let mark = match class.starts_with('f') && class != "floor" {
        true => format!("<rect class=\"{class}\" width=\"18\" height=\"10\"/>"),
        false => format!("<line class=\"line {class}\" x1=\"0\" y1=\"5\" x2=\"18\" y2=\"5\"/>"),
    };
    format!("<li><svg viewBox=\"0 0 18 10\" aria-hidden=\"true\">{mark}</svg>{}</li>", text(name))
}

/// Any text as text: nothing in it is markup, and nothing in it is refused by a parser.
pub(super) fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in XML, and directions that are turned round would hide what is there.
            c if c.is_control() || is_turning(c) => out.push('\u{fffd}'),
            // Two code points that XML forbids.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            // Everything beyond ASCII as it is: the page says that it is UTF-8.
            c => out.push(c),
        }
    }
    out
}

/// Marks that change the direction of what follows.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A coordinate: one decimal, and zero for what is no number.
pub(super) fn at(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let mut out = String::new();
    write!(out, "{value:.1}").unwrap_or_default();
    match out.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => out,
    }
}

/// A quantity for people: three digits and a letter.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let (value, unit) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        size if size >= 100.0 || size.fract() < 1e-9 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let shown = format!("{value:.decimals$}");
    let trimmed = if shown.contains('.') { shown.trim_end_matches('0').trim_end_matches('.') } else { &shown };
    format!("{trimmed}{unit}")
}

/// Microseconds as milliseconds for people.
pub(super) fn milliseconds(us: f64) -> String {
    short(us / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(text("<b a=\"1\">'x' & y</b>"), "&lt;b a=&quot;1&quot;&gt;&#39;x&#39; &amp; y&lt;/b&gt;");
        assert_eq!(text("a\0b\x1b[31m\u{202e}c"), "a\u{fffd}b\u{fffd}[31m\u{fffd}c");
        assert_eq!(text("Gr\u{fc}n"), "Gr\u{fc}n");
    }

    #[test]
    fn numbers_are_short_and_always_numbers() {
        for (value, shown) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.25, "0.25"),
            (1.5, "1.5"),
            (12.34, "12.3"),
            (100.0, "100"),
            (9000.0, "9000"),
            (9999.0, "10k"),
            (12_345.0, "12.3k"),
            (2_000_000.0, "2M"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
        ] {
            assert_eq!(short(value), shown);
        }
        assert_eq!((at(1.04), at(f64::NAN), at(-0.01), at(12.0)), ("1".into(), "0".into(), "0".into(), "12".into()));
    }
}
