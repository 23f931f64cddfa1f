//! The hot cache in a whole gateway: chosen in `lockstep.yaml`, counted on the admin port, and never in the way of what
//! was just pushed.

use std::fs;

use lockstep::app::{Project, Servers};
use lockstep::error::ErrorKind;
use serde_json::json;

use crate::callers::{RIDES, applied_folder, check_good, post, seed};
use crate::world::http;
use bytes::Bytes;
use hyper::Method;
use tempfile::TempDir;

const LISTEN: &str = "project: test\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";

async fn folder(hot_cache: &str) -> TempDir {
    let folder = applied_folder(RIDES, |_| {}).await;
    fs::write(folder.path().join("lockstep.yaml"), format!("{LISTEN}hot_cache: {hot_cache}\n")).expect("written");
    folder
}

#[tokio::test]
async fn kept_views_are_answered_from_memory_and_what_is_pushed_is_read_at_once() {
    let folder = folder("{views: {last_ride: {rows: 1000, max_age: 60s}, area_stats: {}}}").await;
    let project = Project::open(folder.path()).expect("a project");
    let servers = Servers::start(&project, project.gateway().await.expect("a gateway")).await.expect("free ports");
    seed(servers.http).await;
    check_good(servers.http, "the first question").await;
    for _ in 0..3 {
        check_good(servers.http, "some questions").await;
    }
    let text = http(servers.admin, Method::GET, "/metrics", &[], Bytes::new()).await.text().to_owned();
    let hits = text.lines().find_map(|line| line.strip_prefix("lockstep_hot_cache_hits_total{view=\"last_ride\"} "));
    assert!(hits.is_some_and(|hits| hits.parse::<u64>().expect("a number") >= 2), "{text}");

    for fare in [20.0, 21.0, 22.0] {
        let df = json!({"company": ["a"], "fare": [fare], "riders": [1], "at": ["2020-01-02T00:00:00Z"]});
        let pushed = post(servers.http, "/push", &json!({"push_source_name": "rides", "df": df}).to_string()).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text());
        let question = json!({"features": ["last_ride:fare"], "entities": {"company": ["a"]}}).to_string();
        let answer = post(servers.http, "/get-online-features", &question).await.json();
        assert_eq!(answer["results"][1]["values"], json!([fare]));
    }
    servers.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_view_that_is_not_there_is_refused_at_the_start_with_those_that_are() {
    for unknown in ["last_rides", "for_training", "quote"] {
        let folder = folder(&format!("{{views: {{{unknown}: {{}}}}}}")).await;
        let refused = Project::open(folder.path()).expect("a project").gateway().await.expect_err("no such view");
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let said = format!(
            "hot_cache names {unknown}, which is not a view of the online store; these are: area_stats, last_ride"
        );
        assert_eq!(refused.to_string(), said);
    }
}
