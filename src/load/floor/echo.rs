//! The echo: frames there and back over one connection, with nothing behind it.
//!
//! The connecting end is a node's link, the accepting end a session as a shard serves it, on a thread and a runtime
//! each, both with the certificates of nodes. So everything that costs on the way is what it is between two nodes: TLS,
//! endpoint, windows, segment offload, lanes and their batching. Each answer sends the next request, so that a fixed
//! number of frames is on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::frames::Leg;
use super::{FloorError, cpu};
use crate::pki::authority::{AUTHORITY_LIFETIME, LEAF_LIFETIME, random_cluster, random_node};
use crate::pki::tls::{quic_client_config, quic_server_config};
use crate::pki::{Authority, Credentials, Expected, Identity, Moment, Role};
use crate::protocol::ring::LayoutId;
use crate::protocol::types::limits::BULK_FRAME_BYTES;
use crate::protocol::types::{BootGeneration, ClusterId, DiskId, NodeId};
use crate::protocol::wire::{Frame, Header, Hello, Kind, PROTOCOL_VERSION};
use crate::transport::{
    Class, LaneSender, Link, LinkOwner, LinkTerms, Offload, Outfit, Peer, Purpose, Tally, Terms, accept, bind,
    client_config, server_config,
};

/// What an echo cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Echo {
    /// CPU of one round trip, both ends, microseconds.
    pub(super) cpu_us: f64,
    /// Round trips per second.
    pub(super) rate: f64,
}

/// One end of the echo.
struct End {
    node: NodeId,
    credentials: Credentials,
}

/// Polls of tasks between two looks at the sockets: as on a shard's thread.
const EVENT_INTERVAL: u32 = 31;
/// How long the two ends may take to meet.
const MET_WITHIN: Duration = Duration::from_secs(10);
/// What a request says that it may take.
const BUDGET_MS: u32 = 2000;

/// Measures round trips of these legs, in turn, with so many frames on the way.
pub(super) fn measure(legs: &[Leg], frames: usize, time: Duration) -> Result<Echo, FloorError> {
    let authority = Authority::generate(random_cluster()?, AUTHORITY_LIFETIME, Moment::now())?;
    let (accepting, connecting) = (end(&authority, "accepting")?, end(&authority, "connecting")?);
    let (node, cluster) = (accepting.node, authority.cluster());
    let answers: Vec<_> = legs.iter().map(|leg| (leg.asked.0, leg.answered.clone())).collect();
    let (tell_port, port) = std::sync::mpsc::sync_channel(1);
    let (finish, finished) = oneshot::channel();
    let accepting_end = thread::Builder::new()
        .name("echo".to_owned())
        .spawn(move || runtime()?.block_on(serve(&accepting, cluster, answers, &tell_port, finished)))?;
    let measured = match port.recv_timeout(MET_WITHIN) {
        Ok(address) => {
            let run = run(&connecting, cluster, (node, address), legs, frames, time);
            runtime().map_err(FloorError::from).and_then(|runtime| runtime.block_on(run))
        }
        Err(_) => Err(FloorError::Echo("the accepting end has no port".to_owned())),
    };
    // Gone already when it failed by itself.
    drop(finish);
    let served = accepting_end.join().map_err(|_| FloorError::Echo("the accepting end panicked".to_owned()))?;
    // The first failure is the accepting end's, when there are two.
    served.and(measured)
}

fn end(authority: &Authority, label: &str) -> Result<End, FloorError> {
    let node = random_node()?;
    let leaf = authority.issue(label, Role::Node(node), LEAF_LIFETIME, Moment::now())?;
    Ok(End { node, credentials: Credentials::from_leaf(authority, &leaf, Moment::now())? })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()
}

fn hello(end: &End, cluster: ClusterId) -> Hello {
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        cluster: Some(cluster),
        node: Some(end.node),
        generation: BootGeneration::new(1),
        disk: DiskId::new(1),
        process: 1,
        shard_ports: Vec::new(),
        layouts: Vec::new(),
        features: 0,
    }
}

/// The accepting end, until the other one is done.
async fn serve(
    end: &End,
    cluster: ClusterId,
    answers: Vec<(Kind, (Kind, Bytes))>,
    tell_port: &std::sync::mpsc::SyncSender<SocketAddr>,
    finished: oneshot::Receiver<()>,
) -> Result<(), FloorError> {
    let config = server_config(quic_server_config(&end.credentials)?, Purpose::Data, Offload::On);
    let endpoint = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(config), None)?;
    let address = endpoint.local_addr()?;
    tell_port.send(address).map_err(|_| FloorError::Echo("nobody connects".to_owned()))?;
    let incoming = tokio::time::timeout(MET_WITHIN, endpoint.accept()).await;
    let incoming = incoming.ok().flatten().ok_or_else(|| FloorError::Echo("nobody connected".to_owned()))?;
    let tally = Arc::new(Tally::default());
    let anyone = |_: &Identity| Ok(());
    let session = accept(incoming, &hello(end, cluster), &anyone, Terms::new(Purpose::Data), &tally).await?;
    let answer = move |_: &Peer, lane: &LaneSender, frame: Frame| {
        let found = answers.iter().find(|(asked, _)| frame.kind() == Some(*asked));
        let Some((_, (kind, body))) = found else { return };
        let header = Header::new(*kind, frame.header.correlation, 0, LayoutId::default());
        // A lane that is full or closed loses the frame, and the other end finds that it stands still.
        lane.try_send(Frame::new(header, body.clone()).to_bytes()).unwrap_or_default();
    };
    let serving = session.serve(None, tally, answer);
    tokio::select! {
        // How the session ended is the connecting end's to say.
        _ = serving => {}
        _ = finished => {}
    }
    endpoint.close(0_u32.into(), b"done");
    Ok(())
}

