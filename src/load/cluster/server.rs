//! One server process: started, signalled, never left behind.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Act, LocalError};

/// A node's process, over as many as it is started.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    is_stopped: bool,
}

/// The end of a log that an error shows: the last lines say why.
const LOG_BYTES_SHOWN: usize = 2000;

impl Server {
    /// A node that is not started yet.
    pub(super) fn new(name: &str, program: &Path, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            config: dir.join(format!("{name}.toml")),
            log: dir.join(format!("{name}.log")),
            child: None,
            is_stopped: false,
        }
    }

    /// The process, while there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the process.
    pub(super) fn start(&mut self) -> Result<(), LocalError> {
        if self.child.is_some() {
            return Err(LocalError::Order { node: self.name.clone(), what: "restart", state: "it runs already" });
        }
        let failed = |source| LocalError::Start { program: self.program.clone(), source };
        let output = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.args(["server", "--config"]).arg(&self.config);
        // A server takes any field of its configuration from the environment, and what is there is not meant for it.
        for variable in overriding(std::env::vars_os().map(|(name, _)| name)) {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        // In a group of its own: a Ctrl-C at the terminal is ours to answer, by ending the servers.
        command.process_group(0);
        self.child = Some(command.spawn().map_err(failed)?);
        self.is_stopped = false;
        Ok(())
    }

    /// Does something to the process.
    pub(super) fn act(&mut self, act: Act) -> Result<(), LocalError> {
        let order = |state| LocalError::Order { node: self.name.clone(), what: act.verb(), state };
        match (act, self.child.is_some(), self.is_stopped) {
            (Act::Restart, ..) => return self.start(),
            (_, false, _) => return Err(order("it does not run")),
            (Act::Stop, true, true) => return Err(order("it stands still already")),
            (Act::Continue, true, false) => return Err(order("it does not stand still")),
            (Act::Kill, true, _) | (Act::Stop, true, false) | (Act::Continue, true, true) => {}
        }
        match act {
            Act::Kill => self.end(),
            Act::Stop => self.signal(Signal::STOP)?,
            Act::Continue => self.signal(Signal::CONT)?,
            Act::Restart => {}
        }
        self.is_stopped = act == Act::Stop;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), LocalError> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let sent = pid.ok_or(rustix::io::Errno::SRCH).and_then(|pid| kill_process(pid, signal));
        sent.map_err(|errno| LocalError::Signal { node: self.name.clone(), source: errno.into() })
    }

    /// `kill -9`, and waits for the end.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself is as good.
            child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_default();
        }
    }

    /// An error, when the process has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), LocalError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.child = None;
                Err(LocalError::Ended { node: self.name.clone(), how: how(status), log: self.last_words() })
            }
            Err(source) => Err(LocalError::Signal { node: self.name.clone(), source }),
        }
    }

    /// The end of what it has printed.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let end = log.get(log.len().saturating_sub(LOG_BYTES_SHOWN)..).unwrap_or_default();
        String::from_utf8_lossy(end).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The variables that would change what a server does.
fn overriding(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let changes = |name: &OsString| name.to_string_lossy().starts_with("QUORATE_") || name == "RUST_LOG";
    // systemd's, when the harness itself is a service: they are for the harness.
    let told = |name: &OsString| matches!(name.to_str(), Some("NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID"));
    names.filter(|name| changes(name) || told(name)).collect()
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no reason that the system tells".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_of_the_harness_does_not_reach_the_servers() {
        let names = ["PATH", "QUORATE_DURABILITY", "RUST_LOG", "NOTIFY_SOCKET", "HOME"];
        let found = overriding(names.into_iter().map(OsString::from));
        assert_eq!(found, ["QUORATE_DURABILITY", "RUST_LOG", "NOTIFY_SOCKET"].map(OsString::from));
    }

    #[test]
    fn acts_that_make_no_sense_are_refused_with_the_state() {
        let dir = std::env::temp_dir();
        let mut server = Server::new("n1", Path::new("/nonexistent/quorate"), &dir);
        let refused = server.act(Act::Kill).expect_err("nothing runs");
        assert_eq!(refused.to_string(), "n1 cannot be killed: it does not run");
        let refused = server.start().expect_err("no such program");
        assert!(refused.to_string().contains("/nonexistent/quorate"), "{refused}");
        fs::remove_file(dir.join("n1.log")).unwrap_or_default();
    }
}
