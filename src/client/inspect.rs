//! Inspecting an item: what each node of its preference list holds of it, by its own account.
//!
//! This is no read: nothing is merged for the caller, no quorum is asked for, and no node is asked in place of another.
//! It is for people who want to know why a read shows what it shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::ClientError;
use super::handle::Client;
use super::line::Line;
use super::map::Map;
use super::node::Node;
use crate::protocol::ring::{KeyHash, PreferenceList};
use crate::protocol::types::{Address, NodeId, PartitionId};
use crate::protocol::version::{ConflictPolicy, Dot, Head, Siblings};
use crate::protocol::wire::{InspectReply, InspectRequest, Inspected, Kind};

/// Fallbacks that are asked, the first of the list: they are who stands in for owners.
pub const FALLBACKS_ASKED: usize = 8;

/// An item, as the nodes of its preference list hold it.
#[derive(Debug)]
pub struct Inspection {
    /// Its place on the ring.
    pub hash: KeyHash,
    /// The partition of that.
    pub partition: PartitionId,
    /// The nodes that were asked, in the order of the preference list.
    pub replicas: Vec<Replica>,
    /// Further fallbacks, which were not.
    pub not_asked: Vec<String>,
}

/// A node of the preference list.
#[derive(Debug)]
pub struct Replica {
    /// Which.
    pub node: NodeId,
    /// Its label.
    pub name: String,
    /// It owns the partition; else it may keep hints for owners.
    pub primary: bool,
    /// What it says, or why it says nothing.
    pub answer: Result<Account, String>,
}

/// What a node says of its copy.
#[derive(Debug)]
pub struct Account {
    /// What it holds.
    pub holding: Holding,
    /// It may have lost acknowledged writes: its copy does not count toward R.
    pub unverified: bool,
    /// These are hints that it keeps for owners, joined.
    pub hinted: bool,
}

/// What a node holds of an item.
#[derive(Debug)]
pub enum Holding {
    /// Versions, their values left out, and the bytes of each value in the versions' order.
    Item(Siblings, Vec<usize>),
    /// Nothing.
    Absent,
    /// It cannot read what it holds, and why.
    Unreadable(String),
}

/// How a copy differs from all that is known of the item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behind {
    /// Versions that it has not heard of.
    pub lacks: Vec<Dot>,
    /// Versions that it has, and that another node knows to be replaced.
    pub replaced: Vec<Dot>,
    /// It knows of fewer replaced versions; what it shows is the same.
    pub past: bool,
}

impl Behind {
    /// Whether there is any difference.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        *self != Self::default()
    }
}

impl Inspection {
    /// The join of all that was told.
    #[must_use]
    pub fn join(&self) -> Siblings {
        let mut join = Siblings::default();
        for item in self.replicas.iter().filter_map(Replica::item) {
            // Whatever the table does with concurrent versions: a copy that is the join as the table makes it is this
            // join too, for its vector covers what it dropped.
            join.join(item, ConflictPolicy::Siblings);
        }
        join
    }
}

impl Replica {
    fn item(&self) -> Option<&Siblings> {
        match self.answer.as_ref().ok()?.holding {
            Holding::Item(ref item, _) => Some(item),
            Holding::Absent | Holding::Unreadable(_) => None,
        }
    }

    /// How an owner's copy differs from the join; none when that cannot be said, or is not its business.
    #[must_use]
    pub fn behind(&self, join: &Siblings) -> Option<Behind> {
        let absent = Siblings::default();
        let item = match &self.answer.as_ref().ok().filter(|_| self.primary)?.holding {
            Holding::Item(item, _) => item,
            Holding::Absent => &absent,
            Holding::Unreadable(_) => return None,
        };
        let dots = |item: &Siblings| item.versions().iter().map(|version| version.dot).collect::<BTreeSet<_>>();
        let (ours, all) = (dots(item), dots(join));
        let lacks: Vec<Dot> = all.difference(&ours).copied().collect();
        let replaced: Vec<Dot> = ours.difference(&all).copied().collect();
        let past = lacks.is_empty() && replaced.is_empty() && item.context() != join.context();
        Some(Behind { lacks, replaced, past })
    }
}

impl Client {
    /// Asks the owners of an item, and the first [`FALLBACKS_ASKED`] fallbacks, what they hold of it; or one node only,
    /// by name or id. A node that does not answer within the request's timeout is told of, and no error.
    pub async fn inspect(&self, address: &Address, only: Option<&str>) -> Result<Inspection, ClientError> {
        let map = self.0.map();
        let partition = map.partition_of(address);
        let hash = KeyHash::of(address, map.view.parameters.hash_seed);
        let (asked, not_asked) = candidates(&map, partition, only)?;
        let deadline = Instant::now() + self.0.timeouts.request;
        let mut asking = JoinSet::new();
        for (place, (node, primary)) in asked.into_iter().enumerate() {
            let (map, changed) = (map.clone(), self.0.changed.clone());
            let request = InspectRequest { address: address.clone() };
            asking.spawn(async move {
                let answer = ask(&map, &node, &changed, partition, &request, deadline).await;
                (place, Replica { node: node.id, name: node.name.clone(), primary, answer })
            });
        }
        let mut replicas = asking.join_all().await;
        replicas.sort_by_key(|(place, _)| *place);
        let replicas = replicas.into_iter().map(|(_, replica)| replica).collect();
        Ok(Inspection { hash, partition, replicas, not_asked })
    }
}

type Candidates = (Vec<(Arc<Node>, bool)>, Vec<String>);

