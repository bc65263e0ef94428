//! Clients and nodes: requests go out, answers come back, and the oracle hears of both.

use bytes::Bytes;

use super::crowd::{LATEST, MODIFIED, Operation, TABLES, Trade, WRITES_PER_KEY_MAX, Wish};
use super::finding::{Checker, Finding};
use super::mutation::Mutation;
use super::node::{Asker, Input, SeatId};
use super::oracle::{Past, Write};
use super::world::{Phase, World};
use super::{CLIENT_LATENCY_NS_MAX, Event};
use crate::protocol::ring::{KeyHash, partition_of};
use crate::protocol::types::limits::FRAME_BYTES_MAX;
use crate::protocol::types::{Address, Instant, PartitionId, Strictness, WriteId};
use crate::protocol::version::{ConflictPolicy, Context, Siblings, VersionVector, checksum};
use crate::protocol::wire::{
    Failure, FailureCode, Frame, FrameDecoder, GetReply, GetRequest, Header, Kind, PutReply, PutRequest, ScanReply,
    ScanRequest, Want, decode_control,
};

const MS: u64 = 1_000_000;
/// How much longer than its budget a client waits.
const PATIENCE_NS: u64 = 200 * MS;
/// How often the final read of an item through one node is tried.
const AUDIT_TRIES_MAX: u32 = 5;

impl World {
    /// A session does its next thing.
    pub(super) fn act(&mut self, number: usize) {
        if self.crowd.sessions[number].busy {
            return;
        }
        if self.crowd.sessions[number].trade == Trade::Auditor {
            return self.audit(number);
        }
        if self.phase != Phase::Load || self.crowd.begun >= self.options.load.operations {
            return;
        }
        let wish = match self.crowd.sessions[number].next.take() {
            Some((item, want)) => self.wish_put(number, item, want),
            None => self.wish(number),
        };
        let node = self.node_for(number);
        self.begin(number, wish, node);
    }

    fn node_for(&mut self, number: usize) -> u16 {
        let home = self.crowd.sessions[number].home;
        if self.crowd.draw.chance(700_000) {
            return home;
        }
        u16::try_from(self.crowd.draw.below(u64::from(self.options.nodes))).expect("at most 50")
    }

    fn wish(&mut self, number: usize) -> Wish {
        let trade = self.crowd.sessions[number].trade;
        if trade == Trade::Scanner {
            let partition = self.crowd.draw.below(u64::from(self.options.partitions));
            let partition = PartitionId::new(u16::try_from(partition).expect("at most 64 partitions"));
            return Wish::Scan { partition, after: Bytes::new() };
        }
        let item = self.choose_item(trade);
        match trade {
            Trade::BlindWriter => {
                self.crowd.sessions[number].tokens.remove(&item);
                self.wish_put(number, item, Want::Value)
            }
            Trade::ChainWriter => self.wish_put(number, item, Want::Value),
            Trade::Deleter if self.crowd.draw.chance(400_000) => self.wish_put(number, item, Want::DeleteSeen),
            Trade::Deleter => {
                self.crowd.sessions[number].next = Some((item, Want::Delete));
                Wish::Get { item }
            }
            Trade::Modifier => {
                self.crowd.sessions[number].next = Some((item, Want::Value));
                Wish::Get { item }
            }
            Trade::Reader | Trade::Scanner | Trade::Auditor => Wish::Get { item },
        }
    }

    fn choose_item(&mut self, trade: Trade) -> usize {
        let (table, key) = self.crowd.choose(trade, &self.options.load);
        let name = self.crowd.key_name(table, key);
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let address = Address::new(bytes(TABLES[table]), bytes(&name), Bytes::new()).expect("a key within the limits");
        let policy = if table == LATEST { ConflictPolicy::LastWriterWins } else { ConflictPolicy::Siblings };
        let layout = &self.nodes[0].view.layout;
        let item = self.oracle.item(&address, layout, policy);
        // A stale read makes a sibling of a later write: no bound without R + W > N.
        let bounded = self.options.reads_see_writes() && self.options.load.sloppy == 0;
        if table == MODIFIED && bounded && !self.has_split_owner(item) {
            self.oracle.items[item].modifiers = Some(self.crowd.modifiers());
        }
        if self.oracle.items[item].writes() > WRITES_PER_KEY_MAX {
            self.crowd.renew(table, key);
        }
        item
    }

