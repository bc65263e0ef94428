//! Frames by hand, over real QUIC: what a broken or hostile program could send once TLS lets it in.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use quorate::pki::tls::{SERVER_NAME, quic_client_config};
use quorate::pki::{Credentials, Expected, Role};
use quorate::protocol::ring::LayoutId;
use quorate::protocol::types::limits::FRAME_BYTES_MAX;
use quorate::protocol::types::{BootGeneration, DiskId, NodeId};
use quorate::protocol::wire::{
    Failure, Frame, FrameDecoder, Header, Hello, Kind, PROTOCOL_VERSION, decode_control, encode_control,
};
use quorate::transport::{Offload, Purpose, bind, client_config, explain};

use super::DEADLINE;

/// A connection and its first lane.
pub(crate) struct Wire {
    pub(crate) connection: Connection,
    send: SendStream,
    receive: RecvStream,
    decoder: FrameDecoder,
    /// Dropping it ends the connection; a field for that only.
    _endpoint: Endpoint,
}

/// What somebody with these credentials says first. The generation and the disk are made up.
pub(crate) fn hello_of(credentials: &Credentials) -> Hello {
    let node: Option<NodeId> = match credentials.identity().role {
        Role::Node(node) => Some(node),
        Role::Client(_) | Role::Admin(_) => None,
    };
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        cluster: Some(credentials.cluster()),
        node,
        generation: BootGeneration::new(1_000_000),
        disk: DiskId::new(7),
        process: 0,
        shard_ports: Vec::new(),
        layouts: Vec::new(),
        features: 0,
    }
}

/// A frame.
pub(crate) fn frame(kind: Kind, correlation: u64, body: impl Into<Bytes>) -> Frame {
    Frame::new(Header::new(kind, correlation, 1000, LayoutId::default()), body.into())
}

impl Wire {
    /// Connects, up to TLS. The error is what an operator of this end would be told.
    pub(crate) async fn dial(credentials: &Credentials, address: SocketAddr) -> Result<Self, String> {
        let endpoint = bind((Ipv4Addr::LOCALHOST, 0).into(), None, None).expect("a free port");
        let crypto = quic_client_config(credentials, Expected::AnyNode).expect("credentials that were loaded");
        let config = client_config(crypto, Purpose::Client, Offload::On);
        let connecting = endpoint.connect_with(config, address, SERVER_NAME).expect("an address of this machine");
        let connection = within("TLS", connecting).await.map_err(|error| explain(&error))?;
        let (send, receive) = connection.open_bi().await.map_err(|error| explain(&error))?;
        Ok(Self { connection, send, receive, decoder: FrameDecoder::new(FRAME_BYTES_MAX), _endpoint: endpoint })
    }

    /// Connects and greets.
    pub(crate) async fn greet(credentials: &Credentials, address: SocketAddr) -> Result<Self, String> {
        Self::greet_saying(credentials, address, &hello_of(credentials)).await
    }

    /// Connects and greets with this hello.
    pub(crate) async fn greet_saying(
        credentials: &Credentials,
        address: SocketAddr,
        hello: &Hello,
    ) -> Result<Self, String> {
        let mut wire = Self::dial(credentials, address).await?;
        wire.send(&frame(Kind::Hello, 0, encode_control(hello))).await;
        let answer = wire.next().await?;
        assert_eq!(answer.kind(), Some(Kind::Hello), "the first frame is a hello");
        Ok(wire)
    }

    /// Sends a frame as it should be.
    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.send_raw(&frame.to_bytes()).await;
    }

    /// Sends bytes that need not be frames. The other end may have closed already: what it says is what counts.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(error) = within("room in the lane", self.send.write_all(bytes)).await {
            assert!(self.connection.close_reason().is_some(), "the lane takes nothing: {error}");
        }
    }

    /// Ends this lane in the middle of whatever was sent.
    pub(crate) fn finish(&mut self) {
        self.send.finish().expect("a lane is finished once");
    }

    /// The next frame, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Frame, String> {
        within("a frame", async {
            loop {
                if let Some(frame) = self.decoder.next_frame().map_err(|error| error.to_string())? {
                    return Ok(frame);
                }
                match self.receive.read_chunk(64 * 1024, true).await {
                    Ok(Some(chunk)) => self.decoder.extend(&chunk.bytes),
                    Ok(None) => return Err("the lane was finished".to_owned()),
                    Err(quinn::ReadError::ConnectionLost(error)) => return Err(explain(&error)),
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
        .await
    }

    /// Asks, and expects a refusal.
    pub(crate) async fn refused(&mut self, frame: &Frame) -> Failure {
        self.send(frame).await;
        let answer = self.next().await.unwrap_or_else(|error| panic!("no answer to {frame:?}: {error}"));
        assert_eq!(answer.kind(), Some(Kind::Error), "to {frame:?}: {answer:?}");
        assert_eq!(answer.header.correlation, frame.header.correlation, "{answer:?}");
        decode_control(&answer.body, "error").expect("a failure of our own program")
    }

    /// Waits until the other end has closed the connection, and says why it did.
    pub(crate) async fn closed(&self) -> String {
        explain(&within("the end of the connection", self.connection.closed()).await)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // So that the node need not find out by itself; one that has closed before is not told twice.
        self.connection.close(0_u32.into(), b"the test is done with it");
    }
}

/// Fails with this text when the future takes too long.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(DEADLINE, future).await;
    output.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}
