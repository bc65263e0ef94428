//! Listing addresses: partition by partition, each from enough owners that no acknowledged item is missed.
//!
//! A write that was acknowledged is on W of N owners. Any N - W + 1 owners therefore have at least one that holds it
//! (the pigeonhole of quorums), so a scan reads that many, two of three by default, and merges their pages:
//!
//! ```text
//!   owner n1:  a   c d | more after d        merged:  a b c d, then both are asked for the next page
//!   owner n2:  a b   d | more after d
//! ```
//!
//! Keys come in the order of their hash, and within one key in sort-key order. The order is the same in every scan of
//! one cluster, whoever answers.
//!
//! *Caveats.* A scan is no snapshot: what is written meanwhile may be seen or not. Deleted items are listed until they
//! are reaped; a get tells. Items that were written with a smaller W than this client's are found only as far as
//! replicas have caught up.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::errand::back_off;
use super::error::ClientError;
use super::handle::Client;
use super::line::{CallError, Line};
use super::map::{Map, Slots};
use crate::protocol::replica::ItemKey;
use crate::protocol::types::{Address, PartitionId, TableName};
use crate::protocol::wire::{FailureCode, Kind, ScanReply, ScanRequest, WireError};

/// Keys that one request asks for: about 30 KiB of short keys, and never a frame beyond 5 MiB of the longest.
const PAGE_KEYS: u16 = 1024;

/// A scan in progress. Ask for [`next`](Scan::next) until it is `None`.
pub struct Scan {
    client: Client,
    table: Bytes,
    /// The partition that is being listed; none before the first and after the last.
    current: Option<PartitionId>,
    waiting: VecDeque<PartitionId>,
    sources: Vec<Source>,
    /// The last key that was handed out of this partition.
    cursor: Bytes,
}

/// One owner's list of a partition.
struct Source {
    slot: usize,
    keys: VecDeque<Bytes>,
    more: bool,
}

impl Scan {
    pub(super) fn new(client: Client, table: Option<TableName>) -> Self {
        let waiting = client.0.map().partitions().collect();
        let table = table.map_or_else(Bytes::new, |table| table.as_bytes().clone());
        Self { client, table, current: None, waiting, sources: Vec::new(), cursor: Bytes::new() }
    }

    /// Partitions that are not listed to their end, for a progress display.
    #[must_use]
    pub fn partitions_left(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Leaves out so many partitions, in the order in which they would be listed: what is behind a known place, or a
    /// share of the work.
    #[must_use]
    pub fn skip_partitions(mut self, count: usize) -> Self {
        self.waiting.drain(..count.min(self.waiting.len()));
        self
    }

    /// The next address, or `None` when all were listed. After an error the same call may be tried again.
    pub async fn next(&mut self) -> Result<Option<Address>, ClientError> {
        loop {
            let Some(partition) = self.current else {
                let Some(next) = self.waiting.front() else { return Ok(None) };
                self.current = Some(*next);
                self.waiting.pop_front();
                continue;
            };
            let needs_pages = self.sources.len() < self.needed() || self.sources.iter().any(Source::is_dry);
            if needs_pages {
                self.fill(partition).await?;
            }
            let Some(key) = self.sources.iter().filter_map(|source| source.keys.front()).min().cloned() else {
                self.sources.clear();
                self.cursor = Bytes::new();
                self.current = None;
                continue;
            };
            for source in &mut self.sources {
                if source.keys.front() == Some(&key) {
                    source.keys.pop_front();
                }
            }
            self.cursor = key.clone();
            if let Some((_, address)) = ItemKey::from_bytes(key).and_then(|key| key.parts()) {
                return Ok(Some(address));
            }
            tracing::warn!(%partition, "a node listed a key that is none; it is left out");
        }
    }

    /// n - w + 1.
    fn needed(&self) -> usize {
        let map = self.client.0.map();
        let w = self.client.0.quorums.write.unwrap_or(map.view.write_quorum);
        (map.replicas() + 1).saturating_sub(usize::from(w)).clamp(1, map.replicas())
    }

    /// Until enough owners have a next key, or have told that there is none.
    async fn fill(&mut self, partition: PartitionId) -> Result<(), ClientError> {
        let shared = self.client.0.clone();
        let needed = self.needed();
        let deadline = Instant::now() + shared.timeouts.request;
        let mut failed = Slots::default();
        let mut last = None;
        let mut rounds = 0;
        loop {
            let map = shared.map();
            if let Some(source) = self.sources.iter_mut().find(|source| source.is_dry()) {
                let slot = source.slot;
                match ask(&map, partition, slot, &self.table, &self.cursor, deadline).await {
                    Ok(page) => source.take(page),
                    Err(error) => {
                        if matches!(&error, Trouble::Call(_, CallError::Refused(f)) if f.code == FailureCode::Stale) {
                            shared.refresh().await?;
                        }
                        last = Some(error.into_reason()?);
                        failed.add(slot);
                        self.sources.retain(|source| source.slot != slot);
                    }
                }
                continue;
            }
            if self.sources.len() >= needed {
                return Ok(());
            }
            if let Some(slot) = self.spare(&map, partition, failed) {
                self.sources.push(Source { slot, keys: VecDeque::new(), more: true });
                continue;
            }
            if Instant::now() >= deadline {
                let down =
                    || map.owners(partition).map(|(_, node)| node.reason(partition)).collect::<Vec<_>>().join("; ");
                let last = last.unwrap_or_else(down);
                return Err(ClientError::ScanIncomplete { partition, answered: self.sources.len(), needed, last });
            }
            // Connections may be on their way, and a node that was busy may be so no more.
            rounds += 1;
            failed = Slots::default();
            map.owners(partition).for_each(|(_, node)| node.retry_now());
            tokio::time::sleep_until((Instant::now() + back_off(rounds, Duration::ZERO)).min(deadline)).await;
        }
    }

    /// An owner that is up, is no source yet and has not failed.
    fn spare(&self, map: &Map, partition: PartitionId, failed: Slots) -> Option<usize> {
        let used = |slot: usize| failed.has(slot) || self.sources.iter().any(|source| source.slot == slot);
        let mut owners = map.owners(partition).filter(|(slot, _)| !used(*slot));
        let up = owners.find(|(_, node)| node.line(partition).is_some_and(|line| line.is_up()));
        up.map(|(slot, _)| slot)
    }
}

impl Source {
    /// Whether its next key has to be asked for.
    fn is_dry(&self) -> bool {
        self.more && self.keys.is_empty()
    }

