//! The table `writes`: into Redis, against `redis-benchmark` that sets as many values of the same sizes, and against
//! Feast's materialize of a sample.

use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ENTITIES, FEATURES, VIEW, Way, project, sync};
use crate::Result;
use crate::measure::{Meter, Spread, entities, rounds, runtime};
use crate::peers;
use crate::report::{Table, root};
use crate::store::RedisServer;
use crate::synthetic::{JOIN_KEY, Project};

const ROUNDS: usize = rounds(5);
/// Commands that `redis-benchmark` sends before it waits.
const PIPELINE: &str = "64";
/// Feast writes some hundred rows a second here, and what a row takes it does not depend on how many there are.
const ENTITIES_OF_FEAST: u64 = entities(20_000);
const ROUNDS_OF_FEAST: usize = rounds(3);
/// The Redis database that Feast has to itself.
const DATABASE: u8 = 1;

/// One way of writing in one round.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    rows_a_second: f64,
    /// Of the process that writes; `redis-benchmark`'s own is not counted.
    cpu_micros_a_row: Option<f64>,
    redis_micros_a_row: f64,
    peak_bytes: Option<u64>,
}

/// Everything that one kind of writer has done.
struct Writer {
    name: String,
    kind: &'static str,
    way: Way,
    rows: u64,
    rounds: Vec<Round>,
}

pub fn run() -> Result<()> {
    let header = [
        "what",
        "rows",
        "features",
        "rows a second",
        "CPU-µs a row",
        "Redis, CPU-µs a row",
        "peak MB",
        "against redis-benchmark",
        "against Feast",
    ];
    let mut table = Table::new("writes", &header);
    let runtime = runtime()?;
    let redis = RedisServer::start()?;
    let sample = runtime.block_on(project(&redis.yaml("packed"), ENTITIES_OF_FEAST, FEATURES, ""))?;
    let feast = Feast::measure(&redis, &sample)?;
    for way in Way::ALL {
        let project = runtime.block_on(way.project(&redis.yaml("packed")))?;
        let (mut ours, mut benchmark) = (Vec::new(), Vec::new());
        let mut sizes = Vec::new();
        for _ in 0..ROUNDS {
            ours.push(ours_once(&redis, &project)?);
            sizes = way.views().iter().map(|view| bytes_of_a_row(&redis, view)).collect::<Result<_>>()?;
            benchmark.push(benchmark_once(&redis, &sizes)?);
        }
        let bytes = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
        let writers = [
            Writer { name: way.describe("Redis, packed"), kind: "lockstep", way, rows: ENTITIES, rounds: ours },
            Writer {
                name: format!("redis-benchmark SET of {bytes} bytes, -P {PIPELINE}"),
                kind: "redis-benchmark",
                way,
                rows: ENTITIES,
                rounds: benchmark,
            },
        ];
        for writer in &writers {
            push(writer, &writers[1].rounds, &feast.rounds, &mut table)?;
        }
    }
    push(&feast.as_writer(), &[], &feast.rounds, &mut table)?;
    table.note(format!(
        "Redis {}; one row an entity; {ROUNDS} rounds A B A B, each into an empty Redis; median (smallest–largest). Nothing is pinned.",
        redis.version()?
    ));
    table.note(
        "Sync is the whole of the command from its start to its end: scan of the Parquet file, newest row of each key, transform, comparing with what is stored, write. \
         redis-benchmark only sets random values of the same sizes under as many keys.",
    );
    table.note(format!(
        "Feast materializes a sample of {ENTITIES_OF_FEAST} entities, {ROUNDS_OF_FEAST} rounds, timed inside without its start-up; against Feast is in rows a second, each at its own number of rows."
    ));
    table.publish()
}

/// `benchmark` is in turn with the writer's rounds; without it there is no comparison.
fn push(writer: &Writer, benchmark: &[Round], feast: &[Round], table: &mut Table) -> Result<()> {
    let Writer { name, kind, way, rows, rounds } = writer;
    let rate = Spread::of(rounds.iter().map(|round| round.rows_a_second));
    let redis = Spread::of(rounds.iter().map(|round| round.redis_micros_a_row));
    let of_feast = Spread::of(feast.iter().map(|round| round.rows_a_second));
    let against_feast = rate.times(1.0 / of_feast.median);
    let ratio = (!benchmark.is_empty()).then(|| {
        Spread::of(rounds.iter().zip(benchmark).map(|(round, theirs)| round.rows_a_second / theirs.rows_a_second))
    });
    let cpu: Option<Vec<f64>> = rounds.iter().map(|round| round.cpu_micros_a_row).collect();
    let peak = rounds.iter().filter_map(|round| round.peak_bytes).max();
    let none = || "–".to_owned();
    let row = vec![
        name.clone(),
        rows.to_string(),
        way.features().to_string(),
        format!("{rate:.0}"),
        cpu.map_or_else(none, |cpu| format!("{:.2}", Spread::of(cpu))),
        format!("{redis:.2}"),
        peak.map_or_else(none, |peak| format!("{:.0}", peak as f64 / 1e6)),
        ratio.map_or_else(none, |ratio| format!("{ratio:.2}")),
        format!("{:.0}", against_feast.median),
    ];
    let result = json!({
        "what": name, "who": kind, "derived": *way == Way::Derived, "features": way.features(), "rows": rows,
        "rounds": rounds, "ratio": ratio, "against_feast": against_feast,
    });
    table.push(row, result)
}

