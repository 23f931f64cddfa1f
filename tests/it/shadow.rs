//! Another build of a plugin runs beside the one that answers: nobody is answered with it, and everything is known of it
//! before anybody is.

use std::fs;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::command::{json_of, run, succeed};
use crate::places::{Distances, Globe, PLACES, admin, question, reload, world};
use crate::world::World;

/// How long a test waits for what is compared beside the requests.
const PATIENCE: Duration = Duration::from_secs(60);

async fn ask(world: &World) -> Distances {
    Distances::of(&world.post("/get-online-features", &question()).await)
}

fn start(world: &World, view: &str, globe: Globe, share: &str) -> Value {
    let path = world.folder.path().join("other.wasm");
    fs::write(&path, globe.bytes()).expect("written");
    json_of(world.folder.path(), &["shadow", "start", view, "--plugin", "other.wasm", "--share", share])
}

async fn found(world: &World, path: &str) -> Value {
    let reply = admin(world, Method::GET, path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until so many calls are compared or dropped.
async fn compared(world: &World, calls: u64) -> Value {
    let begun = Instant::now();
    loop {
        let found = found(world, "/shadows").await;
        let count = |name: &str| found[0][name].as_u64().unwrap_or_default();
        if count("compared") + count("dropped") >= calls {
            return found[0].clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_beside_the_one_that_answers_is_compared_and_never_answers() {
    let world = world(PLACES, |_| {}).await;
    let first = ask(&world).await;
    let started = start(&world, "near", Globe::Equatorial, "100%");
    assert_eq!(started["view"], "near");
    assert_eq!(reload(&world).await["version"], json!(1), "a shadow is no version");
    for _ in 0..10 {
        assert_eq!(ask(&world).await, first, "callers get what they got");
    }
    let near = compared(&world, 10).await;
    assert_eq!((&near["view"], &near["calls"], &near["failed"]), (&json!("near"), &json!(10), &json!(0)), "{near}");
    assert_eq!(near["new"], started["digest"]);
    assert_ne!(near["old"], near["new"]);
    let calls = near["compared"].as_u64().expect("a number");
    assert!(calls > 0, "{near}");
    // Of four trips one goes nowhere, which is as far on every globe.
    let feature = &near["features"][0];
    assert_eq!(
        (&feature["feature"], &feature["values"], &feature["differ"]),
        (&json!("near_km"), &json!(4 * calls), &json!(3 * calls))
    );
    let largest = feature["largest_difference"].as_f64().expect("a number");
    assert!((0.6..0.7).contains(&largest), "{largest}");
    for cost in ["old_cost", "new_cost"] {
        assert!(near[cost]["fuel"].as_u64() > Some(0) && near[cost]["nanoseconds"].as_u64() > Some(0), "{near}");
    }

    assert_eq!(near["examples"], Value::Null, "values of requests are shown to who asks for them");
    let examples = found(&world, "/shadows?examples=true").await[0]["examples"].clone();
    let examples = examples.as_array().expect("examples");
    assert!(!examples.is_empty() && examples.len() <= 20, "{examples:?}");
    assert!(
        examples.iter().all(|example| example["old"] != example["new"] && example["inputs"]["from_latitude"] == "0.0"),
        "{examples:?}"
    );

    let metrics = admin(&world, Method::GET, "/metrics").await;
    let line = format!("lockstep_shadow_differing_values_total{{view=\"near\",feature=\"near_km\"}} {}", 3 * calls);
    assert!(metrics.text().lines().any(|found| found == line), "{line} is not in:\n{}", metrics.text());
    let address = world.servers.admin.to_string();
    let shown = succeed(world.folder.path(), &["shadow", "status", "near", "--examples", "--admin", &address]);
    assert!(shown.contains("beside") && shown.contains("near_km") && shown.contains("from_latitude=0.0"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_calls_is_compared_and_a_build_that_fails_troubles_nobody() {
    let world = world(PLACES, |_| {}).await;
    start(&world, "near", Globe::Mean, "0.25");
    reload(&world).await;
    for _ in 0..20 {
        ask(&world).await;
    }
    let near = compared(&world, 5).await;
    assert_eq!((&near["calls"], &near["features"][0]["differ"]), (&json!(20), &json!(0)), "the same build: {near}");
    assert_eq!(near["compared"].as_u64().zip(near["dropped"].as_u64()).map(|(one, other)| one + other), Some(5));

    succeed(world.folder.path(), &["shadow", "drop", "near"]);
    reload(&world).await;
    assert_eq!(found(&world, "/shadows").await, json!([]));
    assert_eq!(run(world.folder.path(), &["shadow", "drop", "near"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_build_is_the_next_version_and_the_next_apply_keeps_it() {
    let world = world(PLACES, |_| {}).await;
    let folder = world.folder.path();
    start(&world, "near", Globe::Equatorial, "5%");
    reload(&world).await;
    let promoted = json_of(folder, &["shadow", "promote", "near", "--allow-incompatible"]);
    assert_eq!(promoted["version"], json!(2));
    reload(&world).await;
    let answer = ask(&world).await;
    assert_eq!((answer.version, answer.globe()), (2, Globe::Equatorial), "both views use the plugin");
    assert_eq!(found(&world, "/shadows").await, json!([]));
    assert_eq!(json_of(folder, &["apply"])["unchanged"], json!(true), "the folder has the build that is on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_promotion_breaks_is_told_and_must_be_meant() {
    let with_service = format!("{PLACES}feature_services:\n  - {{name: distances_v1, features: [near, far]}}\n");
    let world = world(&with_service, |_| {}).await;
    start(&world, "far", Globe::Equatorial, "5%");
    let ran = run(world.folder.path(), &["shadow", "promote", "far"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("distances_v1"), "{ran:?}");
    assert_eq!(
        json_of(world.folder.path(), &["shadow", "promote", "far", "--allow-incompatible"])["version"],
        json!(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_cannot_be_compared_are_refused() {
    let world = world(PLACES, |_| {}).await;
    let folder = world.folder.path();
    for (view, plugin, code, says) in [
        ("near", "plugins/taxi_recency.wasm", 2, "haversine"),
        ("near", "plugins/nonesuch.wasm", 3, "cannot be read"),
        ("trip_ends", "plugins/haversine.wasm", 3, "is not a derived view"),
        ("nonesuch", "plugins/haversine.wasm", 3, "is not a derived view"),
    ] {
        let ran = run(folder, &["shadow", "start", view, "--plugin", plugin]);
        assert_eq!(ran.code, code, "{view} {plugin}: {ran:?}");
        assert!(ran.stderr.contains(says), "{view} {plugin}: {ran:?}");
    }
    for share in ["0", "150%", "-1%", "much"] {
        let words = ["shadow", "start", "near", "--plugin", "plugins/haversine.wasm", "--share", share];
        assert_ne!(run(folder, &words).code, 0, "{share}");
    }
}
