//! The request log, and what a replay of it proves: nothing differs, or which cell does and why.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, Float64Array};
use lockstep::flow::replay::{Because, Replayed, replay};
use lockstep::flow::sync::Range;
use lockstep::online::memory::MemoryStore;
use lockstep::request_log::{Settings as LogSettings, files};
use lockstep::transform::{Reuse, Settings, Transforms};
use serde_json::json;

use crate::command::{json_of, refused, run, succeed};
use crate::light::{DAY, History, Light, NOW, SECOND, batch, floats, stage, texts, times};
use crate::world::{TAXI_AS_OF, World, copy_taxi};

/// A plugin that gives `y` for `x`, over rows with the times at which they were written.
fn fares(plugin: &str) -> String {
    format!(
        "
entities: [{{name: company, join_keys: [{{name: company, type: string}}]}}]
sources: [{{name: rides, type: parquet, path: rides, event_time: at, created_time: written}}]
feature_views: [{{name: stats, entities: [company], source: rides, ttl: 30d, features: [{{name: x, type: float64}}]}}]
derived_views: [{{name: faulty, plugin: {plugin}, inputs: {{x: 'stats:x'}}}}]
"
    )
}

const ASKED: [&str; 2] = ["stats:x", "faulty:y"];

fn log_in(folder: &Path) -> LogSettings {
    LogSettings { share: 1.0, folder: folder.to_owned(), bytes_max: 64 << 20, sensitive: false }
}

fn rides(x: f64, at: i64, written: i64) -> arrow::array::RecordBatch {
    let companies: Vec<String> = (0..40).map(|number| format!("company {number}")).collect();
    let x: Vec<f64> = (0..40).map(|number| f64::from(number) + x).collect();
    batch(&[
        ("company", texts(&companies)),
        ("x", floats(&x)),
        ("at", times(&[at; 40])),
        ("written", times(&[written; 40])),
    ])
}

/// Serves 100 requests of 1 to 4 rows.
async fn serve_some(light: &Light) -> usize {
    let mut rows = 0;
    for request in 0..100 {
        let companies: Vec<String> = (0..=request % 4).map(|row| format!("company {}", (request + row) % 41)).collect();
        rows += companies.len();
        light.serve(&ASKED, &batch(&[("company", texts(&companies))]), NOW).await.expect("served");
    }
    rows
}

