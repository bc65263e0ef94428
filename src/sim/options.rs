//! What a seed decides before anything happens: the cluster, the faults and how hard, the workload (swarm testing).
//!
//! Each seed turns each fault on or off. A mix of everything at once hides defects: a cluster that loses half of its
//! frames never gets far enough to lose a write.

use crate::protocol::membership::Config;
use crate::protocol::types::Durability;

use super::draw::{Draw, MILLION};
use super::mutation::Mutation;

/// What a person may fix; the rest is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Nodes of the cluster.
    pub nodes: Option<u16>,
    /// Client operations.
    pub operations: Option<u64>,
    /// Without faults: for measuring.
    pub calm: bool,
    /// The rule that the world breaks.
    pub mutation: Option<Mutation>,
}

/// Everything that a seed draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Nodes of the cluster, 3 to 50.
    pub nodes: u16,
    /// Shards of each node.
    pub shards: Vec<u16>,
    /// Partitions of the key space.
    pub partitions: u32,
    /// Copies of each item.
    pub n: u8,
    /// Answers that a read needs.
    pub r: u8,
    /// Copies that a write needs.
    pub w: u8,
    /// When a write counts as safe.
    pub durability: Durability,
    /// Bytes of hints that a shard keeps for one node.
    pub hint_bytes_max: u64,
    /// The work.
    pub load: LoadOptions,
    /// The faults of the network.
    pub network: NetworkOptions,
    /// The detectors' pace, and the faults of their datagrams.
    pub gossip: GossipOptions,
    /// The faults of the disks.
    pub disk: DiskOptions,
    /// What breaks from time to time, and how often.
    pub nemesis: NemesisOptions,
    /// The rule that the world breaks, to see that a checker finds it.
    pub mutation: Option<Mutation>,
}

/// The work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Operations of all sessions together.
    pub operations: u64,
    /// Sessions that only read.
    pub readers: u16,
    /// Sessions that write without reading.
    pub blind_writers: u16,
    /// Sessions that write with the context of their own last write.
    pub chain_writers: u16,
    /// Sessions that read, then write with what they read.
    pub modifiers: u16,
    /// Sessions that delete.
    pub deleters: u16,
    /// Sessions that list keys.
    pub scanners: u16,
    /// Keys per table.
    pub keys: u64,
    /// Chance that an operation goes to the hot key, in a million.
    pub hot: u32,
    /// Longest pause between two operations of a session, microseconds.
    pub think_us_max: u64,
    /// Shortest time that a client gives a request, milliseconds.
    pub budget_ms_min: u64,
    /// Longest.
    pub budget_ms_max: u64,
    /// Attempts of a write with one write id.
    pub attempts_max: u32,
    /// Chance that an answer to a client is lost, in a million: its write is then retried.
    pub answer_loss: u32,
    /// Largest ordinary value, bytes.
    pub value_bytes_max: u64,
    /// Chance of a value that travels on the bulk lane, in a million.
    pub bulk: u32,
    /// Chance of a value of which replicas send the head, in a million.
    pub large: u32,
    /// Chance that a request allows a sloppy quorum, in a million.
    pub sloppy: u32,
}

/// The faults of the network. Chances are in a million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Shortest one-way latency of a pair, microseconds.
    pub latency_us_min: u64,
    /// Longest.
    pub latency_us_max: u64,
    /// Chance that a frame takes many times as long: a retransmission.
    pub tail: u32,
    /// Chance that a frame vanishes though its link stays up. Harsher than QUIC, which delivers or resets.
    pub loss: u32,
    /// Chance that a frame comes twice. Harsher than QUIC.
    pub duplicate: u32,
    /// Chance that a frame overtakes others of its lane. Harsher than QUIC.
    pub reorder: u32,
    /// Chance that a lane refuses a frame because its queue is full.
    pub lane_full: u32,
    /// Chance that a frame that makes no sense follows one that does.
    pub garbage: u32,
}

