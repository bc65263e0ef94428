//! What people write into files: the server's configuration and the client's profile.
//!
//! Both are TOML, both refuse what they do not know, and every error has the form
//!
//! ```text
//! /etc/quorate/server.toml:4: shards = 100: use 1 to 64 ..
//! file                     line field   found limit and way out
//! ```
//!
//! or, for a value that an environment variable gave, `environment: QUORATE_SHARDS = 100: use 1 to 64`,
//! so that nobody has to guess which of two similar lines was meant. A field that would have no effect beside the
//! others is refused too: a bearer token file beside `mode = "off"` is a mistake, not a preference.

mod choice;
pub mod document;
mod environment;
mod field;
pub mod profile;
pub mod quantity;
pub mod server;

pub use document::ConfigError;
pub use profile::{Profile, ProfileError};
pub use quantity::ByteSize;
pub use server::{Durability, HttpConfig, HttpData, LogConfig, LogFormat, LogLevel, ServerConfig, StorageConfig};
