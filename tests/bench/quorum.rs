//! Quorum puts and gets per second, and what they cost, with three server processes on this machine.
//!
//! ```text
//!   cargo bench --bench quorum                     everything, about two minutes
//!   cargo bench --bench quorum -- --bytes 128 --in-flight 64 --rounds 1 --seconds 5 --durability sync
//! ```
//!
//! Closed loop: each of so many workers sends its next request when the last is answered; so the latencies are those of
//! a saturated machine, and say nothing about one at rest. Puts carry the context of the item's last write, gets read
//! what was put. The load generator shares the cores with the servers and is counted apart. A median of rounds is
//! shown, puts and gets alternating. With `--server` the servers are another build's. Every request must succeed: one
//! that fails ends the bench.

#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints a table")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use quorate::client::{Client, ClientOptions, Context};
use quorate::pki::authority::{AUTHORITY_LIFETIME, LEAF_LIFETIME, random_cluster, random_node};
use quorate::pki::{Authority, Credentials, Moment, Role};
use quorate::protocol::ring::{Layout, Member, Parameters, Roster};
use quorate::protocol::types::{Address, NodeId};
use quorate::protocol::version::{TokenKey, TokenKeys};
use quorate::protocol::wire::Creation;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// Sizes of values, bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1024])]
    bytes: Vec<usize>,
    /// Requests in flight.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    in_flight: Vec<usize>,
    /// When a write counts as safe: sync, interval or os.
    #[arg(long, default_value = "os")]
    durability: String,
    /// Keys, spread over all partitions.
    #[arg(long, default_value_t = 20_000)]
    keys: usize,
    /// Measured seconds of each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds of each case; the median is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The program that serves: another build, to be compared with this one.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Keep the servers' process ids on the screen and wait: for a profiler.
    #[arg(long)]
    show_pids: bool,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Three server processes, killed when dropped.
struct Servers {
    children: Vec<Child>,
    dir: PathBuf,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            if child.kill().and_then(|()| child.wait().map(drop)).is_err() {
                eprintln!("a server had ended already");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} is left behind: {error}", self.dir.display());
        }
    }
}

/// One measured round.
#[derive(Clone)]
struct Round {
    rate: f64,
    server_us: f64,
    client_us: f64,
    wire_bytes: f64,
    latency: Histogram<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench(&options))
}

async fn bench(options: &Options) -> anyhow::Result<()> {
    println!(
        "three servers and the load generator on {} cores; 64 partitions, N=3 R=2 W=2, durability {}, {} keys; \
         closed loop, median of {} rounds of {} s",
        std::thread::available_parallelism()?,
        options.durability,
        options.keys,
        options.rounds,
        options.seconds
    );
    println!(
        "| value | in flight | operation | per second | server CPU per op | client CPU per op | loopback bytes per op \
         | p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for &bytes in &options.bytes {
        // Fresh servers per size: what an earlier size left in memtables would be charged to the next.
        let (servers, client) = start(options).await?;
        let pids: Vec<u32> = servers.children.iter().map(Child::id).collect();
        if options.show_pids {
            println!("servers: {pids:?}");
        }
        let contexts = prepare(&client, options, bytes).await?;
        for &in_flight in &options.in_flight {
            let mut rounds = [Vec::new(), Vec::new()];
            for _ in 0..options.rounds {
                for (operation, rounds) in [Operation::Put, Operation::Get].into_iter().zip(&mut rounds) {
                    let load = Load { operation, bytes, in_flight, seconds: options.seconds };
                    rounds.push(round(&client, &pids, &contexts, load).await?);
                }
            }
            for (name, mut rounds) in ["put", "get"].into_iter().zip(rounds) {
                rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
                let median = &rounds[rounds.len() / 2];
                println!(
                    "| {bytes} B | {in_flight} | {name} | {:.0} | {:.1} us | {:.1} us | {:.0} | {:.2} ms | {:.2} ms |",
                    median.rate,
                    median.server_us,
                    median.client_us,
                    median.wire_bytes,
                    median.latency.value_at_quantile(0.5) as f64 / 1000.0,
                    median.latency.value_at_quantile(0.99) as f64 / 1000.0,
                );
            }
        }
        client.close().await;
    }
    Ok(())
}

