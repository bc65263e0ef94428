//! From the fields as they stand in the file to a [`ServerConfig`]: defaults, limits, and what must fit together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::raw::{self, Bytes, Text, Time};
use super::{
    BLOCK_CACHE_MIN, DISK_RESERVE_MIN, Durability, HttpConfig, HttpData, INTERVAL_MAX, LABEL_BYTES_MAX, LogConfig,
    LogFormat, LogLevel, MEMORY_MAX, READ_THREADS_MAX, SHARDS_MAX, ServerConfig, StorageConfig, TlsFiles,
    WRITE_BUFFERS_MIN, shard_port,
};
use crate::config::choice;
use crate::config::document::{ConfigError, Document};
use crate::config::quantity::ByteSize;
use crate::protocol::types::limits::{BUDGET_MS_MAX, REPLICAS_MAX, VALUE_BYTES_MAX, VALUE_BYTES_MAX_DEFAULT};

const INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const QUORUM_DEFAULT: u8 = 2;
/// Far above what a healthy cluster takes, and below what people wait for.
const SLOW_REQUESTS_DEFAULT: Duration = Duration::from_millis(500);
const MEMORY_DEFAULT: ByteSize = ByteSize::new(256 << 20);
const ITEM_CACHE_DEFAULT: ByteSize = ByteSize::new(64 << 20);
const ITEM_CACHE_MIN: ByteSize = ByteSize::new(1 << 20);
const HTTP_PORT_DEFAULT: u16 = 7480;
const HINTS_DEFAULT: ByteSize = ByteSize::new(1 << 30);
const HINTS_MIN: ByteSize = ByteSize::new(1 << 20);
const READ_THREADS_DEFAULT: usize = 2;
const MILLISECOND: Duration = Duration::from_millis(1);
/// Longest host name in DNS, bytes.
const HOST_BYTES_MAX: usize = 253;

pub(super) fn check(document: &Document) -> Result<ServerConfig, ConfigError> {
    let file = document.parse::<raw::Server>()?.overlay(document.parse_environment()?);
    let listen = document.require(file.listen, "listen", "listen = \"127.0.0.1:7400\"")?;
    let shards = document.within(file.shards.as_ref(), 1, 1..=SHARDS_MAX)?;
    let (listen, advertise) = addresses(document, &listen, file.advertise.as_ref(), shards)?;
    Ok(ServerConfig {
        name: label(document, &document.require(file.name, "name", "name = \"n1\"")?)?,
        data_dir: path(document, &document.require(file.data_dir, "data_dir", "data_dir = \"data\"")?)?,
        listen,
        advertise,
        shards,
        durability: durability(document, file.durability.as_ref(), &file.interval)?,
        value_bytes_max: value_bytes_max(document, &file.value_bytes_max)?,
        read_quorum: quorum(document, file.read_quorum.as_ref())?,
        write_quorum: quorum(document, file.write_quorum.as_ref())?,
        request_timeout: request_timeout(document, &file.request_timeout)?,
        tls: tls(document, file.tls)?,
        http: http(document, &file.http)?,
        storage: storage(document, &file.storage)?,
        log: log(document, &file.log)?,
    })
}

fn label(document: &Document, name: &Spanned<String>) -> Result<String, ConfigError> {
    let text = name.get_ref();
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=LABEL_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.clone());
    }
    Err(document.refuse(name.span(), format!("use 1 to {LABEL_BYTES_MAX} of a-z 0-9 -")))
}

fn path(document: &Document, path: &Spanned<String>) -> Result<PathBuf, ConfigError> {
    if path.get_ref().is_empty() {
        return Err(document.refuse(path.span(), "the path is empty; write one, relative to this file or from /"));
    }
    Ok(document.resolve(path.get_ref()))
}

