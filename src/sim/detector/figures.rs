//! The figures that the detector has to reach, each with the scenario that measures it.

use std::time::Duration;

use super::{Ours, Settings, World};

/// A goal and how it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Overloaded members take nobody down.
    Slander,
    /// A death is known to all.
    Death,
    /// A member's news reaches the others.
    Update,
    /// What a member sends does not grow with the cluster.
    Traffic,
    /// Thousands on one core.
    Thousands,
}

/// What a scenario found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What was asked.
    pub goal: String,
    /// What was measured.
    pub found: String,
    /// Whether the goal was reached. How long a run took is for the caller to judge.
    pub reached: bool,
    /// Events handled.
    pub events: u64,
}

const SECOND: Duration = Duration::from_secs(1);

/// Until everybody has heard of everybody.
const WARM: Duration = Duration::from_secs(60);

fn world(seed: u64, settings: Settings) -> World<Ours> {
    World::new(seed, settings)
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Slander, Self::Death, Self::Update, Self::Traffic, Self::Thousands];

    /// Measures at full size.
    #[must_use]
    pub fn run(self, seed: u64) -> Figure {
        match self {
            Self::Slander => slander(seed, 100, 4, 600 * SECOND),
            Self::Death => death(seed, 1_000, 5, 20 * SECOND),
            Self::Update => update(seed, 1_000, 5, 2 * SECOND),
            Self::Traffic => traffic(seed, &[10, 30, 100, 300, 1_000]),
            Self::Thousands => thousands(seed, 5_000, 300 * SECOND),
        }
    }

    /// Measures at a size for every day.
    #[must_use]
    pub fn run_small(self, seed: u64) -> Figure {
        match self {
            Self::Slander => slander(seed, 100, 4, 120 * SECOND),
            Self::Death => death(seed, 200, 2, 20 * SECOND),
            Self::Update => update(seed, 200, 3, 2 * SECOND),
            Self::Traffic => traffic(seed, &[10, 100]),
            Self::Thousands => thousands(seed, 500, 60 * SECOND),
        }
    }
}

fn slander(seed: u64, nodes: u32, overloaded: u32, time: Duration) -> Figure {
    let mut world = world(seed, Settings { overloaded, ..Settings::new(nodes) });
    world.run(time);
    let tally = world.tally();
    Figure {
        goal: format!(
            "{nodes} nodes, {overloaded} overloaded, {} s: no healthy member believed unreachable",
            time.as_secs()
        ),
        found: format!(
            "{} times by healthy members, {} by overloaded ones; suspected {} times, overloaded given up {} times",
            tally.slanders, tally.slanders_by_overloaded, tally.suspicions, tally.overloaded_given_up
        ),
        reached: tally.slanders == 0,
        events: tally.events,
    }
}

fn death(seed: u64, nodes: u32, deaths: u32, limit: Duration) -> Figure {
    let mut world = world(seed, Settings::new(nodes));
    world.run(WARM);
    let mut halves = Vec::new();
    let mut times = Vec::new();
    for node in (0..deaths).map(|death| death * (nodes / deaths)) {
        world.kill(node);
        world.watch_death(node);
        world.run(limit * 3);
        halves.extend(world.known_after(50));
        times.extend(world.known_after(100));
        world.restart(node);
        world.run(WARM);
    }
    let all = times.len() == deaths as usize;
    let worst = times.iter().max().copied().unwrap_or_default();
    Figure {
        goal: format!("a dead member is known to all of {nodes} nodes within {} s", limit.as_secs()),
        found: format!(
            "{} of {deaths} deaths known to all: after {}; to half after {}; {} slanders",
            times.len(),
            seconds(&times),
            seconds(&halves),
            world.tally().slanders
        ),
        reached: all && worst <= limit && world.tally().slanders == 0,
        events: world.tally().events,
    }
}

fn update(seed: u64, nodes: u32, updates: u32, limit: Duration) -> Figure {
    let mut world = world(seed, Settings::new(nodes));
    world.run(WARM);
    let mut most = Vec::new();
    let mut all = Vec::new();
    for node in (0..updates).map(|update| update * (nodes / updates)) {
        world.restart(node);
        world.watch_generation(node);
        world.run(WARM);
        most.extend(world.known_after(99));
        all.extend(world.known_after(100));
    }
    let worst = most.iter().max().copied().unwrap_or_default();
    Figure {
        goal: format!("an update reaches 99 % of {nodes} nodes in under {} s", limit.as_secs()),
        found: format!("99 % after {}; all after {}", seconds(&most), seconds(&all)),
        reached: most.len() == updates as usize && worst < limit,
        events: world.tally().events,
    }
}

fn traffic(seed: u64, sizes: &[u32]) -> Figure {
    let mut rates = Vec::new();
    let mut fetched = Vec::new();
    let mut events = 0;
    for nodes in sizes {
        let mut world = world(seed, Settings::new(*nodes));
        world.run(WARM * 2);
        let before = world.tally();
        world.run(WARM);
        let after = world.tally();
        let share = |bytes: u64| bytes / u64::from(*nodes) / WARM.as_secs();
        rates.push(share(after.bytes - before.bytes));
        fetched.push(share(after.fetched_bytes - before.fetched_bytes));
        events += after.events;
    }
    let (least, most) = (rates.iter().min().copied().unwrap_or(0), rates.iter().max().copied().unwrap_or(0));
    let list = |of: &[u64]| of.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let sizes: Vec<u64> = sizes.iter().map(|size| u64::from(*size)).collect();
    Figure {
        goal: "bytes a node and second do not grow with the cluster".to_owned(),
        found: format!("{} nodes: {} B/s in datagrams, {} B/s fetched", list(&sizes), list(&rates), list(&fetched)),
        reached: most <= least * 5 / 4 && fetched.iter().all(|rate| *rate <= least),
        events,
    }
}

fn thousands(seed: u64, nodes: u32, time: Duration) -> Figure {
    let mut world = world(seed, Settings::new(nodes));
    world.run(time / 2);
    world.kill(nodes / 2);
    world.watch_death(nodes / 2);
    world.run(time / 2);
    let tally = world.tally();
    let known = world.known_after(100);
    Figure {
        goal: format!("{nodes} nodes for {} s on one core in under 10 minutes", time.as_secs()),
        found: format!(
            "{} events, {} datagrams; a death known to all after {}; {} slanders",
            tally.events,
            tally.datagrams,
            known.map_or_else(|| "never".to_owned(), |time| seconds(&[time])),
            tally.slanders
        ),
        reached: known.is_some() && tally.slanders == 0,
        events: tally.events,
    }
}

fn seconds(times: &[Duration]) -> String {
    let tenths = |time: &Duration| time.as_millis() / 100;
    let shown: Vec<_> = times.iter().map(|time| format!("{}.{}", tenths(time) / 10, tenths(time) % 10)).collect();
    format!("{} s", shown.join(", "))
}