    fn wish_put(&mut self, number: usize, item: usize, want: Want) -> Wish {
        let write_id = self.crowd.write_id();
        let value = match want {
            Want::Value => self.crowd.value(self.crowd.begun, &self.options.load),
            Want::Delete | Want::DeleteSeen => Bytes::new(),
        };
        let token = match want {
            Want::DeleteSeen => Bytes::new(),
            Want::Value | Want::Delete => self.crowd.sessions[number].tokens.get(&item).cloned().unwrap_or_default(),
        };
        let address = &self.oracle.items[item].address;
        let tombstone = want != Want::Value;
        let sum = checksum(address, write_id, tombstone, &value);
        let past = match want {
            Want::DeleteSeen => Past::ReadByCoordinator,
            Want::Value | Want::Delete => Past::Sent(self.context_of(item, &token)),
        };
        self.oracle
            .writes
            .insert(write_id, Write { item, tombstone, checksum: sum, past, asked: Vec::new(), acked: None });
        Wish::Put { item, want, write_id, token, value, checksum: sum }
    }

    fn context_of(&self, item: usize, token: &Bytes) -> Context {
        if token.is_empty() {
            return Context::default();
        }
        let view = &self.nodes[0].view;
        Context::from_token(token, &self.oracle.items[item].address, &view.token_keys)
            .expect("a token that a node made for this item")
    }

    fn begin(&mut self, number: usize, wish: Wish, node: u16) {
        self.crowd.begun += 1;
        self.crowd.sessions[number].busy = true;
        let load = &self.options.load;
        let budget = match self.crowd.sessions[number].trade {
            Trade::Auditor => 2_000,
            _ => self.crowd.draw.between(load.budget_ms_min, load.budget_ms_max),
        };
        let floor = match &wish {
            Wish::Get { item } => self.oracle.items[*item].floor.clone(),
            Wish::Put { .. } | Wish::Scan { .. } => VersionVector::new(),
        };
        let gone = match &wish {
            Wish::Get { item } => self.oracle.items[*item].gone.clone(),
            Wish::Put { .. } | Wish::Scan { .. } => VersionVector::new(),
        };
        let budget_ms = u32::try_from(budget).expect("a few seconds");
        let id = self.crowd.begun;
        let sloppy = self.phase == Phase::Load && self.crowd.draw.chance(self.options.load.sloppy);
        let strictness = if sloppy { Strictness::Sloppy } else { Strictness::Strict };
        let floor = if sloppy { VersionVector::new() } else { floor };
        let operation = Operation { session: number, wish, attempt: 0, node, budget_ms, strictness, floor, gone };
        self.crowd.operations.insert(id, operation);
        self.attempt(id, node);
    }

    /// Sends an operation's next attempt to a node.
    fn attempt(&mut self, id: u64, node: u16) {
        let node = self.door(node);
        let Some(operation) = self.crowd.operations.get_mut(&id) else { return };
        operation.attempt += 1;
        operation.node = node;
        let (attempt, budget, mut strictness) = (operation.attempt, operation.budget_ms, operation.strictness);
        if self.options.mutation == Some(Mutation::CountHintsAsOwners) {
            strictness = Strictness::Sloppy;
        }
        let mut body = Vec::new();
        let kind = match &operation.wish {
            Wish::Get { item } => {
                let address = self.oracle.items[*item].address.clone();
                GetRequest { address, r: 0, strictness }.encode(&mut body);
                Kind::Get
            }
            Wish::Put { item, want, write_id, token, value, checksum: sum } => {
                let address = self.oracle.items[*item].address.clone();
                let (mut write_id, mut sum) = (*write_id, *sum);
                if attempt > 1 && self.options.mutation == Some(Mutation::NewIdOnRetry) {
                    // Any id that no client drew.
                    write_id = WriteId::new(write_id.as_u128() ^ u128::from(attempt));
                    sum = checksum(&address, write_id, *want != Want::Value, value);
                }
                let (want, token, value) = (*want, token.clone(), value.clone());
                PutRequest { address, write_id, want, w: 0, strictness, token, checksum: sum, value }.encode(&mut body);
                Kind::Put
            }
            Wish::Scan { partition, after } => {
                let (partition, after) = (*partition, after.clone());
                ScanRequest { partition, limit: 5, table: Bytes::new(), after }.encode(&mut body);
                Kind::Scan
            }
        };
        let header = Header::new(kind, id, budget, self.nodes[0].view.layout.id());
        let bytes = Frame::new(header, body.into()).to_bytes();
        let travel = self.crowd.draw.between(20_000, CLIENT_LATENCY_NS_MAX);
        let patience = u64::from(budget) * MS + PATIENCE_NS;
        self.heap.push(self.now + travel, Event::Request { node, operation: id, attempt, bytes });
        self.heap.push(self.now + travel + patience, Event::GiveUp { operation: id, attempt });
    }

