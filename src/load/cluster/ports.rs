//! Ports that nobody else uses, for the nodes of one local cluster.
//!
//! A block of a hundred is taken by listening on the last of them: the operating system gives it to one process, and
//! takes it back however that process ends. The blocks lie below the range from which it chooses ports by itself, and
//! are those that the tests of real processes take theirs from.

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
/// The most nodes for which a block has room.
pub(super) const NODES_MAX: u16 = 7;
const _: () = assert!(NODES_MAX * STEP < HTTP);
const _: () = assert!(HTTP + NODES_MAX < BLOCK);

/// A hundred ports in a row; given back when dropped.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    /// Dropping it frees the block; a field for that only.
    _guard: TcpListener,
}

impl Ports {
    /// Takes a block, beginning the search somewhere else in each process; `None` when none is free.
    pub(super) fn take() -> Option<Self> {
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        let blocks = (0..BLOCKS).map(|block| FIRST + (start + block) % BLOCKS * BLOCK);
        let mut free = blocks.filter_map(|first| {
            let guard = TcpListener::bind(address(first + BLOCK - 1)).ok()?;
            let ports = Self { first, _guard: guard };
            ports.are_free().then_some(ports)
        });
        free.next()
    }

    fn are_free(&self) -> bool {
        let udp = (0..HTTP).all(|port| UdpSocket::bind(address(self.first + port)).is_ok());
        udp && (0..NODES_MAX).all(|port| TcpListener::bind(address(self.first + HTTP + port)).is_ok())
    }

    /// The control address of a node, from 0; its shards' ports follow.
    pub(super) fn control(&self, node: u16) -> SocketAddr {
        assert!(node < NODES_MAX, "a block has room for {NODES_MAX} nodes");
        address(self.first + node * STEP)
    }

    /// The HTTP address of a node.
    pub(super) fn http(&self, node: u16) -> SocketAddr {
        assert!(node < NODES_MAX, "a block has room for {NODES_MAX} nodes");
        address(self.first + HTTP + node)
    }
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_are_given_back() {
        let (a, b) = (Ports::take().expect("a free block"), Ports::take().expect("another"));
        assert_ne!(a.first, b.first);
        assert!(UdpSocket::bind(a.control(0)).is_ok(), "a block is taken, its ports are free");
        assert_eq!(b.http(1).port() - b.control(0).port(), HTTP + 1);
        let first = a.first;
        drop(a);
        assert!(TcpListener::bind(address(first + BLOCK - 1)).is_ok());
    }
}
