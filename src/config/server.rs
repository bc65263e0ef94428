//! The server's file, `quorate server --config server.toml`.
//!
//! ```toml
//! name = "n1"
//! data_dir = "data"
//! listen = "10.0.0.1:7400"
//!
//! [tls]
//! certificate = "n1.crt"
//! key = "n1.key"
//! ca = "ca.crt"
//! ```
//!
//! is a whole configuration: everything else has a default. Relative paths are relative to the file. What a cluster
//! must agree on (partitions, replicas, tables) is not here: it is in the layout, changed by an administrator.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{ConfigError, Document};
use super::environment::Environment;
use super::field;
use super::quantity::ByteSize;

mod check;
pub mod effective;
mod raw;

pub(super) use check::{replicas_max, request_timeout};

/// Longest label of a node, bytes: it is in every metric and log line.
pub const LABEL_BYTES_MAX: usize = 32;
/// Most shards: a shard is a thread, and more threads than cores only wait for each other.
pub const SHARDS_MAX: u16 = 64;
/// Most time between two fsyncs with interval durability. A longer one is `os` in all but name.
pub const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Least block cache: below it every read of a cold partition goes to the disk for its index alone.
pub const BLOCK_CACHE_MIN: ByteSize = ByteSize::new(8 << 20);
/// Least write buffers: below it 64 partitions flush files of a few kilobytes.
pub const WRITE_BUFFERS_MIN: ByteSize = ByteSize::new(16 << 20);
/// Most memory for either: 1 TiB, a slip of the unit above it.
pub const MEMORY_MAX: ByteSize = ByteSize::new(1 << 40);
/// Least reserve of the disk: the log and a few files have to fit.
pub const DISK_RESERVE_MIN: ByteSize = ByteSize::new(16 << 20);
/// Most threads for reads that miss the cache.
pub const READ_THREADS_MAX: usize = 64;

/// A node's configuration, checked. Once built, every limit named here holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// `name`: the node's label in logs, metrics and status, 1 to 32 of `a-z 0-9 -`. No default. It names nothing
    /// else: two nodes with one label work, and confuse people.
    pub name: String,
    /// `data_dir`: where the node keeps all that it knows. No default. One directory is one node's: never share or copy
    /// it. A path on a slow disk costs latency on every `sync` write.
    pub data_dir: PathBuf,
    /// `listen`: address of the control endpoint (UDP). No default, never port 0. Shard i listens on port + 1 + i of
    /// the same address, so a node takes `1 + shards` ports in a row.
    pub listen: SocketAddr,
    /// `advertise`: the address under which peers reach `listen`. Default: `listen`. Needed when `listen` is `0.0.0.0`
    /// or `[::]`, or behind address translation that keeps ports in a row.
    pub advertise: SocketAddr,
    /// `shards`: threads that own partitions, 1 to 64. Default 1. More use more cores, and cost a socket, its 8 MiB of
    /// buffers and a connection to each peer's shards; more than cores costs latency.
    pub shards: u16,
    /// `durability` and `interval`: what an acknowledged write has survived. Default `"sync"`.
    pub durability: Durability,
    /// `value_bytes_max`: largest value that a client may put: bytes, or a text such as `"4 MiB"`. Default 1 MiB, limit
    /// 8 MiB. More lets a single request hold a lane and memory for longer, so the latency of small requests grows.
    pub value_bytes_max: usize,
    /// `read_quorum`: replicas that answer a read which names no number itself. Default 2. 1 is faster and may miss the
    /// newest write; all of them makes a read fail when one node is away.
    pub read_quorum: u8,
    /// `write_quorum`: copies that a write needs when it names no number itself. Default 2. Fewer survive fewer
    /// failures; all of them makes a write wait for the slowest node. `read_quorum + write_quorum > N` makes a read see
    /// the write.
    pub write_quorum: u8,
    /// `request_timeout`: time for a request which names none itself, `"1ms"` to `"60s"`. Default `"2s"`. Shorter fails
    /// sooner when a node is slow; longer keeps more requests in memory meanwhile.
    pub request_timeout: Duration,
    /// `[tls]`: who this node is.
    pub tls: TlsFiles,
    /// `[http]`: metrics, health, status and, when asked for, data.
    pub http: HttpConfig,
    /// `[storage]`: memory and threads of the disk.
    pub storage: StorageConfig,
    /// `[log]`: what is written to standard error.
    pub log: LogConfig,
}

