//! `quorate cluster create`: makes a cluster of nodes that wait.
//!
//! Every node is asked for its state before anything is changed. If one of them has a creation already, from an attempt
//! that did not reach all of them, that record is what the others are given, so the same command again completes the
//! work. If that record is not what the command asks for, nothing is changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use tokio::task::JoinSet;

use super::connection::block_on;
use super::outcome::{Outcome, UsageError};
use super::request::{replicas, timeout};
use super::screen;
use crate::client::{ClientError, Control};
use crate::pki::Credentials;
use crate::protocol::ring::{Layout, LayoutId, Member, Parameters, Roster};
use crate::protocol::types::limits::PARTITIONS_MAX;
use crate::protocol::types::{ClusterId, TableName};
use crate::protocol::version::{ConflictPolicy, TokenKey, TokenKeys};
use crate::protocol::wire::{Creation, NodeState, TableRecord};

/// Make and change the cluster. Needs the certificate of an administrator.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    what: ClusterWhat,
}

#[derive(Debug, Subcommand)]
enum ClusterWhat {
    Create(CreateArgs),
}

/// Make a cluster of nodes that wait for one.
///
/// Safe to repeat: nodes that have this cluster already keep it, and the others get it.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The members: a label and the control address of each, such as n1=10.0.0.1:7400.
    #[arg(required = true, value_name = "NAME=ADDR")]
    nodes: Vec<Named<SocketAddr>>,
    /// Owners of each partition (N), 1 to 7; at most the number of nodes.
    #[arg(long, default_value = "3", value_name = "N", value_parser = replicas())]
    replicas: u8,
    /// Slices of the hash space, a power of two; fixed for the life of the cluster. 16 or more for each node.
    #[arg(long, default_value = "64", value_name = "Q", value_parser = partitions)]
    partitions: u32,
    /// Failure zone of a node (rack, site): copies go to distinct zones as far as they go. May be repeated.
    #[arg(long = "zone", value_name = "NAME=ZONE")]
    zones: Vec<Named<String>>,
    /// Share of a node relative to the others, 1 when not given. May be repeated.
    #[arg(long = "weight", value_name = "NAME=N")]
    weights: Vec<Named<u32>>,
    /// What a table does with concurrent versions: lww keeps the last one, siblings (the default) all. May be repeated.
    #[arg(long = "table", value_name = "TABLE=lww|siblings")]
    tables: Vec<Named<Policy>>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Time for each node, such as 5s.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = timeout)]
    timeout: Duration,
}

/// Who changes the cluster: three files, or a directory and a name as `quorate cert admin` leaves them.
#[derive(Debug, Args)]
struct AdminArgs {
    /// Certificate of the administrator.
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The cluster's authority.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    ca: Option<PathBuf>,
    /// Directory with NAME.crt, NAME.key and ca.crt.
    #[arg(long, default_value = "./certs", value_name = "DIR", conflicts_with = "certificate")]
    admin_dir: PathBuf,
    /// Name of the administrator's certificate in that directory.
    #[arg(long, default_value = "admin", value_name = "NAME", conflicts_with = "certificate")]
    admin: String,
}

impl AdminArgs {
    fn credentials(self) -> anyhow::Result<Credentials> {
        let file = |name: &str, end: &str| self.admin_dir.join(format!("{name}.{end}"));
        let certificate = self.certificate.unwrap_or_else(|| file(&self.admin, "crt"));
        let key = self.key.unwrap_or_else(|| file(&self.admin, "key"));
        let ca = self.ca.unwrap_or_else(|| file("ca", "crt"));
        Credentials::load(&certificate, &key, &ca).context(
            "an administrator's certificate is needed: --admin-dir DIR --admin NAME, or --certificate, --key and --ca; \
             `quorate cert admin NAME` makes one",
        )
    }
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named<T> {
    name: String,
    value: T,
}

impl<T: FromStr<Err: ToString>> FromStr for Named<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let value = value.parse().map_err(|error: T::Err| format!("{value:?}: {}", error.to_string()))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

/// A conflict policy by its short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy(ConflictPolicy);

impl FromStr for Policy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lww" => Ok(Self(ConflictPolicy::LastWriterWins)),
            "siblings" => Ok(Self(ConflictPolicy::Siblings)),
            _ => Err("use lww or siblings"),
        }
    }
}

fn partitions(text: &str) -> Result<u32, String> {
    let most = u32::try_from(PARTITIONS_MAX).unwrap_or(u32::MAX);
    match text.parse::<u32>() {
        Ok(count) if count.is_power_of_two() && count <= most => Ok(count),
        _ => Err(format!("use a power of two from 1 to {most}")),
    }
}

