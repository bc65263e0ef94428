//! A configuration as it is in effect, field by field: to compare two of them, and to show one.

use std::path::Path;
use std::time::Duration;

use super::{Durability, HttpData, ServerConfig};

/// A field with its sections, and its value as TOML.
pub type Effective = (&'static str, String);

impl ServerConfig {
    /// Every field that has a value, in the order of the reference.
    #[must_use]
    pub fn effective(&self) -> Vec<Effective> {
        let (durability, interval) = match self.durability {
            Durability::Sync => ("sync", None),
            Durability::Interval(interval) => ("interval", Some(time(interval))),
            Durability::Os => ("os", None),
        };
        let (mode, token_file, socket, listen) = match &self.http.data {
            HttpData::Off => ("off", None, None, None),
            HttpData::Loopback { token_file } => ("loopback", Some(path(token_file)), None, None),
            HttpData::Unix { socket } => ("unix", None, Some(path(socket)), None),
            HttpData::Tls { listen } => ("tls", None, None, Some(text(listen))),
        };
        let hosts: Vec<String> = self.http.hosts.iter().map(text).collect();
        let fields = [
            ("name", Some(text(&self.name))),
            ("data_dir", Some(path(&self.data_dir))),
            ("listen", Some(text(&self.listen))),
            ("advertise", Some(text(&self.advertise))),
            ("shards", Some(self.shards.to_string())),
            ("durability", Some(text(&durability))),
            ("interval", interval),
            ("value_bytes_max", Some(self.value_bytes_max.to_string())),
            ("read_quorum", Some(self.read_quorum.to_string())),
            ("write_quorum", Some(self.write_quorum.to_string())),
            ("request_timeout", Some(time(self.request_timeout))),
            ("tls.certificate", Some(path(&self.tls.certificate))),
            ("tls.key", Some(path(&self.tls.key))),
            ("tls.ca", Some(path(&self.tls.ca))),
            ("tls.crl", self.tls.crl.as_ref().map(|list| path(list))),
            ("http.listen", Some(text(&self.http.listen))),
            ("http.hosts", Some(format!("[{}]", hosts.join(", ")))),
            ("http.data.mode", Some(text(&mode))),
            ("http.data.token_file", token_file),
            ("http.data.socket", socket),
            ("http.data.listen", listen),
            ("storage.block_cache", Some(text(&self.storage.block_cache))),
            ("storage.item_cache", Some(text(&self.storage.item_cache))),
            ("storage.write_buffers", Some(text(&self.storage.write_buffers))),
            ("storage.read_threads", Some(self.storage.read_threads.to_string())),
            ("storage.hint_bytes_max", Some(text(&self.storage.hint_bytes_max))),
            ("storage.disk_reserve", self.storage.disk_reserve.map(|bytes| text(&bytes))),
            ("log.level", Some(text(&self.log.level.as_str()))),
            ("log.format", Some(text(&self.log.format.as_str()))),
            ("log.slow_requests", Some(self.log.slow_requests.map_or_else(|| text(&"off"), time))),
        ];
        fields.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
    }

    /// The fields in which two configurations differ, in the order of the reference.
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (self.effective(), other.effective());
        let only = |some: &[Effective], others: &[Effective]| -> Vec<&'static str> {
            some.iter().filter(|field| !others.contains(field)).map(|(field, _)| *field).collect()
        };
        let mut fields = only(&ours, &theirs);
        let gone: Vec<_> = only(&theirs, &ours).into_iter().filter(|field| !fields.contains(field)).collect();
        fields.extend(gone);
        fields
    }
}

fn text(value: &impl ToString) -> String {
    toml::Value::String(value.to_string()).to_string()
}

fn path(path: &Path) -> String {
    text(&path.display())
}

fn time(time: Duration) -> String {
    text(&humantime::format_duration(time))
}
