//! A cluster of three processes, or five, in a directory of its own: certificates, configurations, profiles, data and
//! logs.
//!
//! ```text
//!   DIR/certs/    what `quorate cert` made: ca, n1 n2 .., app (a client), ops (an administrator)
//!   DIR/n1.toml   configuration      DIR/n1   data      DIR/n1.log   all that the node has printed
//!   DIR/client.toml, admin.toml      profiles
//! ```
//!
//! Everything goes when the cluster is dropped: first the processes, then the files, then the ports.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quorate::client::{Client, ClientOptions};
use quorate::pki::{CredentialFiles, Credentials, Moment};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::command::Invocation;
use super::door::{Door, item};
use super::ports::Ports;
use super::process::Process;
use super::until;

/// What opens the HTTP doors.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The names of the nodes of most clusters.
pub(crate) const NAMES: [&str; 3] = ["n1", "n2", "n3"];
/// The names of the nodes of the largest.
const ALL_NAMES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// What clusters differ in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) shards: u16,
    pub(crate) durability: &'static str,
}

impl Shape {
    /// One shard, and nothing waits for the disk.
    pub(crate) const SMALL: Self = Self { nodes: 3, shards: 1, durability: "os" };
    /// One shard, and an acknowledged write is on the disk.
    pub(crate) const SAFE: Self = Self { nodes: 3, shards: 1, durability: "sync" };
    /// Three shards.
    pub(crate) const WIDE: Self = Self { nodes: 3, shards: 3, durability: "os" };
    /// Five nodes, so that two can stand in for two others.
    pub(crate) const FIVE: Self = Self { nodes: 5, shards: 1, durability: "sync" };
}

/// The nodes. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    dir: TempDir,
    pub(crate) ports: Ports,
    shape: Shape,
}

impl Cluster {
    /// Running nodes that are a cluster, all connected.
    pub(crate) fn start(shape: Shape) -> Self {
        let mut cluster = Self::prepare(shape);
        (0..shape.nodes).for_each(|node| cluster.start_node(node));
        cluster.create().expect_code(0);
        cluster.all_connected();
        cluster
    }

