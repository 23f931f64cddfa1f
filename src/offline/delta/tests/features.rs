//! Tables that others made: features that are not known here, logs and files that are damaged.

use super::*;

/// Adds a commit with these lines to the log, as another program would.
fn commit(folder: &Path, version: u64, lines: &[&str]) {
    let path = folder.join(format!("trips/_delta_log/{version:020}.json"));
    fs::create_dir_all(path.parent().expect("a folder")).expect("a log");
    fs::write(path, lines.join("\n")).expect("a commit");
}

const SCHEMA: &str = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"x\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"t\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}}]}"#;

fn metadata(configuration: &str) -> String {
    format!(
        r#"{{"metaData":{{"id":"b5b3a4a2-9f5e-4b4e-8d6f-0a1b2c3d4e5f","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{SCHEMA}","partitionColumns":[],"configuration":{{{configuration}}},"createdTime":1}}}}"#
    )
}

fn protocol(reader: &str, writer: &str) -> String {
    format!(
        r#"{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[{reader}],"writerFeatures":[{writer}]}}}}"#
    )
}

/// A table without rows that needs these features.
fn table_with(folder: &Path, reader: &str, writer: &str, configuration: &str) {
    commit(folder, 0, &[&protocol(reader, writer), &metadata(configuration)]);
}

async fn refused_to_read(folder: &Path) -> String {
    let error = read(&store(folder), &trips()).await.expect_err("it is refused");
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    error.to_string()
}

