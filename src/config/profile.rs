//! The client's file: how the CLI and the Rust client find a cluster and who they are there.
//!
//! ```toml
//! nodes = ["127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"]
//! certificate = "client.crt"
//! key = "client.key"
//! ca = "ca.crt"
//! ```
//!
//! It is looked for in three places, the first one wins: `--profile PATH`, the variable `QUORATE_PROFILE`, and
//! `./.quorate/client.toml`, which `quorate dev` writes. A place that is named and empty is an error, never a reason to
//! look further: a command meant for one cluster must not reach another.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::document::{ConfigError, Document};
use super::quantity::Period;
use super::server::{TlsFiles, replicas_max, request_timeout};

/// The environment variable that names a profile.
pub const PROFILE_VARIABLE: &str = "QUORATE_PROFILE";
/// Where `quorate dev` writes its profile, seen from the current directory.
pub const PROFILE_PATH: &str = ".quorate/client.toml";
/// Most first contacts: a few are enough, the roster has the rest.
pub const NODES_MAX: usize = 64;

/// How to reach a cluster, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `nodes`: control addresses of some nodes, 1 to 64. No default. One that answers is enough; more survive more
    /// failures at the start.
    pub nodes: Vec<SocketAddr>,
    /// `certificate`, `key`, `ca`: who this client is. No defaults.
    pub tls: TlsFiles,
    /// `read_quorum`: replicas that answer a read, 1 to 7. Default: what the node has.
    pub read_quorum: Option<u8>,
    /// `write_quorum`: copies that a write needs, 1 to 7. Default: what the node has.
    pub write_quorum: Option<u8>,
    /// `timeout`: time for one request with its retries, `"1ms"` to `"60s"`. Default `"2s"`.
    pub timeout: Duration,
    /// `http`: base URLs of HTTP doors, for the commands that only look (`quorate status`). Default none.
    pub http: Vec<String>,
}

/// Why there is no profile. Nothing was contacted; whose fault: the caller's.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// None of the three places has one.
    #[error(
        "no client profile: pass --profile PATH, set {PROFILE_VARIABLE}=PATH, or run where {PROFILE_PATH} is \
         (`quorate dev` writes it); looked for {}", .0.display()
    )]
    None(PathBuf),
    /// The place that was named has none.
    #[error("{place} names {}, but there is no such file", path.display())]
    Named {
        /// `--profile` or the variable.
        place: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// There is one, and it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    nodes: Option<Spanned<Vec<Spanned<String>>>>,
    certificate: Option<String>,
    key: Option<String>,
    ca: Option<String>,
    read_quorum: Option<Spanned<i64>>,
    write_quorum: Option<Spanned<i64>>,
    timeout: Option<Spanned<Period>>,
    http: Option<Vec<Spanned<String>>>,
}

impl Profile {
    /// Finds and reads the profile: `explicit` is what `--profile` said.
    ///
    /// # Errors
    /// [`ProfileError::None`] names all three ways to have one.
    pub fn discover(explicit: Option<&Path>) -> Result<Self, ProfileError> {
        Self::discover_in(explicit, std::env::var_os(PROFILE_VARIABLE), Path::new(""))
    }

