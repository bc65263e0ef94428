//! The failure detector's figures beside those of the crate foca, in one simulated world under the same seeds.
//!
//! ```text
//!   cargo bench --bench detector                   a few minutes on one core
//!   cargo bench --bench detector -- --seeds 9      more seeds of the world with overloaded members
//! ```
//!
//! Virtual time: the figures do not depend on the machine, only on the seeds. The scenarios are those of
//! `quorate sim --detector`, without the 5,000 nodes: foca looks through all members for every piece of news.

#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints a table")]

#[path = "../sim/foca.rs"]
mod foca;

use clap::Parser;
use quorate::sim::detector::{Detector, Figure, Ours, Scenario, death};

use self::foca::Baseline;

#[derive(Debug, Parser)]
struct Options {
    /// Seeds of the worlds of 100 nodes, from 1.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    for seed in 1..=options.seeds {
        beside(seed, Scenario::Slander.measure::<Ours>(seed), Scenario::Slander.measure::<Baseline>(seed));
    }
    for seed in 1..=options.seeds {
        beside(seed, vec![death::<Ours>(seed, 100, 10)], vec![death::<Baseline>(seed, 100, 10)]);
    }
    beside(1, Scenario::Spread.measure::<Ours>(1), Scenario::Spread.measure::<Baseline>(1));
}

fn beside(seed: u64, ours: Vec<Figure>, theirs: Vec<Figure>) {
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        println!("{} (seed {seed})", ours.goal);
        println!("  {:<5} {}", Ours::NAME, ours.found);
        println!("  {:<5} {}", Baseline::NAME, theirs.found);
    }
}