    /// A client's request arrives at a node.
    pub(super) fn request(&mut self, node: u16, operation: u64, attempt: u32, bytes: &Bytes) {
        if !self.nodes.get(usize::from(node)).is_some_and(|node| node.running) {
            // Refused at once: the client hears of it after a round trip.
            self.heap.push(self.now + MS, Event::GiveUp { operation, attempt });
            return;
        }
        if let Some(Wish::Put { write_id, .. }) = self.crowd.operations.get(&operation).map(|it| &it.wish) {
            let (write_id, node) = (*write_id, self.identity(node));
            self.oracle.asked(write_id, node);
        }
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.extend(bytes);
        let frame = decoder.next_frame().ok().flatten().expect("a client's frame is whole");
        let shards = self.nodes[usize::from(node)].seats.len();
        let knows = self.crowd.draw.chance(900_000);
        let shard = if knows { self.shard_of(operation, shards) } else { self.crowd.draw.index(shards) };
        let shard = u16::try_from(shard).expect("at most 4 shards");
        let (asker, arrived) = (Asker::Client { operation, attempt }, Instant::from_nanos(self.now));
        self.hand(SeatId { node, shard }, Input::Request { asker, frame, arrived });
    }

    fn shard_of(&self, operation: u64, shards: usize) -> usize {
        let layout = &self.nodes[0].view.layout;
        match self.crowd.operations.get(&operation).map(|operation| &operation.wish) {
            Some(Wish::Get { item } | Wish::Put { item, .. }) => {
                let hash = KeyHash::of(&self.oracle.items[*item].address, layout.parameters().hash_seed);
                partition_of(hash, layout.partition_bits()).as_index() % shards
            }
            Some(Wish::Scan { partition, .. }) => partition.as_index() % shards,
            None => 0,
        }
    }

    /// A node answers a client.
    pub(super) fn answer_client(&mut self, operation: u64, attempt: u32, bytes: Bytes) {
        if self.phase == Phase::Load && self.crowd.draw.chance(self.options.load.answer_loss) {
            return;
        }
        let travel = self.crowd.draw.between(20_000, CLIENT_LATENCY_NS_MAX);
        self.heap.push(self.now + travel, Event::Answer { operation, attempt, bytes });
    }

    /// A client hears an answer.
    pub(super) fn answered_client(&mut self, id: u64, attempt: u32, bytes: &Bytes) {
        if self.crowd.operations.get(&id).is_none_or(|operation| operation.attempt != attempt) {
            return;
        }
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.extend(bytes);
        let frame = decoder.next_frame().ok().flatten().expect("a node's frame is whole");
        match frame.kind() {
            Some(Kind::Error) => {
                let failure = decode_control::<Failure>(&frame.body, "error").expect("a node's failure decodes");
                self.failed(id, &failure);
            }
            Some(Kind::GetReply) => {
                let reply = GetReply::decode(frame.body).expect("a node's answer decodes");
                self.got(id, reply);
            }
            Some(Kind::PutReply) => {
                let reply = PutReply::decode(frame.body).expect("a node's answer decodes");
                self.put(id, &reply);
            }
            Some(Kind::ScanReply) => {
                let reply = ScanReply::decode(frame.body).expect("a node's answer decodes");
                self.scanned(id, &reply);
            }
            kind => {
                let text = format!("operation {id} was answered with a frame of kind {kind:?}");
                self.finding.get_or_insert(Finding::new(Checker::Termination, text));
            }
        }
    }

    fn got(&mut self, id: u64, reply: GetReply) {
        let Some(operation) = self.crowd.operations.remove(&id) else { return };
        let Wish::Get { item } = operation.wish else { return };
        let context = self.context_of(item, &reply.token);
        let (now, node) = (self.now / MS, operation.node + 1);
        let who = format!("operation {id} (session {}, at n{node}, answered at {now} ms)", operation.session);
        self.log(|| format!("{who} read item {item}: {} versions, past {:?}", reply.versions.len(), context.vector));
        if let Err(finding) =
            self.oracle.read(item, &reply.versions, &context, (&operation.floor, &operation.gone), &who)
        {
            self.finding.get_or_insert(finding);
        }
        if self.options.reads_are_monotonic()
            && operation.strictness == Strictness::Strict
            && !self.has_split_owner(item)
        {
            self.oracle.items[item].floor.join(&context.vector);
        }
        self.tally.gets += 1;
        self.crowd.sessions[operation.session].tokens.insert(item, reply.token);
        self.rest(operation.session);
    }

