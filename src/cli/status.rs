//! `quorate status`: how every node sees itself and the others.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::connection::{Contact, block_on};
use super::figures;
use super::member::{self, Member, Standing};
use super::outcome::Outcome;
use super::request::timeout;
use super::screen::{self, Colours, Paint};
use super::table::{Cell, Column, Table};
use crate::client::{ClientError, ClientOptions, Control};
use crate::protocol::wire::{NodeStatus, PeerStatus, ViewReply};

/// How long one node may take.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Show nodes, partitions and connections.
///
/// Asks every member of the roster, and the nodes of the profile, each for itself and for what it believes of the
/// others: alive, suspect or unreachable. A narrow terminal is shown less of each, --json has all. Exit code 1 when no
/// node answers.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Time for each node, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

/// Runs the subcommand.
///
/// # Errors
/// No usable profile.
pub fn run(args: &StatusArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let options = contact.options(None)?;
    let timeout = args.timeout.unwrap_or(NODE_TIMEOUT);
    let (view, rows) = block_on(async { Ok(ask(&options, timeout).await) })?;
    if args.json {
        screen::print_json(&to_json(view.as_ref(), &rows))?;
    } else {
        screen::print(to_text(view.as_ref(), &rows, screen::width(), Colours::of_stdout()).as_bytes())?;
    }
    let answered = rows.iter().any(|row| row.status.is_ok());
    Ok(if answered { Outcome::Done } else { Outcome::Failed })
}

/// Asks the profile's nodes, then the members of the roster that one of them told.
async fn ask(options: &ClientOptions, timeout: Duration) -> (Option<ViewReply>, Vec<Member>) {
    let mut rows = Vec::new();
    let mut view = None;
    for (row, seen) in ask_all(options, options.nodes.clone(), timeout).await {
        rows.push(row);
        view = view.or(seen);
    }
    if let Some(view) = &view {
        let members = view.roster.members().iter().map(|member| member.address);
        let rest = members.filter(|address| !options.nodes.contains(address)).collect();
        rows.extend(ask_all(options, rest, timeout).await.into_iter().map(|(row, _)| row));
        for row in &mut rows {
            let member = view.roster.members().iter().find(|member| member.address == row.address);
            row.node = row.node.or(member.map(|member| member.id));
            row.name = row.name.take().or(member.map(|member| member.name.clone()));
            row.zone = member.map(|member| member.zone.clone()).unwrap_or_default();
        }
    }
    rows.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
    (view, rows)
}

async fn ask_all(
    options: &ClientOptions,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
) -> Vec<(Member, Option<ViewReply>)> {
    let mut asking = JoinSet::new();
    for address in addresses {
        let credentials = options.credentials.clone();
        asking.spawn(async move {
            let asked = async {
                let control = Control::dial(&credentials, address, timeout).await?;
                let status = control.status().await?;
                // A node that waits has no view.
                let view = control.view().await.ok();
                control.close().await;
                Ok::<_, ClientError>((status, view))
            };
            let (status, view) = match asked.await {
                Ok((status, view)) => (Ok(status), view),
                Err(ClientError::Session { source, .. }) => (Err(source.to_string()), None),
                Err(error) => (Err(error.to_string()), None),
            };
            let known = status.as_ref().ok();
            let (name, node) = (known.map(|status| status.name.clone()), known.map(|status| status.node));
            (Member { name, node, address, zone: String::new(), status }, view)
        });
    }
    asking.join_all().await
}

/// What is shown of each node. The numbers say what a narrow terminal does without first.
const COLUMNS: [Column; 13] = [
    Column::text("NODE", 0),
    Column::text("ZONE", 4),
    Column::text("STATE", 0),
    Column::number("PARTITIONS", 3),
    Column::number("STORED", 1),
    Column::number("HINTS", 2),
    Column::number("IN SYNC", 1),
    Column::number("UPTIME", 6),
    Column::number("PEERS", 5),
    Column::text("VERSION", 7),
    Column::text("DURABILITY", 8),
    Column::number("SHARDS", 9),
    Column::text("ADDRESS", 10),
];

