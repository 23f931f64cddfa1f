//! Partitions, pruning, and what is said of buckets and files that cannot be read.

use std::fs;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;

use super::super::*;
use super::world::{DAY, World, partition, reached, rows, wanted, write};
use crate::catalog::{DType, Field, Scalar};
use crate::error::ErrorKind;
use crate::offline::s3::{S3, SECRET_ACCESS_KEY};
use crate::offline::{Bucket, KeyFilter, OfflineStore, Scan, StoredSources};

fn keys(values: Vec<Option<&str>>) -> Option<KeyFilter> {
    let values: ArrayRef = Arc::new(StringArray::from(values));
    Some(KeyFilter { join_keys: vec![Field::new("k", DType::One(Scalar::String))], values: vec![values] })
}

#[tokio::test]
async fn folders_give_columns_and_files_that_cannot_be_asked_for_stay_closed() {
    for world in World::both().await {
        let by = [partition("area", Scalar::Int64, None), partition("city", Scalar::String, None)];
        let trips = world.source("trips", &by);
        world.put("trips/area=8/city=K%C3%B6ln/a.parquet", &rows(0..3));
        world.put("trips/area=9/city=__HIVE_DEFAULT_PARTITION__/a.parquet", &rows(3..6));
        world.put("trips/area=10/city=Bonn/deeper/a.parquet", &rows(6..9));
        let schema = world.store.schema(&trips).await.expect("the files can be read");
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["x", "k", "t", "area", "city"]);
        let area = Scan::of(vec![Field::new("area", DType::One(Scalar::Int64))]);
        // By path, as text: 10 before 8.
        assert_eq!(world.read(&trips, &area).await.expect("a scan"), [10, 10, 10, 8, 8, 8, 9, 9, 9]);
        let before = world.counted(&trips);
        let join_keys = vec![Field::new("area", DType::One(Scalar::Int64))];
        let eight: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![8]));
        let only = Scan { keys: Some(KeyFilter { join_keys, values: vec![eight] }), ..wanted() };
        assert_eq!(world.read(&trips, &only).await.expect("a scan"), [0, 1, 2]);
        let after = world.counted(&trips);
        assert_eq!((after.files_read - before.files_read, after.files_pruned - before.files_pruned), (1, 2));
    }
}

#[tokio::test]
async fn days_in_the_folders_keep_files_of_other_days_closed() {
    for world in World::both().await {
        let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
        world.store.append(&trips, "a week", &rows(0..24 * 7)).await.expect("the rows are stored");
        assert_eq!(world.files("trips").len(), 7);
        assert!(world.files("trips")[2].starts_with("day=1970-01-03/000000000000-"), "{:?}", world.files("trips"));
        let range = Scan { from: Some(2 * DAY), until: Some(4 * DAY - 1), ..wanted() };
        assert_eq!(world.read(&trips, &range).await.expect("a scan"), (48..96).collect::<Vec<_>>());
        let read = world.counted(&trips);
        assert_eq!((read.files_read, read.files_pruned, read.row_groups_read), (2, 5, 2), "{read:?}");
        assert!(read.bytes_read > 0);
    }
}

#[tokio::test]
async fn a_row_in_the_folder_of_another_day_is_an_error() {
    let world = World::local();
    let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
    world.put("trips/day=1970-01-02/a.parquet", &rows(24..49));
    let error = world.read(&trips, &wanted()).await.expect_err("the last hour is of the third day").to_string();
    assert!(error.contains("day=1970-01-02/a.parquet: its folder is day=1970-01-02, and it has rows"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_no_partition_is_named() {
    let world = World::local();
    let trips = world.source("trips", &[partition("day", Scalar::Date, None)]);
    world.put("trips/day=yesterday/a.parquet", &rows(0..3));
    let error = world.read(&trips, &wanted()).await.expect_err("yesterday is no date");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("day=yesterday/a.parquet: its folder day=yesterday: "), "{error}");
}

#[tokio::test]
async fn row_groups_and_pages_without_an_asked_row_are_skipped_and_counted() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        let values = rows((0..1_000).map(|hour| hour * 3));
        let other = rows((0..1_000).map(|hour| hour * 3 + 1));
        let path = world.path("trips/a.parquet");
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let properties = ::parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(1_000))
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(100)
            .build();
        let file = fs::File::create(&path).expect("the file can be written");
        let mut writer =
            ::parquet::arrow::ArrowWriter::try_new(file, values.schema(), Some(properties)).expect("a writer");
        writer.write(&values).expect("rows");
        writer.write(&other).expect("rows");
        writer.close().expect("the file is whole");
        let one = Scan { keys: keys(vec![Some("k1"), None, Some("nowhere")]), ..wanted() };
        assert_eq!(world.read(&trips, &one).await.expect("a scan").len(), 1_000);
        let read = world.counted(&trips);
        assert_eq!((read.row_groups_read, read.row_groups_pruned), (1, 1), "{read:?}");
        let hours =
            Scan { from: Some(30 * DAY / 24), until: Some(33 * DAY / 24), keys: keys(vec![Some("k0")]), ..wanted() };
        assert_eq!(world.read(&trips, &hours).await.expect("a scan"), [30, 33]);
        assert!(world.counted(&trips).pages_pruned > read.pages_pruned, "{:?}", world.counted(&trips));
    }
}

