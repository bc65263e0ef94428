//! Certificates that end, are renewed, revoked, replaced with their authority, or turn bad, under a running cluster.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate::client::{Client, ClientOptions};
use quorate::protocol::types::Address;

use super::cluster::{Cluster, NAMES, Shape, runtime, text_of};
use super::command::Invocation;
use super::process::Signal;
use super::until;

/// What the tests' certificates last.
const SHORT: Duration = Duration::from_secs(60);

/// `quorate cert` in the cluster's directory.
fn cert(cluster: &Cluster, line: &str) -> super::command::Ran {
    let certs = text_of(&cluster.path("certs"));
    let ran = Invocation::new().args(["cert", "--dir", &certs]).args(line.split_whitespace()).run();
    ran.expect_code(0)
}

/// A client that writes all the time and remembers every failure.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(cluster: &Cluster) -> Self {
        let options = ClientOptions::new(cluster.addresses(), cluster.credentials("app"));
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (stop.clone(), written.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            let client = runtime.block_on(Client::connect(options)).expect("a client of a running cluster");
            let (mut failures, mut started) = (Vec::new(), 0_u64);
            while !told.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed);
                started += 1;
                // Each its own: without a context a key takes 64 versions and no more.
                let key = format!("key {number} of {started}");
                let address = Address::new("renewed".into(), key.into_bytes().into(), "".into()).expect("small");
                match runtime.block_on(client.put(address, number.to_string()).send()) {
                    Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failures.push(error.to_string()),
                }
                // A pace, not a wait: ten thousand writes would prove no more than a thousand.
                thread::sleep(Duration::from_millis(5));
            }
            failures
        });
        Self { stop, written, thread }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits for some more writes, so that what was done before is behind them.
    fn goes_on(&self) {
        let before = self.written();
        until("more writes", || {
            let written = self.written();
            if written > before + 20 { Ok(()) } else { Err(format!("{written} writes, {before} before")) }
        });
    }

    fn succeeded(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.thread.join().expect("a writer that did not panic");
        assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    }
}

/// Every node says so, since its start.
fn all_say(cluster: &mut Cluster, words: &str) {
    for node in &mut cluster.nodes {
        node.says(words);
    }
}

/// Certificates of 60 seconds: renewed while the cluster runs, no write fails, not even when the first ones end; a
/// client whose certificate is not renewed is let in no more, and is told why.
#[test]
fn certificates_of_60_seconds_are_renewed_under_load() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    for name in NAMES {
        cert(&cluster, &format!("renew {name} --lifetime 60s"));
    }
    cert(&cluster, "client forgotten --lifetime 60s");
    let made = Instant::now();
    (0..NAMES.len()).for_each(|node| cluster.start_node(node));
    cluster.create().expect_code(0);
    cluster.all_connected();
    let runtime = runtime();
    let forgotten = ClientOptions::new(cluster.addresses(), cluster.credentials("forgotten"));
    let forgotten = runtime.block_on(Client::connect(forgotten)).expect("a certificate that still holds");
    let address = Address::new("renewed".into(), "x".into(), "".into()).expect("small");
    runtime.block_on(forgotten.put(address.clone(), "1").send()).expect("a certificate that still holds");

    let writer = Writer::start(&cluster);
    writer.goes_on();
    for name in NAMES {
        cert(&cluster, &format!("renew {name} --lifetime 1h"));
    }
    // By themselves: nobody sends a signal.
    all_say(&mut cluster, "renewed the certificate");
    // The first certificates end here. A session that stood on one of them would end, and a write with it.
    let left = (SHORT + Duration::from_secs(5)).saturating_sub(made.elapsed());
    thread::sleep(left);
    writer.goes_on();
    writer.succeeded();
    let error =
        runtime.block_on(forgotten.put(address, "2").send()).expect_err("its certificate has ended").to_string();
    assert!(error.contains("expired"), "{error}");
    cluster.run_still(&[0, 1, 2]);
}

#[test]
fn bad_certificate_files_are_told_and_change_nothing() {
    let mut cluster = Cluster::start(Shape::SMALL);
    let writer = Writer::start(&cluster);
    let path = cluster.path("certs/n1.crt");
    let good = fs::read(&path).expect("a certificate that was made");
    fs::write(&path, "rubbish").expect("a file of our own");
    cluster.nodes[0].signal(Signal::Hangup);
    cluster.nodes[0].says("the new certificate files cannot be used");
    let other = fs::read(cluster.path("certs/n2.crt")).expect("a certificate that was made");
    fs::write(&path, other).expect("a file of our own");
    cluster.nodes[0].signal(Signal::Hangup);
    cluster.nodes[0].says("does not belong to the certificate");
    writer.goes_on();
    fs::write(&path, good).expect("a file of our own");
    cluster.nodes[0].signal(Signal::Hangup);
    cluster.nodes[0].says("the certificate files are what is in use already");
    writer.succeeded();
}

