//! Who supervises the node, and what it is told: systemd, over the socket of `Type=notify`.
//!
//! ```text
//!   start     STATUS=recovering the storage    EXTEND_TIMEOUT_USEC=.. while that moves
//!   serving   READY=1 STATUS=member, serves 64 partitions           WATCHDOG=1 while everything answers
//!   SIGHUP    RELOADING=1 MONOTONIC_USEC=..    then READY=1 STATUS=what was reloaded
//!   SIGTERM   STOPPING=1                       EXTEND_TIMEOUT_USEC=.. while the flush moves
//! ```
//!
//! One thread says all of it, so that it is said in order. Without `NOTIFY_SOCKET` there is no thread.

use std::env;
use std::ffi::OsString;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::notify::{Notification, Notifier};
use super::phase::{Phase, Phases};
use super::progress::Progress;
use super::pulse::Pulse;
use super::watchdog::{Verdict, Watchdog};

/// Between two requests for more time.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// How much more each asks for: three of them may be late.
const EXTEND_BY: Duration = Duration::from_secs(20);
/// Rounds of the watchdog in its time: three in a row may fail before systemd acts.
const ROUNDS: u32 = 4;

/// Something to tell.
#[derive(Debug)]
enum Event {
    Phase(Phase),
    /// The node runs, and is felt from now on.
    Ready(Box<Pulse>),
    Reloading,
    /// With what came of it.
    Reloaded(String),
    /// The node did not start, or ended by itself.
    Failed(String),
}

/// The thread that tells, if there is somebody to be told.
#[derive(Debug, Default)]
pub(crate) struct Supervision {
    events: Option<Sender<Event>>,
    thread: Option<JoinHandle<()>>,
}

impl Supervision {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn of_environment() -> std::io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Ok(Self::default());
        };
        let notifier = match Notifier::new(&address) {
            Ok(notifier) => notifier,
            Err(error) => {
                tracing::error!(%error, "no notifications");
                return Ok(Self::default());
            }
        };
        let watchdog = watchdog_time(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID"), std::process::id());
        let (events, told) = mpsc::channel();
        let teller = Teller::new(notifier, watchdog);
        let thread = thread::Builder::new().name("supervision".to_owned()).spawn(move || teller.run(&told))?;
        Ok(Self { events: Some(events), thread: Some(thread) })
    }

    /// Where the node says which phase it is in.
    pub(crate) fn phases(&self) -> Phases {
        match self.events.clone() {
            None => Phases::default(),
            // The thread ends only after the node.
            Some(events) => Phases::to(move |phase| drop(events.send(Event::Phase(phase)))),
        }
    }

    /// The node serves, or waits for its cluster.
    pub(crate) fn ready(&self, pulse: impl FnOnce() -> std::io::Result<Pulse>) -> std::io::Result<()> {
        if self.events.is_some() {
            self.tell(Event::Ready(Box::new(pulse()?)));
        }
        Ok(())
    }

    /// SIGHUP has come.
    pub(crate) fn reloading(&self) {
        self.tell(Event::Reloading);
    }

    /// The reload is over.
    pub(crate) fn reloaded(&self, report: String) {
        self.tell(Event::Reloaded(report));
    }

    /// SIGTERM has come.
    pub(crate) fn stopping(&self) {
        self.tell(Event::Phase(Phase::Stopping));
    }

    /// The node did not start, or ended by itself.
    pub(crate) fn failed(&self, reason: &dyn std::error::Error) {
        self.tell(Event::Failed(reason.to_string()));
    }

    fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            // The thread ends only after this.
            drop(events.send(event));
        }
    }

    /// Says the rest, and ends. The node has ended before, and with it its phases.
    pub(crate) fn end(mut self) {
        drop(self.events.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that talks to systemd has panicked");
        }
    }
}

