//! What Feast's own feature server answered (version 0.67), and what this one does.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Answered, World};
use crate::server::http::wire::OnlineAnswer;

const TRANSCRIPT: &str = include_str!("../../../../tests/golden/feast/http_transcript.json");
const EPOCH: &str = "1970-01-01T00:00:00Z";

fn transcript() -> Vec<Value> {
    serde_json::from_str(TRANSCRIPT).unwrap()
}

fn online(answered: &Answered) -> OnlineAnswer {
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    serde_json::from_slice(&answered.body).unwrap_or_else(|error| panic!("{error}: {answered:?}"))
}

/// Values, statuses and times by name.
fn columns(answer: &OnlineAnswer) -> BTreeMap<&str, (Value, Vec<String>, Vec<String>)> {
    assert_eq!(answer.metadata.feature_names.len(), answer.results.len());
    let columns = answer
        .results
        .iter()
        .map(|column| (Value::from(column.values.clone()), column.statuses.clone(), column.event_timestamps.clone()));
    answer.metadata.feature_names.iter().map(String::as_str).zip(columns).collect()
}

/// Feast calls everything present; here a null says why it is one.
fn strict(answer: &mut OnlineAnswer) {
    for column in &mut answer.results {
        for row in 0..column.values.len() {
            if column.values[row].is_null() {
                let found = column.event_timestamps[row] != EPOCH;
                column.statuses[row] = if found { "NULL_VALUE" } else { "NOT_FOUND" }.to_owned();
            }
        }
    }
}

#[tokio::test]
async fn feasts_answers_are_ours_but_for_the_statuses_of_nulls() {
    let world = World::with_rows().await;
    let transcript = transcript();
    // Writes of the transcript come before the reads of what they wrote.
    for exchange in [0, 1, 13, 15, 16] {
        let exchange = &transcript[exchange];
        let answered = world.post(exchange["path"].as_str().unwrap(), &exchange["request"].to_string()).await;
        if exchange["path"] != "/get-online-features" {
            let body = if exchange["content_type"].is_null() { &b""[..] } else { b"null" };
            assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, body), "{exchange}");
            continue;
        }
        let mut expected: OnlineAnswer = serde_json::from_value(exchange["response"].clone()).unwrap();
        strict(&mut expected);
        let found = online(&answered);
        assert_eq!(columns(&found), columns(&expected), "{exchange}");
    }
}

#[tokio::test]
async fn feasts_refusals_are_ours_but_never_a_500() {
    let world = World::with_rows().await;
    let transcript = transcript();
    let table = [
        (6, 404, "FeatureViewNotFoundException"),
        (7, 404, "FeastObjectNotFoundException"),
        (8, 422, "FeastError"),
        (9, 404, "RequestDataNotFoundInEntityRowsException"),
        (10, 404, "FeatureServiceNotFoundException"),
        (11, 400, "FeatureNameCollisionError"),
        (14, 422, "PushSourceNotFoundException"),
    ];
    for (position, status, class) in table {
        let exchange = &transcript[position];
        let answered = world.post(exchange["path"].as_str().unwrap(), &exchange["request"].to_string()).await;
        assert_eq!((answered.status.as_u16(), answered.class().as_str()), (status, class), "{exchange}");
        let theirs: Option<Value> = exchange["response"].as_str().and_then(|text| serde_json::from_str(text).ok());
        if let Some(their_class) = theirs.as_ref().and_then(|theirs| theirs.get("class")) {
            assert_eq!(their_class, class);
        }
    }
    let missing = &transcript[12];
    let answered = world.post("/get-online-features", &missing["request"].to_string()).await;
    assert_eq!(answered.status.as_u16(), 422);
    let (ours, theirs) = (&answered.json()["detail"][0], &missing["response"]["detail"][0]);
    for part in ["type", "loc", "msg"] {
        assert_eq!(ours[part], theirs[part]);
    }
}

