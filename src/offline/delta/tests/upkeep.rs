//! Compaction and vacuum, and compaction while others write.

use std::time::Duration;

use super::*;
use crate::offline::Maintained;

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test]
async fn small_files_become_one_and_the_rows_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for value in 0..8 {
        append(&store, &value.to_string(), [value]).await;
    }
    let done = store.maintain(&trips(), Maintenance::Compact).await.expect("compacted");
    assert_eq!((done.files_before, done.files_after), (8, 1));
    assert!(done.bytes_after < done.bytes_before, "{done:?}");
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), (0..8).collect::<Vec<_>>());
    append(&store, "3", [3]).await;
    assert_eq!(read(&store, &trips()).await.expect("the scan works").len(), 8, "the batch is still known");
    let again = store.maintain(&trips(), Maintenance::Compact).await.expect("nothing to do");
    assert_eq!((again.files_before, again.files_after), (1, 1));
}

#[tokio::test]
async fn vacuum_deletes_what_no_version_to_be_kept_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    append(&store, "b", [2]).await;
    store.maintain(&trips(), Maintenance::Compact).await.expect("compacted");
    let early = store.maintain(&trips(), Maintenance::Vacuum { keep: DAY }).await.expect_err("too early").to_string();
    assert!(early.contains("trips keeps removed files for 7d"), "{early}");
    assert!(early.contains("to keep them for 1d only, set its property delta.deletedFileRetentionDuration"), "{early}");
    let kept = store.maintain(&trips(), Maintenance::Vacuum { keep: 7 * DAY }).await.expect("vacuumed");
    assert_eq!((kept.files_before, kept.files_after), (3, 3));

    promise(folder.path(), "interval 0 seconds");
    let done = store.maintain(&trips(), Maintenance::Vacuum { keep: Duration::ZERO }).await.expect("vacuumed");
    assert_eq!((done.files_before, done.files_after), (3, 1));
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [1, 2]);
}

/// Sets how long the table keeps removed files, as a person would.
fn promise(folder: &Path, interval: &str) {
    let name = log(folder).into_iter().rfind(|name| name.ends_with(".json")).expect("a commit");
    let newest: u64 = name[..20].parse().expect("a version");
    let first = fs::read_to_string(folder.join(format!("trips/_delta_log/{:020}.json", 0))).expect("a commit");
    let line = first.lines().find(|line| line.starts_with("{\"metaData\"")).expect("metadata");
    let mut metadata: serde_json::Value = serde_json::from_str(line).expect("JSON");
    metadata["metaData"]["configuration"]["delta.deletedFileRetentionDuration"] = interval.into();
    fs::write(folder.join(format!("trips/_delta_log/{:020}.json", newest + 1)), metadata.to_string()).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn compactions_and_upserts_at_once_neither_lose_nor_double_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    for value in 0..6 {
        append(&store(folder.path()), &value.to_string(), [value * 10, value * 10 + 1]).await;
    }
    let compactions = (0..3).map(|_| {
        let path = folder.path().to_owned();
        tokio::spawn(async move { store(&path).maintain(&trips(), Maintenance::Compact).await.map(|_: Maintained| ()) })
    });
    let upserts = (0..3_i64).map(|number| {
        let path = folder.path().to_owned();
        tokio::spawn(async move {
            let (keys, id) = (["k".to_owned(), "t".to_owned()], format!("upsert {number}"));
            store(&path).upsert(&trips(), &id, &keys, &rows([number * 10, 1_000 + number])).await
        })
    });
    let appends = (0..3_i64).map(|number| {
        let path = folder.path().to_owned();
        tokio::spawn(
            async move { store(&path).append(&trips(), &format!("late {number}"), &rows([2_000 + number])).await },
        )
    });
    for done in futures::future::join_all(compactions.chain(upserts).chain(appends)).await {
        done.expect("no panic").expect("it is done in the end");
    }
    let first = (0..6).flat_map(|value| [value * 10, value * 10 + 1]);
    let wanted: Vec<i64> = first.chain(1_000..1_003).chain(2_000..2_003).collect();
    assert_eq!(read(&store(folder.path()), &trips()).await.expect("the scan works"), wanted);
}

#[tokio::test]
async fn a_table_that_is_not_there_has_nothing_to_maintain() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = store(folder.path()).maintain(&trips(), Maintenance::Compact).await.expect_err("there is no table");
    assert!(matches!(error, Error::NoFile { .. }), "{error}");
    assert!(!folder.path().join("trips").exists());
}