#[tokio::test]
async fn a_snapshot_is_read_again_or_the_file_that_changed_is_named() {
    let worlds = World::both().await.into_iter().map(|world| (world, KnownBy::Content));
    for (world, by) in worlds.chain(World::both().await.into_iter().map(|world| (world, KnownBy::State))) {
        let trips = world.source("trips", &[]);
        world.put("trips/a.parquet", &rows(0..3));
        world.put("trips/b.parquet", &rows(3..6));
        let snapshot = world.store.snapshot(&trips, by).await.expect("a snapshot");
        world.put("trips/c.parquet", &rows(6..9));
        assert_eq!(world.all(&trips).await.len(), 9);
        let then = Scan { at: Some(snapshot.clone()), ..wanted() };
        assert_eq!(world.read(&trips, &then).await.expect("a scan"), (0..6).collect::<Vec<_>>());
        let (_, Part::Parquet { files }) = &snapshot.parts[0] else { panic!("{snapshot:?}") };
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.parquet", "b.parquet"]);
        assert_eq!(files[0].content.starts_with("etag:"), world.s3.is_some() || by == KnownBy::State);
        for change in [Some(&rows(30..33)), None] {
            match change {
                // As long as it was, with other values.
                Some(other) => write(&world.path("trips/b.parquet"), other),
                None => fs::remove_file(world.path("trips/b.parquet")).expect("the file is there"),
            }
            let error = world.read(&trips, &then).await.expect_err("b is not what it was");
            assert!(matches!(error, Error::Changed { .. }), "{error}");
            assert!(error.to_string().contains("trips/b.parquet "), "{error}");
        }
    }
}

#[tokio::test]
async fn a_table_in_a_bucket_can_be_one_object() {
    let world = World::bucket().await;
    world.put("trips/a.parquet", &rows(0..3));
    let one = world.source("trips/a.parquet", &[]);
    assert_eq!(world.all(&one).await, [0, 1, 2]);
    let snapshot = world.store.snapshot(&one, KnownBy::Content).await.expect("a snapshot");
    let then = Scan { at: Some(snapshot), ..wanted() };
    assert_eq!(world.read(&one, &then).await.expect("a scan"), [0, 1, 2]);
    let error = world.store.append(&one, "more", &rows(3..4)).await.expect_err("it is one file");
    assert!(matches!(error, Error::NotWritable { .. }), "{error}");
    let nothing = world.source("nothing", &[]);
    let error = world.read(&nothing, &wanted()).await.expect_err("there is nothing");
    assert_eq!(error.to_string(), "source nothing has no file at s3://lake/nothing");
}