/// The time in which systemd wants a ping from this process.
fn watchdog_time(usec: Option<OsString>, pid: Option<OsString>, own_pid: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    let meant = pid.is_none_or(|pid| number(pid) == Some(u64::from(own_pid)));
    let usec = usec.and_then(number).filter(|usec| meant && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

/// The thread's state.
struct Teller {
    notifier: Notifier,
    began: Instant,
    phase: Phase,
    phase_began: Instant,
    /// As the requests for more time have seen it, and as the watchdog has: each looks at times of its own.
    extended: Progress,
    watched: Progress,
    /// Between two rounds; none without a watchdog.
    round: Option<Duration>,
    pulse: Option<Box<Pulse>>,
    watchdog: Watchdog,
    silent: bool,
    next_extension: Instant,
    next_round: Instant,
}

impl Teller {
    fn new(notifier: Notifier, watchdog: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            notifier,
            began: now,
            phase: Phase::ReadingCertificates,
            phase_began: now,
            extended: Progress::default(),
            watched: Progress::default(),
            round: watchdog.map(|time| time / ROUNDS),
            pulse: None,
            watchdog: Watchdog::default(),
            silent: false,
            next_extension: now + EXTEND_EVERY,
            next_round: now,
        }
    }

    fn run(mut self, events: &Receiver<Event>) {
        loop {
            let round = self.round.filter(|_| self.pulse.is_some()).map(|_| self.next_round);
            let due = round.into_iter().fold(self.next_extension, Instant::min);
            match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= self.next_extension {
                self.next_extension = now + EXTEND_EVERY;
                self.extend(now);
            }
            if round.is_some() && now >= self.next_round {
                self.end_round(now);
                self.begin_round(now);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Phase(phase) => {
                (self.phase, self.phase_began) = (phase, Instant::now());
                let notification = match phase {
                    Phase::Stopping => {
                        // From here on threads end, and whoever does not answer may be right to.
                        self.pulse = None;
                        Notification::stopping().with_status(&phase)
                    }
                    _ => Notification::status(&phase),
                };
                self.notifier.send(&notification);
            }
            Event::Ready(pulse) => {
                self.notifier.send(&Notification::ready().with_status(&self.phase));
                self.pulse = Some(pulse);
                self.begin_round(Instant::now());
            }
            Event::Reloading => self.notifier.send(&Notification::reloading().with_status(&"reloading")),
            Event::Reloaded(report) => self.notifier.send(&Notification::ready().with_status(&report)),
            Event::Failed(reason) => self.notifier.send(&Notification::status(&reason)),
        }
    }

    /// Asks for more time while a phase moves.
    fn extend(&mut self, now: Instant) {
        if self.phase.is_work() && self.extended.has_moved() {
            let words = format!("{}, for {} s so far", self.phase, (now - self.phase_began).as_secs());
            self.notifier.send(&Notification::status(&words).with_more_time(EXTEND_BY));
        }
    }

    fn begin_round(&mut self, now: Instant) {
        let (Some(pulse), Some(round)) = (&mut self.pulse, self.round) else { return };
        self.next_round = now + round;
        for part in self.watchdog.begin_round(now - self.began, pulse.parts()) {
            pulse.ask(part);
        }
    }

    fn end_round(&mut self, now: Instant) {
        let Some(pulse) = &mut self.pulse else { return };
        for part in self.watchdog.open() {
            if pulse.has_answered(part) {
                self.watchdog.answered(part);
            }
        }
        let verdict = self.watchdog.end_round(now - self.began);
        // Work that holds the control thread, such as creating partitions, shows itself by moving.
        if verdict == Verdict::Ping || self.phase.is_work() && self.watched.has_moved() {
            let status = Notification::watchdog();
            self.notifier.send(&if self.silent { status.with_status(&self.phase) } else { status });
            self.silent = false;
            return;
        }
        tracing::error!(%verdict, phase = %self.phase, "no ping for the watchdog");
        self.notifier.send(&Notification::status(&verdict));
        self.silent = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdog_is_for_the_process_that_it_names() {
        let time = |usec: &str, pid: Option<&str>| {
            let usec = Some(usec).filter(|usec| !usec.is_empty()).map(OsString::from);
            watchdog_time(usec, pid.map(OsString::from), 42)
        };
        assert_eq!(time("30000000", Some("42")), Some(Duration::from_secs(30)));
        assert_eq!(time("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(time("30000000", Some("41")), None, "another process's");
        assert_eq!(time("0", None), None);
        assert_eq!(time("", None), None);
        assert_eq!(time("soon", None), None);
    }
}
