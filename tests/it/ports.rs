//! Ports that no other test uses, now or in a run beside this one.
//!
//! A block of a hundred is taken by listening on the last of them: the operating system gives it to one process, and
//! takes it back however that process ends. The blocks lie below the range from which it chooses ports by itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// First port of the first block.
const FIRST: u16 = 20_000;
/// Ports of a block.
const BLOCK: u16 = 100;
/// Blocks: up to port 32,000, below Linux's 32,768.
const BLOCKS: u16 = 120;
/// HTTP port of node i is this far above the block's first, plus i: as `quorate dev` has it.
const HTTP: u16 = 80;
/// Between the control ports of two nodes: up to nine shards.
const STEP: u16 = 10;

/// A hundred ports in a row; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    /// Dropping it frees the block; a field for that only.
    _guard: TcpListener,
}

impl Ports {
    /// Takes a block, beginning the search somewhere else in each process.
    pub(crate) fn take() -> Self {
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("a remainder of 120");
        let blocks = (0..BLOCKS).map(|block| FIRST + (start + block) % BLOCKS * BLOCK);
        let mut free = blocks.filter_map(|first| {
            let guard = TcpListener::bind(address(first + BLOCK - 1)).ok()?;
            let ports = Self { first, _guard: guard };
            ports.are_free().then_some(ports)
        });
        free.next().expect("a block of ports is free among 20000 to 32000")
    }

    fn are_free(&self) -> bool {
        let udp = (0..HTTP).all(|port| UdpSocket::bind(address(self.first + port)).is_ok());
        udp && (0..STEP).all(|port| TcpListener::bind(address(self.first + HTTP + port)).is_ok())
    }

    /// The first port, for `quorate dev --base-port`.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    /// The control address of a node, from 0; its shards' ports follow.
    pub(crate) fn control(&self, node: usize) -> SocketAddr {
        address(self.first + place(node) * STEP)
    }

    /// The HTTP address of a node.
    pub(crate) fn http(&self, node: usize) -> SocketAddr {
        address(self.first + HTTP + place(node))
    }
}

fn place(node: usize) -> u16 {
    u16::try_from(node).expect("a cluster of a few nodes")
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
