//! The `lockstep` command as a process of its own.

use std::path::Path;
use std::process::{Command, Output};

/// `lockstep` in the project at `folder`, not started yet.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.arg("-C").arg(folder).args(arguments).env_remove("LOCKSTEP_PROJECT");
    command
}

/// Runs to its end.
pub fn lockstep(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the command was built")
}

/// Runs, and must end well; what it printed.
pub fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = lockstep(folder, arguments);
    assert!(output.status.success(), "lockstep {}: {}", arguments.join(" "), errors(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
