//! PostgreSQL on a real server: what is read, and how.

mod failures;
mod types;
mod writes;

#[path = "../../../tests/servers/postgres.rs"]
mod server;

use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};

use self::server::Postgres;
use super::*;
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar, Source, SourceKind};
use crate::offline::{OfflineStore, Rows, Scan, Snapshot, StoredSources, conformance};
use crate::secret::Secret;

/// A database of its own on the shared server.
struct World {
    server: Arc<Postgres>,
    database: String,
}

impl World {
    fn new() -> Self {
        let server = Postgres::shared();
        let database = server.database();
        Self { server, database }
    }

    fn run(&self, sql: &str) -> String {
        self.server.run(&self.database, sql)
    }

    fn settings(&self) -> Settings {
        Settings {
            name: "warehouse".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.server.port(),
            database: self.database.clone(),
            user: Postgres::USER.to_owned(),
            password: Some(Secret::new(Postgres::PASSWORD)),
            tls: None,
            connections: 4,
            connect_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(120),
        }
    }

    fn tables(&self) -> PostgresTables {
        PostgresTables::new([self.settings()])
    }

    fn store(&self) -> StoredSources {
        StoredSources::new(vec![Arc::new(self.tables())])
    }
}

impl PostgresTables {
    async fn append(&self, name: &str, stored: &Stored, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
        self.write(name, stored, NewRows { batch_id, rows, keys: None }).await
    }

    async fn upsert(
        &self,
        name: &str,
        stored: &Stored,
        batch_id: &str,
        keys: &[String],
        rows: &RecordBatch,
    ) -> Result<(), Error> {
        self.write(name, stored, NewRows { batch_id, rows, keys: Some(keys) }).await
    }
}

fn stored(table: &str) -> Stored {
    Stored::Postgres { connection: "warehouse".to_owned(), schema: "public".to_owned(), table: table.to_owned() }
}

/// Rows of `table` by their column `t`.
fn source(table: &str) -> Source {
    let kind = SourceKind::Stored(stored(table));
    Source { name: table.to_owned(), kind, event_time: "t".to_owned(), created_time: None, description: String::new() }
}

fn columns(names: &[(&str, Scalar)]) -> Scan {
    Scan::of(names.iter().map(|(name, scalar)| Field::new(*name, DType::One(*scalar))).collect())
}

async fn collect(rows: Rows) -> Result<RecordBatch, Error> {
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    let schema = batches.first().map_or_else(|| Arc::new(arrow::datatypes::Schema::empty()), RecordBatch::schema);
    Ok(concat_batches(&schema, &batches).expect("batches of one schema"))
}

async fn read(store: &StoredSources, source: &Source, scan: &Scan) -> Result<RecordBatch, Error> {
    collect(store.scan(source, scan).await?).await
}

async fn integers(store: &StoredSources, source: &Source, scan: &Scan) -> Vec<i64> {
    let rows = read(store, source, scan).await.expect("the scan works");
    if rows.num_rows() == 0 { Vec::new() } else { rows.column(0).as_primitive::<Int64Type>().values().to_vec() }
}

/// All of a table as it is read, before anything is cast.
async fn raw(tables: &PostgresTables, table: &str) -> Result<RecordBatch, Error> {
    let opened = tables.open(table, &stored(table), None).await?.expect("the table is there");
    let frame = SessionContext::new().read_table(opened.provider).expect("a table");
    let batches = frame.collect().await.map_err(|error| match error.find_root() {
        datafusion::error::DataFusionError::External(error) => {
            error.downcast_ref::<Error>().cloned().unwrap_or_else(|| panic!("{error}"))
        }
        other => panic!("{other}"),
    })?;
    let schema = batches.first().map(RecordBatch::schema).expect("rows");
    Ok(concat_batches(&schema, &batches).expect("batches of one schema"))
}

