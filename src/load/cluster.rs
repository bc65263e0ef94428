//! A local cluster: server processes of this program on this machine, with which nothing else interferes.
//!
//! ```text
//!   DIR/quorate-bench-1f2e../     0700, made at the start, removed at the end
//!     ca n1 n2 n3 client admin    certificates and keys
//!     n1.toml  n1/  n1.log        configuration, data, what the node printed
//!     client.toml                 a profile, for other client processes
//! ```
//!
//! It is real in everything but distance: processes that are killed with `kill -9`, mutual TLS, QUIC over the loopback
//! device, RocksDB on the disk under `DIR`. What it cannot show is a network's latency and loss, and the servers share
//! the cores with whoever asks them.
//!
//! Dropped, it kills the processes and removes the files. *Caveat.* A harness that is itself killed with `kill -9` can
//! do neither: its servers go on, each with `quorate-bench-` in its command line.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::watch::Watched;
use crate::client::{Client, ClientError, ClientOptions, Control};
use crate::config::server::TlsFiles;
use crate::config::{ConfigError, Profile};
use crate::pki::authority::{AUTHORITY_LIFETIME, CERTIFICATE_FILE, LEAF_LIFETIME, random_cluster, random_node};
use crate::pki::{Authority, AuthorityError, Credentials, CredentialsError, Moment, Role};
use crate::protocol::ring::{Layout, LayoutError, Member, Parameters, Roster, RosterError};
use crate::protocol::types::{Address, AddressError};
use crate::protocol::version::{TokenKey, TokenKeys};
use crate::protocol::wire::Creation;
use ports::Ports;
use server::Server;

mod ports;
mod server;

/// What local clusters differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Where the cluster's own directory is made: the disk that is measured. Default: the system's temporary directory.
    pub dir: Option<PathBuf>,
    /// The program that serves. Default: this one.
    pub server: Option<PathBuf>,
    /// `sync`, `interval` or `os`.
    pub durability: String,
    /// Processes.
    pub nodes: u16,
    /// Shards of each.
    pub shards: u16,
    /// Partitions.
    pub partitions: u32,
    /// Copies of an item.
    pub replicas: u8,
    /// Answers that a read waits for.
    pub read_quorum: u8,
    /// Copies that a write waits for.
    pub write_quorum: u8,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            dir: None,
            server: None,
            durability: "os".to_owned(),
            nodes: 3,
            shards: 1,
            partitions: 64,
            replicas: 3,
            read_quorum: 2,
            write_quorum: 2,
        }
    }
}

/// What can be done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `kill -9`.
    Kill,
    /// Started again, with the data it had.
    Restart,
    /// SIGSTOP: it does nothing, and its connections stay.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

impl Act {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Continue => "cont",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Restart => "restarted",
            Self::Stop => "stopped",
            Self::Continue => "continued",
        }
    }
}

/// Why there is no local cluster, or why something could not be done to it. What was started is ended.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Options out of their bounds. Whose fault: the caller's.
    #[error("{0}")]
    Options(String),
    /// All blocks of ports are taken.
    #[error("no hundred ports in a row are free among 20000 to 32000 of 127.0.0.1; end what uses them (`ss -lun`)")]
    Ports,
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("no entropy for names and keys: {0}")]
    Entropy(String),
    /// The certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificates, once made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ConfigError),
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The first item's address: a mistake of ours.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The program cannot be run.
    #[error("{} cannot be started: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A node has ended by itself.
    #[error("{node} has ended by itself ({how}); it said: {log}")]
    Ended {
        /// Which.
        node: String,
        /// Exit code or signal.
        how: String,
        /// The end of its log.
        log: String,
    },
    /// The nodes did not become a cluster in time.
    #[error("the local cluster did not serve within {} s: {last}; {log}", within.as_secs())]
    NotServing {
        /// The limit.
        within: Duration,
        /// What the last attempt met.
        last: String,
        /// What the nodes said.
        log: String,
    },
    /// A node that there is not.
    #[error("there is no node {node:?} in the local cluster; its nodes are {known}")]
    NoNode {
        /// As asked.
        node: String,
        /// Those that there are.
        known: String,
    },
    /// Something that its state does not allow. Whose fault: the caller's.
    #[error("{node} cannot be {what}: {state}")]
    Order {
        /// Which.
        node: String,
        /// What was asked.
        what: &'static str,
        /// Why not.
        state: &'static str,
    },
    /// A signal that did not go out.
    #[error("{node} cannot be signalled: {source}")]
    Signal {
        /// Which.
        node: String,
        /// Why not.
        source: io::Error,
    },
}

/// How long the nodes may take to start and to find each other: ten times what two busy cores take.
const SERVING_WITHIN: Duration = Duration::from_secs(40);
/// Between two attempts.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(2);

/// A running local cluster. Fields are dropped in this order: processes, files, ports.
#[derive(Debug)]
pub struct LocalCluster {
    servers: Vec<Server>,
    dir: OwnDirectory,
    addresses: Vec<SocketAddr>,
    client: Credentials,
    admin: Credentials,
    _ports: Ports,
}

