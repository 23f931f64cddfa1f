//! A store that fails, stands still or is there in part, behind real sockets: answers within the deadline that say why,
//! partial answers for who asks for them, and a gateway that recovers by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt8Type};
use arrow::ipc::reader::StreamReader;
use arrow_flight::{FlightDescriptor, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use hyper::Method;
use lockstep::app::{Project, Servers};
use lockstep::backend::Backend;
use lockstep::clock::Steady;
use lockstep::online::guarded::{GuardedStore, Parts};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::callers::{GOOD, RIDES, applied_folder, check_good, flight, post, seed};
use crate::faulty::{Fault, Faulty};
use crate::light::{batch, floats, integers, texts};
use crate::world::{Reply, http};

/// Three rows: an area that is known, one that is not, and the known one again.
const QUESTION: &str = r#"{"feature_service": "rides_v1", "entities": {"company": ["a", "a", "nobody"],
    "area": [8, 9, 8], "hour": [9, 9, 9], "payment_type": ["Cash", "Cash", "Cash"], "planned_miles": [3.0, 3.0, 1.0]}}"#;
const PARTIAL: &str = "/get-online-features?partial=true";

/// The gateway of [`RIDES`] over a faulty store, with the rows of [`seed`].
struct World {
    _folder: TempDir,
    store: Arc<Faulty>,
    servers: Servers,
}

async fn world() -> World {
    let folder = applied_folder(RIDES, |_| {}).await;
    let project = Project::open(folder.path()).expect("a project");
    let mut gateway = project.gateway().await.expect("a gateway");
    let store = Faulty::new();
    let backend = Arc::new(Backend::new("faulty", Steady::default()));
    Arc::get_mut(&mut gateway).expect("nobody else has it").online =
        Arc::new(GuardedStore::new(Arc::clone(&store) as _, Parts::One, backend));
    let servers = Servers::start(&project, gateway).await.expect("free ports");
    seed(servers.http).await;
    World { _folder: folder, store, servers }
}

impl World {
    async fn post(&self, path: &str, json: &str) -> Reply {
        post(self.servers.http, path, json).await
    }

    async fn post_within(&self, path: &str, json: &str, deadline_ms: u64) -> (Reply, Duration) {
        let deadline = deadline_ms.to_string();
        let headers = [("content-type", "application/json"), ("x-request-deadline-ms", deadline.as_str())];
        let began = Instant::now();
        let body = Bytes::copy_from_slice(json.as_bytes());
        let reply = http(self.servers.http, Method::POST, path, &headers, body).await;
        (reply, began.elapsed())
    }
}

/// Values and statuses of a feature in an answer of Feast's route.
fn column(reply: &Reply, name: &str) -> (Value, Value) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let json = reply.json();
    let names = json["metadata"]["feature_names"].as_array().expect("names");
    let position = names.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name} in {names:?}"));
    let column = &json["results"][position];
    (column["values"].clone(), column["statuses"].clone())
}

#[tokio::test]
async fn what_can_be_reached_is_answered_where_the_caller_asks_for_it() {
    let world = world().await;
    let whole = world.post("/get-online-features", QUESTION).await;
    let (fares, _) = column(&whole, "area_stats__fare");
    let (quotes, _) = column(&whole, "quote__expected_fare");
    assert_eq!((&fares, &quotes[0], &quotes[2]), (&json!([20.0, null, 20.0]), &json!(15.0), &json!(5.0)));

    world.store.set(Fault::LosesEvenAreas);
    let partial = world.post(PARTIAL, QUESTION).await;
    assert_eq!(partial.headers["lockstep-unavailable"], "area_stats,quote");
    for feature in ["last_ride__fare", "last_ride__riders"] {
        assert_eq!(column(&partial, feature), column(&whole, feature), "its view can be reached");
    }
    for feature in ["area_stats__fare", "area_stats__miles"] {
        assert_eq!(column(&partial, feature), (json!([null, null, null]), json!(["INVALID", "NOT_FOUND", "INVALID"])));
    }
    // What the plugin says of an area that is not there is no answer for one that cannot be reached.
    let (values, statuses) = column(&partial, "quote__expected_fare");
    assert_eq!(values, json!([null, quotes[1], null]));
    assert_eq!((&statuses[0], &statuses[2]), (&json!("INVALID"), &json!("INVALID")));
    assert_ne!(statuses[1], "INVALID");

    let in_body = QUESTION.replacen('{', r#"{"partial": true, "#, 1);
    assert_eq!(column(&world.post("/get-online-features", &in_body).await, "quote__expected_fare").0, values);
}

#[tokio::test]
async fn our_own_routes_say_unavailable_and_so_does_a_header_where_there_are_no_statuses() {
    let world = world().await;
    world.store.set(Fault::LosesEvenAreas);
    let reply = world.post("/v1/services/rides_v1/features?partial=true", QUESTION).await;
    let json = reply.json();
    assert_eq!(json["statuses"]["area_stats__fare"], json!(["UNAVAILABLE", "NOT_FOUND", "UNAVAILABLE"]));
    assert_eq!(json["statuses"]["quote__expected_fare"][0], "UNAVAILABLE");
    assert_eq!(json["features"][0]["last_ride__fare"], 12.5);

    let headers = [("content-type", "application/json"), ("accept", "application/vnd.apache.arrow.stream")];
    let path = "/v1/services/rides_v1/features?partial=true";
    let body = Bytes::from_static(QUESTION.as_bytes());
    let reply = http(world.servers.http, Method::POST, path, &headers, body).await;
    assert_eq!(reply.headers["lockstep-unavailable"], "area_stats,quote");
    let rows = StreamReader::try_new(&reply.body[..], None).expect("a stream").next().expect("a batch").expect("rows");
    assert!(rows.column_by_name("quote__expected_fare").expect("a feature").is_null(0));

    let typed = "/v1/features?feature=area_stats:fare&area=8&partial=maybe";
    let refused = http(world.servers.http, Method::GET, typed, &[], Bytes::new()).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("partial is \\\"maybe\\\"; write true or false"), "{}", refused.text());
}

