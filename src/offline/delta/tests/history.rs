//! Older versions: by number, by time, by what was recorded; and those that are gone.

use super::*;

fn number(version: u64) -> Source {
    trips_as_of(TableVersion::Number(version))
}

/// Sets when the commit of a version was written.
fn written_at(folder: &Path, version: u64, seconds: u64) {
    let path = folder.join(format!("trips/_delta_log/{version:020}.json"));
    let file = fs::File::options().write(true).open(path).expect("a commit");
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).expect("a time");
}

#[tokio::test]
async fn a_version_is_read_by_its_number_or_by_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for value in 1..=3 {
        append(&store, &value.to_string(), [value]).await;
    }
    assert_eq!(read(&store, &number(2)).await.expect("version 2"), [1, 2]);
    assert_eq!(read(&store, &number(0)).await.expect("version 0"), Vec::<i64>::new());
    for version in 0..=3 {
        written_at(folder.path(), version, 1_000 + version * 10);
    }
    let at = |seconds: i64| trips_as_of(TableVersion::Time(seconds * 1_000_000));
    assert_eq!(read(&store, &at(1_020)).await.expect("version 2"), [1, 2]);
    assert_eq!(read(&store, &at(1_029)).await.expect("version 2"), [1, 2]);
    assert_eq!(read(&store, &at(5_000)).await.expect("the newest"), [1, 2, 3]);
    let error = read(&store, &at(999)).await.expect_err("there was nothing").to_string();
    assert_eq!(
        error,
        "source trips cannot be read: trips has no version of 1970-01-01T00:16:39Z; the oldest commit left is of \
         1970-01-01T00:16:40Z"
    );
    let error = read(&store, &number(9)).await.expect_err("it is not there yet").to_string();
    assert_eq!(error, "source trips cannot be read: trips has no version 9 yet, its newest is 3");
}

#[tokio::test]
async fn a_snapshot_is_read_again_whatever_came_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", 0..5).await;
    let snapshot = store.snapshot(&trips(), KnownBy::Content).await.expect("a snapshot");
    assert_eq!(snapshot.parts, [("trips".to_owned(), Part::Delta { version: 1 })]);
    let at = Scan { at: Some(snapshot), ..wanted() };
    let before = read_at(&store, &trips(), &at).await.expect("the scan works");
    append(&store, "b", 5..9).await;
    store.maintain(&trips(), Maintenance::Compact).await.expect("compacted");
    assert_eq!(read_at(&store, &trips(), &at).await.expect("the scan works"), before);
    assert_eq!(read(&store, &trips()).await.expect("the scan works").len(), 9);
    fs::remove_dir_all(folder.path().join("trips")).expect("the table can be removed");
    let error = read_at(&store, &trips(), &at).await.expect_err("it is gone");
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

#[tokio::test]
async fn a_version_whose_files_are_gone_is_refused_before_a_row_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let first = data_files(folder.path());
    append(&store, "b", [2]).await;
    store.maintain(&trips(), Maintenance::Compact).await.expect("compacted");
    fs::remove_file(folder.path().join("trips").join(&first[0])).expect("a file of version 1");
    let error = store.scan(&number(2), &wanted()).await.err().expect("it was vacuumed");
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    let wanted = format!("version 2 of trips was vacuumed away: its file {} is gone", first[0]);
    assert!(error.to_string().ends_with(&wanted), "{error}");
    assert_eq!(read(&store, &trips()).await.expect("the newest is whole"), [1, 2]);
}

#[tokio::test]
async fn a_version_before_the_log_begins_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for value in 0..100 {
        append(&store, &value.to_string(), [value]).await;
    }
    let names = log(folder.path());
    let checkpoint = names.iter().find(|name| name.ends_with(".checkpoint.parquet")).expect("a checkpoint");
    let version: u64 = checkpoint[..20].parse().expect("a version");
    for older in 0..version {
        fs::remove_file(folder.path().join(format!("trips/_delta_log/{older:020}.json"))).expect("a commit");
    }
    assert_eq!(read(&store, &trips()).await.expect("the newest is whole").len(), 100);
    append(&store, "7", [7_000]).await;
    assert_eq!(
        read(&store, &trips()).await.expect("the scan works").len(),
        100,
        "batch 7 is known from the checkpoint"
    );
    let error = read(&store, &number(3)).await.expect_err("its commits are gone").to_string();
    assert!(error.contains("the log of trips begins after version 3; the oldest commit left is"), "{error}");
}

#[tokio::test]
async fn what_is_read_as_of_a_version_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let error = store.append(&number(1), "b", &rows([2])).await.expect_err("the past is over").to_string();
    assert_eq!(
        error,
        "rows cannot be added to source trips: it is read as of version 1; define a source without that to write to \
         the table"
    );
}