/// Whom to ask, each with whether it is an owner, and the names of the fallbacks beyond.
fn candidates(map: &Map, partition: PartitionId, only: Option<&str>) -> Result<Candidates, ClientError> {
    let PreferenceList { primaries, fallbacks } = PreferenceList::of(map.ring(), partition);
    let all = primaries.iter().map(|id| (*id, true)).chain(fallbacks.iter().map(|id| (*id, false)));
    let mut nodes: Vec<_> = all.filter_map(|(id, primary)| Some((map.node(id)?.clone(), primary))).collect();
    if let Some(wanted) = only {
        nodes.retain(|(node, _)| node.name == wanted || node.id.to_string() == wanted);
        if nodes.is_empty() {
            return Err(ClientError::NoSuchNode(wanted.to_owned()));
        }
        return Ok((nodes, Vec::new()));
    }
    let beyond = nodes.split_off(nodes.len().min(primaries.len() + FALLBACKS_ASKED));
    Ok((nodes, beyond.iter().map(|(node, _)| node.name.clone()).collect()))
}

/// One node's account, or why there is none.
async fn ask(
    map: &Map,
    node: &Arc<Node>,
    changed: &Notify,
    partition: PartitionId,
    request: &InspectRequest,
    deadline: Instant,
) -> Result<Account, String> {
    let line = up(node, changed, partition, deadline).await?;
    let lay = |out: &mut Vec<u8>| request.encode(out);
    let frame = line.call(Kind::Inspect, map.layout(), request.body_bytes(), lay, deadline).await;
    let frame = frame.map_err(|error| error.to_string())?;
    let malformed = |error: &dyn std::fmt::Display| format!("its answer cannot be understood: {error}");
    if frame.kind() != Some(Kind::InspectReply) {
        return Err(malformed(&format_args!("a frame of kind {}", frame.header.kind)));
    }
    let InspectReply { found, unverified, hinted } =
        InspectReply::decode(frame.body).map_err(|error| malformed(&error))?;
    let holding = match found {
        Inspected::Absent => Holding::Absent,
        Inspected::Unreadable(reason) => Holding::Unreadable(reason),
        Inspected::Head(bytes) => {
            let head = Head::decode(&bytes).map_err(|error| malformed(&error))?;
            let lengths = Head::value_lengths(&bytes).map_err(|error| malformed(&error))?;
            Holding::Item(head.into_parts().0, lengths)
        }
    };
    Ok(Account { holding, unverified, hinted })
}

/// The line to the shard that has the partition, once it is up.
async fn up(
    node: &Arc<Node>,
    changed: &Notify,
    partition: PartitionId,
    deadline: Instant,
) -> Result<Arc<Line>, String> {
    loop {
        let mut change = std::pin::pin!(changed.notified());
        // From here on no change is missed, the one between the look and the wait included.
        change.as_mut().enable();
        if let Some(line) = node.line(partition).filter(|line| line.is_up()) {
            return Ok(line);
        }
        if tokio::time::timeout_at(deadline, change).await.is_err() {
            let reason = node.reason(partition);
            let prefix = format!("{}: ", node.name);
            return Err(reason.strip_prefix(&prefix).unwrap_or(&reason).to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::types::{ActorId, Hlc, WriteId};
    use crate::protocol::version::{Context, Version};

    fn dot(counter: u64) -> Dot {
        Dot::new(ActorId::new(7), counter)
    }

    fn put(item: &mut Siblings, counter: u64, seen: &Context) {
        let (dot, write_id) = (dot(counter), WriteId::new(counter.into()));
        let version = Version {
            dot,
            hlc: Hlc::ZERO,
            write_id,
            tombstone: false,
            expires_at: 0,
            checksum: 0,
            value: Bytes::new(),
        };
        item.put(seen, version, ConflictPolicy::Siblings);
    }

    fn replica(primary: bool, holding: Holding) -> Replica {
        let answer = Ok(Account { holding, unverified: false, hinted: !primary });
        Replica { node: NodeId::new(1), name: "n1".to_owned(), primary, answer }
    }

    fn held(item: &Siblings) -> Holding {
        Holding::Item(item.clone(), vec![0; item.versions().len()])
    }

    #[test]
    fn copies_are_compared_with_the_join_of_all() {
        let mut old = Siblings::default();
        put(&mut old, 1, &Context::default());
        let mut both = old.clone();
        put(&mut both, 2, &Context::default());
        let mut newest = both.clone();
        put(&mut newest, 3, &Context::of(&both));
        let replicas = vec![
            replica(true, held(&newest)),
            replica(true, held(&both)),
            replica(true, Holding::Absent),
            replica(true, Holding::Unreadable("rot".to_owned())),
            replica(false, held(&old)),
        ];
        let hash = KeyHash::from_bits(1);
        let seen = Inspection { hash, partition: PartitionId::new(0), replicas, not_asked: Vec::new() };
        let join = seen.join();
        assert_eq!(join, newest);
        let found: Vec<_> = seen.replicas.iter().map(|replica| replica.behind(&join)).collect();
        let behind = |lacks: &[u64], replaced: &[u64]| {
            let dots = |counters: &[u64]| counters.iter().map(|counter| dot(*counter)).collect();
            Some(Behind { lacks: dots(lacks), replaced: dots(replaced), past: false })
        };
        assert_eq!(found, [behind(&[], &[]), behind(&[3], &[1, 2]), behind(&[3], &[]), None, None]);
        assert!(!found[0].as_ref().is_some_and(Behind::is_behind));
    }
}
