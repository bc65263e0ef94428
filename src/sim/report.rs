//! How a run went, and all that is needed to find out why it went wrong.

use std::fmt::Write as _;

use super::COMMIT;
use super::finding::Finding;
use super::options::{Options, Overrides};
use super::world::Tally;

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What a person fixed.
    pub overrides: Overrides,
    /// What was drawn.
    pub options: Options,
    /// Counts.
    pub tally: Tally,
    /// The hash of all events, in order.
    pub hash: u64,
    /// The first promise that was not kept.
    pub finding: Option<Finding>,
    /// What happened last: virtual nanoseconds, and what.
    pub last: Vec<(u64, String)>,
}

/// Columns of a report.
const COLUMNS_MAX: usize = 116;

impl Report {
    /// The command that runs the same again.
    #[must_use]
    pub fn again(&self) -> String {
        let Overrides { nodes, operations, calm, mutation } = self.overrides;
        let mut command = format!("quorate sim --seed {}", self.options.seed);
        command.push_str(&nodes.map(|count| format!(" --nodes {count}")).unwrap_or_default());
        command.push_str(&operations.map(|count| format!(" --operations {count}")).unwrap_or_default());
        command.push_str(&mutation.map(|mutation| format!(" --break {mutation:?}")).unwrap_or_default());
        if calm {
            command.push_str(" --calm");
        }
        command
    }

    /// Everything that was drawn, by what it is about: nothing is left out, for nobody knows yet what matters.
    #[must_use]
    pub fn drawn(&self) -> String {
        // Without `..`, so that whoever adds an option is told to print it.
        let Options {
            seed,
            nodes,
            shards,
            partitions,
            n,
            r,
            w,
            durability,
            hint_bytes_max,
            load,
            network,
            gossip,
            disk,
            nemesis,
            mutation,
        } = &self.options;
        let mut text = format!("what seed {seed} drew (chances are in a million)\n");
        let cluster = format!(
            "nodes: {nodes}, n: {n}, r: {r}, w: {w}, durability: {durability:?}, partitions: {partitions}, \
             hint_bytes_max: {hint_bytes_max}, shards of each node: {shards:?}"
        );
        wrap(&mut text, "cluster", &cluster);
        wrap(&mut text, "load", &fields(&format!("{load:?}")));
        wrap(&mut text, "network", &fields(&format!("{network:?}")));
        wrap(&mut text, "gossip", &fields(&format!("{gossip:?}")));
        wrap(&mut text, "disks", &fields(&format!("{disk:?}")));
        wrap(&mut text, "nemesis", &fields(&format!("{nemesis:?}")));
        if let Some(mutation) = mutation {
            wrap(&mut text, "broken", &format!("{mutation:?}, on purpose: a finding is what is wanted"));
        }
        text
    }

    /// A failure as a person is told of it: what was drawn, what happened last, and at the end what was found, where,
    /// and how to see it again. Empty for a run that found nothing.
    #[must_use]
    pub fn failure(&self) -> String {
        let Some(finding) = &self.finding else { return String::new() };
        let (seed, checker) = (self.options.seed, finding.checker);
        let mut text = format!("seed {seed} FAILED: checker {} ({checker:?})\n\n{}", checker.number(), self.drawn());
        let mut line = |line: String| writeln!(text, "{line}").expect("text is written to memory");
        line("\nwhat happened last (virtual milliseconds; nodes are n1, n2, ..)".to_owned());
        for (at, what) in &self.last {
            line(format!("  {:>8}.{:03}  {what}", at / 1_000_000, at / 1_000 % 1_000));
        }
        line(format!("\npromise  {}: {}", checker.number(), checker.promise()));
        line(format!("broken   {}", finding.text));
        line(format!("seed     {seed}, after {} events, hash {:016x}", self.tally.events, self.hash));
        line(format!("commit   {COMMIT}"));
        line(format!("again    {}\n", self.again()));
        text
    }
}

/// The fields of a structure's debug output, without its name.
fn fields(debug: &str) -> String {
    let inside = debug.split_once(" { ").map_or(debug, |(_, inside)| inside);
    inside.trim_end_matches(" }").to_owned()
}

/// Adds a paragraph under a name, broken between words.
fn wrap(text: &mut String, name: &str, words: &str) {
    let mut line = format!("  {name:<9}");
    let mut begun = false;
    for word in words.split(' ') {
        if begun && line.len() + word.len() >= COLUMNS_MAX {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(11);
        }
        line.push_str(word);
        line.push(' ');
        begun = true;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
