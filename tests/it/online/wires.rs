//! The same over the command line, HTTP and Flight.

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::{DEFINITIONS, Store};
use crate::command::{json_of, refused, run, succeed};
use crate::light::{batch, floats, texts};
use crate::shop::{SHOP_AS_OF, synced_shop};
use crate::world::{Reply, World, http, project_folder};

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

async fn send(world: &World, method: Method, path: &str, json: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    http(world.servers.http, method, path, &headers, Bytes::from(json.to_string())).await
}

async fn done(world: &World, method: Method, path: &str, json: &Value) -> Value {
    let reply = send(world, method, path, json).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

async fn fare(world: &World, company: &str) -> (Value, Value) {
    let path = format!("/v1/features?feature=last_ride:fare&feature=last_ride:tip&company={company}");
    let row = world.get(&path).await.json()["features"][0].clone();
    (row["fare"].clone(), row["tip"].clone())
}

async fn over_http(store: Store) {
    let server = store.start();
    let world = World::of(DEFINITIONS, |folder| store.configure(folder, server.as_ref())).await;
    let path = "/v1/online/last_ride";
    let rides = json!({"columns": {"company": ["a", "b"], "fare": [1.5, 2], "tip": [0.5, null]}});
    let set = done(&world, Method::PUT, path, &rides).await;
    assert_eq!(set, json!({"views": ["last_ride", "identity"], "rows": 2, "rows_written": 2, "rows_older": 0}));
    assert_eq!(fare(&world, "a").await, (json!(1.5), json!(0.5)));
    let older = format!("{path}?event_time=2016-12-31T00:00:00Z");
    let set = done(&world, Method::POST, &older, &json!({"columns": {"company": ["a"], "fare": [9]}})).await;
    assert_eq!((&set["rows_written"], &set["rows_older"]), (&json!(0), &json!(1)));

    let rows: RecordBatch = batch(&[("company", texts(&["c"])), ("fare", floats(&[3.5]))]);
    let mut stream = StreamWriter::try_new(Vec::new(), rows.schema_ref()).expect("a stream");
    stream.write(&rows).expect("a batch");
    let body = Bytes::from(stream.into_inner().expect("a stream"));
    let set = http(world.servers.http, Method::PUT, path, &[("content-type", ARROW_STREAM)], body).await;
    assert_eq!((set.status, &set.json()["rows_written"]), (200, &json!(1)), "{}", set.text());
    assert_eq!(fare(&world, "c").await.0, json!(3.5));

    let no_body = json!(null);
    let deleted = done(&world, Method::DELETE, &format!("{path}?company=a&feature=tip"), &no_body).await;
    assert_eq!((&deleted["outcome"], fare(&world, "a").await), (&json!("deleted"), (json!(1.5), json!(null))));
    let deleted = done(&world, Method::DELETE, &format!("{path}?company=a"), &no_body).await;
    assert_eq!(deleted["outcome"], "deleted");
    assert_eq!(fare(&world, "a").await.0, json!(null));
    let again = done(&world, Method::DELETE, &format!("{path}?company=a"), &no_body).await;
    assert_eq!((&again["outcome"], &again["event_time"]), (&json!("absent"), &json!(null)));

    let stats = world.get("/v1/online/stats?view=last_ride").await.json();
    assert_eq!(
        (stats["views"].as_array().expect("views").len(), &stats["views"][0]["keys"]),
        (1, &json!(2)),
        "{stats}"
    );
    assert_eq!(world.get("/v1/online/stats").await.json()["views"].as_array().expect("views").len(), 3);
    let health = world.get("/v1/online/health").await.json();
    assert!(health["store"].is_string() && health["facts"].is_object() && health["warnings"].is_array(), "{health}");

    for (method, path, body, status, words) in [
        (Method::PUT, "/v1/online/nope", rides.clone(), 404, "nope does not exist"),
        (Method::PUT, "/v1/online/identity", rides.clone(), 422, "name last_ride"),
        (Method::PUT, "/v1/online/archive", rides.clone(), 409, "not kept online"),
        (Method::PUT, "/v1/online/last_ride?view=x", rides.clone(), 422, "parameter view is not known"),
        (Method::PUT, "/v1/online/last_ride?event_time=soon", rides.clone(), 422, "event_time is soon"),
        (Method::PUT, path, json!({"rows": {}}), 422, "no field columns"),
        (Method::PUT, path, json!({"columns": {"company": ["a"], "fare": ["much"]}}), 422, "column fare: row 0"),
        (Method::PUT, path, json!({"columns": {"company": [null]}}), 422, "join key company"),
        (Method::DELETE, path, no_body.clone(), 422, "company is missing"),
        (Method::DELETE, "/v1/online/last_ride?fare=1", no_body.clone(), 422, "fare is no join key"),
        (Method::DELETE, "/v1/online/last_ride?company=a&company=b", no_body.clone(), 422, "company came twice"),
        (Method::DELETE, "/v1/online/last_ride?company=a&feature=fair", no_body.clone(), 404, "no feature fair"),
        (
            Method::DELETE,
            "/v1/online/last_ride?company=a&feature=tip&event_time=0",
            no_body.clone(),
            422,
            "leave event_time out",
        ),
        (Method::DELETE, "/v1/online/identity?company=a", no_body, 422, "name last_ride"),
        (Method::GET, "/v1/online/stats?views=last_ride", json!(null), 422, "parameter views is not known"),
        (Method::GET, "/v1/online/stats?view=recency", json!(null), 422, "nothing of it is stored"),
        (Method::GET, "/v1/online/last_ride", json!(null), 405, "does not take GET"),
    ] {
        let reply = send(&world, method.clone(), path, &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains(words), "{method} {path}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_sets_and_deletes_rows_of_the_embedded_store() {
    over_http(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_sets_and_deletes_rows_of_redis() {
    over_http(Store::Packed).await;
}

/// Every command is a process of its own, so what is seen is in the store.
fn over_the_command_line(store: Store) {
    let (folder, server) = (project_folder(DEFINITIONS), store.start());
    store.configure(folder.path(), server.as_ref());
    let folder = folder.path();
    succeed(folder, &["apply"]);
    let row = ["online", "set", "last_ride", "company=Flash Cab", "fare=12.5", "tip=2"];
    assert_eq!(
        json_of(folder, &row),
        json!({"views": ["last_ride", "identity"], "rows": 1, "rows_written": 1, "rows_older": 0})
    );
    let get = || {
        let rows = json_of(folder, &["get", "last_ride:fare", "last_ride:tip", "company=Flash Cab"]);
        (rows[0]["value"].clone(), rows[1]["value"].clone())
    };
    assert_eq!(get(), (json!(12.5), json!(2.0)));
    let older = succeed(folder, &[&row[..], &["--event-time", "2016-12-31"]].concat());
    assert_eq!(older.trim(), "older, not written: last_ride has a newer row");

    let key = ["online", "delete", "last_ride", "company=Flash Cab"];
    assert_eq!(json_of(folder, &[&key[..], &["--feature", "tip"]].concat())["outcome"], "deleted");
    assert_eq!(get(), (json!(12.5), json!(null)));
    let null = succeed(folder, &[&key[..], &["--feature", "tip"]].concat());
    assert!(null.starts_with("tip was null already (the row is from "), "{null}");
    let stays = succeed(folder, &[&key[..], &["--event-time", "2016-12-31"]].concat());
    assert!(stays.starts_with("older, not deleted: the row in last_ride is from "), "{stays}");

    let stats = succeed(folder, &["online", "stats"]);
    assert!(stats.lines().any(|line| line.starts_with("last_ride ") && line.contains(" 1 ")), "{stats}");
    assert!(stats.lines().any(|line| line.starts_with("last_ride:fare") && line.contains("100.0 %")), "{stats}");
    let health = json_of(folder, &["online", "health"]);
    assert!(health["store"].as_str().is_some_and(|store| !store.is_empty()), "{health}");
    assert!(!succeed(folder, &["online", "health"]).trim().is_empty());

    assert!(succeed(folder, &key).starts_with("deleted from last_ride, identity (the row was from "));
    assert_eq!(get().0, json!(null));
    assert!(succeed(folder, &key).contains("had no such entity"));
}

#[test]
fn the_command_line_sets_and_deletes_rows_of_the_embedded_store() {
    over_the_command_line(Store::Embedded);
}

#[test]
fn the_command_line_sets_and_deletes_rows_of_redis() {
    over_the_command_line(Store::Packed);
}

#[test]
fn rows_of_a_file_are_set_and_what_is_set_is_seen_by_parity() {
    let folder = synced_shop();
    let folder = folder.path();
    // As the file says, at visited_at.
    let set = json_of(folder, &["online", "set", "customer_visits", "--rows", "visits.parquet"]);
    assert_eq!((&set["rows"], &set["rows_written"]), (&json!(2), &json!(2)));
    let rows = json_of(folder, &["get", "customer_visits:pages", "customer_id=1", "--as-of", SHOP_AS_OF]);
    assert_eq!((&rows[0]["value"], &rows[0]["event_time"]), (&json!(7), &json!("2024-01-19T00:00:00Z")));

    let words =
        ["online", "set", "customer_orders", "customer_id=1", "amount=99", "--event-time", "2024-01-20T12:00:00Z"];
    succeed(folder, &words);
    let parity = run(folder, &["parity", "customer_model", "--as-of", SHOP_AS_OF]);
    assert_eq!(parity.code, 1, "online only: {parity:?}");
    assert!(parity.stdout.contains("amount: served 99.0, trained 20.0"), "{}", parity.stdout);
}

#[test]
fn wrong_words_are_refused_by_the_command_line() {
    let folder = synced_shop();
    let folder = folder.path();
    for (words, code, says) in [
        (&["set", "nope", "a=1"][..], 3, "nope does not exist"),
        (&["set", "customer_orders", "customer_id=one"], 2, "customer_id: \"one\" cannot be read as int64"),
        (&["set", "customer_orders", "customer_id=1", "amout=2"], 2, "column amout is not one of"),
        (&["set", "customer_orders", "customer_id=1", "amount=1", "amount=2"], 2, "amount came twice"),
        (&["set", "customer_orders", "customer_id=1", "amount"], 2, "write it as name=value"),
        (&["set", "customer_orders", "amount=1"], 2, "column customer_id is missing"),
        (&["set", "customer_orders", "--rows", "nope.parquet"], 3, "nope.parquet"),
        (&["delete", "customer_orders"], 2, "column customer_id is missing"),
        (&["delete", "customer_orders", "amount=1"], 2, "amount is no join key of customer_orders"),
        (&["delete", "customer_orders", "customer_id=1", "--feature", "amout"], 3, "no feature amout"),
        (&["stats", "nope"], 3, "nope does not exist"),
    ] {
        let message = refused(folder, &[&["online"], words].concat(), code);
        assert!(message.contains(says), "{words:?}: {message}");
    }
    let ran = run(
        folder,
        &["online", "delete", "customer_orders", "customer_id=1", "--feature", "amount", "--event-time", "2024-01-01"],
    );
    assert_eq!(ran.code, 2, "{ran:?}");
}
