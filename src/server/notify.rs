//! Telling systemd: lines of `NAME=value`, a datagram at a time, to the socket that `NOTIFY_SOCKET` names.
//!
//! The protocol is `sd_notify(3)`; it needs a socket and no library. A node that nobody supervises has no
//! `NOTIFY_SOCKET`, and nothing is sent.

use std::ffi::{OsStr, OsString};
use std::fmt::{Display, Write as _};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Longest STATUS, characters: it is one line of `systemctl status`.
const STATUS_CHARACTERS_MAX: usize = 240;

/// Why there is nobody to tell although somebody asked for it. The node runs all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotifyError {
    /// Neither a path nor an abstract name.
    #[error("NOTIFY_SOCKET={} is neither a path from / nor an abstract name after @; nobody is told", .0.display())]
    Address(OsString),
    /// No socket to send from, or none to send to.
    #[error("NOTIFY_SOCKET={}: {source}; nobody is told", address.display())]
    Socket {
        /// Where to.
        address: OsString,
        /// Why not.
        source: io::Error,
    },
}

/// Where notifications go.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// The socket that `NOTIFY_SOCKET` names: a path, or an abstract name after `@`.
    pub(crate) fn new(address: &OsStr) -> Result<Self, NotifyError> {
        let failed = |source| NotifyError::Socket { address: address.to_owned(), source };
        let target = match address.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(Path::new(address)),
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => return Err(NotifyError::Address(address.to_owned())),
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        // A receiver that does not read must not hold the node: what does not fit is dropped, and said again later.
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket, address: target.map_err(failed)? })
    }

    /// Sends one notification. What cannot be sent is logged: nothing in the node waits for systemd.
    pub(crate) fn send(&self, notification: &Notification) {
        if let Err(error) = self.socket.send_to_addr(notification.0.as_bytes(), &self.address) {
            tracing::warn!(%error, notification = %notification.0.replace('\n', " "), "systemd was not told");
        }
    }
}

/// What one datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notification(String);

impl Notification {
    /// The start, or a reload, is complete.
    pub(crate) fn ready() -> Self {
        Self("READY=1".to_owned())
    }

    /// A reload has begun. systemd 253 and later compare the time with that of their signal.
    pub(crate) fn reloading() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000))
    }

    /// The node is stopping.
    pub(crate) fn stopping() -> Self {
        Self("STOPPING=1".to_owned())
    }

    /// Everything turns.
    pub(crate) fn watchdog() -> Self {
        Self("WATCHDOG=1".to_owned())
    }

    /// A word for `systemctl status`.
    pub(crate) fn status(words: &dyn Display) -> Self {
        Self(String::new()).with_status(words)
    }

    /// The same with a word for `systemctl status`, on one line.
    pub(crate) fn with_status(self, words: &dyn Display) -> Self {
        let line: String = words
            .to_string()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(STATUS_CHARACTERS_MAX)
            .collect();
        self.with("STATUS", &line)
    }

    /// The same, asking for more time to start or to stop.
    pub(crate) fn with_more_time(self, time: Duration) -> Self {
        self.with("EXTEND_TIMEOUT_USEC", &time.as_micros())
    }

    fn with(mut self, name: &str, value: &dyn Display) -> Self {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        write!(self.0, "{name}={value}").expect("a String takes all that is written to it");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_lines_and_a_status_is_one() {
        let notification = Notification::ready().with_status(&"two\nlines").with_more_time(Duration::from_secs(2));
        assert_eq!(notification.0, "READY=1\nSTATUS=two lines\nEXTEND_TIMEOUT_USEC=2000000");
        let long = Notification::status(&"x".repeat(1000)).0;
        assert_eq!(long.len(), "STATUS=".len() + STATUS_CHARACTERS_MAX);
        assert!(Notification::reloading().0.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn path_and_abstract_socket_are_reached_and_other_words_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("quorate-notify-{}", std::process::id());
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
                OsString::from(format!("@{name}")),
            ),
        ];
        for (socket, address) in sockets {
            Notifier::new(&address).unwrap().send(&Notification::watchdog());
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"WATCHDOG=1", "{}", address.display());
        }
        assert!(matches!(Notifier::new(OsStr::new("vsock:2:1")), Err(NotifyError::Address(_))));
    }
}
