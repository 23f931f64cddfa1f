//! P6: rows per second from Parquet to the embedded store, with and without a derived view on the way.

use std::fs;

use lockstep::app::Project as App;
use lockstep::flow::sync::{Range, sync};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::measure::{Seconds, Spread, Stopwatch, runtime};
use crate::report::Table;
use crate::synthetic::{DAY, Project, rows, write_parquet};

const ENTITIES: i64 = 100_000;
const FEATURES: usize = 20;
const ROUNDS: usize = 5;
const VIEW: &str = "customer_stats";
/// Where the project keeps its online rows; deleted before each round.
const STORE: &str = ".lockstep/online.redb";

/// 4 features in, 1 out, stored beside the view.
const DERIVED: &str = "derived_views:
  - name: customer_distance
    plugin: haversine
    inputs:
      from_latitude: customer_stats:f_0
      from_longitude: customer_stats:f_1
      to_latitude: customer_stats:f_2
      to_longitude: customer_stats:f_3
    placement: sync
";

pub fn run() -> Result<()> {
    let header =
        ["what", "rows", "features", "rows a second", "M values a CPU-second", "CPU-µs a row", "store, bytes a row"];
    let mut table = Table::new("sync", &header);
    let runtime = runtime()?;
    let plain = runtime.block_on(project(""))?;
    let derived = runtime.block_on(project(DERIVED))?;
    let cases = [("Parquet → store", &plain, 0), ("Parquet → haversine → store", &derived, 1)];

    let mut measured: [Vec<(Seconds, u64)>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (case, rounds) in cases.iter().zip(&mut measured) {
            rounds.push(round(&runtime, case.1)?);
        }
    }
    for ((what, _, outputs), rounds) in cases.iter().zip(&measured) {
        let rows = ENTITIES as f64;
        let features = FEATURES + outputs;
        let a_second = Spread::of(rounds.iter().map(|(seconds, _)| rows / seconds.wall));
        let values = Spread::of(rounds.iter().map(|(seconds, _)| rows * features as f64 / seconds.cpu / 1e6));
        let cpu = Spread::of(rounds.iter().map(|(seconds, _)| seconds.cpu / rows * 1e6));
        let bytes = Spread::of(rounds.iter().map(|(_, bytes)| *bytes as f64 / rows));
        let row = vec![
            (*what).to_owned(),
            ENTITIES.to_string(),
            features.to_string(),
            format!("{a_second:.0}"),
            format!("{values:.2}"),
            format!("{cpu:.2}"),
            format!("{:.0}", bytes.median),
        ];
        let seconds: Vec<Seconds> = rounds.iter().map(|(seconds, _)| *seconds).collect();
        let result = json!({
            "what": what, "rows": ENTITIES, "features": features, "rounds": seconds, "rows_per_second": a_second,
            "million_values_per_cpu_second": values, "cpu_micros_per_row": cpu, "store_bytes_per_row": bytes,
        });
        table.push(row, result)?;
    }
    table.note(format!("One row an entity; {ROUNDS} rounds A B A B, each into an empty store, durable when it ends; median (smallest–largest)."));
    table.note("Wall time is the whole of `flow::sync`: scan, newest row of each key, transform, write. The file's size counts free pages too.");
    table.publish()
}

async fn project(derived: &str) -> Result<Project> {
    let mut project = Project::new()?;
    project.define_views(&[(VIEW.to_owned(), 0..FEATURES)], "30d");
    project.define(derived);
    project.write_definitions()?;
    let entities: Vec<i64> = (0..ENTITIES).collect();
    let event_time = vec![Some(project.now - DAY); entities.len()];
    write_parquet(&project.data(&format!("{VIEW}.parquet")), &rows(&entities, event_time, 0..FEATURES, |_| 0)?)?;
    let app = App::open(project.folder())?;
    app.apply(&app.plan().await?, false).await?;
    Ok(project)
}

/// One sync into an empty store: its time, and the size of the store's file afterwards.
fn round(runtime: &Runtime, project: &Project) -> Result<(Seconds, u64)> {
    let store = project.folder().join(STORE);
    if store.exists() {
        fs::remove_file(&store)?;
    }
    let gateway = runtime.block_on(async { App::open(project.folder())?.gateway().await })?;
    let stopwatch = Stopwatch::start()?;
    let synced = runtime.block_on(sync(&gateway, VIEW, Range::Full, &|_| {}))?;
    let seconds = stopwatch.stop()?;
    if synced.rows_written != ENTITIES as u64 {
        return Err(format!("{} rows were written, not {ENTITIES}", synced.rows_written).into());
    }
    drop(gateway);
    Ok((seconds, fs::metadata(store)?.len()))
}