    fn take(&mut self, page: ScanReply) {
        // An empty page that promises more would be asked for without end.
        self.more = page.more && !page.keys.is_empty();
        self.keys = page.keys.into();
    }
}

/// Why an owner gave no page.
enum Trouble {
    /// Its name, and what happened.
    Call(String, CallError),
    Malformed(String, WireError),
    Gone,
}

impl Trouble {
    /// The reason, or an error when no other owner would say otherwise.
    fn into_reason(self) -> Result<String, ClientError> {
        match self {
            Self::Call(node, CallError::Refused(failure)) if !failure.code.is_retryable() => {
                Err(ClientError::Refused { node, failure })
            }
            Self::Call(node, error) => Ok(format!("{node}: {error}")),
            Self::Malformed(node, error) => Ok(format!("{node}: {error}")),
            Self::Gone => Ok("the layout has changed".to_owned()),
        }
    }
}

/// One page of one owner.
async fn ask(
    map: &Map,
    partition: PartitionId,
    slot: usize,
    table: &Bytes,
    after: &Bytes,
    deadline: Instant,
) -> Result<ScanReply, Trouble> {
    let (_, node) = map.owners(partition).find(|(at, _)| *at == slot).ok_or(Trouble::Gone)?;
    let name = || node.name.clone();
    let down = || Trouble::Call(name(), CallError::Down(node.reason(partition)));
    let line = node.line(partition).filter(|line: &std::sync::Arc<Line>| line.is_up()).ok_or_else(down)?;
    let request = ScanRequest { partition, limit: PAGE_KEYS, table: table.clone(), after: after.clone() };
    // Half of the time: another owner may have to be asked instead.
    let now = Instant::now();
    let until = now + deadline.saturating_duration_since(now) / 2;
    let called = line.call(Kind::Scan, map.layout(), request.body_bytes(), |out| request.encode(out), until).await;
    let frame = called.map_err(|error| Trouble::Call(name(), error))?;
    if frame.kind() != Some(Kind::ScanReply) {
        let found = u64::from(frame.header.kind);
        return Err(Trouble::Malformed(name(), WireError::Field { what: "kind of an answer", found }));
    }
    let page = ScanReply::decode(frame.body).map_err(|error| Trouble::Malformed(name(), error))?;
    // Whoever does not go on from the cursor would be asked for the same page for ever.
    let goes_on = page.keys.first().is_none_or(|first| first > after);
    if goes_on && page.keys.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
        return Ok(page);
    }
    Err(Trouble::Malformed(name(), WireError::Field { what: "order of keys", found: 0 }))
}
