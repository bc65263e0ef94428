//! The floor: what this machine could do if nothing but transport and storage cost anything.
//!
//! Two parts are measured on the same machine in the same minutes as the runs that they stand beside:
//!
//! ```text
//!   echo      two threads, one QUIC connection, our own endpoint, lanes and settings: real requests of the size that
//!             the operation's messages have; each is answered by a frame of its answer's size, unread
//!   storage   our own store: column families, options and batches, records of the size that nodes keep
//! ```
//!
//! and an operation is made of them by counting its messages (a coordinator that is a replica; N copies, R answers):
//!
//! ```text
//!   put   client -> coordinator -> N - 1 others and back   2 N messages = N round trips, N read-modify-writes
//!   get   client -> coordinator -> R - 1 others and back   2 R messages = R round trips, R reads
//!
//!   operation_us = messages / 2 x echo_us + accesses x storage_us        N=3: put 3 + 3, get 2 + 2
//! ```
//!
//! All in microseconds of CPU, of both ends and of all threads. With `q` requests in flight each of the nodes
//! coordinates `q / nodes` of them, and so many frames are on a lane at once and so many puts in a batch: what can be
//! batched at that load. (A node that gathered the frames of several lanes in one turn would batch its writes more; the
//! difference is below a tenth of the floor.)
//!
//! *Caveats.* The floor has no rules, no versions, no checksums, no client. It says what part of an operation's CPU is
//! the price of QUIC and RocksDB, and so what is left to be gained without replacing them. Nodes find recent items in
//! memory in front of RocksDB (`storage/items.rs`); the floor does not, so that it stays what RocksDB costs: a cluster
//! whose reads are all found there pays less for storage than its floor says.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::cluster::{LocalError, OwnDirectory};
use super::report::{Cluster, Floor, FloorStep, Report, Run};
use super::settings::{Mix, Pace, ValueSize};
use crate::pki::{AuthorityError, CredentialsError, TlsError};
use crate::protocol::types::AddressError;
use crate::storage::{CommitError, OpenError};
use crate::transport::{BindError, SessionError};
use frames::Messages;

mod disk;
mod echo;
mod frames;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloorPlan {
    /// Sizes of values, bytes.
    pub value_bytes: Vec<usize>,
    /// Requests in flight, of the whole cluster.
    pub in_flight: Vec<usize>,
    /// Nodes that share them.
    pub nodes: usize,
    /// Copies of an item.
    pub replicas: u8,
    /// Answers that a read waits for.
    pub read_quorum: u8,
    /// Partitions, a column family each.
    pub partitions: u16,
    /// Different keys in the store.
    pub keys: usize,
    /// Time for each of the parts of a step; half as long before it is not counted.
    pub time: Duration,
    /// Where the store's own directory is made. Default: the system's temporary directory.
    pub dir: Option<PathBuf>,
}

impl Default for FloorPlan {
    fn default() -> Self {
        Self {
            value_bytes: vec![128, 1024],
            in_flight: vec![256, 64, 1],
            nodes: 3,
            replicas: 3,
            read_quorum: 2,
            partitions: 64,
            keys: 20_000,
            time: Duration::from_secs(1),
            dir: None,
        }
    }
}

impl FloorPlan {
    /// What stands beside these runs: their sizes of values and their requests in flight; none when the floor knows
    /// nothing of any.
    #[must_use]
    pub fn beside(report: &Report) -> Option<Self> {
        let known = report.runs.iter().filter(|run| {
            run.settings.mix.scan == 0 && bytes_of(run) <= VALUE_BYTES_MAX as f64 && in_flight_of(run).is_some()
        });
        // Open loops stand beside the nearest closed one, where there are any.
        let (closed, open): (Vec<&Run>, Vec<&Run>) = known.partition(|run| run.settings.pace == Pace::Closed);
        let mut value_bytes: Vec<usize> = closed.iter().chain(&open).map(|run| whole(bytes_of(run))).collect();
        let runs = if closed.is_empty() { open } else { closed };
        let depths = runs.iter().filter_map(|run| in_flight_of(run));
        let mut in_flight: Vec<usize> = depths.map(|depth| whole(depth).clamp(1, IN_FLIGHT_MAX)).collect();
        for numbers in [&mut value_bytes, &mut in_flight] {
            numbers.sort_unstable();
            numbers.dedup();
        }
        let Cluster { nodes, partitions, replicas, read_quorum, .. } = report.cluster;
        // Deeper first, as the table of a suite has it.
        in_flight.reverse();
        (!value_bytes.is_empty()).then(|| Self {
            value_bytes,
            in_flight,
            nodes,
            replicas,
            read_quorum,
            partitions: u16::try_from(partitions).unwrap_or(u16::MAX),
            ..Self::default()
        })
    }
}

