//! `quorate dev`: a cluster of three nodes in one process, with real QUIC and real certificates between them.
//!
//! ```text
//!   DIR/certs/   ca, n1 n2 n3, client, admin      made once
//!   DIR/n1 n2 n3 data directories                 kept between runs
//!   DIR/client.toml, admin.toml                   profiles for the command line
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::node::{Node, NodeError, NodeOptions};
use super::phase::Phases;
use crate::config::server::TlsFiles;
use crate::config::{ConfigError, Profile, ServerConfig};
use crate::pki::authority::{AUTHORITY_LIFETIME, CERTIFICATE_FILE, LEAF_LIFETIME, random_cluster, random_node};
use crate::pki::{Authority, AuthorityError, Moment, Role};
use crate::protocol::ring::{Layout, LayoutError, Member, Parameters, Roster, RosterError};
use crate::protocol::types::NodeId;
use crate::protocol::version::{TokenKey, TokenKeys};
use crate::protocol::wire::{Creation, Failure};

/// Nodes of a development cluster.
pub const NODES: u16 = 3;
/// Control port of node i is `base + 10 * i`; its shards follow it.
const PORT_STEP: u16 = 10;
/// HTTP port of node i is `base + 80 + i`.
const HTTP_OFFSET: u16 = 80;
/// How long the nodes may take to find each other.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// How to run a development cluster.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where certificates, data and profiles are.
    pub dir: PathBuf,
    /// The first control port.
    pub base_port: u16,
    /// Shards of each node.
    pub shards: u16,
    /// `sync`, `interval` or `os`.
    pub durability: String,
}

/// What a development cluster is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCluster {
    /// The profile of a client.
    pub profile: PathBuf,
    /// The profile of an administrator.
    pub admin_profile: PathBuf,
    /// Control addresses.
    pub nodes: Vec<SocketAddr>,
    /// HTTP addresses.
    pub http: Vec<SocketAddr>,
    /// The directory had a cluster from an earlier run.
    pub kept: bool,
}

/// A development cluster did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A port number beyond 65,535.
    #[error("base port {0} leaves no room for the ports of three nodes; use 1024 to 65400")]
    Port(u16),
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A profile or a node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A node.
    #[error("node {name}: {source}")]
    Node {
        /// Which.
        name: String,
        /// Why not.
        source: Box<NodeError>,
    },
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The creation of the cluster.
    #[error("the cluster was not created: {0}")]
    Create(Failure),
    /// The nodes did not find each other.
    #[error("the nodes did not connect within {} s; `quorate status` shows what each of them sees", .0.as_secs())]
    NotConnected(Duration),
}

impl DevError {
    fn node(name: String, source: NodeError) -> Self {
        Self::Node { name, source: Box::new(source) }
    }

    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// Runs a development cluster until Ctrl-C or SIGTERM; `ready` is called once it takes requests.
pub fn run(options: &DevOptions, ready: impl FnOnce(&DevCluster)) -> Result<(), DevError> {
    if options.base_port < 1024 || options.base_port > 65_400 {
        return Err(DevError::Port(options.base_port));
    }
    let certs = options.dir.join("certs");
    let kept = options.dir.join("n1").exists();
    fs::create_dir_all(&certs).map_err(|source| DevError::file(&certs, source))?;
    make_certificates(&certs)?;
    let cluster = write_profiles(options, &certs, kept)?;
    let mut nodes = Vec::new();
    let started = start_all(options, &certs, &mut nodes).and_then(|()| create(options, &nodes)).and_then(|()| {
        wait_until_connected(&nodes)?;
        ready(&cluster);
        super::run::wait_for_stop(&nodes).map_err(|source| DevError::node("dev".to_owned(), source))
    });
    nodes.iter().for_each(Node::stop);
    let mut ended = started;
    for (at, node) in (1..).zip(nodes) {
        let joined = node.join().map_err(|source| DevError::node(format!("n{at}"), source));
        ended = ended.and(joined);
    }
    ended
}

fn start_all(options: &DevOptions, certs: &Path, nodes: &mut Vec<Node>) -> Result<(), DevError> {
    for at in 0..NODES {
        let name = name(at);
        let config = node_config(options, certs, at)?;
        let options = NodeOptions { config, open_http: true, accept_loss: false, phases: Phases::default() };
        nodes.push(Node::start(options).map_err(|source| DevError::node(name, source))?);
    }
    Ok(())
}

fn name(at: u16) -> String {
    format!("n{}", at + 1)
}

fn control_address(options: &DevOptions, at: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, options.base_port + at * PORT_STEP).into()
}

fn http_address(options: &DevOptions, at: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, options.base_port + HTTP_OFFSET + at).into()
}

