//! Delta tables on this machine and in a bucket: the port's contract, and what is Delta's own.

mod bucket;
mod features;
mod history;
mod upkeep;
mod writing;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::super::{Error, KnownBy, Maintenance, ObjectStores, OfflineStore, Part, Scan, StoredSources, conformance};
use super::DeltaTables;
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar, Source, SourceKind, Stored, TableVersion};

/// A store of Delta tables under `folder`, and no other.
fn store(folder: &Path) -> StoredSources {
    StoredSources::new(vec![Arc::new(DeltaTables::new(folder.to_owned(), Arc::new(ObjectStores::none())))])
}

fn delta(path: &str) -> Stored {
    Stored::Delta { path: path.to_owned(), as_of: None }
}

fn source_of(name: &str, kind: SourceKind) -> Source {
    let event_time = "t".to_owned();
    Source { name: name.to_owned(), kind, event_time, created_time: None, description: String::new() }
}

/// The source of the table `trips`.
fn trips() -> Source {
    source_of("trips", SourceKind::Stored(delta("trips")))
}

fn trips_as_of(version: TableVersion) -> Source {
    source_of("trips", SourceKind::Stored(Stored::Delta { path: "trips".to_owned(), as_of: Some(version) }))
}

/// Rows `(k, x, t)`: `x` as given, `k` and `t` made of it.
fn rows(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let keys: StringArray = values.iter().map(|value| Some(format!("k{value}"))).collect();
    let times = timestamps(values.iter().map(|value| Some(value * 1_000)).collect());
    batch(vec![("k", Arc::new(keys)), ("x", Arc::new(Int64Array::from(values))), ("t", Arc::new(times))])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

async fn append(store: &StoredSources, id: &str, values: impl IntoIterator<Item = i64>) {
    store.append(&trips(), id, &rows(values)).await.expect("the batch is stored");
}

async fn read_at(store: &StoredSources, source: &Source, scan: &Scan) -> Result<Vec<i64>, Error> {
    let batches: Vec<RecordBatch> = store.scan(source, scan).await?.try_collect().await?;
    let values = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    Ok(values.collect())
}

/// The values of `x`, sorted.
async fn read(store: &StoredSources, source: &Source) -> Result<Vec<i64>, Error> {
    let mut values = read_at(store, source, &wanted()).await?;
    values.sort_unstable();
    Ok(values)
}

fn wanted() -> Scan {
    Scan::of(vec![Field::new("x", DType::One(Scalar::Int64))])
}

/// How the names in the table's log end, by version.
fn log(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("trips/_delta_log")).expect("a log");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The data files in the folder of the table, whether they belong to it or not.
fn data_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder.join("trips")).expect("a table").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".parquet")).collect()
}

async fn check_contract(store: StoredSources, stored: fn(&str) -> Stored) {
    let store = Arc::new(store);
    let (put, define) = (Arc::clone(&store), Arc::clone(&store));
    let count = AtomicUsize::new(0);
    conformance::run(&conformance::Subject {
        store,
        stored,
        widens: false,
        keeps_past: true,
        put: Box::new(move |source, rows| {
            let id = count.fetch_add(1, Ordering::SeqCst).to_string();
            let write = put.append(source, &id, &rows);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(write))
                .expect("the rows are put");
        }),
        define: Box::new(move |sources| define.define(sources)),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_store_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    check_contract(store(folder.path()), delta).await;
}

#[tokio::test]
async fn rows_come_by_when_they_were_written_also_from_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for part in 0..12 {
        append(&store, &part.to_string(), [part]).await;
    }
    let first = read_at(&store, &trips(), &wanted()).await.expect("the scan works");
    let mut table = super::place::Place::of("trips", folder.path(), "trips", &ObjectStores::none())
        .expect("a place")
        .find()
        .await
        .expect("a log")
        .expect("a table");
    table.load(None).await.expect("a table");
    deltalake::checkpoints::create_checkpoint(&table.table, None).await.expect("a checkpoint");
    assert!(log(folder.path()).iter().any(|name| name.ends_with(".checkpoint.parquet")));
    assert_eq!(read_at(&store, &trips(), &wanted()).await.expect("the scan works"), first);
}

#[tokio::test]
async fn files_outside_a_range_are_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "early", 0..10).await;
    let early = data_files(folder.path());
    append(&store, "late", 100..110).await;
    fs::write(folder.path().join("trips").join(&early[0]), "no Parquet").expect("the file can be written");
    let ranged = Scan { from: Some(100_000), ..wanted() };
    assert_eq!(read_at(&store, &trips(), &ranged).await.expect("the late file is whole").len(), 10);
    let error = read(&store, &trips()).await.expect_err("the early file is damaged").to_string();
    assert!(error.starts_with("source trips cannot be read: file "), "{error}");
    assert!(error.contains(&early[0]), "{error}");
}

#[tokio::test]
async fn text_comes_as_plain_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let schema = store.schema(&trips()).await.expect("a schema");
    let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Utf8", "Int64", "Timestamp(µs, \"UTC\")"]);
}
