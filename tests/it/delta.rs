//! Delta tables: through a whole gateway, side by side with Python, and killed at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use lockstep::catalog::{DType, Field, Scalar, Source, SourceKind, Stored};
use lockstep::offline::{DeltaTables, Maintenance, ObjectStores, OfflineStore, Scan, StoredSources};
use serde_json::json;

use crate::command::{json_of, refused, succeed};
use crate::light::{DAY, NOW, batch, floats, floats_of, integers, texts, times, write_rows};
use crate::world::{project_folder, repository};

/// A store of the Delta tables in `folder`, and no other.
fn store(folder: &Path) -> StoredSources {
    StoredSources::new(vec![Arc::new(DeltaTables::new(folder.to_owned(), Arc::new(ObjectStores::none())))])
}

fn table(path: &str, event_time: &str) -> Source {
    Source {
        name: path.to_owned(),
        kind: SourceKind::Stored(Stored::Delta { path: path.to_owned(), as_of: None }),
        event_time: event_time.to_owned(),
        created_time: None,
        description: String::new(),
    }
}

async fn scan(store: &StoredSources, source: &Source, columns: &[(&str, Scalar)]) -> Vec<RecordBatch> {
    let columns = columns.iter().map(|(name, scalar)| Field::new(*name, DType::One(*scalar))).collect();
    let rows = store.scan(source, &Scan::of(columns)).await.expect("the table can be read");
    rows.try_collect().await.expect("its rows can be read")
}

/// An integer column of all rows, sorted.
async fn sorted(store: &StoredSources, source: &Source, column: &str) -> Vec<i64> {
    let batches = scan(store, source, &[(column, Scalar::Int64)]).await;
    let values = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values
}

const DEFINITIONS: &str = "
entities: [{name: driver, join_keys: [{name: driver, type: int64}]}]
sources:
  - {name: trips, type: delta, path: data/trips, event_time: at}
  - {name: ratings, type: push, delta: data/ratings, event_time: at}
  - {name: first_trips, type: delta, path: data/trips, version: 1, event_time: at}
feature_views:
  - {name: fares, entities: [driver], source: trips, features: [{name: fare, type: float64}]}
  - {name: rated, entities: [driver], source: ratings, features: [{name: rating, type: float64}]}
  - {name: first_fares, entities: [driver], source: first_trips, features: [{name: fare, type: float64}]}
feature_services: [{name: model, features: ['fares:fare', 'rated:rating'], full_feature_names: true}]
";