#[tokio::test]
async fn footers_are_read_once() {
    let world = World::bucket().await;
    let s3 = world.s3.as_ref().expect("a server");
    let trips = world.source("trips", &[]);
    for file in 0..5 {
        world.put(&format!("trips/{file}.parquet"), &rows(file..file + 1));
    }
    world.store.schema(&trips).await.expect("the files can be read");
    let before = s3.requests();
    world.store.schema(&trips).await.expect("the files can be read");
    let again = s3.requests() - before;
    assert!(again <= 2, "{again} requests: the listings of the state and of the files are enough");
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let world = World::bucket().await;
    let trips = world.source("trips", &[]);
    world.put("trips/a.parquet", &rows(0..1_000));
    world.put("trips/b.parquet", &rows(0..1_000));
    let path = world.path("trips/b.parquet");
    let whole = fs::read(&path).expect("the file is there");
    let mut zeroed = whole.clone();
    zeroed[8..whole.len() / 2].fill(0);
    for bytes in [&whole[..whole.len() / 2], &whole[..3], &zeroed] {
        fs::write(&path, bytes).expect("the object can be written");
        let error = world.read(&trips, &wanted()).await.expect_err("it is damaged");
        let text = error.to_string();
        assert!(text.starts_with("source trips cannot be read: file s3://lake/trips/b.parquet: "), "{text}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

/// Asks a bucket that was set up in this way for a table.
async fn asked(bucket: &str, settings: Option<Bucket>) -> Error {
    let settings = settings.map(|settings| (bucket.to_owned(), settings));
    let buckets = ObjectStores::new(&settings.into_iter().collect()).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoredSources::new(vec![Arc::new(ParquetTables::new(folder.path().to_owned(), Arc::new(buckets)))]);
    let stored = Stored::parquet(format!("s3://{bucket}/trips"));
    let kind = crate::catalog::SourceKind::Stored(stored);
    let (name, event_time) = ("trips".to_owned(), "t".to_owned());
    let source = crate::catalog::Source { name, kind, event_time, created_time: None, description: String::new() };
    store.schema(&source).await.expect_err("it cannot be read")
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_is_an_error_that_says_what_to_do() {
    let s3 = S3::start(&["lake"]).await;
    let error = asked("lake", None).await;
    assert!(error.to_string().contains("bucket lake is not known; write object_stores:"), "{error}");

    let error = asked("sea", Some(reached(&s3))).await;
    assert!(error.to_string().contains("s3://sea/trips: there is no such bucket"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);

    for (id, secret) in [("lockstep", "wrong"), ("nobody", SECRET_ACCESS_KEY)] {
        let secret_access_key = crate::secret::Secret::new(secret);
        let login = Some(crate::offline::BucketLogin { access_key_id: id.to_owned(), secret_access_key });
        let error = asked("lake", Some(Bucket { login, ..reached(&s3) })).await.to_string();
        assert!(error.contains("s3://lake/trips") && error.contains("access is refused"), "{error}");
        assert!(error.contains("look at access_key_id and secret_access_key under object_stores"), "{error}");
        assert!(!error.contains(SECRET_ACCESS_KEY), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_is_given_up_in_time() {
    let s3 = S3::start(&["lake"]).await;
    s3.fall_silent();
    let timeout = Duration::from_millis(300);
    let started = Instant::now();
    let error = asked("lake", Some(Bucket { timeout, ..reached(&s3) })).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("s3://lake/trips"), "{error}");

    let gone = Bucket { endpoint: Some("http://127.0.0.1:9".to_owned()), timeout, ..reached(&s3) };
    let error = asked("lake", Some(gone)).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

/// Rows with the times `t`, numbered from 0.
fn at(t: ArrayRef) -> RecordBatch {
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values(0..t.len() as i64));
    RecordBatch::try_from_iter_with_nullable([("x", x, true), ("t", t, true)]).expect("columns of one length")
}

#[tokio::test]
async fn times_at_the_ends_of_the_numbers_are_exact_and_those_beyond_are_refused() {
    for world in World::both().await {
        let micros = world.source("micros", &[]);
        let all = [i64::MIN, -1, 0, 8_210_298_412_800_000_000, i64::MAX];
        world.put("micros/a.parquet", &at(Arc::new(TimestampMicrosecondArray::from(all.to_vec()))));
        for (x, time) in (0..).zip(all) {
            let moment = Scan { from: Some(time), until: Some(time), ..wanted() };
            assert_eq!(world.read(&micros, &moment).await.expect("a scan"), [x], "{time}");
        }
        let nanos = world.source("nanos", &[]);
        let times = TimestampNanosecondArray::from(vec![Some(i64::MIN), Some(-1), None, Some(i64::MAX)]);
        world.put("nanos/a.parquet", &at(Arc::new(times)));
        let batches = world.store.scan(&nanos, &wanted()).await.expect("a scan");
        let batches: Vec<RecordBatch> = batches.try_collect().await.expect("rows");
        let times = batches[0].column(1).as_primitive::<TimestampMicrosecondType>();
        let expected = [-9_223_372_036_854_776, -1, 9_223_372_036_854_775];
        assert_eq!(times.values(), &expected, "down to the microsecond, without the null");
        let far = Scan { from: Some(9_223_372_036_854_775), until: Some(i64::MAX), ..wanted() };
        assert_eq!(world.read(&nanos, &far).await.expect("a scan"), [3]);
    }
    let world = World::local();
    let of_units: [(&str, ArrayRef); 2] = [
        ("seconds", Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]))),
        ("millis", Arc::new(TimestampMillisecondArray::from(vec![0, i64::MIN]))),
    ];
    for (name, times) in of_units {
        let source = world.source(name, &[]);
        world.put(&format!("{name}/a.parquet"), &at(times));
        let error = world.read(&source, &wanted()).await.expect_err("there is no such microsecond");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.starts_with(&format!("column t of source {name} is timestamp")), "{text}");
        assert!(text.ends_with("is not a time in range"), "{text}");
    }
}

#[tokio::test]
async fn a_file_without_rows_and_a_narrower_column_change_nothing() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
        world.put("trips/a.parquet", &at(Arc::clone(&times)).slice(0, 0));
        assert_eq!(world.all(&trips).await, Vec::<i64>::new());
        world.put("trips/b.parquet", &at(Arc::clone(&times)));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let narrow = RecordBatch::try_from_iter([("x", narrow), ("t", times)]).expect("columns of one length");
        world.put("trips/c.parquet", &narrow);
        assert_eq!(world.all(&trips).await, [0, 7]);
    }
}

#[tokio::test]
async fn what_only_looks_like_a_parquet_file_is_named() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        world.put("trips/a.parquet", &rows(0..3));
        fs::write(world.path("trips/b.csv"), "x,t\n1,2\n").expect("a file");
        assert_eq!(world.all(&trips).await, [0, 1, 2], "other files are left out");
        for not_parquet in ["", "x,t\n1,2\n", "PAR1PAR1"] {
            fs::write(world.path("trips/b.parquet"), not_parquet).expect("a file");
            let error = world.read(&trips, &wanted()).await.expect_err("it is none");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains("trips/b.parquet: "), "{error}");
        }
    }
}
