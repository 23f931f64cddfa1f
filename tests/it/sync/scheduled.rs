//! Views that are synced by themselves: when, by whom, what happens when it fails, and where one sees it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use hyper::Method;
use lockstep::app::{Project, Servers};
use lockstep::flow::schedule::{Ran, due, run_due};
use lockstep::flow::sync::{progress, runs, schedules};
use lockstep::gateway::Gateway;
use lockstep::online::memory::MemoryStore;

use crate::command::succeed;
use crate::light::{HOUR, History, Light, NOW, SECOND, batch, floats, stage, texts, times, write_rows};
use crate::world::{http, project_folder};

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources: [{name: rides, type: parquet, path: rides, event_time: at}]
feature_views:
  - {name: stats, entities: [company], source: rides, sync_every: 1h, features: [{name: fare, type: float64}]}
  - {name: by_hand, entities: [company], source: rides, features: [{name: fare, type: float64}]}
  - {name: history, entities: [company], source: rides, sync_every: 1h, online: false, features: [{name: fare, type: float64}]}
feature_services:
  - {name: model, full_feature_names: true, features: ['stats:fare', 'by_hand:fare']}
  - {name: one, features: ['stats:fare']}
";
const EVERY: Duration = Duration::from_secs(3_600);

fn rides(at: i64) -> RecordBatch {
    batch(&[("company", texts(&["a", "b"])), ("fare", floats(&[1.0, 2.0])), ("at", times(&[at, at]))])
}

/// Two gateways of one project: one registry, one online store, one clock.
async fn two_gateways() -> [Light; 2] {
    let (online, history) = (Arc::new(MemoryStore::default()), History::in_memory());
    let one = Light::over(stage(), DEFINITIONS, online.clone(), history.clone()).await;
    let mut other = Light::over(stage(), DEFINITIONS, online, history).await;
    other.gateway.registry = one.gateway.registry.clone();
    other.gateway.clock = one.gateway.clock.clone();
    [one, other]
}

async fn due_views(light: &Light) -> Vec<String> {
    due(&light.gateway).await.expect("schedules").into_iter().map(|(view, _)| view).collect()
}

async fn run(light: &Light, owner: &str) -> Ran {
    run_due(&light.gateway, "stats", EVERY, owner).await.expect("a registry")
}

async fn runs_of(gateway: &Gateway) -> usize {
    runs(&gateway.registry, Some("stats"), 100).await.expect("runs").len()
}

#[tokio::test]
async fn of_two_gateways_one_syncs_a_view_when_it_is_due() {
    let [one, other] = two_gateways().await;
    one.put("rides", &rides(NOW - HOUR));
    assert_eq!(due_views(&one).await, ["stats"], "only what is online and has a schedule, and at once");
    let (first, second) = tokio::join!(run(&one, "one"), run(&other, "other"));
    let outcomes = [first, second];
    assert!(outcomes.contains(&Ran::Synced), "{outcomes:?}");
    assert!(outcomes.iter().any(|ran| matches!(ran, Ran::Elsewhere | Ran::NotDue)), "{outcomes:?}");
    assert_eq!(runs_of(&one.gateway).await, 1);
    assert!(due_views(&other).await.is_empty());
    assert_eq!(run(&other, "other").await, Ran::NotDue);

    one.gateway.clock.set(NOW + HOUR + 400 * SECOND);
    assert_eq!(due_views(&other).await, ["stats"], "at most an hour and a tenth later");
    assert_eq!(run(&other, "other").await, Ran::Synced);
    assert_eq!(runs_of(&one.gateway).await, 2);
    let until = progress(&one.gateway, "stats").await.expect("progress");
    assert_eq!(until, Some(NOW + HOUR + 400 * SECOND), "each one goes on from the one before");
}

#[tokio::test]
async fn runs_that_were_missed_are_made_up_for_by_one() {
    let [one, _] = two_gateways().await;
    one.put("rides", &rides(NOW - HOUR));
    assert_eq!(run(&one, "one").await, Ran::Synced);
    one.gateway.clock.set(NOW + 50 * HOUR);
    assert_eq!(run(&one, "one").await, Ran::Synced);
    assert_eq!(run(&one, "one").await, Ran::NotDue);
    assert_eq!(runs_of(&one.gateway).await, 2);
}

#[tokio::test]
async fn the_schedule_of_a_gateway_that_died_is_taken_over_when_its_lease_has_run_out() {
    let [one, other] = two_gateways().await;
    one.put("rides", &rides(NOW - HOUR));
    // What a gateway leaves that dies in the middle of a sync.
    let registry = &one.gateway.registry;
    assert!(registry.take_lease("sync:stats", "dead", NOW, NOW + 60 * SECOND).await.expect("a lease"));
    assert_eq!(run(&other, "other").await, Ran::Elsewhere);
    one.gateway.clock.set(NOW + 59 * SECOND);
    assert_eq!(run(&other, "other").await, Ran::Elsewhere);
    one.gateway.clock.set(NOW + 60 * SECOND);
    assert_eq!(run(&other, "other").await, Ran::Synced);
    let now = NOW + 60 * SECOND;
    assert!(registry.take_lease("sync:stats", "one", now, now + 1).await.expect("a lease"), "it was given back");
}

