//! Feels the pulse of a running node: asks its threads and its disk, without waiting for any of them.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::control::Order;
use super::inbox::Input;
use super::report::ShardReport;
use super::state::NodeShared;
use super::watchdog::Part;
use crate::protocol::wire::NodeState;

/// The file in the data directory that the disk is felt by.
const PULSE_FILE: &str = "pulse";

/// A node and its disk, to be asked.
#[derive(Debug)]
pub(crate) struct Pulse {
    shared: Arc<NodeShared>,
    orders: mpsc::Sender<Order>,
    disk: DiskPulse,
    control: Option<oneshot::Receiver<NodeState>>,
    shards: Vec<Option<oneshot::Receiver<ShardReport>>>,
}

impl Pulse {
    /// Of this node; `data_dir` is where its disk is felt.
    pub(crate) fn new(shared: Arc<NodeShared>, orders: mpsc::Sender<Order>, data_dir: &Path) -> io::Result<Self> {
        let shards = shared.inboxes.iter().map(|_| None).collect();
        Ok(Self { shared, orders, disk: DiskPulse::start(data_dir.join(PULSE_FILE))?, control: None, shards })
    }

    /// What the node consists of now. Shards turn once it is a member.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let shards = if self.shared.view().is_some() { self.shards.len() } else { 0 };
        [Part::Control, Part::Disk].into_iter().chain((0..shards).map(Part::Shard)).collect()
    }

    /// Asks a part that has no open question.
    pub(crate) fn ask(&mut self, part: Part) {
        match part {
            Part::Control => {
                let (tell, told) = oneshot::channel();
                // A node that has ended does not answer, which is the truth. Where many orders wait it is asked again.
                self.control = self.orders.try_send(Order::State(tell)).is_ok().then_some(told);
            }
            Part::Shard(number) => {
                let (tell, told) = oneshot::channel();
                self.shared.inboxes[number].push(Input::Report(tell));
                self.shards[number] = Some(told);
            }
            Part::Disk => self.disk.ask(),
        }
    }

    /// Whether it has answered. One that dropped the question has not.
    pub(crate) fn has_answered(&mut self, part: Part) -> bool {
        if part == Part::Control && self.control.is_none() {
            self.ask(part);
        }
        match part {
            Part::Control => self.control.as_mut().is_some_and(|told| told.try_recv().is_ok()),
            Part::Shard(number) => self.shards[number].as_mut().is_some_and(|told| told.try_recv().is_ok()),
            Part::Disk => self.disk.has_answered(),
        }
    }
}

/// A thread that may wait for the disk, in everybody's place.
///
/// It writes a few bytes over themselves and has them fsynced. What the disk says is another matter: an error is an
/// answer, and the storage meets the same one and knows what follows from it (rule 6); a full disk still serves reads.
#[derive(Debug)]
struct DiskPulse {
    questions: SyncSender<()>,
    answers: Receiver<()>,
}

impl DiskPulse {
    fn start(path: PathBuf) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<()>(1);
        let (tell, answers) = sync_channel(1);
        // Not joined: at the end of the process it may be the one thread that still waits for the disk.
        thread::Builder::new().name("disk-pulse".to_owned()).spawn(move || {
            while asked.recv().is_ok() {
                if let Err(error) = beat(&path) {
                    tracing::warn!(%error, path = %path.display(), "the disk answers with an error");
                }
                if tell.send(()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers })
    }

    fn ask(&self) {
        if self.questions.try_send(()).is_err() {
            tracing::debug!("the disk has been asked already");
        }
    }

    fn has_answered(&self) -> bool {
        self.answers.try_recv().is_ok()
    }
}

/// One write, in place, and its fsync.
fn beat(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(b"alive\n")?;
    file.sync_data()
}
