//! What keeps a node from starting, and a cluster from being made twice: each with its reason and the way out.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use quorate::client::{ClientError, Control};
use quorate::pki::{Authority, Moment, Role};
use quorate::protocol::ring::{Layout, Parameters};
use quorate::protocol::wire::{Creation, FailureCode};

use super::cluster::{Cluster, NAMES, Shape, change_mode, make_certificates, runtime, text_of};
use super::command::{Invocation, Ran};
use super::door::item;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a server with this configuration, which it must refuse.
fn refused(cluster: &Cluster, config: &str) -> Ran {
    fs::write(cluster.path("odd.toml"), config).expect("a file in our own directory");
    Invocation::new().inside(&cluster.path("")).args(["server", "--config", "odd.toml"]).run().expect_code(1)
}

/// The first node's configuration with one text replaced.
fn with(cluster: &Cluster, text: &str, instead: &str) -> String {
    let config = cluster.config(0);
    assert!(config.contains(text), "no {text:?} in\n{config}");
    config.replacen(text, instead, 1)
}

#[test]
fn configuration_mistakes_are_named_with_a_way_out() {
    let cluster = Cluster::prepare(Shape::SMALL);
    refused(&cluster, &with(&cluster, "durability", "durabilty")).complains(&["odd.toml:5", "durabilty", "durability"]);
    refused(&cluster, &with(&cluster, "token_file", "tokenfile")).complains(&["http.data", "tokenfile", "token_file"]);
    refused(&cluster, &with(&cluster, "shards = 1", "shards = 65")).complains(&["shards = 65", "1 to 64"]);
    refused(&cluster, &with(&cluster, "\"os\"", "\"always\"")).complains(&["always", "sync", "interval", "os"]);
    refused(&cluster, &with(&cluster, "name = \"n1\"\n", "")).complains(&["name", "missing", "name = \"n1\""]);
    refused(&cluster, "name = ").complains(&["odd.toml:1"]);
    let none = Invocation::new().inside(&cluster.path("")).args(["server", "--config", "none.toml"]).run();
    none.expect_code(1).complains(&["none.toml", "no file"]);
    Invocation::new().args(["server"]).run().expect_code(2).complains(&["--config"]);
    // Nothing was made by any of them.
    assert!(!cluster.path("n1").exists());
}

#[test]
fn key_and_token_that_others_can_read_are_refused() {
    let cluster = Cluster::prepare(Shape::SMALL);
    let key = cluster.path("certs/n1.key");
    change_mode(&key, 0o644);
    refused(&cluster, &cluster.config(0)).complains(&["n1.key", "0644", "chmod 600"]);
    change_mode(&key, 0o600);
    change_mode(&cluster.path("token"), 0o640);
    refused(&cluster, &cluster.config(0)).complains(&["token", "0640", "chmod 600"]);
}

#[test]
fn certificates_that_do_not_fit_keep_a_node_from_starting() {
    let cluster = Cluster::prepare(Shape::SMALL);
    let certs = cluster.path("certs");
    let authority = Authority::load(&certs).expect("the authority that was just made");
    // Valid for a day, ten days ago.
    let node = Role::Node(quorate::pki::authority::random_node().expect("entropy"));
    let old = authority.issue("old", node, DAY, Moment::now().before(DAY * 10)).expect("a certificate of the past");
    old.write(&certs, "old").expect("two files");
    let as_old = cluster.config(0).replace("certs/n1.", "certs/old.");
    refused(&cluster, &as_old).complains(&["old.crt", "expired at", "quorate cert"]);

    // A client's and an administrator's name nobody that could be a node.
    for (who, role) in [("app", "client app"), ("ops", "admin")] {
        let config = cluster.config(0).replace("certs/n1.", &format!("certs/{who}."));
        refused(&cluster, &config).complains(&[&format!("{who}.crt"), role, "not of a node", "quorate cert node"]);
    }

    // Another authority's.
    let other = tempfile::tempdir().expect("a temporary directory");
    make_certificates(other.path());
    let foreign = text_of(&other.path().join("certs/n1."));
    let config = cluster.config(0).replace("certs/n1.", &foreign);
    refused(&cluster, &config).complains(&["n1.crt", "trust domain", "one cluster"]);
    // One that has the same cluster id, and signs with another key.
    let (id, forged) = (authority.cluster().to_string(), text_of(&other.path().join("forged")));
    let cert = |arguments: &[&str]| Invocation::new().args(["cert", "--dir", &forged]).args(arguments).run();
    cert(&["ca", "--cluster", &id]).expect_code(0);
    cert(&["node", "n1"]).expect_code(0);
    let config = cluster.config(0).replace("certs/n1.", &format!("{forged}/n1."));
    refused(&cluster, &config).complains(&["n1.crt", "not signed by the authority", "ca.crt"]);
    // A key that is not the certificate's.
    refused(&cluster, &with(&cluster, "certs/n1.key", "certs/n2.key")).complains(&[
        "n2.key",
        "does not belong",
        "pair",
    ]);
}

#[test]
fn port_in_use_is_named_with_a_way_out() {
    let cluster = Cluster::prepare(Shape::WIDE);
    let control = cluster.ports.control(0);
    for offset in [0, 3] {
        let taken = (control.ip(), control.port() + offset);
        let guard = UdpSocket::bind(taken).expect("a port of our own");
        let port = taken.1.to_string();
        refused(&cluster, &cluster.config(0)).complains(&["UDP port", &port, "in use", "configure another port"]);
        drop(guard);
    }
    let guard = TcpListener::bind(cluster.ports.http(0)).expect("a port of our own");
    refused(&cluster, &cluster.config(0)).complains(&[&cluster.ports.http(0).port().to_string(), "in use"]);
    drop(guard);
}

