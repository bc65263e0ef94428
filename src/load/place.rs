//! Where a run is made: the machine, the cluster, and the server processes on this machine (Linux).
//!
//! A server is found by the UDP port of its address on the roster: `/proc/net/udp` names the socket behind the port,
//! and `/proc/PID/fd` whose socket it is. A node elsewhere cannot be charged, and several nodes in one process, as
//! `quorate dev` has them, only together; both is said in words.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::SystemTime;

use super::report::{Cluster, Machine, REPORT_FORMAT, Report, Run};
use super::watch::Watched;
use crate::client::{Client, ClientError};
use crate::protocol::ring::Roster;

/// The server processes of a roster that run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Located {
    /// Those that were found, by name.
    pub watched: Vec<Watched>,
    /// What a reader has to know: nodes elsewhere, several nodes in one process.
    pub remarks: Vec<String>,
}

impl Located {
    /// Looks for the processes behind the addresses of a roster.
    #[must_use]
    pub fn of(roster: &Roster) -> Self {
        let mut nodes: Vec<(String, SocketAddr)> =
            roster.members().iter().map(|member| (member.name.clone(), member.address)).collect();
        nodes.sort();
        let (here, elsewhere): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(_, address)| is_here(address.ip()));
        let mut remarks = Vec::new();
        if !elsewhere.is_empty() {
            let names: Vec<String> = elsewhere.iter().map(|(name, address)| format!("{name} ({address})")).collect();
            remarks.push(format!(
                "{} not on this machine: what it costs there is not counted; watch quorate_* and process_* metrics of \
                 these nodes",
                they_are(&names)
            ));
        }
        let sockets = UdpSockets::read();
        let wanted: BTreeMap<u64, &str> =
            here.iter().filter_map(|(name, address)| Some((sockets.inode(*address)?, name.as_str()))).collect();
        let owners = owners_of(&wanted);
        let unseen: Vec<String> = here
            .iter()
            .filter(|(name, _)| !owners.values().any(|names| names.contains(&name.as_str())))
            .map(|(name, address)| format!("{name} ({address})"))
            .collect();
        if !unseen.is_empty() {
            remarks.push(format!(
                "{} not charged: the process cannot be seen; run this command as the user of the nodes, or as root",
                they_are(&unseen)
            ));
        }
        let mut watched = Vec::new();
        for (pid, names) in owners {
            let name = names.join("+");
            if names.len() > 1 {
                remarks.push(format!("{} are one process ({pid}): they are charged together", names.join(", ")));
            }
            watched.push(Watched { name, pid, is_server: true });
        }
        watched.sort_by(|a, b| a.name.cmp(&b.name));
        Self { watched, remarks }
    }
}

fn they_are(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Whether an address is one of this machine's: only then a socket can be bound to it.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// The UDP sockets of this machine: local address and inode.
#[derive(Debug, Default)]
struct UdpSockets(Vec<(SocketAddr, u64)>);

impl UdpSockets {
    fn read() -> Self {
        let read = |name: &str| fs::read_to_string(Path::new("/proc/net").join(name)).unwrap_or_default();
        let (v4, v6) = (read("udp"), read("udp6"));
        Self(v4.lines().chain(v6.lines()).filter_map(socket).collect())
    }

    /// The socket that gets what is sent to an address of this machine: one that is bound to it, else to all addresses.
    fn inode(&self, address: SocketAddr) -> Option<u64> {
        let bound = |ip: IpAddr| {
            let wanted = SocketAddr::new(ip, address.port());
            self.0.iter().find(|(local, _)| *local == wanted).map(|(_, inode)| *inode)
        };
        let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        bound(address.ip()).or_else(|| bound(Ipv4Addr::UNSPECIFIED.into())).or_else(|| bound(any_v6))
    }
}

/// A line of `/proc/net/udp`: address and port in hexadecimal, the address as the processor has it in memory.
fn socket(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), fields.get(9)?.parse().ok()?))
}

