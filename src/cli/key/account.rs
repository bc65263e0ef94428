//! What was found of an item, for people and for programs.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cli::figures;
use crate::cli::screen::{self, Colours, Paint};
use crate::cli::table::{Cell, Column, Table};
use crate::client::inspect::{Account, Behind, Holding, Inspection, Replica};
use crate::protocol::types::{Address, WallTime};
use crate::protocol::version::{Dot, Siblings, Version};

/// Dots of a list that are shown to people; a vector may have thousands.
const DOTS_SHOWN: usize = 6;

const NODES: [Column; 6] = [
    Column::text("NODE", 0),
    Column::text("ROLE", 2),
    Column::text("STATE", 0),
    Column::number("VERSIONS", 1),
    Column::number("BYTES", 1),
    Column::number("NEWEST", 3),
];

const VERSIONS: [Column; 6] = [
    Column::text("VERSION", 0),
    Column::text("KIND", 2),
    Column::number("BYTES", 1),
    Column::number("AGE", 0),
    Column::text("WRITTEN", 3),
    Column::text("WRITE ID", 4),
];

/// In what state a node's copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UpToDate,
    Behind,
    Absent,
    Unreadable,
    NoAnswer,
    KeepsHints,
    KeepsNothing,
}

impl State {
    fn of(replica: &Replica, behind: Option<&Behind>) -> Self {
        match (&replica.answer, replica.primary) {
            (Err(_), _) => Self::NoAnswer,
            (Ok(Account { holding: Holding::Unreadable(_), .. }), _) => Self::Unreadable,
            (Ok(Account { holding: Holding::Item(..), .. }), false) => Self::KeepsHints,
            (Ok(Account { holding: Holding::Absent, .. }), false) => Self::KeepsNothing,
            (Ok(_), true) if behind.is_some_and(Behind::is_behind) => Self::Behind,
            (Ok(Account { holding: Holding::Absent, .. }), true) => Self::Absent,
            (Ok(Account { holding: Holding::Item(..), .. }), true) => Self::UpToDate,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Behind => "behind",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::NoAnswer => "no_answer",
            Self::KeepsHints => "keeps_hints",
            Self::KeepsNothing => "keeps_nothing",
        }
    }

    const fn paint(self) -> Paint {
        match self {
            Self::UpToDate => Paint::Good,
            Self::Behind | Self::KeepsHints => Paint::Warn,
            Self::Absent | Self::KeepsNothing => Paint::Dim,
            Self::Unreadable | Self::NoAnswer => Paint::Bad,
        }
    }
}

/// For people: where the item belongs, a line a node, then the versions of each copy that differs from the others.
pub(super) fn to_text(
    address: &Address,
    seen: &Inspection,
    partitions: u32,
    now: WallTime,
    width: Option<usize>,
    colours: Colours,
) -> String {
    let mut lines = vec![
        format!("item       {address:?}"),
        format!("hash       {:016x}", seen.hash.to_bits()),
        format!("partition  {} of {partitions}", seen.partition),
        format!("prefers    {}", preference(seen)),
        String::new(),
    ];
    let join = seen.join();
    let rows = seen.replicas.iter().map(|replica| row(replica, &join, now)).collect();
    let (table, _) = Table::new(&NODES, rows).lines(width, colours);
    lines.extend(table);
    for (names, item, lengths) in copies(seen) {
        lines.extend([String::new(), colours.paint(Paint::Bold, &format!("on {}", names.join(", ")))]);
        if !item.versions().is_empty() {
            let versions = item.versions().iter().zip(lengths).map(|(version, bytes)| shown(version, *bytes, now));
            lines.extend(Table::new(&VERSIONS, versions.collect()).lines(width, colours).0);
        }
        let past: Vec<Dot> = item.vector().iter().collect();
        if !past.is_empty() {
            lines.push(format!("replaced: up to {}", dots(&past)));
        }
    }
    let mut notes: Vec<String> = seen.replicas.iter().filter_map(|replica| note(replica, &join)).collect();
    if !notes.is_empty() {
        lines.push(String::new());
        lines.append(&mut notes);
    }
    lines.join("\n") + "\n"
}

/// `n2, n1, n3; fallbacks n4, n5`
fn preference(seen: &Inspection) -> String {
    let names = |primary: bool| {
        let of = seen.replicas.iter().filter(move |replica| replica.primary == primary);
        of.map(|replica| replica.name.clone()).collect::<Vec<_>>()
    };
    let mut fallbacks = names(false);
    if !seen.not_asked.is_empty() {
        fallbacks.push(format!("and {} more, not asked", seen.not_asked.len()));
    }
    match fallbacks.is_empty() {
        true => names(true).join(", "),
        false => format!("{}; fallbacks {}", names(true).join(", "), fallbacks.join(", ")),
    }
}

