//! A command line: run to its end, with what it printed.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::process::PROGRAM;
use super::{DEADLINE, until_within};

/// A command that is not run yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Invocation {
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What was typed.
    command: String,
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Invocation {
    /// `quorate`.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// More arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// One more argument.
    pub(crate) fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    /// Where it runs.
    pub(crate) fn inside(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// What it reads on standard input.
    pub(crate) fn input(mut self, input: &[u8]) -> Self {
        input.clone_into(&mut self.input);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ran {
        self.run_within(DEADLINE)
    }

    /// The same for a command that may take longer than others.
    pub(crate) fn run_within(self, deadline: Duration) -> Ran {
        let typed: Vec<_> = self.arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let typed = format!("quorate {}", typed.join(" "));
        let mut command = Command::new(PROGRAM);
        command.args(&self.arguments).env_remove("RUST_LOG").env_remove("QUORATE_PROFILE").env_remove("QUORATE_LOG");
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        finish(typed, command, &self.input, deadline)
    }
}

/// A line for the shell, such as one that the program printed for people to copy.
pub(crate) fn shell(line: &str, directory: &Path) -> Ran {
    shell_within(line, directory, DEADLINE)
}

/// The same for a line that may take longer than others.
pub(crate) fn shell_within(line: &str, directory: &Path, deadline: Duration) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(directory).env_remove("QUORATE_PROFILE");
    finish(line.to_owned(), command, &[], deadline)
}

/// Runs a command with a deadline. Its pipes are read meanwhile, so that it never waits for us.
fn finish(typed: String, mut command: Command, input: &[u8], deadline: Duration) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let mut stdout = child.stdout.take().expect("standard output is a pipe");
    let mut stderr = child.stderr.take().expect("standard error is a pipe");
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input ends without it.
            stdin.write_all(input).unwrap_or_default();
        });
        let stdout = scope.spawn(move || all_of(&mut stdout));
        let stderr = scope.spawn(move || all_of(&mut stderr));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until_within(deadline, &typed, || {
                child.try_wait().expect("our own child").ok_or_else(|| "it runs still".to_owned())
            })
        }));
        let Ok(status) = ended else {
            child.kill().expect("a running child can be killed");
            let said = String::from_utf8_lossy(&stderr.join().expect("a reader does not panic")).into_owned();
            panic!("{typed} did not end; on standard error:\n{said}");
        };
        let stdout = stdout.join().expect("a reader does not panic");
        let stderr = String::from_utf8_lossy(&stderr.join().expect("a reader does not panic")).into_owned();
        Ran { command: typed, code: status.code(), stdout, stderr }
    })
}

fn all_of(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe of our own child");
    bytes
}

impl Ran {
    /// Fails unless the exit code is this one.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails unless all these words are on standard error.
    pub(crate) fn complains(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} on standard error of\n{self}");
        }
        self
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stderr, .. } = self;
        write!(f, "{command}\nexit code {code:?}\nstandard output:\n{}\nstandard error:\n{stderr}", self.text())
    }
}
