//! The file's fields as they stand there, each with its place. Everything is optional, so that a missing field is our
//! error and not serde's.

use serde::Deserialize;
use toml::Spanned;

use crate::config::quantity::{ByteSize, Period};

pub(super) type Text = Option<Spanned<String>>;
pub(super) type Number = Option<Spanned<i64>>;
pub(super) type Bytes = Option<Spanned<ByteSize>>;
pub(super) type Time = Option<Spanned<Period>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) name: Text,
    pub(super) data_dir: Text,
    pub(super) listen: Text,
    pub(super) advertise: Text,
    pub(super) shards: Number,
    pub(super) durability: Text,
    pub(super) interval: Time,
    pub(super) value_bytes_max: Bytes,
    pub(super) read_quorum: Number,
    pub(super) write_quorum: Number,
    pub(super) request_timeout: Time,
    #[serde(default)]
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) storage: Storage,
    #[serde(default)]
    pub(super) log: Log,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Text,
    pub(super) key: Text,
    pub(super) ca: Text,
    pub(super) crl: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Text,
    pub(super) hosts: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) data: Data,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) mode: Text,
    pub(super) token_file: Text,
    pub(super) socket: Text,
    pub(super) listen: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Storage {
    pub(super) block_cache: Bytes,
    pub(super) write_buffers: Bytes,
    pub(super) read_threads: Number,
    pub(super) hint_bytes_max: Bytes,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Text,
    pub(super) format: Text,
}
