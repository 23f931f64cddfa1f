//! A bare Python client of Redis as a child process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::NamedTempFile;

use super::feast::View;
use super::{Round, python};
use crate::Result;
use crate::load::{Case, compare_columns};
use crate::measure::Meter;
use crate::report::root;
use crate::store::RedisServer;
use crate::synthetic::JOIN_KEY;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One hash an entity, one JSON value a feature.
    Hash,
    /// The gateway's own rows.
    Packed,
}

/// It ends with this value.
#[derive(Debug)]
pub struct BarePython {
    pub version: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    redis: u32,
    _spec: NamedTempFile,
}

#[derive(Deserialize)]
struct Ran {
    requests: usize,
    wall: f64,
    cpu: f64,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Packed => "packed",
        }
    }
}

impl BarePython {
    /// `prefix` begins the gateway's keys.
    pub fn start(redis: &RedisServer, case: &Case, views: &[View], prefix: &str, cpu: &str) -> Result<Self> {
        let view = |view: &View| json!({"name": view.name, "features": view.features, "path": view.parquet});
        let questions: Vec<&Vec<i64>> = case.questions.iter().map(|question| &question.keys).collect();
        let spec = json!({
            "join_key": JOIN_KEY, "prefix": prefix, "questions": questions,
            "views": views.iter().map(view).collect::<Vec<_>>(),
        });
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), spec.to_string())?;
        let mut child = Command::new("taskset")
            .args(["-c", cpu])
            .arg(python())
            .arg(root().join("benches/peers/bare.py"))
            .arg(redis.port.to_string())
            .arg(file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take().ok_or("the bare client has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the bare client has no output")?);
        let mut client = Self { version: String::new(), child, questions, answers, redis: redis.pid(), _spec: file };
        let ready: serde_json::Value = client.read()?;
        client.version = ready["ready"].as_str().unwrap_or_default().to_owned();
        Ok(client)
    }

    /// Writes the hashes.
    pub fn fill(&mut self) -> Result<()> {
        self.ask::<serde_json::Value>("fill")?;
        Ok(())
    }

    /// Compares the values of some questions.
    pub fn verify(&mut self, kind: Kind, case: &Case) -> Result<()> {
        let answers: Vec<Vec<Vec<Option<u64>>>> = self.ask(&format!("check {}", kind.word()))?;
        for (question, rows) in case.questions.iter().zip(answers) {
            compare_columns(&case.plan, &question.keys, |feature, row| rows[row][feature].map(f64::from_bits))?;
        }
        Ok(())
    }

    pub fn round(&mut self, kind: Kind, time: Duration) -> Result<Round> {
        let redis = Meter::start(&[self.redis])?;
        let ran: Ran = self.ask(&format!("run {} {}", kind.word(), time.as_secs_f64()))?;
        Ok(Round { requests: ran.requests, seconds: ran.wall, cpu: ran.cpu, store_cpu: redis.seconds()? })
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T> {
        writeln!(self.questions, "{question}")?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("the bare Python client: {error}").into())
    }
}

impl Drop for BarePython {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