/// Whatever is missing of the certificates; what is there stays.
fn make_certificates(certs: &Path) -> Result<(), DevError> {
    let now = Moment::now();
    let authority = match certs.join(CERTIFICATE_FILE).exists() {
        true => Authority::load(certs)?,
        false => Authority::create(certs, random_cluster()?, AUTHORITY_LIFETIME, now)?,
    };
    let mut roles: Vec<(String, Role)> = Vec::new();
    for at in 0..NODES {
        roles.push((name(at), Role::Node(random_node()?)));
    }
    roles.push(("client".to_owned(), Role::Client("dev".to_owned())));
    roles.push(("admin".to_owned(), Role::Admin("dev".to_owned())));
    for (name, role) in roles {
        if !certs.join(format!("{name}.crt")).exists() {
            authority.issue(&name, role, LEAF_LIFETIME, now)?.write(certs, &name)?;
        }
    }
    Ok(())
}

fn tls_files(certs: &Path, name: &str) -> TlsFiles {
    TlsFiles {
        certificate: certs.join(format!("{name}.crt")),
        key: certs.join(format!("{name}.key")),
        ca: certs.join(CERTIFICATE_FILE),
        crl: None,
    }
}

fn write_profiles(options: &DevOptions, certs: &Path, kept: bool) -> Result<DevCluster, DevError> {
    let certs = fs::canonicalize(certs).map_err(|source| DevError::file(certs, source))?;
    let nodes: Vec<SocketAddr> = (0..NODES).map(|at| control_address(options, at)).collect();
    let http: Vec<SocketAddr> = (0..NODES).map(|at| http_address(options, at)).collect();
    let write = |file: &str, who: &str| {
        let path = options.dir.join(file);
        let profile = Profile {
            nodes: nodes.clone(),
            tls: tls_files(&certs, who),
            read_quorum: None,
            write_quorum: None,
            timeout: Duration::from_secs(2),
            http: http.iter().map(|address| format!("http://{address}")).collect(),
        };
        profile.write(&path).map(|()| path)
    };
    let (profile, admin_profile) = (write("client.toml", "client")?, write("admin.toml", "admin")?);
    Ok(DevCluster { profile, admin_profile, nodes, http, kept })
}

/// The configuration that a `quorate server` of this node would have.
fn node_config(options: &DevOptions, certs: &Path, at: u16) -> Result<ServerConfig, DevError> {
    let certs = fs::canonicalize(certs).map_err(|source| DevError::file(certs, source))?;
    let dir = fs::canonicalize(&options.dir).map_err(|source| DevError::file(&options.dir, source))?;
    let name = name(at);
    let files = tls_files(&certs, &name);
    // Through the parser, so that a development node and a real one differ in nothing.
    let text = format!(
        "name = \"{name}\"\ndata_dir = {}\nlisten = \"{}\"\nshards = {}\ndurability = \"{}\"\n\
         [tls]\ncertificate = {}\nkey = {}\nca = {}\n[http]\nlisten = \"{}\"\n\
         [storage]\nblock_cache = \"64 MiB\"\nwrite_buffers = \"128 MiB\"\n",
        quoted(&dir.join(&name)),
        control_address(options, at),
        options.shards,
        options.durability,
        quoted(&files.certificate),
        quoted(&files.key),
        quoted(&files.ca),
        http_address(options, at),
    );
    Ok(ServerConfig::parse(&dir.join(format!("{name}.toml")), &text)?)
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

/// Creates the cluster on every node that does not belong to it yet, with the record of one that does if there is one.
fn create(options: &DevOptions, nodes: &[Node]) -> Result<(), DevError> {
    if nodes.iter().all(Node::is_member) {
        return Ok(());
    }
    let present = nodes.iter().filter_map(Node::state).find_map(|state| state.creation);
    let creation = if let Some(creation) = present {
        creation
    } else {
        let cluster = Authority::load(&options.dir.join("certs"))?.cluster();
        let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
        new_creation(options, cluster, &ids)?
    };
    for node in nodes {
        node.create(creation.clone()).map_err(DevError::Create)?;
    }
    Ok(())
}

fn new_creation(
    options: &DevOptions,
    cluster: crate::protocol::types::ClusterId,
    ids: &[NodeId],
) -> Result<Creation, DevError> {
    let member = |(at, id): (u16, &NodeId)| Member {
        id: *id,
        name: name(at),
        zone: String::new(),
        weight: 100,
        address: control_address(options, at),
    };
    let roster = Roster::new((0..).zip(ids).map(member).collect())?;
    let parameters = Parameters { partitions: 64, replicas: 3, hash_seed: super::entropy::seed_u64() };
    let layout = Layout::first(&roster, parameters)?.id();
    let token_keys = TokenKeys { current: TokenKey::new(1, super::entropy::random()), previous: None };
    Ok(Creation { cluster, roster, parameters, layout, token_keys, tables: Vec::new() })
}

fn wait_until_connected(nodes: &[Node]) -> Result<(), DevError> {
    let began = Instant::now();
    while !nodes.iter().all(Node::is_connected) {
        if began.elapsed() > CONNECTED_WITHIN || nodes.iter().any(Node::is_finished) {
            return Err(DevError::NotConnected(CONNECTED_WITHIN));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
