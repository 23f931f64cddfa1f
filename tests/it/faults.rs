//! Plugins that loop, hoard, trap and lie, in the middle of requests: each is an error of that request alone.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::Ticket;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use futures::TryStreamExt;
use hyper::Method;
use lockstep::app::Project;
use serde_json::{Value, json};
use tonic::Code;

use crate::callers::{Serving, applied_folder, flight, post, write_config};
use crate::world::{Reply, World, http, project_folder};

/// Row 13 is the one at which the plugins go wrong; rows 1 to 12 are fine.
const READINGS: &str = r#"
entities:
  - {name: thing, join_keys: [{name: id, type: int64}]}
sources:
  - {name: readings, type: push, path: data/readings, event_time: at}
feature_views:
  - {name: reading, entities: [thing], source: readings, features: [{name: x, type: float64}]}
derived_views:
  - name: healthy
    plugin: haversine
    inputs: {from_latitude: "reading:x", from_longitude: "reading:x", to_latitude: "reading:x", to_longitude: "reading:x"}
"#;

/// A plugin that misbehaves when it is called, with how many rows, and what the caller reads. A hoarder's fuel would end
/// before its memory if it had that of one row only.
const FAULTS: [(&str, usize, &str); 6] = [
    ("fault_endless", 1, "used up its"),
    ("fault_hoard", 256, "asked for more than 67108864 bytes of memory"),
    ("fault_trap", 1, "trapped"),
    ("fault_rows", 1, "answered 2 rows for 1"),
    ("fault_type", 1, "answered column y as int64, its signature says float64"),
    ("fault_huge", 1, "gave an answer of more than 8388608 bytes"),
];

fn definitions(plugins: &[&str]) -> String {
    let view = |plugin: &&str| format!("  - {{name: by_{plugin}, plugin: {plugin}, inputs: {{x: \"reading:x\"}}}}\n");
    READINGS.to_owned() + &plugins.iter().map(view).collect::<String>()
}

fn rows() -> String {
    let ids: Vec<i64> = (1..=13).collect();
    let at = vec!["2020-01-01T00:00:00Z"; ids.len()];
    json!({"push_source_name": "readings", "df": {"id": ids, "x": ids, "at": at}}).to_string()
}

fn question(view: &str, ids: &[i64]) -> String {
    let feature = if view == "healthy" { "distance_km" } else { "y" };
    json!({"features": [format!("{view}:{feature}")], "entities": {"id": ids}}).to_string()
}

async fn world() -> World {
    let plugins: Vec<&str> = FAULTS.iter().map(|(plugin, ..)| *plugin).collect();
    let world = World::of(&definitions(&plugins), |_| {}).await;
    let pushed = world.post("/push", &rows()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    world
}

async fn ask(world: &World, view: &str, ids: &[i64], deadline_ms: u64) -> Reply {
    let deadline = deadline_ms.to_string();
    let headers = [("content-type", "application/json"), ("x-request-deadline-ms", &deadline)];
    http(world.servers.http, Method::POST, "/get-online-features", &headers, Bytes::from(question(view, ids))).await
}

async fn check_healthy(world: &World) {
    let reply = ask(world, "healthy", &[13, 1, 99], 5_000).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["results"][1]["values"], json!([0.0, 0.0, null]));
}

