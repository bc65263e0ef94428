//! `quorate man` and `quorate completions`: what packages install beside the program, from the program's own
//! definitions.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::screen;

/// Write the man pages of this program and of all its subcommands.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for them; created when missing. Pages of the same names are replaced.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Print the completions of a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the man pages.
///
/// # Errors
/// The directory cannot be written.
pub fn write_man(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    let dir = &args.dir;
    let cannot = || format!("cannot write man pages to {}", dir.display());
    fs::create_dir_all(dir).with_context(cannot)?;
    clap_mangen::generate_to(command, dir).with_context(cannot)?;
    screen::print(format!("wrote quorate.1 and the pages of its subcommands to {}\n", dir.display()).as_bytes())
}

/// Prints the completions.
///
/// # Errors
/// Nobody reads them.
pub fn print_completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "quorate", &mut script);
    screen::print(&script)
}