fn address(key: usize) -> anyhow::Result<Address> {
    Ok(Address::new(Bytes::from_static(b"bench"), Bytes::from(format!("key-{key:012}")), Bytes::new())?)
}

/// The contexts of all keys, in a slot each. A worker has its own share of the keys, so slots are never contended.
type Contexts = Arc<Vec<std::sync::Mutex<Context>>>;

async fn prepare(client: &Client, options: &Options, bytes: usize) -> anyhow::Result<Contexts> {
    let value = Bytes::from(vec![7; bytes]);
    let workers = (0..64).map(|worker| {
        let (client, value, keys) = (client.clone(), value.clone(), options.keys);
        tokio::spawn(async move {
            let mut contexts = Vec::new();
            for key in (worker..keys).step_by(64) {
                let written = client.put(address(key)?, value.clone()).send().await?;
                contexts.push((key, written.context));
            }
            anyhow::Ok(contexts)
        })
    });
    let mut contexts: Vec<Option<Context>> = vec![None; options.keys];
    for worker in workers.collect::<Vec<_>>() {
        for (key, context) in worker.await?? {
            contexts[key] = Some(context);
        }
    }
    let contexts: Option<Vec<_>> = contexts.into_iter().map(|context| context.map(std::sync::Mutex::new)).collect();
    Ok(Arc::new(contexts.context("every key was put")?))
}

#[derive(Clone, Copy)]
struct Load {
    operation: Operation,
    bytes: usize,
    in_flight: usize,
    seconds: u64,
}

async fn round(client: &Client, pids: &[u32], contexts: &Contexts, load: Load) -> anyhow::Result<Round> {
    let value = Bytes::from(vec![8; load.bytes]);
    let (servers_before, own_before) = (cpu_us(pids)?, cpu_us(&[std::process::id()])?);
    let wire_before = loopback_bytes()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(load.seconds);
    let workers = (0..load.in_flight).map(|worker| {
        let (client, value, contexts) = (client.clone(), value.clone(), contexts.clone());
        tokio::spawn(work(client, value, contexts, worker, load, until))
    });
    let mut latency = Histogram::new(3)?;
    for worker in workers.collect::<Vec<_>>() {
        latency.add(worker.await??)?;
    }
    let (elapsed, count) = (began.elapsed().as_secs_f64(), latency.len() as f64);
    ensure!(count > 0.0, "nothing was done");
    Ok(Round {
        rate: count / elapsed,
        server_us: (cpu_us(pids)? - servers_before) / count,
        client_us: (cpu_us(&[std::process::id()])? - own_before) / count,
        wire_bytes: (loopback_bytes()? - wire_before) / count,
        latency,
    })
}

async fn work(
    client: Client,
    value: Bytes,
    contexts: Contexts,
    worker: usize,
    load: Load,
    until: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    let mut key = worker;
    while Instant::now() < until {
        let address = address(key)?;
        let began = Instant::now();
        match load.operation {
            Operation::Put => {
                let context = contexts[key].lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?.clone();
                let written = client.put(address, value.clone()).context(&context).send().await?;
                ensure!(written.versions == 1, "a put with the item's context left {} versions", written.versions);
                *contexts[key].lock().map_err(|_| anyhow::anyhow!("a worker panicked"))? = written.context;
            }
            Operation::Get => {
                let read = client.get(address).send().await?;
                let Some(found) = read.single() else { bail!("key {key} has {} values", read.values.len()) };
                ensure!(found.bytes.len() == value.len(), "key {key} has {} bytes", found.bytes.len());
            }
        }
        latency.record(u64::try_from(began.elapsed().as_micros())?.max(1))?;
        key += load.in_flight;
        if key >= contexts.len() {
            key = worker;
        }
    }
    Ok(latency)
}

/// Bytes that the loopback device has carried, everybody's: run the bench in a network namespace of its own (Linux).
fn loopback_bytes() -> anyhow::Result<f64> {
    let devices = fs::read_to_string("/proc/net/dev")?;
    let line =
        devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).context("there is no loopback device")?;
    Ok(line.split_whitespace().next().context("the device counts nothing")?.parse()?)
}