    fn put(&mut self, id: u64, reply: &PutReply) {
        let Some(operation) = self.crowd.operations.remove(&id) else { return };
        let Wish::Put { item, write_id, .. } = operation.wish else { return };
        self.log(|| format!("operation {id} wrote item {item} at n{}: dot {}", operation.node + 1, reply.dot));
        if usize::try_from(operation.attempt).is_ok_and(|attempt| attempt > 1) {
            self.oracle.items[item].unknown += operation.attempt as usize - 1;
        }
        if operation.strictness == Strictness::Strict && reply.stored.primaries() < usize::from(self.options.w) {
            let text = format!(
                "operation {id} asked for a strict quorum and was confirmed with {} owners and {} stand-ins of {}",
                reply.stored.primaries(),
                reply.stored.fallbacks(),
                self.options.w
            );
            self.finding.get_or_insert(Finding::new(Checker::Durability, text));
        }
        self.tally.hinted += u64::from(reply.stored.primaries() < usize::from(self.options.w));
        self.check_copies(id, item, reply);
        let number = |id: crate::protocol::types::NodeId| {
            self.nodes[0].view.peer_of(id).and_then(|peer| u16::try_from(peer.as_index()).ok())
        };
        let copies = reply.stored.copies.iter().filter_map(|copy| Some((number(copy.node)?, copy.fsynced))).collect();
        if let Some(write) = self.oracle.writes.get_mut(&write_id) {
            write.acked = Some((reply.dot, copies));
        }
        let whole = |node| number(node).is_some_and(|at| !self.nodes[usize::from(at)].split);
        let primaries = reply.stored.copies.iter().filter(|copy| copy.primary && whole(copy.node)).count();
        if self.options.reads_see_writes() && primaries >= usize::from(self.options.w) {
            self.oracle.items[item].floor.add(reply.dot);
        }
        self.tally.puts += 1;
        self.crowd.sessions[operation.session].tokens.insert(item, reply.token.clone());
        self.rest(operation.session);
    }

    /// W is honest: whoever is named has it, and on its platter if that is said (rule 7).
    fn check_copies(&mut self, id: u64, item: usize, reply: &PutReply) {
        let seen = &self.oracle.items[item];
        let wanted = usize::from(self.options.w);
        if reply.stored.copies.len() < wanted {
            let text = format!("operation {id} was confirmed with {} of {wanted} copies", reply.stored.copies.len());
            self.finding.get_or_insert(Finding::new(Checker::Durability, text));
        }
        for copy in &reply.stored.copies {
            let peer = self.nodes[0].view.peer_of(copy.node);
            let Some(node) = peer.and_then(|peer| self.nodes.get(peer.as_index())) else { continue };
            if node.damaged || seen.is_over(reply.dot) {
                continue;
            }
            let knows = |node: &super::node::Node, key: &Bytes| {
                let durably = || node.disk.held_durably(seen.partition, key);
                let held = if copy.fsynced { durably() } else { node.disk.held(seen.partition, key) };
                held.and_then(|record| Siblings::decode(record).ok()).is_some_and(|item| item.knows(reply.dot))
            };
            let owners = || seen.owners.iter().map(|owner| &self.nodes[usize::from(*owner)]);
            let found = match copy.primary {
                true => knows(node, seen.key.as_bytes()),
                // A hint, or what became of it.
                false => owners().any(|owner| {
                    knows(node, seen.key.hinted(owner.view.me, seen.partition).as_bytes())
                        || knows(owner, seen.key.as_bytes())
                        || owner.damaged
                }),
            };
            if !found {
                let text = format!(
                    "operation {id} was told that dot {} of {:?} is {} on {}, and it is not there",
                    reply.dot,
                    seen.address,
                    if copy.fsynced { "fsynced" } else { "stored" },
                    self.nodes[0].view.roster.name_of(copy.node)
                );
                self.finding.get_or_insert(Finding::new(Checker::Durability, text));
            }
        }
    }

