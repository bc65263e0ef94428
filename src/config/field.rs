//! What is known of a field of a file beside its value: for the reference, the environment and errors.

use std::fmt::Write as _;

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text in quotes.
    Text,
    /// A whole number.
    Number,
    /// Bytes: a whole number, or a text with a unit.
    Bytes,
    /// A time: a text with its unit.
    Time,
    /// A list of texts.
    List,
}

/// What the reference shows of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A value that everybody has to choose: the line stands.
    Required,
    /// The default: the line is commented out, and means nothing else when it is not.
    Default,
    /// There is no default, or it depends: the commented line is an example.
    Example,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// The section it stands in, such as `http.data`; empty at the top.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it means, what more and less of it cost; line by line, as rustdoc hands it over.
    pub(super) help: &'static [&'static str],
    pub(super) shown: Shown,
    /// The value shown, as TOML.
    pub(super) value: &'static str,
}

/// One section with its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    /// As in its header; empty at the top.
    pub(super) path: &'static str,
    pub(super) head: &'static [&'static str],
    pub(super) fields: &'static [Field],
}

impl Field {
    /// Its name with its sections: `http.data.mode`.
    pub(super) fn path(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// The environment variable that overrides it: `QUORATE_HTTP_DATA_MODE`.
    pub(super) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path().replace('.', "_").to_uppercase())
    }
}

/// What the names of our environment variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "QUORATE_";

/// The sections as a file with comments that one can start from.
pub(super) fn reference(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        if !section.path.is_empty() {
            text.push('\n');
        }
        comment(&mut text, section.head);
        if !section.path.is_empty() {
            line(&mut text, &format!("[{}]", section.path));
        }
        for (at, field) in section.fields.iter().enumerate() {
            // A header stands close to its first field.
            if at > 0 || section.path.is_empty() {
                text.push('\n');
            }
            comment(&mut text, field.help);
            let off = if field.shown == Shown::Required { "" } else { "# " };
            line(&mut text, &format!("{off}{} = {}", field.name, field.value));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for words in lines {
        line(text, format!("#{words}").trim_end());
    }
}

fn line(text: &mut String, words: &str) {
    writeln!(text, "{words}").expect("a String takes all that is written to it");
}
