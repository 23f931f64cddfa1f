//! P4: what a plugin that is called at the request costs a request.

use std::time::Duration;

use serde_json::json;

use super::matrix::cost;
use super::{USUAL, verify};
use crate::Result;
use crate::load::{Fixture, Plan, Service, Wire};
use crate::measure::{Spread, generator, pin, round_millis, rounds};
use crate::report::Table;
use crate::store::{RedisServer, Store};

const ROUND: Duration = round_millis(1_000);
const ROUNDS: usize = rounds(7);
const QUESTIONS: [(Wire, usize); 3] = [(Wire::HttpJson, 1), (Wire::HttpJson, 100), (Wire::DoExchange, 100)];
const SERVICES: [(Service, &str); 3] = [
    (Service::Stored, "50 stored features"),
    (Service::Beside, "the same and a distance, computed of 4 of them"),
    (Service::Derived, "50 features, all computed"),
];

pub fn run() -> Result<()> {
    let fixture = Fixture::fill(Store::Redis(RedisServer::start()?), &[USUAL], Some(USUAL))?;
    generator()?.block_on(table(&fixture))?;
    pin(std::process::id(), "0-1")
}

async fn table(fixture: &Fixture) -> Result<()> {
    let header = ["wire", "rows", "what", "gateway CPU-µs a request", "against the stored"];
    let mut table = Table::new("serving_transform", &header);
    pin(std::process::id(), "0")?;
    fixture.store.pin("0")?;
    let gateway = fixture.serve(Some("1"))?;
    for (wire, rows) in QUESTIONS {
        let plans = SERVICES.map(|(service, _)| Plan { service, ..Plan::stored(USUAL, wire, rows) });
        for plan in plans {
            verify(&gateway.target, plan).await?;
        }
        let mut micros = SERVICES.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (plan, micros) in plans.iter().zip(&mut micros) {
                micros.push(cost(&gateway.target, *plan, ROUND).await?.server_micros());
            }
        }
        for ((service, what), own) in SERVICES.iter().zip(&micros) {
            let against = Spread::of(own.iter().zip(&micros[0]).map(|(own, stored)| own / stored));
            let own = Spread::of(own.iter().copied());
            let row = vec![
                wire.name().to_owned(),
                rows.to_string(),
                (*what).to_owned(),
                format!("{own:.1}"),
                format!("{against}"),
            ];
            let result = json!({
                "wire": wire.name(), "rows": rows, "service": format!("{service:?}"),
                "gateway_cpu_micros": own, "against_stored": against,
            });
            table.push(row, result)?;
        }
    }
    table.note(format!(
        "{}; 50 float64 features of 5 views; closed loop, {ROUNDS} rounds of {} s, the services in turn; median (smallest–largest), ratios round by \
         round. The gateway has CPU 1, the generator and Redis CPU 0. Every answer was compared: stored values and those of \
         `arithmetic` to the last bit, distances with a native one to 10⁻⁹.",
        fixture.store.describe()?,
        ROUND.as_secs_f64()
    ));
    table.note("The plugins are in Rust, `haversine` and `arithmetic`; each call gets a fresh instance. `arithmetic` takes 50 columns and gives 50.");
    table.publish()
}
