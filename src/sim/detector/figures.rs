//! The figures that a detector has to reach, each with the scenario that measures it.

use std::time::Duration;

use super::{Detector, Settings, World};

/// What is measured, at its full size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Overloaded members take nobody down: 100 nodes, 4 of them overloaded, ten minutes.
    Slander,
    /// A death is known to all, a member's news reaches the others, and what a member sends does not grow with the
    /// cluster: 1,000 nodes, and for the last also smaller clusters.
    Spread,
    /// Thousands on one core: 5,000 nodes, five minutes.
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
    /// Times that a healthy member came to hold a healthy one unreachable.
    pub slanders: u64,
    /// How long it took until others knew, where that is what was measured; what nobody came to know is not in it.
    pub times: Vec<Duration>,
}

const SECOND: Duration = Duration::from_secs(1);

/// Until a cluster that began at once has told all of its first news.
const WARM: Duration = Duration::from_secs(60);

/// Longest time until all members of a cluster know of a death.
const DEATH_LIMIT: Duration = Duration::from_secs(20);
/// Longest time until 99 % of the members know of an update.
const UPDATE_LIMIT: Duration = Duration::from_secs(2);

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slander, Self::Spread, Self::Thousands];

    /// Measures.
    #[must_use]
    pub fn measure<D: Detector>(self, seed: u64) -> Vec<Figure> {
        match self {
            Self::Slander => vec![slander::<D>(seed, 100, 4, 600 * SECOND)],
            Self::Spread => spread::<D>(seed, &[10, 30, 100, 300], 1_000),
            Self::Thousands => vec![thousands::<D>(seed, 5_000, 300 * SECOND)],
        }
    }
}

/// How often healthy members hold healthy ones unreachable, because some are overloaded.
#[must_use]
pub fn slander<D: Detector>(seed: u64, nodes: u32, overloaded: u32, time: Duration) -> Figure {
    let mut world = World::<D>::new(seed, Settings { overloaded, ..Settings::new(nodes) });
    world.run(time);
    let tally = world.tally();
    Figure {
        goal: format!(
            "{nodes} nodes, {overloaded} overloaded, {} s: no healthy member held unreachable by a healthy one",
            time.as_secs()
        ),
        found: format!(
            "{} times; {} times by overloaded ones; overloaded members given up {} times",
            tally.slanders, tally.slanders_by_overloaded, tally.overloaded_given_up
        ),
        reached: tally.slanders == 0,
        slanders: tally.slanders,
        times: Vec::new(),
    }
}

/// How long a cluster takes to know of so many deaths, one after the other.
#[must_use]
pub fn death<D: Detector>(seed: u64, nodes: u32, deaths: u32) -> Figure {
    let mut world = World::<D>::new(seed, Settings::new(nodes));
    world.run(WARM);
    deaths_in(&mut world, nodes, deaths)
}

fn deaths_in<D: Detector>(world: &mut World<D>, nodes: u32, deaths: u32) -> Figure {
    let before = world.tally().slanders;
    let mut halves = Vec::new();
    let mut times = Vec::new();
    for node in (0..deaths).map(|death| death * (nodes / deaths)) {
        world.kill(node);
        world.watch_death(node);
        world.run(DEATH_LIMIT * 3);
        halves.extend(world.known_after(50));
        times.extend(world.known_after(100));
        world.restart(node);
        world.run(WARM);
    }
    let slanders = world.tally().slanders - before;
    let in_time = times.iter().filter(|time| **time <= DEATH_LIMIT).count();
    Figure {
        goal: format!("a dead member is known to all of {nodes} nodes within {} s", DEATH_LIMIT.as_secs()),
        found: format!(
            "{} of {deaths} known to all: after {}; to half after {}; {slanders} false accusations",
            times.len(),
            seconds(&times),
            seconds(&halves),
        ),
        reached: in_time == deaths as usize && slanders == 0,
        slanders,
        times,
    }
}

