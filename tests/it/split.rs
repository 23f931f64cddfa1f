//! A service whose callers are divided: a value is always answered by the same one of two services, every reply says
//! which, and each has training sets of its own.

use arrow_flight::Ticket;
use futures::TryStreamExt;
use hyper::Method;
use lockstep::flow::parity::parity;
use serde_json::json;

use crate::callers::flight;
use crate::places::{Globe, admin, world};
use crate::world::{Reply, World};

const DIVIDED: &str = r#"
entities:
  - {name: trip, join_keys: [{name: id, type: int64}]}
sources:
  - {name: trips, type: push, path: data/trips, event_time: at}
feature_views:
  - {name: trip_ends, entities: [trip], source: trips, features: [{name: a, type: float64}, {name: b, type: float64}]}
derived_views:
  - name: distance
    plugin: haversine
    inputs: {from_latitude: "trip_ends:a", from_longitude: "trip_ends:a", to_latitude: "trip_ends:b", to_longitude: "trip_ends:b"}
  - name: distance
    version: 2
    plugin: haversine_equatorial
    inputs: {from_latitude: "trip_ends:a", from_longitude: "trip_ends:a", to_latitude: "trip_ends:b", to_longitude: "trip_ends:b"}
feature_services:
  - {name: trips_v1, features: [distance], split: {by: id, other: trips_v2, share: 0.4}}
  - {name: trips_v2, features: [distance@v2]}
"#;

const IDS: i64 = 60;

async fn divided() -> World {
    let world = world(DIVIDED, |_| {}).await;
    let ids: Vec<i64> = (0..IDS).collect();
    let rows = ids.len();
    let df = json!({"id": ids, "a": vec![0.0; rows], "b": vec![3.75; rows], "at": vec!["2020-01-02T00:00:00Z"; rows]});
    let pushed = world
        .post("/push", &json!({"push_source_name": "trips", "df": df, "to": "online_and_offline"}).to_string())
        .await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    world
}

async fn ask(world: &World, service: &str, ids: &[i64]) -> Reply {
    let body = json!({"feature_service": service, "entities": {"id": ids}}).to_string();
    let reply = world.post("/get-online-features", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

fn arm(reply: &Reply) -> Option<&str> {
    reply.headers.get("lockstep-arm").map(|arm| arm.to_str().expect("text"))
}

fn globe(reply: &Reply) -> Globe {
    match reply.json()["results"][1]["values"][0].as_f64().expect("a number") {
        589.0..589.9 => Globe::Mean,
        589.9..590.9 => Globe::Equatorial,
        other => panic!("{other} km"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_always_answered_by_the_same_service_and_the_reply_says_which() {
    let world = divided().await;
    let mut others = Vec::new();
    for id in 0..IDS {
        let reply = ask(&world, "trips_v1", &[id]).await;
        let expected = match arm(&reply) {
            Some("trips_v1") => Globe::Mean,
            Some("trips_v2") => Globe::Equatorial,
            other => panic!("{other:?}"),
        };
        assert_eq!(globe(&reply), expected, "{id}");
        assert_eq!(reply.json()["metadata"]["feature_names"], json!(["id", "distance_km"]));
        if expected == Globe::Equatorial {
            others.push(id);
        }
        let again = ask(&world, "trips_v1", &[id]).await;
        assert_eq!((arm(&again), &again.body), (arm(&reply), &reply.body));
    }
    assert!((12..=36).contains(&others.len()), "{} of {IDS} at 40 %", others.len());

    // A request with many rows is answered whole, by the service of its first row.
    let (one, other) = ((0..IDS).find(|id| !others.contains(id)).expect("one"), others[0]);
    assert_eq!(arm(&ask(&world, "trips_v1", &[one, other]).await), Some("trips_v1"));
    assert_eq!(arm(&ask(&world, "trips_v1", &[other, one]).await), Some("trips_v2"));
    assert_eq!(arm(&ask(&world, "trips_v2", &[one]).await), None, "who asks for one of the two gets it");
    assert_eq!(arm(&ask(&world, "trips_v1@1", &[other]).await), None, "a list of before is that list");

    let text = admin(&world, Method::GET, "/metrics").await;
    let line = format!("lockstep_split_requests_total{{service=\"trips_v2\"}} {}", 2 * others.len() + 1);
    assert!(text.text().lines().any(|found| found == line), "{line} is not in:\n{}", text.text());

    let mut client = flight(world.servers.flight).await;
    for (id, arm) in [(one, "trips_v1"), (other, "trips_v2")] {
        let ticket = json!({"service": "trips_v1", "entities": {"id": [id]}}).to_string();
        let answer = client.do_get(Ticket::new(ticket)).await.expect("an answer");
        let batches: Vec<_> = answer.try_collect().await.expect("a whole answer");
        assert_eq!(batches[0].schema_ref().metadata()["lockstep.service"], arm);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_two_is_trained_as_it_is_served() {
    let world = divided().await;
    for service in ["trips_v1", "trips_v2"] {
        let found = parity(&world.gateway, service, 50, None).await.expect("compared");
        assert_eq!((found.differ, found.not_null > 0), (0, true), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_says_what_it_trained_on_gets_that() {
    let world = divided().await;
    let fingerprint = async |service: &str| {
        let reply = ask(&world, service, &[1]).await;
        reply.headers["lockstep-schema-fingerprint"].to_str().expect("text").to_owned()
    };
    let second = fingerprint("trips_v2").await;
    let first = {
        let mut found = None;
        for id in 0..IDS {
            let reply = ask(&world, "trips_v1", &[id]).await;
            if arm(&reply) == Some("trips_v1") {
                found = Some(reply.headers["lockstep-schema-fingerprint"].to_str().expect("text").to_owned());
            }
        }
        found.expect("some are answered by the first")
    };
    assert_ne!(first, second);
    for id in 0..IDS {
        for (sent, arm_wanted) in [(&first, "trips_v1"), (&second, "trips_v2")] {
            let body = json!({"feature_service": "trips_v1", "entities": {"id": [id]}, "schema_fingerprint": sent});
            let reply = world.post("/get-online-features", &body.to_string()).await;
            assert_eq!((reply.status, arm(&reply)), (200, Some(arm_wanted)), "{}", reply.text());
        }
    }
}