/// Rows `(x, t)`.
fn rows(values: &[(i64, i64)]) -> RecordBatch {
    let (x, t): (Vec<i64>, Vec<Option<i64>>) = values.iter().map(|(x, t)| (*x, Some(*t))).unzip();
    batch(vec![("x", Arc::new(Int64Array::from(x))), ("t", Arc::new(timestamps(t)))])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract() {
    let world = World::new();
    let store = Arc::new(world.store());
    let (put, define) = (Arc::clone(&store), Arc::clone(&store));
    let count = std::sync::atomic::AtomicUsize::new(0);
    conformance::run(&conformance::Subject {
        store,
        stored,
        widens: false,
        keeps_past: false,
        put: Box::new(move |source, rows| {
            let id = format!("put {}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let append = put.append(source, &id, &rows);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(append)).expect("rows are put");
        }),
        define: Box::new(move |sources| define.define(sources)),
    })
    .await;
}

#[tokio::test]
async fn projection_time_range_keys_and_limits_are_asked_of_the_server() {
    let world = World::new();
    world.run(
        "CREATE TABLE trips AS SELECT x::bigint, 'k' || x AS k, x::numeric AS n, to_timestamp(x) AS t
         FROM generate_series(0, 99) AS x",
    );
    let store = world.store();
    let range = Scan { from: Some(10_000_000), until: Some(12_000_000), ..columns(&[("x", Scalar::Int64)]) };
    let plan = store.explain(&source("trips"), &range).await.expect("a plan");
    let asked = "SELECT \"x\", \"t\" FROM \"public\".\"trips\" WHERE \"t\" >= '1970-01-01 00:00:10.000000+00'::timestamptz \
                 AND \"t\" <= '1970-01-01 00:00:12.000000+00'::timestamptz";
    assert!(plan.contains(asked), "{plan}");
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert_eq!(integers(&store, &source("trips"), &range).await, [10, 11, 12]);

    let opened = world.tables().open("trips", &stored("trips"), None).await.expect("it opens").expect("it is there");
    let context = SessionContext::new();
    context.register_table("trips", opened.provider).expect("a table");
    for (condition, asked, count) in [
        ("k IN ('k1', 'k2', 'k''\"\\3', 'k4')", r#""k" = ANY ('{"k1","k2","k''\"\\3","k4"}'::text[])"#, 3),
        ("x IN (5, 6, 7, 8, 300)", r#""x" = ANY ('{"5","6","7","8","300"}'::bigint[])"#, 4),
        ("x < 5 OR k = 'k7'", r#"("x" < '5'::bigint OR "k" = 'k7'::text)"#, 6),
        ("n > 97.5", "FROM \"public\".\"trips\"\n", 2),
        ("k > 'k98'", "FROM \"public\".\"trips\"\n", 1),
        ("k IS NULL", r#""k" IS NULL"#, 0),
    ] {
        let frame = context.sql(&format!("SELECT x FROM trips WHERE {condition}")).await.expect(condition);
        let plan = frame.clone().create_physical_plan().await.expect(condition);
        let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
        assert!(shown.contains(asked), "{condition}: {shown}");
        assert_eq!(frame.count().await.expect(condition), count, "{condition}");
    }
    let limited = context.sql("SELECT x FROM trips LIMIT 3").await.expect("a query");
    let plan = limited.clone().create_physical_plan().await.expect("a plan");
    let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(shown.contains("LIMIT 3"), "{shown}");
    assert_eq!(limited.count().await.expect("rows"), 3);
}

#[tokio::test]
async fn everything_that_is_read_of_a_table_is_of_one_moment() {
    let world = World::new();
    world.run("CREATE TABLE grows AS SELECT 1::bigint AS x, to_timestamp(1) AS t");
    let tables = world.tables();
    let opened = tables.open("grows", &stored("grows"), None).await.expect("it opens").expect("it is there");
    world.run("INSERT INTO grows VALUES (2, to_timestamp(2)); UPDATE grows SET x = x * 10");
    let context = SessionContext::new();
    context.register_table("grows", opened.provider).expect("a table");
    let both = "SELECT a.x + b.x AS x FROM grows a CROSS JOIN grows b";
    let rows = context.sql(both).await.expect("a query").collect().await.expect("rows");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    assert_eq!(integers(&world.store(), &source("grows"), &columns(&[("x", Scalar::Int64)])).await, [10, 20]);
}

#[tokio::test]
async fn rows_come_as_they_lie_whatever_indexes_there_are() {
    let world = World::new();
    world.run(
        "CREATE TABLE laid AS SELECT (x * 7919) % 20000 AS x, to_timestamp((x * 7919) % 20000) AS t
         FROM generate_series(0, 19999) AS x;
         CREATE INDEX ON laid (t); CREATE INDEX ON laid (x) INCLUDE (t); ANALYZE laid",
    );
    let store = world.store();
    let laid: Vec<i64> = (0..20_000).map(|x| (x * 7_919) % 20_000).collect();
    assert_eq!(integers(&store, &source("laid"), &columns(&[("x", Scalar::Int64)])).await, laid);
    let few = Scan { until: Some(50_000_000), ..columns(&[("x", Scalar::Int64)]) };
    let first: Vec<i64> = laid.into_iter().filter(|x| *x <= 50).collect();
    assert_eq!(integers(&store, &source("laid"), &few).await, first);
}

#[tokio::test]
async fn a_recorded_moment_is_of_this_database_or_refused() {
    let world = World::new();
    world.run("CREATE TABLE recorded AS SELECT 1::bigint AS x, to_timestamp(1) AS t");
    let (store, source) = (world.store(), source("recorded"));
    let snapshot = store.snapshot(&source, KnownBy::Content).await.expect("a snapshot");
    assert!(matches!(&snapshot.parts[0].1, Part::Postgres { transaction } if transaction.contains(':')));
    let at = |snapshot: Snapshot| Scan { at: Some(snapshot), ..columns(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(&store, &source, &at(snapshot)).await, [1]);
    let later = Part::Postgres { transaction: "4000000000:4000000000:".to_owned() };
    for part in [later, Part::Delta { version: 3 }] {
        let other = Snapshot { parts: vec![("recorded".to_owned(), part)], queries: Vec::new() };
        let error = read(&store, &source, &at(other)).await.expect_err("it was never so far");
        assert!(matches!(&error, Error::Changed { source_name, .. } if source_name == "recorded"), "{error}");
    }
}

/// Reads in a process of its own, so that nobody else's memory is counted.
#[tokio::test]
async fn memory_stays_flat_however_many_rows_there_are() {
    const CHILD: &str = "LOCKSTEP_TEST_READS_FROM_PORT";
    let highest = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("what the system knows of this process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the highest memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes")
    };
    if let Ok(port) = std::env::var(CHILD) {
        let settings = World::of_port(port.parse().expect("a port"));
        let store = StoredSources::new(vec![Arc::new(PostgresTables::new([settings]))]);
        let scan = columns(&[("x", Scalar::Int64), ("text", Scalar::String)]);
        let mut rows = store.scan(&source("many"), &scan).await.expect("a scan");
        let first = rows.next().await.expect("a batch").expect("rows");
        let (mut count, before) = (first.num_rows(), highest());
        while let Some(batch) = rows.next().await {
            count += batch.expect("rows").num_rows();
        }
        println!("read {count} rows and {} kB", highest() - before);
        return;
    }
    let server = Postgres::shared();
    server.run(
        "postgres",
        "CREATE VIEW many AS SELECT x, repeat('x', 200) || x AS text, to_timestamp(x) AS t
         FROM (SELECT generate_series(1, 1000000) AS x) AS numbers",
    );
    let name = "offline::postgres::tests::memory_stays_flat_however_many_rows_there_are";
    let done = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, server.port().to_string())
        .output()
        .expect("it runs again");
    let told = String::from_utf8_lossy(&done.stdout);
    let grown = told.lines().find_map(|line| line.split_once("read 1000000 rows and ")).unwrap_or_else(|| {
        panic!("{told}\n{}", String::from_utf8_lossy(&done.stderr));
    });
    let grown: u64 = grown.1.trim_end_matches(" kB").parse().expect("kilobytes");
    // The rows themselves are 230 MB.
    assert!(grown < 48 << 10, "{grown} kB more");
}

impl World {
    /// How another process reaches the database `postgres`.
    fn of_port(port: u16) -> Settings {
        Settings {
            name: "warehouse".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            database: "postgres".to_owned(),
            user: Postgres::USER.to_owned(),
            password: Some(Secret::new(Postgres::PASSWORD)),
            tls: None,
            connections: 1,
            connect_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(300),
        }
    }
}
