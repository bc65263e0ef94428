//! The one binary. What it does is in [`quorate::cli`].

use std::process::ExitCode;

/// Small messages are allocated by the hundred thousand a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate::cli::run()
}
