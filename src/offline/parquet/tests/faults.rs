//! A server that fails in the middle of a scan or of a write, and files that change under their readers.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::future::join_all;

use super::super::*;
use super::world::{World, rows, wanted, write};
use crate::catalog::Source;
use crate::error::ErrorKind;
use crate::offline::s3::{Failure, Requests, S3};
use crate::offline::{Maintenance, OfflineStore, Rows};

const FILES: i64 = 8;
const ROWS_OF_A_FILE: i64 = 2_000;
const SHORT: Duration = Duration::from_millis(1_500);

/// A table of several files in a bucket, of which the footers were read already.
async fn known_table(timeout: Duration) -> (World, Source) {
    let world = World::bucket_within(timeout).await;
    let trips = world.source("trips", &[]);
    for file in 0..FILES {
        world.put(&format!("trips/{file}.parquet"), &rows(file * ROWS_OF_A_FILE..(file + 1) * ROWS_OF_A_FILE));
    }
    world.store.schema(&trips).await.expect("the footers can be read");
    (world, trips)
}

fn server(world: &World) -> &S3 {
    world.s3.as_ref().expect("a server")
}

/// A scan that has answered its first rows.
async fn begun(world: &World, source: &Source) -> Rows {
    let mut scan = world.store.scan(source, &wanted()).await.expect("a scan");
    assert!(scan.next().await.expect("a batch").expect("rows").num_rows() > 0);
    scan
}

/// The error that a scan ends with; after it nothing more comes.
async fn end_of(mut scan: Rows) -> Error {
    loop {
        match scan.next().await.expect("a scan that breaks off does not just end") {
            Ok(_) => {}
            Err(error) => {
                assert!(scan.next().await.is_none());
                return error;
            }
        }
    }
}