/// Bytes of a run's values, on average.
fn bytes_of(run: &Run) -> f64 {
    match run.settings.value {
        ValueSize::Fixed(bytes) => bytes as f64,
        ValueSize::Uniform { min, max } => f64::midpoint(min as f64, max as f64),
    }
}

/// Requests of a run that are under way at once; none of a run that has no sum.
fn in_flight_of(run: &Run) -> Option<f64> {
    match run.settings.pace {
        Pace::Closed => Some(run.settings.in_flight as f64),
        // Little's law: as many are under way as come while one is.
        Pace::Constant(rate) | Pace::Poisson(rate) => Some(rate * run.all().ok()?.service.mean() / 1e6),
    }
}

/// A size or a number in flight as a whole number.
fn whole(value: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between its bounds it has neither")]
    let whole = value.clamp(0.0, VALUE_BYTES_MAX as f64).round() as usize;
    whole
}

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A write of one item with the context of its last.
    Put,
    /// A read of one item.
    Get,
}

impl Operation {
    /// As reports have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }

    /// Messages of one operation, there and back.
    #[must_use]
    pub fn messages(self, replicas: u8, read_quorum: u8) -> u32 {
        2 * self.accesses(replicas, read_quorum)
    }

    /// Read-modify-writes, or reads, of one operation.
    #[must_use]
    pub fn accesses(self, replicas: u8, read_quorum: u8) -> u32 {
        match self {
            Self::Put => replicas.into(),
            Self::Get => read_quorum.into(),
        }
    }

    /// CPU that one operation needs at least, microseconds: the formula at the head of this file.
    #[must_use]
    pub fn needs_us(self, (replicas, read_quorum): (u8, u8), echo_us: f64, storage_us: f64) -> f64 {
        let round_trips = f64::from(self.messages(replicas, read_quorum)) / 2.0;
        round_trips * echo_us + f64::from(self.accesses(replicas, read_quorum)) * storage_us
    }
}

/// Why no floor was measured. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// Somebody did not want to wait for the end.
    #[error("stopped before the end")]
    Stopped,
    /// A plan that measures nothing. Whose fault: the caller's.
    #[error("{0}")]
    Plan(String),
    /// The store's directory.
    #[error(transparent)]
    Directory(Box<LocalError>),
    /// The certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificates, once made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The two ends of the echo did not greet each other.
    #[error("the echo has no session: {0}")]
    Session(#[from] SessionError),
    /// The echo stood still, or answered something else. Should not be: report it.
    #[error("the echo failed: {0}")]
    Echo(String),
    /// An address of the measured items. A mistake of ours.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not take a batch.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store does not find what was just written.
    #[error("the store failed: {0}")]
    Read(String),
    /// A thread or a runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<LocalError> for FloorError {
    fn from(error: LocalError) -> Self {
        Self::Directory(Box::new(error))
    }
}

/// Measures a floor; `told` hears each step when it is done. Takes two parts of `time` and a half for each step, and
/// must run while this process does nothing else: all of its CPU is charged to the step. `stop` ends it within one
/// part.
pub fn measure(plan: &FloorPlan, stop: &AtomicBool, mut told: impl FnMut(&FloorStep)) -> Result<Floor, FloorError> {
    check(plan)?;
    let quorums = (plan.replicas, plan.read_quorum);
    let mut steps = Vec::new();
    for &value_bytes in &plan.value_bytes {
        let messages = Messages::of(value_bytes)?;
        let dir = OwnDirectory::make(plan.dir.as_deref())?;
        // One store for all steps of a size: opening 64 column families takes longer than measuring.
        let disk = disk::measure(plan, &messages, &dir.path().join("floor"), stop)?;
        for (operation, &in_flight) in both().flat_map(|operation| plan.in_flight.iter().map(move |q| (operation, q))) {
            go_on(stop)?;
            let lane_frames = in_flight.div_ceil(plan.nodes);
            let echo = echo::measure(&messages.legs(operation, quorums), lane_frames, plan.time)?;
            let batch = if operation == Operation::Put { lane_frames } else { 1 };
            let storage_us = disk.cost_us(operation, batch);
            let measured = FloorStep {
                operation: operation.name().to_owned(),
                value_bytes,
                in_flight,
                lane_frames,
                echo_us: echo.cpu_us,
                echo_rate: echo.rate,
                storage_us,
                batch,
                operation_us: operation.needs_us(quorums, echo.cpu_us, storage_us),
            };
            told(&measured);
            steps.push(measured);
        }
    }
    Ok(Floor { steps })
}

fn go_on(stop: &AtomicBool) -> Result<(), FloorError> {
    if stop.load(Ordering::Relaxed) { Err(FloorError::Stopped) } else { Ok(()) }
}

fn both() -> impl Iterator<Item = Operation> {
    [Operation::Put, Operation::Get].into_iter()
}

