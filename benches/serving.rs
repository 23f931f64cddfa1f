//! P1, P2, P3: features over HTTP and Flight from the embedded store, in open loop at 50 % and 90 % of saturation.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Result;
use crate::load::{
    ABSENT, Case, ENTITIES, EXPIRED_VIEW, Gateway, Run, Service, VIEW_FEATURES, VIEWS, Wire, compare, is_expired,
    open_loop, saturate,
};
use crate::measure::{Spread, pin};
use crate::report::Table;
use crate::synthetic::{DAY, Project, Random, rows, write_parquet};

const SATURATION: Duration = Duration::from_millis(1_500);
const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 3;
const LEVELS: [f64; 2] = [0.5, 0.9];
/// A run whose generator was later than this, in its 99th percentile, says nothing.
const SLIP_MAX_MICROS: f64 = 100.0;
/// Fewer answers than this have no 99.9th percentile.
const ANSWERS_FOR_P999: u64 = 2_000;

/// Which CPUs the two processes have to themselves.
#[derive(Clone, Copy, Debug)]
struct Pinning {
    table: &'static str,
    gateway: Option<&'static str>,
    generator: &'static str,
}

const PINNINGS: [Pinning; 2] = [
    Pinning { table: "serving", gateway: Some("1"), generator: "0" },
    Pinning { table: "serving_unpinned", gateway: None, generator: "0-1" },
];

const CASES: [(Service, Wire, usize); 8] = [
    (Service::Stored, Wire::HttpJson, 1),
    (Service::Derived, Wire::HttpJson, 1),
    (Service::Stored, Wire::HttpJson, 100),
    (Service::Stored, Wire::HttpArrow, 100),
    (Service::Stored, Wire::DoGet, 1),
    (Service::Stored, Wire::DoGet, 100),
    (Service::Stored, Wire::DoExchange, 100),
    (Service::Derived, Wire::DoExchange, 100),
];

pub fn run() -> Result<()> {
    let project = project()?;
    // Its one thread is the generator.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for pinning in PINNINGS {
        runtime.block_on(table(&project, pinning))?;
    }
    pin(std::process::id(), "0-1")
}

fn project() -> Result<Project> {
    let mut project = Project::new()?;
    let features = |view: usize| view * VIEW_FEATURES..(view + 1) * VIEW_FEATURES;
    let views: Vec<_> = (0..VIEWS).map(|view| (format!("view_{view}"), features(view))).collect();
    project.define_views(&views, "30d");
    let of = |feature: usize| format!("view_{}:f_{feature}", feature / VIEW_FEATURES);
    let inputs: Vec<String> =
        (0..VIEWS * VIEW_FEATURES).map(|feature| format!("      x_{feature}: \"{}\"\n", of(feature))).collect();
    let names: Vec<&str> = views.iter().map(|(view, _)| view.as_str()).collect();
    project.define(&format!(
        "derived_views:\n  - name: scaled\n    plugin: arithmetic\n    placement: request\n    inputs:\n{}\
         feature_services:\n  - {{name: {}, features: [{}]}}\n  - {{name: {}, features: [scaled]}}\n",
        inputs.concat(),
        Service::Stored.name(),
        names.join(", "),
        Service::Derived.name(),
    ));
    project.write_definitions()?;

    let entities: Vec<i64> = (0..ENTITIES as i64).collect();
    for (number, (view, features)) in views.iter().enumerate() {
        let age = |entity: &i64| if number == EXPIRED_VIEW && is_expired(*entity) { 60 * DAY } else { DAY };
        let event_time = entities.iter().map(|entity| Some(project.now - age(entity))).collect();
        let rows = rows(&entities, event_time, features.clone(), |_| 0)?;
        write_parquet(&project.data(&format!("{view}.parquet")), &rows)?;
    }
    Gateway::command(project.folder(), &["apply"])?;
    Gateway::command(project.folder(), &["sync"])?;
    Ok(project)
}

