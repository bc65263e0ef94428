//! The log on standard error: one line an event, as a terminal, a program or systemd's journal wants it.
//!
//! ```text
//!   text      2026-11-28T15:04:05.123Z  WARN n1 slow request kind=put outcome=ok took_ms=612.3
//!   json      {"timestamp":"2026-..","level":"WARN","node":"n1","message":"slow request","kind":"put", ..}
//!   journal   <4>n1 slow request kind=put outcome=ok took_ms=612.3
//! ```
//!
//! The journal has the time itself, and takes the priority from the front of the line (sd-daemon(3)), so it needs no
//! library and no socket. Every line names its node, for lines of several nodes meet in one place sooner or later.
//! Whatever an event says stays on its line: control characters are escaped.
//!
//! `RUST_LOG` wins over the configured level, as `RUST_LOG=quorate=debug,quinn=info`.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::SystemTime;

use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::server::LogFormat;

/// The variable that wins over the configuration.
const FILTER_VARIABLE: &str = "RUST_LOG";
/// Where systemd says which file standard error is, if it is the journal.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Changes the level of the log that [`start`] has started.
pub(super) struct Log(Option<SetFilter>);

/// Puts another filter in place of the one that is there.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

impl Log {
    /// Takes another level, unless the environment decides it.
    pub(super) fn set_level(&self, level: &str) -> Result<(), String> {
        match &self.0 {
            None => Err(format!("{FILTER_VARIABLE} decides it")),
            Some(change) => change(filter(level)),
        }
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("quorate={level},warn"))
}

/// Sends the log to standard error. A process of several nodes names none.
pub(super) fn start(node: Option<&str>, level: &str, format: LogFormat) -> Log {
    let wanted = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let given = wanted.as_ref().map(EnvFilter::try_new);
    let changes = !matches!(given, Some(Ok(_)));
    let (given, mistake) = match given {
        Some(Ok(filter)) => (Some(filter), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(given.unwrap_or_else(|| filter(level)))
        .event_format(Lines::new(node, format))
        .with_writer(std::io::stderr)
        .with_filter_reloading();
    let handle = log.reload_handle();
    if let Err(error) = log.try_init() {
        tracing::debug!(%error, "the log was started before");
    }
    if let Some(error) = mistake {
        tracing::warn!(%error, "{FILTER_VARIABLE} is no filter and has no effect; write it as quorate=debug,warn");
    }
    Log(changes.then(|| Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())) as _))
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text { colours: bool },
    Json,
    Journal,
}

impl Shape {
    fn of(format: LogFormat) -> Self {
        let terminal = || std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match format {
            LogFormat::Text => Self::Text { colours: terminal() && !plain },
            LogFormat::Auto if terminal() => Self::Text { colours: !plain },
            LogFormat::Auto if is_journal() => Self::Journal,
            LogFormat::Journal => Self::Journal,
            LogFormat::Json | LogFormat::Auto => Self::Json,
        }
    }
}

/// Whether standard error is the journal: the variable names the file, because it is inherited by those whose standard
/// error goes elsewhere (systemd.exec(5)).
fn is_journal() -> bool {
    let named = std::env::var(JOURNAL_VARIABLE).ok();
    let found = rustix::fs::fstat(std::io::stderr()).map(|file| format!("{}:{}", file.st_dev, file.st_ino)).ok();
    named.is_some() && named == found
}

/// Makes a line of an event.
#[derive(Debug)]
struct Lines {
    node: Option<String>,
    shape: Shape,
}

impl Lines {
    fn new(node: Option<&str>, format: LogFormat) -> Self {
        Self { node: node.map(str::to_owned), shape: Shape::of(format) }
    }

