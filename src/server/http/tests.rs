//! The routes, driven in-process over stores in memory.

mod feast;
mod versions;
mod world;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use self::world::{Answered, World};
use super::routes::{Method, ROUTES};
use super::wire::ReadableAnswer;
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar};

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

fn readable(answered: &Answered) -> ReadableAnswer {
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    serde_json::from_slice(&answered.body).unwrap_or_else(|error| panic!("{error}: {answered:?}"))
}

fn rows(answer: &ReadableAnswer) -> Value {
    Value::from(answer.features.iter().cloned().map(Value::Object).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_person_can_type_a_look_up() {
    let world = World::with_rows().await;
    let answered = world.get("/v1/services/svc/features?driver_id=1001&driver_id=9999&customer_id=C-7").await;
    assert_eq!(answered.headers["lockstep-version"], "7");
    assert_eq!(answered.headers[header::CONTENT_TYPE], "application/json");
    let answer = readable(&answered);
    assert_eq!((answer.service.as_deref(), answer.version), (Some("svc"), 7));
    assert_eq!(answer.as_of, "2026-11-21T06:00:00Z");
    assert_eq!(
        rows(&answer),
        json!([
            {"driver_id": 1001, "customer_id": "C-7", "conv_rate": 0.875, "trips": 5},
            {"driver_id": 9999, "customer_id": "C-7", "conv_rate": null, "trips": null},
        ])
    );
    let (statuses, event_times) = (answer.statuses.unwrap(), answer.event_times.unwrap());
    assert_eq!(statuses["trips"], ["PRESENT", "NOT_FOUND"]);
    assert_eq!(event_times["driver_hourly_stats"], [Some("2026-11-20T02:00:00Z".to_owned()), None]);

    let path = "/v1/features?feature=driver_hourly_stats:conv_rate&feature=driver_hourly_stats@latest:acc_rate&driver_id=1001&full_feature_names=true";
    let answer = readable(&world.get(path).await);
    assert_eq!(
        rows(&answer),
        json!([{"driver_id": 1001, "driver_hourly_stats__conv_rate": 0.875, "driver_hourly_stats__acc_rate": 0.5}])
    );
    assert_eq!((answer.service, answer.statuses), (None, None));
}

#[tokio::test]
async fn a_look_up_sees_what_was_true_at_the_time_it_asks_about() {
    let world = World::with_rows().await;
    let at = |as_of: &str| format!("/v1/features?feature=driver_hourly_stats:conv_rate&driver_id=1001&as_of={as_of}");
    let before = readable(&world.get(&at("2026-11-20T01:59:59Z")).await);
    assert_eq!(before.statuses.unwrap()["conv_rate"], ["NOT_FOUND"]);
    for as_of in ["2026-11-20T02:00:00Z", "1795140000000000", "2026-11-21"] {
        assert_eq!(readable(&world.get(&at(as_of)).await).features[0]["conv_rate"], 0.875, "{as_of}");
    }
    let body = r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1001]}, "as_of": 1795139999999999}"#;
    let answer = world.post("/get-online-features", body).await.json();
    assert_eq!(answer["results"][1]["statuses"], json!(["NOT_FOUND"]));
}

#[tokio::test]
async fn a_value_older_than_its_ttl_is_outside_max_age() {
    let world = World::start().await;
    let df = json!({"driver_id": [1, 2], "conv_rate": [0.5, 0.25], "event_timestamp": [1795240800 - 3601, 1795240800 - 3600]});
    let push = json!({"push_source_name": "driver_fresh_source", "df": df, "to": "online"});
    assert_eq!(world.post("/push", &push.to_string()).await.status, StatusCode::OK);
    let answer = readable(&world.get("/v1/features?feature=driver_fresh:conv_rate&driver_id=1&driver_id=2").await);
    assert_eq!(answer.statuses.as_ref().unwrap()["conv_rate"], ["OUTSIDE_MAX_AGE", "PRESENT"]);
    assert_eq!(rows(&answer), json!([{"driver_id": 1, "conv_rate": null}, {"driver_id": 2, "conv_rate": 0.25}]));
}

