//! Wrong JSON, wrong columns and wrong names over HTTP.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::callers::{GOOD, RIDES, check_good, rides, seed};
use crate::world::{Reply, World, http};

const ASK: &str = "/get-online-features";

/// A request on one of Feast's routes, and what its client raises.
struct Wrong {
    path: &'static str,
    body: Value,
    status: u16,
    class: &'static str,
    words: &'static [&'static str],
}

fn wrong(path: &'static str, body: Value, status: u16, class: &'static str, words: &'static [&'static str]) -> Wrong {
    Wrong { path, body, status, class, words }
}

/// The good question with other entities.
fn with(entities: Value) -> Value {
    let mut body: Value = serde_json::from_str(GOOD).expect("JSON");
    for (name, values) in entities.as_object().expect("an object") {
        body["entities"][name] = values.clone();
    }
    body
}

fn without(entity: &str) -> Value {
    let mut body: Value = serde_json::from_str(GOOD).expect("JSON");
    body["entities"].as_object_mut().expect("an object").remove(entity);
    body
}

fn features(names: &[&str], entities: &Value) -> Value {
    json!({"features": names, "entities": entities})
}

/// A reply on one of Feast's routes: a JSON string that holds JSON.
fn check(wrong: &Wrong, reply: &Reply) {
    let said = format!("{} {}: {} {}", wrong.path, wrong.body, reply.status, reply.text());
    let said = &said[..said.floor_char_boundary(2_000)];
    assert_eq!(reply.status, wrong.status, "{said}");
    assert_eq!(reply.headers["content-type"], "application/json", "{said}");
    let outer = reply.json();
    let inner: Value = serde_json::from_str(outer.as_str().unwrap_or_else(|| panic!("{said}"))).expect("JSON in JSON");
    assert_eq!((&inner["module"], &inner["class"]), (&json!("feast.errors"), &json!(wrong.class)), "{said}");
    let message = inner["message"].as_str().expect("a message");
    let missing: Vec<_> = wrong.words.iter().filter(|word| !message.contains(**word)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {said}");
}

async fn check_all(world: &World, table: Vec<Wrong>) {
    for wrong in table {
        let reply = world.post(wrong.path, &wrong.body.to_string()).await;
        check(&wrong, &reply);
        check_good(world.servers.http, &wrong.words.join(" ")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_defined_are_named() {
    let company = json!({"company": ["a"]});
    let world = rides().await;
    check_all(
        &world,
        vec![
            wrong(
                ASK,
                json!({"feature_service": "nope", "entities": company}),
                404,
                "FeatureServiceNotFoundException",
                &["nope", "project test"],
            ),
            wrong(
                ASK,
                features(&["nope:fare"], &company),
                404,
                "FeatureViewNotFoundException",
                &["nope", "project test"],
            ),
            wrong(
                ASK,
                features(&["last_ride:fair"], &company),
                404,
                "FeastObjectNotFoundException",
                &["fair", "last_ride", "fare, riders"],
            ),
            wrong(ASK, features(&["fare"], &company), 422, "FeastError", &["\"fare\"", "view:feature"]),
            wrong(ASK, features(&["last_ride:"], &company), 422, "FeastError", &["view:feature"]),
            wrong(ASK, features(&[], &company), 422, "FeastError", &["no feature was asked for"]),
            wrong(
                ASK,
                features(&["for_training:miles"], &json!({"area": [8]})),
                409,
                "FeastError",
                &["for_training", "training only"],
            ),
            wrong(
                ASK,
                features(&["last_ride:fare", "area_stats:fare"], &json!({"company": ["a"], "area": [8]})),
                400,
                "FeatureNameCollisionError",
                &["fare", "full_feature_names"],
            ),
            wrong(
                ASK,
                features(&["last_ride:fare"], &json!({"driver": [1]})),
                422,
                "FeastError",
                &["join key company (string) is missing"],
            ),
            wrong(
                "/push",
                json!({"push_source_name": "nope", "df": {}}),
                422,
                "PushSourceNotFoundException",
                &["nope"],
            ),
            wrong(
                "/write-to-online-store",
                json!({"feature_view_name": "nope", "df": {}}),
                404,
                "FeatureViewNotFoundException",
                &["nope"],
            ),
            wrong(
                "/write-to-online-store",
                json!({"feature_view_name": "quote", "df": {}}),
                422,
                "FeastError",
                &["quote", "derived view"],
            ),
            wrong(
                "/materialize-incremental",
                json!({"end_ts": "2026-01-01", "feature_views": ["nope"]}),
                404,
                "FeatureViewNotFoundException",
                &["nope"],
            ),
            wrong(
                "/materialize-incremental",
                json!({"end_ts": "soon"}),
                422,
                "FeastError",
                &["end_ts", "soon", "2026-11-20T02:00:00Z"],
            ),
            wrong(
                "/materialize",
                json!({"start_ts": "2026-01-02", "end_ts": "2026-01-01"}),
                422,
                "FeastError",
                &["start_ts must be before end_ts"],
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_cannot_be_taken_are_named_with_their_row() {
    let world = rides().await;
    let refused = |entities: Value, words| wrong(ASK, with(entities), 422, "FeastError", words);
    let many: Vec<usize> = (0..4_097).collect();
    check_all(
        &world,
        vec![
            refused(json!({"area": [8, "x"]}), &["column area", "row 1", "\"x\"", "whole number of 64 bits"]),
            refused(json!({"area": [8, 8.5]}), &["column area", "row 1", "8.5"]),
            refused(json!({"area": [true, 8]}), &["column area", "row 0", "true"]),
            refused(json!({"area": [8, [8]]}), &["column area", "row 1", "an array", "single value"]),
            refused(json!({"area": [{"id": 8}, 8]}), &["column area", "row 0", "an object"]),
            refused(json!({"area": [18_446_744_073_709_551_615_u64, 8]}), &["column area", "18446744073709551615"]),
            refused(json!({"hour": [9, 3_000_000_000_u64]}), &["column hour", "row 1", "2147483647"]),
            refused(json!({"planned_miles": ["far", 1]}), &["column planned_miles", "row 0", "a number"]),
            refused(json!({"company": [1.5, "a"]}), &["column company", "row 0", "a string"]),
            refused(json!({"area": 8}), &["column area", "array of values"]),
            refused(json!({"area": "8"}), &["column area", "array of values"]),
            refused(json!({"company": ["a", null]}), &["row 1", "join key company"]),
            refused(json!({"area": [null, null]}), &["row 0", "join key area"]),
            refused(json!({"area": [8]}), &["area", "1", "2", "all must have as many"]),
            refused(json!({"company": []}), &["company has 0", "all must have as many"]),
            refused(json!({"left_aside": [1, 2, 3]}), &["left_aside has 3", "all must have as many"]),
            refused(json!({"left_aside": {}}), &["column left_aside", "array of values"]),
            wrong(ASK, without("area"), 422, "FeastError", &["join key area (int64) is missing"]),
            wrong(
                ASK,
                json!({"feature_service": "rides_v1", "entities": {}}),
                422,
                "FeastError",
                &["no column came along", "company, area"],
            ),
            wrong(
                ASK,
                json!({"features": ["area_stats:fare"], "entities": {"area": many}}),
                413,
                "FeastError",
                &["column area", "4096"],
            ),
            wrong(
                ASK,
                json!({"features": ["area_stats:fare"], "entities": {"area": [8]}, "as_of": "soon"}),
                422,
                "FeastError",
                &["as_of", "soon"],
            ),
        ],
    )
    .await;
    let twice = r#"{"features": ["area_stats:fare"], "entities": {"area": [8], "area": [9]}}"#;
    let reply = world.post(ASK, twice).await;
    check(&wrong(ASK, json!(twice), 422, "FeastError", &["join key area came twice"]), &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_stored_are_named() {
    let world = rides().await;
    let push = |df: Value| json!({"push_source_name": "rides", "df": df});
    let refused = |df, words| wrong("/push", push(df), 422, "FeastError", words);
    let many: Vec<&str> = vec!["a"; 65_537];
    let at = "2020-01-02T00:00:00Z";
    check_all(
        &world,
        vec![
            refused(json!({"company": ["a"], "fare": [1], "riders": [1]}), &["column at is missing"]),
            refused(json!({"fare": [1], "at": [at]}), &["column company is missing", "join key"]),
            refused(json!({"company": [null], "fare": [1], "at": [at]}), &["row 0", "join key company"]),
            refused(json!({"company": ["a"], "fare": [1], "at": [null]}), &["row 0", "at"]),
            refused(json!({"company": ["a"], "fare": ["a lot"], "at": [at]}), &["column fare", "row 0", "a lot"]),
            refused(
                json!({"company": ["a"], "fair": [1], "at": [at]}),
                &["column fair is not one of source rides", "fare"],
            ),
            refused(json!({"company": ["a"], "fare": [1], "at": ["today"]}), &["column at", "row 0", "today"]),
            refused(json!({"company": ["a"], "fare": [1], "at": ["2999-01-01"]}), &["row 0", "clock"]),
            refused(json!({"company": ["a", "b"], "fare": [1], "at": [at, at]}), &["all must have as many"]),
            wrong("/push", push(json!({"company": many})), 413, "FeastError", &["column company", "65536"]),
        ],
    )
    .await;
}

/// Bodies that FastAPI would refuse: its shape, with the byte where reading stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_refused_with_the_place() {
    let world = rides().await;
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let table = [
        (r#"{"entities": {"company": ["a"],}}"#.to_owned(), "json_invalid", json!(31)),
        (r#"{"entities": {"company": ["a""#.to_owned(), "json_invalid", json!(28)),
        (String::new(), "json_invalid", json!(0)),
        ("nothing".to_owned(), "json_invalid", json!(1)),
        ("{\"entities\":\n{]}".to_owned(), "json_invalid", json!(14)),
        (r#"{"entities": 7}"#.to_owned(), "value_error", json!(13)),
        (r#"{"entities": {}, "features": "view:feature"}"#.to_owned(), "value_error", json!(42)),
        (deep(100_000), "value_error", Value::Null),
        (format!(r#"{{"features": {}}}"#, deep(100_000)), "value_error", Value::Null),
        (r#"{"features": ["last_ride:fare"]}"#.to_owned(), "missing", json!("entities")),
    ];
    for (body, kind, place) in table {
        let reply = world.post(ASK, &body).await;
        let said = format!("{:.200}: {} {}", body, reply.status, reply.text());
        assert_eq!(reply.status, 422, "{said}");
        let detail = &reply.json()["detail"][0];
        assert_eq!(detail["type"], kind, "{said}");
        assert!(place.is_null() || detail["loc"] == json!(["body", place]), "{said}");
        check_good(world.servers.http, &said).await;
    }
    let not_text = http(
        world.servers.http,
        Method::POST,
        ASK,
        &[("content-type", "application/json")],
        Bytes::from_static(b"{\"\xff\": 1}"),
    )
    .await;
    assert_eq!((not_text.status, &not_text.json()["detail"][0]["type"]), (422, &json!("json_invalid")));
}

/// Depth where nothing reads it is depth that costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_in_a_column_is_refused_or_skipped_without_a_stack() {
    let world = rides().await;
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    for (column, status) in [("area", 422), ("left_aside", 422), ("company", 422)] {
        let body =
            format!(r#"{{"features": ["last_ride:fare"], "entities": {{"company": ["a", "b"], "{column}": {deep}}}}}"#);
        let reply = world.post(ASK, &body).await;
        assert_eq!(reply.status, status, "{column}: {}", reply.text());
        check_good(world.servers.http, column).await;
    }
    let body = GOOD.replacen('{', &format!(r#"{{"unknown": {deep}, "#), 1);
    assert_eq!(world.post(ASK, &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_features_and_too_long_bodies_are_refused_with_the_bound() {
    let wide: Vec<String> = (0..2_001).map(|number| format!("{{name: f{number}, type: int32}}")).collect();
    let definitions = RIDES.replace(
        "derived_views:",
        &format!(
            "  - {{name: wide, entities: [area], source: areas, features: [{}]}}\nderived_views:",
            wide.join(", ")
        ),
    );
    let world = World::of(&definitions, |_| {}).await;
    seed(world.servers.http).await;
    let names: Vec<String> = (0..2_001).map(|number| format!("wide:f{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let too_many =
        wrong(ASK, features(&names, &json!({"area": [8]})), 413, "FeastError", &["2001 features", "at most 2000"]);
    check_all(&world, vec![too_many]).await;
    let just_right = world.post(ASK, &features(&names[..2_000], &json!({"area": [8]})).to_string()).await;
    assert_eq!(just_right.status, 200, "{}", just_right.text());

    let longest = 16 << 20;
    let padded = format!("{GOOD}{}", " ".repeat(longest - GOOD.len()));
    assert_eq!(world.post(ASK, &padded).await.status, 200);
    let reply = world.post(ASK, &(padded + " ")).await;
    check(&wrong(ASK, Value::Null, 413, "FeastError", &["longer than 16777216 bytes"]), &reply);
    check_good(world.servers.http, "a long body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_obeyed_are_refused() {
    let world = rides().await;
    let json = ("content-type", "application/json");
    let table: [(&[(&str, &str)], u16, &str); 8] = [
        (&[("content-type", "text/plain")], 415, "text/plain"),
        (&[("content-type", "application/x-www-form-urlencoded")], 415, "application/json"),
        (&[("content-type", "application/vnd.apache.arrow.stream")], 415, "takes JSON"),
        (&[], 415, "no type"),
        (&[json, ("content-encoding", "gzip")], 415, "compressed"),
        (&[json, ("x-request-deadline-ms", "soon")], 422, "x-request-deadline-ms"),
        (&[json, ("x-request-deadline-ms", "-1")], 422, "whole number"),
        (&[json, ("x-request-deadline-ms", "0")], 504, "deadline"),
    ];
    for (headers, status, word) in table {
        let reply = http(world.servers.http, Method::POST, ASK, headers, Bytes::from_static(GOOD.as_bytes())).await;
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.text());
        assert!(reply.json().as_str().is_some_and(|inner| inner.contains(word)), "{headers:?}: {}", reply.text());
        check_good(world.servers.http, word).await;
    }
    // An answer that the caller may be unable to read is more use to it than a refusal.
    let reply = world.get_as("/v1/services/rides_v1/features?company=a&area=8", "image/png").await;
    assert_eq!((reply.status, reply.headers["content-type"].to_str().expect("text")), (200, "application/json"));
}

/// Our own routes: always JSON, always with the kind and a sentence.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_mistype_is_explained() {
    let world = rides().await;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let table = [
        (&get, "/v1/services/nope/features?company=a", 404, "not_found", "nope"),
        (&get, "/v1/services/rides_v1/features?company=a&area=8&compny=b", 422, "invalid", "compny"),
        (&get, "/v1/services/rides_v1/features?company=a", 422, "invalid", "join key area"),
        (&get, "/v1/services/rides_v1/features", 422, "invalid", "no column came along"),
        (&get, "/v1/services/rides_v1/features?company=a&area=eight", 422, "invalid", "eight"),
        (
            &get,
            "/v1/services/rides_v1/features?company=a&company=b&area=8&area=9&area=10",
            422,
            "invalid",
            "all must have as many",
        ),
        (&get, "/v1/services/rides_v1/features?company=a&area=8&as_of=soon", 422, "invalid", "soon"),
        (&get, "/v1/services/rides_v1/features?company=a&area=8&full_feature_names=maybe", 422, "invalid", "maybe"),
        (&get, "/v1/services/%ff/features?company=a", 422, "invalid", "UTF-8"),
        (&get, "/v1/services/rides_v1/features?company=%ff&area=8", 200, "", ""),
        (&get, "/v1/features?company=a", 422, "invalid", "no feature"),
        (&get, "/v1/features?feature=last_ride&company=a", 422, "invalid", "view:feature"),
        (&post, "/v1/services/rides_v1/features?company=a", 422, "invalid", "columns come in the body"),
        (&get, "/v1/entities/nope", 404, "not_found", "company"),
        (&get, "/v1/feature-views/nope", 404, "not_found", "last_ride"),
        (&get, "/v1/feature-services/nope", 404, "not_found", "rides_v1"),
        (&get, "/v1/feature-servics", 404, "not_found", "/docs"),
        (&get, "/get-online-features", 405, "invalid", "GET"),
        (&delete, "/v1/entities", 405, "invalid", "DELETE"),
        (&post, "/health", 405, "invalid", "POST"),
    ];
    for (method, path, status, kind, word) in table {
        let reply = http(
            world.servers.http,
            method.clone(),
            path,
            &[("content-type", "application/json")],
            Bytes::from_static(b"{}"),
        )
        .await;
        let said = format!("{method} {path}: {} {}", reply.status, reply.text());
        assert_eq!(reply.status, status, "{said}");
        assert_eq!(reply.headers["content-type"], "application/json", "{said}");
        if !kind.is_empty() {
            let error = &reply.json()["error"];
            assert_eq!(error["kind"], kind, "{said}");
            assert!(error["message"].as_str().is_some_and(|message| message.contains(word)), "{said}");
        }
        assert_eq!(reply.status == 405, reply.headers.contains_key("allow"), "{said}");
        check_good(world.servers.http, &said).await;
    }
}
