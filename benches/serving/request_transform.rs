//! P4: what a plugin that is called at the request costs a request.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::matrix::cost;
use super::{USUAL, verify};
use crate::Result;
use crate::load::{Case, Fixture, Plan, Service, Target, Wire, compare_all, open_loop};
use crate::measure::{Spread, generator, pin, round_millis, rounds};
use crate::report::Table;
use crate::store::{RedisServer, Store};

const ROUND: Duration = round_millis(1_000);
const ROUNDS: usize = rounds(7);
/// A wire, the rows of a request, and how many requests a second all services get alike: some third of saturation.
const QUESTIONS: [(Wire, usize, u32); 3] =
    [(Wire::HttpJson, 1, 5_000), (Wire::HttpJson, 100, 600), (Wire::DoExchange, 100, 600)];
/// What is asked for, and how the gateway that is asked has the plugins' instances.
const SERVICES: [(Service, Instances, &str); 5] = [
    (Service::Stored, Instances::Fresh, "50 stored features"),
    (Service::Beside, Instances::Fresh, "the same and a distance, computed of 4 of them"),
    (Service::Beside, Instances::Warm, "the same and a distance, computed of 4 of them"),
    (Service::Derived, Instances::Fresh, "50 features, all computed"),
    (Service::Derived, Instances::Warm, "50 features, all computed"),
];

#[derive(Clone, Copy, Debug)]
enum Instances {
    Fresh,
    Warm,
}

impl Instances {
    const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Warm => "warm",
        }
    }
}

pub fn run() -> Result<()> {
    let fixture = Fixture::fill(Store::Redis(RedisServer::start()?), &[USUAL], Some(USUAL))?;
    generator()?.block_on(table(&fixture))?;
    pin(std::process::id(), "0-1")
}

async fn table(fixture: &Fixture) -> Result<()> {
    let header = [
        "wire",
        "rows",
        "what",
        "instances",
        "requests a second",
        "gateway CPU-µs a request",
        "against the stored",
        "saturated, CPU-µs a request",
        "against the stored",
    ];
    let mut table = Table::new("serving_transform", &header);
    pin(std::process::id(), "0")?;
    fixture.store.pin("0")?;
    let fresh = fixture.serve(Some("1"))?;
    fixture.project.configure("plugin_limits: {haversine: {instances: warm}, arithmetic: {instances: warm}}")?;
    let warm = fixture.serve(Some("1"))?;
    for (wire, rows, rate) in QUESTIONS {
        let plans = SERVICES.map(|(service, instances, _)| {
            let gateway = match instances {
                Instances::Fresh => &fresh,
                Instances::Warm => &warm,
            };
            (&gateway.target, Plan { service, ..Plan::stored(USUAL, wire, rows) })
        });
        for (target, plan) in plans {
            verify(target, plan).await?;
        }
        let (mut steady, mut saturated) = (SERVICES.map(|_| Vec::new()), SERVICES.map(|_| Vec::new()));
        for _ in 0..ROUNDS {
            for (service, (target, plan)) in plans.iter().enumerate() {
                steady[service].push(steady_cost(target, *plan, rate).await?);
                saturated[service].push(cost(target, *plan, ROUND).await?.server_micros());
            }
        }
        for (service, (kind, instances, what)) in SERVICES.iter().enumerate() {
            let measured = |rounds: &[Vec<f64>]| {
                let against = rounds[service].iter().zip(&rounds[0]).map(|(own, stored)| own / stored);
                (Spread::of(rounds[service].iter().copied()), Spread::of(against))
            };
            let ((own, against), (own_saturated, against_saturated)) = (measured(&steady), measured(&saturated));
            let row = vec![
                wire.name().to_owned(),
                rows.to_string(),
                (*what).to_owned(),
                instances.name().to_owned(),
                rate.to_string(),
                format!("{own:.1}"),
                format!("{against}"),
                format!("{own_saturated:.1}"),
                format!("{against_saturated}"),
            ];
            let result = json!({
                "wire": wire.name(), "rows": rows, "service": format!("{kind:?}"),
                "instances": instances.name(), "requests_per_second": rate,
                "gateway_cpu_micros": own, "against_stored": against,
                "gateway_cpu_micros_saturated": own_saturated, "against_stored_saturated": against_saturated,
            });
            table.push(row, result)?;
        }
    }
    table.note(format!(
        "{}; 50 float64 features of 5 views; {ROUNDS} rounds of {} s, open loop at the same number of requests a second and closed loop of \
         16 connections, the services in turn; median (smallest–largest), ratios round by round. The gateway has CPU 1, the generator and \
         Redis CPU 0. Every answer was compared: stored values and those of `arithmetic` to the last bit, distances with a native one to 10⁻⁹.",
        fixture.store.describe()?,
        ROUND.as_secs_f64()
    ));
    table.note(
        "The plugins are in Rust, `haversine` and `arithmetic`; `arithmetic` takes 50 columns and gives 50. Instances: fresh is what small \
         plugins have by default, one for each call; warm is what `plugin_limits` can say. Two gateways, one for each.",
    );
    table.publish()
}

/// What a request costs the gateway where it gets so many a second.
async fn steady_cost(target: &Target, plan: Plan, rate: u32) -> Result<f64> {
    let case = Arc::new(Case::new(plan).await?);
    let requests = (ROUND.as_secs_f64() * f64::from(rate)).ceil() as usize;
    let run = open_loop(target, &case, Duration::from_secs(1) / rate, requests).await?;
    compare_all(&case, &run)?;
    Ok(run.server_micros())
}