async fn table(project: &Project, pinning: Pinning) -> Result<()> {
    let header = [
        "what",
        "load",
        "requests a second",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "CPU-µs a request",
        "CPU-ns a value",
        "M values a CPU-second",
        "slip p99 µs",
    ];
    let mut table = Table::new(pinning.table, &header);
    pin(std::process::id(), pinning.generator)?;
    let gateway = Gateway::start(project.folder(), pinning.gateway)?;
    for service in [Service::Stored, Service::Derived] {
        for wire in [Wire::HttpJson, Wire::HttpArrow, Wire::DoGet, Wire::DoExchange] {
            verify(&gateway, service, wire).await?;
        }
    }
    for (service, wire, rows) in CASES {
        let case = Arc::new(Case::new(service, wire, rows).await?);
        measure(&gateway, &case, &mut table).await?;
    }
    table.note(format!(
        "{} features of {VIEWS} views, {ENTITIES} entities, embedded store; uniform keys, of which {ABSENT} in {} are unknown; \
         1 value in 64 is null, 1 entity in 100 has an expired view. `derived`: all 50 values are computed by a plugin at the request.",
        VIEWS * VIEW_FEATURES,
        ENTITIES + ABSENT,
    ));
    table.note(
        "Before the load 1,000 random entities were compared over every wire; during it every answer was read and compared to the last bit.",
    );
    table.note(format!(
        "Open loop, evenly spaced, latency from the intended time to the last byte; {ROUNDS} rounds of {} s a level, median (smallest–largest), p99.9 over all. \
         Saturation is a closed loop of 16 connections; its percentage is how much of its CPUs the gateway used.",
        ROUND.as_secs_f64()
    ));
    table.note(match pinning.gateway {
        Some(_) => "The gateway has CPU 1, the generator CPU 0.",
        None => "Nothing is pinned: the generator spins on one of the two CPUs and shares them with the gateway.",
    });
    table.note(format!(
        "Slip: how late the generator was itself. Rounds above {SLIP_MAX_MICROS} µs are left out of the latencies; where all of them are, the cell says so."
    ));
    table.publish()
}

/// 1,000 random entities over one wire, before any load.
async fn verify(gateway: &Gateway, service: Service, wire: Wire) -> Result<()> {
    let mut random = Random::new(3);
    let mut keys = || (0..100).map(|_| random.below(ENTITIES + ABSENT) as i64).collect::<Vec<_>>();
    let keys = (0..10).map(|_| keys()).collect();
    let case = Arc::new(Case::of(service, wire, 100, keys).await?);
    let run = open_loop(gateway, &case, Duration::from_millis(2), case.questions.len()).await?;
    compare_all(&case, &run)
}

fn compare_all(case: &Case, run: &Run) -> Result<()> {
    for (question, answer) in &run.answers {
        compare(case, *question, answer).map_err(|error| format!("{}: {error}", case.name()))?;
    }
    Ok(())
}

async fn measure(gateway: &Gateway, case: &Arc<Case>, table: &mut Table) -> Result<()> {
    let run = saturate(gateway, case, SATURATION).await?;
    compare_all(case, &run)?;
    let most = run.requests_a_second();
    let busy = run.gateway_cpu / run.seconds;
    let saturated = Level::of(&[run])?;
    let load = format!("saturation ({:.0} % CPU)", busy * 100.0);
    table.push(
        saturated.row(case, &load),
        saturated.result(case, json!({"closed_loop": true, "gateway_cpus_busy": busy})),
    )?;

    let mut runs: [Vec<Run>; LEVELS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (level, runs) in LEVELS.iter().zip(&mut runs) {
            let interval = Duration::from_secs_f64(1.0 / (most * level));
            let requests = (ROUND.as_secs_f64() / interval.as_secs_f64()) as usize;
            let mut run = open_loop(gateway, case, interval, requests).await?;
            compare_all(case, &run)?;
            run.forget_answers();
            runs.push(run);
        }
    }
    for (level, runs) in LEVELS.iter().zip(runs) {
        let measured = Level::of(&runs)?;
        let load = format!("{:.0} %", level * 100.0);
        table.push(measured.row(case, &load), measured.result(case, json!({"of_saturation": level})))?;
    }
    Ok(())
}

