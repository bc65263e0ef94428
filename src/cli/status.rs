//! `quorate status`: how every node sees itself and the others.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::connection::{Contact, block_on};
use super::outcome::Outcome;
use super::request::timeout;
use super::screen::{self, Paint, paint};
use crate::client::{ClientError, ClientOptions, Control};
use crate::protocol::types::NodeId;
use crate::protocol::wire::{NodeStatus, PeerStatus, ViewReply};

/// How long one node may take.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Show nodes, partitions and connections.
///
/// Asks every member of the roster, and the nodes of the profile. A node that does not answer is shown as unreachable,
/// with the reason. Exit code 1 when none answers.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Time for each node, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

/// What one node said.
struct Row {
    name: Option<String>,
    node: Option<NodeId>,
    address: SocketAddr,
    status: Result<NodeStatus, String>,
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
        screen::print(to_text(view.as_ref(), &rows).as_bytes())?;
    }
    let answered = rows.iter().any(|row| row.status.is_ok());
    Ok(if answered { Outcome::Done } else { Outcome::Failed })
}

/// Asks the profile's nodes, then the members of the roster that one of them told.
async fn ask(options: &ClientOptions, timeout: Duration) -> (Option<ViewReply>, Vec<Row>) {
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
        }
    }
    rows.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
    (view, rows)
}

async fn ask_all(
    options: &ClientOptions,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
) -> Vec<(Row, Option<ViewReply>)> {
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
            (Row { name, node, address, status }, view)
        });
    }
    asking.join_all().await
}

fn to_text(view: Option<&ViewReply>, rows: &[Row]) -> String {
    let mut out = String::new();
    if let Some(view) = view {
        let (partitions, replicas) = (view.parameters.partitions, view.parameters.replicas);
        let (r, w) = (view.read_quorum, view.write_quorum);
        let (cluster, layout) = (view.cluster, view.layout);
        let head =
            format!("cluster {cluster}  layout {layout}  {partitions} partitions, {replicas} replicas, r={r} w={w}");
        out.push_str(&(head + "\n\n"));
    }
    let head = ["NODE", "ADDRESS", "ROLE", "PARTITIONS", "SHARDS", "DURABILITY", "UPTIME", "PEERS", "VERSION"];
    let mut table: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(cells));
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for (at, cells) in table.iter().enumerate() {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        let row = at.checked_sub(1).and_then(|at| rows.get(at));
        let line = match row.map(|row| &row.status) {
            None => paint(Paint::Bold, line.trim_end()),
            Some(Ok(_)) => line.trim_end().to_owned(),
            Some(Err(reason)) => paint(Paint::Bad, &format!("{}  unreachable: {reason}", line.trim_end())),
        };
        out.push_str(&line);
        out.push('\n');
    }
    troubles(rows, &mut out);
    out
}

fn cells(row: &Row) -> Vec<String> {
    let name = row.name.clone().unwrap_or_else(|| "?".to_owned());
    let Ok(status) = &row.status else { return vec![name, row.address.to_string()] };
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    let role = if status.unverified { format!("{}, unverified", status.role) } else { status.role.clone() };
    vec![
        name,
        row.address.to_string(),
        role,
        format!("{}/{}", status.partitions, status.partitions_total),
        status.shards.to_string(),
        status.durability.clone(),
        humantime::format_duration(Duration::from_secs(status.uptime_s)).to_string(),
        format!("{connected}/{}", status.peers.len()),
        status.version.clone(),
    ]
}

/// What a glance at the table does not tell: who does not reach whom, and what to do with a node that waits.
fn troubles(rows: &[Row], out: &mut String) {
    for row in rows {
        let Ok(status) = &row.status else { continue };
        for peer in status.peers.iter().filter(|peer| !peer.connected) {
            let reason = peer.error.as_deref().unwrap_or("no reason is known yet");
            let line = format!("{} does not reach {} ({}): {reason}", status.name, peer.name, peer.address);
            writeln!(out, "{}", paint(Paint::Bad, &line)).unwrap_or_default();
        }
        // Connected, and yet the members agree that it does not answer, or doubt it.
        for peer in status.peers.iter().filter(|peer| peer.connected && !matches!(&*peer.standing, "" | "alive")) {
            let line = format!("{} believes that {} ({}) is {}", status.name, peer.name, peer.address, peer.standing);
            writeln!(out, "{}", paint(Paint::Bad, &line)).unwrap_or_default();
        }
        if !matches!(&*status.room, "" | "plenty") {
            let (name, free, reserve) = (&status.name, status.disk_free, status.disk_reserve);
            let line = format!(
                "the disk of {name} is nearly full: {free} bytes are free, {reserve} are its reserve; it takes no new \
                 values"
            );
            writeln!(out, "{}", paint(Paint::Bad, &line)).unwrap_or_default();
        }
        for peer in status.peers.iter().filter(|peer| peer.connected) {
            let Some(difference) = &peer.error else { continue };
            let line = format!("{} disagrees with {} ({}): {difference}", status.name, peer.name, peer.address);
            writeln!(out, "{}", paint(Paint::Bad, &line)).unwrap_or_default();
        }
        if status.cluster.is_none() {
            let name = &status.name;
            let hint = format!("{name} waits for a cluster: quorate cluster create {name}={} ..", row.address);
            writeln!(out, "{}", paint(Paint::Good, &hint)).unwrap_or_default();
        }
    }
}

/// Ids in hexadecimal, as everywhere.
fn to_json(view: Option<&ViewReply>, rows: &[Row]) -> Json {
    let nodes = rows.iter().map(|row| {
        let mut node = json!({
            "node": row.node.map(|node| node.to_string()),
            "name": row.name,
            "address": row.address.to_string(),
            "reachable": row.status.is_ok(),
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
        "uptime_s": status.uptime_s,
        "generation": status.generation.as_u64(),
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}