impl LocalCluster {
    /// Starts the nodes, makes them a cluster, and returns when every node stores a copy of a write.
    pub async fn start(options: &LocalOptions) -> Result<Self, LocalError> {
        let mut cluster = Self::prepare(options)?;
        for server in &mut cluster.servers {
            server.start()?;
        }
        cluster.create(options).await?;
        cluster.wait_until_serving(options).await?;
        Ok(cluster)
    }

    /// For clients, with the cluster's own quorums.
    #[must_use]
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions::new(self.addresses.clone(), self.client.clone())
    }

    /// The profile of a client, for other processes.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.dir.0.join(PROFILE_FILE)
    }

    /// The nodes' names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.servers.iter().map(|server| server.name.as_str()).collect()
    }

    /// The processes that run.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        self.servers.iter().filter_map(watched).collect()
    }

    /// Does something to a node; its process, when that is a new one.
    pub fn act(&mut self, node: &str, act: Act) -> Result<Option<Watched>, LocalError> {
        let known = self.names().join(", ");
        let server = self.servers.iter_mut().find(|server| server.name == node);
        let server = server.ok_or_else(|| LocalError::NoNode { node: node.to_owned(), known })?;
        server.act(act)?;
        Ok((act == Act::Restart).then(|| watched(server)).flatten())
    }

    /// An error, when a node has ended by itself.
    pub fn check(&mut self) -> Result<(), LocalError> {
        self.servers.iter_mut().try_for_each(Server::check)
    }

    /// Everything but processes.
    fn prepare(options: &LocalOptions) -> Result<Self, LocalError> {
        check_options(options)?;
        let program = match &options.server {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(|source| LocalError::file("this program", source))?,
        };
        let ports = Ports::take().ok_or(LocalError::Ports)?;
        let dir = OwnDirectory::make(options.dir.as_deref())?;
        let now = Moment::now();
        let authority = Authority::create(&dir.0, random_cluster()?, AUTHORITY_LIFETIME, now)?;
        let (mut servers, mut addresses) = (Vec::new(), Vec::new());
        for number in 0..options.nodes {
            let name = format!("n{}", number + 1);
            let role = Role::Node(random_node()?);
            authority.issue(&name, role, LEAF_LIFETIME, now)?.write(&dir.0, &name)?;
            let (control, http) = (ports.control(number), ports.http(number));
            dir.write(&format!("{name}.toml"), &configuration(options, &name, control, http))?;
            servers.push(Server::new(&name, &program, &dir.0));
            addresses.push(control);
        }
        let client = credentials(&authority, &dir, "client", Role::Client("bench".to_owned()))?;
        let admin = credentials(&authority, &dir, "admin", Role::Admin("bench".to_owned()))?;
        profile(&dir, &addresses).write(&dir.0.join(PROFILE_FILE))?;
        Ok(Self { servers, dir, addresses, client, admin, _ports: ports })
    }

    /// Makes the nodes a cluster.
    async fn create(&mut self, options: &LocalOptions) -> Result<(), LocalError> {
        let began = Instant::now();
        let mut controls = Vec::new();
        for index in 0..self.addresses.len() {
            controls.push(self.dial(index, began).await?);
        }
        let mut members = Vec::new();
        for (server, control) in self.servers.iter().zip(&controls) {
            let id = control.node().ok_or_else(|| LocalError::Options(format!("{} is no node", server.name)))?;
            let (name, address) = (server.name.clone(), control.address());
            members.push(Member { id, name, zone: String::new(), weight: 100, address });
        }
        let roster = Roster::new(members)?;
        let parameters =
            Parameters { partitions: options.partitions, replicas: options.replicas, hash_seed: entropy()? };
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| LocalError::Entropy(error.to_string()))?;
        let creation = Creation {
            cluster: self.admin.cluster(),
            layout: Layout::first(&roster, parameters)?.id(),
            roster,
            parameters,
            token_keys: TokenKeys { current: TokenKey::new(1, key), previous: None },
            tables: Vec::new(),
        };
        for control in controls {
            let created = control.create(&creation).await;
            created.map_err(|error| self.not_serving(&error))?;
            control.close().await;
        }
        Ok(())
    }

    /// A control session with a node that may still be starting.
    async fn dial(&mut self, index: usize, began: Instant) -> Result<Control, LocalError> {
        loop {
            self.check()?;
            let address = self.addresses.get(index).copied().ok_or(LocalError::Ports)?;
            match Control::dial(&self.admin, address, ATTEMPT).await {
                Ok(control) => return Ok(control),
                Err(error) if began.elapsed() > SERVING_WITHIN => return Err(self.not_serving(&error)),
                Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
    }

    /// Returns when all nodes have stored one write.
    async fn wait_until_serving(&mut self, options: &LocalOptions) -> Result<(), LocalError> {
        let began = Instant::now();
        // Of a table of its own: an attempt that fails here may still surface, as its error says.
        let probe = Address::new("probe".into(), "ready".into(), "".into())?;
        let connected = Client::connect(self.client_options()).await;
        let client = connected.map_err(|error| self.not_serving(&error))?;
        loop {
            self.check()?;
            match client.put(probe.clone(), "first").w(options.replicas).send().await {
                Ok(_) => break,
                Err(error) if began.elapsed() > SERVING_WITHIN => return Err(self.not_serving(&error)),
                Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
        client.close().await;
        Ok(())
    }

    fn not_serving(&self, last: &ClientError) -> LocalError {
        let said = self.servers.iter().map(|server| format!("{} said {:?}", server.name, server.last_words()));
        let log = said.collect::<Vec<_>>().join(", ");
        LocalError::NotServing { within: SERVING_WITHIN, last: last.to_string(), log }
    }
}

impl LocalError {
    fn file(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::File { path: path.as_ref().to_owned(), source }
    }
}

const PROFILE_FILE: &str = "client.toml";

fn check_options(options: &LocalOptions) -> Result<(), LocalError> {
    let LocalOptions { nodes, replicas, read_quorum, write_quorum, .. } = options;
    if !(1..=ports::NODES_MAX).contains(nodes) {
        return Err(LocalError::Options(format!("a local cluster has 1 to {} nodes, not {nodes}", ports::NODES_MAX)));
    }
    for (what, count, most) in [
        ("copies (N)", replicas, u64::from(*nodes)),
        ("answers of a read (R)", read_quorum, u64::from(*replicas)),
        ("copies of a write (W)", write_quorum, u64::from(*replicas)),
    ] {
        if !(1..=most).contains(&u64::from(*count)) {
            return Err(LocalError::Options(format!("{what}: {count} is not between 1 and {most}")));
        }
    }
    Ok(())
}

fn configuration(options: &LocalOptions, name: &str, control: SocketAddr, http: SocketAddr) -> String {
    let LocalOptions { durability, shards, read_quorum, write_quorum, .. } = options;
    format!(
        "name = \"{name}\"\ndata_dir = \"{name}\"\nlisten = \"{control}\"\nshards = {shards}\n\
         durability = \"{durability}\"\nread_quorum = {read_quorum}\nwrite_quorum = {write_quorum}\n\
         [tls]\ncertificate = \"{name}.crt\"\nkey = \"{name}.key\"\nca = \"{CERTIFICATE_FILE}\"\n\
         [http]\nlisten = \"{http}\"\n[storage]\ndisk_reserve = \"64 MiB\"\n[log]\nlevel = \"error\"\n"
    )
}

/// Somebody's credentials, whose files are left for other processes.
fn credentials(authority: &Authority, dir: &OwnDirectory, name: &str, role: Role) -> Result<Credentials, LocalError> {
    let leaf = authority.issue(name, role, LEAF_LIFETIME, Moment::now())?;
    leaf.write(&dir.0, name)?;
    Ok(Credentials::from_leaf(authority, &leaf, Moment::now())?)
}

fn profile(dir: &OwnDirectory, addresses: &[SocketAddr]) -> Profile {
    let file = |name: &str| dir.0.join(name);
    let tls =
        TlsFiles { certificate: file("client.crt"), key: file("client.key"), ca: file(CERTIFICATE_FILE), crl: None };
    Profile {
        nodes: addresses.to_vec(),
        tls,
        read_quorum: None,
        write_quorum: None,
        timeout: crate::client::REQUEST_TIMEOUT,
        http: Vec::new(),
    }
}

fn watched(server: &Server) -> Option<Watched> {
    server.pid().map(|pid| Watched { name: server.name.clone(), pid, is_server: true })
}

fn entropy() -> Result<u64, LocalError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| LocalError::Entropy(error.to_string()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// A directory that nobody had before and that goes when it is dropped.
#[derive(Debug)]
pub(super) struct OwnDirectory(PathBuf);

impl OwnDirectory {
    /// Makes one inside another, which is made when it is missing.
    pub(super) fn make(parent: Option<&Path>) -> Result<Self, LocalError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        fs::create_dir_all(&parent).map_err(|source| LocalError::file(&parent, source))?;
        let parent = fs::canonicalize(&parent).map_err(|source| LocalError::file(&parent, source))?;
        let path = parent.join(format!("quorate-bench-{:016x}", entropy()?));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|source| LocalError::file(&path, source))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) -> Result<(), LocalError> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|source| LocalError::file(&path, source))
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary directory was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_name_the_bounds() {
        let refused = |change: fn(&mut LocalOptions)| {
            let mut options = LocalOptions::default();
            change(&mut options);
            check_options(&options).map_err(|error| error.to_string())
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|options| options.nodes = 9).unwrap_err(), "a local cluster has 1 to 7 nodes, not 9");
        assert_eq!(refused(|options| options.replicas = 4).unwrap_err(), "copies (N): 4 is not between 1 and 3");
        let error = refused(|options| options.write_quorum = 0).unwrap_err();
        assert_eq!(error, "copies of a write (W): 0 is not between 1 and 3");
    }

    #[test]
    fn directory_of_its_own_is_private_and_goes_with_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = OwnDirectory::make(None).unwrap();
        let path = dir.0.clone();
        dir.write("a", "text").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(dir);
        assert!(!path.exists());
    }
}
