//! The file's fields as they stand there, each with its place in the text: the one source of what can be configured.
//!
//! A line of a table below makes the field that serde reads, its paragraph in `quorate config reference` (which is
//! `deploy/quorate.toml`), and the environment variable that overrides it. Everything is optional, so that a missing
//! field is our error and not serde's.

use serde::Deserialize;
use toml::Spanned;

use crate::config::field::{Field, Kind, Section, Shown};
use crate::config::quantity::{ByteSize, Period};

pub(super) type Text = Option<Spanned<String>>;
pub(super) type Number = Option<Spanned<i64>>;
pub(super) type Bytes = Option<Spanned<ByteSize>>;
pub(super) type Time = Option<Spanned<Period>>;
pub(super) type List = Option<Vec<Spanned<String>>>;

/// `field: Kind = Shown "value as TOML"`, with its help as documentation; then the sections inside this one.
macro_rules! section {
    (
        $(#[doc = $head:literal])*
        $section:ident $path:literal {
            $($(#[doc = $help:literal])* $field:ident: $kind:ident = $shown:ident $value:literal,)*
            $(+ $inner:ident: $Inner:ident,)*
        }
    ) => {
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $section {
            $(pub(super) $field: $kind,)*
            $(#[serde(default)] pub(super) $inner: $Inner,)*
        }

        impl $section {
            pub(super) const SECTION: Section = Section {
                path: $path,
                head: &[$($head),*],
                fields: &[$(Field {
                    section: $path,
                    name: stringify!($field),
                    kind: Kind::$kind,
                    help: &[$($help),*],
                    shown: Shown::$shown,
                    value: $value,
                }),*],
            };

            /// What `over` says, and where it says nothing what this says.
            pub(super) fn overlay(self, over: Self) -> Self {
                Self {
                    $($field: over.$field.or(self.$field),)*
                    $($inner: self.$inner.overlay(over.$inner),)*
                }
            }
        }
    };
}

section! {
    /// /etc/quorate/quorate.toml: one node of Quorate. `quorate server --config FILE` reads it, and refuses unknown
    /// fields; `quorate config check FILE` only checks it, and `quorate config reference` prints this text.
    ///
    /// What is commented out shows the default, or an example where there is none. Relative paths are relative to this
    /// file. An environment variable overrides a field: QUORATE_SHARDS, and QUORATE_HTTP_DATA_MODE for mode under
    /// [http.data]. What a cluster must agree on (partitions, replicas, tables) is not here but in its layout.
    Server "" {
        /// The node's label in logs, metrics and status: 1 to 32 of a-z 0-9 -.
        name: Text = Required "\"n1\"",

        /// All that the node knows. One directory is one node's: never share it, never copy it to another.
        data_dir: Text = Required "\"/var/lib/quorate\"",

        /// The control endpoint (UDP). Shard i listens on port + 1 + i, so that a node takes 1 + shards ports in a row:
        /// 7400 and 7401 here. Open them to the other nodes and to clients.
        listen: Text = Required "\"10.0.0.1:7400\"",

        /// The address under which peers reach `listen`; that one, when not given. Needed when `listen` is 0.0.0.0 or
        /// [::], or behind address translation.
        advertise: Text = Example "\"10.0.0.1:7400\"",

        /// Threads that own partitions, 1 to 64. More use more cores; more than there are cores costs latency.
        shards: Number = Default "1",

        /// What an acknowledged write has survived: "sync" (an fsync, shared by the writes of that moment: power loss),
        /// "interval" (an fsync every so often) or "os" (the end of the process, not of the machine).
        durability: Text = Default "\"sync\"",

        /// With durability = "interval" only: "1ms" to "10s", "100ms" when not given.
        interval: Time = Example "\"100ms\"",

        /// Largest value that a client may put, up to 8 MiB. Larger ones make small requests wait longer.
        value_bytes_max: Bytes = Default "\"1 MiB\"",

        /// Answers that a read needs when the request does not say, 1 to 7. With `write_quorum` together more than the
        /// replicas of a partition, a read sees every acknowledged write.
        read_quorum: Number = Default "2",

        /// Copies that a write needs when the request does not say, 1 to 7. Fewer survive fewer failures.
        write_quorum: Number = Default "2",

        /// Time for a request that does not say, "1ms" to "60s".
        request_timeout: Time = Default "\"2s\"",

        + tls: Tls,
        + http: Http,
        + storage: Storage,
        + log: Log,
    }
}

section! {
    /// Who this node is: `quorate cert node n1` makes the files. There is no unencrypted mode. Changed files are taken
    /// within seconds, and at once on a reload (SIGHUP).
    Tls "tls" {
        /// The node's certificate.
        certificate: Text = Required "\"/etc/quorate/node.crt\"",

        /// Its key, mode 0600, owned by the user that the node runs as (quorate).
        key: Text = Required "\"/etc/quorate/node.key\"",

        /// The cluster's authority; two of them while one replaces the other.
        ca: Text = Required "\"/etc/quorate/ca.crt\"",

        /// Whom the authority has revoked: the list that `quorate cert revoke` makes. Nobody, when not given.
        crl: Text = Example "\"/etc/quorate/ca.crl\"",
    }
}

section! {
    /// Metrics (/metrics), health (/healthz, /readyz) and read-only status (/v1/cluster/status).
    Http "http" {
        /// It asks nobody who they are, so it is loopback, unless [http.data] mode is "tls".
        listen: Text = Default "\"127.0.0.1:7480\"",

        /// Names beyond localhost that a request's Host may have, without port.
        hosts: List = Default "[]",

        + data: Data,
    }
}

section! {
    /// Items over HTTP (/v1/kv/..). Each mode takes the one field of its own.
    Data "http.data" {
        /// "off", "loopback" (with a bearer token), "unix" (a socket, mode 0660) or "tls" (client certificates).
        mode: Text = Default "\"off\"",

        /// With mode = "loopback": a file with the token on its one line, mode 0600.
        token_file: Text = Example "\"/etc/quorate/http.token\"",

        /// With mode = "unix": where the socket is made.
        socket: Text = Example "\"/run/quorate/http.sock\"",

        /// With mode = "tls": a TCP address of its own.
        listen: Text = Example "\"10.0.0.1:7443\"",
    }
}

section! {
    /// Memory and threads of the disk.
    Storage "storage" {
        /// Memory for blocks that were read: more saves reads from the disk.
        block_cache: Bytes = Default "\"256 MiB\"",

        /// Memory for the items that were read or written last: a read that finds its item there costs a third.
        item_cache: Bytes = Default "\"64 MiB\"",

        /// Memory for writes that are not yet in files: more means fewer files, and a longer start after a power loss.
        write_buffers: Bytes = Default "\"256 MiB\"",

        /// Threads for reads that miss the cache, 1 to 64.
        read_threads: Number = Default "2",

        /// Disk for what is kept for one other node while that cannot be reached; further writes for it are refused.
        hint_bytes_max: Bytes = Default "\"1 GiB\"",

        /// Free space on the disk of data_dir below which new values and hints are refused (507, disk_full), and
        /// below half of which larger copies are; deletes and reads go on. 16 MiB or more; by default a fiftieth of
        /// the disk, at least 1 GiB, at most an eighth of the disk. Less leaves less for compaction, without which
        /// deletes free nothing; and a start has to write what was not flushed, so that a node whose reserve is below
        /// write_buffers may not come up again on a full disk.
        disk_reserve: Bytes = Example "\"1 GiB\"",
    }
}

section! {
    /// What is written to standard error. RUST_LOG wins over it.
    Log "log" {
        /// "error", "warn", "info" or "debug". A reload (SIGHUP) takes a new one at once.
        level: Text = Default "\"info\"",

        /// "text" for people, "json" for machines, "journal" for systemd's: text with a priority before each line.
        /// "auto" is text on a terminal, journal where standard error is the journal, and else json.
        format: Text = Default "\"auto\"",

        /// Requests of clients that take this long get a line that says where the time went, ten at once and then one a
        /// second for each shard: "1ms" to "60s", or "off". A reload (SIGHUP) takes a new one at once.
        slow_requests: Text = Default "\"500ms\"",
    }
}

/// All of them, in the order of the reference.
pub(super) const SECTIONS: [Section; 6] =
    [Server::SECTION, Tls::SECTION, Http::SECTION, Data::SECTION, Storage::SECTION, Log::SECTION];
