//! Tests of the real program: processes, sockets and files, wired as an operator wires them. ONE binary.
//!
//! They take turns (`.config/nextest.toml`), for each may start a cluster of three on this machine.

use std::process::Command;

#[test]
fn help_is_given_and_is_no_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("--help").output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
}