async fn replayed(gateway: &lockstep::gateway::Gateway, folder: &Path, training: bool) -> Replayed {
    let mut found = Replayed::default();
    for file in files(folder).expect("a log") {
        replay(gateway, &file, training, &mut found).await.expect("replayed");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_taxi_example_repeats_itself_over_http_and_by_the_command() {
    let world = World::of("", |folder| {
        let config = "project: chicago_taxi\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n\
             request_log: {share: 1, folder: log, max_mib: 64}\n";
        fs::write(folder.join("lockstep.yaml"), config).expect("written");
        copy_taxi(folder);
    })
    .await;
    world.sync_all().await;
    let companies = ["Choice Taxi Association", "Blue Ribbon Taxi Association Inc.", "no such company"];
    for request in 0..60 {
        let rows = request % 3 + 1;
        let column = |value: &dyn Fn(usize) -> serde_json::Value| -> Vec<_> { (0..rows).map(value).collect() };
        let body = json!({
            "feature_service": "tip_model_v1",
            "as_of": TAXI_AS_OF,
            "entities": {
                "company": column(&|row| json!(companies[(request + row) % 3])),
                "area": column(&|row| json!((request * 7 + row) % 78)),
                "hour": column(&|row| json!((request + row) % 24)),
                "payment_type": column(&|row| if row == 2 { json!(null) } else { json!("Cash") }),
                "planned_miles": column(&|row| json!(request as f64 / 3.0 + row as f64)),
            },
        });
        let reply = world.post("/get-online-features", &body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let World { folder, servers, .. } = world;
    servers.stop().await.expect("stopped");

    let report = folder.path().join("report.json");
    let words = ["replay", "log", "--training", "--report", report.to_str().expect("UTF-8")];
    let said = succeed(folder.path(), &words);
    assert!(said.contains("replay: 0 of 2040 values differ (60 requests, 120 rows, 840 values computed"), "{said}");
    assert!(said.contains("training: 0 of 2040 values differ"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    assert_eq!((&report["differ"], &report["rows"], &report["versions"]), (&json!(0), &json!(120), &json!([1])));
    assert!(report["not_null"].as_u64().expect("a number") > 1_000, "{report}");
    assert_eq!(report["transforms"]["trip_quote"].as_array().map(Vec::len), Some(1));
    assert_eq!(json_of(folder.path(), &["replay", "log"])["files"], 1);
    let none = refused(folder.path(), &["replay", "features"], 3);
    assert!(none.contains("there are no logged requests"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_remembers_is_caught_with_the_cells() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings { reuse: Reuse::Always, compare_one_in: 0, ..Settings::default() };
    let warm = Arc::new(Transforms::start(settings).expect("a transform stage"));
    let served =
        Light::over(warm, &fares("fault_impure"), Arc::new(MemoryStore::default()), History::in_memory()).await;
    served.put("rides", &rides(0.5, NOW - DAY, NOW - DAY));
    served.sync("stats", Range::Full).await.expect("synced");
    served.gateway.request_log.open(log_in(folder.path())).expect("a log");
    let rows = serve_some(&served).await;
    served.gateway.request_log.close();

    // Another gateway with the same definitions and history, as replay has it.
    let again =
        Light::over(stage(), &fares("fault_impure"), Arc::new(MemoryStore::default()), served.history.clone()).await;
    let found = replayed(&again.gateway, folder.path(), true).await;
    assert_eq!((found.requests, found.rows, found.values), (100, rows as u64, 2 * rows as u64));
    assert!(found.differ > 50, "{found:?}");
    assert_eq!(found.differ_by_view.keys().collect::<Vec<_>>(), ["faulty"]);
    let cell = &found.cells[0];
    assert_eq!((cell.feature.as_str(), &cell.keys["company"][..8]), ("y", "company "));
    assert_ne!(cell.served, cell.recomputed);
    let trained = found.training.expect("compared with training");
    assert!(trained.transform > 50 && trained.late + trained.stored == 0, "{trained:?}");
    assert!(trained.cells.iter().all(|cell| cell.because == Because::Transform && cell.feature == "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_were_late_or_stored_otherwise_are_told_apart_from_transforms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let light = Light::of(&fares("fault_trap")).await;
    light.put("rides", &rides(0.5, NOW - DAY, NOW - DAY));
    light.sync("stats", Range::Full).await.expect("synced");
    light.gateway.request_log.open(log_in(folder.path())).expect("a log");
    // Written and true before the request, and not synced: the store had another input.
    light.put(
        "rides",
        &batch(&[
            ("company", texts(&["company 1"])),
            ("x", floats(&[70.0])),
            ("at", times(&[NOW - SECOND])),
            ("written", times(&[NOW - SECOND])),
        ]),
    );
    let rows = serve_some(&light).await;
    // True before the request and written after it: late.
    light.put(
        "rides",
        &batch(&[
            ("company", texts(&["company 2"])),
            ("x", floats(&[80.0])),
            ("at", times(&[NOW - SECOND])),
            ("written", times(&[NOW + DAY])),
        ]),
    );
    light.gateway.request_log.close();

    let found = replayed(&light.gateway, folder.path(), true).await;
    assert_eq!((found.differ, found.values), (0, 2 * rows as u64));
    let trained = found.training.expect("compared with training");
    let of = |because: Because| -> BTreeSet<&str> {
        let cells = trained.cells.iter().filter(|cell| cell.because == because);
        cells.map(|cell| cell.keys["company"].as_str()).collect()
    };
    assert_eq!(of(Because::Stored), BTreeSet::from(["company 1"]));
    assert_eq!(of(Because::Late), BTreeSet::from(["company 2"]));
    assert_eq!((trained.transform, trained.differ), (0, trained.late + trained.stored));
    let late = trained.cells.iter().find(|cell| cell.because == Because::Late && cell.feature == "y").expect("a cell");
    assert_eq!((late.served.as_str(), late.trained.as_str()), ("2.5", "80.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_that_look_alike_are_logged_by_their_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let light = Light::of(&fares("fault_trap")).await;
    let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::from_bits(0xfff8_0000_0000_1234), f64::MIN_POSITIVE / 2.0];
    let companies: Vec<String> = (0..odd.len()).map(|number| format!("company {number}")).collect();
    let at = vec![NOW - DAY; odd.len()];
    light.put(
        "rides",
        &batch(&[
            ("company", texts(&companies)),
            ("x", Arc::new(Float64Array::from(odd.to_vec())) as ArrayRef),
            ("at", times(&at)),
            ("written", times(&at)),
        ]),
    );
    light.sync("stats", Range::Full).await.expect("synced");
    light.gateway.request_log.open(log_in(folder.path())).expect("a log");
    let answer = light.serve(&ASKED, &batch(&[("company", texts(&companies))]), NOW).await.expect("served");
    light.gateway.request_log.close();
    assert_eq!(answer.columns[0].values.null_count(), 0);
    let found = replayed(&light.gateway, folder.path(), true).await;
    assert_eq!((found.differ, found.values, found.not_null), (0, 12, 12));
    assert_eq!(found.training.expect("compared").differ, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_views_are_left_out_unless_they_are_allowed() {
    let plain = fares("fault_trap");
    let by_view = plain.replace("ttl: 30d,", "ttl: 30d, sensitive: true,");
    let by_source = plain.replace("event_time: at,", "event_time: at, sensitive: true,");
    for (definitions, allowed, logged) in
        [(&plain, false, true), (&by_view, false, false), (&by_source, false, false), (&by_view, true, true)]
    {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let light = Light::of(definitions).await;
        light.put("rides", &rides(0.5, NOW - DAY, NOW - DAY));
        light.sync("stats", Range::Full).await.expect("synced");
        let settings = LogSettings { sensitive: allowed, ..log_in(folder.path()) };
        light.gateway.request_log.open(settings).expect("a log");
        serve_some(&light).await;
        light.gateway.request_log.close();
        let requests = light.gateway.request_log.counts.requests.load(Ordering::Relaxed);
        assert_eq!((requests > 0, files(folder.path()).expect("a log").len()), (logged, usize::from(logged)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_requests_is_logged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let light = Light::of(&fares("fault_trap")).await;
    light.gateway.request_log.open(LogSettings { share: 0.25, ..log_in(folder.path()) }).expect("a log");
    for _ in 0..20 {
        serve_some(&light).await;
    }
    light.gateway.request_log.close();
    let requests = light.gateway.request_log.counts.requests.load(Ordering::Relaxed);
    // 2,000 requests: eight standard deviations are 155.
    assert!((345..=655).contains(&requests), "{requests} of 2000 requests");
}

#[test]
fn a_request_log_is_checked_when_the_project_is_read() {
    let world = crate::world::project_folder("entities: []\n");
    let config = "project: test\nrequest_log: {share: 1.5, folder: '', max_mib: 1}\n";
    fs::write(world.path().join("lockstep.yaml"), config).expect("written");
    let ran = run(world.path(), &["plan"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in ["a share is above 0 and 1 at most", "a path must not be empty", "a request log needs 64 MiB at least"]
    {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
}
