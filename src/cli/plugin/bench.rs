//! `lockstep plugin bench`: what calls of a plugin cost, beside what they may cost.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::given::{Component, workbench};
use crate::cli::{Context, Failure, Outcome, output};
use crate::transform::Settings;
use crate::transform::conformance::{Costs, Timed, costs};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lockstep plugin bench taxi_company\n\nTimes are those of this machine, now; fuel is the same everywhere."
)]
pub struct Arguments {
    /// A `.wasm` file, the folder of a plugin, or the name of a plugin of the project
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// The folder with golden cases, whose rows are among those that are tried
    #[arg(long, value_name = "FOLDER")]
    goldens: Option<PathBuf>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    costs: &'a Costs,
    limits: Limits,
}

/// What holds for a plugin that has no limits of its own.
#[derive(Serialize)]
struct Limits {
    fuel_per_call: u64,
    fuel_per_row: u64,
    call_time_ms: u128,
    memory_bytes: usize,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let component = Component::read(context, &arguments.plugin)?;
    let (cases, _) = component.goldens(arguments.goldens.as_deref())?;
    let bar = output::progress(&component.name);
    let costs = costs(&component.name, &component.bytes, &cases, &workbench());
    bar.finish_and_clear();
    let settings = Settings::default();
    let limits = Limits {
        fuel_per_call: settings.fuel_per_call,
        fuel_per_row: settings.fuel_per_row,
        call_time_ms: settings.call_time_max.as_millis(),
        memory_bytes: settings.memory_bytes_max,
    };
    output::print(context.format, &Shown { costs: &costs?, limits }, shown)?;
    Ok(Outcome::Done)
}

fn shown(shown: &Shown<'_>) -> String {
    let (costs, limits) = (shown.costs, &shown.limits);
    let row = |timed: &Timed| {
        let fuel_max = limits.fuel_per_call + limits.fuel_per_row * timed.rows as u64;
        let time_max_ns = limits.call_time_ms as f64 * 1e6;
        vec![
            timed.rows.to_string(),
            if timed.warm { "kept" } else { "fresh" }.to_owned(),
            format!("{:.1}", timed.p50_ns as f64 / 1e3),
            format!("{:.1}", timed.p99_ns as f64 / 1e3),
            format!("{:.1}", timed.ns_per_value),
            timed.fuel.div_ceil(timed.rows as u64).to_string(),
            format!("{:.2} %", timed.fuel as f64 * 100.0 / fuel_max as f64),
            format!("{:.2} %", timed.p99_ns as f64 * 100.0 / time_max_ns),
        ]
    };
    let header = ["rows", "instance", "p50 µs", "p99 µs", "ns a value", "fuel a row", "of its fuel", "of its time"];
    let used = if costs.kept_warm { "kept for many calls" } else { "fresh for each call" };
    format!(
        "{}\n{} columns in, {} out  ·  the gateway's instances of it are {used}  ·  memory {} KiB of {} KiB",
        output::table(&header, costs.sizes.iter().map(row)),
        costs.columns_in,
        costs.columns_out,
        costs.memory_bytes_max >> 10,
        limits.memory_bytes >> 10,
    )
}