    /// Certificates, configurations and profiles; no process yet.
    pub(crate) fn prepare(shape: Shape) -> Self {
        let dir = tempfile::Builder::new().prefix("quorate-it-").tempdir().expect("a temporary directory");
        make_certificates_for(dir.path(), &ALL_NAMES[..shape.nodes]);
        let ports = Ports::take();
        let mut token = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.path().join("token"));
        let token = token.as_mut().expect("a file in our own directory");
        token.write_all(TOKEN.as_bytes()).expect("a few bytes");
        let names = &ALL_NAMES[..shape.nodes];
        let node = |name: &&str| {
            let config = dir.path().join(format!("{name}.toml"));
            Process::new(["server", "--config", &text_of(&config)], dir.path(), &dir.path().join(format!("{name}.log")))
        };
        let nodes = names.iter().map(node).collect();
        let cluster = Self { nodes, dir, ports, shape };
        for (node, name) in names.iter().enumerate() {
            fs::write(cluster.path(&format!("{name}.toml")), cluster.config(node)).expect("a configuration");
        }
        cluster.write_profile("client.toml", "app");
        cluster
    }

    /// A file of the cluster's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A node's configuration.
    pub(crate) fn config(&self, node: usize) -> String {
        let (name, Shape { shards, durability, .. }) = (ALL_NAMES[node], self.shape);
        let (control, http) = (self.ports.control(node), self.ports.http(node));
        format!(
            "name = \"{name}\"\ndata_dir = \"{name}\"\nlisten = \"{control}\"\nshards = {shards}\n\
             durability = \"{durability}\"\n\
             [tls]\ncertificate = \"certs/{name}.crt\"\nkey = \"certs/{name}.key\"\nca = \"certs/ca.crt\"\n\
             [http]\nlisten = \"{http}\"\n[http.data]\nmode = \"loopback\"\ntoken_file = \"token\"\n\
             [storage]\nblock_cache = \"32 MiB\"\nwrite_buffers = \"64 MiB\"\n\
             disk_reserve = \"64 MiB\"\n"
        )
    }

    fn write_profile(&self, file: &str, who: &str) {
        let nodes = (0..self.shape.nodes).map(|node| format!("\"{}\"", self.ports.control(node))).collect::<Vec<_>>();
        let text = format!(
            "nodes = [{}]\ncertificate = \"certs/{who}.crt\"\nkey = \"certs/{who}.key\"\nca = \"certs/ca.crt\"\n",
            nodes.join(", ")
        );
        fs::write(self.path(file), text).expect("a profile in our own directory");
    }

    /// Starts a node and waits until it listens.
    pub(crate) fn start_node(&mut self, node: usize) {
        self.nodes[node].start();
        self.nodes[node].says(" listens on ");
    }

    /// `quorate cluster create`, with the administrator's certificate.
    pub(crate) fn create(&self) -> super::command::Ran {
        let nodes = (0..self.shape.nodes).map(|node| format!("{}={}", ALL_NAMES[node], self.ports.control(node)));
        let admin = ["cluster", "create", "--admin-dir", "certs", "--admin", "ops"];
        Invocation::new().inside(self.dir.path()).args(admin).args(nodes).run()
    }

    /// A command of the client.
    pub(crate) fn quorate(&self) -> Invocation {
        self.command("client.toml")
    }

    /// A command with a profile.
    pub(crate) fn command(&self, profile: &str) -> Invocation {
        Invocation::new().inside(self.dir.path()).args(["--profile", &text_of(&self.path(profile))])
    }

    /// A node's HTTP door.
    pub(crate) fn door(&self, node: usize) -> Door {
        Door::new(self.ports.http(node))
    }

    /// The doors of all nodes.
    pub(crate) fn doors(&self) -> Vec<Door> {
        (0..self.shape.nodes).map(|node| self.door(node)).collect()
    }

    /// How a node sees itself and the others.
    pub(crate) fn status(&self, node: usize) -> Json {
        self.door(node).get("/v1/cluster/status").expect(200).json()
    }

    /// Waits until these nodes are connected with each other, ready and trusted.
    pub(crate) fn connected(&self, nodes: &[usize]) {
        self.linked(nodes);
        for node in nodes {
            let door = self.door(*node);
            until(&format!("{} is ready and trusted", ALL_NAMES[*node]), || {
                let status = door.try_ask("GET", "/v1/cluster/status", &[], &[])?;
                let ready = door.try_ask("GET", "/readyz", &[], &[])?;
                let trusted = status.json()["node"]["unverified"] == false;
                if trusted && ready.status == 200 { Ok(()) } else { Err(format!("{status}\n{ready}")) }
            });
        }
    }

    /// Waits until these nodes are connected with each other.
    pub(crate) fn linked(&self, nodes: &[usize]) {
        for node in nodes {
            let door = self.door(*node);
            until(&format!("{} reaches {nodes:?} of {ALL_NAMES:?}", ALL_NAMES[*node]), || {
                let status = door.try_ask("GET", "/v1/cluster/status", &[], &[])?;
                let members = status.json()["nodes"].as_array().cloned().unwrap_or_default();
                let is_reached = |other: &usize| {
                    members.iter().any(|member| member["name"] == ALL_NAMES[*other] && member["connected"] == true)
                };
                if nodes.iter().all(is_reached) { Ok(()) } else { Err(status.to_string()) }
            });
        }
    }

    /// Waits until all nodes are connected with each other and ready.
    pub(crate) fn all_connected(&self) {
        let all: Vec<usize> = (0..self.shape.nodes).collect();
        self.connected(&all);
    }

    /// Waits until each node makes all three copies of an item. A node that was killed and started again may be
    /// taken for connected until somebody uses the old connection.
    pub(crate) fn all_reach_all(&self) {
        for door in self.doors() {
            let target = format!("{}?quorum=strict&w=3", item("probe", &door.address.to_string()));
            until("all three copies are made", || {
                let answer = door.try_ask("PUT", &target, &[], b"probe")?;
                if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) }
            });
        }
    }

    /// Somebody's credentials, by the name of the files in `certs/`.
    pub(crate) fn credentials(&self, who: &str) -> Credentials {
        Credentials::load_at(&self.credential_files(who), Moment::now()).expect("certificates that were just made")
    }

    /// The files of somebody's credentials.
    pub(crate) fn credential_files(&self, who: &str) -> CredentialFiles {
        let file = |name: &str| self.path(&format!("certs/{name}"));
        let (certificate, key) = (file(&format!("{who}.crt")), file(&format!("{who}.key")));
        CredentialFiles { certificate, key, ca: file("ca.crt"), crl: None }
    }

    /// The control addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.shape.nodes).map(|node| self.ports.control(node)).collect()
    }

    /// A Rust client, driven by this runtime.
    pub(crate) fn client(&self, runtime: &Runtime) -> Client {
        let options = ClientOptions::new(self.addresses(), self.credentials("app"));
        runtime.block_on(Client::connect(options)).expect("a client of a running cluster")
    }

    /// Fails unless these nodes run.
    pub(crate) fn run_still(&mut self, nodes: &[usize]) {
        for node in nodes {
            let running = self.nodes[*node].is_running();
            assert!(running, "{} has ended", ALL_NAMES[*node]);
        }
    }
}

/// A runtime for Rust clients: one thread beside the test's own.
pub(crate) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime needs an epoll descriptor")
}

/// All that `quorate cert` makes for a cluster of three.
pub(crate) fn make_certificates(dir: &Path) {
    make_certificates_for(dir, &NAMES);
}

/// All that `quorate cert` makes for a cluster of these nodes.
pub(crate) fn make_certificates_for(dir: &Path, names: &[&str]) {
    let certs = text_of(&dir.join("certs"));
    let cert = |arguments: &[&str]| Invocation::new().args(["cert", "--dir", &certs]).args(arguments).run();
    cert(&["ca"]).expect_code(0);
    for name in names {
        cert(&["node", name]).expect_code(0);
    }
    cert(&["client", "app"]).expect_code(0);
    cert(&["admin", "ops"]).expect_code(0);
}

/// Changes the permission bits of a file.
pub(crate) fn change_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a file of our own");
}

/// A path as text; temporary directories have plain names.
pub(crate) fn text_of(path: &Path) -> String {
    path.to_str().expect("a plain name").to_owned()
}