#[tokio::test]
async fn columns_come_back_as_join_keys_in_the_order_sent_then_features_in_the_order_asked() {
    let world = World::with_rows().await;
    let body = json!({
        "features": ["driver_customer:trips", "driver_hourly_stats:conv_rate", "driver_customer@latest:trips"],
        "entities": {"noise": [1, 2], "customer_id": ["C-7", "C-7"], "driver": ["1001", 1002.0]},
        "full_feature_names": true, "include_feature_view_version_metadata": true,
    });
    let answer = online(&world.post("/get-online-features", &body.to_string()).await);
    let names = ["customer_id", "driver_id", "driver_customer__trips", "driver_hourly_stats__conv_rate"];
    assert_eq!(answer.metadata.feature_names, names);
    assert_eq!(answer.results[1].values, [json!(1001), json!(1002)]);
    assert_eq!(answer.results[2].values, [json!(5), Value::Null]);
    // A feature that is asked for twice is answered once.
    assert_eq!(answer.results.len(), names.len());
    let mut views: Vec<_> = answer.metadata.feature_view_metadata.unwrap().into_iter().map(|view| view.name).collect();
    views.sort();
    assert_eq!(views, ["driver_customer", "driver_hourly_stats"]);
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_says_why() {
    let world = World::with_rows().await;
    let stats = |entities: Value| json!({"features": ["driver_hourly_stats:conv_rate"], "entities": entities});
    let table = [
        (stats(json!({"driver_id": [1001, null]})), "row 1 has no value for join key driver_id"),
        (stats(json!({"driver_id": [1001], "noise": [1, 2]})), "column driver_id has 1 values and column noise has 2"),
        (stats(json!({"driver_id": 1001})), "column driver_id: it must be an array of values"),
        (stats(json!({"driver_id": [1001], "driver": [1001]})), "join key driver_id came twice"),
        (stats(json!({})), "no column came along"),
        (json!({"features": ["conv_rate"], "entities": {"driver_id": [1]}}), "write view:feature"),
        (json!({"features": [], "entities": {"driver_id": [1]}}), "no feature was asked for"),
    ];
    for (body, text) in table {
        let answered = world.post("/get-online-features", &body.to_string()).await;
        assert_eq!((answered.status.as_u16(), answered.class().as_str()), (422, "FeastError"), "{body}");
        assert!(answered.message().contains(text), "{}", answered.message());
    }
}

#[tokio::test]
async fn a_push_is_checked_column_by_column() {
    let world = World::start().await;
    let push = |df: Value| json!({"push_source_name": "driver_fresh_source", "df": df}).to_string();
    let time = "2026-11-21T05:30:00";
    let table = [
        (
            json!({"driver_id": [1], "conv_rat": [0.5], "event_timestamp": [time]}),
            "column conv_rat is not one of source driver_fresh_source",
        ),
        (json!({"driver_id": [1], "conv_rate": [0.5]}), "column event_timestamp is missing"),
        (
            json!({"driver_id": [1], "conv_rate": ["much"], "event_timestamp": [time]}),
            "column conv_rate: row 0 is \"much\"",
        ),
        (json!({"driver_id": [1, 2], "conv_rate": [0.5], "event_timestamp": [time]}), "all must have as many"),
    ];
    for (df, text) in table {
        let answered = world.post("/push", &push(df)).await;
        assert_eq!(answered.status.as_u16(), 422, "{answered:?}");
        assert!(answered.message().contains(text), "{}", answered.message());
    }
    let nothing = world.post("/push", &push(json!({}))).await;
    assert_eq!((nothing.status, nothing.body.len()), (StatusCode::OK, 0));
    let elsewhere = json!({"push_source_name": "driver_fresh_source", "df": {}, "to": "nowhere"});
    assert_eq!(world.post("/push", &elsewhere.to_string()).await.json()["detail"][0]["type"], "value_error");

    let derived = json!({"feature_view_name": "odfv_py", "df": {"driver_id": [1]}});
    assert!(world.post("/write-to-online-store", &derived.to_string()).await.message().contains("is a derived view"));
    let unknown = json!({"feature_view_name": "nofv", "df": {}});
    assert_eq!(
        world.post("/write-to-online-store", &unknown.to_string()).await.class(),
        "FeatureViewNotFoundException"
    );
}
