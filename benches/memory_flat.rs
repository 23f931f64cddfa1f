//! The memory of the real `lockstep` stays within a stated bound, however much it reads: a PostgreSQL table, a history
//! that is joined, a history that is synced; each at its size and at a tenth of it.

use std::fmt::Write;

use lockstep::app::Project as App;
use serde_json::json;

use crate::Result;
use crate::measure::{entities, runtime};
use crate::pit::{Case, LARGE, MACHINE, SERVICE};
use crate::process::{Taken, lockstep};
use crate::report::Table;
use crate::store::PostgresServer;
use crate::sync::{VIEW, project, sync};
use crate::synthetic::{JOIN_KEY, Project};

pub const POSTGRES: &str = "reading PostgreSQL";
pub const JOIN: &str = "joining labels to a history";
pub const SYNC: &str = "syncing Parquet";
/// The bounds, in MB of 10⁶ bytes.
pub const POSTGRES_MB: f64 = 500.0;
pub const JOIN_MB: f64 = 4_000.0;
pub const SYNC_MB: f64 = 1_000.0;

/// Rows of PostgreSQL, of entities that are few beside them: what sync keeps of each is not what is measured.
const POSTGRES_ROWS: u64 = entities(10_000_000);
const POSTGRES_ENTITIES: u64 = 10_000;
const POSTGRES_FEATURES: usize = 10;
/// Rows that are synced, each of an entity of its own.
const SYNC_ROWS: u64 = entities(5_000_000);
const SYNC_FEATURES: usize = 10;
/// Beside the size itself.
const SMALLER: u64 = 10;

/// One of the three, at two sizes.
struct Flat {
    what: &'static str,
    bound_mb: f64,
    /// Rows and what they took, the smaller size first.
    runs: [(u64, Taken); 2],
}

pub fn run() -> Result<()> {
    let header = ["what", "rows", "seconds", "CPU-seconds", "peak MB", "bound MB", "verdict"];
    let mut table = Table::new("memory_flat", &header);
    let postgres = PostgresServer::start()?;
    let version = postgres.version()?;
    push(&read_postgres(&postgres)?, &mut table)?;
    drop(postgres);
    push(&join()?, &mut table)?;
    push(&sync_rows()?, &mut table)?;
    table.note(format!(
        "The real command, peak of its resident memory from start to end, as `time -v` shows it. PostgreSQL {version}: `lockstep sync` of {POSTGRES_ENTITIES} entities with {POSTGRES_FEATURES} float64 features. \
         Join: `lockstep train` of {} labels with {} features. Sync: one row an entity, {SYNC_FEATURES} features, into the embedded store.",
        LARGE.labels, LARGE.features
    ));
    table.publish()
}

fn push(flat: &Flat, table: &mut Table) -> Result<()> {
    for (rows, taken) in &flat.runs {
        let peak_mb = taken.peak_bytes as f64 / 1e6;
        let share = peak_mb / flat.bound_mb;
        let verdict = match share <= 1.0 {
            true => format!("met: {share:.2} × the bound"),
            false => format!("**missed**: {share:.2} × the bound"),
        };
        let row = vec![
            flat.what.to_owned(),
            rows.to_string(),
            format!("{:.1}", taken.wall),
            format!("{:.1}", taken.cpu),
            format!("{peak_mb:.0}"),
            format!("{:.0}", flat.bound_mb),
            verdict,
        ];
        table.push(row, json!({"what": flat.what, "rows": rows, "taken": taken, "bound_mb": flat.bound_mb}))?;
    }
    Ok(())
}

fn read_postgres(postgres: &PostgresServer) -> Result<Flat> {
    let tables = [("readings_tenth", POSTGRES_ROWS / SMALLER), ("readings", POSTGRES_ROWS)];
    let mut project = Project::new()?;
    project.configure(&postgres.yaml("bench"))?;
    let mut definitions = "sources:\n".to_owned();
    for (table, _) in tables {
        let _ = writeln!(
            definitions,
            "  - {{name: {table}_rows, type: postgres, connection: bench, table: {table}, event_time: event_time}}"
        );
    }
    definitions.push_str("feature_views:\n");
    for (table, rows) in tables {
        fill(postgres, table, rows)?;
        let features: Vec<String> =
            (0..POSTGRES_FEATURES).map(|feature| format!("{{name: f_{feature}, type: float64}}")).collect();
        let _ = writeln!(
            definitions,
            "  - {{name: {table}, entities: [customer], source: {table}_rows, ttl: 30d, features: [{}]}}",
            features.join(", ")
        );
    }
    project.define(&definitions);
    project.write_definitions()?;
    runtime()?.block_on(async {
        let app = App::open(project.folder())?;
        app.apply(&app.plan().await?, false).await?;
        Ok::<_, crate::Error>(())
    })?;
    let run = |(table, rows): (&str, u64)| sync(&project, table, POSTGRES_ENTITIES).map(|taken| (rows, taken));
    Ok(Flat { what: POSTGRES, bound_mb: POSTGRES_MB, runs: [run(tables[0])?, run(tables[1])?] })
}

/// Each row is a second after the one before, of the next entity.
fn fill(postgres: &PostgresServer, table: &str, rows: u64) -> Result<()> {
    let feature = |feature: usize| format!("sin(number * {}) as f_{feature}", feature + 1);
    let features: Vec<String> = (0..POSTGRES_FEATURES).map(feature).collect();
    postgres.ask(&format!(
        "create table {table} as select number % {POSTGRES_ENTITIES} as {JOIN_KEY}, \
         timestamptz '2016-01-01 00:00:00Z' + number * interval '1 second' as event_time, {} \
         from generate_series(0::bigint, {rows} - 1) number; analyze {table}",
        features.join(", ")
    ))?;
    Ok(())
}

fn join() -> Result<Flat> {
    let run = |history: u64| -> Result<(u64, Taken)> {
        let case = Case { history, bounds: &[MACHINE], ..LARGE };
        let project = runtime()?.block_on(case.project())?;
        project.configure("offline_store: {memory: 1GiB}")?;
        let labels = Case::labels_in(&project).display().to_string();
        let to = project.data("training.parquet").display().to_string();
        let (taken, said) = lockstep(project.folder(), &["train", SERVICE, "--labels", &labels, "--to", &to])?;
        match said["rows"].as_u64() == Some(case.labels) {
            true => Ok((history, taken)),
            false => Err(format!("{} labels were asked: {said}", case.labels).into()),
        }
    };
    let runs = [run(LARGE.history / SMALLER)?, run(LARGE.history)?];
    Ok(Flat { what: JOIN, bound_mb: JOIN_MB, runs })
}

fn sync_rows() -> Result<Flat> {
    let run = |rows: u64| -> Result<(u64, Taken)> {
        let project = runtime()?.block_on(project(Project::EMBEDDED, rows, SYNC_FEATURES, ""))?;
        project.configure("sync: {memory_mib: 256}")?;
        Ok((rows, sync(&project, VIEW, rows)?))
    };
    let runs = [run(SYNC_ROWS / SMALLER)?, run(SYNC_ROWS)?];
    Ok(Flat { what: SYNC, bound_mb: SYNC_MB, runs })
}