fn updates_in<D: Detector>(world: &mut World<D>, nodes: u32, updates: u32) -> Figure {
    let mut most = Vec::new();
    let mut all = Vec::new();
    for node in (0..updates).map(|update| update * (nodes / updates) + 1) {
        world.restart(node);
        world.watch_generation(node);
        world.run(WARM / 2);
        most.extend(world.known_after(99));
        all.extend(world.known_after(100));
    }
    let in_time = most.iter().filter(|time| **time < UPDATE_LIMIT).count();
    Figure {
        goal: format!("an update reaches 99 % of {nodes} nodes in under {} s", UPDATE_LIMIT.as_secs()),
        found: format!("99 % after {}; all after {}", seconds(&most), seconds(&all)),
        reached: in_time == updates as usize,
        slanders: 0,
        times: most,
    }
}

/// Datagram bytes, and fetched bytes, that a member sends in a second of calm.
fn rates_in<D: Detector>(world: &mut World<D>, nodes: u32) -> (u64, u64) {
    let before = world.tally();
    world.run(WARM);
    let after = world.tally();
    let share = |bytes: u64| bytes / u64::from(nodes) / WARM.as_secs();
    (share(after.bytes - before.bytes), share(after.fetched_bytes - before.fetched_bytes))
}

/// Traffic of clusters from small to large, then updates and deaths in the large one.
#[must_use]
pub fn spread<D: Detector>(seed: u64, smaller: &[u32], large: u32) -> Vec<Figure> {
    let mut sizes = smaller.to_vec();
    let mut rates = Vec::new();
    for nodes in smaller {
        let mut world = World::<D>::new(seed, Settings::new(*nodes));
        world.run(WARM);
        rates.push(rates_in(&mut world, *nodes));
    }
    let mut world = World::<D>::new(seed, Settings::new(large));
    world.run(WARM);
    sizes.push(large);
    rates.push(rates_in(&mut world, large));
    let (sent, fetched): (Vec<u64>, Vec<u64>) = rates.into_iter().unzip();
    let least = sent.iter().min().copied().unwrap_or_default();
    let most = sent.iter().max().copied().unwrap_or_default();
    let list = |of: &[u64]| of.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let traffic = Figure {
        goal: "bytes a node and second do not grow with the cluster (within a quarter)".to_owned(),
        found: format!(
            "{} nodes: {} B/s in datagrams, {} B/s fetched",
            list(&sizes.iter().copied().map(u64::from).collect::<Vec<_>>()),
            list(&sent),
            list(&fetched)
        ),
        reached: most <= least * 5 / 4 && fetched.iter().all(|rate| *rate <= least),
        slanders: world.tally().slanders,
        times: Vec::new(),
    };
    vec![updates_in(&mut world, large, 3), deaths_in(&mut world, large, 3), traffic]
}

/// Whether thousands can be simulated, and whether the detector works in such a cluster.
#[must_use]
pub fn thousands<D: Detector>(seed: u64, nodes: u32, time: Duration) -> Figure {
    let mut world = World::<D>::new(seed, Settings::new(nodes));
    world.run(time.saturating_sub(3 * DEATH_LIMIT));
    world.kill(nodes / 2);
    world.watch_death(nodes / 2);
    world.run(3 * DEATH_LIMIT);
    let tally = world.tally();
    let known: Vec<Duration> = world.known_after(100).into_iter().collect();
    Figure {
        goal: format!("{nodes} nodes for {} s, simulated on one core in under 10 minutes", time.as_secs()),
        found: format!(
            "{} events; a death known to all after {}; {} false accusations",
            tally.events,
            seconds(&known),
            tally.slanders
        ),
        reached: !known.is_empty() && tally.slanders == 0,
        slanders: tally.slanders,
        times: known,
    }
}

fn seconds(times: &[Duration]) -> String {
    if times.is_empty() {
        return "never".to_owned();
    }
    let tenths = |time: &Duration| time.as_millis() / 100;
    let shown: Vec<_> = times.iter().map(|time| format!("{}.{}", tenths(time) / 10, tenths(time) % 10)).collect();
    format!("{} s", shown.join(", "))
}