/// What is to be made; only the ids of the nodes are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    members: Vec<Planned>,
    partitions: u32,
    replicas: u8,
    tables: Vec<TableRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Planned {
    name: String,
    address: SocketAddr,
    zone: String,
    weight: u32,
}

impl CreateArgs {
    fn check(&self) -> Result<Plan, UsageError> {
        let known = |argument: &str, name: &str| {
            let found = self.nodes.iter().any(|node| node.name == name);
            found
                .then_some(())
                .ok_or_else(|| UsageError(format!("{argument} {name}=..: the command has no node {name}")))
        };
        self.zones.iter().try_for_each(|zone| known("--zone", &zone.name))?;
        self.weights.iter().try_for_each(|weight| known("--weight", &weight.name))?;
        if usize::from(self.replicas) > self.nodes.len() {
            return Err(UsageError(format!(
                "--replicas {} needs as many nodes, but the command names {}; name more, or use a smaller number",
                self.replicas,
                self.nodes.len()
            )));
        }
        let mut tables = BTreeMap::new();
        for Named { name, value } in &self.tables {
            TableName::new(name.clone().into()).map_err(|error| UsageError::of("--table", &error))?;
            if tables.insert(name.clone(), value.0).is_some_and(|before| before != value.0) {
                return Err(UsageError(format!("--table {name}=.. is given twice, and differently")));
            }
        }
        let planned = |node: &Named<SocketAddr>| Planned {
            name: node.name.clone(),
            address: node.value,
            zone: last(&self.zones, &node.name).cloned().unwrap_or_default(),
            weight: last(&self.weights, &node.name).copied().unwrap_or(1),
        };
        Ok(Plan {
            members: self.nodes.iter().map(planned).collect(),
            partitions: self.partitions,
            replicas: self.replicas,
            tables: tables.into_iter().map(|(name, policy)| TableRecord { name, policy }).collect(),
        })
    }
}

fn last<'a, T>(named: &'a [Named<T>], name: &str) -> Option<&'a T> {
    named.iter().rev().find(|named| named.name == name).map(|named| &named.value)
}

impl Plan {
    /// The roster, with the ids that the nodes have shown, in the plan's order.
    fn roster(&self, states: &[NodeState]) -> anyhow::Result<Roster> {
        let member = |(planned, state): (&Planned, &NodeState)| Member {
            id: state.node,
            name: planned.name.clone(),
            zone: planned.zone.clone(),
            weight: planned.weight,
            address: planned.address,
        };
        Ok(Roster::new(self.members.iter().zip(states).map(member).collect())?)
    }

    /// The record that all nodes are given: the one that some of them have already, or a new one.
    fn creation(&self, cluster: ClusterId, states: &[NodeState]) -> anyhow::Result<Creation> {
        let roster = self.roster(states)?;
        let mut existing = states
            .iter()
            .zip(&self.members)
            .filter_map(|(state, planned)| state.creation.as_ref().map(|creation| (creation, planned.name.as_str())));
        let Some((first, holder)) = existing.next() else { return self.fresh(cluster, roster) };
        for (other, name) in existing {
            ensure!(
                first == other,
                "the nodes belong to two clusters: {holder} to cluster {} with layout {}, {name} to cluster {} with \
                 layout {}; nothing was changed; leave out the nodes that are in use, or empty their data directories",
                first.cluster,
                first.layout,
                other.cluster,
                other.layout
            );
        }
        let differences = self.differences(first, cluster, &roster);
        if !differences.is_empty() {
            let wanted =
                layout_id(&roster, Parameters { hash_seed: first.parameters.hash_seed, ..self.parameters(0) })?;
            bail!(
                "{holder} belongs to cluster {} with layout {} already; this command asks for cluster {cluster} with \
                 layout {wanted}, which differs in {}; nothing was changed; repeat the command that made the cluster, \
                 or empty the data directory of a node that is not in use",
                first.cluster,
                first.layout,
                differences.join(", ")
            );
        }
        Ok(first.clone())
    }

    const fn parameters(&self, hash_seed: u64) -> Parameters {
        Parameters { partitions: self.partitions, replicas: self.replicas, hash_seed }
    }

    fn differences(&self, existing: &Creation, cluster: ClusterId, roster: &Roster) -> Vec<String> {
        let mut out = Vec::new();
        let (there, wanted) = (existing.parameters, self.parameters(0));
        if existing.cluster != cluster {
            out.push("the cluster id".to_owned());
        }
        if there.partitions != wanted.partitions {
            out.push(format!("partitions ({} there)", there.partitions));
        }
        if there.replicas != wanted.replicas {
            out.push(format!("replicas ({} there)", there.replicas));
        }
        if existing.roster != *roster {
            let members = existing.roster.members().iter();
            let shown = members.map(|member| format!("{}={}", member.name, member.address)).collect::<Vec<_>>();
            out.push(format!("members, zones or weights ({} there)", shown.join(" ")));
        }
        if existing.tables != self.tables {
            out.push("tables".to_owned());
        }
        out
    }

