//! The table `sync`: into the gateway's own file, durable when it ends.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{ENTITIES, VIEW, Way, sync};
use crate::Result;
use crate::measure::{Spread, rounds, runtime};
use crate::process::Taken;
use crate::report::Table;
use crate::synthetic::Project;

const ROUNDS: usize = rounds(5);

/// One sync, and the size of the store's file afterwards.
type Round = (Taken, u64);

pub fn run() -> Result<()> {
    let header = [
        "what",
        "rows",
        "features",
        "rows a second",
        "M values a CPU-second",
        "CPU-µs a row",
        "peak MB",
        "store, bytes a row",
    ];
    let mut table = Table::new("sync", &header);
    let runtime = runtime()?;
    let mut cases = Vec::new();
    for way in Way::ALL {
        cases.push((way, runtime.block_on(way.project(Project::EMBEDDED))?, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, project, rounds) in &mut cases {
            rounds.push(round(project)?);
        }
    }
    for (way, _, rounds) in &cases {
        push(*way, rounds, &mut table)?;
    }
    table.note(format!("One row an entity; {ROUNDS} rounds A B A B, each into an empty store, durable when it ends; median (smallest–largest)."));
    table.note("The whole of the command from its start to its end: scan, newest row of each key, transform, write. The file's size counts free pages too.");
    table.publish()
}

fn push(way: Way, rounds: &[Round], table: &mut Table) -> Result<()> {
    let rows = ENTITIES as f64;
    let features = way.features();
    let what = way.describe("store");
    let a_second = Spread::of(rounds.iter().map(|(taken, _)| rows / taken.wall));
    let values = Spread::of(rounds.iter().map(|(taken, _)| rows * features as f64 / taken.cpu / 1e6));
    let cpu = Spread::of(rounds.iter().map(|(taken, _)| taken.cpu / rows * 1e6));
    let bytes = Spread::of(rounds.iter().map(|(_, bytes)| *bytes as f64 / rows));
    let peak = rounds.iter().map(|(taken, _)| taken.peak_bytes).max().unwrap_or_default();
    let row = vec![
        what.clone(),
        ENTITIES.to_string(),
        features.to_string(),
        format!("{a_second:.0}"),
        format!("{values:.2}"),
        format!("{cpu:.2}"),
        format!("{:.0}", peak as f64 / 1e6),
        format!("{:.0}", bytes.median),
    ];
    let taken: Vec<Taken> = rounds.iter().map(|(taken, _)| *taken).collect();
    let result = json!({
        "what": what, "derived": way == Way::Derived, "rows": ENTITIES, "features": features, "rounds": taken,
        "rows_per_second": a_second, "million_values_per_cpu_second": values, "cpu_micros_per_row": cpu,
        "peak_bytes": peak, "store_bytes_per_row": bytes,
    });
    table.push(row, result)
}

fn round(project: &Project) -> Result<Round> {
    let store = store_of(project);
    if store.exists() {
        fs::remove_file(&store)?;
    }
    let taken = sync(project, VIEW, ENTITIES)?;
    Ok((taken, fs::metadata(store)?.len()))
}

fn store_of(project: &Project) -> PathBuf {
    project.folder().join(".lockstep/online.redb")
}
