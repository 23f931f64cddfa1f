//! All rounds of one case under one load, and how a table shows them.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Result;
use crate::load::{Plan, Run};
use crate::measure::Spread;

/// A run whose generator was later than this, in its 99th percentile, says nothing.
pub const SLIP_MAX_MICROS: f64 = 100.0;
/// Fewer answers than this have no 99.9th percentile.
const ANSWERS_FOR_P999: u64 = 2_000;

pub const HEADER: [&str; 11] = [
    "what",
    "load",
    "requests a second",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "CPU-µs a request",
    "CPU-ns a value",
    "M values a CPU-second",
    "store, CPU-µs a request",
    "slip p99 µs",
];

#[derive(Debug)]
pub struct Level {
    requests_a_second: Spread,
    p50: Spread,
    p99: Spread,
    /// Over all rounds.
    merged: Histogram<u64>,
    server_micros: Spread,
    store_micros: Spread,
    slip_p99: Spread,
    rounds: usize,
    rounds_left_out: usize,
}

impl Level {
    pub fn of(runs: &[Run]) -> Result<Self> {
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
            server_micros: Spread::of(runs.iter().map(Run::server_micros)),
            store_micros: Spread::of(runs.iter().map(Run::store_micros)),
            slip_p99: Spread::of(runs.iter().map(|run| micros(&run.slip, 0.99))),
            rounds: runs.len(),
            rounds_left_out: left_out,
        })
    }

    fn nanoseconds_a_value(&self, plan: &Plan) -> f64 {
        self.server_micros.median * 1e3 / plan.values() as f64
    }

    fn p999_micros(&self) -> Option<f64> {
        (self.merged.len() >= ANSWERS_FOR_P999).then(|| self.merged.value_at_quantile(0.999) as f64 / 1e3)
    }

    pub fn row(&self, plan: &Plan, load: &str) -> Vec<String> {
        let slip = match (self.rounds_left_out, self.slip_p99.max) {
            (0, slip) => format!("{slip:.0}"),
            (left_out, slip) => format!("{slip:.0} (**{left_out} of {} rounds too late**)", self.rounds),
        };
        vec![
            plan.name(),
            load.to_owned(),
            format!("{:.0}", self.requests_a_second.median),
            format!("{:.0}", self.p50),
            format!("{:.0}", self.p99),
            self.p999_micros().map_or_else(|| "too few".to_owned(), |p999| format!("{p999:.0}")),
            format!("{:.1}", self.server_micros),
            format!("{:.1}", self.nanoseconds_a_value(plan)),
            format!("{:.1}", 1e3 / self.nanoseconds_a_value(plan)),
            if self.store_micros.max > 0.0 { format!("{:.1}", self.store_micros.median) } else { "–".to_owned() },
            slip,
        ]
    }

    pub fn result(&self, plan: &Plan, load: Value) -> Value {
        json!({
            "what": plan.name(), "wire": plan.wire.name(), "rows": plan.rows, "features": plan.dataset.features,
            "views": plan.dataset.views, "entities": plan.dataset.entities, "keys": plan.keys.name(), "load": load,
            "requests_per_second": self.requests_a_second, "answers": self.merged.len(),
            "p50_micros": self.p50, "p99_micros": self.p99, "p999_micros": self.p999_micros(),
            "max_micros": self.merged.max() as f64 / 1e3, "gateway_cpu_micros_per_request": self.server_micros,
            "gateway_cpu_nanos_per_value": self.nanoseconds_a_value(plan),
            "store_cpu_micros_per_request": self.store_micros, "slip_p99_micros": self.slip_p99,
            "rounds": self.rounds, "rounds_left_out": self.rounds_left_out,
        })
    }
}