    fn scanned(&mut self, id: u64, reply: &ScanReply) {
        let Some(operation) = self.crowd.operations.remove(&id) else { return };
        let Wish::Scan { partition, after } = operation.wish else { return };
        let rises = reply.keys.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let follows = reply.keys.first().is_none_or(|first| *first > after);
        if !rises || !follows {
            let text = format!("operation {id} listed {partition} out of order");
            self.finding.get_or_insert(Finding::new(Checker::Siblings, text));
        }
        self.tally.scans += 1;
        match reply.keys.last().filter(|_| reply.more) {
            Some(last) => {
                let wish = Wish::Scan { partition, after: last.clone() };
                self.begin(operation.session, wish, operation.node);
            }
            None => self.rest(operation.session),
        }
    }

    fn failed(&mut self, id: u64, failure: &Failure) {
        let Some(node) = self.crowd.operations.get(&id).map(|operation| operation.node + 1) else { return };
        self.log(|| format!("operation {id} failed at n{node}: {}", failure.message));
        self.tally.failures += 1;
        let Some(operation) = self.crowd.operations.get(&id) else { return };
        let ours = matches!(
            failure.code,
            FailureCode::BadInput | FailureCode::NotAllowed | FailureCode::Uninitialised | FailureCode::Unsupported
        );
        let scan = matches!(operation.wish, Wish::Scan { .. });
        if ours || (failure.code == FailureCode::Stale && !scan) {
            let text = format!("operation {id} was refused though nothing is wrong with it: {}", failure.message);
            self.finding.get_or_insert(Finding::new(Checker::Termination, text));
        }
        match failure.code {
            FailureCode::TooLarge | FailureCode::Conflict => self.give_up_for_good(id, &failure.message),
            _ => self.retry(id, &failure.message),
        }
    }

    /// A client waited long enough for an attempt.
    pub(super) fn give_up(&mut self, id: u64, attempt: u32) {
        if self.crowd.operations.get(&id).is_some_and(|operation| operation.attempt == attempt) {
            self.tally.timeouts += 1;
            self.retry(id, "no answer in time");
        }
    }

    fn retry(&mut self, id: u64, why: &str) {
        let Some(operation) = self.crowd.operations.get(&id) else { return };
        let most = match &operation.wish {
            Wish::Put { .. } => self.options.load.attempts_max,
            Wish::Get { .. } | Wish::Scan { .. } => 1,
        };
        if operation.attempt >= most {
            return self.give_up_for_good(id, why);
        }
        let node = u16::try_from(self.crowd.draw.below(u64::from(self.options.nodes))).expect("at most 50");
        self.attempt(id, node);
    }

    fn give_up_for_good(&mut self, id: u64, why: &str) {
        let Some(operation) = self.crowd.operations.remove(&id) else { return };
        let session = operation.session;
        if self.crowd.sessions[session].trade == Trade::Auditor {
            return self.audit_failed(&operation, why);
        }
        if let Wish::Put { item, .. } = operation.wish {
            self.oracle.items[item].unknown += operation.attempt as usize;
        }
        // What it wanted to write rested on a read that it does not have.
        self.crowd.sessions[session].next = None;
        self.rest(session);
    }

    /// A session pauses before its next operation.
    fn rest(&mut self, number: usize) {
        self.crowd.sessions[number].busy = false;
        let most = match self.crowd.sessions[number].trade {
            Trade::Auditor => 1,
            _ => self.options.load.think_us_max,
        };
        let pause = self.crowd.draw.between(1, most.max(1)) * 1_000;
        self.heap.push(self.now + pause, Event::Act { session: number });
    }

    /// An auditor reads the next item through the next node.
    fn audit(&mut self, number: usize) {
        let Some((item, node, tries)) = self.crowd.audits.pop_front() else { return };
        self.crowd.sessions[number].next = Some((item, Want::Value));
        self.crowd.sessions[number].home = u16::try_from(tries).unwrap_or(u16::MAX);
        self.begin(number, Wish::Get { item }, node);
    }

    fn audit_failed(&mut self, operation: &Operation, why: &str) {
        let Wish::Get { item } = operation.wish else { return };
        let tries = u32::from(self.crowd.sessions[operation.session].home) + 1;
        if tries >= AUDIT_TRIES_MAX {
            let address = &self.oracle.items[item].address;
            let text = format!(
                "all faults are mended, and {address:?} cannot be read at n{} in {tries} tries: {why}",
                operation.node + 1
            );
            self.finding.get_or_insert(Finding::new(Checker::Termination, text));
            return;
        }
        self.crowd.audits.push_back((item, operation.node, tries));
        self.rest(operation.session);
    }
}