fn to_text(view: Option<&ViewReply>, members: &[Member], width: Option<usize>, colours: Colours) -> String {
    let mut lines = Vec::new();
    if let Some(view) = view {
        lines.extend(head(view, members, width, colours));
        lines.push(String::new());
    }
    let table = Table::new(&COLUMNS, members.iter().map(|member| cells(member, members)).collect());
    // Where there are no zones, nobody need be told.
    let zones = members.iter().any(|member| !member.zone.is_empty());
    let table = if zones { table } else { table.without("ZONE") };
    let (table, left_out) = table.lines(width, colours);
    lines.extend(table);
    if !left_out.is_empty() {
        let text = format!("a wider terminal shows {}; --json has all", left_out.join(", ").to_lowercase());
        lines.extend(wrapped(&text, width).iter().map(|line| colours.paint(Paint::Dim, line)));
    }
    for (paint, text) in troubles(members) {
        lines.extend(wrapped(&text, width).iter().map(|line| colours.paint(paint, line)));
    }
    lines.join("\n") + "\n"
}

/// The cluster in a line, or in several where one would be too long.
fn head(view: &ViewReply, members: &[Member], width: Option<usize>, colours: Colours) -> Vec<String> {
    let (partitions, replicas) = (view.parameters.partitions, view.parameters.replicas);
    let (r, w) = (view.read_quorum, view.write_quorum);
    let parts = [
        format!("cluster {}", view.cluster),
        format!("layout {}", view.layout),
        format!("{partitions} partitions, {replicas} replicas, r={r} w={w}"),
    ];
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + part.len() <= width.unwrap_or(usize::MAX) => {
                line.extend(["  ", &part]);
            }
            _ => lines.push(part),
        }
    }
    let answered = members.iter().filter(|member| member.status.is_ok()).count();
    let paint = match members.len() - answered {
        0 => Paint::Good,
        _ if answered == 0 => Paint::Bad,
        _ => Paint::Warn,
    };
    lines.push(colours.paint(paint, &format!("{answered} of {} nodes answer", members.len())));
    lines
}

fn cells(member: &Member, all: &[Member]) -> Vec<Cell> {
    let zone = if member.zone.is_empty() { Cell::none() } else { Cell::new(member.zone.clone()) };
    vec![
        Cell::new(member.label()),
        zone,
        member.state(all),
        member.told(|status| Cell::new(format!("{}/{}", status.partitions, status.partitions_total))),
        member.told(|status| Cell::new(figures::bytes(status.stored_bytes))),
        member.told(member::hints),
        member.told(member::in_sync),
        member.told(|status| Cell::new(figures::age(Duration::from_secs(status.uptime_s)))),
        member.told(member::peers),
        member.told(|status| Cell::new(status.version.clone())),
        member.told(|status| Cell::new(status.durability.clone())),
        member.told(|status| Cell::new(status.shards.to_string())),
        Cell::new(member.address.to_string()),
    ]
}

/// What a glance at the table does not tell: who does not reach whom, and what to do about it.
fn troubles(members: &[Member]) -> Vec<(Paint, String)> {
    let mut found = Vec::new();
    for member in members {
        match &member.status {
            Ok(status) => troubles_of(status, member.address, &mut found),
            Err(reason) => {
                let (name, address) = (member.label(), member.address);
                found.push((Paint::Bad, format!("{name} ({address}) does not answer: {reason}")));
            }
        }
    }
    found
}

