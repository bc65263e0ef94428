//! A process of the program under test: started with its output in a file, signalled, and never left behind.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::until;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quorate");

/// What can be done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Stop cleanly.
    Terminate,
    /// Ctrl-C.
    Interrupt,
    /// End here and now.
    Kill,
    /// Do nothing from now on.
    Stop,
    /// Go on.
    Continue,
    /// Read the configuration again.
    Hangup,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Hangup => "HUP",
        }
    }
}

/// One program and its output, over as many processes as it is started.
#[derive(Debug)]
pub(crate) struct Process {
    arguments: Vec<OsString>,
    directory: PathBuf,
    log: PathBuf,
    variables: Vec<(OsString, OsString)>,
    /// Bytes of the log that earlier processes wrote.
    earlier: usize,
    child: Option<Child>,
}

impl Process {
    /// A program that is not started yet. Its output is appended to `log`.
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>, directory: &Path, log: &Path) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self {
            arguments,
            directory: directory.to_owned(),
            log: log.to_owned(),
            variables: Vec::new(),
            earlier: 0,
            child: None,
        }
    }

    /// A variable of its environment, from the next start on.
    pub(crate) fn set_variable(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        let name = name.into();
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.log.display());
        self.earlier = self.whole_log().len();
        let output = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log in our own directory");
        let errors: File = output.try_clone().expect("another handle of an open file");
        let mut command = Command::new(PROGRAM);
        command.args(&self.arguments).current_dir(&self.directory);
        command.env_remove("RUST_LOG").env_remove("QUORATE_PROFILE").env_remove("QUORATE_LOG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        self.child = Some(command.spawn().expect("the program under test starts"));
    }

    /// Waits until its output since the last start has these words; all of it. Fails when the process ends before.
    pub(crate) fn says(&mut self, words: &str) -> String {
        until(&format!("{words:?} in {}", self.log.display()), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("our own child"));
            let log = self.log();
            if log.contains(words) {
                return Ok(log);
            }
            assert!(ended.is_none(), "the process has ended ({ended:?}) without saying {words:?}:\n{log}");
            Err(log)
        })
    }

    /// What it has said since its last start.
    pub(crate) fn log(&self) -> String {
        let whole = self.whole_log();
        String::from_utf8_lossy(whole.get(self.earlier..).unwrap_or_default()).into_owned()
    }

    fn whole_log(&self) -> Vec<u8> {
        fs::read(&self.log).unwrap_or_default()
    }

    /// Whether it runs (or is stopped by a signal).
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("our own child").is_none())
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let running = self.is_running();
        let child = self.child.as_ref().expect("a signal goes to a process that was started");
        assert!(running, "a signal goes to a running process:\n{}", self.log());
        // The shell has `kill` built in; the library that has it is not worth a dependency.
        let script = format!("kill -{} {}", signal.name(), child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("there is a shell");
        assert!(status.success(), "{script}: {status}");
        if signal == Signal::Stop {
            let stat = format!("/proc/{}/stat", child.id());
            until("the process stands still", || {
                let stat = fs::read_to_string(&stat).map_err(|error| error.to_string())?;
                if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) { Ok(()) } else { Err(stat) }
            });
        }
    }

    /// Memory that the running process has, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let child = self.child.as_ref().expect("memory is a running process's");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no VmRSS in\n{status}")) * 1024
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of the process of {}", self.log.display());
        let mut child = self.child.take().expect("only what was started ends");
        until(&what, || child.try_wait().expect("our own child").ok_or_else(|| self.log()))
    }

    /// `kill -9`, and the end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::Kill);
        self.ended();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which is as good.
            child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_default();
        }
        if std::thread::panicking() {
            let log = String::from_utf8_lossy(&self.whole_log()).into_owned();
            eprintln!("--- {}\n{log}--- end of {}", self.log.display(), self.log.display());
        }
    }
}
