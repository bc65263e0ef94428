//! Several client processes that share the load of one run: one thread sends only so much.
//!
//! The first process starts the others, which are this program with a hidden subcommand, and talks with them in lines
//! of JSON over their standard input and output:
//!
//! ```text
//!   first                         another
//!     | -- assignment ------------> |  connects, prepares the keys that are its own
//!     | <------------- progress --- |
//!     | <---------------- ready --- |
//!     | -- go --------------------> |  all begin at once
//!     | <------------- progress --- |
//!     | <---------------- tally --- |  counts add up, latencies as counts too
//! ```
//!
//! Each draws from the same law with another part of the seed, has its part of rate and requests in flight, and writes
//! the keys that are its own ([`items`](super::items)). A process that ends without a tally fails the run, with what it
//! said on standard error. One whose first process is gone ends by itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::LoadError;
use super::items::Share;
use super::recorder::Detail;
use super::report::{Machine, Run};
use super::run::{Preparation, measure, prepare, prepare_share, run};
use super::settings::Settings;
use super::tally::Tally;
use super::watch::{Progress, Watch, Watched};
use crate::client::Client;

/// What a process may say on standard error and have repeated.
const STDERR_BYTES_MAX: u64 = 16 * 1024;
/// What begins the run.
const GO: &str = "go";

/// How the other processes are started: this program, with its hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; those that find the cluster are among them.
    pub arguments: Vec<OsString>,
}

/// What another process is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Assignment {
    settings: Settings,
    share: Share,
    preparation: Preparation,
}

/// What another process says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Progress(Progress),
    Ready,
    Done(Box<Tally>),
}

/// Prepares and makes one run with as many processes as the settings say. With one, it is [`prepare`] and [`run`].
pub async fn run_together(
    client: &Client,
    settings: &Settings,
    preparation: Preparation,
    companion: &Companion,
    watched: &[Watched],
    watch: &mut dyn Watch,
) -> Result<Run, LoadError> {
    settings.check()?;
    if settings.processes == 1 {
        let mut items = prepare(client, settings, preparation, watch).await?;
        return run(client, settings, &mut items, watched, watch).await;
    }
    let mut others = Others::start(settings, preparation, companion)?;
    let share = Share { index: 0, count: settings.processes };
    let mut together = Together { watch, others: &mut others };
    let mut items = prepare_share(client, settings, share, preparation, &mut together).await?;
    others.ready().await?;
    others.go()?;
    let mut together = Together { watch, others: &mut others };
    let mut tally = measure(client, settings, &mut items, Detail::Distributions, watched, &mut together).await?;
    for other in others.tallies().await? {
        tally.add(other);
    }
    Ok(tally.into_run(settings, Machine::this().cores))
}

/// What the hidden subcommand does: another process's part, as the first one says on standard input.
pub async fn assist(client: &Client) -> Result<(), LoadError> {
    let assignment = next_line().await?;
    let Assignment { settings, share, preparation } =
        serde_json::from_str(&assignment).map_err(|error| broken("the assignment", error.into()))?;
    let mut aloud = Aloud;
    let mut items = prepare_share(client, &settings, share, preparation, &mut aloud).await?;
    say(&Said::Ready)?;
    let word = next_line().await?;
    if word.trim_end() != GO {
        return Err(broken("the word to begin", io::Error::other(format!("{word:?} instead of {GO:?}"))));
    }
    // The first process holds the other end until it ends.
    std::thread::spawn(|| {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).unwrap_or_default();
        std::process::exit(1);
    });
    let tally = measure(client, &settings, &mut items, Detail::Distributions, &[], &mut aloud).await?;
    say(&Said::Done(Box::new(tally)))
}

/// A line of standard input; an empty one when the first process is gone.
async fn next_line() -> Result<String, LoadError> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    read.await.map_err(LoadError::panicked)?.map_err(|source| broken("standard input", source))
}

/// One line on standard output.
fn say(said: &Said) -> Result<(), LoadError> {
    let mut line = serde_json::to_string(said).map_err(|error| broken("a message", error.into()))?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(|source| broken("standard output", source))
}

fn broken(what: &str, source: io::Error) -> LoadError {
    LoadError::Machine { what: format!("{what} between the processes of the generator"), source }
}

/// Says how far it is.
struct Aloud;

impl Watch for Aloud {
    fn progress(&mut self, progress: &Progress) {
        if let Err(error) = say(&Said::Progress(progress.clone())) {
            tracing::warn!(%error, "nobody hears how far this process is");
        }
    }
}

/// The other processes, as the first one has them. They end with it.
struct Others {
    processes: Vec<Process>,
    said: UnboundedReceiver<(u16, Option<Said>)>,
    progress: BTreeMap<u16, Progress>,
    ready: usize,
    tallies: BTreeMap<u16, Tally>,
    /// Processes that have closed their output.
    ended: Vec<u16>,
}

struct Process {
    index: u16,
    child: Child,
    /// Closed when the process is to end.
    input: ChildStdin,
    stderr: Option<JoinHandle<String>>,
}

impl Drop for Others {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended cannot be killed, and need not.
            process.child.kill().and_then(|()| process.child.wait()).map(drop).unwrap_or_default();
        }
    }
}