fn ours_once(redis: &RedisServer, project: &Project) -> Result<Round> {
    redis.empty()?;
    let meter = Meter::start(&[redis.pid()])?;
    let taken = sync(project, VIEW, ENTITIES)?;
    let rows = ENTITIES as f64;
    Ok(Round {
        rows_a_second: rows / taken.wall,
        cpu_micros_a_row: Some(taken.cpu / rows * 1e6),
        redis_micros_a_row: meter.seconds()? / rows * 1e6,
        peak_bytes: Some(taken.peak_bytes),
    })
}

/// What one stored row of a view has, in bytes.
fn bytes_of_a_row(redis: &RedisServer, view: &str) -> Result<usize> {
    let found = redis.keys_like(&format!("*f:{view}:*"), 1)?;
    let key = found.first().ok_or("no row was written")?;
    Ok(::redis::cmd("STRLEN").arg(key).query(&mut redis.connect()?)?)
}

/// As many values of each size as there are entities.
fn benchmark_once(redis: &RedisServer, sizes: &[usize]) -> Result<Round> {
    redis.empty()?;
    let meter = Meter::start(&[redis.pid()])?;
    let rows = ENTITIES.to_string();
    let mut seconds = 0.0;
    for bytes in sizes {
        let done = Command::new("redis-benchmark")
            .args(["-p", &redis.port.to_string(), "-t", "set", "-d", &bytes.to_string(), "-n", &rows, "-r", &rows])
            .args(["-P", PIPELINE, "-c", "4", "--csv"])
            .output()?;
        let text = String::from_utf8_lossy(&done.stdout);
        let rate =
            text.lines().find_map(|line| line.strip_prefix("\"SET\",\"")?.split('"').next()?.parse::<f64>().ok());
        seconds += ENTITIES as f64 / rate.ok_or_else(|| format!("redis-benchmark said {text}"))?;
    }
    Ok(Round {
        rows_a_second: ENTITIES as f64 / seconds,
        cpu_micros_a_row: None,
        redis_micros_a_row: meter.seconds()? / ENTITIES as f64 * 1e6,
        peak_bytes: None,
    })
}

/// What Feast did with the sample.
struct Feast {
    version: String,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Materialized {
    wall: f64,
    cpu: f64,
    version: String,
}

impl Feast {
    fn measure(redis: &RedisServer, sample: &Project) -> Result<Self> {
        let mut feast = Self { version: String::new(), rounds: Vec::new() };
        for _ in 0..ROUNDS_OF_FEAST {
            redis.empty()?;
            let meter = Meter::start(&[redis.pid()])?;
            let Materialized { wall, cpu, version } = materialize(redis, sample)?;
            let rows = ENTITIES_OF_FEAST as f64;
            if redis.keys(DATABASE)? != ENTITIES_OF_FEAST {
                return Err(format!("Feast wrote {} entities", redis.keys(DATABASE)?).into());
            }
            feast.version = version;
            feast.rounds.push(Round {
                rows_a_second: rows / wall,
                cpu_micros_a_row: Some(cpu / rows * 1e6),
                redis_micros_a_row: meter.seconds()? / rows * 1e6,
                peak_bytes: None,
            });
        }
        Ok(feast)
    }

    fn as_writer(&self) -> Writer {
        Writer {
            name: format!("Feast {} materialize", self.version),
            kind: "Feast",
            way: Way::Plain,
            rows: ENTITIES_OF_FEAST,
            rounds: self.rounds.clone(),
        }
    }
}

fn materialize(redis: &RedisServer, sample: &Project) -> Result<Materialized> {
    let folder = tempfile::tempdir()?;
    let features: Vec<String> = (0..FEATURES).map(|feature| format!("f_{feature}")).collect();
    let spec = json!({
        "redis": format!("127.0.0.1:{},db={DATABASE}", redis.port), "join_key": JOIN_KEY, "view": VIEW,
        "features": features, "path": sample.data(&format!("{VIEW}.parquet")),
    });
    let mut command = Command::new(peers::python());
    command.arg(root().join("benches/sync/materialize_feast.py")).arg(folder.path()).arg(spec.to_string());
    let done = peers::quiet(&mut command, folder.path()).output()?;
    if !done.status.success() {
        return Err(format!("Feast could not materialize: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}
