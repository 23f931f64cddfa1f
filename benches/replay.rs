//! The proof that serving does not drift, at size: requests of the taxi example are served and logged, and all of them
//! are computed again; and once more with a plugin that remembers, which must be caught.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use lockstep::app::{Project, read_rows};
use lockstep::cast;
use lockstep::catalog::Selection;
use lockstep::clock::{Deadline, Micros};
use lockstep::flow::replay::{Replayed, replay};
use lockstep::flow::serve::{WhenUnreachable, prepare, serve};
use lockstep::flow::sync::{Range, sync, syncable_views};
use lockstep::gateway::Gateway;
use lockstep::plan::{InputKind, PlanInput};
use lockstep::request_log::{self, files};
use lockstep::transform::{Reuse, Settings, Transforms};
use serde_json::json;

use crate::Result;
use crate::measure::{entities, runtime};
use crate::report::{Table, root};

const REQUESTS: u64 = entities(100_000);
/// The day after the last trip of the example.
const AS_OF: Micros = 1_483_142_400_000_000;
const DEADLINE: Duration = Duration::from_secs(10);
/// While the queue of the log is full nothing is served, so that every request is in it.
const PAUSE: Duration = Duration::from_millis(1);

/// A view whose plugin adds the number of rows that it has seen to a fare.
const IMPURE: &str = "
derived_views:
  - {name: fare_guess, plugin: fault_impure, inputs: {x: 'company_stats:avg_fare_30d'}}
feature_services:
  - {name: guessing_model, full_feature_names: true, features: [company_stats:avg_fare_30d, fare_guess, trip_quote]}
";

/// What one run found and took.
struct Run {
    found: Replayed,
    serve_seconds: f64,
    replay_seconds: f64,
    log_mb: f64,
    dropped: u64,
}

pub fn run() -> Result<()> {
    let header =
        ["plugins", "requests", "values", "computed", "differ", "training differs", "requests/s", "log MB", "replay s"];
    let mut table = Table::new("replay", &header);
    for (what, service, definitions, warm) in
        [("of the example", "tip_model_v1", "", false), ("one remembers", "guessing_model", IMPURE, true)]
    {
        let run = runtime()?.block_on(one(service, definitions, warm))?;
        let (found, trained) = (&run.found, run.found.training.clone().unwrap_or_default());
        if warm == (found.differ == 0) {
            return Err(format!("{what}: {} of {} values differ", found.differ, found.values).into());
        }
        for cell in found.cells.iter().take(3) {
            eprintln!("{cell:?}");
        }
        let row = vec![
            what.to_owned(),
            found.requests.to_string(),
            found.values.to_string(),
            found.computed.to_string(),
            found.differ.to_string(),
            format!("{} ({} by the transform)", trained.differ, trained.transform),
            format!("{:.0}", found.requests as f64 / run.serve_seconds),
            format!("{:.1}", run.log_mb),
            format!("{:.1}", run.replay_seconds),
        ];
        let result = json!({
            "plugins": what, "requests": found.requests, "values": found.values, "differ": found.differ,
            "training_differ": trained.differ, "serve_seconds": run.serve_seconds, "log_mb": run.log_mb,
            "replay_seconds": run.replay_seconds, "dropped": run.dropped,
        });
        table.push(row, result)?;
    }
    table.note(
        "Requests of one row, entities and request fields those of the example's labels, served in process, one after the \
         other, every one of them logged. Replay: every answer computed again, and a training set of the same rows compared.",
    );
    table.note(
        "One remembers: the plugin `fault_impure`, kept warm, with the audit of warm instances off. A replay uses a fresh \
         instance and finds it.",
    );
    table.publish()
}

