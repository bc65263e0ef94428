//! Where the door listens: taken when the node starts, served later.
//!
//! Binding is apart from serving so that a port in use, a token file that others can read or a socket path that is
//! taken stop the start, with a text that says which and how to go on, before the node has done anything else.
//!
//! ```text
//!   data =            [http] listen                     second listener
//!   Off               health, status, metrics           -
//!   OpenLoopback      the same and data                 -
//!   Loopback          the same and data, with token     -
//!   Unix              health, status, metrics           unix socket, mode 0660: all
//!   Tls               health, status, metrics           TCP with client certificates: all
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guard::{Access, Guard};
use super::socket_file::SocketFile;
use super::token::{Token, TokenError};
use super::{DataAccess, Deadlines, DoorConfig, TlsSource};

/// Why the door cannot be opened. Nothing is left behind; whose fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "cannot open the HTTP door: the TCP port {address} ({field}) is in use; `ss -ltnp` names the program, maybe \
         another node: stop it, or choose another port in {field}"
    )]
    PortInUse {
        /// The address.
        address: SocketAddr,
        /// Where it is written down.
        field: &'static str,
    },
    /// Another reason of the system's.
    #[error(
        "cannot open the HTTP door: cannot listen on {address} ({field}): {source}; choose an address of this machine \
         in {field}, and a port from 1024"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Where it is written down.
        field: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An address that others can reach, without TLS.
    #[error(
        "cannot open the HTTP door: {0} ([http] listen) is not loopback, and this door asks nobody who they are; use \
         127.0.0.1, or mode = \"tls\" under [http.data]"
    )]
    NotLoopback(SocketAddr),
    /// The token file.
    #[error("cannot open the HTTP door: {0}")]
    Token(#[from] TokenError),
    /// A process listens at the socket.
    #[error(
        "cannot open the HTTP door: somebody listens at the socket {0}, maybe another node; stop it, or choose another \
         path in [http.data] socket",
        path.display()
    )]
    SocketInUse {
        /// The path.
        path: PathBuf,
    },
    /// A file that is no socket.
    #[error(
        "cannot open the HTTP door: {0} is there and is no socket, so it is left alone; move it away, or choose \
         another path in [http.data] socket",
        path.display()
    )]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// A path that the system cannot take.
    #[error(
        "cannot open the HTTP door: the socket path {} has {bytes} bytes; the limit is {limit}; choose a shorter one \
         in [http.data] socket",
        path.display()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Another reason of the system's.
    #[error(
        "cannot open the HTTP door: cannot make the socket {}: {source}; its directory must be there and be this \
         user's to write",
        path.display()
    )]
    Socket {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listener of one of three kinds.
#[derive(Debug)]
pub(super) enum Socket {
    /// Plain TCP, on loopback or for status only.
    Tcp(TcpListener),
    /// A unix socket, with its file.
    Unix(UnixListener, SocketFile),
    /// TCP with TLS.
    Tls(TcpListener, TlsSource),
}

/// A listener and its locks.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) socket: Socket,
    pub(super) guard: Guard,
}

/// The door, bound and not yet served: connections queue in the system.
#[derive(Debug)]
pub struct Listeners {
    pub(super) entrances: Vec<Entrance>,
    pub(super) request_timeout: Duration,
    pub(super) deadlines: Deadlines,
}

impl Listeners {
    /// Where `[http] listen` is: the port is known here even when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.entrances.iter().find_map(|entrance| match &entrance.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) | Socket::Tls(..) => None,
        })
    }

    /// Where data is served with TLS, when it is.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.entrances.iter().find_map(|entrance| match &entrance.socket {
            Socket::Tls(listener, _) => listener.local_addr().ok(),
            Socket::Tcp(_) | Socket::Unix(..) => None,
        })
    }
}

const LISTEN_FIELD: &str = "[http] listen";
const DATA_FIELD: &str = "[http.data] listen";

/// Takes the ports, the socket and the token. Needs no runtime and starts nothing.
///
/// # Errors
/// Which of them cannot be had, why, and the way out.
pub fn bind(config: &DoorConfig) -> Result<Listeners, BindError> {
    let needs_loopback = !matches!(config.data, DataAccess::Tls { .. });
    if needs_loopback && !config.listen.ip().is_loopback() {
        return Err(BindError::NotLoopback(config.listen));
    }
    let (access, second) = match &config.data {
        DataAccess::Off => (Access::Closed(closed_everywhere()), None),
        DataAccess::OpenLoopback => (Access::Open, None),
        DataAccess::Loopback { token_file } => (Access::Token(Token::read(token_file)?), None),
        DataAccess::Unix { socket } => {
            (Access::Closed(closed_here(&at_socket(socket))), Some(unix_entrance(config, socket)?))
        }
        DataAccess::Tls { listen, tls } => {
            (Access::Closed(closed_here(&at_tls(*listen))), Some(tls_entrance(config, *listen, tls)?))
        }
    };
    let listener = listen_tcp(config.listen, LISTEN_FIELD)?;
    let guard = Guard::new(&config.hosts, Some(config.listen.ip()), "http", access);
    let first = Entrance { socket: Socket::Tcp(listener), guard };
    let entrances = [first].into_iter().chain(second).collect();
    Ok(Listeners { entrances, request_timeout: config.request_timeout, deadlines: config.deadlines })
}

fn unix_entrance(config: &DoorConfig, path: &Path) -> Result<Entrance, BindError> {
    let (listener, file) = SocketFile::bind(path)?;
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    listener.set_nonblocking(true).map_err(failed)?;
    let guard = Guard::new(&config.hosts, None, "http", Access::Open);
    Ok(Entrance { socket: Socket::Unix(listener, file), guard })
}

fn tls_entrance(config: &DoorConfig, listen: SocketAddr, tls: &TlsSource) -> Result<Entrance, BindError> {
    let listener = listen_tcp(listen, DATA_FIELD)?;
    // The handshake lets nobody in without a certificate of this cluster; every role of it may use data.
    let guard = Guard::new(&config.hosts, Some(listen.ip()), "https", Access::Open);
    Ok(Entrance { socket: Socket::Tls(listener, tls.clone()), guard })
}

fn listen_tcp(address: SocketAddr, field: &'static str) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::PortInUse { address, field },
        _ => BindError::Listen { address, field, source },
    })
}

fn closed_everywhere() -> String {
    "data over HTTP is off; to open it set mode under [http.data] of the node's configuration to \"loopback\" (with a \
     token_file), \"unix\" or \"tls\", or use the command line or the Rust client"
        .to_owned()
}

fn closed_here(place: &str) -> String {
    format!("data is not served at this address, but {place}")
}

fn at_socket(path: &Path) -> String {
    format!("at the unix socket {0}: curl --unix-socket {0} http://localhost/v1/kv/..", path.display())
}

fn at_tls(listen: SocketAddr) -> String {
    format!("at https://{listen}, with a client certificate of the cluster")
}
