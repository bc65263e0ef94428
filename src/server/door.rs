//! The node behind the HTTP door.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::gossip::Gossip;
use super::http::{Door, HttpTally};
use super::state::{NodeShared, Verification};
use crate::metrics::{NodeNumbers, QuicNumbers, render};
use crate::pki::CurrentCredentials;
use crate::protocol::shard::{Room, View};
use crate::protocol::wire::{Failure, Frame, Kind, NodeStatus};
use crate::transport::Tally;

/// What HTTP requests are carried to. Clones are the same node.
#[derive(Debug, Clone)]
pub(crate) struct NodeDoor {
    shared: Arc<NodeShared>,
    tally: Arc<Tally>,
    credentials: CurrentCredentials,
    /// How long the newest page took.
    last_scrape: Arc<Mutex<Option<Duration>>>,
}

impl NodeDoor {
    pub(crate) fn new(shared: Arc<NodeShared>, tally: Arc<Tally>, credentials: CurrentCredentials) -> Self {
        Self { shared, tally, credentials, last_scrape: Arc::default() }
    }

    /// Copies of what the node's threads have left in memory. Not async: there is nothing here to wait for.
    fn numbers(&self) -> NodeNumbers {
        let now = self.shared.clock.instant();
        let pinned = self.shared.inboxes.iter().filter_map(|inbox| inbox.pinboard().newest());
        let (view, gossip) = (self.shared.view(), self.shared.gossip());
        let credentials = self.credentials.now();
        let names = view.iter().flat_map(|view| view.layout.nodes().iter().map(|node| view.roster.name_of(*node)));
        NodeNumbers {
            status: self.shared.status(),
            shards: pinned.map(|report| report.numbers(now)).collect(),
            names: names.collect(),
            layouts_live: u64::from(view.is_some()),
            gossip: gossip.map(Gossip::counters).unwrap_or_default(),
            standings: gossip.map(Gossip::standings).unwrap_or_default(),
            refused: self.shared.admission.refused(),
            request_bytes: self.shared.admission.bytes() as u64,
            storage: self.shared.disk_numbers.numbers(),
            life_renewals: u64::from(self.shared.vouch().now.count),
            quic: QuicNumbers { round_trips: self.round_trips(view.as_deref()), ..self.tally.counts() },
            http: self.shared.http.numbers(),
            process: self.shared.process.numbers(),
            certificates: vec![
                ("node", credentials.not_after().as_unix()),
                ("ca", credentials.authority_not_after().as_unix()),
            ],
            certificate_renewals: self.shared.renewal.renewed(),
            certificate_reload_failing: self.shared.renewal.is_failing(),
            last_scrape: *self.last_scrape.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Of the control links that are up.
    fn round_trips(&self, view: Option<&View>) -> Vec<(String, Duration)> {
        let links = self.shared.links();
        let peers = links.iter().filter_map(|(node, link)| Some((*node, link.peer()?)));
        let name = |node| view.map(|view| view.roster.name_of(node)).unwrap_or_default();
        peers.map(|(node, peer)| (name(node), peer.connection().rtt())).collect()
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
        // In the reserve it serves reads, deletes and replication all the same.
        if self.shared.space.seen().0 == Room::Emergency {
            return Err(self.shared.space.trouble().unwrap_or_default());
        }
        let connected = self.shared.status().peers.iter().filter(|peer| peer.connected).count();
        let (reached, quorum) = (connected + 1, usize::from(view.read_quorum.max(view.write_quorum)));
        if reached < quorum {
            return Err(format!("this node reaches {reached} members with itself; a quorum is {quorum}"));
        }
        Ok(())
    }

    async fn metrics(&self) -> String {
        let began = Instant::now();
        let page = render(&self.numbers());
        *self.last_scrape.lock().unwrap_or_else(PoisonError::into_inner) = Some(began.elapsed());
        page
    }

    fn tally(&self) -> &HttpTally {
        &self.shared.http
    }

    fn value_bytes_max(&self) -> usize {
        self.shared.config.value_bytes_max
    }
}

#[cfg(test)]
mod tests;
