//! The build script: tells the program which commit it is made from, as `QUORATE_COMMIT`.
//!
//! A failing seed of the simulated world replays on its own commit only, so every report of one names it. What counts,
//! in order: the variable `QUORATE_COMMIT` of whoever builds (a package, a container without `.git`); the commit that
//! is checked out, with `-dirty` when what is compiled differs from it; `unknown` in a tarball.
//!
//! Cargo runs this again when the commit may be another one, and then compiles this one crate again, no dependency. The
//! files that say so lie in git's own directory, which in a worktree is elsewhere: git is asked where.

use std::path::Path;
use std::process::Command;

/// What goes into the program. Edits elsewhere, in tests or pages, change no run of a seed.
const COMPILED: [&str; 3] = ["src", "Cargo.toml", "Cargo.lock"];

/// Files of git that change when the checked out commit does: the branch, its commit, and the log of both.
const WATCHED: [&str; 3] = ["HEAD", "logs/HEAD", "packed-refs"];

fn main() {
    println!("cargo::rerun-if-env-changed=QUORATE_COMMIT");
    // Also with a commit from outside: a build script that names nothing is run after every edit of any file.
    println!("cargo::rerun-if-changed=src/build.rs");
    let given = std::env::var("QUORATE_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(checked_out).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=QUORATE_COMMIT={}", commit.trim());
}

/// The commit of this checkout. None in a tarball, even one that was unpacked inside somebody's repository.
fn checked_out() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    // Cargo runs a build script in the package's own directory.
    let here = Path::new(".").canonicalize().ok()?;
    if Path::new(&top).canonicalize().ok()? != here {
        return None;
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    for name in WATCHED.into_iter().chain(branch.as_deref()) {
        // A file that is not there would be "changed" in every build.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).is_file()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for path in COMPILED {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let differs = git(&[&["--no-optional-locks", "status", "--porcelain", "--"][..], &COMPILED].concat());
    match differs.is_none_or(|files| files.is_empty()) {
        true => Some(commit),
        false => Some(format!("{commit}-dirty")),
    }
}

/// What git says; none when there is no git, or it refuses.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
