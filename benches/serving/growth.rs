//! P8: what one value costs with more entities, more features and more views. It should stay the same.

use std::time::Duration;

use serde_json::json;

use super::matrix::cost;
use super::verify;
use crate::Result;
use crate::load::{Dataset, Fixture, Plan, Run, Target, Wire};
use crate::measure::{Spread, entities, generator, pin, round_millis, rounds};
use crate::report::Table;
use crate::store::{RedisServer, Store};

const ROUND: Duration = round_millis(700);
const ROUNDS: usize = rounds(5);
const ROWS: usize = 100;
const USUAL_ENTITIES: u64 = entities(10_000);
/// Cost may differ so much from the first of its kind and still be called flat.
const FLAT: f64 = 0.2;
/// The size that is estimated rather than filled.
const ESTIMATED_ENTITIES: u64 = 10_000_000;

/// What grows, and its steps.
const AXES: [(&str, [Dataset; 3]); 3] = [
    (
        "entities",
        [
            Dataset::new(5, 50, USUAL_ENTITIES),
            Dataset::new(5, 50, entities(100_000)),
            Dataset::new(5, 50, entities(1_000_000)),
        ],
    ),
    (
        "features",
        [Dataset::new(5, 5, USUAL_ENTITIES), Dataset::new(5, 50, USUAL_ENTITIES), Dataset::new(5, 250, USUAL_ENTITIES)],
    ),
    (
        "views",
        [
            Dataset::new(1, 50, USUAL_ENTITIES),
            Dataset::new(5, 50, USUAL_ENTITIES),
            Dataset::new(25, 50, USUAL_ENTITIES),
        ],
    ),
];

/// One dataset's rounds, and what it takes in Redis.
struct Measured {
    dataset: Dataset,
    runs: Vec<Run>,
}

pub fn run() -> Result<()> {
    let mut datasets: Vec<Dataset> = Vec::new();
    for dataset in AXES.iter().flat_map(|(_, steps)| steps) {
        if !datasets.contains(dataset) {
            datasets.push(*dataset);
        }
    }
    let fixture = Fixture::fill(Store::Redis(RedisServer::start()?), &datasets, None)?;
    generator()?.block_on(table(&fixture, &datasets))?;
    pin(std::process::id(), "0-1")
}

async fn table(fixture: &Fixture, datasets: &[Dataset]) -> Result<()> {
    let header = [
        "what grows",
        "features × views",
        "entities",
        "gateway CPU-ns a value",
        "Redis CPU-ns a value",
        "against the usual",
    ];
    let mut table = Table::new("growth", &header);
    pin(std::process::id(), "0")?;
    fixture.store.pin("0")?;
    let gateway = fixture.serve(Some("1"))?;
    let mut measured = Vec::new();
    for dataset in datasets {
        verify(&gateway.target, Plan::stored(*dataset, Wire::DoExchange, ROWS)).await?;
        measured.push(Measured { dataset: *dataset, runs: Vec::new() });
    }
    for _ in 0..ROUNDS {
        for step in &mut measured {
            step.runs.push(round(&gateway.target, step.dataset).await?);
        }
    }
    // The first step of the first axis.
    let usual = measured[0].gateway().median;
    for (axis, steps) in AXES {
        for step in steps.iter().filter_map(|dataset| measured.iter().find(|step| step.dataset == *dataset)) {
            push(axis, step, usual, &mut table)?;
        }
    }
    estimate(&measured, &mut table)?;
    table.note(format!(
        "Flight DoExchange, {ROWS} rows a request, uniform keys; closed loop, {ROUNDS} rounds of {} s, all in turn; median (smallest–largest). \
         Flat means within {:.0} % of the usual 50 features of 5 views and 10,000 entities. Every answer was compared.",
        ROUND.as_secs_f64(),
        FLAT * 100.0
    ));
    table.note("A request, a row and a view cost something whatever is in them; few values a row, or many views of the same values, share that among less.");
    table.note("The estimate adds to the cost at 10⁶ what each tenfold added on average so far.");
    table.publish()
}

async fn round(target: &Target, dataset: Dataset) -> Result<Run> {
    cost(target, Plan::stored(dataset, Wire::DoExchange, ROWS), ROUND).await
}

impl Measured {
    fn values(&self) -> f64 {
        (ROWS * self.dataset.features) as f64
    }

    fn gateway(&self) -> Spread {
        Spread::of(self.runs.iter().map(Run::server_micros)).times(1e3 / self.values())
    }

    fn store(&self) -> Spread {
        Spread::of(self.runs.iter().map(Run::store_micros)).times(1e3 / self.values())
    }
}

fn push(axis: &str, step: &Measured, usual: f64, table: &mut Table) -> Result<()> {
    let (gateway, store) = (step.gateway(), step.store());
    let change = gateway.median / usual - 1.0;
    let verdict = if change.abs() <= FLAT { "flat" } else { "**not flat**" };
    let Dataset { views, features, entities } = step.dataset;
    let row = vec![
        axis.to_owned(),
        format!("{features} × {views}"),
        entities.to_string(),
        format!("{gateway:.1}"),
        format!("{store:.1}"),
        format!("{:+.0} %, {verdict}", change * 100.0),
    ];
    let result = json!({
        "axis": axis, "features": features, "views": views, "entities": entities,
        "gateway_cpu_nanos_per_value": gateway, "store_cpu_nanos_per_value": store, "against_usual": change,
    });
    table.push(row, result)
}

/// 10⁷ entities from the trend.
fn estimate(measured: &[Measured], table: &mut Table) -> Result<()> {
    let cost_at = |dataset: &Dataset| {
        let step = measured.iter().find(|step| step.dataset == *dataset);
        step.map(|step| (step.gateway().median, step.store().median)).ok_or("a step was not measured")
    };
    let [first, .., last] = AXES[0].1;
    let tenfolds = (last.entities as f64 / first.entities as f64).log10();
    let further = (ESTIMATED_ENTITIES as f64 / last.entities as f64).log10();
    let (first, last) = (cost_at(&first)?, cost_at(&last)?);
    let along = |first: f64, last: f64| last + (last - first) / tenfolds * further;
    let (gateway, store) = (along(first.0, last.0), along(first.1, last.1));
    let change = gateway / first.0 - 1.0;
    let row = vec![
        "entities".to_owned(),
        "50 × 5".to_owned(),
        format!("{ESTIMATED_ENTITIES} (estimate)"),
        format!("{gateway:.1}"),
        format!("{store:.1}"),
        format!("{:+.0} %, estimate", change * 100.0),
    ];
    let result = json!({
        "axis": "entities", "entities": ESTIMATED_ENTITIES, "estimate": true, "gateway_cpu_nanos_per_value": gateway,
        "store_cpu_nanos_per_value": store, "against_usual": change,
    });
    table.push(row, result)
}