/// What an acknowledged write has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `"sync"`: an fsync, shared by all writes of that moment. Survives power loss. Costs the disk's fsync time per
    /// write.
    Sync,
    /// `"interval"`: an fsync every `interval` (`"1ms"` to `"10s"`, default `"100ms"`). Power loss on all replicas at
    /// once loses what this replica acknowledged since the last one. Longer costs less disk work and may lose more.
    Interval(Duration),
    /// `"os"`: the operating system's memory. Survives the end of the process, not of the machine. Costs nothing.
    Os,
}

/// `[tls]`: PEM files. Three are needed: there is no unencrypted mode. Read again when they change, and on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `certificate`: the node's, as `quorate cert node` made it.
    pub certificate: PathBuf,
    /// `key`: its key, mode 0600.
    pub key: PathBuf,
    /// `ca`: the cluster's authority; two of them while one replaces the other.
    pub ca: PathBuf,
    /// `crl`: whom the authority has revoked, as `quorate cert revoke` made it. Default: nobody.
    pub crl: Option<PathBuf>,
}

/// `[http]`: the HTTP door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// `listen`: TCP address of `/metrics`, `/healthz`, `/readyz` and the read-only status. Default `127.0.0.1:7480`.
    /// It must be loopback, because it asks nobody who they are; only with `[http.data] mode = "tls"` may it be
    /// another.
    pub listen: SocketAddr,
    /// `hosts`: names beyond `localhost`, `127.0.0.1` and `[::1]` that a request's Host may have, without port. Default
    /// none. Each one is a name under which a web page could try to reach this door.
    pub hosts: Vec<String>,
    /// `[http.data]`: whether items can be read and written over HTTP.
    pub data: HttpData,
}

/// Host names that are always allowed.
pub const HOSTS_ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl HttpConfig {
    /// Whether a request may carry this host name (no port, lower case).
    #[must_use]
    pub fn allows_host(&self, host: &str) -> bool {
        HOSTS_ALWAYS.contains(&host) || self.hosts.iter().any(|allowed| allowed == host)
    }
}

/// `[http.data] mode`: who may read and write items over HTTP. Default `"off"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpData {
    /// `"off"`: nobody.
    Off,
    /// `"loopback"`: whoever is on this machine and has the bearer token, on `[http] listen`.
    Loopback {
        /// `token_file`: a file with the token on its one line, readable by its owner only.
        token_file: PathBuf,
    },
    /// `"unix"`: whoever may open the socket (mode 0660: owner and group).
    Unix {
        /// `socket`: where it is made.
        socket: PathBuf,
    },
    /// `"tls"`: whoever has a certificate of the cluster's authority.
    Tls {
        /// `listen`: TCP address, other than `[http] listen`.
        listen: SocketAddr,
    },
}

