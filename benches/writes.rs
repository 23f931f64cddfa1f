//! P6: rows per second from Parquet into Redis, against `redis-benchmark` writing as many values of the same size.

use std::process::Command;

use lockstep::app::Project as App;
use lockstep::flow::sync::{Range, sync};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::measure::{Meter, Seconds, Spread, Stopwatch, entities, rounds, runtime};
use crate::report::Table;
use crate::store::RedisServer;
use crate::synthetic::{DAY, Project, rows, write_parquet};

const ENTITIES: i64 = entities(100_000) as i64;
const FEATURES: [usize; 2] = [20, 50];
const ROUNDS: usize = rounds(5);
const VIEW: &str = "customer_stats";
/// Commands that `redis-benchmark` sends before it waits.
const PIPELINE: &str = "64";

/// One way of writing in one round.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Round {
    rows_a_second: f64,
    /// Of our process; `redis-benchmark`'s own is not counted.
    cpu_micros_a_row: Option<f64>,
    redis_micros_a_row: f64,
}

pub fn run() -> Result<()> {
    let header =
        ["what", "rows", "features", "rows a second", "CPU-µs a row", "Redis, CPU-µs a row", "against redis-benchmark"];
    let mut table = Table::new("writes", &header);
    let runtime = runtime()?;
    let redis = RedisServer::start()?;
    for features in FEATURES {
        let project = runtime.block_on(project(&redis, features))?;
        let mut rounds: [Vec<Round>; 2] = Default::default();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            rounds[0].push(ours(&runtime, &redis, &project)?);
            bytes = bytes_of_a_row(&redis)?;
            rounds[1].push(theirs(&redis, bytes)?);
        }
        let names =
            ["lockstep sync, packed".to_owned(), format!("redis-benchmark SET of {bytes} bytes, -P {PIPELINE}")];
        for (name, of) in names.iter().zip(&rounds) {
            push(name, features, of, &rounds[1], &mut table)?;
        }
    }
    table.note(format!(
        "Redis {}; one row an entity; {ROUNDS} rounds A B A B, each into an empty Redis; median (smallest–largest). Nothing is pinned.",
        redis.version()?
    ));
    table.note(
        "Sync is the whole of `flow::sync`: scan of the Parquet file, newest row of each key, comparing with what is stored, write. redis-benchmark only sets random values of the same size under as many keys.",
    );
    table.publish()
}

fn push(name: &str, features: usize, rounds: &[Round], benchmark: &[Round], table: &mut Table) -> Result<()> {
    let rate = Spread::of(rounds.iter().map(|round| round.rows_a_second));
    let redis = Spread::of(rounds.iter().map(|round| round.redis_micros_a_row));
    let ratio =
        Spread::of(rounds.iter().zip(benchmark).map(|(round, theirs)| round.rows_a_second / theirs.rows_a_second));
    let cpu: Option<Vec<f64>> = rounds.iter().map(|round| round.cpu_micros_a_row).collect();
    let row = vec![
        name.to_owned(),
        ENTITIES.to_string(),
        features.to_string(),
        format!("{rate:.0}"),
        cpu.map_or_else(|| "–".to_owned(), |cpu| format!("{:.2}", Spread::of(cpu))),
        format!("{redis:.2}"),
        format!("{ratio:.2}"),
    ];
    table.push(row, json!({"what": name, "features": features, "rows": ENTITIES, "rounds": rounds, "ratio": ratio}))
}

async fn project(redis: &RedisServer, features: usize) -> Result<Project> {
    let mut project = Project::on(&redis.yaml("packed"))?;
    project.define_views(&[(VIEW.to_owned(), 0..features)], "30d");
    project.write_definitions()?;
    let entities: Vec<i64> = (0..ENTITIES).collect();
    let event_time = vec![Some(project.now - DAY); entities.len()];
    write_parquet(&project.data(&format!("{VIEW}.parquet")), &rows(&entities, event_time, 0..features, |_| 0)?)?;
    let app = App::open(project.folder())?;
    app.apply(&app.plan().await?, false).await?;
    Ok(project)
}

fn ours(runtime: &Runtime, redis: &RedisServer, project: &Project) -> Result<Round> {
    redis.empty()?;
    let gateway = runtime.block_on(async { App::open(project.folder())?.gateway().await })?;
    let meter = Meter::start(&[redis.pid()])?;
    let stopwatch = Stopwatch::start()?;
    let synced = runtime.block_on(sync(&gateway, VIEW, Range::Full, &|_| {}))?;
    let Seconds { wall, cpu } = stopwatch.stop()?;
    if synced.rows_written != ENTITIES as u64 {
        return Err(format!("{} rows were written, not {ENTITIES}", synced.rows_written).into());
    }
    let rows = ENTITIES as f64;
    Ok(Round {
        rows_a_second: rows / wall,
        cpu_micros_a_row: Some(cpu / rows * 1e6),
        redis_micros_a_row: meter.seconds()? / rows * 1e6,
    })
}

/// What one stored row has, in bytes.
fn bytes_of_a_row(redis: &RedisServer) -> Result<usize> {
    let found = redis.keys_like(&format!("*f:{VIEW}:*"), 1)?;
    let key = found.first().ok_or("no row was written")?;
    Ok(redis::cmd("STRLEN").arg(key).query(&mut redis.connect()?)?)
}

fn theirs(redis: &RedisServer, bytes: usize) -> Result<Round> {
    redis.empty()?;
    let meter = Meter::start(&[redis.pid()])?;
    let rows = ENTITIES.to_string();
    let done = Command::new("redis-benchmark")
        .args(["-p", &redis.port.to_string(), "-t", "set", "-d", &bytes.to_string(), "-n", &rows, "-r", &rows])
        .args(["-P", PIPELINE, "-c", "4", "--csv"])
        .output()?;
    let redis_seconds = meter.seconds()?;
    let text = String::from_utf8_lossy(&done.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("\"SET\",\"")?.split('"').next()?.parse().ok());
    Ok(Round {
        rows_a_second: rate.ok_or_else(|| format!("redis-benchmark said {text}"))?,
        cpu_micros_a_row: None,
        redis_micros_a_row: redis_seconds / ENTITIES as f64 * 1e6,
    })
}
