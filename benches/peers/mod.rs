//! Side by side: the gateway, Feast's own server, bare clients of the same Redis, and the floors of the protocols.
//!
//! All of them read the same values from one Redis and take turns, so that a busy minute is busy for everyone. The one
//! that is measured has CPU 1; the generator and Redis share CPU 0.

mod bare_python;
mod bare_rust;
mod feast;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

pub use self::feast::{Repository, View, quiet};

use self::bare_python::{BarePython, Kind};
use self::bare_rust::BareRust;
use self::feast::Feast;
use crate::Result;
use crate::floors::Floor;
use crate::load::{
    Answer, Case, Dataset, Fixture, Gateway, Keys, LANES, Plan, Speaker, Target, Wire, ask_each, batches, compare_all,
    saturate_over,
};
use crate::measure::{Spread, entities, generator, pin, round_millis, rounds};
use crate::report::Table;
use crate::serving::verify;
use crate::store::{RedisServer, Store};

const DATASET: Dataset = Dataset::new(5, 50, entities(10_000));
const ROWS: [usize; 2] = [1, 100];
const ROUNDS: usize = rounds(5);
const ROUND: Duration = round_millis(1_000);
/// Requests that Feast is asked at once; more only wait in its queue.
const FEAST_LANES: usize = 4;
const MEASURED_CPU: &str = "1";
const OTHERS_CPU: &str = "0";

/// What one contender did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub requests: usize,
    pub seconds: f64,
    /// CPU seconds of the server, or of the client where there is no server.
    pub cpu: f64,
    pub store_cpu: f64,
}

/// Who takes part.
enum Contender {
    Server { target: Target, case: Arc<Case>, lanes: usize },
    BareRust { client: BareRust, case: Arc<Case> },
    BarePython(Kind),
}

/// Those that answer in a process of their own, over the same values.
struct Servers {
    packed: Gateway,
    /// Reads what Feast has written.
    as_feast: Gateway,
    feast: Feast,
}

/// Everything that runs while one size of request is measured.
struct Contest {
    names: Vec<String>,
    contenders: Vec<Contender>,
    python: BarePython,
    _floors: [Floor; 2],
}

