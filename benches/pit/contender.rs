//! Those who join: each a child process that joins once for every line we send it, watched while it does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::case::{Case, MACHINE, TTL_DAYS};
use super::ours;
use crate::Result;
use crate::measure::family;
use crate::peers;
use crate::process::{Ended, Memory};
use crate::report::root;
use crate::synthetic::{JOIN_KEY, Project};

/// Between two looks at a child's memory.
const LOOK: Duration = Duration::from_millis(20);
/// Nobody is waited for longer.
const JOIN_TIME_MAX: Duration = Duration::from_secs(600);
/// What DuckDB may take of a bound for the memory that it counts itself; the rest is for what it does not count.
const COUNTED: f64 = 0.75;

/// Who joins, and with how many threads; `None` is as many as there are CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Ours,
    Peer { name: &'static str, threads: Option<u32> },
    Feast { offline_store: &'static str },
}

/// What a join took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    pub wall: f64,
    pub cpu: f64,
    pub peak_bytes: u64,
    pub rows: u64,
    pub checksum: String,
}

/// How a question ended.
#[derive(Debug)]
pub enum Outcome {
    Joined(Joined),
    /// Killed, because it had so much memory of its own.
    OverBound {
        bytes: u64,
    },
    GaveUp(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    GaveUp { gave_up: String },
    Joined(Joined),
}

/// A child that is ready to join.
#[derive(Debug)]
pub struct Contender {
    pub name: String,
    questions: ChildStdin,
    answers: Receiver<String>,
    /// What it says of its troubles.
    log: File,
    child: Ended,
}

impl Who {
    /// All who join a case within a bound. With one thread they take less CPU time, and the best of each counts.
    pub fn all(case: &Case, bound: u64) -> Vec<Self> {
        let mut all = vec![Self::Ours];
        for name in ["polars", "polars-streaming", "duckdb"] {
            all.push(Self::Peer { name, threads: None });
            if bound == MACHINE {
                all.push(Self::Peer { name, threads: Some(1) });
            }
        }
        all.push(Self::Peer { name: "pandas", threads: None });
        if case.slow_peers {
            all.extend(["duckdb", "dask"].map(|offline_store| Self::Feast { offline_store }));
        }
        all
    }

    /// Rounds of those that take seconds where others take a tenth of one are fewer.
    pub fn rounds(self, case: &Case) -> usize {
        if matches!(self, Self::Feast { .. }) { case.rounds.min(3) } else { case.rounds }
    }

    fn command(self, case: &Case, project: &Project, bound: u64) -> Result<Command> {
        let spec = spec(self, case, project, bound).to_string();
        let command = match self {
            Self::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(ours::COMMAND).arg(project.folder());
                command
            }
            Self::Peer { name, .. } => {
                let python = std::env::var("LOCKSTEP_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
                let mut command = Command::new(python);
                command.arg(root().join("benches/pit/peers.py")).args([name, &spec]);
                command
            }
            Self::Feast { offline_store } => {
                let mut command = Command::new(peers::python());
                command.arg(root().join("benches/pit/feast_join.py")).args([offline_store, &spec]);
                peers::quiet(&mut command, project.folder());
                command
            }
        };
        Ok(command)
    }
}

/// What a peer has to know.
fn spec(who: Who, case: &Case, project: &Project, bound: u64) -> Value {
    let view = |view: usize| {
        let features: Vec<String> = case.features_of(view).map(|feature| format!("f_{feature}")).collect();
        json!({"path": project.data(&format!("{}.parquet", Case::view(view))), "features": features})
    };
    let threads = if let Who::Peer { threads, .. } = who { threads } else { None };
    let memory_bytes = (bound < MACHINE).then_some((bound as f64 * COUNTED) as u64);
    json!({
        "labels": Case::labels_in(project), "views": (0..case.views).map(view).collect::<Vec<_>>(),
        "join_key": JOIN_KEY, "ttl_days": TTL_DAYS, "threads": threads, "memory_bytes": memory_bytes,
        "folder": project.folder(),
    })
}

impl Contender {
    /// When it says that it is ready, it has read nothing yet.
    pub fn start(who: Who, case: &Case, project: &Project, bound: u64) -> Result<Self> {
        let mut command = who.command(case, project, bound)?;
        let mut log = tempfile::tempfile()?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone()?).spawn()?;
        let mut child = Ended(child);
        let questions = child.0.stdin.take().ok_or("the contender has no input")?;
        let answers = lines_of(&mut child.0)?;
        let ready = answers.recv().map_err(|_| format!("{who:?} did not start: {}", text_of(&mut log)))?;
        let ready: Value = serde_json::from_str(&ready)?;
        let name = ready["ready"].as_str().ok_or_else(|| format!("{who:?} said {ready}"))?.to_owned();
        Ok(Self { name, questions, answers, log, child })
    }

    /// One join. Above `bound` bytes of its own the child is killed, and is of no use any more.
    pub fn join(&mut self, bound: u64) -> Result<Outcome> {
        writeln!(self.questions, "join")?;
        let asked = Instant::now();
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(line) => {
                    return match serde_json::from_str(&line)? {
                        Answer::Joined(joined) => Ok(Outcome::Joined(joined)),
                        Answer::GaveUp { gave_up } => Ok(Outcome::GaveUp(gave_up)),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.0.wait()?;
                    let text = text_of(&mut self.log);
                    let why = text.lines().next_back().unwrap_or_default();
                    return Ok(Outcome::GaveUp(format!("it ended with {status}: {why}")));
                }
            }
            let bytes = own_bytes(&self.child.0);
            if bytes > bound {
                self.end()?;
                return Ok(Outcome::OverBound { bytes });
            }
            if asked.elapsed() > JOIN_TIME_MAX {
                self.end()?;
                return Ok(Outcome::GaveUp(format!("not done in {} s", JOIN_TIME_MAX.as_secs())));
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        self.child.0.kill()?;
        self.child.0.wait()?;
        Ok(())
    }
}

/// With those that it started itself.
fn own_bytes(child: &Child) -> u64 {
    let pids = family(child.id()).unwrap_or_default();
    pids.into_iter().filter_map(Memory::of).map(|memory| memory.own_bytes).sum()
}

fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().ok_or("the contender has no output")?;
    let (sender, receiver) = channel();
    // It ends when the child's output does.
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn text_of(log: &mut File) -> String {
    let mut text = Vec::new();
    // A log that cannot be read is an empty one: there is another error to tell.
    let _ = log.rewind().and_then(|()| log.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}
