//! The bearer token: a secret in a file, shown by programs on this machine that may use the data.
//!
//! Loopback is no proof of anything: every user of the machine, and every page in a browser on it, can connect. So a
//! program shows that it can read a file that only its user (and the node's) can read.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::refusal::{Code, Refusal};

/// Fewest characters of a token: 128 bits in base64 are 22, in hexadecimal 32; below this it can be guessed.
const TOKEN_CHARACTERS_MIN: usize = 16;
/// Most characters of a token: a longer file is surely another one.
const TOKEN_CHARACTERS_MAX: usize = 512;
/// The bits that let group or others touch a file.
const FOREIGN_BITS: u32 = 0o077;

/// What a client without a token is told to do.
const CHALLENGE: &str = "Bearer realm=\"quorate\"";
/// What a client with a wrong token is told.
const CHALLENGE_WRONG: &str = "Bearer realm=\"quorate\", error=\"invalid_token\"";

/// Why a token file is not taken. Nothing changed; whose fault: the operator's. The token itself is in no text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Missing, or not ours to read.
    #[error(
        "cannot read the token file {0}: {source}; make one with `(umask 077; openssl rand -hex 32 > {0})`",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read it, and the data with it.
    #[error("the token file {0} has mode {mode:04o}, so others can use the data; run `chmod 600 {0}`", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Too short, too long, or not one word.
    #[error(
        "the token file {0} does not have one line of {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} visible ASCII \
         characters; make one with `(umask 077; openssl rand -hex 32 > {0})`",
        path.display()
    )]
    Text {
        /// The file.
        path: PathBuf,
    },
}

/// The secret.
#[derive(Clone)]
pub(super) struct Token(Vec<u8>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl Token {
    /// Reads a file that only its owner can read.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
        if mode & FOREIGN_BITS != 0 {
            return Err(TokenError::Mode { path: path.to_owned(), mode });
        }
        let mut text = Vec::new();
        // Room for a line end of two characters, and for one too many.
        file.take(TOKEN_CHARACTERS_MAX as u64 + 3).read_to_end(&mut text).map_err(unreadable)?;
        let token = text.trim_ascii();
        let long_enough = (TOKEN_CHARACTERS_MIN..=TOKEN_CHARACTERS_MAX).contains(&token.len());
        if !long_enough || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Text { path: path.to_owned() });
        }
        Ok(Self(token.to_vec()))
    }

    /// Checks that a request shows the token.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (shown.next(), shown.next()) else {
            let text = "data over HTTP needs the node's token: send one header Authorization: Bearer TOKEN, with the \
                        content of the token_file of [http.data]";
            return Err(Refusal::new(Code::NotAuthenticated(CHALLENGE), text));
        };
        let (scheme, token) = value.as_bytes().split_at_checked(7).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"bearer ") && self.is(token.trim_ascii()) {
            return Ok(());
        }
        let text = "the header Authorization does not have this node's token; send Authorization: Bearer TOKEN, with \
                    the content of the token_file of [http.data]";
        Err(Refusal::new(Code::NotAuthenticated(CHALLENGE_WRONG), text))
    }

    /// Compares in a time that depends on the length alone, so that nobody can find the token byte by byte.
    fn is(&self, shown: &[u8]) -> bool {
        let differing = self.0.iter().zip(shown).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        self.0.len() == shown.len() && differing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token(b"0123456789abcdef".to_vec());
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "X123456789abcdef"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }
}
