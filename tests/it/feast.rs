//! A transcript of Feast 0.67's own server, replayed.
//!
//! `tests/golden/feast` holds the definitions of Feast's project (`defs_proj_a.py`), its data, and what its server said
//! to 17 requests with Redis behind it (`http_transcript.json`). Our project is the same as far as it can be. What
//! differs on purpose:
//!
//! - Statuses are strict. Feast on Redis says `PRESENT` of everything; we say `NOT_FOUND` of a key that is not there
//!   and `NULL_VALUE` of a null. Values and times are the same.
//! - Columns come in the order in which they were asked for; Feast's order within a view is that of a hash set.
//! - What can never succeed is 4xx and typed; Feast says 500, which its own client sends four times.
//! - Transforms in Python (`odfv_…`) have no counterpart here.

use std::fs;
use std::sync::Arc;

use lockstep::app::{Project, Servers};
use lockstep::clock::{Clock, Micros};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::callers::rides;
use crate::world::{Reply, World, project_folder, repository};

const DEFINITIONS: &str = r#"
entities:
  - {name: driver, join_keys: [{name: driver_id, type: int64}]}
  - {name: customer, join_keys: [{name: customer_id, type: string}]}
sources:
  - {name: driver_src, type: parquet, path: data/driver.parquet, event_time: event_timestamp, created_time: created}
  - {name: pair_src, type: parquet, path: data/pair.parquet, event_time: event_timestamp}
  - {name: driver_push, type: push, path: data/driver_push, event_time: event_timestamp, created_time: created}
feature_views:
  - name: driver_hourly_stats
    entities: [driver]
    source: driver_src
    ttl: 2h
    features: [{name: conv_rate, type: float32}, {name: acc_rate, type: float32}, {name: avg_daily_trips, type: int64}]
  - name: driver_fresh
    entities: [driver]
    source: driver_push
    ttl: 1d
    features: [{name: conv_rate, type: float32}, {name: acc_rate, type: float32}, {name: avg_daily_trips, type: int64}]
  - {name: driver_customer, entities: [driver, customer], source: pair_src, features: [{name: trips, type: int64}]}
feature_services:
  - {name: svc, features: ["driver_hourly_stats:conv_rate", "driver_customer:trips"]}
  - name: svc_alias
    full_feature_names: true
    features:
      - {view: driver_hourly_stats, as: origin_stats, join_keys: {driver_id: origin_id}, features: [avg_daily_trips, acc_rate, conv_rate]}
      - {view: driver_hourly_stats, as: dest_stats, join_keys: {driver_id: dest_id}, features: [avg_daily_trips, acc_rate, conv_rate]}
"#;

/// 2026-11-20T00:00:00Z
const MIDNIGHT: Micros = 1_795_132_800_000_000;
const HOUR: Micros = 3_600_000_000;

