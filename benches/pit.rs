//! P5: the point-in-time join of 100,000 labels to 1,000,000 rows, against Polars and DuckDB on the same Parquet files.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch};
use lockstep::app::{Project as App, read_rows};
use lockstep::catalog::Selection;
use lockstep::flow::train::{Options, train};
use lockstep::gateway::Gateway;
use lockstep::training::read_labels;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::measure::{Seconds, Spread, Stopwatch, runtime};
use crate::report::{Table, root};
use crate::synthetic::{DAY, JOIN_KEY, Project, Random, SECOND, rows, write_parquet};

const KEYS: u64 = 10_000;
const HISTORY: usize = 1_000_000;
const LABELS: usize = 100_000;
const FEATURES: usize = 4;
const ROUNDS: usize = 7;
/// The history covers so many days; with a ttl of 30, some labels find a row that is too old.
const DAYS: i64 = 200;
const SERVICE: &str = "model";

const PEERS: [(&str, &str); 4] = [("polars", "all"), ("polars", "1"), ("duckdb", "all"), ("duckdb", "1")];

pub fn run() -> Result<()> {
    let header = ["what", "CPU-seconds", "wall seconds", "k labels a CPU-second", "CPU against ours"];
    let mut table = Table::new("pit", &header);
    let runtime = runtime()?;
    let project = runtime.block_on(project())?;
    let gateway = runtime.block_on(async { App::open(project.folder())?.gateway().await })?;
    let ours = || join(&runtime, &gateway, &project.data("labels.parquet"));
    let mut peers: Vec<Peer> =
        PEERS.iter().map(|(name, threads)| Peer::start(name, threads, &project)).collect::<Result<_>>()?;

    let (_, expected) = ours()?;
    for peer in &mut peers {
        peer.compare(&expected, &project.data("peer.parquet"))?;
    }

    let mut measured: Vec<Vec<Seconds>> = vec![Vec::new(); 1 + peers.len()];
    for _ in 0..ROUNDS {
        measured[0].push(ours()?.0);
        for (peer, rounds) in peers.iter_mut().zip(&mut measured[1..]) {
            rounds.push(peer.ask("run")?);
        }
    }
    let names = std::iter::once("lockstep, flow::train").chain(peers.iter().map(|peer| peer.version.as_str()));
    for (name, rounds) in names.zip(&measured) {
        let cpu = Spread::of(rounds.iter().map(|seconds| seconds.cpu));
        let wall = Spread::of(rounds.iter().map(|seconds| seconds.wall));
        let rate = Spread::of(rounds.iter().map(|seconds| LABELS as f64 / seconds.cpu / 1e3));
        let ratio = Spread::of(rounds.iter().zip(&measured[0]).map(|(theirs, ours)| theirs.cpu / ours.cpu));
        let row = vec![
            name.to_owned(),
            format!("{cpu:.3}"),
            format!("{wall:.3}"),
            format!("{rate:.0}"),
            format!("{ratio:.2}"),
        ];
        let result = json!({
            "what": name, "labels": LABELS, "history": HISTORY, "features": FEATURES, "keys": KEYS, "rounds": rounds,
            "cpu_seconds": cpu, "wall_seconds": wall, "thousand_labels_per_cpu_second": rate, "cpu_against_ours": ratio,
        });
        table.push(row, result)?;
    }
    let found = expected.column_by_name("f_0").map_or(0, |column| column.len() - column.null_count());
    table.note(format!(
        "{LABELS} labels, {HISTORY} rows of {FEATURES} float64 of {KEYS} keys, ttl 30 days; {found} labels find a value in the first column. \
         The same Parquet files in, Arrow out; every value was compared bit by bit."
    ));
    table.note("Both files are in time order, the best case of Polars: nothing has to be sorted. Ours does not need the order.");
    table.note(format!("{ROUNDS} rounds, all in turn; median (smallest–largest). Peers are warm child processes and time themselves (getrusage) without start-up and imports."));
    table.publish()
}