/// `[storage]`: memory and threads of `RocksDB`, for the whole node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageConfig {
    /// `block_cache`: memory for blocks that were read, 8 MiB to 1 TiB. Default 256 MiB. More saves reads from the
    /// disk; it is taken from the operating system's own cache.
    pub block_cache: ByteSize,
    /// `item_cache`: memory for the items that were read or written last, of all shards together, 1 MiB to 1 TiB.
    /// Default 64 MiB. An item that is found there is not looked for in `RocksDB`, which is most of what a read costs;
    /// a small item takes about 300 bytes beside its own.
    pub item_cache: ByteSize,
    /// `write_buffers`: memory for writes that are not yet in files, 16 MiB to 1 TiB. Default 256 MiB. More means
    /// fewer, larger files and less rewriting; and a longer replay after an unclean stop.
    pub write_buffers: ByteSize,
    /// `read_threads`: threads for reads that miss the cache, 1 to 64. Default 2. More overlap more disk reads; each
    /// costs a stack.
    pub read_threads: usize,
    /// `hint_bytes_max`: disk for writes that this node keeps for one other node while that cannot be reached, 1 MiB to
    /// 1 TiB. Default 1 GiB. When it is full, further ones are refused and do not count toward W; with more, a longer
    /// outage is bridged without an exchange.
    pub hint_bytes_max: ByteSize,
    /// `disk_reserve`: free space below which new values and hints are refused, and below half of which copies that
    /// make items larger are, 16 MiB to 1 TiB. Default: a fiftieth of the disk, at least 1 GiB, at most an eighth of
    /// the disk. Less lets the disk fill further, and leaves less for compaction, without which deletes free nothing.
    pub disk_reserve: Option<ByteSize>,
}

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `level`: the least important kind of event that is written. Default `"info"`. `"debug"` costs CPU on every
    /// request.
    pub level: LogLevel,
    /// `format`: for people or for machines. Default `"auto"`.
    pub format: LogFormat,
    /// `slow_requests`: clients' requests that take this long get a line with where the time went, `"1ms"` to `"60s"`;
    /// none for `"off"`. Default `"500ms"`. A shorter one finds more, up to a line a second for each shard.
    pub slow_requests: Option<Duration>,
}

/// How important an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `"error"`: somebody must act.
    Error,
    /// `"warn"`: somebody should look.
    Warn,
    /// `"info"`: what an operator wants to know afterwards.
    Info,
    /// `"debug"`: what a developer wants to know.
    Debug,
}

impl LogLevel {
    /// As tracing's filters have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `"auto"`: text on a terminal, the journal's where standard error is the journal, and else JSON.
    Auto,
    /// `"text"`: a line for people.
    Text,
    /// `"json"`: an object a line.
    Json,
    /// `"journal"`: text with a priority before it, as systemd takes it from standard error (sd-daemon(3)).
    Journal,
}

impl LogFormat {
    /// As the file has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
            Self::Journal => "journal",
        }
    }
}

/// A configuration from a file and the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: ServerConfig,
    /// The environment variables that overrode a field of the file.
    pub overridden: Vec<String>,
    /// Environment variables that begin like ours and are not: somebody should be told.
    pub ignored: Vec<String>,
}

impl ServerConfig {
    /// Reads and checks a file, with the variables of the environment (`QUORATE_LISTEN` ..) over it.
    ///
    /// # Errors
    /// The first mistake: file, line, field, what stands there, the limit and the way out.
    pub fn load(path: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, ConfigError> {
        let document = Document::read(path)?;
        let environment = Environment::of(&raw::SECTIONS, variables)?;
        let overridden = environment.places.iter().map(|(_, variable)| variable.clone()).collect();
        let ignored = environment.ignored.clone();
        let config = check::check(&document.under(environment))?;
        Ok(Loaded { config, overridden, ignored })
    }

    /// A whole file with every field, its meaning and its default, that one can start from.
    #[must_use]
    pub fn reference() -> String {
        field::reference(&raw::SECTIONS)
    }

    /// Checks a text as if it stood in the file `path`.
    ///
    /// # Errors
    /// As [`ServerConfig::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        check::check(&Document::new(path, text.to_owned()))
    }

    /// Where shard `shard` listens; `None` for a shard that this node does not have.
    #[must_use]
    pub fn shard_address(&self, shard: u16) -> Option<SocketAddr> {
        (shard < self.shards).then(|| shard_port(self.listen, shard)).flatten()
    }

    /// Where peers reach shard `shard`; `None` for a shard that this node does not have.
    #[must_use]
    pub fn shard_advertise(&self, shard: u16) -> Option<SocketAddr> {
        (shard < self.shards).then(|| shard_port(self.advertise, shard)).flatten()
    }
}

/// Port + 1 + shard of the same address.
fn shard_port(control: SocketAddr, shard: u16) -> Option<SocketAddr> {
    let port = control.port().checked_add(1)?.checked_add(shard)?;
    Some(SocketAddr::new(control.ip(), port))
}

#[cfg(test)]
mod tests;
