//! A node in memory: real messages, contexts, siblings and checksums, one copy, no disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::ring::{Layout, Member, Parameters, Roster};
use crate::protocol::shard::View;
use crate::protocol::types::{ActorId, Address, BootGeneration, ClusterId, Hlc, NodeId, Quorum, Strictness, WallTime};
use crate::protocol::version::{ConflictPolicy, Context, Dot, Siblings, TokenKey, TokenKeys, Version, checksum};
use crate::protocol::wire::{
    Creation, Failure, FailureCode, Frame, GetReply, GetRequest, Header, Kind, NodeStatus, PeerStatus, PutReply,
    PutRequest, Stored, StoredCopy, Want, encode_control,
};
use crate::server::http::{Door, HttpTally};

/// What the node says next, instead of what it would.
#[derive(Debug, Clone)]
pub(super) enum Script {
    /// This.
    Say(Result<Frame, Failure>),
    /// Nothing, ever.
    Silence,
    /// What it would, after this long.
    Later(Duration),
    /// What it would, with a bit of the first value flipped.
    Damage,
}

/// What the node was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) quorum: u8,
    pub(super) strictness: Strictness,
    pub(super) want: Option<Want>,
    pub(super) budget: Duration,
}

#[derive(Debug, Default)]
struct State {
    items: BTreeMap<Address, Siblings>,
    script: Option<Script>,
    asked: Vec<Asked>,
    minted: u64,
    not_ready: Option<String>,
}

/// The node. Clones are the same node.
#[derive(Debug, Clone)]
pub(super) struct FakeDoor {
    view: Option<Arc<View>>,
    state: Arc<Mutex<State>>,
    tally: Arc<HttpTally>,
}

pub(super) const VALUE_BYTES_MAX: usize = 64 * 1024;
const ACTOR: ActorId = ActorId::new(0xac);
/// 2025-07-20T08:26:40Z
const NOW: WallTime = WallTime::from_millis(1_753_000_000_000);

pub(super) fn node(number: u128) -> NodeId {
    NodeId::new(number)
}

fn view() -> View {
    let member = |number: u16| Member {
        id: node(u128::from(number)),
        name: format!("n{number}"),
        zone: String::new(),
        weight: 1,
        address: SocketAddr::from(([127, 0, 0, 1], 7400 + number)),
    };
    let roster = Roster::new((1..=3).map(member).collect()).unwrap();
    let parameters = Parameters { partitions: 8, replicas: 3, hash_seed: 7 };
    let layout = Layout::first(&roster, parameters).unwrap().id();
    let token_keys = TokenKeys { current: TokenKey::new(1, [5; 16]), previous: None };
    let creation = Creation { cluster: ClusterId::new(9), roster, parameters, layout, token_keys, tables: Vec::new() };
    View::of(node(1), &creation, 2, 2).unwrap()
}

impl FakeDoor {
    pub(super) fn new() -> Self {
        Self { view: Some(Arc::new(view())), state: Arc::default(), tally: Arc::default() }
    }

    pub(super) fn uninitialised() -> Self {
        Self { view: None, state: Arc::default(), tally: Arc::default() }
    }

    pub(super) fn script(&self, script: Script) {
        self.state.lock().unwrap().script = Some(script);
    }

    pub(super) fn fail(&self, code: FailureCode, text: &str, stored: Vec<StoredCopy>) {
        let failure = Failure { stored, ..Failure::new(code, text) };
        let header = Header::new(Kind::Error, 0, 0, self.view.as_ref().unwrap().layout.id());
        self.script(Script::Say(Ok(Frame::new(header, encode_control(&failure)))));
    }

    /// Whether the script is still to come.
    pub(super) fn is_scripted(&self) -> bool {
        self.state.lock().unwrap().script.is_some()
    }

    pub(super) fn asked(&self) -> Asked {
        self.state.lock().unwrap().asked.last().expect("nothing was asked").clone()
    }