async fn project() -> Result<Project> {
    let mut project = Project::new()?;
    project.define_views(&[("history".to_owned(), 0..FEATURES)], "30d");
    project.define(&format!("feature_services:\n  - {{name: {SERVICE}, features: [history]}}\n"));
    project.write_definitions()?;
    let begin = project.now - DAYS * DAY;
    let span = DAYS * DAY / HISTORY as i64;
    let mut random = Random::new(1);

    // Every row has a time of its own, so that no peer has to break a tie.
    let entities: Vec<i64> = (0..HISTORY).map(|_| random.below(KEYS) as i64).collect();
    let times = (0..HISTORY as i64).map(|row| Some(begin + row * span + random.below(SECOND as u64) as i64)).collect();
    write_parquet(&project.data("history.parquet"), &rows(&entities, times, 0..FEATURES, |row| row as u64)?)?;

    // Some labels are of keys without any history.
    let entities: Vec<i64> = (0..LABELS).map(|_| random.below(KEYS + KEYS / 100) as i64).collect();
    let span = DAYS * DAY / LABELS as i64;
    let times = (0..LABELS as i64).map(|row| Some(begin + row * span + random.below(SECOND as u64) as i64)).collect();
    let labels = rows(&entities, times, 0..0, |_| 0)?;
    write_parquet(&project.data("labels.parquet"), &label_frame(&labels)?)?;

    let app = App::open(project.folder())?;
    app.apply(&app.plan().await?, false).await?;
    Ok(project)
}

fn label_frame(labels: &RecordBatch) -> Result<RecordBatch> {
    let number = Arc::new(Int64Array::from_iter_values(0..labels.num_rows() as i64));
    let [keys, times] = [labels.column(0), labels.column(1)];
    let columns = [
        ("label_id", number as _, false),
        (JOIN_KEY, Arc::clone(keys), true),
        ("event_timestamp", Arc::clone(times), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The whole way of `lockstep train` but for the file it writes: labels from Parquet, plan, scan, join, Arrow.
fn join(runtime: &Runtime, gateway: &Gateway, labels: &Path) -> Result<(Seconds, RecordBatch)> {
    let stopwatch = Stopwatch::start()?;
    let selection = Selection::Service { name: SERVICE.to_owned(), full_feature_names: None };
    let set = runtime.block_on(async {
        let set = train(gateway, &selection, read_labels(labels, None)?, Options::default()).await?;
        Ok::<_, Box<dyn std::error::Error>>(set.collect().await?)
    })?;
    Ok((stopwatch.stop()?, set))
}

/// A program that joins the same files, once for each line we send it.
struct Peer {
    version: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Answer {
    wall: f64,
    cpu: f64,
    rows: usize,
}

impl Peer {
    fn start(name: &str, threads: &str, project: &Project) -> Result<Self> {
        let python = std::env::var("LOCKSTEP_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = Command::new(python)
            .arg(root().join("benches/pit_polars.py"))
            .args([name, &project.folder().join("data").display().to_string(), threads])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take().ok_or("the peer has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the peer has no output")?);
        let mut peer = Self { version: String::new(), child, questions, answers };
        let ready: serde_json::Value = peer.answer()?;
        peer.version = ready["ready"].as_str().unwrap_or_default().to_owned();
        Ok(peer)
    }

    fn ask(&mut self, command: &str) -> Result<Seconds> {
        writeln!(self.questions, "{command}")?;
        let answer: Answer = self.answer()?;
        if answer.rows != LABELS {
            return Err(format!("{} answered {} rows", self.version, answer.rows).into());
        }
        Ok(Seconds { wall: answer.wall, cpu: answer.cpu })
    }

    fn answer<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("a peer answered {line:?}: {error}").into())
    }

    /// Every feature of every label must be the same, nulls included.
    fn compare(&mut self, ours: &RecordBatch, written: &Path) -> Result<()> {
        self.ask(&format!("write {}", written.display()))?;
        let theirs = read_rows(written)?;
        for feature in 0..FEATURES {
            let name = format!("f_{feature}");
            if ours.column_by_name(&name) != theirs.column_by_name(&name) {
                return Err(format!("{} and we differ in {name}", self.version).into());
            }
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends by itself when its input does; this is for a peer that hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
