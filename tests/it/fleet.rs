//! Five nodes behind the fault proxy: what `cluster` is for three, with every packet between two of them, and of every
//! client, crossing [`Proxy`].
//!
//! A node's decade of ports: control, shard, .. +5 front of control, +6 front of the shard.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use quorate::client::{Client, ClientOptions, Quorums};
use quorate::pki::{CredentialFiles, Credentials, Moment};
use quorate::protocol::types::Strictness;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::cluster::{make_certificates_for, text_of};
use super::command::Invocation;
use super::door::Door;
use super::ports::Ports;
use super::process::Process;
use super::proxy::{Party, Place, Proxy};
use super::until;

/// The names of the nodes.
pub(crate) const NAMES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
/// From a node's real ports to its fronts.
const FRONT: u16 = 5;
/// Control and one shard.
const PORTS: u16 = 2;

/// Five nodes and what is between them. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Process>,
    pub(crate) proxy: Proxy,
    dir: TempDir,
    ports: Ports,
}

impl Fleet {
    /// Five running nodes that are a cluster, all connected.
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("quorate-it-").tempdir().expect("a temporary directory");
        make_certificates_for(dir.path(), &NAMES);
        let ports = Ports::take();
        let places = [0, 1, 2, 3, 4].map(|node| {
            let real = ports.control(node);
            Place { real, front: SocketAddr::new(real.ip(), real.port() + FRONT), ports: PORTS }
        });
        let proxy = Proxy::start(&places);
        let nodes = NAMES.map(|name| {
            let config = dir.path().join(format!("{name}.toml"));
            Process::new(["server", "--config", &text_of(&config)], dir.path(), &dir.path().join(format!("{name}.log")))
        });
        let mut fleet = Self { nodes: nodes.into(), proxy, dir, ports };
        for (node, name) in NAMES.iter().enumerate() {
            fs::write(fleet.path(&format!("{name}.toml")), fleet.config(node)).expect("a configuration");
            fleet.start_node(node);
        }
        let fronts = (0..NAMES.len()).map(|node| format!("{}={}", NAMES[node], fleet.front(node)));
        let admin = ["cluster", "create", "--admin-dir", "certs", "--admin", "ops"];
        Invocation::new().inside(fleet.dir.path()).args(admin).args(fronts).run().expect_code(0);
        fleet.connected();
        fleet
    }

    fn config(&self, node: usize) -> String {
        let (name, listen, front, http) = (NAMES[node], self.real(node), self.front(node), self.ports.http(node));
        format!(
            "name = \"{name}\"\ndata_dir = \"{name}\"\nlisten = \"{listen}\"\nadvertise = \"{front}\"\n\
             durability = \"os\"\n\
             [tls]\ncertificate = \"certs/{name}.crt\"\nkey = \"certs/{name}.key\"\nca = \"certs/ca.crt\"\n\
             [http]\nlisten = \"{http}\"\n\
             [storage]\nblock_cache = \"32 MiB\"\nwrite_buffers = \"32 MiB\"\n\
             disk_reserve = \"64 MiB\"\n"
        )
    }

    /// A file of the fleet's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where a node's control port really is.
    pub(crate) fn real(&self, node: usize) -> SocketAddr {
        self.ports.control(node)
    }

    /// Where a node's only shard really is.
    pub(crate) fn real_shard(&self, node: usize) -> SocketAddr {
        let control = self.real(node);
        (control.ip(), control.port() + 1).into()
    }

    /// What a node advertises: the proxy's.
    pub(crate) fn front(&self, node: usize) -> SocketAddr {
        let control = self.real(node);
        (control.ip(), control.port() + FRONT).into()
    }

    /// A node's HTTP door; HTTP does not cross the proxy.
    pub(crate) fn door(&self, node: usize) -> Door {
        Door::new(self.ports.http(node))
    }

    /// Starts a node and waits until it listens.
    pub(crate) fn start_node(&mut self, node: usize) {
        self.nodes[node].start();
        self.nodes[node].says(" listens on ");
    }

    /// Waits until all nodes are connected with each other.
    pub(crate) fn connected(&self) {
        for (node, name) in NAMES.iter().enumerate() {
            let door = self.door(node);
            until(&format!("{name} reaches all of {NAMES:?}"), || {
                let status = door.try_ask("GET", "/v1/cluster/status", &[], &[])?;
                let members = status.json()["nodes"].as_array().cloned().unwrap_or_default();
                let reached = members.iter().filter(|member| member["connected"] == true).count();
                let trusted = status.json()["node"]["unverified"] == false;
                if trusted && reached == NAMES.len() { Ok(()) } else { Err(status.to_string()) }
            });
        }
    }

    /// Somebody's credentials, by the name of the files in `certs/`.
    pub(crate) fn credentials(&self, who: &str) -> Credentials {
        let file = |name: &str| self.path(&format!("certs/{name}"));
        let (certificate, key) = (file(&format!("{who}.crt")), file(&format!("{who}.key")));
        let files = CredentialFiles { certificate, key, ca: file("ca.crt"), crl: None };
        Credentials::load_at(&files, Moment::now()).expect("certificates that were just made")
    }

    /// A Rust client on a side, which first contacts these nodes: sloppy, R = W = 2.
    pub(crate) fn client(&self, runtime: &Runtime, side: u8, contacts: &[usize]) -> Client {
        self.proxy.strangers_are(side);
        let contacts = contacts.iter().map(|node| self.front(*node)).collect();
        let mut options = ClientOptions::new(contacts, self.credentials("app"));
        options.quorums = Quorums { read: Some(2), write: Some(2), strictness: Strictness::Sloppy };
        runtime.block_on(Client::connect(options)).expect("a client of a running cluster")
    }

    /// The proxy's names of some nodes.
    pub(crate) fn parties(nodes: &[usize]) -> Vec<Party> {
        nodes.iter().map(|node| Party::Node(*node)).collect()
    }
}
