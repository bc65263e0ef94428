//! What each replica really holds: every owner's copy of every item, read one by one, as another node reads it.
//!
//! A client sees merges of several copies only, by design, so the auditor speaks as a node: it lists every partition
//! at each of its owners, and asks each owner for its copy of whatever any of them listed. It has the certificate of
//! another member, and says that member's own boot generation and disk, for a second process of a node would be
//! refused. It goes to the real ports, so no weather is in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::Control;
use quorate::protocol::replica::ItemKey;
use quorate::protocol::ring::{Layout, LayoutId};
use quorate::protocol::types::{NodeId, PartitionId};
use quorate::protocol::version::Siblings;
use quorate::protocol::wire::{Frame, Header, Hello, Kind, ReadReply, ReadRequest, ReadResult, ScanReply, ScanRequest};
use tokio::runtime::Runtime;

use super::fleet::{Fleet, NAMES};
use super::wire::Wire;

/// Keys of a page, and reads under way at once: far below what a lane holds.
const PAGE: u16 = 512;
/// Differences that a report shows.
const SHOWN_MAX: usize = 12;
/// For one answer of a node.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A shard's limits on a frame's budget do not matter here.
const BUDGET_MS: u32 = 5_000;

/// What the owners hold, item by item.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Items that any owner has.
    pub(crate) items: usize,
    /// Items whose copies differ, with what each owner has.
    pub(crate) different: Vec<String>,
}

impl Audit {
    /// Fails with a sample when any item's copies differ.
    pub(crate) fn owners_are_equal(&self) -> Result<usize, String> {
        if self.different.is_empty() {
            return Ok(self.items);
        }
        let mut text = format!("copies of {} of {} items differ:\n", self.different.len(), self.items);
        for line in self.different.iter().take(SHOWN_MAX) {
            writeln!(text, "  {line}").expect("text is written to memory");
        }
        Err(text)
    }
}

/// Reads all copies of all items. An error is one of the way there, and worth another attempt.
pub(crate) fn audit(fleet: &Fleet, runtime: &Runtime) -> Result<Audit, String> {
    runtime.block_on(async {
        let session = open_all(fleet).await?;
        session.run().await
    })
}

/// A connection to each node, by its place in [`NAMES`].
struct Session {
    layout: Layout,
    owners: BTreeMap<NodeId, usize>,
    wires: Vec<tokio::sync::Mutex<Wire>>,
}

async fn open_all(fleet: &Fleet) -> Result<Session, String> {
    let app = fleet.credentials("app");
    let (mut hellos, mut owners, mut layout): (Vec<Hello>, _, _) = (Vec::new(), BTreeMap::new(), None);
    for (node, name) in NAMES.iter().enumerate() {
        let failed = |error: quorate::client::ClientError| format!("{name}: {error}");
        let control = Control::dial(&app, fleet.real(node), ANSWER_WITHIN).await.map_err(failed)?;
        owners.insert(control.node().ok_or("a control port is a node's")?, node);
        if layout.is_none() {
            let view = control.view().await.map_err(failed)?;
            let verified = Layout::verified(&view.roster, view.parameters, view.layout);
            layout = Some(verified.map_err(|error| error.to_string())?);
        }
        hellos.push(control.hello().clone());
        control.close().await;
    }
    let mut wires = Vec::new();
    for (node, name) in NAMES.iter().enumerate() {
        let other = (node + 1) % NAMES.len();
        let credentials = fleet.credentials(NAMES[other]);
        let greeted = Wire::greet_saying(&credentials, fleet.real_shard(node), &hellos[other]).await;
        wires.push(greeted.map_err(|error| format!("{name}: {error}"))?.into());
    }
    Ok(Session { layout: layout.ok_or("there are no nodes")?, owners, wires })
}

impl Session {
    async fn run(&self) -> Result<Audit, String> {
        let mut audit = Audit::default();
        for partition in self.layout.partitions() {
            let owners: Vec<usize> =
                self.layout.owners(partition).filter_map(|id| self.owners.get(&id).copied()).collect();
            let mut keys = BTreeSet::new();
            for owner in &owners {
                keys.extend(self.keys(*owner, partition).await?);
            }
            let keys: Vec<Bytes> = keys.into_iter().collect();
            let mut copies = Vec::new();
            for owner in &owners {
                copies.push(self.copies(*owner, &keys).await?);
            }
            audit.items += keys.len();
            for (at, key) in keys.iter().enumerate() {
                let held: Vec<&Copy> = copies.iter().filter_map(|of_owner| of_owner.get(at)).collect();
                if held.windows(2).any(|pair| pair[0] != pair[1]) {
                    let shown: Vec<_> =
                        owners.iter().zip(&held).map(|(owner, copy)| format!("{} {copy}", NAMES[*owner])).collect();
                    let address = ItemKey::from_bytes(key.clone()).and_then(|key| key.parts()).map(|(_, at)| at);
                    audit.different.push(format!("{partition} {address:?}: {}", shown.join(", ")));
                }
            }
        }
        Ok(audit)
    }

