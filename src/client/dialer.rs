//! What every connection of a client is made with: its certificate, its UDP ports, its hello.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::error::ClientError;
use crate::pki::tls::quic_client_config;
use crate::pki::{Credentials, Expected, TlsError};
use crate::protocol::types::{BootGeneration, DiskId};
use crate::protocol::wire::{Hello, PROTOCOL_VERSION};
use crate::transport::{self, BindError, CloseCode, Offload, Purpose, Session, Tally, Terms};

/// How long the ends of connections may take to leave when the client is closed. They are not waited for beyond it:
/// nodes find out by themselves.
const CLOSING: Duration = Duration::from_millis(20);

/// Makes connections. Shared by all lines of one client.
pub(super) struct Dialer {
    credentials: Credentials,
    /// The runtime that drives the ports and the lines, whatever thread asks.
    runtime: Handle,
    endpoints: Mutex<Endpoints>,
    pub(super) tally: Arc<Tally>,
}

/// One UDP port for each kind of address, opened when it is first needed.
#[derive(Default)]
struct Endpoints {
    v4: Option<quinn::Endpoint>,
    v6: Option<quinn::Endpoint>,
}

impl Dialer {
    /// Must be called on a tokio runtime.
    pub(super) fn new(credentials: Credentials) -> Self {
        let (endpoints, tally) = (Mutex::default(), Arc::default());
        Self { credentials, runtime: Handle::current(), endpoints, tally }
    }

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The port from which this kind of address is reached.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Result<quinn::Endpoint, BindError> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let (slot, any): (_, IpAddr) = match address {
            SocketAddr::V4(_) => (&mut endpoints.v4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut endpoints.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        let _entered = self.runtime.enter();
        Ok(slot.insert(transport::bind((any, 0).into(), None, None)?).clone())
    }

    pub(super) fn config(&self, expected: Expected, purpose: Purpose) -> Result<quinn::ClientConfig, TlsError> {
        let crypto = quic_client_config(&self.credentials, expected)?;
        Ok(transport::client_config(crypto, purpose, Offload::On))
    }

    /// What a client says first.
    pub(super) fn hello(&self) -> Hello {
        Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            cluster: Some(self.credentials.cluster()),
            node: None,
            generation: BootGeneration::new(0),
            disk: DiskId::new(0),
            process: 0,
            shard_ports: Vec::new(),
            layouts: Vec::new(),
            features: 0,
        }
    }

    /// A session with the control endpoint at an address, whichever node of the cluster it is.
    pub(super) async fn dial(&self, address: SocketAddr, deadline: Duration) -> Result<Session, ClientError> {
        let endpoint = self.endpoint(address)?;
        let config = self.config(Expected::AnyNode, Purpose::Control)?;
        let terms = Terms { purpose: Purpose::Control, deadline };
        let connected = transport::connect(&endpoint, config, address, None, &self.hello(), terms).await;
        connected.map_err(|source| ClientError::Session { address, source })
    }

    /// Ends all connections and gives the news a moment to leave.
    pub(super) async fn close(&self) {
        let endpoints = std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        let open = [endpoints.v4, endpoints.v6].into_iter().flatten();
        for endpoint in open {
            endpoint.close(CloseCode::Done.as_var_int(), b"");
            // Not idle within that time: a node does not acknowledge, and that is its own affair.
            tokio::time::timeout(CLOSING, endpoint.wait_idle()).await.unwrap_or_default();
        }
    }
}