/// What we say to a request of the transcript.
enum Ours {
    /// What Feast says, with strict statuses and in our order. The features of these Python transforms are left out.
    AsFeast { without: &'static [&'static str] },
    /// Feast's status and class.
    SameError,
    /// Another status and class than Feast's, with these words.
    Refused { status: u16, class: &'static str, words: &'static [&'static str] },
    /// Feast's body exactly.
    SameBody,
    /// Feast's 422 for a field that is missing.
    MissingField,
    /// Nothing of ours to ask.
    NotHere,
}

/// By position in the transcript.
const OURS: [Ours; 17] = [
    Ours::AsFeast { without: &[] },
    Ours::AsFeast { without: &[] },
    // Two transforms in Python and nothing else.
    Ours::NotHere,
    Ours::AsFeast { without: &["odfv_w:w_double"] },
    Ours::AsFeast { without: &["odfv_py:py_sum"] },
    Ours::AsFeast { without: &[] },
    Ours::SameError,
    Ours::Refused { status: 404, class: "FeastObjectNotFoundException", words: &["nofeat", "driver_hourly_stats"] },
    Ours::Refused { status: 422, class: "FeastError", words: &["join key driver_id", "missing"] },
    // A Python transform without its request data; see `a_request_field_that_is_left_out_is_null`.
    Ours::NotHere,
    Ours::SameError,
    Ours::Refused { status: 400, class: "FeatureNameCollisionError", words: &["conv_rate", "full_feature_names"] },
    Ours::MissingField,
    Ours::SameBody,
    Ours::SameError,
    Ours::SameBody,
    Ours::AsFeast { without: &[] },
];

/// Feast's project, with a clock that stands at three in the morning of the day of the data.
async fn proj_a() -> (World, Clock) {
    let folder = project_folder(DEFINITIONS);
    let config = "project: proj_a\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
    fs::write(folder.path().join("lockstep.yaml"), config).expect("written");
    // The push source's history is the batch source of Feast's push source.
    for (file, to) in [("driver", "driver"), ("pair", "pair"), ("driver", "driver_push/history")] {
        let to = folder.path().join(format!("data/{to}.parquet"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(repository().join(format!("tests/golden/feast/{file}.parquet")), to).expect("copied");
    }
    let project = Project::open(folder.path()).expect("a project");
    let planned = project.plan().await.expect("definitions without mistakes");
    project.apply(&planned, false).await.expect("applied");
    let clock = Clock::held_at(MIDNIGHT + 3 * HOUR);
    let mut gateway = Arc::into_inner(project.gateway().await.expect("a gateway")).expect("nobody else has it yet");
    gateway.clock = clock.clone();
    let gateway = Arc::new(gateway);
    let servers = Servers::start(&project, Arc::clone(&gateway)).await.expect("free ports");
    let world = World { folder, project, gateway, servers };
    world.sync_all().await;
    (world, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_of_feast_is_answered_as_feast_does() {
    let text =
        fs::read_to_string(repository().join("tests/golden/feast/http_transcript.json")).expect("the transcript");
    let transcript: Vec<Exchange> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(transcript.len(), OURS.len());
    let (world, clock) = proj_a().await;
    for (number, (exchange, ours)) in transcript.iter().zip(&OURS).enumerate() {
        // The rows that the last requests write are of five o'clock.
        if exchange.path != "/get-online-features" {
            clock.set(MIDNIGHT + 6 * HOUR);
        }
        let mut request = exchange.request.get().to_owned();
        if let Ours::AsFeast { without } = ours {
            without.iter().for_each(|feature| request = request.replace(&format!("\"{feature}\","), ""));
        }
        let reply = world.post(&exchange.path, &request).await;
        check(number, &request, exchange, ours, &reply);
    }
}

/// One request of the transcript, as it was written, and what Feast said.
#[derive(Deserialize)]
struct Exchange {
    path: String,
    request: Box<RawValue>,
    status: u16,
    response: Value,
}

fn check(number: usize, request: &str, feast: &Exchange, ours: &Ours, reply: &Reply) {
    let said = || format!("request {number}: {} {}", reply.status, reply.text());
    match ours {
        Ours::AsFeast { .. } | Ours::SameError | Ours::SameBody | Ours::MissingField => {
            assert_eq!(reply.status, feast.status, "{}", said());
        }
        Ours::Refused { status, .. } => assert_eq!(reply.status, *status, "{}", said()),
        Ours::NotHere => assert_eq!(reply.status, 404, "{}", said()),
    }
    match ours {
        Ours::AsFeast { without } => check_answer(number, request, &feast.response, without, &reply.json()),
        Ours::SameError => {
            let (ours, feast) = (feast_error(&reply.json()), feast_error(&feast.response));
            assert_eq!((&ours["module"], &ours["class"]), (&feast["module"], &feast["class"]), "{}", said());
        }
        Ours::Refused { class, words, .. } => {
            let error = feast_error(&reply.json());
            let message = error["message"].as_str().expect("a message");
            assert_eq!(error["class"], *class, "{}", said());
            assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
        }
        // Feast answers a push with no body at all, which the transcript writes as null.
        Ours::SameBody => assert!(reply.body.is_empty() || reply.json() == feast.response, "{}", said()),
        Ours::MissingField => {
            let (ours, feast) = (&reply.json()["detail"][0], &feast.response["detail"][0]);
            for field in ["type", "loc", "msg"] {
                assert_eq!(ours[field], feast[field], "{}", said());
            }
        }
        Ours::NotHere => {}
    }
}

/// As Feast's client reads an error: a JSON string that holds JSON.
fn feast_error(body: &Value) -> Value {
    serde_json::from_str(body.as_str().unwrap_or_else(|| panic!("{body} is not a string"))).expect("JSON in JSON")
}

fn check_answer(number: usize, request: &str, feast: &Value, without: &[&str], ours: &Value) {
    let results = |answer: &Value| -> Vec<(String, Value)> {
        let names: Vec<String> = serde_json::from_value(answer["metadata"]["feature_names"].clone()).expect("names");
        names.into_iter().zip(answer["results"].as_array().expect("results").clone()).collect()
    };
    let left_out = |part: usize, name: &str| without.iter().any(|feature| feature.split(':').nth(part) == Some(name));
    let request: Value = serde_json::from_str(request).expect("JSON");
    let asked = request["features"].as_array().cloned().unwrap_or_default();
    let place = |name: &str| {
        let short =
            |feature: &Value| feature.as_str().and_then(|feature| feature.split(':').nth(1)).unwrap_or("?").to_owned();
        asked.iter().position(|feature| name.ends_with(&short(feature)))
    };
    let mut expected = results(feast);
    expected.retain(|(name, _)| !left_out(1, name));
    // Join keys have no place among what was asked for: they stay in front, in the order of the request.
    expected.sort_by_key(|(name, _)| place(name));

    let ours_by_name = results(ours);
    let names = |results: &[(String, Value)]| results.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours_by_name), names(&expected), "request {number}");
    for ((name, feast), (_, ours)) in expected.iter().zip(&ours_by_name) {
        assert_eq!(ours["values"], feast["values"], "request {number}, {name}");
        assert_eq!(ours["event_timestamps"], feast["event_timestamps"], "request {number}, {name}");
        assert_eq!(ours["statuses"], strict(feast), "request {number}, {name}");
    }
    let mut views = feast["metadata"]["feature_view_metadata"].clone();
    if let Some(views) = views.as_array_mut() {
        views.retain(|view| !left_out(0, view["name"].as_str().expect("a name")));
    }
    assert_eq!(ours["metadata"]["feature_view_metadata"], views, "request {number}");
}

/// What Feast's words would be if its Redis store used them.
fn strict(column: &Value) -> Value {
    let values = column["values"].as_array().expect("values");
    let times = column["event_timestamps"].as_array().expect("times");
    let status = |(value, time): (&Value, &Value)| match (value.is_null(), time == "1970-01-01T00:00:00Z") {
        (true, true) => "NOT_FOUND",
        (true, false) => "NULL_VALUE",
        (false, _) => "PRESENT",
    };
    values.iter().zip(times).map(status).collect::<Vec<_>>().into()
}

/// Feast on Redis ignores the ttl of a view when it serves, and obeys it when it trains. We obey it in both.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_older_than_its_ttl_is_not_served() {
    let (world, clock) = proj_a().await;
    let request = json!({"features": ["driver_hourly_stats:avg_daily_trips"], "entities": {"driver_id": [1001]}});
    let column = async || world.post("/get-online-features", &request.to_string()).await.json()["results"][1].clone();
    let time = "2026-11-20T02:00:00Z";
    clock.set(MIDNIGHT + 4 * HOUR);
    assert_eq!(column().await, json!({"values": [777], "statuses": ["PRESENT"], "event_timestamps": [time]}));
    clock.set(MIDNIGHT + 4 * HOUR + 1);
    assert_eq!(column().await, json!({"values": [null], "statuses": ["OUTSIDE_MAX_AGE"], "event_timestamps": [time]}));
}

/// Feast writes a pushed row to the views of the push source alone; so do we.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_reaches_the_views_of_its_source_and_no_other() {
    let (world, clock) = proj_a().await;
    clock.set(MIDNIGHT + 6 * HOUR);
    let push = json!({"push_source_name": "driver_push", "df": {"driver_id": [5001], "event_timestamp": ["2026-11-20T05:00:00"], "created": ["2026-11-20T05:00:01"], "conv_rate": [0.1], "acc_rate": [0.2], "avg_daily_trips": [3]}, "to": "online"});
    assert_eq!(world.post("/push", &push.to_string()).await.status, 200);
    let request = json!({"features": ["driver_fresh:conv_rate", "driver_hourly_stats:conv_rate"], "entities": {"driver_id": [5001]}, "full_feature_names": true});
    let results = world.post("/get-online-features", &request.to_string()).await.json()["results"].clone();
    // 0.1 in 32 bits, as Feast widens it.
    assert_eq!(
        results[1],
        json!({"values": [0.10000000149011612], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-20T05:00:00Z"]})
    );
    assert_eq!(results[2]["statuses"], json!(["NOT_FOUND"]));
}

/// Feast refuses a request without the request data of a transform (404). Here a plugin's inputs may be null, and what
/// is left out is null; a plugin that cannot do without says so by the null it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_field_that_is_left_out_is_null() {
    let world = rides().await;
    let request = json!({"features": ["quote:expected_fare"], "entities": {"area": [8]}});
    let reply = world.post("/get-online-features", &request.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["results"][1]["statuses"], json!(["NULL_VALUE"]));
}
