//! The node behind the HTTP door.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::http::Door;
use super::state::{NodeShared, Verification};
use crate::metrics::{NodeNumbers, render};
use crate::protocol::shard::View;
use crate::protocol::wire::{Failure, Frame, Kind, NodeStatus};
use crate::transport::Tally;

/// What HTTP requests are carried to. Clones are the same node.
#[derive(Debug, Clone)]
pub(crate) struct NodeDoor {
    shared: Arc<NodeShared>,
    tally: Arc<Tally>,
}

impl NodeDoor {
    pub(crate) fn new(shared: Arc<NodeShared>, tally: Arc<Tally>) -> Self {
        Self { shared, tally }
    }
}

impl Door for NodeDoor {
    async fn ask(&self, kind: Kind, body: Bytes, budget: Duration) -> Result<Frame, Failure> {
        self.shared.ask(kind, body, budget).await
    }

    fn status(&self) -> NodeStatus {
        self.shared.status()
    }

    fn view(&self) -> Option<Arc<View>> {
        self.shared.view()
    }

    fn readiness(&self) -> Result<(), String> {
        let Some(view) = self.shared.view() else {
            return Err("waiting: run `quorate cluster create`".to_owned());
        };
        if self.shared.verification() == Verification::Lost {
            return Err("this node may have lost acknowledged writes; its answers do not count toward R".to_owned());
        }
        let connected = self.shared.status().peers.iter().filter(|peer| peer.connected).count();
        let (reached, quorum) = (connected + 1, usize::from(view.read_quorum.max(view.write_quorum)));
        if reached < quorum {
            return Err(format!("this node reaches {reached} members with itself; a quorum is {quorum}"));
        }
        Ok(())
    }

    async fn metrics(&self) -> String {
        let reports = self.shared.reports().await;
        let counts = self.tally.counts();
        let numbers = NodeNumbers {
            status: self.shared.status(),
            shards: reports.iter().map(|report| report.counters.clone()).collect(),
            hints: reports.iter().map(|report| report.hints.0).sum(),
            hint_bytes: reports.iter().map(|report| report.hints.1).sum(),
            oldest_hint: reports.iter().map(|report| report.oldest_hint).max().unwrap_or_default(),
            in_sync_age: oldest(reports.iter().map(|report| report.in_sync_age)),
            gossip: self.shared.gossip().map(super::gossip::Gossip::counters).unwrap_or_default(),
            in_flight: reports.iter().map(|report| report.in_flight as u64).sum(),
            turns: reports.iter().map(|report| report.turns).sum(),
            commits: reports.iter().map(|report| report.commits).sum(),
            sessions: counts.sessions,
            sessions_refused: counts.refused,
            frames_malformed: counts.malformed,
            frames_not_allowed: counts.not_allowed,
            frames_unsupported: counts.unsupported,
            damaged: self.shared.damaged.load(Ordering::Acquire) as u64,
            life_renewals: u64::from(self.shared.vouch().now.count),
        };
        render(&numbers)
    }

    fn value_bytes_max(&self) -> usize {
        self.shared.config.value_bytes_max
    }
}

/// The greatest of all ages; none when one is not known.
fn oldest(ages: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    ages.collect::<Option<Vec<_>>>()?.into_iter().max()
}
