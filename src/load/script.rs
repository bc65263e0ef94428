//! What is done to a local cluster while a run is made, and when.
//!
//! ```text
//!   generator's thread          stage's thread
//!     began(at) ------------->  waits until at + 20 s, kills n2, notes when it was done
//!     appeared() <------------  the process of a node that was started again
//! ```
//!
//! The generator's thread does nothing else than generate, so nodes are ended and started by a thread of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cluster::{Act, LocalCluster, LocalError};
use super::report::Event;
use super::watch::Watched;

/// A node and a time, as typed: `n2@20s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// The node's name.
    pub node: String,
    /// After the beginning of the measured time.
    pub at: Duration,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub act: Act,
    /// To whom, and when.
    pub cue: Cue,
}

/// Why a script cannot be played. Nothing was started. Whose fault: the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Not of the form.
    #[error("{0:?} is not NODE@TIME, such as n2@20s or n1@1m30s")]
    Form(String),
    /// A node that there is not.
    #[error("{deed}: there is no such node; there are {known}")]
    NoNode {
        /// What was asked.
        deed: Deed,
        /// The nodes.
        known: String,
    },
    /// Too late.
    #[error("{deed}: the run is over after {} s; make it longer with --duration", duration.as_secs_f64())]
    Late {
        /// What was asked.
        deed: Deed,
        /// How long the run is.
        duration: Duration,
    },
    /// Something that makes no sense by then.
    #[error("{deed}: {state} by then")]
    Order {
        /// What was asked.
        deed: Deed,
        /// What the node does.
        state: &'static str,
    },
}

impl FromStr for Cue {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let form = || ScriptError::Form(text.to_owned());
        let (node, at) = text.split_once('@').ok_or_else(form)?;
        let at = humantime::parse_duration(at).map_err(|_| form())?;
        if node.is_empty() { Err(form()) } else { Ok(Self { node: node.to_owned(), at }) }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {} s", self.act.name(), self.cue.node, self.cue.at.as_secs_f64())
    }
}

/// Deeds in the order of their times, which make sense together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script(Vec<Deed>);

/// What a node does, as far as the script has made it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    StandsStill,
    Dead,
}

impl Script {
    /// Checks deeds against the nodes that there are and the time that the run takes.
    pub fn new(mut deeds: Vec<Deed>, nodes: &[&str], duration: Duration) -> Result<Self, ScriptError> {
        deeds.sort_by_key(|deed| deed.cue.at);
        let mut states = vec![State::Runs; nodes.len()];
        for deed in &deeds {
            let deed = || deed.clone();
            let place = nodes.iter().position(|node| *node == deed().cue.node);
            let state = place.and_then(|place| states.get_mut(place));
            let state = state.ok_or_else(|| ScriptError::NoNode { deed: deed(), known: nodes.join(", ") })?;
            if deed().cue.at >= duration {
                return Err(ScriptError::Late { deed: deed(), duration });
            }
            *state = match (deed().act, *state) {
                (Act::Kill, State::Runs | State::StandsStill) => State::Dead,
                (Act::Restart, State::Dead) | (Act::Continue, State::StandsStill) => State::Runs,
                (Act::Stop, State::Runs) => State::StandsStill,
                (Act::Kill | Act::Stop | Act::Continue, State::Dead) => {
                    return Err(ScriptError::Order { deed: deed(), state: "it does not run" });
                }
                (Act::Restart, State::Runs | State::StandsStill) => {
                    return Err(ScriptError::Order { deed: deed(), state: "it runs" });
                }
                (Act::Continue, State::Runs) => {
                    return Err(ScriptError::Order { deed: deed(), state: "it does not stand still" });
                }
                (Act::Stop, State::StandsStill) => {
                    return Err(ScriptError::Order { deed: deed(), state: "it stands still" });
                }
            };
        }
        Ok(Self(deeds))
    }
}

/// A cluster to which something is done. Dropped, it stops doing it and ends the cluster.
#[derive(Debug)]
pub struct Stage {
    /// Dropping it ends the thread.
    begin: Option<SyncSender<Instant>>,
    thread: Option<JoinHandle<Result<LocalCluster, LocalError>>>,
    done: Arc<Mutex<Done>>,
}

/// What was done so far.
#[derive(Debug, Default)]
struct Done {
    events: Vec<Event>,
    appeared: Vec<Watched>,
}