fn troubles_of(status: &NodeStatus, address: SocketAddr, found: &mut Vec<(Paint, String)>) {
    let name = &status.name;
    for peer in status.peers.iter().filter(|peer| !peer.connected) {
        let reason = peer.error.as_deref().unwrap_or("no reason is known yet");
        found.push((Paint::Bad, format!("{name} does not reach {} ({}): {reason}", peer.name, peer.address)));
    }
    // Connected, and yet the members agree that it does not answer, or doubt it.
    for peer in status.peers.iter().filter(|peer| peer.connected && !matches!(&*peer.standing, "" | "alive")) {
        let text = format!("{name} believes that {} ({}) is {}", peer.name, peer.address, peer.standing);
        found.push((Paint::Bad, text));
    }
    if !matches!(&*status.room, "" | "plenty") {
        let (free, reserve) = (figures::bytes(status.disk_free), figures::bytes(status.disk_reserve));
        let text = format!(
            "the disk of {name} is nearly full: {free} are free, {reserve} are its reserve; it takes no new values"
        );
        found.push((Paint::Bad, text));
    }
    if status.unverified {
        let text = format!(
            "{name} may lack acknowledged writes: its answers do not count toward R until exchanges with all other \
             owners are done"
        );
        found.push((Paint::Warn, text));
    }
    for peer in status.peers.iter().filter(|peer| peer.connected) {
        let Some(difference) = &peer.error else { continue };
        found.push((Paint::Bad, format!("{name} disagrees with {} ({}): {difference}", peer.name, peer.address)));
    }
    if status.cluster.is_none() {
        let text = format!("{name} waits for a cluster: quorate cluster create {name}={address} ..");
        found.push((Paint::Good, text));
    }
}