fn drivers(fares: &[f64], column: &str, at: i64) -> RecordBatch {
    let numbers: Vec<i64> = (0..fares.len() as i64).collect();
    batch(&[("driver", integers(&numbers)), (column, floats(fares)), ("at", times(&vec![at; fares.len()]))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_reads_pushes_and_trains_with_delta_tables() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path();
    let data = store(&project.join("data"));
    let trips = table("trips", "at");
    data.append(&trips, "monday", &drivers(&[1.0, 2.0], "fare", NOW - 2 * DAY)).await.expect("written");
    data.append(&trips, "tuesday", &drivers(&[10.0], "fare", NOW - DAY)).await.expect("written");
    write_rows(&project.join("ratings.parquet"), &drivers(&[4.5, 3.5], "rating", NOW - DAY));
    let labels = batch(&[("driver", integers(&[0, 1, 0])), ("event_timestamp", times(&[NOW, NOW, NOW - 2 * DAY]))]);
    write_rows(&project.join("labels.parquet"), &labels);

    let value = |feature: &str, driver: i64| {
        json_of(project, &["get", feature, &format!("driver={driver}")])[0]["value"].clone()
    };
    let project = project.to_owned();
    tokio::task::spawn_blocking({
        let project = project.clone();
        move || {
            succeed(&project, &["apply"]);
            succeed(&project, &["sync", "fares"]);
            succeed(&project, &["sync", "first_fares"]);
            succeed(&project, &["push", "ratings", "ratings.parquet"]);
            let train = ["train", "model", "--labels", "labels.parquet", "--to", "set.parquet"];
            succeed(&project, &train);
        }
    })
    .await
    .expect("the commands");
    assert_eq!(value("fares:fare", 0), 10.0);
    assert_eq!(value("first_fares:fare", 0), 1.0, "as of version 1");
    assert_eq!(value("rated:rating", 1), 3.5);
    assert_eq!(sorted(&data, &table("ratings", "at"), "driver").await, [0, 1]);
    let set = lockstep::offline::read_parquet(&project.join("set.parquet")).expect("a training set");
    let column = |name: &str| {
        let column = set.batches[0].column_by_name(name).expect("a column").clone();
        column.as_primitive::<arrow::datatypes::Float64Type>().iter().collect::<Vec<_>>()
    };
    assert_eq!(column("fares__fare"), [Some(10.0), Some(2.0), Some(1.0)]);
    assert_eq!(column("rated__rating"), [Some(4.5), Some(3.5), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_tie_in_a_table_are_served_as_they_are_trained() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path().to_owned();
    let (data, trips) = (store(&project.join("data")), table("trips", "at"));
    // The larger value is first for one driver and last for the other, in files and within them.
    for (batch, fares) in [("a", [9.0, 1.0]), ("b", [5.0, 2.0]), ("c", [1.0, 3.0])] {
        data.append(&trips, batch, &drivers(&fares, "fare", NOW)).await.expect("written");
    }
    let labels = batch(&[("driver", integers(&[0, 1])), ("event_timestamp", times(&[NOW, NOW]))]);
    write_rows(&project.join("labels.parquet"), &labels);
    let compared = tokio::task::spawn_blocking(move || {
        succeed(&project, &["apply"]);
        succeed(&project, &["sync", "fares"]);
        succeed(&project, &["train", "model", "--labels", "labels.parquet", "--to", "set.parquet"]);
        let served = ["0", "1"]
            .map(|driver| json_of(&project, &["get", "fares:fare", &format!("driver={driver}")])[0]["value"].as_f64());
        let set = lockstep::offline::read_parquet(&project.join("set.parquet")).expect("a training set");
        (served.to_vec(), floats_of(&set.batches[0], "fares__fare"))
    });
    let (served, trained) = compared.await.expect("the commands");
    assert_eq!(trained, [Some(9.0), Some(3.0)], "the larger values");
    assert_eq!(served, trained);
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_set_is_a_delta_table_of_one_commit_that_python_reads() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path().to_owned();
    let (data, trips) = (store(&project.join("data")), table("trips", "at"));
    data.append(&trips, "monday", &drivers(&[1.0, 2.0], "fare", NOW - DAY)).await.expect("written");
    data.append(&table("ratings", "at"), "monday", &drivers(&[4.5], "rating", NOW - DAY)).await.expect("written");
    let weights: ArrayRef = Arc::new(arrow::array::UInt32Array::from(vec![7, 8, u32::MAX]));
    let labels = batch(&[
        ("driver", integers(&[0, 1, 0])),
        ("event_timestamp", times(&[NOW, NOW, NOW - 2 * DAY])),
        ("weight", weights),
    ]);
    write_rows(&project.join("labels.parquet"), &labels);
    tokio::task::spawn_blocking(move || {
        succeed(&project, &["apply"]);
        let before = names(&project);
        let words = ["train", "model", "--labels", "labels.parquet", "--digest-column", "--to", "delta:set"];
        let trained = json_of(&project, &words);
        assert_eq!((&trained["rows"], &trained["path"]), (&json!(3), &json!("set")), "{trained}");
        let made: Vec<String> = names(&project).into_iter().filter(|name| !before.contains(name)).collect();
        assert_eq!(made, ["set", "set.manifest.json"], "nothing else is left");
        assert_eq!(names(&project.join("set/_delta_log")), ["00000000000000000000.json"]);
        let manifest = fs::read_to_string(project.join("set.manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(manifest["table"], json!({"kind": "delta", "version": 0}));
        python("trained", &project.join("set"));
        assert!(succeed(&project, &["train", "verify", "set.manifest.json"]).contains("equal: 3 rows, bit for bit"));

        let told = refused(&project, &words, 2);
        assert!(
            told.contains("table set cannot be made: there is a Delta table already; name another folder"),
            "{told}"
        );
        let told = refused(&project, &[&words[..6], &["delta:"]].concat(), 2);
        assert!(told.contains("name the folder that it is to have, as in delta:training"), "{told}");
        fs::write(project.join("file"), "rows").expect("a file");
        let told = refused(&project, &[&words[..6], &["delta:file"]].concat(), 2);
        assert!(told.contains("table file cannot be made: there is something already"), "{told}");
    })
    .await
    .expect("the commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_set_that_cannot_be_a_delta_table_leaves_nothing() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path().to_owned();
    let (data, trips) = (store(&project.join("data")), table("trips", "at"));
    data.append(&trips, "monday", &drivers(&[1.0, 2.0], "fare", NOW - DAY)).await.expect("written");
    data.append(&table("ratings", "at"), "monday", &drivers(&[4.5], "rating", NOW - DAY)).await.expect("written");
    tokio::task::spawn_blocking(move || {
        succeed(&project, &["apply"]);
        let refuse = |column: ArrayRef| {
            let rows = [("driver", integers(&[0])), ("event_timestamp", times(&[NOW])), ("mark", column)];
            write_rows(&project.join("labels.parquet"), &batch(&rows));
            let before = names(&project);
            let told = refused(&project, &["train", "model", "--labels", "labels.parquet", "--to", "delta:set"], 2);
            assert_eq!(names(&project), before, "{told}");
            told
        };
        let told = refuse(Arc::new(arrow::array::Time64MicrosecondArray::from(vec![5])));
        assert!(told.contains("table set cannot be made: column mark is"), "{told}");
        assert!(told.contains("which a Delta table has no type for"), "{told}");
        let told = refuse(Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX])));
        assert!(told.contains("column mark"), "{told}");
    })
    .await
    .expect("the commands");
}

/// Runs one command of `tests/clients/delta_tables.py` on a table.
fn python(command: &str, folder: &Path) {
    let python = std::env::var_os("LOCKSTEP_PYTHON")
        .expect("LOCKSTEP_PYTHON is not set: run bash tests/run, which installs them");
    let script = repository().join("tests/clients/delta_tables.py");
    let ran = Command::new(python).arg(script).arg(command).arg(folder).output().expect("Python");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("done."), "{command}: {}\n{out}\n{error}", ran.status);
}

/// Rows as `delta_tables.py` has them.
fn rated(drivers: &[i64], rating: f64, note: &str, more: &[(&str, ArrayRef)]) -> RecordBatch {
    let first_of_january = 1_767_225_600_000_000;
    let days: Vec<String> = drivers.iter().map(|driver| format!("2026-01-{:02}", 1 + driver / 2)).collect();
    let at: Vec<i64> = drivers.iter().map(|driver| first_of_january + driver / 2 * DAY).collect();
    let mut columns = vec![
        ("driver", integers(drivers)),
        ("rating", floats(&vec![rating; drivers.len()])),
        ("note", texts(&vec![note; drivers.len()])),
        ("day", texts(&days)),
        ("at", times(&at)),
    ];
    columns.extend(more.iter().map(|(name, column)| (*name, Arc::clone(column))));
    batch(&columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_lockstep_read_write_and_merge_one_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rated");
    let (store, source) = (store(folder.path()), table("rated", "at"));
    let turn = |command: &'static str| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || python(command, &path))
    };
    turn("create").await.expect("created");
    assert_eq!(sorted(&store, &source, "driver").await, (0..8).collect::<Vec<_>>());
    let schema = store.schema(&source).await.expect("a schema");
    let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Int64", "Float64", "Utf8", "Utf8", "Timestamp(µs, \"UTC\")"], "the partition's column too");

    let tips: ArrayRef = floats(&[0.5, 0.25]);
    store.append(&source, "append", &rated(&[8, 9], 4.0, "new", &[("tip", tips)])).await.expect("appended");
    let keys = ["driver".to_owned(), "at".to_owned()];
    store.upsert(&source, "upsert", &keys, &rated(&[1], 5.0, "corrected", &[])).await.expect("upserted");
    turn("check").await.expect("checked");

    turn("merge").await.expect("merged");
    assert_eq!(sorted(&store, &source, "driver").await, (0..12).collect::<Vec<_>>());
    let batches = scan(&store, &source, &[("driver", Scalar::Int64), ("rating", Scalar::Float64)]).await;
    let ratings: BTreeMap<i64, String> = batches
        .iter()
        .flat_map(|batch| {
            let drivers = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            let ratings = batch.column(1).as_primitive::<arrow::datatypes::Float64Type>().values().to_vec();
            drivers.into_iter().zip(ratings.into_iter().map(|rating| rating.to_string()))
        })
        .collect();
    assert_eq!((&*ratings[&0], &*ratings[&1], &*ratings[&8], &*ratings[&11]), ("1", "5", "2", "2"));

    // Both append at once; nobody's rows are lost.
    let python = turn("append");
    for number in 0..20 {
        let rows = rated(&[200 + number], 1.0, "from here", &[]);
        store.append(&source, &format!("at once {number}"), &rows).await.expect("appended");
    }
    python.await.expect("Python appended");
    let all: Vec<i64> = (0..12).chain(100..120).chain(200..220).collect();
    assert_eq!(sorted(&store, &source, "driver").await, all);

    turn("optimize").await.expect("optimized");
    assert_eq!(sorted(&store, &source, "driver").await, all);
    store.append(&source, "at once 3", &rated(&[203], 1.0, "again", &[])).await.expect("known");
    assert_eq!(sorted(&store, &source, "driver").await, all, "the batch is known from Python's checkpoint");
}

/// Batches that the writer below writes, and the rows of each.
const BATCHES: i64 = 90;
const BATCH_ROWS: i64 = 50;
/// Names the folder and the first batch for a writer that runs in a process of its own.
const WRITER_FOLDER: &str = "LOCKSTEP_TEST_DELTA_FOLDER";
const WRITER_FIRST: &str = "LOCKSTEP_TEST_DELTA_FIRST";

async fn write_batches(folder: &Path, first: i64) {
    let (store, source) = (store(folder), table("killed", "at"));
    for number in first..BATCHES {
        let rows: Vec<i64> = (0..BATCH_ROWS).map(|row| number * BATCH_ROWS + row).collect();
        let at: Vec<i64> = rows.iter().map(|row| NOW + row).collect();
        let rows =
            batch(&[("batch", integers(&vec![number; rows.len()])), ("row", integers(&rows)), ("at", times(&at))]);
        let id = format!("batch {number}");
        match number % 3 {
            0 => store.upsert(&source, &id, &["row".to_owned(), "at".to_owned()], &rows).await.expect("upserted"),
            _ => store.append(&source, &id, &rows).await.expect("appended"),
        }
        if number % 8 == 7 {
            store.maintain(&source, Maintenance::Compact).await.expect("compacted");
        }
    }
}

/// The batches in the table, each of which must be whole.
async fn whole_batches(folder: &Path) -> Vec<i64> {
    let rows = sorted(&store(folder), &table("killed", "at"), "row").await;
    let batches: Vec<i64> = rows.iter().step_by(BATCH_ROWS as usize).map(|row| row / BATCH_ROWS).collect();
    let whole: Vec<i64> = batches.iter().flat_map(|batch| batch * BATCH_ROWS..(batch + 1) * BATCH_ROWS).collect();
    assert_eq!(rows, whole, "every batch is there once and whole, or not at all");
    batches
}

/// By itself it is the undisturbed run; the test below starts it in a process of its own and kills it.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_of_many_batches_writes_each_of_them_once() {
    let given = std::env::var_os(WRITER_FOLDER).map(PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let path = given.as_deref().unwrap_or(folder.path());
    let first = std::env::var(WRITER_FIRST).map_or(0, |first| first.parse().expect("a number"));
    write_batches(path, first).await;
    assert_eq!(whole_batches(path).await, (0..BATCHES).collect::<Vec<_>>());
}

/// How many commits, and how many files of any kind, are in the table's folder.
fn files_of(table: &Path) -> (usize, usize) {
    let count = |folder: PathBuf| fs::read_dir(folder).map_or(0, Iterator::count);
    let commits = count(table.join("_delta_log"));
    (commits, commits + count(table.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed_twenty_times_leaves_whole_batches_and_the_next_one_completes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("killed");
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kills = 0;
    while kills < 20 {
        let written = if path.exists() { whole_batches(folder.path()).await } else { Vec::new() };
        assert_eq!(written, (0..written.len() as i64).collect::<Vec<_>>(), "batches come one after the other");
        // It goes over what is there once more, from a few batches before the end.
        let first = (written.len() as i64 - 3).max(0);
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["delta::a_writer_of_many_batches_writes_each_of_them_once", "--exact"])
            .env(WRITER_FOLDER, folder.path())
            .env(WRITER_FIRST, first.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program runs");
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (by_commits, growth) = ((chance >> 40).is_multiple_of(2), 1 + (chance >> 50) as usize % 4);
        let size = || if by_commits { files_of(&path).0 } else { files_of(&path).1 };
        let (before, started) = (size(), Instant::now());
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        while size() < before + growth && writer.try_wait().expect("its state").is_none() {
            tick.tick().await;
            assert!(started.elapsed() < Duration::from_secs(120), "the writer does not write");
        }
        // What it is doing now is a matter of chance: encoding, writing a file, or committing.
        writer.kill().expect("killed");
        let ended = writer.wait().expect("its end");
        assert_eq!(ended.code(), None, "it was killed and did not end by itself: {ended}");
        kills += 1;
    }
    write_batches(folder.path(), 0).await;
    assert_eq!(whole_batches(folder.path()).await, (0..BATCHES).collect::<Vec<_>>());
}