    fn layout_id(&self) -> LayoutId {
        self.layout.id()
    }

    /// All item keys that an owner lists.
    async fn keys(&self, owner: usize, partition: PartitionId) -> Result<Vec<Bytes>, String> {
        let (mut keys, mut after) = (Vec::new(), Bytes::new());
        loop {
            let request = ScanRequest { partition, limit: PAGE, table: Bytes::new(), after: after.clone() };
            let mut body = Vec::with_capacity(request.body_bytes());
            request.encode(&mut body);
            let frames = vec![self.frame(Kind::Scan, 1, body)];
            let answer = self.ask(owner, frames, Kind::ScanReply).await?.pop().ok_or("a scan has one answer")?;
            let page = ScanReply::decode(answer).map_err(|error| error.to_string())?;
            keys.extend(page.keys.iter().cloned());
            match page.keys.last() {
                Some(last) if page.more => after = last.clone(),
                _ => return Ok(keys),
            }
        }
    }

    /// An owner's copies of these items.
    async fn copies(&self, owner: usize, keys: &[Bytes]) -> Result<Vec<Copy>, String> {
        let mut copies = Vec::with_capacity(keys.len());
        for page in keys.chunks(usize::from(PAGE)) {
            let mut frames = Vec::with_capacity(page.len());
            for (correlation, key) in (0..).zip(page) {
                let parts = ItemKey::from_bytes(key.clone()).and_then(|key| key.parts());
                let (_, address) =
                    parts.ok_or_else(|| format!("{} lists a key that is none: {key:?}", NAMES[owner]))?;
                let mut body = Vec::new();
                ReadRequest { address, wanted: Vec::new() }.encode(&mut body);
                frames.push(self.frame(Kind::Read, correlation, body));
            }
            for answer in self.ask(owner, frames, Kind::ReadReply).await? {
                copies.push(Copy::of(&ReadReply::decode(answer).map_err(|error| error.to_string())?)?);
            }
        }
        Ok(copies)
    }

    fn frame(&self, kind: Kind, correlation: u64, body: Vec<u8>) -> Frame {
        Frame::new(Header::new(kind, correlation, BUDGET_MS, self.layout_id()), body.into())
    }

    /// Asks all of it at once; the answers' bodies in the order of the questions, whose correlations count from the
    /// first one's.
    async fn ask(&self, owner: usize, frames: Vec<Frame>, kind: Kind) -> Result<Vec<Bytes>, String> {
        let mut wire = self.wires[owner].lock().await;
        let name = NAMES[owner];
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend_from_slice(&frame.to_bytes());
        }
        wire.send_raw(&bytes).await;
        let mut answers = BTreeMap::new();
        while answers.len() < frames.len() {
            let next = tokio::time::timeout(ANSWER_WITHIN, wire.next()).await;
            let frame =
                next.map_err(|_| format!("{name} does not answer"))?.map_err(|error| format!("{name}: {error}"))?;
            if frame.kind() != Some(kind) {
                return Err(format!("{name} answers {frame:?}"));
            }
            answers.insert(frame.header.correlation, frame.body);
        }
        Ok(answers.into_values().collect())
    }
}

/// One owner's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Copy {
    Held(Siblings),
    Absent,
    Unreadable,
}

impl Copy {
    fn of(reply: &ReadReply) -> Result<Self, String> {
        Ok(match &reply.result {
            ReadResult::Found(record) => Self::Held(Siblings::decode(record).map_err(|error| error.to_string())?),
            ReadResult::Absent => Self::Absent,
            ReadResult::Unreadable => Self::Unreadable,
            ReadResult::Head(_) | ReadResult::Part(_) => return Err("the whole item was asked for".to_owned()),
        })
    }
}

impl std::fmt::Display for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held(item) => {
                let dots: Vec<_> = item.versions().iter().map(|version| version.dot.to_string()).collect();
                write!(f, "has [{}] over {} entries", dots.join(" "), item.vector().len())
            }
            Self::Absent => f.write_str("has nothing"),
            Self::Unreadable => f.write_str("cannot read it"),
        }
    }
}