/// The detectors' pace, and the faults of their datagrams. Chances are in a million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipOptions {
    /// All times of a detector are divided by this: a run is short, and verdicts must fall in it.
    pub speed: u32,
    /// Chance that a datagram is lost.
    pub loss: u32,
    /// Chance that one takes up to fifty times as long, and is overtaken by others.
    pub late: u32,
    /// Chance that one comes twice. Harsher than QUIC.
    pub duplicate: u32,
}

impl GossipOptions {
    /// No faults from here on.
    pub(super) fn calm(&mut self) {
        (self.loss, self.late, self.duplicate) = (0, 0, 0);
    }

    /// The server's configuration, faster.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::default();
        let times = [
            &mut config.probe_interval,
            &mut config.probe_timeout,
            &mut config.gossip_interval,
            &mut config.link_limit,
            &mut config.retry_min,
            &mut config.retry_max,
            &mut config.compare_interval,
            &mut config.fetch_interval,
            &mut config.quiet,
            &mut config.patience,
        ];
        for time in times {
            *time /= self.speed;
        }
        config
    }
}

/// The faults of the disks. Chances are in a million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// Chance that a lookup misses the cache and is answered later.
    pub pending: u32,
    /// Longest lookup, microseconds.
    pub read_us_max: u64,
    /// Longest fsync, microseconds.
    pub sync_us_max: u64,
    /// Milliseconds between two fsyncs with durability `interval`.
    pub interval_ms: u64,
}

/// What breaks from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NemesisOptions {
    /// Mean time between two faults, milliseconds.
    pub every_ms: u64,
    /// Longest duration of one, milliseconds.
    pub duration_ms_max: u64,
    /// Which kinds are on.
    pub kinds: Vec<Fault>,
    /// All nodes lose their power at once when the load ends.
    pub power_loss_at_end: bool,
    /// Farthest that a wall clock is off, milliseconds.
    pub wall_ms_max: u64,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Two sets of nodes cannot reach each other.
    Partition,
    /// Frames in one direction vanish.
    OneWayCut,
    /// Frames in one direction take much longer.
    Clog,
    /// A connection is reset; what was on its way is lost.
    Reset,
    /// A process is killed, and started again later.
    Crash,
    /// A machine loses its power: what was not synced is dropped, from some batch on.
    PowerLoss,
    /// All machines do.
    PowerLossOfAll,
    /// A process stops for a while.
    Pause,
    /// A process runs slower by a factor.
    Slow,
    /// A disk comes back empty.
    LoseDisk,
    /// A disk comes back as it was some time ago.
    RestoreBackup,
    /// A process runs on a copy of its disk for a while, then on the original: two lines from one past.
    CloneDisk,
    /// A stored value changes, or a record is cut short.
    BitRot,
    /// Lookups fail.
    ReadErrors,
    /// An fsync fails: the node must end.
    SyncError,
    /// Commits fail: the node must end. Or the disk is nearly full, and that is noticed in time.
    DiskFull,
    /// Lookups and fsyncs take much longer.
    SlowDisk,
    /// A wall clock jumps.
    WallJump,
    /// A disk is cloned, and two processes of one node run at once.
    Twin,
    /// A bit flips in the causal header of a stored record.
    HeaderRot,
}

impl Fault {
    /// Every kind there is.
    pub const ALL: [Self; 20] = [
        Self::Partition,
        Self::OneWayCut,
        Self::Clog,
        Self::Reset,
        Self::Crash,
        Self::PowerLoss,
        Self::PowerLossOfAll,
        Self::Pause,
        Self::Slow,
        Self::LoseDisk,
        Self::RestoreBackup,
        Self::CloneDisk,
        Self::BitRot,
        Self::ReadErrors,
        Self::SyncError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::WallJump,
        Self::Twin,
        Self::HeaderRot,
    ];
}

/// How far wall clocks may be apart: below the 15 minutes in which a retry is found, which is a promise by wall clock.
const WALL_MS_MAX: u64 = 6 * 60 * 1000;

/// A detector waits for an answer for at least so many of the longest ways.
const PINGS_PER_TIMEOUT: u64 = 4;
/// Nodes times the detectors' speed, at most.
const DATAGRAM_PACE_MAX: u64 = 100;