/// The connecting end: warms up, measures, leaves.
async fn run(
    end: &End,
    cluster: ClusterId,
    (node, address): (NodeId, SocketAddr),
    legs: &[Leg],
    frames: usize,
    time: Duration,
) -> Result<Echo, FloorError> {
    let crypto = quic_client_config(&end.credentials, Expected::Node(node))?;
    let outfit = Outfit {
        endpoint: bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None, None)?,
        config: client_config(crypto, Purpose::Data, Offload::On),
        hello: hello(end, cluster),
    };
    let asker = Arc::new(Asker { legs: legs.to_vec(), ..Asker::default() });
    let terms = LinkTerms {
        address,
        node,
        terms: Terms::new(Purpose::Data),
        seed: 1,
        gate: None,
        tally: Arc::new(Tally::default()),
    };
    let (link, keeper) = Link::new(terms, EchoLink { outfit: outfit.clone(), asker: Arc::clone(&asker), frames });
    if asker.link.set(link.clone()).is_err() {
        return Err(FloorError::Echo("a link is set once".to_owned()));
    }
    let keeper = tokio::spawn(keeper);
    let measured = measure_up(&asker, &link, time).await;
    link.stop();
    outfit.endpoint.close(0_u32.into(), b"done");
    keeper.await.map_err(|error| FloorError::Echo(error.to_string()))?;
    measured
}

async fn measure_up(asker: &Asker, link: &Link, time: Duration) -> Result<Echo, FloorError> {
    let began = Instant::now();
    while !link.is_up() {
        if began.elapsed() > MET_WITHIN {
            let reason = link.status().last_error.unwrap_or_else(|| "no attempt has ended".to_owned());
            return Err(FloorError::Echo(format!("the two ends did not meet: {reason}")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(time / 2).await;
    let (first, began, used) = (asker.done(), Instant::now(), cpu());
    tokio::time::sleep(time).await;
    let (count, elapsed, used) = (asker.done() - first, began.elapsed(), cpu().saturating_sub(used));
    if let Some(reason) = asker.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(FloorError::Echo(reason));
    }
    if count == 0 {
        return Err(FloorError::Echo("nothing came back".to_owned()));
    }
    let count = count as f64;
    Ok(Echo { cpu_us: used.as_secs_f64() * 1e6 / count, rate: count / elapsed.as_secs_f64() })
}

/// What the connecting end knows.
#[derive(Debug, Default)]
struct Asker {
    legs: Vec<Leg>,
    link: OnceLock<Link>,
    asked: AtomicU64,
    done: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Asker {
    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Asks the next leg, whose number is its correlation.
    fn ask(&self) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (Some(link), Some(leg)) = (self.link.get(), self.leg(number)) else { return };
        let (kind, body) = &leg.asked;
        let class = if body.len() > BULK_FRAME_BYTES { Class::Bulk } else { Class::Normal };
        let header = Header::new(*kind, number, BUDGET_MS, LayoutId::default());
        if let Err(error) = link.send(class, Frame::new(header, body.clone()).to_bytes()) {
            self.fail(error.to_string());
        }
    }

    fn leg(&self, number: u64) -> Option<&Leg> {
        let at = number.checked_rem(self.legs.len() as u64)?;
        self.legs.get(usize::try_from(at).ok()?)
    }

    fn take(&self, frame: &Frame) {
        let wanted = self.leg(frame.header.correlation).map(|leg| (leg.answered.0, leg.answered.1.len()));
        if frame.kind().map(|kind| (kind, frame.body.len())) != wanted {
            self.fail(format!("a frame of kind {} and {} bytes came back", frame.header.kind, frame.body.len()));
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn fail(&self, reason: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }
}

/// The owner of the connecting end's link.
struct EchoLink {
    outfit: Outfit,
    asker: Arc<Asker>,
    frames: usize,
}

impl LinkOwner for EchoLink {
    fn outfit(&self) -> Outfit {
        self.outfit.clone()
    }

    fn on_up(&self, _: &Hello) {
        (0..self.frames).for_each(|_| self.asker.ask());
    }

    fn on_frame(&self, frame: Frame) {
        self.asker.take(&frame);
        self.asker.ask();
    }

    fn on_down(&self, reason: &str) {
        self.asker.fail(format!("the connection was lost: {reason}"));
    }
}
