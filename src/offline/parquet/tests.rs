//! What holds of Parquet files wherever they lie; in `changing` and `reading` what is new with buckets and partitions.

mod changing;
mod faults;
mod reading;
pub(in crate::offline) mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, UnionArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Int64Type, UnionFields};
use futures::{StreamExt, TryStreamExt};

use super::super::s3::S3;
use super::super::{OfflineStore, Scan, StoredSources};
use super::super::{conformance, read_parquet, write_parquet};
use super::*;
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar, Source, SourceKind, Stored};

fn source(name: &str, kind: SourceKind) -> Source {
    let event_time = "t".to_owned();
    Source { name: name.to_owned(), kind, event_time, created_time: None, description: String::new() }
}

fn push_source() -> Source {
    source("pushes", SourceKind::Push { into: Stored::parquet("pushes") })
}

fn rows(values: &[i64]) -> RecordBatch {
    let times = timestamps(values.iter().map(|value| Some(*value)).collect());
    RecordBatch::try_from_iter([
        ("x", Arc::new(Int64Array::from(values.to_vec())) as Arc<dyn Array>),
        ("t", Arc::new(times)),
    ])
    .expect("columns of one length")
}

fn wanted() -> Scan {
    Scan::of(vec![Field::new("x", DType::One(Scalar::Int64))])
}

async fn read(store: &StoredSources, source: &Source) -> Result<Vec<i64>, Error> {
    let batches: Vec<RecordBatch> = store.scan(source, &wanted()).await?.try_collect().await?;
    Ok(batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
}

fn write(path: &Path, values: &[i64]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
    write_parquet(path, &rows(values).schema(), &[rows(values)], &[]).expect("the file can be written");
}

#[tokio::test]
async fn a_parquet_store_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(StoredSources::of_files(folder.path().to_owned()));
    let define = Arc::clone(&store);
    let (root, count) = (folder.path().to_owned(), AtomicUsize::new(0));
    conformance::run(&conformance::Subject {
        store,
        stored: |name| Stored::parquet(name.to_owned()),
        widens: true,
        keeps_past: true,
        put: Box::new(move |source, rows| {
            let Some(Stored::Parquet { path, .. }) = source.kind.stored() else {
                panic!("a query has no files");
            };
            let path = root.join(path).join(format!("{:04}.parquet", count.fetch_add(1, Ordering::SeqCst)));
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            write_parquet(&path, &rows.schema(), &[rows], &[]).expect("the file can be written");
        }),
        define: Box::new(move |sources| define.define(sources)),
    })
    .await;
}

#[tokio::test]
async fn a_parquet_store_in_a_bucket_keeps_the_contract() {
    let s3 = S3::start(&["lake"]).await;
    let buckets = ObjectStores::new(&[("lake".to_owned(), world::reached(&s3))].into()).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let tables = ParquetTables::new(folder.path().to_owned(), Arc::new(buckets));
    let store = Arc::new(StoredSources::new(vec![Arc::new(tables)]));
    let define = Arc::clone(&store);
    let (root, count) = (s3.bucket("lake"), AtomicUsize::new(0));
    conformance::run(&conformance::Subject {
        store,
        stored: |name| Stored::parquet(format!("s3://lake/{name}")),
        widens: true,
        keeps_past: true,
        put: Box::new(move |source, rows| {
            let file = format!("{:04}.parquet", count.fetch_add(1, Ordering::SeqCst));
            world::write(&root.join(&source.name).join(file), &rows);
        }),
        define: Box::new(move |sources| define.define(sources)),
    })
    .await;
}

#[tokio::test]
async fn a_source_is_one_file_or_the_files_of_a_folder_by_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    write(&folder.path().join("data/b.parquet"), &[3]);
    write(&folder.path().join("data/a/year=2024/x*[1]?.parquet"), &[1, 2]);
    write(&folder.path().join("data/c d%20#.parquet"), &[4]);
    write(&folder.path().join("data/_temporary/x.parquet"), &[5]);
    write(&folder.path().join("data/.hidden.parquet"), &[6]);
    fs::write(folder.path().join("data/_SUCCESS"), "").expect("a file");
    fs::write(folder.path().join("data/readme.txt"), "no rows").expect("a file");
    let all = source("all", SourceKind::Stored(Stored::parquet("data")));
    assert_eq!(read(&store, &all).await.expect("the scan works"), [1, 2, 3, 4]);
    let one = source("one", SourceKind::Stored(Stored::parquet("data/c d%20#.parquet")));
    assert_eq!(read(&store, &one).await.expect("the scan works"), [4]);
    let none = source("none", SourceKind::Stored(Stored::parquet("data/nothing.parquet")));
    let error = read(&store, &none).await.expect_err("there is no file");
    assert!(matches!(error, Error::NoFile { .. }), "{error}");
    assert!(error.to_string().ends_with("data/nothing.parquet"), "{error}");
}

#[tokio::test]
async fn files_that_disagree_about_a_column_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    write(&folder.path().join("data/a.parquet"), &[1]);
    let texts: Arc<dyn Array> = Arc::new(arrow::array::StringArray::from(vec!["one"]));
    let other = RecordBatch::try_from_iter([("x", texts)]).expect("one column");
    let path = folder.path().join("data/b.parquet");
    write_parquet(&path, &other.schema(), &[other], &[]).expect("the file can be written");
    let source = source("mixed", SourceKind::Stored(Stored::parquet("data")));
    let error = read(&store, &source).await.expect_err("the types have nothing in common").to_string();
    assert!(error.ends_with("data/b.parquet: column x is string, in the files before it int64"), "{error}");
}