impl Options {
    /// What the seed says, with what a person fixed in its place.
    ///
    /// # Panics
    /// Never: what is drawn fits where it goes.
    #[must_use]
    pub fn draw(seed: u64, overrides: &Overrides) -> Self {
        let mut draw = Draw::new(seed, "options");
        // Small clusters find most; large ones make sure that nothing depends on smallness.
        let span = draw.pick(&[(3, 3), (3, 5), (3, 5), (4, 7), (4, 7), (8, 12), (8, 50)]);
        let drawn = u16::try_from(draw.between(span.0, span.1)).expect("at most 50");
        let nodes = overrides.nodes.unwrap_or(drawn).max(1);
        let (n, r, w) = quorum(&mut draw, nodes);
        let shards_max = draw.pick(&[1, 1, 2, 4]);
        let shards = (0..nodes).map(|_| u16::try_from(draw.between(1, shards_max)).expect("at most 4")).collect();
        let durability = draw.pick(&[Durability::Sync, Durability::Sync, Durability::Interval, Durability::Os]);
        let mut options = Self {
            seed,
            nodes,
            shards,
            partitions: draw.pick(&[8, 16, 64]),
            n,
            r,
            w,
            durability,
            hint_bytes_max: draw.pick(&[3_000, 1_000_000, 1_000_000_000]),
            load: load(&mut draw, seed),
            network: network(&mut draw),
            gossip: GossipOptions { speed: 1, loss: 0, late: 0, duplicate: 0 },
            disk: DiskOptions {
                pending: draw.pick(&[0, 10_000, 200_000, 600_000]),
                read_us_max: draw.pick(&[200, 2_000, 20_000]),
                sync_us_max: draw.pick(&[300, 3_000, 30_000]),
                interval_ms: draw.pick(&[20, 200]),
            },
            nemesis: nemesis(&mut draw, seed, durability),
            mutation: overrides.mutation,
        };
        options.gossip = gossip(&options);
        if let Some(operations) = overrides.operations {
            options.load.operations = operations;
        }
        if overrides.calm {
            options.calm();
        }
        // Without retries every merge of nothing new is a read's: the mutation then breaks that rule and no other.
        if overrides.mutation == Some(Mutation::SkipWriteBack) {
            options.load.attempts_max = 1;
            options.network.duplicate = 0;
        }
        options
    }

    /// Whether a strict read must see every write that was acknowledged before it began.
    #[must_use]
    pub fn reads_see_writes(&self) -> bool {
        self.r + self.w > self.n
    }

    /// Whether a strict read must see everything that an earlier one showed. Answers that agree are not written back,
    /// so what R owners had must meet the next read's R owners.
    #[must_use]
    pub fn reads_are_monotonic(&self) -> bool {
        self.reads_see_writes() && 2 * self.r > self.n
    }

    /// How many owners of one partition may lose what they had: W - 1 by the promise of durability, and so few that
    /// reads and write-backs still find a quorum of whole ones.
    #[must_use]
    pub fn damaged_owners_max(&self) -> u8 {
        (self.w - 1).min(self.n - self.r).min(self.n - self.w)
    }

    fn calm(&mut self) {
        self.nemesis.kinds.clear();
        self.nemesis.power_loss_at_end = false;
        self.load.answer_loss = 0;
        let network = &mut self.network;
        (network.loss, network.duplicate, network.reorder) = (0, 0, 0);
        (network.lane_full, network.garbage, network.tail) = (0, 0, 0);
        self.gossip.calm();
    }
}

fn quorum(draw: &mut Draw, nodes: u16) -> (u8, u8, u8) {
    let most = u64::from(nodes.min(5));
    let n = draw.pick(&[3, 3, 3, 3, 5, 2, 4, 1]).min(most);
    // Mostly a majority each, sometimes anything.
    let majority = n / 2 + 1;
    let (r, w) = match draw.below(4) {
        0 => (draw.between(1, n), draw.between(1, n)),
        1 => {
            let r = draw.between(1, n);
            (r, draw.between(n + 1 - r, n))
        }
        _ => (majority, majority),
    };
    let small = |count: u64| u8::try_from(count).expect("at most 5 replicas are drawn");
    (small(n), small(r), small(w))
}