#[tokio::test]
async fn features_that_change_what_rows_mean_are_refused_by_name() {
    let unknown = tempfile::tempdir().expect("a folder");
    table_with(unknown.path(), r#""typeWidening""#, r#""typeWidening""#, "");
    let error = refused_to_read(unknown.path()).await;
    assert!(error.contains("typeWidening"), "{error}");

    let mapped = tempfile::tempdir().expect("a folder");
    let legacy = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
    let schema = metadata(r#""delta.columnMapping.mode":"name","delta.columnMapping.maxColumnId":"2""#)
        .replace(
            r#"\"metadata\":{}},{"#,
            r#"\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"c1\"}},{"#,
        )
        .replace(
            r#"\"metadata\":{}}]"#,
            r#"\"metadata\":{\"delta.columnMapping.id\":2,\"delta.columnMapping.physicalName\":\"c2\"}}]"#,
        );
    commit(mapped.path(), 0, &[legacy, &schema]);
    let error = refused_to_read(mapped.path()).await;
    assert_eq!(
        error,
        "source trips cannot be read: trips uses the Delta feature columnMapping, which is not read here; write the \
         table anew with its property delta.columnMapping.mode set to none"
    );
    for error in refused_to_write(mapped.path()).await {
        assert!(error.contains("trips uses the Delta feature columnMapping"), "{error}");
    }
}

/// What everything that writes to the table says.
async fn refused_to_write(folder: &Path) -> Vec<String> {
    let (store, one) = (store(folder), rows([1]));
    let keep = std::time::Duration::from_secs(30 * 24 * 3_600);
    vec![
        store.append(&trips(), "a", &one).await.expect_err("an append").to_string(),
        store.upsert(&trips(), "b", &["t".to_owned()], &one).await.expect_err("an upsert").to_string(),
        store.maintain(&trips(), Maintenance::Compact).await.expect_err("a compaction").to_string(),
        store.maintain(&trips(), Maintenance::Vacuum { keep }).await.expect_err("a vacuum").to_string(),
    ]
}

#[tokio::test]
async fn a_table_of_a_later_protocol_is_refused_by_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let later = r#"{"protocol":{"minReaderVersion":4,"minWriterVersion":8}}"#;
    commit(folder.path(), 0, &[later, &metadata("")]);
    let error = refused_to_read(folder.path()).await;
    assert!(error.contains("trips") && error.contains("reader version 4"), "{error}");
    for error in refused_to_write(folder.path()).await {
        assert!(error.contains("reader version 4"), "{error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let later = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":8}}"#;
    commit(folder.path(), 0, &[later, &metadata("")]);
    assert_eq!(read(&store(folder.path()), &trips()).await.expect("it can be read"), Vec::<i64>::new());
    for error in refused_to_write(folder.path()).await {
        assert!(error.contains("trips is a table of writer version 8, and 7 is the newest that is written"), "{error}");
    }
    assert_eq!(log(folder.path()).len(), 1);
}

#[tokio::test]
async fn deletion_vectors_are_refused_where_there_are_any() {
    let folder = tempfile::tempdir().expect("a folder");
    let feature = r#""deletionVectors""#;
    table_with(folder.path(), feature, feature, r#""delta.enableDeletionVectors":"true""#);
    let store = store(folder.path());
    let two =
        batch(vec![("x", Arc::new(Int64Array::from(vec![1, 2]))), ("t", Arc::new(timestamps(vec![Some(1), Some(2)])))]);
    store.append(&trips(), "a", &two).await.expect("the table may have them and has none");
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [1, 2]);
    let file = data_files(folder.path()).remove(0);
    let commits = log(folder.path());
    let newest: u64 = commits[commits.len() - 1][..20].parse().expect("a version");
    let size = fs::metadata(folder.path().join("trips").join(&file)).expect("a file").len();
    let remove = format!(r#"{{"remove":{{"path":"{file}","dataChange":true,"deletionTimestamp":1}}}}"#);
    let add = format!(
        r#"{{"add":{{"path":"{file}","partitionValues":{{}},"size":{size},"modificationTime":1,"dataChange":true,"stats":"{{\"numRecords\":2}}","deletionVector":{{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{{L","sizeInBytes":40,"cardinality":1}}}}}}"#
    );
    commit(folder.path(), newest + 1, &[&remove, &add]);
    let error = refused_to_read(folder.path()).await;
    assert!(
        error.contains("trips uses the Delta feature deletionVectors, which is not read here; run REORG"),
        "{error}"
    );
    let commits = log(folder.path());
    for error in refused_to_write(folder.path()).await {
        assert!(error.contains("trips uses the Delta feature deletionVectors"), "{error}");
    }
    assert_eq!(log(folder.path()), commits);
}

#[tokio::test]
async fn features_of_writers_are_refused_when_something_is_written() {
    for feature in ["clustering", "rowTracking", "inCommitTimestamp", "identityColumns", "allowColumnDefaults"] {
        let folder = tempfile::tempdir().expect("a folder");
        table_with(folder.path(), "", &format!(r#""{feature}","domainMetadata""#), "");
        let store = store(folder.path());
        assert_eq!(read(&store, &trips()).await.expect("it can be read"), Vec::<i64>::new());
        let error = store.append(&trips(), "a", &rows([1])).await.expect_err("it cannot be written");
        assert!(matches!(error, Error::NotWritable { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("uses the Delta feature {feature}, which is not written")),
            "{error}"
        );
        assert_eq!(log(folder.path()).len(), 1);
    }
}

#[tokio::test]
async fn a_table_for_new_rows_only_takes_new_rows_only() {
    let folder = tempfile::tempdir().expect("a folder");
    table_with(folder.path(), "", r#""appendOnly""#, r#""delta.appendOnly":"true""#);
    let store = store(folder.path());
    let one =
        |x: i64| batch(vec![("x", Arc::new(Int64Array::from(vec![x]))), ("t", Arc::new(timestamps(vec![Some(5)])))]);
    store.append(&trips(), "a", &one(1)).await.expect("a new row");
    let error = store.upsert(&trips(), "b", &["t".to_owned()], &one(2)).await.expect_err("an old row").to_string();
    assert!(error.contains("takes new rows only"), "{error}");
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [1]);
}

#[tokio::test]
async fn a_file_that_is_not_in_the_table_is_refused() {
    for path in ["../elsewhere.parquet", "file:///etc/passwd", "/etc/passwd", "a/../../b.parquet"] {
        let folder = tempfile::tempdir().expect("a folder");
        let add = format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":1,"modificationTime":1,"dataChange":true}}}}"#
        );
        let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
        commit(folder.path(), 0, &[protocol, &metadata(""), &add]);
        let error = refused_to_read(folder.path()).await;
        assert!(error.contains("which is not in its folder"), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for value in 1..=3 {
        append(&store, &value.to_string(), [value]).await;
    }
    let path = |version: u64| folder.path().join(format!("trips/_delta_log/{version:020}.json"));
    let whole = fs::read_to_string(path(2)).expect("a commit");
    for damaged in ["{\"add\":", "no JSON at all", "[1,2]", &whole[..whole.len() / 2]] {
        fs::write(path(2), damaged).expect("written");
        let error = refused_to_read(folder.path()).await;
        assert!(error.starts_with("source trips cannot be read: trips: "), "{damaged}: {error}");
        let error = store.append(&trips(), "more", &rows([4])).await.expect_err("the log is damaged").to_string();
        assert!(error.starts_with("source trips cannot be read: trips: "), "{damaged}: {error}");
    }
    fs::remove_file(path(2)).expect("a commit");
    let error = refused_to_read(folder.path()).await;
    assert!(error.starts_with("source trips cannot be read: trips"), "{error}");
    for version in [0, 1, 3] {
        fs::remove_file(path(version)).expect("a commit");
    }
    fs::write(folder.path().join("trips/_delta_log/readme"), "nothing").expect("written");
    let error = refused_to_read(folder.path()).await;
    assert!(error.ends_with("trips has a log without a whole version in it"), "{error}");
}

#[tokio::test]
async fn a_missing_data_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let file = data_files(folder.path()).remove(0);
    fs::remove_file(folder.path().join("trips").join(&file)).expect("the file");
    let error = refused_to_read(folder.path()).await;
    assert!(error.contains(&file), "{error}");
}

#[tokio::test]
async fn a_folder_without_a_log_is_no_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let error = read(&store, &trips()).await.expect_err("there is nothing");
    assert!(matches!(error, Error::NoFile { .. }), "{error}");
    fs::create_dir(folder.path().join("trips")).expect("a folder");
    let error = read(&store, &trips()).await.expect_err("there is nothing");
    assert_eq!(error.to_string(), "source trips has no file at trips");
    fs::write(folder.path().join("trips/a.parquet"), "rows").expect("a file");
    let wanted = "source trips cannot be read: trips has files, such as a.parquet, but no _delta_log, so it is not a \
                  Delta table; plain Parquet files are a source of type parquet";
    assert_eq!(read(&store, &trips()).await.expect_err("no log").to_string(), wanted);
    assert_eq!(store.append(&trips(), "a", &rows([1])).await.expect_err("no log").to_string(), wanted);
}
