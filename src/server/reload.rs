//! A reload: what a running node takes from its configuration on SIGHUP.
//!
//! Whoever can change while the node runs subscribes, with the fields that it looks at. On SIGHUP the file and the
//! environment are read and checked as at a start, and every subscriber is handed the result. A configuration that is
//! refused changes nothing; so does a subscriber that refuses its part. Fields that nobody looks at are named: they
//! wait for a restart.

use crate::config::{ConfigError, ServerConfig};

/// What a subscriber made of a configuration: a word on what is different now, nothing, or why it keeps what it had.
pub type Taken = Result<Option<String>, String>;

type Read = Box<dyn FnMut() -> Result<ServerConfig, ConfigError>>;
type Take = Box<dyn FnMut(&ServerConfig) -> Taken>;

/// Where a configuration comes from, and who takes it.
pub struct Reloads {
    started_with: ServerConfig,
    read: Read,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    name: &'static str,
    fields: &'static [&'static str],
    take: Take,
}

impl std::fmt::Debug for Reloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.subscribers.iter().map(|subscriber| subscriber.name).collect();
        f.debug_struct("Reloads").field("subscribers", &names).finish_non_exhaustive()
    }
}

impl Reloads {
    /// Of a node that was started with this configuration; `read` reads it again.
    pub fn new(started_with: ServerConfig, read: impl FnMut() -> Result<ServerConfig, ConfigError> + 'static) -> Self {
        Self { started_with, read: Box::new(read), subscribers: Vec::new() }
    }

    /// Somebody who changes while the node runs. `fields` are those that it looks at, as `log.level`; a subscriber is
    /// called at every reload, also when they are what they were: a file that they name may have changed.
    pub fn subscribe(
        &mut self,
        name: &'static str,
        fields: &'static [&'static str],
        take: impl FnMut(&ServerConfig) -> Taken + 'static,
    ) {
        self.subscribers.push(Subscriber { name, fields, take: Box::new(take) });
    }

    /// Reloads, and says in a line what came of it.
    pub(crate) fn carry_out(&mut self) -> String {
        let config = match (self.read)() {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "reload refused; everything stays as it is");
                return format!("reload refused, everything stays as it is: {error}");
            }
        };
        let mut report = Vec::new();
        for subscriber in &mut self.subscribers {
            let name = subscriber.name;
            match (subscriber.take)(&config) {
                Ok(None) => {}
                Ok(Some(words)) => {
                    tracing::info!("reloaded: {name}: {words}");
                    report.push(format!("{name}: {words}"));
                }
                Err(reason) => {
                    tracing::error!("reload: {name} stays as it is: {reason}");
                    report.push(format!("{name} stays as it is: {reason}"));
                }
            }
        }
        let looked_at = |field: &&str| self.subscribers.iter().any(|subscriber| subscriber.fields.contains(field));
        let waiting: Vec<_> = config.differs_in(&self.started_with).into_iter().filter(|f| !looked_at(f)).collect();
        if !waiting.is_empty() {
            let fields = waiting.join(", ");
            tracing::warn!(fields, "reload: these fields have changed and wait for a restart");
            report.push(format!("changed and waiting for a restart: {fields}"));
        }
        if report.is_empty() {
            "reloaded: nothing has changed".to_owned()
        } else {
            format!("reloaded: {}", report.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;

    use super::*;

    const FILE: &str = "name = \"n1\"\ndata_dir = \"d\"\nlisten = \"127.0.0.1:7400\"\nshards = 1\n\
                        [tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n[log]\nlevel = \"info\"\n";

    fn parse(text: &str) -> Result<ServerConfig, ConfigError> {
        ServerConfig::parse(Path::new("/etc/quorate/quorate.toml"), text)
    }

    /// A reload whose file is this text by now, with a subscriber to the log's level that refuses "debug".
    fn reload(text: &'static str) -> (String, usize) {
        let calls = Rc::new(RefCell::new(0));
        let counted = Rc::clone(&calls);
        let mut reloads = Reloads::new(parse(FILE).unwrap(), move || parse(text));
        reloads.subscribe("log level", &["log.level"], move |config| {
            *counted.borrow_mut() += 1;
            match config.log.level.as_str() {
                "info" => Ok(None),
                "debug" => Err("too much".to_owned()),
                level => Ok(Some(level.to_owned())),
            }
        });
        (reloads.carry_out(), calls.take())
    }

    #[test]
    fn subscribers_take_their_fields_and_the_others_wait() {
        assert_eq!(reload(FILE), ("reloaded: nothing has changed".to_owned(), 1));
        let changed = FILE.replace("info", "warn").replace("shards = 1", "shards = 2").leak();
        let expected = "reloaded: log level: warn; changed and waiting for a restart: shards";
        assert_eq!(reload(changed), (expected.to_owned(), 1));
        let refused = FILE.replace("info", "debug").leak();
        assert_eq!(reload(refused), ("reloaded: log level stays as it is: too much".to_owned(), 1));
    }

    #[test]
    fn configuration_that_is_refused_reaches_nobody() {
        let (report, calls) = reload(FILE.replace("shards = 1", "shards = 99").leak());
        assert_eq!(calls, 0);
        assert!(report.starts_with("reload refused, everything stays as it is: /etc/quorate/quorate.toml:4: shards"));
    }
}