    fn fresh(&self, cluster: ClusterId, roster: Roster) -> anyhow::Result<Creation> {
        let (mut seed, mut secret) = ([0; 8], [0; 16]);
        getrandom::fill(&mut seed).context("the operating system gives no random bytes")?;
        getrandom::fill(&mut secret).context("the operating system gives no random bytes")?;
        let parameters = self.parameters(u64::from_be_bytes(seed));
        let layout = layout_id(&roster, parameters)?;
        let token_keys = TokenKeys { current: TokenKey::new(1, secret), previous: None };
        Ok(Creation { cluster, roster, parameters, layout, token_keys, tables: self.tables.clone() })
    }
}

fn layout_id(roster: &Roster, parameters: Parameters) -> anyhow::Result<LayoutId> {
    Ok(Layout::first(roster, parameters).context("no layout can be made of these nodes")?.id())
}

/// Runs the subcommand.
///
/// # Errors
/// A node that does not answer, or belongs to another cluster: nothing was changed then.
pub fn run(args: ClusterArgs) -> anyhow::Result<Outcome> {
    let ClusterWhat::Create(args) = args.what;
    let plan = args.check()?;
    let credentials = args.admin.credentials()?;
    block_on(create(&plan, &credentials, args.timeout))
}

async fn create(plan: &Plan, credentials: &Credentials, timeout: Duration) -> anyhow::Result<Outcome> {
    let (controls, states) = greet(plan, credentials, timeout).await?;
    let creation = plan.creation(credentials.cluster(), &states)?;
    let mut report = format!("cluster {}, layout {}\n", creation.cluster, creation.layout);
    let mut outcome = Outcome::Done;
    for ((control, state), planned) in controls.iter().zip(&states).zip(&plan.members) {
        let result = match &state.creation {
            Some(_) => "was a member already".to_owned(),
            None => match control.create(&creation).await {
                Ok(_) => "is a member now".to_owned(),
                Err(error) => {
                    outcome = Outcome::Failed;
                    format!("failed: {error}")
                }
            },
        };
        let label = if state.name == planned.name { String::new() } else { format!(", calls itself {}", state.name) };
        writeln!(report, "  {} ({}, node {}{label}): {result}", planned.name, planned.address, state.node)?;
    }
    report.push_str(&match outcome {
        Outcome::Done => next_step(plan),
        _ => "run the same command again for the rest; nodes that are members keep what they have\n".to_owned(),
    });
    screen::print(report.as_bytes())?;
    for control in controls {
        control.close().await;
    }
    Ok(outcome)
}

/// A session with every node, and its state, in the plan's order. Changes nothing.
async fn greet(
    plan: &Plan,
    credentials: &Credentials,
    timeout: Duration,
) -> anyhow::Result<(Vec<Control>, Vec<NodeState>)> {
    let mut asking = JoinSet::new();
    for (at, planned) in plan.members.iter().enumerate() {
        let (address, credentials) = (planned.address, credentials.clone());
        asking.spawn(async move {
            let asked = async {
                let control = Control::dial(&credentials, address, timeout).await?;
                let state = control.state().await?;
                Ok::<_, ClientError>((control, state))
            };
            (at, asked.await)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    let (mut controls, mut states, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, answer), planned) in answers.into_iter().zip(&plan.members) {
        match answer {
            Ok((control, state)) => {
                controls.push(control);
                states.push(state);
            }
            Err(error) => failures.push(format!("{}: {error}", planned.name)),
        }
    }
    ensure!(failures.is_empty(), "nothing was changed, because not every node answers:\n  {}", failures.join("\n  "));
    Ok((controls, states))
}

/// A client profile to copy.
fn next_step(plan: &Plan) -> String {
    let nodes: Vec<String> = plan.members.iter().map(|planned| format!("\"{}\"", planned.address)).collect();
    format!(
        "next: quorate cert client app, and a client.toml beside its files, to name with --profile or \
         QUORATE_PROFILE:\n\
         \x20 nodes = [{}]\n\
         \x20 certificate = \"app.crt\"\n\
         \x20 key = \"app.key\"\n\
         \x20 ca = \"ca.crt\"\n",
        nodes.join(", ")
    )
}

#[cfg(test)]
mod tests;
