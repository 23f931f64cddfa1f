use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::limits::SYNC_RUNS_KEPT;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    (folder, path)
}

fn plugin(name: &str, bytes: &[u8]) -> PluginFile {
    PluginFile {
        name: name.to_owned(),
        digest: Digest::of(bytes),
        bytes: bytes.to_vec(),
        beside: PluginTexts::default(),
    }
}

fn version(content: &str) -> NewVersion {
    NewVersion {
        project: "credit".to_owned(),
        catalog_hash: Digest::of(content.as_bytes()),
        applied_by: "ana@host".to_owned(),
        applied_at: 1_700_000_000_000_000,
        definitions: vec![
            DefinitionFile { name: "views.yaml".to_owned(), text: content.to_owned() },
            DefinitionFile { name: "entities.yaml".to_owned(), text: "# ü 💡\n".to_owned() },
        ],
        plugins: vec![plugin("ratio", b"\0asm ratio"), plugin("bucket", b"\0asm bucket")],
        services: vec![ServiceShape { service: "scores".to_owned(), shape: content.to_owned() }],
        summary: vec!["+ view \"companies\"".to_owned()],
    }
}

fn recorded(number: u64, new: NewVersion) -> Recorded {
    Recorded {
        number,
        project: new.project,
        catalog_hash: new.catalog_hash,
        applied_by: new.applied_by,
        applied_at: new.applied_at,
        definitions: new.definitions,
        plugins: new.plugins,
        summary: new.summary,
    }
}

fn run(view: &str, started_at: Micros, outcome: Outcome) -> SyncRun {
    SyncRun {
        view: view.to_owned(),
        range: "full".to_owned(),
        started_at,
        seconds: 0.25,
        rows_read: 5,
        rows_latest: 4,
        rows_written: 2,
        rows_older: 1,
        rows_without_key: 1,
        rows_in_future: 6,
        rows_failed: 7,
        rows_reused: 8,
        rows_read_again: 9,
        bytes_written: 10,
        bytes_spooled: 11,
        from: Some(12),
        until: Some(13),
        newest_event_time: Some(14),
        nulls: vec![("fare".to_owned(), 15), ("tips".to_owned(), 0)],
        snapshot: Some("{}".to_owned()),
        rows_quarantined: 16,
        expectations: Some("[]".to_owned()),
        outcome,
    }
}