/// User and system time of processes, microseconds (Linux).
fn cpu_us(pids: &[u32]) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a server has ended")?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        for field in fields.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<f64>()?;
        }
    }
    // Linux shows 100 ticks a second to programs, whatever it counts inside.
    Ok(ticks * 10_000.0)
}

async fn start(options: &Options) -> anyhow::Result<(Servers, Client)> {
    let dir = std::env::temp_dir().join(format!("quorate-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let mut servers = Servers { children: Vec::new(), dir: dir.clone() };
    let authority = Authority::generate(random_cluster()?, AUTHORITY_LIFETIME, Moment::now())?;
    authority.write(&dir)?;
    let mut members = Vec::new();
    for n in 1..=3_u16 {
        let id = random_node()?;
        let listen = SocketAddr::from(([127, 0, 0, 1], 27_400 + n * 10));
        servers.children.push(spawn(&dir, &authority, options, n, id, listen)?);
        members.push(Member { id, name: format!("n{n}"), zone: String::new(), weight: 100, address: listen });
    }
    let roster = Roster::new(members.clone())?;
    let parameters = Parameters { partitions: 64, replicas: 3, hash_seed: 1 };
    let creation = Creation {
        cluster: authority.cluster(),
        layout: Layout::first(&roster, parameters)?.id(),
        roster,
        parameters,
        token_keys: TokenKeys { current: TokenKey::new(1, [9; 16]), previous: None },
        tables: Vec::new(),
    };
    let admin = credentials(&authority, "admin", Role::admin("bench")?)?;
    for member in &members {
        let control = dial(&admin, member.address).await?;
        control.create(&creation).await?;
        control.close().await;
    }
    let client = credentials(&authority, "client", Role::client("bench")?)?;
    let nodes = members.iter().map(|member| member.address).collect();
    Ok((servers, connect(nodes, client).await?))
}

fn credentials(authority: &Authority, label: &str, role: Role) -> anyhow::Result<Credentials> {
    let leaf = authority.issue(label, role, LEAF_LIFETIME, Moment::now())?;
    Ok(Credentials::from_leaf(authority, &leaf, Moment::now())?)
}

fn spawn(
    dir: &Path,
    authority: &Authority,
    options: &Options,
    n: u16,
    id: NodeId,
    listen: SocketAddr,
) -> anyhow::Result<Child> {
    let name = format!("n{n}");
    authority.issue(&name, Role::Node(id), LEAF_LIFETIME, Moment::now())?.write(dir, &name)?;
    let config = dir.join(format!("{name}.toml"));
    let text = format!(
        "name = {name:?}\ndata_dir = \"data-{n}\"\nlisten = \"{listen}\"\ndurability = {:?}\n\
         [tls]\ncertificate = \"{name}.crt\"\nkey = \"{name}.key\"\nca = \"ca.crt\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n",
        options.durability,
        27_480 + n
    );
    fs::write(&config, text)?;
    let program = options.server.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_quorate")));
    let server = Command::new(program)
        .args(["server", "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .env("RUST_LOG", "error")
        .spawn();
    server.context("the server does not start")
}

/// A control session to a server that may still be starting.
async fn dial(admin: &Credentials, address: SocketAddr) -> anyhow::Result<quorate::client::Control> {
    let began = Instant::now();
    loop {
        match quorate::client::Control::dial(admin, address, Duration::from_secs(2)).await {
            Ok(control) => return Ok(control),
            Err(error) if began.elapsed() > Duration::from_secs(20) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A client whose first write succeeds: the servers have found each other.
async fn connect(nodes: Vec<SocketAddr>, credentials: Credentials) -> anyhow::Result<Client> {
    let client = Client::connect(ClientOptions::new(nodes, credentials)).await?;
    let began = Instant::now();
    // Not one of the measured keys: an attempt that fails here may still surface, as its error says.
    let probe = Address::new(Bytes::from_static(b"probe"), Bytes::from_static(b"ready"), Bytes::new())?;
    loop {
        match client.put(probe.clone(), "first").w(3).send().await {
            Ok(_) => return Ok(client),
            Err(error) if began.elapsed() > Duration::from_secs(20) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