/// As Feast's client reads an error.
fn feast_error(reply: &Reply) -> Value {
    serde_json::from_str(reply.json().as_str().expect("a string")).expect("JSON in JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_and_is_of_one_call_alone() {
    let world = world().await;
    check_healthy(&world).await;
    for (plugin, rows, words) in FAULTS {
        let view = format!("by_{plugin}");
        let reply = ask(&world, &view, &vec![13; rows], 5_000).await;
        assert_eq!(reply.status, 424, "{plugin}: {}", reply.text());
        assert!(!reply.headers.contains_key("retry-after"), "a fault of a plugin is the same the next time");
        let error = feast_error(&reply);
        assert_eq!(error["class"], "FeastError");
        let message = error["message"].as_str().expect("a message");
        assert!([&view, plugin, words].iter().all(|word| message.contains(word)), "{message}");
        check_healthy(&world).await;
        // The same plugin answers the next call.
        let fine = ask(&world, &view, &[2, 3], 5_000).await;
        assert_eq!((fine.status, &fine.json()["results"][1]["values"]), (200, &json!([2.0, 3.0])), "{plugin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_counted_by_kind() {
    let world = world().await;
    for (plugin, rows, _) in FAULTS {
        ask(&world, &format!("by_{plugin}"), &vec![13; rows], 5_000).await;
    }
    let metrics = http(world.servers.admin, Method::GET, "/metrics", &[], Bytes::new()).await;
    for (kind, count) in [("fuel", 1), ("memory", 1), ("trap", 1), ("bad_output", 3), ("deadline", 0)] {
        let line = format!("lockstep_transform_faults_total{{kind=\"{kind}\"}} {count}");
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in:\n{}", metrics.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_reads_the_same_over_flight() {
    let world = world().await;
    for (plugin, rows, words) in FAULTS {
        let get = async |ids: Vec<i64>| {
            let mut client = flight(world.servers.flight).await;
            let ticket = json!({"features": [format!("by_{plugin}:y")], "entities": {"id": ids}}).to_string();
            client.do_get(Ticket::new(ticket)).await?.try_collect::<Vec<RecordBatch>>().await
        };
        match get(vec![13; rows]).await.expect_err(plugin) {
            FlightError::Tonic(status) => {
                assert_eq!(status.code(), Code::Internal, "{status:?}");
                assert!(status.message().contains(words), "{status:?}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(get(vec![7]).await.expect("a fine call")[0].num_rows(), 1);
    }
}

/// As many rows as one request may have, so that there is fuel for a second or so: the deadline ends the loop before.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_at_the_callers_deadline() {
    let world = world().await;
    let ids = vec![13; 4_096];
    let deadline = Duration::from_millis(60);
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let reply = ask(&world, "by_fault_endless", &ids, 60).await;
        shortest = shortest.min(started.elapsed());
        // The question itself may take longer than the deadline where the machine is busy; then nothing is called.
        assert!(matches!(reply.status, 424 | 504), "{}", reply.text());
        assert!(
            feast_error(&reply)["message"].as_str().is_some_and(|message| message.contains("deadline")),
            "{}",
            reply.text()
        );
        check_healthy(&world).await;
    }
    assert!(shortest < deadline + Duration::from_millis(100), "{shortest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_view_answers_while_others_loop() {
    let world = world().await;
    let endless = async {
        for _ in 0..10 {
            let reply = ask(&world, "by_fault_endless", &[13], 5_000).await;
            assert_eq!(reply.status, 424, "{}", reply.text());
        }
    };
    let healthy = async {
        for _ in 0..50 {
            check_healthy(&world).await;
        }
    };
    futures::join!(endless, healthy);
}

/// What a plugin says of itself is checked before anything is built on it: `plan` refuses, so nothing is applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_lies_or_reaches_out_is_refused_when_it_is_defined() {
    for (plugin, words) in [
        ("fault_signature", ["does not stand by its signature", "y"]),
        ("fault_describe", ["does not stand by its signature", "describe"]),
        ("fault_import", ["imports", "a transform imports nothing"]),
    ] {
        let folder = project_folder(&definitions(&[plugin]));
        let project = Project::open(folder.path()).expect("a project");
        let refused = project.plan().await.expect_err(plugin).to_string();
        assert!(refused.contains(plugin) && words.iter().all(|word| refused.contains(word)), "{plugin}: {refused}");
        assert!(refused.contains("features/features.yaml:"), "the place in the file: {refused}");
    }
}

/// In a process of its own, so that no other test shows in its memory.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_faults_leave_no_memory_behind() {
    let plugins: Vec<&str> = FAULTS.iter().map(|(plugin, ..)| *plugin).collect();
    let listen = "{http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}";
    let folder = applied_folder(&definitions(&plugins), |folder| write_config(folder, listen)).await;
    let serving = Serving::start(folder.path());
    assert_eq!(post(serving.http, "/push", &rows()).await.status, 200);
    let faults = async |rounds: usize| {
        for _ in 0..rounds {
            for (plugin, rows, _) in FAULTS {
                let reply =
                    post(serving.http, "/get-online-features", &question(&format!("by_{plugin}"), &vec![13; rows]))
                        .await;
                assert_eq!(reply.status, 424, "{plugin}: {}", reply.text());
            }
        }
    };
    faults(5).await;
    let before = serving.process.resident_bytes();
    faults(50).await;
    let after = serving.process.resident_bytes();
    assert!(after < before + (24 << 20), "{} MiB before, {} MiB after", before >> 20, after >> 20);
}
