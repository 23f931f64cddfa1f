//! Reading and writing PostgreSQL: rows a second against `psql` doing the same copy and throwing the rows away, and how
//! much memory of ours it takes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::StreamExt;
use lockstep::catalog::{DType, Field, Scalar, Source, SourceKind, Stored};
use lockstep::offline::postgres::Settings;
use lockstep::offline::{OfflineStore, PostgresTables, Scan, StoredSources};
use lockstep::secret::Secret;
use serde_json::json;
use server::Postgres;

use crate::Result;
use crate::measure::{Spread, entities, resident_bytes_of, rounds, runtime};
use crate::report::Table;

#[path = "../tests/servers/postgres.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod server;

const ROWS: u64 = entities(10_000_000);
/// Rows of one append.
const BATCH_ROWS: usize = 65_536;
const ROUNDS: usize = rounds(3);
const FEATURES: [(&str, Scalar); 5] = [
    ("company", Scalar::String),
    ("fare", Scalar::Float64),
    ("miles", Scalar::Float64),
    ("passengers", Scalar::Int64),
    ("is_shared", Scalar::Bool),
];

/// One way in one round.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Round {
    rows_a_second: f64,
    /// The most that this process had more than before its first row.
    memory_bytes: Option<u64>,
}

pub fn run() -> Result<()> {
    let mut table = Table::new("postgres", &["what", "rows", "rows a second", "against psql", "memory, MiB"]);
    let (server, runtime) = (Postgres::shared(), runtime()?);
    server.run(
        "postgres",
        &format!(
            "CREATE UNLOGGED TABLE trips AS
             SELECT 'company ' || x % 5000 AS company, x * 0.25::float8 AS fare, x * 0.1::float8 AS miles, x AS passengers,
                    x % 2 = 0 AS is_shared, to_timestamp(x) AS t
             FROM generate_series(1, {ROWS}::bigint) AS x; ANALYZE trips"
        ),
    );
    let mut rounds: [Vec<Round>; 3] = Default::default();
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        rounds[0].push(discard(&server)?);
        let (round, batches) = runtime.block_on(read(&server))?;
        rounds[1].push(round);
        kept = batches;
        rounds[2].push(runtime.block_on(append(&server, &kept))?);
    }
    let written: u64 = kept.iter().map(|batch| batch.num_rows() as u64).sum();
    let names = [
        ("psql, COPY … TO STDOUT (FORMAT binary), thrown away", ROWS),
        ("lockstep, scan into Arrow", ROWS),
        ("lockstep, append", written),
    ];
    for ((what, rows), of) in names.into_iter().zip(&rounds) {
        let rate = Spread::of(of.iter().map(|round| round.rows_a_second));
        let against = of.iter().zip(&rounds[0]).map(|(round, psql)| round.rows_a_second / psql.rows_a_second);
        let memory = of.iter().filter_map(|round| round.memory_bytes).max();
        let row = vec![
            what.to_owned(),
            rows.to_string(),
            format!("{rate:.0}"),
            format!("{:.2}", Spread::of(against)),
            memory.map_or_else(|| "–".to_owned(), |bytes| (bytes >> 20).to_string()),
        ];
        table.push(row, json!({"what": what, "rows": rows, "rounds": of}))?;
    }
    table.note(format!(
        "PostgreSQL on this machine; six columns; {ROUNDS} rounds A B C; median (smallest–largest). Memory: the most that \
         this process had more than before the first row."
    ));
    table.publish()
}

fn discard(server: &Postgres) -> Result<Round> {
    let started = Instant::now();
    let copy = "COPY (SELECT company, fare, miles, passengers, is_shared, t FROM trips) TO STDOUT (FORMAT binary)";
    let done = Command::new("psql")
        .args(["--no-psqlrc", "--host", &server.socket(), "--port", &server.port().to_string()])
        .args(["--username", Postgres::USER, "--dbname", "postgres", "--command", copy])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !done.success() {
        return Err("psql did not copy the rows".into());
    }
    Ok(Round { rows_a_second: rate(ROWS, started.elapsed()), memory_bytes: None })
}

/// Reads all rows, and gives the first million of them.
async fn read(server: &Postgres) -> Result<(Round, Vec<RecordBatch>)> {
    let store = store(server);
    let columns = FEATURES.map(|(name, scalar)| Field::new(name, DType::One(scalar)));
    let started = Instant::now();
    let mut batches = store.scan(&source("trips"), &Scan::of(columns.to_vec())).await?;
    let before = resident_bytes_of(std::process::id())?;
    let (mut rows, mut most) = (0, before);
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
        most = most.max(resident_bytes_of(std::process::id())?);
    }
    if rows != ROWS {
        return Err(format!("{rows} rows were read in place of {ROWS}").into());
    }
    let round = Round { rows_a_second: rate(rows, started.elapsed()), memory_bytes: Some(most - before) };
    let mut batches = store.scan(&source("trips"), &Scan::of(columns.to_vec())).await?;
    let mut kept = Vec::new();
    while let Some(batch) = batches.next().await {
        kept.push(batch?);
        if kept.iter().map(RecordBatch::num_rows).sum::<usize>() >= 1_000_000 {
            break;
        }
    }
    Ok((round, kept))
}

async fn append(server: &Postgres, batches: &[RecordBatch]) -> Result<Round> {
    server.run("postgres", "DROP TABLE IF EXISTS written");
    let (store, into) = (store(server), source("written"));
    let schema = batches.first().ok_or("no rows were read")?.schema();
    let started = Instant::now();
    let mut rows = 0;
    for (number, group) in batches.chunks(BATCH_ROWS / 8_192).enumerate() {
        let batch = arrow::compute::concat_batches(&schema, group)?;
        store.append(&into, &number.to_string(), &batch).await?;
        rows += batch.num_rows() as u64;
    }
    Ok(Round { rows_a_second: rate(rows, started.elapsed()), memory_bytes: None })
}

fn rate(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}

fn source(table: &str) -> Source {
    let stored =
        Stored::Postgres { connection: "bench".to_owned(), schema: "public".to_owned(), table: table.to_owned() };
    let event_time = if table == "trips" { "t" } else { "event_time" }.to_owned();
    let kind = SourceKind::Stored(stored);
    Source { name: table.to_owned(), kind, event_time, created_time: None, description: String::new() }
}

fn store(server: &Postgres) -> StoredSources {
    let settings = Settings {
        name: "bench".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        database: "postgres".to_owned(),
        user: Postgres::USER.to_owned(),
        password: Some(Secret::new(Postgres::PASSWORD)),
        tls: None,
        connections: 2,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(3_600),
    };
    StoredSources::new(vec![Arc::new(PostgresTables::new([settings]))])
}