fn row(replica: &Replica, join: &Siblings, now: WallTime) -> Vec<Cell> {
    let state = State::of(replica, replica.behind(join).as_ref());
    let unverified = replica.answer.as_ref().is_ok_and(|account| account.unverified);
    let words = state.as_str().replace('_', " ");
    let state = match unverified {
        true => Cell::painted(format!("{words}, unverified"), Paint::Warn),
        false => Cell::painted(words, state.paint()),
    };
    let role = if replica.primary { "primary" } else { "fallback" };
    let mut cells = vec![Cell::new(replica.name.clone()), Cell::new(role), state];
    match &replica.answer {
        Ok(Account { holding: Holding::Item(item, lengths), .. }) => {
            let newest = item.versions().iter().map(|version| version.hlc.wall()).max();
            let age = newest.map_or_else(Cell::none, |at| Cell::new(ago(at, now)));
            let bytes = figures::bytes(lengths.iter().sum::<usize>() as u64);
            cells.extend([Cell::new(item.versions().len().to_string()), Cell::new(bytes), age]);
        }
        Ok(_) | Err(_) => cells.extend([Cell::none(), Cell::none(), Cell::none()]),
    }
    cells
}

/// The copies that differ, each with the nodes that hold it.
fn copies(seen: &Inspection) -> Vec<(Vec<&str>, &Siblings, &[usize])> {
    let mut found: Vec<(Vec<&str>, &Siblings, &[usize])> = Vec::new();
    for replica in &seen.replicas {
        let Ok(Account { holding: Holding::Item(item, lengths), .. }) = &replica.answer else { continue };
        match found.iter_mut().find(|(_, other, _)| *other == item) {
            Some((names, _, _)) => names.push(&replica.name),
            None => found.push((vec![&replica.name], item, lengths)),
        }
    }
    found
}

fn shown(version: &Version, bytes: usize, now: WallTime) -> Vec<Cell> {
    let at = version.hlc.wall();
    let (kind, bytes) = match version.tombstone {
        true => (Cell::painted("tombstone", Paint::Warn), Cell::none()),
        false => (Cell::new("value"), Cell::new(figures::bytes(bytes as u64))),
    };
    vec![
        Cell::new(version.dot.to_string()),
        kind,
        bytes,
        Cell::new(ago(at, now)),
        Cell::new(screen::time(at)),
        Cell::new(version.write_id.to_string()),
    ]
}

/// What the table does not say of a node.
fn note(replica: &Replica, join: &Siblings) -> Option<String> {
    let name = &replica.name;
    match &replica.answer {
        Err(reason) => return Some(format!("{name} does not answer: {reason}")),
        Ok(Account { holding: Holding::Unreadable(reason), .. }) => {
            return Some(format!("{name} cannot read its copy: {reason}"));
        }
        Ok(_) => {}
    }
    let Behind { lacks, replaced, past } = replica.behind(join)?;
    let mut words = Vec::new();
    if !lacks.is_empty() {
        words.push(format!("lacks {}", dots(&lacks)));
    }
    if !replaced.is_empty() {
        words.push(format!("still has {}, replaced elsewhere", dots(&replaced)));
    }
    if past {
        words.push("knows of fewer replaced versions, and shows the same".to_owned());
    }
    (!words.is_empty()).then(|| format!("{name} is behind: it {}", words.join("; it ")))
}

