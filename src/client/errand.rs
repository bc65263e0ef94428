//! An errand: one request, carried to the owners of its key until one has done it or the time is over.
//!
//! ```text
//!   pick an owner that is up and was not tried; when no owner can be reached, any other node
//!     answered ............................. done
//!     refused for good ..................... done, with the refusal
//!     stale ................................ learn the new view, start over
//!     quorum not met, damaged .............. the next owner; if all say so, that is the answer
//!     lost, overloaded, stopping ........... the next; after all of them, wait and start over
//!     sends nothing at all ................. the next as well, and whoever answers first (`attempts`)
//! ```
//!
//! Every attempt of a write carries the same write id, so that an attempt whose answer was lost and its repetition are
//! one write. An attempt gets half of the time that is left while there is another node to try: a coordinator that is
//! there and never answers costs half of the time, not all of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::attempts::{Attempts, Over};
use super::control::name_of;
use super::error::ClientError;
use super::handle::Shared;
use super::line::{CallError, fresh_seed};
use super::map::{Candidate, Map, Pick, Tried, Whom};
use super::node::PATIENCE;
use crate::protocol::types::{Address, PartitionId, WriteId};
use crate::protocol::version::Dot;
use crate::protocol::wire::{FailureCode, Kind, WireError};

/// The wait after the first round in vain, before jitter.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// The longest wait between rounds.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// A node's wish to be left alone for longer is a mistake.
const HINT_MAX: Duration = Duration::from_secs(10);

/// An answer that is of no use; another owner may have a better one.
pub(super) enum Useless {
    Malformed(WireError),
    Corrupt(Dot),
}

impl From<WireError> for Useless {
    fn from(error: WireError) -> Self {
        Self::Malformed(error)
    }
}

/// A request's body and how to read its answer.
pub(super) struct Message<L, R> {
    pub(super) body_bytes: usize,
    /// Lays the body.
    pub(super) lay: L,
    pub(super) reply: Kind,
    /// Reads the answer's body.
    pub(super) read: R,
}

/// One request on its way.
pub(super) struct Errand<'a> {
    shared: &'a Arc<Shared>,
    address: &'a Address,
    kind: Kind,
    write_id: Option<WriteId>,
    timeout: Duration,
    deadline: Instant,
    /// Nodes that were tried in this round.
    tried: Tried,
    in_flight: Attempts,
    attempts: u32,
    rounds: u32,
    /// What came of the last attempt.
    last: Option<String>,
    /// A node's account that is worth more than "no answer".
    account: Option<ClientError>,
    /// The account is an owner's, and ends the errand once every owner was asked.
    is_final: bool,
    /// The shortest time after which an owner that was overloaded wants to be asked again, in this round.
    retry_after: Option<Duration>,
}