/// Does to the file what Lockstep would not.
async fn tamper(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_new_registry_has_nothing() {
    let registry = Registry::in_memory().await.unwrap();
    assert_eq!(registry.latest().await.unwrap(), None);
    assert_eq!(registry.version(1).await.unwrap(), None);
    assert_eq!(registry.version(u64::MAX).await.unwrap(), None);
    assert_eq!(registry.history().await.unwrap(), []);
    assert_eq!(registry.plugin(Digest::of(b"")).await.unwrap(), None);
}

#[tokio::test]
async fn a_version_is_read_back_whole_after_the_file_was_closed() {
    let (_folder, path) = folder();
    let registry = Registry::open(&path).await.unwrap();
    assert_eq!(registry.record(version("a")).await.unwrap(), Version { number: 1, unchanged: false });
    assert_eq!(registry.record(version("b")).await.unwrap(), Version { number: 2, unchanged: false });
    registry.pool.close().await;
    let registry = Registry::open(&path).await.unwrap();
    assert_eq!(registry.version(1).await.unwrap(), Some(recorded(1, version("a"))));
    assert_eq!(registry.latest().await.unwrap(), Some(recorded(2, version("b"))));
    assert_eq!(registry.plugin(Digest::of(b"\0asm ratio")).await.unwrap().unwrap(), b"\0asm ratio");
    let numbers: Vec<u64> = registry.history().await.unwrap().iter().map(|version| version.number).collect();
    assert_eq!(numbers, [2, 1]);
}

#[tokio::test]
async fn the_same_content_again_is_no_new_version() {
    let registry = Registry::in_memory().await.unwrap();
    registry.record(version("a")).await.unwrap();
    let again = NewVersion { applied_by: "bob".to_owned(), ..version("a") };
    assert_eq!(registry.record(again).await.unwrap(), Version { number: 1, unchanged: true });
    assert_eq!(registry.history().await.unwrap()[0].applied_by, "ana@host");
    registry.record(version("b")).await.unwrap();
    let back = registry.record(version("a")).await.unwrap();
    assert_eq!(back, Version { number: 3, unchanged: false }, "going back to older content is a version of its own");
}

#[tokio::test]
async fn plugin_bytes_are_kept_once() {
    let (_folder, path) = folder();
    let registry = Registry::open(&path).await.unwrap();
    registry.record(version("a")).await.unwrap();
    registry.record(version("b")).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM plugins").fetch_one(&registry.pool).await.unwrap();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_plugin_under_a_wrong_digest_is_not_recorded() {
    let registry = Registry::in_memory().await.unwrap();
    let mut new = version("a");
    new.plugins[1].bytes.push(1);
    let error = registry.record(new).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin bucket does not have the digest it was given with");
    assert_eq!(registry.latest().await.unwrap(), None);
}

#[tokio::test]
async fn damaged_plugin_bytes_are_found_and_healed_by_the_next_apply() {
    let (_folder, path) = folder();
    let registry = Registry::open(&path).await.unwrap();
    registry.record(version("a")).await.unwrap();
    tamper(&path, "UPDATE plugins SET bytes = x'00ff' WHERE hex(bytes) LIKE '%726174696F'").await;
    for error in [
        registry.latest().await.unwrap_err(),
        registry.version(1).await.unwrap_err(),
        registry.plugin(Digest::of(b"\0asm ratio")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
    assert!(registry.plugin(Digest::of(b"\0asm bucket")).await.unwrap().is_some());
    registry.record(version("b")).await.unwrap();
    assert_eq!(registry.version(1).await.unwrap(), Some(recorded(1, version("a"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_recorded_at_once_never_share_a_number() {
    let (_folder, path) = folder();
    let registries = [Registry::open(&path).await.unwrap(), Registry::open(&path).await.unwrap()];
    let recording = registries.into_iter().enumerate().map(|(gateway, registry)| {
        tokio::spawn(async move {
            let mut numbers = Vec::new();
            for round in 0..15 {
                numbers.push(registry.record(version(&format!("{gateway} {round}"))).await.unwrap().number);
            }
            numbers
        })
    });
    let mut numbers = Vec::new();
    for recording in recording.collect::<Vec<_>>() {
        numbers.extend(recording.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let (_folder, path) = folder();
    let open = |path: PathBuf| tokio::spawn(async move { Registry::open(&path).await });
    let opening: Vec<_> = (0..6).map(|_| open(path.clone())).collect();
    for registry in opening {
        assert_eq!(registry.await.unwrap().unwrap().latest().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let (_folder, path) = folder();
    drop(Registry::open(&path).await.unwrap());
    tamper(&path, "PRAGMA user_version = 7").await;
    let error = Registry::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::NewerFormat { format: 7, known: 6, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_file_that_is_not_a_registry_is_refused() {
    let (folder, path) = folder();
    std::fs::write(&path, "not a database, but long enough to look at. ".repeat(100)).unwrap();
    let error = Registry::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let other = folder.path().join("other.sqlite");
    tamper(&other, "CREATE TABLE numbers (number INTEGER)").await;
    let error = Registry::open(&other).await.unwrap_err();
    assert!(error.to_string().contains("it is a database, but not one of Lockstep"), "{error}");
    let error = Registry::open(&folder.path().join("missing/registry.sqlite")).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_full_says_so_and_goes_on_when_there_is_room() {
    let (_folder, path) = folder();
    // The bound belongs to a connection, so there is one only.
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
    let registry = Registry::over(pool, path.display().to_string()).await.unwrap();
    registry.record(version("a")).await.unwrap();
    let mut large = version("b");
    large.plugins.push(plugin("large", &vec![7; 1 << 20]));
    sqlx::raw_sql("PRAGMA max_page_count = 40").execute(&registry.pool).await.unwrap();
    let error = registry.record(large.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(registry.latest().await.unwrap().unwrap().number, 1);
    let registry = Registry::open(&path).await.unwrap();
    assert_eq!(registry.record(large).await.unwrap().number, 2);
}

#[tokio::test]
async fn progress_goes_forward_only() {
    let registry = Registry::in_memory().await.unwrap();
    assert_eq!(registry.progress("companies").await.unwrap(), None);
    registry.set_progress("companies", 100).await.unwrap();
    registry.set_progress("companies", 50).await.unwrap();
    assert_eq!(registry.progress("companies").await.unwrap(), Some(100));
    registry.set_progress("companies", 150).await.unwrap();
    assert_eq!(registry.progress("companies").await.unwrap(), Some(150));
    assert_eq!(registry.progress("people").await.unwrap(), None);
}

#[tokio::test]
async fn runs_are_told_newest_first() {
    let registry = Registry::in_memory().await.unwrap();
    let runs = [
        run("companies", 1, Outcome::Finished),
        run("people", 2, Outcome::Failed("the disk is full".to_owned())),
        run("companies", 3, Outcome::Stopped),
    ];
    for run in &runs {
        registry.record_run(run).await.unwrap();
    }
    let [first, second, third] = runs;
    assert_eq!(registry.runs(None, 2).await.unwrap(), [third.clone(), second]);
    assert_eq!(registry.runs(Some("companies"), 10).await.unwrap(), [third, first]);
    assert_eq!(registry.runs(Some("unknown"), 10).await.unwrap(), []);
}

#[tokio::test]
async fn old_runs_are_forgotten_by_view() {
    let registry = Registry::in_memory().await.unwrap();
    registry.record_run(&run("people", 0, Outcome::Finished)).await.unwrap();
    for started_at in 1..=i64::from(SYNC_RUNS_KEPT) + 5 {
        registry.record_run(&run("companies", started_at, Outcome::Finished)).await.unwrap();
    }
    let runs = registry.runs(Some("companies"), u32::MAX).await.unwrap();
    assert_eq!(runs.len(), SYNC_RUNS_KEPT as usize);
    assert_eq!(runs.last().unwrap().started_at, 6);
    assert_eq!(registry.runs(Some("people"), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_shapes_of_a_service_come_in_the_order_in_which_they_were_first_applied() {
    let registry = Registry::in_memory().await.unwrap();
    for content in ["b", "a", "b", "c"] {
        registry.record(version(content)).await.unwrap();
    }
    let shapes = registry.service_shapes().await.unwrap();
    assert_eq!(shapes.iter().map(|shape| shape.shape.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(registry.versions_without_services().await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn versions_from_before_services_were_recorded_get_theirs_once() {
    let (_folder, path) = folder();
    let registry = Registry::open(&path).await.unwrap();
    registry.record(version("a")).await.unwrap();
    registry.record(version("b")).await.unwrap();
    drop(registry);
    let as_it_was =
        "ALTER TABLE sync_runs DROP COLUMN rows_quarantined; ALTER TABLE sync_runs DROP COLUMN expectations;
        ALTER TABLE plugins DROP COLUMN signature; ALTER TABLE plugins DROP COLUMN goldens;
        ALTER TABLE plugins DROP COLUMN report; DROP TABLE shadows; DROP TABLE version_services; DROP TABLE service_shapes;
        ALTER TABLE versions DROP COLUMN has_services; PRAGMA user_version = 2";
    tamper(&path, as_it_was).await;

    let registry = Registry::open(&path).await.unwrap();
    assert_eq!(registry.latest().await.unwrap(), Some(recorded(2, version("b"))));
    assert_eq!(registry.versions_without_services().await.unwrap(), [1, 2]);
    for (number, shape) in [(2, "b"), (1, "a"), (1, "a")] {
        let services = [ServiceShape { service: "scores".to_owned(), shape: shape.to_owned() }];
        registry.add_services(number, &services).await.unwrap();
    }
    assert_eq!(registry.versions_without_services().await.unwrap(), Vec::<u64>::new());
    let shapes = registry.service_shapes().await.unwrap();
    assert_eq!(shapes.iter().map(|shape| shape.shape.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_registry_of_the_first_format_gains_what_is_new_and_keeps_what_it_has() {
    let (_folder, path) = folder();
    tamper(&path, include_str!("migrations/1.sql")).await;
    tamper(
        &path,
        "PRAGMA user_version = 1;
         INSERT INTO sync_runs VALUES (1, 'companies', 'full', 5, 0.5, 4, 3, 2, 1, 0, 'the disk is full')",
    )
    .await;
    let registry = Registry::open(&path).await.unwrap();
    let runs = registry.runs(None, 10).await.unwrap();
    let failed = Outcome::Failed("the disk is full".to_owned());
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    assert_eq!((run.rows_read, run.rows_in_future, run.until, &run.outcome), (4, 0, None, &failed));
    assert_eq!(run.nulls, []);
    assert_eq!((run.rows_quarantined, &run.expectations), (0, &None));
    assert_eq!(registry.schedules().await.unwrap(), []);
}

#[tokio::test]
async fn a_lease_has_one_owner_until_it_runs_out_or_is_given_back() {
    let registry = Registry::in_memory().await.unwrap();
    let take = async |owner, now, until| registry.take_lease("sync:rides", owner, now, until).await.unwrap();
    assert!(take("a", 0, 10).await);
    assert!(!take("b", 9, 19).await);
    assert!(take("a", 9, 19).await, "its owner makes it last longer");
    assert!(!take("b", 18, 28).await);
    assert!(take("b", 19, 29).await, "it has run out");
    assert!(!take("a", 20, 30).await);
    registry.give_lease_back("sync:rides", "a").await.unwrap();
    assert!(!take("a", 20, 30).await, "who does not have it cannot give it back");
    registry.give_lease_back("sync:rides", "b").await.unwrap();
    assert!(take("a", 20, 30).await);
    assert!(registry.take_lease("sync:areas", "b", 20, 30).await.unwrap(), "others are not concerned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_take_a_lease_at_once_one_gets_it() {
    let (_folder, path) = folder();
    let registries = [Registry::open(&path).await.unwrap(), Registry::open(&path).await.unwrap()];
    let taking = (0..8).map(|owner| {
        let registry = registries[owner % 2].clone();
        tokio::spawn(async move { registry.take_lease("sync:rides", &owner.to_string(), 0, 10).await })
    });
    let mut owners = 0;
    for taken in taking.collect::<Vec<_>>() {
        owners += u32::from(taken.await.unwrap().unwrap());
    }
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn a_schedule_is_kept_by_view() {
    let registry = Registry::in_memory().await.unwrap();
    let schedule = |view: &str, next_at, failure: Option<&str>| SyncSchedule {
        view: view.to_owned(),
        next_at,
        failures: u32::from(failure.is_some()),
        failure: failure.map(str::to_owned),
    };
    registry.set_schedule(&schedule("rides", 5, Some("the disk is full"))).await.unwrap();
    registry.set_schedule(&schedule("areas", 6, None)).await.unwrap();
    assert_eq!(registry.schedule("rides").await.unwrap(), Some(schedule("rides", 5, Some("the disk is full"))));
    registry.set_schedule(&schedule("rides", 9, None)).await.unwrap();
    assert_eq!(registry.schedules().await.unwrap(), [schedule("areas", 6, None), schedule("rides", 9, None)]);
    assert_eq!(registry.schedule("people").await.unwrap(), None);
}

#[tokio::test]
async fn what_runs_brought_says_how_fresh_and_how_complete_a_view_is() {
    let registry = Registry::in_memory().await.unwrap();
    let brought = |rows_latest, newest_event_time, nulls: u64| SyncRun {
        rows_latest,
        newest_event_time,
        nulls: vec![("fare".to_owned(), nulls), ("tips".to_owned(), 0)],
        ..run("companies", 1, Outcome::Finished)
    };
    for run in [brought(10, Some(50), 10), brought(0, None, 0), brought(4, Some(40), 2)] {
        registry.record_run(&run).await.unwrap();
    }
    let freshness = registry.freshness().await.unwrap();
    assert_eq!(freshness.into_iter().collect::<Vec<_>>(), [("companies".to_owned(), (50, 0.75))]);
    registry.set_progress("companies@1", 7).await.unwrap();
    assert_eq!(registry.all_progress().await.unwrap().into_iter().collect::<Vec<_>>(), [("companies@1".to_owned(), 7)]);
}

#[tokio::test]
async fn what_came_beside_a_plugin_is_kept_and_added_to() {
    let registry = Registry::in_memory().await.unwrap();
    let mut new = version("one");
    new.plugins[0].beside = PluginTexts { goldens: Some("{}".to_owned()), ..PluginTexts::default() };
    registry.record(new.clone()).await.unwrap();
    assert_eq!(registry.latest().await.unwrap().unwrap().plugins, new.plugins);

    // The same bytes are signed later: nothing else has changed, so there is no new version.
    let signed = PluginTexts { signature: Some("signed".to_owned()), ..PluginTexts::default() };
    new.plugins[0].beside = signed;
    assert!(registry.record(new.clone()).await.unwrap().unchanged);
    new.plugins[0].beside.goldens = Some("{}".to_owned());
    assert_eq!(registry.latest().await.unwrap().unwrap().plugins, new.plugins);
}

#[tokio::test]
async fn a_view_has_one_shadow_at_most_and_its_build_is_kept() {
    let registry = Registry::in_memory().await.unwrap();
    assert_eq!(registry.latest_number().await.unwrap(), None);
    registry.record(version("a")).await.unwrap();
    assert_eq!(registry.latest_number().await.unwrap(), Some(1));
    let (first, second) = (plugin("ratio", b"\0asm other"), plugin("ratio", b"\0asm third"));
    for (build, share) in [(&first, 0.5), (&second, 0.25)] {
        registry.put_shadow("ratios", build, share, "ana@host", 7).await.unwrap();
    }
    let shadow = ShadowRecord {
        view: "ratios".to_owned(),
        plugin: "ratio".to_owned(),
        digest: second.digest,
        share: 0.25,
        started_by: "ana@host".to_owned(),
        started_at: 7,
    };
    assert_eq!(registry.shadows().await.unwrap(), [shadow]);
    assert_eq!(registry.plugin(second.digest).await.unwrap(), Some(second.bytes.clone()));
    assert!(registry.drop_shadow("ratios").await.unwrap());
    assert!(!registry.drop_shadow("ratios").await.unwrap());
    assert_eq!(registry.shadows().await.unwrap(), []);
    let wrong = PluginFile { digest: first.digest, ..second };
    assert!(matches!(registry.put_shadow("ratios", &wrong, 0.5, "", 0).await, Err(Error::WrongDigest { .. })));
}

#[tokio::test]
async fn builds_of_a_plugin_are_found_by_how_their_digests_begin() {
    let registry = Registry::in_memory().await.unwrap();
    registry.record(version("a")).await.unwrap();
    let ratio = plugin("ratio", b"\0asm ratio");
    let digest = ratio.digest.to_string();
    let found = async |name: &str, begin: &str| registry.plugins_that_begin(name, begin).await.unwrap();
    for begin in [&digest[..8], &digest, &digest[..8].to_uppercase()] {
        assert_eq!(found("ratio", begin).await, [(ratio.digest, ratio.bytes.clone())]);
    }
    assert_eq!(found("bucket", &digest[..8]).await, [], "it is a build of another plugin");
    assert_eq!(found("ratio", &"0".repeat(64)).await, []);
}