fn dots(dots: &[Dot]) -> String {
    let shown: Vec<String> = dots.iter().take(DOTS_SHOWN).map(ToString::to_string).collect();
    match dots.len().saturating_sub(DOTS_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn since(at: WallTime, now: WallTime) -> Duration {
    Duration::from_millis(now.as_millis().saturating_sub(at.as_millis()))
}

fn ago(at: WallTime, now: WallTime) -> String {
    format!("{} ago", figures::age(since(at, now)))
}

/// For programs: all of it. A key that is no text is there in base64 only.
pub(super) fn to_json(address: &Address, seen: &Inspection, now: WallTime) -> Json {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let join = seen.join();
    json!({
        "table": address.table().as_str(),
        "key": text(address.key()),
        "key_base64": screen::base64(address.key()),
        "sort": text(address.sort()),
        "sort_base64": screen::base64(address.sort()),
        "hash": format!("{:016x}", seen.hash.to_bits()),
        "partition": seen.partition.as_u16(),
        "replicas": seen.replicas.iter().map(|replica| replica_json(replica, &join, now)).collect::<Vec<_>>(),
        "not_asked": seen.not_asked,
    })
}

fn replica_json(replica: &Replica, join: &Siblings, now: WallTime) -> Json {
    let behind = replica.behind(join);
    let listed = |dots: &[Dot]| dots.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (item, lengths) = match &replica.answer {
        Ok(Account { holding: Holding::Item(item, lengths), .. }) => (Some(item), lengths.as_slice()),
        Ok(_) | Err(_) => (None, &[][..]),
    };
    let error = match &replica.answer {
        Err(reason) | Ok(Account { holding: Holding::Unreadable(reason), .. }) => Some(reason),
        Ok(_) => None,
    };
    let version = |(version, bytes): (&Version, &usize)| {
        json!({
            "dot": version.dot.to_string(),
            "tombstone": version.tombstone,
            "bytes": bytes,
            "written_at": screen::time(version.hlc.wall()),
            "age_ms": u64::try_from(since(version.hlc.wall(), now).as_millis()).unwrap_or(u64::MAX),
            "write_id": version.write_id.to_string(),
        })
    };
    json!({
        "node": replica.node.to_string(),
        "name": replica.name,
        "role": if replica.primary { "primary" } else { "fallback" },
        "state": State::of(replica, behind.as_ref()).as_str(),
        "error": error,
        "unverified": replica.answer.as_ref().is_ok_and(|account| account.unverified),
        "versions": item.map(|item| item.versions().iter().zip(lengths).map(version).collect::<Vec<_>>()),
        "past": item.map(|item| item.vector().iter().map(|dot| dot.to_string()).collect::<Vec<_>>()),
        "lacks": behind.as_ref().map(|behind| listed(&behind.lacks)),
        "replaced": behind.as_ref().map(|behind| listed(&behind.replaced)),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::ring::KeyHash;
    use crate::protocol::types::{ActorId, Hlc, NodeId, PartitionId, WriteId};
    use crate::protocol::version::{ConflictPolicy, Context};

    const NOW: WallTime = WallTime::from_millis(1_700_000_180_000);

    fn written(item: &mut Siblings, counter: u64, seen: &Context, tombstone: bool) {
        let version = Version {
            dot: Dot::new(ActorId::new(7), counter),
            hlc: Hlc::ZERO.tick(WallTime::from_millis(1_700_000_000_000)),
            write_id: WriteId::new(counter.into()),
            tombstone,
            expires_at: 0,
            checksum: 0,
            value: Bytes::new(),
        };
        item.put(seen, version, ConflictPolicy::Siblings);
    }

    fn replica(name: &str, primary: bool, answer: Result<Holding, &str>) -> Replica {
        let account = |holding| Account { holding, unverified: false, hinted: !primary };
        let answer = answer.map(account).map_err(str::to_owned);
        Replica { node: NodeId::new(1), name: name.to_owned(), primary, answer }
    }

    /// n1 has two siblings, n2 the first of them, n3 does not answer, n4 keeps a hint.
    fn seen() -> Inspection {
        let mut first = Siblings::default();
        written(&mut first, 4, &Context::default(), false);
        let mut both = first.clone();
        written(&mut both, 5, &Context::default(), true);
        let replicas = vec![
            replica("n1", true, Ok(Holding::Item(both.clone(), vec![12, 0]))),
            replica("n2", true, Ok(Holding::Item(first, vec![12]))),
            replica("n3", true, Err("there is no connection")),
            replica("n4", false, Ok(Holding::Item(both, vec![12, 0]))),
            replica("n5", false, Ok(Holding::Absent)),
        ];
        let hash = KeyHash::from_bits(0x3f2a << 48);
        Inspection { hash, partition: PartitionId::new(15), replicas, not_asked: vec!["n6".to_owned()] }
    }

    fn address() -> Address {
        Address::new("carts".into(), "alice".into(), "".into()).unwrap()
    }

    #[test]
    fn text_says_who_holds_what_and_who_is_behind() {
        let text = to_text(&address(), &seen(), 64, NOW, None, Colours::NONE);
        let expected = "\
item       carts/alice
hash       3f2a000000000000
partition  p0015 of 64
prefers    n1, n2, n3; fallbacks n4, n5, and 1 more, not asked

NODE  ROLE      STATE          VERSIONS  BYTES  NEWEST
n1    primary   up to date            2   12 B  3m ago
n2    primary   behind                1   12 B  3m ago
n3    primary   no answer             -      -       -
n4    fallback  keeps hints           2   12 B  3m ago
n5    fallback  keeps nothing         -      -       -

on n1, n4
VERSION             KIND       BYTES     AGE  WRITTEN                   WRITE ID
0000000000000007:4  value       12 B  3m ago  2023-11-14T22:13:20.000Z  00000000000000000000000000000004
0000000000000007:5  tombstone      -  3m ago  2023-11-14T22:13:20.000Z  00000000000000000000000000000005

on n2
VERSION             KIND   BYTES     AGE  WRITTEN                   WRITE ID
0000000000000007:4  value   12 B  3m ago  2023-11-14T22:13:20.000Z  00000000000000000000000000000004

n2 is behind: it lacks 0000000000000007:5
n3 does not answer: there is no connection
";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_has_the_same_for_programs() {
        let json = to_json(&address(), &seen(), NOW);
        let states: Vec<_> = json["replicas"].as_array().unwrap().iter().map(|replica| &replica["state"]).collect();
        assert_eq!(states, ["up_to_date", "behind", "no_answer", "keeps_hints", "keeps_nothing"]);
        let first = &json["replicas"][0];
        assert_eq!((&first["versions"][0]["bytes"], &first["versions"][1]["tombstone"]), (&json!(12), &json!(true)));
        assert_eq!(first["versions"][0]["age_ms"], 180_000);
        assert_eq!(json["replicas"][1]["lacks"], json!(["0000000000000007:5"]));
        assert_eq!((&json["partition"], &json["key"]), (&json!(15), &json!("alice")));
        assert_eq!(json["replicas"][2]["error"], "there is no connection");
    }
}