async fn one(service: &str, definitions: &str, warm: bool) -> Result<Run> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let project = project(folder.path(), definitions)?;
    let planned = project.plan().await?;
    project.apply(&planned, false).await?;
    let gateway = Arc::into_inner(project.gateway().await?).ok_or("the gateway is shared already")?;
    let gateway = if warm { kept_warm(gateway)? } else { gateway };
    for view in syncable_views(&gateway) {
        sync(&gateway, &view, Range::Full, &|_| {}).await?;
    }
    let log = folder.path().join("log");
    let settings = request_log::Settings { share: 1.0, folder: log.clone(), bytes_max: 4 << 30, sensitive: false };
    gateway.request_log.open(settings)?;
    let labels = read_rows(&folder.path().join("data/labels.parquet"))?;
    let started = Instant::now();
    serve_all(&gateway, service, &labels).await?;
    let serve_seconds = started.elapsed().as_secs_f64();
    gateway.request_log.close();
    let dropped = gateway.request_log.counts.dropped.load(Ordering::Relaxed);

    let log_mb = fs::read_dir(&log)?.map(|file| Ok(file?.metadata()?.len())).sum::<Result<u64>>()? as f64 / 1e6;
    let started = Instant::now();
    let again = project.gateway_offline_at(1).await?;
    let mut found = Replayed::default();
    for file in files(&log)? {
        replay(&again, &file, true, &mut found).await?;
    }
    Ok(Run { found, serve_seconds, replay_seconds: started.elapsed().as_secs_f64(), log_mb, dropped })
}

fn project(folder: &Path, definitions: &str) -> Result<Project> {
    let example = root().join("examples/chicago_taxi");
    for name in ["features", "data"] {
        fs::create_dir(folder.join(name))?;
    }
    for file in ["features/taxi.yaml", "features/trips.yaml", "data/trips.parquet", "data/labels.parquet"] {
        fs::copy(example.join(file), folder.join(file))?;
    }
    if !definitions.is_empty() {
        fs::write(folder.join("features/impure.yaml"), definitions)?;
    }
    let plugins = root().join("plugins/built");
    let config = format!("project: chicago_taxi\nplugins: {}\nonline_store: {{type: memory}}\n", plugins.display());
    fs::write(folder.join("lockstep.yaml"), config)?;
    Ok(Project::open(folder)?)
}

/// The same gateway with a stage that keeps every instance and looks at none of them twice.
fn kept_warm(gateway: Gateway) -> Result<Gateway> {
    let settings = Settings { reuse: Reuse::Always, compare_one_in: 0, ..Settings::default() };
    let stage = Transforms::start(settings)?;
    for view in gateway.applied.load().catalog.derived_views() {
        let transform = &view.transform;
        let component = fs::read(root().join(format!("plugins/built/{}.wasm", transform.plugin)))?;
        let (digest, _) = stage.load(&transform.plugin, &component)?;
        let outputs: Vec<String> = transform.outputs.iter().map(|output| output.name.clone()).collect();
        stage.bind(&transform.plugin, digest, &transform.parameters, Some(&outputs))?;
    }
    Ok(Gateway { transforms: Arc::new(stage), ..gateway })
}

async fn serve_all(gateway: &Gateway, service: &str, labels: &RecordBatch) -> Result<()> {
    let selection = Selection::Service { name: service.to_owned(), full_feature_names: None };
    let prepared = prepare(gateway, &selection)?;
    let column = |name: &str| labels.column_by_name(name).ok_or_else(|| format!("the labels have no column {name}"));
    let mut columns: Vec<ArrayRef> = Vec::new();
    for input in &prepared.plan.inputs {
        columns.push(cast::exactly(column(&input.field.name)?, input.field.dtype)?);
    }
    let counts = &gateway.request_log.counts;
    let mut row = 0;
    while counts.requests.load(Ordering::Relaxed) < REQUESTS {
        let dropped = counts.dropped.load(Ordering::Relaxed);
        row = (row + 1) % labels.num_rows();
        let has_no_key =
            |(column, input): (&ArrayRef, &PlanInput)| input.kind == InputKind::JoinKey && column.is_null(row);
        if columns.iter().zip(&prepared.plan.inputs).any(has_no_key) {
            continue;
        }
        let inputs = columns.iter().map(|column| column.slice(row, 1)).collect();
        let deadline = Deadline::after(DEADLINE);
        serve(gateway, prepared.clone(), inputs, 1, Some(AS_OF), WhenUnreachable::Fail, deadline).await?;
        if counts.dropped.load(Ordering::Relaxed) > dropped {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
