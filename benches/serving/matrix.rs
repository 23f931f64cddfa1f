//! P1, P2, P3 over the whole matrix: what a request costs in CPU time, for each size, width, skew of keys and wire.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::verify;
use crate::Result;
use crate::load::{Case, Dataset, Fixture, Keys, Plan, Run, Target, Wire, compare_all, saturate};
use crate::measure::{entities, generator, pin, round_millis};
use crate::report::Table;
use crate::store::{RedisServer, Store};

const ROUND: Duration = round_millis(700);
const ROWS: [usize; 5] = [1, 10, 50, 100, 500];
/// (views, features)
const WIDTHS: [(usize, usize); 4] = [(5, 50), (25, 50), (5, 250), (25, 250)];
const ENTITIES: u64 = entities(10_000);
/// A few cells of many more entities.
const MANY: Dataset = Dataset::new(5, 50, entities(1_000_000));
const ROWS_OF_MANY: [usize; 2] = [1, 100];

pub fn run() -> Result<()> {
    let usual = WIDTHS.map(|(views, features)| Dataset::new(views, features, ENTITIES));
    let mut datasets = usual.to_vec();
    datasets.push(MANY);
    let fixture = Fixture::fill(Store::Redis(RedisServer::start()?), &datasets, None)?;
    generator()?.block_on(table(&fixture, &usual))?;
    pin(std::process::id(), "0-1")
}

async fn table(fixture: &Fixture, usual: &[Dataset]) -> Result<()> {
    let header = [
        "features × views",
        "entities",
        "keys",
        "rows",
        "HTTP JSON",
        "HTTP Arrow",
        "Flight DoGet",
        "Flight DoExchange",
    ];
    let mut table = Table::new("matrix", &header);
    pin(std::process::id(), "0")?;
    fixture.store.pin("0")?;
    let gateway = fixture.serve(Some("1"))?;
    let target = &gateway.target;
    for dataset in usual.iter().chain([&MANY]) {
        for wire in Wire::ALL {
            verify(target, Plan::stored(*dataset, wire, 1)).await?;
        }
        let rows: &[usize] = if *dataset == MANY { &ROWS_OF_MANY } else { &ROWS };
        for keys in [Keys::Uniform, Keys::Zipf] {
            for rows in rows {
                let plan = Plan { keys, ..Plan::stored(*dataset, Wire::HttpJson, *rows) };
                push(target, plan, &mut table).await?;
            }
        }
    }
    table.note(
        "Each cell: CPU-µs of the gateway + CPU-µs of Redis for one request (millions of feature values a CPU-second of the gateway).",
    );
    table.note(format!(
        "Closed loop of 16 connections, one round of {} s a cell; the gateway on CPU 1, the generator and Redis on CPU 0. {}. \
         Zipf has the exponent 0.99. Every answer was compared to the last bit.",
        ROUND.as_secs_f64(),
        fixture.store.describe()?,
    ));
    table.publish()
}

async fn push(target: &Target, plan: Plan, table: &mut Table) -> Result<()> {
    let Dataset { views, features, entities } = plan.dataset;
    let mut row =
        vec![format!("{features} × {views}"), entities.to_string(), plan.keys.name().to_owned(), plan.rows.to_string()];
    let mut cells = Vec::new();
    for wire in Wire::ALL {
        let plan = Plan { wire, ..plan };
        let run = cost(target, plan, ROUND).await?;
        let millions_of_values = plan.values() as f64 / run.server_micros();
        row.push(format!("{:.0} + {:.0} ({millions_of_values:.1})", run.server_micros(), run.store_micros()));
        cells.push(json!({
            "wire": wire.name(), "requests": run.requests, "requests_per_second": run.requests_a_second(),
            "gateway_cpu_micros_per_request": run.server_micros(), "store_cpu_micros_per_request": run.store_micros(),
            "gateway_cpus_busy": run.server_cpu / run.seconds, "million_values_per_cpu_second": millions_of_values,
        }));
    }
    let result = json!({
        "features": features, "views": views, "entities": entities, "keys": plan.keys.name(), "rows": plan.rows,
        "cells": cells,
    });
    table.push(row, result)
}

/// One closed loop whose every answer was right.
pub async fn cost(target: &Target, plan: Plan, time: Duration) -> Result<Run> {
    let case = Arc::new(Case::new(plan).await?);
    let mut run = saturate(target, &case, time).await?;
    compare_all(&case, &run)?;
    run.forget_answers();
    Ok(run)
}