    pub(super) fn asked_count(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    pub(super) fn be_unready(&self, why: &str) {
        self.state.lock().unwrap().not_ready = Some(why.to_owned());
    }

    /// The value of the one version at an address.
    pub(super) fn value(&self, address: &Address) -> Option<Bytes> {
        let state = self.state.lock().unwrap();
        state.items.get(address).and_then(|item| item.show().live.first().map(|version| version.value.clone()))
    }

    fn carry_out(&self, kind: Kind, body: Bytes, budget: Duration) -> Result<Frame, Failure> {
        let Some(view) = &self.view else {
            return Err(Failure::new(FailureCode::Uninitialised, "this node waits for `quorate cluster create`"));
        };
        let mut state = self.state.lock().unwrap();
        let bad = |text: String| Failure::new(FailureCode::BadInput, text);
        let or = |asked: u8| if asked == 0 { 2 } else { asked };
        let mut out = Vec::new();
        let reply = match kind {
            Kind::Get => {
                let request = GetRequest::decode(body).map_err(|error| bad(error.to_string()))?;
                let asked = Asked { quorum: request.r, strictness: request.strictness, want: None, budget };
                state.asked.push(asked);
                Quorum::new(3, or(request.r), 2).map_err(|error| bad(error.to_string()))?;
                let item = state.items.get(&request.address).cloned().unwrap_or_default();
                let shown = item.show();
                let token = if item.is_empty() {
                    Bytes::new()
                } else {
                    shown.context.to_token(&request.address, &view.token_keys)
                };
                GetReply { token, versions: shown.live }.encode(&mut out);
                Kind::GetReply
            }
            Kind::Put => {
                let request = PutRequest::decode(body).map_err(|error| bad(error.to_string()))?;
                put(&mut state, view, &request, budget)?.encode(&mut out);
                Kind::PutReply
            }
            other => return Err(Failure::new(FailureCode::Unsupported, format!("{other:?}"))),
        };
        Ok(Frame::new(Header::new(reply, 0, 0, view.layout.id()), out.into()))
    }
}

fn put(state: &mut State, view: &View, request: &PutRequest, budget: Duration) -> Result<PutReply, Failure> {
    let bad = |text: String| Failure::new(FailureCode::BadInput, text);
    let (quorum, strictness, want) = (request.w, request.strictness, Some(request.want));
    state.asked.push(Asked { quorum, strictness, want, budget });
    let w = if request.w == 0 { 2 } else { request.w };
    Quorum::new(3, 2, w).map_err(|error| bad(error.to_string()))?;
    let tombstone = request.want != Want::Value;
    assert_eq!(request.checksum, checksum(&request.address, request.write_id, tombstone, &request.value));
    state.minted += 1;
    let dot = Dot::new(ACTOR, state.minted);
    let item = state.items.entry(request.address.clone()).or_default();
    let seen = match (request.want, request.token.is_empty()) {
        (Want::DeleteSeen, _) => Context::of(item),
        (_, true) => Context::default(),
        (_, false) => Context::from_token(&request.token, &request.address, &view.token_keys)
            .map_err(|error| bad(error.to_string()))?,
    };
    let version = Version {
        dot,
        hlc: Hlc::ZERO.tick(NOW),
        write_id: request.write_id,
        tombstone,
        expires_at: 0,
        checksum: request.checksum,
        value: request.value.clone(),
    };
    item.put(&seen, version, ConflictPolicy::Siblings);
    let copy = |number: u8| StoredCopy { node: node(u128::from(number)), primary: true, fsynced: number == 1 };
    Ok(PutReply {
        dot,
        write_id: request.write_id,
        versions: u16::try_from(item.show().live.len()).unwrap(),
        token: seen.after_write(dot, item).to_token(&request.address, &view.token_keys),
        stored: Stored { copies: (1..=w).map(copy).collect() },
    })
}

impl Door for FakeDoor {
    async fn ask(&self, kind: Kind, body: Bytes, budget: Duration) -> Result<Frame, Failure> {
        let script = self.state.lock().unwrap().script.take();
        match script {
            None => self.carry_out(kind, body, budget),
            Some(Script::Say(said)) => said,
            Some(Script::Silence) => std::future::pending().await,
            Some(Script::Later(delay)) => {
                tokio::time::sleep(delay).await;
                self.carry_out(kind, body, budget)
            }
            Some(Script::Damage) => {
                let frame = self.carry_out(kind, body, budget)?;
                let mut body = frame.body.to_vec();
                *body.last_mut().unwrap() ^= 1;
                Ok(Frame::new(frame.header, body.into()))
            }
        }
    }

    fn status(&self) -> NodeStatus {
        let peer = |number: u16, error: Option<&str>| PeerStatus {
            standing: "alive".to_owned(),
            node: node(u128::from(number)),
            name: format!("n{number}"),
            address: SocketAddr::from(([127, 0, 0, 1], 7400 + number)),
            connected: error.is_none(),
            error: error.map(str::to_owned),
        };
        NodeStatus {
            node: node(1),
            name: "n1".to_owned(),
            version: "0.1.0".to_owned(),
            cluster: self.view.as_ref().map(|view| view.cluster),
            layout: self.view.as_ref().map(|view| view.layout.id()),
            role: if self.view.is_some() { "member" } else { "waiting" }.to_owned(),
            partitions: 8,
            partitions_total: 8,
            shards: 1,
            durability: "sync".to_owned(),
            unverified: false,
            room: "plenty".to_owned(),
            disk_free: 1 << 40,
            disk_reserve: 1 << 30,
            stored_bytes: 3 << 20,
            hints: 4,
            hint_bytes: 5_000,
            in_sync_ms: Some(6_000),
            never_in_sync: 0,
            uptime_s: 5,
            generation: BootGeneration::new(3),
            peers: vec![peer(2, None), peer(3, Some("connection refused"))],
        }
    }

    fn view(&self) -> Option<Arc<View>> {
        self.view.clone()
    }

    fn readiness(&self) -> Result<(), String> {
        self.state.lock().unwrap().not_ready.clone().map_or(Ok(()), Err)
    }

    async fn metrics(&self) -> String {
        "# TYPE quorate_puts_total counter\nquorate_puts_total 1\n".to_owned()
    }

    fn tally(&self) -> &HttpTally {
        &self.tally
    }

    fn value_bytes_max(&self) -> usize {
        VALUE_BYTES_MAX
    }
}
