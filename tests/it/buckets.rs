//! A project whose history lies in a bucket: planned, synced, pushed to, compacted, counted and served.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use hyper::Method;
use lockstep::app::{Project, Servers};
use lockstep::flow::sync::{Range, sync};
use lockstep::offline::write_parquet;
use serde_json::json;

use crate::callers::post;
use crate::command::{command, json_of, refused, run};
use crate::light::{DAY, HOUR, batch, floats, texts, times};
use crate::s3::{ACCESS_KEY_ID, S3, SECRET_ACCESS_KEY};
use crate::world::{http, project_folder};

/// 2024-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_704_067_200_000_000;

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: rides, type: parquet, path: 's3://lake/rides', event_time: at, partitions: [{name: day, type: date, day_of: at}]}
  - {name: tips, type: push, path: 's3://lake/tips', event_time: at}
feature_views:
  - {name: stats, entities: [company], source: rides, features: [{name: fare, type: float64}]}
  - {name: last_tip, entities: [company], source: tips, features: [{name: tip, type: float64}]}
";

/// A project that reaches its bucket over this server.
fn project(s3: &S3, secret: &str) -> tempfile::TempDir {
    let folder = project_folder(DEFINITIONS);
    let path = folder.path().join("lockstep.yaml");
    let listen = fs::read_to_string(&path).expect("the project's file");
    fs::write(folder.path().join("secret"), format!("{secret}\n")).expect("written");
    let buckets = format!(
        "object_stores:\n  lake: {{endpoint: '{}', access_key_id: {ACCESS_KEY_ID}, secret_access_key_file: secret, \
         allow_http: true, timeout: 20s}}\n",
        s3.endpoint()
    );
    fs::write(&path, format!("{listen}{buckets}")).expect("written");
    folder
}

/// A week of rides, a file a day; each company's fare is the day's number.
fn write_week(bucket: &Path) {
    for day in 0..7 {
        let at = NEW_YEAR + day * DAY;
        let rows = batch(&[
            ("company", texts(&["a".to_owned(), "b".to_owned()])),
            ("fare", floats(&[day as f64, day as f64 + 10.0])),
            ("at", times(&[at + HOUR, at + 2 * HOUR])),
        ]);
        let path = bucket.join(format!("rides/day=2024-01-0{}/rides.parquet", day + 1));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        write_parquet(&path, &rows.schema(), &[rows], &[]).expect("written");
    }
}

async fn applied(folder: &Path) -> Project {
    let project = Project::open(folder).expect("a project");
    let planned = project.plan().await.expect("definitions without mistakes");
    project.apply(&planned, false).await.expect("applied");
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_in_a_bucket_is_synced_day_by_day_and_pushes_go_there() {
    let s3 = S3::start(&["lake"]).await;
    write_week(&s3.bucket("lake"));
    let folder = project(&s3, SECRET_ACCESS_KEY);
    let project = applied(folder.path()).await;
    let gateway = project.gateway().await.expect("a gateway");
    let servers = Servers::start(&project, gateway.clone()).await.expect("free ports");

    let range = Range::Between { from: NEW_YEAR + 2 * DAY, until: NEW_YEAR + 3 * DAY };
    let synced = sync(&gateway, "stats", range, &|_| {}).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_written), (2, 2));
    let text = http(servers.admin, Method::GET, "/metrics", &[], Bytes::new()).await.text().to_owned();
    for line in [
        // The day that ends the range could have a row in its first microsecond.
        "lockstep_offline_files_read_total{source=\"rides\"} 2",
        "lockstep_offline_files_pruned_total{source=\"rides\"} 5",
        "lockstep_offline_row_groups_pruned_total{source=\"rides\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }

    for tip in 1..=3 {
        let df = json!({"company": ["a"], "tip": [tip], "at": [format!("2024-01-0{tip}T00:00:00Z")]});
        let pushed = post(
            servers.http,
            "/push",
            &json!({"push_source_name": "tips", "df": df, "to": "online_and_offline"}).to_string(),
        )
        .await;
        assert_eq!(pushed.status, 200, "{}", pushed.text());
    }
    let question = json!({"features": ["stats:fare", "last_tip:tip"], "entities": {"company": ["a"]}}).to_string();
    let answer = post(servers.http, "/get-online-features", &question).await.json();
    assert_eq!((&answer["results"][1]["values"], &answer["results"][2]["values"]), (&json!([2.0]), &json!([3.0])));

    // While the gateway runs: maintenance needs nothing that it holds.
    let path = folder.path().to_owned();
    let compacted = tokio::task::spawn_blocking(move || json_of(&path, &["compact", "tips"])).await.expect("it ran");
    assert_eq!((&compacted[0]["files_before"], &compacted[0]["files_after"]), (&json!(3), &json!(1)));
    let synced = sync(&gateway, "last_tip", Range::Full, &|_| {}).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_latest), (3, 1));
    let path = folder.path().to_owned();
    let vacuumed = tokio::task::spawn_blocking(move || json_of(&path, &["vacuum", "tips", "--keep", "1ms"])).await;
    let vacuumed = vacuumed.expect("it ran");
    assert_eq!((&vacuumed[0]["files_before"], &vacuumed[0]["files_after"]), (&json!(4), &json!(1)));
    let synced = sync(&gateway, "last_tip", Range::Full, &|_| {}).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_latest), (3, 1));
    servers.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_without_showing_any() {
    let s3 = S3::start(&["lake"]).await;
    write_week(&s3.bucket("lake"));
    let folder = project(&s3, "hunter2");
    let path = folder.path().to_owned();
    let message = tokio::task::spawn_blocking(move || refused(&path, &["plan"], 2)).await.expect("it ran");
    assert!(message.contains("access is refused") && message.contains("under object_stores"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sources_can_be_compacted() {
    let s3 = S3::start(&["lake"]).await;
    write_week(&s3.bucket("lake"));
    let folder = project(&s3, SECRET_ACCESS_KEY);
    applied(folder.path()).await;
    let path = folder.path().to_owned();
    let message = tokio::task::spawn_blocking(move || refused(&path, &["compact", "tips", "nothing"], 3)).await;
    assert_eq!(message.expect("it ran"), "source \"nothing\" is not defined");
    let path = folder.path().to_owned();
    let ran = tokio::task::spawn_blocking(move || run(&path, &["vacuum", "tips", "--keep", "soon"])).await;
    assert_eq!(ran.expect("it ran").code, 2);
    assert!(command(folder.path(), &["compact"]).output().expect("the binary runs").status.code() == Some(2));
}
