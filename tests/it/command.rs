//! The real binary, run as a user runs it: in a project's folder, with words, and read by its exit code and its output.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary in `folder`, untouched by the environment of whoever runs the tests.
pub fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.current_dir(folder).args(words).stdin(Stdio::null());
    for variable in ["LOCKSTEP_PROJECT", "LOCKSTEP_LOG", "LOCKSTEP_LOG_FORMAT"] {
        command.env_remove(variable);
    }
    command.env("LOCKSTEP_USER", "tester");
    command
}

pub fn run(folder: &Path, words: &[&str]) -> Ran {
    let output = command(folder, words).output().expect("the binary runs");
    Ran {
        code: output.status.code().expect("an exit code, not a signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// The standard output of a command that must succeed.
pub fn succeed(folder: &Path, words: &[&str]) -> String {
    let ran = run(folder, words);
    assert_eq!(ran.code, 0, "{words:?}: {ran:?}");
    ran.stdout
}

/// What a command that must succeed prints for programs: JSON, and nothing else.
pub fn json_of(folder: &Path, words: &[&str]) -> Value {
    let stdout = succeed(folder, &[words, &["-o", "json"]].concat());
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{words:?}: {error} in {stdout}"))
}

/// The message of a command that must fail with this exit code: all on standard error, nothing on standard output.
pub fn refused(folder: &Path, words: &[&str], code: i32) -> String {
    let ran = run(folder, words);
    assert_eq!(ran.code, code, "{words:?}: {ran:?}");
    assert_eq!(ran.stdout, "", "{words:?}");
    let Some(message) = ran.stderr.strip_prefix("error: ") else { panic!("{words:?}: {}", ran.stderr) };
    assert!(!message.trim().is_empty() && !message.contains("\n\n") && !message.contains("panicked"), "{message}");
    message.trim_end().to_owned()
}

/// A command that does not end by itself. It is ended when this is dropped.
pub struct Up {
    child: Child,
    lines: BufReader<Box<dyn Read>>,
    pub read: String,
}

impl Up {
    /// Starts a command that tells on standard output that it is up.
    pub fn start(folder: &Path, words: &[&str]) -> Self {
        let mut child = command(folder, words).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("a pipe");
        Self { child, lines: BufReader::new(Box::new(stdout)), read: String::new() }
    }

    /// Starts a command that tells it on standard error.
    pub fn start_quiet(folder: &Path, words: &[&str]) -> Self {
        let mut child = command(folder, words).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("a pipe");
        Self { child, lines: BufReader::new(Box::new(stderr)), read: String::new() }
    }

    /// Reads up to and including the line that contains `text`.
    pub fn wait_for(&mut self, text: &str) -> &str {
        loop {
            let start = self.read.len();
            let bytes = self.lines.read_line(&mut self.read).expect("UTF-8");
            assert!(bytes > 0, "it ended without saying {text:?}: {}", self.read);
            if self.read[start..].contains(text) {
                return &self.read;
            }
        }
    }

    /// What Ctrl-C does. Returns the exit code.
    pub fn interrupt(mut self) -> i32 {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("bash").args(["-c", &kill]).status().expect("bash").success());
        self.lines.read_to_string(&mut self.read).expect("UTF-8");
        self.child.wait().expect("it ends").code().expect("an exit code, not a signal")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