#[test]
fn data_directory_is_one_nodes_and_one_process() {
    let mut cluster = Cluster::start(Shape::SMALL);
    cluster.door(0).put(&item("kept", "key"), None, b"value").expect(200);

    // A second process, though all its ports are free.
    let elsewhere = with(&cluster, &cluster.ports.control(0).to_string(), &cluster.ports.control(5).to_string());
    let elsewhere = elsewhere.replace(&cluster.ports.http(0).to_string(), &cluster.ports.http(5).to_string());
    let held = refused(&cluster, &elsewhere).complains(&["data directory", "n1", "in use", "of its own"]);
    assert!(!held.stderr.contains("panicked"), "{held}");
    cluster.run_still(&[0, 1, 2]);

    cluster.nodes[0].kill();
    // Another node of the same cluster on it.
    let config = cluster.config(0).replace("certs/n1.", "certs/n2.");
    refused(&cluster, &config).complains(&["n1", "belongs to node", "directory of its own"]);
    // The same node of another cluster.
    let shown = Invocation::new().args(["cert", "--dir", &text_of(&cluster.path("other")), "ca"]).run().expect_code(0);
    assert!(shown.text().contains("made the authority"), "{shown}");
    let id = cluster.credentials("n1").identity().role.to_string().trim_start_matches("node ").to_owned();
    let node = ["cert", "--dir", &text_of(&cluster.path("other")), "node", "n1", "--id", &id];
    Invocation::new().args(node).run().expect_code(0);
    let config = cluster.config(0).replace("certs/", "other/");
    refused(&cluster, &config).complains(&["n1", "has data of cluster", "certificates"]);

    // Whoever tried: the data is there.
    cluster.start_node(0);
    cluster.all_connected();
    for door in cluster.doors() {
        assert_eq!(door.get(&item("kept", "key")).expect(200).body, b"value");
    }
}

#[test]
fn cluster_is_created_once() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    (0..NAMES.len()).for_each(|node| cluster.start_node(node));
    let runtime = runtime();
    let dial = |who: &str, node: usize| {
        let (credentials, address) = (cluster.credentials(who), cluster.ports.control(node));
        runtime
            .block_on(Control::dial(&credentials, address, Duration::from_secs(5)))
            .map_err(|error| error.to_string())
    };
    // A node that waits talks to administrators only.
    let error = dial("app", 0).err().unwrap_or_default();
    assert!(error.contains("talks to administrators only") && error.contains("quorate cluster create"), "{error}");
    // An administrator of another cluster is not one here.
    make_certificates(&cluster.path("other"));
    let admin = ["cluster", "create", "--admin-dir", "other/certs", "--admin", "ops", "--replicas", "1"];
    let node = format!("n1={}", cluster.ports.control(0));
    let ran = Invocation::new().inside(&cluster.path("")).args(admin).arg(&node).run();
    ran.expect_code(1).complains(&["nothing was changed"]);
    assert_eq!(cluster.status(0)["node"]["role"], "waiting");

    cluster.create().expect_code(0);
    cluster.all_connected();
    let client = dial("app", 0).expect("a client of a member");
    let administrator = dial("ops", 0).expect("an administrator");
    let state = runtime.block_on(administrator.state()).expect("an administrator may ask");
    let creation = state.creation.expect("it was just created");
    // The same again is success; by command and by hand.
    let again = cluster.create().expect_code(0);
    assert!(again.text().contains("was a member already"), "{again}");
    let same = runtime.block_on(administrator.create(&creation)).expect("the same content again is success");
    assert_eq!(same.creation.as_ref(), Some(&creation));
    // Other content is refused, with both ids; by command and by hand.
    let parameters = Parameters { hash_seed: creation.parameters.hash_seed ^ 1, ..creation.parameters };
    let layout = Layout::first(&creation.roster, parameters).expect("another layout").id();
    let other = Creation { parameters, layout, ..creation.clone() };
    let refused = runtime.block_on(administrator.create(&other));
    let Err(ClientError::Refused { failure, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.code, FailureCode::Conflict, "{failure}");
    for id in [creation.layout.to_string(), layout.to_string()] {
        assert!(failure.message.contains(&id), "no {id} in {failure}");
    }
    let nodes = (0..NAMES.len()).map(|node| format!("{}={}", NAMES[node], cluster.ports.control(node)));
    let admin = ["cluster", "create", "--admin-dir", "certs", "--admin", "ops", "--partitions", "128"];
    let ran = Invocation::new().inside(&cluster.path("")).args(admin).args(nodes).run().expect_code(1);
    ran.complains(&["nothing was changed", "partitions (64 there)", &creation.layout.to_string()]);
    // A client may neither create nor see the secrets.
    for refused in [runtime.block_on(client.create(&creation)).err(), runtime.block_on(client.state()).err()] {
        let Some(ClientError::Refused { failure, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(failure.code, FailureCode::NotAllowed, "{failure}");
    }
    let after = runtime.block_on(administrator.state()).expect("an administrator may ask");
    assert_eq!(after.creation, Some(creation), "nothing has changed");
    cluster.run_still(&[0, 1, 2]);
}