/// The Python that has Feast and redis-py; `benches/run` makes it.
pub fn python() -> PathBuf {
    PathBuf::from(std::env::var("LOCKSTEP_BENCH_FEAST_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

pub fn run() -> Result<()> {
    let fixture = Fixture::fill(Store::Redis(RedisServer::start()?), &[DATASET], None)?;
    let Store::Redis(redis) = &fixture.store else { return Err("the peers read Redis".into()) };
    eprintln!("-- Feast writes the same values; this takes a minute");
    let repository = Repository::fill(redis, &views(&fixture), "float64", &DATASET.service(), true)?;
    redis_goes_first(redis)?;
    let twin = fixture.project.twin(&redis.yaml_of_feast(feast::DATABASE))?;
    Gateway::command(twin.folder(), &["apply"])?;
    let servers = Servers {
        packed: fixture.serve(Some(MEASURED_CPU))?,
        as_feast: Gateway::start(twin.folder(), Some(MEASURED_CPU), vec![redis.pid()])?,
        feast: repository.serve(MEASURED_CPU)?,
    };
    generator()?.block_on(table(&fixture, redis, &servers))?;
    pin(std::process::id(), "0-1")
}

fn views(fixture: &Fixture) -> Vec<View> {
    feast::views_of(DATASET, |file| fixture.project.data(file))
}

fn redis_goes_first(redis: &RedisServer) -> Result<()> {
    pin(redis.pid(), OTHERS_CPU)?;
    pin(std::process::id(), OTHERS_CPU)
}

async fn table(fixture: &Fixture, redis: &RedisServer, servers: &Servers) -> Result<()> {
    let header = [
        "who",
        "rows",
        "requests a second",
        "rows a second",
        "CPU-µs a request",
        "Redis, CPU-µs a request",
        "M values a CPU-second",
        "CPU against ours",
        "rows a second against ours",
    ];
    let mut table = Table::new("peers", &header);
    let mut python_version = String::new();
    for rows in ROWS {
        let mut contest = Contest::prepare(fixture, redis, servers, rows).await?;
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); contest.contenders.len()];
        for _ in 0..ROUNDS {
            for (number, rounds) in rounds.iter_mut().enumerate() {
                rounds.push(contest.round(number).await?);
            }
        }
        for (number, name) in contest.names.iter().enumerate() {
            push(name, rows, &rounds[number], &rounds, &mut table)?;
        }
        python_version.clone_from(&contest.python.version);
    }
    notes(&mut table, redis, &python_version)?;
    table.publish()
}

fn notes(table: &mut Table, redis: &RedisServer, python: &str) -> Result<()> {
    table.note(format!(
        "Redis {}; {}; 50 features of 5 views, {ROUNDS} rounds of {} s in closed loop, all in turn; median (smallest–largest). \
         {LANES} connections (Feast {FEAST_LANES}, bare Python one); who is measured has CPU 1, the generator and Redis CPU 0.",
        redis.version()?,
        DATASET.describe(),
        ROUND.as_secs_f64()
    ));
    table.note(format!(
        "Feast 0.67.0 serves from its own layout in another database of the same Redis, written by Feast from the same Parquet files; a second gateway reads those rows too; {python}. \
         Pre-computed: one stored vector an entity, asked with full names, known entities only (it fails for others)."
    ));
    table.note(
        "CPU is that of the server; of a bare client, the client's own. Ratios are round by round to ours over HTTP JSON, and for bare Rust and the tonic floor to ours over DoExchange.",
    );
    table.note(
        "Values first: 1,000 random entities of each peer, nulls, expired and unknown ones included; every answer of a server was compared during the load too. \
         Feast serves expired rows, we do not.",
    );
    table.note("The floors answer the bytes of one of our answers to every question, without looking at it.");
    Ok(())
}

impl Contest {
    async fn prepare(fixture: &Fixture, redis: &RedisServer, servers: &Servers, rows: usize) -> Result<Self> {
        let json = Plan::stored(DATASET, Wire::HttpJson, rows);
        let exchange = Plan::stored(DATASET, Wire::DoExchange, rows);
        let theirs = Plan { speaker: Speaker::Feast, ..json };
        let precomputed = Plan { speaker: Speaker::FeastPrecomputed, keys: Keys::Known, ..json };
        let (gateway, feast) = (&servers.packed, servers.feast.target(redis.pid())?);
        let mut names = Vec::new();
        let mut contenders = Vec::new();
        let served = [
            ("lockstep, HTTP JSON", json, &gateway.target, LANES),
            ("lockstep, Flight DoExchange", exchange, &gateway.target, LANES),
            ("lockstep reading Feast's rows, HTTP JSON", json, &servers.as_feast.target, LANES),
            ("Feast, HTTP JSON", theirs, &feast, FEAST_LANES),
            ("Feast, HTTP JSON, pre-computed", precomputed, &feast, FEAST_LANES),
        ];
        for (name, plan, target, lanes) in served {
            verify(target, plan).await.map_err(|error| format!("{name}: {error}"))?;
            names.push(name.to_owned());
            contenders.push(Contender::Server {
                target: target.clone(),
                case: Arc::new(Case::new(plan).await?),
                lanes,
            });
        }
        let floors = floors(fixture, gateway, [json, exchange], &mut names, &mut contenders).await?;

        let prefix = bare_rust::prefix_of(redis, &DATASET.view(0))?;
        let sample = Case::sample(exchange).await?;
        BareRust::connect(redis, &sample, &prefix).await?.verify(&sample).await?;
        let case = Arc::new(Case::new(exchange).await?);
        let client = BareRust::connect(redis, &case, &prefix).await?;
        names.push("bare Rust: MGET, decode to Arrow".to_owned());
        contenders.push(Contender::BareRust { client, case: Arc::clone(&case) });

        let mut first = BarePython::start(redis, &sample, &views(fixture), &prefix, MEASURED_CPU)?;
        first.fill()?;
        let mut python = BarePython::start(redis, &case, &views(fixture), &prefix, MEASURED_CPU)?;
        for (name, kind) in [("bare Python: HMGET, JSON", Kind::Hash), ("bare Python: MGET, unpack", Kind::Packed)] {
            first.verify(kind, &sample)?;
            python.round(kind, ROUND / 10)?;
            names.push(name.to_owned());
            contenders.push(Contender::BarePython(kind));
        }
        Ok(Self { names, contenders, python, _floors: floors })
    }

    async fn round(&mut self, number: usize) -> Result<Round> {
        match &self.contenders[number] {
            Contender::Server { target, case, lanes } => {
                let run = saturate_over(target, case, ROUND, *lanes).await?;
                compare_all(case, &run)?;
                Ok(Round {
                    requests: run.requests,
                    seconds: run.seconds,
                    cpu: run.server_cpu,
                    store_cpu: run.store_cpu,
                })
            }
            Contender::BareRust { client, case } => {
                pin(std::process::id(), MEASURED_CPU)?;
                let round = client.round(case, ROUND).await;
                pin(std::process::id(), OTHERS_CPU)?;
                round
            }
            Contender::BarePython(kind) => self.python.round(*kind, ROUND),
        }
    }
}

/// Servers that answer what the gateway has answered once.
async fn floors(
    fixture: &Fixture,
    gateway: &Gateway,
    plans: [Plan; 2],
    names: &mut Vec<String>,
    contenders: &mut Vec<Contender>,
) -> Result<[Floor; 2]> {
    let mut floor = async |plan: Plan, name: &str| -> Result<Floor> {
        let answers = ask_each(&gateway.target, &Arc::new(Case::new(plan).await?)).await?.answers;
        let (_, answer) = answers.into_iter().next().ok_or("the gateway has not answered")?;
        let floor = match &answer {
            Answer::Json(body) | Answer::ArrowStream(body) => Floor::http(fixture.folder(), body, MEASURED_CPU)?,
            Answer::Flight(messages) => {
                batches(&answer)?;
                Floor::flight(fixture.folder(), messages, MEASURED_CPU)?
            }
        };
        let case = Arc::new(Case::new(Plan { speaker: Speaker::Constant, ..plan }).await?);
        names.push(name.to_owned());
        contenders.push(Contender::Server { target: floor.target(), case, lanes: LANES });
        Ok(floor)
    };
    let [json, exchange] = plans;
    Ok([
        floor(json, "floor: empty hyper service, HTTP").await?,
        floor(exchange, "floor: empty tonic service, DoExchange").await?,
    ])
}

/// `all` begins with ours over HTTP JSON and over DoExchange.
fn push(name: &str, rows: usize, rounds: &[Round], all: &[Vec<Round>], table: &mut Table) -> Result<()> {
    let ours = if name.contains("Rust") || name.contains("DoExchange") { &all[1] } else { &all[0] };
    let values = (rows * DATASET.features) as f64;
    let micros = |round: &Round| round.cpu / round.requests as f64 * 1e6;
    let rate = |round: &Round| round.requests as f64 / round.seconds;
    let cpu = Spread::of(rounds.iter().map(micros));
    let store = Spread::of(rounds.iter().map(|round| round.store_cpu / round.requests as f64 * 1e6));
    let requests = Spread::of(rounds.iter().map(rate));
    let cpu_ratio = Spread::of(rounds.iter().zip(ours).map(|(round, ours)| micros(round) / micros(ours)));
    let rate_ratio = Spread::of(rounds.iter().zip(ours).map(|(round, ours)| rate(round) / rate(ours)));
    let row = vec![
        name.to_owned(),
        rows.to_string(),
        format!("{requests:.0}"),
        format!("{:.0}", requests.median * rows as f64),
        format!("{cpu:.1}"),
        if store.max > 0.0 { format!("{:.1}", store.median) } else { "–".to_owned() },
        format!("{:.2}", values / cpu.median),
        format!("{cpu_ratio:.2}"),
        format!("{rate_ratio:.2}"),
    ];
    let result = json!({
        "who": name, "rows": rows, "features": DATASET.features, "views": DATASET.views,
        "requests_per_second": requests, "cpu_micros_per_request": cpu, "store_cpu_micros_per_request": store,
        "million_values_per_cpu_second": values / cpu.median, "cpu_against_ours": cpu_ratio,
        "rows_per_second_against_ours": rate_ratio,
    });
    table.push(row, result)
}