fn check(plan: &FloorPlan) -> Result<(), FloorError> {
    let refuse = |what: &str| Err(FloorError::Plan(what.to_owned()));
    if plan.value_bytes.is_empty() || plan.in_flight.is_empty() {
        return refuse("a floor needs at least one size of values and one number of requests in flight");
    }
    if plan.in_flight.contains(&0) || plan.in_flight.iter().any(|count| *count > IN_FLIGHT_MAX) {
        return Err(FloorError::Plan(format!("requests in flight: from 1 to {IN_FLIGHT_MAX}")));
    }
    if plan.value_bytes.iter().any(|bytes| *bytes > VALUE_BYTES_MAX) {
        return Err(FloorError::Plan(format!("values of a floor have at most {VALUE_BYTES_MAX} bytes")));
    }
    if plan.nodes == 0 || plan.partitions == 0 || plan.keys == 0 || plan.time.is_zero() {
        return refuse("nodes, partitions, keys and time of a floor must be at least one");
    }
    if plan.replicas == 0 || plan.read_quorum == 0 || plan.read_quorum > plan.replicas {
        return refuse("a floor needs at least one copy, and reads from at most as many as there are");
    }
    Ok(())
}

/// More frames than a lane holds: at the largest value they would wait for each other, not for the echo.
const IN_FLIGHT_MAX: usize = 4096;
/// Larger values take the bulk lane in pieces, and their operations have other messages than these.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// CPU that this process has used, all threads together.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

impl Floor {
    /// The step for an operation, as it was measured; none for a size or a number in flight that was not.
    #[must_use]
    pub fn step(&self, operation: &str, value_bytes: usize, in_flight: usize) -> Option<&FloorStep> {
        let fits = |step: &&FloorStep| {
            step.operation == operation && step.value_bytes == value_bytes && step.in_flight == in_flight
        };
        self.steps.iter().find(fits)
    }

    /// CPU that an operation of this run needs at least, microseconds, from the nearest steps; none when nothing near
    /// enough was measured, or for scans, of which the floor knows nothing.
    #[must_use]
    pub fn needed_by(&self, run: &Run) -> Option<f64> {
        let (bytes, in_flight) = (bytes_of(run), in_flight_of(run)?);
        let Mix { get, put, delete, scan, read_modify_write, insert } = run.settings.mix;
        if scan > 0 {
            return None;
        }
        let (reads, writes) = (get + read_modify_write, put + delete + insert + read_modify_write);
        // A read-modify-write is two operations of the cluster's, and one of the run's.
        let operations = f64::from(get + put + delete + insert + read_modify_write);
        let mut needed = 0.0;
        for (operation, share) in [(Operation::Get, reads), (Operation::Put, writes)] {
            if share > 0 {
                let step = self.nearest(operation, bytes, in_flight)?;
                needed += step.operation_us * f64::from(share) / operations.max(1.0);
            }
        }
        (needed > 0.0).then_some(needed)
    }