#[tokio::test]
async fn arrow_goes_in_and_comes_out() {
    let world = World::with_rows().await;
    let columns: [(&str, ArrayRef); 2] = [
        ("driver_id", Arc::new(Int32Array::from(vec![1001, 9999]))),
        ("customer_id", Arc::new(StringArray::from(vec!["C-7", "C-7"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    let request = Request::post("/v1/services/svc/features?as_of=2026-11-21")
        .header(header::CONTENT_TYPE, ARROW_STREAM)
        .header(header::ACCEPT, format!("text/html, {ARROW_STREAM};q=0.9"));
    let answered = world.send(request.body(Body::from(writer.into_inner().unwrap())).unwrap()).await;
    assert_eq!(
        (answered.status, &answered.headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &ARROW_STREAM.parse().unwrap())
    );
    let batches: Vec<RecordBatch> =
        StreamReader::try_new(&answered.body[..], None).unwrap().map(Result::unwrap).collect();
    let [answer] = &batches[..] else { panic!("one batch") };
    assert_eq!(answer.schema().metadata()["lockstep.version"], "7");
    assert_eq!(answer.column_by_name("driver_id").unwrap().as_primitive::<Int64Type>().values(), &[1001, 9999]);
    let conv_rate = answer.column_by_name("conv_rate").unwrap().as_primitive::<Float32Type>();
    assert_eq!((conv_rate.value(0), conv_rate.is_null(1)), (0.875, true));
}

#[tokio::test]
async fn posted_json_columns_are_answered_as_typed_ones() {
    let world = World::with_rows().await;
    let body = r#"{"entities": {"driver_id": ["1001"], "customer": ["C-7"]}, "as_of": "2026-11-21T00:00:00Z"}"#;
    let answer = readable(&world.post("/v1/services/svc/features", body).await);
    assert_eq!(answer.as_of, "2026-11-21T00:00:00Z");
    assert_eq!(rows(&answer), json!([{"driver_id": 1001, "customer_id": "C-7", "conv_rate": 0.875, "trips": 5}]));
}

#[tokio::test]
async fn wrong_look_ups_say_what_is_wrong() {
    let world = World::start().await;
    let table = [
        ("/v1/services/svc/features?driver=1", 422, "join key customer_id (string) is missing"),
        (
            "/v1/services/svc/features?driver_id=1&customer_id=a&dirver=2",
            422,
            "parameter dirver is not known; this question takes driver_id, customer_id and as_of",
        ),
        (
            "/v1/services/svc/features?driver_id=x&customer_id=a",
            422,
            "column driver_id: row 0 is \"x\"; it must be a whole number",
        ),
        (
            "/v1/services/svc/features?driver_id=1&driver_id=2&driver_id=3&customer_id=a&customer_id=b",
            422,
            "column driver_id has 3 values and column customer_id has 2",
        ),
        ("/v1/services/svc/features", 422, "no column came along; needed are driver_id, customer_id"),
        ("/v1/services/svc/features?driver_id=1&customer_id=a&as_of=soon", 422, "as_of is soon"),
        (
            "/v1/services/svc/features?driver_id=1&customer_id=a&full_feature_names=yes",
            422,
            "full_feature_names is \"yes\"",
        ),
        ("/v1/services/nosvc/features?driver_id=1", 404, "feature service nosvc does not exist"),
        ("/v1/features?feature=conv_rate&driver_id=1", 422, "\"conv_rate\" does not name a feature"),
        ("/v1/features?driver_id=1", 422, "no feature was asked for"),
        ("/v1/services/svc_sum/features?driver_id=1", 422, "request field val_to_add (int64) is missing"),
        (
            "/v1/services/svc_sum/features?driver_id=1&val_to_add=",
            422,
            "row 0 has no value for request field val_to_add",
        ),
        ("/v1/entities/drivr", 404, "entity \"drivr\" is not defined; there are: customer, driver"),
        ("/v1/feature-views/x", 404, "feature view \"x\" is not defined; there are: driver_batch"),
        ("/v1/feature-services/x", 404, "there are: svc, svc_sum"),
    ];
    for (path, status, text) in table {
        let answered = world.get(path).await;
        assert_eq!(answered.status.as_u16(), status, "{path}: {answered:?}");
        assert!(answered.message().contains(text), "{path}: {}", answered.message());
    }
}

#[tokio::test]
async fn requests_that_no_handler_should_see_are_refused_at_the_door() {
    let world = World::start().await;
    let unknown = world.get("/v1/feature-view/x").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.json()["nearby"][0], "/v1/feature-views");
    assert_eq!(world.post("/search", "{}").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post("/retrieve-online-documents", "{}").await.status, StatusCode::NOT_FOUND);

    let wrong_method = world.get("/push").await;
    assert_eq!(
        (wrong_method.status, &wrong_method.headers[header::ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    assert!(wrong_method.message().contains("/push does not take GET"));

    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some(ARROW_STREAM)] {
        let mut request = Request::post("/push");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let refused = world.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
    }
    let packed = Request::post("/push")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, "gzip");
    assert_eq!(world.send(packed.body(Body::from("{}")).unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let long = " ".repeat(crate::limits::JSON_BODY_BYTES_MAX + 1);
    assert_eq!(world.post("/get-online-features", &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let many = format!(
        "{{\"features\": [\"driver_hourly_stats:conv_rate\"], \"entities\": {{\"driver_id\": [{}1]}}}}",
        "1,".repeat(4_096)
    );
    assert_eq!(world.post("/get-online-features", &many).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    let broken = world.post("/get-online-features", "{\"entities\": {\"a\": [1,]}}").await;
    assert_eq!(
        (broken.status, &broken.json()["detail"][0]["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("json_invalid"))
    );

    let deadline = Request::get("/v1/features?feature=driver_hourly_stats:conv_rate&driver_id=1")
        .header("x-request-deadline-ms", "soon");
    assert_eq!(world.send(deadline.body(Body::empty()).unwrap()).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn every_route_of_the_table_is_reached_and_counted_under_its_own_name() {
    let world = World::start().await;
    for route in ROUTES {
        let path = route.path.replace("{service}", "svc").replace("{name}", "svc").replace("{view}", "svc");
        let answered = match route.method {
            Method::Get => world.get(&path).await,
            Method::Post => world.post(&path, "{}").await,
            Method::Put => world.send(Request::put(&path).body(Body::empty()).unwrap()).await,
            Method::Delete => world.send(Request::delete(&path).body(Body::empty()).unwrap()).await,
        };
        assert_ne!(answered.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(!String::from_utf8_lossy(&answered.body).contains("nearby"), "{path}");
        assert_eq!(answered.headers["lockstep-version"], "7", "{path}");
    }
    world.get("/who/knows").await;
    let metrics = world.gateway.metrics.encode();
    for route in ROUTES {
        assert!(metrics.contains(&format!("lockstep_requests_total{{route=\"{}\",", route.path)), "{}", route.path);
    }
    assert!(metrics.contains("route=\"none\",status=\"404\"") && !metrics.contains("who/knows"));
}

#[tokio::test]
async fn what_is_defined_can_be_read() {
    let world = World::start().await;
    assert_eq!(
        world.get("/v1/entities").await.json()["entities"][1]["join_keys"],
        json!([{"name": "driver_id", "type": "int64"}])
    );
    let views = world.get("/v1/feature-views").await.json();
    assert_eq!(views["feature_views"].as_array().unwrap().len(), 5);
    let fresh = world.get("/v1/feature-views/driver_fresh").await.json();
    assert_eq!(
        (&fresh["kind"], &fresh["ttl_seconds"], &fresh["source"]["kind"]),
        (&json!("feature"), &json!(3600.0), &json!("push"))
    );
    let derived = world.get("/v1/feature-views/odfv_py").await.json();
    assert_eq!((&derived["kind"], &derived["placement"]), (&json!("derived"), &json!("request")));
    assert_eq!(derived["inputs"][1], json!({"name": "val_to_add", "type": "int64", "from": "request:val_to_add"}));
    assert_eq!(derived["transform"]["digest"].as_str().unwrap().len(), 64);
    let service = world.get("/v1/feature-services/svc_sum").await.json();
    assert_eq!(
        service["inputs"],
        json!([
            {"name": "driver_id", "type": "int64", "kind": "join_key", "required": true},
            {"name": "val_to_add", "type": "int64", "kind": "request", "required": true},
        ])
    );
    let page = world.get("/docs").await;
    assert_eq!((page.status, world.get("/").await.status), (StatusCode::OK, StatusCode::TEMPORARY_REDIRECT));
    assert!(page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
}

/// Puts the history of `driver_batch` in the offline store: ride counts by day.
fn put_history(world: &World) {
    let day = |day: i64| world::NOW - day * 86_400_000_000;
    let fields = ["driver_id", "rides"].map(|name| Field::new(name, DType::One(Scalar::Int64)));
    let times = ["event_timestamp", "created"].map(|name| Field::new(name, DType::TIMESTAMP));
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 1, 2]));
    let rides: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![10, 20, 30]));
    let event_time: ArrayRef = Arc::new(timestamps(vec![Some(day(3)), Some(day(2)), Some(day(1))]));
    let columns = vec![ids, rides, event_time.clone(), event_time];
    let batch = crate::batch::record_batch(&[fields.as_slice(), times.as_slice()].concat(), columns, 3);
    world.offline.put("driver_batch_source", batch);
}

#[tokio::test]
async fn materialize_brings_history_online() {
    let world = World::start().await;
    put_history(&world);
    let rides = async || {
        let answer = world.get("/v1/features?feature=driver_batch:rides&driver_id=1&driver_id=2").await.json();
        json!([answer["features"][0]["rides"], answer["features"][1]["rides"]])
    };
    assert_eq!(rides().await, json!([null, null]));
    let range = r#"{"start_ts": "2026-11-10", "end_ts": "2026-11-18T12:00:00", "feature_views": ["driver_batch"]}"#;
    let done = world.post("/materialize", range).await;
    assert_eq!((done.status, &done.body[..]), (StatusCode::OK, &b"null"[..]), "{done:?}");
    assert_eq!(rides().await, json!([10, null]));
    let newer = r#"{"end_ts": "2026-11-21T06:00:00", "feature_views": ["driver_batch"]}"#;
    assert_eq!(world.post("/materialize-incremental", newer).await.status, StatusCode::OK);
    assert_eq!(rides().await, json!([20, 30]));

    let accepted = world
        .post("/materialize?async=true", r#"{"disable_event_timestamp": true, "feature_views": ["driver_batch"]}"#)
        .await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.json(), json!({"status": "accepted", "feature_views": ["driver_batch"]}));

    let table = [
        (
            r#"{"start_ts": "2026-11-10", "end_ts": "2026-11-11", "feature_views": ["nofv"]}"#,
            404,
            "FeatureViewNotFoundException",
        ),
        (r#"{"start_ts": "2026-11-10", "end_ts": "2026-11-11", "feature_views": ["odfv_py"]}"#, 422, "FeastError"),
        (r#"{"start_ts": "2026-11-11", "end_ts": "2026-11-10"}"#, 422, "FeastError"),
        (r#"{"start_ts": "2026-11-10", "end_ts": "2026-11-11", "version": "v2"}"#, 422, "FeastError"),
    ];
    for (body, status, class) in table {
        let refused = world.post("/materialize", body).await;
        assert_eq!((refused.status.as_u16(), refused.class().as_str()), (status, class), "{body}");
    }
}