/// Whatever happened to the bytes of a file: the scan fails with the file's name, or gives the rows; it never panics.
#[tokio::test]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    let values: Vec<i64> = (0..5_000).map(|value| value * 7_919 % 5_000).collect();
    write(&folder.path().join("data/a.parquet"), &values);
    let path = folder.path().join("data/b.parquet");
    write(&path, &values);
    let whole = fs::read(&path).expect("the file is there");
    let source = source("damaged", SourceKind::Stored(Stored::parquet("data")));
    let mut failures = 0;
    let cut = [0, 3, 8, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec());
    let flipped = (4..whole.len()).step_by(whole.len() / 150).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        bytes
    });
    for bytes in cut.into_iter().chain(flipped) {
        fs::write(&path, bytes).expect("the file can be written");
        match read(&store, &source).await {
            Ok(rows) => assert_eq!(rows[..5_000], values),
            Err(error) => {
                failures += 1;
                let text = error.to_string();
                assert!(text.starts_with("source damaged cannot be read: file "), "{text}");
                assert!(text.contains("data/b.parquet: "), "{text}");
            }
        }
    }
    assert!(failures > 20, "{failures} failures");
}

#[tokio::test]
async fn a_damaged_file_under_a_query_is_named_with_its_own_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    let path = folder.path().join("data/a.parquet");
    write(&path, &(0..5_000).collect::<Vec<_>>());
    let mut bytes = fs::read(&path).expect("the file is there");
    let zeros = bytes.len() / 2;
    bytes[8..zeros].fill(0);
    fs::write(&path, bytes).expect("the file can be written");
    let stored = source("stored", SourceKind::Stored(Stored::parquet("data")));
    let asked = source("asked", SourceKind::Sql { query: "SELECT x + 1 AS x, t FROM stored".to_owned() });
    store.define(BTreeMap::from([(stored.name.clone(), stored), (asked.name.clone(), asked.clone())]));
    let error = read(&store, &asked).await.expect_err("the pages are gone").to_string();
    assert!(error.starts_with("source stored cannot be read: file "), "{error}");
}

/// The first row group is made unreadable; a range that lies in the second one must not notice.
#[tokio::test]
async fn a_range_skips_the_row_groups_outside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    let path = folder.path().join("a.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1_000)).build();
    let file = fs::File::create(&path).expect("the file can be written");
    let rows = rows(&(0..2_000).collect::<Vec<_>>());
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).expect("a writer");
    writer.write(&rows).expect("the rows can be written");
    let first = writer.close().expect("the file is whole").row_group(0).compressed_size() as usize;
    let mut bytes = fs::read(&path).expect("the file is there");
    bytes[4..first].fill(0xff);
    fs::write(&path, bytes).expect("the file can be written");
    let source = source("half", SourceKind::Stored(Stored::parquet("a.parquet")));
    let ranged = Scan { from: Some(1_500), until: Some(1_502), ..wanted() };
    let batches = store.scan(&source, &ranged).await.expect("the footer is whole").try_collect::<Vec<_>>().await;
    assert_eq!(batches.expect("the second row group is whole")[0].num_rows(), 3);
    assert!(read(&store, &source).await.is_err());
}

#[tokio::test]
async fn batches_are_known_after_a_restart_and_stay_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for (id, value) in [("monday", 1), ("tuesday", 2), ("monday", 3), ("ash-wednesday", 4)] {
        let store = StoredSources::of_files(folder.path().to_owned());
        store.append(&push_source(), id, &rows(&[value])).await.expect("the push is stored");
    }
    let store = StoredSources::of_files(folder.path().to_owned());
    assert_eq!(read(&store, &push_source()).await.expect("the scan works"), [1, 2, 4]);
}

#[tokio::test]
async fn concurrent_pushes_are_all_stored_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    let source = push_source();
    let pushes = (0..40).map(|number: i64| {
        let (store, source) = (&store, &source);
        async move { store.append(source, &format!("batch {}", number % 20), &rows(&[number % 20])).await }
    });
    let stored: Result<Vec<()>, Error> = futures::stream::iter(pushes).buffer_unordered(8).try_collect().await;
    stored.expect("every push is stored");
    let mut values = read(&store, &push_source()).await.expect("the scan works");
    values.sort_unstable();
    assert_eq!(values, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_push_that_fails_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    store.append(&push_source(), "good", &rows(&[1])).await.expect("the push is stored");
    let error = store.append(&push_source(), "bad", &unwritable()).await.expect_err("Parquet has no unions");
    assert!(matches!(error, Error::Write { .. }), "{error}");
    let names = file_names(&folder.path().join("pushes"));
    assert_eq!(names.len(), 1, "{names:?}");
    store.append(&push_source(), "bad", &rows(&[2])).await.expect("the id is still free");
    assert_eq!(read(&store, &push_source()).await.expect("the scan works"), [1, 2]);
}

/// The names of the files in a folder, locks left out.
fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

/// A column that Parquet cannot hold.
fn unwritable() -> RecordBatch {
    let fields = UnionFields::try_new([0], [ArrowField::new("a", DataType::Int64, false)]).expect("one field");
    let values: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1]));
    let union = UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8]), None, vec![values]).expect("a union");
    RecordBatch::try_from_iter([("u", Arc::new(union) as Arc<dyn Array>)]).expect("one column")
}

#[tokio::test]
async fn a_pushed_file_says_of_which_batch_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::of_files(folder.path().to_owned());
    store.append(&push_source(), "monday", &rows(&[1])).await.expect("the push is stored");
    let names = file_names(&folder.path().join("pushes"));
    assert_eq!(names.len(), 1, "{names:?}");
    let file = read_parquet(&folder.path().join("pushes").join(&names[0])).expect("the file can be read");
    assert_eq!(file.metadata.get("lockstep.batch_id").map(String::as_str), Some("monday"));
}