    /// The step that is nearest by size and then by number in flight, each as a factor.
    fn nearest(&self, operation: Operation, bytes: f64, in_flight: f64) -> Option<&FloorStep> {
        let apart = |measured: usize, wanted: f64| ((measured as f64).max(1.0) / wanted.max(1.0)).ln().abs();
        let distance = |step: &FloorStep| (apart(step.value_bytes, bytes), apart(step.in_flight, in_flight));
        let same = self.steps.iter().filter(|step| step.operation == operation.name());
        let near = same.filter(|step| distance(step).0 <= BYTES_FACTOR_MAX.ln());
        near.min_by(|a, b| {
            let (a, b) = (distance(a), distance(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }
}

/// Values more than twice as large or as small as the measured ones have another floor.
const BYTES_FACTOR_MAX: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_is_the_sum_of_its_messages_and_accesses() {
        let of = |operation: Operation, quorums| operation.needs_us(quorums, 4.0, 1.5);
        // The design's: a put has six messages and three read-modify-writes, a get four and two reads.
        assert_eq!((Operation::Put.messages(3, 2), Operation::Get.messages(3, 2)), (6, 4));
        assert!((of(Operation::Put, (3, 2)) - (3.0 * 4.0 + 3.0 * 1.5)).abs() < 1e-12);
        assert!((of(Operation::Get, (3, 2)) - (2.0 * 4.0 + 2.0 * 1.5)).abs() < 1e-12);
        // One copy: the client's round trip and one access.
        assert!((of(Operation::Put, (1, 1)) - 5.5).abs() < 1e-12);
        assert!((of(Operation::Get, (5, 3)) - 16.5).abs() < 1e-12);
    }

    #[test]
    fn plan_that_measures_nothing_is_refused() {
        let refused = |change: fn(&mut FloorPlan)| {
            let mut plan = FloorPlan::default();
            change(&mut plan);
            check(&plan).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|plan| plan.value_bytes.clear()));
        assert!(refused(|plan| plan.in_flight.push(0)));
        assert!(refused(|plan| plan.in_flight.push(100_000)));
        assert!(refused(|plan| plan.value_bytes.push(1 << 20)));
        assert!(refused(|plan| plan.time = Duration::ZERO));
        assert!(refused(|plan| plan.read_quorum = 4));
    }

    #[test]
    fn plan_beside_runs_has_their_sizes_and_depths_once() {
        let run = |bytes, pace, in_flight| {
            let mut run = crate::load::specimen::run("a", &[1000.0; 5], &[3000.0; 5]);
            (run.settings.value, run.settings.pace, run.settings.in_flight) =
                (ValueSize::Fixed(bytes), pace, in_flight);
            run
        };
        let beside = |runs: Vec<Run>| FloorPlan::beside(&crate::load::specimen::report(runs));
        let closed = |bytes, in_flight| run(bytes, Pace::Closed, in_flight);
        let plan = beside(vec![closed(1024, 64), closed(128, 256), closed(1024, 256), run(128, Pace::Poisson(9.0), 7)]);
        let plan = plan.expect("sizes that it knows");
        assert_eq!((plan.value_bytes.as_slice(), plan.in_flight.as_slice()), (&[128, 1024][..], &[256, 64][..]));
        assert_eq!(check(&plan).map_err(|error| error.to_string()), Ok(()));
        let open = beside(vec![run(128, Pace::Poisson(20_000.0), 1024)]).expect("a size that it knows");
        assert!((20..60).contains(&open.in_flight[0]), "20000/s of some 1.5 ms: {:?}", open.in_flight);
        assert_eq!(beside(vec![closed(1 << 20, 64)]), None);
        assert_eq!(beside(Vec::new()), None);
    }

    #[test]
    fn floor_of_a_tiny_plan_is_positive_and_adds_up() {
        let plan = FloorPlan {
            value_bytes: vec![100],
            in_flight: vec![1, 12],
            partitions: 4,
            keys: 100,
            time: Duration::from_millis(60),
            ..FloorPlan::default()
        };
        let mut told = 0;
        let floor = measure(&plan, &AtomicBool::new(false), |_| told += 1).unwrap();
        assert_eq!((floor.steps.len(), told), (4, 4));
        for step in &floor.steps {
            assert!(step.echo_us > 0.0 && step.echo_rate > 0.0 && step.storage_us > 0.0, "{step:?}");
            let times = if step.operation == "put" { 3.0 } else { 2.0 };
            let sum = times * (step.echo_us + step.storage_us);
            assert!((step.operation_us - sum).abs() < 1e-9, "{step:?}");
        }
        assert_eq!(floor.step("put", 100, 12).map(|step| (step.lane_frames, step.batch)), Some((4, 4)));
        assert_eq!(floor.step("put", 100, 13), None);
        let stopped = measure(&plan, &AtomicBool::new(true), |_| ()).unwrap_err();
        assert!(matches!(stopped, FloorError::Stopped), "{stopped}");
    }

    #[test]
    fn run_finds_its_floor_by_mix_size_and_load() {
        let step = |operation: &str, in_flight, operation_us| FloorStep {
            operation: operation.to_owned(),
            value_bytes: 128,
            in_flight,
            lane_frames: 1,
            echo_us: 1.0,
            echo_rate: 1.0,
            storage_us: 1.0,
            batch: 1,
            operation_us,
        };
        let steps = vec![step("put", 256, 16.0), step("put", 1, 60.0), step("get", 256, 8.0)];
        let floor = Floor { steps };
        let mut run = crate::load::specimen::run("a", &[1000.0; 5], &[1000.0; 5]);
        assert_eq!(floor.needed_by(&run), Some(16.0), "64 in flight are nearer to 256 than to 1");
        run.settings.in_flight = 2;
        assert_eq!(floor.needed_by(&run), Some(60.0));
        run.settings.pace = Pace::Constant(100.0);
        assert_eq!(floor.needed_by(&run), Some(60.0), "a slow open loop has hardly ever one under way");
        run.settings.mix = Mix { get: 3, put: 1, ..Mix::default() };
        run.settings.pace = Pace::Closed;
        run.settings.in_flight = 256;
        assert_eq!(floor.needed_by(&run), Some(10.0));
        run.settings.mix = Mix { read_modify_write: 1, ..Mix::default() };
        assert_eq!(floor.needed_by(&run), Some(24.0), "a get and a put");
        run.settings.value = ValueSize::Fixed(100_000);
        assert_eq!(floor.needed_by(&run), None);
        run.settings.value = ValueSize::Fixed(128);
        run.settings.mix.scan = 1;
        assert_eq!(floor.needed_by(&run), None);
    }
}