fn address(document: &Document, text: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
    text.get_ref().parse().map_err(|_| {
        let form = "write IP:PORT, such as \"127.0.0.1:7400\" or \"[::1]:7400\"; host names are not looked up";
        document.refuse(text.span(), form)
    })
}

/// The control endpoint's two addresses: both with room for the shards' ports, the second one reachable.
fn addresses(
    document: &Document,
    listen_text: &Spanned<String>,
    advertise_text: Option<&Spanned<String>>,
    shards: u16,
) -> Result<(SocketAddr, SocketAddr), ConfigError> {
    let listen = address(document, listen_text)?;
    check_ports(document, listen_text, listen, shards)?;
    let Some(advertise_text) = advertise_text else {
        if listen.ip().is_unspecified() {
            let reason =
                "peers cannot dial this address; add advertise = \"IP:PORT\" with the address that they can reach";
            return Err(document.refuse(listen_text.span(), reason));
        }
        return Ok((listen, listen));
    };
    let advertise = address(document, advertise_text)?;
    check_ports(document, advertise_text, advertise, shards)?;
    if advertise.ip().is_unspecified() || advertise.ip().is_multicast() {
        let reason = "peers cannot dial this address; write the one address that they can reach";
        return Err(document.refuse(advertise_text.span(), reason));
    }
    Ok((listen, advertise))
}

fn check_ports(
    document: &Document,
    text: &Spanned<String>,
    address: SocketAddr,
    shards: u16,
) -> Result<(), ConfigError> {
    if address.port() == 0 {
        let reason = "port 0 would be another one after each start; write a fixed port, such as 7400";
        return Err(document.refuse(text.span(), reason));
    }
    if shard_port(address, shards - 1).is_none() {
        let highest = u16::MAX - shards;
        let reason = format!("{shards} shards take the ports after it, up to 65535; use a port up to {highest}");
        return Err(document.refuse(text.span(), reason));
    }
    Ok(())
}

fn durability(
    document: &Document,
    durability: Option<&Spanned<String>>,
    interval: &Time,
) -> Result<Durability, ConfigError> {
    let word = durability.map_or("sync", |word| word.get_ref().as_str());
    match (word, interval, durability) {
        ("interval", interval, _) => time(document, interval, INTERVAL_DEFAULT, INTERVAL_MAX).map(Durability::Interval),
        ("sync" | "os", Some(interval), _) => {
            let reason =
                format!("it has no effect with durability = \"{word}\"; write durability = \"interval\" or drop it");
            Err(document.refuse(interval.span(), reason))
        }
        ("os", None, _) => Ok(Durability::Os),
        ("sync", None, _) | (_, _, None) => Ok(Durability::Sync),
        (word, _, Some(text)) => Err(document.refuse(text.span(), choice::refusal(word, &["sync", "interval", "os"]))),
    }
}

/// A time from a millisecond to its limit, or its default.
pub(in crate::config) fn time(
    document: &Document,
    value: &Time,
    default: Duration,
    longest: Duration,
) -> Result<Duration, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    let found = value.get_ref().0;
    if (MILLISECOND..=longest).contains(&found) {
        return Ok(found);
    }
    let longest = humantime::format_duration(longest);
    Err(document.refuse(value.span(), format!("use \"1ms\" to \"{longest}\"")))
}

/// The time that a request may take, of a server or of a client.
pub(in crate::config) fn request_timeout(document: &Document, value: &Time) -> Result<Duration, ConfigError> {
    time(document, value, REQUEST_TIMEOUT_DEFAULT, Duration::from_millis(u64::from(BUDGET_MS_MAX)))
}

/// The answers that a request needs when it does not say.
fn quorum(document: &Document, value: Option<&Spanned<i64>>) -> Result<u8, ConfigError> {
    document.within(value, QUORUM_DEFAULT, 1..=replicas_max())
}

pub(in crate::config) fn replicas_max() -> u8 {
    u8::try_from(REPLICAS_MAX).unwrap_or(u8::MAX)
}