/// Whose sockets they are: process to names, sorted. Processes that may not be looked into are left out.
fn owners_of<'a>(wanted: &BTreeMap<u64, &'a str>) -> BTreeMap<u32, Vec<&'a str>> {
    let mut owners: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(name) = inode.and_then(|inode: u64| wanted.get(&inode)) {
                owners.entry(pid).or_default().push(name);
            }
        }
    }
    for names in owners.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    owners
}

impl Machine {
    /// The machine that this program runs on.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let cpu = cpus.lines().find(|line| line.starts_with("model name"));
        let memory = read("/proc/meminfo");
        let kib =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            cpu: cpu.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib.unwrap_or(0_u64) * 1024,
            kernel: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
        }
    }
}

impl Cluster {
    /// Asks every node how it is set. What one that does not answer has is `unknown`: a cluster may be measured while a
    /// node of it is down.
    pub async fn ask(client: &Client) -> Self {
        let view = client.view();
        let (mut durability, mut versions) = (Vec::new(), Vec::new());
        for member in view.roster.members() {
            let asked = async { client.control(member.address).await?.status().await };
            let unknown = |error: ClientError| {
                tracing::warn!(node = member.name, %error, "a node does not say how it is set");
                ("unknown".to_owned(), "unknown".to_owned())
            };
            let status = asked.await.map(|status| (status.durability, status.version));
            let (durable, version) = status.unwrap_or_else(unknown);
            durability.push(durable);
            versions.push(version);
        }
        for answers in [&mut durability, &mut versions] {
            answers.sort();
            answers.dedup();
        }
        Self {
            nodes: view.roster.members().len(),
            partitions: view.parameters.partitions,
            replicas: view.parameters.replicas,
            read_quorum: client.quorums().read.unwrap_or(view.read_quorum),
            write_quorum: client.quorums().write.unwrap_or(view.write_quorum),
            durability,
            versions,
        }
    }
}

impl Report {
    /// A report of runs that this program has just made on this machine, without a floor.
    #[must_use]
    pub fn new(cluster: Cluster, runs: Vec<Run>) -> Self {
        Self {
            format: REPORT_FORMAT,
            made_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: std::env::args().collect(),
            program: format!("quorate {} ({})", env!("CARGO_PKG_VERSION"), env!("QUORATE_COMMIT")),
            machine: Machine::this(),
            cluster,
            runs,
            floor: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ring::Member;
    use crate::protocol::types::NodeId;

    #[test]
    fn own_sockets_are_found_by_their_ports_and_strangers_are_named() {
        let sockets: Vec<UdpSocket> = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"]
            .iter()
            .filter_map(|address| UdpSocket::bind(address).ok())
            .collect();
        let mut members = Vec::new();
        for (n, socket) in (1_u8..).zip(&sockets) {
            let mut address = socket.local_addr().unwrap();
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            members.push((n, address));
        }
        // A documentation address: nobody's.
        members.push((9, "192.0.2.9:7400".parse().unwrap()));
        let member = |(n, address): &(u8, SocketAddr)| Member {
            id: NodeId::new(u128::from(*n)),
            name: format!("n{n}"),
            zone: String::new(),
            weight: 100,
            address: *address,
        };
        let roster = Roster::new(members.iter().map(member).collect()).unwrap();
        let located = Located::of(&roster);
        assert_eq!(located.watched.len(), 1, "{located:?}");
        assert_eq!(located.watched[0].pid, std::process::id());
        assert!(located.watched[0].name.starts_with("n1+n2"), "{located:?}");
        assert!(located.remarks.iter().any(|remark| remark.contains("n9 (192.0.2.9:7400) is not on this machine")));
        assert!(located.remarks.iter().any(|remark| remark.contains("one process")), "{located:?}");
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "  12: 0100007F:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 4711 2 0 0";
        if cfg!(target_endian = "little") {
            assert_eq!(socket(line), Some(("127.0.0.1:7400".parse().unwrap(), 4711)));
        }
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(socket(""), None);
    }

    #[test]
    fn machine_has_a_name() {
        let machine = Machine::this();
        assert!(machine.cores >= 1 && machine.memory_bytes > 0 && machine.kernel.len() > 5, "{machine:?}");
    }
}
