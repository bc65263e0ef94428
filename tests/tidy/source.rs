//! Reads Rust text just far enough to know what it names: words outside comments and strings, and whole paths.
//!
//! `use crate::{a::b, c}` yields `crate::a::b` and `crate::c`, each with its line and the inline modules around it, so
//! that `super::` can be followed to where it leads. Not a parser: macros are read as the words in them.

/// One file: its path from the root of the project, with `/`, and its text.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The module that the file is: `src/protocol/ring/plan.rs` is `protocol::ring::plan`, `src/lib.rs` is the root.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
            module.pop();
        }
        module
    }

    /// Where a path written in this file leads, counted from the root of the crate; `None` when it leaves the crate or
    /// names something local.
    pub(crate) fn resolve(&self, path: &Path) -> Option<Vec<String>> {
        let mut rest = path.segments.as_slice();
        let mut at = match rest.first()?.as_str() {
            "crate" | "quorate" => Vec::new(),
            "self" | "super" => [self.module(), path.inside.clone()].concat(),
            _ => return None,
        };
        if rest[0] != "super" {
            rest = &rest[1..];
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            at.pop();
            rest = &rest[1..];
        }
        at.extend_from_slice(rest);
        Some(at)
    }
}

/// A word, `::`, or one character of anything else, with its line, from 1.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Token<'_> {
    fn is_word(self) -> bool {
        self.text.as_bytes().first().is_some_and(|b| is_word_byte(*b))
    }
}

/// A path as it is written, its `{..}` groups taken apart.
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The inline modules around it, outermost first.
    inside: Vec<String>,
}

impl Path {
    pub(crate) fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
    }
}

/// The text as tokens, without comments, strings, characters and lifetimes.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'\'' => end_of_quote(text, at),
            b'b' | b'c' | b'r' if raw_or_prefixed_string(bytes, at).is_some() => {
                raw_or_prefixed_string(bytes, at).unwrap_or(bytes.len())
            }
            b if is_word_byte(b) => {
                // A raw identifier: the word is what comes after `r#`.
                let start = if text[at..].starts_with("r#") { at + 2 } else { at };
                let end = start + bytes[start..].iter().take_while(|b| is_word_byte(**b)).count();
                found.push(Token { text: &text[start..end], line });
                end.max(at + 1)
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                found.push(Token { text: "::", line });
                at + 2
            }
            b if b.is_ascii_whitespace() => at + 1,
            _ => {
                found.push(Token { text: &text[at..=at], line });
                at + 1
            }
        };
        let end = end.min(bytes.len());
        line += text[at..end].matches('\n').count();
        at = end;
    }
    found
}

/// Bytes beyond ASCII count as letters, so that no slice ends within a character.
fn is_word_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|b| **b != b'\n').count()
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// After `'` comes a character and `'`, or a lifetime.
fn end_of_quote(text: &str, quote: usize) -> usize {
    let rest = &text[quote + 1..];
    if rest.starts_with('\\') {
        let escaped = 2 + rest.chars().nth(1).map_or(0, char::len_utf8);
        return rest[escaped - 1..].find('\'').map_or(text.len(), |close| quote + 1 + escaped + close);
    }
    let first = rest.chars().next().map_or(0, char::len_utf8);
    if rest[first..].starts_with('\'') {
        return quote + 1 + first + 1;
    }
    quote + 1 + rest.bytes().take_while(|b| is_word_byte(*b)).count()
}

/// The end of `b".."`, `c".."`, `r".."`, `br#".."#` and `b'x'`, when one starts here.
fn raw_or_prefixed_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    if matches!(bytes[at], b'b' | b'c') {
        at += 1;
    }
    let raw = bytes.get(at) == Some(&b'r');
    if raw {
        at += 1;
    }
    let hashes = if raw { bytes[at..].iter().take_while(|b| **b == b'#').count() } else { 0 };
    at += hashes;
    match bytes.get(at) {
        Some(b'"') if raw => {
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let found = bytes[at + 1..].windows(close.len()).position(|window| window == close);
            Some(found.map_or(bytes.len(), |found| at + 1 + found + close.len()))
        }
        Some(b'"') => Some(end_of_string(bytes, at)),
        Some(b'\'') if bytes[start] == b'b' && at == start + 1 => {
            let close = if bytes.get(at + 1) == Some(&b'\\') { at + 3 } else { at + 2 };
            let rest = bytes.get(close..)?;
            Some(close + rest.iter().take_while(|b| **b != b'\'').count() + 1)
        }
        _ => None,
    }
}

/// Every path in the text, `{..}` groups taken apart, the trailing `self` of a group dropped.
pub(crate) fn paths(text: &str) -> Vec<Path> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token: &Token<'_>| token.text);
    let mut found = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", word);
        match tokens[at].text {
            "mod" if word(at + 2) == "{" => {
                depth += 1;
                open.push((depth, word(at + 1).to_owned()));
                at += 3;
            }
            "{" => {
                depth += 1;
                at += 1;
            }
            "}" => {
                open.pop_if(|(inside, _)| *inside == depth);
                depth = depth.saturating_sub(1);
                at += 1;
            }
            // `pub(in crate::a)` names an ancestor and imports nothing.
            "in" if before == "(" && at >= 2 && word(at - 2) == "pub" => {
                at += 1;
                while at < tokens.len() && word(at) != ")" {
                    at += 1;
                }
            }
            _ if tokens[at].is_word() => {
                let mut leaves = Vec::new();
                let end = read_tree(&tokens, at, &[], &mut leaves);
                // A word alone is a path only where it is imported: `use tokio;`, not `pub(crate)` and not a variable.
                if end > at + 1 || before == "use" {
                    let inside: Vec<String> = open.iter().map(|(_, name)| name.clone()).collect();
                    found.extend(leaves.into_iter().map(|(segments, line)| Path {
                        segments,
                        line,
                        inside: inside.clone(),
                    }));
                }
                at = end.max(at + 1);
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads one path from `at` on, its groups with it; returns the index of the first token after it.
fn read_tree(tokens: &[Token<'_>], at: usize, prefix: &[String], leaves: &mut Vec<(Vec<String>, usize)>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut segments = prefix.to_vec();
    let mut at = at;
    while let Some(token) = tokens.get(at).filter(|token| token.is_word() || token.text == "*") {
        segments.push(token.text.to_owned());
        at += 1;
        let more = tokens.get(at + 1).is_some_and(|next| next.is_word() || matches!(next.text, "*" | "{"));
        if word(at) != "::" || !more {
            break;
        }
        at += 1;
    }
    if word(at) == "{" && at > 0 && word(at - 1) == "::" {
        at += 1;
        while at < tokens.len() && word(at) != "}" {
            let end = read_tree(tokens, at, &segments, leaves);
            at = end.max(at + 1);
            // `as name`: the name is local.
            if word(end) == "as" {
                at = end + 2;
            }
            if word(at) == "," {
                at += 1;
            }
        }
        return at + 1;
    }
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    if segments.len() > prefix.len() || !prefix.is_empty() {
        let line = tokens.get(at.saturating_sub(1)).map_or(0, |token| token.line);
        leaves.push((segments, line));
    }
    at
}
