//! The command line: one subcommand a file. The only place besides `main.rs` where errors become `anyhow`.

pub mod cert;
pub mod dev;
pub mod server;
pub mod sim;