impl<'a> Errand<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        address: &'a Address,
        kind: Kind,
        write_id: Option<WriteId>,
        timeout: Duration,
    ) -> Self {
        Self {
            shared,
            address,
            kind,
            write_id,
            timeout,
            deadline: Instant::now() + timeout,
            tried: Tried::default(),
            in_flight: Attempts::default(),
            attempts: 0,
            rounds: 0,
            last: None,
            account: None,
            is_final: false,
            retry_after: None,
        }
    }

    /// Runs the errand.
    pub(super) async fn run<T, L, R>(mut self, message: Message<L, R>) -> Result<T, ClientError>
    where
        L: Fn(&mut Vec<u8>),
        R: Fn(Bytes) -> Result<T, Useless>,
    {
        loop {
            if Instant::now() >= self.deadline {
                return Err(self.give_up());
            }
            if !self.in_flight.are_heard() {
                let map = self.shared.map();
                let partition = map.partition_of(self.address);
                if let Pick::Ask(candidate) = map.pick(partition, &self.tried, self.whom()) {
                    self.begin(&map, candidate, &message).await?;
                    continue;
                }
                if self.in_flight.is_empty() {
                    self.wait(&map, partition).await?;
                    continue;
                }
            }
            let Some(Over { candidate, result }) = self.listen().await else { continue };
            let frame = match result {
                Ok(frame) => frame,
                Err(error) => {
                    self.note(&candidate, error).await?;
                    continue;
                }
            };
            if self.shared.map().is_behind(&frame.header) {
                self.shared.refresh_later();
            }
            let read = if frame.kind() == Some(message.reply) {
                (message.read)(frame.body)
            } else {
                let found = u64::from(frame.header.kind);
                Err(Useless::Malformed(WireError::Field { what: "kind of an answer", found }))
            };
            match read {
                Ok(answer) => return Ok(answer),
                Err(useless) => self.note_useless(&candidate, useless),
            }
        }
    }

    /// Sends the request to somebody.
    async fn begin<T, L, R>(
        &mut self,
        map: &Map,
        candidate: Candidate,
        message: &Message<L, R>,
    ) -> Result<(), ClientError>
    where
        L: Fn(&mut Vec<u8>),
        R: Fn(Bytes) -> Result<T, Useless>,
    {
        self.attempts += 1;
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let until = if map.untried(&self.tried, self.whom()) <= 1 { self.deadline } else { now + left / 2 };
        self.tried.add(&candidate);
        match candidate.line.ask(self.kind, map.layout(), message.body_bytes, &message.lay, until) {
            Ok(sent) => {
                self.in_flight.begin(candidate, sent);
                Ok(())
            }
            Err(error) => self.note(&candidate, error).await,
        }
    }

    /// Waits for what is in flight. While all of that is with silent nodes, somebody else may come up.
    async fn listen(&mut self) -> Option<Over> {
        if self.in_flight.are_heard() {
            return self.in_flight.next().await;
        }
        tokio::select! {
            biased;
            over = self.in_flight.next() => over,
            () = self.shared.changed.notified() => None,
            () = sleep_until(Instant::now() + PATIENCE) => None,
        }
    }

    /// An owner that has answered with its account is there: others could only ask it again.
    const fn whom(&self) -> Whom {
        if self.is_final { Whom::Owners } else { Whom::Anybody }
    }

    fn note_useless(&mut self, candidate: &Candidate, useless: Useless) {
        let node = candidate.node.name.clone();
        self.is_final |= candidate.slot.is_some();
        self.account = Some(match useless {
            Useless::Malformed(source) => ClientError::Malformed { node, source },
            Useless::Corrupt(dot) => ClientError::Corrupt { node, dot },
        });
    }

    /// Takes an attempt's failure; the error is the end of the errand.
    async fn note(&mut self, candidate: &Candidate, error: CallError) -> Result<(), ClientError> {
        let node = || candidate.node.name.clone();
        self.last = Some(format!("{}: {error}", candidate.node.name));
        match error {
            CallError::Refused(failure) if !failure.code.is_retryable() => {
                return Err(ClientError::Refused { node: node(), failure });
            }
            CallError::Refused(failure) => {
                let code = failure.code;
                if failure.retry_after_ms > 0 {
                    let after = Duration::from_millis(u64::from(failure.retry_after_ms));
                    self.retry_after = Some(self.retry_after.map_or(after, |other| other.min(after)));
                }
                self.account = Some(ClientError::Refused { node: node(), failure });
                let is_account =
                    matches!(code, FailureCode::QuorumNotMet | FailureCode::TimedOut | FailureCode::DiskFull);
                self.is_final |= is_account && candidate.slot.is_some();
                if code == FailureCode::Stale && self.refreshed().await {
                    // Other owners, or the same ones by another name.
                    self.tried = Tried::default();
                }
            }
            CallError::Malformed(source) => self.note_useless(candidate, Useless::Malformed(source)),
            CallError::Silent(_)
            | CallError::Lost(_)
            | CallError::Down(_)
            | CallError::Full(_)
            | CallError::TooMany => {}
        }
        Ok(())
    }

    /// Whether the cluster has a newer layout, which is known now.
    async fn refreshed(&mut self) -> bool {
        let before = self.shared.map().layout();
        match timeout_at(self.deadline, self.shared.refresh()).await {
            Ok(Ok(())) => self.shared.map().layout() != before,
            Ok(Err(error)) => {
                self.last = Some(error.to_string());
                false
            }
            Err(_) => false,
        }
    }

    /// There is nobody to ask right now: waits for a line to come up, or until the next round.
    async fn wait(&mut self, map: &Map, partition: PartitionId) -> Result<(), ClientError> {
        let mut changed = pin!(self.shared.changed.notified());
        changed.as_mut().enable();
        let now = Instant::now();
        // Looked at once more: a line may have come up just before the wait began.
        let until = match map.pick(partition, &self.tried, self.whom()) {
            Pick::Ask(_) => return Ok(()),
            Pick::Soon => now + PATIENCE,
            Pick::Nobody if self.tried.is_empty() => {
                // Whatever their back-off is, somebody wants them now.
                map.nodes().iter().for_each(|node| node.retry_now());
                now + WAIT_MAX
            }
            Pick::Nobody => {
                if self.is_final {
                    return Err(self.give_up());
                }
                self.tried = Tried::default();
                self.rounds += 1;
                let wait = back_off(self.rounds, self.retry_after.take().unwrap_or_default());
                sleep_until((now + wait).min(self.deadline)).await;
                return self.in_time(map, partition);
            }
        };
        // Elapsed or changed: the next look finds out.
        timeout_at(until.min(self.deadline), changed).await.unwrap_or_default();
        self.in_time(map, partition)
    }

    fn in_time(&mut self, map: &Map, partition: PartitionId) -> Result<(), ClientError> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        if self.last.is_none() {
            let reasons: Vec<String> = map.owners(partition).map(|(_, node)| node.reason(partition)).collect();
            self.last = Some(reasons.join("; "));
        }
        Err(self.give_up())
    }

    fn give_up(&mut self) -> ClientError {
        self.account.take().unwrap_or_else(|| ClientError::Unanswered {
            what: name_of(self.kind),
            timeout: self.timeout,
            attempts: self.attempts,
            last: self.last.take().unwrap_or_else(|| "nobody was asked".to_owned()),
            write_id: self.write_id,
        })
    }
}

/// The wait before a round: 10 ms, doubled each time up to 500 ms, of which a random half to whole is taken, so that
/// clients of a node that was overloaded do not come back in step. Where the nodes said when to ask again, it is at
/// least that, and up to half of it more.
pub(super) fn back_off(rounds: u32, hint: Duration) -> Duration {
    let whole = WAIT_MIN.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(WAIT_MAX);
    let hint = hint.min(HINT_MAX);
    let least = (whole / 2).max(hint);
    let span = u64::try_from((whole / 2).max(hint / 2).as_nanos()).expect("half of the longest hint is 5 s");
    least + Duration::from_nanos(Xoshiro256PlusPlus::seed_from_u64(fresh_seed()).next_u64() % (span + 1))
}