async fn check_broken_scan(failure: Failure, said: &str) {
    let (world, trips) = known_table(SHORT).await;
    let scan = begun(&world, &trips).await;
    server(&world).fail(failure, Requests::Reads, u64::MAX);
    let started = Instant::now();
    let error = end_of(scan).await;
    assert!(started.elapsed() < 4 * SHORT, "{failure:?} took {:?}", started.elapsed());
    assert!(matches!(error, Error::Unreachable { .. }), "{failure:?}: {error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.starts_with("source trips cannot be reached: file s3://lake/trips/"), "{failure:?}: {text}");
    assert!(text.ends_with(said), "{failure:?}: {text}");
    server(&world).recover();
    assert_eq!(world.all(&trips).await.len() as i64, FILES * ROWS_OF_A_FILE, "the next scan finds it well");
}

#[tokio::test]
async fn a_server_that_fails_in_mid_scan_ends_the_scan_in_time_with_the_files_name() {
    let failures = [
        (Failure::Silence, ""),
        (Failure::Stalled, ""),
        (Failure::CutOff, ""),
        (Failure::Refused(503, "SlowDown"), "SlowDown: Try again later."),
        (Failure::Refused(500, "InternalError"), "InternalError: Try again later."),
    ];
    join_all(failures.map(|(failure, said)| check_broken_scan(failure, said))).await;
}

#[tokio::test]
async fn a_server_that_fails_for_a_while_is_asked_again() {
    let failures = [
        Failure::Refused(503, "SlowDown"),
        Failure::Refused(500, "InternalError"),
        Failure::CutOff,
        Failure::Unanswered,
    ];
    let (world, trips) = known_table(Duration::from_secs(20)).await;
    for failure in failures {
        server(&world).fail(failure, Requests::Reads, 2);
        let before = server(&world).requests();
        assert_eq!(world.all(&trips).await, (0..FILES * ROWS_OF_A_FILE).collect::<Vec<_>>(), "{failure:?}");
        let asked = server(&world).requests() - before;
        server(&world).recover();
        let before = server(&world).requests();
        world.all(&trips).await;
        assert_eq!(asked, server(&world).requests() - before + 2, "{failure:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once_however_often_it_is_sent() {
    let world = World::bucket().await;
    let trips = world.source("trips", &[]);
    world.store.append(&trips, "sunday", &rows([0])).await.expect("the rows are stored");
    server(&world).fail(Failure::Unanswered, Requests::Writes, 1);
    // Where the request was sent again it is done, else nobody knows.
    let or_unknown = |done: Result<(), Error>| {
        assert!(done.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Unavailable), "{done:?}");
    };
    or_unknown(world.store.append(&trips, "monday", &rows([1, 2])).await);
    for _ in 0..2 {
        world.store.append(&trips, "monday", &rows([1, 2])).await.expect("it is there");
    }
    assert_eq!(world.all(&trips).await, [0, 1, 2]);

    let keys = ["x".to_owned(), "t".to_owned()];
    server(&world).fail(Failure::Unanswered, Requests::Writes, 1);
    // An upsert writes two files; whichever of them was lost, the same again completes it.
    or_unknown(world.store.upsert(&trips, "change", &keys, &rows([2, 3])).await);
    for _ in 0..2 {
        world.store.upsert(&trips, "change", &keys, &rows([2, 3])).await.expect("it is done");
    }
    let mut values = world.all(&trips).await;
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2, 3]);

    server(&world).fail(Failure::Unanswered, Requests::Writes, 1);
    or_unknown(world.store.maintain(&trips, Maintenance::Compact).await.map(|_| ()));
    world.store.maintain(&trips, Maintenance::Compact).await.expect("it is done");
    let mut values = world.all(&trips).await;
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_write_that_the_server_has_no_time_for_is_sent_again() {
    let world = World::bucket().await;
    let trips = world.source("trips", &[]);
    server(&world).fail(Failure::Refused(503, "SlowDown"), Requests::Writes, 2);
    world.store.append(&trips, "monday", &rows([1])).await.expect("the rows are stored");
    server(&world).fail(Failure::Refused(503, "SlowDown"), Requests::Writes, u64::MAX);
    let error = world.store.append(&trips, "tuesday", &rows([2])).await.expect_err("it has no time at all");
    assert!(error.to_string().contains("SlowDown: Try again later."), "{error}");
    server(&world).recover();
    assert_eq!(world.all(&trips).await, [1], "nothing of it is there");
}

/// The same rows the other way round: a file as long as the one before, with other values.
fn reversed(file: i64) -> RecordBatch {
    rows((file * ROWS_OF_A_FILE..(file + 1) * ROWS_OF_A_FILE).rev())
}

#[tokio::test]
async fn a_file_that_is_written_anew_while_it_is_read_is_an_error() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        let long_ago = SystemTime::now() - Duration::from_secs(3_600);
        for file in 0..FILES {
            let path = world.path(&format!("trips/{file}.parquet"));
            write(&path, &rows(file * ROWS_OF_A_FILE..(file + 1) * ROWS_OF_A_FILE));
            fs::File::open(&path).and_then(|file| file.set_modified(long_ago)).expect("the file is there");
        }
        let last = format!("trips/{}.parquet", FILES - 1);
        for other in [reversed(FILES - 1), rows(0..3)] {
            let before = fs::read(world.path(&last)).expect("the file is there");
            let scan = begun(&world, &trips).await;
            world.put(&last, &other);
            let error = end_of(scan).await;
            assert!(matches!(error, Error::Changed { .. }), "{error}");
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(&format!("{last} was written anew while it was read")), "{error}");
            fs::write(world.path(&last), before).expect("the file can be written");
            fs::File::open(world.path(&last)).and_then(|file| file.set_modified(long_ago)).expect("the file is there");
        }
        let scan = begun(&world, &trips).await;
        fs::remove_file(world.path(&last)).expect("the file is there");
        let error = end_of(scan).await;
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        assert!(error.to_string().ends_with(&format!("{last} is gone")), "{error}");
    }
}

/// An object that is the whole table is known by its ETag.
#[tokio::test]
async fn an_object_of_another_etag_is_another_object() {
    let world = World::bucket().await;
    world.put("trips/a.parquet", &rows(0..100));
    let one = world.source("trips/a.parquet", &[]);
    let scan = world.store.scan(&one, &wanted()).await.expect("a scan");
    let modified = fs::metadata(world.path("trips/a.parquet")).and_then(|file| file.modified()).expect("a time");
    world.put("trips/a.parquet", &rows((0..100).rev()));
    let written = fs::File::open(world.path("trips/a.parquet")).expect("the file is there");
    written.set_modified(modified).expect("it is ours");
    let error = end_of(scan).await;
    assert!(error.to_string().contains("trips/a.parquet was written anew while it was read"), "{error}");
}