/// Prose in lines that fit, broken between words; what continues a line is indented.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let limit = width.unwrap_or(usize::MAX);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= limit => {
                line.extend([" ", word]);
            }
            Some(_) => lines.push(format!("  {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Ids in hexadecimal, as everywhere.
fn to_json(view: Option<&ViewReply>, rows: &[Member]) -> Json {
    let nodes = rows.iter().map(|row| {
        let mut node = json!({
            "node": row.node.map(|node| node.to_string()),
            "name": row.name,
            "address": row.address.to_string(),
            "zone": row.zone,
            "reachable": row.status.is_ok(),
            "state": row.state(rows).text,
            "standing": row.standing(rows).map(Standing::as_str),
        });
        let details = match &row.status {
            Ok(status) => status_json(status),
            Err(reason) => json!({ "error": reason }),
        };
        if let (Some(node), Json::Object(details)) = (node.as_object_mut(), details) {
            node.extend(details);
        }
        node
    });
    json!({
        "cluster": view.map(|view| view.cluster.to_string()),
        "layout": view.map(|view| view.layout.to_string()),
        "partitions": view.map(|view| view.parameters.partitions),
        "replicas": view.map(|view| view.parameters.replicas),
        "read_quorum": view.map(|view| view.read_quorum),
        "write_quorum": view.map(|view| view.write_quorum),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

fn status_json(status: &NodeStatus) -> Json {
    let peer = |peer: &PeerStatus| {
        json!({
            "node": peer.node.to_string(),
            "name": peer.name,
            "address": peer.address.to_string(),
            "connected": peer.connected,
            "error": peer.error,
            "standing": peer.standing,
        })
    };
    json!({
        "role": status.role,
        "version": status.version,
        "layout": status.layout.map(|layout| layout.to_string()),
        "partitions": status.partitions,
        "partitions_total": status.partitions_total,
        "shards": status.shards,
        "durability": status.durability,
        "unverified": status.unverified,
        "disk": status.room,
        "disk_free_bytes": status.disk_free,
        "disk_reserve_bytes": status.disk_reserve,
        "stored_bytes": status.stored_bytes,
        "hints": status.hints,
        "hint_bytes": status.hint_bytes,
        "in_sync_age_ms": status.in_sync_ms,
        "never_in_sync": status.never_in_sync,
        "uptime_s": status.uptime_s,
        "generation": status.generation.as_u64(),
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::member::tests::{member, peer, status};
    use super::*;
    use crate::protocol::ring::{Layout, Member as Listed, Parameters, Roster};
    use crate::protocol::types::{ClusterId, NodeId};

    fn view() -> ViewReply {
        let listed = |n: u16| Listed {
            id: NodeId::new(u128::from(n)),
            name: format!("n{n}"),
            zone: "a".to_owned(),
            weight: 1,
            address: ([127, 0, 0, 1], 7400 + n).into(),
        };
        let roster = Roster::new((1..=3).map(listed).collect()).unwrap();
        let parameters = Parameters { partitions: 64, replicas: 3, hash_seed: 1 };
        let layout = Layout::first(&roster, parameters).unwrap().id();
        ViewReply { cluster: ClusterId::new(7), roster, parameters, layout, read_quorum: 2, write_quorum: 2 }
    }

    /// n1 and n2 answer and believe that n3 does not; n2 keeps hints for it.
    fn members() -> Vec<Member> {
        let own = |name: &str, hints| NodeStatus {
            name: name.to_owned(),
            hints,
            hint_bytes: hints * 400,
            peers: vec![peer(3, "unreachable")],
            ..status()
        };
        vec![
            Member { zone: "a".to_owned(), ..member(1, Ok(own("n1", 0))) },
            member(2, Ok(NodeStatus { in_sync_ms: None, never_in_sync: 3, ..own("n2", 12) })),
            member(3, Err("timed out".to_owned())),
        ]
    }

    #[test]
    fn table_has_state_stock_and_age_of_every_node() {
        let text = to_text(Some(&view()), &members(), None, Colours::NONE);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "2 of 3 nodes answer");
        let columns = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let heads = COLUMNS.map(|column| column.head.to_owned()).to_vec();
        assert_eq!(columns(lines[3]), heads, "{text}");
        let row =
            ["n1", "a", "alive", "64/64", "1.2 GiB", "0", "6s ago", "2h", "0/1", "0.1.0", "sync", "1", "127.0.0.1:1"];
        assert_eq!(columns(lines[4]), row, "{text}");
        assert!(lines[5].contains("12 (4.7 KiB)") && lines[5].contains("3 never"), "{text}");
        assert_eq!(columns(lines[6])[2], "unreachable");
        assert!(text.contains("\nn1 does not reach n3 (127.0.0.1:1): no reason is known yet\n"), "{text}");
        assert!(text.ends_with("\nn3 (127.0.0.1:1) does not answer: timed out\n"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_important_columns_stay() {
        for width in [40, 60, 80, 100, 130] {
            let text = to_text(Some(&view()), &members(), Some(width), Colours::NONE);
            for line in text.lines() {
                // Words that are longer than the terminal cannot be broken: ids.
                let words = line.trim().contains(' ');
                assert!(!words || line.chars().count() <= width, "{width}: {line:?}\n{text}");
            }
            assert!(text.contains("NODE") && text.contains("STATE") && text.contains("unreachable"), "{width}\n{text}");
            let told = text.contains("a wider terminal shows") && text.contains("address");
            assert_eq!(told, width < 130, "{width}\n{text}");
        }
    }

    #[test]
    fn cluster_without_zones_has_no_column_for_them() {
        let one = [member(1, Ok(status()))];
        let text = to_text(None, &one, None, Colours::NONE);
        assert!(!text.contains("ZONE") && text.contains("NODE  STATE"), "{text}");
    }

    #[test]
    fn json_has_the_same_for_scripts() {
        let json = to_json(Some(&view()), &members());
        let nodes = json["nodes"].as_array().unwrap();
        assert_eq!((&nodes[0]["state"], &nodes[0]["reachable"]), (&json!("alive"), &json!(true)));
        assert_eq!((&nodes[2]["state"], &nodes[2]["standing"]), (&json!("unreachable"), &json!("unreachable")));
        assert_eq!((&nodes[1]["hints"], &nodes[1]["hint_bytes"]), (&json!(12), &json!(4800)));
        assert_eq!((&nodes[0]["in_sync_age_ms"], &nodes[1]["in_sync_age_ms"]), (&json!(6000), &Json::Null));
        assert_eq!((&nodes[1]["never_in_sync"], &nodes[0]["stored_bytes"]), (&json!(3), &json!(1_288_490_189_u64)));
        assert_eq!(nodes[2]["error"], "timed out");
    }
}
