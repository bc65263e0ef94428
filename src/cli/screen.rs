//! What people and programs see: standard output in one piece, colours, times, JSON.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::client::{Versions, Written};
use crate::protocol::ring::Roster;
use crate::protocol::types::WallTime;

/// The last millisecond of the year 9999: what stands in four digits.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// How a word is set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Bold,
    Dim,
    Good,
    /// Somebody should look.
    Warn,
    /// Somebody must act.
    Bad,
}

/// Whether colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colours(bool);

impl Colours {
    /// Never.
    #[cfg(test)]
    pub(super) const NONE: Self = Self(false);
    /// Always.
    #[cfg(test)]
    pub(super) const ALL: Self = Self(true);

    /// On a terminal, unless `NO_COLOR` says no.
    pub(super) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && io::stdout().is_terminal())
    }

    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Colours a text, when standard output is a terminal that wants colours.
pub(super) fn paint(paint: Paint, text: &str) -> String {
    Colours::of_stdout().paint(paint, text)
}

/// Columns of the terminal that standard output is; none when it is something else.
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know its size says zero.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes what was asked for.
pub(super) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes JSON and a newline.
pub(super) fn print_json(json: &Json) -> anyhow::Result<()> {
    print(format!("{json}\n").as_bytes())
}

/// Says something beside the output.
pub(super) fn note(text: &str) {
    // Nobody is there to be told that nobody is there.
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}

/// A time as people read it, UTC.
pub(super) fn time(at: WallTime) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.as_millis().min(MILLIS_MAX))).to_string()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An item as the HTTP door shows it.
pub(super) fn versions_json(read: &Versions) -> Json {
    let values = read.values.iter().map(|value| {
        json!({
            "value": base64(&value.bytes),
            "dot": value.dot.to_string(),
            "written_at": time(value.written_at),
        })
    });
    let context = (!read.context.is_none()).then(|| read.context.to_string());
    json!({ "context": context, "versions": values.collect::<Vec<_>>() })
}

/// What became of a write, as the HTTP door shows it.
pub(super) fn written_json(written: &Written, roster: &Roster) -> Json {
    let stored = &written.stored;
    json!({
        "context": written.context.to_string(),
        "dot": written.dot.to_string(),
        "write_id": written.write_id.to_string(),
        "versions": written.versions,
        "stored": {
            "nodes": stored.copies.iter().map(|copy| roster.name_of(copy.node)).collect::<Vec<_>>(),
            "primaries": stored.primaries(),
            "fallbacks": stored.fallbacks(),
            "fsynced": stored.fsynced(),
        },
    })
}

/// What became of a write, for people.
pub(super) fn written_text(verb: &str, written: &Written, roster: &Roster) -> String {
    let stored = &written.stored;
    let nodes: Vec<String> = stored.copies.iter().map(|copy| roster.name_of(copy.node)).collect();
    let fallbacks = match stored.fallbacks() {
        0 => String::new(),
        count => format!(", {count} of them fallbacks"),
    };
    let beside = match written.versions {
        0 | 1 => String::new(),
        count => format!("; the item has {count} versions now, `quorate get` shows them"),
    };
    format!("{verb} on {} ({} fsynced{fallbacks}){beside}\n", nodes.join(", "), stored.fsynced())
}