fn bytes(
    document: &Document,
    value: &Bytes,
    default: ByteSize,
    least: ByteSize,
    most: ByteSize,
) -> Result<ByteSize, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    if (least..=most).contains(value.get_ref()) {
        return Ok(*value.get_ref());
    }
    Err(document.refuse(value.span(), format!("use {least} to {most}")))
}

fn value_bytes_max(document: &Document, value: &Bytes) -> Result<usize, ConfigError> {
    let Some(value) = value else { return Ok(VALUE_BYTES_MAX_DEFAULT) };
    match usize::try_from(value.get_ref().as_bytes()) {
        Ok(bytes) if (1..=VALUE_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(document.refuse(value.span(), "use 1 B to 8 MiB; split larger values over several sort keys")),
    }
}

fn tls(document: &Document, tls: raw::Tls) -> Result<TlsFiles, ConfigError> {
    let file = |value: Text, field, example| path(document, &document.require(value, field, example)?);
    Ok(TlsFiles {
        certificate: file(tls.certificate, "tls.certificate", "certificate = \"n1.crt\"")?,
        key: file(tls.key, "tls.key", "key = \"n1.key\"")?,
        ca: file(tls.ca, "tls.ca", "ca = \"ca.crt\"")?,
        crl: tls.crl.map(|list| path(document, &list)).transpose()?,
    })
}

fn http(document: &Document, http: &raw::Http) -> Result<HttpConfig, ConfigError> {
    let listen = match &http.listen {
        Some(text) => address(document, text)?,
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT_DEFAULT)),
    };
    let data = http_data(document, &http.data, listen)?;
    if let Some(text) = &http.listen
        && !listen.ip().is_loopback()
        && !matches!(data, HttpData::Tls { .. })
    {
        let reason = "this door asks nobody who they are, so it must be loopback, such as \"127.0.0.1:7480\"; \
                      to open it wider set mode = \"tls\" under [http.data]";
        return Err(document.refuse(text.span(), reason));
    }
    let hosts = http.hosts.iter().flatten().map(|host| host_name(document, host)).collect::<Result<_, _>>()?;
    Ok(HttpConfig { listen, hosts, data })
}

fn host_name(document: &Document, host: &Spanned<String>) -> Result<String, ConfigError> {
    let name = host.get_ref().to_ascii_lowercase();
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fine = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=HOST_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed),
    };
    if fine {
        return Ok(name);
    }
    let reason = "write a bare host name without scheme and port, such as \"kv1.example.org\" or \"[fd00::1]\"";
    Err(document.refuse(host.span(), reason))
}

fn http_data(document: &Document, data: &raw::Data, http_listen: SocketAddr) -> Result<HttpData, ConfigError> {
    let mode = data.mode.as_ref().map_or("off", |mode| mode.get_ref().as_str());
    refuse_idle(document, data, mode)?;
    match (mode, &data.mode) {
        ("off", _) | (_, None) => Ok(HttpData::Off),
        ("loopback", Some(place)) => match &data.token_file {
            Some(file) => Ok(HttpData::Loopback { token_file: path(document, file)? }),
            None => Err(document.refuse(place.span(), "it needs a bearer token; add token_file = \"http.token\"")),
        },
        ("unix", Some(place)) => match &data.socket {
            Some(socket) => Ok(HttpData::Unix { socket: path(document, socket)? }),
            None => Err(document.refuse(place.span(), "it needs a path; add socket = \"/run/quorate/http.sock\"")),
        },
        ("tls", Some(place)) => match &data.listen {
            Some(text) => data_listen(document, text, http_listen),
            None => Err(document.refuse(place.span(), "it needs an address; add listen = \"10.0.0.1:7443\"")),
        },
        (word, Some(place)) => {
            Err(document.refuse(place.span(), choice::refusal(word, &["off", "loopback", "unix", "tls"])))
        }
    }
}

