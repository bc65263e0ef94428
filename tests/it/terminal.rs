//! A pseudo terminal: what the program draws on one, and how it leaves it.
//!
//! Python's standard library makes it, so that no crate and no unsafe code of ours is needed; `.ci/deps test` has it.

use std::path::Path;

use serde_json::json;

use super::process::PROGRAM;

/// Seconds that a program may take on it.
const SECONDS: u64 = 40;

/// Runs a program on a terminal of its own, does something to it once it has said all words, and tells what was seen.
const SCRIPT: &str = r#"
import fcntl, json, os, pty, select, struct, subprocess, sys, termios, time

spec = json.loads(sys.argv[1])
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", spec["rows"], spec["columns"], 0, 0))
before = termios.tcgetattr(slave)

def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
for name in ["NO_COLOR", "RUST_LOG", "QUORATE_LOG", "QUORATE_PROFILE", "JOURNAL_STREAM"]:
    environment.pop(name, None)
child = subprocess.Popen(spec["command"], stdin=slave, stdout=slave, stderr=slave, cwd=spec["directory"],
                         env=environment, preexec_fn=own_terminal)
output, raw, acted = b"", False, False
deadline = time.monotonic() + spec["seconds"]
while time.monotonic() < deadline:
    ready, _, _ = select.select([master], [], [], 0.02)
    if ready:
        output += os.read(master, 65536)
    raw = raw or not termios.tcgetattr(slave)[3] & termios.ICANON
    text = output.decode("utf-8", "replace")
    if not acted and all(word in text for word in spec["words"]):
        acted = True
        os.write(master, spec["keys"].encode())
        if spec["signal"]:
            child.send_signal(spec["signal"])
    if child.poll() is not None and not ready:
        break
code = child.poll()
if code is None:
    child.kill()
    child.wait()
restored = termios.tcgetattr(slave) == before
print(json.dumps({"code": code, "output": text, "raw": raw, "restored": restored}))
"#;

/// A terminal's size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// What is done to the program once it has said what is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// It ends by itself.
    Wait,
    /// These are typed.
    Type(&'static str),
    /// It gets SIGTERM.
    Terminate,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// None when it did not end.
    pub(crate) code: Option<i64>,
    /// Everything that it wrote, escapes too.
    pub(crate) output: String,
    /// Keys reached it as they were typed, for some time at least.
    pub(crate) raw: bool,
    /// The terminal's settings were in the end what they had been.
    pub(crate) restored: bool,
}

impl Seen {
    /// Its lines without colours and other escapes.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut plain = String::new();
        let mut rest = self.output.chars();
        while let Some(c) = rest.next() {
            match c {
                // To the letter that ends it.
                '\u{1b}' => drop(rest.by_ref().skip_while(|c| *c == '[').find(char::is_ascii_alphabetic)),
                '\r' => {}
                c => plain.push(c),
            }
        }
        plain.lines().map(str::to_owned).collect()
    }
}

/// Runs the program on a terminal.
pub(crate) fn on_terminal(size: Size, directory: &Path, arguments: &[&str], words: &[&str], act: Act) -> Seen {
    let (keys, signal) = match act {
        Act::Wait => ("", None),
        Act::Type(keys) => (keys, None),
        Act::Terminate => ("", Some(15)),
    };
    let command: Vec<&str> = [PROGRAM].into_iter().chain(arguments.iter().copied()).collect();
    let spec = json!({
        "rows": size.rows,
        "columns": size.columns,
        "command": command,
        "directory": directory,
        "seconds": SECONDS,
        "words": words,
        "keys": keys,
        "signal": signal,
    });
    let ran = std::process::Command::new("python3").args(["-c", SCRIPT, &spec.to_string()]).output();
    let ran = ran.unwrap_or_else(|error| panic!("python3: {error}; `.ci/deps test` installs it"));
    let said = String::from_utf8_lossy(&ran.stderr);
    let seen: serde_json::Value =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("python3 said {error}:\n{said}"));
    Seen {
        code: seen["code"].as_i64(),
        output: seen["output"].as_str().unwrap_or_default().to_owned(),
        raw: seen["raw"] == true,
        restored: seen["restored"] == true,
    }
}