impl Stage {
    /// Hands a cluster over to a thread that waits for the beginning.
    pub fn set(cluster: LocalCluster, script: Script) -> std::io::Result<Self> {
        // Two: the second ends a thread that has begun.
        let (begin, started) = sync_channel(1);
        let done = Arc::new(Mutex::new(Done::default()));
        let shared = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("stage".to_owned());
        let thread = thread.spawn(move || play(cluster, script, &started, &shared))?;
        Ok(Self { begin: Some(begin), thread: Some(thread), done })
    }

    /// The measured time begins.
    pub fn begin(&self, at: Instant) {
        if let Some(begin) = &self.begin {
            // A thread that has ended says why when it is joined.
            begin.try_send(at).unwrap_or_default();
        }
    }

    /// Processes that have come since the last call.
    #[must_use]
    pub fn appeared(&self) -> Vec<Watched> {
        std::mem::take(&mut self.done().appeared)
    }

    /// Stops what is not done yet: the cluster, and what was done to it.
    pub fn end(mut self) -> Result<(LocalCluster, Vec<Event>), LocalError> {
        drop(self.begin.take());
        let thread = self.thread.take().map(JoinHandle::join);
        let events = std::mem::take(&mut self.done().events);
        match thread {
            Some(Ok(cluster)) => cluster.map(|cluster| (cluster, events)),
            Some(Err(_)) | None => Err(LocalError::Options("the thread that plays the script has panicked".to_owned())),
        }
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.begin.take());
        if let Some(thread) = self.thread.take() {
            // With it go the cluster's processes and files.
            drop(thread.join());
        }
    }
}

/// The stage's thread: does each deed at its time, until all are done or nobody wants them any more.
fn play(
    mut cluster: LocalCluster,
    script: Script,
    started: &Receiver<Instant>,
    done: &Mutex<Done>,
) -> Result<LocalCluster, LocalError> {
    let Ok(began) = started.recv() else { return Ok(cluster) };
    for deed in script.0 {
        let left = (began + deed.cue.at).saturating_duration_since(Instant::now());
        match started.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) => {}
            // The run has ended before its time.
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(cluster),
        }
        // Noted when it is done: a process takes a moment to end.
        let appeared = cluster.act(&deed.cue.node, deed.act)?;
        let event = Event { at: began.elapsed().as_secs_f64(), what: format!("{} {}", deed.act.name(), deed.cue.node) };
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.events.push(event);
        done.appeared.extend(appeared);
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(act: Act, cue: &str) -> Deed {
        Deed { act, cue: cue.parse().unwrap() }
    }

    #[test]
    fn cues_are_what_people_type() {
        assert_eq!("n2@20s".parse(), Ok(Cue { node: "n2".to_owned(), at: Duration::from_secs(20) }));
        assert_eq!("n1@1m30s".parse(), Ok(Cue { node: "n1".to_owned(), at: Duration::from_secs(90) }));
        for text in ["", "n2", "@3s", "n2@", "n2@x", "n2@3"] {
            assert_eq!(text.parse::<Cue>(), Err(ScriptError::Form(text.to_owned())));
        }
    }

    #[test]
    fn script_is_sorted_and_makes_sense() {
        let nodes = ["n1", "n2", "n3"];
        let minute = Duration::from_secs(60);
        let script = |deeds: &[(Act, &str)]| {
            let deeds = deeds.iter().map(|(act, cue)| deed(*act, cue)).collect();
            Script::new(deeds, &nodes, minute).map_err(|error| error.to_string())
        };
        let sorted = script(&[(Act::Restart, "n2@40s"), (Act::Kill, "n2@20s"), (Act::Stop, "n3@10s")]).unwrap();
        let order: Vec<String> = sorted.0.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["stop n3 at 10 s", "kill n2 at 20 s", "restart n2 at 40 s"]);
        for (deeds, error) in [
            (&[(Act::Kill, "n9@1s")][..], "kill n9 at 1 s: there is no such node; there are n1, n2, n3"),
            (&[(Act::Kill, "n1@60s")], "kill n1 at 60 s: the run is over after 60 s; make it longer with --duration"),
            (&[(Act::Restart, "n1@5s")], "restart n1 at 5 s: it runs by then"),
            (&[(Act::Kill, "n1@5s"), (Act::Stop, "n1@6s")], "stop n1 at 6 s: it does not run by then"),
            (&[(Act::Continue, "n1@5s")], "cont n1 at 5 s: it does not stand still by then"),
            (&[(Act::Stop, "n1@5s"), (Act::Stop, "n1@6s")], "stop n1 at 6 s: it stands still by then"),
        ] {
            assert_eq!(script(deeds).unwrap_err(), error);
        }
        assert!(script(&[(Act::Stop, "n1@5s"), (Act::Kill, "n1@6s"), (Act::Restart, "n1@7s")]).is_ok());
    }
}
