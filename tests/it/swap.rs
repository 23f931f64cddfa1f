//! Versions come and go in a running gateway: no request fails, no answer has two of them in it, nothing is left behind.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use arrow_flight::Ticket;
use bytes::Bytes;
use futures::TryStreamExt;
use hyper::Method;
use lockstep::catalog::Digest;
use lockstep::limits::GENERATIONS_KEPT;
use lockstep::registry::{NewVersion, PluginFile, PluginTexts};
use serde_json::{Value, json};

use crate::callers::{Serving, applied_folder, flight};
use crate::command::{json_of, run, succeed};
use crate::places::{Distances, Globe, IDS, PLACES, admin, apply_build, question, reload, world};
use crate::world::{World, http};

/// Enough that every race has its chance, few enough for every run; the table `swap` makes a thousand.
const SWAPS: u32 = 50;
/// How long a gateway may take to see what was applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// The build that the gateway answers with in a version: every other one is on the larger globe.
fn globe_of(version: u64) -> Globe {
    if version.is_multiple_of(2) { Globe::Equatorial } else { Globe::Mean }
}

async fn ask(world: &World) -> Distances {
    Distances::of(&world.post("/get-online-features", &question()).await)
}

/// Asks over HTTP until it is told to stop. Answers how often.
async fn ask_over_http(address: std::net::SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let mut asked = 0;
    let mut newest = 0;
    while !stop.load(Ordering::Relaxed) {
        let headers = [("content-type", "application/json")];
        let reply = http(address, Method::POST, "/get-online-features", &headers, Bytes::from(question())).await;
        let answer = Distances::of(&reply);
        assert_eq!(answer.globe(), globe_of(answer.version), "version {} with another build", answer.version);
        assert!(answer.version >= newest, "version {} after {newest}", answer.version);
        newest = answer.version;
        asked += 1;
    }
    asked
}

