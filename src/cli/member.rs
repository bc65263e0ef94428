//! A member as an operator sees it: by its own account, and by what the others believe of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::figures;
use super::screen::Paint;
use super::table::Cell;
use crate::protocol::types::NodeId;
use crate::protocol::wire::NodeStatus;

/// An owner is compared with each other about every ten seconds: from here on something holds that up.
const IN_SYNC_LATE: Duration = Duration::from_secs(2 * 60);
/// From here on an alert goes off (`grafana/alerts.yml`).
const IN_SYNC_OVERDUE: Duration = Duration::from_secs(6 * 3600);

/// A member, or a node that waits to become one.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Option<String>,
    pub(super) node: Option<NodeId>,
    pub(super) address: SocketAddr,
    pub(super) zone: String,
    /// Its own account, or why there is none.
    pub(super) status: Result<NodeStatus, String>,
}

/// How a member stands with the others, from bad to good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Unreachable,
    Suspect,
    Alive,
}

impl Standing {
    fn of(word: &str) -> Option<Self> {
        match word {
            "unreachable" => Some(Self::Unreachable),
            "suspect" => Some(Self::Suspect),
            "alive" => Some(Self::Alive),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Suspect => "suspect",
            Self::Alive => "alive",
        }
    }
}

impl Member {
    pub(super) fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| "?".to_owned())
    }

    /// The worst that any other member believes of it; none while nobody says anything.
    pub(super) fn standing<'a>(&self, all: impl IntoIterator<Item = &'a Self>) -> Option<Standing> {
        let node = self.node?;
        let peers = all.into_iter().filter_map(|other| other.status.as_ref().ok()).flat_map(|status| &status.peers);
        peers.filter(|peer| peer.node == node).filter_map(|peer| Standing::of(&peer.standing)).min()
    }

    /// In what state it is, in a few words.
    pub(super) fn state<'a>(&self, all: impl IntoIterator<Item = &'a Self>) -> Cell {
        let believed = self.standing(all);
        let Ok(status) = &self.status else {
            return match believed {
                // The others reach it and we do not: what is wrong lies between it and here.
                Some(standing @ (Standing::Alive | Standing::Suspect)) => {
                    Cell::painted(format!("{}, no answer", standing.as_str()), Paint::Bad)
                }
                Some(Standing::Unreachable) => Cell::painted("unreachable", Paint::Bad),
                None => Cell::painted("no answer", Paint::Bad),
            };
        };
        if status.cluster.is_none() {
            return Cell::painted("waiting", Paint::Warn);
        }
        let (mut words, mut paint) = match believed {
            None | Some(Standing::Alive) => ("alive".to_owned(), Paint::Good),
            Some(Standing::Suspect) => ("suspect".to_owned(), Paint::Warn),
            Some(Standing::Unreachable) => ("unreachable".to_owned(), Paint::Bad),
        };
        let mut also = |what: &str, how: Paint| {
            words = format!("{words}, {what}");
            paint = if paint == Paint::Bad { paint } else { how };
        };
        if status.unverified {
            also("unverified", Paint::Warn);
        }
        match &*status.room {
            "" | "plenty" => {}
            "reserve" => also("disk nearly full", Paint::Warn),
            _ => also("disk full", Paint::Bad),
        }
        Cell::painted(words, paint)
    }

    /// Something of its own account.
    pub(super) fn told(&self, cell: impl FnOnce(&NodeStatus) -> Cell) -> Cell {
        self.status.as_ref().map_or_else(|_| Cell::none(), cell)
    }
}

/// How long ago all partitions agreed with their other owners' copies.
pub(super) fn in_sync(status: &NodeStatus) -> Cell {
    let Some(age) = status.in_sync_ms.map(Duration::from_millis) else {
        return match status.never_in_sync {
            0 => Cell::none(),
            partitions => Cell::painted(format!("{partitions} never"), Paint::Warn),
        };
    };
    let paint = match age {
        age if age >= IN_SYNC_OVERDUE => Paint::Bad,
        age if age >= IN_SYNC_LATE => Paint::Warn,
        _ => Paint::Good,
    };
    Cell::painted(format!("{} ago", figures::age(age)), paint)
}

/// What is kept for others.
pub(super) fn hints(status: &NodeStatus) -> Cell {
    match status.hints {
        0 => Cell::new("0"),
        hints => {
            let text = format!("{} ({})", figures::count(hints as f64), figures::bytes(status.hint_bytes));
            Cell::painted(text, Paint::Warn)
        }
    }
}

