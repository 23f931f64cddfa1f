//! P1, P2, P3: features over HTTP and Flight, in open loop at 50 % and 90 % of saturation.

mod growth;
mod level;
mod matrix;
mod request_transform;

pub use growth::run as growth;
pub use matrix::run as matrix;
pub use request_transform::run as request_transform;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use self::level::{HEADER, Level, SLIP_MAX_MICROS};
use crate::Result;
use crate::load::{
    Case, Dataset, Fixture, LANES, Plan, Run, Service, Target, Wire, ask_each, compare_all, open_loop, saturate,
};
use crate::measure::{entities, generator, pin, round_millis, rounds};
use crate::report::Table;
use crate::store::{RedisServer, Store};

const SATURATION: Duration = round_millis(1_500);
const ROUND: Duration = round_millis(1_200);
const ROUNDS: usize = rounds(5);
const LEVELS: [f64; 2] = [0.5, 0.9];

const ENTITIES: u64 = entities(10_000);
/// 50 features of 5 views.
const USUAL: Dataset = Dataset::new(5, 50, ENTITIES);
/// 250 features of 25 views.
const WIDE: Dataset = Dataset::new(25, 250, ENTITIES);

/// Which CPUs the processes have to themselves.
#[derive(Clone, Copy, Debug)]
struct Pinning {
    gateway: Option<&'static str>,
    /// The generator and the store.
    others: &'static str,
}

const PINNED: Pinning = Pinning { gateway: Some("1"), others: "0" };
const FREE: Pinning = Pinning { gateway: None, others: "0-1" };

/// Redis; the gateway on a CPU of its own.
pub fn pinned() -> Result<()> {
    let mut plans = Vec::new();
    for (dataset, rows) in [(USUAL, 1), (USUAL, 100), (WIDE, 1), (USUAL, 500)] {
        plans.extend(Wire::ALL.map(|wire| Plan::stored(dataset, wire, rows)));
    }
    let derived = |wire, rows| Plan { service: Service::Derived, ..Plan::stored(USUAL, wire, rows) };
    plans.extend([derived(Wire::HttpJson, 1), derived(Wire::DoExchange, 100)]);
    run("serving", Store::Redis(RedisServer::start()?), PINNED, &plans)
}

/// The same without pinning, for the first question anybody asks.
pub fn unpinned() -> Result<()> {
    run("serving_unpinned", Store::Redis(RedisServer::start()?), FREE, &few())
}

/// The same from the gateway's own file.
pub fn embedded() -> Result<()> {
    run("serving_embedded", Store::Embedded, PINNED, &few())
}

fn few() -> Vec<Plan> {
    let plan = |(wire, rows)| Plan::stored(USUAL, wire, rows);
    [(Wire::HttpJson, 1), (Wire::HttpJson, 100), (Wire::DoGet, 1), (Wire::DoExchange, 100)].map(plan).to_vec()
}

fn run(name: &'static str, store: Store, pinning: Pinning, plans: &[Plan]) -> Result<()> {
    let derived = plans.iter().any(|plan| plan.service == Service::Derived).then_some(USUAL);
    let mut datasets = vec![USUAL];
    datasets.extend(plans.iter().map(|plan| plan.dataset).find(|dataset| *dataset == WIDE));
    let fixture = Fixture::fill(store, &datasets, derived)?;
    generator()?.block_on(table(name, &fixture, pinning, plans))?;
    pin(std::process::id(), "0-1")
}

async fn table(name: &'static str, fixture: &Fixture, pinning: Pinning, plans: &[Plan]) -> Result<()> {
    let mut table = Table::new(name, &HEADER);
    pin(std::process::id(), pinning.others)?;
    fixture.store.pin(pinning.others)?;
    let gateway = fixture.serve(pinning.gateway)?;
    for plan in plans {
        verify(&gateway.target, *plan).await?;
    }
    for plan in plans {
        measure(&gateway.target, *plan, &mut table).await?;
    }
    notes(&mut table, fixture, pinning)?;
    table.publish()
}

fn notes(table: &mut Table, fixture: &Fixture, pinning: Pinning) -> Result<()> {
    table.note(format!(
        "{}; {ENTITIES} entities, float64 features; uniform keys, of which 1 in 101 is unknown; 1 value in 64 is null, \
         1 entity in 100 has an expired row. `derived`: all 50 values are computed by a plugin at the request.",
        fixture.store.describe()?
    ));
    table.note(
        "Before the load 1,000 random entities were compared over every wire; during it every answer was read and compared to the last bit.",
    );
    table.note(format!(
        "Open loop, evenly spaced, latency from the intended time to the last byte; {ROUNDS} rounds of {} s a level, both levels in turn, median (smallest–largest), p99.9 over all. \
         Saturation is a closed loop of {LANES} connections; its percentage is how much of its CPUs the gateway used.",
        ROUND.as_secs_f64()
    ));
    table.note(match (pinning.gateway, &fixture.store) {
        (Some(_), Store::Redis(_)) => {
            "The gateway has CPU 1; the generator and Redis share CPU 0, where Redis goes first."
        }
        (Some(_), Store::Embedded) => "The gateway has CPU 1, the generator CPU 0.",
        (None, _) => {
            "Nothing is pinned: the generator spins on one of the two CPUs and shares them with everything else."
        }
    });
    table.note(format!(
        "Slip: how late the generator was itself. Rounds above {SLIP_MAX_MICROS} µs are left out of the latencies; where all of them are, the cell says so."
    ));
    Ok(())
}

/// 1,000 random entities over one wire, before any load.
pub async fn verify(target: &Target, plan: Plan) -> Result<()> {
    let case = Arc::new(Case::sample(plan).await?);
    compare_all(&case, &ask_each(target, &case).await?)
}

async fn measure(target: &Target, plan: Plan, table: &mut Table) -> Result<()> {
    let case = Arc::new(Case::new(plan).await?);
    let run = saturate(target, &case, SATURATION).await?;
    compare_all(&case, &run)?;
    let most = run.requests_a_second();
    let busy = run.server_cpu / run.seconds;
    let saturated = Level::of(&[run])?;
    let load = format!("saturation ({:.0} % CPU)", busy * 100.0);
    table.push(
        saturated.row(&plan, &load),
        saturated.result(&plan, json!({"closed_loop": true, "gateway_cpus_busy": busy})),
    )?;

    let mut runs: [Vec<Run>; LEVELS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (level, runs) in LEVELS.iter().zip(&mut runs) {
            let interval = Duration::from_secs_f64(1.0 / (most * level));
            let requests = (ROUND.as_secs_f64() / interval.as_secs_f64()).ceil() as usize;
            let mut run = open_loop(target, &case, interval, requests).await?;
            compare_all(&case, &run)?;
            run.forget_answers();
            runs.push(run);
        }
    }
    for (level, runs) in LEVELS.iter().zip(runs) {
        let measured = Level::of(&runs)?;
        let load = format!("{:.0} %", level * 100.0);
        table.push(measured.row(&plan, &load), measured.result(&plan, json!({"of_saturation": level})))?;
    }
    Ok(())
}