/// The same over Flight, on one connection.
async fn ask_over_flight(address: std::net::SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let mut client = flight(address).await;
    let ticket = json!({"features": ["near:near_km", "far:far_km"], "entities": {"id": IDS}}).to_string();
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.do_get(Ticket::new(ticket.clone())).await.expect("an answer");
        let batches: Vec<_> = answer.try_collect().await.expect("a whole answer");
        let [batch] = &batches[..] else { panic!("one batch, not {}", batches.len()) };
        let metadata = batch.schema_ref().metadata();
        assert_eq!(metadata["lockstep.digest.near"], metadata["lockstep.digest.far"]);
        let column = |name: &str| batch[name].as_primitive::<Float64Type>().values().to_vec();
        let (near, far) = (column("near_km"), column("far_km"));
        assert_eq!(near, far, "two builds in one answer");
        let version: u64 = metadata["lockstep.version"].parse().expect("a number");
        let answer = Distances { version, digests: String::new(), km: near };
        assert_eq!(answer.globe(), globe_of(version), "version {version} with another build");
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_fail_no_request_mix_no_answer_and_leave_nothing_behind() {
    let world = world(PLACES, |_| {}).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..2 {
        load.spawn(ask_over_http(world.servers.http, Arc::clone(&stop)));
        load.spawn(ask_over_flight(world.servers.flight, Arc::clone(&stop)));
    }
    for swap in 1..=SWAPS {
        let version = apply_build(&world.project, globe_of(u64::from(swap) + 1).build(swap)).await;
        assert_eq!(version, u64::from(swap) + 1);
        assert_eq!(reload(&world).await["version"], json!(version));
        let answer = ask(&world).await;
        assert_eq!((answer.version, answer.globe()), (version, globe_of(version)), "it is on when reload returns");
    }
    stop.store(true, Ordering::Relaxed);
    let asked: usize = load.join_all().await.into_iter().sum();
    assert!(asked > SWAPS as usize, "{asked} requests under {SWAPS} swaps are no load");

    // What nobody asks with any more is gone: the version that is on and those kept have one plugin and one transform each.
    let on = reload(&world).await;
    assert_eq!(on["swaps"], json!(SWAPS));
    assert_eq!(world.gateway.transforms.loaded(), (GENERATIONS_KEPT + 1, GENERATIONS_KEPT + 1));
    let metrics = admin(&world, Method::GET, "/metrics").await;
    for line in [
        format!("lockstep_swaps_total{{outcome=\"taken_up\"}} {SWAPS}"),
        format!("lockstep_applied_version {}", SWAPS + 1),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in:\n{}", metrics.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_goes_on_over_a_swap_and_each_answer_says_its_version() {
    let world = world(PLACES, |_| {}).await;
    let ticket = json!({"features": ["near:near_km", "far:far_km"], "entities": {"id": IDS}}).to_string();
    let mut client = flight(world.servers.flight).await;
    let mut version = async || {
        let batches: Vec<_> =
            client.do_get(Ticket::new(ticket.clone())).await.expect("answered").try_collect().await.expect("whole");
        batches[0].schema_ref().metadata()["lockstep.version"].clone()
    };
    assert_eq!(version().await, "1");
    apply_build(&world.project, Globe::Equatorial.bytes()).await;
    reload(&world).await;
    assert_eq!(version().await, "2", "the connection is the same");
}

/// A version whose plugin is none. `apply` would have refused it; another machine may have recorded it.
async fn record_broken(world: &World) -> u64 {
    let registry = world.project.registry().await.expect("a registry");
    let latest = registry.latest().await.expect("read").expect("applied");
    let bytes = b"\0asm\x0d\0\x01\0 and then rubbish".to_vec();
    let version = NewVersion {
        project: latest.project,
        catalog_hash: Digest::of(b"broken"),
        applied_by: "somebody".to_owned(),
        applied_at: latest.applied_at,
        definitions: latest.definitions,
        plugins: vec![PluginFile {
            name: "haversine".to_owned(),
            digest: Digest::of(&bytes),
            bytes,
            beside: PluginTexts::default(),
        }],
        services: Vec::new(),
        summary: vec!["broken".to_owned()],
    };
    registry.record(version).await.expect("recorded").number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_loaded_leaves_the_one_before_on_and_is_told() {
    let world = world(PLACES, |_| {}).await;
    let broken = record_broken(&world).await;
    let refused = admin(&world, Method::POST, "/reload").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("version 2 is not taken up") && refused.text().contains("haversine"),
        "{}",
        refused.text()
    );
    assert_eq!(ask(&world).await.version, 1);

    let ready = admin(&world, Method::GET, "/readyz").await;
    assert_eq!(ready.status, 200, "it answers");
    assert!(ready.text().starts_with("ready\nversion 2 is not taken up: "), "{}", ready.text());
    let on = admin(&world, Method::GET, "/applied").await.json();
    assert_eq!((&on["version"], &on["refused"]["version"]), (&json!(1), &json!(broken)));
    let metrics = admin(&world, Method::GET, "/metrics").await;
    let line = "lockstep_swaps_total{outcome=\"refused\"} 1";
    assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());

    // What is put back is taken up like any other version.
    let put_back = json_of(world.folder.path(), &["rollback", "1"]);
    assert_eq!((&put_back["version"], &put_back["unchanged"]), (&json!(3), &json!(false)));
    let on = reload(&world).await;
    assert_eq!((&on["version"], &on["refused"]), (&json!(3), &Value::Null));
    assert_eq!(admin(&world, Method::GET, "/readyz").await.text(), "ready\n");
    assert_eq!(ask(&world).await.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_what_was_computed_before_bit_by_bit() {
    let world = world(PLACES, |_| {}).await;
    let folder = world.folder.path();
    let first = ask(&world).await;
    assert_eq!(first.globe(), Globe::Mean);
    apply_build(&world.project, Globe::Equatorial.bytes()).await;
    reload(&world).await;
    let second = ask(&world).await;
    assert_eq!((second.version, second.globe()), (2, Globe::Equatorial));

    let compiled = || world.gateway.transforms.stats().compiled.load(Ordering::Relaxed);
    let before = compiled();
    let said = succeed(folder, &["rollback"]);
    assert!(said.contains("put back as version 3"), "{said}");
    let on = reload(&world).await;
    assert_eq!((&on["version"], &on["kept"]), (&json!(3), &json!([2, 1])));
    let third = ask(&world).await;
    assert_eq!((third.version, &third.digests, &third.km), (3, &first.digests, &first.km));
    assert_eq!(compiled(), before, "the earlier build is compiled still");

    // By the digest of a build, of which the beginning is enough.
    let digest = Digest::of(&Globe::Equatorial.bytes()).to_string();
    let one_plugin = format!("haversine={}", &digest[..12]);
    assert_eq!(json_of(folder, &["rollback", "--plugin", &one_plugin])["version"], json!(4));
    reload(&world).await;
    let fourth = ask(&world).await;
    assert_eq!((fourth.version, &fourth.digests, &fourth.km), (4, &second.digests, &second.km));
    assert_eq!(json_of(folder, &["rollback", "2"])["unchanged"], json!(true), "version 4 is that already");

    for (words, code, says) in [
        (&["rollback", "99"][..], 3, "the registry has no version 99"),
        (&["rollback", "--plugin", "haversine=abcdef"][..], 3, "no version had a build of plugin haversine"),
        (&["rollback", "--plugin", "haversine"][..], 2, "is not NAME=DIGEST"),
        (&["rollback", "--plugin", "nonesuch=12"][..], 3, "nonesuch"),
    ] {
        let ran = run(folder, words);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_sources_of_a_new_version_are_there_without_a_restart() {
    let world = world(PLACES, |_| {}).await;
    let path = world.folder.path().join("features/features.yaml");
    let more = PLACES
        .replace("sources:\n", "sources:\n  - {name: moods, type: push, path: data/moods, event_time: at}\n")
        .replace(
            "feature_views:\n",
            "feature_views:\n  - {name: mood, entities: [trip], source: moods, features: [{name: level, type: int64}]}\n",
        );
    fs::write(&path, more).expect("written");
    succeed(world.folder.path(), &["apply"]);
    reload(&world).await;
    let df = json!({"id": [1], "level": [7], "at": ["2020-01-01T00:00:00Z"]});
    let pushed = world.post("/push", &json!({"push_source_name": "moods", "df": df}).to_string()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    let asked = json!({"features": ["mood:level"], "entities": {"id": [1]}}).to_string();
    let answer = world.post("/get-online-features", &asked).await;
    assert_eq!(answer.json()["results"][1]["values"], json!([7]), "{}", answer.text());

    // And those that are gone are gone.
    fs::write(&path, PLACES).expect("written");
    succeed(world.folder.path(), &["apply", "--allow-incompatible"]);
    reload(&world).await;
    assert_eq!(world.post("/get-online-features", &asked).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hot_cache_keeps_must_stay_as_the_gateway_was_started_with() {
    let listen = "project: test\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
    let world = world(PLACES, |folder| {
        fs::write(folder.join("lockstep.yaml"), format!("{listen}hot_cache: {{views: {{trip_ends: {{}}}}}}\n"))
            .expect("written");
    })
    .await;
    let path = world.folder.path().join("features/features.yaml");
    ask(&world).await;

    // What is kept of a view is what is stored of it, and that does not change with its ttl.
    fs::write(&path, PLACES.replace("{name: trip_ends,", "{name: trip_ends, ttl: 36500d,")).expect("written");
    succeed(world.folder.path(), &["apply", "--allow-incompatible"]);
    reload(&world).await;
    assert_eq!(ask(&world).await.version, 2);

    fs::write(&path, PLACES.replace("name: trip_ends", "name: ends").replace("trip_ends:", "ends:")).expect("written");
    succeed(world.folder.path(), &["apply", "--allow-incompatible"]);
    let refused = admin(&world, Method::POST, "/reload").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("hot_cache names trip_ends"), "{}", refused.text());
    assert_eq!(ask(&world).await.version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_its_own_process_takes_up_what_is_applied_by_itself() {
    let folder = applied_folder(PLACES, |_| {}).await;
    let serving = Serving::start(folder.path());
    let on = async || http(serving.admin, Method::GET, "/applied", &[], Bytes::new()).await.json()["version"].clone();
    assert_eq!(on().await, json!(1));
    fs::write(folder.path().join("plugins/haversine.wasm"), Globe::Equatorial.bytes()).expect("written");
    let applied = succeed(folder.path(), &["apply", "--allow-incompatible"]);
    assert!(applied.contains("applied as version 2; a running gateway takes it up within a second"), "{applied}");
    let begun = Instant::now();
    while on().await != json!(2) {
        assert!(begun.elapsed() < PATIENCE, "it stays with version 1");
    }

    let address = serving.admin.to_string();
    let status = json_of(folder.path(), &["reload", "--status", "--admin", &address]);
    assert_eq!((&status["version"], &status["kept"], &status["swaps"]), (&json!(2), &json!([1]), &json!(1)));
    assert_eq!(
        succeed(folder.path(), &["reload", "--admin", &address]),
        "version 2 of test is on; ready to go back to: 1\n"
    );
    drop(serving);
    let ran = run(folder.path(), &["reload", "--admin", &address]);
    assert_eq!(ran.code, 9, "{ran:?}");
    assert!(ran.stderr.contains("is the gateway running?"), "{ran:?}");
}