/// Members that it is connected with.
pub(super) fn peers(status: &NodeStatus) -> Cell {
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    let text = format!("{connected}/{}", status.peers.len());
    match status.peers.len() - connected {
        0 => Cell::new(text),
        _ if connected == 0 => Cell::painted(text, Paint::Bad),
        _ => Cell::painted(text, Paint::Warn),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::types::{BootGeneration, ClusterId};
    use crate::protocol::wire::PeerStatus;

    /// A healthy node's account of itself.
    pub(in super::super) fn status() -> NodeStatus {
        NodeStatus {
            node: NodeId::new(1),
            name: "n1".to_owned(),
            version: "0.1.0".to_owned(),
            cluster: Some(ClusterId::new(7)),
            layout: None,
            role: "member".to_owned(),
            partitions: 64,
            partitions_total: 64,
            shards: 1,
            durability: "sync".to_owned(),
            unverified: false,
            room: "plenty".to_owned(),
            disk_free: 1 << 40,
            disk_reserve: 1 << 30,
            stored_bytes: 1_288_490_189,
            hints: 0,
            hint_bytes: 0,
            in_sync_ms: Some(6_000),
            never_in_sync: 0,
            uptime_s: 7_200,
            generation: BootGeneration::new(1),
            peers: Vec::new(),
        }
    }

    pub(in super::super) fn peer(node: u128, standing: &str) -> PeerStatus {
        PeerStatus {
            node: NodeId::new(node),
            name: format!("n{node}"),
            address: ([127, 0, 0, 1], 1).into(),
            connected: standing == "alive",
            error: None,
            standing: standing.to_owned(),
        }
    }

    pub(in super::super) fn member(node: u128, status: Result<NodeStatus, String>) -> Member {
        let (name, address) = (Some(format!("n{node}")), ([127, 0, 0, 1], 1).into());
        Member { name, node: Some(NodeId::new(node)), address, zone: String::new(), status }
    }

    #[test]
    fn state_is_its_own_account_and_what_the_others_believe() {
        let plain = status();
        let of = |believed: &[&str], own: Result<NodeStatus, String>| {
            let believers = believed.iter().map(|word| {
                let status = NodeStatus { peers: vec![peer(1, word)], ..plain.clone() };
                member(2, Ok(status))
            });
            let all: Vec<Member> = std::iter::once(member(1, own)).chain(believers).collect();
            let cell = all[0].state(&all);
            (cell.text, cell.paint.unwrap())
        };
        let silent = || Err("no answer".to_owned());
        assert_eq!(of(&["alive"], Ok(plain.clone())), ("alive".to_owned(), Paint::Good));
        assert_eq!(of(&["alive", "suspect"], Ok(plain.clone())), ("suspect".to_owned(), Paint::Warn));
        assert_eq!(of(&["unreachable"], silent()), ("unreachable".to_owned(), Paint::Bad));
        assert_eq!(of(&["alive"], silent()), ("alive, no answer".to_owned(), Paint::Bad));
        assert_eq!(of(&[], silent()), ("no answer".to_owned(), Paint::Bad));
        let troubled = NodeStatus { unverified: true, room: "emergency".to_owned(), ..plain.clone() };
        assert_eq!(of(&["alive"], Ok(troubled)), ("alive, unverified, disk full".to_owned(), Paint::Bad));
        let nearly = NodeStatus { room: "reserve".to_owned(), ..plain.clone() };
        assert_eq!(of(&["alive"], Ok(nearly)), ("alive, disk nearly full".to_owned(), Paint::Warn));
        let waiting = NodeStatus { cluster: None, ..plain.clone() };
        assert_eq!(of(&[], Ok(waiting)), ("waiting".to_owned(), Paint::Warn));
    }

    #[test]
    fn ages_and_hints_are_coloured_by_what_they_mean() {
        let of = |in_sync_ms, never_in_sync| {
            let cell = in_sync(&NodeStatus { in_sync_ms, never_in_sync, ..status() });
            (cell.text, cell.paint)
        };
        assert_eq!(of(Some(9_000), 0), ("9s ago".to_owned(), Some(Paint::Good)));
        assert_eq!(of(Some(180_000), 0), ("3m ago".to_owned(), Some(Paint::Warn)));
        assert_eq!(of(Some(7 * 3_600_000), 0), ("7h ago".to_owned(), Some(Paint::Bad)));
        assert_eq!(of(None, 5), ("5 never".to_owned(), Some(Paint::Warn)));
        let kept = hints(&NodeStatus { hints: 1_234, hint_bytes: 5_000, ..status() });
        assert_eq!((&*kept.text, kept.paint), ("1.2k (4.9 KiB)", Some(Paint::Warn)));
    }
}
