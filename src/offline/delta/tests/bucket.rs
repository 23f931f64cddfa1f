//! Tables in a bucket: nothing but the store's own "create, unless it is there" keeps writers apart.

use std::time::{Duration, Instant};

use super::*;
use crate::error::ErrorKind;
use crate::offline::Bucket;
use crate::offline::parquet::tests::world::reached;
use crate::offline::s3::{Failure, Requests, S3};

/// A store of the Delta tables in the bucket of this server, with connections of its own.
fn store_of(bucket: Bucket) -> StoredSources {
    let buckets = ObjectStores::new(&[("lake".to_owned(), bucket)].into()).expect("a bucket");
    StoredSources::new(vec![Arc::new(DeltaTables::new("nowhere".into(), Arc::new(buckets)))])
}

fn in_bucket(path: &str) -> Stored {
    delta(&format!("s3://lake/{path}"))
}

fn rides() -> Source {
    source_of("rides", SourceKind::Stored(in_bucket("rides")))
}

fn keys() -> Vec<String> {
    vec!["k".to_owned(), "t".to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_store_in_a_bucket_keeps_the_contract() {
    let s3 = S3::start(&["lake"]).await;
    check_contract(store_of(reached(&s3)), in_bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_a_bucket_is_made_changed_compacted_and_vacuumed() {
    let s3 = S3::start(&["lake"]).await;
    let store = || store_of(reached(&s3));
    for value in 0..4 {
        store().append(&rides(), &value.to_string(), &rows([value])).await.expect("the batch is stored");
    }
    store().upsert(&rides(), "change", &keys(), &rows([3, 4])).await.expect("the rows are replaced");
    store().append(&rides(), "2", &rows([2])).await.expect("the batch is known");
    assert_eq!(read(&store(), &rides()).await.expect("a scan"), (0..5).collect::<Vec<_>>());
    let first = Stored::Delta { path: "s3://lake/rides".to_owned(), as_of: Some(TableVersion::Number(2)) };
    let first = source_of("first", SourceKind::Stored(first));
    assert_eq!(read(&store(), &first).await.expect("a scan"), [0, 1], "version 0 has no rows");

    let done = store().maintain(&rides(), Maintenance::Compact).await.expect("compacted");
    assert_eq!(done.files_after, 1, "{done:?}");
    assert_eq!(read(&store(), &rides()).await.expect("a scan"), (0..5).collect::<Vec<_>>());
    let table = s3.bucket("lake").join("rides");
    fs::write(table.join("left-behind.parquet"), "of a writer that was killed").expect("an object");
    let old = std::time::SystemTime::now() - Duration::from_secs(30 * 24 * 3_600);
    fs::File::open(table.join("left-behind.parquet")).and_then(|file| file.set_modified(old)).expect("an object");
    let keep = Duration::from_secs(8 * 24 * 3_600);
    let done = store().maintain(&rides(), Maintenance::Vacuum { keep }).await.expect("vacuumed");
    assert_eq!(done.files_before - done.files_after, 1, "{done:?}");
    assert!(!table.join("left-behind.parquet").exists());
    assert_eq!(read(&store(), &rides()).await.expect("a scan"), (0..5).collect::<Vec<_>>());
    assert_eq!(read(&store(), &first).await.expect("a scan"), [0, 1], "it was not to be vacuumed yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_lose_no_row_in_a_bucket() {
    let s3 = S3::start(&["lake"]).await;
    // Each with a store of its own, as other processes would be; every append comes twice; the first makes the table.
    let appends = (0..12_i64).map(|number| {
        let store = store_of(reached(&s3));
        tokio::spawn(async move { store.append(&rides(), &format!("batch {}", number % 6), &rows([number % 6])).await })
    });
    for done in futures::future::join_all(appends).await {
        done.expect("no panic").expect("every batch is stored");
    }
    assert_eq!(read(&store_of(reached(&s3)), &rides()).await.expect("a scan"), (0..6).collect::<Vec<_>>());
    let upserts = (0..3_i64).map(|number| {
        let store = store_of(reached(&s3));
        tokio::spawn(async move {
            store.upsert(&rides(), &format!("upsert {number}"), &keys(), &rows([3, 10 + number])).await
        })
    });
    let compactions = (0..2).map(|_| {
        let store = store_of(reached(&s3));
        tokio::spawn(async move { store.maintain(&rides(), Maintenance::Compact).await.map(|_| ()) })
    });
    for done in futures::future::join_all(upserts.chain(compactions)).await {
        done.expect("no panic").expect("it is done in the end");
    }
    let wanted: Vec<i64> = (0..6).chain(10..13).collect();
    assert_eq!(read(&store_of(reached(&s3)), &rides()).await.expect("a scan"), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_in_the_table_once() {
    let s3 = S3::start(&["lake"]).await;
    let store = store_of(reached(&s3));
    store.append(&rides(), "first", &rows([1])).await.expect("the batch is stored");
    for (with, value) in [(Requests::Writes, 2), (Requests::Commits, 3)] {
        s3.fail(Failure::Unanswered, with, 1);
        // Where the request was sent again it is done, else nobody knows.
        let done = store.append(&rides(), &format!("{with:?}"), &rows([value])).await;
        assert!(done.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Unavailable), "{done:?}");
        for _ in 0..2 {
            store.append(&rides(), &format!("{with:?}"), &rows([value])).await.expect("it is there");
        }
        s3.fail(Failure::Unanswered, with, 1);
        let id = format!("change {with:?}");
        let done = store.upsert(&rides(), &id, &keys(), &rows([value, 10 * value])).await;
        assert!(done.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Unavailable), "{done:?}");
        for _ in 0..2 {
            store.upsert(&rides(), &id, &keys(), &rows([value, 10 * value])).await.expect("it is there");
        }
    }
    s3.fail(Failure::Refused(503, "SlowDown"), Requests::Writes, 2);
    store.append(&rides(), "slow", &rows([4])).await.expect("it is sent again");
    assert_eq!(read(&store, &rides()).await.expect("a scan"), [1, 2, 3, 4, 20, 30]);
}

async fn check_broken_scan(failure: Failure) {
    let s3 = S3::start(&["lake"]).await;
    let timeout = Duration::from_millis(1_500);
    let store = store_of(Bucket { timeout, ..reached(&s3) });
    for part in 0..2 {
        let rows = rows(part * 1_000..(part + 1) * 1_000);
        store.append(&rides(), &part.to_string(), &rows).await.expect("the batch is stored");
    }
    let mut scan = store.scan(&rides(), &wanted()).await.expect("a scan");
    s3.fail(failure, Requests::Reads, u64::MAX);
    let started = Instant::now();
    let error = loop {
        match scan.try_next().await {
            Ok(batch) => assert!(batch.is_some(), "{failure:?}: a scan that breaks off does not just end"),
            Err(error) => break error,
        }
    };
    assert!(started.elapsed() < 4 * timeout, "{failure:?} took {:?}", started.elapsed());
    assert!(matches!(error, Error::Unreachable { .. }), "{failure:?}: {error}");
    assert!(error.to_string().starts_with("source rides cannot be reached: "), "{error}");
    // Neither the log nor anything else can be read; nothing is written.
    let error = store.append(&rides(), "later", &rows([1])).await.expect_err("the log cannot be read");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{failure:?}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_in_mid_scan_ends_the_scan_of_a_table() {
    let failures = [Failure::Silence, Failure::Stalled, Failure::CutOff, Failure::Refused(503, "SlowDown")];
    futures::future::join_all(failures.map(check_broken_scan)).await;
}