#[tokio::test]
async fn a_schedule_that_fails_is_tried_again_less_and_less_often_and_says_why() {
    let [one, _] = two_gateways().await;
    // There is no table yet.
    let mut now = NOW;
    for (failures, pause) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
        let Ran::Failed(why) = run(&one, "one").await else { panic!("it cannot be read") };
        assert_eq!(why, "source rides has no file at rides");
        assert_eq!(run(&one, "one").await, Ran::NotDue);
        let applied = one.gateway.applied.load_full();
        let shown = schedules(&one.gateway.registry, &applied.catalog).await.expect("schedules");
        assert_eq!(
            (shown[0].view.as_str(), shown[0].failures, shown[0].failure.as_ref()),
            ("stats", failures, Some(&why))
        );
        now += pause * SECOND;
        one.gateway.clock.set(now);
    }
    one.put("rides", &rides(NOW - HOUR));
    assert_eq!(run(&one, "one").await, Ran::Synced);
    let schedule = one.gateway.registry.schedule("stats").await.expect("a schedule").expect("it ran");
    assert_eq!((schedule.failures, schedule.failure), (0, None));
}

#[tokio::test]
async fn a_gateway_that_stops_leaves_its_view_due() {
    let [one, other] = two_gateways().await;
    one.put("rides", &rides(NOW - HOUR));
    one.gateway.syncing.stop.ask();
    assert_eq!(run(&one, "one").await, Ran::Stopped);
    assert_eq!(due_views(&other).await, ["stats"]);
    assert_eq!(run(&other, "other").await, Ran::Synced);
}

#[tokio::test]
async fn the_views_of_a_service_are_those_that_it_reads_online() {
    let light = Light::of(DEFINITIONS).await;
    let views = |service| lockstep::flow::sync::views_of_service(&light.gateway, service);
    assert_eq!(views("model").expect("views"), ["stats", "by_hand"]);
    assert_eq!(views("one").expect("views"), ["stats"]);
    assert_eq!(views("none").expect_err("unknown").to_string(), "feature service none does not exist in project test");
}

/// The metrics, once they have this line.
async fn metrics_with(servers: &Servers, line: &str) -> String {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let found = async {
        loop {
            tick.tick().await;
            let text = http(servers.admin, Method::GET, "/metrics", &[], Bytes::new()).await.text().to_owned();
            if text.lines().any(|found| found.starts_with(line)) {
                return text;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("no metric {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_syncs_what_is_due_and_shows_it() {
    let folder = project_folder(DEFINITIONS);
    write_rows(&folder.path().join("rides/0.parquet"), &rides(NOW));
    succeed(folder.path(), &["apply"]);
    let project = Project::open(folder.path()).expect("a project");
    let servers = Servers::start(&project, project.gateway().await.expect("a gateway")).await.expect("free ports");
    let metrics = metrics_with(&servers, "lockstep_view_coverage_ratio{view=\"stats\"} 1").await;
    for line in [
        "lockstep_sync_runs_total{view=\"stats\",outcome=\"finished\"} 1",
        "lockstep_view_freshness_seconds{view=\"stats\"} ",
        "lockstep_view_synced_until{view=\"stats\"} ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line} is not in:\n{metrics}");
    }
    assert!(!metrics.contains("view=\"by_hand\""), "{metrics}");

    let answer = http(servers.http, Method::GET, "/v1/syncs?view=stats&limit=1", &[], Bytes::new()).await;
    let answer = answer.json();
    assert_eq!(answer["runs"][0]["rows_written"], 2, "{answer}");
    assert_eq!(answer["runs"][0]["nulls"], serde_json::json!([{"feature": "fare", "rows": 0}]), "{answer}");
    assert_eq!((&answer["schedules"][0]["view"], &answer["schedules"][0]["failures"]), (&"stats".into(), &0.into()));
    for (query, status) in [("view=nothing", 404), ("limit=many", 422), ("views=stats", 422)] {
        let refused = http(servers.http, Method::GET, &format!("/v1/syncs?{query}"), &[], Bytes::new()).await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text());
    }
    let table = succeed(folder.path(), &["syncs", "stats"]);
    assert!(table.contains("finished") && table.contains("schedule of"), "beside a gateway that runs: {table}");
    servers.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_can_be_switched_off() {
    let folder = project_folder(DEFINITIONS);
    write_rows(&folder.path().join("rides/0.parquet"), &rides(NOW));
    let path = folder.path().join("lockstep.yaml");
    let config = fs::read_to_string(&path).expect("the settings");
    fs::write(&path, config + "sync: {schedules: off}\n").expect("written");
    succeed(folder.path(), &["apply"]);
    succeed(folder.path(), &["sync", "by_hand"]);
    let project = Project::open(folder.path()).expect("a project");
    let gateway = project.gateway().await.expect("a gateway");
    let servers = Servers::start(&project, Arc::clone(&gateway)).await.expect("free ports");
    // What another process did is told, by the look that comes before the one for what is due.
    metrics_with(&servers, "lockstep_view_freshness_seconds{view=\"by_hand\"} ").await;
    servers.stop().await.expect("stopped");
    assert_eq!(runs_of(&gateway).await, 0);
}