impl Others {
    /// Starts all but the first, each with its assignment.
    fn start(settings: &Settings, preparation: Preparation, companion: &Companion) -> Result<Self, LoadError> {
        let (tx, said) = unbounded_channel();
        let mut others = Self {
            processes: Vec::new(),
            said,
            progress: BTreeMap::new(),
            ready: 0,
            tallies: BTreeMap::new(),
            ended: Vec::new(),
        };
        for index in 1..settings.processes {
            let share = Share { index, count: settings.processes };
            let assignment = Assignment { settings: settings.clone(), share, preparation };
            let process = Process::start(index, companion, &assignment, tx.clone())?;
            others.processes.push(process);
        }
        Ok(others)
    }

    /// Waits until all are prepared.
    async fn ready(&mut self) -> Result<(), LoadError> {
        while self.ready < self.processes.len() {
            self.hear().await?;
        }
        Ok(())
    }

    /// Lets all begin.
    fn go(&mut self) -> Result<(), LoadError> {
        for at in 0..self.processes.len() {
            let Some(process) = self.processes.get_mut(at) else { continue };
            let index = process.index;
            if writeln!(process.input, "{GO}").and_then(|()| process.input.flush()).is_err() {
                return Err(self.failure(index));
            }
        }
        Ok(())
    }

    /// Waits for what all have counted.
    async fn tallies(&mut self) -> Result<Vec<Tally>, LoadError> {
        while self.tallies.len() < self.processes.len() {
            self.hear().await?;
        }
        Ok(std::mem::take(&mut self.tallies).into_values().collect())
    }

    /// Waits for the next word. A process that ends without a tally is the end of the run.
    async fn hear(&mut self) -> Result<(), LoadError> {
        let early = |others: &Self| others.ended.iter().copied().find(|index| !others.tallies.contains_key(index));
        if early(self).is_none() {
            match self.said.recv().await {
                Some((index, said)) => self.take(index, said),
                None => return Err(broken("all words", io::ErrorKind::BrokenPipe.into())),
            }
        }
        early(self).map_or(Ok(()), |index| Err(self.failure(index)))
    }

    /// None is the end.
    fn take(&mut self, index: u16, said: Option<Said>) {
        match said {
            Some(Said::Progress(progress)) => {
                self.progress.insert(index, progress);
            }
            Some(Said::Ready) => self.ready += 1,
            Some(Said::Done(tally)) => {
                self.tallies.insert(index, *tally);
            }
            None => self.ended.push(index),
        }
    }

    /// What has come meanwhile, without waiting.
    fn drain(&mut self) {
        while let Ok((index, said)) = self.said.try_recv() {
            self.take(index, said);
        }
    }

    /// Why a process did not do its part: how it ended, and what it said.
    fn failure(&mut self, index: u16) -> LoadError {
        let Some(process) = self.processes.iter_mut().find(|process| process.index == index) else {
            return broken("all words", io::ErrorKind::BrokenPipe.into());
        };
        // It has closed its output, or its input, so it has ended or is about to.
        let what = match process.child.wait() {
            Ok(status) => format!("ended early ({status})"),
            Err(error) => format!("is lost ({error})"),
        };
        let stderr = process.stderr.take().and_then(|reading| reading.join().ok()).unwrap_or_default();
        LoadError::Process { index, what, stderr }
    }
}

impl Process {
    fn start(
        index: u16,
        companion: &Companion,
        assignment: &Assignment,
        said: UnboundedSender<(u16, Option<Said>)>,
    ) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Machine { what: format!("client process {index} does not start"), source };
        let mut command = Command::new(&companion.program);
        command.args(&companion.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(stderr)) = pipes else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Some(heard) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
                if said.send((index, Some(heard))).is_err() {
                    return;
                }
            }
            // Nobody may be left to hear it.
            said.send((index, None)).unwrap_or_default();
        });
        let stderr = std::thread::spawn(move || {
            let (mut words, mut stderr) = (Vec::new(), stderr);
            // What is too much is read all the same, so that the process never waits for us.
            let read = stderr.by_ref().take(STDERR_BYTES_MAX).read_to_end(&mut words);
            read.and_then(|_| io::copy(&mut stderr, &mut io::sink())).map(drop).unwrap_or_default();
            String::from_utf8_lossy(&words).into_owned()
        });
        let assignment = serde_json::to_string(assignment).map_err(|error| broken("the assignment", error.into()))?;
        // One that has ended already is found by its silence, with its words.
        writeln!(input, "{assignment}").and_then(|()| input.flush()).unwrap_or_default();
        Ok(Self { index, child, input, stderr: Some(stderr) })
    }
}

/// Looks on for all processes at once.
struct Together<'a> {
    watch: &'a mut dyn Watch,
    others: &'a mut Others,
}

impl Watch for Together<'_> {
    fn began(&mut self, at: Instant) {
        self.watch.began(at);
    }

    /// Keys and operations add up. The percentiles of a second are those of the first process: of all together they are
    /// in the report.
    fn progress(&mut self, progress: &Progress) {
        self.others.drain();
        let mut sum = progress.clone();
        for other in self.others.progress.values().filter(|other| other.phase == progress.phase) {
            match (&mut sum.second, &other.second) {
                (Some(second), Some(other)) => {
                    second.operations += other.operations;
                    second.errors += other.errors;
                }
                (None, None) => {
                    sum.done += other.done;
                    sum.total += other.total;
                }
                (Some(_), None) | (None, Some(_)) => {}
            }
        }
        self.watch.progress(&sum);
    }

    fn appeared(&mut self) -> Vec<Watched> {
        self.watch.appeared()
    }
}

#[cfg(test)]
mod tests;