#[test]
fn revoked_client_is_cut_off_within_seconds_and_nobody_else() {
    let mut cluster = Cluster::prepare(Shape::SMALL);
    // The list has to be there when a node starts; somebody who left long ago is on it.
    cert(&cluster, "client gone");
    cert(&cluster, &format!("revoke {}", text_of(&cluster.path("certs/gone.crt"))));
    for (node, name) in NAMES.iter().enumerate() {
        let config = cluster.config(node).replace("[http]\n", "crl = \"certs/ca.crl\"\n[http]\n");
        fs::write(cluster.path(&format!("{name}.toml")), config).expect("a configuration");
        cluster.start_node(node);
    }
    cluster.create().expect_code(0);
    cluster.all_connected();
    cert(&cluster, "client stolen");
    let runtime = runtime();
    let connect = |who: &str| ClientOptions::new(cluster.addresses(), cluster.credentials(who));
    let stolen = runtime.block_on(Client::connect(connect("stolen"))).expect("not revoked yet");
    let address = Address::new("renewed".into(), "x".into(), "".into()).expect("small");
    runtime.block_on(stolen.put(address, "1").send()).expect("not revoked yet");
    let writer = Writer::start(&cluster);
    writer.goes_on();

    cert(&cluster, &format!("revoke {}", text_of(&cluster.path("certs/stolen.crt"))));
    // Its open sessions end, and it gets no new ones.
    let mut number = 0;
    until("the revoked client is refused", || {
        number += 1;
        let address = Address::new("renewed".into(), format!("x {number}").into_bytes().into(), "".into());
        match runtime.block_on(stolen.put(address.expect("small"), "2").send()) {
            Ok(_) => Err("it still writes".to_owned()),
            // Between the end of a session and the refusal of the next one there is just no connection.
            Err(error) if !error.to_string().contains("revoked") => Err(error.to_string()),
            Err(_) => Ok(()),
        }
    });
    let refused = runtime.block_on(Client::connect(connect("stolen"))).err().expect("it is revoked").to_string();
    assert!(refused.contains("revoked"), "{refused}");
    writer.goes_on();
    writer.succeeded();
}

/// The three steps of certs/README.md, under load.
#[test]
fn authority_is_replaced_in_three_steps_under_load() {
    let mut cluster = Cluster::start(Shape::SMALL);
    let writer = Writer::start(&cluster);
    writer.goes_on();
    let (old, new) = (cluster.path("certs"), cluster.path("certs-new"));
    let id = cluster.credentials("app").cluster();
    let make = |line: &str| {
        Invocation::new().args(["cert", "--dir", &text_of(&new)]).args(line.split_whitespace()).run().expect_code(0)
    };
    let read = |path: &std::path::Path| fs::read(path).expect("a file of our own");
    let put = |from: &std::path::Path, to: &str| fs::copy(from, old.join(to)).map(drop).expect("files of our own");

    // 1. Trust both.
    make(&format!("ca --cluster {id}"));
    let both = [read(&new.join("ca.crt")), read(&old.join("ca.crt"))].concat();
    fs::write(old.join("ca.crt"), both).expect("a file of our own");
    all_say(&mut cluster, "renewed the certificate");
    // 2. Issue all again.
    for name in NAMES.into_iter().chain(["app", "ops"]) {
        make(&format!("renew {name} --from {}", text_of(&old.join(format!("{name}.crt")))));
    }
    for name in NAMES {
        put(&new.join(format!("{name}.key")), &format!("{name}.key"));
        put(&new.join(format!("{name}.crt")), &format!("{name}.crt"));
    }
    until("all nodes have renewed twice", || {
        let twice = |node: &super::process::Process| node.log().matches("renewed the certificate").count() >= 2;
        if cluster.nodes.iter().all(twice) { Ok(()) } else { Err("not yet".to_owned()) }
    });
    // The client's turn: a new one with a new certificate, beside the one that still has its old one.
    put(&new.join("app.key"), "app.key");
    put(&new.join("app.crt"), "app.crt");
    writer.goes_on();
    writer.succeeded();
    let writer = Writer::start(&cluster);
    writer.goes_on();
    writer.succeeded();
    // 3. Forget the old one.
    put(&new.join("ca.crt"), "ca.crt");
    until("all nodes have renewed three times", || {
        let thrice = |node: &super::process::Process| node.log().matches("renewed the certificate").count() >= 3;
        if cluster.nodes.iter().all(thrice) { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let writer = Writer::start(&cluster);
    writer.goes_on();
    writer.succeeded();
    cluster.all_connected();
}
