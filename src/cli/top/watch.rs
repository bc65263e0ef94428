//! Every node and what it said last, with a minute of what it did.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::rates::Rates;
use crate::cli::member::Member;
use crate::cli::table::Cell;
use crate::client::{Client, ClientError, Control};
use crate::protocol::types::ClusterId;
use crate::protocol::wire::{NodeCounts, NodeStatus};

/// Samples that are kept: a minute of them, one a second.
pub(super) const SAMPLES_MAX: usize = 60;

/// The nodes of a cluster, and how they are asked.
pub(super) struct Watch {
    client: Client,
    pub(super) roll: Roll,
}

/// The nodes of a cluster.
pub(super) struct Roll {
    pub(super) cluster: ClusterId,
    pub(super) nodes: Vec<Watched>,
}

/// A node.
pub(super) struct Watched {
    pub(super) member: Member,
    /// What it did between the last two looks; none when it did not answer both.
    pub(super) rates: Option<Rates>,
    /// The looks before, the oldest first.
    pub(super) history: VecDeque<Option<Rates>>,
    session: Option<Control>,
    counts: Option<(NodeCounts, Instant)>,
}

type Answer = Result<(NodeStatus, NodeCounts), String>;

impl Watch {
    /// The members of the client's cluster. Nobody was asked anything yet.
    pub(super) fn new(client: &Client) -> Self {
        let view = client.view();
        let mut members: Vec<_> = view.roster.members().to_vec();
        members.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
        let watched = |member: crate::protocol::ring::Member| Watched {
            member: Member {
                name: Some(member.name),
                node: Some(member.id),
                address: member.address,
                zone: member.zone,
                status: Err("it was not asked yet".to_owned()),
            },
            rates: None,
            history: VecDeque::new(),
            session: None,
            counts: None,
        };
        let roll = Roll { cluster: view.cluster, nodes: members.into_iter().map(watched).collect() };
        Self { client: client.clone(), roll }
    }

    /// Asks all of them at once; who does not answer in time has not.
    pub(super) async fn look(&mut self, within: Duration) {
        let mut asking = JoinSet::new();
        for (place, node) in self.roll.nodes.iter_mut().enumerate() {
            let (client, address, session) = (self.client.clone(), node.member.address, node.session.take());
            asking.spawn(async move {
                let asked = tokio::time::timeout(within, async move {
                    let session = match session {
                        Some(session) => session,
                        None => client.control(address).await?,
                    };
                    let (status, counts) = (session.status().await?, session.counts().await?);
                    Ok::<_, ClientError>((session, status, counts))
                });
                let told = match asked.await {
                    Ok(Ok((session, status, counts))) => (Some(session), Ok((status, counts))),
                    Ok(Err(error)) => (None, Err(error.to_string())),
                    Err(_) => (None, Err(format!("no answer within {} ms", within.as_millis()))),
                };
                (place, told)
            });
        }
        for (place, (session, answer)) in asking.join_all().await {
            if let Some(node) = self.roll.nodes.get_mut(place) {
                node.session = session;
                node.take(answer, Instant::now());
            }
        }
    }
}

impl Roll {
    /// Nodes that answered the last look.
    pub(super) fn answered(&self) -> usize {
        self.nodes.iter().filter(|node| node.member.status.is_ok()).count()
    }

    /// In what state a node is, by its own account and by the others'.
    pub(super) fn state_of(&self, node: &Watched) -> Cell {
        node.member.state(self.nodes.iter().map(|node| &node.member))
    }
}

impl Watched {
    fn take(&mut self, answer: Answer, now: Instant) {
        let counts = match answer {
            Ok((status, counts)) => {
                self.member.status = Ok(status);
                Some((counts, now))
            }
            Err(reason) => {
                self.member.status = Err(reason);
                None
            }
        };
        let both = self.counts.as_ref().zip(counts.as_ref());
        self.rates =
            both.map(|((before, then), (after, now))| Rates::between(before, after, now.duration_since(*then)));
        if self.counts.is_some() || !self.history.is_empty() {
            self.history.push_back(self.rates.clone());
        }
        if self.history.len() > SAMPLES_MAX {
            self.history.pop_front();
        }
        self.counts = counts;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::member::tests::{member, status};
    use crate::cli::top::rates::VerbRates;

    pub(in super::super) fn rates(requests: u32, p99_ms: u64) -> Rates {
        let (begun, p99) = (f64::from(requests), Some(Duration::from_millis(p99_ms)));
        let gets = VerbRates { begun, failed: 0.0, p50: Some(Duration::from_micros(310)), p99 };
        Rates { gets, puts: VerbRates::default(), in_flight: 2, queued: Some(4) }
    }

    /// A node that did this in the last looks; one that did nothing in any has not answered.
    pub(in super::super) fn watched(number: u128, history: Vec<Option<Rates>>) -> Watched {
        let status = history.iter().any(Option::is_some).then(status).ok_or_else(|| "timed out".to_owned());
        let rates = history.last().cloned().flatten();
        let member = member(number, status);
        Watched { member, rates, history: history.into(), session: None, counts: None }
    }

    #[test]
    fn look_without_an_answer_leaves_a_gap_and_the_next_two_make_rates_again() {
        let mut node = watched(1, Vec::new());
        let began = Instant::now();
        let answers = |second: u64| (Ok((status(), NodeCounts::default())), began + Duration::from_secs(second));
        let mut look = |answer: Answer, at| {
            node.take(answer, at);
            node.history.iter().map(Option::is_some).collect::<Vec<_>>()
        };
        let (answer, at) = answers(0);
        assert_eq!(look(answer, at), [false; 0], "one account makes no rate");
        let (answer, at) = answers(1);
        assert_eq!(look(answer, at), [true]);
        assert_eq!(look(Err("no".to_owned()), began + Duration::from_secs(2)), [true, false]);
        let (answer, at) = answers(3);
        assert_eq!(look(answer, at), [true, false, false]);
        let (answer, at) = answers(4);
        assert_eq!(look(answer, at), [true, false, false, true]);
        for second in 5..200 {
            let (answer, at) = answers(second);
            look(answer, at);
        }
        assert_eq!(node.history.len(), SAMPLES_MAX);
    }
}