#[tokio::test]
async fn flight_answers_in_part_too() {
    let world = world().await;
    world.store.set(Fault::LosesEvenAreas);
    let mut client = flight(world.servers.flight).await;
    let mut question: Value = serde_json::from_str(QUESTION).expect("JSON");
    let entities = question["entities"].take();
    let ticket = json!({"service": "rides_v1", "entities": entities, "statuses": true, "partial": true});
    let mut answer = client.do_get(Ticket::new(ticket.to_string())).await.expect("an answer");
    let mut batches = Vec::new();
    while let Some(rows) = answer.try_next().await.expect("rows") {
        batches.push(rows);
    }
    check_flight(&batches[0]);

    let whole = json!({"service": "rides_v1", "entities": entities}).to_string();
    let refused = client.do_get(Ticket::new(whole)).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("node 2 is down")));

    let descriptor = json!({"service": "rides_v1", "statuses": true, "partial": true}).to_string();
    let rows = batch(&[
        ("company", texts(&["a", "a", "nobody"])),
        ("area", integers(&[8, 9, 8])),
        ("hour", lockstep::cast::exactly(&integers(&[9, 9, 9]), "int32".parse().expect("a type")).expect("hours")),
        ("payment_type", texts(&["Cash", "Cash", "Cash"])),
        ("planned_miles", floats(&[3.0, 3.0, 1.0])),
    ]);
    let mut messages =
        arrow_flight::utils::batches_to_flight_data(rows.schema_ref(), vec![rows.clone()]).expect("messages");
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(descriptor));
    let exchange = client.do_exchange(futures::stream::iter(messages.into_iter().map(Ok))).await.expect("an answer");
    let batches: Vec<RecordBatch> = exchange.try_collect().await.expect("rows");
    check_flight(&batches[0]);
}

/// Status 0 where nothing is known, and no value.
fn check_flight(rows: &RecordBatch) {
    let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("{name} in {:?}", rows.schema()));
    let statuses = |name: &str| column(&format!("{name}__status")).as_primitive::<UInt8Type>().values().to_vec();
    assert_eq!(statuses("area_stats__fare"), [0, 3, 0]);
    assert_eq!(statuses("last_ride__fare"), [1, 1, 3]);
    let quotes = statuses("quote__expected_fare");
    assert_eq!((quotes[0], quotes[2]), (0, 0));
    assert!(column("quote__expected_fare").as_primitive::<Float64Type>().is_null(2));
}

#[tokio::test]
async fn who_does_not_ask_for_a_part_gets_the_reason_and_when_to_try_again() {
    let world = world().await;
    for (fault, reason) in [(Fault::LosesEvenAreas, "node 2 is down"), (Fault::Fails, "connection reset by peer")] {
        world.store.set(fault);
        let reply = world.post("/v1/services/rides_v1/features", GOOD).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.text().contains(reason), "{}", reply.text());
        assert_eq!(reply.headers["retry-after"], "1");
        let told = world.post("/get-online-features?partial=false", GOOD).await;
        assert_eq!(told.status, 503, "{}", told.text());
    }
    // After so many failures the store is left alone, and the answer comes at once.
    let mut said = String::new();
    for _ in 0..10 {
        said = world.post("/v1/services/rides_v1/features", GOOD).await.text().to_owned();
    }
    assert!(said.contains("the online store faulty has not answered for"), "{said}");
    assert!(world.store.calls() < 20, "{} calls", world.store.calls());
    world.store.set(Fault::Nothing);
    recovers(&world).await;
}

#[tokio::test]
async fn a_store_that_stands_still_keeps_nobody_beyond_the_deadline() {
    let world = world().await;
    world.store.set(Fault::Hangs);
    let (reply, took) = world.post_within("/v1/services/rides_v1/features", GOOD, 100).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(reply.text().contains("the online store did not answer before the deadline"), "{}", reply.text());
    assert!(took < Duration::from_secs(2), "{took:?}");

    let (reply, took) = world.post_within("/get-online-features?partial=true", GOOD, 400).await;
    assert_eq!(column(&reply, "last_ride__fare").1, json!(["INVALID", "INVALID"]));
    assert_eq!(reply.headers["lockstep-unavailable"], "last_ride,area_stats,quote");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // Callers with all the time in the world are told as soon as the store is known to stand still.
    let mut down = false;
    for _ in 0..10 {
        let (reply, took) = world.post_within("/v1/services/rides_v1/features", GOOD, 5_000).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(took < Duration::from_secs(4), "{took:?}");
        down |= reply.text().contains("it is asked again in");
    }
    assert!(down, "calls have stopped");
    world.store.set(Fault::Nothing);
    recovers(&world).await;
}

/// Good answers come again, within two seconds and a machine's hiccup.
async fn recovers(world: &World) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while world.post("/get-online-features", GOOD).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not recover");
        ticks.tick().await;
    }
    check_good(world.servers.http, "the store is back").await;
}