/// All rounds of one case under one load.
#[derive(Debug)]
struct Level {
    requests_a_second: Spread,
    p50: Spread,
    p99: Spread,
    /// Over all rounds.
    merged: Histogram<u64>,
    cpu_micros_a_request: Spread,
    slip_p99: Spread,
    rounds: usize,
    rounds_left_out: usize,
}

impl Level {
    fn of(runs: &[Run]) -> Result<Self> {
        let micros = |histogram: &Histogram<u64>, quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let late = |run: &&Run| micros(&run.slip, 0.99) > SLIP_MAX_MICROS;
        let left_out = runs.iter().filter(late).count();
        let counted: Vec<&Run> = runs.iter().filter(|run| left_out == runs.len() || !late(run)).collect();
        let mut merged = counted[0].latency.clone();
        for run in &counted[1..] {
            merged.add(&run.latency)?;
        }
        Ok(Self {
            requests_a_second: Spread::of(runs.iter().map(Run::requests_a_second)),
            p50: Spread::of(counted.iter().map(|run| micros(&run.latency, 0.5))),
            p99: Spread::of(counted.iter().map(|run| micros(&run.latency, 0.99))),
            merged,
            cpu_micros_a_request: Spread::of(runs.iter().map(|run| run.gateway_cpu / run.requests as f64 * 1e6)),
            slip_p99: Spread::of(runs.iter().map(|run| micros(&run.slip, 0.99))),
            rounds: runs.len(),
            rounds_left_out: left_out,
        })
    }

    fn nanoseconds_a_value(&self, case: &Case) -> f64 {
        self.cpu_micros_a_request.median * 1e3 / (case.rows * case.values_a_row()) as f64
    }

    fn p999_micros(&self) -> Option<f64> {
        (self.merged.len() >= ANSWERS_FOR_P999).then(|| self.merged.value_at_quantile(0.999) as f64 / 1e3)
    }

    fn row(&self, case: &Case, load: &str) -> Vec<String> {
        let slip = match (self.rounds_left_out, self.slip_p99.max) {
            (0, slip) => format!("{slip:.0}"),
            (left_out, slip) => format!("{slip:.0} (**{left_out} of {} rounds too late**)", self.rounds),
        };
        vec![
            case.name(),
            load.to_owned(),
            format!("{:.0}", self.requests_a_second.median),
            format!("{:.0}", self.p50),
            format!("{:.0}", self.p99),
            self.p999_micros().map_or_else(|| "too few".to_owned(), |p999| format!("{p999:.0}")),
            format!("{:.1}", self.cpu_micros_a_request),
            format!("{:.1}", self.nanoseconds_a_value(case)),
            format!("{:.1}", 1e3 / self.nanoseconds_a_value(case)),
            slip,
        ]
    }

    fn result(&self, case: &Case, load: Value) -> Value {
        json!({
            "what": case.name(), "rows": case.rows, "values_a_row": case.values_a_row(), "load": load,
            "requests_per_second": self.requests_a_second, "answers": self.merged.len(),
            "p50_micros": self.p50, "p99_micros": self.p99, "p999_micros": self.p999_micros(),
            "max_micros": self.merged.max() as f64 / 1e3, "gateway_cpu_micros_per_request": self.cpu_micros_a_request,
            "gateway_cpu_nanos_per_value": self.nanoseconds_a_value(case), "slip_p99_micros": self.slip_p99,
            "rounds": self.rounds, "rounds_left_out": self.rounds_left_out,
        })
    }
}