fn data_listen(document: &Document, text: &Spanned<String>, taken: SocketAddr) -> Result<HttpData, ConfigError> {
    let listen = address(document, text)?;
    if listen == taken {
        let reason = "[http] listen has this address already; use another port";
        return Err(document.refuse(text.span(), reason));
    }
    Ok(HttpData::Tls { listen })
}

/// Refuses a field of another mode: whoever wrote it believes that it protects something.
fn refuse_idle(document: &Document, data: &raw::Data, mode: &str) -> Result<(), ConfigError> {
    let fields = [("loopback", &data.token_file), ("unix", &data.socket), ("tls", &data.listen)];
    for (owner, field) in fields {
        if let Some(field) = field
            && owner != mode
            && matches!(mode, "off" | "loopback" | "unix" | "tls")
        {
            let reason = format!("it has no effect with mode = \"{mode}\"; set mode = \"{owner}\" or drop it");
            return Err(document.refuse(field.span(), reason));
        }
    }
    Ok(())
}

fn storage(document: &Document, storage: &raw::Storage) -> Result<StorageConfig, ConfigError> {
    Ok(StorageConfig {
        block_cache: bytes(document, &storage.block_cache, MEMORY_DEFAULT, BLOCK_CACHE_MIN, MEMORY_MAX)?,
        item_cache: bytes(document, &storage.item_cache, ITEM_CACHE_DEFAULT, ITEM_CACHE_MIN, MEMORY_MAX)?,
        write_buffers: bytes(document, &storage.write_buffers, MEMORY_DEFAULT, WRITE_BUFFERS_MIN, MEMORY_MAX)?,
        read_threads: document.within(storage.read_threads.as_ref(), READ_THREADS_DEFAULT, 1..=READ_THREADS_MAX)?,
        hint_bytes_max: bytes(document, &storage.hint_bytes_max, HINTS_DEFAULT, HINTS_MIN, MEMORY_MAX)?,
        disk_reserve: match storage.disk_reserve {
            None => None,
            Some(_) => Some(bytes(document, &storage.disk_reserve, DISK_RESERVE_MIN, DISK_RESERVE_MIN, MEMORY_MAX)?),
        },
    })
}

fn log(document: &Document, log: &raw::Log) -> Result<LogConfig, ConfigError> {
    let levels =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    let formats = [LogFormat::Auto, LogFormat::Text, LogFormat::Json, LogFormat::Journal];
    let formats = formats.map(|format| (format.as_str(), format));
    Ok(LogConfig {
        level: one_of(document, log.level.as_ref(), LogLevel::Info, &levels)?,
        format: one_of(document, log.format.as_ref(), LogFormat::Auto, &formats)?,
        slow_requests: slow_requests(document, log.slow_requests.as_ref())?,
    })
}

/// A time, or a word for none.
fn slow_requests(document: &Document, value: Option<&Spanned<String>>) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = value else { return Ok(Some(SLOW_REQUESTS_DEFAULT)) };
    if matches!(value.get_ref().as_str(), "off" | "0") {
        return Ok(None);
    }
    let longest = Duration::from_millis(u64::from(BUDGET_MS_MAX));
    match humantime::parse_duration(value.get_ref()) {
        Ok(found) if (MILLISECOND..=longest).contains(&found) => Ok(Some(found)),
        Ok(found) if found.is_zero() => Ok(None),
        _ => Err(document.refuse(value.span(), "use \"1ms\" to \"1m\", such as \"500ms\", or \"off\"")),
    }
}

fn one_of<T: Copy>(
    document: &Document,
    value: Option<&Spanned<String>>,
    default: T,
    known: &[(&str, T)],
) -> Result<T, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    let word = value.get_ref();
    let words: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let found = known.iter().find(|(name, _)| name == word).map(|(_, choice)| *choice);
    found.ok_or_else(|| document.refuse(value.span(), choice::refusal(word, &words)))
}