    /// As [`Profile::discover`], with the variable's value and the current directory given.
    fn discover_in(explicit: Option<&Path>, variable: Option<OsString>, here: &Path) -> Result<Self, ProfileError> {
        // A variable that is set to nothing is how people unset one for a single command.
        let variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        let (place, path) = match (explicit, variable) {
            (Some(path), _) => (Some("--profile"), path.to_owned()),
            (None, Some(path)) => (Some(PROFILE_VARIABLE), path),
            (None, None) => (None, here.join(PROFILE_PATH)),
        };
        match (Self::load(&path), place) {
            (Ok(profile), _) => Ok(profile),
            (Err(ConfigError::Missing(path)), Some(place)) => Err(ProfileError::Named { place, path }),
            (Err(ConfigError::Missing(path)), None) => Err(ProfileError::None(path)),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first mistake: file, line, field, what stands there, the limit and the way out.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let document = Document::read(path)?;
        let file: Raw = document.parse()?;
        let resolve = |value, field, example| -> Result<PathBuf, ConfigError> {
            Ok(document.resolve(&document.require::<String>(value, field, example)?))
        };
        let nodes = document.require(file.nodes, "nodes", "nodes = [\"127.0.0.1:7400\"]")?;
        let quorum = |value: Option<Spanned<i64>>| match value {
            Some(value) => document.within(Some(&value), 1, 1..=replicas_max()).map(Some),
            None => Ok(None),
        };
        Ok(Self {
            nodes: addresses(&document, &nodes)?,
            tls: TlsFiles {
                certificate: resolve(file.certificate, "certificate", "certificate = \"client.crt\"")?,
                key: resolve(file.key, "key", "key = \"client.key\"")?,
                ca: resolve(file.ca, "ca", "ca = \"ca.crt\"")?,
                crl: None,
            },
            read_quorum: quorum(file.read_quorum)?,
            write_quorum: quorum(file.write_quorum)?,
            timeout: request_timeout(&document, &file.timeout)?,
            http: file.http.iter().flatten().map(|text| url(&document, text)).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the profile, replacing an older one as a whole. Paths below the file's directory are written relative to
    /// it, so that the directory can be moved.
    ///
    /// # Errors
    /// [`ConfigError::Unwritable`].
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        let unwritable = |source| ConfigError::Unwritable { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new(""));
        let text = self.to_text(directory).map_err(|e| unwritable(io::Error::other(e)))?;
        if !directory.as_os_str().is_empty() {
            fs::create_dir_all(directory).map_err(unwritable)?;
        }
        // A reader sees the old file or the new one, never a half.
        let fresh = path.with_extension("toml.new");
        let written = fs::File::create(&fresh).and_then(|mut file| file.write_all(text.as_bytes()));
        written.and_then(|()| fs::rename(&fresh, path)).map_err(unwritable)
    }

    fn to_text(&self, directory: &Path) -> Result<String, toml::ser::Error> {
        let shown = |path: &Path| match path.strip_prefix(directory) {
            Ok(inside) if !directory.as_os_str().is_empty() => inside.to_owned(),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        let body = toml::to_string(&Written {
            nodes: self.nodes.iter().map(ToString::to_string).collect(),
            certificate: shown(&self.tls.certificate),
            key: shown(&self.tls.key),
            ca: shown(&self.tls.ca),
            read_quorum: self.read_quorum,
            write_quorum: self.write_quorum,
            timeout: humantime::format_duration(self.timeout).to_string(),
            http: &self.http,
        })?;
        Ok(format!("# How clients reach this cluster: `quorate --profile THIS_FILE ..`.\n{body}"))
    }
}

#[derive(Serialize)]
struct Written<'a> {
    nodes: Vec<String>,
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_quorum: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_quorum: Option<u8>,
    timeout: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    http: &'a [String],
}

fn addresses(document: &Document, nodes: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<SocketAddr>, ConfigError> {
    let count = nodes.get_ref().len();
    if !(1..=NODES_MAX).contains(&count) {
        let reason = format!("it has {count} addresses; write 1 to {NODES_MAX}, such as [\"127.0.0.1:7400\"]");
        return Err(document.refuse(nodes.span(), reason));
    }
    let parse = |text: &Spanned<String>| match text.get_ref().parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => {
            let reason =
                format!("{:?} is no address to dial; write IP:PORT, such as \"127.0.0.1:7400\"", text.get_ref());
            Err(document.refuse(text.span(), reason))
        }
    };
    nodes.get_ref().iter().map(parse).collect()
}

fn url(document: &Document, text: &Spanned<String>) -> Result<String, ConfigError> {
    let value = text.get_ref();
    let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(value.trim_end_matches('/').to_owned()),
        _ => Err(document.refuse(text.span(), "write a base URL, such as \"http://127.0.0.1:7480\"")),
    }
}

#[cfg(test)]
mod tests;