fn load(draw: &mut Draw, seed: u64) -> LoadOptions {
    // This came later: a stream of its own leaves the draws of all else what they were.
    let large = Draw::new(seed, "large values").pick(&[0, 0, 0, 100_000, 500_000]);
    let mut some = |most: u64| u16::try_from(draw.between(0, most)).expect("a few sessions");
    let (readers, blind_writers, chain_writers, modifiers) = (some(4), some(3), some(3), some(5));
    let (deleters, scanners) = (some(2), some(1));
    let budget_ms_min = draw.pick(&[50, 300, 1_000]);
    LoadOptions {
        operations: draw.between(300, 1_200),
        readers: readers + 1,
        blind_writers,
        chain_writers,
        modifiers: modifiers + 1,
        deleters,
        scanners,
        keys: draw.pick(&[3, 10, 40, 200]),
        hot: draw.pick(&[0, 100_000, 500_000]),
        think_us_max: draw.pick(&[500, 10_000, 100_000]),
        budget_ms_min,
        budget_ms_max: budget_ms_min * draw.between(1, 4),
        attempts_max: u32::try_from(draw.between(1, 4)).expect("at most 4"),
        answer_loss: draw.pick(&[0, 0, 5_000, 50_000]),
        value_bytes_max: draw.pick(&[16, 100, 1_000]),
        bulk: draw.pick(&[0, 0, 2_000]),
        large,
        sloppy: draw.pick(&[0, 300_000, 1_000_000]),
    }
}

fn network(draw: &mut Draw) -> NetworkOptions {
    let (latency_us_min, latency_us_max) = draw.pick(&[(20, 200), (100, 2_000), (1_000, 40_000)]);
    let mut rarely = |rates: [u32; 2]| if draw.chance(300_000) { draw.pick(&rates) } else { 0 };
    NetworkOptions {
        latency_us_min,
        latency_us_max,
        tail: rarely([1_000, 20_000]),
        loss: rarely([500, 10_000]),
        duplicate: rarely([1_000, 50_000]),
        reorder: rarely([1_000, 100_000]),
        lane_full: rarely([500, 10_000]),
        garbage: rarely([500, 5_000]),
    }
}

fn gossip(options: &Options) -> GossipOptions {
    // It came later: a stream of its own leaves the draws of all else what they were.
    let mut draw = Draw::new(options.seed, "gossip options");
    let speed: u64 = draw.pick(&[1, 5, 20]);
    // An answer must have time to come, or everybody accuses everybody for ever.
    let timeout_us = 500_000;
    let by_latency = timeout_us / (options.network.latency_us_max * PINGS_PER_TIMEOUT);
    // And few datagrams must stay few: a large cluster's would be most of the events.
    let by_size = DATAGRAM_PACE_MAX / u64::from(options.nodes);
    GossipOptions {
        speed: u32::try_from(speed.min(by_latency).min(by_size).max(1)).expect("at most 20"),
        loss: draw.pick(&[0, 10_000, 100_000, 300_000]),
        late: draw.pick(&[0, 10_000, 200_000]),
        duplicate: draw.pick(&[0, 0, 20_000]),
    }
}

fn nemesis(draw: &mut Draw, seed: u64, durability: Durability) -> NemesisOptions {
    let chance = draw.pick(&[100_000, 250_000, 500_000]);
    // These came later: a stream of their own leaves the draws of all else what they were.
    let mut later = Draw::new(seed, "later faults");
    let on = |kind: &Fault| match kind {
        Fault::Twin | Fault::HeaderRot => later.chance(chance),
        _ => draw.chance(chance),
    };
    let kinds: Vec<Fault> = Fault::ALL.into_iter().filter(on).collect();
    let kinds = kinds.into_iter().filter(|kind| *kind != Fault::PowerLossOfAll || durability == Durability::Sync);
    NemesisOptions {
        every_ms: draw.pick(&[20, 100, 500]),
        duration_ms_max: draw.pick(&[50, 500, 3_000]),
        kinds: kinds.collect(),
        power_loss_at_end: durability == Durability::Sync && draw.chance(MILLION / 2),
        wall_ms_max: draw.pick(&[0, 50, 5_000, WALL_MS_MAX]),
    }
}