    fn line(&self, at: SystemTime, level: Level, said: &Said) -> String {
        match self.shape {
            Shape::Json => self.json(at, level, said),
            Shape::Text { colours } => {
                let time = humantime::format_rfc3339_millis(at);
                match colours {
                    true => format!("\x1b[2m{time}\x1b[0m {} {}", coloured(level), self.words(said)),
                    false => format!("{time} {:>5} {}", level.as_str(), self.words(said)),
                }
            }
            Shape::Journal => format!("<{}>{}", priority(level), self.words(said)),
        }
    }

    /// Node, message and fields.
    fn words(&self, said: &Said) -> String {
        let mut words = self.node.clone().unwrap_or_default();
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&on_one_line(&said.message));
        for (name, value) in &said.fields {
            let value = match value {
                Json::String(text) if is_plain(text) => text.clone(),
                value => value.to_string(),
            };
            write!(words, " {name}={value}").expect("a String takes all that is written to it");
        }
        words
    }

    /// An object with its parts in the order in which they are read.
    fn json(&self, at: SystemTime, level: Level, said: &Said) -> String {
        let head = [
            ("timestamp", Some(Json::from(humantime::format_rfc3339_millis(at).to_string()))),
            ("level", Some(Json::from(level.as_str()))),
            ("node", self.node.clone().map(Json::from)),
            ("message", Some(Json::from(said.message.clone()))),
        ];
        let head = head.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.as_ref()?)));
        let fields = said.fields.iter().map(|(name, value)| match *name {
            taken @ ("timestamp" | "level" | "node" | "message") => (format!("{taken}_"), value),
            name => (name.to_owned(), value),
        });
        let parts = head.chain(fields).map(|(name, value)| format!("{}:{value}", Json::from(name)));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        writeln!(writer, "{}", self.line(SystemTime::now(), *event.metadata().level(), &said))
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Json)>,
}

impl Said {
    fn add(&mut self, field: &Field, value: Json) {
        match (field.name(), value) {
            ("message", Json::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

/// Whether a value needs no quotes to be told from what follows.
fn is_plain(text: &str) -> bool {
    let awkward = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=');
    !text.is_empty() && !text.chars().any(awkward)
}

fn on_one_line(text: &str) -> String {
    let control = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(control).collect()
}

/// The priorities of sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn coloured(level: Level) -> String {
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    };
    format!("\x1b[{colour}m{:>5}\x1b[0m", level.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn line(shape: Shape, node: Option<&str>) -> String {
        let fields = vec![
            ("kind", Json::from("put")),
            ("took_ms", Json::from(612.3)),
            ("peers", Json::from("n2 asked at 0.2, n3 \"silent\"")),
            ("node", Json::from("n9")),
        ];
        let said = Said { message: "slow\nrequest".to_owned(), fields };
        let lines = Lines { node: node.map(str::to_owned), shape };
        lines.line(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123), Level::WARN, &said)
    }

    #[test]
    fn text_is_for_people_and_stays_on_its_line() {
        let words = "slow\\nrequest kind=put took_ms=612.3 peers=\"n2 asked at 0.2, n3 \\\"silent\\\"\" node=n9";
        let text = line(Shape::Text { colours: false }, Some("n1"));
        assert_eq!(text, format!("2023-11-14T22:13:20.123Z  WARN n1 {words}"));
        assert_eq!(line(Shape::Journal, Some("n1")), format!("<4>n1 {words}"));
        assert_eq!(line(Shape::Journal, None), format!("<4>{words}"));
        assert!(line(Shape::Text { colours: true }, None).contains("\x1b[33m WARN\x1b[0m slow"));
    }

    #[test]
    fn json_has_a_place_for_everything_and_no_name_twice() {
        let json: Json = serde_json::from_str(&line(Shape::Json, Some("n1"))).unwrap();
        assert_eq!(json["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!((json["level"].as_str(), json["node"].as_str()), (Some("WARN"), Some("n1")));
        assert_eq!((json["message"].as_str(), json["node_"].as_str()), (Some("slow\nrequest"), Some("n9")));
        assert_eq!((json["took_ms"].as_f64(), json["kind"].as_str()), (Some(612.3), Some("put")));
    }
}
